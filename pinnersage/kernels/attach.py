"""Attach: later actions merged into stored clusters, or into clusters of their own.

    d(i, j) = 2 wᵢ wⱼ / (wᵢ + wⱼ) · e(i, j)        e(i, j) = max(0, ‖mᵢ - mⱼ‖² - vᵢ - vⱼ)

A stored cluster is known by its medoid m, its number of actions w and its offset v, the squared
distance of the medoid from the centroid; a pin of later actions is a cluster with v = 0. e stands
for the squared distance of two centroids: as a medoid strays from its centroid in no direction
that has to do with the other cluster, its straying only adds v. Of the medoid's own pin it is known
without that: e = v.

From there it is Ward's method by the formula of Lance and Williams, but that two stored clusters
never merge: the night has found them apart. So no distance between two of them is needed, and n
new pins ask for n merges at most.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pinnersage.kernels.collapse import collapse
from pinnersage.kernels.distance import squared_distance
from pinnersage.kernels.gather import vectors
from pinnersage.kernels.medoid import TIE, medoids
from pinnersage.kernels.users import LONGEST, SHORTEST


class Attached(NamedTuple):
    """The stored clusters, in their order, then those of new actions only."""

    labels: np.ndarray  # intp[n], cluster of each action
    medoids: np.ndarray  # intp[k'], position among the stored rows and the rows of the actions
    offsets: np.ndarray  # float64[k'], ‖medoid - centroid‖²


@njit(cache=True, nogil=True)
def attach(
    table: np.ndarray,
    stored: np.ndarray,
    sizes: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    merge_threshold: float,
) -> tuple[Attached, int]:
    """Cluster of each action, and what becomes of the clusters' medoids.

    Parameters
    ----------
    table : float32, float64 or uint16 [n_rows, d]
        Embeddings, where uint16 are the bits of float16. Only the rows in use are read.
    stored : intp[k]
        Row of each stored cluster's medoid; no two are equal.
    sizes : float64[k]
        Actions of each stored cluster, at least 1.
    offsets : float64[k]
        Squared distance of each medoid from the centroid of its actions, at least 0.
    rows : intp[n]
        Row of each action's pin, oldest action first, n at least 1.
    merge_threshold : float
        Largest d that still merges (the paper's alpha), at least 0; infinity merges all that may.

    Returns
    -------
    attached : Attached
        Actions on a stored medoid's pin are in its cluster whatever the threshold. Then the
        closest pair merges, again and again. Of equal distances the pair of the smallest names
        is the closest, the smaller name first: a cluster is named for its stored one, else for
        its first pin, and stored ones have the smaller names. Clusters of new actions only are
        numbered in the order of their first pins.
        Of medoids that tie (see ``medoid``) the stored one wins, else the earliest action.
    bad : int
        First position, among the stored rows and the rows of the actions, of a vector without
        a direction, -1 if there is none. If there is one, the rest means nothing.
    """
    k = stored.size
    pins = collapse(rows)
    firsts = np.concatenate((np.arange(k), k + pins.firsts))
    points, squares = vectors(table, np.concatenate((stored, rows[pins.firsts])))
    weights = np.concatenate((sizes, pins.weights))
    for i in range(squares.size):
        if not SHORTEST <= squares[i] <= LONGEST:
            return Attached(firsts, firsts, squares), firsts[i]
    own = _own(stored, rows[pins.firsts])
    apart = _apart(points, offsets, own)
    of_pin = _merge(_ward_distances(apart, weights), weights, own, merge_threshold)
    central, strays = _medoids(points, squares, weights, offsets, apart, of_pin)
    return Attached(of_pin[pins.of_action], firsts[central], strays), -1


@njit(cache=True, nogil=True)
def _own(stored: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Stored cluster whose medoid each new pin is, -1 if none."""
    own = np.full(rows.size, -1)
    for j in range(rows.size):
        for c in range(stored.size):
            if stored[c] == rows[j]:
                own[j] = c
    return own


@njit(cache=True, nogil=True)
def _apart(points: np.ndarray, offsets: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Squared distance e of each new pin to every cluster: float64[m, k + m], m the new pins."""
    k, m = offsets.size, own.size
    apart = np.empty((m, k + m))
    for j in range(m):
        for i in range(k + m):
            apart[j, i] = squared_distance(points[k + j], points[i])
            if i < k:
                apart[j, i] = offsets[i] if i == own[j] else max(0.0, apart[j, i] - offsets[i])
    return apart


@njit(cache=True, nogil=True)
def _ward_distances(apart: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ward distance d of each new pin to every cluster, infinity to itself."""
    k = apart.shape[1] - apart.shape[0]
    distances = np.empty(apart.shape)
    for j in range(apart.shape[0]):
        for i in range(apart.shape[1]):
            factor = 2 * weights[k + j] * weights[i] / (weights[k + j] + weights[i])
            distances[j, i] = np.inf if i == k + j else factor * apart[j, i]
    return distances


@njit(cache=True, nogil=True)
def _merge(
    distances: np.ndarray, weights: np.ndarray, own: np.ndarray, merge_threshold: float
) -> np.ndarray:
    """Cluster of each new pin; the distances are overwritten."""
    k, m = weights.size - own.size, own.size
    sizes, parents = weights.copy(), np.arange(k, k + m)
    for j in range(m):
        if own[j] >= 0:
            _join(distances, sizes, parents, own[j], j)
    while True:
        kept, gone, distance = _closest(distances)
        if gone < 0 or distance > merge_threshold:
            return _labels(parents, k)
        _join(distances, sizes, parents, kept, gone)


@njit(cache=True, nogil=True)
def _closest(distances: np.ndarray) -> tuple[int, int, float]:
    """The smaller name of the closest pair, the new pin that the larger is named for, and d.

    -1 where none is left.
    """
    k = distances.shape[1] - distances.shape[0]
    kept, gone, least = -1, -1, np.inf
    for j in range(distances.shape[0]):
        for i in range(k + j):
            if distances[j, i] < least or (distances[j, i] == least and i < kept):
                kept, gone, least = i, j, distances[j, i]
    return kept, gone, least


@njit(cache=True, nogil=True)
def _join(
    distances: np.ndarray, sizes: np.ndarray, parents: np.ndarray, kept: int, gone: int
) -> None:
    """Merge the cluster that new pin ``gone`` names into the one named ``kept``.

    Distances of what is gone are infinite, and stay so.
    """
    m, k = parents.size, sizes.size - parents.size
    a, b, between = sizes[kept], sizes[k + gone], distances[gone, kept]
    if kept < k:
        for j in range(m):
            distances[j, kept] = _lance_williams(
                distances[j, kept], distances[j, k + gone], between, a, b, sizes[k + j]
            )
    else:
        for i in range(k + m):
            distances[kept - k, i] = _lance_williams(
                distances[kept - k, i], distances[gone, i], between, a, b, sizes[i]
            )
        for j in range(m):
            distances[j, kept] = distances[kept - k, k + j]
    distances[gone], distances[:, k + gone] = np.inf, np.inf
    sizes[kept], parents[gone] = a + b, kept


@njit(cache=True, nogil=True)
def _lance_williams(
    to_a: float, to_b: float, between: float, a: float, b: float, c: float
) -> float:
    """Return d of the union of two clusters to a third; a, b and c are their sizes.

    It is below 0 for a pin nearer to a medoid than its offset, once the medoid's own has joined;
    which merges then, as at 0.
    """
    return ((a + c) * to_a + (b + c) * to_b - c * between) / (a + b + c)


@njit(cache=True, nogil=True)
def _labels(parents: np.ndarray, k: int) -> np.ndarray:
    """Cluster of each new pin: a stored one, or from k on in the order of first pins."""
    labels, n_clusters = np.empty(parents.size, np.intp), k
    for j, parent in enumerate(parents):
        if parent == k + j:
            labels[j] = n_clusters
            n_clusters += 1
        else:
            labels[j] = parent if parent < k else labels[parent - k]
    return labels


@njit(cache=True, nogil=True)
def _medoids(
    points: np.ndarray,
    squares: np.ndarray,
    weights: np.ndarray,
    offsets: np.ndarray,
    apart: np.ndarray,
    of_pin: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Point that is the medoid of each cluster, and its offset."""
    k = offsets.size
    alone = np.flatnonzero(of_pin >= k)
    n_alone = max(k, of_pin.max() + 1) - k
    new = medoids(
        points[k + alone], squares[k + alone], weights[k + alone], of_pin[alone] - k, n_alone
    )
    central = np.concatenate((np.arange(k), k + alone[new.points]))
    strays = np.concatenate((offsets, new.offsets))
    for c in np.unique(of_pin):
        if c < k:
            joined = np.flatnonzero(of_pin == c)
            central[c], strays[c] = _medoid(points, squares, weights, offsets, apart, c, joined)
    return central, strays


@njit(cache=True, nogil=True)
def _medoid(
    points: np.ndarray,
    squares: np.ndarray,
    weights: np.ndarray,
    offsets: np.ndarray,
    apart: np.ndarray,
    c: int,
    joined: np.ndarray,
) -> tuple[int, float]:
    """Medoid of stored cluster ``c`` with the new pins that joined it, and its offset.

    The cost of p is that of the stored actions as one, w ‖p - c‖², and ‖p - a‖² of each new action;
    what the stored ones are from their centroid adds the same to every p. Of the stored medoid
    ‖p - c‖² is its offset v. Of a new pin it is not known: it is taken as ‖p - m‖², and as v where
    that is less, since the night has found no pin nearer to the centroid than m. To take e for it
    is right in the mean and wrong in the choice: the pin that looks best is the one it errs on.

    Costs are Σ wᵢ ‖p - cᵢ‖², so the offset is cost / W - Σ wᵢ ‖cᵢ - c‖² / W, where the sum is that
    of wᵢ wⱼ e(i, j) / W over the pairs (the parallel-axis theorem, twice).
    """
    k = offsets.size
    total, pairs, cost = weights[c], 0.0, weights[c] * offsets[c]
    costs = np.empty(joined.size)
    for p, i in enumerate(joined):
        weight, among_new = weights[k + i], 0.0
        from_medoid = squared_distance(points[c], points[k + i])
        for j in joined:
            among_new += weights[k + j] * apart[i, k + j]
        costs[p] = weights[c] * max(from_medoid, offsets[c]) + among_new
        cost += weight * from_medoid
        pairs += weight * (weights[c] * apart[i, c] + among_new / 2)
        total += weight
    candidates = np.concatenate((np.array([c]), k + joined))
    costs = np.concatenate((np.array([cost]), costs)) / total
    best = np.argmin(costs)
    limit = costs[best] + TIE * squares[candidates[best]]
    first = np.flatnonzero(costs <= limit)[0]
    return candidates[first], max(0.0, costs[first] - pairs / total**2)
