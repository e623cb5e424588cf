"""Negatives: pins that an action is to be ranked above (paper, section 5.3).

Three kinds: any pin, popular pins, and hard ones, which are like the action's pin. None is of
the sitting that is predicted. They are drawn from what users did before, so that nothing is
known of pins that nobody has acted on yet.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pinnersage.evaluate.histories import Integers, Vectors

KINDS = ("random", "popular", "hard")

POOL = 2_048
"""Pins among which the hard ones are searched for."""


class Catalogue(NamedTuple):
    """Pins that users acted on, and how often."""

    rows: Integers
    """intp[n]: ascending."""
    counts: npt.NDArray[np.int64]
    """int64[n]: actions, at least 1."""


def catalogue_of(rows: Integers) -> Catalogue:
    """Pins of some actions."""
    return Catalogue(*np.unique(rows, return_counts=True))


def random_pins(pins: Catalogue, n: int, rng: np.random.Generator) -> Integers:
    """Draw n pins, each with the same chance; a pin may come twice."""
    return rng.choice(pins.rows, n)


def popular_pins(pins: Catalogue, n: int, rng: np.random.Generator) -> Integers:
    """Draw n pins, each with a chance in proportion to its actions; a pin may come twice."""
    ends = np.cumsum(pins.counts)
    return pins.rows[np.searchsorted(ends, rng.integers(ends[-1], size=n), side="right")]


def hard_pins(
    pins: Catalogue,
    matrix: Vectors,
    targets: Integers,
    n: int,
    rng: np.random.Generator,
) -> Integers:
    """intp[m, n]: of a random pool, the pins nearest to each target, itself not among them.

    The pool is the whole catalogue where that is no larger than ``POOL``. Of fewer than n + 1
    pins all are taken and some come again.
    """
    pool = pins.rows
    if pool.size > POOL:
        pool = rng.choice(pool, POOL, replace=False)
    cosines = matrix[targets] @ matrix[pool].T
    cosines[targets[:, None] == pool[None, :]] = -np.inf
    # Of one pin alone there is nothing else to take; the loss leaves the target itself out.
    depth = min(n, max(pool.size - 1, 1))
    nearest = np.argpartition(-cosines, depth - 1, axis=1)[:, :depth]
    return np.asarray(pool[np.resize(nearest.T, (n, targets.size)).T])


def is_negative(
    targets_of: Integers, negatives: Integers, sittings: Integers, rows: Integers, n_rows: int
) -> npt.NDArray[np.bool_]:
    """bool[m, n]: whether a negative is none of its sitting's pins.

    Parameters
    ----------
    targets_of : intp[m]
        Number of the sitting that each line is about.
    negatives : intp[m, n] or intp[1, n]
        Rows of pins; one line stands for all.
    sittings, rows : intp[k]
        The pins of those sittings, one entry a pin and sitting.
    n_rows : int
        Rows are below this.
    """
    taken = np.unique(sittings * n_rows + rows)
    asked = targets_of[:, None] * n_rows + negatives
    place = np.minimum(np.searchsorted(taken, asked), taken.size - 1)
    is_taken: npt.NDArray[np.bool_] = taken[place] == asked
    return ~is_taken
