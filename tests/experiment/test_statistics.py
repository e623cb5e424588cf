"""Statistics: intervals hold what they promise, and say what Welch's test says."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pinnersage.experiment import statistics
from pinnersage.experiment.statistics import Sums

numbers = st.lists(st.integers(0, 50), min_size=3, max_size=40)


def sums(values):
    """The sums of some users' numbers."""
    values = [int(value) for value in values]
    return Sums(len(values), sum(values), sum(value**2 for value in values))


@given(numbers)
def test_sums_are_mean_and_variance_of_the_mean(values):
    found = sums(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.variance == pytest.approx(np.var(values, ddof=1) / len(values), abs=1e-12)


def test_large_sums_do_not_cancel():
    assert sums([10**9, 10**9 + 1, 10**9 + 2]).variance == pytest.approx(1 / 3, rel=1e-12)


@given(numbers, numbers)
def test_p_is_that_of_welch(arm, control):
    if np.var(arm) + np.var(control) == 0 or not sum(control):
        return
    described = [f(x) for x in (arm, control) for f in (np.mean, lambda x: np.std(x, ddof=1), len)]
    expected = stats.ttest_ind_from_stats(*described, equal_var=False).pvalue
    assert statistics.lift(sums(arm), sums(control)).p == pytest.approx(expected, abs=1e-9)


@given(numbers, numbers)
def test_the_interval_leaves_out_0_where_welch_sees_a_difference(arm, control):
    if not sum(control):
        return
    found = statistics.lift(sums(arm), sums(control))
    if found.low is None or abs(found.p - 0.05) < 1e-6:
        return
    tiny = 1e-9  # rounding, where an end is 0
    assert (found.low > tiny or found.high < -tiny) == (found.p < 0.05)
    assert found.low - tiny <= found.lift <= found.high + tiny


@given(numbers, numbers)
def test_the_ends_are_the_ratios_that_are_just_believed(arm, control):
    if not sum(control) or np.var(arm) + np.var(control) == 0:
        return
    a, c = sums(arm), sums(control)
    found = statistics.lift(a, c)
    if found.low is None:
        return
    weights = a.variance**2 / (a.n - 1) + c.variance**2 / (c.n - 1)
    t = stats.t.ppf(0.975, (a.variance + c.variance) ** 2 / weights)
    for ratio in (1 + found.low, 1 + found.high):
        off = (a.mean - ratio * c.mean) ** 2 - t**2 * (a.variance + ratio**2 * c.variance)
        assert off == pytest.approx(0, abs=1e-6 * max(1, a.mean**2, (ratio * c.mean) ** 2))


def test_a_hand_made_case():
    found = statistics.lift(sums([2, 4] * 50), sums([1, 3] * 50))
    assert found.lift == pytest.approx(0.5)
    t, v = stats.t.ppf(0.975, 198), 1 / 99
    ends = np.roots([4 - t**2 * v, -2 * 3 * 2, 9 - t**2 * v])
    assert (found.low, found.high) == pytest.approx(tuple(np.sort(ends) - 1))


def test_without_spread_the_interval_is_the_lift():
    assert statistics.lift(sums([2] * 9), sums([1] * 9)) == (1.0, 1.0, 1.0, 0.0)
    assert statistics.lift(sums([1] * 9), sums([1] * 9)) == (0.0, 0.0, 0.0, 1.0)


def test_a_control_that_may_be_0_gives_no_bounds():
    found = statistics.lift(sums([1, 2, 3]), sums([0, 0, 1]))
    assert (found.low, found.high) == (None, None)


def trials(effect, *, n_trials=2_000, n_users=1_000, seed=5):
    """Lifts of as many experiments over users who differ a lot: their rates are gamma."""
    rng = np.random.default_rng(seed)
    for _ in range(n_trials):
        rates = rng.gamma(0.5, 4.0, size=2 * n_users)
        rates[:n_users] *= 1 + effect
        counts = rng.poisson(rates)
        yield statistics.lift(sums(counts[:n_users]), sums(counts[n_users:]))


@pytest.mark.parametrize("effect", [0.0, 0.3])
def test_nineteen_of_twenty_intervals_have_the_true_lift(effect):
    found = [one.low <= effect <= one.high for one in trials(effect)]
    assert np.mean(found) == pytest.approx(0.95, abs=0.015)  # three standard errors


def test_without_an_effect_both_sides_are_wrong_as_often():
    found = list(trials(0.0))
    wrong = [one for one in found if one.p < 0.05]
    assert len(wrong) / len(found) == pytest.approx(0.05, abs=0.015)
    assert 0.3 < np.mean([one.lift > 0 for one in wrong]) < 0.7


def test_the_interval_is_near_a_bootstrap_over_users():
    rng = np.random.default_rng(3)
    arm, control = (rng.poisson(rng.gamma(0.5, scale, size=2_000)) for scale in (5.0, 4.0))
    found = statistics.lift(sums(arm), sums(control))
    drawn = [
        rng.choice(arm, arm.size).mean() / rng.choice(control, control.size).mean() - 1
        for _ in range(2_000)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    width = found.high - found.low
    assert abs(low - found.low) < 0.1 * width
    assert abs(high - found.high) < 0.1 * width


def test_the_ratio_is_judged_by_chi_square():
    chi_square = 2 * 20**2 / 500
    expected = math.erfc(math.sqrt(chi_square / 2))
    assert statistics.ratio_p([520, 480], [0.5, 0.5]) == pytest.approx(expected)
    assert statistics.ratio_p([520, 480], [0.05, 0.05]) == pytest.approx(expected)
    assert statistics.ratio_p([100, 300], [0.1, 0.3]) == pytest.approx(1)


def test_a_right_ratio_is_refused_once_in_a_thousand():
    counts = np.random.default_rng(1).binomial(10_000, 0.5, size=4_000)
    refused = [statistics.ratio_p([n, 10_000 - n], [0.5, 0.5]) < 0.001 for n in counts]
    assert np.sum(refused) <= 13  # 4 expected
