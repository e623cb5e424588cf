"""Filters: what a point carries beside its vector, and which points a search may find.

A point carries the day its pin was made and what it is about, each where it is known; whole
numbers and words, never truths (the embedded engine finds nothing by those). A version is built
with what its pins know, and a filter that asks for more is refused: else nothing would be found.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pinnersage.errors import DataError

CREATED, TOPIC = "created", "topic"
"""What a point may carry: the day it was made, in days since 1970, and what it is about."""
UNKNOWN = np.iinfo(np.int64).min
"""In place of a day that is not known: such a point is never fresh."""
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Filter:
    """Which points may be found; one that says nothing lets all through."""

    fresh_since: date | None = None
    """Those made on this day (UTC) or later; of unknown day: not."""
    topics: tuple[str, ...] = ()
    """Those about any of these; empty: about anything."""

    @property
    def since(self) -> int | None:
        """``fresh_since`` in days since 1970."""
        return None if self.fresh_since is None else (self.fresh_since - EPOCH).days

    @property
    def name(self) -> str:
        """Short, and another for each filter: part of what an answer is remembered by."""
        text = json.dumps([self.since, *self.topics])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def asks(self) -> list[str]:
        """Names of what it looks at."""
        return [CREATED] * (self.fresh_since is not None) + [TOPIC] * bool(self.topics)


class Attributes(NamedTuple):
    """What each vector carries for filters; None: nothing of that kind is known of any.

    Attributes
    ----------
    created : int64[n], optional
        Days since 1970; ``UNKNOWN`` where it is not known.
    topic : int32[n], optional
        Position in ``topics``; -1 where it is not known.
    topics : tuple of str
        Names, each once.
    """

    created: npt.NDArray[np.int64] | None = None
    topic: npt.NDArray[np.int32] | None = None
    topics: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """What a filter may ask."""
        return [CREATED] * (self.created is not None) + [TOPIC] * (self.topic is not None)

    def part(self, which: slice | npt.NDArray[np.intp]) -> "Attributes":
        """Those of some vectors."""
        created = None if self.created is None else self.created[which]
        return Attributes(created, None if self.topic is None else self.topic[which], self.topics)

    def payloads(self) -> list[dict[str, Any]] | None:
        """One dictionary a vector, of what is known of it; None when nothing is of any."""
        if not self.names:
            return None
        n = len(self.created if self.created is not None else self.topic)  # type: ignore[arg-type]
        days = [UNKNOWN] * n if self.created is None else self.created.tolist()
        codes = [-1] * n if self.topic is None else self.topic.tolist()
        return [
            ({} if day == UNKNOWN else {CREATED: day})
            | ({} if code < 0 else {TOPIC: self.topics[code]})
            for day, code in zip(days, codes, strict=True)
        ]


NOTHING = Attributes()


def check_filter(where: Filter | None, filters: Sequence[str], name: object) -> None:
    """Refuse a filter that the version cannot answer: nothing would be found, and look right."""
    missing = [asked for asked in (where.asks if where else []) if asked not in filters]
    if missing:
        option = {CREATED: "--created-at", TOPIC: "--topic"}[missing[0]]
        raise DataError(
            f"{name} was built without {' and '.join(missing)}, so it cannot be filtered by it. "
            "Ask without; or refine and index the live day again. If the pins have no such column, "
            f"name it first: pinnersage init {option}. See runbook: filters."
        )


def differences(
    known_rows: npt.NDArray[np.int64],
    known: Attributes,
    rows: npt.NDArray[np.int64],
    attributes: Attributes,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """Return the rows that went, and the positions of those that came or carry other attributes."""
    gone = np.setdiff1d(known_rows, rows)
    order = np.argsort(known_rows)
    place = order[np.searchsorted(known_rows[order], rows).clip(max=len(order) - 1)]
    same = known_rows[place] == rows
    if known.created is not None and attributes.created is not None:
        same &= known.created[place] == attributes.created
    if known.topic is not None and attributes.topic is not None:
        code = {name: i for i, name in enumerate(known.topics)} | {None: -1}
        # What no known point is about has a code of its own, -2.
        ours = np.array([*(code.get(name, -2) for name in attributes.topics), -1])
        same &= known.topic[place] == ours[attributes.topic]
    return gone, np.flatnonzero(~same)
