"""Costs: Table 2 of the paper on this machine, as CPU time a request at equal recall.

One stream of requests is answered in several ways, each with one more of the paper's techniques:

1. the centroids of a user's clusters, searched for by LSH among all pins;
2. the same by HNSW;
3. by HNSW among refined pins alone, so that none has to be dropped afterwards;
4. medoids in place of centroids, and what was found for them remembered.

In every way a query's answer is the nearest of the pins that refine keeps, as many as a request's
share: a step saves work and does not change what is asked for. Each way is tuned to find as much as
the others (``tune``), and its recall is that on further requests.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import batches
import corpus
import numpy as np
import searches
import timing
import tune
from corpus import COPIES, LOW_QUALITY, Corpus, D, People, Requests
from searches import Asked, Search

from pinnersage.allocate import merged
from pinnersage.config import IndexConfig, RetrievalConfig
from pinnersage.stores.edge import EdgeReader, EdgeStore
from pinnersage.stores.neighbours import Counts, Memory

CONFIG = RetrievalConfig(allocation="equal")
EACH = CONFIG.n_candidates // CONFIG.n_medoids
"""Candidates that a query brings."""
STEPS = {"LSH → HNSW": 0.4, "full → refined index": 0.5, "centroid → medoid, remembered": 0.25}
"""What each step leaves of the cost by the paper's Table 2."""


class Scale(NamedTuple):
    """How much is measured."""

    pins: int
    users: int
    trials: int
    """Requests to tune on; as many others are judged."""
    before: int
    """Requests that memories have seen when the clock starts."""
    requests: int
    """A round."""
    rounds: int


SCALES = {
    "tiny": Scale(2_000, 100, 5, 20, 5, 1),
    "quick": Scale(20_000, 10_000, 20, 1_000, 100, 3),
    "usual": Scale(50_000, 25_000, 30, 5_000, 200, 5),
    "full": Scale(200_000, 100_000, 50, 20_000, 200, 7),
}


class World(NamedTuple):
    """Pins, which of them refine keeps, and who asks."""

    pins: Corpus
    kept: np.ndarray
    known: People


class Way(NamedTuple):
    """A way of answering."""

    name: str
    kind: str
    """What is asked for: ``centroids`` or ``medoids``."""
    search: Search
    how: dict[str, Any]
    """As it was tuned."""
    memory: Memory | None = None


def measure(name: str) -> dict[str, Any]:
    """What each way costs, and what each step leaves of it."""
    scale, load = SCALES[name], os.getloadavg()[0]
    rng = np.random.default_rng(0)
    pins = corpus.pins(scale.pins, rng)
    world = World(pins, corpus.worth_indexing(pins), corpus.people(pins, scale.users, rng))
    rows, settings = np.arange(scale.pins), IndexConfig()
    with tempfile.TemporaryDirectory() as folder:
        store = EdgeStore(Path(folder), m=settings.hnsw_m,
                          ef_construct=settings.hnsw_ef_construct)  # fmt: skip
        store.build("all", rows, pins.matrix, {})
        store.build("refined", rows[world.kept], pins.matrix[world.kept], {})
        with store.open("all") as full, store.open("refined") as refined:
            ways, table_bytes = tuned(world, full, refined, scale, rng)
            facts = compared(world, ways, scale, rng)
        megabytes = {
            "vectors of all pins": round(pins.matrix.nbytes / 1e6),
            "LSH tables beside them": round(table_bytes / 1e6),
            "HNSW of all pins, with vectors": on_disk(Path(folder) / "all"),
            "HNSW of refined pins, with vectors": on_disk(Path(folder) / "refined"),
        }
    return {
        "pins": scale.pins,
        "d": D,
        "low_quality": LOW_QUALITY,
        "copies": COPIES,
        "refined": int(world.kept.sum()),
        "users": scale.users,
        "queries_a_request": CONFIG.n_medoids,
        "candidates_a_query": EACH,
        "recall_aimed_for": tune.RECALL,
        "requests": scale.requests,
        "rounds": scale.rounds,
        "requests_before": scale.before,
        "load_at_start": round(load, 1),
        "megabytes": megabytes,
        **facts,
    }


def on_disk(folder: Path) -> int:
    """Megabytes that the files of a folder take."""
    return round(sum(one.stat().st_blocks * 512 for one in folder.rglob("*")) / 1e6)


# --- requests ------------------------------------------------------------------------------------


def medoids(world: World, some: Requests) -> list[Asked]:
    """The sampled clusters of each request, by their medoids."""
    rows = world.known.medoids[some.users[:, None], some.clusters]
    return [Asked(world.pins.matrix[own], own.tolist(), own) for own in rows]


def centroids(world: World, some: Requests) -> list[Asked]:
    """The same by their centroids, which no two users share."""
    members = world.known.members[some.users[:, None], some.clusters]
    keys = some.users[:, None] * world.known.medoids.shape[1] + some.clusters
    no_pin = np.full(keys.shape[1], -1)
    return [
        Asked(batches.unit(world.pins.matrix[rows].mean(axis=1)), names.tolist(), no_pin)
        for rows, names in zip(members, keys, strict=True)
    ]


