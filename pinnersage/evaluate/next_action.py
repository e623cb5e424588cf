"""Next action: is a vector of the user near the pin that she acts on next? (section 3, Table 1).

Every action of the test days is predicted, from what the user did before the moment that it belongs
to. There are two kinds of moment. A *time*: actions with one timestamp belong together (a basket
has no order), and all that is strictly earlier is known. A *sitting*: actions no further than some
minutes from the one before; all before its start is known, so that a sitting does not predict
itself.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from pinnersage.evaluate import metrics
from pinnersage.evaluate.cases import DAY_US, Targets, start_us, targets_of
from pinnersage.evaluate.histories import Histories, Model, Vectors, gathered
from pinnersage.evaluate.log import Log
from pinnersage.evaluate.metrics import Sums, Which

SITTING_MINUTES = 30
MOST = 5_000
"""Moments that are looked at; of more, a sample drawn from the seed."""


class Moments(NamedTuple):
    """Users at the start of something they did."""

    histories: Histories
    targets: Targets
    left_out: dict[str, int]


def of_days(
    log: Log, days: Sequence[date], window_days: int, gap_minutes: int, seed: int
) -> Moments:
    """Return the moments of some days, which follow each other.

    Parameters
    ----------
    log : Log
    days : sequence of date
    window_days : int
        Days before each moment that are known.
    gap_minutes : int
        Actions at most so far from the one before belong to one moment; 0: those of one time.
    seed : int
        Of the sample, where there are more than ``MOST``.
    """
    fresh = np.ones(log.rows.size, bool)
    fresh[1:] = np.diff(log.times_us) > gap_minutes * 60_000_000
    fresh[log.offsets[:-1][np.diff(log.offsets) > 0]] = True
    begins = np.flatnonzero(fresh)
    ends = np.append(begins[1:], log.rows.size)
    now = log.times_us[begins]
    within = (now >= start_us(days[0])) & (now < start_us(days[-1]) + DAY_US)
    begins, ends, now = begins[within], ends[within], now[within]
    users = log.users[begins]
    first = np.array(
        [
            np.searchsorted(log.times_us[log.offsets[u] : b], t - window_days * DAY_US)
            + log.offsets[u]
            for u, b, t in zip(users, begins, now, strict=True)
        ],
        np.intp,
    )
    known = np.flatnonzero(first < begins)
    left_out = {"moments with nothing in the window before": int(begins.size - known.size)}
    if known.size > MOST:
        left_out["moments beyond the sample"] = int(known.size - MOST)
        known = np.sort(np.random.default_rng(seed).choice(known, MOST, replace=False))
    users, first, begins, ends, now = (x[known] for x in (users, first, begins, ends, now))
    offsets, places = gathered(first, begins - first)
    ages = (np.repeat(now, np.diff(offsets)) - log.times_us[places]) / DAY_US
    histories = Histories(offsets, log.rows[places], ages, users, now)
    return Moments(histories, targets_of(log, users, begins, ends), left_out)


def accuracy(
    models: Mapping[str, Model],
    moments: Moments,
    matrix: Vectors,
    threshold: float,
    kinds: Sequence[Which],
) -> dict[str, dict[Which, Sums]]:
    """Return each model's accuracy on some kinds of actions, an entry a moment.

    As for Relevance, with the user's vectors in place of candidates: the proportion of action pins
    whose cosine to the nearest of the user's vectors is at least
    ``threshold``. For a model of one vector that is Table 1; for a model of many, an oracle's
    answer, which picks the vector after it has seen the pin.
    """
    masks = {which: metrics.counted(moments.targets.new, which) for which in kinds}
    found = {}
    for name, model in models.items():
        best = nearest(model, moments, matrix)
        found[name] = {
            which: metrics.relevance(best, moments.targets, mask, threshold)
            for which, mask in masks.items()
        }
    return found


def nearest(model: Model, moments: Moments, matrix: Vectors) -> Vectors:
    """Return the cosine of each target to the nearest of its user's vectors."""
    found = model.represent(moments.histories)
    offsets = moments.targets.offsets
    best = np.full(offsets[-1], -np.inf, np.float32)
    with threadpool_limits(1, user_api="blas"):  # small products, and the same bits anywhere
        for i in range(offsets.size - 1):
            vectors = found.vectors[found.offsets[i] : found.offsets[i + 1]]
            rows = moments.targets.rows[offsets[i] : offsets[i + 1]]
            if vectors.size:
                best[offsets[i] : offsets[i + 1]] = (matrix[rows] @ vectors.T).max(axis=1)
    return best
