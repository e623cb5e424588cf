"""Evaluate: the release of the day before, measured on what users did on a day.

Runs once for each day that `pinnersage_daily` publishes, with the same day as **partition
key**: by then the day's actions are staged. While this DAG is paused such days are not queued up.

| task | does |
|---|---|
| `evaluate` | measures what was released for the day before; writes `metrics` and the pages |

Relevance, Recall and more of the released medoids, beside the last pin and a decayed average, are
in `reports/evaluation/daily/day=…/index.html`; `reports/evaluation/daily/index.html` shows all
days, and is linked under *Quality* in the menu. A day on which nobody acted, or before which
nothing was released, ends well and says so there.

**If it fails.** Nothing else is touched: no release waits for it. The last line of the task's log
says what is wrong and what to do. Failures that may pass are retried twice; anything else fails at
once: mend it, then *Clear* the task.

**One day by hand.** `pinnersage evaluate-release --day 2020-01-05`; or *Trigger* with the partition
key set to the day. Several days: backfill `pinnersage_daily`; this DAG follows.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task
from pinnersage_dags import COMPUTE, DEFAULTS, MEDOIDS, START, day_of_run, once


@dag(
    schedule=PartitionedAssetTimetable(assets=MEDOIDS),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    doc_md=__doc__,
    tags=["pinnersage"],
)
def pinnersage_evaluate() -> None:
    @task(**COMPUTE, execution_timeout=timedelta(hours=6))
    def evaluate() -> dict[str, Any]:
        from pinnersage.evaluate.daily import run

        return once(run, day_of_run())

    evaluate()


pinnersage_evaluate()
