"""Outcome: an experiment's report as a page for people, its intervals drawn on one scale.

The scale is the same for all intervals of a page, with 0 in the middle.
"""

from pathlib import Path

from pinnersage import pages
from pinnersage.experiment.analyse import ExperimentReport, LiftReport

LEAST = 0.01
"""The scale reaches at least as far: else noise around nothing looks large."""
HALF = 50.0


def write(report: ExperimentReport, path: Path) -> Path:
    """Write an experiment's page to the file that a person named."""
    reach = reach_of(report)
    drawn = [(lift, drawing(lift, reach)) for lift in report.lifts]
    values = {"report": report, "drawn": drawn, "reach": reach}
    return pages.write_page("experiment.html.j2", values, path)


def reach_of(report: ExperimentReport) -> float:
    """Return the largest distance from 0 that is drawn."""
    ends = [end for one in report.lifts for end in (one.low, one.high, one.lift) if end is not None]
    return max([LEAST, *(abs(end) for end in ends)])


def drawing(lift: LiftReport, reach: float) -> dict[str, float]:
    """Return where an interval begins, ends and has its lift, in percent of the width."""
    low, high = (-reach, reach) if lift.low is None or lift.high is None else (lift.low, lift.high)
    places = {"low": low, "at": lift.lift, "high": high}
    return {name: round(HALF + HALF * value / reach, 2) for name, value in places.items()}
