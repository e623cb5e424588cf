"""Lineage: which tables a step of a day read and wrote, in OpenLineage's names.

A table is one dataset, named by where it lies; its partitions and their versions are told beside
the name, so that a catalogue shows ten tables and not a new one each day. What was read is taken
from the manifest that the step wrote, not from a list that could be wrong.
"""

import os
from collections.abc import Callable, Iterable
from datetime import date
from typing import NamedTuple
from urllib.parse import urlsplit

from pinnersage import source
from pinnersage.config import Settings
from pinnersage.errors import DataError
from pinnersage.release import Releases, keyvalue_version
from pinnersage.stores import open_lake
from pinnersage.stores.address import without_password
from pinnersage.stores.lake import Manifest


class Partition(NamedTuple):
    """One partition of a table, and which version of it."""

    keys: dict[str, str]
    version: str = ""


class Dataset(NamedTuple):
    """A table by OpenLineage's naming, with the partitions that were touched."""

    namespace: str
    """``file``, ``s3://bucket``, ``redis://host:port`` …"""
    name: str
    partitions: tuple[Partition, ...] = ()
    files: tuple[str, ...] = ()
    """Of raw files: the glob that was read."""


class Lineage(NamedTuple):
    """What one task read and wrote."""

    reads: tuple[Dataset, ...]
    writes: tuple[Dataset, ...]


def of(step: str, settings: Settings, day: date, bucket: int | None = None) -> Lineage:
    """Return what a step that has succeeded read and wrote.

    Parameters
    ----------
    step : str
        Name of its module; of ``release`` ``release_medoids`` or ``release_index``.
    bucket : int or None
        For ``cluster``.
    """
    return STEPS[step](_Day(settings, day, bucket))


class _Day:
    """A day's manifests, and the names of tables and stores."""

    def __init__(self, settings: Settings, day: date, bucket: int | None) -> None:
        self.settings, self.day, self.bucket = settings, day, bucket
        self.lake = open_lake(settings)

    def manifest(self, table: str, **keys: object) -> Manifest:
        return self.lake.require(table, f"{table} of {self.day}", day=self.day, **keys)

    def tables(self, refs: Iterable[str]) -> tuple[Dataset, ...]:
        """One dataset a table, in the order in which manifests name them."""
        found: dict[str, list[Partition]] = {}
        for ref in dict.fromkeys(refs):
            table, partition = parsed(ref)
            found.setdefault(table, []).append(partition)
        return tuple(
            self.stored(f"lake/{table}", *partitions) for table, partitions in found.items()
        )

    def stored(self, place: str, *partitions: Partition) -> Dataset:
        """A folder of the lake's root."""
        root = self.settings.lake.root
        if not root:
            return Dataset("file", f"{self.settings.home}/{place}", partitions)
        parts = urlsplit(root)
        name = "/".join(filter(None, (parts.path.strip("/"), place)))
        return Dataset(f"{parts.scheme}://{parts.netloc}", name, partitions)

    def keyvalue(self, version: str) -> Dataset:
        partition = Partition({"day": self.day.isoformat()}, version)
        if self.settings.keyvalue.store == "lmdb":
            return Dataset("file", f"{self.settings.home}/stores/keyvalue", (partition,))
        url = self.settings.keyvalue.url or os.environ.get("REDIS_URL", "redis://")
        return Dataset(without_password(url), "pinnersage", (partition,))

    def vectors(self, version: str) -> Dataset:
        partition = Partition({"day": self.day.isoformat()}, version)
        if self.settings.index.store == "edge":
            return Dataset("file", f"{self.settings.home}/stores/vectors", (partition,))
        url = self.settings.index.location or os.environ.get("QDRANT_URL", "qdrant://")
        return Dataset(without_password(url), "pinnersage", (partition,))

    def releases(self) -> Dataset:
        live = Releases(self.settings).live()
        number = (Partition({"release": str(live.number)}),) if live else ()
        return self.stored("releases", *number)


def parsed(ref: str) -> tuple[str, Partition]:
    """Return table and partition that a manifest's reference names."""
    place, _, version = ref.rpartition("@")
    table, *keys = place.split("/")
    if not table or not all("=" in key for key in keys):
        raise DataError(f"{ref!r} is no reference to a manifest: table/key=value@version.")
    return table, Partition(dict(key.split("=", 1) for key in keys), version)


def _stage(day: _Day) -> Lineage:
    where = day.settings.source
    files = source.pattern(where, day.day)
    folder = where.actions.split("{day}", maxsplit=1)[0].split("*", maxsplit=1)[0]
    if folder != where.actions:
        folder = folder.rpartition("/")[0]
    namespace, name = "file", folder.rstrip("/")
    if folder.startswith(source.S3):
        bucket, _, name = name.removeprefix(source.S3).partition("/")
        namespace = f"{source.S3}{bucket}"
    raw = Dataset(namespace, name, files=(files,))
    return Lineage((raw,), day.tables([day.manifest("actions").ref]))


def _cluster(day: _Day) -> Lineage:
    made = day.manifest("medoids", bucket=day.bucket)
    return Lineage(day.tables(made.reads), day.tables([made.ref]))


def _validate(day: _Day) -> Lineage:
    """It reads the buckets, and anew what they were all made from; it refuses them otherwise."""
    made = day.manifest("medoids")
    _, bucket = parsed(made.reads[0])
    again = day.lake.version("medoids", bucket.version, **bucket.keys).reads
    return Lineage(day.tables([*made.reads, *again]), day.tables([made.ref]))


def _waive(day: _Day) -> Lineage:
    made = day.manifest("medoids")
    return Lineage(day.tables(made.reads), day.tables([made.ref]))


def _parity(day: _Day) -> Lineage:
    made = day.manifest("parity")
    return Lineage(day.tables(made.reads), day.tables([made.ref]))


def _publish(day: _Day) -> Lineage:
    made = day.manifest("medoids")
    return Lineage(day.tables([made.ref]), (day.keyvalue(keyvalue_version(made)),))


def _release_medoids(day: _Day) -> Lineage:
    version = keyvalue_version(day.manifest("medoids"))
    return Lineage((day.keyvalue(version),), (day.releases(),))


def _refine(day: _Day) -> Lineage:
    made = day.manifest("refined")
    return Lineage(day.tables(made.reads), day.tables([made.ref]))


def _index(day: _Day) -> Lineage:
    made = day.manifest("index")
    return Lineage(
        day.tables(made.reads), (*day.tables([made.ref]), day.vectors(made.report["version"]))
    )


def _release_index(day: _Day) -> Lineage:
    version = day.manifest("index").report["version"]
    return Lineage((day.vectors(version),), (day.releases(),))


def _evaluate(day: _Day) -> Lineage:
    made = day.manifest("metrics")
    return Lineage(day.tables(made.reads), day.tables([made.ref]))


STEPS: dict[str, Callable[[_Day], Lineage]] = {
    "stage": _stage,
    "cluster": _cluster,
    "validate": _validate,
    "parity": _parity,
    "waive": _waive,
    "publish": _publish,
    "release_medoids": _release_medoids,
    "refine": _refine,
    "index": _index,
    "release_index": _release_index,
    "daily": _evaluate,
}
"""What is asked of each step."""
