"""Models: the paper's baselines and PinnerSage, against naive twins; none sees what is to come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import importance, medoid, partition, ward
from random_logs import drawn_log, nth, with_another_future

from pinnersage.evaluate import cases
from pinnersage.evaluate.cases import start_us
from pinnersage.evaluate.models import DecayAverage, LastPin, PinnerSage, cluster_of_actions

NOW = start_us(nth(8))
WINDOW = 6
MODELS = {
    "last": LastPin,
    "average": lambda matrix: DecayAverage(matrix, 0.1),
    "mean": lambda matrix: DecayAverage(matrix, 0.0),
    "clusters": lambda matrix: PinnerSage(matrix, 0.8),
    "centroids": lambda matrix: PinnerSage(matrix, 0.8, embedding="centroid"),
}
models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
logs = st.integers(0, 200).map(drawn_log)


def known(log):
    """What is known of everybody at one moment; of some nothing is."""
    return cases.before(log, np.arange(len(log.user_ids)), NOW, WINDOW)


def users_of(histories):
    """Each user's rows and ages."""
    spans = zip(histories.offsets, histories.offsets[1:], strict=False)
    return [(histories.rows[a:b], histories.ages_days[a:b]) for a, b in spans]


def vectors_of(represented):
    """Each user's vectors, weights and rows."""
    spans = zip(represented.offsets, represented.offsets[1:], strict=False)
    parts = represented.vectors, represented.weights, represented.rows
    return [tuple(part[a:b] for part in parts) for a, b in spans]


@given(logs)
def test_the_last_pin_is_the_last_row(log):
    histories = known(log)
    made = vectors_of(LastPin(log.matrix).represent(histories))
    for (rows, _), (vectors, weights, of) in zip(users_of(histories), made, strict=True):
        assert of.tolist() == rows[-1:].tolist()
        assert weights.tolist() == [1.0] * len(of)
        np.testing.assert_array_equal(vectors, log.matrix[of])


@given(logs, st.sampled_from([0.0, 0.01, 0.5]))
def test_the_decayed_average_is_that_of_a_naive_twin(log, decay):
    histories = known(log)
    made = vectors_of(DecayAverage(log.matrix, decay).represent(histories))
    for (rows, ages), (vectors, weights, of) in zip(users_of(histories), made, strict=True):
        assert len(vectors) == len(weights) == min(1, len(rows))
        if len(rows):
            total = sum(
                np.exp(-decay * age) * log.matrix[row].astype(float)
                for row, age in zip(rows, ages, strict=True)
            )
            np.testing.assert_allclose(vectors[0], total / np.linalg.norm(total), atol=1e-5)
            assert of.tolist() == [-1]


def test_vectors_that_cancel_out_leave_the_last_one():
    matrix = np.array([[1, 0], [-1, 0], [0, 1]], np.float32)
    log = drawn_log(0)
    histories = known(log)._replace(
        offsets=np.array([0, 2]), rows=np.array([0, 1]), ages_days=np.array([1.0, 1.0])
    )
    made = DecayAverage(matrix, 0.5).represent(histories)
    assert made.vectors.tolist() == [[-1, 0]]


@given(logs, st.sampled_from([0.3, 1.0, 4.0]), st.sampled_from([0.0, 0.1]))
def test_clusters_medoids_and_importance_are_the_paper_s(log, alpha, decay):
    histories = known(log)
    model = PinnerSage(log.matrix, alpha, decay)
    clusters = model.clusters(histories)
    of = cluster_of_actions(histories, clusters)
    made = model.represent(histories)
    for user, (rows, ages) in enumerate(users_of(histories)):
        own = slice(histories.offsets[user], histories.offsets[user + 1])
        points = log.matrix[rows].astype(float)
        labels = of[own]
        assert partition(labels) == (partition(ward(points, alpha)) if len(rows) else set())
        for number in range(made.offsets[user], made.offsets[user + 1]):
            members = np.flatnonzero(labels == number)
            assert made.weights[number] == pytest.approx(importance(ages[members], decay))
            assert made.rows[number] == rows[members[medoid(points[members])]]
            np.testing.assert_array_equal(made.vectors[number], log.matrix[made.rows[number]])
            assert rows[members].tolist().count(made.rows[number]) > 0


@given(logs)
def test_a_centroid_is_the_mean_of_its_cluster(log):
    histories = known(log)
    model = PinnerSage(log.matrix, 1.0, embedding="centroid")
    of = cluster_of_actions(histories, model.clusters(histories))
    made = model.represent(histories)
    plain = PinnerSage(log.matrix, 1.0).represent(histories)
    assert made.weights.tolist() == plain.weights.tolist()
    assert (made.rows == -1).all()
    for number, vector in enumerate(made.vectors):
        total = log.matrix[histories.rows[of == number]].astype(float).sum(axis=0)
        np.testing.assert_allclose(vector, total / np.linalg.norm(total), atol=1e-5)


def bytes_of(represented):
    return [part.tobytes() for part in represented]


@models
@given(logs)
def test_what_a_model_gives_is_whole(model, log):
    made = model(log.matrix).represent(known(log))
    sizes = [len(rows) for rows, _ in users_of(known(log))]
    assert made.offsets.size == len(sizes) + 1
    assert made.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(made.vectors.astype(float), axis=1), 1, atol=1e-5)
    for n, (_, weights, rows) in zip(sizes, vectors_of(made), strict=True):
        assert bool(n) == bool(weights.size), "a user has vectors if, and only if, she has a past"
        assert (weights > 0).all()
        assert (np.diff(weights) <= 0).all()
        assert rows.size == weights.size
    assert made.offsets[-1] == len(made.vectors) == made.weights.size


@models
@pytest.mark.parametrize("seed", range(10))
def test_nothing_dated_on_or_after_a_day_changes_what_a_model_gives(model, seed):
    log = drawn_log(seed)
    other = with_another_future(log, NOW, seed)
    one, two = (model(each.matrix).represent(known(each)) for each in (log, other))
    assert bytes_of(one) == bytes_of(two)


@models
def test_a_user_s_vectors_depend_on_that_user_alone(model):
    log = drawn_log(11)
    whole = model(log.matrix).represent(known(log))
    for user, expected in enumerate(vectors_of(whole)):
        alone = model(log.matrix).represent(known(log).of(slice(user, user + 1)))
        assert bytes_of(expected) == bytes_of(alone[1:])


@models
def test_those_that_learn_nothing_stay_as_they_are(model):
    log = drawn_log(5)
    made = model(log.matrix)
    before = bytes_of(made.represent(known(log)))
    made.learn(NOW)
    assert bytes_of(made.represent(known(log))) == before


def test_threads_change_nothing():
    log = drawn_log(6, n_users=60)
    one, two = (PinnerSage(log.matrix, 0.8, threads=n).represent(known(log)) for n in (1, 2))
    assert bytes_of(one) == bytes_of(two)
