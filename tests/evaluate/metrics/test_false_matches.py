"""False matches: the share of random pairs at a threshold, and the threshold from a share."""

import naive_metrics as naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate.metrics import false_match_rate, threshold_for
from pinnersage.evaluate.metrics import false_matches as false_matches_module


def test_the_rate_is_that_of_all_pairs_within_chance():
    """A tolerance of five standard errors."""
    matrix, n_pairs = naive.vectors(1, n=60), 40_000
    cosines = (matrix @ matrix.T)[~np.eye(60, dtype=bool)]
    for threshold in (-0.5, 0.0, 0.5, 0.9):
        exact = np.mean(cosines >= threshold)
        error = 5 * np.sqrt(exact * (1 - exact) / n_pairs)
        assert abs(false_match_rate(matrix, threshold, n_pairs, seed=2) - exact) < error


def test_a_pin_is_never_paired_with_itself():
    """Two opposites: a pair of one with itself would have a cosine of 1."""
    matrix = np.array([[1, 0], [-1, 0]], np.float32)
    assert false_match_rate(matrix, 1.0, 1_000, seed=0) == 0
    assert false_match_rate(matrix, -1.0, 1_000, seed=0) == 1


def test_random_directions_match_as_the_sphere_says():
    """In three dimensions a cosine is uniform: P(cosine >= t) = (1 - t) / 2."""
    matrix = naive.vectors(4, n=20_000)
    assert false_match_rate(matrix, 0.8, 100_000, seed=1) == pytest.approx(0.1, abs=0.005)
    assert threshold_for(matrix, 0.1, 100_000, seed=1) == pytest.approx(0.8, abs=0.01)


@given(st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.01, 0.05, 0.3, 0.9]))
def test_a_threshold_set_from_a_rate_has_that_rate_on_the_same_pairs(world, seed, rate):
    """Exactly: no pairs of these tie at the threshold."""
    matrix, n_pairs = naive.vectors(world, n=2_000), 500
    threshold = threshold_for(matrix, rate, n_pairs, seed)
    found = false_match_rate(matrix, threshold, n_pairs, seed)
    assert found == rate
    just_below = float(np.nextafter(np.float32(threshold), np.float32(-2)))
    assert false_match_rate(matrix, just_below, n_pairs, seed) > rate


def test_pairs_that_tie_leave_the_rate_below_and_never_above():
    matrix = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    threshold = threshold_for(matrix, 0.25, 1_000, seed=0)
    assert threshold > 1
    assert false_match_rate(matrix, threshold, 1_000, seed=0) == 0


def test_a_seed_gives_the_same_pairs_whatever_the_block(monkeypatch):
    matrix = naive.vectors(1, n=300)
    before = false_match_rate(matrix, 0.3, 5_000, seed=7), threshold_for(matrix, 0.02, 5_000, 7)
    monkeypatch.setattr(false_matches_module, "BLOCK", 17)
    after = false_match_rate(matrix, 0.3, 5_000, seed=7), threshold_for(matrix, 0.02, 5_000, 7)
    assert before == after
    assert false_match_rate(matrix, 0.3, 5_000, seed=8) != before[0]


@pytest.mark.parametrize(("rate", "n_pairs"), [(0, 100), (1, 100), (-0.1, 100), (0.001, 100)])
def test_a_rate_that_these_pairs_cannot_show_is_refused(rate, n_pairs):
    with pytest.raises(ConfigError, match="Give a rate between 0 and 1"):
        threshold_for(naive.vectors(0), rate, n_pairs, seed=0)


@pytest.mark.parametrize(("n", "n_pairs"), [(1, 10), (0, 10), (5, 0)])
def test_pairs_of_fewer_than_two_pins_are_refused(n, n_pairs):
    with pytest.raises(DataError, match="random pairs of"):
        false_match_rate(naive.vectors(0, n=n), 0.5, n_pairs, seed=0)


def test_a_broken_embedding_is_refused():
    matrix = naive.vectors(0)
    matrix[:] = np.nan
    with pytest.raises(DataError, match="has no cosine"):
        false_match_rate(matrix, 0.5, 10, seed=0)
