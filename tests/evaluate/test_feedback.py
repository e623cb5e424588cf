"""Feedback: weights learned from what users did next, and from nothing that is not over."""

import copy
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_logs import drawn_log, log_of, nth, with_another_future

from pinnersage.evaluate import cases
from pinnersage.evaluate.cases import DAY_US, start_us
from pinnersage.evaluate.feedback import (
    EQUATION_3,
    Choices,
    FeedbackImportance,
    features_of,
    fit,
    weigh,
)
from pinnersage.evaluate.metrics import counted
from pinnersage.evaluate.models import PinnerSage

NOW = start_us(nth(8))
WINDOW = 5


def model_of(log, which="all", n_days=6, min_cosine=-1.0):
    plain = PinnerSage(log.matrix, 0.5)
    return FeedbackImportance(plain, log, WINDOW, n_days, which, min_cosine)


def known(log, moment=NOW):
    return cases.before(log, np.arange(len(log.user_ids)), moment, WINDOW)


def bytes_of(represented):
    return [part.tobytes() for part in represented]


def drawn_choices(rng, n, truth):
    """Cases of a few clusters each; in each some pick by their odds."""
    sizes = rng.integers(1, 7, n)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    features = rng.normal(size=(offsets[-1], 4))
    taken = np.zeros(offsets[-1])
    for begin, end in pairwise(offsets):
        odds = np.exp(features[begin:end] @ truth)
        taken[begin:end] = rng.multinomial(rng.integers(0, 4), odds / odds.sum())
    return Choices(offsets, features, taken)


def naive_likelihood(choices, coefficients):
    """Log of the chance of all that was picked, less the ridge."""
    total = -0.5 * sum((coefficients - EQUATION_3) ** 2)
    for begin, end in pairwise(choices.offsets):
        odds = [np.exp(row @ coefficients) for row in choices.features[begin:end]]
        for odd, taken in zip(odds, choices.taken[begin:end], strict=True):
            total += taken * np.log(odd / sum(odds))
    return total


@given(st.integers(0, 999))
def test_no_other_coefficients_are_likelier(seed):
    rng = np.random.default_rng(seed)
    choices = drawn_choices(rng, 30, rng.normal(size=4))
    found = fit(choices)
    best = naive_likelihood(choices, found)
    for step in (0.02, 0.5):
        for other in rng.normal(size=(8, 4)):
            assert naive_likelihood(choices, found + step * other) <= best + 1e-6


def test_what_made_the_picks_is_found_again():
    truth = np.array([0.6, -0.4, 0.8, 0.0])
    found = fit(drawn_choices(np.random.default_rng(1), 8000, truth))
    np.testing.assert_allclose(found, truth, atol=0.06)


def test_where_nothing_was_picked_equation_3_stays():
    empty = Choices(np.array([0]), np.empty((0, 4)), np.empty(0))
    idle = Choices(np.array([0, 2]), np.ones((2, 4)), np.zeros(2))
    alone = Choices(np.array([0, 1, 2]), np.random.default_rng(0).random((2, 4)), np.ones(2))
    for choices in (empty, idle, alone):
        np.testing.assert_allclose(fit(choices), EQUATION_3, atol=1e-6)


@given(st.integers(0, 60).map(drawn_log))
def test_until_it_has_learned_it_is_equation_3(log):
    histories = known(log)
    ours, plain = (m.represent(histories) for m in (model_of(log), model_of(log).plain))
    assert ours.offsets.tolist() == plain.offsets.tolist()
    for begin, end in pairwise(plain.offsets):
        shares = plain.weights[begin:end] / plain.weights[begin:end].sum()
        np.testing.assert_allclose(
            ours.weights[begin:end] / ours.weights[begin:end].sum(), shares, rtol=1e-9
        )
        assert set(ours.rows[begin:end]) == set(plain.rows[begin:end])


def test_the_features_are_those_that_are_named():
    """The importance of eq. 3, actions with repeats, the newest one's age, the mean cosine."""
    matrix = np.array([[1, 0], [0.6, 0.8], [0, -1]], np.float32)
    start = start_us(nth(6))
    acts = [(0, start, 0), (0, start + DAY_US, 0), (0, start + DAY_US, 1), (0, start, 2)]
    log = log_of(acts, matrix)
    model = PinnerSage(matrix, 1.5, 0.1)
    clusters = model.clusters(cases.before(log, np.array([0]), start_us(nth(8)), WINDOW))
    importance = np.exp(-0.2) + 2 * np.exp(-0.1)
    np.testing.assert_allclose(
        features_of(clusters),
        [
            [np.log(importance), np.log(3), np.log(2), (1 + 1 + 0.6) / 3],
            [-0.2, 0, np.log(3), 1],
        ],
        rtol=1e-5,
        atol=1e-7,
    )


