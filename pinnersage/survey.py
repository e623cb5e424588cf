"""Survey: every file of the lake, what its manifests name, and what the releases name.

A reference (``Manifest.ref``) leads to the manifest that something was made from, and so on back
to the staged days. Files of a manifest are named by it alone; manifests are named by those that
were made from them too.
"""

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from pinnersage.config import Settings
from pinnersage.release import Medoids, Pointer, Release, Releases
from pinnersage.stores import open_lake
from pinnersage.stores.lake import Manifest, parse_manifest
from pinnersage.stores.storage import Entry, Storage

BY_DAY = ("actions", "medoids", "refined", "index", "metrics", "parity")
BY_VERSION = ("embeddings", "pins")
PARALLEL = 8
"""Manifests read at a time: from an object store one takes milliseconds, nearly all waiting."""

_FILE = re.compile(
    r"(?P<partition>(?P<table>\w+)/(?:day|version)=[^/]+)(?:/bucket=\d+)?"
    r"/(?:manifest\.json|manifests/[^/]+\.json|data/[^/]+)"
)


@dataclass
class Named:
    """What the live release and the way back from it name, each with the reason in words."""

    live: Release | None
    way: list[Release] = field(default_factory=list)
    partitions: dict[str, str] = field(default_factory=dict)
    stores: dict[str, str] = field(default_factory=dict)
    """Versions in the key-value store and in the vector store."""
    ever: set[str] = field(default_factory=set)
    """Versions in the stores that any release has named."""


def names(releases: Releases, pointer: Pointer, ready_days: int) -> Named:
    """Return what the live release names, and those of as many other days on the way back."""
    named = Named(None if pointer.live is None else releases.get(pointer.live))
    for release in releases.all():
        named.ever |= {release.medoids.keyvalue}
        named.ever |= {release.index.version} if release.index else set()
    seen: list[Medoids] = []
    at = named.live
    while at is not None and (at.medoids in seen or len(seen) <= ready_days):
        why = f"release {at.number} is {'live' if at == named.live else 'ready for a rollback'}"
        if at.medoids not in seen:
            seen.append(at.medoids)
        named.way.append(at)
        named.partitions.setdefault(f"medoids/day={at.medoids.day}", why)
        named.stores.setdefault(at.medoids.keyvalue, why)
        if at.index:
            named.partitions.setdefault(f"index/day={at.index.day}", why)
            named.stores.setdefault(at.index.version, why)
        at = None if at.previous is None else releases.get(at.previous)
    return named


