"""Doctor: each thing that can be missing is found, and said with what to do."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from worlds import DAY, change

from pinnersage import doctor, erase
from pinnersage.release import Releases
from pinnersage.stores import open_vectors


def findings(settings):
    return {found.what: found for found in doctor.run(settings)}


def files_of(home):
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def _room_on_the_disk(monkeypatch):
    """A test must not depend on this machine's disk."""
    usage = shutil.disk_usage("/")._replace(free=10 * 1024**3)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)


def test_a_finished_home_is_in_order(finished):
    found = findings(finished)

    assert all(finding.good for finding in found.values()), found
    assert "2026-04-05" in found["live release"].says


def test_looking_changes_nothing(finished):
    before = files_of(finished.home)

    doctor.run(finished)

    assert files_of(finished.home) == before


def test_a_home_without_a_release_says_what_to_run(settings):
    found = findings(settings)

    assert found["lake"].good
    assert not found["live release"].good
    assert "pinnersage run" in found["live release"].says


def test_a_gap_among_the_days_is_named(settings):
    gap = DAY - timedelta(days=3)
    shutil.rmtree(settings.home / "lake" / "actions" / f"day={gap}")

    found = findings(settings)["lake"]

    assert not found.good
    assert str(gap) in found.says


def test_a_source_that_is_gone_is_named(settings):
    gone = change(settings, source={"actions": "/nowhere/*.parquet"})

    found = findings(gone)["source"]

    assert not found.good
    assert "/nowhere" in found.says


def test_a_source_that_was_never_named_is_a_finding(settings):
    found = findings(change(settings, source={"actions": ""}))["source"]

    assert not found.good
    assert "source.actions" in found.says


def test_buckets_that_differ_from_the_lake_are_named(settings):
    found = findings(change(settings, lake={"n_buckets": 8}))["lake"]

    assert not found.good
    assert "4 buckets" in found.says


def test_a_full_disk_is_seen_coming(settings, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1_000_000)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)

    assert not findings(settings)["disk"].good


def test_a_live_index_that_is_gone_is_named(finished):
    live = Releases(finished).live()
    open_vectors(finished).drop(live.index.version)

    found = findings(finished)["live release"]

    assert not found.good
    assert live.index.version in found.says


def test_a_damaged_pointer_is_a_finding(finished):
    (Releases(finished).storage.root / "live.json").write_text("{")

    found = findings(finished)["live release"]

    assert not found.good
    assert "live.json" in found.says


def test_a_home_without_a_lake_is_a_finding(settings):
    shutil.rmtree(settings.home / "lake")

    found = findings(settings)["lake"]

    assert not found.good
    assert "pinnersage init" in found.says


def test_an_order_to_erase_that_is_not_done_is_named(settings, monkeypatch):
    order = ("1000007", "ann", "asked", datetime(2026, 5, 1, tzinfo=UTC), "salt", settings)
    assert "erasing" not in findings(settings)
    with monkeypatch.context() as patch:
        patch.setattr(erase, "scrub_lake", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            erase.run(*order)
    assert not findings(settings)["erasing"].good
    assert "give them again" in findings(settings)["erasing"].says
    erase.run(*order)
    assert findings(settings)["erasing"].good
    record = settings.home / "takedown" / "users.json"
    record.write_text("{}")
    assert "damaged" in findings(settings)["erasing"].says


@pytest.mark.service
def test_events_that_wait_for_nobody_are_found(finished, redis_url):
    from pinnersage.online.redis_source import RedisSender, RedisSource

    assert "events" not in findings(finished), "http: nothing waits"
    streams = change(finished, online={"source": "redis", "url": redis_url})
    sender = RedisSender(redis_url, 4, 100)
    sender.client.flushall()
    assert findings(streams)["events"].good
    sender.send([("u", b"x")])
    found = findings(streams)["events"]
    assert (found.good, found.says[:34]) == (False, "1 wait, 0 consumers, 0 dead letter")
    assert "pinnersage consume" in found.says
    source = RedisSource(redis_url, 4)
    source.receive(1, 0.01)
    found = findings(streams)["events"]
    assert (found.good, found.says) == (True, "1 wait, 1 consumers, 0 dead letters")
    source.client.zadd("pinnersage:events:consumers", {"dead": 1e15})
    assert "1 consumers" in findings(streams)["events"].says, "from before the clock went back"
    source.client.xadd("pinnersage:events:4", {"data": b"x"})
    found = findings(streams)["events"]
    assert not found.good
    assert "in shards 4: online.n_shards is 4. Set it to 5" in found.says
    source.close()


def test_streams_that_are_away_are_found(finished):
    away = change(finished, online={"source": "redis", "url": "redis://127.0.0.1:1/0"})
    found = findings(away)["events"]
    assert not found.good
    assert "is away" in found.says
