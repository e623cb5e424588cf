"""Storage: where lake, releases and reports are; a folder on a disk or a place in an object store.

Keys are relative paths such as ``releases/live.json``. What is written is there whole or not at
all. The embedded implementation is ``folder.Folder``, the one for several machines ``s3.S3``;
one set of contract tests runs against both.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """One file that is there."""

    key: str
    size: int
    modified: datetime
    """UTC."""


class Storage(Protocol):
    """Files under one root."""

    @property
    def where(self) -> str:
        """The root, for people; no password in it."""

    @property
    def scratch(self) -> Path:
        """Local folder for what is not finished yet."""

    def read(self, key: str) -> bytes | None:
        """Return a file's content as it is now, or None if it is not there."""

    def exists(self, key: str) -> bool:
        """Return whether a file is there."""

    def names(self, prefix: str) -> list[str]:
        """Return the names right below a prefix, of files and of folders, sorted."""

    def list(self, prefix: str) -> list[Entry]:
        """Return every file below a prefix, by key; unfinished ones are not among them."""

    def local(self, key: str) -> Path:
        """Return a local path to read a file that never changes (one named by its content)."""

    def locals(self, keys: Iterable[str]) -> Sequence[Path]:
        """Return ``local`` of several; from an object store, several at a time."""

    def write(self, key: str, data: bytes) -> None:
        """Replace a file."""

    def swap(self, key: str, old: bytes | None, data: bytes) -> bool:
        """Replace a file if its content is still ``old`` (None: it is not there); say whether.

        Of several that begin from the same content, one succeeds.
        """

    def add(self, source: Path, key: str) -> None:
        """Move a finished local file to a key; it survives a power cut."""

    def remove(self, key: str) -> None:
        """Remove a file; one that is not there is no error."""

    def forget(self, prefix: str) -> None:
        """Remove this machine's copies of what is no longer there below a prefix."""

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Keep others on this disk out until the block ends.

        An object store knows no locks and keeps nobody out: ``swap`` decides there.
        """

    def under(self, prefix: str) -> "Storage":
        """Return the same storage with keys relative to a prefix."""
