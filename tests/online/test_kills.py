"""Consumers killed twenty times under load, and Redis once: the states are as if nothing was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from redis_to_kill import Server
from worlds import change

from pinnersage.errors import TransientError
from pinnersage.online.dead_letters import DeadLetters
from pinnersage.online.intake import Intake
from pinnersage.online.known import KnownPins
from pinnersage.online.redis_source import RedisSender, waiting
from pinnersage.online.shards import GROUP, stream
from pinnersage.release import Releases
from pinnersage.stores import embeddings, open_lake, open_states

pytestmark = [pytest.mark.service, pytest.mark.slow]

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KILLS, SHARDS, USERS, EVENTS = 20, 4, 300, 8_000
CONSUMER = """
from pinnersage.online.redis_source import RedisSource
RedisSource.__init__.__kwdefaults__["lease_seconds"] = 1.0  # the dead are followed sooner
from pinnersage.cli import main
main()
"""
"""``pinnersage consume``, with leases short enough that twenty deaths fit into a test."""
BAD = {
    "malformed": [b"{", b"", b"\xff\xfe", b'{"user_id": 1}', b"[]", b'"x"', b"null"],
    "oversized": [b'{"user_id": "' + b"9" * 1_000_000 + b'"}'],
}


class InMemory:
    """States that forget with the test."""

    def __init__(self):
        self.values = {}

    def change(self, keys, change, journal=()):  # noqa: ARG002 (the protocol)
        self.values |= change({key: self.values.get(key) for key in keys})


def load(pins):
    """Events with their users, the same each time: doubled, late, out of order and bad ones too."""
    chance = random.Random(7)
    events = []
    for i in range(EVENTS):
        user = min(int(chance.paretovariate(0.6)), USERS)
        at = NOW - timedelta(seconds=chance.randrange(6 * 86400), microseconds=i)
        event = {"event_id": f"e{i}", "user_id": user, "pin_id": chance.choice(pins)}
        event |= {"action": chance.choice(["repin", "click", "closeup"]), "acted_at": str(at)}
        kind = chance.random()
        if kind < 0.01:
            event["pin_id"] = 1
        elif kind < 0.02:
            event["acted_at"] = "2999-01-01T00:00:00Z"
        elif kind < 0.03:
            event["acted_at"] = "1500-01-01T00:00:00Z"
        elif kind < 0.04:
            event["action"] = i
        data = json.dumps(event).encode()
        events += [(str(user), data)] * (2 if chance.random() < 0.1 else 1)
    events += [(f"{i}", data) for i, data in enumerate(BAD["malformed"] + BAD["oversized"])]
    for i in range(
        0, len(events), 50
    ):  # the last are first: long after, and long before their time
        j = chance.randrange(len(events))
        events[i], events[j] = events[j], events[i]
    return events


class Consumer:
    """A process that consumes."""

    def __init__(self, settings, log):
        environment = os.environ | {"PINNERSAGE__ONLINE__KEEP_DAYS": "36500"}
        environment |= {
            f"PINNERSAGE__{section.upper()}__{name.upper()}": str(value)
            for section, name, value in (
                ("online", "source", "redis"),
                ("online", "url", settings.online.url),
                ("online", "batch", settings.online.batch),
                ("keyvalue", "store", settings.keyvalue.store),
                ("keyvalue", "url", settings.keyvalue.url),
            )
        }
        command = [sys.executable, "-c", CONSUMER, "consume", "--home", str(settings.home)]
        self.process = subprocess.Popen(
            command, env=environment, stderr=log, stdout=log, cwd=Path(__file__).parents[2]
        )

    def shards(self, client):
        owners = client.mget(*(f"pinnersage:events:owner:{shard}" for shard in range(SHARDS)))
        own = f":{self.process.pid}:".encode()
        return [shard for shard, owner in enumerate(owners) if own in (owner or b"")]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


def until(true, consumers):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "not within 60 s"
        assert all(one.process.poll() is None for one in consumers), "a consumer ended by itself"
        time.sleep(0.01)


def sent(sender, events):
    """Send events; while the server is away, again, as a producer does."""
    while True:
        try:
            return sender.send(events)
        except TransientError:
            time.sleep(0.05)


@pytest.mark.parametrize("store", ["redis", "lmdb"])
def test_states_after_kills_equal_those_of_an_undisturbed_run(finished, store, tmp_path):
    server = Server(tmp_path)
    consumers = []
    try:
        settings = change(
            finished,
            online={"source": "redis", "url": server.url, "batch": 20, "keep_days": 36500},
            keyvalue={"store": store, "url": server.url},
        )
        release = Releases(settings).live()
        table = embeddings.named(open_lake(settings), release.embeddings)
        events = load(table.pin_ids.to_pylist())
        in_hand = disturbed(events, settings, server, consumers, tmp_path / "log")
        assert in_hand > KILLS / 4, "most of them died idle: the load is too small"

        undisturbed = InMemory()
        known = KnownPins(settings).among
        intake = Intake(settings, ("int64", "int64"), undisturbed, known, lambda _: False)
        verdicts = intake.take([data for _, data in events], NOW)
        with open_states(settings) as states:
            assert dict(states.items()) == undisturbed.values
        assert max(map(len, undisturbed.values.values())) > 20 * 30, "some have more than are kept"
        letters = DeadLetters(server.url, SHARDS)
        parked = {(one.reason, one.data) for one in letters.report(10**6).newest}
        letters.close()
        bad = {
            (verdict.word, data[:4096].decode(errors="replace"))
            for (_, data), verdict in zip(events, verdicts, strict=True)
            if verdict.refused
        }
        assert parked == bad
        assert {reason for reason, _ in bad} == {
            "malformed", "oversized", "from_the_future", "too_old", "unknown_pin",
        }  # fmt: skip
    finally:
        for one in consumers:
            one.kill()
        server.kill()


def disturbed(events, settings, server, consumers, log_path):
    """Send all the events while consumers die; return how many deaths left something in hand."""
    chance, in_hand = random.Random(1), 0
    sender = RedisSender(server.url, SHARDS, 10**6)
    client = redis.Redis.from_url(server.url)
    parts = [events[i::KILLS] for i in range(KILLS)]
    with log_path.open("wb") as log:
        consumers += [Consumer(settings, log) for _ in range(2)]
        for death, part in enumerate(parts):
            victim = consumers[death % 2]
            until(lambda victim=victim: victim.shards(client), consumers)
            sent(sender, part)
            if death == KILLS // 2:
                server.kill()
                server.start()
            time.sleep(chance.random() * 0.1)
            victim.kill()
            shards = victim.shards(client)  # its leases outlive it
            in_hand += any(client.xpending(stream(shard), GROUP)["pending"] for shard in shards)
            consumers[death % 2] = Consumer(settings, log)
        until(lambda: not sum(waiting(client, SHARDS)), consumers)
        for one in consumers:
            one.process.send_signal(signal.SIGTERM)
        assert [one.process.wait(20) for one in consumers] == [0, 0]
    client.close()
    sender.close()
    return in_hand
