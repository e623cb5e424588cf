"""Near-duplicates: which better pin stands for a pin, if one does (paper, section 4.1.1).

Pins are taken best first. A pin within the threshold of one already kept is dropped, and the
nearest such pin stands for it; else it is kept (decision 4). What is compared with what:

- a few thousand pins are all compared, in blocks;
- more are first put into tables by the sides of random planes that they lie on (locality-sensitive
  hashing, Charikar 2002), and only pins that share a cell of some table are compared. Every cosine
  is then computed exactly, so nothing is dropped wrongly; a pair at the threshold is missed with a
  chance below ``MISSED``, nearer ones far more rarely still.

Where cells hold so many pins that the tables would save nothing, all are compared after all.
"""

import logging
from collections.abc import Iterator
from math import acos, ceil, log, pi

import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

BLOCK = 2_048
"""Pins whose cosines to all better ones are in memory at once."""
FEW = 20_000
"""Pins up to which all are compared: it takes a second."""
MISSED = 1e-4
"""Chance that a pair just at the threshold shares no cell."""
LEAST_PLANES = 12
"""Planes a table at least; more where pins are more, so that strangers seldom share a cell."""
MOST_TABLES = 128
CROWDED, ALIKE = 300, 20
"""Comparisons a pin, and near-duplicates a pin, above which all are compared."""
SEED = 20_200_823
_PAIRS = 16_384
_ROWS = 16_384
_TABLES = 8
"""Tables that are in memory at once."""

Positions = npt.NDArray[np.intp]
Cosines = npt.NDArray[np.float64]


def leaders(
    matrix: np.ndarray, rows: npt.NDArray[np.int64], threshold: float
) -> tuple[Positions, Cosines]:
    """Return which better pin stands for each pin.

    Parameters
    ----------
    matrix : float16 or float32 [n, d]
        Unit vectors.
    rows : int64[m]
        Pins to judge, best first.
    threshold : float
        Cosine from which two pins are near-duplicates; above 1 nothing is.

    Returns
    -------
    leader : intp[m]
        Position in ``rows`` of the kept pin that is nearest, the better one of equals; -1 for a
        pin that is kept.
    cosine : float64[m]
        Cosine to it; NaN for a pin that is kept.
    """
    if threshold > 1:
        return np.full(rows.size, -1, dtype=np.intp), np.full(rows.size, np.nan)
    if rows.size > FEW and n_tables(threshold, n_planes(rows.size)) <= MOST_TABLES:
        found = by_tables(matrix, rows, threshold)
        if found is not None:
            return found
        logger.warning(
            "%d pins are too alike for tables: all are compared, which takes long", rows.size
        )
    return by_comparing_all(matrix, rows, threshold)


def n_planes(n_pins: int) -> int:
    """Return how many planes a table has: about as many cells as half the pins."""
    return max(LEAST_PLANES, n_pins.bit_length() - 1)


def n_tables(threshold: float, planes: int) -> int:
    """Return how many tables leave a pair at the threshold apart with a chance of ``MISSED``.

    Two vectors at an angle lie on one side of a random plane with a chance of 1 - angle / π.
    """
    together = (1 - acos(min(1.0, max(-1.0, threshold))) / pi) ** planes
    if together >= 1 - MISSED:
        return 1
    return ceil(log(MISSED) / log(1 - together)) if together else MOST_TABLES + 1


def by_tables(
    matrix: np.ndarray, rows: npt.NDArray[np.int64], threshold: float
) -> tuple[Positions, Cosines] | None:
    """Return the leaders among pins that share a cell; None where cells are too crowded."""
    near = near_pairs(matrix, rows, threshold)
    if near is None:
        return None
    worse, better, cosine = near
    leader, found = np.full(rows.size, -1, dtype=np.intp), np.full(rows.size, np.nan)
    ends = np.append(np.flatnonzero(np.diff(worse)) + 1, worse.size)
    start = 0
    for end in ends[ends > 0].tolist():
        kept = np.flatnonzero(leader[better[start:end]] < 0) + start
        if kept.size:
            nearest_kept = kept[cosine[kept].argmax()]
            leader[worse[start]] = better[nearest_kept]
            found[worse[start]] = cosine[nearest_kept]
        start = end
    return leader, found


