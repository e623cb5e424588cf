"""Compare: drift as a number, and what a day is judged against when some of it is not there."""

import math
from datetime import date, timedelta
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage import compare, queries, validate
from pinnersage.config import CheckConfig, RunConfig, Waivable
from pinnersage.online_against_batch import Agreement, Compared, Summary, User
from pinnersage.quality import judge
from pinnersage.stores.lake import Lake, Manifest

histograms = st.dictionaries(
    st.integers(-10, 20).map(str), st.integers(1, 10_000), min_size=1, max_size=12
)


@given(histograms)
def test_drift_of_equal_histograms_is_nothing(counts):
    assert compare.drift(counts, counts) == 0


@given(histograms, histograms)
def test_drift_is_symmetric_finite_and_not_negative(one, other):
    drift = compare.drift(one, other)
    assert 0 <= drift < math.inf
    assert drift == pytest.approx(compare.drift(other, one))


@given(histograms, st.integers(2, 50))
def test_drift_does_not_see_how_many_there_are(counts, times):
    more = {bin_: times * n for bin_, n in counts.items()}
    assert compare.drift(counts, more) < 0.05


@given(st.integers(0, 10_000), st.sampled_from([20, 100, 1000]))
def test_drift_of_two_draws_from_one_distribution_is_about_nothing(seed, n):
    rng = np.random.default_rng(seed)
    shares = [0.05, 0.2, 0.4, 0.25, 0.1]
    one, other = (
        {str(b): int(k) for b, k in enumerate(rng.multinomial(m, shares)) if k} for m in (n, 7 * n)
    )
    assert compare.drift(one, other) < (0.01 if n == 1000 else 0.2)


