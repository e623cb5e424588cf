"""Matrix-free: Ward's merges among very many clusters, in memory for their centroids alone.

Clusters are weighted float64 centroids and distances are computed when they are looked at, so
memory is O(n·d) for n clusters. It gives what ``chain`` gives, more slowly.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pinnersage.kernels.clusters import Clusters, find_centroid, join
from pinnersage.kernels.distance import squared_distance

_FIRST_BLOCK = 16


class _Active(NamedTuple):
    """Clusters that may still merge, packed into the first slots; changed in place."""

    centroids: np.ndarray  # float64[n, d]
    weights: np.ndarray  # float64[n]
    members: np.ndarray  # intp[n], position, among the names, of the cluster in each slot
    slots: np.ndarray  # intp[n], slot of each position, -1 once merged away or retired


@njit(cache=True, nogil=True)
def merge(clusters: Clusters, names: np.ndarray, merge_threshold: float) -> None:
    """Merge the clusters of a component until none is within the threshold of another.

    Parameters
    ----------
    clusters : Clusters
        Changed.
    names : intp[n]
        Ascending; no other cluster is within the threshold of these.
    merge_threshold : float
        At least 0; infinity merges all.

    Of several nearest neighbours the chain's predecessor wins, else the smallest name.
    """
    n = names.size
    active = _every_name(clusters, names)
    chain = np.empty(n, np.intp)
    links = np.empty(n)  # d from each cluster of the chain to the one before it
    depths = np.full(n, -1)  # where a cluster stands in the chain, -1 outside
    depth, first, n_active = 0, 0, n
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
            join(clusters, names[min(tip, before)], names[max(tip, before)])
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


@njit(cache=True, nogil=True)
def _every_name(clusters: Clusters, names: np.ndarray) -> _Active:
    """Centroid of each cluster."""
    n = names.size
    centroids = np.empty((n, clusters.points.shape[1]))
    for i in range(n):
        find_centroid(clusters, names[i])
        centroids[i] = clusters.exact[names[i]]
    return _Active(centroids, clusters.weights[names], np.arange(n), np.arange(n))


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
