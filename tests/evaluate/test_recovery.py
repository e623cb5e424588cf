"""Recovery: the truth is the synthetic world's, and each score is what it says."""

from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import adjusted_rand_score
from worlds import TINY

from pinnersage import synthetic
from pinnersage.evaluate import recovery
from pinnersage.evaluate.histories import Histories, Represented


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return recovery.read(TINY, tmp_path_factory.mktemp("world"))


def hand_made(topics, users, of_interest=None):
    """Users who act once on each of their pins; pin i has topic i of the flat list."""
    flat = np.array(topics)
    sizes = np.bincount(users)
    ones = np.zeros(sizes.size, np.int64)
    histories = Histories(
        np.concatenate([[0], np.cumsum(sizes)]),
        np.arange(flat.size),
        np.zeros(flat.size),
        np.arange(sizes.size),
        ones,
    )
    known = np.ones(flat.size, bool) if of_interest is None else np.array(of_interest, bool)
    return recovery.Truth(histories, np.eye(flat.size, dtype=np.float32), flat, known)


def test_adjusted_rand_is_that_of_scikit_learn(truth):
    offsets, topics = truth.histories.offsets, truth.topics[truth.histories.rows]
    rng = np.random.default_rng(0)
    for n_clusters in (1, 2, 7, 10_000):
        labels = rng.integers(n_clusters, size=topics.size)
        labels[: topics.size // 2] = topics[: topics.size // 2]
        theirs = [adjusted_rand_score(topics[a:b], labels[a:b]) for a, b in pairwise(offsets)]
        np.testing.assert_allclose(recovery.adjusted_rand(truth, labels), theirs, atol=1e-12)


def test_one_action_is_found_whole():
    assert recovery.adjusted_rand(hand_made([3], [0]), np.array([0])).tolist() == [1.0]


def test_histories_are_the_worlds_interests_at_the_end_of_its_days(truth):
    n_interest = n_all = 0
    for day in range(TINY.n_days):
        kinds = synthetic.actions_of(TINY, day, np.arange(TINY.n_users))["action"].to_pylist()
        n_interest += sum(kind in synthetic.INTEREST_ACTIONS for kind in kinds)
        n_all += len(kinds)
    assert truth.histories.rows.size == n_interest < n_all
    np.testing.assert_array_equal(truth.topics, synthetic.pins_of(TINY).topics)
    for a, b in pairwise(truth.histories.offsets):
        ages = truth.histories.ages_days[a:b]
        assert (np.diff(ages) <= 0).all()
        assert ages.min() > 0
        assert ages.max() < TINY.n_days


def test_without_noise_every_action_is_of_an_interest(tmp_path):
    from dataclasses import replace

    clean = recovery.read(replace(TINY, noise_share=0.0), tmp_path)
    assert clean.of_interest.all()


def test_noise_is_what_the_world_says_but_for_chance(truth, tmp_path):
    from dataclasses import replace

    noisy = recovery.read(replace(TINY, noise_share=0.5), tmp_path)
    # Of 100 wanted actions 80 count, of noise 60; some noise falls on a topic of interest.
    expected = 0.5 * 0.6 / (0.5 * 0.6 + 0.5 * 0.8)
    share = 1 - noisy.of_interest.mean()
    assert 0.5 * expected < share < expected + 0.03
    assert share > 1 - truth.of_interest.mean() > 0


def test_an_interest_is_known_on_its_days_only(truth, tmp_path):
    synthetic.write(TINY, tmp_path)
    table = pq.read_table(tmp_path / "interests.parquet").to_pylist()
    names = synthetic.topic_names(TINY.n_topics).to_pylist()
    known = {(row["user_id"], row["topic"], row["first_day"], row["last_day"]) for row in table}
    spans_of_users = pairwise(truth.histories.offsets)
    for user, (a, b) in zip(truth.histories.users, spans_of_users, strict=True):
        for i in range(a, b, 7):
            day = TINY.days[int(TINY.n_days - np.ceil(truth.histories.ages_days[i]))]
            name = names[truth.topics[truth.histories.rows[i]]]
            spans = [k[2:] for k in known if k[:2] == (synthetic.USER_BASE + user, name)]
            assert truth.of_interest[i] == any(first <= day <= last for first, last in spans)


def test_a_blur_spreads_pins_and_keeps_their_length(truth):
    blurred = recovery.blurred(truth.matrix, 0.5, 3)
    cosines = np.einsum("ij,ij->i", truth.matrix, blurred)
    np.testing.assert_allclose(np.linalg.norm(blurred, axis=1), 1, atol=1e-6)
    assert cosines.mean() == pytest.approx(1 / np.sqrt(1.25), abs=0.02)
    np.testing.assert_array_equal(blurred, recovery.blurred(truth.matrix, 0.5, 3))
    assert recovery.blurred(truth.matrix, 0.0, 3) is truth.matrix


def test_interests_found_by_hand():
    # User 0: topic 0 three times, topic 1 three times, one pin of noise (2), two of topic 3.
    # User 1: topic 1 three times.
    topics = [0, 0, 0, 1, 1, 1, 2, 3, 3, 1, 1, 1]
    truth = hand_made(topics, [0] * 9 + [1] * 3, [True] * 6 + [False] + [True] * 5)
    rows = np.array([0, 6, 3, 9])
    shown = Represented(np.array([0, 3, 4]), truth.matrix[rows], np.array([3.0, 2, 1, 1]), rows)
    found, found_first, of_interest = recovery.interests(truth, shown)
    assert found == 1.0  # topics 0 and 1 of user 0, topic 1 of user 1; topic 3 is too few
    assert found_first == pytest.approx(2 / 3)  # user 0 shows two medoids: 0 and the noise
    assert of_interest == 3 / 4


def test_where_nobody_has_an_interest_nothing_is_found():
    truth = hand_made([0, 1], [0, 0], [False, False])
    shown = Represented(np.array([0, 1]), truth.matrix[:1], np.ones(1), np.array([0]))
    assert recovery.interests(truth, shown) == (None, None, 0.0)


def test_purity_by_hand():
    truth = hand_made([0, 0, 1, 1, 2, 0], [0, 0, 0, 0, 0, 1])
    assert recovery.purity(truth, np.array([0, 0, 0, 1, 1, 0])) == 4 / 6
    assert recovery.purity(truth, np.array([0, 0, 1, 1, 2, 0])) == 1.0


def test_clusters_that_are_the_topics_score_full(truth):
    offsets, topics = truth.histories.offsets, truth.topics[truth.histories.rows]
    labels = np.concatenate(
        [np.unique(topics[a:b], return_inverse=True)[1] for a, b in pairwise(offsets)]
    )
    scores = recovery.score(truth, "truth", 0, "given", labels)
    assert scores.adjusted_rand == scores.purity == scores.interests_found == 1.0
    assert scores.interests_found_first < 1.0 or scores.medoids_of_interests <= 1.0
    assert scores.clusters_light >= 1


def test_a_report_states_its_levels_and_measures_a_choice_by_the_best():
    levels = recovery.LEVELS[1:2]
    messages = []
    report = recovery.run(users=12, seeds=(1,), levels=levels, progress=messages.append)
    (one,) = report.levels
    assert one.level == levels[0]
    assert len(messages) == 1
    assert one.share_of_best == report.least_share_of_best <= 1
    at = one.choice.candidates.index(one.choice.merge_threshold)
    assert one.share_of_best == one.adjusted_rand[at] / max(one.adjusted_rand)
    assert [(s.method, s.by) for s in one.scores] == [
        ("Ward", "chosen"),
        ("Ward", "best"),
        ("k-means", "given"),
        ("complete linkage", "chosen"),
        ("complete linkage", "best"),
        ("HDBSCAN", "best"),
    ]
    assert one.scores[0].adjusted_rand == one.adjusted_rand[at]
    assert one.scores[1].adjusted_rand == max(one.adjusted_rand)
    assert one.scores[3].adjusted_rand <= one.scores[4].adjusted_rand
    assert recovery.run(users=12, seeds=(1,), levels=levels, threads=2) == report


def test_levels_are_stated_from_little_to_much():
    noise = [(level.noise_share, level.blur) for level in recovery.LEVELS]
    assert len(noise) == 3
    assert noise == sorted(noise)
