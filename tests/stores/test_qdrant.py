"""Qdrant's server, in the order that its documentation asks for: every call to a stand-in."""

from datetime import date

import numpy as np
import pytest
from qdrant_http import serving, slowly

from pinnersage.errors import TransientError
from pinnersage.stores import qdrant
from pinnersage.stores.filters import Attributes, Filter
from pinnersage.stores.qdrant import QdrantStore

N, D = 1200, 24
RNG = np.random.default_rng(1)
VECTORS = RNG.normal(size=(N, D)).astype(np.float32)
ROWS = RNG.permutation(10 * N)[:N].astype(np.int64)
CARRIED = Attributes(
    np.arange(N, dtype=np.int64), (np.arange(N) % 3).astype(np.int32), ("a", "b", "c")
)
SPARE = 2 * (10 * 1024 // (4 * D) + 1)
"""Vectors that may stay in segments too small for a graph: two segments of 10 kB."""


@pytest.fixture
def served(monkeypatch):
    """Make a store over a stand-in that makes such progress."""
    monkeypatch.setattr(qdrant, "_LOOK_EVERY_SECONDS", 0.001)
    opened = []

    def make(progress=slowly, **how):
        context = serving(progress)
        url, server = context.__enter__()
        store = QdrantStore(url, **how)
        opened.append((context, store))
        return store, server

    yield make
    for context, store in opened:
        store.close()
        context.__exit__(None, None, None)


def test_a_version_is_built_in_the_order_that_keeps_it_whole(served):
    store, server = served()

    store.build("v1", ROWS, VECTORS, {}, CARRIED)
    store.announce("v1")

    asked = [call for call in server.calls if not call.startswith("look")]
    looked = [call for call in server.calls if call.startswith("look")]
    assert asked == [
        "delete",
        "create m=0",
        "index created integer hnsw=True",
        "index topic keyword hnsw=True",
        "points 1024",
        "points 176",
        "count",
        "m=16",
        "metadata complete=True",
        "alias to pinnersage-v1",
    ]
    assert looked[:3] == ["look yellow 0", "look yellow 400", "look yellow 800"]
    done = server.calls.index("look green 1200")
    assert server.calls.index("m=16") < done < server.calls.index("metadata complete=True")


def test_the_alias_is_swapped_in_one_step(served):
    store, server = served()
    for version in ("v1", "v2"):
        store.build(version, ROWS[:50], VECTORS[:50], {})
        store.announce(version)

    assert server.calls[-2:] == ["alias gone", "alias to pinnersage-v2"]
    (alias,) = server.local.get_aliases().aliases
    assert alias.collection_name == "pinnersage-v2"


@pytest.mark.parametrize(
    "progress",
    [
        lambda _looks, count: ("yellow", count),
        lambda _looks, _count: ("green", 0),
        lambda _looks, count: ("green", count - SPARE - 1),
        lambda _looks, count: ("grey", count),
        lambda _looks, count: ("red", count),
    ],
    ids=["yellow", "no graph", "part of it", "grey", "red"],
)
def test_a_server_that_does_not_get_done_never_has_the_version(served, progress):
    store, server = served(time_limit_seconds=0.05)
    store.build("v0", ROWS[:50], VECTORS[:50], {})
    store.announce("v0")
    server.progress = progress
    server.calls.clear()

    with pytest.raises(TransientError, match=r"of 1,200 vectors indexed after 0 s\. Nothing was"):
        store.build("v1", ROWS, VECTORS, {}, CARRIED)

    assert server.calls[-1] == "delete", "what is not whole is not kept"
    assert not any(call.startswith(("metadata", "alias")) for call in server.calls)
    server.progress = slowly
    assert store.versions() == ["v0"]
    (alias,) = server.local.get_aliases().aliases
    assert alias.collection_name == "pinnersage-v0"


def test_what_is_too_small_for_a_graph_is_not_waited_for(served):
    store, _ = served(lambda _looks, count: ("green", max(0, count - SPARE)))

    store.build("v1", ROWS, VECTORS, {})

    assert store.versions() == ["v1"]


def test_points_that_got_lost_on_the_way_are_counted(served, monkeypatch):
    store, server = served()
    upsert = type(server).upsert

    def loses_one(self, name, asked):
        asked.points.pop()
        return upsert(self, name, asked)

    monkeypatch.setattr(type(server), "upsert", loses_one)
    with pytest.raises(TransientError, match="holds 1,198 of 1,200"):
        store.build("v1", ROWS, VECTORS, {})
    assert "m=16" not in server.calls
    assert store.versions() == []


def test_a_search_says_how_it_is_to_be_made(served):
    store, server = served(ef_search=64, full_scan_kb=10, quantisation="int8")
    store.build("v1", ROWS, VECTORS, {}, CARRIED)
    assert "create m=0 int8" in server.calls

    def searched(where, limit=5):
        server.calls.clear()
        reader.search(VECTORS[:3], limit, where=where)
        return server.calls

    reader = store.open("v1")
    assert searched(None) == ["search exact=False ef=64 rescored"]
    assert searched(None, N) == ["search exact=True ef=None rescored"]
    narrow = Filter(fresh_since=date(1972, 12, 1))
    assert searched(narrow) == ["count", "search exact=True ef=None rescored"]
    assert searched(narrow) == ["search exact=True ef=None rescored"], "it was counted"
    assert searched(Filter(topics=("a", "b"))) == ["count", "search exact=False ef=512 rescored"]
    assert searched(Filter(topics=("no such",))) == ["count"]


def test_no_index_is_made_for_what_no_point_carries(served):
    store, server = served()
    store.build("v1", ROWS[:50], VECTORS[:50], {}, Attributes(created=CARRIED.created[:50]))

    assert [call for call in server.calls if call.startswith("index")] == [
        "index created integer hnsw=True"
    ]
