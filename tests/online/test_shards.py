"""Shards: one hash for a user everywhere, and leases that nobody holds together with another."""

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.online.shards import CONSUMERS, Leases, shard_of
from pinnersage.stores.lake import Layout


@given(st.text(min_size=1), st.integers(1, 1024))
def test_a_user_is_in_the_shard_that_would_be_their_bucket(user, n):
    try:
        user.encode()
    except UnicodeEncodeError:
        return
    layout = Layout(n_buckets=n, user_id="string", pin_id="string")
    assert shard_of(user, n) == layout.bucket_of(user)


@pytest.mark.service
@pytest.mark.parametrize(("n_shards", "n_consumers"), [(1, 3), (4, 2), (5, 4), (16, 3)])
def test_leases_share_every_shard_and_no_shard_is_two_consumers(redis_url, n_shards, n_consumers):
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        consumers = [Leases(client, n_shards, f"c{i}", 60) for i in range(n_consumers)]
        for _ in range(3):
            held = [list(consumer.tend()) for consumer in consumers]
        assert sorted(shard for part in held for shard in part) == list(range(n_shards))
        assert max(map(len, held)) <= -(-n_shards // n_consumers)
        consumers[0].leave()
        for _ in range(2):
            held = [list(consumer.tend()) for consumer in consumers[1:]]
        assert sorted(shard for part in held for shard in part) == list(range(n_shards))


@pytest.mark.service
def test_leaving_takes_nothing_from_others(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        one, two = Leases(client, 2, "one", 60), Leases(client, 2, "two", 60)
        assert one.tend() == [0, 1]
        two.leave()
        assert one.tend() == [0, 1]


@pytest.mark.service
def test_a_clock_that_went_back_leaves_no_shard_to_the_dead(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        in_an_hour = (client.time()[0] + 3600) * 1000
        client.zadd(CONSUMERS, {"dead": in_an_hour})
        client.set("pinnersage:events:owner:1", "dead", px=3_600_000)
        living = Leases(client, 4, "living", 60)
        assert living.tend() == [0, 1, 2, 3]
        assert client.zrange(CONSUMERS, 0, -1) == [b"living"]
