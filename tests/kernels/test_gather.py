import numpy as np
import pytest
from naive import squared_distances

from pinnersage.kernels.gather import narrow, vectors

TYPES = [np.float16, np.float32, np.float64]


def read(table, rows):
    bits = table.view(np.uint16) if table.dtype == np.float16 else table
    return vectors(bits, np.asarray(rows, dtype=np.intp))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("d", [1, 2, 15, 16, 17, 33, 100, 256])
def test_vectors_are_the_rows_in_order_padded_with_zeros(dtype, d):
    rng = np.random.default_rng(d)
    table = rng.normal(size=(30, d)).astype(dtype)
    rows = rng.integers(30, size=50)
    for _ in range(3):  # memory that was used before is no excuse
        points, squares = read(table, rows)
        assert points.shape == (50, -(-d // 16) * 16)
        assert points.dtype == (np.float64 if dtype == np.float64 else np.float32)
        assert np.array_equal(points[:, :d], table[rows].astype(points.dtype))
        assert not points[:, d:].any()
        twin = squared_distances(np.vstack([np.zeros((1, d)), table[rows].astype(float)]))[0, 1:]
        np.testing.assert_allclose(squares, twin, rtol=1e-14)
        points[:] = np.nan
        del points


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_shows_in_the_squared_length(dtype, odd):
    table = np.ones((3, 20), dtype)
    table[1, 17] = odd
    squares = read(table, [0, 1, 2])[1]
    assert np.isfinite(squares).tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", TYPES)
def test_no_row_gives_no_vector(dtype):
    points, squares = read(np.ones((3, 20), dtype), [])
    assert points.shape == (0, 32)
    assert squares.size == 0


@pytest.mark.parametrize("dtype", TYPES)
def test_a_table_that_is_only_mapped_is_read_alike(tmp_path, dtype):
    table = np.random.default_rng(0).normal(size=(9, 5)).astype(dtype)
    np.save(tmp_path / "table.npy", table)
    mapped = np.load(tmp_path / "table.npy", mmap_mode="r").view(np.ndarray)
    assert np.array_equal(read(mapped, [8, 0, 8])[0], read(table, [8, 0, 8])[0])


def test_narrow_rounds_float64_and_leaves_float32_as_it_is():
    wide = np.random.default_rng(0).normal(size=(7, 16))
    single = wide.astype(np.float32)
    assert narrow(wide).dtype == np.float32
    assert np.array_equal(narrow(wide), single)
    assert np.shares_memory(narrow(single), single)
