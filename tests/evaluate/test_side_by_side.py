"""Tables: models side by side; values, lifts and denominators against what they are made of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.evaluate import paper
from pinnersage.evaluate.metrics import Sums
from pinnersage.evaluate.tables import (
    Frame,
    Measured,
    against_best_single,
    contrast,
    in_paper,
    table,
)

FRAME = Frame(
    "Table 4", "Title", "About", ["recall, all", "recall, new"],
    {"PinnerSage": {"recall, all": 0.88}},
)  # fmt: skip


@st.composite
def measured(draw):
    """Cases of some users, and rows of models on them."""
    n = draw(st.integers(2, 12))
    users = np.sort(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    counts = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), np.float64)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    names = ["Last pin", "Decay average, λ = 0.01", "PinnerSage"]
    rows = [
        Measured(
            name,
            "" if i < 2 else "all",
            {measure: Sums(counts * rng.random(n), counts) for measure in FRAME.measures},
            single=i < 2,
            chosen=i == 2,
        )
        for i, name in enumerate(names)
    ]
    return users, rows


@given(measured())
def test_a_row_has_its_value_and_its_lift_over_the_first(made):
    users, rows = made
    found = table(FRAME, rows, users, {"all": 7, "new": 3, "repeats": 4}, seed=0)
    assert (found.base, found.n_cases, found.n_users) == ("Last pin", users.size, len({*users}))
    assert found.n_targets == {"all": 7, "new": 3, "repeats": 4}
    for row, of in zip(found.rows, rows, strict=True):
        assert (row.model, row.policy, row.chosen) == (of.model, of.policy, of.chosen)
        for measure in FRAME.measures:
            hits, counts = (part.sum() for part in of.sums[measure])
            base = rows[0].sums[measure].value
            assert row.values[measure].value == (hits / counts if counts else None)
            if not base:
                assert row.lifts[measure].value is None
                continue
            assert row.lifts[measure].value == pytest.approx(hits / counts / base - 1)
            assert row.p[measure] is None or 0 < row.p[measure] <= 1
            low, high = row.lifts[measure].low, row.lifts[measure].high
            assert (low is None) == (high is None)
            assert low is None or low <= high


@given(measured())
def test_the_base_is_exactly_as_good_as_itself(made):
    users, rows = made
    row = table(FRAME, rows, users, {}, seed=0).rows[0]
    for lift in row.lifts.values():
        assert lift.value in {None, 0.0}
        assert lift.low in {None, 0.0}


def test_the_papers_lifts_stand_where_it_has_them():
    users, rows = np.array([0, 1]), []
    one = {measure: Sums(np.ones(2), np.ones(2)) for measure in FRAME.measures}
    rows = [Measured("Last pin", "", one), Measured("PinnerSage", "all", one)]
    found = table(FRAME, rows, users, {}, seed=0)
    assert [row.paper for row in found.rows] == [{}, {"recall, all": 0.88}]


@given(measured())
def test_the_chosen_one_stands_against_the_best_of_one_vector(made):
    users, rows = made
    found = against_best_single("equal cost", "recall, new", rows, users, seed=0)
    values = {row.model: row.sums["recall, new"].value or 0.0 for row in rows if row.single}
    assert found.best_single == max(values, key=values.get)
    assert found.chosen == "PinnerSage, all"
    best = values[found.best_single]
    if best:
        lift = rows[2].sums["recall, new"].value / best - 1
        assert found.lift.value == pytest.approx(lift)
    else:
        assert found.lift.value is None


@given(measured())
def test_a_contrast_is_the_one_over_the_other(made):
    users, (base, _, one) = made
    found = contrast("all", "equal cost", "recall, all", (one, base), users, seed=0)
    assert (found.one, found.other, found.policy) == ("PinnerSage", "Last pin", "all")
    if base.sums["recall, all"].value:
        lift = one.sums["recall, all"].value / base.sums["recall, all"].value - 1
        assert found.lift.value == pytest.approx(lift)
    assert found.paper == pytest.approx(0.88)


def test_the_paper_implies_a_lift_of_one_row_over_another():
    relevance, recall = paper.TABLE_4["PinnerSage, k-means (k = 5)"]
    pair = "PinnerSage", "PinnerSage, k-means (k = 5)"
    assert in_paper("relevance, all", *pair) == pytest.approx(2.10 / (1 + relevance) - 1)
    assert in_paper("recall, all", *pair) == pytest.approx(1.88 / (1 + recall) - 1)
    assert in_paper("recall, new", *pair) is None, "the paper does not tell new from repeated"
    assert in_paper("recall, all", "PinnerSage", "My own") is None
