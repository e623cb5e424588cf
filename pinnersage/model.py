"""Model: users' actions to clusters with medoid and importance (paper, Algorithm 2).

The public face of the kernels: it checks what it is given, cuts the users into chunks of about
equal cost, and runs the chunks on threads made for the call. A user's result depends on that
user alone, so neither chunks nor threads change a byte of it.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pinnersage.errors import DataError
from pinnersage.kernels import users

_CHUNKS_A_THREAD = 8

Integers = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class ActionClusters:
    """Clusters of one user's actions, in order of importance, largest first."""

    labels: Integers
    """intp[n]: cluster of each action."""
    medoids: Integers
    """intp[k]: position of each medoid's first action, in ``0 .. n - 1``."""
    importance: Floats
    """float64[k]: sum of exp(-decay_per_day * age) over the cluster's actions."""
    n_actions: Integers
    """intp[k]: number of actions, repeats included."""
    oldest_days: Floats
    """float64[k]: age of the first action."""
    newest_days: Floats
    """float64[k]: age of the last action."""
    cohesion: Floats
    """float64[k]: mean cosine of the actions to the medoid, 1 for a single action."""
    medoid_offset: Floats
    """float64[k]: squared distance of the medoid to the actions' mean, 0 for a single pin."""


@dataclass(frozen=True, slots=True, eq=False)
class UserClusters(ActionClusters):
    """Clusters of many users: user i has the clusters offsets[i] to offsets[i + 1].

    ``labels`` count within the user, ``medoids`` are positions over all users.
    """

    offsets: Integers
    """intp[n_users + 1]: into every array that has one entry a cluster."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What every chunk shares."""

    embeddings: Table
    offsets: Integers
    ages_days: Floats
    rows: Integers | None
    merge_threshold: float
    decay_per_day: float
    most: int
    """Clusters that a matrix of distances has room for."""


def cluster_actions(
    embeddings: npt.ArrayLike,
    ages_days: npt.ArrayLike,
    rows: npt.ArrayLike | None = None,
    merge_threshold: float = 1.0,
    decay_per_day: float = 0.01,
) -> ActionClusters:
    """Clusters of one user's actions.

    Parameters
    ----------
    embeddings : float16, float32 or float64 [n_rows, d]
        One row a pin, of about unit length; may be a memory map.
    ages_days : float64[n]
        Age of each action at the time the result is for, at least 0.
    rows : intp[n], optional
        Row of ``embeddings`` of each action's pin; without it, row i is action i. Equal
        rows are one pin, and its first position stands for it.
    merge_threshold : float
        Largest Ward distance that still merges (the paper's alpha), at least 0; ``inf`` merges
        all.
    decay_per_day : float
        How fast an action loses weight (the paper's lambda), at least 0.

    Returns
    -------
    ActionClusters
        Every action is in exactly one cluster. Clusters of equal importance: later last
        action first, then the medoid of the smaller row. Of medoids that tie, the earliest
        action wins.

    Raises
    ------
    DataError
        An argument, or a vector that an action uses, is not as described.
    """
    n = np.shape(ages_days)[0] if np.ndim(ages_days) == 1 else 0
    found = cluster_users(
        embeddings, np.array([0, n]), ages_days, rows, merge_threshold, decay_per_day
    )
    return ActionClusters(
        found.labels,
        found.medoids,
        found.importance,
        found.n_actions,
        found.oldest_days,
        found.newest_days,
        found.cohesion,
        found.medoid_offset,
    )


