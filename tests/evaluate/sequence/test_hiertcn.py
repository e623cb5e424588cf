import numpy as np
import pytest
import sequence_twins as twins

jax = pytest.importorskip("jax", reason="the extra sequence is not installed")

from pinnersage.evaluate.sequence import hiertcn

SITTINGS = np.array([[0] * 4 + [1] * 20 + [2] * 9 + [3], [0, 1, 2, 3] + [4] * 30], np.int32)


@pytest.fixture(scope="module")
def parameters():
    rng = np.random.default_rng(0)
    drawn = hiertcn.draw(rng, 5, 6)
    for layer in drawn["convolutions"]:
        layer["bias"] = layer["bias"] + 0.2 * rng.standard_normal(6).astype(np.float32)
    return drawn


@pytest.fixture
def pins():
    return np.random.default_rng(1).standard_normal((2, 34, 5)).astype(np.float32)


compiled = jax.jit(hiertcn.vectors)


def vectors(parameters, pins, sittings=SITTINGS):
    return np.asarray(compiled(parameters, pins, sittings))


def test_vectors_agree_with_the_naive_twin(parameters, pins):
    expected = [
        twins.hiertcn(twins.plain(parameters), line, sittings, hiertcn.DILATIONS)
        for line, sittings in zip(pins, SITTINGS, strict=True)
    ]
    np.testing.assert_allclose(vectors(parameters, pins), expected, rtol=1e-4, atol=1e-4)


def test_what_lies_behind_the_end_changes_nothing(parameters, pins):
    short = SITTINGS.copy()
    short[:, 20:] = 34  # of no sitting
    junk = pins.copy()
    junk[:, 20:] = 7.0
    ours, theirs = vectors(parameters, pins, short), vectors(parameters, junk, short)
    np.testing.assert_allclose(ours[:, :20], theirs[:, :20], atol=1e-5)
    narrow = vectors(parameters, pins[:, :20], np.minimum(short[:, :20], 20))
    np.testing.assert_allclose(ours[:, :20], narrow, atol=1e-5)


def test_order_counts_within_the_last_sitting_only(parameters, pins):
    last = vectors(parameters, pins)[0, 32]  # the end of sitting 2
    before = pins.copy()
    before[0, 4:24] = pins[0, 4:24][::-1]
    np.testing.assert_allclose(vectors(parameters, before)[0, 32], last, atol=1e-5)
    within = pins.copy()
    within[0, 24:33] = pins[0, 24:33][::-1]
    assert not np.allclose(vectors(parameters, within)[0, 32], last, atol=1e-2)


def test_a_sittings_mean_is_over_its_own_pins(pins):
    member = hiertcn.membership(SITTINGS)
    means = np.asarray(hiertcn.sitting_means(pins, member))
    for line in range(2):
        for number in range(34):
            of = pins[line, SITTINGS[line] == number]
            expected = of.mean(axis=0) if len(of) else np.zeros(5)
            np.testing.assert_allclose(means[line, number], expected, atol=1e-5)


def test_a_convolution_does_not_reach_into_another_sitting(pins):
    taps = np.random.default_rng(2).standard_normal((3, 5, 4)).astype(np.float32)
    found = np.asarray(hiertcn.convolution(taps, pins, SITTINGS, 2))
    np.testing.assert_allclose(found[0, 4], pins[0, 4] @ taps[0], atol=1e-5)
    np.testing.assert_allclose(found[0, 6], pins[0, 6] @ taps[0] + pins[0, 4] @ taps[1], atol=1e-5)
