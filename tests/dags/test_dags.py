"""The DAG files as Airflow reads them, and the runtime that they are run by."""

import json
import os
import stat
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.airflow

HEAVY = ("pinnersage", "duckdb", "numba", "great_expectations", "pandas", "pyarrow", "numpy")

DAGS = ["pinnersage_daily", "pinnersage_evaluate", "pinnersage_index", "pinnersage_maintenance",
        "pinnersage_sweep", "pinnersage_watch"]  # fmt: skip

READ_DAGS = """
import json
from airflow.dag_processing.dagbag import DagBag

bag = DagBag()
print(json.dumps({
    "errors": bag.import_errors,
    "dags": {dag.dag_id: {
        "doc": dag.doc_md, "catchup": dag.catchup, "max_active_runs": dag.max_active_runs,
        "timetable": type(dag.timetable).__name__,
        "tasks": {task.task_id: {
            "after": sorted(task.upstream_task_ids), "owner": task.owner,
            "retries": task.retries, "pool": task.pool, "mapped": task.is_mapped,
            "rule": task.trigger_rule,
            "minutes": task.execution_timeout and task.execution_timeout.total_seconds() / 60,
            "outlets": [asset.name for asset in task.outlets],
        } for task in dag.tasks},
    } for dag in bag.dags.values()},
}))
"""


@pytest.fixture(scope="module")
def read(prepared_airflow):
    return prepared_airflow.python(READ_DAGS)


@pytest.fixture(scope="module")
def dags(read):
    return read["dags"]


# --- the files -------------------------------------------------------------------------------


def test_every_file_loads_and_the_helper_is_no_dag(read):
    assert read["errors"] == {}
    assert set(read["dags"]) == set(DAGS)


def test_order_of_the_daily_tasks(dags):
    assert {task: facts["after"] for task, facts in dags["pinnersage_daily"]["tasks"].items()} == {
        "stage": [],
        "buckets": [],
        "cluster": ["buckets", "stage"],
        "parity": ["stage"],
        "compared": ["parity"],
        "validate": ["cluster", "compared"],
        "waive": ["validate"],
        "publish": ["waive"],
        "release": ["publish"],
    }


def test_a_comparison_that_fails_stops_no_release(dags):
    rules = {name: facts["rule"] for name, facts in dags["pinnersage_daily"]["tasks"].items()}
    assert rules.pop("compared") == "all_done"
    assert set(rules.values()) == {"all_success"}


def test_order_of_the_index_tasks(dags):
    assert {task: facts["after"] for task, facts in dags["pinnersage_index"]["tasks"].items()} == {
        "refine": [],
        "index": ["refine"],
        "release": ["index"],
    }


def test_order_of_the_maintenance_tasks(dags):
    tasks = dags["pinnersage_maintenance"]["tasks"]
    assert {task: facts["after"] for task, facts in tasks.items()} == {
        "plan": [],
        "remove": ["plan"],
        "online": ["remove"],
    }
    assert {facts["pool"] for facts in tasks.values()} == {"pinnersage_publish"}
    assert dags["pinnersage_maintenance"]["timetable"] == "CronTriggerTimetable"


def test_order_of_the_sweeps_tasks(dags):
    assert {task: facts["after"] for task, facts in dags["pinnersage_sweep"]["tasks"].items()} == {
        "buckets": [],
        "sweep": ["buckets"],
        "report": ["sweep"],
    }
    assert dags["pinnersage_sweep"]["timetable"] == "NullTimetable"
    assert dags["pinnersage_sweep"]["tasks"]["sweep"]["mapped"]
    assert dags["pinnersage_sweep"]["tasks"]["sweep"]["pool"] == "pinnersage_compute"


def test_a_bucket_is_a_mapped_task(dags):
    tasks = dags["pinnersage_daily"]["tasks"]
    assert [task for task, facts in tasks.items() if facts["mapped"]] == ["cluster"]


def test_the_index_follows_the_release_of_the_medoids(dags):
    assert dags["pinnersage_daily"]["timetable"] == "CronPartitionTimetable"
    assert dags["pinnersage_index"]["timetable"] == "PartitionedAssetTimetable"
    assert dags["pinnersage_daily"]["tasks"]["release"]["outlets"] == ["medoids"]


def test_a_release_is_evaluated_when_the_next_days_is_made(dags):
    assert dags["pinnersage_evaluate"]["timetable"] == "PartitionedAssetTimetable"
    tasks = dags["pinnersage_evaluate"]["tasks"]
    assert {name: facts["pool"] for name, facts in tasks.items()} == {
        "evaluate": "pinnersage_compute"
    }


def test_every_dag_explains_itself_and_starts_nothing_old(dags):
    for dag in dags.values():
        assert "If it fails" in dag["doc"]
        assert "By hand" in dag["doc"] or "by hand" in dag["doc"]
        assert dag["catchup"] is False
        assert dag["max_active_runs"] <= 2
    assert "airflow backfill create --dag-id pinnersage_daily" in dags["pinnersage_daily"]["doc"]


def test_every_task_is_named_in_its_dags_page(dags):
    for dag in dags.values():
        for task in dag["tasks"]:
            assert f"| `{task}` |" in dag["doc"]


def test_every_task_has_an_owner_a_time_limit_and_retries(dags):
    for dag in dags.values():
        for task in dag["tasks"].values():
            assert task["owner"] == "pinnersage"
            assert 0 < task["minutes"] <= 360
            assert task["retries"] == 2, "a worker may be killed in any task"


