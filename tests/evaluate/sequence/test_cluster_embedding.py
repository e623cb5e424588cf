import copy

import numpy as np
import pytest
from sequence_logs import DAY, known_before, world

pytest.importorskip("jax", reason="the extra sequence is not installed")

from pinnersage.evaluate.histories import Histories
from pinnersage.evaluate.models import PinnerSage, cluster_of_actions
from pinnersage.evaluate.sequence.cluster_embedding import ClusterEmbedding
from pinnersage.evaluate.sequence.sequence_model import SequenceModel
from pinnersage.evaluate.sequence.train import Training

CUT = 25 * DAY
TINY = Training(size=8, window=20, batch=8, targets=32, n_negatives=16, epochs=1)


@pytest.fixture(scope="module")
def log():
    return world(n_users=30)


@pytest.fixture(scope="module")
def fitted(log):
    return SequenceModel("HierTCN", log, TINY).fit(CUT)


def test_each_clusters_vector_is_that_of_its_actions_alone(log, fitted):
    pinnersage = PinnerSage(log.matrix, merge_threshold=1.0)
    asked = known_before(log, CUT)
    found = ClusterEmbedding(pinnersage, fitted).represent(asked)
    clusters = pinnersage.clusters(asked)
    np.testing.assert_array_equal(found.offsets, clusters.offsets)
    np.testing.assert_array_equal(found.weights, clusters.importance)
    assert (found.rows == -1).all()
    assert clusters.medoids.size > 60
    of = cluster_of_actions(asked, clusters)
    for number in range(0, clusters.medoids.size, 7):
        at = np.flatnonzero(of == number)
        alone = Histories(
            np.array([0, at.size]), asked.rows[at], asked.ages_days[at],
            np.zeros(1, np.intp), np.array([CUT]),
        )  # fmt: skip
        np.testing.assert_allclose(
            found.vectors[number], fitted.represent(alone).vectors[0], atol=1e-5
        )


def test_a_copy_learns_for_itself(log, fitted):
    asked = known_before(log, CUT)
    before = fitted.represent(asked).vectors
    model = ClusterEmbedding(PinnerSage(log.matrix, 1.0), copy.deepcopy(fitted))
    model.learn(CUT + DAY)
    assert np.array_equal(fitted.represent(asked).vectors, before)
    assert not np.array_equal(model.sequence.represent(asked).vectors, before)
    assert model.name == "PinnerSage (embedding = HierTCN)"
