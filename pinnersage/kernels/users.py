"""Users: their actions to clusters with medoid and importance (paper, Algorithm 2).

Users lie one after another. Repeats of a pin are first collapsed into one weighted point,
which is exact for Ward and for the medoid and cheaper; importance still sees every action.
The caller gathers the points' vectors between the two steps, since only NumPy reads float16.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pinnersage.kernels.importance import importance
from pinnersage.kernels.medoid import medoids
from pinnersage.kernels.ward import ward


class Points(NamedTuple):
    """The distinct pins of each user, in order of their first action."""

    offsets: np.ndarray  # intp[n_users + 1] into the next two
    firsts: np.ndarray  # intp[m], position of the point's first action
    weights: np.ndarray  # float64[m], actions the point stands for
    of_action: np.ndarray  # intp[n], point of each action


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
def collapse(rows: np.ndarray, offsets: np.ndarray) -> Points:
    """Distinct rows of each user, with the number of times each occurs.

    Parameters
    ----------
    rows : intp[n]
        Row of the embedding table of each action.
    offsets : intp[n_users + 1]
        User i has the actions ``offsets[i] .. offsets[i + 1] - 1``; the first is 0.

    Returns
    -------
    Points
        The first action of a row within its user stands for it.
    """
    firsts = np.empty(rows.size, np.intp)
    for user in range(offsets.size - 1):
        start, end = offsets[user], offsets[user + 1]
        order = start + np.argsort(rows[start:end], kind="mergesort")
        for p in range(order.size):
            repeat = p > 0 and rows[order[p]] == rows[order[p - 1]]
            firsts[order[p]] = firsts[order[p - 1]] if repeat else order[p]
    return _number(firsts, offsets)


@njit(cache=True, nogil=True)
def _number(firsts: np.ndarray, offsets: np.ndarray) -> Points:
    """Points from the first action of each action's row, in order of position."""
    of_action = np.empty(firsts.size, np.intp)
    weights = np.zeros(firsts.size)
    positions = np.empty(firsts.size, np.intp)
    ends = np.zeros(offsets.size, np.intp)
    m = 0
    for user in range(offsets.size - 1):
        for i in range(offsets[user], offsets[user + 1]):
            if firsts[i] == i:
                of_action[i], positions[m] = m, i
                m += 1
            of_action[i] = of_action[firsts[i]]
            weights[of_action[i]] += 1
        ends[user + 1] = m
    return Points(ends, positions[:m].copy(), weights[:m].copy(), of_action)


@njit(cache=True, nogil=True)
def cluster_range(
    vectors: np.ndarray,
    points: Points,
    rows: np.ndarray,
    offsets: np.ndarray,
    ages_days: np.ndarray,
    merge_threshold: float,
    decay_per_day: float,
) -> Clusters:
    """Clusters of users that lie one after another.

    Parameters
    ----------
    vectors : float64[m, d]
        Vector of each point: finite, not zero.
    points : Points
        From ``collapse(rows, offsets)``.
    rows, offsets
        As in ``collapse``.
    ages_days : float64[n]
        Age of each action, at least 0.
    merge_threshold, decay_per_day : float
        The paper's alpha and lambda, at least 0.

    Returns
    -------
    Clusters
        Equal importance: later last action first, then the medoid of the smaller row.
        Positions count from the first action of the range.
    """
    found = _room(ages_days.size, points.firsts.size, offsets.size - 1)
    for user in range(offsets.size - 1):
        actions = slice(offsets[user], offsets[user + 1])
        own = slice(points.offsets[user], points.offsets[user + 1])
        one = _cluster_user(
            vectors[own],
            points.weights[own],
            points.of_action[actions] - points.offsets[user],
            rows[points.firsts[own]],
            ages_days[actions],
            merge_threshold,
            decay_per_day,
        )
        begin = found.offsets[user]
        end = begin + one.medoids.size
        found.offsets[user + 1] = end
        found.labels[actions] = one.labels
        found.medoids[begin:end] = points.firsts[own][one.medoids]
        found.importance[begin:end] = one.importance
        found.n_actions[begin:end] = one.n_actions
        found.oldest_days[begin:end] = one.oldest_days
        found.newest_days[begin:end] = one.newest_days
        found.cohesion[begin:end] = one.cohesion
        found.medoid_offset[begin:end] = one.medoid_offset
    return _first(found, found.offsets[-1])


@njit(cache=True, nogil=True)
def _cluster_user(
    vectors: np.ndarray,
    weights: np.ndarray,
    of_action: np.ndarray,
    rows: np.ndarray,
    ages_days: np.ndarray,
    merge_threshold: float,
    decay_per_day: float,
) -> Clusters:
    """Algorithm 2 for one user; ``medoids`` are points, ``rows`` has one entry a point."""
    of_point = ward(vectors, weights, merge_threshold)
    n_clusters = of_point.max() + 1 if of_point.size > 0 else 0
    central = medoids(vectors, weights, of_point, n_clusters)
    labels = of_point[of_action]
    scores = importance(ages_days, labels, n_clusters, decay_per_day)
    n_actions, oldest, newest = _spans(ages_days, labels, n_clusters)
    order = _order(scores, newest, rows[central.points])
    ranks = np.empty(n_clusters, np.intp)
    ranks[order] = np.arange(n_clusters)
    return Clusters(
        ranks[labels],
        np.array([0, n_clusters], np.intp),
        central.points[order],
        scores[order],
        n_actions[order],
        oldest[order],
        newest[order],
        central.cohesion[order],
        central.offsets[order],
    )


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
def _room(n: int, m: int, n_users: int) -> Clusters:
    """Clusters to be filled: there are never more of them than points."""
    return Clusters(
        np.empty(n, np.intp),
        np.zeros(n_users + 1, np.intp),
        np.empty(m, np.intp),
        np.empty(m),
        np.empty(m, np.intp),
        np.empty(m),
        np.empty(m),
        np.empty(m),
        np.empty(m),
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
