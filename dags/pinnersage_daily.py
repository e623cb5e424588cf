r"""Daily: yesterday's events to published medoids.

Runs at 02:00 UTC for the day before. The run's **partition key is the day**; every task
reads and writes the partitions of that day, so any run can be cleared and run again.

| task | does |
|---|---|
| `stage` | the day's raw events to bucketed actions |
| `buckets` | the list of buckets, from the settings |
| `cluster` | one bucket's users to medoids; one mapped task a bucket |
| `parity` | online results of one bucket's users against a batch; the quality report shows it |
| `compared` | nothing: lets the day go on, whatever `parity` came to |
| `validate` | the gate: Great Expectations over the whole day; a failure publishes nothing |
| `waive` | nothing, if the day passed; else asks a person, where all that failed may be waived |
| `publish` | the day's medoids to the key-value store, as a version nobody reads yet |
| `release` | moves the live pointer, if this day is the live one or newer |

When `release` is done, `pinnersage_index` follows with the same day.

**If it fails.** The live release is untouched. The last line of the failed task's log says what
is wrong, where, and what to do. Failures that may pass (a store is away) are retried twice;
anything else fails at once: mend the data or the settings, then *Clear* the failed task, or
the whole run. Later days do not wait for a failed one.

**If it waits.** Task `waive` is *awaiting input*: the day failed checks that a true day may break
too. Read the run's quality report, then answer under *Required Actions*: approve with a reason, or
reject. After 24 hours the task fails and nothing is published.

**Unpause first.** While the DAG is paused, neither the schedule nor a backfill starts a task.
Unpausing starts yesterday's day at once, and nothing older.

**One day by hand.** *Trigger* with the partition key set to the day, such as `2020-01-05`.

**With other values.** The form takes a merge threshold, a decay and a window for this run; what
it makes is published like any other. To try values first, use `pinnersage_sweep`.

**Backfill.** Days 5 to 7 January, both included. The end is an instant, and a day counts from
02:00, so give the end an hour. One run at a time, so that each day is checked against the day
before; its buckets run side by side all the same:

    airflow backfill create --dag-id pinnersage_daily --max-active-runs 1 \
        --from-date 2020-01-05 --to-date 2020-01-07T23:00 --reprocess-behavior completed

An old day's backfill writes its partitions and never replaces newer medoids. Each day it
publishes also builds an index; to build only the last one, pause `pinnersage_index` meanwhile.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import CronPartitionTimetable, Param, dag, task
from pinnersage_dags import (
    COMPUTE,
    DEFAULTS,
    MEDOIDS,
    MODEL_PARAMS,
    PUBLISH,
    START,
    buckets_of_run,
    clock,
    day_of_run,
    judge,
    once,
)
from pinnersage_waiver import WaiveOperator


@dag(
    schedule=CronPartitionTimetable(
        "0 2 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"
    ),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    params=MODEL_PARAMS
    | {
        "buckets": Param(
            None,
            type=["null", "array"],
            items={"type": "integer", "minimum": 0},
            title="Buckets",
            description="Buckets of users to cluster again, such as [0, 3]; the others keep what "
            "they have, which must come from the same inputs and settings. Empty: all.",
        )
    },
    default_args=DEFAULTS,
    doc_md=__doc__,
    tags=["pinnersage"],
)
def pinnersage_daily() -> None:
    @task(**COMPUTE)
    def stage() -> dict[str, Any]:
        from pinnersage.stage import run

        return once(run, day_of_run())

    @task(execution_timeout=timedelta(minutes=5))
    def buckets() -> list[int]:
        return buckets_of_run()

    @task(**COMPUTE, map_index_template="bucket {{ task.op_kwargs['bucket'] }}")
    def cluster(bucket: int) -> dict[str, Any]:
        from pinnersage.cluster import run

        return once(run, day_of_run(), bucket)

    @task(**COMPUTE)
    def parity() -> dict[str, Any]:
        from pinnersage.parity import run

        return once(run, day_of_run())

    @task(trigger_rule="all_done", execution_timeout=timedelta(minutes=5))
    def compared() -> None:
        """A measurement that failed is seen and told of, and stops no release."""

    @task(**COMPUTE)
    def validate() -> dict[str, Any]:
        return judge(day_of_run())

    @task(**PUBLISH)
    def publish() -> dict[str, Any]:
        from pinnersage.publish import run

        return once(run, day_of_run())

    @task(**PUBLISH, execution_timeout=timedelta(minutes=10), outlets=[MEDOIDS])
    def release(*, outlet_events: Any = None) -> dict[str, Any]:
        from pinnersage.release import release_medoids

        day = day_of_run()
        report = once(release_medoids, day, clock)
        outlet_events[MEDOIDS].add_partitions(day.isoformat())
        outlet_events[MEDOIDS].extra = report
        return report

    clustered = cluster.expand(bucket=buckets())
    judged = validate()
    waive = WaiveOperator(task_id="waive", judged=judged)
    staged = stage()
    staged >> clustered >> judged >> waive >> publish() >> release()
    staged >> parity() >> compared() >> judged


pinnersage_daily()
