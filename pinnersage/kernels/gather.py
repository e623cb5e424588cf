"""Gather: the rows of an embedding table that a user's points are, padded and made wide enough.

A table is read where it lies, in memory or mapped, a row for each point of a user.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from pinnersage.kernels.borrow import borrowing
from pinnersage.kernels.distance import squared_length
from pinnersage.kernels.lanes import LANES, widen


@njit(cache=True, nogil=True)
def vectors(table: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of some rows, and their squared lengths.

    Parameters
    ----------
    table : float32, float64 or uint16 [n_rows, d]
        uint16 are the bits of float16.
    rows : intp[m]

    Returns
    -------
    points : float32 or float64 [m, d']
        d' is the next multiple of 16, filled with zeros; float64 for a table of float64.
    squares : float64[m]
    """
    m, d = rows.size, table.shape[1]
    points = _room(table, m, (d + LANES - 1) // LANES * LANES)
    squares = np.empty(m)
    _fill(table, rows, points, squares)
    return points, squares


@borrowing()
def _fill(table: np.ndarray, rows: np.ndarray, points: np.ndarray, squares: np.ndarray) -> None:
    """Copy each row, and measure it."""
    for i in range(rows.size):
        _copy(table[rows[i]], points[i])
        for k in range(table.shape[1], points.shape[1]):
            points[i, k] = 0
        squares[i] = squared_length(points[i])


@njit(cache=True, nogil=True)
def narrow(points: np.ndarray) -> np.ndarray:
    """Return the points as float32; themselves if they are."""
    return _narrow(points)


def _room(table: np.ndarray, m: int, d: int) -> np.ndarray:
    """Empty points for rows of a table."""
    return np.empty((m, d), np.float64 if table.dtype == np.float64 else np.float32)


def _copy(source: np.ndarray, target: np.ndarray) -> None:
    """Copy a row to the front of a longer one."""
    target[: source.size] = source.view(np.float16) if source.dtype == np.uint16 else source


def _narrow(points: np.ndarray) -> np.ndarray:
    """See ``narrow``."""
    return points.astype(np.float32, copy=False)


@overload(_room, strict=False)
def _room_of(table: Any, m: Any, d: Any) -> Callable[..., Any]:
    del m, d
    if table.dtype == types.float64:
        return lambda table, m, d: np.empty((m, d), np.float64)  # noqa: ARG005
    return lambda table, m, d: np.empty((m, d), np.float32)  # noqa: ARG005


@overload(_copy, strict=False)
def _copy_of(source: Any, target: Any) -> Callable[..., Any]:
    del target
    if source.dtype == types.uint16:
        return lambda source, target: widen(source, target)  # noqa: PLW0108 (a function of Python)

    def copy(source: np.ndarray, target: np.ndarray) -> None:
        for k in range(source.size):
            target[k] = source[k]

    return copy


@overload(_narrow, strict=False)
def _narrow_of(points: Any) -> Callable[..., Any]:
    if points.dtype == types.float32:
        return lambda points: points
    return lambda points: points.astype(np.float32)
