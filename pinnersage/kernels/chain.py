"""Chain: Ward's merges among a few hundred clusters, by nearest-neighbour chain on a matrix.

    d(i, j) = 2 wᵢ wⱼ / (wᵢ + wⱼ) · ‖cᵢ - cⱼ‖²        (paper, Algorithm 1 and eq. 1)

The matrix holds float32. Where a float32 can't tell which neighbour is nearest, or whether it
is within the threshold, the few in question are measured again in float64 from their centroids:
``_error`` bounds how far a distance can be off. So the result is that of float64 throughout.

A merge writes only the merged cluster's row. Another row learns of it when it is next read, as
the chain's tip or as the partner of a merge: entries of a row are old only for clusters formed
since it was last read, and those clusters' rows hold the same distances. They are the last in a
list of the merged clusters there are, by the time of their forming.

By Lemma 8.1 a merge brings no cluster nearer to a third, so a cluster whose nearest neighbour
lies beyond the threshold can never merge again: it is retired.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pinnersage.kernels.borrow import borrowing
from pinnersage.kernels.clusters import Clusters, find_centroid, join
from pinnersage.kernels.distance import squared_distance, squared_length
from pinnersage.kernels.lanes import GRAM_TILE, LANES, least, ward_distances, within

_NONE = -1
_INFINITY = np.float32(np.inf)
_UNIT = 2.0**-24
"""Largest relative error of rounding to float32."""


class _Slots(NamedTuple):
    """The component's clusters: slot i is the i-th name, in ascending order; changed in place."""

    names: np.ndarray  # intp[n]
    matrix: np.ndarray  # float32[n, :], Ward distances; row i is right for what it has heard of
    mask: np.ndarray  # float32[:], 0 for a slot that may still merge, else infinity
    weights: np.ndarray  # float32[:]
    depths: np.ndarray  # intp[n], merges on the longest way down to a point
    deepest: np.ndarray  # intp[1], largest of them
    formed: np.ndarray  # intp[n], slots of the merged clusters there are, the oldest first
    n_formed: np.ndarray  # intp[1], number of them
    born: np.ndarray  # intp[n], merges before the one that formed the slot's cluster, -1 if none
    heard: np.ndarray  # intp[n], merges that the slot's row has heard of
    close: np.ndarray  # intp[:], room for the slots of near neighbours


class Room(NamedTuple):
    """Memory that components use one after another."""

    matrix: np.ndarray  # float32[:]
    floats: np.ndarray  # float32[4, :]
    integers: np.ndarray  # intp[9, :]


@njit(cache=True, nogil=True)
def room(n: int) -> Room:
    """Memory for components of up to ``n`` clusters."""
    width = _width(n)
    return Room(
        np.empty(_tiled(n) * width, np.float32),
        np.empty((4, width), np.float32),
        np.empty((9, width), np.intp),
    )


@njit(cache=True, nogil=True)
def merge(clusters: Clusters, names: np.ndarray, merge_threshold: float, memory: Room) -> int:
    """Merge the clusters of a component until none is within the threshold of another.

    Parameters
    ----------
    clusters : Clusters
        Changed; rows of the names are up to date.
    names : intp[n]
        Ascending, n at least 2; no other cluster is within the threshold of these.
    merge_threshold : float
        At least 0.
    memory : Room
        For at least n clusters; overwritten.

    Returns
    -------
    int
        Number of times that float64 had to decide.
    """
    if names.size == 2:  # noqa: PLR2004
        if _exact(clusters, names[0], names[1]) <= merge_threshold:
            join(clusters, names[0], names[1])
        return 0
    n, width, tiled = names.size, _width(names.size), _tiled(names.size)
    integers = memory.integers
    slots = _Slots(
        names,
        memory.matrix[: tiled * width].reshape(tiled, width),
        memory.floats[0, :width],
        memory.floats[1, :width],
        integers[0, :n],
        integers[1, :1],
        integers[2, :n],
        integers[1, 1:2],
        integers[3, :n],
        integers[4, :n],
        integers[5, :width],
    )
    squares, inverses = memory.floats[2, :tiled], memory.floats[3, :tiled]
    error = _measure(clusters, slots, integers[6, :tiled], squares, inverses)
    return _follow(clusters, slots, integers[7, :n], integers[8, :n], merge_threshold, error)


