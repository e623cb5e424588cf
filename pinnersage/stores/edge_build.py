"""Edge build: the child process in which an HNSW index is built, fed through its input.

Reads one line of JSON (path, count, dimensions, block, m, ef_construct, full_scan_kb), then
blocks of rows (int64) and vectors (float32) as they lie in memory. Exits with 0 when the index
is whole and on the disk; anything else it has to say goes to its error output.
"""

import json
import sys
from typing import Any, BinaryIO

import numpy as np
from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeVectorParams,
    HnswIndexConfig,
    Point,
    UpdateOperation,
)

# The engine indexes a segment from this many kB on; the least it takes.
_INDEX_FROM_KB = 1


def build(source: BinaryIO) -> None:
    """Build the index that ``source`` describes and carries."""
    order: dict[str, Any] = json.loads(source.readline())
    count, dimensions = order["count"], order["dimensions"]
    shard = EdgeShard.create(order["path"], _config(order))
    for start in range(0, count, order["block"]):
        n = min(order["block"], count - start)
        rows = np.frombuffer(_exactly(source, n * 8), np.int64).tolist()
        # The engine takes arrays; its stubs know of lists only.
        vectors: Any = np.frombuffer(_exactly(source, n * dimensions * 4), np.float32)
        vectors = vectors.reshape(n, dimensions)
        points = [Point(id=row, vector=v) for row, v in zip(rows, vectors, strict=True)]
        shard.update(UpdateOperation.upsert_points(points))
    shard.optimize()
    shard.flush()
    info = shard.info()
    shard.close()
    # What is too small to be indexed is compared with all; anything else must be in the graph.
    small = count * dimensions * 4 < 2 * 1024 * _INDEX_FROM_KB
    if info.points_count != count or (info.indexed_vectors_count != count and not small):
        sys.exit(
            f"Of {count:,} vectors {info.points_count:,} were stored and "
            f"{info.indexed_vectors_count:,} indexed. Build again."
        )


def _config(order: dict[str, Any]) -> EdgeConfig:
    """No write-ahead log: with one a directory has a single opener, and we write once."""
    return EdgeConfig(
        vectors=EdgeVectorParams(size=order["dimensions"], distance=Distance.Cosine),
        hnsw_config=HnswIndexConfig(
            m=order["m"],
            ef_construct=order["ef_construct"],
            full_scan_threshold=order["full_scan_kb"],
        ),
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
