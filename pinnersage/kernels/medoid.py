"""Medoids: the member that stands for its cluster, and how well it does (paper, eq. 2).

    argmin over members of  Σⱼ wⱼ ‖P - Pⱼ‖²  =  argmin of  W ‖P‖² - 2 P·S

with S the weighted sum of the cluster's points and W its weight; what the two sides differ
by is the same for every member. One pass for S and one for the costs replace the pairwise
sum, in float64.

Costs tie when they lie within 10⁻⁶ of the smallest, relative to the larger of its size and
the W ‖P‖² it was made from: both members of a cluster of two equal weights have the same
cost, and must tie even where that cost is zero but for rounding (orthogonal pins).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pinnersage.kernels.borrow import borrowing
from pinnersage.kernels.distance import dot, squared_distance
from pinnersage.kernels.lanes import weighted_sums

TIE = 1e-6


class Medoids(NamedTuple):
    """What is known of each cluster from its points; arrays of one entry a cluster."""

    points: np.ndarray  # intp, the medoid's row in the points
    cohesion: np.ndarray  # float64, weighted mean cosine to the medoid, -1 to 1
    offsets: np.ndarray  # float64, ‖medoid - weighted centroid‖²


@njit(cache=True, nogil=True)
def medoids(
    points: np.ndarray,
    squares: np.ndarray,
    weights: np.ndarray,
    labels: np.ndarray,
    n_clusters: int,
) -> Medoids:
    """Medoid of each cluster, its cohesion and its offset from the centroid.

    Parameters
    ----------
    points : float32 or float64[m, d]
        d a multiple of 16; finite, none of length zero; they need not be of unit length.
    squares : float64[m]
        Squared length of each point.
    weights : float64[m]
        Number of actions each point stands for, at least 1.
    labels : intp[m]
        Cluster of each point, in ``0 .. n_clusters - 1``; none is empty.
    n_clusters : int

    Returns
    -------
    Medoids
        The earliest point wins a tie (see the module). A cluster of one point has cohesion
        1 and offset 0, exactly.
    """
    order, starts = _members(labels, n_clusters)
    found = Medoids(np.empty(n_clusters, np.intp), np.ones(n_clusters), np.zeros(n_clusters))
    directions = weights / np.sqrt(squares)
    sums, costs = np.empty((2, points.shape[1])), np.empty(labels.size)
    _describe(points, squares, weights, directions, order, starts, found, sums, costs)
    return found


@borrowing()
def _describe(
    points: np.ndarray,
    squares: np.ndarray,
    weights: np.ndarray,
    directions: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
    found: Medoids,
    sums: np.ndarray,
    costs: np.ndarray,
) -> None:
    """Fill in every cluster; the last two are memory for one at a time."""
    centroid, direction = sums[0], sums[1]
    for c in range(starts.size - 1):
        members = order[starts[c] : starts[c + 1]]
        best = members[0]
        if members.size > 1:
            weighted_sums(points, members, weights, directions, sums)
            total = 0.0
            for i in members:
                total += weights[i]
            inverse = 1 / total
            for k in range(centroid.size):
                centroid[k] *= inverse
            best = _medoid(points, squares, members, centroid, costs)
            cosine = dot(points[best], direction) / (total * np.sqrt(squares[best]))
            found.cohesion[c] = min(1.0, max(-1.0, cosine))
            found.offsets[c] = squared_distance(points[best], centroid)
        found.points[c] = best


@njit(cache=True, nogil=True)
def _members(labels: np.ndarray, n_clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Points in order of cluster, then position; cluster c has starts[c] to starts[c + 1]."""
    starts = np.zeros(n_clusters + 1, np.intp)
    for label in labels:
        starts[label + 1] += 1
    starts = np.cumsum(starts)
    order = np.empty(labels.size, np.intp)
    following = starts[:-1].copy()
    for i, label in enumerate(labels):
        order[following[label]] = i
        following[label] += 1
    return order, starts


@borrowing()
def _medoid(
    points: np.ndarray,
    squares: np.ndarray,
    members: np.ndarray,
    centroid: np.ndarray,
    costs: np.ndarray,
) -> int:
    """Earliest member whose cost ties with the smallest; costs here are those divided by W."""
    best = 0
    for p in range(members.size):
        i = members[p]
        costs[p] = squares[i] - 2 * dot(points[i], centroid)
        if costs[p] < costs[best]:
            best = p
    limit = costs[best] + TIE * max(abs(costs[best]), squares[members[best]])
    earliest = 0
    while costs[earliest] > limit:
        earliest += 1
    return int(members[earliest])