@borrowing()
def _width(n: int) -> int:
    """Length of a row of the matrix: odd multiples of 16 keep columns out of each other's way."""
    return ((n + LANES - 1) // LANES | 1) * LANES


@borrowing()
def _tiled(n: int) -> int:
    """Rows of the matrix: whole tiles."""
    return (n + GRAM_TILE - 1) // GRAM_TILE * GRAM_TILE


@borrowing()
def _measure(
    clusters: Clusters,
    slots: _Slots,
    names: np.ndarray,
    squares: np.ndarray,
    inverses: np.ndarray,
) -> float:
    """Fill the slots with single clusters; return the largest error of a distance of weight 1."""
    n = slots.names.size
    for i in range(slots.mask.size):
        slots.mask[i], slots.weights[i] = _INFINITY, 1
    slots.deepest[0] = slots.n_formed[0] = 0
    largest = 0.0
    for i in range(n):
        name = slots.names[i]
        square = squared_length(clusters.rows[name])
        largest = max(largest, square)
        names[i], squares[i], inverses[i] = name, square, 1 / clusters.weights[name]
        slots.mask[i], slots.weights[i] = 0, clusters.weights[name]
        slots.depths[i], slots.born[i], slots.heard[i] = 0, _NONE, 0
    for i in range(n, names.size):
        names[i], squares[i], inverses[i] = names[0], 0, 1
    for i in range(0, names.size, GRAM_TILE):
        for j in range(i, names.size, GRAM_TILE):
            ward_distances(clusters.rows, names, i, j, squares, inverses, slots.matrix)
    # Twice what the inner product is off (its longest sum of products, then a tree of sixteen),
    # with the roundings around it. Merging averages distances, which at most doubles it.
    return 2 * _UNIT * largest * (clusters.rows.shape[1] / 8 + 28)


@borrowing()
def _follow(
    clusters: Clusters,
    slots: _Slots,
    chain: np.ndarray,
    places: np.ndarray,
    merge_threshold: float,
    error: float,
) -> int:
    """Follow chains of nearest neighbours; ``places`` says where a slot stands in the chain."""
    for i in range(places.size):
        places[i] = _NONE
    n_merges, n_exact = 0, 0
    depth, first, n_left = 0, 0, chain.size
    while n_left > 1:
        if depth == 0:
            while slots.mask[first] > 0:
                first += 1
            chain[0], places[first], depth = first, 0, 1
        tip = chain[depth - 1]
        before = chain[depth - 2] if depth > 1 else _NONE
        nearest, asked = _nearest(clusters, slots, n_merges, tip, before, merge_threshold, error)
        n_exact += asked
        if nearest == _NONE:
            # Only the first of a chain gets here: any other has its predecessor in reach.
            slots.mask[tip] = _INFINITY
            places[tip] = _NONE
            depth -= 1
            n_left -= 1
        elif nearest == before:
            _merge(clusters, slots, n_merges, min(tip, before), max(tip, before))
            n_merges += 1
            n_left -= 1
            places[tip] = places[before] = _NONE
            depth -= 2
        elif places[nearest] != _NONE:
            # By a rounding error, a merge may bring a cluster nearer to an earlier part of the
            # chain than Lemma 8.1 allows. Each return to that part drops a link older than
            # the merge, and a newer link is never dropped so: it ends.
            while chain[depth - 1] != nearest:
                depth -= 1
                places[chain[depth]] = _NONE
        else:
            chain[depth], places[nearest] = nearest, depth
            depth += 1
    return n_exact


@borrowing()
def _nearest(
    clusters: Clusters,
    slots: _Slots,
    n_merges: int,
    tip: int,
    before: int,
    merge_threshold: float,
    error: float,
) -> tuple[int, int]:
    """Nearest slot within the threshold, or none; and whether float64 had to decide.

    Of equal ones the chain's predecessor wins, else the smallest.
    """
    _hear(slots, n_merges, tip)
    row = slots.matrix[tip]
    slots.mask[tip] = _INFINITY
    smallest = least(row, slots.mask)
    error = _error(slots, tip, smallest, error)
    n_close = 0
    if smallest <= merge_threshold + error:
        n_close = within(row, slots.mask, np.float32(smallest + 2 * error), slots.close)
    slots.mask[tip] = 0
    if n_close == 0:
        return _NONE, 0
    if n_close == 1 and smallest <= merge_threshold - error:
        return slots.close[0], 0
    best, nearest = np.inf, _NONE
    for slot in slots.close[:n_close]:
        distance = _exact(clusters, slots.names[tip], slots.names[slot])
        if distance < best or (distance == best and slot == before):
            best, nearest = distance, slot
    return (nearest if best <= merge_threshold else _NONE), 1


@borrowing()
def _error(slots: _Slots, tip: int, distance: float, error: float) -> float:
    """Bound on the error of distances from ``tip`` that are not much larger than ``distance``.

    That of the first distances grows with the factor of the weights, which is at most twice the
    smaller weight. Each merge on the way rounds sums of terms within twice their result.
    """
    depth = slots.depths[tip] + slots.deepest[0]
    return 2 * slots.weights[tip] * error + 24 * _UNIT * depth * distance


@borrowing()
def _exact(clusters: Clusters, a: int, b: int) -> float:
    """Ward distance of two clusters in float64; the same both ways to the bit."""
    weight, other = clusters.weights[a], clusters.weights[b]
    factor = 2 * weight * other / (weight + other)
    find_centroid(clusters, a)
    find_centroid(clusters, b)
    return factor * squared_distance(clusters.exact[a], clusters.exact[b])


@borrowing()
def _hear(slots: _Slots, n_merges: int, slot: int) -> None:
    """Bring a row up to date with the clusters formed since it was last read."""
    row, heard = slots.matrix[slot], slots.heard[slot]
    for place in range(slots.n_formed[0] - 1, -1, -1):
        other = slots.formed[place]
        if slots.born[other] < heard:
            break
        row[other] = slots.matrix[other, slot]
    slots.heard[slot] = n_merges


@borrowing(error_model="numpy")
def _merge(clusters: Clusters, slots: _Slots, n_merges: int, kept: int, gone: int) -> None:
    """Merge two slots: Lance and Williams' formula for Ward, on the row that is kept."""
    _hear(slots, n_merges, kept)
    _hear(slots, n_merges, gone)
    weights = slots.weights
    weight, taken, apart = weights[kept], weights[gone], slots.matrix[kept, gone]
    row, other = slots.matrix[kept, : weights.size], slots.matrix[gone, : weights.size]
    for j in range(weights.size):
        third = weights[j]
        row[j] = ((weight + third) * row[j] + (taken + third) * other[j] - third * apart) / (
            weight + taken + third
        )
    slots.weights[kept] = weight + taken
    slots.mask[gone] = _INFINITY
    slots.depths[kept] = max(slots.depths[kept], slots.depths[gone]) + 1
    slots.deepest[0] = max(slots.deepest[0], slots.depths[kept])
    _forget(slots, kept)
    _forget(slots, gone)
    slots.formed[slots.n_formed[0]] = kept
    slots.n_formed[0] += 1
    slots.born[kept], slots.heard[kept] = n_merges, n_merges + 1
    join(clusters, slots.names[kept], slots.names[gone])


@borrowing()
def _forget(slots: _Slots, slot: int) -> None:
    """Take a slot out of the list of merged clusters, if it is there: often near its end."""
    if slots.born[slot] == _NONE:
        return
    place, slots.n_formed[0] = slots.n_formed[0] - 1, slots.n_formed[0] - 1
    following = slots.formed[place]
    while following != slot:
        place -= 1
        following, slots.formed[place] = slots.formed[place], following
    slots.born[slot] = _NONE
