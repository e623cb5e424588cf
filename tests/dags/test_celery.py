"""Days by two Celery workers: a worker and the scheduler are killed, and the bytes hold.

Nine days; thirty with ``BACKFILL_DAYS=30``, as ``make chaos`` runs it.

PostgreSQL keeps the metadata and Celery's results, Redis carries the messages, the lake is a
folder that both workers see. Not every day waits for the one before it: a day's bytes come from
its own window. The overhead of a task is what it takes beyond its own work:

    from the end of the task before it until the scheduler has seen that it may run
    + from the message to the broker until its end is recorded, less the time in our code

Waiting for a free slot is neither: more machines mend it. Tasks that a kill held up are left out
of the figure, and counted.
"""

import json
import os
import shutil
from datetime import date, datetime, timedelta
from statistics import mean, median, quantiles

import pytest
from machines import Machines
from test_daily_run import MAKE_HOME, RUN_DAYS, live_release, manifests, python

pytestmark = [
    pytest.mark.service,
    pytest.mark.airflow,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
]

DAG = "pinnersage_daily"
FIRST = date(2020, 3, 11)
DAYS = [FIRST + timedelta(days=n) for n in range(int(os.environ.get("BACKFILL_DAYS", "9")))]
DAYS_AT_ONCE = 3
BAR_SECONDS = 5
PATIENCE = 2400

# As in airflow.cfg, but a dead worker is noticed sooner.
QUICKER = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "120",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "20",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A home that knows where its data is and has computed nothing yet."""
    folder = tmp_path_factory.mktemp("tiny")
    python(MAKE_HOME, folder)
    return folder / "home"


def succeeded(servers):
    return [day for day, state in servers.days(DAG, "backfill").items() if state == "success"]


def running_on(machines, servers, name):
    """A heavy task that a worker's own process runs at this moment."""
    url = f"/api/v2/dags/{DAG}/dagRuns/~/taskInstances?state=running&limit=100"
    ours = machines.pids(name)
    for task in servers.api(url)["task_instances"]:
        if task["task_id"] in ("cluster", "validate") and task["pid"] in ours:
            return task
    return None


def test_a_backfill_survives_a_dead_worker_and_a_dead_scheduler(
    world, tiny, postgres, broker, tmp_path, record_property
):
    shutil.copytree(tiny, world.home, dirs_exist_ok=True)
    world.variables |= QUICKER
    with Machines(world, postgres, broker) as machines:
        machines.worker("one", "--concurrency", "4")
        machines.worker("two", "--concurrency", "4")
        servers = machines.servers()
        servers.unpause(DAG)
        servers.backfill(DAG, DAYS[0], DAYS[-1], at_once=DAYS_AT_ONCE)

        machines.until(
            "a third of the days", lambda: len(succeeded(servers)) >= len(DAYS) // 3, PATIENCE
        )
        killed = machines.until("work on two", lambda: running_on(machines, servers, "two"), 120)
        machines.kill("two")

        machines.until(
            "two thirds", lambda: len(succeeded(servers)) >= 2 * len(DAYS) // 3, PATIENCE
        )
        machines.kill("scheduler")
        machines.start_scheduler()
        machines.until("all days", lambda: len(succeeded(servers)) == len(DAYS), PATIENCE)

        kills = list(machines.kills)
        runs = [run for run in servers.runs(DAG) if run["run_type"] == "backfill"]
        tasks = [task for run in runs for task in servers.tasks(DAG, run["dag_run_id"])]
        again = servers.api(
            f"/api/v2/dags/{DAG}/dagRuns/{killed['dag_run_id']}/taskInstances/"
            f"{killed['task_id']}/{killed['map_index']}/tries"
        )["task_instances"]

    # The kill hit a task at work, and the second try mended it.
    assert {t["try_number"]: t["state"] for t in again} == {1: "failed", 2: "success"}
    assert {run["partition_key"]: run["state"] for run in runs} == {
        day.isoformat(): "success" for day in DAYS
    }
    assert min(machines.taken("one"), machines.taken("two")) > len(tasks) / 10, "both worked"

    by_library = tmp_path / "library"
    shutil.copytree(tiny, by_library)
    python(RUN_DAYS, by_library, *DAYS)
    expected = manifests(by_library)
    ours = manifests(world.home)
    compared = {place for place in ours if place.startswith("parity/")}
    assert len(compared) == len(DAYS)  # with the day before, if that was there by then
    assert {place: ours[place] for place in ours.keys() - compared} == {
        place: expected[place] for place in ours.keys() - compared
    }
    assert {f"medoids/day={day}/manifest.json" for day in DAYS} <= set(ours)
    assert live_release(world.home)["medoids"]["day"] == DAYS[-1].isoformat()

    report(runs, tasks, kills, world.airflow_home / "logs", record_property)


# --- figures -----------------------------------------------------------------------------------


def report(runs, tasks, kills, logs, record_property):
    """Print what a task costs beyond its work; fails beyond the bar."""
    started = {run["dag_run_id"]: run["start_date"] for run in runs}
    whole = seconds(min(started.values()), max(run["end_date"] for run in runs))
    sound = [task for task in tasks if not held_up(task, ready(task, tasks, started), kills)]
    works = [work(task, logs) for task in sound]
    overheads = [
        seconds(ready(task, tasks, started), task["scheduled_when"])
        + seconds(task["queued_when"], task["end_date"])
        - worked
        for task, worked in zip(sound, works, strict=True)
    ]
    figures = {
        "days": len(runs),
        "tasks": len(tasks),
        "tasks that a kill held up": len(tasks) - len(sound),
        "seconds in all": round(whole),
        "overhead a task, mean": round(mean(overheads), 2),
        "overhead a task, median": round(median(overheads), 2),
        "overhead a task, 95 of 100 below": round(quantiles(overheads, n=20)[-1], 2),
        "work a task, mean": round(mean(works), 2),
    }
    for name, value in figures.items():
        record_property(name, value)
        print(f"{name:34} {value}")  # noqa: T201 (pytest -s shows the figures)
    assert mean(overheads) < BAR_SECONDS


def ready(task, tasks, started):
    """When the last of the tasks before it had ended, or else its run began."""
    before = [t["end_date"] for t in tasks if t["dag_run_id"] == task["dag_run_id"]]
    return max([started[task["dag_run_id"]], *(e for e in before if e <= task["scheduled_when"])])


def held_up(task, since, kills):
    """Whether something was killed between a task's being ready and its end."""
    span = datetime.fromisoformat(since), datetime.fromisoformat(task["end_date"])
    return task["try_number"] > 1 or any(span[0] <= kill <= span[1] for kill in kills)


def work(task, logs):
    """Seconds in our code: from the end of Airflow's own start-up to what it does afterwards."""
    index = f"map_index={task['map_index']}" if task["map_index"] >= 0 else ""
    folder = logs / f"dag_id={DAG}" / f"run_id={task['dag_run_id']}" / f"task_id={task['task_id']}"
    began = ended = None
    for line in (folder / index / "attempt=1.log").read_text().splitlines():
        entry = json.loads(line)
        if began is None and entry["event"] == "::endgroup::":
            began = entry["timestamp"]
        if entry["event"] == "::group::Post Execute":
            ended = entry["timestamp"]
    return seconds(began, ended)


def seconds(start, end):
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