def near_pairs(
    matrix: np.ndarray, rows: npt.NDArray[np.int64], threshold: float
) -> tuple[Positions, Positions, Cosines] | None:
    """Return the pairs within the threshold that share a cell: worse pin, better pin, cosine.

    Ascending, each once; None where there are too many to be worth it.
    """
    m, compared = rows.size, 0
    known, of_known = np.empty(0, np.int64), np.empty(0)
    planes = n_planes(m)
    for codes in tables(matrix, rows, n_tables(threshold, planes), planes):
        keys, found, alike = [known], [of_known], known.size
        for first, second in pairs(codes):
            cosine = cosines(matrix, rows, first, second)
            near = cosine >= threshold
            worse, better = np.maximum(first, second)[near], np.minimum(first, second)[near]
            keys.append(worse * m + better)
            found.append(cosine[near])
            compared, alike = compared + first.size, alike + worse.size
            # Twice: what one table repeats of the others is not known before it is through.
            if compared > CROWDED * m or alike > 2 * ALIKE * m:
                return None
        known, places = np.unique(np.concatenate(keys), return_index=True)
        of_known = np.concatenate(found)[places]
        if known.size > ALIKE * m:
            return None
    return known // m, known % m, of_known


def tables(
    matrix: np.ndarray, rows: npt.NDArray[np.int64], n: int, planes: int
) -> Iterator[npt.NDArray[np.uint32]]:
    """Yield each table: the cell of every pin, uint32[m]; ``planes`` is at most 32."""
    rng = np.random.default_rng(SEED)
    weights = (1 << np.arange(planes)).astype(np.uint32)
    for first in range(0, n, _TABLES):
        some = min(_TABLES, n - first)
        normals = rng.standard_normal((matrix.shape[1], some * planes), dtype=np.float32)
        codes = np.empty((some, rows.size), np.uint32)
        for start in range(0, rows.size, _ROWS):
            block = np.asarray(matrix[rows[start : start + _ROWS]], dtype=np.float32)
            sides = (block @ normals > 0).reshape(len(block), some, planes)
            codes[:, start : start + len(block)] = (sides * weights).sum(axis=2, dtype=np.uint32).T
        yield from codes


def pairs(codes: npt.NDArray[np.uint32]) -> Iterator[tuple[Positions, Positions]]:
    """Yield pairs of pins that share a cell, a bounded number at a time, each pair once."""
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    places, apart = np.arange(codes.size), 0
    while True:
        apart += 1
        places = places[places < codes.size - apart]
        places = places[sorted_codes[places] == sorted_codes[places + apart]]
        if not places.size:
            return
        for start in range(0, places.size, _PAIRS):
            some = places[start : start + _PAIRS]
            yield order[some], order[some + apart]


def cosines(
    matrix: np.ndarray, rows: npt.NDArray[np.int64], first: Positions, second: Positions
) -> Cosines:
    """Return the cosine of each pair; the same whatever stands beside it."""
    one, other = (np.asarray(matrix[rows[p]], dtype=np.float32) for p in (first, second))
    found: npt.NDArray[np.float64] = np.einsum("ij,ij->i", one, other).astype(np.float64)
    return found


def by_comparing_all(
    matrix: np.ndarray, rows: npt.NDArray[np.int64], threshold: float
) -> tuple[Positions, Cosines]:
    """Return the leaders by comparing each pin with every better one that is kept, in blocks."""
    leader = np.full(rows.size, -1, dtype=np.intp)
    cosine = np.full(rows.size, np.nan)
    kept_vectors = np.empty((rows.size, matrix.shape[1]), dtype=np.float32)
    kept = np.empty(rows.size, dtype=np.intp)
    n_kept = 0
    for start in range(0, rows.size, BLOCK):
        block = np.asarray(matrix[rows[start : start + BLOCK]], dtype=np.float32)
        best, best_cosine = nearest(block, kept_vectors[:n_kept])
        inside = block @ block.T
        first = n_kept
        for i in range(len(block)):
            within = inside[i, kept[first:n_kept] - start]
            if within.size and within.max() > best_cosine[i]:
                best[i], best_cosine[i] = first + within.argmax(), within.max()
            if best_cosine[i] >= threshold:
                leader[start + i], cosine[start + i] = kept[best[i]], best_cosine[i]
            else:
                kept_vectors[n_kept], kept[n_kept] = block[i], start + i
                n_kept += 1
    return leader, cosine


def nearest(block: np.ndarray, kept: np.ndarray) -> tuple[Positions, Cosines]:
    """Return the nearest kept vector of each row of a block, and its cosine (-inf if none)."""
    if not len(kept):
        return np.zeros(len(block), dtype=np.intp), np.full(len(block), -np.inf)
    best = np.zeros(len(block), dtype=np.intp)
    cosine = np.full(len(block), -np.inf)
    for start in range(0, len(kept), BLOCK * 8):
        cosines_ = block @ kept[start : start + BLOCK * 8].T
        position = cosines_.argmax(axis=1)
        found = cosines_[np.arange(len(block)), position]
        better = found > cosine
        best[better], cosine[better] = position[better] + start, found[better]
    return best, cosine
