from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import start_distances
from numba import njit

from pinnersage.kernels import lanes

relaxed = settings(deadline=None)


def compiled(lines):
    """A function of Python that does what those lines of LLVM do, not compiled before its call."""

    @njit
    def call(*values):
        return lines(*values)

    return call


widen = compiled(lanes.widen)
least = compiled(lanes.least)
within = compiled(lanes.within)
quantise = compiled(lanes.quantise)
by_column = compiled(lanes.by_column)
weighted_sums = compiled(lanes.weighted_sums)
lowest_bit = compiled(lanes.lowest_bit)
PLAIN = pytest.mark.parametrize("plain", [False, True], ids=["this machine", "any machine"])


@contextmanager
def code_for(monkeypatch, plain):
    """What is compiled inside is for this machine, or for one without AVX-512."""
    with monkeypatch.context() as patch:
        if plain:
            patch.setattr(lanes, "HAS_BYTE_PRODUCTS", False)
            patch.setattr(lanes, "_has", lambda _feature: False)
        yield


# widen


def test_each_of_all_halves_is_widened_exactly():
    halves = np.arange(2**16, dtype=np.uint16)
    row = np.empty(2**16, np.float32)
    widen(halves, row)
    expected = halves.view(np.float16).astype(np.float32)
    numbers = ~np.isnan(expected)
    assert np.array_equal(row.view(np.uint32)[numbers], expected.view(np.uint32)[numbers])
    assert np.isnan(row[~numbers]).all()
    assert np.array_equal(np.signbit(row), np.signbit(expected))


@pytest.mark.parametrize("n", range(70))
def test_any_number_of_halves_is_widened_and_no_more(n):
    rng = np.random.default_rng(n)
    halves = rng.normal(size=n + 3).astype(np.float16)
    row = np.full(n + 40, 7, np.float32)
    widen(halves.view(np.uint16)[3:], row[1:])
    assert np.array_equal(row[1 : n + 1], halves[3:].astype(np.float32))
    assert np.all(row[n + 1 :] == 7)
    assert row[0] == 7


# least, within


