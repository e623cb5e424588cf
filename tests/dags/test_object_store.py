"""Two Celery workers that share no disk: the lake and the raw events are in an object store.

Each worker has a home folder of its own with the settings and Airflow's secrets in it. Releases,
reports and tables come from the bucket (moto, spoken to over HTTP), medoids go to Redis.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
from machines import Machines
from test_daily_run import DAYS, MAKE_HOME, RUN_DAYS, manifests, python

pytestmark = [
    pytest.mark.service,
    pytest.mark.airflow,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]

DAG = "pinnersage_daily"

MOVE = """
import sys
from pathlib import Path
from pinnersage import config, init
from pinnersage.stores.s3 import file_system

made, home, root = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
raw = f"{root.rpartition('/')[0]}/raw"
file_system().put(str(made / "raw" / "actions"), raw, recursive=True)
init.run(
    home,
    config.SourceConfig(actions=raw + "/{day}.parquet", event="event_id"),
    init.Items(path=str(made / "raw/pins.parquet"), quality="quality",
               embeddings=str(made / "raw/embeddings.npy")),
    n_buckets=2, lake_root=root)
"""


def test_workers_without_a_common_disk_make_the_bytes_of_the_library(
    world, bucket, postgres, broker, tmp_path
):
    made = tmp_path / "made"
    python(MAKE_HOME, made)
    subprocess.run(
        [sys.executable, "-c", MOVE, str(made), str(world.home), bucket.where], check=True
    )
    world.variables |= {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    world.variables |= {
        "REDIS_URL": f"{broker.rpartition('/')[0]}/1",
        "PINNERSAGE__KEYVALUE__STORE": "redis",
    }
    with Machines(world, postgres, broker) as machines:
        homes = [world.home.with_name(name) for name in ("one", "two")]
        for home in homes:
            shutil.copytree(world.airflow_home / "secrets", home / "airflow" / "secrets")
            shutil.copy(world.home / "pinnersage.toml", home)
            machines.worker(home.name, "--concurrency", "2", PINNERSAGE_HOME=str(home))
        servers = machines.servers()
        servers.unpause(DAG)
        servers.backfill(DAG, DAYS[0], DAYS[-1])
        servers.wait_for_days(DAG, DAYS)
        assert min(machines.taken(home.name) for home in homes) > 0, "both worked"

    for home in (world.home, *homes):
        assert not {"lake", "releases", "reports"} & {path.name for path in home.iterdir()}

    by_library = tmp_path / "library"
    shutil.copytree(made / "home", by_library)
    python(RUN_DAYS, by_library, *DAYS)
    expected = manifests(by_library)
    stored = [entry.key for entry in bucket.list("lake") if entry.key.endswith("/manifest.json")]
    ours = {key.removeprefix("lake/"): bucket.read(key) for key in stored}
    assert {f"medoids/day={day}/manifest.json" for day in DAYS} <= set(ours)
    assert ours == {place: expected[place] for place in ours}

    number = json.loads(bucket.read("releases/live.json"))["live"]
    live = json.loads(bucket.read(f"releases/{number:06}.json"))
    assert live["medoids"]["day"] == DAYS[-1].isoformat()
    assert bucket.read(f"reports/quality/day={DAYS[-1]}/index.html")
