"""Near-duplicates: best first, each under the nearest that is kept; also among many pins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage import near_duplicates


def leaders_one_by_one(matrix, rows, threshold):
    """``near_duplicates.leaders`` as its docstring says it."""
    kept, leader, cosines = [], [], []
    for position, row in enumerate(rows):
        near = [(float(matrix[row] @ matrix[rows[k]]), k) for k in kept]
        best = max(near, key=lambda pair: (pair[0], -pair[1]), default=(-2.0, -1))
        if threshold <= 1 and best[0] >= threshold:
            leader.append(best[1])
            cosines.append(best[0])
        else:
            kept.append(position)
            leader.append(-1)
            cosines.append(np.nan)
    return leader, cosines


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    block=st.sampled_from([1, 2, 7, 64]),
    threshold=st.sampled_from([0.3, 0.7, 0.9, 1.01]),
)
def test_leaders_equal_their_naive_twin(seed, n, block, threshold):
    rng = np.random.default_rng(seed)
    # Small whole numbers over a power of two: every cosine is exact in any order of addition.
    signs = rng.integers(-1, 2, size=(n, 4)).astype(np.float32)
    signs[:, 0] = 1
    rows = rng.permutation(n).astype(np.int64)
    matrix = signs / 2
    expected_leader, expected_cosine = leaders_one_by_one(matrix, rows, threshold)
    whole = near_duplicates.BLOCK
    try:
        near_duplicates.BLOCK = block
        leader, cosine = near_duplicates.leaders(matrix, rows, threshold)
    finally:
        near_duplicates.BLOCK = whole
    assert leader.tolist() == expected_leader
    np.testing.assert_array_equal(cosine, expected_cosine)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def planted(seed, n_topics=40, a_topic=20, copies=80, d=64, noise=0.1):
    """Pins around topics, some with a copy that differs a little; nothing else is as near."""
    rng = np.random.default_rng(seed)
    topics = unit(rng.normal(size=(n_topics, d)))
    pins = unit(
        np.repeat(topics, a_topic, axis=0) + 0.8 * unit(rng.normal(size=(n_topics * a_topic, d)))
    )
    of = rng.choice(len(pins), copies)
    close = unit(pins[of] + noise * unit(rng.normal(size=(copies, d))))
    matrix = np.concatenate([pins, close])
    return matrix, rng.permutation(len(matrix)).astype(np.int64)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("seed", range(6))
def test_among_many_the_same_are_found_as_by_comparing_all(seed, dtype):
    matrix, rows = planted(seed)
    matrix = matrix.astype(dtype)
    leader, cosine = near_duplicates.by_tables(matrix, rows, 0.97)
    all_leader, all_cosine = near_duplicates.by_comparing_all(matrix, rows, 0.97)
    assert (all_leader >= 0).sum() >= 70
    assert leader.tolist() == all_leader.tolist()
    np.testing.assert_allclose(cosine, all_cosine, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.9, 0.97, 0.99]))
def test_nothing_is_dropped_wrongly(seed, threshold):
    matrix, rows = planted(seed, n_topics=5, a_topic=10, copies=30, noise=0.3)
    found = near_duplicates.by_tables(matrix, rows, threshold)
    assert found is not None
    leader, cosine = found
    for pin in np.flatnonzero(leader >= 0):
        better = leader[pin]
        assert better < pin
        assert leader[better] == -1, "what stands for others is kept"
        true = float(matrix[rows[pin]] @ matrix[rows[better]])
        assert cosine[pin] == pytest.approx(true, abs=1e-6)
        assert true >= threshold - 1e-6
    assert (np.isnan(cosine) == (leader < 0)).all()


@pytest.mark.parametrize("threshold", [0.9, 0.95, 0.97, 0.99])
def test_pairs_at_the_threshold_are_missed_as_rarely_as_said(threshold):
    rng = np.random.default_rng(3)
    n, d = 3000, 32
    one = unit(rng.normal(size=(n, d)))
    across = rng.normal(size=(n, d))
    across = unit(across - np.sum(across * one, axis=1, keepdims=True) * one)
    other = (threshold + 1e-4) * one + np.sqrt(1 - (threshold + 1e-4) ** 2) * across
    matrix = np.concatenate([one, other]).astype(np.float32)
    rows = np.arange(2 * n)
    near = near_duplicates.near_pairs(matrix, rows, threshold)
    assert near is not None
    worse, better, _ = near
    found = np.count_nonzero(worse == better + n)
    # 0.3 pairs are missed on average; three times the standard deviation and more.
    assert found >= n - 4


def test_many_copies_of_one_pin_are_all_compared(monkeypatch):
    monkeypatch.setattr(near_duplicates, "FEW", 100)
    rng = np.random.default_rng(0)
    matrix = np.repeat(unit(rng.normal(size=(3, 16))), 400, axis=0)
    rows = rng.permutation(len(matrix)).astype(np.int64)
    assert near_duplicates.by_tables(matrix, rows, 0.97) is None, "cells are crowded"
    leader, cosine = near_duplicates.leaders(matrix, rows, 0.97)
    assert (leader < 0).sum() == 3
    np.testing.assert_allclose(cosine[leader >= 0], 1, atol=1e-6)


@pytest.mark.parametrize("copies", [2, 3, 8])
def test_a_pair_counts_once_however_many_tables_it_shares(copies):
    rng = np.random.default_rng(4)
    matrix = np.repeat(unit(rng.normal(size=(500, 32))), copies, axis=0)
    rows = rng.permutation(len(matrix)).astype(np.int64)
    found = near_duplicates.by_tables(matrix, rows, 0.97)
    assert found is not None, "so few copies are no crowd"
    assert (found[0] < 0).sum() == 500


def test_who_is_all_compared_after_all_is_told(monkeypatch, caplog):
    monkeypatch.setattr(near_duplicates, "FEW", 10)
    matrix = np.repeat(np.eye(2, 8, dtype=np.float32), 100, axis=0)
    leader, _ = near_duplicates.leaders(matrix, np.arange(200), 0.97)
    assert (leader < 0).sum() == 2
    assert "200 pins are too alike for tables" in caplog.text


def test_many_pins_go_into_tables_and_few_do_not(monkeypatch):
    matrix, rows = planted(1)
    asked = []
    by_tables = near_duplicates.by_tables
    monkeypatch.setattr(
        near_duplicates, "by_tables", lambda *a: asked.append(len(a[1])) or by_tables(*a)
    )
    few, _ = near_duplicates.leaders(matrix, rows, 0.97)
    assert asked == []
    monkeypatch.setattr(near_duplicates, "FEW", len(rows) - 1)
    many, _ = near_duplicates.leaders(matrix, rows, 0.97)
    assert asked == [len(rows)]
    assert few.tolist() == many.tolist()
    near_duplicates.leaders(matrix, rows, 0.3)  # would take more tables than there are
    assert asked == [len(rows)]


def test_a_lower_threshold_takes_more_tables():
    assert near_duplicates.n_tables(1.0, 16) == 1
    counts = [near_duplicates.n_tables(t, 16) for t in (0.99, 0.97, 0.9, 0.5)]
    assert counts == sorted(counts)
    assert counts[1] == 30
    assert near_duplicates.n_tables(-1.0, 16) > near_duplicates.MOST_TABLES


def test_more_pins_take_finer_cells_and_more_tables():
    planes = [near_duplicates.n_planes(n) for n in (1, 100_000, 1_000_000, 100_000_000)]
    assert planes == [near_duplicates.LEAST_PLANES, 16, 19, 26]
    counts = [near_duplicates.n_tables(0.97, n) for n in planes]
    assert counts == sorted(counts)
    assert counts[-1] <= near_duplicates.MOST_TABLES


def test_every_pair_of_a_cell_is_compared_once():
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 20, 300).astype(np.uint32)
    seen = [
        tuple(sorted(pair))
        for first, second in near_duplicates.pairs(codes)
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    ]
    expected = {(i, j) for j in range(300) for i in range(j) if codes[i] == codes[j]}
    assert len(seen) == len(set(seen))
    assert set(seen) == expected


def test_one_pin_and_none():
    matrix = np.eye(4, dtype=np.float32)
    for rows in (np.empty(0, np.int64), np.array([2])):
        for found in (
            near_duplicates.by_tables(matrix, rows, 0.97),
            near_duplicates.by_comparing_all(matrix, rows, 0.97),
        ):
            assert found[0].tolist() == [-1] * rows.size
