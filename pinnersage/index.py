"""Index: refined pins to a new HNSW index, checked.

Reads ``refined/day=…``; builds a new version in the vector store beside the old ones, measures
recall@50 against exact search at the settings that serving uses, also under filters, and only
above the gate writes ``index/day=…``, which ``release`` asks for. A version is named for its
content: a day whose pins and settings are those of an index that is there already uses it, and
builds nothing. Where few pins changed, the last version is copied and changed (decision 36); should
that one fail the check, it is built whole.
"""

from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from pinnersage.config import IndexConfig, Settings, fingerprint
from pinnersage.errors import DataError
from pinnersage.refine import kept, refine_hash
from pinnersage.release import Releases
from pinnersage.stores import embeddings, open_lake, open_vectors
from pinnersage.stores.embeddings import Embeddings
from pinnersage.stores.filters import EPOCH, UNKNOWN, Attributes, Filter
from pinnersage.stores.lake import Lake, Manifest
from pinnersage.stores.vectors import Gathered, VectorReader, VectorStore
from pinnersage.version import __version__

DEPTH = 50
"""Neighbours that recall is measured over."""
SHARES = (0.5, 0.2, 0.05, 0.01)
"""Of the pins that are let through by the filters that recall is measured under."""
SEED = 20_200_823
"""Of the sample of pins that recall is measured on."""


class IndexReport(BaseModel):
    """What was built."""

    model_config = ConfigDict(frozen=True)

    day: date
    version: str
    pins: int
    recall: float
    filtered: dict[str, float] = {}
    """Recall under filters: by what they ask, and the share of pins that they let through."""
    built: bool
    refreshed: bool
    """Whether it was made from a copy of the last index, by what had changed."""
    embeddings: str


class Wanted(NamedTuple):
    """An index that is to be there."""

    version: str
    rows: npt.NDArray[np.int64]
    attributes: Attributes
    table: Embeddings
    about: dict[str, str]


class Found(NamedTuple):
    """What a check of an index counted and measured."""

    pins: int
    recall: float
    filtered: dict[str, float]

    def passes(self, wanted: Wanted, least: float) -> bool:
        """Whether nothing is missing and every recall is above the gate."""
        return (
            self.pins == wanted.rows.size and min([self.recall, *self.filtered.values()]) >= least
        )


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
    rows, attributes = kept(lake, refined)
    about = {"embeddings": table.version, "refined": refined.ref, "day": day.isoformat()}
    wanted = Wanted(version_of(refined, settings.index), rows, attributes, table, about)
    there = wanted.version in store.versions()
    # One that nobody names was left by a run that was killed before its check.
    named = there and wanted.version in versions_named(lake, settings)
    refreshed = not there and refresh(wanted, store, lake, settings.index)
    found = checked(wanted, store, settings.index, build=not there and not refreshed)
    if (refreshed or there) and not named and not found.passes(wanted, settings.index.min_recall):
        store.drop(wanted.version)
        there = refreshed = False
        found = checked(wanted, store, settings.index, build=True)
    if not found.passes(wanted, settings.index.min_recall):
        if not named:  # one that is named may be live
            store.drop(wanted.version)
        raise DataError(refusal(day, wanted, found, settings.index.min_recall, was_there=named))
    report: dict[str, Any] = {
        "version": wanted.version,
        "pins": int(rows.size),
        "recall": round(found.recall, 4),
        "filtered": {name: round(value, 4) for name, value in found.filtered.items()},
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
            report=report | {"graph": graph_of(settings.index)},
        )
    )
    return IndexReport(day=day, built=not there, refreshed=refreshed, **report)


def versions_named(lake: Lake, settings: Settings) -> set[str]:
    """Return the versions that a day's manifest or a release names: these were checked."""
    manifests = (lake.current("index", day=day) for day in lake.days("index"))
    released = (release.index for release in Releases(settings).all())
    return {str(m.report["version"]) for m in manifests if m} | {i.version for i in released if i}


def refresh(wanted: Wanted, store: VectorStore, lake: Lake, config: IndexConfig) -> bool:
    """Make the index from a copy of the newest of its kind that is there, if little changed."""
    versions, kind = store.versions(), (wanted.table.version, graph_of(config))
    for day in reversed(lake.days("index")):
        known = lake.current("index", day=day)
        report = known.report if known else {}
        if report.get("version") in versions and kind == (
            report["embeddings"],
            report.get("graph"),
        ):
            return store.refresh(
                wanted.version,
                report["version"],
                wanted.rows,
                Gathered(wanted.table.matrix, wanted.rows),
                wanted.about,
                wanted.attributes,
                most=config.max_changed_share,
            )
    return False


