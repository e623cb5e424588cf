"""Versions on a disk: a directory made aside, then renamed, so it is there whole or not at all.

A writer holds a lock on the directory that it fills. The kernel lets go of it when the writer
dies, however it dies, so a directory aside whose lock is free belongs to nobody and the next
writer removes it. Needs a local disk: network file systems do not lock directories.
"""

import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pinnersage.errors import ConfigError, DataError, TransientError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,127}")
_ABOUT = "about.json"
_ASIDE = ".aside-"
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


class Aside(NamedTuple):
    """A directory that is being filled; a child that fills it inherits ``lock``."""

    path: Path
    lock: int


def check_name(version: str) -> str:
    """``version`` itself, when every store can carry it as a name."""
    if not _NAME.fullmatch(version):
        raise DataError(
            f"{version!r} cannot name a version: 1 to 128 of letters, digits and . _ = + -, "
            "the first a letter or digit."
        )
    return version


def unknown(version: str, there: Iterable[str], where: object) -> DataError:
    """Error for a version that is not there, with the ones that are."""
    names = ", ".join(there) or "none"
    return DataError(
        f"{where}: no version {version!r}; there are: {names}. "
        "Publish it again, or name one of these."
    )


def disk_full(where: Path, cause: object) -> TransientError:
    """Error for a disk, quota or file-size limit that is reached."""
    there = next(p for p in (where, *where.parents) if p.exists())
    free = shutil.disk_usage(there).free / 1e6
    return TransientError(
        f"{where} is full: {cause} ({free:,.0f} MB free on its disk; a quota, `ulimit -f` or a "
        "failing disk also ends so). Nothing was published. Drop old versions or make room, "
        "then run the step again."
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
            raise ConfigError(f"{where} cannot be written: {error}. Check its owner.") from error
        raise


class Shelf:
    """The versions under one root, a directory each."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def __contains__(self, version: str) -> bool:
        """Whether the version is there, complete."""
        return (self.root / check_name(version) / _ABOUT).is_file()

    def names(self) -> list[str]:
        """Complete versions, sorted."""
        return sorted(p.parent.name for p in self.root.glob(f"[!.]*/{_ABOUT}"))

    def path(self, version: str) -> Path:
        """Directory of a complete version; ``DataError`` when there is none."""
        if version not in self:
            raise unknown(version, self.names(), self.root)
        return self.root / version

    def facts(self, version: str) -> dict[str, Any]:
        """What ``finish`` was told."""
        path = self.path(version) / _ABOUT
        try:
            facts: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise DataError(f"{path} is damaged: {error}. Drop the version, publish it.") from error
        return facts

    @contextmanager
    def aside(self) -> Iterator[Aside]:
        """An empty directory to fill; gone at the end unless ``finish`` took it."""
        with disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            # Between making a directory and locking it, a sweep must not come by.
            with _locked(self.root):
                self._sweep()
                path = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=self.root))
                lock = _lock(path)
            try:
                yield Aside(path, lock)
            finally:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)

    def finish(self, aside: Aside, version: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Make a filled directory the version, unless it exists; facts of what is there now."""
        (aside.path / _ABOUT).write_text(json.dumps(facts, indent=1) + "\n")
        for folder, _, files in os.walk(aside.path, topdown=False):
            for name in files:
                _sync(Path(folder, name))
            _sync(Path(folder))
        aside.path.chmod(0o755)
        try:
            aside.path.rename(self.root / check_name(version))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        _sync(self.root)
        return self.facts(version)

    def drop(self, version: str) -> None:
        """Remove a version at once and whole; one that is not there is no error."""
        if version in self:
            with self.aside() as grave:
                (self.root / version).rename(grave.path / version)

    def _sweep(self) -> None:
        for path in self.root.glob(f"{_ASIDE}*"):
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


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
