"""Allocate: how many candidates each medoid brings, and in which order they stand (section 4).

Three policies. ``equal`` is the paper's: a few medoids are sampled, each brings as many pins.
``proportional`` and ``round_robin`` are ours and ask all medoids: the one gives each a share of
the candidates by importance, the other takes them in turns, the most important medoid first.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pinnersage.stores.neighbours import Near

Floats = npt.NDArray[np.float64]


class Pick(NamedTuple):
    """One candidate: its row, its cosine, and the medoid (by position) that brought it."""

    row: int
    cosine: float
    medoid: int


def shares(importance: Floats, n_candidates: int) -> npt.NDArray[np.intp]:
    """Return how many candidates each medoid brings, in proportion to importance.

    Parameters
    ----------
    importance : float64[k]
        Finite and above 0 (eq. 3), k at least 1.
    n_candidates : int

    Returns
    -------
    intp[k]
        Sums to ``n_candidates``: what whole numbers leave over goes to the largest remainders,
        of equal ones to the medoid that comes first.
    """
    exact = importance / importance.sum() * n_candidates
    whole: npt.NDArray[np.intp] = np.floor(exact).astype(np.intp)
    left = n_candidates - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:left]] += 1
    return whole


def merged(near: Sequence[Near], each: Sequence[int] | npt.NDArray[np.intp]) -> list[Pick]:
    """Return the ``each[i]`` nearest pins of each medoid, best first, none twice.

    A pin that several brought keeps the nearest medoid, of equally near ones the first. Equal
    cosines stand by row.
    """
    best: dict[int, Pick] = {}
    for medoid, (found, most) in enumerate(zip(near, each, strict=True)):
        for row, cosine in zip(found.rows[:most].tolist(), found.cosines.tolist(), strict=False):
            if row not in best or cosine > best[row].cosine:
                best[row] = Pick(row, cosine, medoid)
    return sorted(best.values(), key=lambda pick: (-pick.cosine, pick.row))


def in_turns(near: Sequence[Near], n_candidates: int) -> list[Pick]:
    """Return candidates taken from the medoids in turns, in the order that they were taken.

    In each turn a medoid gives its nearest pin that no other has given.
    """
    taken: dict[int, Pick] = {}
    queues = [_picks(found, medoid) for medoid, found in enumerate(near)]
    while queues and len(taken) < n_candidates:
        for queue in list(queues):
            pick = next((pick for pick in queue if pick.row not in taken), None)
            if pick is None:
                queues.remove(queue)
            elif len(taken) < n_candidates:
                taken[pick.row] = pick
    return list(taken.values())


def _picks(found: Near, medoid: int) -> Iterator[Pick]:
    for row, cosine in zip(found.rows.tolist(), found.cosines.tolist(), strict=True):
        yield Pick(row, cosine, medoid)


def diverse(picks: Sequence[Pick], vectors: npt.NDArray[Any], relevance: float) -> list[Pick]:
    """Return the same candidates by maximal marginal relevance (Carbonell and Goldstein, 1998).

    Parameters
    ----------
    picks : sequence of Pick
    vectors : float[n, d]
        Unit vector of each candidate.
    relevance : float
        1 orders by cosine to the medoid alone, 0 by how unlike the candidates before it.

    Returns
    -------
    list of Pick
        Each next one has the largest ``relevance · cosine - (1 - relevance) · max cosine to those
        before``; of equal ones the earlier in ``picks``.
    """
    if not picks:
        return []
    vectors = np.asarray(vectors, dtype=np.float32)
    gain = relevance * np.array([pick.cosine for pick in picks], dtype=np.float64)
    nearest, free = np.full(len(picks), -np.inf), np.ones(len(picks), dtype=bool)
    order: list[int] = []
    for _ in picks:
        penalty = (1 - relevance) * nearest if order else 0.0
        chosen = int(np.argmax(np.where(free, gain - penalty, -np.inf)))
        order.append(chosen)
        free[chosen] = False
        nearest = np.maximum(nearest, vectors @ vectors[chosen])
    return [picks[i] for i in order]
