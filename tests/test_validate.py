"""Validate: one planted fault each, what it says about it, and that nothing is published.

Great Expectations takes seconds to import and every run judges two dozen rules, so faults of
rows are planted in different users of one day, and each test looks at its own rule.
"""

import html
import json
import math
import re
import shutil
from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from events import DAY, changed, days_before, rows_of

from pinnersage import cluster, config, publish, stage, validate
from pinnersage.errors import DataError
from pinnersage.schema import MEDOIDS
from pinnersage.stores import embeddings
from pinnersage.stores.lake import Lake


def lake_of(settings):
    return Lake(settings.home / "lake")


def cluster_all(settings, day=DAY):
    for bucket in range(settings.lake.n_buckets):
        cluster.run(day, bucket, settings)


def copy_of(home, folder):
    shutil.copytree(home, folder / "home")
    return config.load(folder / "home")


@pytest.fixture(scope="module")
def clustered_home(staged_home, tmp_path_factory):
    """A home whose day is clustered and not yet validated; copy it."""
    settings = copy_of(staged_home, tmp_path_factory.mktemp("clustered"))
    cluster_all(settings)
    return settings.home


@pytest.fixture
def clustered(clustered_home, tmp_path):
    return copy_of(clustered_home, tmp_path)


def medoids_of(settings):
    lake = lake_of(settings)
    return [
        row
        for bucket in range(settings.lake.n_buckets)
        for row in rows_of(lake, lake.require("medoids", "cluster", day=DAY, bucket=bucket))
    ]


def plant(settings, alter, **report):
    """Write every bucket again with rows that ``alter`` has changed, its manifest as before."""
    lake = lake_of(settings)
    layout = lake.layout
    for bucket in range(layout.n_buckets):
        keys = {"day": DAY.isoformat(), "bucket": bucket}
        manifest = lake.require("medoids", "cluster", **keys)
        rows = alter(rows_of(lake, manifest))
        table = pa.Table.from_pylist(rows, schema=MEDOIDS.arrow(layout.user_id, layout.pin_id))
        with lake.workspace() as work:
            files = (lake.add_table(table, "medoids", work, **keys),) if rows else ()
        update = {"files": files, "rows": len(rows), "report": manifest.report | report}
        lake.commit(manifest.model_copy(update=update))


def report_of(settings):
    path = settings.home / "reports" / "quality" / f"day={DAY}" / "report.json"
    return {outcome["rule"]: outcome for outcome in json.loads(path.read_text())["outcomes"]}


def page_of(settings):
    page = settings.home / "reports" / "quality" / f"day={DAY}" / "index.html"
    return page.read_text(encoding="utf-8")


class Judged:
    """A day that failed: its settings, the error, outcomes by rule, and the page."""

    def __init__(self, settings):
        self.settings = settings
        with pytest.raises(DataError) as caught:
            validate.run(DAY, settings)
        self.message = str(caught.value)
        self.outcomes = report_of(settings)
        self.page = page_of(settings)

    def users(self, rule):
        return {row["user_id"] for row in self.outcomes[rule]["examples"]}

    @property
    def failed(self):
        return {rule for rule, outcome in self.outcomes.items() if outcome["status"] == "failed"}


# A good day


@pytest.fixture(scope="module")
def passed(clustered_home, tmp_path_factory):
    """The tiny day, validated: settings and report."""
    settings = copy_of(clustered_home, tmp_path_factory.mktemp("passed"))
    return settings, validate.run(DAY, settings)


def test_a_good_day_passes_and_becomes_a_partition(passed):
    settings, report = passed
    manifest = lake_of(settings).require("medoids", "validate", day=DAY)
    rows = rows_of(lake_of(settings), manifest)
    assert manifest.rows == len(rows) == report.measures["n_clusters"]
    assert len({row["user_id"] for row in rows}) == report.measures["n_users"] == 17
    assert sum(row["n_actions"] for row in rows) == report.measures["n_actions"]
    assert (manifest.version, manifest.content_hash) == (report.version, report.content_hash)


