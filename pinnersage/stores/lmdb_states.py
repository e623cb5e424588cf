"""LMDB states: one environment that the processes of a machine read and write.

Readers wait for nobody; writers wait for each other, whatever process they are in. A writer that
dies leaves what was there before. A change is on the disk when it returns.

Until something is written there is no folder: reading finds nothing and makes nothing. Once it is
there, whoever reads must be able to write in it as well, since LMDB notes who reads what.

LMDB lets a process open an environment once, and a forked child must not touch its parent's: not
even to close it, which would take away the notes of the parent's readers. So the states of one
folder share an environment, and it is closed before a fork; parent and child open it again.
"""

import errno
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from pinnersage.errors import ConfigError, DataError
from pinnersage.stores.disk import disk_errors
from pinnersage.stores.lmdb_store import MAP_BYTES, lmdb_errors
from pinnersage.stores.states import Change, Item, States, changed, check_keys

_STATES, _JOURNAL = b"states", b"journal"
_READERS = 4096
"""At once, in all processes; 64 bytes of a sparse file each."""
_ENTRY = struct.Struct(">QI")
"""Key of a journal's entry: its change, and its place in it. Changes are numbered for good."""
_PART = 1000
_DAMAGED = (
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
)
_writing, _reading = threading.RLock(), threading.RLock()
"""Held while this process writes, or reads: no fork comes between. In this order."""


class LmdbStates(States):
    """States in a folder of their own."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._environment: _Environment | None = None
        self._closed = False

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See ``States``."""
        with self._read(_STATES) as transaction:
            if transaction is None:
                return [None] * len(keys)
            return [transaction.get(key) if key else None for key in keys]

    def change(self, keys: Sequence[bytes], change: Change, journal: Sequence[bytes] = ()) -> None:
        """See ``States``."""
        check_keys(keys)
        with self._write() as (transaction, databases):
            states = databases[_STATES]
            values = {key: transaction.get(key, db=states) for key in keys}
            for key, value in changed(values, change).items():
                if value is None:
                    transaction.delete(key, db=states)
                else:
                    transaction.put(key, value, db=states)
            for i, entry in enumerate(journal):
                transaction.put(
                    _ENTRY.pack(transaction.id(), i), entry, append=True, db=databases[_JOURNAL]
                )

    def items(self) -> Iterator[Item]:
        """See ``States``; sorted by key, and no reader holds up the file's growth for long."""
        after = b"\0"
        while part := self._first(_STATES, after, _PART):
            yield from part
            after = part[-1][0] + b"\0"

    def oldest(self, most: int) -> list[Item]:
        """See ``States``."""
        return self._first(_JOURNAL, b"\0", most)

    def remove(self, entries: Sequence[bytes]) -> None:
        """See ``States``."""
        if entries:
            with self._write() as (transaction, databases):
                for entry in entries:
                    transaction.delete(entry, db=databases[_JOURNAL])

    def close(self) -> None:
        """See ``States``."""
        self._closed = True
        with _writing, _reading:
            if self._environment is not None:
                self._environment.leave()
                self._environment = None

    def _first(self, database: bytes, start: bytes, most: int) -> list[Item]:
        """Return the first items from a key on."""
        with self._read(database) as transaction:
            cursor = None if transaction is None else transaction.cursor()
            if cursor is None or not cursor.set_range(start):
                return []
            return [item for item, _ in zip(cursor, range(most), strict=False)]

    @contextmanager
    def _read(self, database: bytes) -> Iterator[Any]:
        """Yield a transaction of one database, None while nothing was ever written."""
        with _reading, _errors(self._root):
            environment = self._here(make=False)
            if environment is None:
                yield None
                return
            opened, databases = environment.here()
            with opened.begin(db=databases[database]) as transaction:
                yield transaction

    @contextmanager
    def _write(self) -> Iterator[tuple[Any, dict[bytes, Any]]]:
        """Yield a transaction that is on the disk when it ends, and the databases."""
        with _writing, _errors(self._root):
            with _reading:
                opened, databases = self._here(make=True).here()
            with opened.begin(write=True) as transaction:
                yield transaction, databases

    def _here(self, *, make: bool) -> Any:
        if self._closed:
            raise DataError(f"{self._root}: the states are closed. Open them again.")
        if self._environment is None and (make or (self._root / "data.mdb").exists()):
            self._environment = _Environment.of(self._root)
        return self._environment


class _Environment:
    """An open environment, shared by the states of one folder in this process."""

    shared: dict[Path, "_Environment"] = {}  # noqa: RUF012, one a process

    def __init__(self, root: Path) -> None:
        self.root, self.users = root, 0
        self.opened: tuple[Any, dict[bytes, Any]] | None = None

    @classmethod
    def of(cls, root: Path) -> "_Environment":
        environment = cls.shared.setdefault(root, cls(root))
        environment.users += 1
        return environment

    def here(self) -> tuple[Any, dict[bytes, Any]]:
        """Return the environment and its databases, opened if a fork has closed it."""
        if self.opened is None:
            self.root.mkdir(parents=True, exist_ok=True)
            opened = lmdb.open(
                str(self.root),
                map_size=MAP_BYTES,
                max_dbs=2,
                max_readers=_READERS,
                max_spare_txns=8,
            )
            opened.reader_check()  # those of killed processes would keep the file growing
            self.opened = opened, {name: opened.open_db(name) for name in (_STATES, _JOURNAL)}
        return self.opened

    def shut(self) -> None:
        if self.opened is not None:
            self.opened[0].close()
            self.opened = None

    def leave(self) -> None:
        self.users -= 1
        if not self.users:
            del self.shared[self.root]
            self.shut()


def _before_fork() -> None:
    _writing.acquire()
    _reading.acquire()
    for environment in _Environment.shared.values():
        environment.shut()


def _after_fork() -> None:
    _reading.release()
    _writing.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


@contextmanager
def _errors(root: Path) -> Iterator[None]:
    """Turn what LMDB or the disk refuses into this project's errors."""
    with disk_errors(root), lmdb_errors(root):
        try:
            yield
        except _DAMAGED as error:
            raise DataError(
                f"{root} cannot be read: {error}. See runbook: damaged online state."
            ) from error
        except lmdb.Error as error:
            if isinstance(error, lmdb.ReadonlyError) or error.code in {errno.EACCES, errno.EROFS}:
                raise ConfigError(
                    f"{root} cannot be used: {error}. Who reads it must be able to write in it."
                ) from error
            raise
