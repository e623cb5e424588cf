"""Cluster: a bucket's users to medoids, equal to the paper's equations and to itself."""

import math
import shutil
import sys
from collections import defaultdict
from datetime import UTC, datetime, time, timedelta

import duckdb
import naive
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from events import DAY, changed, event, make, rows_of, vectors, write_log, write_pins

from pinnersage import cluster, config, extract, init, stage
from pinnersage.config import SourceConfig
from pinnersage.stores.lake import Lake

END = datetime.combine(DAY, time(), UTC) + timedelta(days=1)


def cluster_all(settings, day=DAY):
    return [cluster.run(day, b, settings) for b in range(settings.lake.n_buckets)]


def medoids_of(settings, day=DAY):
    """Rows of all buckets, by user and rank."""
    lake = Lake(settings.home / "lake")
    rows = [
        row
        for bucket in range(settings.lake.n_buckets)
        for row in rows_of(lake, lake.require("medoids", "cluster", day=day, bucket=bucket))
    ]
    return sorted(rows, key=lambda row: (row["user_id"], row["rank"]))


def content_of(reports):
    """The day's content hash, as ``validate`` commits it: the buckets' sum."""
    return f"{sum(int(report.content_hash, 16) for report in reports) % 2**128:032x}"


def home_over(world, home, actions=None, *, n_buckets=4, **sections):
    """A home over the tiny world, all of its window staged."""
    log = actions or world / "actions"
    items = init.Items(path=str(world / "pins.parquet"), embeddings=str(world / "embeddings.npy"))
    init.run(home, SourceConfig(actions=str(log), event="event_id"), items, n_buckets=n_buckets)
    settings = changed(config.load(home), **sections)
    stage.run(DAY, settings)
    return settings


@pytest.fixture(scope="module")
def reference(tiny, tmp_path_factory):
    """The tiny day with four buckets and one thread: settings, reports and content hash."""
    settings = home_over(tiny, tmp_path_factory.mktemp("reference") / "home")
    reports = cluster_all(settings)
    return settings, reports, content_of(reports)


@pytest.fixture
def own(reference, tmp_path):
    """The same in a home of the test's own, to compute again in."""
    settings, reports, expected = reference
    shutil.copytree(settings.home, tmp_path / "own")
    return settings.model_copy(update={"home": tmp_path / "own"}), reports, expected


@pytest.fixture(scope="module")
def raw(tiny):
    """The tiny world's raw rows, read without DuckDB."""
    return pa.concat_tables(
        [pq.read_table(p) for p in sorted((tiny / "actions").glob("**/*.parquet"))]
    )


def test_day_has_one_content_hash_for_threads_buckets_and_runs(own, tiny, tmp_path):
    settings, _, expected = own
    sys.stdout.write(f"content hash of the tiny day's medoids: {expected}\n")
    assert content_of(cluster_all(changed(settings, run={"threads": 2}))) == expected
    assert content_of(cluster_all(settings)) == expected
    for n_buckets in (1, 16):
        other = home_over(
            tiny, tmp_path / f"home{n_buckets}", n_buckets=n_buckets, run={"threads": 2}
        )
        assert content_of(cluster_all(other)) == expected


