"""Search: exact against a naive sort, ties and all; an index against exact search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.evaluate import search
from pinnersage.evaluate.search import Exact, Indexed, nearest
from pinnersage.stores.edge import EdgeStore

NOTHING = np.empty(0, np.intp)


@st.composite
def worlds(draw):
    """A few pins whose products are whole numbers, so that ties are ties; some left out."""
    n, k = draw(st.integers(1, 14)), draw(st.integers(0, 5))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    matrix = rng.integers(-1, 2, (n, 3)).astype(np.float32)
    vectors = rng.integers(-1, 2, (k, 3)).astype(np.float32)
    without = np.flatnonzero(rng.random(n) < draw(st.sampled_from([0.0, 0.3, 1.0])))
    return matrix, vectors, without, draw(st.integers(1, 16))


def naive(matrix, vector, depth, without):
    """Row and cosine of the nearest, of equal ones the smaller row."""
    kept = [row for row in range(len(matrix)) if row not in without.tolist()]
    cosines = {row: float(matrix[row] @ vector) for row in kept}
    return sorted(((row, cosines[row]) for row in kept), key=lambda p: (-p[1], p[0]))[:depth]


@given(worlds())
def test_exact_search_is_a_sort(world):
    matrix, vectors, without, depth = world
    found = Exact(matrix).search(vectors, depth, without)
    assert found.rows.shape == found.cosines.shape == (len(vectors), min(depth, len(matrix)))
    for vector, rows, cosines in zip(vectors, found.rows, found.cosines, strict=True):
        expected = naive(matrix, vector, depth, without)
        there = rows >= 0
        pairs = list(zip(rows[there].tolist(), cosines[there].tolist(), strict=True))
        assert pairs == expected
        assert np.isneginf(cosines[~there]).all()
        assert (np.diff(there.astype(int)) <= 0).all(), "what is missing stands last"


@pytest.mark.parametrize("block", [1, 14, 40])
def test_blocks_change_nothing(monkeypatch, block):
    rng = np.random.default_rng(0)
    matrix, vectors = (rng.integers(-1, 2, (n, 3)).astype(np.float32) for n in (14, 9))
    whole = Exact(matrix).search(vectors, 6, np.array([2, 5]))
    monkeypatch.setattr(search, "BLOCK", block)
    parts = Exact(matrix).search(vectors, 6, np.array([2, 5]))
    assert [a.tobytes() for a in whole] == [a.tobytes() for a in parts]


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, -np.inf]), min_size=1, max_size=9), st.data())
def test_the_largest_come_in_order_and_equal_ones_by_place(numbers, data):
    depth = data.draw(st.integers(1, len(numbers)))
    found = nearest(np.array([numbers], np.float32), depth)[0]
    expected = sorted(range(len(numbers)), key=lambda i: (-numbers[i], i))[:depth]
    assert found.tolist() == expected


@pytest.fixture(scope="module")
def pins():
    drawn = np.random.default_rng(3).normal(size=(800, 24)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def index(pins, tmp_path_factory):
    """An index of all pins but each third."""
    store = EdgeStore(tmp_path_factory.mktemp("index"), full_scan_kb=10)
    rows = np.flatnonzero(np.arange(len(pins)) % 3)
    store.build("v1", rows, pins[rows], {"embeddings": "?"})
    with store.open("v1") as reader:
        yield reader


@pytest.mark.parametrize("n_without", [0, 40])
def test_an_index_finds_what_exact_search_finds_of_what_it_holds(index, pins, n_without):
    without = np.random.default_rng(1).permutation(800)[:n_without]
    thirds = np.arange(0, 800, 3)
    found = Indexed(index, pins).search(pins[:30], 20, without)
    exact = Exact(pins).search(pins[:30], 20, np.union1d(without, thirds))
    assert found.rows.shape == (30, 20)
    shared = [len(set(a) & set(b)) for a, b in zip(found.rows, exact.rows, strict=True)]
    assert sum(shared) / exact.rows.size >= 0.98
    assert not np.isin(found.rows, [*without, *thirds]).any()
    assert (np.diff(found.cosines, axis=1) <= 0).all()
    true = np.einsum("id,ijd->ij", pins[:30], pins[found.rows])
    np.testing.assert_allclose(found.cosines, true, atol=1e-5)


def test_an_index_that_has_no_more_says_so(index, pins):
    held = np.flatnonzero(np.arange(len(pins)) % 3)
    found = Indexed(index, pins).search(pins[:2], 10, held[4:])
    for rows, cosines in zip(found.rows, found.cosines, strict=True):
        assert sorted(rows[:4].tolist()) == held[:4].tolist()
        assert (rows[4:] == -1).all()
        assert np.isneginf(cosines[4:]).all()
        assert np.isfinite(cosines[:4]).all()


def test_no_vectors_find_nothing(index, pins):
    none = np.empty((0, 24), np.float32)
    for searcher in (Exact(pins), Indexed(index, pins)):
        assert searcher.search(none, 5, NOTHING).rows.shape == (0, 5)