KINDS = {"centroids": centroids, "medoids": medoids}


def stream(world: World, n: int, rng: np.random.Generator) -> dict[str, list[Asked]]:
    """The next ``n`` requests, by what is asked for."""
    some = corpus.requests(world.known, n, CONFIG.n_medoids, rng)
    return {kind: queries(world, some) for kind, queries in KINDS.items()}


def trials(world: World, n: int, rng: np.random.Generator) -> dict[str, tune.Trial]:
    """Requests with what is right for them."""
    right = searches.exact(world.pins.matrix, world.kept, EACH)
    asked = stream(world, n, rng)
    return {kind: tune.Trial(ones, [right(one) for one in ones]) for kind, ones in asked.items()}


# --- ways ----------------------------------------------------------------------------------------


def tuned(
    world: World, full: EdgeReader, refined: EdgeReader, scale: Scale, rng: np.random.Generator
) -> tuple[list[Way], int]:
    """Every way: the four of the table, then others beside them; and the bytes of LSH's tables."""
    trial = trials(world, scale.trials, rng)
    matrix, kept = world.pins.matrix, world.kept
    lsh, table_bytes = tune.lsh(matrix, kept, EACH, trial["centroids"], rng)
    of_all = tune.hnsw_of_all(full, kept, EACH, trial["centroids"])
    centroid = tune.hnsw(refined, EACH, trial["centroids"])
    medoid = tune.hnsw(refined, EACH, trial["medoids"])
    large, small = scale.pins // 10, scale.pins // 100

    def remembered(kind: str, found: tune.Tuned, size: int) -> Way:
        memory = Memory(size)
        search = searches.remembering(found.search, memory, EACH)
        return Way(f"HNSW, refined, {kind}, {size:,} remembered", kind, search, found.how, memory)

    return [
        Way("LSH, all pins, centroids", "centroids", lsh.search, lsh.how),
        Way("HNSW, all pins, centroids", "centroids", of_all.search, of_all.how),
        Way("HNSW, refined, centroids", "centroids", centroid.search, centroid.how),
        remembered("medoids", medoid, large),
        remembered("medoids", medoid, small),
        Way("HNSW, refined, medoids", "medoids", medoid.search, medoid.how),
        remembered("centroids", centroid, large),
        Way("all compared, refined, centroids", "centroids",
            searches.exact(matrix, kept, EACH), {}),
    ], table_bytes  # fmt: skip


# --- what they cost ------------------------------------------------------------------------------


def compared(
    world: World, ways: list[Way], scale: Scale, rng: np.random.Generator
) -> dict[str, Any]:
    """Recall of every way, and its cost on the same rounds of the stream."""
    trial = trials(world, scale.trials, rng)
    recalls = {way.name: trial[way.kind].recall(way.search) for way in ways}
    before = stream(world, scale.before, rng)
    for way in ways:
        if way.memory is not None:
            for one in before[way.kind]:
                way.search(one)
            way.memory.counts = Counts()
    counts: dict[str, list[int]] = {way.name: [] for way in ways}
    rounds = timing.compete(
        {way.name: answering(way, counts[way.name]) for way in ways},
        lambda seed: stream(world, scale.requests, np.random.default_rng([1, seed])),
        scale.rounds,
    )
    ladder = [way.name for way in ways[: len(STEPS) + 1]]
    return {
        "ways": [
            {
                "name": way.name,
                "cpu_ms": a_request([one.costs[way.name].cpu for one in rounds], scale),
                "wall_ms": a_request([one.costs[way.name].wall for one in rounds], scale),
                "recall": round(recalls[way.name], 4),
                "candidates": round(float(np.mean(counts[way.name])), 1),
                "hit_rate": round(way.memory.counts.hit_rate, 3) if way.memory else None,
                "how": way.how,
            }
            for way in ways
        ],
        "steps": [
            {"name": name, "paper": paper, "left": left(rounds, *pair)}
            for (name, paper), pair in zip(STEPS.items(), pairwise(ladder), strict=True)
        ],
        "all_steps": {
            "paper": round(float(np.prod(list(STEPS.values()))), 4),
            "left": left(rounds, ladder[0], ladder[-1]),
        },
    }


def answering(way: Way, counts: list[int]) -> Callable[[dict[str, list[Asked]]], None]:
    """What answers a round's requests, candidates merged, and notes how many each had."""

    def answer(asked: dict[str, list[Asked]]) -> None:
        for one in asked[way.kind]:
            near = way.search(one)
            counts.append(len(merged(near, [EACH] * len(near))))

    return answer


def a_request(seconds: list[float], scale: Scale) -> dict[str, float]:
    """Milliseconds a request of the rounds' seconds."""
    return timing.spread([1000 * one / scale.requests for one in seconds])


def left(rounds: list[timing.Round], before: str, after: str) -> dict[str, float]:
    """CPU time of a way, against that of another in the same round."""
    return timing.spread([one.costs[after].cpu / one.costs[before].cpu for one in rounds])


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
