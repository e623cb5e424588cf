"""Qdrant: a version is a collection ``pinnersage-<version>`` of a Qdrant server.

A collection counts as a version once its metadata says that it is complete, which is written
last; one that never got so far is built again from nothing. One builder a version at a time,
and always whole: a server has no cheap copy of a collection to change.
The alias ``pinnersage`` follows the live release, for other consumers; our own readers go by
the release itself.

``:memory:`` and ``path:<directory>`` are the client's local mode. It compares a query with
every vector and never reports one as indexed, so there is no wait there: it is for tests, up
to some 10,000 vectors.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import numpy.typing as npt
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException
from qdrant_client.http.exceptions import UnexpectedResponse as Refused

from pinnersage.errors import ConfigError, DataError, TransientError
from pinnersage.stores.address import without_password
from pinnersage.stores.filters import CREATED, NOTHING, TOPIC, Attributes, Filter, check_filter
from pinnersage.stores.vectors import (
    OVERSAMPLING,
    Neighbours,
    Quantisation,
    VectorReader,
    Vectors,
    arrange,
    blocks,
    check_queries,
    check_shapes,
    planned,
    scanned_kb,
)
from pinnersage.stores.versions import check_name, unknown

_BLOCK = 1024
_INDEX_FROM_KB = 10
_FILTERS = 1000
"""Filters whose counts a reader remembers."""
_LOOK_EVERY_SECONDS = 1.0


class QdrantStore:
    """Versions as collections.

    Parameters
    ----------
    location : str
        ``http://host:6333``, ``:memory:`` or ``path:<directory>``.
    prefix : str
        Start of the collections' names, and the alias.
    m, ef_construct, ef_search, full_scan_kb, quantisation
        As for ``EdgeStore``.
    time_limit_seconds : float
        Longest wait for the server to index a version.
    """

    def __init__(
        self,
        location: str,
        *,
        api_key: str | None = None,
        prefix: str = "pinnersage",
        m: int = 16,
        ef_construct: int = 128,
        ef_search: int = 128,
        full_scan_kb: int = 1000,
        quantisation: Quantisation = "none",
        time_limit_seconds: float = 3600,
    ) -> None:
        self._ef_construct, self._full_scan_kb = ef_construct, full_scan_kb
        self._quantisation = quantisation
        self._m, self._limit, self._prefix = m, time_limit_seconds, prefix
        self.local = not location.startswith(("http://", "https://"))
        self.ef_search = ef_search
        self.name, arguments = _client(location, api_key)
        with self.reached():
            self.client = QdrantClient(**arguments)

    def __repr__(self) -> str:
        """Name without secrets."""
        return f"QdrantStore({self.name!r})"

    def build(
        self,
        version: str,
        rows: npt.NDArray[np.int64],
        vectors: Vectors,
        about: Mapping[str, object],
        attributes: Attributes = NOTHING,
    ) -> None:
        """See ``VectorStore``; a server that is away or too slow is a ``TransientError``."""
        name = self.collection(version)
        with self.reached():
            if self._facts(version) is not None:
                return
            check_shapes(version, rows, vectors, attributes)
            n, dimensions = vectors.shape
            facts = {
                "count": n,
                "dimensions": dimensions,
                "filters": attributes.names,
                "full_scan_kb": scanned_kb(self._full_scan_kb, n, dimensions),
                "quantisation": self._quantisation,
                "about": json.dumps(dict(about)),
            }
            self.client.delete_collection(name)
            try:
                self._create(name, facts)
                self._load(name, version, rows, vectors, attributes)
                self._index(name, n, dimensions)
            except BaseException:
                self._forget(name)
                raise
            self.client.update_collection(name, metadata={"complete": True, **facts})

    def refresh(
        self,
        version: str,
        base: str,  # noqa: ARG002
        rows: npt.NDArray[np.int64],  # noqa: ARG002
        vectors: Vectors,  # noqa: ARG002
        about: Mapping[str, object],  # noqa: ARG002
        attributes: Attributes = NOTHING,  # noqa: ARG002
        *,
        most: float,  # noqa: ARG002
    ) -> bool:
        """See ``VectorStore``: False, unless the version is there; a server copies nothing."""
        with self.reached():
            return self._facts(version) is not None

    def open(self, version: str) -> "QdrantReader":
        """See ``VectorStore``."""
        with self.reached():
            facts = self._facts(check_name(version))
        if facts is None:
            raise unknown(version, self.versions(), self.name)
        return QdrantReader(self, version, facts)

    def versions(self) -> list[str]:
        """See ``VectorStore``."""
        with self.reached():
            names = [c.name for c in self.client.get_collections().collections]
            start = f"{self._prefix}-"
            ours = sorted(n.removeprefix(start) for n in names if n.startswith(start))
            return [version for version in ours if self._facts(version) is not None]

    def drop(self, version: str) -> None:
        """See ``VectorStore``; the alias goes with the collection it points to."""
        with self.reached():
            self.client.delete_collection(self.collection(version))

    def announce(self, version: str) -> None:
        """See ``VectorStore``: the alias becomes another name of the version, in one step."""
        with self.reached():
            if self._facts(version) is None:
                raise unknown(version, self.versions(), self.name)
            self._point_alias(version)

    def _point_alias(self, version: str) -> None:
        alias = self._prefix
        there = {known.alias_name for known in self.client.get_aliases().aliases}
        remove = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
        create = models.CreateAliasOperation(
            create_alias=models.CreateAlias(
                collection_name=self.collection(version), alias_name=alias
            )
        )
        steps: list[models.AliasOperations] = [remove, create] if alias in there else [create]
        self.client.update_collection_aliases(change_aliases_operations=steps)

    def collection(self, version: str) -> str:
        """Name of the collection of a version."""
        return f"{self._prefix}-{check_name(version)}"

    def close(self) -> None:
        """Close the connection; readers end with it."""
        self.client.close()

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turn what the client raises into this project's errors."""
        try:
            yield
        except Refused as error:
            if error.status_code in (401, 403):
                raise ConfigError(f"{self.name} refused the key. Check it.") from error
            if error.status_code is None or error.status_code >= 500 or error.status_code == 429:  # noqa: PLR2004
                raise TransientError(f"{self.name} answered: {error}. Try again.") from error
            raise DataError(f"{self.name} refused a request: {error}") from error
        except (ResponseHandlingException, ApiException, httpx.HTTPError, ConnectionError) as error:
            raise TransientError(
                f"{self.name} is away: {error}. Nothing was published. Try again when it answers."
            ) from error

    def _facts(self, version: str) -> dict[str, Any] | None:
        """What is known of a version; ``None`` unless it is complete."""
        name = self.collection(version)
        if not self.client.collection_exists(name):
            return None
        facts = self.client.get_collection(name).config.metadata or {}
        return facts if facts.get("complete") else None

    def _create(self, name: str, facts: Mapping[str, Any]) -> None:
        """Make a collection without a graph, and the indexes that filters need, before any point.

        Only what is indexed already shapes the graph: later, searches under a filter lose their
        way.
        """
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        int8 = models.ScalarQuantization(scalar=scalar)
        self.client.create_collection(
            name,
            vectors_config=models.VectorParams(
                size=facts["dimensions"], distance=models.Distance.COSINE
            ),
            hnsw_config=models.HnswConfigDiff(
                m=0, ef_construct=self._ef_construct, full_scan_threshold=facts["full_scan_kb"]
            ),
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=_INDEX_FROM_KB),
            quantization_config=int8 if facts["quantisation"] == "int8" else None,
            metadata={"complete": False},
        )
        kinds: dict[str, Any] = {
            CREATED: models.IntegerIndexParams(
                type=models.IntegerIndexType.INTEGER, lookup=False, range=True, enable_hnsw=True
            ),
            TOPIC: models.KeywordIndexParams(
                type=models.KeywordIndexType.KEYWORD, enable_hnsw=True
            ),
        }
        for field in () if self.local else facts["filters"]:  # the local mode has no indexes
            self.client.create_payload_index(name, field, field_schema=kinds[field], wait=True)

    def _load(
        self,
        name: str,
        version: str,
        rows: npt.NDArray[np.int64],
        vectors: Vectors,
        attributes: Attributes,
    ) -> None:
        """All points, without a graph: to build it once at the end is much faster."""
        for start, some_rows, some_vectors in blocks(version, rows, vectors, _BLOCK):
            self.client.upload_collection(
                name,
                vectors=some_vectors,
                payload=attributes.part(slice(start, start + _BLOCK)).payloads(),
                ids=some_rows.tolist(),
                batch_size=_BLOCK,
                wait=True,
            )
        stored = self.client.count(name, exact=True).count
        if stored != len(rows):
            raise TransientError(
                f"{self.name}: {name} holds {stored:,} of {len(rows):,} vectors. Build again."
            )

    def _index(self, name: str, count: int, dimensions: int) -> None:
        """Turn the graph on, and wait until every vector is in it."""
        if self.local:
            return
        self.client.update_collection(name, hnsw_config=models.HnswConfigDiff(m=self._m))
        end = time.monotonic() + self._limit
        while True:
            info = self.client.get_collection(name)
            # A segment below the threshold stays without a graph and is compared whole.
            spare = info.segments_count * (_INDEX_FROM_KB * 1024 // (4 * dimensions) + 1)
            indexed = info.indexed_vectors_count or 0
            if info.status == models.CollectionStatus.GREEN and indexed + spare >= count:
                return
            if time.monotonic() > end:
                raise TransientError(
                    f"{self.name}: {name} is {info.status} with {indexed:,} of {count:,} vectors "
                    f"indexed after {self._limit:,.0f} s. Nothing was published. Look at the "
                    "server's load, then build again."
                )
            time.sleep(_LOOK_EVERY_SECONDS)

    def _forget(self, name: str) -> None:
        # What cannot be removed now is removed by the next build of this version.
        with suppress(ApiException, httpx.HTTPError, ConnectionError):
            self.client.delete_collection(name)


class QdrantReader(VectorReader):
    """One version in a server; the connection is the store's."""

    def __init__(self, store: QdrantStore, version: str, facts: dict[str, Any]) -> None:
        self.about: dict[str, Any] = json.loads(facts["about"])
        self.dimensions = int(facts["dimensions"])
        self.filters = list(facts.get("filters", []))
        self._count, self._store = int(facts["count"]), store
        self._collection = store.collection(version)
        self._full_scan_kb = int(facts.get("full_scan_kb", 0))
        self._rescored = None
        if facts.get("quantisation") == "int8":
            self._rescored = models.QuantizationSearchParams(
                rescore=True, oversampling=OVERSAMPLING
            )
        self._matching: dict[Filter, int] = {}

    def search(
        self,
        queries: npt.NDArray[np.float32],
        limit: int,
        *,
        ef: int | None = None,
        where: Filter | None = None,
    ) -> Neighbours:
        """See ``VectorReader``."""
        queries = check_queries(queries, limit, self.dimensions)
        check_filter(where, self.filters, self._collection)
        matching = self._count if where is None else self._counted(where)
        ef = ef or self._store.ef_search
        plan = planned(limit, ef, matching, self, self._full_scan_kb, filtered=where is not None)
        if not plan.due:
            return arrange([([], [])] * len(queries), limit)
        found = self._ask(queries, plan.due, None if plan.exact else plan.ef, where)
        # A walk over the graph misses points that it cannot reach, and may then find too few.
        few = [i for i, (rows, _) in enumerate(found) if len(rows) < plan.due]
        if few:
            for i, hits in zip(few, self._ask(queries[few], plan.due, None, where), strict=True):
                found[i] = hits
        return arrange(found, limit)

    def holds(
        self, rows: npt.NDArray[np.int64], where: Filter | None = None
    ) -> npt.NDArray[np.bool_]:
        """See ``VectorReader``."""
        check_filter(where, self.filters, self._collection)
        asked, there = np.unique(rows[rows >= 0]), []
        with self._store.reached():
            for start in range(0, len(asked), _BLOCK):
                part = models.HasIdCondition(has_id=asked[start : start + _BLOCK].tolist())
                among = models.Filter(must=[part, _condition(where or Filter())])
                there += self._store.client.scroll(
                    self._collection, among, limit=_BLOCK, with_payload=False
                )[0]
        return np.isin(rows, np.array([point.id for point in there], np.int64))

    def __len__(self) -> int:
        """See ``VectorReader``."""
        return self._count

    def close(self) -> None:
        """See ``VectorReader``; the connection belongs to the store."""

    def _counted(self, where: Filter) -> int:
        """Return how many points a filter lets through."""
        if where not in self._matching:
            if len(self._matching) >= _FILTERS:
                self._matching.clear()
            with self._store.reached():
                counted = self._store.client.count(
                    self._collection, count_filter=_condition(where), exact=True
                )
            self._matching[where] = counted.count
        return self._matching[where]

    def _ask(
        self, queries: npt.NDArray[np.float32], limit: int, ef: int | None, where: Filter | None
    ) -> list[tuple[list[int], list[float]]]:
        """Return rows and cosines of each query; without ``ef``, by comparing with all."""
        how = None
        if not self._store.local:  # which warns of settings that it does not use
            how = models.SearchParams(hnsw_ef=ef, exact=ef is None, quantization=self._rescored)
        condition = None if where is None else _condition(where)
        requests = [
            models.QueryRequest(
                query=query, filter=condition, limit=limit, params=how, with_payload=False
            )
            for query in queries.tolist()
        ]
        with self._store.reached():
            answers = self._store.client.query_batch_points(self._collection, requests)
        return [([p.id for p in a.points], [p.score for p in a.points]) for a in answers]  # type: ignore[misc]


def _condition(where: Filter) -> models.Filter:
    conditions: list[Any] = []
    if where.since is not None:
        since = models.Range(gte=where.since)
        conditions.append(models.FieldCondition(key=CREATED, range=since))
    if where.topics:
        topics = models.MatchAny(any=list(where.topics))
        conditions.append(models.FieldCondition(key=TOPIC, match=topics))
    return models.Filter(must=conditions)


def _client(location: str, api_key: str | None) -> tuple[str, dict[str, Any]]:
    """Name of a location without secrets, and the client's arguments for it."""
    if location == ":memory:":
        return location, {"location": location}
    if location.startswith("path:"):
        return location, {"path": location.removeprefix("path:")}
    name = without_password(location)
    try:
        parts = urlsplit(location)
        fits = parts.scheme in ("http", "https") and parts.hostname and "#" not in location
        port_is_a_number = parts.port is None or parts.port > 0
    except ValueError:
        fits = port_is_a_number = False
    if not (fits and port_is_a_number):
        raise ConfigError(
            f"{name} is no place for vectors: http(s)://host:port, path:<directory> or :memory: "
            "(in a user name or password write #, / and ? as %23, %2F and %3F)"
        )
    # The check would warn about a server that is away; the first request says so better.
    return name, {"url": location, "api_key": api_key, "timeout": 60, "check_compatibility": False}
