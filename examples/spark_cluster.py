"""Clusters by Spark: the cluster tasks of a day on a Spark cluster, to the same bytes.

Spark reads the staged actions of the window and brings each bucket's to one partition. There
``mapInArrow`` hands them to the function that the Airflow task runs, which writes the bucket's
partition of the lake. The steps before and after stay as they are:

    pinnersage stage --day 2026-04-05
    python examples/spark_cluster.py --day 2026-04-05
    pinnersage validate --day 2026-04-05

Home folder and lake must be reachable from every executor. Needs the extra ``spark`` and Java.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

from pinnersage import cluster, extract
from pinnersage.config import Settings, load
from pinnersage.schema import ACTIONS
from pinnersage.stores import open_lake

Batches = Iterator[pa.RecordBatch]


def main() -> None:
    """Cluster a day and print a line of JSON a bucket."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--day", type=date.fromisoformat, required=True)
    day = parser.parse_args().day
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(f"pinnersage cluster {day}")
    spark = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    try:
        for report in run(spark, day, load()):
            print(json.dumps({name: fact for name, fact in report.items() if name != "checks"}))
    finally:
        spark.stop()


def run(spark: SparkSession, day: date, settings: Settings) -> list[dict[str, Any]]:
    """Cluster every bucket of ``day``; the reports of the cluster step, by bucket."""
    n_buckets = open_lake(settings).layout.n_buckets
    actions = window_of_actions(spark, day, settings)
    reports = actions.repartitionById(n_buckets, "bucket").mapInArrow(
        one_bucket(day, settings), "bucket int, report string"
    )
    return [json.loads(row.report) for row in sorted(reports.collect())]


def window_of_actions(spark: SparkSession, day: date, settings: Settings) -> DataFrame:
    """The staged actions of the window: the files that the days' manifests name, and no others."""
    lake = open_lake(settings)
    files = [
        f"{lake.where}/{file.path}"
        for manifest in extract.window_manifests(lake, day, settings)
        for file in manifest.files
    ]
    # With the table's folder as base, day and bucket come from the path as columns.
    return spark.read.option("basePath", f"{lake.where}/actions").parquet(*files)


def one_bucket(day: date, settings: Settings) -> Callable[[Batches], Batches]:
    """What a partition does with its rows: the library's own cluster step, on one bucket."""

    def cluster_it(batches: Batches) -> Batches:
        bucket = TaskContext.get().partitionId()  # by repartitionById
        layout = open_lake(settings).layout
        schema = ACTIONS.arrow(layout.user_id, layout.pin_id)
        schema = schema.append(pa.field("day", pa.date32())).append(pa.field("bucket", pa.int32()))
        reader = pa.RecordBatchReader.from_batches(schema, (b.cast(schema) for b in batches))
        report = cluster.run(day, bucket, settings, reader)
        yield pa.record_batch(
            {"bucket": pa.array([bucket], pa.int32()), "report": [report.model_dump_json()]}
        )

    return cluster_it


if __name__ == "__main__":
    main()
