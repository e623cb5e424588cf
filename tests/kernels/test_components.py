import subprocess
import sys

import numpy as np
import pytest
from naive import partition, start_distances
from scipy.sparse.csgraph import connected_components
from strategies import padded

from pinnersage.kernels.components import components

DIMENSIONS = [1, 2, 16, 64, 100, 256]


def found_for(points, weights, threshold, names=None):
    rows = padded(points.astype(np.float32))
    names = np.arange(len(points)) if names is None else names
    return components(rows, names, np.asarray(weights, dtype=float), threshold)


def joined(points, weights, threshold):
    """The twin: what hangs together by distances within the threshold."""
    exact = points.astype(np.float32).astype(float)
    near = start_distances(exact, weights) <= threshold
    return connected_components(near, directed=False)[1]


def unit(rng, n, d, topics=8, spread=0.3):
    points = rng.normal(size=(topics, d))[rng.integers(topics, size=n)]
    points = points + spread * rng.normal(size=(n, d))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def workloads(d):
    """Points and weights: unit vectors, all lengths, one length, copies, zeros, signs."""
    for seed in range(25):
        rng = np.random.default_rng([d, seed])
        n = int(rng.integers(1, 200))
        points = unit(rng, n, d, int(rng.integers(1, 30)), rng.choice([0.02, 0.3, 3.0]))
        kind = seed % 5
        if kind == 1:
            points *= np.exp(rng.uniform(np.log(1e-8), np.log(1e8), (n, 1)))
        elif kind == 2:
            points *= 10.0 ** rng.integers(-8, 9)
        elif kind == 3:
            points[rng.random(n) < 0.3] = 0
            points *= np.exp(rng.normal(size=(n, 1)))
        elif kind == 4:
            points = points[rng.integers(n, size=n)] * rng.choice([-1, 1], (n, 1))
        weights = np.ones(n) if seed % 2 else np.exp(rng.uniform(0, 9, n)).round()
        yield points, weights, rng


def thresholds_of(points, weights, rng):
    distances = start_distances(points.astype(np.float32).astype(float), weights)
    apart = distances[distances > 0]
    if apart.size == 0:
        return [0.0, 1.0]
    picked = rng.choice(apart, 4)
    return [0.0, 1.0, *picked, *(picked * (1 - 1e-7)), apart.min(), np.quantile(apart, 0.02)]


@pytest.mark.parametrize("d", DIMENSIONS)
def test_no_two_clusters_of_different_components_are_within_the_threshold(d):
    apart = 0
    for points, weights, rng in workloads(d):
        distances = start_distances(points.astype(np.float32).astype(float), weights)
        for threshold in thresholds_of(points, weights, rng):
            found = found_for(points, weights, threshold)
            different = found[:, None] != found[None, :]
            assert not np.any(different & (distances <= threshold))
            apart += different.any()
    assert apart > 20


@pytest.mark.parametrize("d", DIMENSIONS)
def test_a_component_is_named_for_its_first(d):
    for points, weights, rng in workloads(d):
        found = found_for(points, weights, thresholds_of(points, weights, rng)[-1])
        assert np.array_equal(found[found], found)
        assert np.all(found <= np.arange(found.size))


@pytest.mark.parametrize("d", [64, 100, 256])
def test_far_topics_come_apart_and_each_stays_whole(d):
    rng = np.random.default_rng(d)
    centres = np.eye(d)[:40]
    points = centres[rng.integers(40, size=1_000)] + 0.01 * rng.normal(size=(1_000, d))
    topics = points.argmax(axis=1)
    assert partition(found_for(points, np.ones(1_000), 1.0)) == partition(topics)


@pytest.mark.parametrize("d", [64, 256])
def test_few_pairs_are_joined_in_vain(d):
    # The bound is less than 0.06 wide, twice that for ‖a - b‖²: what is further than that apart,
    # and not held together by others, is told apart.
    split = 0
    for seed in range(20):
        rng = np.random.default_rng([seed, d])
        points, ones = unit(rng, 300, d, 60, 0.2), np.ones(300)
        for threshold in (0.02, 0.1, 0.5, 1.0):
            found = found_for(points, ones, threshold)
            wider = joined(points, ones, threshold + 0.12)
            assert np.array_equal(wider[found], wider)
            split += np.unique(found).size > 1
    assert split >= 40


def test_a_heavier_cluster_is_further_away():
    points = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert found_for(points, [1, 1, 1], 2.1).tolist() == [0, 0, 0]
    assert found_for(points, [9, 9, 9], 2.1).tolist() == [0, 1, 2]
    assert found_for(points, [1, 1, 9], 2.1).tolist() == [0, 0, 2]


@pytest.mark.parametrize("n", [1, 7, 8, 9, 31, 32, 33, 127, 128, 129, 300])
def test_the_last_cluster_counts_whatever_the_number(n):
    points = np.eye(512)[np.arange(n)] * 3
    points[-1] = points[0]
    found = found_for(points, np.ones(n), 1.0)
    assert found.tolist() == [*range(n - 1), 0] if n > 1 else [0]


def test_only_the_named_rows_count_and_components_are_positions_among_them():
    rng = np.random.default_rng(0)
    points, weights = unit(rng, 200, 64, 12), rng.integers(1, 9, 200)
    names = np.sort(rng.choice(200, 90, replace=False))
    chosen = found_for(points, weights, 1.0, names)
    assert np.array_equal(chosen, found_for(points[names], weights[names], 1.0))


def test_arguments_are_left_as_they_were():
    rows, weights = padded(unit(np.random.default_rng(0), 90, 64).astype(np.float32)), np.ones(90)
    before = rows.copy()
    components(rows, np.arange(90), weights, 0.5)
    assert np.array_equal(rows, before)
    assert np.all(weights == 1)


@pytest.mark.parametrize("threshold", ["1e38", "1e39", "1e300"])
def test_a_huge_threshold_joins_all_and_touches_no_memory_beyond(threshold):
    # In a child process: what it would break otherwise is this one.
    program = (
        "import sys, numpy as np\n"
        "from pinnersage.kernels.components import components\n"
        "for n in range(60, 150):\n"
        "    rows = np.random.default_rng(n).normal(size=(n, 16)).astype(np.float32)\n"
        "    found = components(rows, np.arange(n), np.ones(n), float(sys.argv[1]))\n"
        "    assert not found.any()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, threshold], timeout=300, check=False)
    assert done.returncode == 0
