"""Analyse: sums are those of the log and the actions; a log that is not right gives no result."""

from datetime import timedelta

import pytest
from events import DAY, changed
from shows import ARMS, event_of, exposure

from pinnersage.errors import ConfigError, DataError
from pinnersage.experiment import analyse, exposures, statistics
from pinnersage.experiment.statistics import Sums

NEXT = DAY + timedelta(days=1)
N = 100
"""Users of each arm."""


def users(arm):
    return [f"{arm}-{n}" for n in range(N)]


def shown(**arms):
    """An exposure for each user of some arms, at one o'clock."""
    return [exposure(user, arm) for arm, own in arms.items() for user in own]


def actions(per_user, arm, of=N):
    """As many repins of each of an arm's first users, from noon on."""
    return [event_of(user, hour=12 + n / 60) for user in users(arm)[:of] for n in range(per_user)]


@pytest.fixture
def two(home):
    """Two arms of ``N``: half of the control's users act once, all of the other's twice."""
    settings = home([*actions(1, "control", N // 2), *actions(2, "all")])
    exposures.append(shown(control=users("control"), all=users("all")), settings)
    return settings


def test_arms_have_their_users_sums(two):
    report = analyse.run(DAY, NEXT, two)
    control, other = report.arms
    assert (control.name, control.users, control.exposures) == ("control", N, N)
    assert (control.actions, control.squares, control.acting) == (50, 50, 50)
    assert (other.name, other.actions, other.squares, other.acting) == ("all", 200, 400, N)
    assert (control.expected_users, control.share, report.ratio_p) == (N, 0.5, 1.0)
    assert report.problems == ()


def test_lifts_are_those_of_the_sums(two):
    volume, propensity = analyse.run(DAY, NEXT, two).lifts

    expected = statistics.lift(Sums(N, 200, 400), Sums(N, 50, 50))
    assert (volume.arm, volume.measure, volume.says) == ("all", "volume", "higher")
    assert (volume.control, volume.value, volume.lift) == (0.5, 2.0, 3.0)
    assert (volume.low, volume.high, volume.p) == expected[1:]
    expected = statistics.lift(Sums(N, N, N), Sums(N, 50, 50))
    assert (propensity.measure, propensity.control, propensity.value) == ("propensity", 0.5, 1.0)
    assert (propensity.low, propensity.high, propensity.p) == expected[1:]


def test_with_equal_arms_the_lift_of_volume_is_that_of_all_actions(two):
    report = analyse.run(DAY, NEXT, two)
    control, other = report.arms
    assert report.lifts[0].lift == pytest.approx(other.actions / control.actions - 1)


def test_kinds_of_action_are_those_of_interest(two):
    settings = changed(two, source={"interest_actions": ["click"]})
    assert [arm.actions for arm in analyse.run(DAY, NEXT, settings).arms] == [0, 0]


def test_an_experiment_is_named_or_the_one_that_is_set(two):
    exposures.append([exposure("x", "control", experiment="two")], two)
    assert sum(arm.users for arm in analyse.run(DAY, NEXT, two).arms) == 2 * N
    assert sum(arm.users for arm in analyse.run(DAY, NEXT, two, "two").arms) == 1
    with pytest.raises(DataError, match=f"experiment three .* {DAY}"):
        analyse.run(DAY, NEXT, two, "three")
    with pytest.raises(ConfigError, match="--name"):
        analyse.run(DAY, NEXT, changed(two, experiment={"name": "", "arms": []}))


def test_days_are_in_order_and_staged(two):
    with pytest.raises(ConfigError, match="before the first"):
        analyse.run(NEXT, DAY, two)
    with pytest.raises(DataError, match=r"stage --day 2026-04-07"):
        analyse.run(DAY, NEXT + timedelta(days=1), two)


def test_arms_out_of_ratio_are_no_result(two):
    exposures.append([exposure(f"more-{n}", "all") for n in range(N)], two)
    report = analyse.run(DAY, NEXT, two)
    assert report.ratio_p < analyse.RATIO_P
    assert report.lifts == ()
    (problem,) = report.problems
    assert "control 100 (expected 150), all 200 (expected 150)" in problem
    assert "See runbook: arms out of ratio." in problem


def test_a_ratio_that_chance_explains_is_a_result(two):
    exposures.append([exposure(f"more-{n}", "all") for n in range(20)], two)
    report = analyse.run(DAY, NEXT, two)
    assert analyse.RATIO_P < report.ratio_p < 0.5
    assert report.lifts


def test_an_arm_of_which_nothing_was_logged_is_out_of_ratio(home):
    settings = home(actions(1, "control"))
    exposures.append(shown(control=users("control")), settings)
    report = analyse.run(DAY, NEXT, settings)
    assert [(arm.name, arm.users) for arm in report.arms] == [("control", N), ("all", 0)]
    assert report.ratio_p < analyse.RATIO_P
    assert report.lifts == ()


def test_users_who_changed_arms_are_no_result(two):
    exposures.append([exposure("all-0", "control", hours=2)], two)
    report = analyse.run(DAY, NEXT, two)
    assert any("1 users were shown more than one arm" in one for one in report.problems)
    assert sum(arm.users for arm in report.arms) == 2 * N - 1
    assert report.lifts == ()


def test_a_share_that_changed_is_no_result(two):
    exposures.append([exposure("new", "all", share=0.4)], two)
    report = analyse.run(DAY, NEXT, two)
    assert any("share was changed" in one for one in report.problems)


def test_few_who_acted_are_no_result(home):
    settings = home([*actions(1, "control", analyse.FEWEST), *actions(1, "all", 29)])
    exposures.append(shown(control=users("control"), all=users("all")), settings)
    (problem,) = analyse.run(DAY, NEXT, settings).problems
    assert problem.startswith("all: 29 users acted")


def test_without_a_control_there_is_no_result(home):
    settings = home(actions(1, "all"), name="other")
    exposures.append(shown(all=users("all")), settings)
    report = analyse.run(DAY, NEXT, settings, "one")
    assert report.ratio_p is None
    assert any("no control" in one for one in report.problems)


def test_three_arms_are_each_compared_with_the_control(home):
    arms = [{**ARMS[0], "share": 0.25}, {**ARMS[1], "share": 0.25}, {"name": "b", "share": 0.5}]
    acts = [*actions(1, "control"), *actions(2, "all"), *actions(3, "b")]
    settings = home([*acts, *(event_of(f"b2-{n}") for n in range(N))], arms=arms)
    logged = [
        *[exposure(user, arm, share=0.25) for arm in ("control", "all") for user in users(arm)],
        *[exposure(user, "b") for user in [*users("b"), *(f"b2-{n}" for n in range(N))]],
    ]
    exposures.append(logged, settings)
    report = analyse.run(DAY, NEXT, settings)
    assert [arm.name for arm in report.arms] == ["control", "all", "b"]
    assert report.ratio_p == 1.0
    assert [(one.arm, one.measure, one.lift) for one in report.lifts] == [
        ("all", "volume", 1.0), ("all", "propensity", 0.0),
        ("b", "volume", 1.0), ("b", "propensity", 0.0),
    ]  # fmt: skip


def test_a_second_look_finds_the_same(two):
    assert analyse.run(DAY, NEXT, two) == analyse.run(DAY, NEXT, two)


def test_a_broken_file_is_named(two):
    from pathlib import Path

    from pinnersage.stores import open_lake

    (path,) = open_lake(two).log_paths("exposures", DAY)
    Path(path).write_bytes(b"no parquet")
    with pytest.raises(DataError, match="broken file"):
        analyse.run(DAY, NEXT, two)
