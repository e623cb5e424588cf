"""States: packed online states by user, and a journal of what is to go to the lake.

Unlike the versions of a day's profiles (``keyvalue``), values change all the time, and several
processes read and write them. A change reads and writes as one: two writers of one user come one
after the other, whatever they are. What ``change`` and ``append`` have done survives a crash of
this process, and of the machine where the store keeps to that (LMDB; Redis with
``appendfsync always``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, Self

from pinnersage.errors import DataError
from pinnersage.stores.packing import MAX_KEY_BYTES

Item = tuple[bytes, bytes]
Change = Callable[[Mapping[bytes, bytes | None]], Mapping[bytes, bytes | None]]
"""From the values that keys have to those they get; None: no value. It may be called again, so it
must not do anything else."""


class States(Protocol):
    """The online states of one home; threads may share it, and a forked child opens it anew."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Value of each key, in their order; ``None`` where there is none."""
        ...

    def change(self, keys: Sequence[bytes], change: Change, journal: Sequence[bytes] = ()) -> None:
        """Replace the values of keys by what ``change`` makes of them, read and written as one.

        What ``change`` does not name stays as it is; it may name no other keys. Entries for the
        journal are added with it or not at all.

        Raises
        ------
        DataError
            A key that has not 1 to 511 bytes, or a store that is damaged.
        TransientError
            The store is away or full; doing it again is right.
        """
        ...

    def items(self) -> Iterator[Item]:
        """Every key and value; those changed meanwhile may come as they were or as they are."""
        ...

    def oldest(self, most: int, after: bytes = b"") -> list[Item]:
        """Oldest entries of the journal, 1 or more: what each is removed by, and what it is.

        Those later than the entry ``after``, if one is named.
        """
        ...

    def remove(self, entries: Sequence[bytes]) -> None:
        """Remove entries of the journal; one that is not there is no error."""
        ...

    def scrub(self) -> None:
        """Leave no byte of what was removed in the store.

        What a server has written to its files goes when it writes them anew.
        """
        ...

    def close(self) -> None:
        """Let go of the store; a second call does nothing."""
        ...

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def check_keys(keys: Sequence[bytes]) -> None:
    """Refuse keys that a store cannot carry."""
    bad = next((key for key in keys if not 0 < len(key) <= MAX_KEY_BYTES), None)
    if bad is not None:
        raise DataError(f"Key {bad[:40]!r} has {len(bad)} bytes (limit 1 to {MAX_KEY_BYTES}).")


def changed(values: Mapping[bytes, bytes | None], change: Change) -> dict[bytes, bytes | None]:
    """Return those of some values that ``change`` changes, as it wants them."""
    return {key: new for key, new in change(values).items() if new != values[key]}
