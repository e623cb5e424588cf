"""Lanes: the inner loops that a compiler does not find by itself, sixteen numbers at a time.

Each function is a few lines of LLVM's vector code, which LLVM turns into what the machine has:
AVX-512, two AVX2 registers, four of SSE or NEON. The order of every sum is written down, so all
widths give the same bits. Numba compiles and caches them as part of the kernels that call them.

An index is trusted: callers pad their arrays to whole tiles.
"""

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

vector_code: Callable[..., Any] = intrinsic
"""Numba's decorator for what writes its own LLVM code."""

LANES = 16
GRAM_TILE = 4
"""Rows, and columns, of a tile of ``ward_distances``."""
NEAR_ROWS, NEAR_COLUMNS = 8, 32
"""Rows and columns of a tile of ``near``: a row's answer is one 32-bit mask."""

_I8, _I16, _I32, _I64, _F32 = (*map(ir.IntType, (8, 16, 32, 64)), ir.FloatType())
_F64 = ir.DoubleType()
_DOUBLES = ir.VectorType(_F64, LANES)
_FLOATS, _INTS = ir.VectorType(_F32, LANES), ir.VectorType(_I32, LANES)
_BYTES, _QUARTER = ir.VectorType(_I8, 4 * LANES), ir.VectorType(_F32, GRAM_TILE)
_BLOCKS = NEAR_COLUMNS // LANES


def _has(feature: str) -> bool:
    """Whether code is made for a machine that has a feature, in LLVM's words."""
    asked = vars(config)  # by NUMBA_CPU_NAME and NUMBA_CPU_FEATURES
    if asked["CPU_NAME"] or asked["CPU_FEATURES"]:
        return f"+{feature}" in (asked["CPU_FEATURES"] or "")
    return bool(llvmlite.binding.get_host_cpu_features().get(feature, False))


HAS_BYTE_PRODUCTS = _has("avx512vnni")
"""Whether the machine adds four products of bytes in one step, which makes ``near`` cheap."""


