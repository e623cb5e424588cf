"""Components: which clusters can merge with each other at all, proved without their distances.

Two clusters are joined when their Ward distance may be within the threshold. By Lemma 8.1 a
merge brings no cluster nearer to a third, so what never merges below the threshold stays so:
clusters of different components cannot meet, and each component is clustered alone, exactly.

The proof is cheap because it works on bytes. With x = s·q + e, q whole numbers of one byte,

    a·b  ≤  sₐ s_b (qₐ·q_b) + ‖sₐ qₐ‖ ‖e_b‖ + ‖eₐ‖ ‖b‖        (Cauchy-Schwarz)

and d > threshold follows when that bound lies below ``limitₐ + limit_b``, where ``limit`` of a
cluster of weight w is ‖x‖²/2 - threshold/(4 w). The bound is 0.03 wide for unit vectors of 256
numbers: few pairs are joined in vain, and a pair joined in vain costs time, never exactness.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pinnersage.kernels.borrow import borrowing
from pinnersage.kernels.lanes import (
    LANES,
    NEAR_COLUMNS,
    NEAR_ROWS,
    by_column,
    lowest_bit,
    near,
    quantise,
)

_ENDLESS = 1e37
"""Share of a threshold that joins all, still finite in float32: padding is told by infinity."""
_BLOCK = 128
"""Rows that meet all columns before the next ones do: they stay in the nearest cache."""
_ROUNDING = np.float32(1e-6)
"""More than the float32 sums here can be off, relative to the lengths they are sums of."""


class _Bytes(NamedTuple):
    """Clusters as bytes, with what bounds the error; padded to whole tiles that join nothing."""

    levels: np.ndarray  # uint8[n, d], whole numbers plus 128
    facts: np.ndarray  # float32[n, 4], see lanes.near
    packed: np.ndarray  # uint32[n / 16, d / 4, 16], the same numbers by column, signed
    columns: np.ndarray  # float32[n / 16, 5, 16]


@njit(cache=True, nogil=True)
def components(
    rows: np.ndarray, names: np.ndarray, weights: np.ndarray, merge_threshold: float
) -> np.ndarray:
    """Component of each cluster: no two of different components are within the threshold.

    Parameters
    ----------
    rows : float32[:, d]
        Centroids, d a multiple of 16; finite.
    names : intp[n]
        Row of each cluster.
    weights : float64[:]
        Weight of each row, at least 1.
    merge_threshold : float
        Finite, at least 0.

    Returns
    -------
    intp[n]
        Position of the component's first cluster.
    """
    bytes_ = _as_bytes(rows, names, weights, merge_threshold)
    parents = np.arange(names.size)
    found = np.empty(NEAR_ROWS, np.uint32)
    for start in range(0, names.size, _BLOCK):
        for j in range(start // NEAR_COLUMNS, bytes_.packed.shape[0] // 2):
            for i in range(start, min(start + _BLOCK, names.size), NEAR_ROWS):
                if i < (j + 1) * NEAR_COLUMNS:  # else all pairs stand in an earlier block
                    near(bytes_.levels, i, bytes_.packed, j, bytes_.facts, bytes_.columns, found)
                    _join_all(parents, i, j * NEAR_COLUMNS, found)
    for i in range(names.size):
        parents[i] = parents[parents[i]]
    return parents


@borrowing()
def _join_all(parents: np.ndarray, i: int, first: int, found: np.ndarray) -> None:
    """Join each row of a tile with what it is near to; rows beyond the last are near nothing."""
    for r in range(NEAR_ROWS):
        if found[r]:
            _join(parents, i + r, first, found[r])


@borrowing()
def _join(parents: np.ndarray, i: int, first: int, bits: np.uint32) -> None:
    """Join i with each later cluster ``first + c`` whose bit c is 1; roots are smallest."""
    root = _root(parents, i)
    while bits:
        j = first + lowest_bit(bits)
        bits &= bits - np.uint32(1)
        if j > i and parents[j] != root:
            other = _root(parents, j)
            parents[max(root, other)] = min(root, other)
            root = min(root, other)


@borrowing()
def _root(parents: np.ndarray, i: int) -> int:
    """Root of i's tree, whose path is halved on the way."""
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(cache=True, nogil=True)
def _as_bytes(
    rows: np.ndarray, names: np.ndarray, weights: np.ndarray, merge_threshold: float
) -> _Bytes:
    """Quantise each cluster, with sums that err to the safe side."""
    n, d = names.size, rows.shape[1]
    padded = (n + NEAR_COLUMNS - 1) // NEAR_COLUMNS * NEAR_COLUMNS
    levels = np.full((padded, (d + 63) // 64 * 64), np.uint8(128))
    facts = np.full((padded, 4), np.float32(np.inf))
    columns = np.full((padded // LANES, 5, LANES), np.float32(np.inf))
    facts[n:, :3] = 0
    columns[:, :3] = 0
    columns[:, 4] = 0
    _quantise_all(rows, names, weights, merge_threshold, levels, facts, columns)
    packed = np.empty((padded // LANES, levels.shape[1] // 4, LANES), np.uint32)
    for block in range(packed.shape[0]):
        by_column(levels, block, packed)
    return _Bytes(levels, facts, packed, columns)


@borrowing()
def _quantise_all(
    rows: np.ndarray,
    names: np.ndarray,
    weights: np.ndarray,
    merge_threshold: float,
    levels: np.ndarray,
    facts: np.ndarray,
    columns: np.ndarray,
) -> None:
    """Fill levels, facts and columns of the clusters there are."""
    for i in range(names.size):
        (scale, square, kept, lost), total = quantise(rows[names[i]], levels[i])
        length = np.sqrt(square) * (1 + _ROUNDING)
        lost = np.sqrt(lost) + 4 * _ROUNDING * length
        limit = square * (0.5 - _ROUNDING) - np.float32(
            min(merge_threshold / (4 * weights[names[i]]), _ENDLESS)
        )
        block, lane = i // LANES, i % LANES
        facts[i, 0], columns[block, 0, lane] = scale, scale
        facts[i, 1], columns[block, 1, lane] = scale * np.sqrt(kept) * (1 + _ROUNDING), length
        facts[i, 2], columns[block, 2, lane] = lost, lost
        facts[i, 3], columns[block, 3, lane] = limit, limit
        columns[block, 4, lane] = -128 * total
