"""Search: the pins nearest to vectors, some pins left out.

Exact search goes through all pins in blocks. An index is asked for as many more as are left out.
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pinnersage.evaluate.histories import Integers, Vectors
from pinnersage.stores.vectors import VectorReader

BLOCK = 4_000_000
"""Cosines that are held at a time."""


class Found(NamedTuple):
    """The nearest pins of some vectors, nearest first."""

    rows: Integers
    """intp[m, depth]; -1 where there is none."""
    cosines: npt.NDArray[np.float32]
    """float32[m, depth]; -inf where there is none."""


class Searcher(Protocol):
    """What finds pins."""

    matrix: Vectors
    """float32[n_pins, d], unit rows."""

    def search(self, vectors: Vectors, depth: int, without: Integers) -> Found:
        """Return the ``depth`` nearest pins of each vector, the rows ``without`` left out."""


class Exact:
    """Every pin is compared; equal cosines stand by row."""

    def __init__(self, matrix: Vectors) -> None:
        self.matrix = matrix

    def search(self, vectors: Vectors, depth: int, without: Integers) -> Found:
        """Return the nearest pins, by comparing all."""
        depth = min(depth, len(self.matrix))
        step = max(1, BLOCK // len(self.matrix))
        parts = [
            self._block(vectors[start : start + step], depth, without)
            for start in range(0, max(len(vectors), 1), step)
        ]
        return Found(
            np.concatenate([p.rows for p in parts]), np.concatenate([p.cosines for p in parts])
        )

    def _block(self, vectors: Vectors, depth: int, without: Integers) -> Found:
        cosines = vectors @ self.matrix.T
        cosines[:, without] = -np.inf
        rows = nearest(cosines, depth)
        found = np.take_along_axis(cosines, rows, axis=1)
        return Found(np.where(np.isneginf(found), -1, rows), found)


def nearest(cosines: npt.NDArray[np.float32], depth: int) -> Integers:
    """Return the places of the largest numbers of each row, largest first, equal ones in order."""
    n = cosines.shape[1]
    if depth < n:
        edge = np.partition(cosines, n - depth, axis=1)[:, n - depth]
        rows = np.empty((len(cosines), depth), np.intp)
        for i, least in enumerate(edge):
            above = np.flatnonzero(cosines[i] > least)
            equal = np.flatnonzero(cosines[i] == least)[: depth - above.size]
            rows[i] = np.sort(np.concatenate([above, equal]))
    else:
        rows = np.broadcast_to(np.arange(n), cosines.shape)
    order = np.argsort(-np.take_along_axis(cosines, rows, axis=1), axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1)


class Indexed:
    """The released index: approximate, and only the pins that refinement kept."""

    def __init__(self, reader: VectorReader, matrix: Vectors) -> None:
        self.reader = reader
        self.matrix = matrix

    def search(self, vectors: Vectors, depth: int, without: Integers) -> Found:
        """Return the nearest pins, asking for as many more as are left out."""
        found = self.reader.search(vectors, depth + without.size)
        rows = found.rows.astype(np.intp)
        kept = (rows >= 0) & ~np.isin(rows, without)
        order = np.argsort(~kept, axis=1, kind="stable")[:, :depth]
        kept = np.take_along_axis(kept, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
        cosines = np.take_along_axis(found.cosines, order, axis=1)
        return Found(np.where(kept, rows, -1), np.where(kept, cosines, -np.inf))
