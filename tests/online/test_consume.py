"""The loop around a source: settled when it is safe, else again; nothing bad stops it."""

import json
import logging
import os
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from pinnersage.config import OnlineConfig, Settings
from pinnersage.errors import ConfigError, DataError, TransientError
from pinnersage.online import consume, state
from pinnersage.online.consume import Counts, Every
from pinnersage.online.intake import Intake
from pinnersage.online.sources import Delivery

NOW = datetime(2026, 8, 6, 12, tzinfo=UTC)


class InMemory:
    """States that forget with the test."""

    def __init__(self):
        self.values = {}

    def change(self, keys, change, journal=()):  # noqa: ARG002 (the protocol)
        self.values |= change({key: self.values.get(key) for key in keys})


class Events:
    """A source over a list; ``fails`` are errors that calls of it raise first, in turn."""

    def __init__(self, events, **fails):
        self.left = dict(enumerate(events))
        self.parked, self.fails, self.settled = [], fails, 0

    def _may_fail(self, call):
        if self.fails.get(call):
            raise self.fails[call].pop(0)

    def receive(self, most, _seconds):
        self._may_fail("receive")
        return [Delivery(data, at) for at, data in list(self.left.items())[:most]]

    def settle(self, deliveries, refused):
        self._may_fail("settle")
        self.settled += len(deliveries)
        self.parked += [(refusal.delivery.data, refusal.reason) for refusal in refused]
        for delivery in deliveries:
            del self.left[delivery.token]

    def waiting(self):
        return len(self.left)


def event(number, **changes):
    base = {"event_id": f"e{number}", "user_id": f"u{number % 3}", "pin_id": "p1"}
    base |= {"action": "repin", "acted_at": (NOW - timedelta(minutes=number)).isoformat()}
    return json.dumps(base | changes).encode()


def intake(states, home, known=frozenset({"p1"}).intersection, batch=10):
    config = OnlineConfig(batch=batch)
    return Intake(
        Settings(home=home, online=config), ("string", "string"), states, known, lambda _: False
    )


def consumed(source, states, home, *, stop=lambda: False, told=lambda _: None, **changes):
    taken = intake(states, home, **changes)
    return consume.run(source, taken, lambda: NOW, stop, told, until_empty=True)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(consume, "SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(consume, "LONGEST_PAUSE", 0.004)


def test_every_event_ends_in_a_state_or_parked_with_its_reason(tmp_path):
    source, states = (
        Events([event(n) for n in range(25)] + [b"{", event(26, pin_id="p9")]),
        InMemory(),
    )
    counts = consumed(source, states, tmp_path)
    assert counts.events == Counter(kept=25, malformed=1, unknown_pin=1)
    assert counts.batches == 3
    assert source.parked == [(b"{", "malformed"), (event(26, pin_id="p9"), "unknown_pin")]
    assert sum(len(state.unpack(value)) for value in states.values.values()) == 25


@pytest.mark.parametrize("call", ["receive", "settle"])
def test_an_outage_changes_nothing_and_is_said_once(call, tmp_path, caplog):
    undisturbed, states = InMemory(), InMemory()
    consumed(Events([event(n) for n in range(25)]), undisturbed, tmp_path)
    fails = [TransientError("The server is away.") for _ in range(7)]
    with caplog.at_level(logging.WARNING):
        counts = consumed(Events([event(n) for n in range(25)], **{call: fails}), states, tmp_path)
    assert counts.outages == 1
    assert states.values == undisturbed.values
    said = [record.message for record in caplog.records]
    assert said == [
        "The server is away. It is tried again until it answers.",
        "It answers again.",
    ]


def test_nothing_is_settled_that_the_states_do_not_hold(tmp_path):
    class Away(InMemory):
        def change(self, *_):
            raise DataError("no such states")

    source = Events([event(n) for n in range(5)])
    with pytest.raises(DataError):
        consumed(source, Away(), tmp_path)
    assert source.waiting() == 5


def test_told_to_stop_it_ends_after_the_batch_in_hand(tmp_path):
    source, looks = Events([event(n) for n in range(95)]), []

    counts = consumed(source, InMemory(), tmp_path, stop=lambda: len(looks) == 2, told=looks.append)
    assert counts.events == Counter(kept=20)
    assert source.settled == 20
    assert source.waiting() == 75


def test_told_to_stop_while_a_server_is_away_it_ends(tmp_path):
    asked = []
    source = Events([], receive=[TransientError("away") for _ in range(1000)])
    consumed(source, InMemory(), tmp_path, stop=lambda: len(asked) > 20 or asked.append(1))
    assert len(source.fails["receive"]) > 900


def test_now_and_then_is_not_always_and_an_error_there_stops_nothing(caplog):
    now, done = [0.0], []

    def does(_counts):
        done.append(now[0])
        raise TransientError("not now")

    every = Every(10, does, lambda: now[0])
    for now[0] in range(35):
        every(Counts())
    assert done == [10, 20, 30]
    assert "not now" in caplog.text


def test_what_is_told_cannot_end_it(tmp_path, caplog):
    def told(_counts):
        raise ConfigError("nobody listens")

    counts = consumed(Events([event(n) for n in range(25)]), InMemory(), tmp_path, told=told)
    assert counts.events == Counter(kept=25)
    assert "nobody listens" in caplog.text


def test_a_sign_of_life_is_a_new_file_or_said_to_fail(tmp_path):
    alive = tmp_path / "alive"
    consume.touch(alive)
    os.utime(alive, (0, 0))
    consume.touch(alive)
    assert alive.stat().st_mtime > 0
    with pytest.raises(ConfigError, match="cannot be touched"):
        consume.touch(tmp_path / "nowhere" / "alive")


def test_counts_are_said_in_words():
    assert Counts().says() == "no events"
    assert Counts(Counter(kept=12345, malformed=1)).says() == "kept 12,345, malformed 1"