@pytest.mark.parametrize("n", [20, 1000])
def test_drift_sees_a_big_shift(n):
    one = {"2": n // 2, "3": n // 2}
    other = {"3": n // 2, "4": n // 2}
    assert compare.drift(one, other) > 0.25


def test_drift_against_nothing_is_infinite():
    assert compare.drift({"1": 3}, {}) == math.inf
    assert compare.drift({}, {}) == 0


# Days before, by hand


DAY = date(2026, 4, 5)
CHECKS = CheckConfig()


@pytest.fixture
def lake(tmp_path):
    """A lake in which the day is staged, with 700 users."""
    lake = Lake(tmp_path / "lake")
    stage_day(lake, DAY, 700)
    return lake


def stage_day(lake, day, users):
    partition = {"day": day.isoformat()}
    lake.commit(Manifest(table="actions", partition=partition, report={"users": users}))


def weeks_before(lake, *users):
    for n, count in enumerate(users):
        if count is not None:
            stage_day(lake, DAY - timedelta(weeks=n + 1), count)


@pytest.mark.parametrize(
    ("users", "share"),
    [
        ((700, 700, 700, 700), 1.0),
        ((1400, 1400, 1400, 1400), 0.5),
        ((1400, 1400, 1400, None), 0.5),
        ((10**6, 700, 700, 700), 1.0),
        ((0, 0, 0, 0), 1.0),
    ],
    ids=["as ever", "half", "three weeks are enough", "one odd week", "never anybody"],
)
def test_users_who_acted_are_those_of_the_usual_weekday(lake, users, share):
    weeks_before(lake, *users)
    assert compare.acting(lake, DAY, CHECKS).compared == {"acting_share": share}


@pytest.mark.parametrize(
    ("usual", "n_users", "passes"),
    [(1400, 700, False), (20, 10, True), (1000, 1000, True), (1000, 0, False), (10, 0, True)],
    ids=["half of many", "half of a few is chance", "all", "none", "none of a handful"],
)
def test_users_are_missing_when_chance_does_not_explain_it(lake, usual, n_users, passes):
    stage_day(lake, DAY, n_users)
    weeks_before(lake, usual, usual, usual)
    found = compare.acting(lake, DAY, CHECKS)
    (outcome,) = judge(pd.DataFrame([found.compared]), found.rules, table="day")
    assert (outcome.status == "passed") == passes


def test_other_weekdays_say_nothing(lake):
    for n in (1, 2, 3, 4, 5, 6, 8):
        stage_day(lake, DAY - timedelta(days=n), 10**6)
    weeks_before(lake, 700, 700)
    (outcome,) = compare.acting(lake, DAY, CHECKS).unjudged
    assert outcome.observed == "2 of 4 weekdays before are staged, 3 are needed"


def test_a_share_of_nothing_is_off(lake):
    weeks_before(lake, 1400, 1400, 1400)
    assert compare.acting(lake, DAY, CheckConfig(min_acting_share=0)) == compare.Comparison()


@pytest.mark.parametrize(("limit", "rules"), [(0, 0), (30, 1)])
def test_embeddings_may_be_of_any_age_unless_there_is_a_limit(limit, rules):
    day = compare.Day(DAY, {}, {}, [], DAY - timedelta(days=31))
    found = compare.age(day, CheckConfig(max_embeddings_age_days=limit))
    assert len(found.rules) == rules
    assert found.compared == {"embeddings_age_days": 31.0}


@pytest.mark.parametrize(("had", "status"), [(9, "passed"), (10, "failed")])
def test_a_bucket_is_empty_when_many_users_vanish_at_once(lake, tmp_path, had, status):
    with lake.workspace() as work:
        users = pa.table({"user_id": [n // 2 for n in range(2 * had)]})
        file = lake.add_table(users, "medoids", work, day=DAY, bucket=1)
    yesterday = Manifest(
        table="medoids",
        partition={"day": "2026-04-04"},
        files=(file,),
        report={"measures": {"n_users": had}},
    )
    day = compare.Day(DAY, {}, {}, [100, 0, 0], DAY)
    with queries.connect(tmp_path / "spill", RunConfig()) as con:
        (outcome,) = compare.empty_buckets(con, lake, day, yesterday, CHECKS)
    assert outcome.status == status
    wrong = [(row["bucket"], row["users_lost"]) for row in outcome.examples]
    assert wrong == ([("1", "10")] if status == "failed" else [])


def test_what_a_day_is_compared_with_is_not_its_own():
    measures = {"n_users": 3, "drift of importance": 0.1, "user_coverage": 1.0, "acting_share": 1}
    assert compare.own(measures | {"embeddings_age_days": 2.0}) == {"n_users": 3}


def test_every_rule_that_may_be_waived_is_one_of_these():
    """A name in ``checks.waivable`` that is no rule's would wait for ever."""
    drifts = {f"drift of {name}" for name in ("clusters per user", "importance")}
    ours = {compare.COVERAGE, compare.ACTING, compare.EMPTY, compare.CLUSTERS, compare.UNKNOWN}
    of_users = {rule.name for rule in validate.user_rules(1)} & set(get_args(Waivable))
    assert set(get_args(Waivable)) == ours | drifts | {compare.AGE} | of_users
    assert of_users == {"clusters of a user"}


# --- online against batch ------------------------------------------------------------------------


def measured(identical, n, not_measured="", worst=()):
    """What parity found of as many users whose stored clusters a batch keeps."""
    kept = Agreement(users=n, identical=identical if n else None)
    all_users = Agreement(users=100, identical=0.3, jaccard=0.9, cosine=0.99)
    summary = Summary(
        not_measured=not_measured, all_users=all_users, stored_kept=kept, sliding=all_users
    )
    return Compared(summary=summary, worst=list(worst))


@pytest.mark.parametrize(
    ("identical", "n", "status"),
    [
        (0.95, 400, "passed"),
        (0.74, 400, "passed"),  # 0.8 less three standard deviations of 400 draws: 0.74
        (0.73, 400, "warned"),
        (0.5, 10, "passed"),  # of ten users, chance
        (0.0, 10, "warned"),
    ],
)
def test_online_is_judged_where_the_batch_keeps_what_is_stored_less_chance(identical, n, status):
    user = User(
        user_id="4711", n_actions=12, n_new=3, identical=False, stored_kept=True, jaccard=0.5,
        cosine=0.9, medoids=[],
    )  # fmt: skip
    (outcome,), measures = compare.online(measured(identical, n, worst=[user]), CheckConfig())
    assert (outcome.status, outcome.table, outcome.severity) == (status, "parity", "warn")
    assert [row["user_id"] for row in outcome.examples] == ["4711"] * (status == "warned")
    assert measures["online_identical_of_kept"] == identical
    assert (measures["online_cosine"], measures["sliding_jaccard"]) == (0.99, 0.9)


def test_online_that_was_not_measured_is_not_judged():
    (outcome,), measures = compare.online(measured(0, 0, "nobody acted"), CheckConfig())
    assert (outcome.status, outcome.observed, measures) == ("not_judged", "nobody acted", {})
    (outcome,), measures = compare.online(measured(0, 0), CheckConfig())
    says = "a batch keeps the stored clusters of none of 100 users"
    assert (outcome.status, outcome.observed) == ("not_judged", says)
    assert measures["online_identical"] == 0.3


def test_no_manifest_of_medoids_depends_on_what_online_made():
    _, measures = compare.online(measured(0.9, 5), CheckConfig())
    assert len(measures) > 5
    assert compare.own(measures) == {}


def test_what_only_warns_is_not_for_a_person_to_waive():
    assert compare.ONLINE not in get_args(Waivable)
