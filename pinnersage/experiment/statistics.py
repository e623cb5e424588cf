"""Statistics: from sums over an arm's users to a lift with its interval.

Users are thrown into arms one by one, so users are what varies: a user with a thousand actions is
one draw, not a thousand. A mean over users has the variance s² / n; the lift of an arm is the ratio
of its mean to the control's, less 1.

The interval is Fieller's: all ratios R for which mean - R * control's mean does not differ from 0,
by Student's t with Welch's degrees of freedom. So it leaves out 0 exactly where Welch's test calls
the two means different at the same level, and it needs no normal ratio.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

LEVEL = 0.95
"""Of the intervals: without an effect one in twenty leaves out 0 all the same."""


class Sums(NamedTuple):
    """A number over the users of an arm."""

    n: int
    """Users, two or more."""
    total: int
    squares: int
    """Sum of the squared numbers."""

    @property
    def mean(self) -> float:
        """Per user."""
        return self.total / self.n

    @property
    def variance(self) -> float:
        """Of the mean; from whole numbers, so that nothing cancels."""
        return (self.n * self.squares - self.total**2) / (self.n**2 * (self.n - 1))


class Lift(NamedTuple):
    """What an arm has more than the control, as a share of what the control has."""

    lift: float
    low: float | None
    """None where the control's mean is too uncertain for the ratio to have bounds."""
    high: float | None
    p: float
    """Of Welch's test: chance of means this far apart, or farther, where nothing differs."""


def lift(arm: Sums, control: Sums) -> Lift:
    """Return an arm's lift over the control, whose total is above 0."""
    from scipy import stats  # noqa: PLC0415 (slow to import)

    (a, va), (c, vc) = (arm.mean, arm.variance), (control.mean, control.variance)
    if va + vc:
        weights = va**2 / (arm.n - 1) + vc**2 / (control.n - 1)
        df = (va + vc) ** 2 / weights
        p = 2 * float(stats.t.sf(abs(a - c) / math.sqrt(va + vc), df))
        t = float(stats.t.ppf((1 + LEVEL) / 2, df))
    else:  # every user of an arm has the same
        p, t = float(a == c), 0.0
    low, high = fieller(a, va, c, vc, t)
    return Lift(a / c - 1, low, high, p)


def fieller(
    a: float, va: float, c: float, vc: float, t: float
) -> tuple[float, float] | tuple[None, None]:
    """Return the least and the largest R less 1 for which (a - R c)² <= t² (va + R² vc)."""
    square, product, constant = c**2 - t**2 * vc, a * c, a**2 - t**2 * va
    if square <= 0:
        return None, None
    root = math.sqrt(max(0.0, product**2 - square * constant))
    return (product - root) / square - 1, (product + root) / square - 1


def ratio_p(users: Sequence[int], shares: Sequence[float]) -> float:
    """Return the chance of numbers of users as far from the arms' shares as these, or farther.

    The chi-square test of one degree of freedom less than there are arms. A value below 0.001 says
    that something else than chance decided who is counted: then arms cannot be compared.
    """
    from scipy import stats  # noqa: PLC0415

    total, whole = sum(users), sum(shares)
    return float(stats.chisquare(users, [total * share / whole for share in shares]).pvalue)
