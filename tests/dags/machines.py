"""Airflow spread over machines: PostgreSQL, Redis, and each component a process of its own.

The machines are processes on this one that share a folder, as real ones would over a network.
Each can be killed with all its children, and started again, while the others go on.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

RUNTIME = Path(__file__).resolve().parents[2] / "scripts" / "airflow_runtime.py"


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name: str) -> str:
    """Where Debian or the PATH has a program of PostgreSQL or Redis."""
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
    port = free_port()
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


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """URL of a Redis of the test's own, which keeps nothing on disk."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    command = [program("redis-server"), *options, "--dir", str(tmp_path)]
    with (tmp_path / "redis.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


class Machines:
    """The components of one Airflow on CeleryExecutor, each with a name."""

    def __init__(self, world: Any, database: str, broker: str) -> None:
        self.world = world
        self.running: dict[str, psutil.Popen] = {}
        self.kills: list[datetime] = []
        self.url = f"http://127.0.0.1:{free_port()}"
        world.variables |= {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__API__PORT": self.url.rpartition(":")[2],
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
        }

    def __enter__(self) -> Self:
        self.world.runtime("prepare")
        self.start("api-server", "airflow", "api-server")
        self.start_scheduler()
        self.start("dag-processor", "airflow", "dag-processor")
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.running):
            self.kill(name)

    def start(self, name: str, *command: str, **variables: str) -> None:
        """Start ``scripts/airflow_runtime.py COMMAND`` as the machine ``name``."""
        assert name not in self.running, f"{name} runs already"
        log = self.world.home / f"{name}.log"
        with log.open("ab") as out:
            self.running[name] = psutil.Popen(
                [sys.executable, str(RUNTIME), *command],
                env=self.world.env | variables,
                cwd=self.world.home,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def servers(self) -> Any:
        """What a person does with this Airflow, as soon as it answers."""

        def answer() -> Any:
            with suppress(OSError):
                return self.world.at(self.url)

        return self.until("the API server answers", answer, 180)

    def start_scheduler(self) -> None:
        self.start("scheduler", "airflow", "scheduler", "--skip-serve-logs")

    def until(self, what: str, test: Callable[[], Any], patience: float) -> Any:
        """Wait for ``test``; fails at once when a machine has ended by itself."""
        end = time.monotonic() + patience
        while not (found := test()):
            for name, leader in self.running.items():
                assert leader.poll() is None, f"{name} ended:\n{self.log(name)[-3000:]}"
            assert time.monotonic() < end, f"not within {patience} s: {what}"
            time.sleep(1)
        return found

    def log(self, name: str) -> str:
        return (self.world.home / f"{name}.log").read_text(errors="replace")

    def taken(self, name: str) -> int:
        """How many tasks a worker has taken."""
        return self.log(name).count("Executing workload in Celery")

    def pids(self, name: str) -> set[int]:
        """Process ids of a machine."""
        leader = self.running[name]
        return {leader.pid, *(child.pid for child in leader.children(recursive=True))}

    def worker(self, name: str, *args: str, **variables: str) -> None:
        """Start a Celery worker that says its name on each task that it takes."""
        self.start(name, "worker", "--celery-hostname", name, *args, **variables)

    def kill(self, name: str) -> None:
        """End a machine as a power cut would, with all its processes."""
        leader = self.running.pop(name)
        self.kills.append(datetime.now(UTC))  # noqa: TID251 (compared with Airflow's own times)
        ended = [leader, *leader.children(recursive=True)]
        for process in ended:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        leader.wait()
