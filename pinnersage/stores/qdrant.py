"""Qdrant: a version is a collection ``pinnersage-<version>`` of a Qdrant server.

A collection counts as a version once its metadata says that it is complete, which is written
last; one that never got so far is built again from nothing. One builder a version at a time.
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
from pinnersage.stores.vectors import (
    Matrix,
    Neighbours,
    VectorReader,
    arrange,
    blocks,
    check_queries,
    check_shapes,
)
from pinnersage.stores.versions import check_name, unknown

_BLOCK = 1024
_INDEX_FROM_KB = 10
_LOOK_EVERY_SECONDS = 1.0


class QdrantStore:
    """Versions as collections.

    Parameters
    ----------
    location : str
        ``http://host:6333``, ``:memory:`` or ``path:<directory>``.
    prefix : str
        Start of the collections' names, and the alias.
    m, ef_construct, ef_search, full_scan_kb : int
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
        time_limit_seconds: float = 3600,
    ) -> None:
        self._graph = {"ef_construct": ef_construct, "full_scan_threshold": full_scan_kb}
        self._m, self._limit, self._prefix = m, time_limit_seconds, prefix
        self._local = not location.startswith(("http://", "https://"))
        # The local mode warns of settings that it does not use.
        self.ef_search = None if self._local else ef_search
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
        vectors: Matrix,
        about: Mapping[str, object],
    ) -> None:
        """See ``VectorStore``; a server that is away or too slow is a ``TransientError``."""
        name = self.collection(version)
        with self.reached():
            if self._facts(version) is not None:
                return
            check_shapes(version, rows, vectors)
            self.client.delete_collection(name)
            try:
                self._load(name, version, rows, vectors)
                self._index(name, len(rows), vectors.shape[1])
            except BaseException:
                self._forget(name)
                raise
            facts = {
                "count": len(rows),
                "dimensions": vectors.shape[1],
                "about": json.dumps(dict(about)),
            }
            self.client.update_collection(name, metadata={"complete": True, **facts})

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

    def _load(self, name: str, version: str, rows: npt.NDArray[np.int64], vectors: Matrix) -> None:
        """All points, without a graph: to build it once at the end is much faster."""
        self.client.create_collection(
            name,
            vectors_config=models.VectorParams(
                size=vectors.shape[1], distance=models.Distance.COSINE
            ),
            hnsw_config=models.HnswConfigDiff(m=0, **self._graph),
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=_INDEX_FROM_KB),
            metadata={"complete": False},
        )
        for some_rows, some_vectors in blocks(version, rows, vectors, _BLOCK):
            self.client.upload_collection(
                name, vectors=some_vectors, ids=some_rows.tolist(), batch_size=_BLOCK, wait=True
            )
        stored = self.client.count(name, exact=True).count
        if stored != len(rows):
            raise TransientError(
                f"{self.name}: {name} holds {stored:,} of {len(rows):,} vectors. Build again."
            )

    def _index(self, name: str, count: int, dimensions: int) -> None:
        """Turn the graph on, and wait until every vector is in it."""
        if self._local:
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
        self._count, self._store = int(facts["count"]), store
        self._collection = store.collection(version)

    def search(
        self, queries: npt.NDArray[np.float32], limit: int, *, ef: int | None = None
    ) -> Neighbours:
        """See ``VectorReader``."""
        queries = check_queries(queries, limit, self.dimensions)
        due = min(limit, self._count)
        found = self._ask(queries, due, ef or self._store.ef_search)
        # A walk over the graph misses points that it cannot reach, and may then find too few.
        few = [i for i, (rows, _) in enumerate(found) if len(rows) < due]
        if few:
            for i, hits in zip(few, self._ask(queries[few], due, None), strict=True):
                found[i] = hits
        return arrange(found, limit)

    def __len__(self) -> int:
        """See ``VectorReader``."""
        return self._count

    def close(self) -> None:
        """See ``VectorReader``; the connection belongs to the store."""

    def _ask(
        self, queries: npt.NDArray[np.float32], limit: int, ef: int | None
    ) -> list[tuple[list[int], list[float]]]:
        how = None
        if self._store.ef_search is not None:
            exact = ef is None or limit == self._count
            how = models.SearchParams(hnsw_ef=None if exact else ef, exact=exact)
        requests = [
            models.QueryRequest(query=query, limit=limit, params=how, with_payload=False)
            for query in queries.tolist()
        ]
        with self._store.reached():
            answers = self._store.client.query_batch_points(self._collection, requests)
        return [([p.id for p in a.points], [p.score for p in a.points]) for a in answers]  # type: ignore[misc]


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
