import numpy as np
import pytest
from hypothesis import given, settings
from naive import ambiguous, partition
from naive import ward as naive_ward
from strategies import make_user, padded, thresholds, user

from pinnersage.kernels import matrix_free
from pinnersage.kernels.clusters import labels, singletons
from pinnersage.kernels.ward import ward

relaxed = settings(deadline=None)


def ours(points, threshold, weights=None, names=None):
    points = padded(points)
    weights = np.ones(len(points)) if weights is None else np.asarray(weights, dtype=float)
    clusters = singletons(points, weights, points.astype(np.float32))
    matrix_free.merge(clusters, np.arange(len(points)) if names is None else names, threshold)
    return labels(clusters)


@given(user(max_actions=30), thresholds())
@relaxed
def test_partition_is_that_of_algorithm_1_with_and_without_weights(drawn, threshold):
    rng = np.random.default_rng(len(drawn.rows))
    for weights in (np.ones(len(drawn.rows)), rng.integers(1, 9, len(drawn.rows))):
        found = ours(drawn.points, threshold, weights)
        same = partition(found) == partition(naive_ward(drawn.points, threshold, weights))
        assert same or ambiguous(drawn.points, threshold, weights)


@pytest.mark.parametrize("most", [2, 20, 100])
def test_what_is_too_large_for_a_matrix_is_cut_low_first_and_ends_the_same(most):
    several = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(150, 500)), int(rng.choice([2, 16, 64]))
        points = padded(make_user(rng, n, d, topics=5, spread=0.5, copies=0.05).embeddings)
        weights = rng.integers(1, 6, n).astype(float)
        rows = points.astype(np.float32)
        for threshold in (0.0, 0.05, 0.5, 2.0, 50.0, np.inf):
            few = ward(points, rows, weights, threshold, most)[0]
            assert np.array_equal(few, ward(points, rows, weights, threshold, 4_096)[0])
            several += 1 < few.max() + 1 < n
    assert several > 50


def test_infinity_merges_all_and_zero_copies_only():
    points = np.random.default_rng(0).normal(size=(50, 8))
    points[20:30] = points[:10]
    assert not ours(points, np.inf).any()
    found = ours(points, 0.0)
    assert np.array_equal(found[20:30], found[:10])
    assert np.unique(found).size == 40


def test_clusters_of_other_names_are_left_alone():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 16))
    names = np.sort(rng.choice(60, 25, replace=False))
    found = ours(points, 20.0, names=names)
    assert partition(found[names]) == partition(naive_ward(points[names], 20.0))
    others = np.setdiff1d(np.arange(60), names)
    assert np.unique(found[others]).size == others.size


def test_a_second_cut_goes_on_from_the_first():
    drawn = make_user(np.random.default_rng(4), 120, 16)
    points = padded(drawn.embeddings)
    clusters = singletons(points, np.ones(120), points.astype(np.float32))
    names = np.arange(120)
    for threshold in (0.1, 0.5, 2.0):
        matrix_free.merge(clusters, names[clusters.parents == names], threshold)
        assert partition(labels(clusters)) == partition(ours(drawn.embeddings, threshold))
