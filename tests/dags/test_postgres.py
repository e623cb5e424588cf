"""A day through Airflow on PostgreSQL, as production keeps its metadata."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

pytestmark = [pytest.mark.service, pytest.mark.airflow, pytest.mark.timeout(1200)]

DAY = date(2026, 4, 5)


def program(name: str) -> str:
    """Where Debian or the PATH has a program of PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = str(found[-1]) if found else shutil.which(name)
    assert path, f"{name} is not there. Run: make services"
    return path


@pytest.fixture
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL of the test's own; it refuses root, so root hands it to its user."""
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="pinnersage-postgres-"))
    if as_user:
        shutil.chown(folder, "postgres")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    initdb = [program("initdb"), "-D", str(data), "-U", "airflow", "--auth=trust", "-E", "UTF8"]
    subprocess.run([*as_user, *initdb], check=True, capture_output=True, cwd=folder)
    control = [*as_user, program("pg_ctl"), "-D", str(data), "-w"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    log = ["-l", str(folder / "log"), "-o", options]
    subprocess.run([*control, *log, "start"], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        yield f"postgresql+psycopg2://airflow@127.0.0.1:{port}/postgres"
    finally:
        stop = [*control, "-m", "immediate", "stop"]
        subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        shutil.rmtree(folder)


def test_a_day_and_its_index_go_live(postgres, prepared_airflow, tmp_path, staged_home):
    world = type(prepared_airflow)(tmp_path / "home")
    shutil.copytree(staged_home, world.home)
    world.variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = postgres

    with world.servers() as servers:
        servers.unpause("pinnersage_index", "pinnersage_daily")
        run = servers.trigger("pinnersage_daily", DAY)
        assert servers.wait_for_run("pinnersage_daily", run) == "success"
        servers.wait_for_days("pinnersage_index", [DAY])

    live = world.python(
        "import json; from pinnersage.release import Releases; from pinnersage.config import load;"
        "print(json.dumps(Releases(load()).live().model_dump(mode='json')))"
    )
    assert live["medoids"]["day"] == live["index"]["day"] == DAY.isoformat()
    assert not (world.airflow_home / "airflow.db").exists()
