"""Known: which pins have an embedding in the live release, as it is now.

An event of another pin is refused, since there is nothing to compare the pin by. While nothing is
live yet, no embedding says so: every pin is known, and who reads later leaves out what is not.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pinnersage.config import Settings
from pinnersage.release import Releases
from pinnersage.stores import embeddings
from pinnersage.stores.embeddings import Embeddings
from pinnersage.takedown import as_integer

LOOK_SECONDS = 1.0
"""Least time between two looks at what is live."""


class KnownPins:
    """The pins of the live release; threads may share it.

    Parameters
    ----------
    settings : Settings
        Of the home.
    clock : callable
        Seconds that only grow.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._releases, self._clock = Releases(settings), clock
        self._guard = threading.Lock()
        self._looked = -float("inf")
        self._table: Embeddings | None = None

    def among(self, pins: Collection[str]) -> Collection[str]:
        """Return those of some pins that have an embedding.

        Parameters
        ----------
        pins : collection of str
            As ``takedown.canonical_id`` has them.
        """
        with self._guard:
            if self._clock() - self._looked >= LOOK_SECONDS:
                self._look()
                self._looked = self._clock()
            table = self._table
        return pins if table is None else with_row(list(pins), table)

    def _look(self) -> None:
        """Open what is live, if it is other embeddings."""
        release = self._releases.live()
        if release is None:
            self._table = None
        elif self._table is None or self._table.version != release.embeddings:
            self._table = embeddings.named(self._releases.lake, release.embeddings)


def with_row(pins: Sequence[str], table: Embeddings) -> list[str]:
    """Return those of some pins, given as text, that have an embedding in a version."""
    rows = rows_of(pins, table).tolist()
    return [pin for pin, row in zip(pins, rows, strict=True) if row >= 0]


def rows_of(pins: Sequence[str], table: Embeddings) -> npt.NDArray[np.intp]:
    """Return intp[n], the row of each pin, given as text; -1 for what is no pin of the version."""
    integers = pa.types.is_integer(table.pin_ids.type)
    return table.rows_of([as_integer(pin) for pin in pins] if integers else list(pins))
