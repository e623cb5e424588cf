"""Collapse: a user's repeated pins as one point each, with the number of its actions.

One point of weight k is exact for Ward and for the medoid, and cheaper than k points. Importance
still sees every action.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: its multiples scatter neighbouring rows over a table."""


class Points(NamedTuple):
    """The distinct pins of a user, in order of their first action."""

    firsts: np.ndarray  # intp[m], position of the point's first action
    weights: np.ndarray  # float64[m], actions that the point stands for
    of_action: np.ndarray  # intp[n], point of each action


@njit(cache=True, nogil=True)
def collapse(rows: np.ndarray) -> Points:
    """Distinct rows, with the number of times each occurs.

    Parameters
    ----------
    rows : intp[n]
        Row of the embedding table of each action, at least 0.

    Returns
    -------
    Points
        The first action of a row stands for it.
    """
    n, bits = rows.size, 1
    while (1 << bits) < 2 * n:
        bits += 1
    shift, last = np.uint64(64 - bits), (1 << bits) - 1
    table = np.full(1 << bits, -1)  # point whose row hashes there, or to a place before
    firsts, weights, of_action = np.empty(n, np.intp), np.zeros(n), np.empty(n, np.intp)
    m = 0
    for i, row in enumerate(rows):
        place = np.intp((np.uint64(row) * _SPREAD) >> shift)
        while table[place] >= 0 and rows[firsts[table[place]]] != row:
            place = (place + 1) & last
        if table[place] < 0:
            table[place], firsts[m] = m, i
            m += 1
        of_action[i] = table[place]
        weights[table[place]] += 1
    return Points(firsts[:m], weights[:m], of_action)
