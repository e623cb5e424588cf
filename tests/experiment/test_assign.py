"""Assign: anyone can tell a user's arm, and a name throws users anew."""

import duckdb
import numpy as np
import pytest
from scipy import stats

from pinnersage.config import PLACES, ExperimentConfig
from pinnersage.experiment import assign

USERS = [f"u{n}" for n in range(50_000)]


def experiment(name="one", **shares):
    return ExperimentConfig(
        name=name, arms=[{"name": arm, "share": share} for arm, share in shares.items()]
    )


def names(config, users=USERS):
    arms = (assign.arm_of(config, user) for user in users)
    return [arm.name if arm else "" for arm in arms]


@pytest.mark.parametrize("user", ["42", "u42", "", "Zoë/7", "-1"])
def test_sql_tells_the_same_place(user):
    sql = "SELECT ('0x' || left(sha256($name || '/' || $user), 15))::BIGINT % 10000"

    expected = duckdb.execute(sql, {"name": "home-feed", "user": user}).fetchall()

    assert [(assign.place_of("home-feed", user),)] == expected


def test_places_are_uniform():
    counts = np.bincount([assign.place_of("one", user) for user in USERS], minlength=PLACES)
    assert counts.size == PLACES
    assert 0.001 < stats.chisquare(counts).pvalue < 0.999


def test_arms_have_their_shares_and_the_rest_has_none():
    found = names(experiment(control=0.5, small=0.05, large=0.2))
    counts = [found.count(name) for name in ("control", "small", "large", "")]
    assert stats.chisquare(counts, [len(USERS) * s for s in (0.5, 0.05, 0.2, 0.25)]).pvalue > 0.001


def test_shares_of_one_leave_nobody_out():
    thirds = experiment(control=0.3333, a=0.3333, b=0.3334)
    assert "" not in names(thirds)


def test_the_smallest_share_is_one_place():
    config = experiment(control=0.9999, other=0.0001)
    places = [assign.place_of("one", user) for user in USERS]
    others = {place for place, arm in zip(places, names(config), strict=True) if arm == "other"}
    assert others == {PLACES - 1}


def test_a_users_arm_stays():
    config = experiment(control=0.5, other=0.5)
    assert names(config) == names(config.model_copy())


def test_another_name_is_another_throw_that_knows_nothing_of_the_first():
    one, two = (names(experiment(name, control=0.5, other=0.5)) for name in ("one", "two"))
    table = [[sum(pair == (a, b) for pair in zip(one, two, strict=True)) for b in set(two)]
             for a in set(one)]  # fmt: skip
    assert stats.chi2_contingency(table).pvalue > 0.001
