"""Edge: Qdrant's own HNSW engine in this process, a directory a version.

The engine holds Python's global lock while it builds, and a full disk under its memory maps is
a signal, not an exception. So a child process builds (``edge_build``), fed through a pipe; what
kills it leaves this process, and everything that readers see, as it was. A version that differs
little from another is made from a copy of its directory (decision 36).

Opening a version replaces its two small files of settings by equal ones, so a reader needs the
right to write in the directory. Several processes may read one version: its data files never
change. To use more cores, use more processes.
"""

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qdrant_edge import (
    CountRequest,
    EdgeShard,
    FieldCondition,
    HasIdCondition,
    MatchAny,
    QuantizationSearchParams,
    Query,
    RangeFloat,
    ScrollRequest,
    SearchParams,
    SearchRequest,
)
from qdrant_edge import Filter as EdgeFilter

from pinnersage.errors import DataError
from pinnersage.stores.disk import disk_errors
from pinnersage.stores.edge_feed import NO_ROWS, SHARD, Points, build
from pinnersage.stores.filters import (
    CREATED,
    NOTHING,
    TOPIC,
    UNKNOWN,
    Attributes,
    Filter,
    check_filter,
    differences,
)
from pinnersage.stores.vectors import (
    OVERSAMPLING,
    Gathered,
    Neighbours,
    Quantisation,
    VectorReader,
    Vectors,
    arrange,
    check_queries,
    check_shapes,
    planned,
    scanned_kb,
)
from pinnersage.stores.versions import Shelf

_PAGE = 4096
_FILTERS = 1000
"""Filters whose counts a reader remembers."""


log = logging.getLogger(__name__)


class EdgeStore:
    """Versions as directories under ``root``.

    Parameters
    ----------
    m, ef_construct : int
        Edges a node, and candidates while building: more finds more, costs memory and time.
    ef_search : int
        Candidates of a search that does not say.
    full_scan_kb : int
        Up to this many kB of vectors, or a quarter of the version's if that is more, a search
        compares with all: it is exact and as fast.
    quantisation : {"none", "int8"}
        ``int8``: the graph is walked on vectors of a byte a number; what is found is then
        compared in full.
    """

    def __init__(
        self,
        root: Path,
        *,
        m: int = 16,
        ef_construct: int = 128,
        ef_search: int = 128,
        full_scan_kb: int = 1000,
        quantisation: Quantisation = "none",
    ) -> None:
        self._shelf = Shelf(root)
        self._graph = {"m": m, "ef_construct": ef_construct, "quantisation": quantisation}
        self._ef_search, self._full_scan_kb = ef_search, full_scan_kb

    def build(
        self,
        version: str,
        rows: npt.NDArray[np.int64],
        vectors: Vectors,
        about: Mapping[str, object],
        attributes: Attributes = NOTHING,
    ) -> None:
        """See ``VectorStore``; a full disk or a killed builder is a ``TransientError``."""
        if version in self._shelf:
            return
        check_shapes(version, rows, vectors, attributes)
        n, dimensions = vectors.shape
        facts = {
            "count": n,
            "dimensions": dimensions,
            "filters": attributes.names,
            "full_scan_kb": scanned_kb(self._full_scan_kb, n, dimensions),
            **self._graph,
        }
        with self._shelf.aside() as aside:
            build(aside, version, NO_ROWS, Points(rows, vectors, attributes), facts)
            self._shelf.finish(aside, version, {**facts, "about": dict(about)})

    def refresh(
        self,
        version: str,
        base: str,
        rows: npt.NDArray[np.int64],
        vectors: Vectors,
        about: Mapping[str, object],
        attributes: Attributes = NOTHING,
        *,
        most: float,
    ) -> bool:
        """See ``VectorStore``; also built whole: another graph, quantisation, or twice the size.

        So is one whose base is damaged, or is removed meanwhile: the next day must not wait for it.
        """
        if version in self._shelf:
            return True
        check_shapes(version, rows, vectors, attributes)
        try:
            return self._refreshed(version, base, rows, vectors, about, attributes, most)
        except (DataError, FileNotFoundError) as error:
            log.warning("%s cannot be made from %s, and is built whole: %s", version, base, error)
            return False

    def _refreshed(
        self,
        version: str,
        base: str,
        rows: npt.NDArray[np.int64],
        vectors: Vectors,
        about: Mapping[str, object],
        attributes: Attributes,
        most: float,
    ) -> bool:
        facts = self._shelf.facts(base)
        same = {"filters": attributes.names, "dimensions": vectors.shape[1], **self._graph}
        if {name: facts.get(name) for name in same} != same:
            return False
        with self.open(base) as reader:
            known_rows, known = reader.points()
        gone, new = differences(known_rows, known, rows, attributes)
        if gone.size + new.size > most * len(rows):
            return False
        scanned = scanned_kb(self._full_scan_kb, len(rows), vectors.shape[1])
        if not scanned / 2 <= facts["full_scan_kb"] <= scanned * 2:  # the copy keeps its own
            return False
        facts |= {"count": len(rows), "about": dict(about)}
        sent = Points(rows[new], Gathered(vectors, new), attributes.part(new))
        with self._shelf.aside() as aside:
            with disk_errors(aside.path):
                copy_shard(self._shelf.path(base) / SHARD, aside.path / SHARD)
            build(aside, version, gone, sent, facts)
            self._shelf.finish(aside, version, facts)
        return True

    def open(self, version: str) -> "EdgeReader":
        """See ``VectorStore``."""
        facts = self._shelf.facts(version)
        return EdgeReader(self._shelf.path(version) / SHARD, facts, self._ef_search)

    def versions(self) -> list[str]:
        """See ``VectorStore``."""
        return self._shelf.names()

    def announce(self, version: str) -> None:
        """See ``VectorStore``: a directory has no second name, the release alone says it."""
        self._shelf.path(version)

    def drop(self, version: str) -> None:
        """See ``VectorStore``; readers that are open go on searching."""
        self._shelf.drop(version)


