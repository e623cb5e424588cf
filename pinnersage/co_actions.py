"""Embed: pins from the company they keep, a stand-in for PinSage (Levy et al., 2015).

Two pins are close when the same users act on both more often than chance says: positive
pointwise mutual information with a smoothed context, then a truncated SVD, rows of
U·sqrt(S) brought to unit length.

The chance of a pair needs only each pin's total, which is known before any pair is counted.
So counts are made for a block of pins at a time, and of each pin only the neighbours that
tell most are kept (count times information, as in a likelihood ratio): time and memory of the
SVD grow with the number of pins, not with that of the pairs.
Nothing here knows of time: whoever calls hands over the actions before a day.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds
from threadpoolctl import threadpool_limits

from pinnersage.errors import ConfigError, DataError

PAIRS_PER_BLOCK = 10_000_000
"""Upper limit of the co-occurrence pairs that are counted at a time."""

_RANK_TOLERANCE = 1e-6


class CoActionEmbeddings(NamedTuple):
    """Embeddings of the pins that have company."""

    pin_ids: pa.Array
    """Sorted, of the type that came in: text or int64."""
    vectors: NDArray[np.float32]
    """``float32[n, dimensions]``, unit length, one row a pin id."""
    n_pins_left_out: int
    """Pins that occur but get no embedding: nobody who acted on them acted on another one,
    or only so by chance."""


def co_action_embeddings(
    user_ids: Any,
    pin_ids: Any,
    *,
    dimensions: int = 64,
    seed: int = 0,
    context_smoothing: float = 0.75,
    max_pins_per_user: int = 500,
    max_neighbours: int = 200,
) -> CoActionEmbeddings:
    """Embeddings of pins from who acted on what.

    Parameters
    ----------
    user_ids, pin_ids : array of int64 or text, NumPy or Arrow
        One entry an action, in any order; repeats of a user's pin count once.
    dimensions : int
        At most the number of pins that share users, less one.
    seed : int
        Of the start vector of the SVD, and of the pins kept of a user who has too many.
    context_smoothing : float
        Exponent of a context's count, in (0, 1]; below 1 rare pins stand out less.
    max_pins_per_user : int
        A seeded sample of this size stands for users with more: pairs grow with its square.
    max_neighbours : int
        Pins that a pin is compared with, those of most information first.

    Returns
    -------
    CoActionEmbeddings
        The same to the byte for any order of the actions.

    Raises
    ------
    ConfigError
        When a parameter is out of range.
    DataError
        When ids are missing, or the actions are too few for so many dimensions.
    """
    _check_parameters(dimensions, context_smoothing, max_pins_per_user, max_neighbours)
    users, _ = _codes(user_ids, "user")
    pins, names = _codes(pin_ids, "pin")
    if users.size != pins.size:
        raise DataError(
            f"{users.size} user ids came with {pins.size} pin ids. Hand over one of each an action."
        )
    taken = _user_by_pin(users, pins, len(names), seed, max_pins_per_user)
    information, has_company = _positive_information(taken, context_smoothing, max_neighbours)
    kept = np.flatnonzero(has_company)
    if kept.size <= dimensions:
        raise DataError(
            f"{kept.size} of {len(names)} pins share users beyond chance; {dimensions} dimensions "
            f"need at least {dimensions + 1} such pins. Ask for fewer dimensions, or take "
            f"actions of more users or of a longer time."
        )
    if kept.size < len(names):
        information = information[kept][:, kept]
    vectors, placed = _factors(information, dimensions, seed)
    return CoActionEmbeddings(
        names.take(pa.array(kept[placed])), vectors, len(names) - int(placed.sum())
    )


def _check_parameters(
    dimensions: int, context_smoothing: float, max_pins_per_user: int, max_neighbours: int
) -> None:
    if dimensions < 1:
        raise ConfigError(f"dimensions is {dimensions}; at least 1 is needed.")
    if not 0 < context_smoothing <= 1:
        raise ConfigError(f"context_smoothing is {context_smoothing}, not in (0, 1].")
    if max_pins_per_user < 2:  # noqa: PLR2004
        raise ConfigError(f"max_pins_per_user is {max_pins_per_user}; a pair needs at least 2.")
    if max_neighbours < 1:
        raise ConfigError(f"max_neighbours is {max_neighbours}; at least 1 is needed.")


def _codes(ids: Any, what: str) -> tuple[NDArray[np.int64], pa.Array]:
    """Position of each id among the sorted distinct ids, and those."""
    values = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(np.asarray(ids))
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if values.null_count:
        raise DataError(
            f"{values.null_count} of {len(values)} actions have no {what} id. "
            f"Drop them, or mend the export."
        )
    if not isinstance(values, pa.DictionaryArray):
        values = values.dictionary_encode()
    # A dictionary that came from outside may hold ids that no action has.
    used = np.unique(values.indices.to_numpy(zero_copy_only=False))
    names = values.dictionary.take(pa.array(used))
    order = pc.sort_indices(names).to_numpy()
    code = np.zeros(len(values.dictionary), np.int64)
    code[used[order]] = np.arange(used.size)
    return code[values.indices.to_numpy(zero_copy_only=False)], names.take(pa.array(order))


def _user_by_pin(
    users: NDArray[np.int64], pins: NDArray[np.int64], n_pins: int, seed: int, limit: int
) -> sparse.csr_array[np.float32, tuple[int, int]]:
    """Ones where a user acted on a pin, at most ``limit`` a user."""
    pairs = np.unique(users * n_pins + pins)
    users, pins = np.divmod(pairs, max(n_pins, 1))
    counts = np.bincount(users)
    if users.size and counts.max() > limit:
        lots = np.random.default_rng(seed).permutation(pairs.size)
        order = np.lexsort((lots, users))
        place = np.arange(pairs.size) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = np.sort(order[place < limit])
        users, pins = users[kept], pins[kept]
    ones = np.ones(users.size, np.float32)
    return sparse.csr_array((ones, (users, pins)), shape=(counts.size, n_pins))


def _positive_information(
    taken: sparse.csr_array[np.float32, tuple[int, int]],
    context_smoothing: float,
    max_neighbours: int,
) -> tuple[sparse.csr_array[np.float32, tuple[int, int]], NDArray[np.bool_]]:
    """Positive pointwise mutual information of pins, and which pins have any.

    With n_u pins of user u, a pin's pairs number the sum of n_u - 1 over its users.
    """
    others = taken.sum(axis=1).astype(np.float64) - 1.0
    by_pin = taken.T.tocsr()
    totals = np.asarray(by_pin @ others, np.float64)
    context = totals**context_smoothing
    # Chance gives a pair its row's total times its context's smoothed share.
    with np.errstate(divide="ignore"):
        row_chance, column_chance = np.log(totals), np.log(context / max(context.sum(), 1.0))
    blocks = [
        _block(by_pin[rows] @ taken, rows, row_chance[rows], column_chance, max_neighbours)
        for rows in _blocks_of(totals)
    ]
    information = sparse.csr_array(sparse.vstack(blocks, format="csr"))
    return information, np.diff(information.indptr) > 0


def _blocks_of(totals: NDArray[np.float64]) -> list[slice]:
    """Slices of pins, each with a bounded number of pairs, or of a single pin."""
    number = ((np.cumsum(totals) - totals) // PAIRS_PER_BLOCK).astype(np.int64)
    ends = [*(np.flatnonzero(np.diff(number)) + 1).tolist(), totals.size]
    return [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]


def _block(
    counts: sparse.csr_array[np.float32, tuple[int, int]],
    rows: slice,
    row_chance: NDArray[np.float64],
    column_chance: NDArray[np.float64],
    max_neighbours: int,
) -> sparse.csr_array[np.float32, tuple[int, int]]:
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    column, n = counts.indices, counts.data
    gain = np.log(n) - row_chance[row] - column_chance[column]
    kept = np.flatnonzero((gain > 0) & (row + rows.start != column))
    row, column, n, gain = row[kept], column[kept], n[kept], gain[kept]
    if (full := np.bincount(row, minlength=1) > max_neighbours).any():
        kept = np.ones(row.size, bool)
        ends = np.cumsum(np.bincount(row))
        for end, start in zip(ends[full], (ends - np.bincount(row))[full], strict=True):
            worth = n[start:end] * gain[start:end]
            kept[start + np.argpartition(-worth, max_neighbours)[max_neighbours:]] = False
        row, column, gain = row[kept], column[kept], gain[kept]
    block = sparse.csr_array((gain.astype(np.float32), (row, column)), shape=counts.shape)
    block.sort_indices()
    return block


def _factors(
    information: sparse.csr_array[np.float32, tuple[int, int]], dimensions: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Unit rows of U·sqrt(S), and which rows have a direction at all."""
    start = np.random.default_rng(seed).standard_normal(information.shape[0])
    # One thread: how BLAS splits a sum among several changes its last bits, and its many small
    # calls are faster so.
    with threadpool_limits(1, user_api="blas"):
        left, sizes, _ = svds(information.astype(np.float64), k=dimensions, v0=start)
    order = np.argsort(-sizes, kind="stable")
    left, sizes = left[:, order], sizes[order]
    rank = int((sizes > sizes[0] * _RANK_TOLERANCE).sum())
    if rank < dimensions:
        raise DataError(
            f"Co-actions of {information.shape[0]} pins support {rank} dimensions, not "
            f"{dimensions}. Ask for at most {rank}, or take actions of more users or of a "
            f"longer time."
        )
    # A singular vector may point either way: its largest entry is positive here.
    largest = np.abs(left).argmax(axis=0)
    left *= np.sign(left[largest, np.arange(dimensions)])
    weighted = left * np.sqrt(sizes)
    lengths = np.sqrt((weighted**2).sum(axis=1))
    placed = lengths > lengths.max() * _RANK_TOLERANCE
    return (weighted[placed] / lengths[placed, None]).astype(np.float32), placed
