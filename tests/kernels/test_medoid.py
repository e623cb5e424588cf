import naive
import numpy as np
import pytest
from hypothesis import given, settings
from strategies import padded, user

from pinnersage.kernels import medoid

relaxed = settings(deadline=None)


def medoids(points, weights, labels, n_clusters):
    return medoid.medoids(padded(points), (points**2).sum(axis=1), weights, labels, n_clusters)


def labels_of(drawn, n_clusters=4):
    """Any labels with no cluster empty will do."""
    raw = np.random.default_rng(len(drawn.rows)).integers(n_clusters, size=len(drawn.rows))
    names, labels = np.unique(raw, return_inverse=True)
    return labels.astype(np.intp), names.size


@given(user(min_actions=1))
@relaxed
def test_medoid_cohesion_and_offset_are_those_of_the_naive_twin(drawn):
    labels, k = labels_of(drawn)
    weights = np.random.default_rng(k).integers(1, 6, labels.size).astype(float)
    found = medoids(drawn.points, weights, labels, k)
    for c in range(k):
        members = np.flatnonzero(labels == c)
        points, w = drawn.points[members], weights[members]
        best = members[naive.medoid(points, w)]
        assert found.points[c] == best
        repeated = np.repeat(points, w.astype(int), axis=0)
        expected = naive.cohesion(repeated, drawn.points[best])
        assert found.cohesion[c] == pytest.approx(expected, abs=1e-12)
        offset = ((drawn.points[best] - repeated.mean(axis=0)) ** 2).sum()
        assert found.offsets[c] == pytest.approx(offset, abs=1e-12)


@given(user(min_actions=1))
@relaxed
def test_medoid_is_a_member_and_its_measures_keep_their_limits(drawn):
    labels, k = labels_of(drawn)
    found = medoids(drawn.points, np.ones(labels.size), labels, k)
    assert np.array_equal(labels[found.points], np.arange(k))
    assert np.all(np.abs(found.cohesion) <= 1)
    assert np.all(found.offsets >= 0)


@pytest.mark.parametrize("d", [2, 3, 16, 64])
def test_the_earlier_of_two_equal_weights_is_the_medoid(d):
    rng = np.random.default_rng(d)
    for _ in range(200):
        pair = rng.normal(size=(2, d))
        assert medoids(pair, np.full(2, 3.0), np.zeros(2, np.intp), 1).points[0] == 0


def test_the_earlier_of_two_orthogonal_pins_is_the_medoid_whatever_the_rounding():
    for angle in np.linspace(0, 6, 500):
        pair = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        assert medoids(pair, np.ones(2), np.zeros(2, np.intp), 1).points[0] == 0


def test_the_heavier_of_two_is_the_medoid():
    pair = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert medoids(pair, np.array([1.0, 2.0]), np.zeros(2, np.intp), 1).points[0] == 1


def test_one_point_is_its_own_medoid_exactly():
    found = medoids(np.array([[0.1, 0.7]]), np.array([3.0]), np.zeros(1, np.intp), 1)
    assert [x[0] for x in found] == [0, 1.0, 0.0]


def test_no_cluster():
    found = medoids(np.empty((0, 2)), np.empty(0), np.empty(0, np.intp), 0)
    assert found.points.size == found.cohesion.size == found.offsets.size == 0
