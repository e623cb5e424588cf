"""Lifts: closed forms, a naive twin, and intervals that hold the truth as often as they say."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate import lifts as lifts_module
from pinnersage.evaluate.lifts import Interval, difference, lifts, values
from pinnersage.evaluate.metrics import Sums

NOTHING = Interval(None, None, None)


def sums(hits, counts=None):
    hits = np.array(hits, dtype=float)
    return Sums(hits, np.ones(hits.size) if counts is None else np.array(counts, dtype=float))


def lift(base, model, users, **wishes):
    return lifts(base, {"model": model}, np.array(users), **({"seed": 1} | wishes))["model"]


def naive_draws(measured, users, n_draws, seed):
    """The value of each model in each draw of users, in plain Python."""
    known = sorted(set(users))
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_draws):
        drawn = [known[i] for i in rng.integers(0, len(known), len(known))]
        cases = [case for user in drawn for case, own in enumerate(users) if own == user]
        totals = [
            (sum(m.hits[c] for c in cases), sum(m.counts[c] for c in cases)) for m in measured
        ]
        found.append([hits / counts if counts else None for hits, counts in totals])
    return list(zip(*found, strict=True))


def naive_quantile(numbers, share):
    """Between the two nearest of the numbers in order, in proportion."""
    ordered = sorted(numbers)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@st.composite
def measured(draw):
    """Users of some cases, and two models on them."""
    users = draw(st.lists(st.integers(0, 4), min_size=1, max_size=8))
    counts = draw(st.lists(st.integers(0, 3), min_size=len(users), max_size=len(users)))
    both = [[draw(st.integers(0, count)) for count in counts] for _ in range(2)]
    return users, sums(both[0], counts), sums(both[1], counts)


def close(made, expected):
    assert (made is None) == (expected is None)
    if made is not None:
        assert made == pytest.approx(expected, abs=1e-12)


@given(measured(), st.integers(0, 3))
def test_values_lifts_and_differences_equal_their_naive_twin(drawn, seed):
    users, base, model = drawn
    base_draws, draws = naive_draws([base, model], users, 20, seed)
    made = lift(base, model, users, seed=seed, n_draws=20)
    less = difference(model, base, np.array(users), seed=seed, n_draws=20)
    enough = len(set(users)) > 1

    def check(interval, value, numbers):
        close(interval.value, value)
        there = value is not None and enough and None not in numbers
        close(interval.low, naive_quantile(numbers, 0.025) if there else None)
        close(interval.high, naive_quantile(numbers, 0.975) if there else None)
        return there

    check(made.value, model.value, draws)
    differences = [
        None if one is None else one - other for one, other in zip(draws, base_draws, strict=True)
    ]
    expected = None if base.value is None else model.value - base.value
    check(less, expected, differences)
    ratios = [
        one / other - 1 if other else None for one, other in zip(draws, base_draws, strict=True)
    ]
    if check(made.lift, model.value / base.value - 1 if base.value else None, ratios):
        not_above, not_below = sum(r <= 0 for r in ratios), sum(r >= 0 for r in ratios)
        assert made.p == min(1, 2 * (1 + min(not_above, not_below)) / 21)
    else:
        assert made.p is None


def test_a_lift_is_over_the_base_and_sums_over_cases_not_over_users():
    made = lift(sums([1, 0, 1], [2, 1, 5]), sums([2, 1, 1], [2, 1, 5]), [7, 7, 3])
    assert made.value.value == 0.5
    assert made.lift.value == pytest.approx(1)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=30), st.integers(0, 5))
def test_a_model_against_itself_has_a_lift_of_exactly_0(hits, seed):
    base, users = sums(hits), list(range(len(hits)))
    models = {"before": sums(hits[::-1]), "itself": sums(hits), "after": sums(hits[::-1])}
    made = lifts(base, models, np.array(users), seed=seed, n_draws=50)["itself"]
    assert made.lift == (0, 0, 0)
    assert made.p == 1
    assert difference(base, sums(hits), np.array(users), seed=seed) == (0, 0, 0)


def test_a_model_that_is_better_for_every_user_by_one_factor_has_no_doubt():
    rng = np.random.default_rng(5)
    base = rng.uniform(0.1, 0.4, size=200)
    made = lift(sums(base), sums(2 * base), rng.integers(0, 50, 200), n_draws=400)
    assert made.lift.low == pytest.approx(1, abs=1e-12)
    assert made.lift.high == pytest.approx(1, abs=1e-12)
    assert made.value.low < made.value.value < made.value.high
    assert made.p == 2 / 401


def test_one_seed_gives_the_same_numbers_and_another_gives_others():
    rng = np.random.default_rng(6)
    base, model, users = rng.uniform(size=90), rng.uniform(size=90), rng.integers(0, 30, 90)
    one, again, other = (lift(sums(base), sums(model), users, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.lift.low != other.lift.low


def test_a_model_has_the_same_numbers_whatever_stands_beside_it():
    rng = np.random.default_rng(8)
    base, models = sums(rng.uniform(size=90)), {n: sums(rng.uniform(size=90)) for n in "abc"}
    users = rng.integers(0, 30, 90)
    together = lifts(base, models, users, seed=3)
    for name, model in models.items():
        assert lifts(base, {name: model}, users, seed=3) == {name: together[name]}
        assert values({name: model}, users, seed=3)[name] == together[name].value


def test_what_is_in_memory_at_once_changes_nothing(monkeypatch):
    rng = np.random.default_rng(9)
    base, model, users = rng.integers(0, 3, 90), rng.integers(0, 3, 90), rng.integers(0, 30, 90)
    before = lift(sums(base), sums(model), users)
    for block in (1, 200):
        monkeypatch.setattr(lifts_module, "BLOCK", block)
        assert lift(sums(base), sums(model), users) == before


def test_the_order_of_cases_changes_nothing():
    rng = np.random.default_rng(10)
    base, model, users = rng.integers(0, 3, 90), rng.integers(0, 3, 90), rng.integers(0, 30, 90)
    order = rng.permutation(90)
    before = lift(sums(base), sums(model), users)
    assert lift(sums(base[order]), sums(model[order]), users[order]) == before


@pytest.mark.parametrize(
    ("base", "counts"), [([0, 0, 0], [1, 1, 1]), ([0, 0, 0], [0, 0, 0])], ids=["base 0", "no case"]
)
def test_what_is_not_defined_is_none_and_not_a_number(base, counts):
    made = lift(sums(base, counts), sums(counts, counts), [1, 2, 3])
    assert made.lift == NOTHING
    assert made.p is None
    assert made.value == ((1, 1, 1) if any(counts) else NOTHING)


def test_no_case_at_all_has_no_value():
    made = lift(sums([]), sums([]), np.empty(0, np.intp))
    assert made == (NOTHING, NOTHING, None)
    assert difference(sums([]), sums([]), np.empty(0, np.intp), seed=0) == NOTHING


def test_one_user_has_a_value_and_no_interval():
    """One user drawn again is the same user: an interval of no width would be a lie."""
    made = lift(sums([1, 1, 2], [2, 2, 2]), sums([2, 1, 2], [2, 2, 2]), [4, 4, 4])
    assert made.lift == (pytest.approx(0.25), None, None)
    assert made.value == (pytest.approx(5 / 6), None, None)
    assert made.p is None


def test_a_lift_over_a_base_that_few_users_carry_has_no_interval():
    """In 1,000 draws of 20 users some do not hold the only one whom the base finds anything for."""
    base, model = sums([1] + [0] * 19), sums([1] * 20)
    made = lift(base, model, range(20))
    assert made.lift == (pytest.approx(19), None, None)
    assert made.p is None
    assert made.value == (1, 1, 1)
    less = difference(model, base, np.arange(20), seed=1)
    assert less.low < less.value < less.high


def simulated(rng, n_users=120, cases_each=6):
    """Users who differ; a model that adds half of what the base has, on average."""
    user = np.repeat(np.arange(n_users), cases_each)
    own = np.repeat(rng.beta(1, 3, n_users), cases_each)
    gain = np.repeat(rng.uniform(0, 1, n_users), cases_each)
    counts = rng.integers(1, 5, user.size)
    better = rng.binomial(counts, own * (1 + gain) / 2)
    return user, sums(rng.binomial(counts, own / 2), counts), sums(better, counts)


def test_intervals_hold_the_truth_as_often_as_they_say_and_those_over_cases_do_not():
    """Planted: value 3/16, lift 1/2, difference 1/16. Users differ, their own cases do not.

    400 worlds: the share held is within 0.95 ± 0.033, three standard errors and what percentiles
    lack with 120 users. Were cases drawn and not users, value's intervals would be too narrow.
    """
    rng, held, n_worlds = np.random.default_rng(13), np.zeros(4), 400
    truth = {"value": 3 / 16, "lift": 1 / 2, "difference": 1 / 16, "value over cases": 3 / 16}
    for seed in range(n_worlds):
        users, base, model = simulated(rng)
        made = lift(base, model, users, seed=seed, n_draws=200)
        less = difference(model, base, users, seed=seed, n_draws=200)
        over_cases = lift(base, model, range(users.size), seed=seed, n_draws=200).value
        intervals = (made.value, made.lift, less, over_cases)
        held += [i.low <= real <= i.high for i, real in zip(intervals, truth.values(), strict=True)]
    shares = dict(zip(truth, held / n_worlds, strict=True))
    for name in ("value", "lift", "difference"):
        assert abs(shares[name] - 0.95) < 0.033, shares
    assert shares["value over cases"] < 0.85, shares


def test_p_is_small_as_seldom_as_it_says_where_there_is_no_difference():
    """400 worlds of two models alike: p < 0.1 in a tenth of them, within three standard errors."""
    rng, ps = np.random.default_rng(14), []
    for seed in range(400):
        own = rng.beta(1, 3, 150)
        counts = rng.integers(1, 5, 150)
        one, other = (sums(rng.binomial(counts, own), counts) for _ in range(2))
        ps.append(lift(one, other, range(150), seed=seed, n_draws=200).p)
    assert abs(np.mean(np.array(ps) < 0.1) - 0.1) < 0.045


def test_more_users_make_an_interval_narrower():
    widths = []
    for n_users in (50, 200, 800):
        users, base, model = simulated(np.random.default_rng(15), n_users)
        made = lift(base, model, users).lift
        widths.append(made.high - made.low)
    assert all(wide > 1.5 * narrow for wide, narrow in pairwise(widths))


@pytest.mark.parametrize(
    ("hits", "users"),
    [([1, 2], [1, 2, 3]), ([1, np.nan, 2], [1, 2, 3]), ([1, np.inf, 2], [1, 2, 3])],
)
def test_sums_of_other_cases_or_that_are_no_numbers_are_refused(hits, users):
    with pytest.raises(DataError, match="Give every model's sums on the same cases"):
        lift(sums([1, 1, 1]), sums(hits), users)


def test_no_draws_are_refused():
    with pytest.raises(ConfigError, match="0 draws are asked for"):
        lift(sums([1, 2]), sums([2, 1]), [1, 2], n_draws=0)
