"""Disk: what is written is there whole or not at all, and a disk that refuses is named.

Unfinished files lie in a folder aside, which its writer locks. The kernel lets go of the lock
when the writer dies, however it dies, so a folder whose lock is free belongs to nobody and the
next writer removes it. Needs a local disk: network file systems do not lock folders.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pinnersage.errors import ConfigError, TransientError

_ASIDE = ".aside-"
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


class Aside(NamedTuple):
    """A folder that is being filled; a child that fills it inherits ``lock``."""

    path: Path
    lock: int


@contextmanager
def aside(root: Path) -> Iterator[Aside]:
    """Yield an empty folder under ``root`` to fill; gone at the end, unless it was moved."""
    with disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        # Between making a folder and locking it, a sweep must not come by.
        with locked(root):
            _sweep(root)
            path = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=root))
            lock = _lock(path)
        try:
            yield Aside(path, lock)
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file whole: a reader, or a crash, sees the old bytes or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_full(where: Path, cause: object) -> TransientError:
    """Return the error for a disk, quota or file-size limit that is reached."""
    there = next(p for p in (where, *where.parents) if p.exists())
    free = shutil.disk_usage(there).free / 1e6
    return TransientError(
        f"{where} is full: {cause} ({free:,.0f} MB free on its disk; a quota, `ulimit -f` or a "
        "failing disk also ends so). Nothing was published. Make room, then run the step again. "
        "See runbook: disk full."
    )


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn what a disk refuses into this project's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise disk_full(where, error.strerror) from error
        if error.errno in _REFUSED:
            named = error.filename or where
            raise ConfigError(
                f"{named} cannot be used: {error.strerror}. Check its owner."
            ) from error
        raise


@contextmanager
def locked(path: Path) -> Iterator[Path]:
    """Hold a folder's lock, and yield the folder; it ends with its process."""
    descriptor = _lock(path, fcntl.LOCK_EX)
    try:
        yield path
    finally:
        os.close(descriptor)


def _sweep(root: Path) -> None:
    for path in root.glob(f"{_ASIDE}*"):
        try:
            lock = _lock(path)
        except OSError:  # its writer lives, or it has just gone
            continue
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _lock(path: Path, how: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
