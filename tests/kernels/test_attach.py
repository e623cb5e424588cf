from typing import NamedTuple

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DIMENSIONS, make_user, thresholds

from pinnersage.kernels import attach


class Online(NamedTuple):
    table: np.ndarray
    stored: np.ndarray
    sizes: np.ndarray
    offsets: np.ndarray
    rows: np.ndarray


def make_online(rng, k, n, d, *, spread=0.3, copies=0.1, on_medoids=0.2):
    """Stored clusters and actions on one table; some actions are on the medoids' pins."""
    table = make_user(rng, k + n + 2, d, spread=spread, copies=copies).embeddings
    stored = rng.permutation(len(table))[:k]
    rows = rng.integers(len(table), size=n)
    if k:
        rows = np.where(rng.random(n) < on_medoids, rng.choice(stored, n), rows)
    sizes = rng.integers(1, 30, k).astype(float)
    offsets = np.where(sizes > 1, rng.random(k) * spread / 4, 0.0)
    return Online(table, stored, sizes, offsets, rows)


@st.composite
def online(draw, least=0):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return make_online(
        rng,
        draw(st.integers(least, 12)),
        draw(st.integers(1, 15)),
        draw(st.sampled_from(DIMENSIONS)),
        spread=draw(st.sampled_from([0.05, 0.3, 2.0])),
        copies=draw(st.sampled_from([0.0, 0.5])),
    )


def run(given, threshold=1.0):
    found, bad = attach.attach(*given, threshold)
    assert bad == -1
    return found


def equals_naive(drawn, threshold):
    labels, medoids, offsets, tied = naive.attach(*drawn, threshold)
    found = run(drawn, threshold)
    if not tied:
        assert found.labels.tolist() == labels
        assert found.medoids.tolist() == medoids
        np.testing.assert_allclose(found.offsets, offsets, atol=1e-9)
    return not tied


@given(online(), thresholds())
def test_clusters_medoids_and_offsets_are_those_of_the_naive_twin(drawn, threshold):
    equals_naive(drawn, threshold)


def test_most_random_users_leave_no_tie_and_equal_the_naive_twin():
    rng = np.random.default_rng(1)
    compared = sum(
        equals_naive(
            make_online(
                rng,
                int(rng.integers(0, 30)),
                int(rng.integers(1, 21)),
                int(rng.choice([8, 16, 64])),
                spread=float(rng.choice([0.05, 0.3, 2.0])),
                copies=0.0,
            ),
            float(np.exp(rng.uniform(np.log(0.05), np.log(10)))),
        )
        for _ in range(300)
    )
    assert compared >= 200


@given(online(least=1), st.sampled_from([0.0, 0.3, 2.5, np.inf]))
def test_stored_clusters_never_merge_and_each_action_is_in_one_cluster(drawn, threshold):
    found = run(drawn, threshold)
    k = drawn.stored.size
    assert np.all((found.labels >= 0) & (found.labels < found.medoids.size))
    assert set(range(k, found.medoids.size)) <= set(found.labels.tolist())
    both = np.concatenate([drawn.stored, drawn.rows])
    of_both = np.concatenate([np.arange(k), found.labels])
    assert np.array_equal(of_both[found.medoids], np.arange(found.medoids.size))
    assert np.unique(both[found.medoids]).size == found.medoids.size
    assert np.all(found.offsets >= 0)


@given(online(least=1), thresholds())
def test_a_stored_cluster_that_gets_nothing_is_unchanged_to_the_bit(drawn, threshold):
    found = run(drawn, threshold)
    still = np.setdiff1d(np.arange(drawn.stored.size), found.labels)
    assert np.array_equal(found.medoids[still], still)
    assert np.array_equal(found.offsets[still], drawn.offsets[still])


@given(online(least=1))
def test_an_action_on_a_stored_medoid_joins_it_at_any_threshold(drawn):
    own = {row: c for c, row in enumerate(drawn.stored.tolist())}
    for threshold in (0.0, 1.0, np.inf):
        found = run(drawn, threshold)
        for label, row in zip(found.labels, drawn.rows.tolist(), strict=True):
            assert label == own.get(row, label)


@given(online(), thresholds())
def test_repeats_of_a_pin_share_its_cluster(drawn, threshold):
    labels = run(drawn, threshold).labels
    for row in np.unique(drawn.rows):
        assert np.unique(labels[drawn.rows == row]).size == 1