def test_missing_history_is_not_judged_and_warned(passed):
    settings, report = passed
    unjudged = {r: o for r, o in report_of(settings).items() if o["status"] == "not_judged"}
    assert set(unjudged) == {
        "users against the last passed day",
        "a bucket with users is not suddenly empty",
        "drift of clusters per user",
        "drift of importance",
        "online agrees with batch",
    }
    assert {text.split(":")[0] for text in report.warned} == set(unjudged)
    lacking = unjudged["users against the last passed day"]
    assert lacking["observed"] == "none of the 7 days before passed"
    assert "0 of the 7 days before passed, 3 are needed" in page_of(settings)


def test_page_is_whole_in_itself(passed):
    page = page_of(passed[0])
    assert not re.search(r"https?:|(src|href)\s*=|@import|url\(", page)
    assert "<script" not in page


def test_page_shows_every_rule_and_the_histograms(passed):
    settings, report = passed
    page = page_of(settings)
    for rule in validate.MEDOID_RULES:
        assert rule.name in html.unescape(page)
    assert "Clusters per user" in page
    assert f"{report.measures['n_actions']:,}" in page


# Faults of rows


FAULTS = {
    "nan": "importance is finite and above 0",
    "inf": "importance is finite and above 0",
    "zero": "importance is finite and above 0",
    "negative": "importance is finite and above 0",
    "ascending": "importance descends with rank",
    "impossible": "importance is at most one an action",
    "foreign": "medoid is one of the user's own actions of the window",
    "too_few": "actions in a user's clusters are the actions of the window",
    "lost": "actions in a user's clusters are the actions of the window",
    "twice": "user, rank: one row each",
    "same_pin": "user, medoid: one row each",
    "skipped": "rank counts 0, 1, 2 … within a user",
    "late": "actions of a cluster lie in the window",
    "offset": "offset is a squared distance of unit vectors",
    "cohesion": "cohesion is a cosine",
}
ALSO = {
    # what a fault breaks beside its own rule
    "nan": {"importance is at most one an action", "importance descends with rank"},
    "inf": {"importance is at most one an action"},
    "twice": {
        "user, medoid: one row each",
        "rank counts 0, 1, 2 … within a user",
        "actions in a user's clusters are the actions of the window",
    },
}


VALUES = {
    # which of the user's rows, its column, the wrong value
    "nan": (-1, "importance", math.nan),
    "inf": (0, "importance", math.inf),
    "zero": (-1, "importance", 0.0),
    "negative": (-1, "importance", -1.0),
    "foreign": (0, "pin_id", -1),
    "offset": (-1, "offset", -0.1),
    "cohesion": (-1, "cohesion", 1.5),
}


def alter(fault, rows):
    """One user's rows, wrong."""
    first, last = rows[0], rows[-1]
    if fault in VALUES:
        position, column, value = VALUES[fault]
        rows[position][column] = value
    elif fault == "ascending":
        first["importance"] = last["importance"] / 2
    elif fault == "impossible":
        first["importance"] = first["n_actions"] * 1.01
    elif fault == "too_few":
        first["n_actions"] += 1
    elif fault == "same_pin":
        last["pin_id"] = first["pin_id"]
    elif fault == "skipped":
        last["rank"] += 1
    elif fault == "late":
        last["last_acted_at"] += timedelta(days=91)
    return {"lost": [], "twice": [*rows, last]}.get(fault, rows)


@pytest.fixture(scope="module")
def faulty(clustered_home, tmp_path_factory):
    """The tiny day with each fault in a user of its own: the judged day, and who has which."""
    settings = copy_of(clustered_home, tmp_path_factory.mktemp("faulty"))
    counts = pd.Series([row["user_id"] for row in medoids_of(settings)]).value_counts()
    users = counts.sort_index().sort_values(ascending=False, kind="stable").index.tolist()
    # those that change two rows get the users with most clusters
    order = sorted(FAULTS, key=lambda f: f not in {"ascending", "same_pin", "skipped", "nan"})
    who = dict(zip(order, users, strict=False))
    of_user = {user: fault for fault, user in who.items()}

    def each(rows):
        found = []
        for user in sorted({row["user_id"] for row in rows}):
            own = [row for row in rows if row["user_id"] == user]
            found += alter(of_user[user], own) if user in of_user else own
        return found

    plant(settings, each)
    return Judged(settings), {fault: str(user) for fault, user in who.items()}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_found_in_its_user(fault, faulty):
    judged, who = faulty
    assert who[fault] in judged.users(FAULTS[fault])


