"""How many tasks a run has, and that Airflow takes a day of 64 buckets in its stride.

Scheduling costs a task, not a user: so the number of tasks is planned, and this test keeps it.
"""

import json
import shutil
from datetime import date, datetime

import pytest
from test_daily_run import MAKE_HOME, python

pytestmark = [pytest.mark.airflow]

DAY = date(2020, 3, 30)
BUCKETS = 64

# A run's tasks: the fixed ones, and those of which there is one a bucket. A new DAG, or a new
# task, gets its number here.
PLANNED = {
    "pinnersage_daily": (8, ["cluster"]),
    "pinnersage_evaluate": (1, []),
    "pinnersage_index": (3, []),
    "pinnersage_maintenance": (3, []),
    "pinnersage_sweep": (2, ["sweep"]),
    "pinnersage_watch": (1, []),
}

COUNT = """
import json
from airflow.dag_processing.dagbag import DagBag

print(json.dumps({
    dag.dag_id: (
        sum(not task.is_mapped for task in dag.tasks),
        sorted(task.task_id for task in dag.tasks if task.is_mapped),
    )
    for dag in DagBag().dags.values()
}))
"""


def test_a_run_has_the_number_of_tasks_that_was_planned(prepared_airflow):
    found = prepared_airflow.python(COUNT)
    assert {dag: tuple(tasks) for dag, tasks in found.items()} == PLANNED


def test_the_compute_pool_has_a_slot_a_core_unless_a_person_says_otherwise(world):
    def slots(cores):
        world.variables["PINNERSAGE_COMPUTE_SLOTS"] = str(cores)
        world.runtime("prepare")
        pools = json.loads(world.airflow("pools", "list", "--output", "json"))
        return {pool["pool"]: int(pool["slots"]) for pool in pools}["pinnersage_compute"]

    assert slots(5) == 5
    assert slots(6) == 6, "nobody changed it: it follows the variable"
    world.airflow("pools", "set", "pinnersage_compute", "9", "a person's")
    assert slots(7) == 9


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_day_of_64_buckets_is_scheduled(world, tmp_path, record_property):
    python(MAKE_HOME.replace("n_buckets=2", f"n_buckets={BUCKETS}"), tmp_path / "made")
    shutil.copytree(tmp_path / "made/home", world.home, dirs_exist_ok=True)
    world.variables["PINNERSAGE_COMPUTE_SLOTS"] = "4"

    with world.servers() as servers:
        servers.unpause("pinnersage_daily")
        run = servers.trigger("pinnersage_daily", DAY)
        assert servers.wait_for_run("pinnersage_daily", run, 1500) == "success"
        tasks = servers.tasks("pinnersage_daily", run)

    fixed, mapped = PLANNED["pinnersage_daily"]
    assert len(tasks) == fixed + len(mapped) * BUCKETS
    clusters = [task for task in tasks if task["task_id"] == "cluster"]
    assert {task["rendered_map_index"] for task in clusters} == {
        f"bucket {bucket}" for bucket in range(BUCKETS)
    }
    assert {task["try_number"] for task in tasks} == {1}
    scheduled = times(clusters, "scheduled_when")
    spread = (max(scheduled) - min(scheduled)).total_seconds()
    whole = (max(times(clusters, "end_date")) - min(scheduled)).total_seconds()
    assert spread < 30, "mapped tasks are expanded and scheduled together"
    for name, value in (("buckets scheduled within", spread), ("and done within", whole)):
        record_property(name, value)
        print(f"{name:34} {value:.1f} s")  # noqa: T201 (pytest -s shows the figures)


def times(tasks, what):
    return [datetime.fromisoformat(task[what]) for task in tasks]
