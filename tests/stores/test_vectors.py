"""One contract, every vector store: a version is whole or not there, and finds what is near."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from qdrant_http import serving

from pinnersage.errors import ConfigError, DataError, TransientError
from pinnersage.stores import qdrant
from pinnersage.stores.edge import EdgeStore, copy_shard
from pinnersage.stores.filters import UNKNOWN, Attributes, Filter
from pinnersage.stores.qdrant import QdrantStore

ABOUT = {"embeddings": "v3", "refined": {"dropped": 12}, "note": None, "share": 0.25}


def clustered(n, d, seed=0, clusters=40):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, d))
    points = centres[rng.integers(clusters, size=n)] + 0.6 * rng.normal(size=(n, d))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def scattered_rows(n, seed=0):
    return np.random.default_rng(seed).permutation(n * 7)[:n].astype(np.int64)


def exact(rows, vectors, queries, limit):
    cosines = queries @ vectors.T
    order = [np.lexsort((rows, -row))[:limit] for row in cosines]
    return np.array([rows[o] for o in order]), np.array(
        [row[o] for row, o in zip(cosines, order, strict=True)]
    )


# More than 1,024 rows make a second block on the way to every store.
ROWS, VECTORS = scattered_rows(1200), clustered(1200, 24)
QUERIES = clustered(20, 24, seed=0)


TOPICS = ("birds", "cakes", "a b:c/ü", "rare")


def day(number):
    return date(1970, 1, 1) + timedelta(days=number)


def carried(n, seed=0):
    """Days 0 to 999 and topics, some unknown; ``rare`` is on the first alone."""
    rng = np.random.default_rng(seed)
    created = rng.integers(1000, size=n)
    created[rng.random(n) < 0.1] = UNKNOWN
    topic = rng.integers(-1, 3, size=n).astype(np.int32)
    topic[0] = 3
    return Attributes(created, topic, TOPICS)


def lets_through(where, attributes):
    """The naive twin of a filter: bool[n]."""
    names = [None if code < 0 else attributes.topics[code] for code in attributes.topic]
    return np.array(
        [
            (where.fresh_since is None or (made != UNKNOWN and day(made) >= where.fresh_since))
            and (not where.topics or name in where.topics)
            for made, name in zip(attributes.created.tolist(), names, strict=True)
        ]
    )


FILTERS = [
    Filter(),
    Filter(fresh_since=day(0)),
    Filter(fresh_since=day(500)),
    Filter(fresh_since=day(990)),
    Filter(topics=("birds",)),
    Filter(topics=("cakes", "a b:c/ü", "no such")),
    Filter(topics=("rare",)),
    Filter(fresh_since=day(300), topics=("birds", "cakes")),
    Filter(fresh_since=day(1001)),
    Filter(topics=("no such",)),
]


@pytest.fixture(params=["edge", "qdrant-memory", "qdrant-path", "qdrant-http", "qdrant-server"])
def store(request, tmp_path, monkeypatch):
    if request.param == "edge":
        yield EdgeStore(tmp_path / "index", full_scan_kb=10)
        return
    if request.param == "qdrant-http":
        monkeypatch.setattr(qdrant, "_LOOK_EVERY_SECONDS", 0.001)
        with serving() as (url, _):
            store = QdrantStore(url, full_scan_kb=10)
            yield store
            store.close()
        return
    location = {
        "qdrant-memory": ":memory:",
        "qdrant-path": f"path:{tmp_path / 'qdrant'}",
        "qdrant-server": os.environ.get("QDRANT_URL"),
    }[request.param]
    if location is None:
        pytest.skip("no Qdrant server: set QDRANT_URL to one that may be written to")
    # On a server that others use as well, only what this test made is touched.
    store = QdrantStore(location, prefix=f"test-{uuid.uuid4().hex}")
    yield store
    for version in store.versions():
        store.drop(version)
    store.close()


@pytest.fixture
def rows(store):
    return ROWS[: _size(store)]


@pytest.fixture
def vectors(store):
    return VECTORS[: _size(store)]


def _size(store):
    """Few for the local mode on a disk: it commits every point on its own."""
    return 150 if getattr(store, "name", "").startswith("path:") else len(ROWS)


@pytest.fixture
def edge(tmp_path):
    return EdgeStore(tmp_path / "index", full_scan_kb=10)


def test_neighbours_are_those_of_exact_search(store, rows, vectors):
    store.build("v1", rows, vectors, ABOUT)
    with store.open("v1") as reader:
        found = reader.search(QUERIES, 50)
    best, _ = exact(rows, vectors, QUERIES, 50)
    shared = [len(set(a) & set(b)) for a, b in zip(found.rows, best, strict=True)]
    assert sum(shared) / best.size >= 0.98
    where = {row: i for i, row in enumerate(rows.tolist())}
    for query, near, cosines in zip(QUERIES, found.rows.tolist(), found.cosines, strict=True):
        true = vectors[[where[row] for row in near]] @ query
        np.testing.assert_allclose(cosines, true, atol=1e-5)


@pytest.mark.parametrize("where", FILTERS, ids=str)
def test_neighbours_under_a_filter_are_those_of_exact_search(store, rows, vectors, where):
    attributes = carried(len(rows))
    store.build("v1", rows, vectors, ABOUT, attributes)
    with store.open("v1") as reader:
        assert reader.filters == ["created", "topic"]
        found = reader.search(QUERIES, 50, where=where)
    inside = lets_through(where, attributes)
    best, _ = exact(rows[inside], vectors[inside], QUERIES, 50)
    n = best.shape[1]
    assert (found.rows[:, n:] == -1).all()
    assert np.isnan(found.cosines[:, n:]).all()
    assert np.isin(found.rows[:, :n], rows[inside]).all()
    shared = [len(set(a) & set(b)) for a, b in zip(found.rows[:, :n], best, strict=True)]
    assert sum(shared) >= 0.95 * best.size


@pytest.mark.parametrize(
    ("kind", "where", "missing"),
    [
        ("nothing", Filter(fresh_since=day(1)), "created"),
        ("nothing", Filter(topics=("birds",)), "topic"),
        ("created", Filter(fresh_since=day(1), topics=("birds",)), "topic"),
        ("topic", Filter(fresh_since=day(1), topics=("birds",)), "created"),
    ],
)
def test_a_filter_on_what_no_point_carries_is_an_error_and_no_empty_answer(
    store, kind, where, missing
):
    every = carried(20)
    attributes = {
        "nothing": Attributes(),
        "created": Attributes(created=every.created),
        "topic": Attributes(None, every.topic, every.topics),
    }[kind]
    store.build("v1", ROWS[:20], VECTORS[:20], {}, attributes)
    with store.open("v1") as reader:
        assert reader.filters == ([] if kind == "nothing" else [kind])
        with pytest.raises(DataError, match=f"without {missing}, .*cannot be filtered"):
            reader.search(QUERIES, 5, where=where)
        assert (reader.search(QUERIES, 5, where=Filter()).rows >= 0).all()


def test_a_version_says_which_rows_it_holds(store, rows, vectors):
    attributes = carried(len(rows))
    store.build("v1", rows, vectors, {}, attributes)
    asked = np.array([-1, rows[3], 10**9, rows[0], rows[3], 2**40])
    with store.open("v1") as reader:
        assert reader.holds(asked).tolist() == [False, True, False, True, True, False]
        assert reader.holds(rows).all()
        assert reader.holds(rows[:0]).shape == (0,)
        for where in FILTERS:
            expected = lets_through(where, attributes)
            assert reader.holds(rows, where).tolist() == expected.tolist()
    store.build("v2", rows, vectors, {})
    with store.open("v2") as reader, pytest.raises(DataError, match="built without topic"):
        reader.holds(rows, Filter(topics=("birds",)))


def test_attributes_of_another_length_are_refused(store):
    with pytest.raises(DataError, match=r"attributes of \(19,\)"):
        store.build("v1", ROWS[:20], VECTORS[:20], {}, carried(19))


def test_quantised_vectors_find_the_same_with_true_cosines(tmp_path, store, rows, vectors):
    if isinstance(store, EdgeStore):
        store = EdgeStore(tmp_path / "int8", full_scan_kb=10, quantisation="int8")
    else:
        store._quantisation = "int8"
    attributes = carried(len(rows))
    store.build("v1", rows, vectors, {}, attributes)
    where = Filter(topics=("birds", "cakes"))
    with store.open("v1") as reader:
        for kept, found in (
            (np.ones(len(rows), bool), reader.search(QUERIES, 20)),
            (lets_through(where, attributes), reader.search(QUERIES, 20, where=where)),
        ):
            best, cosines = exact(rows[kept], vectors[kept], QUERIES, 20)
            shared = [len(set(a) & set(b)) for a, b in zip(found.rows, best, strict=True)]
            assert sum(shared) >= 0.95 * best.size
            np.testing.assert_allclose(found.cosines[:, 0], cosines[:, 0], atol=1e-5)


def test_answers_are_arrays_of_the_promised_shape_type_and_order(store, rows, vectors):
    store.build("v1", rows, vectors, ABOUT)
    with store.open("v1") as reader:
        assert (len(reader), reader.dimensions) == vectors.shape
        found, cosines = reader.search(QUERIES, 30)
        assert (found.shape, found.dtype) == ((20, 30), np.int64)
        assert (cosines.shape, cosines.dtype) == ((20, 30), np.float32)
        assert (np.diff(cosines) <= 0).all()
        empty = reader.search(QUERIES[:0], 5)
        assert empty.rows.shape == empty.cosines.shape == (0, 5)


def test_equal_cosines_come_by_row(store):
    vectors = np.repeat(clustered(5, 8, seed=3), 4, axis=0)
    rows = scattered_rows(20, seed=3)
    store.build("v1", rows, vectors, {})
    with store.open("v1") as reader:
        found = reader.search(vectors[:1], 4)
    assert found.rows[0].tolist() == sorted(rows[:4].tolist())


def test_a_limit_beyond_the_index_returns_all_and_pads(store):
    store.build("v1", ROWS[:10], VECTORS[:10], {})
    with store.open("v1") as reader:
        rows, cosines = reader.search(QUERIES[:2], 15)
    assert [sorted(row[:10].tolist()) for row in rows] == [sorted(ROWS[:10].tolist())] * 2
    assert (rows[:, 10:] == -1).all()
    assert np.isnan(cosines[:, 10:]).all()
    assert not np.isnan(cosines[:, :10]).any()


def test_a_limit_of_the_whole_graph_misses_no_row(store, rows, vectors):
    store.build("v1", rows, vectors, {})
    with store.open("v1") as reader:
        for limit in (len(rows) - 1, len(rows), len(rows) + 300):
            found = reader.search(QUERIES[:1], limit).rows[0]
            assert len(set(found[found >= 0].tolist())) == min(limit, len(rows))


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 150])
def test_small_indexes_are_exact(store, n):
    store.build("v1", ROWS[:n], VECTORS[:n], ABOUT)
    with store.open("v1") as reader:
        rows, _ = reader.search(VECTORS[:n], 3)
        assert len(reader) == n
    expected, _ = exact(ROWS[:n], VECTORS[:n], VECTORS[:n], 3)
    np.testing.assert_array_equal(rows[:, : expected.shape[1]], expected)


def test_float16_from_a_memory_map_is_indexed(store, tmp_path):
    np.save(tmp_path / "embeddings.npy", VECTORS.astype(np.float16))
    matrix = np.load(tmp_path / "embeddings.npy", mmap_mode="r")
    store.build("v1", ROWS[100:250], matrix[100:250], {})
    with store.open("v1") as reader:
        rows, cosines = reader.search(VECTORS[100:110], 1)
    assert rows[:, 0].tolist() == ROWS[100:110].tolist()
    np.testing.assert_allclose(cosines, 1, atol=1e-3)


def test_length_of_a_query_does_not_matter(store):
    store.build("v1", ROWS[:200], VECTORS[:200], {})
    with store.open("v1") as reader:
        one, ten = reader.search(QUERIES, 5), reader.search(QUERIES * 10, 5)
    np.testing.assert_array_equal(one.rows, ten.rows)
    np.testing.assert_allclose(one.cosines, ten.cosines, atol=1e-5)


def test_about_comes_back_as_it_was(store):
    store.build("v1", ROWS[:50], VECTORS[:50], ABOUT)
    with store.open("v1") as reader:
        assert reader.about == ABOUT


def test_versions_are_listed_sorted_and_do_not_mix(store):
    assert store.versions() == []
    for i, version in enumerate(["2026-03-02", "2026-03-01", "2026-02-28.a=b+c_d"]):
        store.build(version, ROWS[i : i + 1], VECTORS[i : i + 1], {"i": i})
    assert store.versions() == ["2026-02-28.a=b+c_d", "2026-03-01", "2026-03-02"]
    for i, version in enumerate(["2026-03-02", "2026-03-01", "2026-02-28.a=b+c_d"]):
        with store.open(version) as reader:
            assert reader.search(QUERIES[:1], 1).rows.tolist() == [[ROWS[i]]]
            assert reader.about == {"i": i}


def test_building_a_version_again_replaces_nothing(store):
    store.build("v1", ROWS[:50], VECTORS[:50], ABOUT)
    store.build("v1", ROWS[:9], VECTORS[:9], {})
    with store.open("v1") as reader:
        assert (len(reader), reader.about) == (50, ABOUT)


def test_an_unknown_version_is_named_with_those_that_exist(store):
    for version in ("v1", "v2"):
        store.build(version, ROWS[:2], VECTORS[:2], {})
    with pytest.raises(DataError, match=r"no version 'v3'; there are: v1, v2\."):
        store.open("v3")


@pytest.mark.parametrize("version", ["", "a/b", "..", "a:b"])
def test_a_name_that_a_store_cannot_carry_is_refused(store, version):
    for call in (
        lambda: store.build(version, ROWS[:2], VECTORS[:2], {}),
        lambda: store.open(version),
        lambda: store.drop(version),
    ):
        with pytest.raises(DataError, match="cannot name a version"):
            call()


def test_a_dropped_version_is_gone_and_can_be_built_again(store):
    store.build("v1", ROWS[:50], VECTORS[:50], {})
    store.drop("v1")
    store.drop("v1")
    assert store.versions() == []
    store.build("v1", ROWS[50:60], VECTORS[50:60], {})
    with store.open("v1") as reader:
        assert len(reader) == 10
        assert set(reader.search(QUERIES[:1], 10).rows[0]) == set(ROWS[50:60])


@pytest.mark.parametrize(
    ("some_rows", "some_vectors", "message"),
    [
        (ROWS[:0], VECTORS[:0], "make no index"),
        (ROWS[:5], VECTORS[:4], "make no index"),
        (ROWS[:5], VECTORS[:5, :0], "make no index"),
        (ROWS[:5] - 10**6, VECTORS[:5], "not negative"),
        (ROWS[:5].astype(np.int32), VECTORS[:5], "must be int64"),
        (np.repeat(ROWS[:1], 5), VECTORS[:5], "1 different of 5"),
    ],
)
def test_what_is_no_index_is_refused_and_leaves_nothing(store, some_rows, some_vectors, message):
    with pytest.raises(DataError, match=message):
        store.build("v1", some_rows, some_vectors, {})
    assert store.versions() == []


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_vector_without_direction_is_named_and_leaves_nothing(store, rows, vectors, value):
    vectors = vectors.copy()
    vectors[-2] = value
    with pytest.raises(DataError, match=rf"vector of row {rows[-2]} has length {value}"):
        store.build("v1", rows, vectors, {})
    assert store.versions() == []


def test_what_is_no_query_is_refused(store):
    store.build("v1", ROWS[:20], VECTORS[:20], {})
    with store.open("v1") as reader:
        for queries, limit, message in [
            (QUERIES[:, :5], 5, r"24 columns .*\(20, 5\)"),
            (QUERIES[0], 5, "24 columns"),
            (QUERIES, 0, "limit of at least 1"),
            (np.zeros((1, 24), np.float32), 5, "Query 0 is zero"),
            (np.full((1, 24), np.nan, np.float32), 5, "Query 0 is zero or not finite"),
        ]:
            with pytest.raises(DataError, match=message):
                reader.search(queries, limit)


def test_a_smaller_ef_finds_less_on_hard_data(tmp_path):
    edge = EdgeStore(tmp_path, m=4, ef_construct=8, full_scan_kb=10)
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(4000, 48)).astype(np.float32)
    rows = np.arange(4000)
    edge.build("v1", rows, vectors, {})
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    best, _ = exact(rows, unit, unit[:50], 10)
    with edge.open("v1") as reader:
        recall = [
            np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, best, strict=True)])
            for found in (reader.search(unit[:50], 10, ef=ef).rows for ef in (10, 400))
        ]
    assert recall[0] < recall[1] - 0.02


def test_edge_really_builds_a_graph(edge, tmp_path):
    edge.build("v1", ROWS, VECTORS, {})
    graphs = list((tmp_path / "index" / "v1").glob("shard/segments/*/vector_index/graph.bin"))
    assert len(graphs) == 1


@pytest.mark.parametrize("share", [0.9, 0.5, 0.3, 0.1, 0.01, 0.002])
@pytest.mark.parametrize("kind", ["topic", "created"])
def test_edge_recall_under_filters_that_follow_the_clusters(wide, share, kind):
    reader, vectors, cluster = wide
    n = round(share * 500)
    inside = cluster < n
    where = Filter(topics=tuple(f"t{i}" for i in range(n)))
    if kind == "created":
        inside, where = cluster >= 500 - n, Filter(fresh_since=day(500 - n))
    rows = np.arange(len(vectors))
    queries = vectors[::150]
    best, _ = exact(rows[inside], vectors[inside], queries, 50)
    found = reader.search(queries, 50, where=where).rows[:, : best.shape[1]]
    shared = [len(set(a) & set(b)) for a, b in zip(found, best, strict=True)]
    assert sum(shared) >= 0.95 * best.size


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A graph over 10,000 vectors in 500 clusters, of which each is a topic and a day."""
    rng = np.random.default_rng(3)
    cluster = rng.integers(500, size=10_000)
    vectors = rng.normal(size=(500, 32))[cluster] + 0.5 * rng.normal(size=(10_000, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    store = EdgeStore(tmp_path_factory.mktemp("wide"), full_scan_kb=10)
    names = tuple(f"t{i}" for i in range(500))
    attributes = Attributes(cluster.astype(np.int64), cluster.astype(np.int32), names)
    store.build("v1", np.arange(10_000), vectors, {}, attributes)
    with store.open("v1") as reader:
        yield reader, vectors, cluster


def changed():
    """A version, and another of which one row in ten went, came or carries something else."""
    attributes = carried(len(ROWS))
    first = np.arange(50, len(ROWS))
    second = np.arange(len(ROWS) - 50)
    other = attributes._replace(created=attributes.created.copy(), topic=attributes.topic.copy())
    other.created[100:110] = 777
    other.topic[110:120] = (other.topic[110:120] + 1) % 3
    return (
        (ROWS[first], VECTORS[first], {"i": 1}, attributes.part(first)),
        (ROWS[second], VECTORS[second], {"i": 2}, other.part(second)),
    )


@pytest.mark.parametrize("quantisation", ["none", "int8"])
def test_edge_a_refreshed_version_is_the_same_as_a_built_one(tmp_path, quantisation):
    edge = EdgeStore(tmp_path / "index", full_scan_kb=10, quantisation=quantisation)
    first, second = changed()
    edge.build("v1", *first)
    with edge.open("v1") as reader:
        before = reader.search(QUERIES, 30)
        assert edge.refresh("v2", "v1", *second, most=0.11)
        edge.build("whole", *second)
        with edge.open("v2") as refreshed, edge.open("whole") as whole:
            assert len(refreshed) == len(whole) == len(second[0])
            assert refreshed.about == whole.about == {"i": 2}
            for one, other in zip(refreshed.points(), whole.points(), strict=True):
                order = np.argsort(refreshed.points()[0]), np.argsort(whole.points()[0])
                if isinstance(one, np.ndarray):
                    np.testing.assert_array_equal(one[order[0]], other[order[1]])
                else:
                    assert one.part(order[0]).payloads() == other.part(order[1]).payloads()
            assert refreshed.holds(ROWS).tolist() == [i < 1150 for i in range(1200)]
            for where in [None, *FILTERS]:
                inside = lets_through(where or Filter(), second[3])
                best, _ = exact(second[0][inside], second[1][inside], QUERIES, 30)
                found = refreshed.search(QUERIES, 30, where=where).rows[:, : best.shape[1]]
                shared = [len(set(a) & set(b)) for a, b in zip(found, best, strict=True)]
                assert sum(shared) >= 0.95 * best.size
        np.testing.assert_array_equal(reader.search(QUERIES, 30).rows, before.rows)
    with edge.open("v1") as reader:
        np.testing.assert_array_equal(reader.search(QUERIES, 30).rows, before.rows)


def test_what_changed_too_much_or_cannot_be_copied_is_not_refreshed(store, rows, vectors):
    attributes = carried(len(rows))
    store.build("v1", rows, vectors, {}, attributes)
    part = np.arange(len(rows) - 10)
    given = (rows[part], vectors[part], {})
    assert not store.refresh("v2", "v1", *given, attributes.part(part), most=9.99 / len(part))
    assert not store.refresh("v2", "v1", *given, attributes.part(part), most=0.0)
    assert not store.refresh("v2", "v1", *given, Attributes(attributes.created[part]), most=1.0)
    assert not store.refresh("v2", "v1", *given, most=1.0)
    if isinstance(store, EdgeStore):
        store._graph["ef_construct"] = 64
    assert not store.refresh("v2", "v1", *given, attributes.part(part), most=1.0)
    assert store.versions() == ["v1"]
    assert store.refresh("v1", "v1", *given, most=1.0), "it is there"


def test_edge_a_killed_refresh_leaves_nothing_and_its_base_whole(edge, tmp_path):
    many = clustered(40_000, 64)
    rows = np.arange(40_000)
    edge.build("v1", rows[4000:], many[4000:], {})
    killed = threading.Event()
    killer = threading.Thread(target=_kill_the_builder, args=[killed])
    killer.start()
    with pytest.raises(TransientError, match="killed by SIGKILL"):
        edge.refresh("v2", "v1", rows, many, {}, most=0.2)
    killer.join()
    assert killed.is_set()
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["v1"]
    with edge.open("v1") as reader:
        assert reader.search(many[4000:4010], 1).rows[:, 0].tolist() == list(range(4000, 4010))
    assert edge.refresh("v2", "v1", rows, many, {}, most=0.2)
    with edge.open("v2") as reader:
        assert reader.search(many[:10], 1).rows[:, 0].tolist() == list(range(10))


def test_edge_reads_on_after_a_fork_in_child_and_parent(edge, in_a_fork):
    edge.build("v1", ROWS, VECTORS, {})
    with edge.open("v1") as reader, edge.open("v1") as other:
        before = reader.search(QUERIES, 10)

        def child():
            for one in (reader, other):
                np.testing.assert_array_equal(one.search(QUERIES, 10).rows, before.rows)
            reader.close()
            with edge.open("v1") as third:
                np.testing.assert_array_equal(third.search(QUERIES, 10).rows, before.rows)

        assert in_a_fork(child) == 0
        np.testing.assert_array_equal(reader.search(QUERIES, 10).rows, before.rows)


def _search_often(root, expected):
    for _ in range(5):
        with EdgeStore(root).open("v1") as reader:
            np.testing.assert_array_equal(reader.search(QUERIES, 10).rows, expected)


def test_edge_processes_open_and_read_side_by_side(edge, tmp_path):
    edge.build("v1", ROWS, VECTORS, {})
    with edge.open("v1") as reader:
        expected = reader.search(QUERIES, 10).rows
        context = multiprocessing.get_context("spawn")
        readers = [
            context.Process(target=_search_often, args=(tmp_path / "index", expected))
            for _ in range(3)
        ]
        for process in readers:
            process.start()
        for process in readers:
            process.join(60)
        assert [process.exitcode for process in readers] == [0, 0, 0]


def test_edge_readers_keep_a_dropped_version(edge):
    edge.build("v1", ROWS, VECTORS, {})
    with edge.open("v1") as reader:
        before = reader.search(QUERIES, 10).rows
        edge.drop("v1")
        np.testing.assert_array_equal(reader.search(QUERIES, 10).rows, before)


def test_edge_a_closed_reader_says_so(edge):
    edge.build("v1", ROWS[:5], VECTORS[:5], {})
    reader = edge.open("v1")
    reader.close()
    reader.close()
    with pytest.raises(DataError, match="reader is closed"):
        reader.search(QUERIES, 1)


def test_edge_a_damaged_version_is_a_data_error(edge, tmp_path):
    edge.build("v1", ROWS, VECTORS, {})
    for path in (tmp_path / "index" / "v1").glob("shard/segments/*/segment.json"):
        path.write_text("{")
    with pytest.raises(DataError, match="cannot be opened"):
        edge.open("v1")


def _kill_the_builder(killed):
    """End the child of this process that builds, once it runs."""
    mine = f"PPid:\t{os.getpid()}\n"
    for _ in range(600):
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                command = (status.parent / "cmdline").read_bytes()
                if mine in status.read_text() and b"stores.edge_build" in command:
                    os.kill(int(status.parent.name), signal.SIGKILL)
                    killed.set()
                    return
            except OSError:
                continue
        time.sleep(0.05)


def test_edge_a_killed_builder_is_named_and_leaves_nothing(edge, tmp_path):
    killed = threading.Event()
    killer = threading.Thread(target=_kill_the_builder, args=[killed])
    killer.start()
    many = clustered(40_000, 64)
    with pytest.raises(TransientError, match=r"killed by SIGKILL.*out-of-memory"):
        edge.build("v1", np.arange(40_000), many, {})
    killer.join()
    assert killed.is_set()
    assert list((tmp_path / "index").iterdir()) == []
    edge.build("v1", ROWS[:50], VECTORS[:50], {})
    assert edge.versions() == ["v1"]


BUILD_BIG = """
from pathlib import Path
import numpy as np
from pinnersage.errors import TransientError
from pinnersage.stores import qdrant
from pinnersage.stores.edge import EdgeStore
store = EdgeStore(Path({root!r}))
try:
    rng = np.random.default_rng(0)
    store.build("v1", np.arange(60_000), rng.normal(size=(60_000, 64)).astype(np.float32), {{}})
except TransientError as error:
    print("said:", error, store.versions())
"""


def test_edge_a_full_disk_is_named_and_leaves_nothing(tmp_path, on_a_full_disk):
    root = tmp_path / "index"
    said = on_a_full_disk(BUILD_BIG.format(root=str(root)), 4_000_000)
    assert f"said: {root} is full" in said
    assert "Make room" in said
    assert said.strip().endswith("[]")
    assert list(root.iterdir()) == []


def test_edge_a_killed_caller_leaves_nothing_to_see_and_the_next_one_succeeds(edge, tmp_path):
    root = tmp_path / "index"
    caller = subprocess.Popen([sys.executable, "-c", BUILD_BIG.format(root=str(root))])
    while not list(root.glob(".aside-*/shard/segments")):
        assert caller.poll() is None
        time.sleep(0.02)
    caller.kill()
    caller.wait()
    assert edge.versions() == []
    edge.build("v1", ROWS[:50], VECTORS[:50], {})
    assert edge.versions() == ["v1"]
    for _ in range(600):  # its builder notices, and then the next writer sweeps
        edge.drop("none")
        edge.build("v2", ROWS[:5], VECTORS[:5], {})
        edge.drop("v2")
        if sorted(path.name for path in root.iterdir()) == ["v1"]:
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"left behind: {list(root.iterdir())}")


def test_edge_a_builder_that_fails_hands_on_its_last_words(edge, tmp_path):
    edge._graph["m"] = -1
    with pytest.raises(DataError, match=r"(?s)failed with code 1.*OverflowError"):
        edge.build("v1", ROWS, VECTORS, {})
    assert list((tmp_path / "index").iterdir()) == []


def test_edge_memory_of_the_caller_does_not_grow_with_the_matrix(tmp_path):
    matrix = np.lib.format.open_memmap(
        tmp_path / "e.npy", "w+", dtype=np.float16, shape=(100_000, 128)
    )
    for start in range(0, 100_000, 10_000):
        matrix[start : start + 10_000] = clustered(10_000, 128, seed=start)
    matrix.flush()
    del matrix
    program = f"""
import resource, numpy as np
from pathlib import Path
from pinnersage.errors import DataError
from pinnersage.stores import qdrant
from pinnersage.stores.edge import EdgeStore
m = np.load({str(tmp_path / "e.npy")!r}, mmap_mode="r")
store = EdgeStore(Path({str(tmp_path / "index")!r}), m=4, ef_construct=8)
store.build("small", np.arange(4096), m[:4096], {{}})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.build("big", np.arange(100_000), m, {{}})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown_kb = int(subprocess.check_output([sys.executable, "-c", program]))
    # The map's own pages count as resident and can be taken back; float32 of it all cannot.
    assert grown_kb < 45_000


def test_qdrant_an_unfinished_version_is_not_seen_and_is_built_anew():
    store = QdrantStore(":memory:")
    store.build("v0", ROWS[:5], VECTORS[:5], {})
    facts = {"dimensions": 24, "full_scan_kb": 10, "quantisation": "none", "filters": []}
    store._create("pinnersage-v1", facts)
    store._load("pinnersage-v1", "v1", ROWS[:5], VECTORS[:5], Attributes())
    assert store.versions() == ["v0"]
    with pytest.raises(DataError, match=r"no version 'v1'; there are: v0\."):
        store.open("v1")
    store.build("v1", ROWS[:9], VECTORS[:9], {})
    assert len(store.open("v1")) == 9
    store.close()


@pytest.mark.parametrize("password", ["hunter2#x", "hunter2/x", "hunter2?x"])
def test_qdrant_a_password_is_in_no_message(password):
    with pytest.raises(ConfigError) as caught:
        QdrantStore(f"https://user:{password}@localhost:1")
    assert "hunter2" not in str(caught.value)


def test_qdrant_the_alias_follows_what_is_announced_and_can_go_back():
    store = QdrantStore(":memory:")

    def target():
        return [a.collection_name for a in store.client.get_aliases().aliases]

    for version in ("v1", "v2"):
        store.build(version, ROWS[:5], VECTORS[:5], {})
    assert target() == []
    for version in ("v2", "v1"):
        store.announce(version)
        assert target() == [f"pinnersage-{version}"]
    store.close()


def test_qdrant_a_path_keeps_its_versions(tmp_path):
    for i in range(2):
        store = QdrantStore(f"path:{tmp_path}")
        store.build(f"v{i}", ROWS[:5], VECTORS[:5], ABOUT)
        assert store.versions() == ["v0", "v1"][: i + 1]
        assert store.open("v0").about == ABOUT
        store.close()


def test_qdrant_that_is_away_is_a_transient_error_without_its_password():
    store = QdrantStore("http://someone:secret@127.0.0.1:1")
    for call in (
        store.versions,
        lambda: store.open("v1"),
        lambda: store.build("v1", ROWS[:5], VECTORS[:5], {}),
        lambda: store.drop("v1"),
    ):
        with pytest.raises(TransientError, match="is away") as caught:
            call()
        assert "secret" not in str(caught.value)
    assert "secret" not in repr(store)
    store.close()


def test_qdrant_a_location_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="no place for vectors"):
        QdrantStore("somewhere")


def test_a_copy_leaves_out_what_those_who_open_it_write_for_a_moment(tmp_path):
    (tmp_path / "from" / "inner").mkdir(parents=True)
    for name in ("one", "inner/two", ".atomicwriteAB12", "inner/.atomicwriteCD34"):
        (tmp_path / "from" / name).write_text(name)

    copy_shard(tmp_path / "from", tmp_path / "to")

    there = {
        str(p.relative_to(tmp_path / "to")) for p in (tmp_path / "to").rglob("*") if p.is_file()
    }
    assert there == {"one", "inner/two"}
    assert (tmp_path / "to" / "inner" / "two").read_text() == "inner/two"


def test_a_disk_that_is_full_while_a_version_is_copied_says_so(tmp_path, monkeypatch):
    store = EdgeStore(tmp_path)
    vectors = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    store.build("a", np.arange(50), vectors, {})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pinnersage.stores.edge.shutil.copy2", full)
    with pytest.raises(TransientError, match="No space left"):
        store.refresh("b", "a", np.arange(49), vectors[:49], {}, most=0.5)
    assert store.versions() == ["a"]
