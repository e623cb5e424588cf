"""Lake: tables of immutable files, where a partition is its manifest, written last.

    <table>/<key>=<value>/…/data/<content>.parquet     never changed, named by what is in it
    <table>/<key>=<value>/…/manifests/<version>.json   never changed, named by what is in it
    <table>/<key>=<value>/…/manifest.json              the current one: the commit

A step that is killed leaves files that no manifest names. A partition computed again changes
``manifest.json`` alone, so a release that names an older version goes on reading it. Only erasing a
user replaces a version: it keeps its name, and says so (``Manifest.known_as``).
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, field_validator

from pinnersage.errors import ConfigError, DataError
from pinnersage.schema import IdType
from pinnersage.stores.disk import aside
from pinnersage.stores.folder import Folder
from pinnersage.stores.storage import Storage

LAYOUT = "lake.json"
ROW_GROUP = 122_880
KINDS = ("action", "reason", "experiment", "arm")
"""Columns of a few values each."""
FOLDERS = ("version", "day", "bucket")
"""Keys of partitions, the outermost folder first."""


class DataFile(BaseModel):
    """One immutable file of a partition."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Relative to the lake's root."""
    rows: int
    bytes: int
    bucket: int | None = None


class Manifest(BaseModel):
    """What one version of a partition is made of, and from what."""

    model_config = ConfigDict(frozen=True)

    table: str
    partition: dict[str, str]
    files: tuple[DataFile, ...] = ()
    rows: int = 0
    content_hash: str = ""
    """Of the values, whatever the layout."""
    settings_hash: str = ""
    code_version: str = ""
    reads: tuple[str, ...] = ()
    """References (``Manifest.ref``) of the manifests it was made from."""
    report: dict[str, Any] = {}
    known_as: str = ""
    """The version it goes on under, where a user was erased from it since it was named."""
    erased: int = 0
    """How many users were erased from its files; measures in ``report`` still count them."""

    @field_validator("partition")
    @classmethod
    def outermost_first(cls, keys: dict[str, str]) -> dict[str, str]:
        """Put the keys in the order of folders: JSON sorts them, and a name must not change."""
        return dict(sorted(keys.items(), key=lambda item: FOLDERS.index(item[0])))

    @cached_property
    def version(self) -> str:
        """16 hex digits of the manifest's own content, as it was when it was made."""
        return self.known_as or hashlib.sha256(self.data).hexdigest()[:16]

    @property
    def data(self) -> bytes:
        """What is written in its file; nothing of erasing where nobody was."""
        without = set() if self.known_as else {"known_as", "erased"}
        return canonical(self.model_dump(mode="json", exclude=without))

    @property
    def ref(self) -> str:
        """``table/key=value@version``: how others name this version."""
        keys = "/".join(f"{k}={v}" for k, v in self.partition.items())
        return f"{self.table}/{keys}@{self.version}"

    def __copy__(self) -> "Manifest":
        """Return a copy that finds its own version: it may be changed on the way."""
        copied = super().__copy__()
        copied.__dict__.pop("version", None)
        return copied


class Layout(BaseModel):
    """What is fixed when a lake is made (``lake.json``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_buckets: int
    user_id: IdType
    pin_id: IdType

    def bucket_of(self, user: str) -> int:
        """Return the bucket that ``stage`` puts a user in."""
        return bucket_of(user, self.n_buckets)


def bucket_of(user: str, n: int) -> int:
    """Return which of ``n`` buckets a user is in, by the lower 64 bits of the id's MD5."""
    digest = hashlib.md5(user.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[8:], "little") % n


