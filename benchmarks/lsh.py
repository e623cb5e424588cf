"""LSH: neighbours by orthoplex hashing with multi-probe, the peer of HNSW in ``costs``.

A hash turns a vector into a few orthonormal directions and takes the nearest vertex of their
orthoplex, a direction and its sign (Terasawa and Tanaka 2007; Andoni et al. 2015). Of one direction
it is the side of a random plane. A table's cell is the vertices of all its hashes. A search looks
at the cells in the order of what its vertices lack to the best (Lv et al. 2007), over all tables
at once, and computes the cosine of every pin that it meets, exactly.
"""

import heapq
from typing import NamedTuple

import numpy as np
from batches import Floats, Integers
from numba import njit

from pinnersage.stores.neighbours import Near

ALTERNATIVES = 32
"""Second-best vertices of a table that are thought of: those that lack the least."""
_ROWS = 2_048


class Hash(NamedTuple):
    """What a table's cells are made of."""

    hashes: int
    directions: int
    """A hash; 1 is a random plane."""

    @property
    def cells(self) -> int:
        """A table."""
        return int((2 * self.directions) ** self.hashes)


class Tables(NamedTuple):
    """Rows of a matrix by cell, in several tables."""

    how: Hash
    axes: Floats
    """float32[tables · hashes · directions, d]"""
    order: Integers
    """int32[tables, n]: rows, by cell."""
    starts: Integers
    """int32[tables, cells + 1]: where each cell starts in the order."""

    def first(self, n: int) -> "Tables":
        """The first ``n`` tables alone."""
        axes = self.axes[: n * self.how.hashes * self.how.directions]
        return Tables(self.how, axes, self.order[:n], self.starts[:n])

    def sides(self, vectors: Floats) -> Floats:
        """Vectors along each direction, float32[n, tables, hashes, directions]."""
        return (vectors @ self.axes.T).reshape(len(vectors), -1, *self.how)

    @property
    def bytes(self) -> int:
        """What they take beside the vectors."""
        return self.axes.nbytes + self.order.nbytes + self.starts.nbytes


def tables(matrix: Floats, how: Hash, n: int, rng: np.random.Generator) -> Tables:
    """Put every row of a matrix, unit vectors of float32, into ``n`` tables."""
    d = matrix.shape[1]
    bases = np.linalg.qr(rng.standard_normal((n * how.hashes, d, how.directions)))[0]
    axes = bases.transpose(0, 2, 1).reshape(-1, d).astype(np.float32)
    empty = Tables(how, axes, np.empty((n, 0), np.int32), np.empty((n, 0), np.int32))
    blocks = (matrix[start : start + _ROWS] for start in range(0, len(matrix), _ROWS))
    codes = np.concatenate([best_codes(empty.sides(one), how.directions) for one in blocks]).T
    order = np.stack([np.argsort(one, kind="stable") for one in codes])
    counts = np.stack([np.bincount(one, minlength=how.cells) for one in codes])
    starts = np.pad(np.cumsum(counts, axis=1), ((0, 0), (1, 0)))
    return Tables(how, axes, order.astype(np.int32), starts.astype(np.int32))


class Lsh:
    """A matrix and its tables, to be searched by one thread."""

    def __init__(self, matrix: Floats, found: Tables) -> None:
        self._matrix, self.tables = matrix, found
        self._met = np.zeros(len(matrix), np.int32)
        self._rows = np.empty(len(matrix), np.int32)
        self._searches = 0

    def search(self, queries: Floats, limit: int, probes: int) -> list[Near]:
        """The nearest ``limit`` rows to each query that ``probes`` cells hold, or fewer."""
        sides = self.tables.sides(queries)
        return [self._nearest(*one, limit, probes) for one in zip(queries, sides, strict=True)]

    def _nearest(self, query: Floats, sides: Floats, limit: int, probes: int) -> Near:
        self._searches += 1
        _, _, order, starts = self.tables
        n = probed(sides, starts, order, probes, self._met, self._searches, self._rows)
        rows = self._rows[:n]
        cosines = dots(self._matrix, rows, query)
        best = np.argpartition(-cosines, limit - 1)[:limit] if n > limit else np.arange(n)
        best = best[np.lexsort((rows[best], -cosines[best]))]
        return Near(rows[best].astype(np.int64), cosines[best])


