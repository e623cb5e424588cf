"""Exposures: what an experiment showed to whom, as files of the lake that are never changed.

    exposures/day=2026-06-01/data/<content>.parquet

The table is a log: a file is whole as soon as it has its name, so there is no manifest, and any
number of processes may write. A batch that is written again after a failure may leave a row twice;
whoever reads counts equal rows once. A user who was ordered to be erased is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa

from pinnersage import erase, erased
from pinnersage.config import Settings
from pinnersage.schema import EXPOSURES
from pinnersage.stores import open_lake
from pinnersage.stores.lake import Lake

POPULAR = -1
"""In the place of a medoid, for a popular pin: no medoid brought it."""


@dataclass(frozen=True)
class Exposure:
    """What one recommendation showed; see ``schema.EXPOSURES``."""

    shown_at: datetime
    experiment: str
    user_id: int | str
    """As the lake has it."""
    arm: str
    share: float
    release: int
    draw: int
    medoids: Sequence[int | str]
    candidates: pa.Array
    """Pins in Arrow's form, which takes a tenth of the room while it waits."""
    brought_by: pa.Array


def append(shown: Sequence[Exposure], settings: Settings) -> int:
    """Add exposures to the lake, a file a day; return how many rows, without erased users'.

    Raises
    ------
    TransientError, DataError
        The lake or the record of erased users is away, or cannot be read. Adding the same again is
        right.
    """
    lake = open_lake(settings)
    days = sorted({day_of(one) for one in shown})

    def step() -> int:
        gone = erased.read(settings).among({str(one.user_id) for one in shown})
        kept = [one for one in shown if str(one.user_id) not in gone]
        with lake.workspace() as work:
            for day in days:
                rows = table_of([one for one in kept if day_of(one) == day], lake)
                if rows.num_rows:
                    lake.add_table(rows, EXPOSURES.name, work, day=day)
        return len(kept)

    return erase.settled(step, settings, erase.own_days(EXPOSURES.name, days, settings))


def day_of(one: Exposure) -> date:
    """Return the day of an exposure, UTC."""
    return one.shown_at.astimezone(UTC).date()


def table_of(shown: Sequence[Exposure], lake: Lake) -> pa.Table:
    """Return exposures as rows in the table's order."""
    schema = EXPOSURES.arrow(lake.layout.user_id, lake.layout.pin_id)
    ordered = sorted(shown, key=lambda one: (one.shown_at, one.user_id))
    columns = [[getattr(one, name) for one in ordered] for name in schema.names]
    lists = {"candidates", "brought_by"}
    return pa.table(
        [
            joined(values, field.type) if field.name in lists else pa.array(values, field.type)
            for values, field in zip(columns, schema, strict=True)
        ],
        schema=schema,
    )


def joined(values: Sequence[pa.Array], kind: pa.ListType) -> pa.Array:
    """Return arrays as one array of lists."""
    offsets = [0]
    for value in values:
        offsets.append(offsets[-1] + len(value))
    whole = pa.concat_arrays(values) if values else pa.array([], kind.value_type)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), whole).cast(kind)
