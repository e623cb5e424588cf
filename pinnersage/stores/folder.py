"""Folder: storage on a disk, of this machine or shared by several."""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pinnersage.stores.disk import disk_errors, write_atomically
from pinnersage.stores.storage import Entry


class Folder:
    """Files under one folder. What begins with a dot is unfinished or a lock, and not listed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.root)

    @property
    def scratch(self) -> Path:
        """A folder on the same file system, so that moves are atomic."""
        return self.root / ".scratch"

    def read(self, key: str) -> bytes | None:
        """Return a file's content."""
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def exists(self, key: str) -> bool:
        """Return whether a file is there."""
        return (self.root / key).is_file()

    def names(self, prefix: str) -> list[str]:
        """Return the names in a folder."""
        try:
            found = [path.name for path in (self.root / prefix).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in found if not name.startswith("."))

    def list(self, prefix: str) -> list[Entry]:
        """Return every file of a folder and of those in it."""
        found = []
        for folder, folders, files in os.walk(self.root / prefix):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for path in (Path(folder, name) for name in files if not name.startswith(".")):
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    facts = path.stat()
                    key = path.relative_to(self.root).as_posix()
                    changed = datetime.fromtimestamp(facts.st_mtime, UTC)
                    found.append(Entry(key, facts.st_size, changed))
        return sorted(found)

    def local(self, key: str) -> Path:
        """Return the file itself."""
        return self.root / key

    def locals(self, keys: Iterable[str]) -> Sequence[Path]:
        """Return the files themselves."""
        return [self.root / key for key in keys]

    def write(self, key: str, data: bytes) -> None:
        """Replace a file."""
        with disk_errors(self.root):
            write_atomically(self.root / key, data)

    def swap(self, key: str, old: bytes | None, data: bytes) -> bool:
        """Replace a file if its content is still ``old``."""
        with self.locked(f"{key}.swap"):
            if self.read(key) != old:
                return False
            self.write(key, data)
            return True

    def add(self, source: Path, key: str) -> None:
        """Move a finished file here."""
        with source.open("rb") as file:
            os.fsync(file.fileno())
        target = self.root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)

    def remove(self, key: str) -> None:
        """Remove a file, and the folders that it leaves empty."""
        path = self.root / key
        path.unlink(missing_ok=True)
        self._lock(f"{key}.swap").unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.root:
                break
            try:
                folder.rmdir()
            except OSError:  # others are in it
                break

    def forget(self, prefix: str) -> None:
        """Do nothing: a folder has no copies."""

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a lock, which ends with its process."""
        path = self._lock(name)
        with disk_errors(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield

    def _lock(self, name: str) -> Path:
        path = self.root / name
        return path.with_name(f".{path.name}.lock")

    def under(self, prefix: str) -> "Folder":
        """Return a folder in this one."""
        return Folder(self.root / prefix)
