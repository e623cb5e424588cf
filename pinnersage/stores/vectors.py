"""Vectors: an index of unit vectors by row of the embeddings matrix, a version at a time.

A version is built whole, once, and never changed; the release names the one that is read. A
point's id is its row in the embeddings matrix, so an answer needs no payload: the sorted pin
ids beside the matrix say which pin a row is.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from pinnersage.errors import DataError

Matrix = npt.NDArray[np.floating[Any]]
_TOO_SHORT = 1e-6


class Neighbours(NamedTuple):
    """What is near each query.

    Attributes
    ----------
    rows : int64[q, limit]
        Highest cosine first, equal ones by row; -1 where the index has no more.
    cosines : float32[q, limit]
        NaN where ``rows`` is -1.
    """

    rows: npt.NDArray[np.int64]
    cosines: npt.NDArray[np.float32]


class VectorReader(Protocol):
    """One version, open for searching; a forked child may go on with it.

    Attributes
    ----------
    about : dict
        What the builder said about the version.
    dimensions : int
        Length of every vector.
    """

    about: dict[str, Any]
    dimensions: int

    def search(
        self, queries: npt.NDArray[np.float32], limit: int, *, ef: int | None = None
    ) -> Neighbours:
        """Nearest rows of each query, by cosine.

        Parameters
        ----------
        queries : float32[q, d]
            Of any length but zero.
        limit : int
            Neighbours a query; more than the index holds is no error.
        ef : int, optional
            Candidates that the search keeps (at least ``limit``): more finds more and takes
            longer. The store's ``ef_search`` unless given.
        """
        ...

    def __len__(self) -> int:
        """Vectors in the version."""
        ...

    def close(self) -> None:
        """Let go of the version; a second call does nothing."""
        ...

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


class VectorStore(Protocol):
    """Versions of an index."""

    def build(
        self,
        version: str,
        rows: npt.NDArray[np.int64],
        vectors: Matrix,
        about: Mapping[str, object],
    ) -> None:
        """Build a whole version, or nothing that a reader could see.

        A version that is there already stays as it is.

        Parameters
        ----------
        rows : int64[n]
            Row of each vector in the embeddings matrix: not negative, none twice.
        vectors : float32[n, d] or float16[n, d]
            May be a memory map; it is read in blocks, so memory does not grow with it.
        about : Mapping
            Anything that is JSON.
        """
        ...

    def open(self, version: str) -> VectorReader:
        """Reader of a version; ``DataError`` with the versions there are when it is not."""
        ...

    def versions(self) -> list[str]:
        """Complete versions, sorted."""
        ...

    def announce(self, version: str) -> None:
        """Tell whoever else reads the store that this version is live.

        Called before the release moves; ``DataError`` when the version is not there.
        """
        ...

    def drop(self, version: str) -> None:
        """Remove a version; one that is not there is no error."""
        ...


def check_shapes(version: str, rows: npt.NDArray[np.int64], vectors: Matrix) -> None:
    """Refuse what cannot become an index."""
    if vectors.ndim != 2 or rows.shape != vectors.shape[:1] or not vectors.size:  # noqa: PLR2004
        raise DataError(
            f"{version}: {rows.shape} rows and {vectors.shape} vectors make no index: it takes n "
            "rows and n x d vectors, n and d at least 1. Check what refine left."
        )
    if rows.dtype != np.int64 or rows.min() < 0 or len(np.unique(rows)) != len(rows):
        raise DataError(
            f"{version}: rows must be int64, not negative and each once; these are {rows.dtype}, "
            f"from {rows.min()}, {len(np.unique(rows)):,} different of {len(rows):,}."
        )


def blocks(
    version: str, rows: npt.NDArray[np.int64], vectors: Matrix, size: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Rows and float32 vectors, ``size`` at a time, checked."""
    for start in range(0, len(rows), size):
        part = np.ascontiguousarray(vectors[start : start + size], dtype=np.float32)
        lengths = np.linalg.norm(part, axis=1)
        bad = np.flatnonzero(~(lengths > _TOO_SHORT) | ~np.isfinite(lengths))
        if bad.size:
            raise DataError(
                f"{version}: the vector of row {rows[start + bad[0]]} has length "
                f"{lengths[bad[0]]}: no direction to search by. Refine drops such pins."
            )
        yield rows[start : start + size], part


def check_queries(
    queries: npt.NDArray[np.float32], limit: int, dimensions: int
) -> npt.NDArray[np.float32]:
    """Queries as contiguous float32, or an error that says what is wrong with them."""
    if queries.ndim != 2 or queries.shape[1] != dimensions or limit < 1:  # noqa: PLR2004
        raise DataError(
            f"A search takes queries of {dimensions} columns and a limit of at least 1; these are "
            f"{queries.shape} and {limit}. Do queries and index have one embeddings version?"
        )
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    bad = np.flatnonzero(~(np.linalg.norm(queries, axis=1) > _TOO_SHORT))
    if bad.size or not np.isfinite(queries).all():
        first = bad[0] if bad.size else np.flatnonzero(~np.isfinite(queries).all(axis=1))[0]
        raise DataError(f"Query {first} is zero or not finite: it has no direction to search by.")
    return queries


def arrange(hits: Sequence[tuple[Sequence[int], Sequence[float]]], limit: int) -> Neighbours:
    """Rows and cosines of each query in the order that ``Neighbours`` promises."""
    rows = np.full((len(hits), limit), -1, np.int64)
    cosines = np.full((len(hits), limit), np.nan, np.float32)
    for i, (found, scores) in enumerate(hits):
        row, cosine = np.array(found, np.int64), np.array(scores, np.float32).clip(-1, 1)
        order = np.lexsort((row, -cosine))[:limit]
        rows[i, : len(order)], cosines[i, : len(order)] = row[order], cosine[order]
    return Neighbours(rows, cosines)
