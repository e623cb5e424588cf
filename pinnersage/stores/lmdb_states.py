"""LMDB states: one environment that the processes of a machine read and write.

Readers wait for nobody; writers wait for each other, whatever process they are in. A writer that
dies leaves what was there before. A change is on the disk when it returns.

    online/1/data.mdb    the environment; the highest number is in force

Until something is written there is no folder: reading finds nothing and makes nothing. Once it is
there, whoever reads must be able to write in it as well, since LMDB notes who reads what.

Freed pages keep their bytes. To leave none of what was removed (``scrub``), what is kept is copied
to an environment with the next number while nobody can write; who comes next finds the number.

LMDB lets a process open an environment once, and a forked child must not touch its parent's: not
even to close it, which would take away the notes of the parent's readers. So the states of one
folder share an environment, and it is closed before a fork; parent and child open it again.
"""

import errno
import os
import stat
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from pinnersage.errors import ConfigError, DataError
from pinnersage.stores.disk import aside, disk_errors, sync
from pinnersage.stores.keyvalue import batches
from pinnersage.stores.lmdb_store import MAP_BYTES, bytes_of, lmdb_errors
from pinnersage.stores.states import Change, Item, States, changed, check_keys

_STATES, _JOURNAL = b"states", b"journal"
_FILES = ("data.mdb", "lock.mdb")
_READERS = 4096
"""At once, in all processes; 64 bytes of a sparse file each."""
_ENTRY = struct.Struct(">IQI")
"""Key of a journal's entry: number of the environment, of the change in it, and place in that."""
_PART, _BATCH = 1000, 20_000
"""Items that are read, or copied, together."""
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
        with self._write() as (transaction, opened):
            states = opened.databases[_STATES]
            values = {key: transaction.get(key, db=states) for key in keys}
            for key, value in changed(values, change).items():
                if value is None:
                    transaction.delete(key, db=states)
                else:
                    transaction.put(key, value, db=states)
            for i, entry in enumerate(journal):
                name = _ENTRY.pack(opened.number, transaction.id(), i)
                transaction.put(name, entry, append=True, db=opened.databases[_JOURNAL])

    def items(self) -> Iterator[Item]:
        """See ``States``; sorted by key, and no reader holds up the file's growth for long."""
        after = b""
        while part := self._first(_STATES, after, _PART):
            yield from part
            after = part[-1][0]

    def oldest(self, most: int, after: bytes = b"") -> list[Item]:
        """See ``States``."""
        return self._first(_JOURNAL, after, most)

    def remove(self, entries: Sequence[bytes]) -> None:
        """See ``States``."""
        if entries:
            with self._write() as (transaction, opened):
                for entry in entries:
                    transaction.delete(entry, db=opened.databases[_JOURNAL])

    def scrub(self) -> None:
        """See ``States``; the disk needs room for a copy.

        Who may use the environment stays as it was; who cannot see to that is refused.
        """
        if newest(self._root) is None:
            return
        with self._write() as (_, opened), aside(self._root) as copy, aside(self._root) as grave:
            _make_alike(copy.path, self._root / str(opened.number))
            _copy(opened, copy.path)
            sync(copy.path)
            copy.path.rename(self._root / str(opened.number + 1))
            sync(self._root)
            for old in numbers(self._root) - {opened.number + 1}:
                (self._root / str(old)).rename(grave.path / str(old))

    def close(self) -> None:
        """See ``States``."""
        self._closed = True
        with _writing, _reading:
            if self._environment is not None:
                self._environment.leave()
                self._environment = None

    def _first(self, database: bytes, after: bytes, most: int) -> list[Item]:
        """Return the first items that come after a key."""
        with self._read(database) as transaction:
            cursor = None if transaction is None else transaction.cursor()
            if cursor is None or not cursor.set_range(after + b"\0"):
                return []
            return [item for item, _ in zip(cursor, range(most), strict=False)]

    @contextmanager
    def _read(self, database: bytes) -> Iterator[Any]:
        """Yield a transaction of one database, None while nothing was ever written."""
        with _reading, _errors(self._root):
            if self._environment is None and newest(self._root) is None:
                self._check_open()
                yield None
                return
            opened = self._here()
            with opened.lmdb.begin(db=opened.databases[database]) as transaction:
                yield transaction

    @contextmanager
    def _write(self) -> Iterator[tuple[Any, "_Opened"]]:
        """Yield a transaction that is on the disk when it ends, and the environment."""
        with _writing, _errors(self._root):
            while True:
                with _reading:
                    opened = self._here()
                with opened.lmdb.begin(write=True) as transaction:
                    if opened.number == newest(self._root):  # else it was replaced meanwhile
                        yield transaction, opened
                        return

    def _here(self) -> "_Opened":
        self._check_open()
        if self._environment is None:
            self._environment = _Environment.of(self._root)
        return self._environment.here()

    def _check_open(self) -> None:
        if self._closed:
            raise DataError(f"{self._root}: the states are closed. Open them again.")