class Lake:
    """The tables of one storage, or of one folder."""

    def __init__(self, storage: Storage | Path) -> None:
        self.storage: Storage = Folder(storage) if isinstance(storage, Path) else storage

    @property
    def where(self) -> str:
        """The root, for people."""
        return self.storage.where

    @property
    def layout(self) -> Layout:
        """Buckets and identifier types of this lake."""
        path, data = f"{self.where}/{LAYOUT}", self.storage.read(LAYOUT)
        if data is None:
            raise ConfigError(f"{path} does not exist: no lake there yet. Make it: pinnersage init")
        with broken_file(path):
            return Layout.model_validate_json(data)

    def create(self, layout: Layout) -> None:
        """Make the lake, or accept one that is laid out the same."""
        data = canonical(layout.model_dump(mode="json"))
        if not self.storage.swap(LAYOUT, None, data) and self.layout != layout:
            raise ConfigError(
                f"{self.where} is laid out as {self.layout.model_dump()}, asked for is "
                f"{layout.model_dump()}. A lake keeps its layout: choose a new home folder."
            )

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Yield a folder for unfinished files, gone afterwards; a full disk becomes our error."""
        with aside(self.storage.scratch) as folder:
            yield folder.path

    def holds(self, file: DataFile) -> bool:
        """Return whether a file of a manifest is still there."""
        return self.storage.exists(file.path)

    def path(self, file: DataFile) -> Path:
        """Return where to read a file of a manifest."""
        return self.storage.local(file.path)

    def paths(self, *manifests: Manifest, bucket: int | None = None) -> list[str]:
        """Return where to read the files of some manifests, all or one bucket's, in their order."""
        files = (file for manifest in manifests for file in manifest.files)
        wanted = (file.path for file in files if bucket is None or file.bucket == bucket)
        return [str(path) for path in self.storage.locals(wanted)]

    def add(self, source: Path, table: str, rows: int, **keys: object) -> DataFile:
        """Move a finished file to its content's name in a partition, and return its entry.

        The folder of a ``bucket`` lies inside its day's, so any engine sees both as columns.
        """
        digest = hashlib.sha256()
        with source.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        target = f"{place(table, **keys)}/data/{digest.hexdigest()[:24]}{source.suffix}"
        size = source.stat().st_size
        self.storage.add(source, target)
        bucket = keys.get("bucket")
        return DataFile(
            path=target,
            rows=rows,
            bytes=size,
            bucket=bucket if isinstance(bucket, int) else None,
        )

    def add_table(self, table: pa.Table, name: str, work: Path, **keys: object) -> DataFile:
        """Write one Arrow table as a Parquet file of a partition.

        Several threads may do so, for different partitions.
        """
        path = work / f"{'-'.join(map(str, (name, *keys.values())))}.parquet"
        write_parquet(table, path)
        return self.add(path, name, table.num_rows, **keys)

    def commit(self, manifest: Manifest) -> Manifest:
        """Make a version of a partition the current one; the last thing that a step writes."""
        folder = place(manifest.table, **manifest.partition)
        data = manifest.data
        for name in (f"{folder}/manifests/{manifest.version}.json", f"{folder}/manifest.json"):
            if self.storage.read(name) != data:
                self.storage.write(name, data)
        return manifest

    def retire(self, table: str, **keys: object) -> None:
        """Leave a partition without a current version; those that a release names can be read."""
        self.storage.remove(f"{place(table, **keys)}/manifest.json")

    def current(self, table: str, **keys: object) -> Manifest | None:
        """Return the current version of a partition, or None."""
        name = f"{place(table, **keys)}/manifest.json"
        data = self.storage.read(name)
        return None if data is None else parse_manifest(data, f"{self.where}/{name}")

    def require(self, table: str, next_step: str, **keys: object) -> Manifest:
        """Return the current version of a partition, or say which step would make it."""
        manifest = self.current(table, **keys)
        if manifest is None:
            named = ", ".join(f"{k} {v}" for k, v in keys.items())
            raise DataError(f"No {table} of {named} in {self.where}. Run first: {next_step}")
        return manifest

    def version(self, table: str, version: str, **keys: object) -> Manifest:
        """Return one version of a partition, current or not."""
        name = f"{place(table, **keys)}/manifests/{version}.json"
        data = self.storage.read(name)
        if data is None:
            raise DataError(
                f"{self.where}/{name} is gone, and something names it. Restore it, or compute the "
                "day again and promote it. See runbook: missing manifest."
            )
        return parse_manifest(data, f"{self.where}/{name}")

    def days(self, table: str) -> list[date]:
        """Return the days of a table that have a current version, ascending."""
        folders = [name for name in self.storage.names(table) if name.startswith("day=")]
        return [
            date.fromisoformat(name.removeprefix("day="))
            for name in folders
            if self.storage.exists(f"{table}/{name}/manifest.json")
        ]

    def log_days(self, table: str) -> list[date]:
        """Return the days of a log, ascending: it has no manifests."""
        folders = [name for name in self.storage.names(table) if name.startswith("day=")]
        return [date.fromisoformat(name.removeprefix("day=")) for name in folders]

    def log_paths(self, table: str, day: date) -> list[str]:
        """Return where to read the files of a day of a log."""
        found = self.storage.list(f"{place(table, day=day)}/data")
        return [str(path) for path in self.storage.locals(entry.key for entry in found)]

    def versions(self, table: str) -> list[Manifest]:
        """Return the current manifests of a table that has versions, by name."""
        names = [name for name in self.storage.names(table) if name.startswith("version=")]
        found = (self.current(table, version=name.removeprefix("version=")) for name in names)
        return [manifest for manifest in found if manifest is not None]


def place(table: str, **keys: object) -> str:
    """Return the folder of a partition, relative to the lake."""
    return "/".join((table, *(f"{k}={v}" for k, v in keys.items())))


@lru_cache(maxsize=128)
def parse_manifest(data: bytes, path: str) -> Manifest:
    """Return a manifest from its file's content; ``path`` is for the error.

    Every bucket of a day reads the same 90 manifests of its window: they are parsed once, and
    nobody may change one.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValueError as error:
        raise DataError(
            f"{path} is not a manifest: {str(error).splitlines()[0]}. Restore the file or compute "
            "its partition again."
        ) from error


def canonical(value: object) -> bytes:
    """Return JSON whose bytes depend on the value alone."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a Parquet file whose bytes depend on the table alone.

    Only kinds repeat enough to be worth a dictionary: ids take longer with one, and more room.
    """
    kinds = [name for name in KINDS if name in table.column_names]
    pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP, use_dictionary=kinds)


@contextlib.contextmanager
def broken_file(path: Path | str) -> Iterator[None]:
    """Turn what readers say of a file that is damaged or gone into an error that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read: {str(error).splitlines()[0]}. Restore it, or run again the "
            "step that made it. See runbook: broken file."
        ) from error
