"""Key-value: packed profiles by user, a version at a time.

A version is written whole, once, and never changed, but for users who are erased from it; the
release names the one that is read. So no store needs an update, a lock for readers, or a time to
live.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, Self

from pinnersage.errors import DataError
from pinnersage.stores.packing import MAX_KEY_BYTES

Item = tuple[bytes, bytes]


class KeyValueReader(Protocol):
    """One version, open for reading; threads may share it, a forked child may go on with it.

    Attributes
    ----------
    about : dict
        What the writer said about the version.
    """

    about: dict[str, Any]

    def get(self, key: bytes) -> bytes | None:
        """Value of a key; ``None`` when the version has none."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Value of each key, in their order."""
        ...

    def items(self) -> Iterator[Item]:
        """Every key and value, sorted by key."""
        ...

    def __len__(self) -> int:
        """Users in the version."""
        ...

    def close(self) -> None:
        """Let go of the version; a second call does nothing."""
        ...

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


class KeyValueStore(Protocol):
    """Versions of packed profiles."""

    def write(self, version: str, items: Iterable[Item], about: Mapping[str, object]) -> int:
        """Write a whole version, or nothing that a reader could see; how many items it was given.

        A version that is there already stays as it is, and ``items`` is not read. Keys come
        in any order, each once, and have 1 to 511 bytes. ``about`` must be JSON.
        """
        ...

    def open(self, version: str) -> KeyValueReader:
        """Reader of a version; ``DataError`` with the versions there are when it is not."""
        ...

    def versions(self) -> list[str]:
        """Complete versions, sorted."""
        ...

    def drop(self, version: str) -> None:
        """Remove a version; one that is not there is no error."""
        ...

    def erase(self, keys: Collection[bytes]) -> list[str]:
        """Remove keys from every version, and what dead writers left; versions that had one.

        A version keeps its name and what was said about it. It is the old one or the new one at
        any moment, whole; what opens it from then on finds none of the keys.
        """
        ...


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items in lists of ``size``, their keys checked."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        lengths = [len(key) for key, _ in batch]
        if min(lengths) < 1 or max(lengths) > MAX_KEY_BYTES:
            bad = next(key for key, _ in batch if not 0 < len(key) <= MAX_KEY_BYTES)
            raise DataError(
                f"The key {bad[:40]!r} has {len(bad)} bytes (limit 1 to {MAX_KEY_BYTES}). "
                "Give users shorter ids."
            )
        yield batch


def repeated(version: str, extra: int, example: bytes | None = None) -> DataError:
    """Error for keys that came more than once."""
    which = f", first {example[:40]!r}" if example else ""
    return DataError(
        f"{version}: {extra} keys came twice{which}. A user belongs to one bucket and one run of "
        "rows: check that the medoids are sorted and the buckets disjoint."
    )