class _Code:
    """A builder of vector code: one method an operation, on values of LLVM."""

    def __init__(self, context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> None:
        self.b, self._context = builder, context
        self._arrays = dict(zip(values, signature.args, strict=True))

    def at(self, array: Any, *index: Any) -> Any:
        """Return a pointer to an element; the last axes that are not named start at 0."""
        view = self._context.make_array(self._arrays[array])(self._context, self.b, array)
        strides = cgutils.unpack_tuple(self.b, view.strides)
        offset: Any = _integer(0)
        for i, stride in zip(index, strides, strict=False):
            offset = self.b.add(offset, self.b.mul(_as_value(i), stride))
        start = self.b.bitcast(view.data, _I8.as_pointer())
        return self.b.gep(start, [offset])

    def later(self, pointer: Any, skip: Any, kind: ir.Type) -> Any:
        """Return a pointer ``skip`` times the size of ``kind`` further on."""
        return self.b.gep(self.b.bitcast(pointer, kind.as_pointer()), [_as_value(skip)])

    def load(self, pointer: Any, kind: ir.Type, *, skip: Any = 0) -> Any:
        """Return what stands ``skip`` times the size of ``kind`` after a pointer."""
        place = self.later(pointer, skip, kind)
        value = self.b.load(self.b.bitcast(place, kind.as_pointer()))
        value.align = 1
        return value

    def store(self, value: Any, pointer: Any, *, skip: Any = 0) -> None:
        """Store a value, at any alignment."""
        typed = self.b.bitcast(pointer, value.type.as_pointer())
        self.b.store(value, self.b.gep(typed, [_as_value(skip)])).align = 1

    def pick(self, first: Any, second: Any, lanes: Sequence[int]) -> Any:
        """Return chosen lanes of two vectors, those of the second counted after the first's."""
        mask = ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes))
        return self.b.shuffle_vector(first, second, mask)

    def shape(self, array: Any) -> Any:
        """Return the lengths of an array's axes."""
        view = self._context.make_array(self._arrays[array])(self._context, self.b, array)
        return cgutils.unpack_tuple(self.b, view.shape)

    def first(self, vector: Any) -> Any:
        """Return the first lane."""
        return self.b.extract_element(vector, ir.Constant(_I32, 0))

    def spread(self, value: Any, n_lanes: int = LANES) -> Any:
        """Return a vector of one number."""
        kind = ir.VectorType(value.type, n_lanes)
        nothing = ir.Constant(kind, ir.Undefined)
        one = self.b.insert_element(nothing, value, ir.Constant(_I32, 0))
        return self.pick(one, nothing, [0] * n_lanes)

    def call(self, name: str, kind: ir.Type, *values: Any) -> Any:
        """Return the result of an LLVM intrinsic whose arguments are of the result's type."""
        function = ir.FunctionType(kind, [value.type for value in values])
        return self.b.call(cgutils.get_or_insert_function(self.b.module, function, name), values)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Return a·b + c, rounded once."""
        return self.call(f"llvm.fma.v{a.type.count}f32", a.type, a, b, c)

    def fma64(self, a: Any, b: Any, c: Any) -> Any:
        """Return a·b + c in float64, rounded once."""
        return self.call(f"llvm.fma.v{a.type.count}f64", a.type, a, b, c)

    def sum(self, vector: Any) -> Any:
        """Return the sum of all lanes, halves first."""
        size = vector.type.count
        while size > 1:
            size //= 2
            low = self.pick(vector, vector, range(size))
            high = self.pick(vector, vector, range(size, 2 * size))
            whole = vector.type.element == _I32
            vector = self.b.add(low, high) if whole else self.b.fadd(low, high)
        return self.first(vector)

    def loop(self, n: Any, start: Sequence[Any], step: Callable[..., Sequence[Any]]) -> list[Any]:
        """Carry values through ``step(i, *values)`` for i in 0 .. n - 1; n is at least 1."""
        before, body = self.b.block, self.b.append_basic_block("body")
        after = self.b.append_basic_block("after")
        self.b.branch(body)
        self.b.position_at_end(body)
        i = self.b.phi(_I64)
        carried = [self.b.phi(value.type) for value in start]
        found = list(step(i, *carried))
        following = self.b.add(i, _integer(1))
        end = self.b.block
        for phi, first, last in zip([i, *carried], [_integer(0), *start], [following, *found],
                                    strict=True):  # fmt: skip
            phi.add_incoming(first, before)
            phi.add_incoming(last, end)
        self.b.cbranch(self.b.icmp_signed("<", following, n), body, after)
        self.b.position_at_end(after)
        return found


def _integer(value: int) -> Any:
    return ir.Constant(_I64, value)


def _as_value(value: Any) -> Any:
    return _integer(value) if isinstance(value, int) else value


def _constant(kind: ir.VectorType, value: float) -> Any:
    return ir.Constant(kind, [value] * kind.count)


@vector_code
def ward_distances(typing: Any, rows: Any, names: Any, i: Any, j: Any, squares: Any,
                   inverses: Any, matrix: Any) -> Any:  # fmt: skip
    """Write a tile of Ward distances of clusters i .. i + 3 and j .. j + 3, both ways.

    ``d = (|a|² + |b|² - 2 a·b) · 2 / (1/wᵢ + 1/wⱼ)``, never below 0.

    Parameters
    ----------
    rows : float32[:, multiple of 16]
        Vectors, padded with zeros.
    names : intp[n]
        Row of each cluster; n is a multiple of 4, as are i and j.
    i, j : intp
    squares, inverses : float32[n]
        Squared length and 1 / weight of each cluster.
    matrix : float32[n, :]
        Gets the tile and its mirror image.
    """
    del typing
    signature = types.void(rows, names, i, j, squares, inverses, matrix)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, signature, values)
        rows, names, i, j, squares, inverses, matrix = values

        def pointers(begin: Any) -> list[Any]:
            chosen = code.at(names, begin)
            return [code.at(rows, code.load(chosen, _I64, skip=r)) for r in range(GRAM_TILE)]

        products = _products_of(code, pointers(i), pointers(j), _steps(code, rows))
        tiled = _ward(code, _sums(code, products), (squares, inverses), (i, j))
        _store_both_ways(code, tiled, matrix, i, j)
        return context.get_dummy_value()

    return signature, generate


def _products_of(code: _Code, left: list[Any], right: list[Any], steps: Any) -> list[Any]:
    """Products of each row with each column, one vector of sixteen partial sums a pair.

    AVX-512 holds all sixteen vectors in its registers. Others hold half of them, of half the
    lanes, and come back for the rest: the same sums in the same order.
    """
    if _has("avx512f"):
        width, columns = LANES, GRAM_TILE
    else:
        width, columns = LANES // 2, GRAM_TILE // 2
    halves: dict[tuple[int, int], list[Any]] = {}
    for first in range(0, GRAM_TILE, columns):
        pairs = [(r, c) for r in range(GRAM_TILE) for c in range(first, first + columns)]
        for start in range(0, LANES, width):
            found = _partial_products(
                code, left, right[first : first + columns], steps, start, width
            )
            for pair, sums in zip(pairs, found, strict=True):
                halves.setdefault(pair, []).append(sums)
    parts = [halves[r, c] for r in range(GRAM_TILE) for c in range(GRAM_TILE)]
    return [code.pick(part[0], part[-1], range(LANES)) for part in parts]


def _partial_products(
    code: _Code, left: list[Any], right: list[Any], steps: Any, start: int, width: int
) -> list[Any]:
    """Products of rows and columns over the lanes ``start`` to ``start + width``, summed."""
    kind = ir.VectorType(_F32, width)

    def step(k: Any, *sums: Any) -> list[Any]:
        at = code.b.add(code.b.mul(k, _integer(LANES)), _integer(start))
        a, b = (
            [code.load(code.later(pointer, at, _F32), kind) for pointer in pointers]
            for pointers in (left, right)
        )
        return [
            code.fma(x, y, sums[len(b) * r + c]) for r, x in enumerate(a) for c, y in enumerate(b)
        ]

    return code.loop(steps, [_constant(kind, 0.0)] * (len(left) * len(right)), step)


def _sums(code: _Code, vectors: list[Any]) -> Any:
    """Sum of the lanes of each of 16 vectors, as one vector: a tree, two vectors to one.

    Twice neighbours are added within quarters of a vector, then twice quarters.
    """
    quarters = range(0, LANES, 4)
    inside = [start + lane for start in quarters for lane in (0, 2, LANES, LANES + 2)]
    across = [4 * quarter + lane for quarter in (0, 2, 4, 6) for lane in range(4)]
    for first, apart in ((inside, 1), (inside, 1), (across, 4), (across, 4)):
        second = [lane + apart for lane in first]
        vectors = [
            code.b.fadd(code.pick(a, b, first), code.pick(a, b, second))
            for a, b in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    return vectors[0]


def _ward(code: _Code, dots: Any, facts: tuple[Any, Any], corner: tuple[Any, Any]) -> Any:
    """Inner products of a tile to Ward distances."""
    by_row = [r for r in range(GRAM_TILE) for _ in range(GRAM_TILE)]
    by_column = list(range(GRAM_TILE)) * GRAM_TILE
    added = []
    for fact in facts:
        ends = [code.load(code.at(fact, begin), _QUARTER) for begin in corner]
        both = [code.pick(e, e, lanes) for e, lanes in zip(ends, (by_row, by_column), strict=True)]
        added.append(code.b.fadd(*both))
    squares = code.fma(dots, _constant(_FLOATS, -2.0), added[0])
    positive = code.b.fcmp_ordered(">", squares, _constant(_FLOATS, 0.0))
    squares = code.b.select(positive, squares, _constant(_FLOATS, 0.0))
    return code.b.fmul(squares, code.b.fdiv(_constant(_FLOATS, 2.0), added[1]))


def _store_both_ways(code: _Code, tiled: Any, matrix: Any, i: Any, j: Any) -> None:
    """Put a tile at (i, j), and its mirror image at (j, i)."""
    for r in range(GRAM_TILE):
        row = code.pick(tiled, tiled, range(GRAM_TILE * r, GRAM_TILE * (r + 1)))
        code.store(row, code.at(matrix, code.b.add(i, _integer(r)), j))
        column = code.pick(tiled, tiled, range(r, GRAM_TILE**2, GRAM_TILE))
        code.store(column, code.at(matrix, code.b.add(j, _integer(r)), i))


@vector_code
def least(typing: Any, row: Any, mask: Any) -> Any:
    """Return the smallest of ``row + mask``; float32[multiple of 16] both. NaN is passed over."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, signature, values)

        def step(k: Any, best: Any) -> list[Any]:
            value = _masked(code, values, k)
            return [builder.select(builder.fcmp_ordered("<", value, best), value, best)]

        best = code.loop(_steps(code, values[0]), [_constant(_FLOATS, float("inf"))], step)[0]
        while best.type.count > 1:
            half = best.type.count // 2
            low, high = (code.pick(best, best, range(begin, begin + half)) for begin in (0, half))
            best = builder.select(builder.fcmp_ordered("<", high, low), high, low)
        return builder.extract_element(best, ir.Constant(_I32, 0))

    return types.float32(row, mask), generate


