"""Sums: what a measure gives, and what it is made from.

Everything is flat: cases lie one after another, and ``offsets`` says where each begins. A measure
is two numbers a case, hits and counts, and its value over any cases is sum(hits) / sum(counts).
A proportion of action pins counts pins, so every action weighs the same ("the proportion of
observed action pins", section 5.3.1). A mean over cases counts 1 for each case that has
the measure.
"""

from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pinnersage.errors import DataError
from pinnersage.evaluate.histories import Floats, Integers

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.bool_] | npt.NDArray[np.floating] | npt.NDArray[np.integer]
Cosines = npt.NDArray[np.floating]
Which = Literal["all", "new", "repeats"]


class Flat(Protocol):
    """Lists of pins, one a case: candidates best first, or the pins that users acted on."""

    @property
    def offsets(self) -> Integers:
        """intp[n + 1]: case i has the pins offsets[i] .. offsets[i + 1] - 1."""

    @property
    def rows(self) -> Integers:
        """intp[m]: row of each pin in the embeddings; no pin is twice in a case."""


class Lists(NamedTuple):
    """Lists of pins as a policy gives them, one a case."""

    offsets: Integers
    """intp[n + 1]: case i has the pins offsets[i] .. offsets[i + 1] - 1."""
    rows: Integers
    """intp[m]: row of each pin in the embeddings; no pin is twice in a case."""


class Sums(NamedTuple):
    """A measure of n cases."""

    hits: Floats
    """float64[n]: 0 where ``counts`` is 0."""
    counts: Floats
    """float64[n]: 0 for a case that has nothing to be measured by."""

    @property
    def value(self) -> float | None:
        """sum(hits) / sum(counts); None where nothing counts."""
        total = float(self.counts.sum())
        return float(self.hits.sum()) / total if total > 0 else None


def counted(new: Flags, which: Which) -> Flags:
    """Return which targets count: a mask for every measure.

    Parameters
    ----------
    new : bool[m]
        For each target, whether its user had never acted on the pin before.
    which : "all", "new" or "repeats"
    """
    if which == "all":
        return np.ones_like(new)
    return new.copy() if which == "new" else ~new


def chosen(lists: Flat, mask: Flags) -> Lists:
    """Return the pins of each case that the mask (bool[m]) holds, in their order."""
    offsets = np.concatenate([[0], np.cumsum(summed(mask, lists.offsets))]).astype(np.intp)
    return Lists(offsets, lists.rows[mask])


def cases_of(offsets: Integers) -> Integers:
    """Return intp[m], the case of each entry."""
    return np.repeat(np.arange(offsets.size - 1), np.diff(offsets))


def summed(values: Numbers, offsets: Integers) -> Floats:
    """Return float64[n], the sum of each case's values; 0 for a case without any."""
    agree(values, offsets)
    totals = np.bincount(cases_of(offsets), weights=values, minlength=offsets.size - 1)
    return totals.astype(np.float64)  # no entry at all gives integers


def agree(values: Numbers, offsets: Integers) -> None:
    """Raise an error unless the offsets are of as many values."""
    if offsets[0] != 0 or values.size != offsets[-1]:
        raise DataError(
            f"{values.size} values stand against offsets from {offsets[0]} to {offsets[-1]}. Give "
            "one value for each entry that the offsets are of."
        )


def proportion(hit: Flags, offsets: Integers, mask: Flags) -> Sums:
    """Return how many of the targets that count are hit, each target weighing the same."""
    counts = summed(mask, offsets)
    return Sums(summed(hit & mask, offsets), counts)


def mean(values: Floats, there: Flags) -> Sums:
    """Return one value a case (float64[n]), each weighing the same where it is there (bool[n])."""
    return Sums(np.where(there, values, 0.0), there.astype(np.float64))


def numbers(values: Cosines, what: str) -> Cosines:
    """Return the values; one that is not a number is an error, since it would compare as false."""
    broken = np.isnan(values)
    if broken.any():
        raise DataError(
            f"{np.count_nonzero(broken)} of {values.size} {what} are not numbers, the first at "
            f"{int(np.argmax(broken))}. Embeddings must be of unit length and finite."
        )
    return values