@given(st.integers(0, 60).map(drawn_log))
def test_weights_are_those_of_the_formula_and_stand_in_order(log):
    model, histories = model_of(log), known(log)
    model.learn(NOW)
    made, clusters = model.represent(histories), model.plain.clusters(histories)
    scores = np.exp(features_of(clusters) @ model.coefficients)
    for begin, end in pairwise(made.offsets):
        if begin < end:
            shares = np.sort(scores[begin:end])[::-1]
            np.testing.assert_allclose(made.weights[begin:end], shares / shares[0], rtol=1e-9)
            assert set(made.rows[begin:end]) == set(histories.rows[clusters.medoids[begin:end]])
    np.testing.assert_array_equal(made.vectors, log.matrix[made.rows])


def test_weights_are_above_zero_however_far_apart_scores_are():
    features = np.array([[800.0, 0, 0, 0], [-800, 0, 0, 0], [5, 0, 0, 0]])
    weights = weigh(features, np.array([0, 2, 2, 3]), EQUATION_3)
    assert weights.tolist() == [1.0, 1e-30, 1.0]


@pytest.mark.parametrize("min_cosine", [-1.0, 0.9])
@pytest.mark.parametrize("which", ["all", "new", "repeats"])
def test_the_nearest_cluster_takes_an_action_that_is_near_enough(which, min_cosine):
    log = drawn_log(8)
    model, day = model_of(log, which, 1, min_cosine), cases.of_days(log, [nth(7)], WINDOW)
    model.learn(start_us(nth(8)))
    (choices,) = model.choices.values()
    clusters = model.plain.clusters(day.histories)
    medoids = log.matrix[day.histories.rows[clusters.medoids]]
    expected = np.zeros(len(medoids))
    for case in range(day.n):
        own = range(clusters.offsets[case], clusters.offsets[case + 1])
        for at in range(day.targets.offsets[case], day.targets.offsets[case + 1]):
            if counted(day.targets.new, which)[at]:
                cosines = medoids[own] @ log.matrix[day.targets.rows[at]]
                expected[own[int(cosines.argmax())]] += cosines.max() >= min_cosine
    assert choices.taken.tolist() == expected.tolist()
    n_targets = np.count_nonzero(counted(day.targets.new, which))
    assert 0 < expected.sum() <= n_targets
    assert (expected.sum() == n_targets) == (min_cosine < 0 or which == "repeats")


@pytest.mark.parametrize("seed", range(8))
def test_nothing_dated_on_or_after_a_day_changes_what_it_learns_and_gives(seed):
    log = drawn_log(seed)
    found = []
    for each in (log, with_another_future(log, NOW, seed)):
        model = model_of(each)
        for moment in (NOW - 2 * DAY_US, NOW):
            model.learn(moment)
        found.append((model.coefficients.tobytes(), bytes_of(model.represent(known(each)))))
    assert found[0] == found[1]


def test_a_day_that_is_not_over_teaches_nothing():
    log = drawn_log(1)
    one, two = model_of(log), model_of(log)
    one.learn(NOW)
    two.learn(NOW + DAY_US - 1)
    assert one.coefficients.tobytes() == two.coefficients.tobytes()
    two.learn(NOW + DAY_US)
    assert one.coefficients.tobytes() != two.coefficients.tobytes()


def test_learning_day_by_day_is_learning_at_once():
    log = drawn_log(2)
    one, two = model_of(log), model_of(log)
    one.learn(NOW)
    for back in (3, 2, 1, 0):
        two.learn(NOW - back * DAY_US)
    assert one.coefficients.tobytes() == two.coefficients.tobytes()
    assert len(two.choices) == 6, "older days are forgotten"


def test_a_copy_learns_on_its_own():
    log = drawn_log(2)
    one = model_of(log)
    one.learn(NOW - DAY_US)
    before, other = one.coefficients.tobytes(), copy.deepcopy(one)
    other.learn(NOW)
    assert one.coefficients.tobytes() == before != other.coefficients.tobytes()
    assert other.log is one.log


def test_who_returns_to_small_fresh_clusters_teaches_that():
    """Each user has one large old cluster and one small fresh one, and goes on with the latter."""
    matrix = np.array([[1, 0], [0, 1]], np.float32)
    start, acts = start_us(nth(0)), []
    for user in range(20):
        acts += [(user, start + minute, 0) for minute in range(10)]
        acts += [(user, start + day * DAY_US + user, 1) for day in range(3, 8)]
    log = log_of(acts, matrix)
    model = FeedbackImportance(PinnerSage(matrix, 0.5), log, 8, 4, "all")
    histories = cases.before(log, np.array([0]), NOW, 8)
    assert model.plain.represent(histories).rows.tolist() == [0, 1]
    model.learn(NOW)
    assert model.coefficients[2] < 0, "the longer ago, the less"
    made = model.represent(histories)
    assert made.rows.tolist() == [1, 0]
