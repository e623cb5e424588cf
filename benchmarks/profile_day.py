"""Profile of a day: where the time of ``cluster``, ``validate`` and ``publish`` goes.

The steps run again over a home, on one thread, so that Python's profiler sees all of it; a part
is the time spent in one function and whatever it calls. What no part names is the rest. A day
that is published already is not published again.

    PINNERSAGE_HOME=… python benchmarks/profile_day.py 2026-03-31
"""

import cProfile
import json
import pstats
import sys
import time
from collections.abc import Callable
from datetime import date
from typing import Any

from pinnersage import cluster, publish, validate
from pinnersage.config import home_from_environment, load

PARTS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "cluster": (
        ("extract.py", "label", "DuckDB: read the bucket, join pins' rows, mark what is left out"),
        ("extract.py", "chunks", "DuckDB: sort users' actions; Arrow to NumPy"),
        ("model.py", "cluster_users", "kernels: Ward, medoids, importance"),
        ("cluster.py", "medoid_table", "NumPy to Arrow"),
        ("core.py", "write_table", "Parquet"),
        ("cluster.py", "measure", "DuckDB: hash of the content"),
        ("extract.py", "check", "DuckDB: checks of the window"),
        ("lake.py", "add", "hash and sync of the file"),
        ("queries.py", "connect", "opening DuckDB"),
    ),
    "validate": (
        ("extract.py", "label", "DuckDB: the window's actions, read anew"),
        ("validate.py", "audited", "DuckDB: medoids and users beside their actions"),
        ("quality.py", "whole_frame", "importing Great Expectations"),
        ("quality.py", "judge", "Great Expectations: judging (its import apart)"),
        ("validate.py", "measures_of", "DuckDB: measures and histograms"),
        ("queries.py", "connect", "opening DuckDB"),
    ),
    "publish": (
        ("packing.py", "pack_users", "packing"),
        ("lmdb_store.py", "_fill", "packing, LMDB and sync"),
    ),
}
INSIDE = {("validate", "judge"): "whole_frame", ("publish", "_fill"): "pack_users"}
"""Parts that hold another one, which is taken off."""


def main() -> None:
    """Print each step's parts, the largest first."""
    day, settings = date.fromisoformat(sys.argv[1]), load(home_from_environment())
    steps: dict[str, Callable[[], Any]] = {
        "cluster": lambda: list(cluster.run_all(day, settings)),
        "validate": lambda: validate.run(day, settings),
        "publish": lambda: publish.run(day, settings),
    }
    print(json.dumps([part for name, step in steps.items() for part in parts(name, step)]))


def parts(name: str, step: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return the parts of one step, and what is left."""
    profiler, began = cProfile.Profile(), time.perf_counter()
    profiler.runcall(step)
    whole = time.perf_counter() - began
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    seconds = {function: cumulative(stats, file, function) for file, function, _ in PARTS[name]}
    for (of, outer), inner in INSIDE.items():
        if of == name:
            seconds[outer] -= seconds[inner]
    found = [{"step": name, "what": what, "seconds": round(seconds[function], 2)}
             for _, function, what in PARTS[name]]  # fmt: skip
    rest = whole - sum(seconds.values())
    found.append({"step": name, "what": "all else", "seconds": round(rest, 2)})
    return sorted(found, key=lambda part: -part["seconds"])


def cumulative(stats: dict[Any, Any], file: str, function: str) -> float:
    """Return the seconds in a function of ours, or of a library, and in what it calls."""
    found = [
        entry[3]
        for (path, _, name), entry in stats.items()
        if name == function and path.endswith(f"/{file}")
    ]
    if not found:
        sys.exit(f"profile: no call of {file}:{function}; mend PARTS in {__file__}")
    return float(sum(found))


if __name__ == "__main__":
    main()
