"""One contract, every source: what was received and not settled comes again, the rest never."""

import secrets
import time
from collections import defaultdict

import confluent_kafka
import pytest

from pinnersage.errors import ConfigError, TransientError
from pinnersage.online.kafka_source import DEAD as KAFKA_DEAD
from pinnersage.online.kafka_source import KafkaSender, KafkaSource
from pinnersage.online.redis_source import RedisSender, RedisSource
from pinnersage.online.sources import Refusal, open_sender, open_source
from pinnersage.parked import DEAD

USERS = [f"user-{i}" for i in range(40)]
EVENTS = [(USERS[i % 40], f"{USERS[i % 40]} {i}".encode()) for i in range(400)]
BAD_BYTES = [b"\x00\xff\xfe", b"", b"{" * 4000, "ß\u2028\n".encode(), b"x" * 900_000]
SETTLES = 60
"""Seconds within which a consumer that is there must have got what there is."""


class RedisHome:
    """Streams in a server of the test's own."""

    n_shards = 4

    def __init__(self, url):
        self.url = url
        self.opened = [RedisSender(url, self.n_shards, 10_000)]
        self.sender = self.opened[0]
        self.sender.client.flushall()

    def source(self):
        self.opened.append(RedisSource(self.url, self.n_shards, lease_seconds=1))
        return self.opened[-1]

    def dies(self, source):
        """End a source as a killed process would: it says nothing to anybody."""
        source.client.close()
        self.opened.remove(source)

    def dead(self):
        return [
            (fields[b"data"], fields[b"reason"].decode(), fields[b"says"].decode())
            for _, fields in self.sender.client.xrange(DEAD)
        ]

    def close(self):
        for one in self.opened:
            one.close()


class KafkaHome:
    """A topic of the test's own in the mock cluster inside librdkafka."""

    def __init__(self, brokers):
        self.brokers, self.topic = brokers, f"t{secrets.token_hex(6)}"
        self.sender = KafkaSender(brokers, self.topic)
        self.sender._producer.list_topics(self.topic, timeout=10)  # which makes it
        self.opened = [self.sender]

    def source(self):
        self.opened.append(KafkaSource(self.brokers, self.topic, session_seconds=6))
        return self.opened[-1]

    def dies(self, source):
        """End a source as a killed process would: it says nothing to anybody."""
        self.opened.remove(source)
        del source._consumer  # without a close, so without leaving its group

    def dead(self):
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": self.brokers, "group.id": "t", "auto.offset.reset": "earliest"}
        )
        topic = f"{self.topic}{KAFKA_DEAD}"
        parts = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([confluent_kafka.TopicPartition(topic, part, 0) for part in parts])
        found = []
        while message := consumer.poll(2):
            headers = dict(message.headers())
            found.append((message.value(), headers["reason"].decode(), headers["says"].decode()))
        consumer.close()
        return found

    def close(self):
        for one in self.opened:
            one.close()


@pytest.fixture(scope="module")
def brokers():
    cluster = confluent_kafka.Producer({"bootstrap.servers": "", "test.mock.num.brokers": 3})
    known = cluster.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{one.host}:{one.port}" for one in known)
    del cluster


HOMES = {"redis": (RedisHome, "redis_url"), "kafka": (KafkaHome, "brokers")}


@pytest.fixture(
    params=[
        pytest.param("redis", marks=pytest.mark.service),
        pytest.param("kafka", marks=pytest.mark.slow),
    ]
)
def home(request):
    kind, where = HOMES[request.param]
    home = kind(request.getfixturevalue(where))
    yield home
    home.close()


def drained(*sources, most=50):
    """What some sources receive and settle until nothing waits, by source."""
    found = [[] for _ in sources]
    end = time.monotonic() + SETTLES
    while time.monotonic() < end:
        for source, mine in zip(sources, found, strict=True):
            try:
                got = source.receive(most, 0.1)
                source.settle(got, [])
            except TransientError:  # users change hands: it comes again
                continue
            mine += [delivery.data for delivery in got]
        if not sources[0].waiting():
            return found
    raise AssertionError(f"{sources[0].waiting()} still wait after {SETTLES} s")


