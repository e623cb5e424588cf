"""Homes for all tests: made once over the tiny world, copied by each test that writes."""

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from children import STEPS, WHOLE, Host, copy, facts
from hypothesis import settings as hypothesis_settings
from worlds import DAY, TINY, change, clock, items_of, source_of

from pinnersage import config, init, stage
from pinnersage.config import Settings
from pinnersage.stores.lake import Lake
from pinnersage.synthetic import write

hypothesis_settings.register_profile("tests", deadline=None, derandomize=True)
hypothesis_settings.load_profile("tests")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with Airflow, whose tests take minutes, and mostly wait: others run beside them."""
    items.sort(key=lambda item: item.get_closest_marker("airflow") is None)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PINNERSAGE")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny world's files: ``actions/``, ``pins.parquet``, ``embeddings.npy``."""
    folder = tmp_path_factory.mktemp("tiny")
    write(TINY, folder)
    return folder


@pytest.fixture(scope="session")
def staged_home(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home over the tiny world with ``DAY`` staged; tests copy it."""
    home = tmp_path_factory.mktemp("staged") / "home"
    init.run(home, source_of(tiny), items_of(tiny))
    stage.run(DAY, config.load(home))
    return home


@pytest.fixture
def make_home(tiny: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Make a fresh home over a world (default: the tiny one); keywords change its settings."""

    def make(
        world: Path = tiny, *, n_buckets: int = 4, name: str = "home", **changes: Any
    ) -> Settings:
        home = tmp_path / name
        init.run(home, source_of(world), items_of(world), n_buckets=n_buckets)
        return change(config.load(home), **changes)

    return make


@pytest.fixture
def settings(staged_home: Path, tmp_path: Path) -> Settings:
    """Settings of a home of the test's own, over the tiny world, with ``DAY`` staged."""
    home = tmp_path / "home"
    shutil.copytree(staged_home, home)
    return config.load(home)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real actions, or a visible skip."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data at {REAL_DATA}: see CONTRIBUTING.md")
    return REAL_DATA


@pytest.fixture(scope="session")
def finished_home(staged_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home over the tiny world where ``DAY`` went through every step and is live; copy it."""
    from pinnersage import day

    home = tmp_path_factory.mktemp("finished") / "home"
    shutil.copytree(staged_home, home)
    day.run(DAY, clock, config.load(home), lambda _step, _report: None)
    return home


@pytest.fixture
def finished(finished_home: Path, tmp_path: Path) -> Settings:
    """Settings of a home of the test's own in which ``DAY`` is live."""
    home = tmp_path / "home"
    shutil.copytree(finished_home, home)
    return config.load(home)


@pytest.fixture(scope="session")
def children(finished_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A process that runs steps in children of its own: to kill, or to starve of disk."""
    home = tmp_path_factory.mktemp("warm") / "home"
    shutil.copytree(finished_home, home)
    with Host(home, DAY + timedelta(days=1)) as host:
        yield host


@pytest.fixture(scope="session")
def eve(finished_home: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where ``DAY`` is live; the next day has new pins, so that every step has to work."""
    home = tmp_path_factory.mktemp("eve") / "home"
    copy(finished_home, home)
    items = items_of(tiny).model_copy(update={"quality": "", "embeddings": ""})
    pins, _ = init.read_items(items, "int64")
    init.write_pins(Lake(home / "lake"), pins, valid_from=DAY + timedelta(days=1), first_day=DAY)
    return home


@pytest.fixture(scope="session")
def undisturbed(
    children: Host, eve: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, dict[str, Any], float]]:
    """By step: the home before it, what must be there after it, and its seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    known: dict[str, tuple[Path, dict[str, Any], float]] = {}
    home = eve
    for number, step in enumerate(STEPS):
        after = folder / f"{number}-{step}"
        copy(home, after)
        outcome = children.run(step, after, DAY + timedelta(days=1))
        assert outcome.ended == "done", outcome
        known[step] = home, facts(after), outcome.seconds
        home = after
    total = sum(seconds for _, _, seconds in known.values())
    known[WHOLE] = eve, facts(home), total
    return known


def wait_until_it_answers(port: int, server: subprocess.Popen[bytes]) -> None:
    """Return when something accepts connections on a port."""
    for _ in range(600):
        assert server.poll() is None, "the server ended while starting"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("no answer within 60 s")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty server on a free port, without persistence, gone at the end."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.fail("no redis-server: make services installs it")
    folder = tmp_path_factory.mktemp("redis")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, *options, "--dir", str(folder)], stdout=log)
    try:
        with redis.Redis(port=port) as client:
            for _ in range(100):
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.1)
            else:
                pytest.fail(f"redis-server does not answer: {(folder / 'log').read_text()}")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an S3-compatible server of our own (moto), on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("s3") / "server.log").open("wb")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            wait_until_it_answers(port, server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.fixture
def bucket(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Storage in a fresh bucket; the environment names server and credentials."""
    import s3fs

    from pinnersage.stores.s3 import S3, _file_system

    variables = {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    _file_system.cache_clear()
    name = f"pinnersage-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
    yield S3(f"s3://{name}/root", tmp_path / "cache")
    _file_system.cache_clear()
