"""Retrieval metrics: closed forms, naive twins, ranx, and what must not change them."""

from itertools import pairwise

import naive_metrics as naive
import numpy as np
import pytest
import ranx_scores
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate.metrics import (
    Lists,
    best_cosines,
    hit_rate,
    mrr,
    ndcg,
    places,
    recall,
    relevance,
)
from pinnersage.evaluate.metrics import retrieval as retrieval_module

SEEDS = st.integers(0, 5)
EVERY = np.ones(3, dtype=bool)
ONE_CASE = Lists(np.array([0, 10]), np.arange(10))
"""Pin r is recommended at place r."""
TARGETS = Lists(np.array([0, 3]), np.array([0, 3, 9]))
"""At ranks 1, 4 and 10."""


def measures(candidates, targets, mask, matrix, k=3, threshold=0.5):
    """All of them at once, flat: name to Sums."""
    given_, wanted = naive.flat(candidates), naive.flat(targets)
    counts = naive.joined(mask, bool)
    found = places(given_, wanted)
    return {
        "relevance": relevance(best_cosines(given_, wanted, matrix), wanted, counts, threshold),
        "recall": recall(found, wanted, counts),
        "hit_rate": hit_rate(found, wanted, counts, k),
        "ndcg": ndcg(found, wanted, counts, k),
        "mrr": mrr(found, wanted, counts),
    }


def twins(candidates, targets, mask, matrix, k=3, threshold=0.5):
    """The same by the naive twins: name to (hits, count) of each case."""
    by_case = list(zip(candidates, targets, mask, strict=True))
    return {
        "relevance": [naive.relevance(*case, matrix, threshold) for case in by_case],
        "recall": [naive.recall(*case) for case in by_case],
        "hit_rate": [naive.hit_rate(*case, k) for case in by_case],
        "ndcg": [naive.ndcg(*case, k) for case in by_case],
        "mrr": [naive.mrr(*case) for case in by_case],
    }


@given(naive.cases(), SEEDS, st.integers(1, 9), st.sampled_from([-0.3, 0.0, 0.5, 0.9, 1.0]))
def test_every_measure_equals_its_naive_twin(drawn, seed, k, threshold):
    matrix = naive.vectors(seed)
    made = measures(*drawn, matrix, k, threshold)
    expected = twins(*drawn, matrix, k, threshold)
    for name, sums in made.items():
        assert sums.hits.dtype == sums.counts.dtype == np.float64
        np.testing.assert_allclose(sums.hits, [hits for hits, _ in expected[name]], err_msg=name)
        assert sums.counts.tolist() == [count for _, count in expected[name]], name


@given(naive.cases(), SEEDS)
def test_cosines_are_the_naive_ones_whatever_the_block(drawn, seed):
    candidates, targets, _ = drawn
    matrix = naive.vectors(seed)
    expected = [
        naive.best_cosine(own, pin, matrix)
        for own, pins in zip(candidates, targets, strict=True)
        for pin in pins
    ]
    for block in (1, 2, 1_024):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(retrieval_module, "BLOCK", block)
            best = best_cosines(naive.flat(candidates), naive.flat(targets), matrix)
        assert best.dtype == np.float32
        np.testing.assert_allclose(best, expected, atol=1e-6)


def test_closed_forms_of_targets_at_ranks_1_4_and_10():
    found = places(ONE_CASE, TARGETS)
    assert found.tolist() == [0, 3, 9]
    assert mrr(found, TARGETS, EVERY).value == 1
    assert recall(found, TARGETS, EVERY).value == 1
    assert hit_rate(found, TARGETS, EVERY, 1).value == 1
    gained = 1 + 1 / np.log2(5) + 1 / np.log2(11)
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert ndcg(found, TARGETS, EVERY, 10).value == pytest.approx(gained / best, rel=1e-12)
    assert ndcg(found, TARGETS, EVERY, 4).value == pytest.approx(
        (1 + 1 / np.log2(5)) / best, rel=1e-12
    )
    assert ndcg(found, TARGETS, EVERY, 2).value == pytest.approx(
        1 / (1 + 1 / np.log2(3)), rel=1e-12
    )


def test_a_pin_that_does_not_count_keeps_its_place_among_the_candidates():
    last = np.array([False, False, True])
    found = places(ONE_CASE, TARGETS)
    assert mrr(found, TARGETS, last).value == pytest.approx(0.1)
    assert hit_rate(found, TARGETS, last, 9).value == 0
    assert ndcg(found, TARGETS, last, 10).value == pytest.approx(1 / np.log2(11))


def test_the_best_order_has_an_ndcg_of_1_at_any_k():
    targets = Lists(np.array([0, 3]), np.array([2, 0, 1]))
    for k in range(1, 12):
        assert ndcg(places(ONE_CASE, targets), targets, EVERY, k).value == pytest.approx(1)


def test_a_pin_that_comes_twice_has_its_first_place():
    twice = Lists(np.array([0, 4]), np.array([5, 7, 5, 5]))
    assert places(twice, Lists(np.array([0, 2]), np.array([5, 7]))).tolist() == [0, 1]


def test_relevance_takes_a_cosine_of_exactly_the_threshold():
    targets = Lists(np.array([0, 3]), np.array([0, 1, 2]))
    best = np.array([0.75, np.nextafter(np.float32(0.75), np.float32(0)), 0.8], np.float32)
    assert relevance(best, targets, EVERY, 0.75).hits.tolist() == [2.0]
    assert relevance(best, targets, EVERY, 0.8).hits.tolist() == [1.0]


