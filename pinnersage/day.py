"""Day: a whole day without Airflow, step after step, as the two DAGs would run it."""

from collections.abc import Callable
from datetime import date
from typing import Any

from pydantic import BaseModel

from pinnersage import cluster, index, parity, publish, refine, release, stage, validate
from pinnersage.config import Settings
from pinnersage.errors import PinnerSageError
from pinnersage.moves import Clock

Progress = Callable[[str, BaseModel], None]


def run(day: date, clock: Clock, settings: Settings, progress: Progress) -> dict[str, Any]:
    """Run every step for ``day``; ``progress`` hears of each as it ends.

    ``clock`` is asked when a release goes live: that is long after the start.

    Returns
    -------
    dict
        Each step's report by the step's name, ``cluster`` a list with one a bucket.
    """
    reports: dict[str, Any] = {"cluster": []}

    def done(step: str, report: BaseModel) -> None:
        progress(step, report)
        if step == "cluster":
            reports[step].append(report)
        else:
            reports[step] = report

    done("stage", stage.run(day, settings))
    for report in cluster.run_all(day, settings):
        done("cluster", report)
    try:
        done("parity", parity.run(day, settings))
    except PinnerSageError as error:  # a measurement keeps no day from being released
        done("parity", parity.Failed(day=day, error=str(error)))
    done("validate", validate.run(day, settings))
    done("publish", publish.run(day, settings))
    done("release", release.release_medoids(day, clock, settings))
    done("refine", refine.run(day, settings))
    done("index", index.run(day, settings))
    done("release index", release.release_index(day, clock, settings))
    return reports
