"""Models: the paper's ways to make vectors of a user's past (sections 3 and 5.3).

A model is one small class with a ``name`` and ``represent``; docs/how-to/add-a-model.md shows one.
Those here learn nothing: the past that they are handed grows from day to day, and that is all.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt

from pinnersage.evaluate import clusterers
from pinnersage.evaluate.clusterers import Clusterer, Embedding
from pinnersage.evaluate.histories import (
    Floats,
    Histories,
    Integers,
    Represented,
    Vectors,
    offsets_of,
)
from pinnersage.model import UserClusters, cluster_users

SHORT = 1e-6
"""A mean of unit vectors below this length has no direction."""


class Fixed:
    """A model that learns nothing from day to day."""

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Return itself: nothing changes it."""
        return self

    def learn(self, until_us: int) -> None:
        """Do nothing: what is known of users comes with their histories."""


@dataclass(frozen=True)
class LastPin(Fixed):
    """The pin of the last action (section 3, baseline 1); of several at one time, the last row."""

    matrix: Vectors
    name: str = "Last pin"

    def represent(self, histories: Histories) -> Represented:
        """Return one vector a user, none where nothing is known."""
        there = np.diff(histories.offsets) > 0
        rows = histories.rows[histories.offsets[1:][there] - 1]
        return one_each(self.matrix[rows], rows, there)


@dataclass(frozen=True)
class DecayAverage(Fixed):
    """The decayed average of the pins, ∝ Σ exp(-λ·age)·P (section 3, baseline 2)."""

    matrix: Vectors
    decay_per_day: float

    @property
    def name(self) -> str:
        """The row's name."""
        return f"Decay average, λ = {self.decay_per_day:g}"

    def represent(self, histories: Histories) -> Represented:
        """Return one vector a user, none where nothing is known."""
        weights = np.exp(-self.decay_per_day * histories.ages_days)
        ends = np.unique(histories.offsets)  # users of whom nothing is known have no range
        averages = means(self.matrix, histories.rows, weights, ends)
        return one_each(averages, there=np.diff(histories.offsets) > 0)


@dataclass(frozen=True)
class EveryPin(Fixed):
    """Every past pin is a vector: the oracle picks the nearest (section 3, baseline 3)."""

    matrix: Vectors
    name: str = "Oracle"

    def represent(self, histories: Histories) -> Represented:
        """Return one vector an action, all of one weight."""
        rows = histories.rows
        return Represented(histories.offsets, self.matrix[rows], np.ones(rows.size), rows)


@dataclass(frozen=True)
class PinnerSage(Fixed):
    """Ward's clusters, a vector each, weighed by importance (Algorithm 2)."""

    matrix: Vectors
    merge_threshold: float
    decay_per_day: float = 0.01
    embedding: Embedding = "medoid"
    """``medoid`` (eq. 2) or ``centroid``."""
    threads: int = 1
    name: str = "PinnerSage"

    def represent(self, histories: Histories) -> Represented:
        """Return one vector a cluster."""
        clusters = self.clusters(histories)
        rows = histories.rows[clusters.medoids]
        vectors = self.matrix[rows]
        if self.embedding == "centroid":
            rows = np.full(rows.size, -1, np.intp)
            vectors = centroids(self.matrix, histories, clusters)
        return Represented(clusters.offsets, vectors, clusters.importance, rows)

    def clusters(self, histories: Histories) -> UserClusters:
        """Return the users' clusters."""
        return cluster_users(
            self.matrix,
            histories.offsets,
            histories.ages_days,
            rows=histories.rows,
            merge_threshold=self.merge_threshold,
            decay_per_day=self.decay_per_day,
            threads=self.threads,
        )


def one_each(
    vectors: Vectors, rows: Integers | None = None, there: npt.NDArray[np.bool_] | None = None
) -> Represented:
    """Return users of one vector each, in their order; of none where they are not ``there``."""
    n = len(vectors)
    none = np.full(n, -1, np.intp)
    each = np.ones(n, np.intp) if there is None else there.astype(np.intp)
    offsets = offsets_of(each)
    return Represented(offsets, vectors, np.ones(n), none if rows is None else rows)


def means(matrix: Vectors, rows: Integers, weights: Floats, offsets: Integers) -> Vectors:
    """Return the weighted mean of ranges of rows, none empty, each of unit length.

    Where vectors cancel out to nothing, the last one stands for them.
    """
    sums = np.empty((offsets.size - 1, matrix.shape[1]), np.float64)
    for i, (begin, end) in enumerate(pairwise(offsets)):
        sums[i] = weights[begin:end] @ matrix[rows[begin:end]].astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
    gone = lengths < SHORT
    sums[gone] = matrix[rows[offsets[1:][gone] - 1]]
    lengths[gone] = 1.0
    return np.asarray(sums / lengths[:, None], np.float32)


def cluster_of_actions(histories: Histories, clusters: UserClusters) -> Integers:
    """Return the cluster of each action, counted over all users."""
    sizes = np.diff(histories.offsets)
    return np.asarray(clusters.labels + np.repeat(clusters.offsets[:-1], sizes), np.intp)


def centroids(matrix: Vectors, histories: Histories, clusters: UserClusters) -> Vectors:
    """Return the mean of each cluster's actions, of unit length."""
    order, offsets = by_cluster(histories, clusters)
    return means(matrix, histories.rows[order], np.ones(order.size), offsets)


def by_cluster(histories: Histories, clusters: UserClusters) -> tuple[Integers, Integers]:
    """Return the actions by cluster, and where each cluster of each user begins among them.

    Within a cluster the actions stand as they do in the history, oldest first.
    """
    of = cluster_of_actions(histories, clusters)
    order = np.argsort(of, kind="stable")
    sizes = np.bincount(of, minlength=clusters.medoids.size)
    return order, offsets_of(sizes)


@dataclass(frozen=True)
class Grouped(Fixed):
    """Another library's clusters with the medoids and importance of PinnerSage."""

    matrix: Vectors
    clusterer: Clusterer
    name: str
    decay_per_day: float = 0.01
    embedding: Embedding = "medoid"
    threads: int = 1

    def represent(self, histories: Histories) -> Represented:
        """Return one vector a cluster."""
        labels = clusterers.label(histories, self.matrix, self.clusterer, threads=self.threads)
        return clusterers.summarise(
            histories,
            self.matrix,
            labels,
            embedding=self.embedding,
            decay_per_day=self.decay_per_day,
        )
