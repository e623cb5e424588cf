"""Point in time: a point gets what was served then; in doubt nothing, with a reason."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rankers import PINS, Home, nth

from pinnersage import erase, maintain, point_in_time
from pinnersage.errors import ConfigError, DataError
from pinnersage.extract import end_of
from pinnersage.point_in_time import COLUMNS, at_points

END = datetime(2027, 1, 1, tzinfo=UTC)
"""When it is asked, long after."""


def ask(home, points, now=END, **names):
    """The points as rows, with what they are given, and the report."""
    given = home.settings.home / "points.parquet"
    table = points if isinstance(points, pa.Table) else as_table(points)
    pq.write_table(table, given)
    to = home.settings.home / "features.parquet"
    report = at_points(given, to, now, home.settings, **names)
    return pq.read_table(to).to_pylist(), report


def as_table(points, unit="us"):
    users, times = zip(*points, strict=True) if points else ((), ())
    kind = pa.int64() if all(isinstance(u, int | None) for u in users) else pa.string()
    return pa.table(
        {"user_id": pa.array(users, kind), "time": pa.array(times, pa.timestamp(unit, "UTC"))}
    )


def facts(row):
    """What a point is given, but for where it is from."""
    names = ("medoid_ids", "importance", "n_actions", "last_acted_at")
    return {name: tuple(row[name] or ()) for name in names}


@pytest.fixture
def home(tmp_path):
    """Live: day 0 from 06:00 on, a day later day 1."""
    made = Home(tmp_path)
    made.day(0, {1: [(10, 2.5), (20, 0.5)], 2: [(30, 1.0)]})
    made.now += timedelta(days=1)
    made.day(1, {1: [(40, 3.0)], 3: [(50, 1.0), (60, 0.25)]})
    return made


def test_a_point_gets_what_was_live_at_its_time(home):
    moved = home.now
    tick = timedelta(microseconds=1)

    rows, report = ask(home, [(1, moved), (1, moved - tick), (3, moved), (3, moved - tick)])

    assert [row["medoid_ids"] for row in rows] == [[40], [10, 20], [50, 60], None]
    assert [row["release"] for row in rows] == [2, 1, 2, 1]
    assert [row["medoids_day"] for row in rows] == [nth(1), nth(0), nth(1), nth(0)]
    assert [row["reason"] for row in rows] == [None, None, None, "unknown_user"]
    assert rows[0]["age_days"] == 0.25
    assert rows[0]["embeddings"] == home.embeddings
    assert (report.points, report.with_medoids, report.without) == (4, 3, {"unknown_user": 1})
    assert report.releases == 2


def test_every_reason_for_nothing_is_said_and_counted(home):
    first = home.now - timedelta(days=1)
    home.block(30)
    points = [
        (1, first - timedelta(microseconds=1)),
        (None, first),
        (1, None),
        (99, first),
        (2, first),
        (1, home.now + timedelta(days=30)),
        (1, END + timedelta(seconds=1)),
    ]
    home.now = first + timedelta(days=2)
    home.day(2, {2: [(30, 1.0)]})
    points.append((2, home.now))

    rows, report = ask(home, points)

    reasons = ["no_release", "no_user", "no_time", "unknown_user", None, "too_old", "future"]
    assert [row["reason"] for row in rows] == [*reasons, "blocked"]
    assert report.without == Counter(reason for reason in [*reasons, "blocked"] if reason)
    assert all(row["medoid_ids"] is None for row in rows if row["reason"])
    assert rows[4]["medoid_ids"] == [30], "it was blocked later"
    assert rows[5]["release"] == 3


def test_a_user_whose_erasure_is_not_done_yet_has_no_features(home):
    erase.replaced(
        home.settings, lambda record: erase.with_order(record, "1", "ann", "why", END, "salt")
    )
    rows, report = ask(home, [(1, END), (2, END)])

    assert rows[0]["reason"] == "unknown_user"
    assert rows[0]["medoid_ids"] is None
    assert report.without["unknown_user"] >= 1


def test_the_offline_age_limit_is_the_online_one(home):
    until = end_of(nth(1)) + timedelta(days=7)

    rows, _ = ask(home, [(1, until), (1, until + timedelta(microseconds=1))])

    assert [row["reason"] for row in rows] == [None, "too_old"]


def test_what_lies_between_clocks_at_odds_has_no_features(home):
    home.now += timedelta(days=1)
    home.day(2, {1: [(70, 1.0)]})
    home.now -= timedelta(hours=30)  # a clock that is wrong
    home.day(3, {1: [(80, 1.0)]})
    home.now += timedelta(days=3)
    home.day(4, {1: [(90, 1.0)]})
    start = datetime(2026, 3, 2, 6, tzinfo=UTC)

    points = [(1, start + timedelta(hours=h)) for h in (-1, 0, 17, 18, 71, 90, 100)]
    rows, _ = ask(home, points)

    for point, row in zip(points, rows, strict=True):
        assert ask(home, [point])[0][0]["reason"] == row["reason"], "whatever is asked beside it"
    assert [row["reason"] for row in rows] == ["no_release", *["unsure"] * 4, None, None]
    assert rows[-1]["medoid_ids"] == [90]
    assert all(row["release"] is None for row in rows if row["reason"])


def test_a_pin_is_left_out_from_when_it_was_blocked_to_when_it_was_not(home):
    start = home.now
    for hours, what in ((1, "block"), (3, "unblock"), (5, "block")):
        home.now = start + timedelta(hours=hours)
        home.block(60, what)
    tick = timedelta(microseconds=1)
    hours = [start, *(start + timedelta(hours=h) for h in (1, 3, 5))]

    rows, _ = ask(home, [(3, at) for hour in hours for at in (hour - tick, hour)][1:])

    both, one = [50, 60], [50]
    assert [row["medoid_ids"] for row in rows] == [both, both, one, one, both, both, one]
    assert rows[2]["importance"] == [1.0]


def test_rows_and_columns_of_the_points_are_kept_as_they_are(home):
    points = pa.table(
        {
            "label": [0.5, 0.25, 0.5],
            "Who ever": [1, 7, 1],
            "when": pa.array([home.now] * 3, pa.timestamp("us", "UTC")),
            "tags": [["a"], None, []],
        }
    )

    rows, _ = ask(home, points, user="Who ever", time="when")

    assert list(rows[0]) == [*points.column_names, *COLUMNS]
    assert [{name: row[name] for name in points.column_names} for row in rows] == (
        points.to_pylist()
    )
    assert [row["medoid_ids"] for row in rows] == [[40], None, [40]]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_times_of_any_unit_and_zone_are_read_as_what_they_say(home, unit, zone):
    points = pa.table({"user_id": [1], "time": pa.array([home.now], pa.timestamp(unit, zone))})

    rows, _ = ask(home, points)

    assert rows[0]["medoid_ids"] == [40]


def test_the_same_points_give_the_same_bytes(home, monkeypatch):
    rng = np.random.default_rng(1)
    points = [(int(u), home.now + timedelta(hours=float(h))) for u, h in zip(
        rng.integers(0, 5, 400), rng.uniform(-40, 40, 400), strict=True)]  # fmt: skip
    ask(home, points)
    to = home.settings.home / "features.parquet"
    before = to.read_bytes()
    monkeypatch.setattr(point_in_time, "BATCH", 7)
    two = home.settings.run.model_copy(update={"threads": 2})
    home.settings = home.settings.model_copy(update={"run": two})

    ask(home, points)

    assert to.read_bytes() == before


def test_text_ids_and_integers_written_as_text_are_found_as_online_finds_them(tmp_path):
    home = Home(tmp_path, user="string")
    home.day(0, {"a b": [(10, 1.0)], "7": [(20, 1.0)]})

    rows, _ = ask(home, [("a b", home.now), ("7", home.now), ("07", home.now)])
    assert [row["medoid_ids"] for row in rows] == [[10], [20], None]

    rows, _ = ask(home, [(7, home.now)])
    assert rows[0]["medoid_ids"] == [20]
    assert home.served([7]).users[0].medoid_ids == (20,)


def test_no_points_are_a_table_without_rows(home):
    rows, report = ask(home, [])

    assert rows == []
    assert (report.points, report.with_medoids, report.without) == (0, 0, {})
    assert pq.read_schema(report.written).names == ["user_id", "time", *COLUMNS]


def test_before_any_release_no_point_has_features(tmp_path):
    rows, report = ask(Home(tmp_path), [(1, END)])

    assert rows[0]["reason"] == "no_release"
    assert report.without == {"no_release": 1}


def test_days_that_retention_removed_have_no_features_and_are_named(home):
    old = home.now - timedelta(hours=1)
    for n in range(2, 6):
        home.now += timedelta(days=1)
        home.day(n, {1: [(70, 1.0)]})
    short = {"medoids_days": 1, "ready_days": 1, "grace_days": 1}
    values = home.settings.model_dump(exclude={"home"})
    values["retention"] |= short
    values["checks"] |= {"drift_days": 1, "min_drift_days": 1}
    home.settings = type(home.settings)(home=home.settings.home, **values)
    maintain.run(datetime(2100, 1, 1, tzinfo=UTC), home.settings, dry_run=False)

    rows, report = ask(home, [(1, old), (99, old), (1, home.now)])

    assert [row["reason"] for row in rows] == ["deleted", "deleted", None]
    assert rows[0]["release"] == 1
    assert report.deleted_days == [nth(0)]


def test_a_day_corrected_gives_each_time_what_it_said_then(home):
    home.now += timedelta(hours=1)
    home.day(1, {1: [(80, 1.0)], 3: [(50, 1.0)]})

    rows, _ = ask(home, [(1, home.now - timedelta(minutes=1)), (1, home.now)])

    assert [row["medoid_ids"] for row in rows] == [[40], [80]]
    assert [row["medoids_day"] for row in rows] == [nth(1), nth(1)]


def bad(change):
    return lambda home: ask(home, change(as_table([(1, home.now)])))


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (bad(lambda t: t.drop_columns("time")), DataError, "no column time; there are user_id"),
        (bad(lambda t: t.drop_columns("user_id")), DataError, "no column user_id"),
        (
            bad(lambda t: t.set_column(1, "time", pa.array(["now"]))),
            DataError,
            "time is VARCHAR, not a timestamp",
        ),
        (
            bad(lambda t: t.set_column(0, "user_id", pa.array([1.5]))),
            DataError,
            "user_id is DOUBLE; an identifier",
        ),
        (
            bad(lambda t: t.append_column("Reason", pa.array(["x"]))),
            ConfigError,
            "Reason would be written",
        ),
    ],
)
def test_points_that_cannot_be_joined_are_refused(home, wrong, error, says):
    with pytest.raises(error, match=says):
        wrong(home)

    assert not (home.settings.home / "features.parquet").exists()


def test_files_that_are_no_points_and_places_that_are_none_are_refused(home, tmp_path):
    points = tmp_path / "p.parquet"
    with pytest.raises(DataError, match="no such file"):
        at_points(points, tmp_path / "o.parquet", END, home.settings)
    points.write_bytes(b"no Parquet")
    with pytest.raises(DataError, match=r"p\.parquet"):
        at_points(points, tmp_path / "o.parquet", END, home.settings)
    pq.write_table(as_table([(1, END)]), points)
    for place in (points, tmp_path, tmp_path / "none" / "o.parquet"):
        with pytest.raises(ConfigError, match="name a file of its own"):
            at_points(points, place, END, home.settings)


def test_a_failed_join_leaves_the_result_before_it(home, monkeypatch):
    ask(home, [(1, home.now)])
    to = home.settings.home / "features.parquet"
    before = to.read_bytes()
    monkeypatch.setattr(
        point_in_time, "finished", lambda *_: (_ for _ in ()).throw(duckdb.IOException("broken"))
    )
    with pytest.raises(DataError, match="broken"):
        ask(home, [(3, home.now)])

    assert to.read_bytes() == before
    assert not list(home.settings.home.glob(".*unfinished"))


EVENTS = st.one_of(
    st.tuples(st.just("day"), st.integers(0, 5), st.integers(0, 10**6)),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("promote"), st.integers(0, 5)),
    st.tuples(st.sampled_from(["block", "unblock"]), st.sampled_from(PINS)),
    st.tuples(st.just("wait"), st.integers(1, 80)),
)
USERS = (1, 2, 3, 4)


def medoids_of(seed):
    """Some users' medoids, by chance."""
    rng = np.random.default_rng(seed)
    users = rng.permutation(USERS)[: rng.integers(1, len(USERS) + 1)].tolist()
    return {
        user: [
            (int(pin), float(rng.uniform(0.01, 9)))
            for pin in rng.permutation(PINS)[: rng.integers(1, 5)]
        ]
        for user in users
    }