@vector_code
def within(typing: Any, row: Any, mask: Any, limit: Any, found: Any) -> Any:
    """Write the positions where ``row + mask <= limit``, ascending; return how many there are.

    ``row`` and ``mask`` are float32[multiple of 16], ``found`` intp of the same length.
    """
    del typing

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, signature, values)
        limit = code.spread(values[2])
        target = code.at(values[3])

        def step(k: Any, count: Any) -> list[Any]:
            close = builder.fcmp_ordered("<=", _masked(code, values, k), limit)
            bits = builder.bitcast(close, _I16)
            some, none = (builder.append_basic_block(name) for name in ("some", "none"))
            before = builder.block
            builder.cbranch(builder.icmp_unsigned("!=", bits, ir.Constant(_I16, 0)), some, none)
            builder.position_at_end(some)
            left, total = builder.phi(_I16), builder.phi(_I64)
            position = builder.cttz(left, ir.Constant(ir.IntType(1), 1))
            place = builder.add(builder.mul(k, _integer(LANES)), builder.zext(position, _I64))
            code.store(place, target, skip=total)
            rest = builder.and_(left, builder.sub(left, ir.Constant(_I16, 1)))
            more = builder.add(total, _integer(1))
            for phi, begin, following in ((left, bits, rest), (total, count, more)):
                phi.add_incoming(begin, before)
                phi.add_incoming(following, some)
            builder.cbranch(builder.icmp_unsigned("!=", rest, ir.Constant(_I16, 0)), some, none)
            builder.position_at_end(none)
            after = builder.phi(_I64)
            after.add_incoming(count, before)
            after.add_incoming(more, some)
            return [after]

        return code.loop(_steps(code, values[0]), [_integer(0)], step)[0]

    return types.intp(row, mask, limit, found), generate