def numbers(root: Path) -> set[int]:
    """Return the numbers of the environments in a folder."""
    try:
        return {int(name) for name in os.listdir(root) if name.isdecimal()}  # noqa: PTH208 (twice as fast)
    except FileNotFoundError:
        return set()


def newest(root: Path) -> int | None:
    """Return the number of the environment that is in force, None while there is none."""
    return max(numbers(root), default=None)


class _Opened(NamedTuple):
    """An open environment."""

    number: int
    lmdb: Any
    databases: dict[bytes, Any]


class _Environment:
    """What is open, shared by the states of one folder in this process."""

    shared: dict[Path, "_Environment"] = {}  # noqa: RUF012, one a process

    def __init__(self, root: Path) -> None:
        self.root, self.users = root, 0
        self.opened: _Opened | None = None

    @classmethod
    def of(cls, root: Path) -> "_Environment":
        environment = cls.shared.setdefault(root, cls(root))
        environment.users += 1
        return environment

    def here(self) -> _Opened:
        """Return the environment in force, opened if a fork has closed it or another came after.

        While another thread writes, it is the one that is open.
        """
        if self.opened is None:
            return self._open()
        if self.opened.number != newest(self.root) and _writing.acquire(blocking=False):
            try:
                return self._open()
            finally:
                _writing.release()
        return self.opened

    def _open(self) -> _Opened:
        while self.opened is None or self.opened.number != newest(self.root):
            self.shut()
            number = newest(self.root)
            if number is None:
                number = 1
                (self.root / "1").mkdir(parents=True, exist_ok=True)
            try:
                self.opened = _opened(self.root, number)
            except lmdb.Error as error:
                if error.code != errno.ENOENT or number == newest(self.root):
                    raise  # else another came after it, and it is gone
        return self.opened

    def shut(self) -> None:
        if self.opened is not None:
            self.opened.lmdb.close()
            self.opened = None

    def leave(self) -> None:
        self.users -= 1
        if not self.users:
            del self.shared[self.root]
            self.shut()


def _opened(root: Path, number: int) -> _Opened:
    environment = lmdb.open(
        str(root / str(number)),
        create=False,
        map_size=MAP_BYTES,
        max_dbs=2,
        max_readers=_READERS,
        max_spare_txns=8,
    )
    _check_whole(environment, root / str(number) / _FILES[0])
    environment.reader_check()  # those of killed processes would keep the file growing
    databases = {name: environment.open_db(name) for name in (_STATES, _JOURNAL)}
    return _Opened(number, environment, databases)


def _check_whole(environment: Any, file: Path) -> None:
    needed = bytes_of(environment)  # looked at first: the file may grow
    with suppress(FileNotFoundError):  # it was whole, and another came after it
        if (size := file.stat().st_size) < needed:
            environment.close()
            raise DataError(
                f"{file} cannot be read: it has lost its end, {needed - size:,} of {needed:,} "
                "bytes. See runbook: damaged online state."
            )


def _make_alike(made: Path, old: Path) -> None:
    """Give an environment that is empty yet the owner and mode of another, file by file."""
    for name in _FILES:
        (made / name).touch()
    for name in ("", *_FILES):
        here, there = (made / name).stat(), (old / name).stat()
        if (here.st_uid, here.st_gid) != (there.st_uid, there.st_gid):
            try:
                os.chown(made / name, there.st_uid, there.st_gid)
            except PermissionError as error:
                raise ConfigError(
                    f"{old / name} belongs to user {there.st_uid} and group {there.st_gid}, and "
                    f"user {os.geteuid()} cannot make another of theirs: they would be shut out. "
                    "Nothing was changed. Do it as that user, or as root."
                ) from error
        (made / name).chmod(stat.S_IMODE(there.st_mode))


def _copy(source: _Opened, path: Path) -> None:
    """Write every item anew: in a copy of the pages, keys that are gone still part the tree."""
    target = lmdb.open(str(path), map_size=MAP_BYTES, max_dbs=2, lock=False, sync=False)
    try:
        for name, database in source.databases.items():
            into = target.open_db(name)
            with source.lmdb.begin(db=database) as reading:
                for batch in batches(reading.cursor(), _BATCH):
                    with target.begin(write=True, db=into) as writing:
                        writing.cursor().putmulti(batch, append=True)
        target.sync(True)
    finally:
        target.close()


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
