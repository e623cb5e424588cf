"""What cannot be an event is refused with a reason, whatever the bytes are."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.config import OnlineConfig
from pinnersage.online import events
from pinnersage.online.events import Event, NotTakenError

NOW = datetime(2026, 8, 6, 12, tzinfo=UTC)
GOOD = {
    "event_id": "e1",
    "user_id": "u42",
    "pin_id": "p17",
    "action": "repin",
    "acted_at": "2026-08-06T11:00:00Z",
}


def read(user="string", pin="string", **changes):
    value = {name: item for name, item in (GOOD | changes).items() if item is not ...}
    return events.parsed(json.dumps(value).encode(), user, pin)


def test_an_event_says_who_did_what_when():
    event = read()
    assert (event.user_id, event.pin_id, event.action, event.name) == ("u42", "p17", "repin", "e1")
    assert event.acted_us == 1_786_014_000_000_000
    assert event.release is None


def test_a_time_in_another_zone_is_the_same_moment():
    assert read(acted_at="2026-08-06T13:00:00+02:00").acted_us == read().acted_us


def test_numbers_are_ids_as_the_lake_has_them():
    event = read("int64", "int64", user_id="007", pin_id=12, medoid="+3", release=4)
    assert (event.user_id, event.pin_id, event.medoid) == ("7", "12", "3")


def test_an_event_without_an_id_is_named_by_its_values():
    name = read(event_id=...).name
    assert name == read(event_id=...).name
    others = [
        read(event_id=..., **{field: value})
        for field, value in {
            "user_id": "u1",
            "pin_id": "p1",
            "action": "click",
            "acted_at": "2026-08-06T11:00:00.000001Z",
        }.items()
    ]
    assert len({name, *(other.name for other in others)}) == 5


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"user_id": ...}, "user_id: Field required"),
        ({"user_id": None}, "user_id"),
        ({"user_id": True}, "user_id"),
        ({"user_id": 1.5}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": ["u"]}, "user_id"),
        ({"pin_id": "x" * 512}, "pin_id"),
        ({"pin_id": 10**120}, "pin_id"),
        ({"action": 3}, "action"),
        ({"action": "x" * 65}, "action"),
        ({"event_id": 7}, "event_id"),
        ({"acted_at": "yesterday"}, "acted_at"),
        ({"acted_at": "2026-08-06T11:00:00"}, "acted_at: Input should have timezone info"),
        ({"acted_at": 1_786_014_000}, "acted_at: Value error, no text such as"),
        ({"acted_at": "1786014000"}, "acted_at: Value error, no text such as"),
        ({"acted_at": "1786014000000"}, "acted_at: Value error, no text such as"),
        ({"acted_at": "20671.5"}, "acted_at: Value error, no text such as"),
        ({"acted_at": "-1786014000"}, "acted_at: Value error, no text such as"),
        ({"release": 0}, "release"),
        ({"mood": "good"}, "mood: Extra inputs are not permitted"),
    ],
)
def test_what_is_missing_wrong_or_unknown_is_named(changes, says):
    with pytest.raises(NotTakenError, match=says) as refused:
        read(**changes)
    assert refused.value.reason == "malformed"


def test_an_id_that_the_lake_cannot_have_is_malformed():
    with pytest.raises(NotTakenError, match="whole numbers of 64 bits") as refused:
        read("int64", user_id="u42")
    assert refused.value.reason == "malformed"


def test_an_id_of_a_megabyte_is_oversized_and_not_repeated():
    with pytest.raises(NotTakenError, match="1,000,105 bytes") as refused:
        read(user_id="x" * 1_000_000)
    assert refused.value.reason == "oversized"
    assert len(str(refused.value)) < 200


@given(st.binary(max_size=300) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner, max_size=6),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_bytes_are_an_event_or_refused_with_a_known_reason(data):
    try:
        assert isinstance(events.parsed(data, "string", "string"), Event)
    except NotTakenError as error:
        refused = error.reason, str(error)
        assert refused[0] in events.REASONS
        assert refused[1]


@pytest.mark.parametrize(
    ("acted_at", "reason"),
    [
        (NOW, None),
        (NOW + timedelta(seconds=60), None),
        (NOW + timedelta(seconds=61), "from_the_future"),
        (NOW - timedelta(days=7) + timedelta(seconds=1), None),
        (NOW - timedelta(days=7), "too_old"),
        (datetime(1, 1, 1, tzinfo=UTC), "too_old"),
        (datetime(9999, 12, 31, tzinfo=UTC), "from_the_future"),
    ],
)
def test_the_time_of_an_event_has_limits_on_both_sides(acted_at, reason):
    event = read(acted_at=acted_at.isoformat())
    if reason is None:
        events.check_time(event, NOW, OnlineConfig())
        return
    with pytest.raises(NotTakenError) as refused:
        events.check_time(event, NOW, OnlineConfig())
    assert refused.value.reason == reason
