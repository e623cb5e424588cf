"""Feedback goes from the journal to the lake: nothing is lost, and an event counts once."""

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from events import DAY, make, write_log, write_pins

from pinnersage import erase, erased, maintain
from pinnersage.errors import DataError, TransientError
from pinnersage.extract import start_of
from pinnersage.online import feedback
from pinnersage.online.intake import Intake
from pinnersage.schema import FEEDBACK
from pinnersage.stores import open_lake, open_states
from pinnersage.stores.lake import Lake

NOW = start_of(DAY) + timedelta(days=1, hours=1)
NEXT = DAY + timedelta(days=1)
AT = datetime(2026, 4, 8, tzinfo=UTC)


@pytest.fixture
def home(tmp_path):
    """Make a home whose users' ids are of a type; pins are numbers."""

    def made(user=str):
        kind = pa.string() if user is str else pa.int64()
        first = {"user_id": user("1"), "pin_id": 10, "action": "repin", "acted_at": start_of(DAY)}
        log = write_log(tmp_path / "log" / "log.parquet", [first], ids=kind, pins=pa.int64())
        return make(tmp_path / "home", log, write_pins(tmp_path / "items", list(range(10, 30))))

    return made


def event(number, user="1", hours=12.0, action="impression", **changes):
    """One event of feedback, some hours after ``DAY`` began, as JSON."""
    base = {"event_id": f"e{number}", "user_id": user, "pin_id": 10, "action": action,
            "acted_at": (start_of(DAY) + timedelta(hours=hours)).isoformat(), "release": 3,
            "draw": 1, "medoid": 20}  # fmt: skip
    return json.dumps(base | changes).encode()


def take(settings, *events):
    """Hand events to the home's states, as whoever receives them does."""
    layout = open_lake(settings).layout
    kinds = (layout.user_id, layout.pin_id)
    with open_states(settings) as states:
        intake = Intake(settings, kinds, states, known=set, erased=lambda _: False)
        return [verdict.word for verdict in intake.take(events, NOW)]


def flush(settings):
    with open_states(settings) as states:
        return feedback.flush(states, settings)


def waiting(settings):
    with open_states(settings) as states:
        return len(states.oldest(1_000_000))


def rows(settings, *days):
    lake = open_lake(settings)
    paths = [path for day in days or (DAY, NEXT) for path in lake.log_paths("feedback", day)]
    return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]


def ids(settings):
    return sorted(row["event_id"] for row in rows(settings))


@pytest.mark.parametrize("user", [str, int])
def test_an_event_comes_to_the_lake_as_it_was(home, user):
    settings = home(user)
    plain = event(3, hours=1, action="repin", medoid=None)
    assert take(settings, event(2), plain) == ["not_interest", "kept"]

    assert flush(settings) == 2

    first, second = rows(settings, DAY)
    assert second == {
        "event_id": "e2", "user_id": user("1"), "pin_id": 10, "action": "impression",
        "acted_at": start_of(DAY) + timedelta(hours=12), "release": 3, "draw": 1, "medoid": 20,
    }  # fmt: skip
    assert (first["event_id"], first["medoid"]) == ("e3", None)
    (path,) = open_lake(settings).log_paths("feedback", DAY)
    assert pq.read_schema(path).equals(FEEDBACK.arrow(open_lake(settings).layout.user_id, "int64"))
    assert waiting(settings) == 0


def test_what_no_release_has_shown_is_no_feedback(home):
    settings = home()
    assert take(settings, event(1, action="repin", release=None)) == ["kept"]
    assert flush(settings) == 0
    assert not (settings.home / "lake" / "feedback").exists()


def test_a_day_is_that_of_utc(home):
    settings = home()
    late = (start_of(NEXT) + timedelta(hours=1)).isoformat().replace("+00:00", "+02:00")
    take(settings, event(1, acted_at=late), event(2, hours=24))
    flush(settings)
    assert [row["event_id"] for row in rows(settings, DAY)] == ["e1"]
    assert [row["event_id"] for row in rows(settings, NEXT)] == ["e2"]


def test_a_large_backlog_goes_in_parts(home, monkeypatch):
    settings = home()
    monkeypatch.setattr(feedback, "PART", 7)
    take(settings, *(event(n, hours=n) for n in range(24)))
    assert flush(settings) == 24
    assert len(open_lake(settings).log_paths("feedback", DAY)) == 4
    assert ids(settings) == sorted(f"e{n}" for n in range(24))
    assert flush(settings) == 0


def test_while_the_lake_is_away_events_wait(home, monkeypatch):
    settings = home()
    take(settings, event(1), event(2))

    def away(*_, **__):
        raise TransientError("away")

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "add_table", away)
        with pytest.raises(TransientError):
            flush(settings)
    assert waiting(settings) == 2
    flush(settings)
    assert ids(settings) == ["e1", "e2"]


def wait_until(true):
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    pytest.fail("not within 30 s")


def test_feedback_is_moved_now_and_then_and_at_the_end(home):
    settings = home()
    take(settings, event(1))
    with open_states(settings) as states:
        with feedback.Flushing(states, settings, seconds=0.05):
            wait_until(lambda: ids(settings) == ["e1"])
            take(settings, event(2))
            wait_until(lambda: ids(settings) == ["e1", "e2"])
        with feedback.Flushing(states, settings):
            take(settings, event(3))
        assert ids(settings) == ["e1", "e2", "e3"]


