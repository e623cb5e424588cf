"""Extract: one bucket's window of actions, joined to the rows of their pins' embeddings.

Reads only the bucket's own files of the window's days. What is left out is counted by reason:
not an interest, a repeat, a pin without an embedding, over the daily cap. The rest comes back
as arrays of whole users, a bounded number of actions at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinnersage import erased, parallel, queries
from pinnersage.config import Settings
from pinnersage.schema import ACTIONS
from pinnersage.stores.embeddings import Embeddings
from pinnersage.stores.lake import Lake, Manifest

Found = TypeVar("Found")
LEAST_MEMORY = 250
"""Megabytes that DuckDB gets for a bucket of a few hundred thousand actions, or more."""
CHUNK = 250_000
"""Actions after which a chunk ends, at the end of its last user."""


@dataclass(frozen=True)
class Chunk:
    """Whole users, one after another: user i has actions ``offsets[i]`` to ``offsets[i + 1]``."""

    user_ids: pa.Array
    """User of each action."""
    rows: np.ndarray
    """intp[n], row of each action's pin in the embeddings."""
    ages_days: np.ndarray
    """float64[n]."""
    acted_at: np.ndarray
    """int64[n], microseconds since 1970, UTC."""
    offsets: np.ndarray
    """intp[n_users + 1]."""


def start_of(day: date) -> datetime:
    """Return the first moment of a day, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def end_of(day: date) -> datetime:
    """Return the first moment after a day, UTC: the ``now`` of everything computed for it."""
    return start_of(day) + timedelta(days=1)


def window_of(day: date, settings: Settings) -> list[date]:
    """Return the days whose actions count for ``day``, oldest first."""
    n_days = settings.model.window_days
    return [day - timedelta(days=back) for back in range(n_days - 1, -1, -1)]


def window_manifests(lake: Lake, day: date, settings: Settings) -> list[Manifest]:
    """Return the staged days of the window; the day itself must be among them."""
    lake.require("actions", f"pinnersage stage --day {day}", day=day)
    found = (lake.current("actions", day=d) for d in window_of(day, settings))
    return [manifest for manifest in found if manifest is not None]


def side_by_side(
    do: Callable[[int, Settings], Found], n_buckets: int, settings: Settings
) -> Iterator[Found]:
    """Yield what comes of each bucket, in their order; as many at a time as there are threads.

    Two buckets on a thread each end sooner than one after the other on two: their queries are
    small. ``do`` gets the settings of its share; no bucket's is less than ``LEAST_MEMORY``.
    """
    room = max(1, int(queries.megabytes(settings.run) // LEAST_MEMORY))
    at_a_time = min(settings.run.threads, n_buckets, room)
    share = settings.model_copy(update={"run": queries.shared(settings.run, at_a_time)})
    return parallel.in_order(lambda bucket: do(bucket, share), range(n_buckets), at_a_time)


def label(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    day: date,
    bucket: int,
    settings: Settings,
    embeddings: Embeddings,
    actions: pa.RecordBatchReader | None = None,
) -> dict[str, int]:
    """Make ``labelled_user_actions``; return rows left out by reason, and ``kept``.

    The bucket's files are read once, into ``bucket_actions``; everything else looks there.
    ``actions`` are the bucket's rows of the window, in any order, where another engine has read
    them; otherwise they are read from the lake.
    """
    if actions is None:
        read_actions(con, lake, day, bucket, settings)
    else:
        con.register("actions", actions)
    con.read_parquet([str(embeddings.pin_rows)]).create_view("pin_rows", replace=True)
    parameters = window(day, settings)
    for kind, name, sql in (
        ("TABLE", "bucket_actions", "user_actions/bucket"),
        ("TABLE", "left_out", "user_actions/left_out"),
        ("VIEW", "labelled_user_actions", "user_actions/labelled"),
    ):
        text = queries.text(sql)
        con.execute(
            f"CREATE OR REPLACE TEMP {kind} {name} AS {text}", queries.used(text, parameters)
        )
        if name == "bucket_actions":
            leave_out_erased(con, settings)
    con.unregister("actions")
    return dict(con.execute(queries.text("user_actions/dropped")).fetchall())


def leave_out_erased(con: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Remove users from ``bucket_actions`` whose erasing is not done: the lake may have them."""
    record = erased.read(settings)
    if record.under_way:
        found = queries.text("user_actions/erased")
        con.execute(
            f"DELETE FROM bucket_actions WHERE user_id IN ({found})",  # noqa: S608 (our own file)
            record.parameters(),
        )


def read_actions(
    con: duckdb.DuckDBPyConnection, lake: Lake, day: date, bucket: int, settings: Settings
) -> None:
    """Make ``actions``: a view of the bucket's files of the window."""
    layout = lake.layout
    paths = lake.paths(*window_manifests(lake, day, settings), bucket=bucket)
    if paths:
        view = con.read_parquet(paths, hive_partitioning=True)  # day and bucket from the path
        view.create_view("actions", replace=True)
    else:
        schema = ACTIONS.arrow(layout.user_id, layout.pin_id).append(pa.field("day", pa.date32()))
        empty = schema.empty_table()
        con.register("actions", empty)


def window(day: date, settings: Settings) -> dict[str, Any]:
    """Return the parameters of the window's query."""
    return {
        "start": end_of(day) - timedelta(days=settings.model.window_days),
        "end": end_of(day),
        "interest_actions": list(settings.source.interest_actions),
        "max_actions_per_day": settings.model.max_actions_per_day,
    }


def check(
    con: duckdb.DuckDBPyConnection, day: date, bucket: int, settings: Settings, n_buckets: int
) -> list[queries.Found]:
    """Run the checks beside the query on ``labelled_user_actions``; ``validate`` obeys them."""
    parameters = window(day, settings) | {"bucket": bucket, "n_buckets": n_buckets}
    return queries.run_checks(con, "user_actions", parameters)


def chunks(con: duckdb.DuckDBPyConnection, day: date) -> Iterator[Chunk]:
    """Yield the bucket's users, whole, about ``CHUNK`` actions at a time."""
    result = con.sql(queries.text("user_actions/query"), params={"end": end_of(day)})
    held: pa.Table | None = None
    for batch in result.to_arrow_reader(CHUNK):
        table = pa.Table.from_batches([batch])
        held = table if held is None else pa.concat_tables([held, table])
        starts = user_starts(held)
        if starts.size > 1 and held.num_rows >= CHUNK:
            yield chunk(held.slice(0, starts[-1]), starts)  # the last user may go on
            held = held.slice(starts[-1])
    if held is not None and held.num_rows:
        starts = user_starts(held)
        yield chunk(held, np.append(starts, held.num_rows))


def user_starts(table: pa.Table) -> np.ndarray:
    """Return the position of each user's first action."""
    users = table["user_id"]
    changed = pc.not_equal(users.slice(1), users.slice(0, len(users) - 1)).to_numpy()
    return np.flatnonzero(np.concatenate([[True], changed])).astype(np.intp)


def chunk(table: pa.Table, offsets: np.ndarray) -> Chunk:
    """Return a table of whole users as arrays."""
    users = table["user_id"].combine_chunks()
    return Chunk(
        user_ids=users.chunk(0) if isinstance(users, pa.ChunkedArray) else users,
        rows=table["pin_row"].to_numpy().astype(np.intp, copy=False),
        ages_days=table["age_days"].to_numpy(),
        acted_at=table["acted_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy(),
        offsets=offsets,
    )
