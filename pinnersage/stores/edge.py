"""Edge: Qdrant's own HNSW engine in this process, a directory a version.

The engine holds Python's global lock while it builds, and a full disk under its memory maps is
a signal, not an exception. So a child process builds (``edge_build``), fed through a pipe; what
kills it leaves this process, and everything that readers see, as it was.

Opening a version replaces its two small files of settings by equal ones, so a reader needs the
right to write in the directory. Several processes may read one version: its data files never
change. To use more cores, use more processes.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qdrant_edge import EdgeShard, Query, SearchParams, SearchRequest

from pinnersage.errors import DataError, PinnerSageError, TransientError
from pinnersage.stores.disk import DISK_FULL, Aside, disk_full
from pinnersage.stores.vectors import (
    Matrix,
    Neighbours,
    VectorReader,
    arrange,
    blocks,
    check_queries,
    check_shapes,
)
from pinnersage.stores.versions import Shelf

_BLOCK = 1024
_SHARD = "shard"


class EdgeStore:
    """Versions as directories under ``root``.

    Parameters
    ----------
    m, ef_construct : int
        Edges a node, and candidates while building: more finds more, costs memory and time.
    ef_search : int
        Candidates of a search that does not say.
    full_scan_kb : int
        Below this many kB of vectors a search compares with all: it is exact and as fast.
    """

    def __init__(
        self,
        root: Path,
        *,
        m: int = 16,
        ef_construct: int = 128,
        ef_search: int = 128,
        full_scan_kb: int = 1000,
    ) -> None:
        self._shelf = Shelf(root)
        self._graph = {"m": m, "ef_construct": ef_construct, "full_scan_kb": full_scan_kb}
        self._ef_search = ef_search

    def build(
        self,
        version: str,
        rows: npt.NDArray[np.int64],
        vectors: Matrix,
        about: Mapping[str, object],
    ) -> None:
        """See ``VectorStore``; a full disk or a killed builder is a ``TransientError``."""
        if version in self._shelf:
            return
        check_shapes(version, rows, vectors)
        facts = {"count": len(rows), "dimensions": vectors.shape[1], **self._graph}
        with self._shelf.aside() as aside:
            _build(aside, version, rows, vectors, facts)
            self._shelf.finish(aside, version, {**facts, "about": dict(about)})

    def open(self, version: str) -> "EdgeReader":
        """See ``VectorStore``."""
        facts = self._shelf.facts(version)
        return EdgeReader(self._shelf.path(version) / _SHARD, facts, self._ef_search)

    def versions(self) -> list[str]:
        """See ``VectorStore``."""
        return self._shelf.names()

    def announce(self, version: str) -> None:
        """See ``VectorStore``: a directory has no second name, the release alone says it."""
        self._shelf.path(version)

    def drop(self, version: str) -> None:
        """See ``VectorStore``; readers that are open go on searching."""
        self._shelf.drop(version)


class EdgeReader(VectorReader):
    """One version, memory-mapped."""

    _inherited: list[Any] = []  # noqa: RUF012, shards of the parent: to close them is its work

    def __init__(self, path: Path, facts: dict[str, Any], ef_search: int) -> None:
        self.about: dict[str, Any] = facts["about"]
        self.dimensions: int = facts["dimensions"]
        self._path, self._count, self._ef = path, int(facts["count"]), ef_search
        self._closed = False
        self._load()

    def search(
        self, queries: npt.NDArray[np.float32], limit: int, *, ef: int | None = None
    ) -> Neighbours:
        """See ``VectorReader``."""
        if self._closed:
            raise DataError(f"{self._path}: the reader is closed. Open it again.")
        if self._process != os.getpid():
            self._inherited.append(self._shard)
            self._load()
        queries = check_queries(queries, limit, self.dimensions)
        return arrange([self._nearest(query, limit, ef or self._ef) for query in queries], limit)

    def __len__(self) -> int:
        """See ``VectorReader``."""
        return self._count

    def close(self) -> None:
        """See ``VectorReader``."""
        if not self._closed and self._process == os.getpid():
            self._shard.close()
        self._closed = True

    def _load(self) -> None:
        try:
            self._shard = EdgeShard.load(str(self._path))
        except Exception as error:
            raise DataError(
                f"{self._path} cannot be opened: {error}. Check that it may be written to; "
                "else drop this version and build it again."
            ) from error
        self._process = os.getpid()

    def _nearest(
        self, query: npt.NDArray[np.float32], limit: int, ef: int
    ) -> tuple[list[int], list[float]]:
        due = min(limit, self._count)
        found = self._ask(query, due, SearchParams(hnsw_ef=ef, exact=due == self._count))
        # A walk over the graph misses points that it cannot reach, and may then find too few.
        if len(found) < due:
            found = self._ask(query, due, SearchParams(exact=True))
        return [point.id for point in found], [point.score for point in found]

    def _ask(self, query: npt.NDArray[np.float32], limit: int, how: SearchParams) -> list[Any]:
        vector: Any = query  # the engine takes an array; its stubs know of lists only
        request = SearchRequest(query=Query.Nearest(vector), limit=limit, params=how)
        points: list[Any] = self._shard.search(request)
        return points


def _build(
    aside: Aside,
    version: str,
    rows: npt.NDArray[np.int64],
    vectors: Matrix,
    facts: dict[str, Any],
) -> None:
    """Run ``edge_build`` on ``aside`` and feed it; returns when the index is on the disk."""
    order = {"path": str(aside.path / _SHARD), "block": _BLOCK, **facts}
    child = subprocess.Popen(
        [sys.executable, "-m", "pinnersage.stores.edge_build"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[aside.lock],  # were we killed, no sweep removes what the child still writes
    )
    assert child.stdin and child.stdout  # noqa: S101, PT018
    said: deque[bytes] = deque(maxlen=15)
    listener = threading.Thread(target=said.extend, args=[child.stdout], daemon=True)
    listener.start()
    try:
        try:
            child.stdin.write(json.dumps(order).encode() + b"\n")
            for some_rows, some_vectors in blocks(version, rows, vectors, _BLOCK):
                child.stdin.write(some_rows.data)
                child.stdin.write(some_vectors.data)
            child.stdin.close()
        except BrokenPipeError:  # it died early; its last words say more
            pass
        code = child.wait()
    finally:
        child.kill()
        child.wait()
        listener.join()
        child.stdout.close()
        with suppress(BrokenPipeError):
            child.stdin.close()
    if code:
        raise _failed(
            version, code, b"".join(said).decode(errors="replace").strip(), aside.path.parent
        )


def _failed(version: str, code: int, said: str, root: Path) -> PinnerSageError:
    if code in (-signal.SIGBUS, -signal.SIGXFSZ) or any(
        f"os error {number})" in said or f"[Errno {number}]" in said for number in DISK_FULL
    ):
        return disk_full(
            root, f"building {version!r} ended with {said[-300:] or f'signal {-code}'!r}"
        )
    if code < 0:
        return TransientError(
            f"{root}: the process that built {version!r} was killed by "
            f"{signal.Signals(-code).name}. Nothing was published. Look for the out-of-memory "
            f"killer, then build again. Its last words: {said[-2000:] or 'none'}"
        )
    return DataError(
        f"{root}: the process that built {version!r} failed with code {code}. Nothing was "
        f"published. Its last words:\n{said[-2000:]}"
    )
