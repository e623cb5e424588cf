import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("jax", reason="the extra sequence is not installed")

from pinnersage.evaluate.sequence import negatives

PINS = negatives.catalogue_of(np.array([3, 9, 9, 9, 5, 5, 9, 9]))


def shares(drawn):
    return {int(row): float(np.mean(drawn == row)) for row in np.unique(drawn)}


def test_a_catalogue_counts_pins():
    assert PINS.rows.tolist() == [3, 5, 9]
    assert PINS.counts.tolist() == [1, 2, 5]


def test_random_pins_have_equal_chances():
    drawn = negatives.random_pins(PINS, 30_000, np.random.default_rng(1))
    assert shares(drawn) == pytest.approx({3: 1 / 3, 5: 1 / 3, 9: 1 / 3}, abs=0.015)


def test_popular_pins_have_chances_by_their_actions():
    drawn = negatives.popular_pins(PINS, 30_000, np.random.default_rng(1))
    assert shares(drawn) == pytest.approx({3: 1 / 8, 5: 2 / 8, 9: 5 / 8}, abs=0.015)


def unit(rng, n, d):
    vectors = rng.standard_normal((n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_hard_pins_are_the_nearest_of_a_small_catalogue():
    rng = np.random.default_rng(2)
    matrix = unit(rng, 60, 5)
    pins = negatives.catalogue_of(np.arange(10, 60))
    targets = np.array([10, 33, 33, 2])
    found = negatives.hard_pins(pins, matrix, targets, 4, rng)
    for target, hard in zip(targets, found, strict=True):
        others = [row for row in range(10, 60) if row != target]
        expected = sorted(others, key=lambda row: -float(matrix[target] @ matrix[row]))[:4]
        assert set(hard.tolist()) == set(expected)


def test_hard_pins_of_a_large_catalogue_come_from_a_pool_and_are_still_near(monkeypatch):
    monkeypatch.setattr(negatives, "POOL", 100)
    rng = np.random.default_rng(3)
    matrix = unit(rng, 1_000, 5)
    pins = negatives.catalogue_of(np.arange(1_000))
    found = negatives.hard_pins(pins, matrix, np.arange(50), 3, rng)
    assert len(np.unique(found)) <= 100
    assert not (found == np.arange(50)[:, None]).any()
    near = np.einsum("md,mkd->mk", matrix[:50], matrix[found])
    assert near.mean() > 0.6  # of random ones: 0


def test_few_pins_come_again_where_more_hard_ones_are_asked_for():
    matrix = unit(np.random.default_rng(4), 10, 3)
    found = negatives.hard_pins(PINS, matrix, np.array([3, 9]), 5, np.random.default_rng(0))
    assert found.shape == (2, 5)
    assert [set(line) for line in found.tolist()] == [{5, 9}, {3, 5}]


rows = st.integers(0, 6)


@given(
    st.lists(st.tuples(st.integers(0, 3), rows), min_size=1, max_size=20),
    st.lists(st.integers(0, 3), min_size=1, max_size=5),
    st.lists(rows, min_size=1, max_size=8),
)
def test_no_pin_of_the_predicted_sitting_is_a_negative(pairs, lines, drawn):
    sittings, taken = np.array(pairs).T
    found = negatives.is_negative(np.array(lines), np.array([drawn]), sittings, taken, 7)
    expected = [[(line, pin) not in pairs for pin in drawn] for line in lines]
    assert found.tolist() == expected
