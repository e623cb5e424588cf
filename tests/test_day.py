"""A whole day without Airflow."""

import shutil

from worlds import DAY, clock, items_of, source_of

from pinnersage import config, day, init, parity, retrieve
from pinnersage.errors import DataError
from pinnersage.release import Releases
from pinnersage.stores.folder import Folder
from pinnersage.stores.s3 import file_system


def quiet(step, report):
    """Progress that nobody watches."""


def test_a_day_ends_in_recommendations(settings):
    reports = day.run(DAY, clock, settings, quiet)

    with retrieve.open_live(settings) as reader:
        assert len(reader.profiles) == reports["publish"].users
        user = next(iter(reader.profiles.items()))[0].decode()
        made = reader.recommend(user)
    assert made.candidates
    assert reports["index"].recall >= settings.index.min_recall


def test_second_run_changes_nothing(settings):
    day.run(DAY, clock, settings, quiet)
    before = snapshot(settings.home)

    day.run(DAY, clock, settings, quiet)

    assert snapshot(settings.home) == before


def test_a_comparison_that_fails_is_told_of_and_stops_no_day(settings, monkeypatch):
    def fails(_day, _settings):
        raise DataError("stored medoids are not what they should be")

    monkeypatch.setattr(parity, "run", fails)
    reports = day.run(DAY, clock, settings, quiet)

    assert reports["parity"].error == "stored medoids are not what they should be"
    assert reports["release"].moved
    warned = " ".join(reports["validate"].warned)
    assert "online agrees with batch: it was not measured" in warned


def test_a_day_on_an_object_store_has_the_manifests_of_a_folder(finished, bucket, tiny, tmp_path):
    """Another machine, with nothing of its own but the settings, reads them there."""
    home = tmp_path / "first"
    raw = f"{bucket.where.removesuffix('/root')}/raw"
    file_system().put(str(tiny / "actions"), raw, recursive=True)
    source, items = source_of(tiny).model_copy(update={"actions": raw}), items_of(tiny)
    init.run(home, source, items, n_buckets=finished.lake.n_buckets, lake_root=bucket.where)
    day.run(DAY, clock, config.load(home), quiet)

    stored = {entry.key for entry in bucket.list("")}
    folder = Folder(finished.home)
    there = {entry.key for name in ("lake", "releases", "reports") for entry in folder.list(name)}
    assert stored == there
    for key in stored:
        assert bucket.read(key) == folder.read(key), key
    assert not (home / "lake").exists()

    other = tmp_path / "second"
    other.mkdir()
    shutil.copy(home / "pinnersage.toml", other)
    assert Releases(config.load(other)).live() == Releases(finished).live()


def snapshot(home):
    """Every file of lake, stores and releases with its bytes."""
    folders = ("lake", "releases", "stores")
    files = (path for folder in folders for path in (home / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(home)): path.read_bytes() for path in files}
