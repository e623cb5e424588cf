import dataclasses

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import partition
from strategies import DIMENSIONS, decays, make_user, thresholds

from pinnersage import cluster_actions
from pinnersage.errors import DataError
from pinnersage.online import Actions, Clusters, update
from pinnersage.online.agreement import identical, jaccard

DAY = 86_400_000_000
AS_OF = 1_786_060_800_000_000
NOW = AS_OF + DAY
EACH = ("rows", "importance", "n_actions", "offset", "last_acted_at")


def actions_of(rows, ages_days, now=NOW):
    times = now - np.round(np.asarray(ages_days) * DAY).astype(np.int64)
    return Actions(np.asarray(rows, np.intp), times)


def stored_of(embeddings, rows, acted_at, threshold, decay, as_of=AS_OF):
    """What the night has found in some actions, and the label of each."""
    found = cluster_actions(embeddings, (as_of - acted_at) / DAY, rows, threshold, decay)
    last = np.array([acted_at[found.labels == c].max() for c in range(found.medoids.size)], int)
    clusters = Clusters(
        rows[found.medoids],
        found.importance,
        found.n_actions,
        found.medoid_offset,
        last,
        as_of,
    )
    return clusters, found.labels


def made(rng, n_before, n_after, d=16, threshold=1.0, decay=0.01):
    """A user's embeddings, her stored clusters, and her actions of the day after."""
    drawn = make_user(rng, n_before + n_after, d)
    rows, before = drawn.rows, slice(0, n_before)
    acted_at = AS_OF - 1 - np.round(drawn.ages[before] * DAY).astype(np.int64)
    clusters, _ = stored_of(drawn.embeddings, rows[before], acted_at, threshold, decay)
    ages = np.sort(rng.random(n_after))[::-1]
    return drawn.embeddings, clusters, actions_of(rows[n_before:], ages)


def run(user, threshold=1.0, decay=0.01, now=NOW):
    embeddings, clusters, actions = user
    return update(
        clusters,
        actions,
        now,
        embeddings=embeddings,
        merge_threshold=threshold,
        decay_per_day=decay,
    )


def bytes_of(updated):
    return [getattr(updated, field.name).tobytes() for field in dataclasses.fields(updated)]


@st.composite
def users(draw, least_before=0, least_after=0):
    return made(
        np.random.default_rng(draw(st.integers(0, 2**32 - 1))),
        draw(st.integers(least_before, 40)),
        draw(st.integers(least_after, 20)),
        draw(st.sampled_from(DIMENSIONS)),
    )


NO_CLUSTERS = Clusters(
    np.empty(0, np.intp), np.empty(0), np.empty(0, np.intp), np.empty(0), np.empty(0, int), AS_OF
)


@given(users(least_before=1), decays())
def test_without_actions_what_is_stored_comes_back_as_it_is(user, decay):
    embeddings, clusters, _ = user
    found = run((embeddings, clusters, actions_of([], [])), decay=decay, now=NOW + 30 * DAY)
    for name in EACH:
        assert getattr(found, name) is getattr(clusters, name)
    k = clusters.rows.size
    assert found.stored.tolist() == list(range(k))
    assert found.n_new.tolist() == [0] * k
    assert found.labels.size == 0


@given(users(least_after=1), thresholds(), decays())
def test_without_stored_clusters_a_batch_over_the_actions_comes_back_to_the_byte(
    user, threshold, decay
):
    embeddings, _, actions = user
    found = run((embeddings, NO_CLUSTERS, actions), threshold, decay)
    ages = (NOW - actions.acted_at) / DAY
    batch = cluster_actions(embeddings, ages, actions.rows, threshold, decay)
    assert np.array_equal(found.labels, batch.labels)
    assert np.array_equal(found.rows, actions.rows[batch.medoids])
    assert np.array_equal(found.importance, batch.importance)
    assert np.array_equal(found.offset, batch.medoid_offset)
    assert np.array_equal(found.n_actions, batch.n_actions)
    assert np.array_equal(found.n_new, batch.n_actions)
    assert np.all(found.stored == -1)
    np.testing.assert_allclose((NOW - found.last_acted_at) / DAY, batch.newest_days, rtol=1e-12)


