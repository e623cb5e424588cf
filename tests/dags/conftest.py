"""A real Airflow for tests: a prepared home, one run in a child process, the real scheduler.

Everything goes through scripts/airflow_runtime.py, as `make` does. A world has a
``PINNERSAGE_HOME`` of its own under the test's temporary folder; put data and settings into
``world.home`` before anything runs.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from machines import broker, free_port, postgres  # noqa: F401 (fixtures)

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ROOT / "scripts" / "airflow_runtime.py"
CHILD_PATIENCE = 300


@dataclass
class World:
    """One ``PINNERSAGE_HOME`` and the Airflow that works in it."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)
    """Environment variables for every process of this world."""

    @property
    def airflow_home(self) -> Path:
        return self.home / "airflow"

    @property
    def env(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "PINNERSAGE"))}
        return clean | {"PINNERSAGE_HOME": str(self.home)} | self.variables

    def runtime(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``python scripts/airflow_runtime.py ARGS``; fails the test with its output."""
        done = subprocess.run(
            [sys.executable, str(RUNTIME), *args],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=CHILD_PATIENCE,
            check=False,
        )
        assert not check or done.returncode == 0, f"{args}:\n{done.stdout}\n{done.stderr}"
        return done

    def airflow(self, *args: str) -> str:
        """What an Airflow command prints."""
        return self.runtime("airflow", *args).stdout

    def dags_test(
        self, dag: str, day: date, *, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """One run in a child process, without servers (``airflow dags test``)."""
        return self.runtime("test-run", dag, day.isoformat(), check=check)

    def python(self, program: str) -> Any:
        """What a program prints as JSON on its last line, run where Airflow can be imported."""
        values = {
            "PINNERSAGE_ROOT": str(ROOT),
            "AIRFLOW_HOME": str(self.airflow_home),
            "AIRFLOW_CONFIG": str(ROOT / "airflow.cfg"),
            "PYTHONPATH": os.pathsep.join(
                filter(None, [self.env.get("PYTHONPATH"), str(ROOT / "dags")])
            ),
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=self.env | values,
            capture_output=True,
            text=True,
            timeout=CHILD_PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def at(self, url: str) -> "Servers":
        """The Airflow that answers at ``url``, whoever started it."""
        return Servers(self, url)

    @contextmanager
    def servers(self) -> Iterator["Servers"]:
        """The real scheduler, DAG processor and API server, until the block ends."""
        # Both named: two tests at once would find the same first free port.
        port, service = free_port(), free_port()
        try:
            self.runtime("up", "--port", str(port), "--service-port", str(service))
            yield Servers(self, f"http://127.0.0.1:{port}")
        finally:
            self.runtime("down")

    def schedule_between(self, first: date, last: date) -> None:
        """Let the scheduler see the daily DAG as if it ran from ``first`` to ``last``, catching up.

        The DAG files are copied, and only the schedule's bounds differ. Call before ``servers``.
        """
        copy = self.home / "dags"
        shutil.copytree(ROOT / "dags", copy, ignore=shutil.ignore_patterns("__pycache__"))
        runs = first, last + timedelta(days=1)  # a day's run is at 02:00 of the next day
        bounds = [f"datetime.fromisoformat('{day}T12:00+00:00')" for day in runs]
        daily = copy / "pinnersage_daily.py"
        text = daily.read_text()
        old = "start_date=START,\n    catchup=False,\n    max_active_runs=1,"
        assert old in text
        new = f"start_date={bounds[0]}, end_date={bounds[1]}, catchup=True, max_active_runs=1,"
        text = text.replace("from datetime import ", "from datetime import datetime, ")
        daily.write_text(text.replace(old, new))
        self.variables["AIRFLOW__CORE__DAGS_FOLDER"] = str(copy)


class Servers:
    """What a person does with a running Airflow, over its REST API and its command line."""

    def __init__(self, world: World, url: str) -> None:
        self.world, self.url = world, url
        passwords = json.loads((world.airflow_home / "secrets" / "passwords.json").read_text())
        login = {"username": "admin", "password": passwords["admin"]}
        self.token = ""
        self.token = self.api("/auth/token", login)["access_token"]

    def api(self, path: str, body: Any = None, method: str | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)

    def until(self, what: str, test: Any, patience: float) -> Any:
        end = time.monotonic() + patience
        while not (found := test()):
            assert time.monotonic() < end, f"not within {patience} s: {what}"
            time.sleep(0.5)
        return found

    def dags(self) -> dict[str, Any]:
        return {dag["dag_id"]: dag for dag in self.api("/api/v2/dags")["dags"]}

    def unpause(self, *dags: str) -> None:
        """Unpause DAGs as soon as they have been parsed."""
        self.until(f"{dags} are parsed", lambda: set(dags) <= set(self.dags()), 60)
        for dag in dags:
            self.api(f"/api/v2/dags/{dag}", {"is_paused": False}, "PATCH")

    def trigger(self, dag: str, day: date | None) -> str:
        """Id of a new run for ``day``, as the form's *Partition key* makes it."""
        body = {"logical_date": None, "partition_key": day and day.isoformat()}
        return self.api(f"/api/v2/dags/{dag}/dagRuns", body)["dag_run_id"]

    def backfill(self, dag: str, first: date, last: date, *, at_once: int = 1) -> str:
        """``airflow backfill create`` for the days from ``first`` to ``last``, both included."""
        return self.world.airflow(
            *("backfill", "create", "--dag-id", dag, "--max-active-runs", str(at_once)),
            *("--from-date", first.isoformat(), "--to-date", f"{last.isoformat()}T23:00"),
            *("--reprocess-behavior", "completed"),
        )

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """All runs of a DAG, oldest first: dag_run_id, run_type, partition_key, state, ..."""
        return self.api(f"/api/v2/dags/{dag}/dagRuns?order_by=run_after&limit=100")["dag_runs"]

    def days(self, dag: str, run_type: str | None = None) -> dict[str, str]:
        """State of each day's latest run, by partition key."""
        runs = [run for run in self.runs(dag) if run_type in (None, run["run_type"])]
        return {run["partition_key"]: run["state"] for run in runs}

    def tasks(self, dag: str, run_id: str) -> list[dict[str, Any]]:
        """Task instances of a run: task_id, map_index, rendered_map_index, state, ..."""
        url = f"/api/v2/dags/{dag}/dagRuns/{urllib.parse.quote(run_id)}/taskInstances?limit=100"
        return self.api(url)["task_instances"]

    def wait_for_run(self, dag: str, run_id: str, patience: float = 600) -> str:
        """State in which a run ends."""
        url = f"/api/v2/dags/{dag}/dagRuns/{urllib.parse.quote(run_id)}"

        def ended() -> str | None:
            state = self.api(url)["state"]
            return state if state in ("success", "failed") else None

        return self.until(f"{dag} {run_id} ends", ended, patience)

    def wait_for_days(self, dag: str, days: Iterable[date], patience: float = 600) -> None:
        """Return when every day has a run that succeeded; fails as soon as one fails."""
        wanted = {day.isoformat() for day in days}

        def done() -> bool:
            states = {day: state for day, state in self.days(dag).items() if day in wanted}
            assert "failed" not in states.values(), f"{dag}: {states}"
            return len(states) == len(wanted) and set(states.values()) == {"success"}

        self.until(f"{dag} for {sorted(wanted)}", done, patience)


@pytest.fixture(scope="session")
def prepared_airflow(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world with a database, made once; tests that only read may share it."""
    world = World(tmp_path_factory.mktemp("prepared"))
    world.runtime("prepare")
    return world


@pytest.fixture
def world(prepared_airflow: World, tmp_path: Path) -> World:
    """A fresh world: no runs, secrets and database as prepared."""
    shutil.copytree(prepared_airflow.airflow_home, tmp_path / "home" / "airflow")
    return World(tmp_path / "home")


@pytest.fixture
def standalone(world: World) -> Iterator[Servers]:
    """The real Airflow in a fresh world."""
    with world.servers() as servers:
        yield servers
