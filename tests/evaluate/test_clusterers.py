"""Clusterers: libraries' groups, and the daily job's rulings on what is made of them."""

import math
import os
import subprocess
import sys

import fastcluster
import naive
import numpy as np
import pytest
from hypothesis import given
from scipy.cluster.hierarchy import fcluster
from strategies import make_user, user

from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate import clusterers
from pinnersage.evaluate.histories import Histories
from pinnersage.model import cluster_users

ALL = {
    "kmeans": clusterers.kmeans(5),
    "complete": clusterers.complete(0.8),
    "hdbscan": clusterers.hdbscan(2),
}


def some_users(seed=0, sizes=(30, 0, 1, 2, 60)):
    """Users with repeats, ages and embeddings; one has nothing and one a single action."""
    rng = np.random.default_rng(seed)
    made = make_user(rng, sum(sizes), 24, topics=6, pins=50)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    numbers = np.arange(len(sizes))
    histories = Histories(offsets, made.rows, made.ages, numbers, np.zeros(len(sizes), np.int64))
    return histories, made.embeddings.astype(np.float32)


def spans_of(histories):
    return list(zip(histories.offsets[:-1], histories.offsets[1:], strict=True))


@pytest.mark.parametrize("clusterer", ALL.values(), ids=ALL)
def test_every_action_is_in_one_cluster_and_a_pin_is_in_one(clusterer):
    histories, matrix = some_users()
    labels = clusterers.label(histories, matrix, clusterer)
    assert labels.shape == histories.rows.shape
    for a, b in spans_of(histories):
        if a < b:
            assert set(labels[a:b]) == set(range(labels[a:b].max() + 1))
        for row in set(histories.rows[a:b]):
            assert np.unique(labels[a:b][histories.rows[a:b] == row]).size == 1


@pytest.mark.parametrize("clusterer", ALL.values(), ids=ALL)
def test_threads_and_repetition_change_nothing(clusterer):
    histories, matrix = some_users(1)
    first = clusterers.label(histories, matrix, clusterer)
    again = clusterers.label(histories, matrix.astype(np.float64), clusterer, threads=2)
    np.testing.assert_array_equal(first, again)


def test_complete_linkage_is_that_of_another_library():
    points = make_user(np.random.default_rng(2), 1, 16, pins=80, copies=0).embeddings
    for threshold in (0.2, 0.8, 1.6):
        ours = clusterers.complete(threshold)(points, np.ones(80))
        tree = fastcluster.linkage(points, "complete")
        theirs = fcluster(tree, math.sqrt(threshold), "distance")
        assert naive.partition(ours) == naive.partition(theirs)
        assert ours.max() > 0


def test_no_two_pins_of_a_complete_cluster_are_farther_apart_than_the_threshold():
    points = make_user(np.random.default_rng(3), 1, 16, pins=60).embeddings
    labels = clusterers.complete(0.9)(points, np.ones(60))
    far = naive.squared_distances(points) > 0.9 + 1e-9
    assert far.any()
    assert not (far & (labels[:, None] == labels)).any()


def test_complete_linkage_refuses_a_user_whose_distances_do_not_fit(monkeypatch):
    monkeypatch.setattr(clusterers, "MOST_PINS", 4)
    points = np.eye(5, dtype=np.float32)
    assert clusterers.complete(1.0)(points[:4], np.ones(4)).size == 4
    with pytest.raises(DataError, match="5 distinct pins"):
        clusterers.complete(1.0)(points, np.ones(5))


def test_kmeans_makes_k_clusters_or_one_a_different_vector():
    points = make_user(np.random.default_rng(4), 1, 16, pins=20, copies=0).embeddings
    copies = points[[0, 0, 1, 1, 1]]
    assert np.unique(clusterers.kmeans(5)(points, np.ones(20))).size == 5
    assert naive.partition(clusterers.kmeans(5)(copies, np.ones(5))) == {
        frozenset({0, 1}),
        frozenset({2, 3, 4}),
    }


def test_repeats_of_a_pin_weigh_in_kmeans():
    # Three pins on a line and two clusters: the pair that is torn apart is the heavier one's.
    points = np.array([[0.0], [1.0], [2.1]])
    light = clusterers.kmeans(2)(points, np.array([1.0, 1.0, 1.0]))
    heavy = clusterers.kmeans(2)(points, np.array([100.0, 100.0, 1.0]))
    assert naive.partition(light) == {frozenset({0, 1}), frozenset({2})}
    assert naive.partition(heavy) == {frozenset({0}), frozenset({1, 2})}


