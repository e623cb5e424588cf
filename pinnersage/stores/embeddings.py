"""Embeddings: versions of a memory-mapped matrix and the pin ids of its rows.

Pin ids stand in ascending order and row i of ``matrix`` is the i-th pin's unit vector, so a
row number orders pins as their ids do. A version is valid from a day on; a day uses the newest
version valid at its end. Everything made from embeddings is stamped with their version.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pinnersage.errors import DataError
from pinnersage.schema import PIN_ROWS
from pinnersage.stores.lake import Lake, Manifest, broken_file
from pinnersage.version import __version__

FEW = 1_000
"""Pins that are looked up by halving: 1 µs each among millions, where a hash table takes 20 ms."""
BLOCK = 65_536
"""Rows that are checked and copied at a time."""
UNIT_TOLERANCE = 1e-3
"""Deviation of a norm from 1 that float16 explains; beyond it a vector is scaled and counted."""


@dataclass(frozen=True)
class Embeddings:
    """One version, open for reading."""

    version: str
    valid_from: date
    matrix: np.ndarray
    """float16 or float32 [n, d], memory-mapped, unit rows."""
    pin_ids: pa.Array
    """Ascending; row i of the matrix is pin i's."""
    pin_rows: Path
    """The same as a Parquet file of (pin_id, row), for DuckDB."""
    ref: str
    """Reference of its manifest."""

    def rows_of(self, pin_ids: pa.Array | Sequence[Any]) -> np.ndarray:
        """Return intp[n], the row of each pin, -1 where a pin has none.

        A few are looked up in the sorted ids, many through a hash table of all.
        """
        wanted = pa.array(pin_ids, type=self.pin_ids.type)
        if len(wanted) <= FEW and not wanted.null_count:
            places = pc.search_sorted(self.pin_ids, wanted).to_numpy().astype(np.intp)
            places = np.minimum(places, len(self.pin_ids) - 1)
            same = pc.equal(self.pin_ids.take(pa.array(places)), wanted)
            return np.where(same.to_numpy(zero_copy_only=False), places, -1)
        found = pc.index_in(wanted, value_set=self.pin_ids)
        rows: np.ndarray = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.intp)
        return rows

    def row_of(self, pin: int | str | None) -> int:
        """Return the row of a pin, -1 if it has none."""
        return int(self.rows_of([pin])[0])


def open_version(lake: Lake, manifest: Manifest) -> Embeddings:
    """Open one version for reading."""
    paths = {lake.path(file).suffix: lake.path(file) for file in manifest.files}
    with broken_file(paths[".npy"]):
        matrix = np.load(paths[".npy"], mmap_mode="r")
    with broken_file(paths[".parquet"]):
        pin_ids = pq.read_table(paths[".parquet"], columns=["pin_id"])["pin_id"].combine_chunks()
    return Embeddings(
        version=manifest.partition["version"],
        valid_from=date.fromisoformat(manifest.report["valid_from"]),
        matrix=matrix,
        pin_ids=pin_ids,
        pin_rows=paths[".parquet"],
        ref=manifest.ref,
    )


def open_valid(lake: Lake, day: date) -> Embeddings:
    """Open the version that is valid at a day's end."""
    return open_version(lake, valid_at(lake, "embeddings", day))


def named(lake: Lake, version: str) -> Embeddings:
    """Open the version of that name."""
    return open_version(lake, lake.require("embeddings", "pinnersage init", version=version))


def valid_at(lake: Lake, table: str, day: date) -> Manifest:
    """Return the newest version of ``embeddings`` or ``pins`` that is valid at a day's end.

    Of versions valid from the same day, the one that was imported last; none that is withdrawn.
    """
    manifests = [m for m in lake.versions(table) if not is_withdrawn(m)]
    valid = [m for m in manifests if m.report["valid_from"] <= day.isoformat()]
    if not valid:
        starts = sorted(m.report["valid_from"] for m in manifests)
        hint = f"the first is valid from {starts[0]}" if starts else "there is none at all"
        raise DataError(
            f"No version of {table} is valid on {day}: {hint}. Import one with pinnersage init, "
            "or make one with pinnersage embed."
        )
    return max(valid, key=lambda m: (m.report["valid_from"], m.report["imported"]))


