"""Staging: how fast a new day of events comes in: Parquet to the day's buckets, by one command.

The day is large, so that the start of the process, which is in it, is a small part.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import day
import timing

from pinnersage.synthetic import World, write

SCALES = {
    "tiny": (1, 2_000),
    "quick": (2, 1_000_000),
    "usual": (3, 3_000_000),
    "full": (3, 10_000_000),
}
"""Rounds, and users of the day, each with a few events."""
BUCKETS = 16


def measure(scale: str) -> dict[str, Any]:
    """Facts of some days, each of a world of its own."""
    rounds, n_users = SCALES[scale]
    found = [one_day(n_users, seed) for seed in range(rounds)]
    return {
        "rows": found[0]["rows"],
        "buckets": BUCKETS,
        "threads": 2,
        "rounds": rounds,
        "rows_per_second": timing.spread([one["rows"] / one["seconds"] for one in found]),
        "rows_per_cpu_second": timing.spread([one["rows"] / one["cpu_seconds"] for one in found]),
        "peak_anonymous_mb": timing.spread([one["peak_anonymous_mb"] for one in found]),
    }


def one_day(n_users: int, seed: int) -> dict[str, Any]:
    """What ``pinnersage stage`` took for a day that is the only one of its window."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = World(n_users=n_users, n_pins=10_000, n_topics=100, dimensions=16, n_days=1,
                      first_day=day.DAY, seed=seed)  # fmt: skip
        write(world, folder / "world")
        variables = day.variables(folder / "home", 2) | {"PINNERSAGE__MODEL__WINDOW_DAYS": "1"}
        day.timed(day.init(folder / "world", BUCKETS), variables)
        step = day.timed(["stage", "--day", day.DAY.isoformat()], variables)
    return {"rows": step.pop("report")["rows"], **step}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
