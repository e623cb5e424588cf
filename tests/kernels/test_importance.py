import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import decays

from pinnersage.kernels.importance import importance

actions = st.lists(st.tuples(st.floats(0, 1e4), st.integers(0, 4)), max_size=60)
relaxed = settings(deadline=None)


def split(drawn):
    return np.array([a for a, _ in drawn]), np.array([c for _, c in drawn], dtype=np.intp)


@given(actions, decays())
@relaxed
def test_importance_is_that_of_the_naive_twin(drawn, decay):
    ages, labels = split(drawn)
    for c, found in enumerate(importance(ages, labels, 5, decay)):
        assert found == pytest.approx(naive.importance(ages[labels == c], decay), rel=1e-12)


@given(actions)
@relaxed
def test_decay_zero_counts_actions(drawn):
    ages, labels = split(drawn)
    counts = np.bincount(labels, minlength=5)
    assert np.array_equal(importance(ages, labels, 5, 0.0), counts)


def test_an_action_now_weighs_one_and_one_long_ago_nothing():
    ages = np.array([0.0, 1e300])
    assert importance(ages, np.array([0, 1]), 2, 0.5).tolist() == [1.0, 0.0]
