"""Several medoids: more than one pin stands for a cluster of many actions (section 7).

A cluster of n actions has ⌈n / actions_per_medoid⌉ medoids at most. The first is the paper's
(eq. 2); each next one is the member that brings the cluster's actions nearest to their medoids
(greedy k-medoids), until nothing comes nearer. Each medoid has the importance (eq. 3) of the
actions nearest to it, so that the cluster's stays as it is.
"""

from dataclasses import dataclass

import numpy as np

from pinnersage.evaluate.histories import (
    Floats,
    Histories,
    Integers,
    Represented,
    Vectors,
    offsets_of,
)
from pinnersage.evaluate.models import Fixed, PinnerSage, by_cluster

NEAR = 1e-6
"""Squared distance within which two pins are copies."""
TIE = 1e-9
"""Share by which gains differ through rounding alone."""


@dataclass(frozen=True)
class SeveralMedoids(Fixed):
    """PinnerSage with a medoid for every so many actions of a cluster."""

    plain: PinnerSage
    actions_per_medoid: int
    """At least 1."""

    @property
    def name(self) -> str:
        """The row's name."""
        return f"{self.plain.name}, a medoid per {self.actions_per_medoid} actions"

    def represent(self, histories: Histories) -> Represented:
        """Return one vector a medoid; of equal weight the more important cluster's first."""
        clusters = self.plain.clusters(histories)
        weights = np.exp(-self.plain.decay_per_day * histories.ages_days)
        order, begins = by_cluster(histories, clusters)
        most = -(-clusters.n_actions // self.actions_per_medoid)
        rows = [np.array([row]) for row in histories.rows[clusters.medoids]]
        shares = [np.array([importance]) for importance in clusters.importance]
        for number in np.flatnonzero(most > 1):
            own = order[begins[number] : begins[number + 1]]
            first = int(rows[number][0])
            rows[number], shares[number] = spread(
                self.plain.matrix, histories.rows[own], weights[own], first, int(most[number])
            )
        return self._sorted(rows, shares, clusters.offsets)

    def _sorted(self, rows: list[Integers], shares: list[Floats], offsets: Integers) -> Represented:
        """Return the medoids of all clusters by user and weight."""
        of_cluster = np.array([part.size for part in rows], np.intp)
        of_user = np.diff(offsets_of(of_cluster)[offsets])
        users = np.repeat(np.arange(of_user.size), of_user)
        found = np.concatenate([np.empty(0, np.intp), *rows])
        weights = np.concatenate([np.empty(0), *shares])
        order = np.lexsort((-weights, users))
        vectors = self.plain.matrix[found[order]]
        return Represented(offsets_of(of_user), vectors, weights[order], found[order])


def spread(
    matrix: Vectors, rows: Integers, weights: Floats, first: int, most: int
) -> tuple[Integers, Floats]:
    """Return medoids of one cluster, in the order in which they are found, and their importance.

    Parameters
    ----------
    matrix : float32[n_pins, d]
        Unit rows.
    rows, weights : intp[n], float64[n]
        Of the cluster's actions, oldest first.
    first : int
        Row of the first medoid, which is among ``rows``.
    most : int
        Medoids, at least 1; copies of one are none, and there are no more than different pins.

    Returns
    -------
    tuple of intp[k] and float64[k]
        Of members that gain equally the earliest action's; an action as near to two medoids is
        the first one's.
    """
    _, begins, inverse, counts = np.unique(
        rows, return_index=True, return_inverse=True, return_counts=True
    )
    pins = rows[begins]
    points = matrix[pins].astype(np.float64)
    apart = np.maximum(2 - 2 * points @ points.T, 0)
    apart[apart < NEAR] = 0
    chosen = [int(np.flatnonzero(pins == first)[0])]
    nearest = apart[:, chosen[0]].copy()
    earliest_first = np.argsort(begins)
    while len(chosen) < most:
        gains = counts @ np.maximum(nearest[:, None] - apart, 0)
        if gains.max() <= NEAR:
            break
        equal = gains >= gains.max() * (1 - TIE)
        chosen.append(int(earliest_first[np.argmax(equal[earliest_first])]))
        nearest = np.minimum(nearest, apart[:, chosen[-1]])
    owner = apart[:, chosen].argmin(axis=1)[inverse]
    importance = np.bincount(owner, weights=weights, minlength=len(chosen)).astype(np.float64)
    owning = importance > 0
    return pins[chosen][owning], importance[owning]
