"""Lineage: every step names what it read and wrote, from its own manifests."""

from datetime import timedelta

import pytest
from worlds import DAY, change

from pinnersage import lineage
from pinnersage.errors import DataError
from pinnersage.evaluate import daily, recorded
from pinnersage.release import Releases
from pinnersage.stores import open_lake

READS_AND_WRITES = {
    "stage": (["actions"], ["lake/actions"]),
    "cluster": (["lake/embeddings", "lake/actions"], ["lake/medoids"]),
    "validate": (["lake/medoids", "lake/embeddings", "lake/actions"], ["lake/medoids"]),
    "parity": (["lake/actions"], ["lake/parity"]),
    "waive": (["lake/medoids"], ["lake/medoids"]),
    "publish": (["lake/medoids"], ["stores/keyvalue"]),
    "release_medoids": (["stores/keyvalue"], ["releases"]),
    "refine": (["lake/embeddings", "lake/pins"], ["lake/refined"]),
    "index": (["lake/refined", "lake/embeddings"], ["lake/index", "stores/vectors"]),
    "release_index": (["stores/vectors"], ["releases"]),
    "daily": (["lake/medoids", "lake/embeddings", "lake/actions"], ["lake/metrics"]),
}


def of(step, settings):
    return lineage.of(step, settings, DAY, *([1] if step == "cluster" else []))


def measure_on_the_day(settings):
    """``DAY``'s metrics, as if its release had been that of the day before."""
    one = Releases(settings).live()
    found = daily.measure(DAY, one, settings)
    recorded.write(DAY, found, one, "", settings)


@pytest.mark.parametrize("step", READS_AND_WRITES)
def test_a_step_names_the_tables_that_it_read_and_wrote(finished, step):
    if step == "daily":
        measure_on_the_day(finished)
    told = of(step, finished)
    home = f"{finished.home}/"
    names = tuple([d.name.removeprefix(home) for d in side] for side in told)
    if step == "stage":  # the raw files lie outside the home
        names = ([names[0][0].rpartition("/")[2]], names[1])
    assert names == READS_AND_WRITES[step]
    assert {d.namespace for side in told for d in side} == {"file"}


def test_every_step_is_known():
    assert set(lineage.STEPS) == set(READS_AND_WRITES)


def test_partitions_and_versions_are_those_of_the_manifests(finished):
    made = open_lake(finished).require("medoids", "", day=DAY, bucket=1)
    embeddings, actions = of("cluster", finished).reads
    told = [
        f"{table}/{'/'.join(f'{k}={v}' for k, v in part.keys.items())}@{part.version}"
        for table, dataset in (("embeddings", embeddings), ("actions", actions))
        for part in dataset.partitions
    ]
    assert told == list(made.reads)
    assert len(actions.partitions) == 90
    assert actions.partitions[-1].keys == {"day": DAY.isoformat()}
    (medoids,) = of("cluster", finished).writes
    keys = {"day": DAY.isoformat(), "bucket": "1"}
    assert medoids.partitions == (lineage.Partition(keys, made.version),)


def test_published_and_released_versions_are_named(finished):
    live = Releases(finished).live()
    (published,) = of("publish", finished).writes
    assert published.partitions[0].version == live.medoids.keyvalue
    assert of("release_medoids", finished).reads == (published,)
    assert of("release_index", finished).reads[0].partitions[0].version == live.index.version
    assert of("release_index", finished).writes[0].partitions[0].keys == {"release": "2"}


def test_raw_files_are_named_by_their_folder(finished, tmp_path):
    def raw(actions):
        (dataset,) = lineage.of("stage", change(finished, source={"actions": actions}), DAY).reads
        return dataset.name, dataset.files

    by_day = f"{tmp_path}/raw/{{day}}/part-*.parquet"
    assert raw(by_day) == (f"{tmp_path}/raw", (f"{tmp_path}/raw/{DAY}/part-*.parquet",))
    assert raw(f"{tmp_path}/raw/") == (f"{tmp_path}/raw", (f"{tmp_path}/raw/",))
    assert raw("/raw/all.parquet") == ("/raw/all.parquet", ("/raw/all.parquet",))


def test_servers_are_named_without_their_passwords(finished, monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://me:s3cr@t@cache:6379/0")
    elsewhere = change(
        finished,
        keyvalue={"store": "redis"},
        index={"store": "qdrant", "location": "http://q:6333"},
    )
    (published,) = lineage.of("publish", elsewhere, DAY).writes
    assert (published.namespace, published.name) == ("redis://cache:6379/0", "pinnersage")
    assert of("index", elsewhere).writes[1].namespace == "http://q:6333"


def test_an_object_store_is_the_namespace(finished, monkeypatch):
    lake = open_lake(finished)
    monkeypatch.setattr(lineage, "open_lake", lambda _settings: lake)
    there = change(finished, lake={"root": "s3://bucket/some/where"})
    (written,) = lineage.of("refine", there, DAY).writes
    assert (written.namespace, written.name) == ("s3://bucket", "some/where/lake/refined")


def test_a_day_that_made_nothing_is_an_error(finished):
    with pytest.raises(DataError, match="No medoids"):
        lineage.of("publish", finished, DAY + timedelta(days=1))
