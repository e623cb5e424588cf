"""Searches: the nearest good pins of a request's queries, in every way that ``costs`` compares.

Good are the pins that refine keeps. A search of an index of all pins asks for more than it needs,
and drops the others afterwards by a list that it is given: to judge them at the request would cost
more.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from batches import Floats, Integers
from lsh import Lsh

from pinnersage.retrieve import without
from pinnersage.stores.edge import EdgeReader
from pinnersage.stores.neighbours import Memory, Near


class Asked(NamedTuple):
    """The queries of one request."""

    queries: Floats
    """float32[e, d]"""
    keys: list[int]
    """Name each query in a memory; no two are alike."""
    own: Integers
    """intp[e]: the query's own row, which it is not a neighbour of; -1 if it is no pin."""


Search = Callable[[Asked], list[Near]]


def exact(matrix: Floats, kept: np.ndarray, each: int) -> Search:
    """The nearest by comparing each query with all pins."""
    good = np.flatnonzero(kept)
    refined = matrix[good]

    def near(asked: Asked) -> list[Near]:
        found = []
        for cosines in asked.queries @ refined.T:
            best = np.argpartition(-cosines, each)[: each + 1] if each < good.size else slice(None)
            rows, some = good[best], cosines[best]
            order = np.lexsort((rows, -some))
            found.append(Near(rows[order], some[order]))
        return own_dropped(found, asked, each)

    return near


def by_lsh(index: Lsh, kept: np.ndarray, each: int, limit: int, probes: int) -> Search:
    """The nearest good pins among the ``limit`` nearest that some cells hold."""

    def near(asked: Asked) -> list[Near]:
        found = index.search(asked.queries, limit, probes)
        return own_dropped([good_alone(one, kept) for one in found], asked, each)

    return near


def by_hnsw(index: EdgeReader, kept: np.ndarray | None, each: int, limit: int, ef: int) -> Search:
    """The nearest among the ``limit`` nearest of an index; good ones alone, given which are."""

    def near(asked: Asked) -> list[Near]:
        result = index.search(asked.queries, limit, ef=ef)
        found = [Near(*one) for one in zip(result.rows, result.cosines, strict=True)]
        if kept is not None:
            found = [good_alone(one, kept) for one in found]
        return own_dropped(found, asked, each)

    return near


def remembering(search: Search, memory: Memory, each: int) -> Search:
    """A search, asked only for what is not remembered; as ``retrieve.Reader`` does it."""

    def near(asked: Asked) -> list[Near]:
        known = dict(zip(asked.keys, memory.get("i", each, asked.keys), strict=True))
        missing = [i for i, key in enumerate(asked.keys) if known[key] is None]
        if missing:
            keys = [asked.keys[i] for i in missing]
            found = search(Asked(asked.queries[missing], keys, asked.own[missing]))
            new = dict(zip(keys, found, strict=True))
            memory.put("i", each, new)
            known |= new
        return [one for one in known.values() if one is not None]

    return near


def good_alone(near: Near, kept: np.ndarray) -> Near:
    """The neighbours that refine keeps."""
    good = kept[near.rows]
    return Near(near.rows[good], near.cosines[good])


def own_dropped(found: list[Near], asked: Asked, each: int) -> list[Near]:
    """The nearest ``each`` that are not the query itself."""
    others = [without(one, own[None]) for one, own in zip(found, asked.own, strict=True)]
    return [Near(one.rows[:each], one.cosines[:each]) for one in others]


def recall(search: Search, asked: list[Asked], truth: list[list[Near]]) -> float:
    """Share of the nearest good pins that a search finds."""
    shares = [
        np.isin(right.rows, found.rows).mean()
        for one, rights in zip(asked, truth, strict=True)
        for found, right in zip(search(one), rights, strict=True)
    ]
    return float(np.mean(shares))
