"""Several medoids: greedy, against a naive twin; a cluster's importance is shared, none is lost."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_logs import drawn_log, nth, with_another_future

from pinnersage.evaluate import cases
from pinnersage.evaluate.cases import start_us
from pinnersage.evaluate.models import PinnerSage, cluster_of_actions
from pinnersage.evaluate.several_medoids import SeveralMedoids, spread

NOW = start_us(nth(8))


def known(log):
    return cases.before(log, np.arange(len(log.user_ids)), NOW, 6)


def cost(points, medoids):
    """Sum of squared distances of the actions to their nearest medoid."""
    return sum(min(float(((p - m) ** 2).sum()) for m in medoids) for p in points)


@st.composite
def members(draw):
    """A cluster's actions: some pins twice, some copies of others."""
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    n_pins, n = draw(st.integers(1, 9)), draw(st.integers(1, 20))
    matrix = rng.normal(size=(n_pins, 3)).astype(np.float32)
    matrix[-1] = matrix[0]
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    rows = rng.integers(n_pins, size=n)
    return matrix, rows, rng.random(n) + 0.01, int(rng.choice(rows)), draw(st.integers(1, 8))


@given(members())
def test_each_next_medoid_is_the_one_that_brings_actions_nearest(drawn):
    matrix, rows, weights, first, most = drawn
    found, importance = spread(*drawn)
    points = matrix[rows].astype(float)
    assert found[0] == first
    assert set(found.tolist()) <= set(rows.tolist())
    chosen = [matrix[first].astype(float)]
    for row in found[1:].tolist():
        best = min(cost(points, [*chosen, p]) for p in points)
        chosen.append(matrix[row].astype(float))
        assert cost(points, chosen) == pytest.approx(best, abs=1e-5)
    different = np.unique(matrix[rows], axis=0)
    assert len(found) == min(most, len(different))
    assert importance.sum() == pytest.approx(weights.sum())
    apart = ((points[:, None] - matrix[found].astype(float)) ** 2).sum(axis=2)
    for number, row in enumerate(found.tolist()):
        surely = np.flatnonzero(apart[:, number] < np.delete(apart, number, 1).min(1, initial=9))
        assert importance[number] >= weights[surely].sum() - 1e-9
        assert importance[number] >= weights[rows == row].sum() - 1e-9, "its own actions at least"


def test_the_earliest_action_wins_where_members_gain_equally():
    matrix = np.array([[1, 0], [0, 1], [0, -1]], np.float32)
    for rows in ([0, 2, 1], [0, 1, 2]):
        found, importance = spread(matrix, np.array(rows), np.array([4.0, 2, 1]), 0, 2)
        assert found.tolist() == rows[:2]
        assert importance.tolist() == [5, 2], "what is as near to both is the first one's"


@given(st.integers(0, 60).map(drawn_log), st.sampled_from([1, 2, 5]))
def test_a_cluster_has_as_many_medoids_as_its_actions_ask_for_and_keeps_its_importance(log, each):
    histories, plain = known(log), PinnerSage(log.matrix, 1.0)
    clusters = plain.clusters(histories)
    of = cluster_of_actions(histories, clusters)
    made = SeveralMedoids(plain, each).represent(histories)
    spans = zip(pairwise(made.offsets), pairwise(clusters.offsets), strict=True)
    for user, ((begin, end), (first, last)) in enumerate(spans):
        own = slice(histories.offsets[user], histories.offsets[user + 1])
        expected = sum(
            min(
                -(-int(clusters.n_actions[cluster]) // each),
                len(np.unique(log.matrix[histories.rows[own][of[own] == cluster]], axis=0)),
            )
            for cluster in range(first, last)
        )
        assert end - begin == expected
        assert made.weights[begin:end].sum() == pytest.approx(clusters.importance[first:last].sum())
        assert (np.diff(made.weights[begin:end]) <= 0).all()
        assert set(histories.rows[clusters.medoids[first:last]]) <= set(made.rows[begin:end])
    np.testing.assert_array_equal(made.vectors, log.matrix[made.rows])


def test_small_clusters_keep_the_paper_s_medoid():
    log = drawn_log(3)
    plain = PinnerSage(log.matrix, 0.8)
    one, two = (m.represent(known(log)) for m in (plain, SeveralMedoids(plain, 1000)))
    assert [a.tobytes() for a in one] == [a.tobytes() for a in two]


@pytest.mark.parametrize("seed", range(6))
def test_nothing_dated_on_or_after_a_day_changes_what_it_gives(seed):
    log = drawn_log(seed)
    other = with_another_future(log, NOW, seed)
    one, two = (
        SeveralMedoids(PinnerSage(each.matrix, 1.0), 2).represent(known(each))
        for each in (log, other)
    )
    assert [a.tobytes() for a in one] == [a.tobytes() for a in two]
