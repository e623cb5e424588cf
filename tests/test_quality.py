"""Quality: what a rule says, what Great Expectations finds, and how frames add up."""

import math
import subprocess
import sys

import pandas as pd
import pytest

from pinnersage.quality import (
    LARGEST,
    Outcome,
    Rule,
    add_up,
    breaking,
    judge,
    not_judged,
    rows_of,
)

FRAME = pd.DataFrame(
    {
        "user_id": ["a", "b", "c", "c", "e"],
        "value": [1.0, math.nan, math.inf, -1.0, 0.0],
        "holds": [True, False, True, True, True],
        "same": [1, 2, 3, 3, 5],
    }
)
RULES = (
    Rule("finite and above 0", ("value",), least=0, most=LARGEST, strict=True),
    Rule("holds", ("holds",)),
    Rule("unique", ("user_id", "same")),
    Rule("at least -1", ("value",), severity="warn", least=-1, most=LARGEST),
    Rule("no such column", ("nowhere",)),
)


@pytest.fixture(scope="module")
def outcomes():
    found = judge(FRAME, RULES, table="t", shown=("user_id",))
    return {outcome.rule: outcome for outcome in found}


def test_nan_and_infinity_are_not_finite(outcomes):
    found = outcomes["finite and above 0"]
    assert (found.status, found.n_wrong, found.n_checked) == ("failed", 4, 5)
    assert {row["value"] for row in found.examples} == {"nan", "inf", "-1.0", "0.0"}
    assert {row["user_id"] for row in found.examples} == {"b", "c", "e"}
    assert found.observed == "4 of 5 rows break it"


def test_fractions_in_rows_are_short_and_ids_are_whole():
    rows = pd.DataFrame(
        {
            "user_id": [2**62 + 1, 7],
            "importance": [112.43046798590652, 12345678.0],
            "title": ["3.14159265358979", "b"],
        }
    )
    assert rows_of(rows) == [
        {"user_id": str(2**62 + 1), "importance": "112.43", "title": "3.14159265358979"},
        {"user_id": "7", "importance": "12345678.0", "title": "b"},
    ]


@pytest.mark.parametrize(
    ("n_wrong", "observed"),
    [
        (0, "none of 1,198 rows breaks it"),
        (1, "1 of 1,198 rows breaks it"),
        (1024, "1,024 of 1,198 rows break it"),
    ],
)
def test_a_count_of_rows_says_that_they_break_the_rule(n_wrong, observed):
    assert breaking(n_wrong, 1198) == observed


def test_a_row_that_is_not_true_is_wrong(outcomes):
    found = outcomes["holds"]
    assert (found.status, found.examples) == ("failed", [{"user_id": "b", "holds": "False"}])


def test_rows_that_are_there_twice_are_wrong(outcomes):
    found = outcomes["unique"]
    assert (found.status, found.n_wrong) == ("failed", 2)
    assert {row["user_id"] for row in found.examples} == {"c"}


def test_a_warning_does_not_fail(outcomes):
    assert outcomes["at least -1"].status == "warned"


def test_a_rule_that_cannot_be_judged_fails(outcomes):
    found = outcomes["no such column"]
    assert found.status == "failed"
    assert "nowhere" in found.examples[0]["error"]


def test_an_empty_frame_passes():
    found = judge(FRAME.iloc[:0], RULES[:3], table="t", shown=("user_id",))
    assert {outcome.status for outcome in found} == {"passed"}


def test_one_row_of_measures_shows_its_value():
    frame = pd.DataFrame([{"share": 0.25}])
    (found,) = judge(frame, [Rule("share", ("share",), most=0.2)], table="day")
    assert (found.status, found.observed, found.expected) == ("failed", "0.25", "<= 0.2")


def test_a_count_of_millions_is_whole():
    rule = Rule("none is a repeat", ("repeat",), severity="warn", most=0, unit=" rows")
    (found,) = judge(pd.DataFrame([{"repeat": 1_234_567}]), [rule], table="raw actions")
    assert (found.status, found.observed) == ("warned", "1,234,567 rows")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("", ("a", "b")), "unique"),
        (Rule("", ("a",)), "true for every row"),
        (Rule("", ("a",), least=0, most=LARGEST, strict=True), "> 0 and finite"),
        (Rule("", ("a",), least=1, most=500), ">= 1 and <= 500"),
        (Rule("", ("a",), most=0, unit=" rows"), "none"),
        (Rule("", ("a",), least=0.9), ">= 0.9"),
    ],
)
def test_a_rule_says_what_it_expects(rule, expected):
    assert rule.expected == expected


def outcome(rule, status, n_wrong, examples=()):
    return Outcome(
        rule=rule,
        table="t",
        severity="fail",
        status=status,
        expected="",
        observed="",
        n_checked=10,
        n_wrong=n_wrong,
        examples=[{"user_id": user} for user in examples],
    )


def test_outcomes_of_frames_add_up():
    found = add_up(
        [
            outcome("one", "passed", 0),
            outcome("two", "failed", 2, "ab"),
            outcome("one", "failed", 1, "c"),
            outcome("two", "passed", 0),
        ]
    )
    assert [(o.rule, o.status, o.n_wrong, o.n_checked) for o in found] == [
        ("one", "failed", 1, 20),
        ("two", "failed", 2, 20),
    ]
    assert found[0].observed == "1 of 20 rows breaks it"
    assert found[0].examples == [{"user_id": "c"}]


def test_what_is_not_judged_is_neither_passed_nor_failed():
    found = not_judged(RULES[0], table="day", why="no day before")
    assert (found.status, found.observed, found.n_wrong) == ("not_judged", "no day before", 0)


JUDGE = """
import logging, sys
logging.basicConfig(level="INFO", stream=sys.stdout)
import pandas as pd
from pinnersage.quality import Rule, judge
outcome, = judge(pd.DataFrame({"a": [1.0]}), [Rule("a", ("a",), least=0)], table="t")
print(outcome.status, "pyspark" in sys.modules)
"""


@pytest.mark.slow
def test_judging_loads_no_spark_and_fills_no_log():
    # As `python -c`, where PySpark without grpcio-status would end the process with code 0.
    command = [sys.executable, "-c", JUDGE]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    *log, last = done.stdout.splitlines()
    assert last == "passed False"
    assert len(log) < 5, log[:10]
