"""Cluster: one bucket's users to medoids with importance (paper, algorithm 2).

Reads the bucket's window of ``actions`` and the embeddings valid at the day's end; writes
``medoids/day=…/bucket=…``. Users are streamed, so memory is bounded by a chunk and by the
largest user. The day as a whole exists only once ``validate`` has passed it.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from pinnersage import erase, extract, queries
from pinnersage.config import Settings, medoids_fingerprint
from pinnersage.model import UserClusters, cluster_users
from pinnersage.schema import MEDOIDS, TIME
from pinnersage.stores import embeddings, open_lake
from pinnersage.stores.embeddings import Embeddings
from pinnersage.stores.lake import ROW_GROUP, DataFile, Lake, Manifest
from pinnersage.version import __version__


class ClusterReport(BaseModel):
    """What became of one bucket."""

    model_config = ConfigDict(frozen=True)

    day: date
    bucket: int
    users: int
    actions: int
    clusters: int
    dropped: dict[str, int]
    checks: list[dict[str, Any]]
    embeddings: str
    content_hash: str
    version: str


def run_all(day: date, settings: Settings) -> Iterator[ClusterReport]:
    """Cluster every bucket of ``day``; yield their reports in order."""
    lake = open_lake(settings)
    table = embeddings.open_valid(lake, day)

    def one_bucket(bucket: int, share: Settings) -> ClusterReport:
        return run(day, bucket, share, table=table)

    return extract.side_by_side(one_bucket, lake.layout.n_buckets, settings)


def run(
    day: date,
    bucket: int,
    settings: Settings,
    actions: pa.RecordBatchReader | None = None,
    table: Embeddings | None = None,
) -> ClusterReport:
    """Cluster one bucket's users for ``day``; replaces the bucket's partition.

    ``actions`` are the bucket's rows of the window, in any order, where another engine has read
    them from the lake (``examples/spark_cluster.py``); the result is the same to the byte.
    ``table`` are the day's embeddings, where they are open already.
    """
    table = table or embeddings.open_valid(open_lake(settings), day)
    own = erase.own_days("medoids", [day], settings)
    attempts = 1 if actions is not None else erase.AGAIN
    return erase.settled(
        lambda: cluster_bucket(day, bucket, settings, actions, table),
        settings,
        own,
        attempts=attempts,
    )


def cluster_bucket(
    day: date,
    bucket: int,
    settings: Settings,
    actions: pa.RecordBatchReader | None,
    table: Embeddings,
) -> ClusterReport:
    """Do what ``run`` does, once."""
    lake = open_lake(settings)
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        try:
            counts = extract.label(con, lake, day, bucket, settings, table, actions)
            found = extract.check(con, day, bucket, settings, lake.layout.n_buckets)
            path = work / "medoids.parquet"
            users = write_medoids(con, day, lake, settings, table, path)
            measured = measure(con, path, lake)
        except duckdb.Error as error:
            raise queries.translate(error, f"cluster {day}, bucket {bucket}") from error
        keys = {"day": day.isoformat(), "bucket": bucket}
        files: tuple[DataFile, ...] = ()
        if measured["clusters"]:
            files = (lake.add(path, "medoids", measured["clusters"], **keys),)
    report = {
        "users": users,
        "actions": counts.pop("kept", 0),
        "clusters": measured["clusters"],
        "dropped": counts,
        "checks": [vars(result) for result in found],
        "embeddings": table.version,
    }
    manifest = lake.commit(
        Manifest(
            table="medoids",
            partition={"day": day.isoformat(), "bucket": str(bucket)},
            files=files,
            rows=measured["clusters"],
            content_hash=queries.hash_text(measured["hash"]),
            settings_hash=medoids_fingerprint(settings),
            code_version=__version__,
            reads=(table.ref, *(m.ref for m in extract.window_manifests(lake, day, settings))),
            report=report,
        )
    )
    return ClusterReport(
        day=day,
        bucket=bucket,
        content_hash=manifest.content_hash,
        version=manifest.version,
        **report,
    )


def write_medoids(
    con: duckdb.DuckDBPyConnection,
    day: date,
    lake: Lake,
    settings: Settings,
    table: Embeddings,
    path: Path,
) -> int:
    """Cluster the bucket chunk by chunk into one Parquet file; return its number of users.

    Where chunks end depends on how DuckDB's threads hand over their batches. The file must not:
    row groups are filled before they are written.
    """
    schema = MEDOIDS.arrow(lake.layout.user_id, lake.layout.pin_id)
    n_users, held = 0, schema.empty_table()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for chunk in extract.chunks(con, day):
            clusters = cluster_users(
                table.matrix,
                chunk.offsets,
                chunk.ages_days,
                rows=chunk.rows,
                merge_threshold=settings.model.merge_threshold,
                decay_per_day=settings.model.decay_per_day,
                threads=settings.run.threads,
                matrix_mb=settings.run.matrix_mb,
            )
            n_users += chunk.offsets.size - 1
            held = pa.concat_tables([held, medoid_table(chunk, clusters, table, schema)])
            full = held.num_rows - held.num_rows % ROW_GROUP
            if full:
                writer.write_table(held.slice(0, full).combine_chunks(), row_group_size=ROW_GROUP)
                held = held.slice(full)
        if held.num_rows:
            writer.write_table(held.combine_chunks())
    return n_users


def medoid_table(
    chunk: extract.Chunk, clusters: UserClusters, table: Embeddings, schema: pa.Schema
) -> pa.Table:
    """Return the rows of ``medoids`` for a chunk of clustered users."""
    n_clusters = np.diff(clusters.offsets)
    ranks = np.arange(clusters.medoids.size) - np.repeat(clusters.offsets[:-1], n_clusters)
    first, last = first_and_last(chunk, clusters)
    columns = {
        "user_id": chunk.user_ids.take(pa.array(chunk.offsets[:-1].repeat(n_clusters))),
        "rank": ranks.astype(np.int32),
        "pin_id": table.pin_ids.take(pa.array(chunk.rows[clusters.medoids])),
        "importance": clusters.importance,
        "n_actions": clusters.n_actions.astype(np.int64),
        "offset": clusters.medoid_offset,
        "first_acted_at": pa.array(first).cast(TIME),
        "last_acted_at": pa.array(last).cast(TIME),
        "cohesion": clusters.cohesion,
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def first_and_last(chunk: extract.Chunk, clusters: UserClusters) -> tuple[np.ndarray, np.ndarray]:
    """Return when the oldest and the newest action of each cluster were: int64[k], microseconds.

    A user's actions stand oldest first, so what is written last, from either end, is the answer.
    """
    of_cluster = np.repeat(clusters.offsets[:-1], np.diff(chunk.offsets)) + clusters.labels
    first, last = np.empty((2, clusters.medoids.size), np.int64)
    last[of_cluster] = chunk.acted_at
    first[of_cluster[::-1]] = chunk.acted_at[::-1]
    return first, last


def measure(con: duckdb.DuckDBPyConnection, path: Path, lake: Lake) -> dict[str, int]:
    """Return number and hash of the medoids in a file."""
    con.read_parquet(str(path)).create_view("medoids_written", replace=True)
    total = queries.values_hash(MEDOIDS.arrow(lake.layout.user_id, lake.layout.pin_id))
    sql = f"SELECT count(*) AS clusters, {total} AS hash FROM medoids_written"  # noqa: S608
    return queries.first(con, sql)
