"""Clusters: what is known of one user's clusters while they merge.

A cluster is named for its first point. Its vector is kept twice: as a float32 row, for the fast
decisions, and as the float64 centroid of its points, worked out only where a decision is close.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pinnersage.kernels.borrow import borrowing


class Clusters(NamedTuple):
    """One entry a point, read at the names of clusters; changed in place."""

    points: np.ndarray  # float32 or float64[m, d], what the user gave; never changed
    point_weights: np.ndarray  # float64[m], likewise
    rows: np.ndarray  # float32[m, d], centroid of each cluster when it was last recentred
    weights: np.ndarray  # float64[m], actions of the cluster
    parents: np.ndarray  # intp[m], cluster that took this one in; itself while it stands
    following: np.ndarray  # intp[m], next point of the same cluster, -1 after the last
    last: np.ndarray  # intp[m], last point of the cluster
    exact: np.ndarray  # float64[m, d], centroid; valid where it is known
    known: np.ndarray  # bool[m]


@njit(cache=True, nogil=True)
def singletons(points: np.ndarray, weights: np.ndarray, rows: np.ndarray) -> Clusters:
    """Each point as a cluster of its own; ``rows`` are the points as float32."""
    m = points.shape[0]
    return Clusters(
        points,
        weights,
        rows,
        weights.copy(),
        np.arange(m),
        np.full(m, -1),
        np.arange(m),
        np.empty(points.shape),
        np.zeros(m, np.bool_),
    )


@borrowing()
def join(clusters: Clusters, kept: int, gone: int) -> None:
    """Merge ``gone`` into ``kept``, the smaller name."""
    clusters.weights[kept] += clusters.weights[gone]
    clusters.parents[gone] = kept
    clusters.following[clusters.last[kept]] = gone
    clusters.last[kept] = clusters.last[gone]
    clusters.known[kept] = False


@borrowing()
def find_centroid(clusters: Clusters, name: int) -> None:
    """Make ``exact`` right for a cluster: a running mean, in the order its points joined.

    A mean of copies is the copy, to the bit.
    """
    if clusters.known[name]:
        return
    mean, total, point = clusters.exact[name], 0.0, name
    for k in range(mean.size):
        mean[k] = 0.0
    while point >= 0:
        total += clusters.point_weights[point]
        share, vector = clusters.point_weights[point] / total, clusters.points[point]
        for k in range(mean.size):
            mean[k] += share * (vector[k] - mean[k])
        point = clusters.following[point]
    clusters.known[name] = True


@njit(cache=True, nogil=True)
def recentred(clusters: Clusters, names: np.ndarray) -> np.ndarray:
    """Those of the names that no other has taken in, their float32 rows up to date."""
    standing = names[clusters.parents[names] == names]
    for name in standing:
        if clusters.following[name] >= 0:
            _recentre(clusters, name)
    return standing


@borrowing()
def _recentre(clusters: Clusters, name: int) -> None:
    """Bring a cluster's float32 row up to date."""
    find_centroid(clusters, name)
    vector, row = clusters.exact[name], clusters.rows[name]
    for k in range(row.size):
        row[k] = vector[k]


@njit(cache=True, nogil=True)
def labels(clusters: Clusters) -> np.ndarray:
    """Cluster of each point, numbered in order of first point; a parent stands before its own."""
    found = np.empty(clusters.parents.size, np.intp)
    n_clusters = 0
    for point, parent in enumerate(clusters.parents):
        if parent == point:
            found[point] = n_clusters
            n_clusters += 1
        else:
            found[point] = found[parent]
    return found
