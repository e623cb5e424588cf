"""Feedback: importance of clusters learned from what users did next, instead of eq. 3 (section 7).

    weight of a cluster  =  exp(θ · features),    θ = (1, 0, 0, 0) is eq. 3

The reward: on the next day the user acted near the cluster; of her clusters the one whose medoid
is nearest takes an action pin. θ makes what happened most likely where each action pin picks a
cluster with a chance in proportion to weight (a conditional logit; McFadden, 1974). It is fitted
anew after each day, on the last days that are over; a day that is not over is never looked at.
"""

from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from scipy.optimize import minimize

from pinnersage.evaluate import cases
from pinnersage.evaluate.cases import DAY_US
from pinnersage.evaluate.histories import Floats, Histories, Integers, Represented, offsets_of
from pinnersage.evaluate.log import Log
from pinnersage.evaluate.metrics import Which, chosen, counted
from pinnersage.evaluate.models import PinnerSage
from pinnersage.model import UserClusters

FEATURES = ("log importance", "log actions", "log days since the last", "cohesion")
EQUATION_3 = np.array([1.0, 0.0, 0.0, 0.0])
RIDGE = 1.0
"""Pulls θ to eq. 3, so that it stays there where nothing is known."""
FAINTEST = 1e-30
"""Least weight beside the user's largest."""


class Choices(NamedTuple):
    """What some users could pick on some days, and how often they did."""

    offsets: Integers
    """intp[n + 1]: a case has the clusters offsets[i] .. offsets[i + 1] - 1, at least one."""
    features: Floats
    """float64[m, 4]."""
    taken: Floats
    """float64[m]: action pins nearest to each cluster."""


class FeedbackImportance:
    """PinnerSage with weights that are learned; until it has learned they are those of eq. 3.

    Parameters
    ----------
    plain : PinnerSage
        Whose clusters are weighed.
    log : Log
        What it learns from; no day is looked at before it is over.
    window_days : int
        Days before each day that make a history.
    n_days : int
        Days that it is fitted on, the last ones that are over.
    which : "all", "new" or "repeats"
        Action pins that count.
    min_cosine : float
        To the nearest medoid, from which an action counts as near to it.
    """

    def __init__(
        self,
        plain: PinnerSage,
        log: Log,
        window_days: int,
        n_days: int = 28,
        which: Which = "all",
        min_cosine: float = -1.0,
    ) -> None:
        self.plain, self.log, self.window_days, self.n_days = plain, log, window_days, n_days
        self.which: Which = which
        self.min_cosine = min_cosine
        self.coefficients = EQUATION_3
        self.choices: dict[int, Choices] = {}

    name = "PinnerSage, importance from feedback"

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Return another that learns on its own, from the same log."""
        other = type(self)(
            self.plain, self.log, self.window_days, self.n_days, self.which, self.min_cosine
        )
        other.coefficients, other.choices = self.coefficients, self.choices
        return other

    def represent(self, histories: Histories) -> Represented:
        """Return one vector a cluster; of equal weight the more important (eq. 3) stands first."""
        clusters = self.plain.clusters(histories)
        weights = weigh(features_of(clusters), clusters.offsets, self.coefficients)
        users = np.repeat(np.arange(histories.users.size), np.diff(clusters.offsets))
        order = np.lexsort((-weights, users))
        rows = histories.rows[clusters.medoids[order]]
        return Represented(clusters.offsets, self.plain.matrix[rows], weights[order], rows)

    def learn(self, until_us: int) -> None:
        """Fit anew on the last days that are over at a moment."""
        end = until_us // DAY_US
        days = range(end - self.n_days, end)
        self.choices = {day: self.choices.get(day) or self._of_day(day) for day in days}
        self.coefficients = fit(joined([self.choices[day] for day in days]))

    def _of_day(self, number: int) -> Choices:
        """Return what the users of a day, counted from 1970, could pick and did."""
        day = datetime.fromtimestamp(number * DAY_US / 1e6, UTC).date()
        of_day = cases.of_days(self.log, [day], self.window_days)
        clusters = self.plain.clusters(of_day.histories)
        medoids = self.plain.matrix[of_day.histories.rows[clusters.medoids]]
        did = chosen(of_day.targets, counted(of_day.targets.new, self.which))
        taken = np.zeros(len(medoids))
        for (a, b), (c, d) in zip(pairwise(clusters.offsets), pairwise(did.offsets), strict=True):
            cosines = self.plain.matrix[did.rows[c:d]] @ medoids[a:b].T
            near = cosines.max(axis=1, initial=-1) >= self.min_cosine
            taken[a:b] = np.bincount(cosines.argmax(axis=1)[near], minlength=b - a)
        return Choices(clusters.offsets, features_of(clusters), taken)


def features_of(clusters: UserClusters) -> Floats:
    """Return float64[m, 4], the ``FEATURES`` of clusters."""
    return np.column_stack(
        [
            np.log(clusters.importance),
            np.log(clusters.n_actions),
            np.log1p(clusters.newest_days),
            clusters.cohesion,
        ]
    )


def weigh(features: Floats, offsets: Integers, coefficients: Floats) -> Floats:
    """Return the weight of each cluster, above 0, the user's largest 1."""
    scores = features @ coefficients
    return np.maximum(np.exp(scores - _largest(scores, offsets)), FAINTEST)


def fit(choices: Choices, ridge: float = RIDGE) -> Floats:
    """Return θ, float64[4]: the one maximum of the likelihood less the ridge."""
    picks = np.add.reduceat(choices.taken, choices.offsets[:-1]) if choices.taken.size else None
    if picks is None or not picks.any():
        return EQUATION_3.copy()
    cases_of = np.repeat(np.arange(picks.size), np.diff(choices.offsets))

    def loss(coefficients: Floats) -> tuple[float, Floats]:
        scores = choices.features @ coefficients
        scores -= _largest(scores, choices.offsets)
        odds = np.exp(scores)
        totals = np.add.reduceat(odds, choices.offsets[:-1])
        expected = (picks / totals)[cases_of] * odds
        off = coefficients - EQUATION_3
        value = picks @ np.log(totals) - choices.taken @ scores + ridge / 2 * off @ off
        return float(value), choices.features.T @ (expected - choices.taken) + ridge * off

    found = minimize(loss, EQUATION_3, jac=True, method="L-BFGS-B")
    return np.asarray(found.x, np.float64)


def joined(parts: list[Choices]) -> Choices:
    """Return the choices of several days as one."""
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    return Choices(
        offsets_of(sizes),
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.taken for part in parts]),
    )


def _largest(scores: Floats, offsets: Integers) -> Floats:
    """Return for each cluster the largest score of its user's; none of users without any."""
    sizes = np.diff(offsets)
    there = sizes > 0
    largest = np.maximum.reduceat(scores, offsets[:-1][there]) if there.any() else scores
    return np.repeat(largest, sizes[there])
