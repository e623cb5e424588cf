"""Indexing: a day's refine and index as the commands run, and searches under filters.

A tenth of the pins is bad, a tenth are copies of another, each a little off. Pins lie around
topics; their topic is a filter's word, and topics come up and go out of fashion, so that fresh pins
lie in few of them: filters that follow the clusters are the hardest for a graph. *Whole*: a home
without an index. *Refreshed*: the next day, one pin in a hundred became bad. *int8*: the same
index of quantised vectors. Every command is a process of its own, started anew.
"""

import json
import os
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import batches
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from day import timed

from pinnersage import config, init, refine
from pinnersage.config import IndexConfig, RetrievalConfig, SourceConfig
from pinnersage.index import DEPTH, exact_cutoff
from pinnersage.stores import embeddings, open_lake, open_vectors
from pinnersage.stores.filters import EPOCH, Attributes, Filter
from pinnersage.stores.vectors import VectorReader

DAY = date(2026, 1, 1)
NEXT = DAY + timedelta(days=1)
BAD, COPIES, CHANGED = 0.1, 0.1, 0.01
TOPICS = 500
AGES = 1000
"""Days back to the oldest pin."""
SHARES = (0.5, 0.2, 0.1, 0.05, 0.01, 0.001)
QUALITY_OF_A_COPY = 0.5


class Scale(NamedTuple):
    """How much is measured."""

    pins: int
    d: int
    queries: int


SCALES = {
    "tiny": Scale(2_000, 16, 20),
    "quick": Scale(50_000, 128, 200),
    "usual": Scale(200_000, 256, 200),
    "full": Scale(200_000, 256, 1_000),
}


class World(NamedTuple):
    """Pins, and what was planted."""

    table: pa.Table
    vectors: batches.Floats
    copies: np.ndarray
    of: np.ndarray


def measure(name: str) -> dict[str, Any]:
    """Seconds, memory and recall of each way to an index, and of searches under filters."""
    scale = SCALES[name]
    rng = np.random.default_rng(0)
    world = world_of(scale, rng)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        bring(world.table, world.vectors, home, Path(folder), DAY)
        whole = commands(home, DAY, {})
        with reader_of(home, whole["index"]["report"]["version"]) as reader:
            searches = searched(reader, home, scale, rng)
        found = planted(home, world)
        quality = world.table["quality"].to_numpy().copy()
        quality[rng.permutation(scale.pins)[: int(CHANGED * scale.pins)]] = 0.0
        later = world.table.set_column(1, "quality", pa.array(quality))
        bring(later, None, home, Path(folder), NEXT)
        refreshed = commands(home, NEXT, {})
        int8 = commands(home, DAY, {"PINNERSAGE__INDEX__QUANTISATION": "int8"})
        with reader_of(home, int8["index"]["report"]["version"]) as reader:
            int8_search = one_search(reader, home, scale, rng)
    return {
        **scale._asdict(),
        "ef_search": IndexConfig().hnsw_ef_search,
        "bad": BAD,
        "changed": CHANGED,
        "ways": [
            facts_of("whole", whole),
            facts_of("refreshed", refreshed),
            facts_of("int8", int8),
        ],
        "planted": found,
        "searches": searches,
        "int8_search": int8_search,
    }


def world_of(scale: Scale, rng: np.random.Generator) -> World:
    """Pins around topics; some bad, some copies of a better one."""
    n = scale.pins
    topic = rng.integers(TOPICS, size=n)
    copies = rng.permutation(n)[: int(COPIES * n)]
    of = np.arange(n)
    of[copies] = rng.choice(np.setdiff1d(of, copies), copies.size)
    topic = topic[of]
    centers = batches.directions(TOPICS, scale.d, rng)[topic]
    vectors = batches.unit(centers + 0.7 * batches.directions(n, scale.d, rng))
    off = rng.uniform(0, 0.2, (copies.size, 1)).astype(np.float32)
    noise = batches.directions(copies.size, scale.d, rng)
    vectors[copies] = batches.unit(vectors[of[copies]] + off * noise)
    quality = rng.uniform(QUALITY_OF_A_COPY, 1, n)
    quality[copies] = QUALITY_OF_A_COPY - 0.1
    others = np.setdiff1d(np.arange(n), np.concatenate([copies, of[copies]]))
    quality[rng.permutation(others)[: int(BAD * n)]] = 0.1
    age = topic * AGES // TOPICS + rng.integers(30, size=n)
    made = np.array([DAY], "datetime64[us]")[0] - age.astype("timedelta64[D]")
    table = pa.table(
        {
            "pin_id": np.arange(n),
            "quality": quality,
            "created_at": pa.array(made).cast(pa.timestamp("us", "UTC")),
            "topic": pa.array([f"topic {code}" for code in topic]),
        }
    )
    return World(table, vectors, copies, of)


def bring(
    table: pa.Table, vectors: batches.Floats | None, home: Path, folder: Path, day: date
) -> None:
    """Bring pins into the home, valid from a day on."""
    actions = folder / "actions.parquet"
    at = pa.array([0]).cast(pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"user_id": [1], "pin_id": [1], "action": ["repin"], "acted_at": at}),
                   actions)  # fmt: skip
    pq.write_table(table, folder / "pins.parquet")
    if vectors is not None:
        np.save(folder / "vectors.npy", vectors)
    items = init.Items(
        path=str(folder / "pins.parquet"), quality="quality", created_at="created_at",
        topic="topic", embeddings=str(folder / "vectors.npy") if vectors is not None else "",
    )  # fmt: skip
    init.run(home, SourceConfig(actions=str(actions)), items, valid_from=day)


