"""Sweep: the clusters that days would have at other merge thresholds, and nothing published."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from events import rows_of
from worlds import DAY, change

from pinnersage import cluster, sweep
from pinnersage.errors import ConfigError, DataError
from pinnersage.stores import open_lake, open_storage

THRESHOLDS = [2.5, 0.5, 1.0]


def reports_of(settings, thresholds=THRESHOLDS):
    wanted = sweep.ask(thresholds, None, settings)
    return [sweep.run(DAY, bucket, wanted.merge_thresholds, settings) for bucket in wanted.buckets]


@pytest.fixture(scope="module")
def reports(staged_home):
    from pinnersage import config

    return reports_of(config.load(staged_home))


@pytest.fixture
def summary(reports, settings):
    return sweep.summarise(reports, settings)


def medoids_at(settings, threshold):
    """Medoids of all buckets as ``cluster`` writes them at a merge threshold."""
    changed = change(settings, model={"merge_threshold": threshold})
    lake = open_lake(changed)
    for bucket in range(changed.lake.n_buckets):
        cluster.run(DAY, bucket, changed)
        yield from rows_of(lake, lake.require("medoids", "cluster", day=DAY, bucket=bucket))


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_each_threshold_shows_what_cluster_would_write(threshold, summary, settings):
    rows = list(medoids_at(settings, threshold))
    per_user = sorted(Counter(row["user_id"] for row in rows).values())
    (found,) = (at for at in summary.thresholds if at.merge_threshold == threshold)

    assert found.clusters == len(rows)
    assert found.single_action_share == sum(row["n_actions"] == 1 for row in rows) / len(rows)
    cosines = sum(row["cohesion"] * row["n_actions"] for row in rows)
    assert found.mean_cohesion == pytest.approx(cosines / sum(row["n_actions"] for row in rows))
    everyone = found.clusters_per_user["all"]
    assert everyone.users == summary.users == len(per_user)
    expected = np.quantile(per_user, [0.5, 0.9, 1.0], method="inverted_cdf").tolist()
    assert [everyone.median, everyone.p90, everyone.most] == expected


def test_a_higher_threshold_has_fewer_clusters_and_less_cohesion(summary):
    assert [at.merge_threshold for at in summary.thresholds] == [0.5, 1.0, 2.5]
    clusters = [at.clusters for at in summary.thresholds]
    cohesion = [at.mean_cohesion for at in summary.thresholds]
    assert clusters == sorted(clusters, reverse=True)
    assert cohesion == sorted(cohesion, reverse=True)


def test_light_and_heavy_users_are_told_by_their_actions(settings, monkeypatch):
    rows = list(medoids_at(settings, 1.0))
    actions = Counter()
    for row in rows:
        actions[row["user_id"]] += row["n_actions"]
    bounds = sorted(actions.values())
    monkeypatch.setattr(sweep, "LIGHT_ACTIONS", bounds[4])
    monkeypatch.setattr(sweep, "HEAVY_ACTIONS", bounds[-2])

    (found,) = sweep.summarise(reports_of(settings, [1.0]), settings).thresholds

    assert found.clusters_per_user["light"].users == sum(n <= bounds[4] for n in bounds)
    assert found.clusters_per_user["heavy"].users == sum(n >= bounds[-2] for n in bounds)
    assert found.clusters_per_user["light"].most < found.clusters_per_user["heavy"].median


def test_the_lake_stays_as_it_was_and_no_day_appears(settings):
    before = {entry.key: entry for entry in open_storage(settings).list("")}
    sweep.finish(DAY, [r.model_dump(mode="json") for r in reports_of(settings)], settings)
    after = {entry.key: entry for entry in open_storage(settings).list("")}
    assert before.items() <= after.items()
    assert {key.rpartition("/")[0] for key in after.keys() - before.keys()} == {
        f"reports/sweep/day={DAY}"
    }


def test_buckets_in_any_order_and_on_any_number_of_threads_give_one_report(reports, settings):
    threaded = change(settings, run={"threads": 2})
    assert reports_of(threaded) == reports
    forth, back = (sweep.summarise(found, settings) for found in (reports, reports[::-1]))
    assert forth.version == back.version


def test_some_buckets_are_named_as_such(reports, settings):
    summary = sweep.summarise(reports[1:2], settings)
    assert (summary.buckets, summary.n_buckets) == ((1,), 4)
    assert "1 of 4" in sweep.render(summary).decode()


def test_a_bucket_without_users_adds_nothing(make_home):
    from pinnersage import stage

    settings = make_home(n_buckets=16, model={"window_days": 3})
    stage.run(DAY, settings)
    found = reports_of(settings)
    empty = [report for report in found if not report.users]
    assert empty
    (only, *_) = sweep.summarise(empty, settings).thresholds
    assert (only.clusters, only.mean_cohesion, only.single_action_share) == (0, None, None)
    assert only.clusters_per_user["all"].median is None
    assert sweep.render(sweep.summarise(empty, settings))
    whole = sweep.summarise(found, settings)
    without = sweep.summarise([report for report in found if report.users], settings)
    assert whole.thresholds == without.thresholds


def test_a_later_sweep_of_the_day_leaves_the_earlier_one_readable(summary, reports, settings):
    first = sweep.write(summary, settings)
    other = sweep.summarise(reports[:1], settings)
    assert sweep.write(other, settings) == first

    storage, folder = open_storage(settings), f"reports/sweep/day={DAY}"
    for one in (summary, other):
        kept = json.loads(storage.read(f"{folder}/{one.version}.json"))
        assert sweep.SweepSummary.model_validate(kept) == one
    last = storage.read(f"{folder}/report.json")
    assert last == storage.read(f"{folder}/{other.version}.json")


def test_page_shows_the_thresholds_side_by_side_and_loads_nothing(summary):
    page = sweep.render(summary).decode()
    assert not re.search(r"https?:|//cdn|(src|href)\s*=|@import|url\(|<script|<link", page)
    for at in summary.thresholds:
        assert f"{at.clusters:,}" in page
    assert page.count("(settings)") == 1
    assert "heavy" in page


BAD = {
    "none": ([], None, "0 merge thresholds"),
    "below 0": ([1.0, -0.5], None, "Merge threshold -0.5"),
    "not a number": ([float("nan")], None, "Merge threshold nan"),
    "endless": ([float("inf")], None, "Merge threshold inf"),
    "too many": ([n / 10 for n in range(21)], None, "limit: 1 to 20"),
    "no bucket": ([1.0], [], "No bucket is named"),
    "bucket": ([1.0], [0, 4], "Bucket 4 is not one of 0 to 3"),
}


@pytest.mark.parametrize("why", BAD)
def test_what_cannot_be_swept_is_said_before_anything_is_computed(why, settings):
    thresholds, buckets, message = BAD[why]
    with pytest.raises(ConfigError, match=message):
        sweep.ask(thresholds, buckets, settings)


def test_a_threshold_that_is_no_number_is_named():
    assert [sweep.number(part) for part in ["0.5", " 1", "2e0"]] == [0.5, 1, 2]
    with pytest.raises(ConfigError, match=r"^not a number: 'a'; give such as 0\.5,1,2$"):
        sweep.number(" a")


def test_what_is_named_twice_counts_once(settings):
    wanted = sweep.ask([1, 1.0, 0.5], [2, 0, 2], settings)
    assert (wanted.merge_thresholds, wanted.buckets) == ([0.5, 1.0], [0, 2])


def test_reports_that_do_not_belong_together_are_refused(reports, settings):
    other = reports[1].model_copy(update={"embeddings": "0123456789ab"})
    with pytest.raises(DataError, match=r"Bucket 1 is of 2026-04-05 with embeddings 0123456789ab"):
        sweep.summarise([reports[0], other], settings)
    with pytest.raises(DataError, match="No bucket was swept"):
        sweep.summarise([], settings)
    plain = [reports[0].model_dump(mode="json")]
    with pytest.raises(DataError, match="asked for is 2026-04-06"):
        sweep.finish(DAY.replace(day=6), plain, settings)


def test_a_day_that_is_not_staged_says_what_to_run(settings):
    day = DAY.replace(day=7)
    with pytest.raises(DataError, match=f"pinnersage stage --day {day}"):
        sweep.run(day, 0, [1.0], settings)
