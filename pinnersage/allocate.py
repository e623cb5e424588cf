"""Allocate: how many candidates each medoid brings, and in which order they stand (section 4).

Three policies. ``equal`` is the paper's: a few medoids are sampled, each brings as many pins.
``proportional`` and ``round_robin`` are ours and ask all medoids: the one gives each a share of
the candidates by importance and fills up what several brought (decision 44), the other takes them
in turns, the most important medoid first.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pinnersage.stores.neighbours import Near

Floats = npt.NDArray[np.float64]


class Picks(NamedTuple):
    """Candidates in their order: rows, cosines, and the medoid (by position) that brought each."""

    rows: npt.NDArray[np.int64]
    cosines: npt.NDArray[np.float32]
    medoids: npt.NDArray[np.intp]

    def __len__(self) -> int:
        """Candidates."""
        return len(self.rows)

    def at(self, places: npt.NDArray[np.intp] | list[int]) -> "Picks":
        """Return those at some places, in their order."""
        places = np.asarray(places, np.intp)
        return Picks(self.rows[places], self.cosines[places], self.medoids[places])


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


def merged(near: Sequence[Near], each: Sequence[int] | npt.NDArray[np.intp]) -> Picks:
    """Return the ``each[i]`` nearest pins of each medoid, best first, none twice.

    A pin that several brought keeps the nearest medoid, of equally near ones the first. Equal
    cosines stand by row.
    """
    given = _one_after_another(
        [Near(n.rows[:most], n.cosines[:most]) for n, most in zip(near, each, strict=True)]
    )
    return _nearest(given)


def _nearest(given: Picks) -> Picks:
    """Return each pin once, with the nearest medoid that brought it; best first, then by row."""
    best_first = given.at(np.lexsort((given.medoids, given.rows, -given.cosines)))
    _, first = np.unique(best_first.rows, return_index=True)
    return best_first.at(np.sort(first))


def filled(
    near: Sequence[Near], each: Sequence[int] | npt.NDArray[np.intp], n_candidates: int
) -> Picks:
    """Return candidates by shares, as many as are asked for also where neighbourhoods overlap.

    The i-th pin of a medoid with a share of s candidates has its turn at (i - 1/2) / s: at 1 all
    shares are full, and what several medoids brought is made up for by the next of each, again by
    shares. A pin that several brought keeps the nearest medoid, of equally near ones the first.
    Best first, equal cosines by row.

    Parameters
    ----------
    near : sequence of Near
        As deep as ``n_candidates``, or the candidates may be fewer.
    each : intp[k]
        Above 0.
    n_candidates : int
    """
    given = _one_after_another(near)
    turns = np.concatenate(
        [
            np.empty(0),
            *((np.arange(len(n.rows)) + 0.5) / s for n, s in zip(near, each, strict=True)),
        ]
    )
    in_turn = given.rows[np.lexsort((given.medoids, turns))]
    _, first = np.unique(in_turn, return_index=True)
    taken = in_turn[np.sort(first)[:n_candidates]]
    return _nearest(given.at(np.flatnonzero(np.isin(given.rows, taken))))


def in_turns(near: Sequence[Near], n_candidates: int) -> Picks:
    """Return candidates taken from the medoids in turns, in the order that they were taken.

    In each turn a medoid gives its nearest pin that no other has given.
    """
    given = _one_after_another(near)
    starts = np.cumsum([0, *(len(one.rows) for one in near)]).tolist()
    places = [iter(range(a, b)) for a, b in itertools.pairwise(starts)]
    rows, taken = given.rows.tolist(), dict[int, int]()
    while places and len(taken) < n_candidates:
        for left in list(places):
            place = next((place for place in left if rows[place] not in taken), None)
            if place is None:
                places.remove(left)
            elif len(taken) < n_candidates:
                taken[rows[place]] = place
    return given.at(list(taken.values()))


def _one_after_another(near: Sequence[Near]) -> Picks:
    """Return what all medoids have near them, the first one's first."""
    medoids = np.repeat(np.arange(len(near)), [len(one.rows) for one in near])
    rows = [np.empty(0, np.int64), *(one.rows for one in near)]
    cosines = [np.empty(0, np.float32), *(one.cosines for one in near)]
    return Picks(np.concatenate(rows), np.concatenate(cosines), medoids)


def diverse(picks: Picks, vectors: npt.NDArray[Any], relevance: float) -> Picks:
    """Return the same candidates by maximal marginal relevance (Carbonell and Goldstein, 1998).

    Parameters
    ----------
    picks : Picks
    vectors : float[n, d]
        Unit vector of each candidate.
    relevance : float
        1 orders by cosine to the medoid alone, 0 by how unlike the candidates before it.

    Returns
    -------
    Picks
        Each next one has the largest ``relevance · cosine - (1 - relevance) · max cosine to those
        before``; of equal ones the earlier in ``picks``.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    gain = relevance * picks.cosines.astype(np.float64)
    nearest, free = np.full(len(picks), -np.inf), np.ones(len(picks), dtype=bool)
    order: list[int] = []
    for _ in range(len(picks)):
        penalty = (1 - relevance) * nearest if order else 0.0
        chosen = int(np.argmax(np.where(free, gain - penalty, -np.inf)))
        order.append(chosen)
        free[chosen] = False
        nearest = np.maximum(nearest, vectors @ vectors[chosen])
    return picks.at(order)
