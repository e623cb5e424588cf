import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnersage.kernels.collapse import collapse

relaxed = settings(deadline=None)
rows = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2**62)), max_size=80)


@given(rows)
@relaxed
def test_points_are_those_of_the_naive_twin(drawn):
    found = collapse(np.array(drawn, dtype=np.intp))
    firsts, weights, of_action = naive.collapse(drawn)
    assert found.firsts.tolist() == firsts
    assert found.weights.tolist() == weights
    assert found.of_action.tolist() == of_action


@pytest.mark.parametrize("step", [1, 2**20, 2**40, 987_654_321])
def test_rows_that_hash_alike_stay_apart(step):
    # Multiples of a power of two, and of nothing in particular, twice each and out of order.
    own = np.tile(np.arange(5_000) * step, 2)[np.random.default_rng(step).permutation(10_000)]
    found = collapse(own)
    assert found.firsts.size == 5_000
    assert np.all(found.weights == 2)
    assert np.array_equal(own[found.firsts[found.of_action]], own)
    assert np.all(np.diff(found.firsts) > 0)


def test_no_action_and_one_action():
    assert [part.size for part in collapse(np.empty(0, np.intp))] == [0, 0, 0]
    assert [part.tolist() for part in collapse(np.array([7]))] == [[0], [1.0], [0]]