@st.composite
def masked_rows(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = lanes.LANES * draw(st.integers(1, 9))
    row = rng.choice([0.5, 1, 2, 3, -4], n) if draw(st.booleans()) else rng.normal(size=n)
    for odd in (np.nan, np.inf, -np.inf):
        row[rng.random(n) < draw(st.sampled_from([0, 0, 0.1, 0.9, 1]))] = odd
    mask = np.where(rng.random(n) < draw(st.sampled_from([0, 0.3, 1])), np.inf, 0)
    return row.astype(np.float32), mask.astype(np.float32)


@given(masked_rows())
@relaxed
def test_least_is_that_of_what_is_a_number(drawn):
    with np.errstate(invalid="ignore"):
        values = drawn[0] + drawn[1]
    assert least(*drawn) == min([np.inf, *values[~np.isnan(values)].tolist()])


@given(masked_rows(), st.sampled_from([-np.inf, -4, -1, 0, 0.5, 1, 2.5, np.inf, np.nan]))
@relaxed
def test_within_lists_every_position_up_to_the_limit_in_order(drawn, limit):
    found = np.full(drawn[0].size, -7)
    n = within(*drawn, np.float32(limit), found)
    with np.errstate(invalid="ignore"):
        assert found[:n].tolist() == np.flatnonzero(drawn[0] + drawn[1] <= limit).tolist()
    assert np.all(found[n:] == -7)


# quantise


def rows_of_bytes(d):
    rng = np.random.default_rng(d)
    yield np.zeros(d)
    yield np.full(d, -3.0)
    for exponent in (-45, -44, -38, -31, -30, -20, -10, -3, 0, 3, 10):
        yield rng.normal(size=d) * 10.0**exponent
    for _ in range(200):
        yield rng.normal(size=d) * np.exp(rng.normal(size=d) * rng.choice([0, 1, 5]))
        yield rng.integers(-127, 128, d) * 2.0 ** rng.integers(-20, 20)


@pytest.mark.parametrize("d", [16, 32, 64, 256, 1024])
def test_a_row_is_its_whole_numbers_times_the_scale_and_what_is_lost(d):
    for drawn in rows_of_bytes(d):
        row = drawn.astype(np.float32)
        levels = np.full(d, 9, np.uint8)
        (scale, square, kept, lost), total = quantise(row, levels)
        largest = np.abs(row).max()
        assert scale == largest / np.float32(127)
        whole = levels.astype(int) - 128
        has_inverse = largest > 2.0**-100
        inverse = np.float32(127) / largest if has_inverse else np.float32(0)
        assert np.array_equal(whole, np.rint(row * inverse))
        assert np.abs(whole).max() == (127 if has_inverse else 0)
        assert total == whole.sum()
        exact = row.astype(np.float64)
        gap = exact - whole * np.float64(scale)
        tiny = 1e-37  # below it float32 has no more digits
        assert square == pytest.approx((exact**2).sum(), rel=1e-6, abs=tiny)
        assert kept == pytest.approx((whole**2).sum(), rel=1e-6)
        # A gap is off by the rounding of what stands for the number.
        off = 2 * np.sqrt((exact**2).sum()) * 2.0**-23
        assert np.sqrt(lost) == pytest.approx(np.linalg.norm(gap), rel=1e-5, abs=off + 1e-18)


@pytest.mark.parametrize("size", [2.0**-101, 1e-38, 1e-45])
def test_all_of_a_row_without_an_inverse_is_lost(size):
    row, levels = np.full(16, size, np.float32), np.zeros(16, np.uint8)
    (_, square, kept, lost), total = quantise(row, levels)
    assert np.all(levels == 128)
    assert kept == total == 0
    assert lost == square


# by_column, near


def levels_of(rng, n, d, kind="any"):
    if kind == "extreme":
        return rng.choice(np.array([1, 255], np.uint8), (n, d))
    if kind == "largest":
        return np.full((n, d), 255 if rng.random() < 0.5 else 1, np.uint8)
    return rng.integers(1, 256, (n, d)).astype(np.uint8)


def packed_of(levels):
    packed = np.zeros((levels.shape[0] // 16, levels.shape[1] // 4, 16), np.uint32)
    for block in range(packed.shape[0]):
        by_column(levels, block, packed)
    return packed


@pytest.mark.parametrize("d", [64, 128, 320])
def test_bytes_by_column_are_the_rows_bytes_signed(d):
    levels = levels_of(np.random.default_rng(d), 48, d)
    found = packed_of(levels).view(np.int8).reshape(3, d // 4, 16, 4)
    expected = (levels.astype(int) - 128).reshape(3, 16, d // 4, 4).transpose(0, 2, 1, 3)
    assert np.array_equal(found, expected)


def test_one_block_by_column_leaves_the_others_alone():
    levels = levels_of(np.random.default_rng(0), 48, 64)
    packed = np.full((3, 16, 16), 5, np.uint32)
    by_column(levels, 1, packed)
    assert np.all(packed[[0, 2]] == 5)
    assert np.array_equal(packed[1], packed_of(levels)[1])


def near_bits(function, levels, facts, columns):
    """Matrix of all bits, tile by tile."""
    n = levels.shape[0]
    packed, bits = packed_of(levels), np.zeros((n, n), bool)
    for i in range(0, n, lanes.NEAR_ROWS):
        for j in range(n // lanes.NEAR_COLUMNS):
            found = np.zeros(lanes.NEAR_ROWS, np.uint32)
            function(levels, i, packed, j, facts, columns, found)
            tile = found[:, None] >> np.arange(lanes.NEAR_COLUMNS, dtype=np.uint32) & 1
            bits[i : i + 8, 32 * j : 32 * j + 32] = tile
    return bits


def by_block(facts):
    """Facts of each column: one row a fact, sixteen columns at a time."""
    return np.ascontiguousarray(
        np.stack(facts).astype(np.float32).reshape(5, -1, 16).transpose(1, 0, 2)
    )


@PLAIN
@pytest.mark.parametrize("kind", ["any", "extreme", "largest"])
@pytest.mark.parametrize("d", [64, 256, 1024])
def test_near_sums_bytes_without_an_error(monkeypatch, plain, kind, d):
    rng = np.random.default_rng(d)
    levels = levels_of(rng, 64, d, kind)
    whole = levels.astype(int) - 128
    dots = whole @ whole.T
    assert np.abs(dots).max() < 2**24  # float32 holds them all
    function = compiled(lanes.near)
    nothing, ones = np.zeros(64), np.ones(64)
    with code_for(monkeypatch, plain):
        for row in (0, 7, 29, 63):
            facts = np.stack([ones, nothing, nothing, nothing], axis=1).astype(np.float32)
            for more, expected in ((0, True), (1, False)):
                limits = dots[row] + more
                columns = by_block([ones, nothing, nothing, limits, -128 * whole.sum(axis=1)])
                bits = near_bits(function, levels, facts, columns)
                assert np.array_equal(bits, dots - limits >= 0)
                assert np.all(bits[row] == expected)


@PLAIN
def test_near_is_a_bound_of_scales_lengths_and_losses(monkeypatch, plain):
    rng = np.random.default_rng(1)
    levels = levels_of(rng, 96, 128)
    whole = levels.astype(int) - 128
    function = compiled(lanes.near)
    with code_for(monkeypatch, plain):
        for _ in range(20):
            scale, kept, lost, limit, length = rng.uniform(0.1, 1, (5, 96)).astype(np.float32)
            scale /= 300
            facts = np.stack([scale, kept, lost, limit], axis=1)
            columns = by_block([scale, length, lost, limit, -128 * whole.sum(axis=1)])
            bits = near_bits(function, levels, facts, columns)
            bound = np.outer(scale, scale).astype(float) * (whole @ whole.T)
            bound += np.outer(kept, lost) + np.outer(lost, length)
            gap = bound - (limit[:, None] + limit[None, :])
            clear = np.abs(gap) > 1e-5
            assert np.array_equal(bits[clear], gap[clear] >= 0)
            assert 0.05 < bits.mean() < 0.95
            assert clear.mean() > 0.99


# ward_distances


def tiles(function, rows, weights):
    n = rows.shape[0]
    squares = (rows.astype(float) ** 2).sum(axis=1).astype(np.float32)
    inverses = (1 / weights).astype(np.float32)
    matrix = np.full((n, n), np.nan, np.float32)
    order = np.random.default_rng(n).permutation(n)
    for i in range(0, n, lanes.GRAM_TILE):
        for j in range(i, n, lanes.GRAM_TILE):
            function(rows, order, i, j, squares[order], inverses[order], matrix)
    return matrix, order, squares


@pytest.mark.parametrize("d", [16, 64, 256, 1024])
def test_ward_distances_are_the_twins_both_ways_and_the_same_on_any_machine(monkeypatch, d):
    rng = np.random.default_rng(d)
    rows = rng.normal(size=(24, d)).astype(np.float32)
    rows[5], rows[6] = rows[7], 0
    weights = rng.integers(1, 50, 24).astype(float)
    found = []
    for plain in (False, True):
        function = compiled(lanes.ward_distances)
        with code_for(monkeypatch, plain):
            found.append(tiles(function, rows, weights))
    (matrix, order, squares), (other, *_) = found
    assert np.array_equal(matrix, other)
    assert np.array_equal(matrix, matrix.T)
    assert np.all(matrix >= 0)
    expected = start_distances(rows[order], weights[order])
    lengths = squares[order][:, None] + squares[order][None, :]
    factors = 2 / (1 / weights[order][:, None] + 1 / weights[order][None, :])
    assert np.all(np.abs(matrix - expected) <= factors * lengths * (d / 16 + 8) * 2.0**-24)


def test_a_tile_writes_itself_and_its_mirror_and_nothing_else():
    function = compiled(lanes.ward_distances)
    rows = np.random.default_rng(0).normal(size=(12, 16)).astype(np.float32)
    ones, matrix = np.ones(12, np.float32), np.full((12, 12), -1, np.float32)
    function(rows, np.arange(12), 4, 8, ones, ones, matrix)
    assert np.all(matrix[4:8, 8:] >= 0)
    assert np.all(matrix[8:, 4:8] >= 0)
    assert np.count_nonzero(matrix != -1) == 32


# weighted_sums


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [16, 48, 256])
def test_weighted_sums_are_those_of_the_members_in_float64(dtype, d):
    for seed in range(30):
        rng = np.random.default_rng([seed, d])
        m = int(rng.integers(1, 60))
        points = (rng.normal(size=(m, d)) * 10.0 ** rng.integers(-8, 8)).astype(dtype)
        members = rng.permutation(m)[: rng.integers(1, m + 1)]
        first, second = rng.integers(1, 99, m).astype(float), rng.uniform(1e-3, 1e3, m)
        sums = np.full((2, d), np.nan)
        weighted_sums(points, members, first, second, sums)
        own = points[members].astype(float)
        for found, weights in zip(sums, (first, second), strict=True):
            room = 1e-15 * members.size * (weights[members] @ np.abs(own)).max()
            np.testing.assert_allclose(found, weights[members] @ own, rtol=0, atol=room)


def test_the_weighted_sum_of_one_point_is_exact():
    points = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    sums = np.empty((2, 16))
    weighted_sums(points, np.array([1]), np.array([9.0, 1, 9]), np.array([9.0, 4, 9]), sums)
    assert np.array_equal(sums, [points[1].astype(float), 4 * points[1].astype(float)])


# lowest_bit


def test_the_lowest_bit_is_found_among_any_others():
    rng = np.random.default_rng(0)
    for position in range(32):
        for above in [0, 2**32 - 1, *rng.integers(0, 2**32, 20).tolist()]:
            bits = (above << position | 1 << position) & (2**32 - 1)
            assert lowest_bit(np.uint32(bits)) == position