@given(online(least=1))
def test_at_infinity_everything_is_in_a_stored_cluster(drawn):
    assert run(drawn, np.inf).medoids.size == drawn.stored.size


def test_at_zero_only_pins_without_distance_merge():
    table = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0]])
    drawn = Online(table, np.array([0]), np.ones(1), np.zeros(1), np.array([1, 2, 3, 0, 4]))
    found = run(drawn, 0.0)
    assert found.labels.tolist() == [1, 1, 2, 0, 3]
    assert found.medoids.tolist() == [0, 1, 3, 5]
    assert found.offsets.tolist() == [0, 0, 0, 0]


def test_the_order_of_actions_changes_no_cluster():
    rng = np.random.default_rng(5)
    for _ in range(50):
        drawn = make_online(rng, 8, 15, 16, copies=0.0)
        order = rng.permutation(15)
        before, after = run(drawn), run(drawn._replace(rows=drawn.rows[order]))
        if naive.attach(*drawn, 1.0)[-1]:
            continue
        assert naive.partition(after.labels) == naive.partition(before.labels[order])


def test_of_equal_distances_the_smallest_names_merge():
    table = np.array([[1.0, 0], [0, 1], [0, -1], [0.6, 0.8], [0.6, -0.8], [-1, 0]])
    two_stored = Online(table, np.array([1, 2]), np.ones(2), np.zeros(2), np.array([0]))
    assert run(two_stored, 2.0).labels.tolist() == [0]
    swapped = two_stored._replace(stored=np.array([2, 1]))
    assert run(swapped, 2.0).labels.tolist() == [0]
    between_new = Online(table, np.array([5]), np.ones(1), np.zeros(1), np.array([3, 0, 4]))
    assert run(between_new, 0.81).labels.tolist() == [1, 1, 2]


def test_the_offset_of_a_medoid_brings_its_cluster_nearer():
    angle = np.arccos(0.8)  # squared distance 0.4
    table = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    drawn = Online(table, np.array([0]), np.array([3.0]), np.array([0.1]), np.array([1]))
    d = 2 * 3 / 4 * (0.4 - 0.1)
    assert run(drawn, d - 1e-6).labels.tolist() == [1]
    assert run(drawn, d + 1e-6).labels.tolist() == [0]


def test_the_stored_medoid_wins_a_tie_and_a_more_central_pin_takes_over():
    table = np.array([[1.0, 0.0], [0.0, 1.0], [np.sqrt(0.5), np.sqrt(0.5)]])
    one = Online(table, np.array([0]), np.ones(1), np.zeros(1), np.array([1]))
    assert run(one, 9.0).medoids.tolist() == [0]
    assert run(one, 9.0).offsets == pytest.approx(0.5)
    both = one._replace(rows=np.array([1, 2]))
    assert run(both, 9.0).medoids.tolist() == [2]


def test_with_single_actions_stored_the_offset_is_exact():
    rng = np.random.default_rng(2)
    for _ in range(50):
        drawn = make_online(rng, 1, 10, 16, spread=0.3, copies=0.0, on_medoids=0.0)
        drawn = drawn._replace(sizes=np.ones(1), offsets=np.zeros(1))
        found = run(drawn, np.inf)
        points = drawn.table[np.concatenate([drawn.stored, drawn.rows])]
        assert found.medoids[0] == naive.medoid(points)
        expected = ((points[found.medoids[0]] - points.mean(axis=0)) ** 2).sum()
        assert found.offsets[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("broken", [np.nan, 0.0, np.inf])
def test_the_first_vector_without_a_direction_is_named(broken):
    table = np.vstack([np.eye(4), np.full(4, broken)])
    one = (np.ones(1), np.zeros(1))
    assert attach.attach(table, np.array([4]), *one, np.array([1, 2]), 1.0)[1] == 0
    assert attach.attach(table, np.array([0]), *one, np.array([1, 1, 4]), 1.0)[1] == 3


def test_half_and_single_precision_give_what_their_values_give():
    rng = np.random.default_rng(3)
    drawn = make_online(rng, 8, 15, 33)
    half = drawn.table.astype(np.float16)
    expected = run(drawn._replace(table=half.astype(np.float64)))
    for table in (half.view(np.uint16), half.astype(np.float32)):
        found = run(drawn._replace(table=table))
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
