import numpy as np
import pytest
from hypothesis import given, settings
from naive import ambiguous, partition
from naive import ward as naive_ward
from strategies import make_user, padded, thresholds, user

from pinnersage.kernels import chain, matrix_free
from pinnersage.kernels.clusters import labels, singletons

relaxed = settings(deadline=None)


def fresh(points, weights=None):
    points = padded(points)
    weights = np.ones(len(points)) if weights is None else np.asarray(weights, dtype=float)
    return singletons(points, weights, points.astype(np.float32))


def by_chain(points, threshold, weights=None, room=None):
    """Labels, and how often float64 had to decide."""
    clusters = fresh(points, weights)
    memory = chain.room(len(points)) if room is None else room
    n_exact = chain.merge(clusters, np.arange(len(points)), threshold, memory)
    return labels(clusters), n_exact


def without_matrix(points, threshold, weights=None):
    clusters = fresh(points, weights)
    matrix_free.merge(clusters, np.arange(len(points)), threshold)
    return labels(clusters)


@given(user(max_actions=30, min_actions=2), thresholds())
@relaxed
def test_partition_is_that_of_algorithm_1_with_and_without_weights(drawn, threshold):
    rng = np.random.default_rng(len(drawn.rows))
    for weights in (np.ones(len(drawn.rows)), rng.integers(1, 9, len(drawn.rows))):
        found, _ = by_chain(drawn.points, threshold, weights)
        same = partition(found) == partition(naive_ward(drawn.points, threshold, weights))
        assert same or ambiguous(drawn.points, threshold, weights)


def large_users(dtype):
    """Points that float32 can and can't tell apart, with few true ties among them."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(100, 700)), int(rng.choice([2, 16, 64, 256]))
        spread = rng.choice([0.05, 0.5, 3.0])
        drawn = make_user(rng, n, d, topics=int(rng.integers(1, 12)), spread=spread, copies=0.05)
        points = drawn.embeddings
        if seed % 4 == 0:
            points = 1 + 1e-4 * points
        weights = rng.integers(1, 6, n) if seed % 2 else np.ones(n)
        scale = 2 * points.var(axis=0).sum()
        for threshold in (0.0, 0.02 * scale, 0.4 * scale, scale, 5 * scale, np.inf):
            yield points.astype(dtype), weights, threshold


def test_partition_is_that_without_a_matrix():
    room = chain.room(700)  # one after another use it, whatever the last one left
    close = cuts = several = 0
    for points, weights, threshold in large_users(np.float64):
        found, n_exact = by_chain(points, threshold, weights, room)
        assert np.array_equal(found, without_matrix(points, threshold, weights))
        close += n_exact > len(points) // 4
        cuts += 1
        several += 1 < found.max() + 1 < len(points)
    assert close >= 20
    assert several >= cuts // 3


def test_memory_used_before_changes_nothing():
    rng = np.random.default_rng(5)
    drawn = make_user(rng, 90, 16)
    expected = by_chain(drawn.points, 0.5)[0]
    room = chain.room(300)
    for part in room:
        part.fill(-(2**30))
    assert np.array_equal(by_chain(drawn.points, 0.5, room=room)[0], expected)


def test_neighbours_that_float32_cannot_tell_apart_are_told_in_float64():
    # All are the same to a float32; only the last pair is within the threshold.
    rng = np.random.default_rng(3)
    for _ in range(50):
        points = 1 + 1e-9 * np.arange(40.0)[:, None] ** 2 * rng.uniform(0.9, 1.1, (40, 1))
        apart = np.diff(points[:, 0]) ** 2
        found, n_exact = by_chain(points, apart.min() * 1.5)
        assert np.unique(points.astype(np.float32)).size < 20
        assert partition(found) == partition(naive_ward(points, apart.min() * 1.5))
        assert n_exact > 0


def test_float64_is_not_asked_where_all_is_clear():
    points = np.array([[0.0], [1.0], [10.0], [12.5], [100.0], [104.0]])
    found, n_exact = by_chain(points, 50.0)
    assert found.tolist() == [0, 0, 1, 1, 2, 2]
    assert n_exact == 0


@pytest.mark.parametrize("n", [2, 3, 4, 5, 15, 16, 17, 33])
def test_every_number_of_clusters_merges_whole(n):
    points = np.random.default_rng(n).normal(size=(n, 5))
    assert not by_chain(points, np.inf)[0].any()
    assert by_chain(points, 0.0)[0].tolist() == list(range(n))


def test_clusters_of_other_names_are_left_alone():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 16))
    clusters = fresh(points)
    names = np.sort(rng.choice(60, 25, replace=False))
    chain.merge(clusters, names, 20.0, chain.room(25))
    found = labels(clusters)
    assert partition(found[names]) == partition(naive_ward(points[names], 20.0))
    others = np.setdiff1d(np.arange(60), names)
    assert np.unique(found[others]).size == others.size
    assert not np.intersect1d(found[others], found[names]).size


@pytest.mark.parametrize("how", [lambda *a: by_chain(*a)[0], without_matrix])
def test_a_distance_equal_to_the_threshold_merges(how):
    points = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert how(points, 1.0).tolist() == [0, 0, 1, 2]
    assert how(points, np.nextafter(1.0, 0)).tolist() == [0, 1, 2, 3]


def test_ties_end_alike_with_and_without_a_matrix():
    # Whole numbers: all ties are exact, and at these thresholds only single points merge.
    merged = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        side, d = int(rng.integers(3, 7)), int(rng.integers(1, 4))
        grid = np.stack(np.meshgrid(*[np.arange(side)] * d), axis=-1).reshape(-1, d)
        points = rng.permutation(grid[rng.random(len(grid)) < 0.8]).astype(float)
        if len(points) < 2:
            continue
        found, _ = by_chain(points, 1.0)
        assert np.array_equal(found, without_matrix(points, 1.0))
        assert np.bincount(found).max() <= 2
        merged += len(points) - found.max() - 1
    assert merged > 1_000


@pytest.mark.parametrize("how", [lambda *a: by_chain(*a)[0], without_matrix])
def test_of_equal_neighbours_the_chain_s_predecessor_wins_over_a_smaller_name(how):
    # From 0 to 3 to 5, which is as far from 7: it stays with 3.
    points = np.array([[0.0], [7.0], [3.0], [5.0]])
    assert how(points, 9.0).tolist() == [0, 1, 2, 2]
    assert naive_ward(points, 9.0).tolist() == [0, 1, 2, 2]