def _masked(code: _Code, values: Any, k: Any) -> Any:
    """Sixteen of ``row + mask``, the first two arguments."""
    return code.b.fadd(*(code.load(code.at(array), _FLOATS, skip=k) for array in values[:2]))


def _steps(code: _Code, array: Any) -> Any:
    """Number of vectors in the last axis of an array."""
    return code.b.udiv(code.shape(array)[-1], _integer(LANES))


@vector_code
def quantise(typing: Any, row: Any, levels: Any) -> Any:
    """Write a row as whole numbers of -127 to 127 times a scale; return what that costs.

    Parameters
    ----------
    row : float32[d]
        d a multiple of 16.
    levels : uint8[d]
        Gets the whole numbers plus 128.

    Returns
    -------
    scale, square, kept, lost : float32
        Scale; squared length of the row, of the whole numbers (without the scale), and of the
        difference between the row and what stands for it.
    total : int32
        Sum of the whole numbers.
    """
    del typing
    floats = types.UniTuple(types.float32, 4)
    signature = types.Tuple((floats, types.int32))(row, levels)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, signature, values)
        source, target = (code.at(array) for array in values)
        n, zero = _steps(code, values[0]), _constant(_FLOATS, 0.0)

        def largest(k: Any, best: Any) -> list[Any]:
            size = code.call(f"llvm.fabs.v{LANES}f32", _FLOATS, code.load(source, _FLOATS, skip=k))
            return [builder.select(builder.fcmp_ordered(">", size, best), size, best)]

        best = code.loop(n, [zero], largest)[0]
        while best.type.count > 1:
            half = best.type.count // 2
            low, high = (code.pick(best, best, range(begin, begin + half)) for begin in (0, half))
            best = builder.select(builder.fcmp_ordered(">", high, low), high, low)
        best = builder.extract_element(best, ir.Constant(_I32, 0))
        scale = code.spread(builder.fdiv(best, ir.Constant(_F32, 127.0)))
        # What has no inverse stands as zeros, and all of it is lost.
        some = builder.fcmp_ordered(">", best, ir.Constant(_F32, 2.0**-100))
        inverse = builder.fdiv(ir.Constant(_F32, 127.0), best)
        inverse = code.spread(builder.select(some, inverse, ir.Constant(_F32, 0.0)))

        def step(k: Any, square: Any, kept: Any, lost: Any, total: Any) -> list[Any]:
            value = code.load(source, _FLOATS, skip=k)
            level = code.call(f"llvm.rint.v{LANES}f32", _FLOATS, builder.fmul(value, inverse))
            whole = builder.fptosi(level, _INTS)
            shifted = builder.add(whole, _constant(_INTS, 128))
            code.store(builder.trunc(shifted, ir.VectorType(_I8, LANES)), target, skip=k)
            gap = builder.fsub(value, builder.fmul(level, scale))
            return [
                code.fma(value, value, square), code.fma(level, level, kept),
                code.fma(gap, gap, lost), builder.add(total, whole),
            ]  # fmt: skip

        start = [zero, zero, zero, _constant(_INTS, 0)]
        *sums, total = code.loop(n, start, step)
        facts = [code.first(scale), *map(code.sum, sums)]
        packed = context.make_tuple(builder, floats, facts)
        return context.make_tuple(builder, signature.return_type, [packed, code.sum(total)])

    return signature, generate