def received(source, most):
    """Some events: what a source gives first when there are some."""
    end = time.monotonic() + SETTLES
    while time.monotonic() < end:
        if got := source.receive(most, 0.1):
            return got
    raise AssertionError("nothing came")


def of_users(data):
    by_user = defaultdict(list)
    for one in data:
        by_user[one.split()[0]].append(one)
    return by_user


def test_all_that_is_sent_comes_once_and_in_order_within_a_user(home):
    home.sender.send(EVENTS)
    (found,) = drained(home.source())
    assert sorted(found) == sorted(data for _, data in EVENTS)
    assert of_users(found) == of_users(data for _, data in EVENTS)


def test_what_is_sent_while_somebody_waits_comes(home):
    source = home.source()
    assert source.receive(10, 0.1) == []
    for part in range(0, 400, 100):
        home.sender.send(EVENTS[part : part + 100])
        (found,) = drained(source)
        assert len(found) == 100


def test_what_is_not_settled_comes_again_to_the_same_consumer(home):
    home.sender.send(EVENTS)
    source = home.source()
    for _ in range(3):
        assert received(source, 50)
    (found,) = drained(source)
    assert sorted(found) == sorted(data for _, data in EVENTS)


def test_what_is_settled_never_comes_again(home):
    home.sender.send(EVENTS)
    source = home.source()
    first = received(source, 50)
    source.settle(first, [])
    source.close()
    (found,) = drained(home.source())
    assert sorted([*found, *(one.data for one in first)]) == sorted(data for _, data in EVENTS)


@pytest.mark.parametrize("end", ["close", "dies"])
def test_what_one_leaves_unsettled_comes_to_the_next(home, end):
    home.sender.send(EVENTS)
    one = home.source()
    left = received(one, 60)
    one.settle(left[:20], [])
    one.close() if end == "close" else home.dies(one)
    (found,) = drained(home.source())
    assert sorted([*found, *(d.data for d in left[:20])]) == sorted(data for _, data in EVENTS)
    assert of_users(found).keys() >= of_users(d.data for d in left[20:]).keys()


def test_two_consumers_share_the_users_without_an_overlap(home):
    one, two = home.source(), home.source()
    end = time.monotonic() + SETTLES
    sent = 0
    while time.monotonic() < end:  # until they agree on who has what
        home.sender.send(EVENTS)
        sent += 1
        found = drained(one, two)
        users = [of_users(part).keys() for part in found]
        if all(users) and not users[0] & users[1]:
            break
    else:
        raise AssertionError("they never shared")
    home.sender.send(EVENTS)
    again = [of_users(part).keys() for part in drained(one, two)]
    assert again == users


def test_users_of_a_consumer_that_ends_go_to_the_other(home):
    one, two = home.source(), home.source()
    home.sender.send(EVENTS)
    drained(one, two)
    one.close()
    home.sender.send(EVENTS)
    (found,) = drained(two)
    assert sorted(found) == sorted(data for _, data in EVENTS)


def test_what_is_refused_is_parked_with_its_reason_but_nothing_of_an_erased_user(home):
    home.sender.send(EVENTS[:30])
    source = home.source()
    got = received(source, 100)
    while len(got) < 30:
        source.settle(got, [])
        got += source.receive(100, 0.1)
    refused = [Refusal(got[0], "malformed", "It is no JSON."), Refusal(got[1], "erased_user", "-")]
    source.settle(got, refused)
    assert home.dead() == [(got[0].data, "malformed", "It is no JSON.")]
    assert source.waiting() == 0


def test_any_bytes_come_as_they_are(home):
    events = [(secrets.token_hex(4), data) for data in BAD_BYTES]
    home.sender.send(events)
    (found,) = drained(home.source())
    assert sorted(found) == sorted(BAD_BYTES)


def test_most_is_kept_to(home):
    home.sender.send(EVENTS)
    source = home.source()
    for most in (1, 2, 3, 7, 100):
        got = received(source, most)
        assert 0 < len(got) <= most
        source.settle(got, [])


def test_closing_twice_does_nothing(home):
    source = home.source()
    source.receive(1, 0.1)
    source.close()
    source.close()


def test_http_has_neither_source_nor_sender(settings):
    for opened in (open_source, open_sender):
        with pytest.raises(ConfigError, match=r"online\.source is http"):
            opened(settings)