def cluster_users(
    embeddings: npt.ArrayLike,
    offsets: npt.ArrayLike,
    ages_days: npt.ArrayLike,
    rows: npt.ArrayLike | None = None,
    merge_threshold: float = 1.0,
    decay_per_day: float = 0.01,
    threads: int = 1,
    matrix_mb: int = 256,
) -> UserClusters:
    """Clusters of many users, whose actions lie one after another.

    Parameters
    ----------
    embeddings, ages_days, rows, merge_threshold, decay_per_day
        As in ``cluster_actions``, with one entry an action over all users.
    offsets : intp[n_users + 1]
        User i has the actions ``offsets[i] .. offsets[i + 1] - 1``; a user may have none.
    threads : int
        Threads to use, at least 1; the result is the same to the byte for any number.
    matrix_mb : int
        Memory in MB that a thread may use for the distances of one user, at least 1. What does
        not fit is clustered without a matrix, exactly and more slowly; only where distances are
        equal to the last bit may that take another of them.

    Returns
    -------
    UserClusters

    Raises
    ------
    DataError
        An argument, or a vector that an action uses, is not as described.
    """
    if threads < 1:
        raise DataError(f"threads is {threads} (limit: at least 1). Ask for 1 or more.")
    if matrix_mb < 1:
        raise DataError(f"matrix_mb is {matrix_mb} (limit: at least 1). Ask for 1 or more.")
    most = math.isqrt(matrix_mb * 2**20 // 4)
    job = _checked(embeddings, offsets, ages_days, rows, merge_threshold, decay_per_day, most)
    chunks = list(pairwise(_cuts(job.offsets, threads)))
    if threads == 1 or len(chunks) == 1:
        parts = [_cluster_chunk(job, begin, end) for begin, end in chunks]
    else:
        with ThreadPoolExecutor(min(threads, len(chunks))) as pool:
            parts = list(pool.map(lambda chunk: _cluster_chunk(job, *chunk), chunks))
    return _joined(parts)


def _cuts(offsets: Integers, threads: int) -> Iterator[int]:
    """Users at which chunks begin, and the end: about equal cost, at least one user each.

    The cost of m actions is taken as m² + 100 m distances.
    """
    sizes = np.diff(offsets).astype(np.float64)
    costs = np.concatenate([[0.0], np.cumsum(sizes * (sizes + 100))])
    share = costs[-1] / (_CHUNKS_A_THREAD * threads) if threads > 1 else np.inf
    begin, n_users = 0, sizes.size
    yield begin
    while begin < n_users:
        by_cost = int(np.searchsorted(costs, costs[begin] + share, "right")) - 1
        begin = min(n_users, max(begin + 1, by_cost))
        yield begin
    if n_users == 0:
        yield 0


def _cluster_chunk(job: _Job, begin: int, end: int) -> users.Clusters:
    """Clusters of the users ``begin .. end - 1``, medoids as positions over all users."""
    first, last = job.offsets[begin], job.offsets[end]
    rows = np.arange(first, last) if job.rows is None else job.rows[first:last]
    table, rows = readable(job.embeddings, rows)
    found, bad = users.cluster_range(
        table,
        rows,
        frozen(job.offsets[begin : end + 1] - first),
        frozen(job.ages_days[first:last]),
        job.merge_threshold,
        job.decay_per_day,
        job.most,
    )
    if bad >= 0:
        raise _no_direction(job, first + bad)
    clusters: users.Clusters = found._replace(medoids=found.medoids + first)
    return clusters


def readable(table: Table, rows: Integers) -> tuple[npt.NDArray[Any], Integers]:
    """Return a table that kernels can read, and where in it the given rows are.

    The embeddings themselves, float16 as its bits; a copy of the rows in use where they are in
    another order of bytes or not one after another in memory.
    """
    if not (table.flags.c_contiguous and table.dtype.isnative):
        used, rows = np.unique(rows, return_inverse=True)
        table = np.ascontiguousarray(table[used], dtype=table.dtype.newbyteorder("="))
    return frozen(table.view(np.uint16) if table.dtype == np.float16 else table), frozen(rows)


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the array for reading only: maps are, and Numba compiles anew for what is not."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def _no_direction(job: _Job, action: int) -> DataError:
    """The error for an action whose vector has no direction."""
    row = action if job.rows is None else int(job.rows[action])
    return no_direction(f"action {action}", job.embeddings, row)


def no_direction(where: str, table: Table, row: int) -> DataError:
    """Return the error for a vector that is NaN, infinite, zero or absurdly long."""
    vector = table[row].astype(np.float64)
    return DataError(
        f"{where}: the vector in row {row} of embeddings has the squared length "
        f"{vector @ vector:g} (limit: {users.SHORTEST:g} to {users.LONGEST:g}, no NaN). "
        "Repair that pin's embedding or drop its actions."
    )


def _joined(parts: list[users.Clusters]) -> UserClusters:
    """Chunks one after another."""
    whole = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in users.Clusters._fields
        if name != "offsets"
    }
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return UserClusters(**whole, offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.intp))


