"""Ranking: do actions stand above impressions? (section 5.3.2, Table 5).

A case's actions and impressions are put in order by score, highest first. Scores tie often: two
pins with one vector, and every pin of a user who has no embedding. What ties is taken to stand in
random order and the expected measure is returned (McSherry and Najork, 2008), so the result depends
on no order of the input, and a scorer that says the same of all pins measures exactly as chance.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from pinnersage.errors import DataError
from pinnersage.evaluate.histories import Floats, Integers
from pinnersage.evaluate.metrics.sums import Cosines, Flags, Sums, agree, numbers, summed


class Ranks(NamedTuple):
    """Ranks of the action pins of n cases among all that was ranked in their case."""

    offsets: Integers
    """intp[n + 1]: case i has the actions offsets[i] .. offsets[i + 1] - 1."""
    first: Integers
    """intp[m]: 1 + how many pins of the case have a higher score."""
    tied: Integers
    """intp[m]: pins of the case with the same score, itself included. It may take each of the ranks
    first .. first + tied - 1, all with one chance."""


def ranks(
    action_offsets: Integers, actions: Cosines, impression_offsets: Integers, impressions: Cosines
) -> Ranks:
    """Return the ranks of action pins among actions and impressions.

    Parameters
    ----------
    action_offsets, impression_offsets : intp[n + 1]
        Of the same n cases.
    actions, impressions : float[m], float[l]
        Scores: the largest cosine to any of the user's embeddings (5.3.2). Minus infinity for a
        user who has none.
    """
    if action_offsets.size != impression_offsets.size:
        raise DataError(
            f"Actions are of {action_offsets.size - 1} cases and impressions of "
            f"{impression_offsets.size - 1}. Give those of the same."
        )
    agree(actions, action_offsets)
    agree(impressions, impression_offsets)
    above, tied = np.empty(actions.size, np.intp), np.empty(actions.size, np.intp)
    numbers(actions, "scores of actions")
    numbers(impressions, "scores of impressions")
    spans = zip(_spans(action_offsets), _spans(impression_offsets), strict=True)
    for own, others in spans:
        ordered = np.sort(np.concatenate([actions[own], impressions[others]]))
        not_above = np.searchsorted(ordered, actions[own], side="right")
        above[own] = ordered.size - not_above
        tied[own] = not_above - np.searchsorted(ordered, actions[own], side="left")
    return Ranks(action_offsets, above + 1, tied)


def r_precision(ranked: Ranks, mask: Flags) -> Sums:
    """Return R-Precision (5.3.2): the proportion of action pins in the top k.

    k is the number of all actions of the case, also of those that the mask (bool[m]) leaves out:
    they are ranked all the same, so new pins and repeats add up to all. An action that ties over
    the k-th place counts by its chance to be within.
    """
    k = np.repeat(np.diff(ranked.offsets), np.diff(ranked.offsets))
    within = np.clip(k - ranked.first + 1, 0, ranked.tied) / ranked.tied
    return _over_actions(within, ranked, mask)


def reciprocal_rank(ranked: Ranks, mask: Flags) -> Sums:
    """Return Reciprocal Rank (5.3.2): the mean of 1 / rank over **all** action pins that count.

    Ranks 1, 4 and 10 give (1 + 1/4 + 1/10) / 3 = 0.45. It is not the mean reciprocal rank (MRR) of
    the field, which takes the first one of a case alone and would be 1. Of an action that ties it
    is the mean over the ranks that it may take.
    """
    last = ranked.first + ranked.tied - 1
    harmonic = np.cumsum(np.concatenate([[0.0], 1 / np.arange(1, 1 + last.max(initial=0))]))
    return _over_actions((harmonic[last] - harmonic[ranked.first - 1]) / ranked.tied, ranked, mask)


def _over_actions(values: Floats, ranked: Ranks, mask: Flags) -> Sums:
    counts = summed(mask, ranked.offsets)
    return Sums(summed(np.where(mask, values, 0.0), ranked.offsets), counts)


def _spans(offsets: Integers) -> Sequence[slice]:
    return [slice(a, b) for a, b in pairwise(offsets.tolist())]