def test_what_hdbscan_calls_noise_is_a_cluster_of_one():
    rng = np.random.default_rng(5)
    centres = np.eye(3, 16)[[0] * 12 + [1] * 12]
    lone = np.eye(16)[4:8]
    points = np.concatenate([centres + 0.02 * rng.normal(size=centres.shape), lone])
    labels = clusterers.hdbscan(5)(points.astype(np.float32), np.ones(28))
    assert naive.partition(labels) == {
        frozenset(range(12)),
        frozenset(range(12, 24)),
        *(frozenset({i}) for i in range(24, 28)),
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda: clusterers.kmeans(0),
        lambda: clusterers.complete(-0.1),
        lambda: clusterers.complete(math.nan),
        lambda: clusterers.hdbscan(1),
    ],
)
def test_what_cannot_cluster_is_refused(make):
    with pytest.raises(ConfigError, match="limit"):
        make()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_of_wards_clusters_the_daily_jobs_medoids_come_out(dtype):
    histories, matrix = some_users(6)
    matrix = matrix.astype(dtype)
    daily = cluster_users(matrix, histories.offsets, histories.ages_days, histories.rows, 0.7)
    shown = clusterers.summarise(histories, matrix, daily.labels)
    np.testing.assert_array_equal(shown.offsets, daily.offsets)
    np.testing.assert_array_equal(shown.rows, histories.rows[daily.medoids])
    np.testing.assert_array_equal(shown.weights, daily.importance)
    assert shown.vectors.dtype == np.float32
    exact = matrix[shown.rows].astype(float)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(shown.vectors, exact, atol=1e-6)


def test_order_is_by_importance_then_newest_then_row():
    matrix = np.eye(4, dtype=np.float32)
    rows, ages = np.array([3, 1, 2, 0]), np.array([5.0, 5.0, 1.0, 9.0])
    histories = Histories(np.array([0, 4]), rows, ages, np.zeros(1, int), np.zeros(1, np.int64))
    shown = clusterers.summarise(histories, matrix, np.array([0, 1, 2, 3]), decay_per_day=0.0)
    assert shown.rows.tolist() == [2, 1, 3, 0]
    assert shown.weights.tolist() == [1, 1, 1, 1]


@given(user(min_actions=1))
def test_medoids_centroids_and_importance_are_the_naive_ones(drawn):
    rng = np.random.default_rng(drawn.rows.size)
    of_pin = rng.integers(3, size=len(drawn.embeddings))
    labels = np.unique(of_pin[drawn.rows], return_inverse=True)[1]
    offsets = np.array([0, labels.size])
    histories = Histories(offsets, drawn.rows, drawn.ages, np.zeros(1, int), np.zeros(1, np.int64))
    shown = clusterers.summarise(histories, drawn.embeddings, labels, decay_per_day=0.1)
    means = clusterers.summarise(
        histories, drawn.embeddings, labels, embedding="centroid", decay_per_day=0.1
    )
    by_row = dict(zip(shown.rows.tolist(), range(shown.rows.size), strict=True))
    for cluster in range(labels.max() + 1):
        members = np.flatnonzero(labels == cluster)
        row = drawn.rows[members[naive.medoid(drawn.embeddings[drawn.rows[members]])]]
        at = by_row[int(row)]
        score = naive.importance(drawn.ages[members], 0.1)
        assert shown.weights[at] == pytest.approx(score)
        mean = drawn.embeddings[drawn.rows[members]].mean(axis=0)
        if np.linalg.norm(mean) > 1e-3:
            np.testing.assert_allclose(
                means.vectors[at], mean / np.linalg.norm(mean), atol=1e-5, rtol=0
            )
            assert means.rows[at] == -1


def test_a_mean_without_a_direction_leaves_the_medoid():
    matrix = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    one = np.zeros(1, int)
    histories = Histories(np.array([0, 2]), np.array([1, 0]), np.zeros(2), one, one)
    shown = clusterers.summarise(histories, matrix, np.array([0, 0]), embedding="centroid")
    assert shown.rows.tolist() == [1]
    assert shown.vectors.tolist() == [[-1.0, 0.0]]


def test_nobody_is_nobody():
    none = np.empty(0, np.intp)
    histories = Histories(np.zeros(1, np.intp), none, np.empty(0), none, none)
    matrix = np.eye(3, dtype=np.float32)
    labels = clusterers.label(histories, matrix, clusterers.kmeans(5))
    shown = clusterers.summarise(histories, matrix, labels)
    assert labels.size == shown.rows.size == shown.weights.size == 0
    assert shown.offsets.tolist() == [0]
    assert shown.vectors.shape == (0, 3)


ONE_THREAD_INSIDE = """
import numpy as np, threadpoolctl
from pinnersage.evaluate import clusterers
from pinnersage.evaluate.histories import Histories

inner = clusterers.{make}
def watched(points, weights):
    print(max(pool["num_threads"] for pool in threadpoolctl.threadpool_info()))
    labels = inner(points, weights)
    print(max(pool["num_threads"] for pool in threadpoolctl.threadpool_info()))
    return labels

one = np.zeros(1, np.int64)
histories = Histories(np.array([0, 8]), np.arange(8), np.zeros(8), one, one)
clusterers.label(histories, np.eye(8, dtype=np.float32), watched)
"""


@pytest.mark.parametrize("make", ["kmeans(2)", "hdbscan(2)"])
def test_a_library_that_nobody_had_loaded_works_on_one_thread_too(make):
    script = ONE_THREAD_INSIDE.format(make=make)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "2")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "1"]
