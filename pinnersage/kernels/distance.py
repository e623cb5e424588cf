"""Distance: squared Euclidean distance of two rows, the same both ways to the bit.

Every comparison in Ward leans on d(i, j) = d(j, i) exactly: the difference is squared
before it is summed, and the order of the sum depends on the length alone.
"""

import numpy as np
from numba import njit

_ANY_ORDER = {"reassoc", "contract", "nsz"}
"""Lets the compiler sum several lanes at once; infinities and NaN keep their meaning."""


@njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def squared_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Euclidean distance of two rows.

    Parameters
    ----------
    a, b : float32 or float64[d]
        Contiguous, finite; the sum is in float64.

    Returns
    -------
    float
        ``squared_distance(a, b) == squared_distance(b, a)``, and 0 for equal rows.
    """
    total = 0.0
    for k in range(a.size):
        difference = np.float64(a[k]) - np.float64(b[k])
        total += difference * difference
    return total


@njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Inner product of two rows, float32 or float64[d], summed in float64; finite."""
    total = 0.0
    for k in range(a.size):
        total += np.float64(a[k]) * np.float64(b[k])
    return total


@njit(cache=True, nogil=True, fastmath=_ANY_ORDER)
def squared_length(a: np.ndarray) -> float:
    """Squared length of a row, float32 or float64[d], summed in float64."""
    total = 0.0
    for k in range(a.size):
        total += np.float64(a[k]) * np.float64(a[k])
    return total
