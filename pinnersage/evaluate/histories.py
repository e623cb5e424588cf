"""Histories: what is known of some users at a moment each, and what a model makes of it.

Both are flat: users lie one after another, and ``offsets`` says where each begins.
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


class Histories(NamedTuple):
    """Past actions of n users, each user's oldest first."""

    offsets: Integers
    """intp[n + 1]: user i has the actions offsets[i] .. offsets[i + 1] - 1."""
    rows: Integers
    """Row of each action's pin in the embeddings."""
    ages_days: Floats
    """Age of each action at the moment that its user is looked at; at least 0."""
    users: Integers
    """intp[n]: number of each user in the log; a user may stand here more than once."""
    now_us: npt.NDArray[np.int64]
    """int64[n]: that moment, microseconds since 1970, UTC."""

    def of(self, users: slice) -> "Histories":
        """Return a range of the users."""
        offsets = self.offsets[users.start : users.stop + 1]
        actions = slice(offsets[0], offsets[-1])
        return Histories(
            offsets=offsets - offsets[0],
            rows=self.rows[actions],
            ages_days=self.ages_days[actions],
            users=self.users[users],
            now_us=self.now_us[users],
        )


class Represented(NamedTuple):
    """n users as vectors with weights; a user may have none."""

    offsets: Integers
    """intp[n + 1]: user i has the vectors offsets[i] .. offsets[i + 1] - 1."""
    vectors: Vectors
    """float32[m, d], unit length."""
    weights: Floats
    """float64[m], above 0: importance. A user's vectors stand in order of weight, largest first."""
    rows: Integers
    """intp[m]: row of the pin that a vector is of; -1 where it is no pin's."""


class Model(Protocol):
    """A model of users: what a row of a table stands for."""

    @property
    def name(self) -> str:
        """What it is called."""

    def represent(self, histories: Histories) -> Represented:
        """Return the users as vectors."""

    def learn(self, until_us: int) -> None:
        """Take in what happened before a moment; called after each test day, in order."""


def offsets_of(sizes: Integers) -> Integers:
    """Return where each of some lists begins, put one after another."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)


def gathered(begins: Integers, sizes: Integers) -> tuple[Integers, Integers]:
    """Return the offsets of ranges put one after another, and each place that they hold.

    Parameters
    ----------
    begins, sizes : intp[n]
        Range i is ``begins[i] .. begins[i] + sizes[i] - 1``.

    Returns
    -------
    tuple of intp[n + 1] and intp[sum of sizes]
    """
    offsets = offsets_of(sizes)
    return offsets, np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], sizes)
