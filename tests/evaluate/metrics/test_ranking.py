"""Ranking metrics: the paper's own, which are not the field's of a like name; and ties."""

import naive_metrics as naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.errors import DataError
from pinnersage.evaluate.metrics import mrr, places, r_precision, ranks, reciprocal_rank

SCORES = st.lists(st.sampled_from([-np.inf, 0.1, 0.5, 0.9]), max_size=3)
"""Few of them, so that they tie."""


@st.composite
def rankings(draw):
    """Scores of the actions and of the impressions of some cases, and which actions count."""
    n = draw(st.integers(0, 4))
    actions, impressions = [draw(SCORES) for _ in range(n)], [draw(SCORES) for _ in range(n)]
    mask = [[draw(st.booleans()) for _ in own] for own in actions]
    return actions, impressions, mask


def ranked(actions, impressions):
    return ranks(
        naive.offsets_of(actions),
        naive.joined(actions, np.float32),
        naive.offsets_of(impressions),
        naive.joined(impressions, np.float32),
    )


def at_ranks(*wanted, n):
    """One case of n pins whose actions have these ranks."""
    others = [rank for rank in range(1, n + 1) if rank not in wanted]
    return ranked([[-rank for rank in wanted]], [[-rank for rank in others]])


def test_ranks_1_4_and_10_give_0_45_where_mrr_is_1():
    made = at_ranks(1, 4, 10, n=20)
    every = np.ones(3, dtype=bool)
    assert made.first.tolist() == [1, 4, 10]
    assert made.tied.tolist() == [1, 1, 1]
    assert reciprocal_rank(made, every).value == pytest.approx(0.45, rel=1e-12)
    candidates, targets = naive.flat([range(20)]), naive.flat([[0, 3, 9]])
    assert mrr(places(candidates, targets), targets, every).value == 1


def test_reciprocal_rank_averages_over_actions_and_not_over_cases():
    """Four actions: (1 + 1/4 + 1/10 + 1/2) / 4."""
    case = [[-1, -4, -10], [-2]]
    others = [[-2, -3, -5, -6, -7, -8, -9], [-1, -3]]
    made = reciprocal_rank(ranked(case, others), np.ones(4, dtype=bool))
    np.testing.assert_allclose(made.hits, [1.35, 0.5])
    assert made.counts.tolist() == [3, 1]
    assert made.value == pytest.approx(1.85 / 4)


def test_r_precision_asks_how_many_of_k_actions_are_among_the_first_k():
    every = np.ones(3, dtype=bool)
    assert r_precision(at_ranks(1, 2, 3, n=60), every).value == 1
    assert r_precision(at_ranks(1, 4, 10, n=60), every).value == pytest.approx(1 / 3)
    assert r_precision(at_ranks(4, 5, 6, n=60), every).value == 0


@given(rankings())
def test_both_equal_their_naive_twins_over_every_order_that_ties_allow(drawn):
    actions, impressions, mask = drawn
    made, counts = ranked(actions, impressions), naive.joined(mask, bool)
    for measure, twin in (
        (r_precision, naive.r_precision),
        (reciprocal_rank, naive.reciprocal_rank),
    ):
        sums = measure(made, counts)
        expected = [twin(*case) for case in zip(actions, impressions, mask, strict=True)]
        np.testing.assert_allclose(sums.hits, [hits for hits, _ in expected], atol=1e-12)
        assert sums.counts.tolist() == [count for _, count in expected]


@pytest.mark.parametrize("score", [-np.inf, 0.0, 1.0])
@pytest.mark.parametrize(("k", "n"), [(1, 21), (3, 63), (10, 210)])
def test_a_scorer_that_says_the_same_of_all_pins_measures_as_chance(score, k, n):
    made = ranked([[score] * k], [[score] * (n - k)])
    every = np.ones(k, dtype=bool)
    assert r_precision(made, every).value == pytest.approx(k / n)
    assert reciprocal_rank(made, every).value == pytest.approx(sum(1 / np.arange(1, n + 1)) / n)


@given(rankings(), st.randoms())
def test_the_order_of_cases_and_of_pins_that_tie_changes_nothing(drawn, random):
    actions, impressions, mask = drawn
    order = list(range(len(actions)))
    random.shuffle(order)
    made = [reciprocal_rank, r_precision]
    before = [f(ranked(actions, impressions), naive.joined(mask, bool)) for f in made]
    turned = ([actions[i][::-1] for i in order], [impressions[i][::-1] for i in order])
    counts = naive.joined([mask[i][::-1] for i in order], bool)
    after = [f(ranked(*turned), counts) for f in made]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other.hits, one.hits[order], atol=1e-12)


@given(rankings())
def test_new_pins_and_repeats_add_up_to_all(drawn):
    actions, impressions, new = drawn
    made, flags = ranked(actions, impressions), naive.joined(new, bool)
    for measure in (r_precision, reciprocal_rank):
        one, other = measure(made, flags), measure(made, ~flags)
        total = measure(made, np.ones_like(flags))
        np.testing.assert_allclose(one.hits + other.hits, total.hits)
        np.testing.assert_allclose(one.counts + other.counts, total.counts)


def test_a_score_that_is_not_a_number_is_refused():
    with pytest.raises(DataError, match="scores of actions are not numbers"):
        ranked([[np.nan]], [[0.5]])
    with pytest.raises(DataError, match="scores of impressions are not numbers"):
        ranked([[0.5]], [[np.nan]])


def test_impressions_of_other_cases_are_refused():
    with pytest.raises(DataError, match="Actions are of 1 cases and impressions of 2"):
        ranked([[0.5]], [[0.5], [0.1]])
    with pytest.raises(DataError, match="2 values stand against offsets from 0 to 1"):
        ranks(np.array([0, 1]), np.zeros(2), np.array([0, 1]), np.zeros(1))