class Survey:
    """The lake as it is: every file, and every current manifest.

    Attributes
    ----------
    files : dict
        Files of each partition, such as ``medoids/day=2026-01-05``; its buckets' are among them.
    fresh : set
        Partitions in which something was written within the grace.
    current : dict
        Current manifest by its folder; a bucket has one of its own.
    going : dict
        Partitions that may go, and why; filled by the decisions below.
    """

    def __init__(self, now: datetime, settings: Settings) -> None:
        self.now, self.settings, self.lake = now, settings, open_lake(settings)
        self.since = now - timedelta(days=settings.retention.grace_days)
        self.files: dict[str, list[Entry]] = {}
        for entry in self.lake.storage.list(""):
            found = _FILE.fullmatch(entry.key)
            if found and found["table"] in {*BY_DAY, *BY_VERSION}:
                self.files.setdefault(found["partition"], []).append(entry)
        self.keys = {entry.key for entries in self.files.values() for entry in entries}
        self.fresh = {
            partition
            for partition, entries in self.files.items()
            if worked_on(self.lake.storage, entries, self.since)
        }
        self.current = {
            key.removesuffix("/manifest.json"): manifest
            for key, manifest in self.read(k for k in self.keys if k.endswith("/manifest.json"))
        }
        self.going: dict[str, str] = {}

    def read(self, keys: Iterable[str]) -> list[tuple[str, Manifest]]:
        """Return some manifests by their keys; one that has gone meanwhile is left out."""
        wanted = sorted(keys)
        with ThreadPoolExecutor(PARALLEL) as pool:
            found = zip(wanted, pool.map(self.lake.storage.read, wanted), strict=True)
            return [
                (key, parse_manifest(data, f"{self.lake.where}/{key}"))
                for key, data in found
                if data is not None
            ]

    def partitions(self, table: str) -> list[str]:
        """Return a table's partitions that have a current manifest, their own or a bucket's."""
        found = {folder.partition("/bucket=")[0] for folder in self.current}
        return sorted(one for one in found if one.startswith(f"{table}/"))

    def days(self, table: str) -> dict[date, str]:
        """Return a table's partitions by day, ascending."""
        return {date.fromisoformat(one.partition("day=")[2]): one for one in self.partitions(table)}

    def newest(self, table: str) -> date | None:
        """Return the day that a table's days are counted back from; None where none is sound.

        A day that failed, or of which the source had no row, may be any day: a slip in ``--day``.
        So none counts that is later than the newest day that passed, and of actions only those
        that have rows.
        """
        passed = [day for day, one in self.days("medoids").items() if one in self.current]
        found = passed if table == "medoids" else list(self.days(table))
        if table == "actions":
            staged = self.manifests(table)
            found = [date.fromisoformat(m.partition["day"]) for _, m in staged if m.rows]
        return min([found[-1], *passed[-1:]]) if found else None

    def manifests(self, table: str) -> list[tuple[str, Manifest]]:
        """Return the current manifests of a table that stay, by partition; not those of buckets."""
        there = [one for one in self.partitions(table) if one not in self.going]
        return [(one, self.current[one]) for one in there if one in self.current]

    def mark(self, tables: Iterable[str]) -> set[str]:
        """Return the files that the current manifests of some tables name, and themselves."""
        wanted = set(tables)
        marks: set[str] = set()
        for folder, manifest in self.current.items():
            partition = folder.partition("/bucket=")[0]
            if manifest.table in wanted and partition not in self.going:
                marks |= {f"{folder}/manifest.json", *(file.path for file in manifest.files)}
                self.trace(marks, manifest.ref, manifest)
        return marks

    def mark_version(self, marks: set[str], release: Release) -> None:
        """Mark the files of the medoids that a release names, whether still current or not."""
        ref = f"medoids/day={release.medoids.day}@{release.medoids.manifest}"
        for _, manifest in self.read(self.keys & {key_of(ref)}):
            marks |= {file.path for file in manifest.files}
            self.trace(marks, ref, manifest)

    def trace(self, marks: set[str], ref: str, manifest: Manifest | None = None) -> None:
        """Mark a version of a manifest, and those it was made from: small, and they tell why."""
        key = key_of(ref)
        if key in marks or key not in self.keys:
            return
        marks.add(key)
        if manifest is None:
            found = self.current.get(key.partition("/manifests/")[0])
            same = found is not None and found.ref == ref
            manifest = found if same else next((m for _, m in self.read([key])), None)
        for read in manifest.reads if manifest else ():
            self.trace(marks, read)


def worked_on(lake: Storage, entries: Iterable[Entry], since: datetime) -> bool:
    """Return whether a step has written some of a partition's files since.

    Erasing a user is no work on a day: where users are erased daily, old days would never go.
    """
    late = {entry.key for entry in entries if entry.modified > since}
    rewritten: set[str] = set()
    for key in sorted(key for key in late if key.endswith(".json")):
        data = lake.read(key)
        if data is not None:
            manifest = parse_manifest(data, f"{lake.where}/{key}")
            if not manifest.known_as:
                return True
            rewritten |= {key, *(file.path for file in manifest.files)}
    return bool(late - rewritten)


def key_of(ref: str) -> str:
    """Return where the version of a manifest lies that a reference names."""
    folder, _, version = ref.partition("@")
    return f"{folder}/manifests/{version}.json"
