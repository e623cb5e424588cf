"""Redis Streams beyond the contract: leases, limits, a server that restarts, what others wrote."""

import time

import pytest
import redis
from redis_to_kill import Server

from pinnersage.errors import ConfigError, TransientError
from pinnersage.online import redis_source
from pinnersage.online.redis_source import MAX_DEAD_BYTES, RedisSender, RedisSource
from pinnersage.online.shards import GROUP, stream
from pinnersage.online.sources import Refusal
from pinnersage.parked import DEAD

SETTLES = 30
"""Seconds within which a consumer that is there must have got what there is."""
UNREACHABLE = "redis://user:hunter2@127.0.0.1:1/0"


@pytest.fixture
def server(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


def source_of(url, n_shards=1, **changes):
    return RedisSource(url, n_shards, **({"lease_seconds": 1.0} | changes))


def until(found):
    """What a function gives once it is true; the assertion is that it becomes so."""
    end = time.monotonic() + SETTLES
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {SETTLES} s")


@pytest.mark.service
def test_more_than_the_backlog_is_refused_until_it_is_smaller(server, redis_url):
    sender = RedisSender(redis_url, 2, 10)
    sender.send([("u1", b"x")] * 5)
    with pytest.raises(TransientError, match=r"5 events wait in shard \d \(limit 5"):
        sender.send([("u1", b"x")])
    assert sum(redis_source.waiting(server, 2)) == 5
    source = source_of(redis_url, 2)
    source.settle(until(lambda: source.receive(10, 0.1)), [])
    sender.send([("u1", b"x")])
    source.close()


@pytest.mark.service
def test_a_refused_batch_is_refused_whole(server, redis_url):
    sender = RedisSender(redis_url, 2, 2)
    users = {
        shard: next(f"u{i}" for i in range(99) if redis_source.shard_of(f"u{i}", 2) == shard)
        for shard in (0, 1)
    }
    sender.send([(users[0], b"x")])
    with pytest.raises(TransientError):
        sender.send([(users[1], b"y"), (users[0], b"y")])
    assert redis_source.waiting(server, 2) == [1, 0]


@pytest.mark.service
def test_a_new_consumer_gets_its_share_and_gives_it_back(server, redis_url):
    one, two = source_of(redis_url, 5), source_of(redis_url, 5)
    one.receive(1, 0.01)
    assert sorted(one._mine) == [0, 1, 2, 3, 4]

    def shared():
        one.receive(1, 0.01), two.receive(1, 0.01)
        return sorted((len(one._mine), len(two._mine))) == [2, 3]

    until(shared)
    assert sorted([*one._mine, *two._mine]) == [0, 1, 2, 3, 4]
    two.close()
    until(lambda: one.receive(1, 0.01) or len(one._mine) == 5)
    one.close()
    assert server.keys("pinnersage:events:owner:*") == []
    assert server.zcard("pinnersage:events:consumers") == 0


@pytest.mark.service
@pytest.mark.usefixtures("server")
def test_more_consumers_than_shards_wait(redis_url):
    sources = [source_of(redis_url, 1) for _ in range(3)]
    RedisSender(redis_url, 1, 100).send([("u", b"x")])
    got = [source.receive(10, 0.05) for source in sources]
    assert [len(part) for part in got] == [1, 0, 0]
    for source in sources:
        source.close()


@pytest.mark.service
def test_events_given_to_one_whose_lease_had_just_ended_are_found(server, redis_url):
    source = source_of(redis_url)
    source.receive(1, 0.01)
    sender = RedisSender(redis_url, 1, 100)
    sender.send([("u", b"lost")])
    server.xreadgroup(GROUP, "woke too late", {stream(0): ">"})  # and is killed then
    sender.send([("u", b"new")])
    found = []

    def both():
        got = source.receive(10, 0.05)
        source.settle(got, [])
        found.extend(delivery.data for delivery in got)
        return len(found) == 2

    until(both)
    assert sorted(found) == [b"lost", b"new"]
    source.close()


@pytest.mark.service
@pytest.mark.usefixtures("server")
def test_what_is_not_settled_comes_again_before_what_is_new(redis_url):
    RedisSender(redis_url, 1, 100).send([("u", b"%d" % i) for i in range(9)])
    source = source_of(redis_url)
    first = source.receive(3, 0.1)
    assert source.receive(3, 0.1) == first
    source.settle(first[:1], [])
    assert source.receive(2, 0.1) == first[1:]
    source.close()


@pytest.mark.service
def test_settling_after_the_lease_is_gone_removes_only_what_was_handled(server, redis_url):
    sender = RedisSender(redis_url, 1, 100)
    sender.send([("u", b"1"), ("u", b"2")])
    paused = source_of(redis_url)
    handled = paused.receive(1, 0.1)
    server.delete("pinnersage:events:owner:0")
    other = source_of(redis_url)
    taken = until(lambda: other.receive(10, 0.1))
    assert taken[0].data == b"1", "it comes again"
    paused.settle(handled, [])
    assert server.xlen(stream(0)) == 1
    other.settle(taken, [])  # of one that is gone already: no error
    if len(taken) == 1:
        assert [delivery.data for delivery in other.receive(10, 1)] == [b"2"]
    other.close()
    paused.close()


@pytest.mark.service
def test_streams_that_vanish_are_made_again(server, redis_url):
    source = source_of(redis_url)
    source.receive(1, 0.01)
    server.flushall()
    with pytest.raises(TransientError, match="events wait"):
        source.receive(1, 0.01)
    RedisSender(redis_url, 1, 100).send([("u", b"x")])
    assert [delivery.data for delivery in source.receive(1, 0.1)] == [b"x"]
    source.close()


@pytest.mark.service
def test_what_somebody_else_put_into_a_stream_is_an_event_without_bytes(server, redis_url):
    server.xadd(stream(0), {"other": b"x"})
    source = source_of(redis_url)
    assert [delivery.data for delivery in source.receive(1, 0.1)] == [b""]
    source.close()


@pytest.mark.service
@pytest.mark.usefixtures("server")
def test_shards_that_are_no_more_and_hold_events_are_named_at_the_start(redis_url):
    RedisSender(redis_url, 8, 1000).send([(f"u{i}", b"x") for i in range(99)])
    source = source_of(redis_url, 4)
    with pytest.raises(ConfigError, match=r"in shards 4, 5, 6, 7: .* Set it to 8"):
        source.receive(10, 0.01)
    source.close()
    drained = source_of(redis_url, 8)
    while drained.waiting():
        drained.settle(drained.receive(100, 0.1), [])
    drained.close()
    source = source_of(redis_url, 4)
    assert source.receive(10, 0.01) == []
    source.close()


@pytest.mark.service
def test_of_a_dead_letter_only_so_much_is_kept(server, redis_url):
    RedisSender(redis_url, 1, 100).send([("u", b"x" * 100_000)])
    source = source_of(redis_url)
    got = source.receive(1, 0.1)
    source.settle(got, [Refusal(got[0], "oversized", "It has 100,000 bytes.")])
    ((_, fields),) = server.xrange(DEAD)
    assert fields == {
        b"data": b"x" * MAX_DEAD_BYTES,
        b"reason": b"oversized",
        b"says": b"It has 100,000 bytes.",
        b"shard": b"0",
    }
    source.close()


@pytest.mark.service
def test_a_server_that_is_killed_and_starts_again_loses_nothing(tmp_path):
    server = Server(tmp_path)
    try:
        sender, source = RedisSender(server.url, 3, 1000), source_of(server.url, 3)
        events = [(f"u{i}", f"{i}".encode()) for i in range(60)]
        sender.send(events)
        settled = until(lambda: source.receive(9, 0.1))
        source.settle(settled, [])
        in_hand = source.receive(9, 0.1)
        assert in_hand
        server.kill()
        for call in (
            lambda: source.receive(9, 0.1),
            lambda: source.settle(in_hand, []),
            source.waiting,
            lambda: sender.send(events),
        ):
            with pytest.raises(TransientError, match="is away"):
                call()
        server.start()
        found = [delivery.data for delivery in settled]

        def all_of_it():
            got = source.receive(100, 0.1)
            source.settle(got, [])
            found.extend(delivery.data for delivery in got)
            return not source.waiting()

        until(all_of_it)
        assert sorted(found) == sorted(data for _, data in events)
        source.close()
    finally:
        server.kill()


def test_an_error_names_the_server_and_no_password():
    source = RedisSource(UNREACHABLE, 1)
    for call in (lambda: source.receive(1, 0.1), source.waiting):
        with pytest.raises(TransientError) as raised:
            call()
        assert "redis://127.0.0.1:1/0 is away" in str(raised.value)
        assert "hunter2" not in str(raised.value)
    source.close()


def test_an_address_that_is_none_is_refused_without_its_password():
    with pytest.raises(ConfigError, match="no address of a Redis") as raised:
        RedisSender("http://user:hunter2@host", 1, 1)
    assert "hunter2" not in str(raised.value)
