"""Users: their actions to clusters with medoid and importance (paper, Algorithm 2).

Users lie one after another and share nothing, so a range of them is the unit of a thread's work.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pinnersage.kernels.collapse import collapse
from pinnersage.kernels.gather import narrow, vectors
from pinnersage.kernels.importance import importance
from pinnersage.kernels.medoid import medoids
from pinnersage.kernels.ward import ward

SHORTEST, LONGEST = 1e-20, 1e20
"""Squared lengths of a vector that has a direction."""


class Clusters(NamedTuple):
    """Clusters of each user, largest importance first."""

    labels: np.ndarray  # intp[n], cluster of each action within its user
    offsets: np.ndarray  # intp[n_users + 1] into the arrays below, one entry a cluster
    medoids: np.ndarray  # intp, position of the medoid's first action
    importance: np.ndarray  # float64
    n_actions: np.ndarray  # intp
    oldest_days: np.ndarray  # float64, age of the first action
    newest_days: np.ndarray  # float64, age of the last action
    cohesion: np.ndarray  # float64, mean cosine of the actions to the medoid
    medoid_offset: np.ndarray  # float64, ‖medoid - centroid of the actions‖²


@njit(cache=True, nogil=True)
def cluster_range(
    table: np.ndarray,
    rows: np.ndarray,
    offsets: np.ndarray,
    ages_days: np.ndarray,
    merge_threshold: float,
    decay_per_day: float,
    most: int,
) -> tuple[Clusters, int]:
    """Clusters of users that lie one after another.

    Parameters
    ----------
    table : float32, float64 or uint16 [n_rows, d]
        Embeddings, where uint16 are the bits of float16. Only the rows in use are read.
    rows : intp[n]
        Row of each action's pin.
    offsets : intp[n_users + 1]
        User i has the actions ``offsets[i] .. offsets[i + 1] - 1``; the first is 0.
    ages_days : float64[n]
        Age of each action, at least 0.
    merge_threshold, decay_per_day : float
        The paper's alpha and lambda, at least 0.
    most : int
        Most clusters that a matrix of distances is made for, see ``ward``.

    Returns
    -------
    clusters : Clusters
        Equal importance: later last action first, then the medoid of the smaller row.
        Positions count from the first action of the range.
    bad : int
        First action whose vector has no direction, -1 if there is none. If there is one, the
        clusters mean nothing.
    """
    found = _room(ages_days.size, offsets.size - 1)
    for user in range(offsets.size - 1):
        begin, end = offsets[user], offsets[user + 1]
        first, bad = found.offsets[user], -1
        if begin < end:
            one, bad = _cluster_user(
                table, rows[begin:end], ages_days[begin:end], merge_threshold, decay_per_day, most
            )
            _put(found, one, begin, first)
            first += one.medoids.size
        if bad >= 0:
            return found, begin + bad
        found.offsets[user + 1] = first
    return _first(found, found.offsets[-1]), -1


@njit(cache=True, nogil=True)
def _cluster_user(
    table: np.ndarray,
    rows: np.ndarray,
    ages_days: np.ndarray,
    merge_threshold: float,
    decay_per_day: float,
    most: int,
) -> tuple[Clusters, int]:
    """Algorithm 2 for one user, and its first action whose vector has no direction."""
    pins = collapse(rows)
    points, squares = vectors(table, rows[pins.firsts])
    for i in range(squares.size):
        if not SHORTEST <= squares[i] <= LONGEST:
            return _room(0, 0), pins.firsts[i]
    of_point, _ = ward(points, narrow(points), pins.weights, merge_threshold, most)
    n_clusters = of_point.max() + 1
    central = medoids(points, squares, pins.weights, of_point, n_clusters)
    labels = of_point[pins.of_action]
    scores = importance(ages_days, labels, n_clusters, decay_per_day)
    n_actions, oldest, newest = _spans(ages_days, labels, n_clusters)
    medoid_rows = rows[pins.firsts[central.points]]
    order = _order(scores, newest, medoid_rows)
    ranks = np.empty(n_clusters, np.intp)
    ranks[order] = np.arange(n_clusters)
    one = Clusters(
        ranks[labels],
        np.array([0, n_clusters]),
        pins.firsts[central.points[order]],
        scores[order],
        n_actions[order],
        oldest[order],
        newest[order],
        central.cohesion[order],
        central.offsets[order],
    )
    return one, -1


@njit(cache=True, nogil=True)
def _put(found: Clusters, one: Clusters, action: int, cluster: int) -> None:
    """Put one user's clusters where its actions and its clusters begin."""
    actions = slice(action, action + one.labels.size)
    own = slice(cluster, cluster + one.medoids.size)
    found.labels[actions] = one.labels
    found.medoids[own] = action + one.medoids
    found.importance[own] = one.importance
    found.n_actions[own] = one.n_actions
    found.oldest_days[own] = one.oldest_days
    found.newest_days[own] = one.newest_days
    found.cohesion[own] = one.cohesion
    found.medoid_offset[own] = one.medoid_offset


@njit(cache=True, nogil=True)
def _spans(
    ages_days: np.ndarray, labels: np.ndarray, n_clusters: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Actions of each cluster: how many, the largest age, the smallest age."""
    n_actions = np.zeros(n_clusters, np.intp)
    oldest, newest = np.zeros(n_clusters), np.full(n_clusters, np.inf)
    for i, label in enumerate(labels):
        n_actions[label] += 1
        oldest[label] = max(oldest[label], ages_days[i])
        newest[label] = min(newest[label], ages_days[i])
    return n_actions, oldest, newest


@njit(cache=True, nogil=True)
def _order(scores: np.ndarray, newest: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Clusters by importance, largest first, then newest, then row: stable sorts, last key first.

    Medoids of one user never share a row, since equal rows are one point.
    """
    order = np.argsort(rows, kind="mergesort")
    order = order[np.argsort(newest[order], kind="mergesort")]
    return order[np.argsort(-scores[order], kind="mergesort")]


@njit(cache=True, nogil=True)
def _room(n: int, n_users: int) -> Clusters:
    """Clusters to be filled: there are never more of them than actions."""
    return Clusters(
        np.empty(n, np.intp),
        np.zeros(n_users + 1, np.intp),
        np.empty(n, np.intp),
        np.empty(n),
        np.empty(n, np.intp),
        np.empty(n),
        np.empty(n),
        np.empty(n),
        np.empty(n),
    )


@njit(cache=True, nogil=True)
def _first(found: Clusters, k: int) -> Clusters:
    """The first ``k`` entries of each array that has one entry a cluster."""
    return Clusters(
        found.labels,
        found.offsets,
        found.medoids[:k].copy(),
        found.importance[:k].copy(),
        found.n_actions[:k].copy(),
        found.oldest_days[:k].copy(),
        found.newest_days[:k].copy(),
        found.cohesion[:k].copy(),
        found.medoid_offset[:k].copy(),
    )
