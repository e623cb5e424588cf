"""Retrieval: candidates for a user from the live release, in this process, cold and remembered.

Pins lie around topics and are indexed by qdrant-edge as the daily job does it. A request samples
three of a user's medoids by importance and merges 400 candidates. *Cold*: nothing is remembered,
every medoid is searched for. *Remembered*: all are known. *Stream*: one memory, and users who
come by Zipf's law and like popular pins.
"""

import json
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import batches
import numpy as np
import pyarrow as pa
import timing
from threadpoolctl import threadpool_limits

from pinnersage import erased, near_duplicates, takedown
from pinnersage.config import build
from pinnersage.index import recall_at
from pinnersage.online.latest import Latest
from pinnersage.release import Index, Medoids, Release
from pinnersage.retrieve import Context, Reader
from pinnersage.stores import open_states
from pinnersage.stores.edge import EdgeStore
from pinnersage.stores.embeddings import Embeddings
from pinnersage.stores.folder import Folder
from pinnersage.stores.lmdb_store import LmdbStore
from pinnersage.stores.neighbours import Memory
from pinnersage.stores.packing import Profile, key_of, pack

D, MEDOIDS, TOPICS = 256, 10, 500
DAY = date(2026, 1, 1)
ZIPF, THRESHOLD = 1.1, 0.97


class Scale(NamedTuple):
    """How much is measured."""

    pins: int
    users: int
    requests: int


SCALES = {
    "tiny": Scale(1_000, 50, 20),
    "quick": Scale(50_000, 2_000, 1_000),
    "usual": Scale(200_000, 10_000, 3_000),
    "full": Scale(200_000, 10_000, 10_000),
}


def measure(name: str) -> dict[str, Any]:
    """Times of a request in milliseconds, and what the index is."""
    scale = SCALES[name]
    rng = np.random.default_rng(0)
    matrix = pins(scale.pins, rng)
    copies = duplicates(matrix, rng)
    rows = np.arange(scale.pins)
    with tempfile.TemporaryDirectory() as folder:
        settings = build(Path(folder), {"retrieval": {"allocation": "equal"}})
        graph = settings.index
        vectors = EdgeStore(Path(folder) / "vectors", m=graph.hnsw_m,
                            ef_construct=graph.hnsw_ef_construct,
                            ef_search=graph.hnsw_ef_search)  # fmt: skip
        built = timing.cost(lambda: vectors.build("i", rows, matrix, {}))
        profiles = LmdbStore(Path(folder) / "profiles")
        profiles.write("p", users(scale, rng), {})
        with vectors.open("i") as index, profiles.open("p") as users_:
            table = Embeddings("e", DAY, matrix, pa.array(rows), Path(folder), "e")
            record = Folder(Path(folder))
            context = Context(
                Memory(scale.pins), takedown.Watch(record), erased.Watch(record),
                Latest(lambda: open_states(settings)),
            )  # fmt: skip
            reader = Reader(release(), users_, table, index, settings, context)
            facts = times(reader, scale, rng)
            recall = recall_at(index, matrix, rows, min(200, scale.pins))
    return {
        "pins": scale.pins,
        "d": D,
        "users": scale.users,
        "requests": scale.requests,
        "medoids_a_request": settings.retrieval.n_medoids,
        "candidates": settings.retrieval.n_candidates,
        "ef_search": graph.hnsw_ef_search,
        "recall_at_50": round(recall, 4),
        "build_wall_seconds": round(built.wall, 1),
        "duplicates": copies,
        **facts,
    }


def pins(n: int, rng: np.random.Generator) -> batches.Floats:
    """Unit vectors around topics."""
    centers = batches.directions(TOPICS, D, rng)[rng.integers(TOPICS, size=n)]
    return batches.unit(centers + 0.7 * batches.directions(n, D, rng))


