"""What the DAG files share: the pools, the asset, the day of a run, what is retried.

Not a DAG file itself (.airflowignore). It is imported while DAG files are parsed, so it
imports nothing of ``pinnersage`` at the top.
"""

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, Param, get_current_context
from airflow.sdk.exceptions import AirflowFailException
from pinnersage_alerts import Alert

log = logging.getLogger(__name__)

START = datetime(1990, 1, 1, tzinfo=UTC)
"""Before any event log. Without catchup it starts nothing; it only permits backfills."""

COMPUTE = {"pool": "pinnersage_compute", "queue": "compute"}
"""Tasks that fill a core and a bucket's memory: a slot a core, on workers of that queue."""
PUBLISH = {"pool": "pinnersage_publish", "queue": "publish"}
"""Whatever writes to the stores or moves the live release: one at a time."""

MEDOIDS = Asset("medoids", uri="pinnersage://medoids")
"""A day's medoids were published; the partition key of the event is the day."""

MODEL_PARAMS = {
    "merge_threshold": Param(
        None,
        type=["null", "number"],
        minimum=0,
        title="Merge threshold (the paper's alpha)",
        description="Largest Ward distance that still merges two clusters: larger means fewer, "
        "wider clusters. Empty: as in pinnersage.toml.",
    ),
    "decay_per_day": Param(
        None,
        type=["null", "number"],
        minimum=0,
        title="Decay per day (the paper's lambda)",
        description="How fast an action loses weight. 0: all count alike. Empty: as in "
        "pinnersage.toml.",
    ),
    "window_days": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        maximum=3650,
        title="Window in days",
        description="Days of actions, up to the day itself, that clusters are built from. Empty: "
        "as in pinnersage.toml.",
    ),
}
"""Fields of the trigger form that change the model for one run, all its tasks alike."""

DEFAULTS: dict[str, Any] = {
    "owner": "pinnersage",
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": True,
    "execution_timeout": timedelta(hours=2),
    "on_failure_callback": Alert("failure"),
}


def day_of_run() -> date:
    """Day that this run is about.

    Scheduled runs, backfills and runs that follow an asset carry it as partition key. A run
    by hand may give a logical date instead, as ``airflow dags test DAG DAY`` does: then the
    date given is the day.
    """
    run = get_current_context()["dag_run"]
    try:
        day = date.fromisoformat(run.partition_key) if run.partition_key else None
    except ValueError as error:
        raise AirflowFailException(
            f"Partition key {run.partition_key!r} is no day. Give one such as 2020-01-05."
        ) from error
    if day is None and run.logical_date:
        day = run.logical_date.astimezone(UTC).date()
    if day is None:
        raise AirflowFailException(
            "This run names no day: it has neither a partition key nor a logical date. "
            "Trigger it again with the partition key set to a day such as 2020-01-05."
        )
    return over(day)


def clock() -> datetime:
    """Return what time it is."""
    return datetime.now(UTC)  # noqa: TID251 (the clock's place is here, at the edge)


def over(day: date) -> date:
    """``day``, if it is over: a day computed too early would keep the true ones from going live."""
    today = clock().date()
    if day >= today:
        raise AirflowFailException(
            f"{day} is not over: it is {today} in UTC. Run it after its end, at 00:00 UTC."
        )
    return day


def model_of_run() -> dict[str, Any]:
    """What the run's trigger form says about the model; what it leaves empty is not in it."""
    params = get_current_context()["params"]
    return {name: params[name] for name in MODEL_PARAMS if params.get(name) is not None}


def buckets_of_run() -> list[int]:
    """Buckets that the run's trigger form names, or all of the settings'."""
    from pinnersage.config import load

    n_buckets = load().lake.n_buckets
    asked = get_current_context()["params"].get("buckets")
    if asked is None:
        return list(range(n_buckets))
    wrong = sorted(bucket for bucket in set(asked) if bucket >= n_buckets)
    if wrong or not asked:
        raise AirflowFailException(
            f"Buckets {wrong or asked} are none of 0 to {n_buckets - 1}. Trigger the run again."
        )
    return sorted({int(bucket) for bucket in asked})  # JSON Schema takes 1.0 for an integer


def judge(day: date) -> dict[str, Any]:
    """Report of ``validate``; the version of the day's quality report stays with the run.

    Failures that a person may waive do not end the run: the next task asks.
    """
    from pinnersage.errors import WaivableError
    from pinnersage.validate import run

    try:
        report = once(run, day)
    except AirflowFailException as error:
        if not isinstance(failed := error.__cause__, WaivableError):
            raise
        return {"day": day.isoformat(), "report": failed.report_version, "asks": str(failed)}
    keep_report(day, report["report"])
    return report


def keep_report(day: date, version: str) -> None:
    """Say which quality report is this run's, for its tab in the UI."""
    ti = get_current_context()["ti"]
    ti.xcom_push(key="quality_report", value={"day": day.isoformat(), "version": version})


def once(run: Callable[..., Any], *args: object) -> dict[str, Any]:
    """Report of ``run(*args, settings)`` as plain data; only a ``TransientError`` is retried."""
    from pinnersage_connections import to_environment
    from pinnersage_observe import lineage

    from pinnersage.config import load
    from pinnersage.errors import ChecksError, TransientError

    try:
        settings = load().with_model(**model_of_run())
        to_environment(settings)
        report = run(*args, settings).model_dump(mode="json")
    except TransientError:
        raise
    except Exception as error:
        if isinstance(error, ChecksError):
            keep_report(error.day, error.report_version)
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error
    try:
        lineage(run, settings, *args)
    except Exception:
        log.exception("The step is done, and its lineage cannot be told.")
    return report