@vector_code
def by_column(typing: Any, levels: Any, block: Any, packed: Any) -> Any:
    """Write sixteen rows of bytes for reading by column, four bytes of each at a time.

    Parameters
    ----------
    levels : uint8[:, multiple of 64]
        Rows of ``quantise``; those of the block, 16·block and the next fifteen, are read.
    block : intp
    packed : uint32[:, multiple of 16, 16]
        Gets, at ``[block, k, c]``, bytes 4k to 4k + 3 of column c, signed.
    """
    del typing

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, signature, values)
        levels, block, packed = values
        first = builder.mul(block, _integer(LANES))
        rows = [code.at(levels, builder.add(first, _integer(r))) for r in range(LANES)]
        target = code.at(packed, block)

        def step(k: Any) -> list[Any]:
            square = _transposed(code, [code.load(row, _INTS, skip=k) for row in rows])
            for q, column in enumerate(square):
                at = builder.add(builder.mul(k, _integer(LANES)), _integer(q))
                code.store(builder.xor(column, _constant(_INTS, 0x80808080)), target, skip=at)
            return []

        code.loop(builder.udiv(code.shape(levels)[1], _integer(4 * LANES)), [], step)
        return context.get_dummy_value()

    return types.void(levels, block, packed), generate


def _transposed(code: _Code, rows: list[Any]) -> list[Any]:
    """Rows of a square as its columns: halves change places, then quarters, and so on."""
    size = LANES // 2
    while size:
        upper = [lane if not lane & size else LANES + lane - size for lane in range(LANES)]
        lower = [lane + size if not lane & size else LANES + lane for lane in range(LANES)]
        rows = [
            code.pick(rows[r], rows[r + size], upper)
            if not r & size
            else code.pick(rows[r - size], rows[r], lower)
            for r in range(LANES)
        ]
        size //= 2
    return rows