def happen(home, what, *args):
    if what == "day":
        home.day(args[0], medoids_of(args[1]))
    elif what == "wait":
        home.now += timedelta(hours=args[0])
    elif what in {"block", "unblock"}:
        home.block(args[0], what)
    else:
        getattr(home, what)(*args)


@hypothesis_settings(max_examples=25)
@given(st.lists(EVENTS, min_size=4, max_size=14))
def test_what_a_point_is_given_is_what_was_served_then(tmp_path_factory, events):
    """Releases, corrections, rollbacks, promotions, takedowns; every user asked after each."""
    home = Home(tmp_path_factory.mktemp("served"))
    home.day(0, medoids_of(0))
    points, served = [], []
    for event in [("wait", 1), *events]:
        home.now += timedelta(seconds=7)
        try:
            happen(home, *event)
        except DataError:  # refused, as it would be for a person
            continue
        for later in (timedelta(0), timedelta(seconds=3)):
            home.now += later
            told = home.served(USERS)
            for user in told.users:
                points.append((user.user_id, home.now))
                served.append((told, user))

    rows, _ = ask(home, points)

    for row, (told, user) in zip(rows, served, strict=True):
        assert (row["release"], row["medoids_day"], row["embeddings"], row["age_days"]) == (
            told.release, told.medoids_day, told.embeddings, told.age_days,
        )  # fmt: skip
        assert row["reason"] == user.reason
        assert facts(row) == {name: getattr(user, name) for name in facts(row)}


def test_over_releases_a_rollback_and_a_blocked_pin_the_offline_value_is_what_was_served(home):
    """The same by hand, so that nobody need trust a generator of events."""
    points, served = [], []

    def look():
        for user in home.served(USERS).users:
            points.append((user.user_id, home.now))
            served.append(user.medoid_ids)
        home.now += timedelta(hours=1)

    look()
    home.block(60)
    look()
    home.day(2, {1: [(70, 1.0), (60, 0.5)]})
    look()
    home.rollback()
    look()
    home.block(60, "unblock")
    look()
    home.promote(2)
    look()

    rows, _ = ask(home, points)

    assert [tuple(row["medoid_ids"] or ()) for row in rows] == served
    assert [ids for ids in served if ids] == [
        (40,), (50, 60), (40,), (50,), (70,), (40,), (50,), (40,), (50, 60), (70, 60),
    ]  # fmt: skip
