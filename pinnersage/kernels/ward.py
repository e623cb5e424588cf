"""Ward: groups of points, merged while their Ward distance is within a threshold.

    d(i, j) = 2 wᵢ wⱼ / (wᵢ + wⱼ) · ‖cᵢ - cⱼ‖²        (paper, Algorithm 1 and eq. 1)

This is the paper's d (‖Pᵢ - Pⱼ‖² for two pins of weight 1) and the square of SciPy's
merge height. Clusters are kept as weighted centroids, so distances are computed when they
are looked at and memory is O(m·d), whatever the number of points m.

A nearest-neighbour chain finds pairs that are each other's nearest. By Lemma 8.1 a merge
brings no cluster nearer to a third, so a cluster whose nearest neighbour lies beyond the
threshold can never merge again: it is retired, and the rest has fewer rows to look at.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pinnersage.kernels.distance import squared_distance

_FIRST_BLOCK = 16


class _Active(NamedTuple):
    """Clusters that may still merge, packed into the first slots; changed in place."""

    centroids: np.ndarray  # float64[m, d padded with zeros]
    weights: np.ndarray  # float64[m]
    members: np.ndarray  # intp[m], smallest point of the cluster in each slot: its name
    slots: np.ndarray  # intp[m], slot of each name, -1 once merged away or retired


@njit(cache=True, nogil=True)
def ward(points: np.ndarray, weights: np.ndarray, merge_threshold: float) -> np.ndarray:
    """Cluster of each point, by Ward's method cut at ``merge_threshold``.

    Parameters
    ----------
    points : float64[m, d]
        Finite. Equal rows are fine; each counts.
    weights : float64[m]
        Number of actions each point stands for, at least 1.
    merge_threshold : float
        Largest d that still merges (the paper's alpha), at least 0; infinity merges all.

    Returns
    -------
    intp[m]
        Labels ``0 .. k - 1``, numbered in the order of each cluster's first point. Of
        several nearest neighbours the chain's predecessor wins, else the cluster whose
        first point is smallest.
    """
    m = points.shape[0]
    active = _every_point(points, weights)
    parents = np.arange(m)
    chain = np.empty(m, np.intp)
    links = np.empty(m)  # d from each cluster of the chain to the one before it
    depths = np.full(m, -1)  # where a name stands in the chain, -1 outside
    depth, first, n_active = 0, 0, m
    while n_active > 1:
        if depth == 0:
            while active.slots[first] < 0:
                first += 1
            chain[0], links[0], depths[first], depth = first, merge_threshold, 0, 1
        tip = chain[depth - 1]
        before = chain[depth - 2] if depth > 1 else -1
        nearest, distance = _nearest(active, n_active, tip, before, links[depth - 1])
        if nearest < 0:
            # Only the first of a chain gets here: any other has its predecessor in reach.
            _remove(active, n_active, tip)
            n_active -= 1
            depth = 0
        elif nearest == before:
            parents[max(tip, before)] = min(tip, before)
            _merge(active, n_active, min(tip, before), max(tip, before))
            n_active -= 1
            depths[tip] = depths[before] = -1
            depth -= 2
        elif depths[nearest] >= 0:
            # By a rounding error, a merge may bring a cluster nearer to an earlier part of the
            # chain than Lemma 8.1 allows. Each return to that part drops a link older than
            # the merge, and a newer link is never dropped so: it ends.
            while chain[depth - 1] != nearest:
                depth -= 1
                depths[chain[depth]] = -1
        else:
            chain[depth], links[depth], depths[nearest] = nearest, distance, depth
            depth += 1
    return _labels(parents)


@njit(cache=True, nogil=True)
def _every_point(points: np.ndarray, weights: np.ndarray) -> _Active:
    """Each point as a cluster of its own, its row padded so that blocks are whole."""
    m, d = points.shape
    padded = (d + _FIRST_BLOCK - 1) // _FIRST_BLOCK * _FIRST_BLOCK
    centroids = np.zeros((m, padded))
    centroids[:, :d] = points
    return _Active(centroids, weights.copy(), np.arange(m), np.arange(m))


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(
    active: _Active, n_active: int, tip: int, before: int, limit: float
) -> tuple[int, float]:
    """Nearest cluster to ``tip`` and its d; -1 if none is within ``limit``.

    ``before`` is the chain's predecessor, at d ``limit``, and wins a tie; -1 if none.

    A partial sum of squares can only grow, in floating point too, so a row is left as soon
    as it is beyond the best so far, and no distance that matters is rounded differently.
    """
    centroids, weights, members, slots = active
    slot = slots[tip]
    row, weight = centroids[slot], weights[slot]
    best, nearest = limit, before
    for other in range(n_active):
        if other == slot:
            continue
        factor = 2 * weight * weights[other] / (weight + weights[other])
        distance = _within(row, centroids[other], factor, best)
        if distance < best or (distance == best and nearest < 0):
            best, nearest = distance, members[other]
        elif distance == best and nearest != before:
            nearest = min(nearest, members[other])
    return nearest, best


@njit(cache=True, nogil=True)
def _within(a: np.ndarray, b: np.ndarray, factor: float, limit: float) -> float:
    """``factor`` times the squared distance, or any part of it that is beyond ``limit``."""
    total = 0.0
    start, step = 0, _FIRST_BLOCK
    while start < a.size:
        total += squared_distance(a[start : start + step], b[start : start + step])
        if factor * total > limit:
            break
        start += step
        step *= 2
    return factor * total


@njit(cache=True, nogil=True)
def _merge(active: _Active, n_active: int, kept: int, gone: int) -> None:
    """Put the merged cluster in the slot of ``kept``; equal centroids stay as they are."""
    to, at = active.slots[kept], active.slots[gone]
    weight = active.weights[to] + active.weights[at]
    share = active.weights[at] / weight
    row, other = active.centroids[to], active.centroids[at]
    for k in range(row.size):
        row[k] += share * (other[k] - row[k])
    active.weights[to] = weight
    _remove(active, n_active, gone)


@njit(cache=True, nogil=True)
def _remove(active: _Active, n_active: int, name: int) -> None:
    """Close the gap that ``name`` leaves with the last active cluster."""
    slot, last = active.slots[name], n_active - 1
    if slot != last:
        active.centroids[slot] = active.centroids[last]
        active.weights[slot] = active.weights[last]
        active.members[slot] = active.members[last]
        active.slots[active.members[slot]] = slot
    active.slots[name] = -1


@njit(cache=True, nogil=True)
def _labels(parents: np.ndarray) -> np.ndarray:
    """Number the roots in order; a parent stands before its children."""
    labels = np.empty(parents.size, np.intp)
    n_clusters = 0
    for i in range(parents.size):
        if parents[i] == i:
            labels[i] = n_clusters
            n_clusters += 1
        else:
            labels[i] = labels[parents[i]]
    return labels
