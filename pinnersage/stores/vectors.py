"""Vectors: an index of unit vectors by row of the embeddings matrix, a version at a time.

A version is complete or not there, and never changed; the release names the one that is read. A
point's id is its row in the embeddings matrix, so an answer needs no payload: the sorted pin
ids beside the matrix say which pin a row is. What a point carries besides is for filters alone
(decision 35).
"""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from pinnersage.errors import DataError
from pinnersage.stores.filters import NOTHING, Attributes, Filter

Matrix = npt.NDArray[np.floating[Any]]
Quantisation = Literal["none", "int8"]
OVERSAMPLING = 2.0
"""Of quantised vectors as many times the limit are found, and then compared in full."""
_TOO_SHORT = 1e-6
_NARROW = 4
"""One in so many may be found: then to compare them all costs no more than a wide walk."""
_ROOM = 3
"""As many times the limit a walk keeps at least: the last ones found are else often not next."""
_WIDER = 8
"""As many times the candidates keep a walk under a filter on its way."""


class Gathered:
    """Some rows of a matrix, read when they are asked for: no copy of them all is made."""

    def __init__(self, matrix: Any, rows: npt.NDArray[np.integer[Any]]) -> None:
        self._matrix, self._rows = matrix, rows
        self.shape = (len(rows), matrix.shape[1])
        self.ndim, self.size = 2, len(rows) * matrix.shape[1]

    def __getitem__(self, span: slice) -> Matrix:
        """Return those of a span."""
        part: Matrix = self._matrix[self._rows[span]]
        return part


Vectors = Matrix | Gathered


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
    filters : list of str
        What a filter may ask: ``created``, ``topic``, both or neither.
    """

    about: dict[str, Any]
    dimensions: int
    filters: list[str]

    def search(
        self,
        queries: npt.NDArray[np.float32],
        limit: int,
        *,
        ef: int | None = None,
        where: Filter | None = None,
    ) -> Neighbours:
        """Nearest rows of each query, by cosine.

        Parameters
        ----------
        queries : float32[q, d]
            Of any length but zero.
        limit : int
            Neighbours a query; more than the index holds is no error.
        ef : int, optional
            Candidates that the search keeps (at least three times ``limit``): more finds more
            and takes longer. The store's ``ef_search`` unless given. Under a filter eight times as
            many.
        where : Filter, optional
            Only points that it lets through; where they are few, all of them are compared.

        Raises
        ------
        DataError
            The filter asks what the version was built without.
        """
        ...

    def holds(
        self, rows: npt.NDArray[np.int64], where: Filter | None = None
    ) -> npt.NDArray[np.bool_]:
        """Which of these rows (int64[n]) are in the version, and let through: bool[n]."""
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
        vectors: Vectors,
        about: Mapping[str, object],
        attributes: Attributes = NOTHING,
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
        attributes : Attributes, optional
            What filters may ask of each vector.
        """
        ...

    def refresh(
        self,
        version: str,
        base: str,
        rows: npt.NDArray[np.int64],
        vectors: Vectors,
        about: Mapping[str, object],
        attributes: Attributes = NOTHING,
        *,
        most: float,
    ) -> bool:
        """Make a version from a copy of another by what differs; as whole as a built one.

        Parameters
        ----------
        base : str
            A version that is there, of the same embeddings: a row has the same vector in both.
        most : float
            Largest share of changes: rows that came, went or carry other attributes, of ``rows``.

        Returns
        -------
        bool
            False, and nothing was done, where more changed, the two carry different kinds of
            attributes, or the store cannot copy: ``build`` it then.
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


class Plan(NamedTuple):
    """How to search."""

    due: int
    """As many as can be found."""
    exact: bool
    """Whether to compare with all that the filter lets through."""
    ef: int


def planned(
    limit: int, ef: int, matching: int, reader: VectorReader, full_scan_kb: int, *, filtered: bool
) -> Plan:
    """Return how to search among so many points.

    A walk over the graph that may keep few of the points it meets loses its way; to compare all
    is then exact and no slower. Above that it keeps more candidates.
    """
    ef = max(ef * _WIDER if filtered else ef, _ROOM * limit)
    narrow = filtered and matching * reader.dimensions * 4 <= full_scan_kb * 1024
    due = min(limit, matching)
    return Plan(due, narrow or due == len(reader), ef)


def scanned_kb(at_least: int, count: int, dimensions: int) -> int:
    """Return up to how many kB of vectors a search compares with all."""
    return max(at_least, ceil(count * dimensions * 4 / 1024 / _NARROW))


def check_shapes(
    version: str, rows: npt.NDArray[np.int64], vectors: Vectors, attributes: Attributes
) -> None:
    """Refuse what cannot become an index."""
    for known in (attributes.created, attributes.topic):
        if known is not None and known.shape != rows.shape:
            raise DataError(f"{version}: {rows.shape} rows and attributes of {known.shape}.")
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
    version: str, rows: npt.NDArray[np.int64], vectors: Vectors, size: int
) -> Iterator[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Position of the first, rows and float32 vectors, ``size`` at a time, checked."""
    for start in range(0, len(rows), size):
        part = np.ascontiguousarray(vectors[start : start + size], dtype=np.float32)
        lengths = np.linalg.norm(part, axis=1)
        bad = np.flatnonzero(~(lengths > _TOO_SHORT) | ~np.isfinite(lengths))
        if bad.size:
            raise DataError(
                f"{version}: the vector of row {rows[start + bad[0]]} has length "
                f"{lengths[bad[0]]}: no direction to search by. Refine drops such pins."
            )
        yield start, rows[start : start + size], part


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
