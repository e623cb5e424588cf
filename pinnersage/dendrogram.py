"""Dendrogram: the whole Ward tree of one user's actions, for people who look at her.

    d(i, j) = 2 wᵢ wⱼ / (wᵢ + wⱼ) · ‖cᵢ - cⱼ‖²        (paper, Algorithm 1 and eq. 1)

Heights are the paper's d, so a cut at ``merge_threshold`` gives the clusters that the daily job
publishes. Heights only rise (Lemma 8.1): whatever merges within some height is whole above it. So
the leaves of somebody with thousands of pins are not pins but what the kernels merge within a
small part of the threshold, and the tree above is the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from pinnersage.kernels.medoid import medoids
from pinnersage.model import cluster_actions

Integers = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.floating[Any]]

LOWEST = 1 / 8
"""Height of the finest leaves that are not pins, as a share of the threshold."""
LANES = 16
"""Vectors are padded to a multiple of it for the kernels."""


@dataclass(frozen=True, eq=False)
class Tree:
    """The merges of one user's actions: leaves are 0 .. k - 1, merge i makes node k + i."""

    leaf_height: float
    """Height at which the leaves were cut: 0 where each is a pin."""
    leaves: Integers
    """intp[n], leaf of each action."""
    pairs: Integers
    """intp[k - 1, 2], the two nodes that a merge joins."""
    heights: Floats
    """float64[k - 1], never falling."""
    medoids: Integers
    """intp[2k - 1], position of the first action of each node's medoid."""

    def cut(self, merge_threshold: float) -> Integers:
        """Return intp[k], the node that each leaf is in after the merges within a threshold."""
        k = len(self.pairs) + 1
        within = np.flatnonzero(self.heights <= merge_threshold)
        parent = np.arange(2 * k - 1)
        parent[self.pairs[within]] = (k + within)[:, None]
        for node in range(2 * k - 2, -1, -1):  # a parent comes after its children
            parent[node] = parent[parent[node]]
        return parent[:k]


def grow(
    matrix: Table,
    rows: Integers,
    ages_days: Floats,
    *,
    merge_threshold: float,
    most_leaves: int,
) -> Tree:
    """Return the tree of one user's actions.

    Parameters
    ----------
    matrix : float16, float32 or float64 [n_rows, d]
        Unit-length embeddings; may be a memory map.
    rows : intp[n]
        Row of each action's pin, oldest action first; n is at least 1.
    ages_days : float64[n]
    merge_threshold : float
        The paper's alpha.
    most_leaves : int
        Leaves are cut at 0, or at the least of some heights that leaves no more than these. It lies
        above the threshold only where more clusters than these are published.
    """
    for leaf_height in leaf_heights(merge_threshold):
        found = cluster_actions(matrix, ages_days, rows, leaf_height)
        if found.medoids.size <= most_leaves:
            break
    _, firsts, counts = np.unique(rows, return_index=True, return_counts=True)
    order = np.argsort(firsts)
    firsts, weights = firsts[order], counts[order].astype(np.float64)
    points = padded(matrix[rows[firsts]])
    of_point = found.labels[firsts]
    pairs, heights = linkage(points, weights, of_point)
    members = [np.flatnonzero(of_point == leaf) for leaf in range(found.medoids.size)]
    for a, b in pairs:
        members.append(np.sort(np.concatenate([members[a], members[b]])))
    central = [medoid(points[own], weights[own]) for own in members]
    of_node = np.array([own[at] for own, at in zip(members, central, strict=True)], np.intp)
    return Tree(leaf_height, found.labels, pairs, heights, firsts[of_node])


def leaf_heights(merge_threshold: float) -> Iterator[float]:
    """Yield where leaves may be cut, each twice as high; the threshold is one of them."""
    yield 0.0
    for doubled in count():
        yield (merge_threshold or 1.0) * LOWEST * 2**doubled


def padded(vectors: Table) -> Floats:
    """Return vectors as the kernels take them."""
    n, d = vectors.shape
    points = np.zeros((n, -(-d // LANES) * LANES))
    points[:, :d] = vectors
    return points


def medoid(points: Floats, weights: Floats) -> int:
    """Return the position of a cluster's medoid (eq. 2)."""
    squares = np.einsum("ij,ij->i", points, points)
    return int(medoids(points, squares, weights, np.zeros(len(points), np.intp), 1).points[0])


def linkage(points: Floats, weights: Floats, labels: Integers) -> tuple[Integers, Floats]:
    """Return the merges of weighted clusters: the nearest-neighbour chain, without a threshold.

    Parameters
    ----------
    points : float64[m, d]
    weights : float64[m]
        Number of actions that each point stands for, at least 1.
    labels : intp[m]
        Cluster of each point, in ``0 .. k - 1``; none is empty.

    Returns
    -------
    pairs : intp[k - 1, 2]
    heights : float64[k - 1]
        Never falling. Of several nearest, the chain's predecessor wins, else the smallest label.
    """
    k = int(labels.max()) + 1
    sizes, centres = np.zeros(k), np.zeros((k, points.shape[1]))
    np.add.at(sizes, labels, weights)
    np.add.at(centres, labels, points * weights[:, None])
    centres /= sizes[:, None]
    distances = np.empty((k, k))
    for i in range(k):
        distances[i] = from_one(i, centres, sizes)
    merges: list[tuple[int, int]] = []
    heights: list[float] = []
    tops = np.zeros(k)  # rounding must not put a merge below those that it is made of
    chain: list[int] = []
    while len(merges) < k - 1:
        chain = chain or [int(np.flatnonzero(sizes)[0])]
        tip = chain[-1]
        nearest = int(distances[tip].argmin())
        before = chain[-2] if len(chain) > 1 else nearest
        if distances[tip, before] > distances[tip, nearest]:
            before = nearest
        if before not in chain:
            chain.append(before)
            continue
        del chain[chain.index(before) :]
        tops[tip] = max(distances[tip, before], tops[tip], tops[before])
        merges.append((tip, before))
        heights.append(float(tops[tip]))
        join(tip, before, centres, sizes, distances)
    return in_order(merges, np.array(heights), k)


def from_one(i: int, centres: Floats, sizes: Floats) -> Floats:
    """Return d of one cluster to each; to itself, and to what is gone (size 0), infinity."""
    apart = ((centres - centres[i]) ** 2).sum(axis=1)
    d = np.where(sizes > 0, 2 * sizes * sizes[i] / (sizes + sizes[i]) * apart, np.inf)
    d[i] = np.inf
    return d


def join(i: int, j: int, centres: Floats, sizes: Floats, distances: Floats) -> None:
    """Put cluster j into i, in place."""
    total = sizes[i] + sizes[j]
    centres[i] = (sizes[i] * centres[i] + sizes[j] * centres[j]) / total
    sizes[i], sizes[j] = total, 0
    distances[j] = distances[:, j] = np.inf
    distances[i] = distances[:, i] = from_one(i, centres, sizes)


def in_order(merges: list[tuple[int, int]], heights: Floats, k: int) -> tuple[Integers, Floats]:
    """Return merges by height, their clusters named as nodes.

    In each, the second of two leaves went into the first, whose number then stands for both.
    """
    order = np.argsort(heights, kind="stable")
    names = np.arange(k)
    pairs = np.empty((k - 1, 2), np.intp)
    for made, at in enumerate(order):
        i, j = merges[at]
        pairs[made] = names[i], names[j]
        names[i] = k + made
    return pairs, heights[order]