def test_what_cannot_be_moved_is_said_and_tried_again(home, monkeypatch, caplog):
    settings = home()
    take(settings, event(1))

    def away(*_, **__):
        raise TransientError("away")

    with open_states(settings) as states, feedback.Flushing(states, settings, seconds=0.05):
        with monkeypatch.context() as patch:
            patch.setattr(Lake, "add_table", away)
            wait_until(lambda: "See runbook: feedback not written." in caplog.text)
        wait_until(lambda: ids(settings) == ["e1"])


KILLED = """
import os, signal, sys
from pathlib import Path
from pinnersage import config
from pinnersage.online import feedback
from pinnersage.stores import open_states
from pinnersage.stores.{module} import {owner}
settings = config.load(Path(sys.argv[1]))
before = {owner}.{name}
def die(*arguments, **named):
    {when}
    os.kill(os.getpid(), signal.SIGKILL)
{owner}.{name} = die
feedback.PART = 3
feedback.flush(open_states(settings), settings)
"""
BEFORE, AFTER = "pass", "before(*arguments, **named)"


@pytest.mark.parametrize(
    ("module", "owner", "name", "when", "left", "written"),
    [
        ("lake", "Lake", "add_table", BEFORE, 5, 0),
        ("lake", "Lake", "add_table", AFTER, 5, 3),
        ("lmdb_states", "LmdbStates", "remove", BEFORE, 5, 3),
        ("lmdb_states", "LmdbStates", "remove", AFTER, 2, 3),
    ],
)
def test_killed_anywhere_nothing_is_lost_and_an_event_counts_once(
    home, module, owner, name, when, left, written
):
    settings = home()
    take(settings, *(event(n, hours=n) for n in range(5)))
    program = KILLED.format(module=module, owner=owner, name=name, when=when)
    done = subprocess.run([sys.executable, "-c", program, str(settings.home)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert waiting(settings) == left
    assert len(rows(settings)) == written

    flush(settings)

    assert set(ids(settings)) == {f"e{n}" for n in range(5)}
    counted = feedback.by_medoid(DAY, DAY, settings).to_pylist()
    assert counted == [{"user_id": "1", "medoid": 20, "n_impressions": 5, "n_engagements": 0}]


def test_an_event_that_came_twice_counts_once(home):
    settings = home()
    for _ in range(2):
        take(settings, event(1), event(1), event(2, action="repin"), event(3, user="2"))
        flush(settings)
    assert feedback.by_medoid(DAY, NEXT, settings).to_pylist() == [
        {"user_id": "1", "medoid": 20, "n_impressions": 1, "n_engagements": 1},
        {"user_id": "2", "medoid": 20, "n_impressions": 1, "n_engagements": 0},
    ]
    assert feedback.by_medoid(NEXT, NEXT, settings).num_rows == 0


def test_an_entry_that_is_no_event_is_named_and_loses_none_before_it(home):
    settings = home()
    with open_states(settings) as states:
        states.change([], dict, [b'{"user_id": "1"}'])
        ((entry, _),) = states.oldest(1)
    take(settings, event(1))
    with pytest.raises(DataError, match=f"Entry {entry.hex()} .*damaged online state"):
        flush(settings)
    with open_states(settings) as states:
        states.remove([bytes.fromhex(entry.hex())])
    assert flush(settings) == 1


def order(settings, user):
    return erase.run(user, "ann", "asked by letter", AT, "5a17", settings)


def test_an_erased_user_leaves_the_lake_the_journal_and_the_state(home):
    settings = home()
    take(settings, event(1, "7"), event(2, "8"))
    flush(settings)
    take(settings, event(3, "7", action="repin"), event(4, "8", action="repin"))

    report = order(settings, "7")

    assert (report.found, report.files, report.online) == (True, 1, 2)
    with open_states(settings) as states:
        assert [key for key, _ in states.items()] == [b"8"]
    flush(settings)
    assert ids(settings) == ["e2", "e4"]
    again = order(settings, "7")
    assert (again.found, again.online) == (False, 0)


def test_a_journal_that_cannot_be_read_stops_an_order_before_it_is_done(home):
    settings = home()
    with open_states(settings) as states:
        states.change([], dict, [b"no event"])
    with pytest.raises(DataError, match="nobody knows whose it is"):
        order(settings, "7")
    assert erased.read(settings).under_way


def test_events_of_an_erased_user_that_came_late_are_left_out(home):
    settings = home()
    order(settings, "7")
    take(settings, event(1, "7"), event(2, "8"))
    assert flush(settings) == 2
    assert ids(settings) == ["e2"]


def test_a_user_who_is_erased_while_feedback_is_written_is_not_left_behind(home, monkeypatch):
    settings = home()
    take(settings, event(1, "7"), event(2, "8"))
    table_of, orders = feedback.table_of, []

    def ordered_while_written(given, lake):
        if not orders:
            orders.append(order(settings, "7"))
        return table_of(given, lake)

    monkeypatch.setattr(feedback, "table_of", ordered_while_written)
    flush(settings)
    assert ids(settings) == ["e2"]


def test_days_go_by_their_age_counted_from_today(home):
    settings = home()
    take(settings, event(1), event(2, hours=25))
    flush(settings)
    kept = settings.retention.feedback_days
    maintain.run(start_of(DAY) + timedelta(days=kept - 0.5), settings, dry_run=False)
    assert ids(settings) == ["e1", "e2"]
    report = maintain.run(start_of(DAY) + timedelta(days=kept), settings, dry_run=False)
    assert ids(settings) == ["e2"]
    assert {kind.kind: kind.n_gone for kind in report.kinds if kind.n_gone} == {"feedback": 1}