@vector_code
def near(typing: Any, levels: Any, i: Any, packed: Any, j: Any, facts: Any, columns: Any,
         found: Any) -> Any:  # fmt: skip
    """Write which of 32 points may be near each of eight points, as bits.

    A bit is 1 unless ``scaleᵢ·scaleⱼ·(levels of i · levels of j) + keptᵢ·lostⱼ + lostᵢ·lengthⱼ``
    lies below ``limitᵢ + limitⱼ``; see ``components`` for what that proves.

    Parameters
    ----------
    levels : uint8[:, multiple of 64]
        Rows of ``quantise``; eight from i on are read.
    i, j : intp
        First row; first column is 32·j.
    packed : uint32[:, :, 16]
        Four levels, as signed bytes, of each of sixteen columns: block, group of four, column.
    facts : float32[:, 4]
        Scale, kept, lost, limit of each row.
    columns : float32[:, 5, 16]
        Scale, length, lost, limit, and -128 times the sum of its levels, of each column.
    found : uint32[8]
        Gets the bits; bit c is column 32·j + c.
    """
    del typing
    signature = types.void(levels, i, packed, j, facts, columns, found)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, signature, values)
        levels, i, packed, j, facts, columns, found = values
        add_products = _vnni if HAS_BYTE_PRODUCTS else _products
        blocks = [
            builder.add(builder.mul(j, _integer(_BLOCKS)), _integer(c)) for c in range(_BLOCKS)
        ]
        rows = [builder.add(i, _integer(r)) for r in range(NEAR_ROWS)]
        left = [code.at(levels, row) for row in rows]
        right = [code.at(packed, block) for block in blocks]
        about = [
            [code.load(code.at(columns, block), _FLOATS, skip=q) for q in range(5)]
            for block in blocks
        ]

        def step(k: Any, *sums: Any) -> list[Any]:
            b = [code.load(pointer, _INTS, skip=k) for pointer in right]
            a = [code.spread(code.load(pointer, _I32, skip=k)) for pointer in left]
            return [
                add_products(code, sums[_BLOCKS * r + c], a[r], b[c])
                for r in range(NEAR_ROWS) for c in range(_BLOCKS)
            ]  # fmt: skip

        start = [builder.fptosi(column[4], _INTS) for column in about] * NEAR_ROWS
        groups = builder.udiv(code.shape(levels)[1], _integer(4))
        dots = code.loop(groups, start, step)
        target = code.at(found)
        for r, row in enumerate(rows):
            scale, kept, lost, limit = (
                code.spread(code.load(code.at(facts, row), _F32, skip=q)) for q in range(4)
            )
            for c, column in enumerate(about):
                dot = builder.sitofp(dots[_BLOCKS * r + c], _FLOATS)
                bound = builder.fsub(builder.fmul(builder.fmul(dot, column[0]), scale), column[3])
                bound = code.fma(column[2], kept, bound)
                bound = code.fma(column[1], lost, bound)
                bits = builder.bitcast(builder.fcmp_ordered(">=", bound, limit), _I16)
                code.store(bits, target, skip=_BLOCKS * r + c)
        return context.get_dummy_value()

    return signature, generate


def _vnni(code: _Code, sums: Any, a: Any, b: Any) -> Any:
    """Add four products of unsigned and signed bytes to each sum: one step of AVX-512 VNNI."""
    return code.call("llvm.x86.avx512.vpdpbusd.512", _INTS, sums, a, b)


def _products(code: _Code, sums: Any, a: Any, b: Any) -> Any:
    """Do the same for any machine: even and odd bytes as 16-bit numbers, two products at a time."""
    halves = ir.VectorType(_I16, 2 * LANES)
    eight = _constant(halves, 8)
    a, b = code.b.bitcast(a, halves), code.b.bitcast(b, halves)
    pairs = (
        (code.b.and_(a, _constant(halves, 255)), code.b.ashr(code.b.shl(b, eight), eight)),
        (code.b.lshr(a, eight), code.b.ashr(b, eight)),
    )
    wide = ir.VectorType(_I32, 2 * LANES)
    for left, right in pairs:
        products = code.b.mul(code.b.sext(left, wide), code.b.sext(right, wide))
        even, odd = (code.pick(products, products, range(k, 2 * LANES, 2)) for k in (0, 1))
        sums = code.b.add(sums, code.b.add(even, odd))
    return sums