def checked(wanted: Wanted, store: VectorStore, config: IndexConfig, *, build: bool) -> Found:
    """Build an index if asked to; count it, and measure its recall, also under filters."""
    if build:
        vectors = Gathered(wanted.table.matrix, wanted.rows)
        store.build(wanted.version, wanted.rows, vectors, wanted.about, wanted.attributes)
    matrix, rows = wanted.table.matrix, wanted.rows
    with store.open(wanted.version) as reader:
        recall = recall_at(reader, matrix, rows, config.recall_queries)
        filtered = {
            name: recall_at(reader, matrix, rows, config.recall_queries, where=where, within=within)
            for name, (where, within) in filters_of(wanted.attributes).items()
        }
        return Found(len(reader), recall, filtered)


def refusal(day: date, wanted: Wanted, found: Found, least: float, *, was_there: bool) -> str:
    """Say why an index is not released."""
    low = [f"{value:.3f} for {name}" for name, value in found.filtered.items() if value < least]
    return (
        f"{day}: the index {wanted.version} holds {found.pins:,} of {wanted.rows.size:,} pins and "
        f"its recall@{DEPTH} is {found.recall:.3f} (limit {least})"
        f"{', under filters ' + ', '.join(low) if low else ''}. "
        f"{'It was there before and is kept' if was_there else 'It was dropped'}; what is live "
        "stays live. Raise index.hnsw_ef_search or hnsw_ef_construct. See runbook: recall."
    )


def version_of(refined: Manifest, config: IndexConfig) -> str:
    """Return the name of the index of these pins under these settings."""
    return fingerprint(refined.content_hash, refined.report["embeddings"], graph_of(config))


def graph_of(config: IndexConfig) -> str:
    """Return what shapes the graph: a copy of another kind cannot become this one."""
    return f"{config.hnsw_m}/{config.hnsw_ef_construct}/{config.quantisation}"


def filters_of(attributes: Attributes) -> dict[str, tuple[Filter, npt.NDArray[np.bool_]]]:
    """Return filters that let through about each of ``SHARES``, as far as pins allow, by name.

    Those for fresh pins, and those for one or more topics, taken by chance: what a filter on
    topics costs depends on where they lie. Beside each, which pins it lets through: bool[n].
    """
    found: dict[str, tuple[Filter, npt.NDArray[np.bool_]]] = {}
    for share in SHARES:
        if attributes.created is not None:
            since = int(np.sort(attributes.created)[int(attributes.created.size * (1 - share))])
            if since != UNKNOWN:
                where = Filter(fresh_since=EPOCH + timedelta(days=since))
                within = attributes.created >= since
                found[f"created {within.mean():.2g}"] = where, within
        if attributes.topic is not None:
            counts = np.bincount(attributes.topic[attributes.topic >= 0])
            order = np.random.default_rng(SEED).permutation(counts.size)
            n = 1 + int(np.searchsorted(np.cumsum(counts[order]), share * attributes.topic.size))
            within = np.isin(attributes.topic, order[:n])
            where = Filter(topics=tuple(attributes.topics[code] for code in order[:n]))
            found[f"topic {within.mean():.2g}"] = where, within
    return found


def recall_at(
    reader: VectorReader,
    matrix: np.ndarray,
    rows: npt.NDArray[np.int64],
    n_queries: int,
    depth: int = DEPTH,
    where: Filter | None = None,
    within: npt.NDArray[np.bool_] | None = None,
) -> float:
    """Return the share of true nearest pins that the index finds, on a sample of its own pins.

    A pin found counts if its cosine is at least that of the last true neighbour: among equals
    any is right. Under a filter only those count that it lets through (``within``, bool[n]).
    """
    rng = np.random.default_rng(SEED)
    sample = np.sort(rng.choice(rows.size, size=min(n_queries, rows.size), replace=False))
    queries = np.asarray(matrix[rows[sample]], dtype=np.float32)
    among = rows if within is None else rows[within]
    depth = min(depth, among.size)
    cutoff = exact_cutoff(queries, matrix, among, depth)
    found = reader.search(queries, depth, where=where)
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
