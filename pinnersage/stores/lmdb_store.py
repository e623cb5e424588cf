"""LMDB: a version is an environment of its own, read through the page cache.

Nobody writes to a finished environment, so readers take no lock, need no map size, and keep
what they opened when its directory is removed, or its file replaced because a user was erased.
LMDB lets a process open an environment once: readers of one version share it. In a forked child
the first read opens it anew.
"""

import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from pinnersage.errors import DataError, TransientError
from pinnersage.stores.disk import DISK_FULL, Aside, disk_full
from pinnersage.stores.keyvalue import Item, KeyValueReader, batches, repeated
from pinnersage.stores.versions import Shelf

# Address space, not disk: the file grows with what is written.
MAP_BYTES = 1 << 40
_DATA = "data.mdb"
_BATCH = 20_000


class LmdbStore:
    """Versions as directories under ``root``."""

    def __init__(self, root: Path) -> None:
        self._shelf = Shelf(root)

    def write(self, version: str, items: Iterable[Item], about: Mapping[str, object]) -> int:
        """See ``KeyValueStore``; a full disk is a ``TransientError``."""
        if version not in self._shelf:
            with self._shelf.aside() as aside:
                count = _fill(aside, version, items, self._shelf.root)
                self._shelf.finish(aside, version, {"count": count, "about": dict(about)})
        return int(self._shelf.facts(version)["count"])

    def open(self, version: str) -> "LmdbReader":
        """See ``KeyValueStore``."""
        facts = self._shelf.facts(version)
        return LmdbReader(_Environment.of(self._shelf.path(version)), facts["about"])

    def versions(self) -> list[str]:
        """See ``KeyValueStore``."""
        return self._shelf.names()

    def drop(self, version: str) -> None:
        """See ``KeyValueStore``; readers that are open go on reading."""
        self._shelf.drop(version)

    def erase(self, keys: Collection[bytes]) -> list[str]:
        """See ``KeyValueStore``; readers that are open go on reading what they opened.

        Freed pages of an environment keep their bytes. So the items that stay are written to a new
        one, whose file takes the old one's place in one move.
        """
        self._shelf.sweep()
        return [version for version in self.versions() if self._erase(version, set(keys))]

    def _erase(self, version: str, keys: set[bytes]) -> bool:
        try:
            with self._shelf.locked(version) as path, self.open(version) as reader:
                if not any(value is not None for value in reader.get_many(list(keys))):
                    return False
                kept = (item for item in reader.items() if item[0] not in keys)
                with self._shelf.aside() as aside:
                    _fill(aside, version, kept, self._shelf.root)
                    self._shelf.replace(aside, path, _DATA)
        except FileNotFoundError:  # dropped meanwhile
            return False
        return True


class LmdbReader(KeyValueReader):
    """One version, memory-mapped."""

    def __init__(self, environment: "_Environment", about: dict[str, Any]) -> None:
        self.about = about
        self._environment = environment
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        """See ``KeyValueReader``."""
        if not key:
            return None
        with self._read() as transaction:
            value: bytes | None = transaction.get(key)
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See ``KeyValueReader``."""
        with self._read() as transaction:
            return [transaction.get(key) if key else None for key in keys]

    def items(self) -> Iterator[Item]:
        """See ``KeyValueReader``."""
        with self._read() as transaction:
            yield from transaction.cursor()

    def __len__(self) -> int:
        """See ``KeyValueReader``."""
        with self._read() as transaction:
            return int(transaction.stat()["entries"])

    def close(self) -> None:
        """See ``KeyValueReader``."""
        if not self._closed:
            self._closed = True
            self._environment.leave()

    def _read(self) -> Any:
        if self._closed:
            raise DataError(f"{self._environment.path}: the reader is closed. Open it again.")
        return self._environment.here().begin()


class _Environment:
    """An open environment, shared by its readers in this process."""

    shared: dict[tuple[int, int], "_Environment"] = {}  # noqa: RUF012, one a process
    guard = threading.Lock()

    def __init__(self, path: Path, identity: tuple[int, int]) -> None:
        self.path, self.identity, self.readers = path, identity, 0
        self._open()

    @classmethod
    def of(cls, path: Path) -> "_Environment":
        with cls.guard:
            try:
                stat = (path / _DATA).stat()
            except FileNotFoundError as error:
                raise _unreadable(path, error) from error
            identity = (stat.st_dev, stat.st_ino)
            if identity not in cls.shared:
                cls.shared[identity] = cls(path, identity)
            cls.shared[identity].readers += 1
            return cls.shared[identity]

    def here(self) -> Any:
        """Environment of this process: after a fork, one of its own."""
        if self.process != os.getpid():
            with self.guard:
                if self.process != os.getpid():
                    self._lmdb.close()
                    self._open()
        return self._lmdb

    def leave(self) -> None:
        with self.guard:
            self.readers -= 1
            if not self.readers:
                del self.shared[self.identity]
                self._lmdb.close()

    def _open(self) -> None:
        try:
            size = (self.path / _DATA).stat().st_size
            self._lmdb = lmdb.open(str(self.path), readonly=True, lock=False, max_spare_txns=8)
        except (lmdb.Error, FileNotFoundError) as error:
            raise _unreadable(self.path, error) from error
        if size < bytes_of(self._lmdb):
            self._lmdb.close()
            raise _unreadable(self.path, f"{_DATA} has lost its end at byte {size:,}")
        self.process = os.getpid()


def bytes_of(environment: Any) -> int:
    """Return how long an environment's file must be: reading beyond its end kills the process."""
    return int((environment.info()["last_pgno"] + 1) * environment.stat()["psize"])


def _new_guard() -> None:
    """Replace the lock in a forked child: another thread may have held it at the fork."""
    _Environment.guard = threading.Lock()


os.register_at_fork(after_in_child=_new_guard)


def _unreadable(path: Path, error: object) -> DataError:
    return DataError(f"{path} cannot be read: {error}. Drop this version and publish it again.")


def _fill(aside: Aside, version: str, items: Iterable[Item], root: Path) -> int:
    with lmdb_errors(root):
        environment = lmdb.open(
            str(aside.path), map_size=MAP_BYTES, lock=False, sync=False, metasync=False
        )
    count = 0
    try:
        for batch in batches(items, _BATCH):
            with lmdb_errors(root), environment.begin(write=True) as transaction:
                _, added = transaction.cursor().putmulti(batch, dupdata=False, overwrite=False)
            if added != len(batch):
                raise repeated(version, len(batch) - added)
            count += added
        with lmdb_errors(root):
            environment.sync(True)
    finally:
        environment.close()
    return count


@contextmanager
def lmdb_errors(root: Path) -> Iterator[None]:
    """Turn what LMDB cannot write into this project's errors."""
    try:
        yield
    except lmdb.Error as error:
        # A short write reaches us as EIO, whatever cut it short: disk, quota, file-size limit.
        if isinstance(error, lmdb.MapFullError | lmdb.DiskError) or error.code in DISK_FULL:
            raise disk_full(root, error) from error
        raise TransientError(f"{root}: LMDB cannot write there: {error}. Try again.") from error
