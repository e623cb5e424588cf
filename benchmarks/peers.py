"""Peers: what a user of another library would write, as well as we can write it.

Each takes one user's vectors and gives the tree that SciPy's ``fcluster`` cuts, or the labels;
cut, medoid (equation 2) and importance (equation 3) are the same NumPy for all. A contestant is
a loop of that over the users of a batch. Heights are square roots of the paper's Ward distance,
so alpha is cut at its root.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import fastcluster
import numpy as np
from batches import Batch, Floats, Integers
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.cluster import AgglomerativeClustering

import pinnersage

DECAY_PER_DAY = 0.01

Labels = Callable[[Floats, float], Integers]


class Found(NamedTuple):
    """One user's clusters."""

    labels: Integers
    medoids: Integers
    importance: Floats


def fastcluster_labels(vectors: Floats, alpha: float) -> Integers:
    """Labels by fastcluster, which computes the distances itself."""
    return cut(fastcluster.linkage(vectors, "ward"), alpha)


def fastcluster_blas_labels(vectors: Floats, alpha: float) -> Integers:
    """Labels by fastcluster on distances made by one matrix product in float32."""
    distances = vectors @ vectors.T
    squares = distances.diagonal().copy()
    distances *= -2
    distances += squares
    distances += squares[:, None]
    condensed = squareform(distances, checks=False).astype(np.float64)
    np.sqrt(np.maximum(condensed, 0, out=condensed), out=condensed)
    return cut(fastcluster.linkage(condensed, "ward", preserve_input=False), alpha)


def scipy_labels(vectors: Floats, alpha: float) -> Integers:
    """Labels by SciPy."""
    return cut(linkage(vectors, "ward"), alpha)


def sklearn_labels(vectors: Floats, alpha: float) -> Integers:
    """Labels by scikit-learn."""
    model = AgglomerativeClustering(
        n_clusters=None, distance_threshold=np.sqrt(alpha), linkage="ward"
    )
    return model.fit_predict(vectors)  # type: ignore[no-any-return]


def cut(tree: Floats, alpha: float) -> Integers:
    """Labels from 0 of the clusters below alpha."""
    return fcluster(tree, np.sqrt(alpha), "distance") - 1  # type: ignore[no-any-return]


def with_medoids(labels: Integers, vectors: Floats, ages: Floats) -> Found:
    """Medoids and importance of labelled actions; the member nearest the mean is the medoid."""
    importance = np.bincount(labels, np.exp(-DECAY_PER_DAY * ages))
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    means = np.add.reduceat(vectors[order], starts, axis=0) / counts[:, None].astype(np.float32)
    apart = vectors - means[labels]
    medoids = np.lexsort((np.einsum("ij,ij->i", apart, apart), labels))[starts]
    return Found(labels, medoids, importance)


def loop(labels_of: Labels, batch: Batch, alpha: float) -> list[Found]:
    """Every user's clusters by a peer; no library takes a single action."""
    found = []
    for vectors, ages in batch.users():
        alone = len(vectors) == 1
        labels = np.zeros(1, np.intp) if alone else labels_of(vectors, alpha)
        found.append(with_medoids(labels, vectors, ages))
    return found


def ours(batch: Batch, alpha: float) -> "pinnersage.model.UserClusters":
    """Every user's clusters by PinnerSage, on one thread."""
    return pinnersage.cluster_users(
        batch.vectors,
        batch.offsets,
        batch.ages,
        merge_threshold=alpha,
        decay_per_day=DECAY_PER_DAY,
    )


OURS = "PinnerSage"
FASTCLUSTER = "fastcluster"
FASTCLUSTER_BLAS = "fastcluster, BLAS distances"
PEERS: dict[str, Labels] = {
    FASTCLUSTER: fastcluster_labels,
    FASTCLUSTER_BLAS: fastcluster_blas_labels,
    "SciPy": scipy_labels,
    "scikit-learn": sklearn_labels,
}


def contestants(alpha: float, names: tuple[str, ...] = tuple(PEERS)) -> dict[str, Any]:
    """PinnerSage and the peers named, each a function of a batch."""

    def looped(labels_of: Labels) -> Callable[[Batch], list[Found]]:
        return lambda batch: loop(labels_of, batch, alpha)

    return {
        OURS: lambda batch: ours(batch, alpha),
        **{name: looped(PEERS[name]) for name in names},
    }


# --- do they agree? ----------------------------------------------------------------------------


def split(found: Any, batch: Batch) -> list[Found]:
    """PinnerSage's result, user by user."""
    labels = np.split(found.labels, batch.offsets[1:-1])
    bounds = found.offsets
    return [
        Found(
            labels[i],
            found.medoids[bounds[i] : bounds[i + 1]] - batch.offsets[i],
            found.importance[bounds[i] : bounds[i + 1]],
        )
        for i in range(len(labels))
    ]


def different(ours: list[Found], theirs: list[Found], batch: Batch) -> int:
    """Users whose partitions, importance or costs of medoids are not the same."""
    return sum(
        not same(a, b, vectors)
        for a, b, (vectors, _) in zip(ours, theirs, batch.users(), strict=True)
    )


def same(a: Found, b: Found, vectors: Floats) -> bool:
    """Whether two results are one, up to the order of clusters, rounding and ties of medoids.

    Medoids tie whose costs differ by less than 10⁻⁶ of the cluster's weight:
    docs/decisions/0003-medoid-tie-tolerance.md.
    """
    firsts_a, firsts_b = first_actions(a.labels), first_actions(b.labels)
    if not np.array_equal(firsts_a[a.labels], firsts_b[b.labels]):
        return False
    order, exact = b.labels[firsts_a], vectors.astype(np.float64)
    apart = np.abs(costs(a, exact) - costs(b, exact)[order])
    ties = 1e-5 + 4e-6 * np.bincount(a.labels)
    return np.allclose(a.importance, b.importance[order]) and bool((apart <= ties).all())


def first_actions(labels: Integers) -> Integers:
    """First action of each cluster."""
    return np.unique(labels, return_index=True)[1]


def costs(found: Found, vectors: Floats) -> Floats:
    """Sum of squared distances from each cluster's medoid to its members (equation 2)."""
    apart = vectors - vectors[found.medoids[found.labels]]
    return np.bincount(found.labels, np.einsum("ij,ij->i", apart, apart))
