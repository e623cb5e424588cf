"""Watch: whether what readers read is fresh enough.

Runs at five minutes past every hour, and is about no day. The live release is late when its day
ended more than `alerts.max_age_hours` ago: by default, when yesterday is not live by 06:00 UTC.

| task | does |
|---|---|
| `freshness` | sends the live release's gauges; fails if it is late, which alerts |

**If it fails.** The error says which day is live and since when. Look at the runs of
`pinnersage_daily` for the day after it: failed, waiting for a decision, or never started because
the DAG is paused or no worker takes its tasks. It alerts once an hour until a newer day is live;
a run that failed need not be cleared. While you know of it, pause this DAG.

**By hand.** `pinnersage freshness` says the same and ends with exit code 1 if it is late.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException
from pinnersage_dags import DEFAULTS, START, once
from pinnersage_observe import gauges


@dag(
    schedule="5 * * * *",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    doc_md=__doc__,
    tags=["pinnersage"],
)
def pinnersage_watch() -> None:
    @task(execution_timeout=timedelta(minutes=5))
    def freshness() -> dict[str, Any]:
        from pinnersage.freshness import run

        now = datetime.now(UTC)  # noqa: TID251 (the clock's place is here, at the edge)
        fresh = once(run, now)
        gauges(fresh)
        if fresh["late"]:
            raise AirflowFailException(fresh["says"])
        return fresh

    freshness()


pinnersage_watch()