def test_order_of_the_input_rows_changes_nothing(reference, raw, tiny, tmp_path):
    shuffled = raw.take(np.random.default_rng(11).permutation(raw.num_rows))
    for n in range(2):
        half = shuffled.slice(n * raw.num_rows // 2, raw.num_rows // 2 + n)
        write_log(tmp_path / "log" / f"{n}.parquet", half)
    settings = home_over(tiny, tmp_path / "home", tmp_path / "log")
    assert content_of(cluster_all(settings)) == reference[2]


def test_second_run_leaves_the_same_bytes(own):
    settings, reports, _ = own
    root = settings.home / "lake" / "medoids"
    before = {p: p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
    assert cluster_all(settings) == reports
    assert {p: p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()} == before


def test_rows_that_another_engine_has_read_give_the_same_version(own):
    settings, reports, _ = own
    lake = Lake(settings.home / "lake")
    for report in reports:
        manifests = extract.window_manifests(lake, DAY, settings)
        paths = lake.paths(*manifests, bucket=report.bucket)
        rows = duckdb.read_parquet(paths, hive_partitioning=True).to_arrow_table()
        rows = rows.take(np.random.default_rng(3).permutation(rows.num_rows))
        assert cluster.run(DAY, report.bucket, settings, rows.to_reader(37)) == report


def actions_by_hand(raw, settings):
    """Each user's (time, pin) of the window, from the raw rows, as the documentation says."""
    seen, days = set(), defaultdict(list)
    window = timedelta(days=settings.model.window_days)
    rows = sorted(raw.to_pylist(), key=lambda r: (r["acted_at"], r["pin_id"], r["event_id"]))
    for row in rows:
        wanted = row["action"] in settings.source.interest_actions
        if wanted and END - window <= row["acted_at"] < END and row["event_id"] not in seen:
            seen.add(row["event_id"])
            days[row["user_id"], row["acted_at"].date()].append((row["acted_at"], row["pin_id"]))
    users = defaultdict(list)
    for (user, _), actions in sorted(days.items()):
        users[user] += actions[-settings.model.max_actions_per_day :]
    return users


def clusters_by_hand(actions, vector_of, settings):
    """One user's clusters by the naive twins: Ward on the distinct pins, weighted by repeats."""
    pins = list(dict.fromkeys(pin for _, pin in actions))
    weights = [sum(pin == other for _, other in actions) for pin in pins]
    points = np.array([vector_of[pin] for pin in pins], dtype=float)
    labels = naive.ward(points, settings.model.merge_threshold, weights)
    clusters = []
    for label in sorted(set(labels)):
        members = [i for i in range(len(pins)) if labels[i] == label]
        own = [(when, pin) for when, pin in actions if pins.index(pin) in members]
        ages = [(END - when) / timedelta(days=1) for when, _ in own]
        best = members[naive.medoid(points[members], [weights[i] for i in members])]
        clusters.append(
            {
                "pin_id": pins[best],
                "importance": naive.importance(ages, settings.model.decay_per_day),
                "n_actions": len(own),
                "first_acted_at": own[0][0],
                "last_acted_at": own[-1][0],
                "cohesion": naive.cohesion([vector_of[pin] for _, pin in own], points[best]),
                "offset": float(
                    ((np.mean([vector_of[p] for _, p in own], axis=0) - points[best]) ** 2).sum()
                ),
            }
        )
    return sorted(
        clusters, key=lambda c: (-c["importance"], -c["last_acted_at"].timestamp(), c["pin_id"])
    )


def test_medoids_equal_the_paper_s_computed_by_hand_from_the_raw_rows(reference, raw, tiny):
    settings, reports, _ = reference
    ids = pq.read_table(tiny / "pins.parquet")["pin_id"].to_pylist()
    matrix = np.load(tiny / "embeddings.npy").astype(float)
    vector_of = dict(zip(ids, matrix, strict=True))
    users = actions_by_hand(raw, settings)

    found = defaultdict(list)
    for row in medoids_of(settings):
        found[row["user_id"]].append(row)

    assert set(found) == set(users)
    assert sum(report.actions for report in reports) == sum(map(len, users.values()))
    for user, actions in users.items():
        expected = clusters_by_hand(actions, vector_of, settings)
        exact = ("pin_id", "n_actions", "first_acted_at", "last_acted_at")
        assert [tuple(c[k] for k in exact) for c in found[user]] == [
            tuple(c[k] for k in exact) for c in expected
        ]
        for name, tolerance in (("importance", 1e-12), ("cohesion", 1e-6), ("offset", 1e-6)):
            np.testing.assert_allclose(
                [c[name] for c in found[user]],
                [c[name] for c in expected],
                rtol=tolerance,
                atol=tolerance,
            )
        assert [c["rank"] for c in found[user]] == list(range(len(expected)))


def test_nothing_at_or_after_the_day_s_end_changes_a_result(reference, raw, tiny, tmp_path):
    before = raw.filter(pa.compute.less(raw["acted_at"], pa.scalar(END, raw["acted_at"].type)))
    assert before.num_rows < raw.num_rows
    busiest = medoids_of(reference[0])[0]["user_id"]
    again = raw.slice(0, 50).to_pylist()
    future = [
        row | {"event_id": -n, "user_id": busiest, "acted_at": END + timedelta(days=n)}
        for n, row in enumerate(again)
        if row["action"] == "repin"
    ]
    log = pa.concat_tables([before, pa.Table.from_pylist(future, schema=raw.schema)])
    write_log(tmp_path / "log.parquet", log)
    settings = home_over(tiny, tmp_path / "home", tmp_path / "log.parquet")
    assert content_of(cluster_all(settings)) == reference[2]


@pytest.mark.parametrize("size", [1, 37])
def test_chunk_boundaries_change_no_byte(own, size, monkeypatch):
    settings = own[0]
    monkeypatch.setattr(cluster, "ROW_GROUP", 25)
    expected = cluster_all(settings)
    monkeypatch.setattr(extract, "CHUNK", size)
    assert cluster_all(settings) == expected
    lake = Lake(settings.home / "lake")
    (file,) = lake.require("medoids", "cluster", day=DAY, bucket=0).files
    parquet = pq.ParquetFile(lake.path(file)).metadata
    groups = [parquet.row_group(n).num_rows for n in range(parquet.num_row_groups)]
    assert len(groups) > 1
    assert set(groups[:-1]) == {25}


@pytest.fixture
def small(tmp_path):
    """Make a home with a few events on four pins, their day staged."""

    def small(events, *, n_buckets=1, **sections):
        log = write_log(tmp_path / "log.parquet", events)
        items = write_pins(tmp_path / "pins", [10, 11, 12, 13], vectors(4))
        settings = make(tmp_path / "home", log, items, n_buckets=n_buckets, sections=sections)
        stage.run(DAY, settings)
        return settings

    return small


def test_an_empty_bucket_is_a_partition_without_files(small):
    settings = small([event(1, 10), event(2, 11)], n_buckets=16)
    reports = cluster_all(settings)
    empty = [report for report in reports if not report.users]
    assert len(empty) >= 14
    assert {(r.clusters, r.actions, r.content_hash) for r in empty} == {(0, 0, "0" * 32)}
    lake = Lake(settings.home / "lake")
    manifest = lake.require("medoids", "cluster", day=DAY, bucket=empty[0].bucket)
    assert manifest.files == ()
    assert [row["user_id"] for row in medoids_of(settings)] == [1, 2]


def test_a_user_whose_every_pin_is_unknown_has_no_clusters(small):
    settings = small([event(1, 99), event(1, 98), event(2, 10)])
    report = cluster_all(settings)[0]
    assert (report.users, report.actions, report.dropped) == (1, 1, {"unknown_pin": 2})
    assert [row["user_id"] for row in medoids_of(settings)] == [2]


def test_one_action_is_one_medoid(small):
    settings = small([event(1, 10)])
    cluster_all(settings)
    (row,) = medoids_of(settings)
    assert (row["pin_id"], row["rank"], row["n_actions"]) == (10, 0, 1)
    assert row["importance"] == pytest.approx(math.exp(-0.01 * 0.5), rel=1e-12)
    assert (row["offset"], row["cohesion"]) == (0, pytest.approx(1))


def test_no_decay_counts_actions(small):
    settings = small([event(1, pin) for pin in (10, 11, 12, 13)], model={"decay_per_day": 0})
    cluster_all(settings)
    assert all(row["importance"] == row["n_actions"] for row in medoids_of(settings))


def test_a_higher_merge_threshold_never_adds_a_cluster(own):
    settings = own[0]
    counts = []
    for threshold in (0.0, 0.5, 1.0, 2.5, 1e6):
        changed_settings = changed(settings, model={"merge_threshold": threshold})
        counts.append(sum(report.clusters for report in cluster_all(changed_settings)))
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == sum(report.users for report in own[1])


def test_a_heavy_user_ends_in_a_cluster_and_a_counted_drop(small):
    settings = small(
        [
            event(1, 10 + n % 4, f"2026-04-05 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}")
            for n in range(20_000)
        ]
    )
    report = cluster_all(settings)[0]
    assert (report.actions, report.dropped["over_the_daily_cap"]) == (200, 19_800)
    over = next(check for check in report.checks if "daily cap" in check["name"])
    assert (over["n_rows"], over["examples"][0]["user_id"]) == (1, "1")


def test_manifest_names_what_it_was_made_from(reference):
    settings, reports, _ = reference
    lake = Lake(settings.home / "lake")
    manifest = lake.require("medoids", "cluster", day=DAY, bucket=0)
    tables = [ref.split("/")[0] for ref in manifest.reads]
    assert tables == ["embeddings"] + ["actions"] * settings.model.window_days
    assert manifest.reads[0].split("@")[0].endswith(reports[0].embeddings)
