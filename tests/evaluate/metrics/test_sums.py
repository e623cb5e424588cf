"""Sums: flat lists, masks, and values over any cases."""

import naive_metrics as naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.errors import DataError
from pinnersage.evaluate.metrics import Lists, Sums, chosen, counted, recall
from pinnersage.evaluate.metrics.sums import agree, cases_of, mean, numbers, proportion, summed


def test_a_value_weighs_each_action_the_same_whatever_its_case():
    assert Sums(np.array([1.0, 0.0]), np.array([1.0, 3.0])).value == 0.25


def test_nothing_that_counts_has_no_value():
    assert Sums(np.zeros(2), np.zeros(2)).value is None
    assert Sums(np.zeros(0), np.zeros(0)).value is None


def test_new_pins_and_repeats_are_all_and_share_none():
    new = np.array([True, False, True])
    masks = {which: counted(new, which).tolist() for which in ("all", "new", "repeats")}
    assert masks == {
        "all": [True, True, True],
        "new": [True, False, True],
        "repeats": [False, True, False],
    }


def test_a_mask_is_not_the_flags_themselves():
    new = np.array([True, False])
    counted(new, "new")[:] = False
    assert new.tolist() == [True, False]


@given(naive.cases())
def test_chosen_pins_are_those_of_the_mask_in_their_order(drawn):
    _, targets, mask = drawn
    made = chosen(naive.flat(targets), naive.joined(mask, bool))
    expected = naive.flat([naive.wanted(*both) for both in zip(targets, mask, strict=True)])
    assert made.offsets.tolist() == expected.offsets.tolist()
    assert made.rows.tolist() == expected.rows.tolist()


@given(st.lists(st.lists(st.integers(-5, 5), max_size=4), max_size=5))
def test_sums_are_of_each_case_also_of_empty_ones(lists):
    offsets = naive.offsets_of(lists)
    values = naive.joined(lists, float)
    assert summed(values, offsets).tolist() == [sum(own) for own in lists]
    assert summed(values, offsets).dtype == np.float64
    assert cases_of(offsets).tolist() == [i for i, own in enumerate(lists) for _ in own]


def test_a_mean_weighs_each_case_the_same_and_leaves_out_those_without():
    made = mean(np.array([0.5, np.nan, 1.0]), np.array([True, False, True]))
    assert made.hits.tolist() == [0.5, 0.0, 1.0]
    assert made.counts.tolist() == [1.0, 0.0, 1.0]
    assert made.value == 0.75


def test_a_proportion_counts_hits_only_where_they_count():
    hit, mask = np.array([True, True, False]), np.array([True, False, True])
    made = proportion(hit, np.array([0, 1, 3]), mask)
    assert made.hits.tolist() == [1.0, 0.0]
    assert made.counts.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("offsets", [[0, 1], [0, 3], [1, 2]])
def test_offsets_of_something_else_are_refused(offsets):
    with pytest.raises(DataError, match="one value for each entry"):
        agree(np.zeros(2), np.array(offsets))


def test_a_mask_of_other_targets_is_refused():
    targets = Lists(np.array([0, 2]), np.array([3, 4]))
    with pytest.raises(DataError, match="3 values stand against offsets from 0 to 2"):
        recall(np.array([0, -1]), targets, np.ones(3, dtype=bool))


def test_what_is_not_a_number_is_refused_and_infinity_is_not():
    assert numbers(np.array([-np.inf, 1.0]), "cosines").tolist() == [-np.inf, 1.0]
    with pytest.raises(DataError, match="1 of 2 cosines are not numbers, the first at 1"):
        numbers(np.array([0.0, np.nan]), "cosines")
