"""Log: every interest of every user in a span, whatever the buckets and the order of staging."""

import hashlib
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from events import DAY, at, days_before, event, make, vectors, write_log, write_pins
from hypothesis import given
from hypothesis import strategies as st
from random_logs import actions_of, drawn_log

from pinnersage import erase, stage
from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate import log
from pinnersage.stores import embeddings, open_lake

PINS = [13, 10, 12, 11]
FIRST = days_before(5)
EVENTS = [
    event(2, 10, "2026-03-31 00:00"),
    event(1, 12, "2026-04-05 23:59:59.999999"),
    event(1, 11, "2026-04-02 08:00"),
    event(1, 10, "2026-04-02 08:00"),
    event(3, 13, "2026-04-03 12:00"),
    event(1, 10, "2026-04-04 09:00"),
    event(5, 11, "2026-04-01 07:00"),
]


@pytest.fixture
def home(tmp_path):
    """Make a home over some events, nothing staged."""

    def home(events, *, name="home", **wishes):
        path = write_log(tmp_path / f"{name}.parquet", events)
        items = write_pins(tmp_path / "pins", PINS, vectors(len(PINS)))
        return make(tmp_path / name, path, items, **wishes)

    return home


def listed(found):
    """Each action as (user, time, pin)."""
    users, pins = found.user_ids.to_pylist(), found.pin_ids.to_pylist()
    start = datetime(1970, 1, 1, tzinfo=UTC)
    return [
        (users[user], start + timedelta(microseconds=time), pins[row])
        for user, time, row in actions_of(found)
    ]


def of_events(events):
    return sorted((one["user_id"], one["acted_at"], one["pin_id"]) for one in events)


def test_every_interest_stands_by_user_oldest_first(home):
    found = log.read(FIRST, DAY, DAY, home(EVENTS))
    assert listed(found) == of_events(EVENTS)
    assert found.user_ids.to_pylist() == [1, 2, 3, 5]
    assert found.left_out == {}


def test_the_span_is_whole_days_and_nothing_else(home):
    outside = [event(1, 11, "2026-03-30 23:59:59.999999"), event(1, 11, "2026-04-06 00:00")]
    assert listed(log.read(FIRST, DAY, DAY, home(EVENTS + outside))) == of_events(EVENTS)


def test_what_is_left_out_is_counted_by_reason(home):
    more = [
        event(1, 99, "2026-04-01 12:00", event_id="a"),
        event(1, 11, "2026-04-01 12:00", action="hide", event_id="b"),
        event(2, 12, "2026-04-02 01:00", event_id="c"),
        event(2, 12, "2026-04-03 01:00", event_id="c"),
        event(2, 13, "2026-04-02 02:00", event_id="d"),
        event(2, 13, "2026-04-02 03:00", event_id="e"),
    ]
    limits = {"model": {"max_actions_per_day": 1}}
    found = log.read(FIRST, DAY, DAY, home(more, event="event_id", sections=limits))
    assert found.left_out == {
        "unknown_pin": 1,
        "not_an_interest": 1,
        "duplicate": 1,
        "over_the_daily_cap": 2,
    }
    assert [pin for *_, pin in listed(found)] == [13]


def arrays(found):
    return [
        found.user_ids.to_pylist(),
        *(column.tolist() for column in (found.offsets, found.rows, found.times_us)),
        found.matrix.tobytes(),
        found.digest,
    ]


def test_buckets_and_the_order_of_staging_change_nothing(home):
    rng = np.random.default_rng(3)
    events = [
        event(int(user), int(pin), at("2026-03-31 00:00") + timedelta(minutes=int(minute)))
        for user, pin, minute in zip(
            rng.integers(1, 40, 300), rng.choice(PINS, 300), rng.integers(6 * 1440, size=300),
            strict=True,
        )
    ]  # fmt: skip
    one = arrays(log.read(FIRST, DAY, DAY, home(events, n_buckets=1)))
    by_day = home(events, name="by-day", n_buckets=5)
    for day in (days_before(2), DAY, days_before(4)):
        stage.run(day, by_day)
    assert arrays(log.read(FIRST, DAY, DAY, by_day)) == one
    assert arrays(log.read(FIRST, DAY, DAY, by_day)) == one, "and once all are staged"


