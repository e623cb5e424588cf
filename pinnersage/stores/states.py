"""States: packed online states by user, and a journal of what is to go to the lake.

Unlike the versions of a day's profiles (``keyvalue``), values change all the time, and several
processes read and write them. A change reads and writes as one: two writers of one user come one
after the other, whatever they are. What ``change`` and ``append`` have done survives a crash of
this process, and of the machine where the store keeps to that (LMDB; Redis with
``appendfsync always``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, Self

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

        What ``change`` does not name stays as it is. Entries for the journal are added with it or
        not at all. Keys have 1 to 511 bytes.
        """
        ...

    def items(self) -> Iterator[Item]:
        """Every key and value; those changed meanwhile may come as they were or as they are."""
        ...

    def oldest(self, most: int) -> list[Item]:
        """Oldest entries of the journal: what they are removed by, and what they are."""
        ...

    def remove(self, entries: Sequence[bytes]) -> None:
        """Remove entries of the journal; one that is not there is no error."""
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
