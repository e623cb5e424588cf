import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnersage.kernels.clusters import find_centroid, join, labels, recentred, singletons

relaxed = settings(deadline=None)


def new(points, weights, dtype=np.float64):
    points = np.asarray(points, dtype=dtype)
    return singletons(points, np.asarray(weights, dtype=float), points.astype(np.float32))


@st.composite
def joins(draw):
    """Points, weights and an order of merging some of them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    m = draw(st.integers(1, 30))
    points = rng.normal(size=(m, 16)) * 10.0 ** rng.integers(-3, 3)
    standing, pairs = list(range(m)), []
    for _ in range(draw(st.integers(0, m - 1))):
        kept, gone = np.sort(rng.choice(standing, 2, replace=False)).tolist()
        standing.remove(gone)
        pairs.append((kept, gone))
    return points, rng.integers(1, 9, m).astype(float), pairs


def members_of(m, pairs):
    """The twin: sets, merged one by one."""
    sets = {name: [name] for name in range(m)}
    for kept, gone in pairs:
        sets[kept] += sets.pop(gone)
    return sets


@given(joins(), st.sampled_from([np.float32, np.float64]))
@relaxed
def test_a_cluster_has_the_weight_and_the_mean_of_its_points(drawn, dtype):
    points, weights, pairs = drawn
    clusters = new(points, weights, dtype)
    rng = np.random.default_rng(len(pairs))
    for kept, gone in pairs:
        if rng.random() < 0.5:
            find_centroid(clusters, kept)  # what was known before a merge is not after it
        join(clusters, kept, gone)
    for name, members in members_of(len(points), pairs).items():
        find_centroid(clusters, name)
        own = clusters.points[members].astype(float)
        expected = np.average(own, axis=0, weights=weights[members])
        room = 1e-14 * np.abs(own).max()
        np.testing.assert_allclose(clusters.exact[name], expected, rtol=0, atol=room)
        assert clusters.weights[name] == weights[members].sum()
    assert np.array_equal(clusters.points, points.astype(dtype))
    assert np.array_equal(clusters.point_weights, weights)


@given(joins())
@relaxed
def test_labels_are_the_sets_in_order_of_their_first_point(drawn):
    points, weights, pairs = drawn
    clusters = new(points, weights)
    for kept, gone in pairs:
        join(clusters, kept, gone)
    found = labels(clusters)
    sets = members_of(len(points), pairs)
    assert naive.partition(found) == {frozenset(members) for members in sets.values()}
    assert found[sorted(sets)].tolist() == list(range(len(sets)))


@given(joins())
@relaxed
def test_recentring_returns_what_stands_and_rounds_its_mean_to_the_row(drawn):
    points, weights, pairs = drawn
    clusters = new(points, weights)
    for kept, gone in pairs:
        join(clusters, kept, gone)
    sets = members_of(len(points), pairs)
    standing = recentred(clusters, np.arange(len(points)))
    assert standing.tolist() == sorted(sets)
    for name, members in sets.items():
        find_centroid(clusters, name)
        assert np.array_equal(clusters.rows[name], clusters.exact[name].astype(np.float32))
        if len(members) == 1:
            assert np.array_equal(clusters.rows[name], points[name].astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_mean_of_copies_is_the_copy_to_the_bit(dtype):
    for seed in range(100):
        rng = np.random.default_rng(seed)
        m = int(rng.integers(2, 40))
        copy = (rng.normal(size=16) * 10.0 ** rng.integers(-8, 8)).astype(dtype)
        clusters = new(np.tile(copy, (m, 1)), rng.integers(1, 1_000, m), dtype)
        for gone in range(1, m):
            join(clusters, 0, gone)
        find_centroid(clusters, 0)
        assert np.array_equal(clusters.exact[0], copy.astype(float))


def test_a_centroid_is_worked_out_once():
    clusters = new(np.ones((2, 16)), [1, 1])
    find_centroid(clusters, 0)
    clusters.exact[0] = 5
    find_centroid(clusters, 0)
    assert np.all(clusters.exact[0] == 5)


def test_only_the_names_given_are_recentred():
    clusters = new(np.diag(np.arange(1.0, 17)), np.ones(16))
    join(clusters, 0, 1)
    join(clusters, 2, 3)
    before = clusters.rows.copy()
    assert recentred(clusters, np.array([2, 3, 9])).tolist() == [2, 9]
    assert clusters.rows[2, 2:4].tolist() == [1.5, 2.0]
    others = np.arange(16) != 2
    assert np.array_equal(clusters.rows[others], before[others])