@vector_code
def widen(typing: Any, halves: Any, row: Any) -> Any:
    """Write float16 numbers, given by their bits, as float32: exactly, on any machine.

    ``halves`` is uint16[n], ``row`` float32 of at least that length; n is any.
    """
    del typing

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, signature, values)
        source, target = (code.at(array) for array in values)
        length = code.shape(values[0])[0]
        whole = builder.mul(builder.udiv(length, _integer(LANES)), _integer(LANES))
        for lanes, begin, end in ((LANES, _integer(0), whole), (1, whole, length)):
            _widen_span(code, source, target, lanes, begin, end)
        return context.get_dummy_value()

    return types.void(halves, row), generate


def _widen_span(code: _Code, source: Any, target: Any, lanes: int, begin: Any, end: Any) -> None:
    """Widen the numbers ``begin .. end - 1``, some at a time."""
    b, floats, whole = code.b, ir.VectorType(_F32, lanes), ir.VectorType(_I32, lanes)

    def step(k: Any) -> list[Any]:
        at = b.add(begin, b.mul(k, _integer(lanes)))
        bits = b.zext(code.load(code.later(source, at, _I16), ir.VectorType(_I16, lanes)), whole)
        sign = b.shl(b.and_(bits, _constant(whole, 0x8000)), _constant(whole, 16))
        rest = b.shl(b.and_(bits, _constant(whole, 0x7FFF)), _constant(whole, 13))
        # The exponents' zeros differ by 112; a product also makes subnormal numbers normal.
        scaled = b.fmul(b.bitcast(rest, floats), _constant(floats, 2.0**112))
        endless = b.icmp_unsigned(">=", rest, _constant(whole, 0x7C00 << 13))
        value = b.select(
            endless, b.or_(rest, _constant(whole, 0x7F800000)), b.bitcast(scaled, whole)
        )
        code.store(b.or_(value, sign), code.later(target, at, _F32))
        return []

    n_steps = b.udiv(b.sub(end, begin), _integer(lanes))
    with b.if_then(b.icmp_signed(">", n_steps, _integer(0))):
        code.loop(n_steps, [], step)


@vector_code
def weighted_sums(typing: Any, points: Any, members: Any, first: Any, second: Any,
                  sums: Any) -> Any:  # fmt: skip
    """Write two weighted sums of some points, in float64, in one pass over them.

    Parameters
    ----------
    points : float32 or float64[:, multiple of 16]
    members : intp[n]
        Points that are summed, at least one.
    first, second : float64[:]
        Weights of each point in the one sum and in the other.
    sums : float64[2, :]
        Gets both sums.
    """
    del typing
    lane = _F32 if points.dtype == types.float32 else _F64

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        code = _Code(context, builder, signature, values)
        points, members, first, second, sums = values
        n_members = code.shape(members)[0]

        def block(k: Any) -> list[Any]:
            def member(p: Any, one: Any, other: Any) -> list[Any]:
                point = code.load(code.at(members, p), _I64)
                vector = code.load(code.at(points, point), ir.VectorType(lane, LANES), skip=k)
                wide = vector if lane == _F64 else builder.fpext(vector, _DOUBLES)
                weights = (code.load(code.at(w, point), _F64) for w in (first, second))
                return [
                    code.fma64(code.spread(weight), wide, total)
                    for weight, total in zip(weights, (one, other), strict=True)
                ]

            totals = code.loop(n_members, [_constant(_DOUBLES, 0.0)] * 2, member)
            for row, total in enumerate(totals):
                code.store(total, code.at(sums, row), skip=k)
            return []

        code.loop(_steps(code, points), [], block)
        return context.get_dummy_value()

    return types.void(points, members, first, second, sums), generate


@vector_code
def lowest_bit(typing: Any, bits: Any) -> Any:
    """Return the position of the lowest bit that is 1; ``bits`` is not 0."""
    del typing

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        position = builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))
        return context.cast(builder, position, signature.args[0], signature.return_type)

    return types.intp(bits), generate