def is_withdrawn(manifest: Manifest) -> bool:
    """Return whether no day is to be computed with a version any more."""
    return bool(manifest.report.get("withdrawn"))


def withdraw(lake: Lake, version: str) -> str:
    """Let no day be computed with a version any more; return the one that takes its place.

    What was made with it can still be read, released and rolled back to. To import it again takes
    it back.

    Raises
    ------
    DataError
        No such version, or none that could take its place.
    """
    manifest = lake.require("embeddings", "pinnersage init", version=version)
    others = [m for m in lake.versions("embeddings") if m.partition["version"] != version]
    since = manifest.report["valid_from"]
    if not any(m.report["valid_from"] <= since and not is_withdrawn(m) for m in others):
        raise DataError(
            f"Without embeddings {version} none would be valid on {since}, their first day. Import "
            "others for that day first, with pinnersage init."
        )
    report = manifest.report | {"withdrawn": True}
    lake.commit(manifest.model_copy(update={"report": report}))
    return valid_at(lake, "embeddings", date.fromisoformat(since)).partition["version"]


def dated(
    lake: Lake, table: str, version: str, valid_from: date | None, first_day: date
) -> dict[str, Any]:
    """Return what orders the versions of a table: ``valid_from``, and the number of the import.

    Without a day, a version that is there keeps its own and a new one gets ``first_day``. A version
    never moves to a later day: the days before would lose it. What is imported again after another
    version of the same day counts as the last import again.
    """
    others = {m.partition["version"]: m.report for m in lake.versions(table)}
    own = others.pop(version, None)
    asked = valid_from.isoformat() if valid_from else None
    known = [since for since in (asked, own and own["valid_from"]) if since]
    since = min(known) if known else first_day.isoformat()
    later = [r for r in others.values() if own and r["imported"] > own["imported"]]
    if own and since == own["valid_from"] and not any(r["valid_from"] == since for r in later):
        return {"valid_from": since, "imported": own["imported"]}
    last = max((r["imported"] for r in (*others.values(), *([own] if own else []))), default=0)
    return {"valid_from": since, "imported": last + 1}


@dataclass(frozen=True)
class Imported:
    """What an import of vectors made of them."""

    version: str
    pins: int
    dimensions: int
    dropped: int
    """Zero or not finite."""
    scaled: int
    """Brought to unit length."""
    examples: list[str]
    """First pins that were dropped."""


