"""A stand-in for a Qdrant server: HTTP as the client speaks it, behind it the client's local mode.

Every request is parsed with qdrant-client's own models, which refuse a field that they do not
know, and answered as a server answers. What the local mode has not is played: a graph that is
switched on is not there at once (``progress``). ``calls`` is what was asked, in order.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, TypeAdapter
from qdrant_client import QdrantClient, models

Progress = Callable[[int, int], tuple[str, int]]
"""Status and vectors in the graph, by how often one looked and how many there are."""


def slowly(looks: int, count: int) -> tuple[str, int]:
    """What a server does that is in order: two looks too early, the third time it is done."""
    return ("green", count) if looks > 2 else ("yellow", looks * count // 3)


class Server:
    """What a server knows."""

    def __init__(self, progress: Progress) -> None:
        self.local = QdrantClient(":memory:")
        self.progress = progress
        self.calls: list[str] = []
        self.graphs: dict[str, int] = {}
        self.looks: dict[str, int] = {}
        self.fields: dict[str, dict[str, models.PayloadIndexInfo]] = {}
        self.guard = threading.Lock()

    def answer(self, method: str, path: str, body: bytes) -> Any:
        """Return the result of a request."""
        for (of, pattern), (handle, kind) in ROUTES.items():
            match = of == method and re.fullmatch(pattern, path)
            if match:
                asked = TypeAdapter(kind).validate_json(body) if kind else None
                with self.guard:
                    return getattr(self, handle)(*map(unquote, match.groups()), asked)
        raise LookupError(f"{method} {path}")

    def exists(self, name: str, _: None) -> Any:
        return models.CollectionExistence(exists=self.local.collection_exists(name))

    def collections(self, _: None) -> Any:
        return self.local.get_collections()

    def create(self, name: str, asked: models.CreateCollection) -> bool:
        graph = asked.hnsw_config.m if asked.hnsw_config else 16
        kind = " int8" if asked.quantization_config else ""
        self.calls.append(f"create m={graph}{kind}")
        self.graphs[name], self.looks[name], self.fields[name] = graph, 0, {}
        return self.local.create_collection(
            name, vectors_config=asked.vectors, metadata=asked.metadata
        )

    def delete(self, name: str, _: None) -> bool:
        self.calls.append("delete")
        return self.local.delete_collection(name)

    def update(self, name: str, asked: models.UpdateCollection) -> bool:
        if asked.hnsw_config:
            self.graphs[name] = asked.hnsw_config.m
            self.calls.append(f"m={asked.hnsw_config.m}")
        if asked.metadata:
            self.calls.append(f"metadata complete={asked.metadata['complete']}")
            self.local.update_collection(name, metadata=asked.metadata)
        return True

    def look(self, name: str, _: None) -> models.CollectionInfo:
        info = self.local.get_collection(name)
        status, indexed = "green", 0
        if self.graphs[name]:
            count = self.local.count(name).count
            status, indexed = self.progress(self.looks[name], count)
            self.looks[name] += 1
            self.calls.append(f"look {status} {indexed}")
        info.config.hnsw_config.m = self.graphs[name]
        return info.model_copy(
            update={
                "status": models.CollectionStatus(status),
                "indexed_vectors_count": indexed,
                "segments_count": 2,
                "payload_schema": self.fields[name],
            }
        )

    def index(self, name: str, asked: models.CreateFieldIndex) -> Any:
        schema = asked.field_schema
        self.calls.append(f"index {asked.field_name} {schema.type.value} hnsw={schema.enable_hnsw}")
        self.fields[name][asked.field_name] = models.PayloadIndexInfo(
            data_type=models.PayloadSchemaType(schema.type), params=schema, points=0
        )
        return done()

    def upsert(self, name: str, asked: models.PointsList) -> Any:
        self.calls.append(f"points {len(asked.points)}")
        self.local.upsert(name, asked.points)
        return done()

    def count(self, name: str, asked: models.CountRequest) -> Any:
        self.calls.append("count")
        return self.local.count(name, asked.filter, exact=bool(asked.exact))

    def scroll(self, name: str, asked: models.ScrollRequest) -> Any:
        points, after = self.local.scroll(name, asked.filter, limit=asked.limit, with_payload=False)
        return models.ScrollResult(points=points, next_page_offset=after)

    def query(self, name: str, asked: models.QueryRequestBatch) -> Any:
        how = {
            f"exact={one.params.exact} ef={one.params.hnsw_ef}"
            + (" rescored" if one.params.quantization else "")
            for one in asked.searches
        }
        self.calls.append(f"search {' '.join(sorted(how))}")
        plain = [one.model_copy(update={"params": None}) for one in asked.searches]
        return self.local.query_batch_points(name, plain)

    def aliases(self, _: None) -> Any:
        return self.local.get_aliases()

    def alias(self, asked: models.ChangeAliasesOperation) -> bool:
        for action in asked.actions:
            made = getattr(action, "create_alias", None)
            self.calls.append(f"alias to {made.collection_name}" if made else "alias gone")
        return self.local.update_collection_aliases(asked.actions)


def done() -> models.UpdateResult:
    return models.UpdateResult(operation_id=1, status=models.UpdateStatus.COMPLETED)


ONE = "/collections/([^/]+)"
ROUTES: dict[tuple[str, str], tuple[str, Any]] = {
    ("GET", "/collections"): ("collections", None),
    ("GET", f"{ONE}/exists"): ("exists", None),
    ("PUT", ONE): ("create", models.CreateCollection),
    ("DELETE", ONE): ("delete", None),
    ("PATCH", ONE): ("update", models.UpdateCollection),
    ("GET", ONE): ("look", None),
    ("PUT", f"{ONE}/index"): ("index", models.CreateFieldIndex),
    ("PUT", f"{ONE}/points"): ("upsert", models.PointsList),
    ("POST", f"{ONE}/points/count"): ("count", models.CountRequest),
    ("POST", f"{ONE}/points/scroll"): ("scroll", models.ScrollRequest),
    ("POST", f"{ONE}/points/query/batch"): ("query", models.QueryRequestBatch),
    ("GET", "/aliases"): ("aliases", None),
    ("POST", "/collections/aliases"): ("alias", models.ChangeAliasesOperation),
}


def plain(result: Any) -> Any:
    """A result as JSON has it."""
    if isinstance(result, list):
        return [plain(item) for item in result]
    return result.model_dump(mode="json") if isinstance(result, BaseModel) else result


@contextmanager
def serving(progress: Progress = slowly) -> Iterator[tuple[str, Server]]:
    """Yield the address of a stand-in of one's own, and what it knows."""
    known = Server(progress)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            try:
                result = known.answer(self.command, urlsplit(self.path).path, body)
                code, said = 200, {"result": plain(result), "status": "ok", "time": 0.0}
            except Exception as error:  # noqa: BLE001, a server answers whatever happens
                code, said = 400, {"status": {"error": repr(error)}, "time": 0.0}
            data = json.dumps(said).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing: a test reads ``calls``."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", known
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        known.local.close()
