"""Lifts: how much better a model is than a base, with intervals.

Both are measured on the same cases, and users differ far more than models do: so users are drawn
anew with replacement (a paired bootstrap), each with all cases, the same users for the base and
every model. A user's cases are not independent; users are.

A lift is value / base - 1, as in the paper's tables. Intervals are between percentiles of the
draws. Users are numbered and draws depend on nothing but the seed and how many users there are, so
one seed gives every measure and model of the same users the same draws.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate.histories import Floats, Integers
from pinnersage.evaluate.metrics import Sums

N_DRAWS = 1_000
LEVEL = 0.95
"""Chance that an interval holds the truth."""
BLOCK = 2_000_000
"""Users that are drawn at once, over all draws: 16 MB an array."""


class Interval(NamedTuple):
    """A number and what it may be by chance of who the users were."""

    value: float | None
    """None where it is not defined: nothing counts, or a lift's base is 0."""
    low: float | None
    high: float | None
    """None where ``value`` is, with fewer than two users, or where it is not defined in some draw:
    too few users carry it for an interval to mean anything."""


class Lift(NamedTuple):
    """A model against a base."""

    value: Interval
    """The model's own value, sum(hits) / sum(counts)."""
    lift: Interval
    """value / base - 1."""
    p: float | None
    """Two-sided: twice the smaller of the shares of draws in which the model is not above, and not
    below, the base; (1 + draws) / (1 + all draws) each, at most 1. None where the lift has no
    interval."""


def values(
    measured: Mapping[str, Sums], users: Integers, *, seed: int, n_draws: int = N_DRAWS
) -> dict[str, Interval]:
    """Return the value of each model, by name. Arguments as for ``lifts``."""
    drawn = _draw(list(measured.values()), users, n_draws, seed)
    return {
        name: _interval(sums.value, drawn[i], users)
        for i, (name, sums) in enumerate(measured.items())
    }


def lifts(
    base: Sums,
    models: Mapping[str, Sums],
    users: Integers,
    *,
    seed: int,
    n_draws: int = N_DRAWS,
) -> dict[str, Lift]:
    """Return the value of each model, by name, and its lift over the base.

    Parameters
    ----------
    base : Sums
    models : mapping of name to Sums
        One measure, on the cases of the base.
    users : intp[n]
        User number of each case.
    seed : int
        Of the draws; the same seed gives the same numbers.
    n_draws : int
        At least 1. Time and nothing else grows with it: memory is that of ``BLOCK`` users.

    Returns
    -------
    dict of name to Lift
        A lift is None where nothing counts or the base's value is not above 0. A model against
        itself has a lift of exactly 0, from 0 to 0, with p = 1.

    Raises
    ------
    DataError
        The sums are not of as many cases as ``users``, or not finite.
    ConfigError
        ``n_draws`` is below 1.
    """
    drawn = _draw([base, *models.values()], users, n_draws, seed)
    found = {}
    for (name, sums), values_drawn in zip(models.items(), drawn[1:], strict=True):
        drawn_lifts = _ratio(values_drawn, drawn[0]) - 1
        lift = _interval(_lift(sums.value, base.value), drawn_lifts, users)
        p = None if lift.low is None else _p(drawn_lifts)
        found[name] = Lift(_interval(sums.value, values_drawn, users), lift, p)
    return found


def difference(
    one: Sums, other: Sums, users: Integers, *, seed: int, n_draws: int = N_DRAWS
) -> Interval:
    """Return the value of one model less another's on the same cases. Arguments as for ``lifts``.

    None where either has nothing that counts.
    """
    drawn = _draw([one, other], users, n_draws, seed)
    both = one.value, other.value
    value = None if both[0] is None or both[1] is None else both[0] - both[1]
    return _interval(value, drawn[0] - drawn[1], users)


def _lift(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None or base <= 0 else value / base - 1


def _interval(value: float | None, drawn: Floats, users: Integers) -> Interval:
    """Return a value between percentiles of its draws; NaN is a draw that has none."""
    if value is None or np.isnan(drawn).any() or np.ptp(users) == 0:
        return Interval(value, None, None)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def _p(drawn: Floats) -> float:
    not_above, not_below = np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0)
    return float(min(1.0, 2 * (1 + min(not_above, not_below)) / (1 + drawn.size)))


def _draw(measured: list[Sums], users: Integers, n_draws: int, seed: int) -> Floats:
    """Return float64[models, n_draws], the value of each in each draw; NaN where it has none."""
    if n_draws < 1:
        raise ConfigError(f"{n_draws} draws are asked for. An interval takes 1 or more.")
    sums = _of_users(measured, users)
    n_users = sums.shape[1]
    totals = np.zeros((len(sums), n_draws))
    rng, step = np.random.default_rng(seed), max(1, BLOCK // max(1, n_users))
    for start in range(0, n_draws if n_users else 0, step):
        times = _times_drawn(rng, min(step, n_draws - start), n_users)
        for total, of_users in zip(totals, sums, strict=True):  # one by one: equals stay equal
            total[start : start + step] = times @ of_users
    return _ratio(totals[0::2], totals[1::2])


def _of_users(measured: list[Sums], users: Integers) -> Floats:
    """Return float64[2 * models, n_users]: hits and counts of each model, summed by user."""
    _, user = np.unique(users, return_inverse=True)
    found = []
    for part in (part for sums in measured for part in sums):
        if part.shape != users.shape or not np.isfinite(part).all():
            raise DataError(
                f"Sums of {part.size} cases stand against users of {users.size}, or are not "
                "finite. Give every model's sums on the same cases, and the user of each case."
            )
        found.append(np.bincount(user, weights=part, minlength=int(user.max(initial=-1)) + 1))
    return np.array(found)


def _times_drawn(rng: np.random.Generator, n_draws: int, n_users: int) -> Floats:
    """Return float64[n_draws, n_users]: how often each user is drawn."""
    drawn = rng.integers(0, n_users, (n_draws, n_users)) + n_users * np.arange(n_draws)[:, None]
    times = np.bincount(drawn.ravel(), minlength=n_draws * n_users)
    return times.reshape(n_draws, n_users).astype(np.float64)


def _ratio(one: Floats, other: Floats) -> Floats:
    """Return one by the other, NaN where the other is not above 0."""
    out = np.full(one.shape, np.nan)
    np.divide(one, other, out=out, where=other > 0)
    return out
