"""Publish: a day's medoids as a version of the key-value store."""

from collections import Counter
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from worlds import DAY, items_of, source_of

from pinnersage import cluster, config, init, publish, stage
from pinnersage.errors import DataError
from pinnersage.release import Releases
from pinnersage.stores import open_keyvalue
from pinnersage.stores.lake import Lake, Manifest
from pinnersage.stores.packing import key_of, unpack
from pinnersage.synthetic import World, write


def table_of(settings):
    """The day's medoids as the lake has them."""
    lake = Lake(settings.home / "lake")
    paths = lake.paths(lake.current("medoids", day=DAY))
    return pa.concat_tables(pq.ParquetFile(path).read() for path in paths)


def assert_read_back(settings, version):
    """Every user's packed profile says what the table of medoids says."""
    rows = {}
    for row in table_of(settings).to_pylist():
        rows.setdefault(row["user_id"], []).append(row)
    with open_keyvalue(settings).open(version) as reader:
        assert len(reader) == len(rows)
        for user, of_user in rows.items():
            profile = unpack(reader.get(key_of(user)))
            assert [row["rank"] for row in of_user] == list(range(len(profile)))
            assert profile.pin_ids.tolist() == [row["pin_id"] for row in of_user]
            assert profile.importance.tolist() == [row["importance"] for row in of_user]
            assert profile.n_actions.tolist() == [row["n_actions"] for row in of_user]
            assert profile.offset.tolist() == pytest.approx([r["offset"] for r in of_user])
            assert profile.last_acted_at.tolist() == [
                round(row["last_acted_at"].timestamp() * 1e6) for row in of_user
            ]


def test_what_is_read_back_is_the_table_of_medoids(finished):
    assert_read_back(finished, publish.run(DAY, finished).version)


def test_the_same_day_twice_writes_nothing(finished):
    folder = finished.home / "stores" / "keyvalue"
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}

    again = publish.run(DAY, finished)

    assert again.version in open_keyvalue(finished).versions()
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_a_day_that_did_not_pass_is_not_published(finished):
    with pytest.raises(DataError, match="Run first: pinnersage validate --day 2026-04-06"):
        publish.run(DAY + timedelta(days=1), finished)


def by_hand(settings):
    """Cluster the staged day and commit it whole without the checks, which are slow to load."""
    lake = Lake(settings.home / "lake")
    buckets = range(settings.lake.n_buckets)
    reports = [cluster.run(DAY, bucket, settings) for bucket in buckets]
    manifests = [lake.current("medoids", day=DAY, bucket=bucket) for bucket in buckets]
    return lake.commit(
        Manifest(
            table="medoids",
            partition={"day": DAY.isoformat()},
            files=tuple(file for manifest in manifests for file in manifest.files),
            report={
                "embeddings": reports[0].embeddings,
                "measures": {"n_users": sum(report.users for report in reports)},
            },
        )
    )


def test_text_ids_are_published_as_they_are(tmp_path):
    world = World(
        n_users=10, n_pins=60, n_topics=6, dimensions=8, n_days=30, seed=3, id_type="text",
        first_day=DAY - timedelta(days=29),
    )  # fmt: skip
    write(world, tmp_path / "world")
    init.run(tmp_path / "home", source_of(tmp_path / "world"), items_of(tmp_path / "world"))
    settings = config.load(tmp_path / "home")
    stage.run(DAY, settings)
    by_hand(settings)

    assert_read_back(settings, publish.run(DAY, settings).version)

    assert isinstance(table_of(settings)["user_id"][0].as_py(), str)


def test_a_count_that_differs_from_the_checks_is_refused_and_leaves_no_version(settings):
    manifest = by_hand(settings)
    n_users = manifest.report["measures"]["n_users"]
    wrong = manifest.report | {"measures": {"n_users": n_users + 1}}
    Lake(settings.home / "lake").commit(manifest.model_copy(update={"report": wrong}))

    for _ in range(2):
        with pytest.raises(DataError, match=f"{n_users} users .* the checks counted {n_users + 1}"):
            publish.run(DAY, settings)

    assert open_keyvalue(settings).versions() == []
    assert Releases(settings).published(DAY) is None


def test_a_bucket_without_users_is_no_obstacle(make_home):
    settings = make_home(n_buckets=24, model={"window_days": 10})
    stage.run(DAY, settings)
    manifest = by_hand(settings)

    report = publish.run(DAY, settings)

    assert len(manifest.files) < 24
    assert report.users == manifest.report["measures"]["n_users"] > 0
    assert_read_back(settings, report.version)


def test_the_version_names_the_pins_that_are_a_medoid_of_the_most_users(finished):
    users, actions = Counter(), Counter()
    for row in table_of(finished).to_pylist():
        users[row["pin_id"]] += 1
        actions[row["pin_id"]] += row["n_actions"]
    expected = sorted(users, key=lambda pin: (-users[pin], -actions[pin], pin))

    with open_keyvalue(finished).open(publish.run(DAY, finished).version) as reader:
        assert reader.about["popular"] == expected[: publish.POPULAR]
