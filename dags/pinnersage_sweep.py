r"""Sweep: how many clusters users would have at other merge thresholds (the paper's alpha).

No schedule: *Trigger* it and fill in the form. It clusters the day's users at each merge
threshold and writes a page that shows them side by side. Nothing is written to the lake and
nothing is published; to compute days with another merge threshold, change it in the settings.

| task | does |
|---|---|
| `buckets` | checks the form's values; the list of buckets to sweep |
| `sweep` | one bucket's users at each merge threshold; one mapped task a bucket |
| `report` | adds up the buckets; writes `reports/sweep/day=…/index.html` and the facts as JSON |

**If it fails.** Nothing else is touched. The last line of the failed task's log says what is
wrong; a value of the form that cannot be is said by `buckets` before anything is computed. The day
must be staged. Failures that may pass are retried twice; else mend it and *Clear* the task, or
trigger again with other values.

**By hand.** `pinnersage sweep --day 2020-01-05 --merge-thresholds 0.5,1,2`; or

    airflow dags trigger pinnersage_sweep \
        --conf '{"day": "2020-01-05", "merge_thresholds": [0.5, 1, 2], "buckets": [0]}'

A sweep costs as much as `cluster` for each threshold. A few buckets say nearly as much as all.
"""

from datetime import date, timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from pinnersage_dags import COMPUTE, DEFAULTS, START, once, over

PARAMS = {
    "day": Param(
        type="string",
        format="date",
        title="Day",
        description="A day that is staged, such as 2020-01-05: its window's actions are clustered.",
    ),
    "merge_thresholds": Param(
        [0.5, 1.0, 1.5, 2.0, 2.5],
        type="array",
        items={"type": "number", "minimum": 0},
        minItems=1,
        maxItems=20,
        uniqueItems=True,
        title="Merge thresholds (the paper's alpha)",
        description="Ward distances up to which clusters merge; a higher one gives fewer clusters.",
    ),
    "buckets": Param(
        None,
        type=["null", "array"],
        items={"type": "integer", "minimum": 0},
        minItems=1,
        uniqueItems=True,
        title="Buckets",
        description="Buckets of users to sweep, such as [0, 3]. Empty: all.",
    ),
}


def day_of_form() -> date:
    """Day that the form names, if it is over."""
    text = get_current_context()["params"]["day"]
    try:
        return over(date.fromisoformat(text))
    except ValueError as error:
        raise AirflowFailException(
            f"day {text!r} is no day. Give one such as 2020-01-05."
        ) from error


@dag(
    schedule=None,
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=PARAMS,
    doc_md=__doc__,
    tags=["pinnersage"],
)
def pinnersage_sweep() -> None:
    @task(execution_timeout=timedelta(minutes=5))
    def buckets() -> list[int]:
        from pinnersage.sweep import ask

        day_of_form()
        form = get_current_context()["params"]
        wanted: list[int] = once(ask, form["merge_thresholds"], form["buckets"])["buckets"]
        return wanted

    @task(**COMPUTE, map_index_template="bucket {{ task.op_kwargs['bucket'] }}")
    def sweep(bucket: int) -> dict[str, Any]:
        from pinnersage.sweep import run

        return once(run, day_of_form(), bucket, get_current_context()["params"]["merge_thresholds"])

    @task(execution_timeout=timedelta(minutes=10))
    def report(reports: Any) -> dict[str, Any]:
        from pinnersage.sweep import finish

        return once(finish, day_of_form(), list(reports))

    report(sweep.expand(bucket=buckets()))


pinnersage_sweep()
