"""What the DAG files share: the pools, the asset, the day of a run, what is retried.

Not a DAG file itself (.airflowignore). It is imported while DAG files are parsed, so it
imports nothing of ``pinnersage`` at the top.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, get_current_context
from airflow.sdk.exceptions import AirflowFailException

START = datetime(1990, 1, 1, tzinfo=UTC)
"""Before any event log. Without catchup it starts nothing; it only permits backfills."""

COMPUTE = {"pool": "pinnersage_compute", "queue": "compute"}
"""Tasks that fill a core and a bucket's memory: a slot a core, on workers of that queue."""
PUBLISH = {"pool": "pinnersage_publish", "queue": "publish"}
"""Whatever writes to the stores or moves the live release: one at a time."""

MEDOIDS = Asset("medoids", uri="pinnersage://medoids")
"""A day's medoids were published; the partition key of the event is the day."""

DEFAULTS: dict[str, Any] = {
    "owner": "pinnersage",
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": True,
    "execution_timeout": timedelta(hours=2),
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


def over(day: date) -> date:
    """``day``, if it is over: a day computed too early would keep the true ones from going live."""
    today = datetime.now(UTC).date()  # noqa: TID251 (the clock's place is here, at the edge)
    if day >= today:
        raise AirflowFailException(
            f"{day} is not over: it is {today} in UTC. Run it after its end, at 00:00 UTC."
        )
    return day


def once(run: Callable[..., Any], *args: object) -> dict[str, Any]:
    """Report of ``run(*args, settings)`` as plain data; only a ``TransientError`` is retried."""
    from pinnersage.config import load
    from pinnersage.errors import TransientError

    try:
        return run(*args, load()).model_dump(mode="json")
    except TransientError:
        raise
    except Exception as error:
        raise AirflowFailException(f"{type(error).__name__}: {error}") from error
