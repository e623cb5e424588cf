"""Index: refined pins to a new HNSW index, checked.

Reads ``refined/day=…``; builds a new version in the vector store beside the old ones, measures
recall@50 against exact search at the settings that serving uses, and only above the gate writes
``index/day=…``, which ``release`` asks for. A version is named for its content: a day whose pins
and settings are those of an index that is there already uses it, and builds nothing.
"""

from datetime import date

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from pinnersage.config import IndexConfig, Settings, fingerprint
from pinnersage.errors import DataError
from pinnersage.refine import kept_rows, refine_hash
from pinnersage.stores import embeddings, open_lake, open_vectors
from pinnersage.stores.lake import Manifest
from pinnersage.stores.vectors import VectorReader
from pinnersage.version import __version__

DEPTH = 50
"""Neighbours that recall is measured over."""
SEED = 20_200_823
"""Of the sample of pins that recall is measured on."""


class IndexReport(BaseModel):
    """What was built."""

    model_config = ConfigDict(frozen=True)

    day: date
    version: str
    pins: int
    recall: float
    built: bool
    embeddings: str


def run(day: date, settings: Settings) -> IndexReport:
    """Build and check the index of ``day``, unless the same one is there."""
    lake = open_lake(settings)
    refined = lake.require("refined", f"pinnersage refine --day {day}", day=day)
    if refined.settings_hash != refine_hash(settings.index):
        raise DataError(
            f"{day} was refined with other settings than those in force. "
            f"Run: pinnersage refine --day {day}"
        )
    table = embeddings.named(lake, refined.report["embeddings"])
    store = open_vectors(settings)
    version = version_of(refined, settings.index)
    rows = kept_rows(lake, refined)
    built = version not in store.versions()
    if built:
        about = {"embeddings": table.version, "refined": refined.ref, "day": day.isoformat()}
        store.build(version, rows, table.matrix[rows], about)
    with store.open(version) as reader:
        counted = len(reader)
        recall = recall_at(reader, table.matrix, rows, settings.index.recall_queries)
    if counted != rows.size or recall < settings.index.min_recall:
        if built:  # one that was there before may be live
            store.drop(version)
        raise DataError(
            f"{day}: the index {version} holds {counted:,} of {rows.size:,} pins and its "
            f"recall@{DEPTH} is {recall:.3f} (limit {settings.index.min_recall}). "
            f"{'It was dropped' if built else 'It was there before and is kept'}; what is live "
            "stays live. Raise index.hnsw_ef_search or hnsw_ef_construct. See runbook: recall."
        )
    report = {
        "version": version,
        "pins": int(rows.size),
        "recall": round(recall, 4),
        "embeddings": table.version,
    }
    lake.commit(
        Manifest(
            table="index",
            partition={"day": day.isoformat()},
            rows=int(rows.size),
            content_hash=refined.content_hash,
            settings_hash=fingerprint(settings.index),
            code_version=__version__,
            reads=(refined.ref, table.ref),
            report=report,
        )
    )
    return IndexReport(day=day, built=built, **report)


def version_of(refined: Manifest, config: IndexConfig) -> str:
    """Return the name of the index of these pins under these settings."""
    graph = f"{config.hnsw_m}/{config.hnsw_ef_construct}"
    return fingerprint(refined.content_hash, refined.report["embeddings"], graph)


def recall_at(
    reader: VectorReader,
    matrix: np.ndarray,
    rows: npt.NDArray[np.int64],
    n_queries: int,
    depth: int = DEPTH,
) -> float:
    """Return the share of true nearest pins that the index finds, on a sample of its own pins.

    A pin found counts if its cosine is at least that of the last true neighbour: among equals
    any is right.
    """
    depth = min(depth, rows.size)
    rng = np.random.default_rng(SEED)
    sample = np.sort(rng.choice(rows.size, size=min(n_queries, rows.size), replace=False))
    queries = np.asarray(matrix[rows[sample]], dtype=np.float32)
    cutoff = exact_cutoff(queries, matrix, rows, depth)
    found = reader.search(queries, depth)
    return float((found.cosines >= cutoff[:, None] - 1e-5).mean())


def exact_cutoff(
    queries: npt.NDArray[np.float32], matrix: np.ndarray, rows: npt.NDArray[np.int64], depth: int
) -> npt.NDArray[np.float32]:
    """Return the cosine of each query's ``depth``-th nearest pin, by exact search in blocks."""
    best = np.full((len(queries), depth), -np.inf, dtype=np.float32)
    for start in range(0, rows.size, 65_536):
        block = np.asarray(matrix[rows[start : start + 65_536]], dtype=np.float32)
        both = np.concatenate([best, queries @ block.T], axis=1)
        best = -np.partition(-both, depth - 1, axis=1)[:, :depth]
    cutoff: npt.NDArray[np.float32] = best.min(axis=1)
    return cutoff
