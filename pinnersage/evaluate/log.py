"""Log: every interest of every user over a span of days, as the daily pipeline extracts it.

The same queries as ``cluster`` reads its window by, over a longer one: repeats, unknown pins and
what is over the daily cap are left out and counted, a user whose erasing is under way too. Days
that are not staged yet are staged from the source, where they are asked for.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pinnersage import extract, queries, stage
from pinnersage.config import Settings
from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate.histories import Integers, Vectors, gathered, offsets_of
from pinnersage.stores import embeddings, open_lake
from pinnersage.stores.embeddings import Embeddings
from pinnersage.stores.lake import Lake


class Log(NamedTuple):
    """What users did, one user after another, each user's oldest action first."""

    user_ids: pa.Array
    """Ascending; user number i is the i-th."""
    offsets: Integers
    """intp[n_users + 1]: user i has the actions offsets[i] .. offsets[i + 1] - 1."""
    rows: Integers
    """Row of each action's pin in ``matrix``."""
    times_us: npt.NDArray[np.int64]
    """When, microseconds since 1970, UTC."""
    matrix: Vectors
    """float32[n_pins, d], unit rows."""
    pin_ids: pa.Array
    """Ascending; row i of the matrix is pin i's."""
    embeddings: str
    """Version that the matrix is of."""
    left_out: dict[str, int]
    """Raw interests that are not in it, by reason."""

    @property
    def users(self) -> Integers:
        """User number of each action."""
        return np.repeat(np.arange(len(self.user_ids)), np.diff(self.offsets))

    def of(self, users: Integers) -> "Log":
        """Return the log of some users, in their order."""
        begins, sizes = self.offsets[users], np.diff(self.offsets)[users]
        offsets, places = gathered(begins, sizes)
        return self._replace(
            user_ids=self.user_ids.take(pa.array(users)),
            offsets=offsets,
            rows=self.rows[places],
            times_us=self.times_us[places],
        )

    @property
    def digest(self) -> str:
        """16 hex digits of who did what when: two runs over the same input share it."""
        found = hashlib.sha256(self.embeddings.encode())
        for array in (self.offsets, self.rows, self.times_us):
            found.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        for user in self.user_ids.to_pylist():
            found.update(f"{user}\n".encode())
        return found.hexdigest()[:16]


def read(first: date, last: date, cut: date, settings: Settings, n_users: int = 0) -> Log:
    """Return the log of ``first`` to ``last``, both included; days that are missing are staged.

    Parameters
    ----------
    cut : date
        First day that anything is judged on: the embeddings are the newest version valid then, so
        that none was made from what is judged.
    n_users : int
        Most users, those whose ids have the smallest MD5; 0: all.
    """
    if not first <= cut <= last:
        raise ConfigError(f"The log of {first} to {last} does not hold the first day, {cut}.")
    table = embeddings.open_valid(open_lake(settings), cut)
    stage.run_missing(days_between(first, last), settings)
    log = of_staged(first, last, table, settings, n_users)
    if not log.rows.size:
        raise DataError(
            f"No interest in a pin with an embedding from {first} to {last}. Name days that have "
            "some, or import embeddings of the pins."
        )
    return log


def of_staged(
    first: date,
    last: date,
    table: Embeddings,
    settings: Settings,
    n_users: int = 0,
    *,
    since: date | None = None,
) -> Log:
    """Return the log of those days that are staged; ``last`` must be.

    In memory are one bucket's users, and of the others those that it returns.

    Parameters
    ----------
    first, last : date
        Both included.
    table : Embeddings
        Pins that have none are left out and counted.
    n_users : int
        Most users, those whose ids have the smallest MD5; 0: all.
    since : date, optional
        Only users who acted on this day or later.
    """
    wide = settings.with_model(window_days=(last - first).days + 1)
    lake, left_out = open_lake(settings), Counter[str]()
    none = np.empty(0, np.intp)
    nobody = Log(
        user_ids=pa.array([], pa.type_for_alias(lake.layout.user_id)),
        offsets=np.zeros(1, np.intp),
        rows=none,
        times_us=none.astype(np.int64),
        matrix=unit(table.matrix),
        pin_ids=table.pin_ids,
        embeddings=table.version,
        left_out={},
    )
    parts = [nobody]
    for bucket in range(lake.layout.n_buckets):
        chunks = _bucket(lake, last, bucket, wide, table, left_out)
        found = [_of_chunk(chunk, nobody, since) for chunk in chunks]
        parts.append(sampled(_together([nobody, *found]), n_users))
    del left_out["kept"]
    log = _together(parts)._replace(left_out=dict(left_out))
    log = log.of(pc.sort_indices(log.user_ids).to_numpy())  # whatever the buckets are
    return sampled(log, n_users)


def _bucket(
    lake: Lake,
    last: date,
    bucket: int,
    settings: Settings,
    table: Embeddings,
    left_out: Counter[str],
) -> Iterator[extract.Chunk]:
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        try:
            left_out.update(extract.label(con, lake, last, bucket, settings, table))
            yield from extract.chunks(con, last)
        except duckdb.Error as error:
            raise queries.translate(error, f"evaluate {last}, bucket {bucket}") from error


def days_between(first: date, last: date) -> list[date]:
    """Return the days from one to another, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _of_chunk(chunk: extract.Chunk, like: Log, since: date | None) -> Log:
    """Return a chunk of whole users as a log, those alone who acted since a day."""
    log = like._replace(
        user_ids=chunk.user_ids.take(pa.array(chunk.offsets[:-1])),
        offsets=chunk.offsets,
        rows=chunk.rows,
        times_us=chunk.acted_at,
    )
    if since is None:
        return log
    newest = chunk.acted_at[chunk.offsets[1:] - 1]
    start_us = int(extract.start_of(since).timestamp()) * 1_000_000
    return log.of(np.flatnonzero(newest >= start_us))


def _together(parts: list[Log]) -> Log:
    """Return logs of different users as one, in their order."""
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    return parts[0]._replace(
        user_ids=pa.concat_arrays([part.user_ids for part in parts]),
        offsets=offsets_of(sizes),
        rows=np.concatenate([part.rows for part in parts]),
        times_us=np.concatenate([part.times_us for part in parts]),
    )


def unit(matrix: npt.NDArray[np.floating]) -> Vectors:
    """Return the rows of a matrix as float32 of unit length: float16 is off by a thousandth."""
    vectors = np.asarray(matrix, np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return np.asarray(vectors / lengths[:, None], np.float32)


def sampled(log: Log, n_users: int) -> Log:
    """Return the log of at most so many users: those whose ids have the smallest MD5."""
    if n_users <= 0 or n_users >= len(log.user_ids):
        return log
    names = pc.cast(log.user_ids, pa.string()).to_pylist()
    digests = [hashlib.md5(name.encode(), usedforsecurity=False).digest() for name in names]
    return log.of(np.sort(np.array(sorted(range(len(names)), key=digests.__getitem__)[:n_users])))
