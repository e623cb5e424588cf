"""Threshold: the rule that chooses alpha is the silhouette it says, and finds what was planted."""

import numpy as np
import pytest
from strategies import make_user

from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate import threshold
from pinnersage.evaluate.histories import Histories
from pinnersage.model import cluster_users


def histories_of(rows_of_users, ages=None):
    sizes = [len(rows) for rows in rows_of_users]
    rows = np.concatenate([np.asarray(rows, np.intp) for rows in rows_of_users])
    return Histories(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp),
        rows,
        np.zeros(rows.size) if ages is None else ages,
        np.arange(len(sizes)),
        np.zeros(len(sizes), np.int64),
    )


def planted(seed=0, n_users=40, spread=0.05, size=6):
    """Users of two or three tight topics of one size each, far apart from one another."""
    rng = np.random.default_rng(seed)
    topics = np.linalg.qr(rng.normal(size=(32, 32)))[0][:12]
    pins = np.repeat(np.arange(12), 30)
    matrix = topics[pins] + spread * rng.normal(size=(360, 32))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    users = []
    for _ in range(n_users):
        own = rng.choice(12, rng.integers(2, 4), replace=False)
        users.append(np.concatenate([t * 30 + rng.choice(30, size, replace=False) for t in own]))
    return histories_of(users), matrix.astype(np.float32), pins


def naive_silhouettes(rows, matrix, labels):
    """As the docstring of the module says it, action by action and cluster by cluster."""
    by_row = dict(zip(rows.tolist(), labels.tolist(), strict=True))
    found = []
    for row, own in by_row.items():
        directions = {}
        for cluster in set(by_row.values()):
            rest = [matrix[r].astype(float) for r in rows if by_row[r] == cluster and r != row]
            total = np.sum(rest, axis=0) if rest else np.zeros(matrix.shape[1])
            length = np.linalg.norm(total)
            directions[cluster] = total / length if length > 1e-12 else np.zeros_like(total)
        distances = {c: 1 - matrix[row].astype(float) @ d for c, d in directions.items()}
        alone = sum(label == own for label in by_row.values()) == 1
        if alone or len(distances) == 1:
            found.append(0.0)
            continue
        a, b = distances.pop(own), min(distances.values())
        found.append((b - a) / max(a, b) if max(a, b) > 1e-12 else 0.0)
    return np.mean(found)


@pytest.mark.parametrize("merge_threshold", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_silhouettes_are_the_naive_ones(merge_threshold, dtype, monkeypatch):
    made = make_user(np.random.default_rng(1), 90, 24, topics=6, pins=50)
    matrix = made.embeddings.astype(dtype)
    histories = histories_of([made.rows[:40], [], made.rows[40:41], made.rows[41:]], made.ages)
    labels = cluster_users(
        matrix, histories.offsets, histories.ages_days, histories.rows, merge_threshold
    ).labels
    monkeypatch.setattr(threshold, "_BLOCK", 30)
    (ours,) = threshold.silhouettes(histories, matrix, [labels], threads=2)
    spans = zip(histories.offsets[:-1], histories.offsets[1:], strict=True)
    theirs = [
        naive_silhouettes(histories.rows[a:b], matrix, labels[a:b]) if a < b else 0.0
        for a, b in spans
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.any(ours != 0)


def test_no_cluster_and_no_company_count_nothing():
    matrix = np.eye(4, dtype=np.float32)
    histories = histories_of([[0, 1, 2], [0, 1, 2]])
    both = threshold.silhouettes(histories, matrix, [np.zeros(6, int), np.tile(np.arange(3), 2)])
    assert not both.any()


def test_planted_topics_are_what_the_chosen_threshold_finds():
    histories, matrix, topics = planted()
    choice = threshold.choose(histories, matrix)
    found = cluster_users(
        matrix, histories.offsets, histories.ages_days, histories.rows, choice.merge_threshold
    )
    for user, (a, b) in enumerate(zip(histories.offsets[:-1], histories.offsets[1:], strict=True)):
        of_topic = topics[histories.rows[a:b]]
        assert found.offsets[user + 1] - found.offsets[user] == np.unique(of_topic).size
        assert np.unique(np.stack([of_topic, found.labels[a:b]]), axis=1).shape[1] <= 3
    assert not choice.at_the_edge
    assert choice.users == 40


def test_wider_topics_ask_for_a_higher_threshold():
    tight, wide = (
        threshold.choose(*planted(1, spread=spread)[:2], candidates=(0.02, 0.2, 2.0))
        for spread in (0.01, 0.12)
    )
    assert tight.merge_threshold < wide.merge_threshold


def test_the_largest_mean_wins_and_the_smaller_threshold_of_equals():
    histories, matrix, _ = planted(2)
    choice = threshold.choose(histories, matrix, candidates=(4.0, 1.0, 1.01, 1e-9))
    assert choice.candidates == (1e-9, 1.0, 1.01, 4.0)
    assert choice.silhouettes[1] == choice.silhouettes[2] == max(choice.silhouettes)
    assert choice.merge_threshold == 1.0
    assert choice.silhouettes[0] == 0
    assert choice.clusters_per_user[0] == np.diff(histories.offsets).mean()


def test_a_choice_at_the_end_of_the_candidates_says_so():
    histories, matrix, _ = planted(3)
    assert threshold.choose(histories, matrix, candidates=(0.001, 0.01, 1.0)).at_the_edge


def test_threads_ages_and_the_order_of_candidates_change_nothing():
    histories, matrix, _ = planted(4)
    first = threshold.choose(histories, matrix, candidates=(0.5, 1.0, 2.0))
    older = histories._replace(ages_days=histories.ages_days + 10)
    assert threshold.choose(older, matrix, candidates=(2.0, 0.5, 1.0), threads=2) == first


def test_a_sample_is_of_users_who_can_tell_and_the_same_for_a_seed():
    users = [[0], [1, 1], [], *([i, i + 1, i] for i in range(2, 12))]
    histories = histories_of(users)
    whole = threshold.sample(histories, 100, 0)
    assert whole.users.tolist() == list(range(3, 13))
    part, again, other = (threshold.sample(histories, 4, seed) for seed in (0, 0, 1))
    assert part.users.tolist() == again.users.tolist() != other.users.tolist()
    assert part.users.size == 4
    for i, user in enumerate(part.users):
        assert part.rows[part.offsets[i] : part.offsets[i + 1]].tolist() == users[user]


def test_nobody_who_can_tell_is_an_error():
    with pytest.raises(DataError, match="two distinct pins"):
        threshold.choose(histories_of([[0], [1, 1]]), np.eye(2, dtype=np.float32))


@pytest.mark.parametrize("candidates", [(), (0.0, 1.0), (1.0, np.inf), (np.nan,), (-1.0,)])
def test_candidates_that_cannot_be_thresholds_are_refused(candidates):
    histories, matrix, _ = planted(5, n_users=2)
    with pytest.raises(ConfigError, match="Candidates"):
        threshold.choose(histories, matrix, candidates=candidates)
