import naive
import numpy as np
import pytest
from hypothesis import given, settings
from strategies import decays, thresholds, users

from pinnersage.kernels.users import cluster_range

relaxed = settings(deadline=None)


def run(embeddings, offsets, ages, rows, threshold=1.0, decay=0.01):
    found, bad = cluster_range(embeddings, rows, offsets, ages, threshold, decay, 4_096)
    assert bad == -1
    return found


def one(embeddings, ages, rows, **settings):
    rows = np.asarray(rows, dtype=np.intp)
    ages = np.asarray(ages, dtype=float)
    return run(
        np.asarray(embeddings, dtype=float), np.array([0, rows.size]), ages, rows, **settings
    )


@given(users(), thresholds(), decays())
@relaxed
def test_each_cluster_is_described_as_the_paper_would(drawn, threshold, decay):
    embeddings, offsets, ages, rows = drawn
    found = run(*drawn, threshold, decay)
    for user in range(offsets.size - 1):
        own = slice(offsets[user], offsets[user + 1])
        for rank, c in enumerate(range(found.offsets[user], found.offsets[user + 1])):
            members = offsets[user] + np.flatnonzero(found.labels[own] == rank)
            points = embeddings[rows[members]]
            best = members[naive.medoid(points)]
            assert rows[found.medoids[c]] == rows[best]
            assert found.medoids[c] == members[rows[members] == rows[best]].min()
            expected = naive.importance(ages[members], decay)
            assert found.importance[c] == pytest.approx(expected, rel=1e-12)
            assert found.n_actions[c] == members.size
            assert found.oldest_days[c] == ages[members].max()
            assert found.newest_days[c] == ages[members].min()
            cohesion = naive.cohesion(points, embeddings[rows[best]])
            assert found.cohesion[c] == pytest.approx(cohesion, abs=1e-12)
            offset = ((embeddings[rows[best]] - points.mean(axis=0)) ** 2).sum()
            assert found.medoid_offset[c] == pytest.approx(offset, abs=1e-12)


@given(users(), thresholds())
@relaxed
def test_each_action_is_in_exactly_one_cluster_and_none_is_empty(drawn, threshold):
    _, offsets, *_ = drawn
    found = run(*drawn, threshold)
    assert found.n_actions.sum() == offsets[-1]
    assert np.all(found.n_actions >= 1)
    for user in range(offsets.size - 1):
        labels = found.labels[offsets[user] : offsets[user + 1]]
        k = found.offsets[user + 1] - found.offsets[user]
        assert set(labels.tolist()) == set(range(k))


@given(users(), thresholds(), decays())
@relaxed
def test_clusters_stand_in_order(drawn, threshold, decay):
    *_, rows = drawn
    found = run(*drawn, threshold, decay)
    for begin, end in zip(found.offsets[:-1], found.offsets[1:], strict=True):
        keys = [
            (-found.importance[c], found.newest_days[c], rows[found.medoids[c]])
            for c in range(begin, end)
        ]
        assert keys == sorted(keys)


def test_equal_importance_puts_the_later_last_action_first():
    axes = np.eye(3)
    found = one(axes, [5, 3, 4], [0, 1, 2], decay=0.0)
    assert found.medoids.tolist() == [1, 2, 0]
    assert found.labels.tolist() == [2, 0, 1]


def test_equal_importance_and_age_puts_the_smaller_row_first():
    axes = np.eye(4)
    found = one(axes, [1, 1, 1], [3, 0, 2])
    assert found.medoids.tolist() == [1, 2, 0]


def test_a_repeated_pin_counts_every_action_and_stands_at_its_first():
    found = one(np.eye(2), [9, 5, 2], [0, 1, 0])
    assert found.labels.tolist() == [0, 1, 0]
    assert found.medoids.tolist() == [0, 1]
    assert found.n_actions.tolist() == [2, 1]
    assert found.importance[0] == np.exp(-0.09) + np.exp(-0.02)
    assert found.cohesion.tolist() == [1.0, 1.0]
    assert found.medoid_offset.tolist() == [0.0, 0.0]


def test_a_user_with_one_action_has_one_medoid():
    found = one(np.eye(2), [7], [1])
    assert found.medoids.tolist() == found.labels.tolist() == [0]
    assert found.cohesion.tolist() == [1.0]
