"""Freshness: when the live release is late, and what is said of it."""

from datetime import UTC, date, datetime, timedelta

import pytest
from typer.testing import CliRunner
from worlds import DAY, change

from pinnersage import freshness, release
from pinnersage.cli import app
from pinnersage.config import AlertConfig, Settings
from pinnersage.extract import end_of
from pinnersage.freshness import judge

LIMIT = AlertConfig().max_age_hours
YESTERDAY = date(2026, 4, 5)
TODAY = YESTERDAY + timedelta(days=1)
SIX = timedelta(hours=6)


def test_yesterday_has_to_be_live_by_six_in_the_morning():
    six = datetime(2026, 4, 6, 6, 0, tzinfo=UTC)
    before = YESTERDAY - timedelta(days=1)
    assert not judge(before, None, six, LIMIT).late
    assert judge(before, None, six + timedelta(minutes=1), LIMIT).late
    assert not judge(YESTERDAY, None, six + timedelta(hours=17), LIMIT).late


def test_an_age_counts_from_the_end_of_the_day_in_utc():
    elsewhere = datetime.fromisoformat("2026-04-06T04:00+02:00")
    found = judge(YESTERDAY, YESTERDAY - timedelta(days=2), elsewhere, LIMIT)
    assert found.age_hours == 2
    assert found.index_age_hours == 50


def test_what_is_late_says_which_day_and_where_to_look():
    says = judge(YESTERDAY, None, end_of(YESTERDAY) + timedelta(hours=31), LIMIT).says
    assert "2026-04-05 is live, 31.0 hours after its end (limit 30)" in says
    assert "pinnersage_daily for 2026-04-06" in says
    assert "See runbook: late release." in says


def test_a_home_without_a_release_is_late(tmp_path):
    found = freshness.run(end_of(DAY), Settings(home=tmp_path))
    assert found.late
    assert "Nothing is live yet" in found.says


def test_the_figures_are_those_of_what_is_live(finished):
    live = release.Releases(finished).live()
    medoids = release.Releases(finished).lake.version("medoids", live.medoids.manifest, day=DAY)
    found = freshness.run(end_of(DAY) + SIX, finished)
    assert (found.day, found.index_day, found.age_hours) == (DAY, DAY, 6)
    assert found.users == medoids.report["measures"]["n_users"] > 0
    assert found.clusters_per_user == medoids.report["measures"]["mean_clusters"] > 1
    assert 0.95 < found.recall <= 1


def test_an_index_that_a_later_day_kept_is_as_fresh_as_that_day(finished):
    lake = release.Releases(finished).lake
    later = DAY + timedelta(days=3)
    kept = lake.require("index", "", day=DAY)
    lake.commit(kept.model_copy(update={"partition": {"day": later.isoformat()}}))
    found = freshness.run(end_of(later), finished)
    assert (found.day, found.age_hours) == (DAY, 72)
    assert (found.index_day, found.index_age_hours) == (later, 0)


def test_the_limit_is_a_setting(finished):
    now = end_of(DAY) + timedelta(hours=3)
    assert not freshness.run(now, finished).late
    assert freshness.run(now, change(finished, alerts={"max_age_hours": 2.5})).late


@pytest.mark.parametrize(("hours", "code"), [(30, 3), (10**6, 0)])
def test_the_command_ends_with_3_when_late(finished, monkeypatch, hours, code):
    monkeypatch.setenv("PINNERSAGE_HOME", str(finished.home))
    monkeypatch.setenv("PINNERSAGE__ALERTS__MAX_AGE_HOURS", str(hours))
    done = CliRunner().invoke(app, ["freshness", "--json"])
    assert done.exit_code == code
    assert f'"day": "{DAY}"' in done.stdout
