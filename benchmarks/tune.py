"""Tune: each kind of search set to find enough at the least CPU time, for ``costs``.

What trades time for recall is raised until enough is found, and no further. Where other settings
matter too, each of them is tried so, and the fastest is taken. A search that finds too little
whatever is set is set to find the most, and its recall on the page shows it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import searches
import timing
from batches import Floats
from lsh import Hash, Lsh, tables
from searches import Asked, Search

from pinnersage.stores.edge import EdgeReader
from pinnersage.stores.neighbours import Near
from pinnersage.stores.vectors import planned

RECALL = 0.99
"""Aimed for."""
DEEPER = [1.1 * 1.06**i for i in range(23)]
"""Times as many pins as are wanted are asked for, where some are dropped afterwards."""
EF = [round(16 * 1.08**i) for i in range(70)]
PROBES = [round(4 * 1.15**i) for i in range(64)]
HASHES = (Hash(14, 1), Hash(3, 16), Hash(2, 32), Hash(2, 64))
"""12 and 16 planes, (3, 32) and (2, 128) were tried too, at a recall of 0.98, and took longer."""
TABLES = (16, 32, 64)
"""8, and 128 of (2, 64), were no faster."""


class Trial(NamedTuple):
    """Requests to try a search on, and what is right."""

    asked: list[Asked]
    truth: list[list[Near]]

    def recall(self, search: Search) -> float:
        """Share of what is right that a search finds."""
        return searches.recall(search, self.asked, self.truth)

    def cpu(self, search: Search) -> float:
        """CPU seconds of all requests: the lower of two runs."""
        return min(timing.cost(lambda: [search(one) for one in self.asked]).cpu for _ in range(2))


class Tuned(NamedTuple):
    """A search, how it is set, and how it did."""

    search: Search
    how: dict[str, Any]
    recall: float
    cpu: float


def hnsw(index: EdgeReader, each: int, trial: Trial) -> Tuned:
    """Search an index of good pins."""
    limit = each + 1
    return least(
        widths(index, limit),
        lambda ef: searches.by_hnsw(index, None, each, limit, ef),
        {"depth": limit},
        "ef",
        trial,
    )


def hnsw_of_all(index: EdgeReader, kept: np.ndarray, each: int, trial: Trial) -> Tuned:
    """Search an index of all pins deep enough for good ones."""

    def deep(limit: int) -> Tuned:
        return least(
            widths(index, limit),
            lambda ef: searches.by_hnsw(index, kept, each, limit, ef),
            {"depth": limit},
            "ef",
            trial,
        )

    return best([deep(round(times * (each + 1))) for times in DEEPER])


def widths(index: EdgeReader, limit: int) -> list[int]:
    """The ef that an index really searches with, ascending: never less than suits the limit."""
    return sorted({planned(limit, ef, len(index), index, 0, filtered=False).ef for ef in EF})


def lsh(
    matrix: Floats, kept: np.ndarray, each: int, trial: Trial, rng: np.random.Generator
) -> tuple[Tuned, int]:
    """Search by LSH among all pins, and the bytes of its tables.

    What it meets has been compared already, so it is asked as deep as any: that costs nothing.
    """
    limit = round(DEEPER[-1] * (each + 1))

    def tried() -> Iterator[tuple[Tuned, int]]:
        for how in HASHES:
            every = tables(matrix, how, TABLES[-1], rng)
            for n_tables in TABLES:
                index = Lsh(matrix, every.first(n_tables))
                found = least(
                    PROBES,
                    lambda probes, index=index: searches.by_lsh(index, kept, each, limit, probes),
                    {"hashes": how.hashes, "directions": how.directions, "tables": n_tables},
                    "probes",
                    trial,
                )
                yield found, index.tables.bytes

    found = list(tried())
    chosen = best([one for one, _ in found])
    return chosen, next(size for one, size in found if one is chosen)


def best(found: Sequence[Tuned]) -> Tuned:
    """The fastest of those that find enough; else the one that finds the most."""
    enough = [one for one in found if one.recall >= RECALL]
    if enough:
        return min(enough, key=lambda one: one.cpu)
    return max(found, key=lambda one: one.recall)


def least(
    values: Sequence[int],
    make: Callable[[int], Search],
    how: dict[str, Any],
    name: str,
    trial: Trial,
) -> Tuned:
    """The search of the lowest of ascending values that finds enough, or of the last."""
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if trial.recall(make(values[middle])) >= RECALL:
            high = middle
        else:
            low = middle + 1
    search = make(values[low])
    return Tuned(search, how | {name: values[low]}, trial.recall(search), trial.cpu(search))