def write(
    lake: Lake,
    pin_ids: pa.Array,
    vectors: np.ndarray,
    *,
    valid_from: date | None,
    first_day: date,
    max_bad_share: float,
) -> Imported:
    """Write a version from vectors in the order of ``pin_ids``, which need not be sorted.

    Zero and not finite vectors are dropped and counted; others are brought to unit length where
    float16 does not explain the difference. The version's name is a hash of its content; for
    its days see ``dated``.

    Raises
    ------
    DataError
        Shapes that do not match, a repeated or missing id, or too many bad vectors.
    """
    check_shapes(pin_ids, vectors)
    order = pc.sort_indices(pin_ids).to_numpy().astype(np.intp)
    dtype = np.float16 if vectors.dtype == np.float16 else np.float32
    good, n_scaled = survey(vectors)
    bad = np.flatnonzero(~good)
    examples = [str(pin_ids[int(i)]) for i in bad[:5]]
    if bad.size > max_bad_share * good.size or bad.size == good.size:
        raise DataError(
            f"{bad.size:,} of {good.size:,} vectors are zero or not finite (limit "
            f"{max_bad_share:.1%}); first pins: {', '.join(examples)}. Mend them, or raise "
            "checks.max_bad_vector_share to drop them."
        )
    order = order[good[order]]
    with lake.workspace() as work:
        matrix = np.lib.format.open_memmap(
            work / "matrix.npy", mode="w+", dtype=dtype, shape=(order.size, vectors.shape[1])
        )
        for start in range(0, order.size, BLOCK):
            matrix[start : start + BLOCK] = unit(vectors[order[start : start + BLOCK]])
        matrix.flush()
        del matrix
        pins = pa.table(
            {"pin_id": pin_ids.take(pa.array(order)), "row": np.arange(order.size)},
            schema=PIN_ROWS.arrow(pin=lake.layout.pin_id),
        )
        version = content_version(work / "matrix.npy", pins)
        keys = {"version": version}
        files = (
            lake.add(work / "matrix.npy", "embeddings", order.size, **keys),
            lake.add_table(pins, "embeddings", work, **keys),
        )
    lake.commit(
        Manifest(
            table="embeddings",
            partition=keys,
            files=files,
            rows=int(order.size),
            content_hash=version,
            code_version=__version__,
            report=dated(lake, "embeddings", version, valid_from, first_day)
            | {"dimensions": int(vectors.shape[1])},
        )
    )
    return Imported(
        version, int(order.size), int(vectors.shape[1]), int(bad.size), n_scaled, examples
    )


def check_shapes(pin_ids: pa.Array, vectors: np.ndarray) -> None:
    """Refuse what cannot be one vector a pin."""
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):  # noqa: PLR2004
        raise DataError(
            f"Embeddings are {vectors.dtype}{list(vectors.shape)}; expected floats, one row a pin."
        )
    if len(pin_ids) != len(vectors) or not len(pin_ids):
        raise DataError(
            f"{len(vectors):,} vectors for {len(pin_ids):,} pins; row i of the vectors must be "
            "that of row i of the pins. Export both from one query."
        )
    check_ids(pin_ids)


def check_ids(pin_ids: pa.Array) -> None:
    """Refuse a missing or repeated id."""
    if pin_ids.null_count:
        raise DataError(f"{pin_ids.null_count:,} pins have no id. Leave them out of the export.")
    counts = pc.value_counts(pin_ids)
    repeated = pc.filter(counts.field(0), pc.greater(counts.field(1), 1))
    if len(repeated):
        raise DataError(
            f"{len(repeated):,} pin ids occur more than once, such as "
            f"{', '.join(map(str, repeated[:5].to_pylist()))}. Export each pin once."
        )


def survey(vectors: np.ndarray) -> tuple[np.ndarray, int]:
    """Return which vectors have a direction, and how many of those are not of unit length."""
    good = np.zeros(len(vectors), dtype=bool)
    n_scaled = 0
    for start, norms in blocks_of_norms(vectors):
        usable = np.isfinite(norms) & (norms > 0)
        good[start : start + norms.size] = usable
        n_scaled += int((np.abs(norms[usable] - 1) > UNIT_TOLERANCE).sum())
    return good, n_scaled


def blocks_of_norms(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the lengths of some vectors at a time, in float64."""
    for start in range(0, len(vectors), BLOCK):
        block = np.asarray(vectors[start : start + BLOCK], dtype=np.float64)
        yield start, np.sqrt(np.einsum("ij,ij->i", block, block))


def unit(block: np.ndarray) -> np.ndarray:
    """Return vectors of unit length; those that are already, within float16, as they are."""
    wide = np.asarray(block, dtype=np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    scale = np.where(np.abs(norms - 1) > UNIT_TOLERANCE, norms, 1.0)
    return wide / scale[:, None]


def content_version(matrix: Path, pins: pa.Table) -> str:
    """Return 12 hex digits of the vectors and their ids."""
    import hashlib  # noqa: PLC0415 (only on import of vectors)

    digest = hashlib.sha256(matrix.read_bytes())
    digest.update("\x1f".join(map(str, pins["pin_id"].to_pylist())).encode())
    return digest.hexdigest()[:12]
