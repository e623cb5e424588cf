"""Ward: groups of points, merged while their Ward distance is within a threshold.

    d(i, j) = 2 wᵢ wⱼ / (wᵢ + wⱼ) · ‖cᵢ - cⱼ‖²        (paper, Algorithm 1 and eq. 1)

This is the paper's d (‖Pᵢ - Pⱼ‖² for two pins of weight 1) and the square of SciPy's
merge height. Three facts make it fast, all exact:

- what cannot merge need not be measured: ``components`` splits the clusters, ``chain`` merges
  each component alone;
- heights only rise (Lemma 8.1), so the clusters at a low threshold are merged further to those
  at a high one. Where the threshold lies among the distances of unrelated points, and components
  would prove nothing, a first cut far below them leaves few clusters for the second;
- a component too large for a matrix is first cut at half the threshold, for the same reason;
  what is too large even then is merged without a matrix (``matrix_free``), more slowly.
"""

import numpy as np
from numba import njit

from pinnersage.kernels import chain, matrix_free
from pinnersage.kernels.borrow import borrowing
from pinnersage.kernels.clusters import Clusters, labels, recentred, singletons
from pinnersage.kernels.components import components
from pinnersage.kernels.distance import squared_length
from pinnersage.kernels.lanes import HAS_BYTE_PRODUCTS

_PAIR = 2
_FEW = 144 if HAS_BYTE_PRODUCTS else 4096
"""Clusters up to which a matrix costs less than a proof that parts of it are not needed."""
_HALVINGS = 3
"""Times that the threshold of what is too large is halved."""
_CLOSE, _FAR = 0.35, 0.4
"""A first cut lies at this share of the mean distance, for thresholds beyond that share."""

_SAMPLE = 64
"""Points, or up to twice as many, that the mean distance is worked out from."""


@njit(cache=True, nogil=True)
def ward(
    points: np.ndarray, rows: np.ndarray, weights: np.ndarray, merge_threshold: float, most: int
) -> tuple[np.ndarray, int]:
    """Cluster of each point, by Ward's method cut at ``merge_threshold``.

    Parameters
    ----------
    points : float32 or float64[m, d]
        Finite, d a multiple of 16 (padded with zeros). Equal rows are fine; each counts.
    rows : float32[m, d]
        The same numbers; may be the same array.
    weights : float64[m]
        Number of actions each point stands for, at least 1.
    merge_threshold : float
        Largest d that still merges (the paper's alpha), at least 0; infinity merges all.
    most : int
        Most clusters that a matrix of distances is made for.

    Returns
    -------
    labels : intp[m]
        ``0 .. k - 1``, numbered in the order of each cluster's first point. Of several nearest
        neighbours the chain's predecessor wins, else the cluster whose first point is smallest.
    n_exact : int
        Number of neighbours that float64 had to tell apart.
    """
    names = np.arange(points.shape[0])
    threshold = _first_cut(rows, merge_threshold)
    clusters = singletons(
        points, weights, rows.copy() if threshold < merge_threshold or names.size > most else rows
    )
    n_exact = 0
    if threshold < merge_threshold:
        n_exact += _cut_all(clusters, names, threshold, most)
        names = recentred(clusters, names)
    n_exact += _cut_all(clusters, names, merge_threshold, most)
    return labels(clusters), n_exact


@njit(cache=True, nogil=True)
def _first_cut(rows: np.ndarray, merge_threshold: float) -> float:
    """Threshold of the first cut: far below the mean distance of two points.

    The mean of ‖a - b‖² over all pairs is 2 (mean of ‖a‖² - ‖mean of a‖²).
    """
    if rows.shape[0] < _FEW:
        return merge_threshold
    mean = _mean_distance(rows, np.zeros(rows.shape[1]))
    return merge_threshold if merge_threshold <= _FAR * mean else _CLOSE * mean


@borrowing()
def _mean_distance(rows: np.ndarray, centre: np.ndarray) -> float:
    """Mean squared distance of two rows, of a sample; ``centre`` comes as zeros."""
    square, count, step = 0.0, 0, rows.shape[0] // _SAMPLE + 1
    for i in range(0, rows.shape[0], step):
        row = rows[i]
        count += 1
        for k in range(centre.size):
            centre[k] += row[k]
        square += squared_length(row)
    return 2 * (square / count - squared_length(centre) / count**2)


@njit(cache=True, nogil=True)
def _cut_all(clusters: Clusters, names: np.ndarray, merge_threshold: float, most: int) -> int:
    """Merge clusters up to a threshold; return the number of decisions in float64.

    What is too large for a matrix is cut at lower thresholds first, which leaves less of it.
    """
    large, n_exact = _cut(clusters, names, merge_threshold, most, False)
    for halvings in range(_HALVINGS, 0, -1):
        if large.size > 0:
            n_exact += _cut(clusters, large, merge_threshold / 2**halvings, most, False)[1]
            large = recentred(clusters, large)
    if large.size > 0:
        n_exact += _cut(clusters, large, merge_threshold, most, True)[1]
    return n_exact


@njit(cache=True, nogil=True)
def _cut(
    clusters: Clusters, names: np.ndarray, merge_threshold: float, most: int, last: bool
) -> tuple[np.ndarray, int]:
    """Merge each component; return the names in those that are too large for a matrix.

    Only the last cut merges these too. The second is the number of decisions in float64.
    """
    n_exact = 0
    order, ends = _parts(clusters, names, merge_threshold)
    too_large = np.zeros(names.size, np.bool_)
    memory = chain.room(min(most, _largest(ends)))
    start = 0
    for end in ends:
        chosen = order[start:end]
        start = end
        if chosen.size > most:
            too_large[chosen] = True
            if last:
                matrix_free.merge(clusters, names[chosen], merge_threshold)
        elif chosen.size >= _PAIR:
            n_exact += chain.merge(clusters, names[chosen], merge_threshold, memory)
    return names[too_large], n_exact


@njit(cache=True, nogil=True)
def _parts(
    clusters: Clusters, names: np.ndarray, merge_threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the names by component, and where each component ends."""
    if names.size < _FEW or np.isinf(merge_threshold):
        return np.arange(names.size), np.array([names.size])
    return _grouped(components(clusters.rows, names, clusters.weights, merge_threshold))


@njit(cache=True, nogil=True)
def _grouped(firsts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions with equal ``firsts`` beside each other, in order, and where each group ends."""
    ends = np.zeros(firsts.size, np.intp)
    for first in firsts:
        ends[first] += 1
    following = np.cumsum(ends) - ends
    order = np.empty(firsts.size, np.intp)
    for i, first in enumerate(firsts):
        order[following[first]] = i
        following[first] += 1
    return order, following[ends > 0]


@njit(cache=True, nogil=True)
def _largest(ends: np.ndarray) -> int:
    """Size of the largest group."""
    size = ends[0]
    for i in range(1, ends.size):
        size = max(size, ends[i] - ends[i - 1])
    return size
