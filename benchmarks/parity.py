"""Parity: how near online comes to batch over some days (docs/how-to/online-parity.md).

    PINNERSAGE_HOME=/path python benchmarks/parity.py FIRST DAYS

Each day is staged, clustered and compared, and not judged: what the checks think of a log does not
matter here. Beside the true result stands that of a planted fault, the correction of medoids left
out, which is what the threshold of the quality report has to notice. Take a home made for it, of
one bucket, so that each day compares everybody.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from pinnersage import cluster, config, parity, stage, validate
from pinnersage.config import Settings
from pinnersage.online_against_batch import Agreement, Summary
from pinnersage.quality import QualityReport
from pinnersage.stores import open_lake

ROWS = {
    "all_users": "online and batch, all users",
    "up_to_max_actions": "up to 20 actions on the day",
    "stored_kept": "of these, whose stored clusters the batch keeps",
    "with_more": "more than 20, so that online lacks some",
    "sliding": "what the sliding window changes",
}


def without_correction(clusters: parity.Clusters, *given: Any, **more: Any) -> Any:
    """Return what online makes of stored medoids that are taken for centroids."""
    return parity_update(replace(clusters, offset=np.zeros(len(clusters.rows))), *given, **more)


parity_update = parity.update


def passed(day: date, settings: Settings) -> None:
    """Make the medoids of a day, as if it had been judged."""
    lake = open_lake(settings)
    if lake.current("medoids", day=day) is None:
        list(cluster.run_all(day, settings))
        report = QualityReport(day=day, outcomes=[], measures={})
        lake.commit(validate.day_manifest(report, validate.current_buckets(lake, day), settings))


def summaries(first: date, n_days: int, settings: Settings) -> Iterator[tuple[Summary, Summary]]:
    """Yield, for each day on which somebody acted, what was found and what the fault would give."""
    window = settings.model.window_days
    days = [first + timedelta(days=n) for n in range(-window, n_days)]
    stage.run_missing(days, settings)
    for day in days[window:]:
        passed(day - timedelta(days=1), settings)
        found = parity.run(day, settings)
        if found.not_measured:
            continue
        of = parity.comparable(day, found.bucket or 0, open_lake(settings), settings)
        parity.update = without_correction
        wrong, _ = parity.compared(of)
        parity.update = parity_update
        yield found, parity.summarised(wrong, {"bucket": 0, "max_actions": found.max_actions})


def mean(found: Sequence[Agreement], what: str) -> str:
    """Return a measure over several days, each user of a day counting once."""
    known = [(one.users, getattr(one, what)) for one in found if getattr(one, what) is not None]
    if not known:
        return "–"  # noqa: RUF001 (as the page has it)
    users, values = zip(*known, strict=True)
    value = float(np.average(values, weights=users))
    return f"{value:.4f}" if what == "cosine" else f"{value:.1%}"


def main(first: str, n_days: str) -> None:
    """Print a table in Markdown."""
    days = list(summaries(date.fromisoformat(first), int(n_days), config.load()))
    print("| | users | the same | medoids in common | cosine | the same without correction |")
    print("|---|---|---|---|---|---|")
    for name, words in ROWS.items():
        found, wrong = ([getattr(one, name) for one in side] for side in zip(*days, strict=True))
        users = sum(one.users for one in found)
        cells = [mean(found, what) for what in ("identical", "jaccard", "cosine")]
        fault = "–" if name == "sliding" else mean(wrong, "identical")  # noqa: RUF001
        print(f"| {words} | {users:,} | {' | '.join(cells)} | {fault} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