def test_every_pool_is_made_by_the_runtime(dags, prepared_airflow):
    used = {task["pool"] for dag in dags.values() for task in dag["tasks"].values()}
    made = prepared_airflow.python(
        "import json\n"
        "from airflow.models.pool import Pool\n"
        "print(json.dumps({pool.pool: pool.slots for pool in Pool.get_pools()}))"
    )
    assert used <= set(made)
    assert made["pinnersage_publish"] == 1


@pytest.mark.parametrize("name", DAGS)
def test_parsing_is_quick_and_imports_nothing_heavy(prepared_airflow, name):
    found = prepared_airflow.python(f"""
import json, sys, time
import airflow.sdk
before = set(sys.modules)
start = time.process_time()
import {name}
seconds = time.process_time() - start
new = {{module.partition(".")[0] for module in set(sys.modules) - before}}
print(json.dumps([seconds, sorted(new)]))
""")
    seconds, modules = found
    assert seconds < 1
    assert not set(HEAVY) & set(modules)


# --- what the files share --------------------------------------------------------------------

RUNS = {
    ("2020-01-05", None): "2020-01-05",
    ("2020-01-05", "2024-04-01T00:00+00:00"): "2020-01-05",
    (None, "2020-01-05T00:00+00:00"): "2020-01-05",
    (None, "2020-01-05T23:30-02:00"): "2020-01-06",
    (None, None): "This run names no day",
    ("monday", None): "Partition key 'monday' is no day",
}


def test_the_day_is_the_partition_key_or_else_the_date_given(prepared_airflow):
    days = prepared_airflow.python(f"""
import json
from datetime import datetime
from types import SimpleNamespace
from unittest.mock import patch
import pinnersage_dags

def day(key, logical):
    logical = logical and datetime.fromisoformat(logical)
    run = SimpleNamespace(partition_key=key, logical_date=logical)
    with patch("pinnersage_dags.get_current_context", return_value=dict(dag_run=run)):
        try:
            return pinnersage_dags.day_of_run().isoformat()
        except pinnersage_dags.AirflowFailException as error:
            return str(error)

print(json.dumps([day(*run) for run in {list(RUNS)!r}]))
""")
    for found, expected in zip(days, RUNS.values(), strict=True):
        assert found.startswith(expected)


def test_only_what_may_pass_is_tried_again(prepared_airflow):
    raised = prepared_airflow.python("""
import json
from unittest.mock import patch
import pinnersage_dags
from pinnersage.errors import ConfigError, DataError, TransientError

def name(error):
    def run(settings):
        raise error
    try:
        pinnersage_dags.once(run)
    except Exception as caught:
        return type(caught).__name__ + ": " + str(caught)

errors = [ConfigError("a"), DataError("b"), ValueError("c"), TransientError("d")]
with patch("pinnersage.config.load"), patch("pinnersage_dags.model_of_run", dict):
    print(json.dumps([name(error) for error in errors]))
""")
    assert raised == [
        "AirflowFailException: ConfigError: a",
        "AirflowFailException: DataError: b",
        "AirflowFailException: ValueError: c",
        "TransientError: d",
    ]


# --- the runtime -----------------------------------------------------------------------------


def test_preparing_again_changes_nothing(world):
    world.runtime("prepare")
    secrets = {f.name: f.read_bytes() for f in (world.airflow_home / "secrets").iterdir()}
    database = (world.airflow_home / "airflow.db").read_bytes()
    assert world.runtime("prepare").stdout == ""
    assert {f.name: f.read_bytes() for f in (world.airflow_home / "secrets").iterdir()} == secrets
    assert (world.airflow_home / "airflow.db").read_bytes() == database


def test_only_the_owner_can_read_the_home(world):
    for path in [world.airflow_home, *world.airflow_home.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_stopping_what_does_not_run_is_no_error(world):
    assert "not running" in world.runtime("down").stdout
    assert world.runtime("status", check=False).returncode == 1


def test_a_record_of_another_process_is_not_ours_to_end(world):
    # Our own process, with a start time that is not its own: as if the id had been used again.
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    record = {"pid": os.getpid(), "started": 1, "boot": boot, "port": 1, "log": ""}
    (world.airflow_home / "up.json").write_text(json.dumps(record))
    assert "not running" in world.runtime("down").stdout


@pytest.mark.slow
def test_up_and_down(world):
    (world.home / "pinnersage.toml").write_text("")  # set up, so that there is something to serve
    with world.servers() as servers:
        assert "is up" in world.runtime("up").stdout  # again: the same one
        assert world.runtime("status").stdout.count(servers.url) == 1
        record = json.loads((world.airflow_home / "up.json").read_text())
        pid, service = record["pid"], f"http://127.0.0.1:{record['service']}"
        with urllib.request.urlopen(f"{service}/health", timeout=30) as answer:  # noqa: S310
            assert json.load(answer) == {"healthy": True}
        key = (world.airflow_home / "secrets" / "service_key").read_text().strip()
        asked = urllib.request.Request(  # noqa: S310
            f"{service}/metrics", headers={"Authorization": f"Bearer {key}"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
            assert b"pinnersage_requests_total" in answer.read()
        assert set(servers.dags()) == set(DAGS)
        assert "No data found" in world.airflow("dags", "list-import-errors")
        assert all(dag["is_paused"] for dag in servers.dags().values())
        logs = [f for f in world.airflow_home.rglob("*.log") if f.is_file()]
        secrets = [f.read_text() for f in (world.airflow_home / "secrets").glob("*[ty]")]
        passwords = json.loads((world.airflow_home / "secrets" / "passwords.json").read_text())
        for log in logs:
            text = log.read_text(errors="replace")
            assert not any(secret in text for secret in [*secrets, *passwords.values()]), log
    assert "not running" in world.runtime("down").stdout
    assert not _in_session(pid)


def _in_session(leader):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(path.parent.name)
    return found