def commands(home: Path, day: date, settings: dict[str, str]) -> dict[str, Any]:
    """Run refine and index for a day."""
    environment = {**os.environ, "PINNERSAGE_HOME": str(home), **settings}
    return {
        step: timed([step, "--day", day.isoformat()], environment) for step in ("refine", "index")
    }


def facts_of(name: str, steps: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of one way."""
    report = steps["index"]["report"]
    if report["refreshed"] != (name == "refreshed"):
        sys.exit(f"The index {name} was not made so.")
    return {
        "name": name,
        "pins": report["pins"],
        "refine_seconds": steps["refine"]["seconds"],
        "index_seconds": steps["index"]["seconds"],
        "index_cpu_seconds": steps["index"]["cpu_seconds"],
        "peak_anonymous_mb": max(step["peak_anonymous_mb"] for step in steps.values()),
        "recall_at_50": report["recall"],
        "least_filtered_recall": min(report["filtered"].values()),
    }


def planted(home: Path, world: World) -> dict[str, Any]:
    """How many planted copies were dropped, and how many drops were of a planted pair."""
    lake = open_lake(config.load(home))
    (path,) = lake.paths(lake.require("refined", "refine", day=DAY))
    rows = pq.read_table(path, columns=["pin_id", "reason", "representative"]).to_pydict()
    pairs = zip(rows["pin_id"], rows["reason"], rows["representative"], strict=True)
    dropped = {pin: better for pin, reason, better in pairs if reason == "near_duplicate"}
    right = sum(world.of[pin] == world.of[better] for pin, better in dropped.items())
    return {
        "copies": int(world.copies.size),
        "dropped": len(dropped),
        "recall": round(
            sum(pin in dropped for pin in world.copies.tolist()) / world.copies.size, 5
        ),
        "precision": round(right / len(dropped), 5),
    }


def reader_of(home: Path, version: str) -> VectorReader:
    """Open an index."""
    return open_vectors(config.load(home)).open(version)


def kept_of(home: Path) -> tuple[np.ndarray, np.ndarray, Attributes]:
    """Return the matrix, and rows and attributes of the pins that were kept."""
    lake = open_lake(config.load(home))
    manifest = lake.require("refined", "refine", day=DAY)
    rows, attributes = refine.kept(lake, manifest)
    return embeddings.named(lake, manifest.report["embeddings"]).matrix, rows, attributes


def searched(
    reader: VectorReader, home: Path, scale: Scale, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Recall and milliseconds of a search, without a filter and by share that one lets through."""
    _, _, attributes = kept_of(home)
    assert attributes.created is not None  # noqa: S101
    assert attributes.topic is not None  # noqa: S101
    found = [{"filter": "none", "share": 1.0} | one_search(reader, home, scale, rng)]
    for share in SHARES:
        since = int(np.quantile(attributes.created, 1 - share, method="lower"))
        names = tuple(rng.permutation(attributes.topics)[: max(1, round(share * TOPICS))].tolist())
        for kind, where in (
            ("created", Filter(fresh_since=EPOCH + timedelta(days=since))),
            ("topic", Filter(topics=names)),
        ):
            codes = [attributes.topics.index(name) for name in where.topics]
            within = (
                attributes.created >= since
                if kind == "created"
                else np.isin(attributes.topic, codes)
            )
            facts = one_search(reader, home, scale, rng, where, within)
            found.append({"filter": kind, "share": round(float(within.mean()), 4)} | facts)
    return found


def one_search(
    reader: VectorReader,
    home: Path,
    scale: Scale,
    rng: np.random.Generator,
    where: Filter | None = None,
    within: np.ndarray | None = None,
) -> dict[str, Any]:
    """Recall at 50 and at the depth of serving, and milliseconds, of searches as in serving."""
    matrix, rows, _ = kept_of(home)
    among = rows if within is None else rows[within]
    asked = rng.choice(rows, min(scale.queries, rows.size), replace=False)
    queries = np.asarray(matrix[asked], np.float32)
    depth = RetrievalConfig().n_candidates + 1
    answers, times = [], []
    for query in queries:
        began = time.perf_counter()
        answers.append(reader.search(query[None], depth, where=where).cosines[0])
        times.append((time.perf_counter() - began) * 1e3)
    cosines = np.stack(answers)
    recalls = []
    for k in (DEPTH, depth):
        k_ = min(k, among.size)
        cutoff = exact_cutoff(queries, matrix, among, k_)
        recalls.append(float((cosines[:, :k_] >= cutoff[:, None] - 1e-5).mean()))
    return {
        "recall_at_50": round(recalls[0], 4),
        "recall_at_depth": round(recalls[1], 4),
        "p50_ms": float(f"{np.quantile(times, 0.5):.4g}"),
        "p99_ms": float(f"{np.quantile(times, 0.99):.4g}"),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
