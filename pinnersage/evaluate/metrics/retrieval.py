"""Retrieval: how well candidates cover what users then did (section 5.3.1, and Table 1).

Two numbers say all about a target: its place among the candidates, and its best cosine to any of
them. A mask says which targets count. Pins that it leaves out are no targets then, but as
candidates they keep their places.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate.histories import Floats, Integers, Vectors
from pinnersage.evaluate.metrics.sums import (
    Cosines,
    Flags,
    Flat,
    Sums,
    agree,
    cases_of,
    mean,
    numbers,
    proportion,
    summed,
)

BLOCK = 1_024
"""Candidates, and targets, whose vectors are gathered at once."""


def places(recommended: Flat, targets: Flat) -> Integers:
    """Return where each target stands among its case's candidates.

    Parameters
    ----------
    recommended : Flat
        Candidates of n cases, best first; of a pin that comes twice the first place counts.
    targets : Flat
        Pins acted on in the same n cases, m together.

    Returns
    -------
    intp[m]
        From 0; -1 where the target is not recommended.

    Raises
    ------
    DataError
        The numbers of cases differ, or a row is negative.
    """
    _same_cases(recommended, targets)
    both = (recommended.rows, targets.rows)
    if any((rows < 0).any() for rows in both):
        raise DataError("A row is negative. Leave out pins that have no embedding.")
    place_of = np.full(1 + max((int(rows.max()) for rows in both if rows.size), default=0), -1)
    found = np.empty(targets.rows.size, np.intp)
    for given, wanted in _spans(recommended, targets):
        rows = recommended.rows[given]
        place_of[rows[::-1]] = np.arange(rows.size - 1, -1, -1)
        found[wanted] = place_of[targets.rows[wanted]]
        place_of[rows] = -1
    return found


def best_cosines(recommended: Flat, targets: Flat, matrix: Vectors) -> Cosines:
    """Return the best cosine of each target to any candidate of its case.

    Parameters
    ----------
    recommended, targets : Flat
        As for ``places``.
    matrix : float32[n_pins, d]
        Unit rows.

    Returns
    -------
    float32[m]
        Exactly 1 for a target that is recommended itself, whatever rounding makes of it, so that
        Relevance is never below Recall; minus infinity where nothing is recommended.
    """
    found = places(recommended, targets)
    best = np.where(found >= 0, 1.0, -np.inf).astype(np.float32)
    for given, wanted in _spans(recommended, targets):
        missing = np.flatnonzero(found[wanted] < 0) + wanted.start
        for some in _blocks(missing):
            best[some] = _best(targets.rows[some], recommended.rows[given], matrix)
    return best


def _best(targets: Integers, candidates: Integers, matrix: Vectors) -> Vectors:
    """Return the best cosine of each of a few targets to any of many candidates."""
    vectors = matrix[targets]
    best = np.full(targets.size, -np.inf, np.float32)
    for some in _blocks(candidates):
        np.maximum(best, (vectors @ matrix[some].T).max(axis=1), out=best)
    return best


def relevance(best: Cosines, targets: Flat, mask: Flags, threshold: float) -> Sums:
    """Return Relevance (5.3.1): the proportion of action pins near some recommended pin.

    Near is a cosine of at least ``threshold``; the paper's is 0.8. ``best`` (float[m]) comes from
    ``best_cosines``, ``mask`` (bool[m]) from ``counted``.
    """
    return proportion(numbers(best, "best cosines") >= float(threshold), targets.offsets, mask)


def recall(found: Integers, targets: Flat, mask: Flags) -> Sums:
    """Return Recall (5.3.1): the proportion of action pins that are in the recommended set.

    ``found`` (intp[m]) comes from ``places``, ``mask`` (bool[m]) from ``counted``.
    """
    return proportion(found >= 0, targets.offsets, mask)


def hit_rate(found: Integers, targets: Flat, mask: Flags, k: int) -> Sums:
    """Return hit rate at k: the share of cases with any target among the first k candidates.

    A mean over the cases that have a target that counts.
    """
    hits = proportion(_within(found, k), targets.offsets, mask)
    return mean((hits.hits > 0).astype(np.float64), hits.counts > 0)


def ndcg(found: Integers, targets: Flat, mask: Flags, k: int) -> Sums:
    """Return nDCG at k, with a gain of 1 for each target (Järvelin and Kekäläinen, 2002).

    The sum of 1 / log2(1 + rank) over the targets among the first k candidates, rank from 1, as a
    share of what the best order has: min(k, n) targets first, n the targets that count. A mean
    over the cases that have any.
    """
    within = _within(found, k) & mask
    gain = np.where(within, 1 / np.log2(2.0 + np.where(within, found, 0)), 0.0)
    n_targets = summed(mask, targets.offsets)
    return mean(summed(gain, targets.offsets) / _ideal(n_targets, k), n_targets > 0)


def _ideal(n_targets: Floats, k: int) -> Floats:
    """Return the largest DCG at k of cases with so many targets; 1 for none."""
    n_first = np.minimum(n_targets, k).astype(np.intp)
    by_size: Floats = np.cumsum(1 / np.log2(2.0 + np.arange(max(1, int(n_first.max(initial=1))))))
    return np.asarray(by_size[np.maximum(n_first, 1) - 1])


def mrr(found: Integers, targets: Flat, mask: Flags) -> Sums:
    """Return the mean reciprocal rank: 1 / rank of the first candidate that is a target.

    Rank from 1; 0 where no candidate is one. A mean over the cases that have a target that counts.
    The paper's Reciprocal Rank is another measure: see ``reciprocal_rank``.
    """
    there = summed(mask, targets.offsets) > 0
    hit, first = (found >= 0) & mask, np.full(there.size, np.inf)
    np.minimum.at(first, cases_of(targets.offsets)[hit], found[hit])
    return mean(1 / (1 + first), there)


def _within(found: Integers, k: int) -> Flags:
    if k < 1:
        raise ConfigError(f"k is {k}: candidates are judged by the first 1 or more.")
    return (found >= 0) & (found < k)


def _same_cases(recommended: Flat, targets: Flat) -> None:
    agree(recommended.rows, recommended.offsets)
    agree(targets.rows, targets.offsets)
    n, m = recommended.offsets.size - 1, targets.offsets.size - 1
    if n != m:
        raise DataError(f"Candidates are of {n} cases and targets of {m}. Give those of the same.")


def _spans(recommended: Flat, targets: Flat) -> Iterator[tuple[slice, slice]]:
    """Yield where each case's candidates are, and where its targets."""
    given, wanted = recommended.offsets.tolist(), targets.offsets.tolist()
    for (a, b), (c, d) in zip(pairwise(given), pairwise(wanted), strict=True):
        yield slice(a, b), slice(c, d)


def _blocks(values: Integers) -> list[Integers]:
    return [values[start : start + BLOCK] for start in range(0, values.size, BLOCK)]
