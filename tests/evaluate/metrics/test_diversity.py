"""Diversity, coverage and interest entropy: closed forms, naive twins, and edges."""

import naive_metrics as naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.errors import DataError
from pinnersage.evaluate.metrics import (
    Lists,
    chosen,
    coverage,
    diversity,
    effective_interests,
    interest_entropy,
)

AXES = np.vstack([np.eye(4), -np.eye(4)]).astype(np.float32)


@given(naive.cases(), st.integers(0, 5))
def test_diversity_is_the_mean_over_all_pairs(drawn, seed):
    candidates, _, _ = drawn
    matrix = naive.vectors(seed)
    made = diversity(naive.flat(candidates), matrix)
    expected = [naive.diversity(own, matrix) for own in candidates]
    np.testing.assert_allclose(made.hits, [hits for hits, _ in expected], atol=1e-6)
    assert made.counts.tolist() == [count for _, count in expected]


def test_diversity_is_1_of_what_is_at_right_angles_2_of_opposites_0_of_copies():
    lists = [[0, 1, 2, 3], [0, 4], [0, 8], [0, 1, 4]]
    made = diversity(naive.flat(lists), np.vstack([AXES, AXES[:1]]))
    np.testing.assert_allclose(made.hits, [1, 2, 0, 4 / 3], atol=1e-12)


def test_fewer_than_two_pins_have_no_diversity_and_do_not_count():
    made = diversity(naive.flat([[], [0], [0, 1]]), AXES)
    assert made.counts.tolist() == [0, 0, 1]
    assert made.hits.tolist() == [0, 0, 1]
    assert made.value == 1


def test_diversity_of_many_equal_pins_is_0_and_not_rounding():
    matrix = np.repeat(naive.vectors(3, n=1, d=256), 400, axis=0)
    assert diversity(naive.flat([range(400)]), matrix).value == pytest.approx(0, abs=1e-6)


def test_action_pins_own_diversity_is_that_of_the_targets_that_count():
    targets = Lists(np.array([0, 3]), np.array([0, 4, 1]))
    made = diversity(chosen(targets, np.array([True, False, True])), AXES)
    assert made.value == pytest.approx(1)
    assert diversity(targets, AXES).value == pytest.approx(4 / 3)


def test_coverage_counts_a_pin_once_however_often_it_comes():
    assert coverage(naive.flat([[0, 1], [1, 2], []]), 12) == 0.25
    assert coverage(naive.flat([]), 12) == 0
    assert coverage(naive.flat([range(12)]), 12) == 1


@pytest.mark.parametrize(("rows", "n_pins"), [([[12]], 12), ([[-1]], 12), ([], 0)])
def test_coverage_of_another_catalogue_is_refused(rows, n_pins):
    with pytest.raises(DataError, match="Give the number of rows"):
        coverage(naive.flat(rows), n_pins)


WEIGHTS = st.lists(st.lists(st.floats(1e-6, 1e6), max_size=5), max_size=5)


@given(WEIGHTS)
def test_interest_entropy_equals_its_naive_twin_and_is_within_its_bounds(lists):
    offsets, weights = naive.offsets_of(lists), naive.joined(lists, float)
    entropy, interests = (f(offsets, weights) for f in (interest_entropy, effective_interests))
    expected = [naive.entropy(own) for own in lists]
    np.testing.assert_allclose(entropy.hits, [hits for hits, _ in expected], atol=1e-9)
    assert entropy.counts.tolist() == interests.counts.tolist() == [c for _, c in expected]
    for own, value in zip(lists, interests.hits, strict=True):
        assert min(1, len(own)) - 1e-9 <= value <= len(own) + 1e-9


@given(WEIGHTS, st.floats(1e-3, 1e3))
def test_interest_entropy_does_not_depend_on_the_unit_of_weights(lists, factor):
    offsets, weights = naive.offsets_of(lists), naive.joined(lists, float)
    np.testing.assert_allclose(
        interest_entropy(offsets, factor * weights).hits,
        interest_entropy(offsets, weights).hits,
        atol=1e-9,
    )


def test_k_equal_interests_are_k_and_one_is_one():
    offsets, weights = np.array([0, 4, 5, 5]), np.array([2.0, 2.0, 2.0, 2.0, 7.0])
    assert interest_entropy(offsets, weights).hits.tolist() == pytest.approx([np.log(4), 0, 0])
    assert effective_interests(offsets, weights).hits.tolist() == pytest.approx([4, 1, 0])
    assert effective_interests(offsets, weights).counts.tolist() == [1, 1, 0]


@pytest.mark.parametrize("weight", [0.0, -1.0, np.inf, np.nan])
def test_a_weight_that_is_no_importance_is_refused(weight):
    with pytest.raises(DataError, match="not a number above 0"):
        interest_entropy(np.array([0, 2]), np.array([1.0, weight]))