def test_the_kernel_without_stored_clusters_agrees_with_the_batch():
    from pinnersage.kernels.attach import attach

    rng = np.random.default_rng(3)
    nothing = (np.empty(0, np.intp), np.empty(0), np.empty(0))
    for _ in range(100):
        drawn = make_user(rng, 20, 16, copies=0.0)
        found, _ = attach(drawn.embeddings, *nothing, drawn.rows, 1.0)
        batch = cluster_actions(drawn.embeddings, drawn.ages, drawn.rows, 1.0)
        assert partition(found.labels) == partition(batch.labels)
        assert sorted(found.medoids) == sorted(batch.medoids)


def test_the_first_action_of_a_new_user_is_a_cluster():
    found = run((np.eye(3), NO_CLUSTERS, actions_of([2], [0.5])), decay=0.1)
    assert found.rows.tolist() == [2]
    assert found.importance.tolist() == [np.exp(-0.1 * 0.5)]
    assert found.last_acted_at.tolist() == [NOW - DAY // 2]


@given(users(least_before=1, least_after=1), thresholds())
def test_clusters_are_the_naive_twins(user, threshold):
    embeddings, clusters, actions = user
    found = run(user, threshold)
    labels, medoids, offsets, tied = naive.attach(
        embeddings, clusters.rows, clusters.n_actions, clusters.offset, actions.rows, threshold
    )
    if tied:
        return
    assert partition(found.labels) == partition(labels)
    rows = [*clusters.rows, *actions.rows]
    expected = {int(rows[at]): stray for at, stray in zip(medoids, offsets, strict=True)}
    assert dict(zip(found.rows.tolist(), found.offset, strict=True)) == pytest.approx(
        expected, abs=1e-9
    )
    for label, twin in zip(found.labels, labels, strict=True):
        assert found.stored[label] == (twin if twin < clusters.rows.size else -1)


@given(users(least_before=1, least_after=1), thresholds(), decays())
def test_actions_and_importance_add_up(user, threshold, decay):
    _, clusters, actions = user
    found = run(user, threshold, decay)
    k = found.rows.size
    assert sorted(found.stored[found.stored >= 0]) == list(range(clusters.rows.size))
    assert np.array_equal(found.n_new, np.bincount(found.labels, minlength=k))
    kept = np.where(found.stored >= 0, clusters.n_actions[found.stored], 0)
    assert np.array_equal(found.n_actions, kept + found.n_new)
    faded = clusters.importance * np.exp(-decay * (NOW - AS_OF) / DAY)
    for c in range(k):
        ages = (NOW - actions.acted_at[found.labels == c]) / DAY
        before = faded[found.stored[c]] if found.stored[c] >= 0 else 0.0
        expected = before + naive.importance(ages, decay)
        assert found.importance[c] == pytest.approx(expected, rel=1e-12)
        times = actions.acted_at[found.labels == c].tolist()
        if found.stored[c] >= 0:
            times.append(clusters.last_acted_at[found.stored[c]])
        assert found.last_acted_at[c] == max(times)


@given(users(least_before=1, least_after=1), decays())
def test_clusters_stand_by_importance_then_last_action_then_row(user, decay):
    found = run(user, decay=decay)
    keys = list(zip(-found.importance, -found.last_acted_at, found.rows, strict=True))
    assert keys == sorted(keys)


def test_the_same_arguments_give_the_same_bytes():
    user = made(np.random.default_rng(4), 200, 20)
    assert bytes_of(run(user)) == bytes_of(run(user))


@given(users(least_before=1, least_after=1))
def test_a_stored_cluster_without_new_actions_keeps_its_facts_to_the_bit(user):
    _, clusters, _ = user
    found = run(user)
    for c in np.flatnonzero((found.n_new == 0) & (found.stored >= 0)):
        for name in ("rows", "n_actions", "offset", "last_acted_at"):
            assert getattr(found, name)[c] == getattr(clusters, name)[found.stored[c]]


def test_the_order_in_which_clusters_are_stored_changes_no_cluster():
    rng = np.random.default_rng(6)
    for _ in range(30):
        embeddings, clusters, actions = made(rng, 60, 20)
        order = rng.permutation(clusters.rows.size)
        mixed = Clusters(*(getattr(clusters, name)[order] for name in EACH), AS_OF)
        before, after = run((embeddings, clusters, actions)), run((embeddings, mixed, actions))
        for name in (*EACH, "labels", "n_new"):
            assert np.array_equal(getattr(before, name), getattr(after, name)), name


def test_at_decay_zero_importance_counts_actions():
    embeddings, clusters, actions = made(np.random.default_rng(7), 100, 20, decay=0.0)
    found = run((embeddings, clusters, actions), decay=0.0)
    assert np.array_equal(found.importance, found.n_actions)


def test_nothing_happens_at_midnight():
    embeddings, clusters, actions = made(np.random.default_rng(8), 60, 10)
    midnight = AS_OF + 3 * DAY
    before, after = (run((embeddings, clusters, actions), now=midnight + s) for s in (-1, 1))
    assert np.array_equal(before.labels, after.labels)
    np.testing.assert_allclose(before.importance, after.importance, rtol=1e-12)
    assert np.all(after.importance < before.importance)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_a_memory_map_of_any_precision_gives_what_its_values_give(tmp_path, dtype):
    embeddings, clusters, actions = made(np.random.default_rng(9), 60, 20, d=33)
    np.save(tmp_path / "e.npy", embeddings.astype(dtype))
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    values = np.asarray(mapped, dtype=np.float64)
    expected = bytes_of(run((values, clusters, actions)))
    assert bytes_of(run((mapped, clusters, actions))) == expected
    assert bytes_of(run((np.asfortranarray(mapped), clusters, actions))) == expected


def test_types_of_a_stored_profile_do():
    embeddings, clusters, actions = made(np.random.default_rng(10), 60, 20)
    packed = dataclasses.replace(
        clusters,
        n_actions=clusters.n_actions.astype(np.uint32),
        offset=clusters.offset.astype(np.float32),
    )
    wide = dataclasses.replace(clusters, offset=packed.offset.astype(np.float64))
    found = run((embeddings, packed, actions))
    assert bytes_of(found) == bytes_of(run((embeddings, wide, actions)))
    assert found.n_actions.dtype == np.intp
    assert found.offset.dtype == np.float64


def test_a_thousand_clusters_and_a_thousand_actions_work():
    rng = np.random.default_rng(11)
    vectors = rng.normal(size=(3_000, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    clusters = Clusters(
        np.arange(1_000),
        np.linspace(5, 1, 1_000),
        np.full(1_000, 5),
        np.full(1_000, 0.1),
        np.full(1_000, AS_OF - 1),
        AS_OF,
    )
    actions = actions_of(rng.integers(500, 3_000, 1_000), np.linspace(0.9, 0, 1_000))
    found = run((vectors, clusters, actions), threshold=1.5)
    assert found.n_actions.sum() == 5_000 + 1_000
    on_medoids = actions.rows < 1_000
    assert np.array_equal(
        clusters.rows[found.stored[found.labels[on_medoids]]], actions.rows[on_medoids]
    )


def separated(rng, least=60, most=150, d=128, topics=6, noise=0.6):
    """A user with far interests: pins of a topic lie closer than the threshold merges."""
    centres = np.linalg.qr(rng.normal(size=(d, topics)))[0].T
    n_before, n_after = int(rng.integers(least, most)), int(rng.integers(1, 21))
    of_action = rng.integers(topics, size=n_before + n_after)
    vectors = centres[of_action] + noise / np.sqrt(d) * rng.normal(size=(of_action.size, d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    acted_at = np.sort(AS_OF - rng.integers(1, 89 * DAY, n_before))
    new = np.sort(AS_OF + rng.integers(0, DAY, n_after))
    return vectors, np.concatenate([acted_at, new]), n_before


def by_both(vectors, acted_at, n_before, threshold=1.0, decay=0.01, *, corrected=True):
    """What online and a batch over everything find; and online's label of every action."""
    rows = np.arange(acted_at.size)
    clusters, labels = stored_of(vectors, rows[:n_before], acted_at[:n_before], threshold, decay)
    if not corrected:
        clusters = dataclasses.replace(clusters, offset=np.zeros(clusters.rows.size))
    actions = Actions(rows[n_before:], acted_at[n_before:])
    online = run((vectors, clusters, actions), threshold, decay)
    of_stored = np.argsort(online.stored)[-clusters.rows.size :]
    everything = np.concatenate([of_stored[labels], online.labels])
    batch = cluster_actions(vectors, (NOW - acted_at) / DAY, rows, threshold, decay)
    return clusters, online, everything, batch


def test_separated_interests_have_the_clusters_of_a_batch_and_only_by_the_offsets():
    shares = {}
    for corrected in (True, False):
        rng, equal, n_users = np.random.default_rng(12), 0, 200
        for _ in range(n_users):
            _, online, everything, batch = by_both(*separated(rng), corrected=corrected)
            same = identical(everything, batch.labels)
            if same:
                np.testing.assert_allclose(online.importance, batch.importance, rtol=1e-9)
                assert np.array_equal(online.n_actions, batch.n_actions)
            equal += same
        shares[corrected] = equal / n_users
    assert shares[True] >= 0.95, shares
    assert shares[False] <= 0.5, shares


@pytest.mark.parametrize(("least", "most", "gain"), [(6, 18, 0.05), (60, 150, 0.0)])
def test_medoids_are_as_near_to_those_of_a_batch_as_the_stored_or_nearer(least, most, gain):
    rng, moved, kept = np.random.default_rng(13), [], []
    for _ in range(200):
        clusters, online, _, batch = by_both(*separated(rng, least, most))
        stored = online.stored >= 0
        still = np.where(stored, clusters.rows[online.stored], online.rows)
        moved.append(jaccard(online.rows, batch.medoids))
        kept.append(jaccard(still, batch.medoids))
    assert np.mean(moved) >= np.mean(kept) + gain


BROKEN = np.vstack([np.eye(4), np.full(4, np.nan), np.zeros(4)])
GOOD_CLUSTERS = {
    "rows": np.array([0, 1]),
    "importance": np.array([2.0, 1.0]),
    "n_actions": np.array([3, 2]),
    "offset": np.array([0.1, 0.0]),
    "last_acted_at": np.array([AS_OF - 2, AS_OF - 1]),
    "as_of": AS_OF,
}
GOOD_ACTIONS = {"rows": np.array([1, 2]), "acted_at": np.array([AS_OF, NOW])}
GOOD = {"now": NOW, "embeddings": BROKEN, "merge_threshold": 1.0, "decay_per_day": 0.01}
BAD_CLUSTERS = [
    ({"rows": np.array([0, 6])}, "stored cluster 1: row is 6 .limit: 0 to 5"),
    ({"rows": np.array([-1, 1])}, "stored cluster 0: row is -1"),
    ({"rows": np.array([1, 1])}, "stored cluster 1: row is 1 .limit: no two"),
    ({"rows": np.array([0.0, 1.0])}, "rows of stored clusters are float64"),
    ({"rows": np.array([[0, 1]])}, r"of the shape \(1, 2\)"),
    ({"rows": np.array([0, 4])}, "stored medoid 1: the vector in row 4 .*nan"),
    ({"rows": np.array([5, 0])}, "stored medoid 0: the vector in row 5 .*length 0 "),
    ({"importance": np.array([2.0, 0.0])}, "stored cluster 1: importance is 0.0"),
    ({"importance": np.array([np.nan, 1.0])}, "stored cluster 0: importance is nan"),
    ({"importance": np.array([np.inf, 1.0])}, "stored cluster 0: importance is inf"),
    ({"importance": np.array(["a", "b"])}, "importance is <U1"),
    ({"importance": np.array([1.0])}, "importance has 1 entries for 2 stored clusters"),
    ({"n_actions": np.array([3, 0])}, "stored cluster 1: n_actions is 0"),
    ({"n_actions": np.array([3.0, 1.0])}, "n_actions are float64"),
    ({"n_actions": np.array([3, 2, 1])}, "n_actions has 3 entries for 2 stored clusters"),
    ({"offset": np.array([-0.1, 0.0])}, "stored cluster 0: offset is -0.1"),
    ({"offset": np.array([0.1, np.nan])}, "stored cluster 1: offset is nan"),
    ({"offset": np.array(0.1)}, r"offset is float64 of the shape \(\)"),
    (
        {"last_acted_at": np.array([AS_OF + 1, 0])},
        "stored cluster 0: last_acted_at is .*up to as_of",
    ),
]
BAD_ACTIONS = [
    ({"rows": np.array([1, 6])}, "action 1: row is 6 .limit: 0 to 5"),
    ({"rows": np.array([-1, 2])}, "action 0: row is -1"),
    ({"rows": np.array([1.0, 2.0])}, "rows of actions are float64"),
    ({"rows": np.array([1, 4])}, "action 1: the vector in row 4 .*nan"),
    ({"rows": np.array([1])}, "acted_at has 2 entries for 1 actions"),
    ({"acted_at": np.array([AS_OF - 1, NOW])}, "action 0: acted_at is .*after .*stored"),
    ({"acted_at": np.array([AS_OF, NOW + 1])}, "action 1: acted_at is .*up to now"),
    ({"acted_at": np.array([NOW, AS_OF])}, "action 1: acted_at is .*oldest first"),
    ({"acted_at": np.array([0.5, 1.5])}, "acted_at are float64"),
]
BAD = [
    ({"merge_threshold": -1.0}, "merge_threshold is -1"),
    ({"merge_threshold": np.nan}, "merge_threshold is nan"),
    ({"decay_per_day": np.inf}, "decay_per_day is inf"),
    ({"embeddings": np.eye(4, dtype=int)}, "embeddings are int64"),
    ({"embeddings": np.ones(4)}, r"embeddings have the shape \(4,\)"),
]


@pytest.mark.parametrize(
    ("clusters", "actions", "others", "message"),
    [
        *((change, {}, {}, message) for change, message in BAD_CLUSTERS),
        *(({}, change, {}, message) for change, message in BAD_ACTIONS),
        *(({}, {}, change, message) for change, message in BAD),
    ],
)
def test_bad_input_is_a_clear_error(clusters, actions, others, message):
    arguments = GOOD | others
    with pytest.raises(DataError, match=message) as raised:
        update(
            Clusters(**(GOOD_CLUSTERS | clusters)),
            Actions(**(GOOD_ACTIONS | actions)),
            arguments.pop("now"),
            **arguments,
        )
    assert "limit" in str(raised.value)


@pytest.mark.parametrize(
    ("row", "message"), [(4, "action 1: the vector in row 4 .*nan"), (6, "action 1: row is 6")]
)
def test_bad_input_without_stored_clusters_is_the_same_error(row, message):
    with pytest.raises(DataError, match=message):
        run((BROKEN, NO_CLUSTERS, Actions(np.array([0, row]), GOOD_ACTIONS["acted_at"])))


def test_stored_clusters_of_the_future_are_an_error_once_something_is_to_be_added():
    clusters = Clusters(**(GOOD_CLUSTERS | {"as_of": NOW + 1}))
    assert run((BROKEN, clusters, actions_of([], []))).importance is clusters.importance
    with pytest.raises(DataError, match=r"as of .*limit: up to now"):
        run((BROKEN, clusters, actions_of([1], [0.5])))


def test_bad_stored_clusters_are_an_error_without_actions_too():
    broken = Clusters(**(GOOD_CLUSTERS | {"offset": np.array([np.nan, 0.0])}))
    with pytest.raises(DataError, match="offset is nan"):
        run((BROKEN, broken, actions_of([], [])))
