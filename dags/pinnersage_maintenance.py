"""Maintenance: what nothing needs any more is removed from lake, stores and reports.

Runs at 05:00 UTC, after the daily run, and is about no day. What is kept how long stands under
`[retention]` in the settings.

| task | does |
|---|---|
| `plan` | says what would go, and why, and what stays for whom; changes nothing |
| `remove` | removes it; skipped when `dry_run` is ticked in the trigger form |
| `online` | moves feedback to the lake, removes online states that are over; skipped likewise |

What the live release or the way back from it names is never removed, nor what was worked on within
the grace. Every run's list is kept as `reports/maintenance/<day>.json`.

**If it fails.** Readers are untouched, and what is left goes with the next run: *Clear* the task or
wait for tomorrow. A store that is away is tried again twice. A manifest that cannot be read stops
everything, since what it names is not known: the error names the file.

**By hand.** `pinnersage maintain --dry-run`, then without; or

    airflow dags trigger pinnersage_maintenance --conf '{"dry_run": true}'

Pause this DAG while you look into what a release of long ago was made from, or while you backfill
days older than `retention.medoids_days`.
"""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from pinnersage_dags import DEFAULTS, PUBLISH, START, once

PARAMS = {
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Only say what would go, in the result of the task plan. Nothing is removed.",
    ),
}


def maintain(*, dry_run: bool) -> dict[str, Any]:
    """Report of ``pinnersage.maintain``, with the first things of each kind."""
    from pinnersage.maintain import run

    now = datetime.now(UTC)  # noqa: TID251 (the clock's place is here, at the edge)
    return once(lambda settings: run(now, settings, dry_run=dry_run).brief())


def keep() -> dict[str, Any]:
    """Report of ``pinnersage.online.keep``."""
    from pinnersage.online.keep import run

    now = datetime.now(UTC)  # noqa: TID251 (the clock's place is here, at the edge)
    return once(lambda settings: run(now, settings, dry_run=False))


@dag(
    schedule="0 5 * * *",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=PARAMS,
    doc_md=__doc__,
    tags=["pinnersage"],
)
def pinnersage_maintenance() -> None:
    @task(**PUBLISH)
    def plan() -> dict[str, Any]:
        return maintain(dry_run=True)

    @task(**PUBLISH)
    def remove() -> dict[str, Any]:
        if get_current_context()["params"]["dry_run"]:
            raise AirflowSkipException("A dry run: nothing is removed.")
        return maintain(dry_run=False)

    @task(**PUBLISH)
    def online() -> dict[str, Any]:
        return keep()

    plan() >> remove() >> online()


pinnersage_maintenance()
