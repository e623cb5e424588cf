"""Clusterers: other ways to group one user's actions, from libraries, and what is made of groups.

A clusterer sees a user's distinct pins and how often each was acted on. Medoid, importance and
order are the daily job's own, by the same kernels, so that two rows of a table differ in the
grouping alone.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from threadpoolctl import threadpool_limits

from pinnersage.dendrogram import padded
from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate.histories import Floats, Histories, Integers, Represented, Vectors
from pinnersage.kernels.collapse import collapse
from pinnersage.kernels.importance import importance
from pinnersage.kernels.medoid import medoids
from pinnersage.model import Table
from pinnersage.parallel import in_order

Clusterer = Callable[[Vectors, Floats], Integers]
"""float32[m, d] distinct pins of unit length and float64[m] actions on each, to intp[m] labels."""
Embedding = Literal["medoid", "centroid"]

MOST_PINS = 10_000
"""Distinct pins of one user for complete linkage: their distances take 400 MB."""
_RESTARTS = 4
_SHORTEST = 1e-12
"""A mean that is shorter has no direction."""


def kmeans(k: int, seed: int = 0) -> Clusterer:
    """Return k-means into ``k`` clusters, or as many as a user has different vectors.

    The best of four seeded starts (scikit-learn). A pin weighs as its actions do.
    """
    from sklearn.cluster import KMeans  # noqa: PLC0415

    if k < 1:
        raise ConfigError(f"k is {k} (limit: at least 1). The paper takes 5.")

    def cluster(points: Vectors, weights: Floats) -> Integers:
        most = min(k, len(np.unique(points, axis=0)))
        found = KMeans(most, n_init=_RESTARTS, random_state=seed).fit(points, sample_weight=weights)
        return _numbered(found.labels_)

    return cluster


def complete(merge_threshold: float) -> Clusterer:
    """Return complete linkage (SciPy), cut at a squared distance.

    No two pins of a cluster are farther apart. Repeats of a pin change nothing.
    """
    if not merge_threshold >= 0:
        raise ConfigError(f"merge_threshold is {merge_threshold} (limit: at least 0).")

    def cluster(points: Vectors, _weights: Floats) -> Integers:
        m = len(points)
        if m > MOST_PINS:
            raise DataError(
                f"A user has {m} distinct pins (limit for complete linkage: {MOST_PINS}, since "
                "memory grows with the square). Shorten the window or cap the actions of a day."
            )
        if m == 1:
            return np.zeros(1, np.intp)
        tree = linkage(points, "complete", "sqeuclidean")
        return _numbered(fcluster(tree, merge_threshold, "distance"))

    return cluster


def hdbscan(min_cluster_size: int) -> Clusterer:
    """Return HDBSCAN (scikit-learn); what it calls noise is a cluster of one.

    It finds two clusters or more, or none, as is the library's default: to allow a single one did
    far worse where there is noise. Repeats of a pin change nothing.
    """
    from sklearn.cluster import HDBSCAN  # noqa: PLC0415

    if min_cluster_size < 2:  # noqa: PLR2004
        raise ConfigError(f"min_cluster_size is {min_cluster_size} (limit: at least 2).")

    def cluster(points: Vectors, _weights: Floats) -> Integers:
        m = len(points)
        if m < min_cluster_size:
            return np.arange(m)
        found = HDBSCAN(min_cluster_size, copy=True).fit(points)
        alone = found.labels_ < 0
        return _numbered(np.where(alone, m + np.arange(m), found.labels_))

    return cluster


def label(
    histories: Histories, matrix: Table, clusterer: Clusterer, *, threads: int = 1
) -> Integers:
    """Cluster of each action within its user.

    Parameters
    ----------
    histories : Histories
    matrix : float16, float32 or float64 [n_rows, d]
        Unit-length embeddings; may be a memory map.
    clusterer : Clusterer
    threads : int
        The result is the same for any number.

    Returns
    -------
    intp[n]
        Actions on one pin are in one cluster.
    """

    def of_user(rows: Integers) -> Integers:
        if not rows.size:
            return rows
        pins = collapse(rows)
        points = np.asarray(matrix[rows[pins.firsts]], np.float32)
        labels: Integers = clusterer(points, pins.weights)[pins.of_action]
        return labels

    # One thread inside the libraries: how they split a sum among several changes its last bits.
    # It binds what is loaded by now, which is why a clusterer imports its library when it is made.
    with threadpool_limits(1):
        found = list(in_order(of_user, np.split(histories.rows, histories.offsets[1:-1]), threads))
    return np.concatenate([np.empty(0, np.intp), *found])


def summarise(
    histories: Histories,
    matrix: Table,
    labels: Integers,
    *,
    embedding: Embedding = "medoid",
    decay_per_day: float = 0.01,
) -> Represented:
    """Users as one vector a cluster, by the daily job's rulings.

    Parameters
    ----------
    histories, matrix
        As in ``label``.
    labels : intp[n]
        Cluster of each action within its user, 0 .. k - 1, none empty.
    embedding : "medoid" or "centroid"
        The medoid (eq. 2), or the direction of the mean of the cluster's actions. A mean without
        a direction leaves the medoid.
    decay_per_day : float
        The paper's lambda (eq. 3).

    Returns
    -------
    Represented
        Equal importance: later last action first, then the medoid of the smaller row. A medoid has
        its pin's row, a centroid -1.
    """
    spans = list(zip(histories.offsets[:-1], histories.offsets[1:], strict=True))
    users = [
        _one_user(matrix, histories.rows[a:b], histories.ages_days[a:b], labels[a:b], decay_per_day)
        for a, b in spans
        if a < b
    ]
    nothing = (np.empty((0, matrix.shape[1])), np.empty(0), np.empty(0, np.intp))
    means, weights, rows = (np.concatenate(part) for part in zip(nothing, *users, strict=True))
    n_clusters = [labels[a:b].max() + 1 if a < b else 0 for a, b in spans]
    offsets = np.concatenate([[0], np.cumsum(n_clusters, dtype=np.intp)])
    found = unit(np.asarray(matrix[rows], np.float64))
    if embedding == "medoid":
        return Represented(offsets, found.astype(np.float32), weights, rows)
    lost = np.einsum("ij,ij->i", means, means) <= _SHORTEST
    found[~lost] = unit(means[~lost])
    return Represented(offsets, found.astype(np.float32), weights, np.where(lost, rows, -1))


def _one_user(
    matrix: Table, rows: Integers, ages_days: Floats, labels: Integers, decay_per_day: float
) -> tuple[Floats, Floats, Integers]:
    """Mean, importance and row of the medoid of each cluster, in order."""
    k = int(labels.max()) + 1
    pins = collapse(rows)
    points = padded(matrix[rows[pins.firsts]])
    squares = np.einsum("ij,ij->i", points, points)
    own = labels[pins.firsts]
    central = rows[pins.firsts[medoids(points, squares, pins.weights, own, k).points]]
    scores = importance(ages_days, labels, k, decay_per_day)
    newest = np.full(k, np.inf)
    np.minimum.at(newest, labels, ages_days)
    sums, counts = cluster_sums(points[:, : matrix.shape[1]], pins.weights, own)
    order = np.lexsort((central, newest, -scores))
    return (sums / counts[:, None])[order], scores[order], central[order]


def cluster_sums(
    points: npt.NDArray[np.floating], weights: Floats, labels: Integers
) -> tuple[Floats, Floats]:
    """Return the weighted sum of each cluster's points, float64[k, d], and its weight."""
    counts = np.asarray(np.bincount(labels, weights), np.float64)
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(counts.size))
    heavy = points[order].astype(np.float64) * weights[order, None]
    return np.asarray(np.add.reduceat(heavy, starts, axis=0)), counts


def unit(x: Floats) -> Floats:
    """Return rows at unit length; none is zero."""
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def _numbered(labels: npt.NDArray[np.integer]) -> Integers:
    """Return labels as 0 .. k - 1, none empty."""
    return np.asarray(np.unique(labels, return_inverse=True)[1], np.intp)
