"""Waive: who may release a day that failed, what is kept of it, and what may never be waived."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from worlds import DAY, change, clock

from pinnersage import cluster, config, pages, publish, release, stage, validate, waive
from pinnersage.errors import ChecksError, ConfigError, DataError, WaivableError
from pinnersage.stores import open_lake, open_storage

AT = datetime(2026, 4, 6, 9, 30, tzinfo=UTC)
STRICT = {"max_mean_clusters_per_user": 0.5}
RULE = "clusters per user on average"


@pytest.fixture(scope="module")
def failed_home(staged_home, tmp_path_factory):
    """A home whose day failed a rule that may be waived; copy it."""
    home = tmp_path_factory.mktemp("failed") / "home"
    shutil.copytree(staged_home, home)
    settings = change(config.load(home), checks=STRICT)
    for bucket in range(settings.lake.n_buckets):
        cluster.run(DAY, bucket, settings)
    with pytest.raises(WaivableError) as caught:
        validate.run(DAY, settings)
    return home, caught.value


@pytest.fixture
def failed(failed_home, tmp_path):
    """The failed day's settings, a home of the test's own, the error, and how to waive it."""
    home, error = failed_home
    shutil.copytree(home, tmp_path / "home")
    settings = change(config.load(tmp_path / "home"), checks=STRICT)

    def run(version=error.report_version, by="Ada", reason="a holiday", at=AT, settings=settings):
        return waive.run(DAY, version, by, reason, at, settings)

    return SimpleNamespace(settings=settings, error=error, waive=run)


def day_of(settings):
    return open_lake(settings).current("medoids", day=DAY)


def page_of(settings):
    return open_storage(settings).read(f"reports/quality/day={DAY}/index.html").decode()


def test_error_names_the_day_its_report_and_the_way_to_waive(failed):
    error = failed.error
    assert error.day == DAY
    assert error.report_version == waive.last_report(DAY, failed.settings).version
    assert f"pinnersage waive {DAY} --by NAME --reason TEXT" in str(error)
    assert open_storage(failed.settings).exists(
        f"reports/quality/day={DAY}/{error.report_version}.html"
    )


def test_waived_day_goes_live_and_says_who_and_why(failed):
    settings = failed.settings

    report = failed.waive()

    manifest = day_of(settings)
    assert manifest.version == report.version
    assert manifest.report["waived"] == {
        "rules": [RULE],
        "by": "Ada",
        "reason": "a holiday",
        "at": "2026-04-06T09:30:00Z",
        "report": failed.error.report_version,
    }
    quality = waive.last_report(DAY, settings)
    assert quality.status == "waived"
    assert [outcome.rule for outcome in quality.failed] == [RULE]
    assert "waived by Ada" in page_of(settings)
    assert "Reason: a holiday" in page_of(settings)
    publish.run(DAY, settings)
    assert release.release_medoids(DAY, clock, settings).moved


def test_manifest_is_the_one_of_validate_but_for_the_waiver(failed):
    failed.waive()
    waived = day_of(failed.settings)

    validate.run(DAY, change(failed.settings, checks={"max_mean_clusters_per_user": 150}))

    report = {k: v for k, v in waived.report.items() if k != "waived"}
    assert day_of(failed.settings) == waived.model_copy(update={"report": report})


def test_a_waiver_holds_when_the_same_report_comes_again(failed):
    failed.waive()
    before = day_of(failed.settings)

    report = validate.run(DAY, failed.settings)

    assert report.waived == [RULE]
    assert report.report == failed.error.report_version
    assert day_of(failed.settings) == before
    assert waive.last_report(DAY, failed.settings).waived.by == "Ada"


def test_a_waiver_holds_for_nothing_else(failed):
    failed.waive()
    with pytest.raises(WaivableError):
        validate.run(DAY, change(failed.settings, checks={"max_mean_clusters_per_user": 0.6}))
    assert day_of(failed.settings) is None


def test_a_waiver_ends_when_the_rule_is_no_longer_waivable(failed):
    failed.waive()
    with pytest.raises(ChecksError) as caught:
        validate.run(DAY, change(failed.settings, checks={"waivable": ()}))
    assert not isinstance(caught.value, WaivableError)
    assert day_of(failed.settings) is None


def test_the_same_waiver_again_is_no_error_and_the_first_time_is_kept(failed):
    first = failed.waive()
    assert failed.waive(at=AT + timedelta(hours=1)) == first
    assert waive.last_report(DAY, failed.settings).waived.at == AT


@pytest.mark.parametrize(
    ("by", "reason"), [("Grace", "looked at it"), ("Grace", "a holiday"), ("Ada", "a new model")]
)
def test_another_waiver_of_the_same_report_is_refused_and_the_first_is_kept(failed, by, reason):
    failed.waive()
    publish.run(DAY, failed.settings)
    release.release_medoids(DAY, clock, failed.settings)
    before, page = day_of(failed.settings), page_of(failed.settings)

    said = r"was waived by Ada at 2026-04-06 09:30 UTC, with the reason: a holiday\. That stands"
    with pytest.raises(DataError, match=said):
        failed.waive(by=by, reason=reason)

    assert day_of(failed.settings) == before
    assert page_of(failed.settings) == page


def test_a_waiver_that_was_killed_before_its_page_stands_too(failed, monkeypatch):
    monkeypatch.setattr(pages, "write_quality", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failed.waive()
    monkeypatch.undo()

    with pytest.raises(DataError, match="was waived by Ada"):
        failed.waive(by="Grace")
    failed.waive()

    assert waive.last_report(DAY, failed.settings).waived.by == "Ada"


@pytest.mark.parametrize(("by", "reason"), [("", "a holiday"), ("Ada", "  "), ("\t", "")])
def test_a_waiver_needs_a_name_and_a_reason(failed, by, reason):
    with pytest.raises(ConfigError, match="a name and a reason"):
        failed.waive(by=by, reason=reason)
    assert day_of(failed.settings) is None


def test_a_report_that_is_not_the_last_one_is_refused(failed):
    with pytest.raises(WaivableError):
        validate.run(DAY, change(failed.settings, checks={"max_mean_clusters_per_user": 0.6}))
    with pytest.raises(DataError, match=f"report {failed.error.report_version} is not the last"):
        failed.waive()
    assert day_of(failed.settings) is None


def test_buckets_that_the_report_did_not_judge_are_refused(failed):
    lake = open_lake(failed.settings)
    bucket = lake.require("medoids", "cluster", day=DAY, bucket=1)
    lake.commit(bucket.model_copy(update={"report": bucket.report | {"users": 0}}))
    with pytest.raises(DataError, match="clustered again since report"):
        failed.waive()


def test_actions_staged_since_the_report_are_refused(failed):
    lake = open_lake(failed.settings)
    staged = lake.require("actions", "stage", day=DAY - timedelta(days=3))
    lake.commit(staged.model_copy(update={"report": staged.report | {"users": 1}}))
    with pytest.raises(DataError, match="staged or clustered again since report"):
        failed.waive()


def test_a_rule_that_may_not_be_waived_is_refused_by_name(failed):
    settings = change(failed.settings, checks={"max_clusters_per_user": 1})
    with pytest.raises(ChecksError) as caught:
        validate.run(DAY, settings)
    assert not isinstance(caught.value, WaivableError)
    assert "pinnersage waive" not in str(caught.value)
    with pytest.raises(DataError, match=r"not to be waived: clusters of a user\. Mend"):
        failed.waive(caught.value.report_version, settings=settings)
    assert day_of(settings) is None


def test_a_day_that_stage_stopped_is_never_waived(failed):
    settings = change(failed.settings, checks={"max_unusable_share": 0.0})
    log = settings.home / "raw" / f"{DAY}.parquet"
    log.parent.mkdir()
    log.write_bytes(b"no Parquet")
    settings = change(settings, source={"actions": str(log.parent / "{day}.parquet")})
    with pytest.raises(ChecksError) as caught:
        stage.run(DAY, settings)
    with pytest.raises(DataError, match="not to be waived: raw actions can be read"):
        failed.waive(caught.value.report_version, settings=settings)


def test_a_day_that_passed_has_nothing_to_waive(failed):
    settings = change(failed.settings, checks={"max_mean_clusters_per_user": 150})
    report = validate.run(DAY, settings).report
    with pytest.raises(DataError, match="nothing failed"):
        failed.waive(report, settings=settings)


def test_a_day_without_a_report_names_the_command(settings):
    with pytest.raises(DataError, match=f"pinnersage validate --day {DAY}"):
        waive.run(DAY, "0" * 16, "Ada", "a holiday", AT, settings)


def test_report_that_is_stored_is_the_one_that_was_judged(failed):
    """Its version is that of the file, read back: nothing is lost on the way."""
    report = waive.last_report(DAY, failed.settings)
    named = pages.read_quality(open_storage(failed.settings), DAY, report.version)
    assert named == report
    assert json.loads(report.model_dump_json())["waived"] is None


@pytest.mark.parametrize("name", ["user, rank: one row each", "no such rule"])
def test_exact_and_unknown_rules_cannot_be_marked_as_waivable(failed, name):
    with pytest.raises(ConfigError, match=r"checks\.waivable"):
        change(failed.settings, checks={"waivable": [name]})
