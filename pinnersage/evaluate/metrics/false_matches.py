"""False matches: how often two random pins are as near as a cosine threshold asks.

0.8 means different things for different embeddings: beside a threshold stands the share of random
pairs that reach it, or the threshold is set from such a share. Pairs are drawn from a seed.
"""

import numpy as np

from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate.histories import Vectors

BLOCK = 16_384
"""Pairs whose vectors are gathered at once."""


def false_match_rate(matrix: Vectors, threshold: float, n_pairs: int, seed: int) -> float:
    """Return the share of random pairs of different pins with a cosine of at least the threshold.

    Parameters
    ----------
    matrix : float32[n_pins, d]
        Unit rows, two or more.
    threshold : float
    n_pairs : int
        Pairs drawn, each independently and with one chance; at least 1.
    seed : int
    """
    return float(np.mean(_random_cosines(matrix, n_pairs, seed) >= float(threshold)))


def threshold_for(matrix: Vectors, rate: float, n_pairs: int, seed: int) -> float:
    """Return the lowest threshold that at most a share ``rate`` of random pairs reaches.

    A quantile of the cosines of the pairs that ``false_match_rate`` draws with the same arguments,
    so the share of those is never above ``rate``; it is below by one pair at most, or by pairs that
    tie.

    Raises
    ------
    ConfigError
        The rate is not between 0 and 1, or less than one pair in ``n_pairs``.
    """
    if not 0 < rate < 1 or rate * n_pairs < 1:
        raise ConfigError(
            f"A false-match rate of {rate} is asked for, from {n_pairs:,} pairs. Give a rate "
            "between 0 and 1, and pairs enough that it means one of them or more."
        )
    n_above = int(rate * n_pairs)
    place = n_pairs - 1 - n_above
    highest_left_out = np.partition(_random_cosines(matrix, n_pairs, seed), place)[place]
    return float(np.nextafter(highest_left_out, np.float32(np.inf)))


def _random_cosines(matrix: Vectors, n_pairs: int, seed: int) -> Vectors:
    """Return float32[n_pairs], the cosines of random pairs of different pins."""
    n_pins = len(matrix)
    if n_pins < 2 or n_pairs < 1:  # noqa: PLR2004 (a pair)
        raise DataError(
            f"{n_pairs} random pairs of {n_pins} pins are asked for. Give 1 or more, of 2 or more."
        )
    rng = np.random.default_rng(seed)
    one = rng.integers(0, n_pins, n_pairs)
    other = (one + rng.integers(1, n_pins, n_pairs)) % n_pins
    cosines = np.empty(n_pairs, np.float32)
    for start in range(0, n_pairs, BLOCK):
        block = slice(start, start + BLOCK)
        cosines[block] = np.einsum("ij,ij->i", matrix[one[block]], matrix[other[block]])
    if np.isnan(cosines).any():
        raise DataError(
            "A random pair has no cosine. Embeddings must be of unit length and finite."
        )
    return cosines