@pytest.mark.parametrize("rule", sorted(set(FAULTS.values())))
def test_no_user_is_blamed_for_another_s_fault(rule, faulty):
    judged, who = faulty
    guilty = {who[f] for f in FAULTS if FAULTS[f] == rule or rule in ALSO.get(f, ())}
    assert judged.users(rule) <= guilty


def test_failure_publishes_nothing(faulty):
    lake = lake_of(faulty[0].settings)
    assert lake.current("medoids", day=DAY) is None
    assert lake.days("medoids") == []


def test_failure_names_rules_rows_and_the_page(faulty):
    judged, _ = faulty
    assert f"{DAY}: {len(judged.failed)} checks failed, nothing is published." in judged.message
    assert "First rows: user_id " in judged.message
    assert "See runbook: failed check." in judged.message
    page = judged.settings.home / "reports" / "quality" / f"day={DAY}" / "index.html"
    assert f"Report: {page}" in judged.message


def test_page_of_a_failure_shows_the_rows(faulty):
    judged, who = faulty
    assert f"{len(judged.failed)} failed, not published" in judged.page
    for user in who.values():
        assert f"<td>{user}</td>" in judged.page
    assert not re.search(r"https?:|(src|href)\s*=|@import|url\(", judged.page)


# Faults of the day


def test_limits_of_the_day_are_judged(clustered):
    """Too many clusters, by user and on average; what a bucket says of itself is not believed."""
    plant(clustered, lambda rows: rows, dropped={"unknown_pin": 200}, actions=10**9)
    most = max(row["rank"] for row in medoids_of(clustered)) + 1
    strict = changed(
        clustered,
        checks={"max_clusters_per_user": most - 1, "max_mean_clusters_per_user": 2.0},
    )
    judged = Judged(strict)
    assert judged.failed == {
        "clusters of a user",
        "clusters per user on average",
    }
    assert judged.outcomes["clusters of a user"]["n_wrong"] == 1
    report = clustered.home / "reports" / "quality" / f"day={DAY}" / "report.json"
    measures = json.loads(report.read_text())["measures"]
    assert measures["n_actions"] == 1235
    assert measures["unknown_pin_share"] == 0
    assert lake_of(clustered).current("medoids", day=DAY) is None


def test_a_day_that_fails_after_it_passed_is_no_longer_there_to_publish(passed, tmp_path):
    settings = copy_of(passed[0].home, tmp_path)
    version = lake_of(settings).require("medoids", "validate", day=DAY).version

    Judged(changed(settings, checks={"max_mean_clusters_per_user": 0.5}))

    with pytest.raises(DataError, match="Run first: pinnersage validate"):
        publish.run(DAY, settings)
    assert lake_of(settings).version("medoids", version, day=DAY), "a release may name it"


def test_importance_and_times_are_summed_anew_from_the_events(clustered):
    """Faults that no row betrays: each is within its own limits."""
    plant(
        clustered,
        lambda rows: [
            row | {"importance": row["importance"] * 0.999, "last_acted_at": row["first_acted_at"]}
            for row in rows
        ],
    )
    judged = Judged(clustered)
    assert judged.failed == {
        "importance of a user's clusters is that of the actions",
        "first and last action of a user's clusters are the actions'",
    }


def pretend_day(lake, manifest, back, n_users=17, shift=0):
    """Commit an earlier day that passed, with histograms like the day's, shifted by some bins."""
    histograms = {
        name: {str(int(bin_) + shift): 10 * n for bin_, n in counts.items()}
        for name, counts in manifest.report["histograms"].items()
    }
    measures = manifest.report["measures"] | {"n_users": n_users}
    partition = {"day": days_before(back).isoformat()}
    report = manifest.report | {"measures": measures, "histograms": histograms}
    lake.commit(manifest.model_copy(update={"partition": partition, "report": report}))


