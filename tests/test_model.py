import dataclasses
import subprocess
import sys
from itertools import pairwise

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from naive import ambiguous, partition
from scipy.cluster.hierarchy import fcluster, linkage
from strategies import decays, make_user, seeded_users, thresholds, user, users

import pinnersage
from pinnersage import cluster_actions, cluster_users, model
from pinnersage.errors import DataError

relaxed = settings(deadline=None)
NAN = float("nan")


def bytes_of(clusters):
    names = [field.name for field in dataclasses.fields(clusters)]
    return {name: getattr(clusters, name).tobytes() for name in names}


def many_users(n_users=300, seed=3, d=16):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 60, n_users)
    sizes[n_users // 2] = 900
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    everything = make_user(rng, int(offsets[-1]), d, topics=40, pins=2_000)
    return everything.embeddings, offsets, everything.ages, everything.rows


@given(user(), thresholds(), decays())
@relaxed
def test_one_user_alone_is_the_same_user_among_others(drawn, threshold, decay):
    alone = cluster_actions(drawn.embeddings, drawn.ages, drawn.rows, threshold, decay)
    n = drawn.rows.size
    among = cluster_users(
        drawn.embeddings,
        [0, n, n, 2 * n],
        np.tile(drawn.ages, 2),
        np.tile(drawn.rows, 2),
        threshold,
        decay,
    )
    k = alone.medoids.size
    assert among.offsets.tolist() == [0, k, k, 2 * k]
    assert np.array_equal(among.labels, np.tile(alone.labels, 2))
    assert np.array_equal(among.medoids, np.concatenate([alone.medoids, alone.medoids + n]))
    assert np.array_equal(among.importance, np.tile(alone.importance, 2))


def test_two_thousand_users_equal_scipy_and_the_naive_twins():
    equal, decay = 0, 0.01
    for drawn, threshold in seeded_users(2_100, seed=20):
        found = cluster_actions(drawn.embeddings, drawn.ages, drawn.rows, threshold, decay)

        theirs = np.ones(drawn.rows.size)
        if drawn.rows.size > 1:
            theirs = fcluster(linkage(drawn.points, "ward"), np.sqrt(threshold), "distance")
        same = partition(found.labels) == partition(theirs)
        assert same or ambiguous(drawn.points, threshold)
        equal += same
        for label, medoid in enumerate(found.medoids):
            members = np.flatnonzero(found.labels == label)
            assert medoid == members[naive.medoid(drawn.points[members])]
            expected = naive.importance(drawn.ages[members], decay)
            np.testing.assert_allclose(found.importance[label], expected, rtol=1e-12)
    assert equal >= 2_000


@given(user(), thresholds())
@relaxed
def test_each_action_is_in_one_cluster_and_each_medoid_in_its_own(drawn, threshold):
    found = cluster_actions(drawn.embeddings, drawn.ages, drawn.rows, threshold)
    k = found.medoids.size
    assert np.array_equal(np.bincount(found.labels, minlength=k), found.n_actions)
    assert np.array_equal(found.labels[found.medoids], np.arange(k))
    assert np.all(np.diff(found.importance) <= 0)


@given(user(), thresholds())
@relaxed
def test_decay_zero_counts_actions(drawn, threshold):
    found = cluster_actions(drawn.embeddings, drawn.ages, drawn.rows, threshold, 0.0)
    assert np.array_equal(found.importance, found.n_actions)


@given(user())
@relaxed
def test_raising_the_threshold_never_adds_a_cluster(drawn):
    counts = [
        cluster_actions(drawn.embeddings, drawn.ages, drawn.rows, threshold).medoids.size
        for threshold in (0.0, 0.05, 0.5, 1.0, 3.0, 1e6, np.inf)
    ]
    assert counts == sorted(counts, reverse=True)


def test_repeated_pins_have_the_partition_of_actions_each_with_a_row_of_its_own():
    rng = np.random.default_rng(8)
    for _ in range(100):
        drawn = make_user(rng, 80, 16, pins=30, copies=0.0)
        repeats = cluster_actions(drawn.embeddings, drawn.ages, drawn.rows)
        apart = cluster_actions(drawn.points, drawn.ages)
        assert partition(repeats.labels) == partition(apart.labels)
        np.testing.assert_allclose(repeats.importance, apart.importance, rtol=1e-12)
        np.testing.assert_allclose(repeats.cohesion, apart.cohesion, rtol=1e-12)
        np.testing.assert_allclose(repeats.medoid_offset, apart.medoid_offset, atol=1e-12)


@given(users())
@relaxed
def test_shuffling_users_changes_nothing(drawn):
    embeddings, offsets, ages, rows = drawn
    n_users = offsets.size - 1
    order = np.random.default_rng(n_users).permutation(n_users)
    spans = [np.arange(offsets[u], offsets[u + 1]) for u in order]
    positions = np.concatenate([np.empty(0, np.intp), *spans])
    shuffled = np.concatenate([[0], np.cumsum([span.size for span in spans], dtype=np.intp)])
    before = cluster_users(embeddings, offsets, ages, rows)
    after = cluster_users(embeddings, shuffled, ages[positions], rows[positions])
    assert np.array_equal(after.labels, before.labels[positions])
    for new, old in enumerate(order):
        mine = slice(after.offsets[new], after.offsets[new + 1])
        theirs = slice(before.offsets[old], before.offsets[old + 1])
        assert np.array_equal(positions[after.medoids[mine]], before.medoids[theirs])
        assert np.array_equal(after.importance[mine], before.importance[theirs])


def test_threads_and_chunks_change_no_byte(monkeypatch):
    data = many_users()
    expected = bytes_of(cluster_users(*data))
    for threads in (2, 3):
        assert bytes_of(cluster_users(*data, threads=threads)) == expected
    monkeypatch.setattr(model, "_CHUNKS_A_THREAD", 100)
    for threads in (2, 3):
        assert bytes_of(cluster_users(*data, threads=threads)) == expected


def test_chunks_cover_all_users_and_are_of_about_equal_cost():
    _, offsets, *_ = many_users()
    sizes = np.diff(offsets).astype(float)
    for threads in (1, 2, 5):
        cuts = list(model._cuts(offsets, threads))
        assert cuts[0] == 0
        assert cuts[-1] == offsets.size - 1
        assert np.all(np.diff(cuts) > 0)
        costs = [(sizes[a:b] * (sizes[a:b] + 100)).sum() for a, b in pairwise(cuts)]
        share = sum(costs) / (8 * threads) if threads > 1 else np.inf
        for cost, (begin, end) in zip(costs, pairwise(cuts), strict=True):
            assert end == begin + 1 or cost <= share


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_a_memory_map_of_any_precision_gives_what_its_values_give(tmp_path, dtype):
    embeddings, offsets, ages, rows = many_users(40)
    np.save(tmp_path / "e.npy", embeddings.astype(dtype))
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    expected = cluster_users(np.asarray(mapped, dtype=np.float64), offsets, ages, rows)
    assert bytes_of(cluster_users(mapped, offsets, ages, rows, threads=2)) == bytes_of(expected)


def test_columns_apart_in_memory_are_read_alike():
    embeddings, offsets, ages, rows = many_users(20)
    expected = bytes_of(cluster_users(embeddings, offsets, ages, rows))
    wide = np.repeat(embeddings, 2, axis=1)[:, ::2]
    assert bytes_of(cluster_users(wide, offsets, ages, rows)) == expected
    assert bytes_of(cluster_users(np.asfortranarray(wide), offsets, ages, rows)) == expected


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("offsets", [[0], [0, 0], [0, 0, 0, 0]])
def test_no_user_and_no_action_work(offsets, threads):
    found = cluster_users(np.empty((0, 4)), offsets, [], threads=threads)
    assert found.offsets.tolist() == offsets
    assert found.labels.dtype == found.medoids.dtype == found.n_actions.dtype == np.intp
    for field in dataclasses.fields(found):
        assert field.name == "offsets" or getattr(found, field.name).size == 0


def test_no_action_of_one_user_works():
    found = cluster_actions(np.ones((3, 4)), [], [])
    assert found.labels.size == found.medoids.size == 0


def test_vectors_need_not_be_of_unit_length():
    found = cluster_actions(np.array([[0.5, 0.0], [0.4, 0.3]]), [1, 2])
    assert found.cohesion[0] == pytest.approx((1 + 0.8) / 2)


def test_results_cannot_be_assigned_to():
    found = cluster_actions(np.eye(2), [1, 2])
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.labels = found.medoids


def test_users_beyond_the_memory_for_a_matrix_have_the_same_clusters():
    rng = np.random.default_rng(11)
    drawn = make_user(rng, 1_500, 16, topics=60, pins=1_500, copies=0.0)
    for threshold in (0.3, 1.0, 2.5):
        arguments = (drawn.embeddings, [0, 1_500], drawn.ages, drawn.rows, threshold)
        small = cluster_users(*arguments, matrix_mb=1)  # room for 512 pins
        assert bytes_of(small) == bytes_of(cluster_users(*arguments))


@pytest.mark.slow
@pytest.mark.parametrize(("n", "pins"), [(20_000, 20_000), (100_000, 20_000)])
def test_one_user_with_very_many_actions_is_clustered(n, pins):
    rng = np.random.default_rng(n)
    drawn = make_user(rng, n, 16, topics=300, spread=0.6, pins=pins, copies=0.0)
    found = cluster_actions(drawn.embeddings, drawn.ages, drawn.rows, merge_threshold=0.2)
    assert found.n_actions.sum() == n
    assert np.array_equal(found.labels[found.medoids], np.arange(found.medoids.size))
    assert 300 < found.medoids.size < pins


GOOD = {
    "embeddings": np.eye(3, 4),
    "offsets": np.array([0, 2, 3]),
    "ages_days": np.array([3.0, 2.0, 1.0]),
    "rows": np.array([0, 1, 2]),
}
BROKEN = np.vstack([np.eye(2, 4), np.full(4, NAN), np.zeros(4), np.full(4, np.inf)])
BAD = [
    ({"embeddings": np.ones(3)}, r"embeddings have the shape \(3,\)"),
    ({"embeddings": np.ones((3, 0))}, r"shape \(3, 0\) .*d at least 1"),
    ({"embeddings": np.ones((3, 4), int)}, "embeddings are int64"),
    ({"embeddings": np.ones((3, 4), np.longdouble)}, "limit: float16, float32 or float64"),
    ({"ages_days": np.ones((3, 1))}, r"ages_days are float64 of the shape \(3, 1\)"),
    ({"ages_days": 3.0}, r"ages_days are float64 of the shape \(\)"),
    ({"ages_days": ["a", "b", "c"]}, "ages_days are <U1"),
    ({"ages_days": [1, -0.5, 2]}, "action 1: age of -0.5 days"),
    ({"ages_days": [1, 2, NAN]}, "action 2: age of nan days"),
    ({"ages_days": [np.inf, 2, 3]}, "action 0: age of inf days"),
    ({"rows": [0.0, 1.0, 2.0]}, "rows are float64"),
    ({"rows": [[0, 1, 2]]}, r"rows are int64 of the shape \(1, 3\)"),
    ({"rows": [0, 1]}, "rows have 2 entries for 3 actions"),
    ({"rows": [0, 3, 1]}, "action 1: row 3 is not in the embeddings .limit: 0 to 2"),
    ({"rows": [0, 1, -1]}, "action 2: row -1 is not in the embeddings"),
    ({"rows": None, "embeddings": np.eye(4)}, "embeddings have 4 rows for 3 actions"),
    ({"merge_threshold": -0.1}, "merge_threshold is -0.1"),
    ({"merge_threshold": NAN}, "merge_threshold is nan"),
    ({"decay_per_day": -1}, "decay_per_day is -1"),
    ({"decay_per_day": NAN}, "decay_per_day is nan"),
    ({"decay_per_day": np.inf}, "decay_per_day is inf"),
    ({"embeddings": BROKEN, "rows": [0, 1, 2]}, "action 2: the vector in row 2 .*nan"),
    ({"embeddings": BROKEN, "rows": [0, 3, 2]}, "action 1: the vector in row 3 .*length 0 "),
    ({"embeddings": BROKEN, "rows": [4, 3, 2]}, "action 0: the vector in row 4 .*inf"),
]
BAD_USERS = [
    ({"offsets": [0, 2]}, "offsets run over 0 to 2 .*number of actions, 3"),
    ({"offsets": [1, 3]}, "offsets run over 1 to 3"),
    ({"offsets": []}, "offsets run over nothing"),
    ({"offsets": [0, 2, 1, 3]}, "user 1: offsets fall from 2 to 1"),
    ({"offsets": [0.0, 3.0]}, "offsets are float64"),
    ({"threads": 0}, "threads is 0"),
    ({"matrix_mb": 0}, "matrix_mb is 0"),
]


@pytest.mark.parametrize(("change", "message"), BAD + BAD_USERS)
def test_bad_input_of_many_users_is_a_clear_error(change, message):
    with pytest.raises(DataError, match=message) as raised:
        cluster_users(**(GOOD | change))
    assert "limit" in str(raised.value)


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_of_one_user_is_a_clear_error(change, message):
    arguments = {name: value for name, value in GOOD.items() if name != "offsets"}
    with pytest.raises(DataError, match=message):
        cluster_actions(**(arguments | change))


def test_a_bad_vector_that_no_action_uses_is_no_matter():
    found = cluster_actions(BROKEN, [1, 2], [0, 1])
    assert found.medoids.tolist() == [0, 1]


def test_the_first_bad_vector_is_named_whatever_the_threads():
    embeddings, offsets, ages, rows = many_users()
    embeddings[rows[1_000]] = embeddings[rows[5_000]] = 0
    first = np.flatnonzero(np.isin(rows, [rows[1_000], rows[5_000]]))[0]
    for threads in (1, 2, 3):
        with pytest.raises(DataError, match=f"action {first}: "):
            cluster_users(embeddings, offsets, ages, rows, threads=threads)


def test_importing_the_package_loads_no_compiler():
    program = "import sys, pinnersage; print(sorted({'numba', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_the_package_offers_the_model_and_its_version():
    assert pinnersage.__version__
    assert set(pinnersage.__all__) <= set(dir(pinnersage))
    with pytest.raises(AttributeError, match="no attribute 'cluster_pins'"):
        _ = pinnersage.cluster_pins
