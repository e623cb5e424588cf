"""Secrets from Airflow's connections: where the library finds them, and nowhere else."""

import json
import subprocess
import sys

import pytest
from machines import free_port, program
from test_daily_run import DAYS, RUN_DAYS, python, tiny, tiny_world  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

PASSWORD = "p@ss:w/rd?#[%] &+"  # noqa: S105 (it guards nothing)
ESCAPED = "p%40ss%3Aw%2Frd%3F%23%5B%25%5D%20%26%2B"

PROVIDE = """
import json, os
from pathlib import Path
from pinnersage import config
from pinnersage_connections import to_environment
before = set(os.environ)
to_environment(config.build(Path("/nowhere"), json.loads({sections!r})))
print(json.dumps({{k: v for k, v in os.environ.items() if k not in before}}))
"""


def provided(world, connections, **sections):
    """What the environment of a task gains."""
    given = {f"AIRFLOW_CONN_PINNERSAGE_{n.upper()}": json.dumps(c) for n, c in connections.items()}
    world.variables = world.variables | given
    return world.python(PROVIDE.format(sections=json.dumps(sections)))


REDIS = {"conn_type": "redis", "host": "cache", "login": "me", "password": PASSWORD}
QDRANT = {"conn_type": "http", "host": "https://q.example.org", "port": 6333, "password": "key"}
LAKE = {
    "conn_type": "aws",
    "login": "id",
    "password": "secret",
    "extra": {"endpoint_url": "http://minio:9000", "region_name": "eu-1"},
}
ALL = {
    "keyvalue": {"store": "redis"},
    "index": {"store": "qdrant"},
    "lake": {"root": "s3://bucket/prefix"},
}


def test_each_connection_becomes_what_the_library_reads(world):
    assert provided(world, {"redis": REDIS, "qdrant": QDRANT, "lake": LAKE}, **ALL) == {
        "REDIS_URL": f"redis://me:{ESCAPED}@cache:6379/0",
        "QDRANT_URL": "https://q.example.org:6333",
        "QDRANT_API_KEY": "key",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": "http://minio:9000",
        "AWS_DEFAULT_REGION": "eu-1",
    }


def test_what_the_settings_do_not_need_is_not_looked_up(world):
    assert provided(world, {"redis": REDIS, "qdrant": QDRANT, "lake": LAKE}) == {}


def test_the_environment_wins_and_a_missing_connection_is_no_error(world):
    world.variables |= {"REDIS_URL": "redis://mine", "AWS_ACCESS_KEY_ID": "mine"}
    assert provided(world, {"redis": REDIS, "lake": LAKE}, **ALL) == {}


@pytest.fixture
def closed_redis(tmp_path):
    """A Redis that asks for the password."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD]
    server = subprocess.Popen(
        [program("redis-server"), *options, "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        server.terminate()
        server.wait()


@pytest.mark.service
@pytest.mark.slow
def test_a_day_is_published_with_a_password_that_no_log_shows(tiny_world, closed_redis):  # noqa: F811
    python(RUN_DAYS, tiny_world.home, DAYS[0])
    redis = {"conn_type": "redis", "host": "127.0.0.1", "port": closed_redis, "password": PASSWORD}
    tiny_world.variables |= {
        "AIRFLOW_CONN_PINNERSAGE_REDIS": json.dumps(redis),
        "PINNERSAGE__KEYVALUE__STORE": "redis",
    }

    tiny_world.dags_test("pinnersage_daily", DAYS[0])

    command = "import sys, redis; c = redis.Redis(port=int(sys.argv[1]), password=sys.argv[2])"
    ask = [sys.executable, "-c", f"{command}; print(c.dbsize())", str(closed_redis), PASSWORD]
    keys = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
    assert int(keys) > 0
    files = [path for path in tiny_world.home.rglob("*") if path.is_file()]
    assert (tiny_world.airflow_home / "test-run.log") in files
    for path in files:
        content = path.read_bytes()
        assert PASSWORD.encode() not in content, path
        assert ESCAPED.encode() not in content, path