def test_drift_and_lost_users_stop_the_day(passed, clustered):
    manifest = lake_of(passed[0]).require("medoids", "validate", day=DAY)
    for back in (1, 2, 3):
        pretend_day(lake_of(clustered), manifest, back, n_users=19, shift=3)

    judged = Judged(clustered)

    assert judged.failed == {
        "users against the last passed day",
        "drift of clusters per user",
        "drift of importance",
    }
    assert float(judged.outcomes["users against the last passed day"]["observed"]) == pytest.approx(
        17 / 19, rel=1e-4
    )
    assert "See runbook: drift." in judged.message
    assert lake_of(clustered).current("medoids", day=DAY) is None


def test_manifest_does_not_depend_on_the_days_before(passed, clustered):
    manifest = lake_of(passed[0]).require("medoids", "validate", day=DAY)
    for back in (1, 2, 5, 8):  # the eighth is too old to count
        pretend_day(lake_of(clustered), manifest, back, n_users=18)

    report = validate.run(DAY, clustered)

    assert lake_of(clustered).require("medoids", "validate", day=DAY) == manifest
    measure_it = f"it was not measured; measure it: pinnersage parity --day {DAY}"
    assert report.warned == [f"online agrees with batch: {measure_it}"]
    assert report.measures["drift of importance"] == 0
    assert report.measures["user_coverage"] == pytest.approx(17 / 18)


def test_a_day_without_users_is_not_published(clustered):
    plant(clustered, lambda _rows: [])
    judged = Judged(clustered)
    assert "users with clusters" in judged.failed
    assert lake_of(clustered).current("medoids", day=DAY) is None


# Buckets that are not the day's


BUCKETS = {
    "settings": "bucket was clustered with the settings in force",
    "actions": "bucket was clustered from the actions staged now",
    "embeddings": "bucket was clustered from the embeddings valid on the day",
    "missing": "bucket was clustered",
}


def make_stale(what, settings):
    """The buckets are no longer those of the day; return the settings then in force."""
    lake = lake_of(settings)
    if what == "settings":
        return changed(settings, model={"merge_threshold": 2.0})
    if what == "actions":
        staged = lake.require("actions", "stage", day=days_before(3))
        lake.commit(staged.model_copy(update={"report": staged.report | {"users": 1}}))
    elif what == "embeddings":
        table = embeddings.open_version(lake, embeddings.valid_at(lake, "embeddings", DAY))
        since = days_before(1)
        embeddings.write(
            lake, table.pin_ids, -table.matrix, valid_from=since, first_day=since, max_bad_share=0
        )
    else:
        lake.retire("medoids", day=DAY, bucket=2)
    return settings


@pytest.mark.parametrize("what", BUCKETS)
def test_buckets_made_from_something_else_fail_and_name_the_command(what, clustered):
    judged = Judged(make_stale(what, clustered))

    assert judged.failed == {BUCKETS[what]}
    rows = judged.outcomes[BUCKETS[what]]["examples"]
    assert [row["bucket"] for row in rows] == (["2"] if what == "missing" else list("0123"))
    assert rows[-1]["run"].startswith("pinnersage cluster --day 2026-04-05 --bucket ")
    assert "There are no measures" in judged.page.replace("there are", "There are")
    assert lake_of(clustered).current("medoids", day=DAY) is None


def test_file_that_is_broken_is_a_data_error(clustered):
    lake = lake_of(clustered)
    path = lake.path(lake.require("medoids", "cluster", day=DAY, bucket=0).files[0])
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"cannot be read.*broken file"):
        validate.run(DAY, clustered)


def test_restaging_a_day_of_the_window_as_it_was_keeps_the_buckets_good(clustered):
    stage.run(days_before(5), changed(clustered, model={"window_days": 1}))
    buckets = validate.current_buckets(lake_of(clustered), DAY)
    frame = validate.bucket_frame(lake_of(clustered), DAY, buckets, clustered)
    assert len(frame) == 4
    assert frame.filter(regex="^(is|has)_").all(axis=None)


def test_written_medoids_survive_a_round_trip(clustered):
    """The faults above are those that were planted: writing the same rows changes no value."""
    lake = lake_of(clustered)
    before = lake.require("medoids", "cluster", day=DAY, bucket=0)
    table = pq.ParquetFile(lake.path(before.files[0])).read()
    plant(clustered, lambda rows: rows)
    after = lake.require("medoids", "cluster", day=DAY, bucket=0)
    assert pq.ParquetFile(lake.path(after.files[0])).read().equals(table)
