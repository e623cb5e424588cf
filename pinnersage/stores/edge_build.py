"""Edge build: the child process in which an HNSW index is built, fed through its input.

Reads one line of JSON (``Order``); then the rows to delete (int64); then blocks of rows and
vectors (float32) as they lie in memory, behind each what its points carry as a line of JSON. A
shard that is at the path already is changed, else one is made. Exits with 0 when the index is
whole and on the disk; anything else it has to say goes to its error output.
"""

import json
import sys
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

import numpy as np
from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeVectorParams,
    HnswIndexConfig,
    IntegerIndexParams,
    KeywordIndexParams,
    Memory,
    Point,
    ScalarQuantizationConfig,
    ScalarType,
    UpdateOperation,
)

# The engine indexes a segment from this many kB on; the least it takes.
_INDEX_FROM_KB = 1


class Order(TypedDict):
    """What is to be built."""

    path: str
    block: int
    deleted: int
    sent: int
    """Vectors that are sent."""
    count: int
    """Vectors that must be there at the end."""
    dimensions: int
    m: int
    ef_construct: int
    full_scan_kb: int
    quantisation: str
    filters: list[str]


def build(source: BinaryIO) -> None:
    """Build the index that ``source`` describes and carries."""
    order: Order = json.loads(source.readline())
    shard = EdgeShard.load(order["path"]) if Path(order["path"]).is_dir() else _empty(order)
    if order["deleted"]:
        gone = np.frombuffer(_exactly(source, order["deleted"] * 8), np.int64).tolist()
        shard.update(UpdateOperation.delete_points(gone))
    for start in range(0, order["sent"], order["block"]):
        n = min(order["block"], order["sent"] - start)
        shard.update(UpdateOperation.upsert_points(_points(source, n, order["dimensions"])))
    shard.optimize()
    shard.flush()
    info = shard.info()
    shard.close()
    # The engine leaves what is too small without a graph, and compares it with all; what was
    # deleted may be counted as indexed until there is enough of it to be cleared away.
    count, spare = order["count"], 2 * 1024 * _INDEX_FROM_KB // (4 * order["dimensions"])
    if info.points_count != count or info.indexed_vectors_count + spare < count:
        sys.exit(
            f"Of {count:,} vectors {info.points_count:,} were stored and "
            f"{info.indexed_vectors_count:,} indexed. Build again."
        )


def _points(source: BinaryIO, n: int, dimensions: int) -> list[Point]:
    rows = np.frombuffer(_exactly(source, n * 8), np.int64).tolist()
    # The engine takes arrays; its stubs know of lists only.
    vectors: Any = np.frombuffer(_exactly(source, n * dimensions * 4), np.float32)
    vectors = vectors.reshape(n, dimensions)
    carried = json.loads(source.readline()) or [None] * n
    return [Point(*one) for one in zip(rows, vectors, carried, strict=True)]


def _empty(order: Order) -> EdgeShard:
    """Return a shard without points: the indexes that filters need must be there before them."""
    shard = EdgeShard.create(order["path"], _config(order))
    kinds: dict[str, Any] = {
        "created": IntegerIndexParams(lookup=False, range=True, enable_hnsw=True),
        "topic": KeywordIndexParams(enable_hnsw=True),
    }
    for name in order["filters"]:
        shard.update(UpdateOperation.create_field_index(name, kinds[name]))
    return shard


def _config(order: Order) -> EdgeConfig:
    """No write-ahead log: with one a directory has a single opener, and we write once."""
    int8 = ScalarQuantizationConfig(type=ScalarType.Int8, memory=Memory.Pinned)
    return EdgeConfig(
        vectors=EdgeVectorParams(size=order["dimensions"], distance=Distance.Cosine),
        hnsw_config=HnswIndexConfig(
            m=order["m"],
            ef_construct=order["ef_construct"],
            full_scan_threshold=order["full_scan_kb"],
        ),
        quantization_config=int8 if order["quantisation"] == "int8" else None,
        optimizers=EdgeOptimizersConfig(
            indexing_threshold=_INDEX_FROM_KB,
            default_segment_number=1,
            max_segment_size=2**40,
        ),
        max_search_threads=1,
        wal_enabled=False,
    )


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        sys.exit("The process that ordered this index has gone.")
    return data


if __name__ == "__main__":
    build(sys.stdin.buffer)