def copy_shard(source: Path, target: Path) -> None:
    """Copy a version's files; the first that cannot be is an error of its own.

    Whoever opens the version meanwhile replaces its small files of settings, through others that
    are gone at once: those are left out.
    """
    for folder, _, names in os.walk(source):
        there = target / Path(folder).relative_to(source)
        there.mkdir(parents=True)
        for name in names:
            if not name.startswith(".atomicwrite"):
                shutil.copy2(Path(folder) / name, there / name)


class EdgeReader(VectorReader):
    """One version, memory-mapped."""

    _inherited: list[Any] = []  # noqa: RUF012, shards of the parent: to close them is its work

    def __init__(self, path: Path, facts: dict[str, Any], ef_search: int) -> None:
        self.about: dict[str, Any] = facts["about"]
        self.dimensions: int = facts["dimensions"]
        self.filters: list[str] = facts.get("filters", [])
        self._path, self._count, self._ef = path, int(facts["count"]), ef_search
        self._full_scan_kb: int = facts["full_scan_kb"]
        self._rescored = None
        if facts.get("quantisation") == "int8":
            self._rescored = QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
        self._matching: dict[Filter, int] = {}
        self._closed = False
        self._load()

    def search(
        self,
        queries: npt.NDArray[np.float32],
        limit: int,
        *,
        ef: int | None = None,
        where: Filter | None = None,
    ) -> Neighbours:
        """See ``VectorReader``."""
        shard = self._opened()
        queries = check_queries(queries, limit, self.dimensions)
        check_filter(where, self.filters, self._path.parent)
        matching = self._count if where is None else self._counted(where)
        plan = planned(
            limit, ef or self._ef, matching, self, self._full_scan_kb, filtered=where is not None
        )
        if not plan.due:
            return arrange([([], [])] * len(queries), limit)
        way = SearchParams(hnsw_ef=plan.ef, exact=plan.exact, quantization=self._rescored)
        condition = None if where is None else _condition(where)

        def ask(query: npt.NDArray[np.float32], how: SearchParams) -> list[Any]:
            vector: Any = query  # the engine takes an array; its stubs know of lists only
            points: list[Any] = shard.search(
                SearchRequest(Query.Nearest(vector), plan.due, filter=condition, params=how)
            )
            return points

        found = []
        for query in queries:
            points = ask(query, way)
            # A walk over the graph misses points that it cannot reach, and may then find too few.
            if len(points) < plan.due:
                points = ask(query, SearchParams(exact=True))
            found.append(([point.id for point in points], [point.score for point in points]))
        return arrange(found, limit)

    def holds(
        self, rows: npt.NDArray[np.int64], where: Filter | None = None
    ) -> npt.NDArray[np.bool_]:
        """See ``VectorReader``."""
        check_filter(where, self.filters, self._path.parent)
        asked = np.unique(rows[rows >= 0]).tolist()
        among = EdgeFilter(must=[HasIdCondition(set(asked)), _condition(where or Filter())])
        request = ScrollRequest(
            limit=max(1, len(asked)), filter=among, with_payload=False, with_vector=False
        )
        there, _ = self._opened().scroll(request)
        return np.isin(rows, np.array([point.id for point in there], np.int64))

    def points(self) -> tuple[npt.NDArray[np.int64], Attributes]:
        """Return all rows, and what they carry."""
        shard, rows, days, codes = self._opened(), [], [], []
        topics: dict[str, int] = {}
        offset = None
        while True:
            page, offset = shard.scroll(
                ScrollRequest(offset, _PAGE, with_payload=True, with_vector=False)
            )
            for point in page:
                carried = point.payload or {}
                rows.append(point.id)
                days.append(carried.get(CREATED, UNKNOWN))
                topic = carried.get(TOPIC)
                codes.append(-1 if topic is None else topics.setdefault(topic, len(topics)))
            if offset is None:
                break
        return np.array(rows, np.int64), Attributes(
            np.array(days, np.int64) if CREATED in self.filters else None,
            np.array(codes, np.int32) if TOPIC in self.filters else None,
            tuple(topics),
        )

    def __len__(self) -> int:
        """See ``VectorReader``."""
        return self._count

    def close(self) -> None:
        """See ``VectorReader``."""
        if not self._closed and self._process == os.getpid():
            self._shard.close()
        self._closed = True

    def _opened(self) -> EdgeShard:
        """Return the shard; a forked child opens its own."""
        if self._closed:
            raise DataError(f"{self._path}: the reader is closed. Open it again.")
        if self._process != os.getpid():
            self._inherited.append(self._shard)
            self._load()
        return self._shard

    def _counted(self, where: Filter) -> int:
        """Return how many points a filter lets through."""
        if where not in self._matching:
            if len(self._matching) >= _FILTERS:
                self._matching.clear()
            request = CountRequest(exact=True, filter=_condition(where))
            self._matching[where] = self._opened().count(request)
        return self._matching[where]

    def _load(self) -> None:
        try:
            self._shard = EdgeShard.load(str(self._path))
        except Exception as error:
            raise DataError(
                f"{self._path} cannot be opened: {error}. Check that it may be written to; "
                "else drop this version and build it again."
            ) from error
        self._process = os.getpid()


def _condition(where: Filter) -> EdgeFilter:
    conditions: list[Any] = []
    if where.since is not None:
        conditions.append(FieldCondition(CREATED, range=RangeFloat(gte=float(where.since))))
    if where.topics:
        conditions.append(FieldCondition(TOPIC, match=MatchAny(list(where.topics))))
    return EdgeFilter(must=conditions)
