"""Diversity: how unlike each other pins are, how many come at all, how spread interests are.

Diversity is the paper's (section 5.3.3, Figure 7). The mean over all pairs needs no pairs: with S
the sum of n unit vectors, the cosines of all ordered pairs sum to ‖S‖² - n.
"""

from itertools import pairwise

import numpy as np

from pinnersage.errors import DataError
from pinnersage.evaluate.histories import Floats, Integers, Vectors
from pinnersage.evaluate.metrics.sums import Flat, Sums, agree, cases_of, mean, summed


def diversity(lists: Flat, matrix: Vectors) -> Sums:
    """Return diversity (5.3.3): the mean cosine distance, 1 - cosine, of pairs of a case's pins.

    A mean over cases. For candidates it is the recommended set's; for targets (``chosen`` takes
    those that count) it is the action pins' own, the line in Figure 7. A case of fewer than two
    pins has no pair and does not count.

    Parameters
    ----------
    lists : Flat
        No pin twice in a case.
    matrix : float32[n_pins, d]
        Unit rows. Summed in float64; one list's vectors are in memory at a time.
    """
    squares = np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64)
    sizes = np.diff(lists.offsets)
    agree(lists.rows, lists.offsets)
    cosines = np.empty(sizes.size)
    for i, (begin, end) in enumerate(pairwise(lists.offsets.tolist())):
        rows = lists.rows[begin:end]
        total = matrix[rows].sum(axis=0, dtype=np.float64)
        cosines[i] = total @ total - squares[rows].sum()
    there = sizes > 1
    return mean(1 - cosines / np.maximum(sizes * (sizes - 1), 1), there)


def coverage(recommended: Flat, n_pins: int) -> float:
    """Return the share of the catalogue's ``n_pins`` pins that are recommended to anyone."""
    rows = recommended.rows
    if n_pins < 1 or (rows.size and not 0 <= rows.min() <= rows.max() < n_pins):
        raise DataError(
            f"The catalogue has {n_pins} pins, and a recommended row is not among them. Give the "
            "number of rows of the embeddings."
        )
    seen = np.zeros(n_pins, dtype=bool)
    seen[rows] = True
    return float(seen.mean())


def interest_entropy(offsets: Integers, weights: Floats) -> Sums:
    """Return interest entropy, in nats: 0 for one interest, ln k for k equal ones.

    -Σ p ln p over a user's vectors, p the share of a vector's weight (importance, eq. 3) in the
    user's. A mean over users; one without any vector does not count.

    Parameters
    ----------
    offsets : intp[n + 1]
        User i has the vectors offsets[i] .. offsets[i + 1] - 1.
    weights : float64[m]
        Finite and above 0.
    """
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise DataError("A weight is not a number above 0. Importance (eq. 3) always is.")
    shares = weights / summed(weights, offsets)[cases_of(offsets)]
    return mean(-summed(shares * np.log(shares), offsets) + 0.0, np.diff(offsets) > 0)


def effective_interests(offsets: Integers, weights: Floats) -> Sums:
    """Return e to the ``interest_entropy``: how many equal interests would be as spread."""
    entropy = interest_entropy(offsets, weights)
    return mean(np.exp(entropy.hits), entropy.counts > 0)
