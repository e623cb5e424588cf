import numpy as np
import pytest
import sequence_twins as twins

jax = pytest.importorskip("jax", reason="the extra sequence is not installed")

from pinnersage.evaluate.sequence import recurrent

CELLS = {
    "gru": (recurrent.draw_gru, recurrent.gru, twins.gru_states),
    "lstm": (recurrent.draw_lstm, recurrent.lstm, twins.lstm_states),
}
NETWORKS = {"gru": recurrent.GRU, "lstm": recurrent.LSTM}


def drawn(draw, rng):
    """Parameters whose biases are not all zero."""
    parameters = draw(rng, 5, 7)
    return {
        name: value + 0.3 * rng.standard_normal(value.shape).astype(np.float32)
        for name, value in parameters.items()
    }


@pytest.mark.parametrize("name", CELLS)
def test_states_agree_with_the_naive_twin(name):
    draw, run, twin = CELLS[name]
    rng = np.random.default_rng(0)
    parameters = drawn(draw, rng)
    inputs = rng.standard_normal((3, 11, 5)).astype(np.float32)
    expected = [twin(twins.plain(parameters), line) for line in inputs]
    np.testing.assert_allclose(jax.jit(run)(parameters, inputs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_comes_later_changes_nothing(name):
    rng = np.random.default_rng(1)
    parameters = NETWORKS[name].draw(rng, 4, 6)
    pins = rng.standard_normal((2, 9, 4)).astype(np.float32)
    later = pins.copy()
    later[:, 6:] = 5.0
    sittings = np.zeros((2, 9), np.int32)
    vectors = jax.jit(NETWORKS[name].vectors)
    ours, theirs = vectors(parameters, pins, sittings), vectors(parameters, later, sittings)
    np.testing.assert_allclose(ours[:, :6], theirs[:, :6], atol=1e-6)
    assert not np.allclose(ours[:, 6:], theirs[:, 6:], atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_vectors_are_of_pin_space_and_from_the_seed_alone(name):
    one = NETWORKS[name].draw(np.random.default_rng(3), 4, 6)
    two = NETWORKS[name].draw(np.random.default_rng(3), 4, 6)
    pins = np.ones((2, 3, 4), np.float32)
    found = NETWORKS[name].vectors(one, pins, np.zeros((2, 3), np.int32))
    assert found.shape == (2, 3, 4)
    again = NETWORKS[name].vectors(two, pins, np.zeros((2, 3), np.int32))
    assert np.array_equal(found, again)