def best_codes(sides: Floats, directions: int) -> Integers:
    """Cell of each vector in each table, intp[n, tables]."""
    best = np.abs(sides).argmax(axis=3)
    negative = np.take_along_axis(sides, best[..., None], axis=3)[..., 0] < 0
    vertices = 2 * best + negative
    return (vertices * (2 * directions) ** np.arange(sides.shape[2])).sum(axis=2)


@njit
def alternatives(
    sides: Floats, lacks: Floats, deltas: Integers, owners: Integers
) -> tuple[int, int]:
    """Write a table's second-best vertices, those that lack the least first; count and best cell.

    What a vertex lacks is the squared difference of its inner product to the best one's; a delta is
    what it changes in the number of the cell.
    """
    n_hashes, n_directions = sides.shape
    count, code, step = 0, 0, 1
    for h in range(n_hashes):
        best = np.abs(sides[h]).argmax()
        vertex = 2 * best + (1 if sides[h, best] < 0 else 0)
        code += vertex * step
        for other in range(2 * n_directions):
            if other == vertex:
                continue
            along = sides[h, other // 2]
            product = -along if other % 2 else along
            lack = (abs(sides[h, best]) - product) ** 2
            if count == lacks.size and lack >= lacks[count - 1]:
                continue
            place = min(count, lacks.size - 1)
            while place and lacks[place - 1] > lack:
                lacks[place] = lacks[place - 1]
                deltas[place], owners[place] = deltas[place - 1], owners[place - 1]
                place -= 1
            lacks[place], deltas[place], owners[place] = lack, (other - vertex) * step, h
            count = min(count + 1, lacks.size)
        step *= 2 * n_directions
    return count, code


@njit
def probed(
    sides: Floats,
    starts: Integers,
    order: Integers,
    probes: int,
    met: Integers,
    search: int,
    rows: Integers,
) -> int:
    """Write the rows in the ``probes`` nearest cells of all tables, each once; how many.

    A set of alternatives, in the order of its last one, is followed by two: the next one in place
    of the last, and the next one too. So each set comes once, and none before one that lacks less.
    A set with two vertices of one hash is no cell.
    """
    n_tables = sides.shape[0]
    lacks = np.empty((n_tables, ALTERNATIVES), np.float64)
    deltas = np.empty((n_tables, ALTERNATIVES), np.int64)
    owners = np.empty((n_tables, ALTERNATIVES), np.int64)
    counts = np.empty(n_tables, np.int64)
    heap = [(0.0, 0, 0, -1, 0.0, 0)]
    heap.clear()
    for table in range(n_tables):
        counts[table], code = alternatives(sides[table], lacks[table], deltas[table], owners[table])
        heapq.heappush(heap, (0.0, table, code, -1, 0.0, 0))
    n, looked = 0, 0
    while heap and looked < probes:
        # the set but for its last: its cell, what it lacks, and its hashes as bits
        lack, table, code, last, before, hashes = heapq.heappop(heap)
        is_cell = last < 0 or not hashes >> owners[table, last] & 1
        after = last + 1
        if last >= 0 and after < counts[table]:
            heapq.heappush(heap, (before + lacks[table, after], table, code, after, before, hashes))
        if not is_cell:
            continue
        if last >= 0:
            code += deltas[table, last]
            hashes |= 1 << owners[table, last]
        if after < counts[table]:
            heapq.heappush(heap, (lack + lacks[table, after], table, code, after, lack, hashes))
        looked += 1
        for place in range(starts[table, code], starts[table, code + 1]):
            row = order[table, place]
            if met[row] != search:
                met[row] = search
                rows[n] = row
                n += 1
    return n


@njit(fastmath={"reassoc", "contract", "nsz"})
def dots(matrix: Floats, rows: Integers, query: Floats) -> Floats:
    """Inner product of the query with each row, float32[rows]."""
    found = np.empty(rows.size, np.float32)
    for i in range(rows.size):
        vector = matrix[rows[i]]
        total = np.float32(0)
        for j in range(query.size):
            total += vector[j] * query[j]
        found[i] = total
    return found