def test_a_recommended_target_has_a_cosine_of_1_whatever_rounding_makes_of_it():
    matrix = naive.vectors(0, n=500, d=64)
    assert (np.einsum("ij,ij->i", matrix, matrix) < 1).any()
    own = Lists(np.array([0, 500]), np.arange(500))
    assert (best_cosines(own, own, matrix) == 1).all()


@given(naive.cases(), SEEDS)
def test_relevance_is_no_less_than_recall_and_falls_with_the_threshold(drawn, seed):
    candidates, targets, mask = drawn
    given_, wanted, counts = (
        naive.flat(candidates), naive.flat(targets), naive.joined(mask, bool)
    )  # fmt: skip
    best = best_cosines(given_, wanted, naive.vectors(seed))
    hits = [relevance(best, wanted, counts, t).hits for t in (-1.1, -0.5, 0.0, 0.5, 0.8, 1.0)]
    for lower, higher in pairwise(hits):
        assert (lower >= higher).all()
    assert (hits[-1] >= recall(places(given_, wanted), wanted, counts).hits).all()


@given(naive.cases(), SEEDS)
def test_more_candidates_never_lower_a_measure(drawn, seed):
    candidates, targets, mask = drawn
    matrix = naive.vectors(seed)
    few = measures([own[: len(own) // 2] for own in candidates], targets, mask, matrix, k=99)
    many = measures(candidates, targets, mask, matrix, k=99)
    for name, sums in many.items():
        assert (sums.hits >= few[name].hits).all(), name
        assert (sums.counts == few[name].counts).all(), name


@given(naive.cases(), SEEDS, st.randoms())
def test_cases_in_another_order_have_the_same_measures_in_that_order(drawn, seed, random):
    order = list(range(len(drawn[0])))
    random.shuffle(order)
    matrix = naive.vectors(seed)
    made = measures(*drawn, matrix)
    shuffled = measures(*([part[i] for i in order] for part in drawn), matrix)
    for name, sums in made.items():
        assert shuffled[name].hits.tolist() == sums.hits[order].tolist(), name
        assert shuffled[name].counts.tolist() == sums.counts[order].tolist(), name


@given(naive.cases(), SEEDS)
def test_new_pins_and_repeats_add_up_to_all_in_the_proportions(drawn, seed):
    candidates, targets, new = drawn
    matrix = naive.vectors(seed)
    everything = measures(candidates, targets, [[True] * len(own) for own in new], matrix)
    firsts = measures(candidates, targets, new, matrix)
    repeats = measures(candidates, targets, [[not flag for flag in own] for own in new], matrix)
    for name in ("relevance", "recall"):
        for one, other, total in zip(firsts[name], repeats[name], everything[name], strict=True):
            assert (one + other).tolist() == total.tolist(), name


def test_recall_ndcg_mrr_and_hit_rate_equal_those_of_ranx():
    """On the same lists, of all lengths, also without a hit."""
    rng = np.random.default_rng(11)
    n, n_pins = 60, 40
    candidates = [rng.permutation(n_pins)[: rng.integers(1, 30)].tolist() for _ in range(n)]
    targets = [rng.permutation(n_pins)[: rng.integers(1, 12)].tolist() for _ in range(n)]
    candidates[0], targets[0] = [1, 2, 3], [4, 5]
    names = ["recall", "mrr", "ndcg@5", "ndcg@100", "hit_rate@3"]
    theirs = ranx_scores.scores(candidates, targets, names)
    given_, wanted = naive.flat(candidates), naive.flat(targets)
    found, counts = places(given_, wanted), np.ones(wanted.rows.size, dtype=bool)
    recalled = recall(found, wanted, counts)
    ours = {
        "recall": recalled.hits / recalled.counts,
        "mrr": mrr(found, wanted, counts).hits,
        "ndcg@5": ndcg(found, wanted, counts, 5).hits,
        "ndcg@100": ndcg(found, wanted, counts, 100).hits,
        "hit_rate@3": hit_rate(found, wanted, counts, 3).hits,
    }
    assert 0 < recalled.value < 1
    for name in names:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12, err_msg=name)


def test_no_case_at_all_has_no_value():
    none = Lists(np.zeros(1, np.intp), np.empty(0, np.intp))
    found = places(none, none)
    for made in (
        recall(found, none, np.empty(0, bool)),
        ndcg(found, none, np.empty(0, bool), 5),
        mrr(found, none, np.empty(0, bool)),
    ):
        assert made.value is None


@pytest.mark.parametrize("k", [0, -1])
def test_the_first_0_candidates_are_refused(k):
    found = places(ONE_CASE, TARGETS)
    for measure in (hit_rate, ndcg):
        with pytest.raises(ConfigError, match="k is"):
            measure(found, TARGETS, EVERY, k)


def test_candidates_of_other_cases_are_refused():
    with pytest.raises(DataError, match="Candidates are of 1 cases and targets of 2"):
        places(ONE_CASE, Lists(np.array([0, 1, 2]), np.array([0, 1])))


def test_a_pin_without_an_embedding_is_refused():
    with pytest.raises(DataError, match="A row is negative"):
        places(ONE_CASE, Lists(np.array([0, 1]), np.array([-1])))


def test_a_broken_embedding_is_refused_and_does_not_count_as_far():
    matrix = naive.vectors(0)
    matrix[3] = np.nan
    pins = Lists(np.array([0, 1]), np.array([3]))
    best = best_cosines(Lists(np.array([0, 1]), np.array([4])), pins, matrix)
    with pytest.raises(DataError, match="best cosines are not numbers"):
        relevance(best, pins, np.array([True]), 0.8)
