import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import partition
from strategies import DIMENSIONS

from pinnersage.errors import DataError
from pinnersage.online.agreement import cosine, identical, jaccard

FEW = st.lists(st.integers(0, 3), max_size=8)


@st.composite
def sides(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    d = draw(st.sampled_from(DIMENSIONS))
    sizes = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    return [item for k in sizes for item in (rng.normal(size=(k, d)), rng.random(k) + 0.01)]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=8))
def test_clusterings_are_identical_if_their_sets_of_actions_are(pairs):
    a, b = (list(labels) for labels in zip(*pairs, strict=True)) if pairs else ([], [])
    assert identical(a, b) == (partition(a) == partition(b))


@given(FEW, st.permutations(range(4)))
def test_another_numbering_is_identical(labels, names):
    assert identical(labels, [names[label] for label in labels])


def test_of_a_partition_and_a_finer_one_neither_is_identical_to_the_other():
    assert not identical([0, 0, 1], [0, 1, 2])
    assert not identical([0, 1, 2], [0, 0, 1])


def test_clusterings_of_other_actions_are_an_error():
    with pytest.raises(DataError, match=r"shapes \(2,\) and \(3,\)"):
        identical([0, 1], [0, 1, 1])


@given(FEW, FEW)
def test_jaccard_is_the_naive_twins(a, b):
    assert jaccard(a, b) == naive.jaccard(a, b) == jaccard(b, a)


def test_jaccard_takes_pins_of_text():
    assert jaccard(np.array(["p1", "p2"], object), ["p2", "p3"]) == 1 / 3
    assert jaccard([], []) == 1.0
    assert jaccard(["p1"], []) == 0.0


@given(sides())
def test_cosine_is_the_naive_twins_and_the_same_both_ways(given_sides):
    a, wa, b, wb = given_sides
    found = cosine(a, wa, b, wb)
    assert found == pytest.approx(naive.cosine_between(a, wa, b, wb), abs=1e-12)
    assert found == pytest.approx(cosine(b, wb, a, wa), abs=1e-12)
    assert -1 <= found <= 1


@given(sides())
def test_cosine_of_equal_medoids_is_one_whatever_their_order_length_and_weights(given_sides):
    a, wa, *_ = given_sides
    order = np.random.default_rng(0).permutation(len(a))
    assert cosine(a, wa, 3 * a[order], wa + 1) == pytest.approx(1.0, abs=1e-12)


def test_cosine_counts_a_medoid_by_its_weight():
    one, two = np.eye(2)[:1], np.eye(2)
    assert cosine(one, [1.0], two, [3.0, 1.0]) == pytest.approx((1 + 3 / 4) / 2)
    assert cosine(one, [1.0], two, [1.0, 0.0]) == pytest.approx(1.0)


def test_cosine_without_medoids():
    nothing = np.empty((0, 4)), np.empty(0)
    assert cosine(*nothing, *nothing) == 1.0
    assert cosine(np.eye(4), np.ones(4), *nothing) == 0.0


@pytest.mark.parametrize(
    ("vectors", "weights", "message"),
    [
        (np.eye(2), [1.0], r"vectors_a have the shape \(2, 2\), weights_a \(1,\)"),
        (np.zeros((1, 2)), [1.0], "vectors_a: .*no direction"),
        (np.full((1, 2), np.nan), [1.0], "vectors_a: .*no direction"),
        (np.eye(2), [0.0, 0.0], "weights_a are 0 to 0"),
        (np.eye(2), [1.0, -1.0], "weights_a are -1 to 1"),
        (np.eye(2), [1.0, np.nan], "weights_a are nan"),
    ],
)
def test_bad_vectors_and_weights_are_an_error(vectors, weights, message):
    with pytest.raises(DataError, match=message):
        cosine(vectors, weights, np.eye(2), [1.0, 1.0])
