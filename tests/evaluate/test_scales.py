"""Scales: all numbers lie within, in proportion, and what is written beside an axis is round."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.evaluate.scales import Scale, log_ticks, ticks

numbers = st.integers(-(10**9), 10**9).map(lambda n: n / 1000)
above_0 = st.integers(1, 10**9).map(lambda n: n / 1000)


def is_round(value):
    return f"{value:.6e}"[:8] in {"1.000000", "2.000000", "5.000000"}


@given(st.lists(numbers, min_size=1))
def test_ticks_are_round_steps_that_hold_all_values(values):
    low, high, at = ticks(values)
    assert low == at[0] <= min(values)
    assert high == at[-1] >= max(values)
    steps = [b - a for a, b in pairwise(at)]
    assert steps
    assert all(step == pytest.approx(steps[0], rel=1e-6) for step in steps)
    assert is_round(steps[0])
    assert all(tick / steps[0] == pytest.approx(round(tick / steps[0]), abs=1e-3) for tick in at)


@given(st.lists(numbers, min_size=2).filter(lambda v: max(v) - min(v) > 1e-6 * max(map(abs, v))))
def test_no_more_room_is_left_than_a_step_at_either_end(values):
    low, high, at = ticks(values)
    assert 3 <= len(at) <= 8
    step = at[1] - at[0]
    assert min(values) - low < step * 1.001
    assert high - max(values) < step * 1.001


@given(st.lists(above_0, min_size=1))
def test_log_ticks_are_1_2_5_times_powers_of_ten(values):
    low, high, at = log_ticks(values)
    assert low < high
    assert low <= min(values) * (1 + 1e-9)
    assert high >= max(values) * (1 - 1e-9)
    assert at == sorted(at)
    assert all(is_round(tick) for tick in (low, high, *at))
    assert all(low <= tick <= high for tick in at)
    assert len(at) <= 14
    if min(values) < max(values):
        assert low > min(values) / 2.6
        assert high < max(values) * 2.6


@given(st.lists(numbers, min_size=1), numbers)
def test_places_are_in_proportion(values, begin):
    scale = Scale(values, begin, begin + 300)
    span = scale.ticks.high - scale.ticks.low
    for value in values:
        share = (value - scale.ticks.low) / span
        assert scale(value) == pytest.approx(begin + 300 * share, abs=0.06)


@given(st.lists(above_0, min_size=1))
def test_places_on_a_log_scale_are_in_proportion_to_logarithms(values):
    scale = Scale(values, 300, 0, log=True)
    span = math.log(scale.ticks.high / scale.ticks.low)
    for value in values:
        share = math.log(value / scale.ticks.low) / span
        assert scale(value) == pytest.approx(300 * (1 - share), abs=0.06)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([0.0], [-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6]),
        ([0.13, 0.97], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([-0.03, 0.42], [-0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ([1.0, 1.0], [0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6]),
    ],
)
def test_known_axes(values, expected):
    assert ticks(values).at == expected


def test_known_log_axes():
    assert log_ticks([0.3, 4]).at == [0.2, 0.5, 1, 2, 5]
    assert log_ticks([1]).at == [0.5, 1, 2]
    assert log_ticks([0.001, 1000]).at == [0.001, 0.01, 0.1, 1, 10, 100, 1000]