def _checked(
    embeddings: npt.ArrayLike,
    offsets: npt.ArrayLike,
    ages_days: npt.ArrayLike,
    rows: npt.ArrayLike | None,
    merge_threshold: float,
    decay_per_day: float,
    most: int,
) -> _Job:
    """All of the arguments as arrays of the right type, or a ``DataError``."""
    check_rates(merge_threshold, decay_per_day)
    table = table_of(embeddings)
    ages = _ages(ages_days)
    return _Job(
        table,
        _offsets(offsets, ages.size),
        ages,
        _rows(rows, ages.size, table.shape[0]),
        float(merge_threshold),
        float(decay_per_day),
        most,
    )


def check_rates(merge_threshold: float, decay_per_day: float) -> None:
    """Refuse a threshold or a decay that is none."""
    if not merge_threshold >= 0:
        raise DataError(
            f"merge_threshold is {merge_threshold} (limit: at least 0). "
            "Give the largest Ward distance that may merge, such as 1.0."
        )
    if not 0 <= decay_per_day < np.inf:
        raise DataError(
            f"decay_per_day is {decay_per_day} (limit: finite, at least 0). "
            "Give a rate per day such as 0.01."
        )


def table_of(embeddings: npt.ArrayLike) -> Table:
    """Return the embedding table, not copied when it is an array."""
    table = np.asarray(embeddings)
    if table.ndim != 2 or table.shape[1] == 0:  # noqa: PLR2004
        raise DataError(
            f"embeddings have the shape {table.shape} (limit: [rows, d] with d at least 1). "
            "Pass one row a pin."
        )
    if table.dtype.kind != "f" or table.dtype.itemsize > 8:  # noqa: PLR2004
        raise DataError(
            f"embeddings are {table.dtype} (limit: float16, float32 or float64). Convert them."
        )
    return table


def _ages(ages_days: npt.ArrayLike) -> Floats:
    """Ages as float64."""
    ages = np.asarray(ages_days)
    if ages.ndim != 1 or ages.dtype.kind not in "fiu":
        raise DataError(
            f"ages_days are {ages.dtype} of the shape {ages.shape} (limit: numbers, [n]). "
            "Pass one age in days an action."
        )
    ages = ages.astype(np.float64, copy=False)
    bad = first_not((ages >= 0) & (ages < np.inf))
    if bad is not None:
        raise DataError(
            f"action {bad}: age of {ages[bad]} days (limit: finite, at least 0). "
            "Drop actions after the day's end and without a time before clustering."
        )
    return np.ascontiguousarray(ages)


def _offsets(offsets: npt.ArrayLike, n: int) -> Integers:
    """Offsets from 0 to ``n``, never falling."""
    given = integers("offsets", offsets)
    if given.size == 0 or given[0] != 0 or given[-1] != n:
        ends = f"{given[0]} to {given[-1]}" if given.size else "nothing"
        raise DataError(
            f"offsets run over {ends} (limit: from 0 to the number of actions, {n}). "
            "Pass one entry a user and one more."
        )
    bad = first_not(np.diff(given) >= 0)
    if bad is not None:
        raise DataError(
            f"user {bad}: offsets fall from {given[bad]} to {given[bad + 1]} "
            "(limit: never falling). Sort the actions by user and count again."
        )
    return given


def _rows(rows: npt.ArrayLike | None, n: int, n_rows: int) -> Integers | None:
    """Rows of the table, one an action; None when row i is action i."""
    if rows is None:
        if n != n_rows:
            raise DataError(
                f"embeddings have {n_rows} rows for {n} actions (limit: one each without "
                "rows). Pass rows to say which row an action's pin is."
            )
        return None
    given = integers("rows", rows)
    if given.size != n:
        raise DataError(
            f"rows have {given.size} entries for {n} actions (limit: one each). "
            "Pass the row of each action's pin."
        )
    bad = first_not((given >= 0) & (given < n_rows))
    if bad is not None:
        raise DataError(
            f"action {bad}: row {given[bad]} is not in the embeddings (limit: 0 to "
            f"{n_rows - 1}). Drop actions on pins without an embedding before clustering."
        )
    return given


def integers(name: str, values: npt.ArrayLike) -> Integers:
    """Return a vector of positions."""
    given = np.asarray(values)
    if given.ndim != 1 or (given.dtype.kind not in "iu" and given.size > 0):
        raise DataError(
            f"{name} are {given.dtype} of the shape {given.shape} (limit: integers, one "
            "dimension). Convert them."
        )
    return np.ascontiguousarray(given, dtype=np.intp)


def first_not(good: npt.NDArray[np.bool_]) -> int | None:
    """Return the position of the first False."""
    return None if good.all() else int(np.argmin(good))
