"""Allocation: who brings how many, who stands where; each policy against a naive twin."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage import allocate
from pinnersage.allocate import Picks
from pinnersage.stores.neighbours import Near


def listed(picks):
    """Row, cosine and medoid of each candidate."""
    return list(zip(*(column.tolist() for column in picks), strict=True))


def picks_of(*listed):
    """Candidates from (row, cosine, medoid)."""
    rows, cosines, medoids = zip(*listed, strict=True) if listed else ((), (), ())
    return Picks(
        np.array(rows, np.int64), np.array(cosines, np.float32), np.array(medoids, np.intp)
    )


importances = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12).map(np.array)


@st.composite
def neighbours(draw, n_pins=30):
    """What some medoids have near them: few pins, so that they share some."""
    found = []
    for _ in range(draw(st.integers(1, 5))):
        rows = draw(st.lists(st.integers(0, n_pins - 1), unique=True, max_size=12))
        # Few different cosines, so that some are equal; sorted as an index sorts them.
        cosines = draw(
            st.lists(st.sampled_from([0.1, 0.5, 0.75]), min_size=len(rows), max_size=len(rows))
        )
        order = sorted(zip(rows, cosines, strict=True), key=lambda pair: (-pair[1], pair[0]))
        found.append(
            Near(
                np.array([row for row, _ in order], np.int64),
                np.array([cosine for _, cosine in order], np.float32),
            )
        )
    return found


@given(importances, st.integers(0, 500))
def test_shares_are_whole_and_spend_every_candidate(importance, n):
    found = allocate.shares(importance, n)
    exact = importance / importance.sum() * n
    assert found.sum() == n
    assert (np.abs(found - exact) < 1 + 1e-9 * n).all()


def test_what_is_left_over_goes_to_the_largest_remainders_first_ones_first():
    assert allocate.shares(np.array([5.0, 3.0, 2.0]), 10).tolist() == [5, 3, 2]
    assert allocate.shares(np.array([1.0, 1.0, 1.0]), 4).tolist() == [2, 1, 1]
    assert allocate.shares(np.array([6.0, 1.6, 2.4]), 10).tolist() == [6, 2, 2]


@given(neighbours(), st.integers(0, 8))
def test_merged_candidates_are_those_of_a_naive_twin(near, each):
    found = allocate.merged(near, [each] * len(near))
    best = {}
    for medoid, one in enumerate(near):
        for row, cosine in list(zip(one.rows.tolist(), one.cosines.tolist(), strict=True))[:each]:
            if row not in best or cosine > best[row][0]:
                best[row] = (cosine, medoid)
    expected = sorted(((-cosine, row, medoid) for row, (cosine, medoid) in best.items()))
    assert [(-cosine, row, medoid) for row, cosine, medoid in listed(found)] == expected


def naive_filled(near, each, n):
    """All pins by turn, (i - 1/2) / share; the first n, each with its nearest medoid."""
    turns = sorted(
        (Fraction(2 * place + 1, 2 * share), medoid, row, cosine)
        for medoid, (one, share) in enumerate(zip(near, each, strict=True))
        for place, (row, cosine) in enumerate(
            zip(one.rows.tolist(), one.cosines.tolist(), strict=True)
        )
    )
    taken, nearest = set(), {}
    for _, medoid, row, cosine in turns:
        if len(taken) < n:
            taken.add(row)
        nearest[row] = min(nearest.get(row, (2.0, 0)), (-cosine, medoid))
    best = sorted(taken, key=lambda row: (nearest[row][0], row))
    return [(row, -nearest[row][0], nearest[row][1]) for row in best]


@given(neighbours(), st.lists(st.integers(1, 12), min_size=5, max_size=5), st.integers(0, 40))
def test_filled_candidates_are_those_of_a_naive_twin(near, each, n):
    found = allocate.filled(near, each[: len(near)], n)
    assert listed(found) == naive_filled(near, each[: len(near)], n)


@given(neighbours(), st.lists(st.integers(1, 6), min_size=5, max_size=5))
def test_filled_candidates_hold_every_share_and_are_as_many_as_asked_for(near, each):
    each = each[: len(near)]
    n = sum(each)
    found = allocate.filled(near, each, n).rows.tolist()
    there = {row for one in near for row in one.rows.tolist()}
    assert len(found) == len(set(found)) == min(n, len(there))
    assert set(allocate.merged(near, each).rows.tolist()) <= set(found)


def test_what_two_brought_is_made_up_for_by_shares():
    near = [
        Near(np.array([1, 2, 3, 4]), np.array([0.9, 0.8, 0.7, 0.6], np.float32)),
        Near(np.array([1, 5, 6]), np.array([0.95, 0.2, 0.1], np.float32)),
    ]
    found = allocate.filled(near, [2, 1], 3)
    assert listed(found) == listed(picks_of((1, 0.95, 1), (2, 0.8, 0), (3, 0.7, 0)))


@given(neighbours(), st.integers(0, 40))
def test_candidates_in_turns_are_those_of_a_naive_twin(near, n):
    found = allocate.in_turns(near, n)
    expected, given_ = [], set()
    for _ in range(n + 1):
        for medoid, one in enumerate(near):
            for row, cosine in zip(one.rows.tolist(), one.cosines.tolist(), strict=True):
                if row not in given_:
                    given_.add(row)
                    expected.append((row, cosine, medoid))
                    break
    assert listed(found) == expected[:n]


def test_in_the_first_turn_each_medoid_is_heard_once():
    near = [
        Near(np.array([1, 2, 3]), np.array([0.9, 0.8, 0.7], np.float32)),
        Near(np.array([1, 4]), np.array([0.95, 0.2], np.float32)),
        Near(np.array([], np.int64), np.array([], np.float32)),
    ]
    found = allocate.in_turns(near, 10)
    assert [(row, medoid) for row, _, medoid in listed(found)] == [(1, 0), (4, 1), (2, 0), (3, 0)]


@st.composite
def pictured(draw):
    """Candidates and their unit vectors, some of them equal."""
    n = draw(st.integers(0, 10))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    vectors = rng.normal(size=(n, 4)) + 0.5
    if n > 3:
        vectors[n - 1] = vectors[0]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    cosines = sorted(rng.uniform(-1, 1, n).tolist(), reverse=True)
    return picks_of(*((row, cosine, 0) for row, cosine in enumerate(cosines))), vectors


@given(pictured(), st.floats(0, 1))
def test_diverse_order_is_that_of_a_naive_twin(drawn, relevance):
    picks, vectors = drawn
    found = listed(allocate.diverse(picks, vectors, relevance))
    assert sorted(found) == sorted(listed(picks)), "the same candidates"
    wide = vectors.astype(np.float64)
    for place, pick in enumerate(found):
        before = [wide[row] for row, *_ in found[:place]]

        def gain(one, before=before):
            alike = max((float(v @ wide[one[0]]) for v in before), default=0.0)
            return relevance * one[1] - (1 - relevance) * alike

        assert gain(pick) >= max(gain(one) for one in found[place:]) - 1e-5


def test_full_relevance_keeps_the_order():
    picks = picks_of((0, 0.9, 0), (1, 0.9, 1), (2, 0.1, 0))
    vectors = np.eye(3, dtype=np.float32)
    assert listed(allocate.diverse(picks, vectors, 1.0)) == listed(picks)


def test_a_copy_of_the_first_goes_last_where_variety_is_wanted():
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    picks = picks_of((0, 0.9, 0), (1, 0.89, 0), (2, 0.3, 1))
    assert allocate.diverse(picks, vectors, 0.5).rows.tolist() == [0, 2, 1]


@pytest.mark.parametrize("n", [0, 5])
def test_nothing_near_brings_nothing(n):
    empty = Near(np.array([], np.int64), np.array([], np.float32))
    assert len(allocate.merged([empty], [n])) == 0
    assert len(allocate.in_turns([empty], n)) == 0
    assert len(allocate.filled([empty], [1], n)) == len(allocate.filled([], [], n)) == 0
    assert len(allocate.diverse(picks_of(), np.empty((0, 3)), 0.5)) == 0
