"""Versions on a disk: a directory made aside, then renamed, so it is there whole or not at all."""

import errno
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pinnersage.errors import DataError
from pinnersage.stores.disk import Aside, aside, locked, sync

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,127}")
_ABOUT = "about.json"


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

    def aside(self) -> AbstractContextManager[Aside]:
        """Return an empty folder to fill; gone at the end unless ``finish`` took it."""
        return aside(self.root)

    def finish(self, filled: Aside, version: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Make a filled directory the version, unless it exists; facts of what is there now."""
        (filled.path / _ABOUT).write_text(json.dumps(facts, indent=1) + "\n")
        for folder, _, files in os.walk(filled.path, topdown=False):
            for name in files:
                sync(Path(folder, name))
            sync(Path(folder))
        filled.path.chmod(0o755)
        try:
            filled.path.rename(self.root / check_name(version))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        sync(self.root)
        return self.facts(version)

    def locked(self, version: str) -> AbstractContextManager[Path]:
        """Keep others from replacing files of a version; ``FileNotFoundError`` if it is gone."""
        return locked(self.root / check_name(version))

    def replace(self, filled: Aside, path: Path, name: str) -> None:
        """Move one file of a filled folder over that of a version's directory."""
        sync(filled.path / name)
        (filled.path / name).replace(path / name)
        sync(path)

    def sweep(self) -> None:
        """Remove what dead writers left."""
        if self.root.is_dir():
            with self.aside():  # which does it
                pass

    def drop(self, version: str) -> None:
        """Remove a version at once and whole; one that is not there is no error."""
        if version in self:
            with self.aside() as grave:
                (self.root / version).rename(grave.path / version)