def duplicates(matrix: batches.Floats, rng: np.random.Generator) -> dict[str, Any]:
    """How many planted pairs lose one of the two, how many drops are of a pair, and how fast.

    A fifth of the pins is replaced by others, each a little off; cosines from 0.975 on.
    """
    n = len(matrix)
    copies = rng.permutation(n)[: n // 5]
    of = np.arange(n)
    of[copies] = rng.choice(np.setdiff1d(of, copies), copies.size)
    noise = batches.directions(copies.size, D, rng)
    off = rng.uniform(0, 0.22, (copies.size, 1)).astype(np.float32)
    planted = matrix.copy()
    planted[copies] = batches.unit(matrix[of[copies]] + off * noise)
    order = rng.permutation(n)
    found = []
    with threadpool_limits(1, user_api="blas"):
        spent = timing.cost(
            lambda: found.append(near_duplicates.leaders(planted, order, THRESHOLD))
        )
    leader = found[0][0]
    dropped = leader >= 0
    right = of[order[dropped]] == of[order[leader[dropped]]]
    gone = np.zeros(n, bool)
    gone[order[dropped]] = True
    return {
        "planted": int(copies.size),
        "found": int(dropped.sum()),
        "recall": round(float((gone[copies] | gone[of[copies]]).mean()), 5),
        "precision": round(float(right.mean()), 5) if right.size else 1.0,
        "wall_seconds": round(spent.wall, 1),
    }


def users(scale: Scale, rng: np.random.Generator) -> Any:
    """Keys and packed profiles: popular pins are many users' medoids."""
    for user in range(scale.users):
        popular = np.unique(rng.zipf(ZIPF, 4 * MEDOIDS) % scale.pins)[:MEDOIDS]
        k = popular.size
        yield (
            key_of(user),
            pack(
                Profile(
                    popular.astype(np.int64),
                    np.sort(rng.exponential(size=k))[::-1] + 1e-3,
                    np.ones(k, np.uint32),
                    np.zeros(k, np.float32),
                    np.zeros(k, np.int64),
                )
            ),
        )


def release() -> Release:
    """A release that names the two stores."""
    medoids = Medoids(day=DAY, manifest="m", keyvalue="p", embeddings="e")
    index = Index(day=DAY, version="i", embeddings="e")
    return Release(number=1, medoids=medoids, index=index, previous=None)


def times(reader: Reader, scale: Scale, rng: np.random.Generator) -> dict[str, Any]:
    """Milliseconds of requests of the three kinds."""
    some = rng.integers(scale.users, size=scale.requests)
    stream = rng.zipf(ZIPF, scale.requests) % scale.users
    for user in some[:20]:
        reader.recommend(int(user))
    cold = []
    for user in some:
        reader.neighbours = Memory(scale.pins)
        cold.append(milliseconds(reader, int(user), 0))
    reader.neighbours = Memory(scale.pins)
    for user in some:
        reader.recommend(int(user))
    remembered = [milliseconds(reader, int(user), 0) for user in some]
    reader.neighbours = Memory(scale.pins)
    draws = rng.integers(1000, size=scale.requests)
    streamed = [
        milliseconds(reader, int(user), int(draw)) for user, draw in zip(stream, draws, strict=True)
    ]
    return {
        "cold_ms": quantiles(cold),
        "remembered_ms": quantiles(remembered),
        "stream_ms": quantiles(streamed),
        "stream_hit_rate": round(reader.neighbours.counts.hit_rate, 3),
    }


def milliseconds(reader: Reader, user: int, draw: int) -> float:
    """Wall time of one request."""
    began = time.perf_counter()
    reader.recommend(user, draw=draw)
    return (time.perf_counter() - began) * 1e3


def quantiles(values: list[float]) -> dict[str, float]:
    """Median and what 99 of 100 are below."""
    return {
        name: float(f"{np.quantile(values, q):.4g}") for name, q in (("p50", 0.5), ("p99", 0.99))
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
