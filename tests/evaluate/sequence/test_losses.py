import math

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="the extra sequence is not installed")
import jax.numpy as jnp

from pinnersage.evaluate.sequence.losses import LOSSES, MARGIN, TEMPERATURE, hinge, l2, log_loss

P = jnp.array([0.5, -0.2])
N = jnp.array([[0.1, -0.4, 0.9], [0.3, 0.3, 0.3]])
ALL = jnp.ones((2, 3), bool)
SOME = jnp.array([[True, True, False], [False, True, False]])


def test_l2_is_the_distance_from_one_and_from_zero():
    expected = [0.25 + (0.01 + 0.16 + 0.81) / 3, 1.44 + 0.09]
    np.testing.assert_allclose(l2(P, N, ALL), expected, rtol=1e-6)
    np.testing.assert_allclose(l2(P, N, SOME), [0.25 + 0.17 / 2, 1.44 + 0.09], rtol=1e-6)


def test_hinge_is_what_is_missing_to_the_margin():
    assert pytest.approx(0.3) == MARGIN
    np.testing.assert_allclose(hinge(P, N, ALL), [0.7 / 3, 0.8], rtol=1e-6)
    np.testing.assert_allclose(hinge(P, N, SOME), [0.0, 0.8], atol=1e-6)


def test_log_loss_is_minus_the_log_of_the_softmax():
    assert pytest.approx(0.1) == TEMPERATURE
    expected = -math.log(math.exp(5) / (math.exp(5) + math.exp(1) + math.exp(-4) + math.exp(9)))
    np.testing.assert_allclose(log_loss(P, N, ALL)[0], expected, rtol=1e-5)
    expected = -math.log(math.exp(-2) / (math.exp(-2) + math.exp(3)))
    np.testing.assert_allclose(log_loss(P, N, SOME)[1], expected, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_negatives_that_are_not_kept_count_for_nothing(name):
    other = jnp.where(SOME, N, 0.77)
    assert LOSSES[name](P, N, SOME).tolist() == LOSSES[name](P, other, SOME).tolist()


@pytest.mark.parametrize("name", LOSSES)
def test_a_better_ranking_has_a_smaller_loss(name):
    better = LOSSES[name](P + 0.05, N, ALL), LOSSES[name](P, jnp.maximum(N - 0.05, 0), ALL)
    worse = LOSSES[name](P, jnp.maximum(N, 0), ALL)
    assert (better[0] < LOSSES[name](P, N, ALL)).all()
    assert (better[1] < worse).all()


@pytest.mark.parametrize("name", LOSSES)
def test_slopes_are_finite_where_no_negative_is_kept(name):
    slope = jax.grad(lambda n: LOSSES[name](P, n, ~ALL).sum())(N)
    assert jnp.isfinite(slope).all()
    assert (slope == 0).all()
