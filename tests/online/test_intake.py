"""Events end in the states of their users, each with a verdict; what is bad touches nothing."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnersage.config import OnlineConfig, Settings
from pinnersage.errors import TransientError
from pinnersage.online import intake as intake_module
from pinnersage.online import state
from pinnersage.online.intake import Intake

NOW = datetime(2026, 8, 6, 12, tzinfo=UTC)
PINS = {f"p{n}" for n in range(8)}


class InMemory:
    """States that forget with the test; the real ones have a contract suite of their own."""

    def __init__(self):
        self.values, self.journal, self.calls = {}, [], 0

    def change(self, keys, change, journal=()):
        self.calls += 1
        self.values |= change({key: self.values.get(key) for key in keys})
        self.journal += journal

    def of(self, user):
        return state.unpack(self.values[user.encode()])


def intake(states, home, **online):
    config = OnlineConfig(**online)
    return Intake(
        Settings(home=home, online=config),
        ("string", "string"),
        states,
        known=PINS.intersection,
        erased=lambda user: user == "gone",
    )


def event(number=0, **changes):
    base = {
        "event_id": f"e{number}",
        "user_id": "u1",
        "pin_id": "p1",
        "action": "repin",
        "acted_at": (NOW - timedelta(minutes=number)).isoformat(),
    }
    return json.dumps(base | changes).encode()


def test_each_event_has_the_verdict_of_its_own_place(tmp_path):
    states = InMemory()
    given = [
        event(1),
        b"{",
        event(2, pin_id="nowhere"),
        event(3, action="hide"),
        event(4, user_id="gone"),
        event(5, acted_at="2026-08-07T12:00:00Z"),
        event(6, acted_at="2026-07-01T12:00:00Z"),
        event(7, pin_id="x" * 5000),
        event(8, user_id="new"),
    ]
    words = [verdict.word for verdict in intake(states, tmp_path).take(given, NOW)]
    assert words == [
        "kept", "malformed", "unknown_pin", "not_interest", "erased_user", "from_the_future",
        "too_old", "oversized", "kept",
    ]  # fmt: skip
    assert set(states.values) == {b"u1", b"new"}
    assert [action.pin for action in states.of("u1")] == ["p1"]


def test_whatever_else_is_wrong_with_it_an_erased_users_event_is_refused_for_that(tmp_path):
    states = InMemory()
    given = [
        event(1, user_id="gone", acted_at="2026-08-07T12:00:00Z"),
        event(2, user_id="gone", acted_at="2026-07-01T12:00:00Z"),
        event(3, user_id="gone", extra=1),
        event(4, user_id="gone", pin_id="x" * 5000),
        event(5, user_id="gone", pin_id="nowhere"),
        event(6, user_id="gone")[:-1],
        event(7)[:-1],
    ]
    words = [verdict.word for verdict in intake(states, tmp_path).take(given, NOW)]
    assert words == ["erased_user"] * 6 + ["malformed"]
    assert states.calls == 0


def test_what_has_nothing_to_keep_changes_nothing(tmp_path):
    states = InMemory()
    assert intake(states, tmp_path).take([], NOW) == []
    intake(states, tmp_path).take([b"", event(action="hide")], NOW)
    assert states.calls == 0


def test_an_event_that_says_which_release_showed_its_pin_is_feedback_too(tmp_path):
    states = InMemory()
    shown = event(1, action="impression", release=12, medoid="p2", draw=3)
    verdicts = intake(states, tmp_path).take([shown, event(2, release=12), event(3)], NOW)
    assert [verdict.word for verdict in verdicts] == ["not_interest", "kept", "kept"]
    rows = [json.loads(entry) for entry in states.journal]
    assert [(row["event_id"], row["release"], row["medoid"]) for row in rows] == [
        ("e1", 12, "p2"),
        ("e2", 12, None),
    ]


def test_feedback_without_an_id_is_named_so_that_a_repeat_can_be_told(tmp_path):
    states = InMemory()
    nameless = event(1, event_id=None, release=1)
    intake(states, tmp_path).take([nameless, nameless], NOW)
    first, second = [json.loads(entry) for entry in states.journal]
    assert first["event_id"] == second["event_id"] is not None


def test_a_store_that_is_away_is_told_and_nothing_is_taken(tmp_path):
    class Away(InMemory):
        def change(self, *_):
            raise TransientError("away")

    with pytest.raises(TransientError):
        intake(Away(), tmp_path).take([event()], NOW)


days = st.lists(
    st.builds(
        lambda number, user, pin, minutes: event(
            number,
            user_id=user,
            pin_id=pin,
            acted_at=(NOW - timedelta(minutes=minutes)).isoformat(),
        ),
        number=st.integers(0, 60),
        user=st.sampled_from(["u1", "u2", "7"]),
        pin=st.sampled_from(sorted(PINS)),
        minutes=st.integers(0, 600),
    ),
    max_size=50,
)


@settings(max_examples=60, deadline=None)
@given(days, st.data())
def test_any_order_and_duplication_of_a_days_events_gives_the_same_states(
    tmp_path_factory, given, data
):
    home = tmp_path_factory.getbasetemp()
    once, mixed = InMemory(), InMemory()
    intake(once, home, max_actions=5).take(given, NOW)
    repeats = data.draw(st.lists(st.sampled_from(given), max_size=20)) if given else []
    stream = data.draw(st.permutations([*given, *repeats]))
    consumer, at = intake(mixed, home, max_actions=5), 0
    while at < len(stream):
        size = data.draw(st.integers(1, 9))
        consumer.take(stream[at : at + size], NOW)
        at += size
    assert mixed.values == once.values


def test_a_damaged_state_counts_as_empty_is_counted_and_said_once_without_the_user(
    tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(intake_module, "_said", threading.Event())
    states, before = InMemory(), intake_module.DAMAGED._value.get()
    taken = intake(states, tmp_path)
    taken.take([event(n, user_id=f"user-{n}") for n in range(3)], NOW)
    for key, value in states.values.items():
        states.values[key] = value[:-1]
    assert [v.word for v in taken.take([event(9, user_id=f"user-{n}") for n in range(3)], NOW)] == [
        "kept"
    ] * 3
    for n in range(3):
        assert [action.event for action in states.of(f"user-{n}")] == [state.event_of("e9")]
    assert intake_module.DAMAGED._value.get() - before == 3
    assert caplog.text.count("damaged online state") == 1
    assert "user-" not in caplog.text
