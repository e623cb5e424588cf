"""Words: a lift is said with its interval, and nothing is claimed that the interval leaves open."""

import made_up
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.evaluate import words
from pinnersage.evaluate.results import Estimate

shares = st.integers(-3_000, 9_000).map(lambda n: n / 1000)


def estimate(value, low=None, high=None):
    return Estimate(value=value, low=low, high=high)


@pytest.mark.parametrize(
    ("lift", "text"),
    [
        (estimate(0.45, 0.39, 0.51), "+45 % [39 %, 51 %]"),
        (estimate(0.03, -0.031, 0.09), "+3.0 % [\N{MINUS SIGN}3.1 %, 9.0 %]"),
        (estimate(-0.5, -0.6, -0.4), "\N{MINUS SIGN}50 % [\N{MINUS SIGN}60 %, \N{MINUS SIGN}40 %]"),
        (estimate(12.345, 11, 14), "+1,234 % [1,100 %, 1,400 %]"),
        (estimate(0.0, 0.0, 0.0), "0 % [0 %, 0 %]"),
        (estimate(-0.00001), "0.0 %"),
        (estimate(0.45), "+45 %"),
        (estimate(None), words.NOTHING),
        (None, words.NOTHING),
    ],
)
def test_a_lift_is_said_with_its_interval(lift, text):
    assert words.lift(lift) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (0.00001, "0.0000"),
        (0.1234, "0.123"),
        (1.234, "1.23"),
        (-12.34, "\N{MINUS SIGN}12.3"),
        (123.4, "123"),
        (12_345.6, "12,346"),
        (None, words.NOTHING),
    ],
)
def test_a_number_has_three_digits(value, text):
    assert words.number(value) == text


def test_a_value_is_said_with_its_interval_where_it_has_one():
    assert words.value(estimate(0.5, 0.4, 0.6)) == "0.500 [0.400, 0.600]"
    assert words.value(estimate(0.5)) == "0.500"
    assert words.value(estimate(None)) == words.value(None) == words.NOTHING


@given(shares, shares, shares)
def test_the_verdict_follows_the_interval(one, two, three):
    low, value, high = sorted((one, two, three))
    said = words.verdict(estimate(value, low, high))
    assert (said == "beats") == (low > 0)
    assert (said == "does not beat") == (high < 0)
    assert (said == "cannot be told") == (low <= 0 <= high)


def test_without_an_interval_nothing_can_be_told():
    assert words.verdict(estimate(5.0)) == words.verdict(estimate(None)) == "cannot be told"


UP, DOWN, OPEN = made_up.about(0.4), made_up.about(-0.4), made_up.about(0.01)


@pytest.mark.parametrize(
    ("lifts", "status", "word"),
    [
        ((UP, UP, UP, UP), "passed", "beats"),
        ((UP, UP, UP, OPEN), "warned", "beats in part"),
        ((UP, DOWN, UP, UP), "warned", "beats in part"),
        ((OPEN, OPEN, OPEN, OPEN), "warned", "cannot be told"),
        ((DOWN, DOWN, DOWN, DOWN), "failed", "does not beat"),
        ((DOWN, OPEN, OPEN, OPEN), "failed", "does not beat"),
        ((estimate(None), estimate(None)), "warned", "cannot be told"),
        ((), "warned", "not compared"),
    ],
)
def test_the_headline_claims_no_more_than_was_found(lifts, status, word):
    headline = words.headline(made_up.report(comparisons=made_up.compared(*lifts)))
    assert (headline.status, headline.word) == (status, word)


def test_the_headline_says_where():
    lifts = made_up.compared(UP, UP, OPEN, DOWN)
    sentence = words.headline(made_up.report(comparisons=lifts)).sentence
    assert sentence == (
        "PinnerSage, all, proportional shares beats the best single embedding in Relevance on new "
        "pins at equal cost and equal candidates; does not beat it (the interval is below 0) in "
        "Recall on new pins at equal candidates; cannot be told from it (the interval holds 0) in "
        "Recall on new pins at equal cost."
    )


def test_measures_are_told_apart_by_what_they_count():
    names = ["recall, new", "diversity", "relevance, all", "recall, all", "novel thing"]
    assert words.by_kind(names) == [
        ("All action pins", ["relevance, all", "recall, all"]),
        ("New pins", ["recall, new"]),
        ("Other measures", ["diversity", "novel thing"]),
    ]
    assert [words.title(name) for name in names] == [
        *("Recall", "Diversity", "Relevance", "Recall", "Novel thing"),
    ]
    assert words.measure_name("recall, new") == "Recall on new pins"
    assert words.measure_name("r-precision, repeats") == "R-Precision on repeats"
    assert words.measure_name("diversity") == "Diversity"


def test_each_measure_is_explained_once_and_an_unknown_one_is_not():
    explained = words.explained(["recall, new", "recall, all", "relevance, all", "novel thing"])
    assert [title for title, _ in explained] == ["Relevance", "Recall"]
    assert all("5.3.1" in about for _, about in explained)


def test_what_was_tried_stands_best_first():
    choice = made_up.choice()
    none = choice.tried[0].model_copy(update={"values": {"recall, new": None}})
    found = words.ranked(choice.model_copy(update={"tried": [none, *choice.tried]}))
    values = [one.values["recall, new"] for one in found[:-1]]
    assert values == sorted(values, reverse=True)
    assert found[-1] is none
    assert [words.is_chosen(one, choice) for one in found].index(True) == 0
    assert sum(words.is_chosen(one, choice) for one in found) == 1


def test_the_criterion_is_said_with_its_budget():
    choice = made_up.choice()
    assert words.criterion_name(choice) == "Recall on new pins at equal cost"
    plain = choice.model_copy(update={"criterion": "recall, new"})
    assert words.criterion_name(plain) == "Recall on new pins"
    assert words.ranked(plain) == words.ranked(choice)


def test_settings_are_flat():
    assert dict(words.flat({"a": {"b": 1, "c": {"d": [1, "x"]}}, "e": None})) == {
        "a.b": "1",
        "a.c.d": '[1, "x"]',
        "e": "null",
    }


def test_p_values():
    assert [words.p_value(p) for p in (0.0312, 0.0004, 1.0, None)] == [
        *("0.031", "< 0.001", "1.000", words.NOTHING),
    ]


def test_lists_of_words():
    assert [words.listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