def test_names_of_users_may_be_text(tmp_path):
    rows = [event(f"u{one['user_id']}", str(one["pin_id"]), one["acted_at"]) for one in EVENTS]
    path = write_log(tmp_path / "text.parquet", rows, ids=pa.string())
    items = write_pins(tmp_path / "pins", [str(pin) for pin in PINS], vectors(len(PINS)))
    found = log.read(FIRST, DAY, DAY, make(tmp_path / "home", path, items))
    assert listed(found) == of_events(rows)


def test_embeddings_are_those_valid_on_the_first_day_that_is_judged(home):
    settings = home(EVENTS)
    later = embeddings.write(
        open_lake(settings),
        pa.array(PINS),
        vectors(len(PINS), seed=9),
        valid_from=days_before(1),
        first_day=FIRST,
        max_bad_share=0.0,
    )
    before = log.read(FIRST, DAY, days_before(2), settings)
    assert before.embeddings != later.version
    np.testing.assert_allclose(before.matrix[[3, 0, 2, 1]], vectors(len(PINS)), atol=1e-6)
    assert log.read(FIRST, DAY, days_before(1), settings).embeddings == later.version


def test_a_user_whose_erasing_is_under_way_is_left_out(home, monkeypatch):
    settings = home(EVENTS)
    stage.run_missing(log.days_between(FIRST, DAY), settings)

    def stop(*_args, **_more):
        raise InterruptedError

    monkeypatch.setattr(erase, "scrub_lake", stop)
    with pytest.raises(InterruptedError):
        erase.run("1", "ann", "asked", at("2026-04-06 09:00"), "5a17", settings)
    left = [one for one in EVENTS if one["user_id"] != 1]
    assert listed(log.read(FIRST, DAY, DAY, settings)) == of_events(left)


def test_a_span_without_its_first_judged_day_is_refused(home):
    settings = home(EVENTS)
    for cut in (days_before(6), DAY + timedelta(days=1)):
        with pytest.raises(ConfigError, match=str(cut)):
            log.read(FIRST, DAY, cut, settings)


def test_a_log_without_any_interest_is_refused(home):
    with pytest.raises(DataError, match="No interest in a pin with an embedding"):
        log.read(FIRST, DAY, DAY, home([event(1, 99)]))


def naive_sample(found, n):
    def digest(user):
        return hashlib.md5(str(user).encode(), usedforsecurity=False).hexdigest()

    digests = {user: digest(user) for user in found.user_ids.to_pylist()}
    kept = sorted(digests, key=digests.get)[:n]
    names = found.user_ids.to_pylist()
    return sorted(kept), [a for a in actions_of(found) if names[a[0]] in kept]


@given(st.integers(0, 50), st.integers(1, 9))
def test_a_sample_is_the_users_of_smallest_digest_and_all_that_they_did(seed, n):
    whole = drawn_log(seed)
    found = log.sampled(whole, n)
    users, actions = naive_sample(whole, n)
    assert found.user_ids.to_pylist() == users
    numbers = [whole.user_ids.to_pylist().index(user) for user in users]
    assert [(numbers[u], t, row) for u, t, row in actions_of(found)] == actions
    assert arrays(log.sampled(whole, 0)) == arrays(whole)


def test_read_takes_a_sample_of_what_it_would_read(home):
    settings = home(EVENTS)
    whole = log.read(FIRST, DAY, DAY, settings)
    assert arrays(log.read(FIRST, DAY, DAY, settings, 2)) == arrays(log.sampled(whole, 2))


def test_the_digest_tells_who_did_what_when():
    one = drawn_log(4)
    assert one.digest == drawn_log(4).digest
    rows, times = one.rows.copy(), one.times_us.copy()
    rows[0] += 1
    times[-1] += 1
    others = [
        one._replace(rows=rows),
        one._replace(times_us=times),
        one._replace(embeddings="others"),
        one._replace(user_ids=pa.array(range(200, 200 + len(one.user_ids)))),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 1 + len(others)


def test_vectors_are_of_unit_length_also_from_half_precision():
    made = log.unit((vectors(50, 64) * 1.001).astype(np.float16))
    assert made.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(made.astype(float), axis=1), 1, atol=1e-6)
