"""Index: the pins worth finding, as a checked HNSW index.

Runs once for each day that `pinnersage_daily` publishes, with the same day as **partition
key**. While this DAG is paused such days are not queued up.

| task | does |
|---|---|
| `refine` | drops pins of low quality and near-duplicates, each with its reason |
| `index` | builds a new version and checks its counts and its recall against exact search |
| `release` | moves the live pointer, if this day is the live one or newer |

**If it fails.** Retrieval goes on with the index that is live. The last line of the failed
task's log says what is wrong and what to do. Failures that may pass are retried twice; anything
else fails at once: mend it, then *Clear* the failed task.

**One day by hand.** *Trigger* with the partition key set to the day, such as `2020-01-05`; or

    airflow dags trigger pinnersage_index --logical-date 2020-01-05

Several days: backfill `pinnersage_daily`; this DAG follows.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task
from pinnersage_dags import COMPUTE, DEFAULTS, MEDOIDS, PUBLISH, START, clock, day_of_run, once


@dag(
    schedule=PartitionedAssetTimetable(assets=MEDOIDS),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    doc_md=__doc__,
    tags=["pinnersage"],
)
def pinnersage_index() -> None:
    @task(**COMPUTE)
    def refine() -> dict[str, Any]:
        from pinnersage.refine import run

        return once(run, day_of_run())

    @task(**COMPUTE, execution_timeout=timedelta(hours=6))
    def index() -> dict[str, Any]:
        from pinnersage.index import run

        return once(run, day_of_run())

    @task(**PUBLISH, execution_timeout=timedelta(minutes=10))
    def release() -> dict[str, Any]:
        from pinnersage.release import release_index

        return once(release_index, day_of_run(), clock)

    refine() >> index() >> release()


pinnersage_index()
