"""Packing: one user's clusters as the few hundred bytes that a key-value store holds.

A value is a header, one record a medoid in rank order and, when pin ids are text, their UTF-8
bytes at the end. Embeddings stay in the embedding table: a medoid is a pin id.

A day is packed without a step per medoid. The records of all users are one structured array,
so a user's part is a slice of its bytes, and the ids are a slice of Arrow's own buffer.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinnersage.errors import DataError

MAX_KEY_BYTES = 511  # LMDB's limit; the other stores keep to it, so that a move never fails

_MAGIC = b"PS"
_VERSION = 1
_HEADER = struct.Struct("<2sBBII")  # magic, version, kind of pin id, medoids, CRC-32 of the rest
_INTEGER, _TEXT = 0, 1
_FACTS = [
    ("importance", "<f8"),
    ("n_actions", "<u4"),
    ("offset", "<f4"),
    ("last_acted_at", "<i8"),
]
# For text the first field is the length of the id in bytes.
_RECORDS = (np.dtype([("pin", "<i8"), *_FACTS]), np.dtype([("pin", "<u4"), *_FACTS]))


@dataclass(frozen=True, eq=False)
class Profile:
    """One user's clusters, the most important first.

    Attributes
    ----------
    pin_ids : int64[k] or object[k]
        Medoids; objects are ``str``.
    importance : float64[k]
        Equation 3, at the end of the profile's day.
    n_actions : uint32[k]
        Actions in each cluster.
    offset : float32[k]
        Squared distance from the medoid to the cluster's centroid.
    last_acted_at : int64[k]
        Latest action of each cluster, in microseconds since 1970 UTC.
    """

    pin_ids: np.ndarray[Any, Any]
    importance: np.ndarray[Any, Any]
    n_actions: np.ndarray[Any, Any]
    offset: np.ndarray[Any, Any]
    last_acted_at: np.ndarray[Any, Any]

    def __len__(self) -> int:
        """Clusters."""
        return len(self.pin_ids)

    def where(self, kept: np.ndarray[Any, Any]) -> "Profile":
        """Clusters whose entry in ``kept``, bool[k], is true."""
        return Profile(self.pin_ids[kept], *(getattr(self, name)[kept] for name, _ in _FACTS))


def key_of(user_id: int | str) -> bytes:
    """Key of a user: the id as text, in UTF-8; 7 and "7" share one."""
    key = str(user_id).encode()
    if not 0 < len(key) <= MAX_KEY_BYTES:
        raise _bad_key(key)
    return key


def pack(profile: Profile) -> bytes:
    """Bytes of one profile; equal profiles give equal bytes."""
    text = profile.pin_ids.dtype.kind not in "iu"
    records = np.empty(len(profile), _RECORDS[text])
    ids = [str(pin).encode() for pin in profile.pin_ids] if text else []
    records["pin"] = [len(pin) for pin in ids] if text else profile.pin_ids
    for name, _ in _FACTS:
        records[name] = getattr(profile, name)
    return _value(int(text), len(records), records.tobytes() + b"".join(ids))


def unpack(value: bytes) -> Profile:
    """Profile of a packed value.

    Raises
    ------
    DataError
        The value is cut short, changed, or was never packed here.
    """
    if len(value) < _HEADER.size:
        raise DataError(f"A stored profile has {len(value)} bytes, its header {_HEADER.size}. {_A}")
    magic, version, kind, n, checksum = _HEADER.unpack_from(value)
    if magic != _MAGIC or kind not in (_INTEGER, _TEXT):
        raise DataError(f"A stored value is no profile: it starts with {value[:8]!r}. {_A}")
    if version != _VERSION:
        raise DataError(f"A stored profile has format {version}, this code reads {_VERSION}. {_A}")
    end = _HEADER.size + n * _RECORDS[kind].itemsize
    if len(value) < end or zlib.crc32(value[_HEADER.size :]) != checksum:
        raise DataError(f"A stored profile of {n} medoids is damaged: checksum or length. {_A}")
    records = np.frombuffer(value, _RECORDS[kind], n, _HEADER.size)
    ids = _texts(value[end:], records["pin"]) if kind == _TEXT else records["pin"].astype(np.int64)
    return Profile(ids, *(records[name].copy() for name, _ in _FACTS))


def pack_users(medoids: pa.Table) -> Iterator[tuple[bytes, bytes]]:
    """Key and packed value of each user, in the order of the table.

    Parameters
    ----------
    medoids : pyarrow.Table
        Columns ``user_id, rank, pin_id, importance, n_actions, offset, last_acted_at``
        (others are ignored), sorted by user and rank. Ids are integers or text.

    Raises
    ------
    DataError
        A column is missing or has nulls, ranks do not count up by one within a user, or an
        id is too long for a key.
    """
    if not medoids.num_rows:
        return
    columns = {name: _column(medoids, name) for name in ("user_id", "rank", "pin_id", *_NAMES)}
    users = pc.run_end_encode(columns["user_id"])
    ends = users.run_ends.to_numpy().astype(np.int64)
    starts = np.concatenate([[0], ends[:-1]])
    _check_ranks(columns["rank"].to_numpy(zero_copy_only=False), starts, ends, users.values)

    text = not pa.types.is_integer(columns["pin_id"].type)
    records = np.empty(medoids.num_rows, _RECORDS[text])
    records["importance"] = columns["importance"].to_numpy(zero_copy_only=False)
    records["n_actions"] = pc.cast(columns["n_actions"], pa.uint32()).to_numpy()
    records["offset"] = columns["offset"].to_numpy(zero_copy_only=False)
    records["last_acted_at"] = _microseconds(columns["last_acted_at"])
    if text:
        blob, bounds = _utf8(columns["pin_id"])
        records["pin"] = np.diff(bounds)
    else:
        records["pin"] = pc.cast(columns["pin_id"], pa.int64()).to_numpy()
    data, size = records.tobytes(), records.itemsize

    keys, key_bounds = _utf8(users.values)
    lengths = np.diff(key_bounds)
    worst = int(np.argmax(lengths))
    if lengths[worst] > MAX_KEY_BYTES or not lengths.min():
        worst = worst if lengths.min() else int(np.argmin(lengths))
        raise _bad_key(keys[key_bounds[worst] : key_bounds[worst + 1]])

    key_at = key_bounds.tolist()
    id_at = bounds[np.concatenate([starts, ends[-1:]])].tolist() if text else None
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        body = data[start * size : end * size]
        if id_at is not None:
            body += blob[id_at[i] : id_at[i + 1]]
        yield keys[key_at[i] : key_at[i + 1]], _value(int(text), end - start, body)


_NAMES = tuple(name for name, _ in _FACTS)
_A = "Publish the version again, or roll back to one that reads."


def _value(kind: int, n: int, body: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, _VERSION, kind, n, zlib.crc32(body)) + body


def _texts(blob: bytes, lengths: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    if (ends[-1] if ends else 0) != len(blob):
        raise DataError(f"A stored profile is damaged: its pin ids have {len(blob)} bytes. {_A}")
    ids = np.empty(len(ends), object)
    ids[:] = [blob[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]
    return ids


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        raise DataError(f"medoids: no column {name!r} among {table.column_names}. Cluster again.")
    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # combine_chunks leaves text beyond 2 GB apart
        column = pa.concat_arrays([pc.cast(c, pa.large_string()) for c in column.chunks])
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        raise DataError(f"medoids: {column.null_count} nulls in {name!r} (limit 0). Cluster again.")
    return column


def _check_ranks(
    ranks: np.ndarray[Any, Any],
    starts: np.ndarray[Any, Any],
    ends: np.ndarray[Any, Any],
    users: pa.Array,
) -> None:
    expected = np.arange(len(ranks)) - np.repeat(starts, ends - starts) + int(ranks.min())
    wrong = np.flatnonzero(ranks != expected)
    if wrong.size:
        row = int(wrong[0])
        user = users[int(np.searchsorted(ends, row, side="right"))].as_py()
        raise DataError(
            f"medoids: row {row}, of user {user!r}, has rank {ranks[row]} where {expected[row]} "
            f"is due ({wrong.size} such rows). Sort by user_id and rank, each user once."
        )


def _microseconds(column: pa.Array) -> np.ndarray[Any, Any]:
    """Times as int64; a column without a zone is UTC."""
    if pa.types.is_integer(column.type):
        return pc.cast(column, pa.int64()).to_numpy()  # type: ignore[no-any-return]
    stamps = pc.cast(column, pa.timestamp("us", tz=column.type.tz), safe=False)
    return stamps.view(pa.int64()).to_numpy()  # type: ignore[no-any-return]


def _utf8(column: pa.Array) -> tuple[bytes, np.ndarray[Any, Any]]:
    """All texts of a column as one run of bytes, and the n + 1 bounds between them."""
    texts = pc.cast(column, pa.large_string())
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return (data.to_pybytes() if data is not None else b""), bounds


def _bad_key(key: bytes) -> DataError:
    return DataError(
        f"The user id that starts {key.decode(errors='replace')[:40]!r} has {len(key)} bytes as "
        f"UTF-8 (limit 1 to {MAX_KEY_BYTES}, the key of a key-value store). "
        "Give users shorter ids, or hash them before stage."
    )
