"""Stage: a day's raw events once, in buckets, whatever the machine and the order of the rows."""

import hashlib
import random
import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from events import DAY, at, changed, days_before, event, make, rows_of, table, write_log

from pinnersage import stage
from pinnersage.errors import ConfigError, DataError
from pinnersage.stores.lake import Lake


def lake_of(settings):
    return Lake(settings.home / "lake")


def staged(settings, day=DAY):
    lake = lake_of(settings)
    return rows_of(lake, lake.require("actions", "stage", day=day))


def bytes_of(settings):
    root = settings.home / "lake" / "actions"
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


def bucket_by_hand(user_id, n_buckets):
    """DuckDB's lower 64 bits of the MD5 of the id as text: its last eight bytes, low end first."""
    digest = hashlib.md5(str(user_id).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[8:], "little") % n_buckets


@pytest.mark.parametrize(
    ("ids", "users"),
    [
        (pa.int64(), [0, 1, -7, 2**63 - 1, *range(100, 130)]),
        (pa.string(), ["a", "Zoë", "日本", " ", "x" * 511, *(f"user {n}" for n in range(30))]),
    ],
    ids=["integers", "text"],
)
def test_buckets_agree_with_plain_md5(ids, users, tmp_path):
    pin = users[0]
    log = write_log(tmp_path / "log.parquet", [event(user, pin) for user in users], ids=ids)
    settings = make(tmp_path / "home", log, n_buckets=7)

    stage.run(DAY, settings)

    lake = lake_of(settings)
    manifest = lake.require("actions", "stage", day=DAY)
    found = {
        row["user_id"]: file.bucket
        for file in manifest.files
        for row in pq.ParquetFile(lake.path(file)).read().to_pylist()
    }
    assert found == {user: bucket_by_hand(user, 7) for user in users}
    assert all(f"bucket={file.bucket}/" in file.path for file in manifest.files)


def test_each_day_has_its_own_files_and_nothing_else(tmp_path):
    when = ["2026-04-05 00:00:00", "2026-04-05 23:59:59.999999", "2026-04-04 23:59:59.999999"]
    log = write_log(tmp_path / "log.parquet", [event(1, n, w) for n, w in enumerate(when)])
    settings = make(tmp_path / "home", log)

    stage.run(DAY, settings)

    assert [row["pin_id"] for row in staged(settings)] == [0, 1]
    assert [row["pin_id"] for row in staged(settings, days_before(1))] == [2]


def test_missing_days_of_the_window_are_staged_in_the_same_call(tmp_path):
    log = write_log(
        tmp_path / "log.parquet",
        [event(1, n, at("2026-04-05 12:00") - timedelta(n)) for n in range(9)],
    )
    settings = make(tmp_path / "home", log, sections={"model": {"window_days": 5}})
    stage.run(days_before(2), settings)
    before = lake_of(settings).require("actions", "stage", day=days_before(2))

    report = stage.run(DAY, settings)

    lake = lake_of(settings)
    assert report.days_staged == 2
    assert report.window_days_missing == 0
    assert lake.days("actions") == [days_before(n) for n in range(6, -1, -1)]
    assert lake.require("actions", "stage", day=days_before(2)) == before


def test_an_empty_id_is_no_user_and_no_pin(tmp_path):
    rows = [event("u", "p"), event("", "p"), event("u", "")] + [
        event("u", f"{n}") for n in range(60)
    ]
    log = write_log(tmp_path / "log.parquet", rows, ids=pa.string())
    settings = make(tmp_path / "home", log)

    assert stage.run(DAY, settings).dropped == {"no_pin": 1, "no_user": 1}


def test_a_column_that_is_no_event_id_is_refused(tmp_path):
    rows = [event(1, pin, event_id="same") for pin in range(10)]
    settings = make(tmp_path / "home", write_log(tmp_path / "log.parquet", rows), event="event_id")

    with pytest.raises(DataError, match=r"9 of 10 raw rows repeat an event \(limit 50%\)"):
        stage.run(DAY, settings)


def test_a_day_that_was_empty_is_looked_at_again(tmp_path):
    log = tmp_path / "log.parquet"
    settings = make(tmp_path / "home", write_log(log, [event(1, 1)]))
    stage.run(DAY, settings)
    late = event(1, 2, at("2026-04-05 12:00") - timedelta(1))
    write_log(log, [event(1, 1), late])

    stage.run(DAY, settings)

    assert [row["pin_id"] for row in staged(settings, days_before(1))] == [2]


def test_second_run_leaves_the_same_bytes(tmp_path):
    rows = [event(user, pin) for user in range(9) for pin in range(4)] + [event(1, 1)] * 30
    settings = make(tmp_path / "home", write_log(tmp_path / "log.parquet", rows))
    stage.run(DAY, settings)
    before = bytes_of(settings)

    stage.run(DAY, changed(settings, run={"threads": 2}))

    assert bytes_of(settings) == before


def test_a_day_is_the_same_to_the_byte_staged_alone_or_with_others(tmp_path):
    """Repeats across days and rows without a time must not depend on which days are read."""
    rows = [
        event(user, n, at("2026-04-05 12:00") - timedelta(n)) for user in (1, 2) for n in range(4)
    ]
    rows += [{**row, "event_id": f"{row['user_id']}-{row['pin_id']}"} for row in rows]
    rows = [row for row in rows if "event_id" in row]
    rows += [
        {**rows[0], "acted_at": at("2026-04-03 09:00")},
        rows[1],
        {**rows[2], "acted_at": None},
    ]
    log = write_log(tmp_path / "log.parquet", rows)
    window = {"model": {"window_days": 4}, "checks": {"max_unusable_share": 0.5}}
    alone = make(tmp_path / "alone", log, event="event_id", sections=window)
    together = make(tmp_path / "together", log, event="event_id", sections=window)

    for n in (3, 2, 1, 0):
        stage.run(days_before(n), changed(alone, model={"window_days": 1}))
    stage.run(DAY, together)

    assert bytes_of(alone) == bytes_of(together)
    assert len(lake_of(alone).days("actions")) == 4


def test_order_of_the_rows_changes_nothing(tmp_path):
    rows = [event(user, pin) for user in range(40) for pin in (3, 3, 7)]
    shuffled = random.Random(5).sample(rows, len(rows))
    one = make(tmp_path / "one", write_log(tmp_path / "a.parquet", rows))
    other = make(tmp_path / "other", write_log(tmp_path / "b.parquet", shuffled))

    stage.run(DAY, one)
    stage.run(DAY, other)

    assert bytes_of(one) == bytes_of(other)


def test_content_hash_is_the_same_for_any_number_of_buckets(tmp_path):
    log = write_log(tmp_path / "log.parquet", [event(user, 1) for user in range(50)])
    hashes = set()
    for n in (1, 4, 16):
        settings = make(tmp_path / f"home{n}", log, n_buckets=n)
        stage.run(DAY, settings)
        hashes.add(lake_of(settings).require("actions", "stage", day=DAY).content_hash)
    assert len(hashes) == 1
    assert hashes != {"0" * 32}


def test_content_hash_sees_every_value(tmp_path):
    base = event(1, 10)
    variants = [base, base | {"user_id": 2}, base | {"pin_id": 11}, base | {"action": "click"}]
    variants += [base | {"acted_at": at("2026-04-05 12:00:00.000001")}]
    hashes = set()
    for n, row in enumerate(variants):
        settings = make(tmp_path / f"home{n}", write_log(tmp_path / f"{n}.parquet", [row]))
        stage.run(DAY, settings)
        hashes.add(lake_of(settings).require("actions", "stage", day=DAY).content_hash)
    assert len(hashes) == len(variants)


def by_day(tmp_path, files, **sections):
    for day, rows in files.items():
        write_log(tmp_path / "log" / f"{day}.parquet", rows)
    # room for what the tests leave out on purpose
    sections = {"checks": {"max_unusable_share": 0.9}} | sections
    return make(tmp_path / "home", tmp_path / "log" / "{day}.parquet", sections=sections)


def test_source_by_day_reads_the_day_s_file_alone(tmp_path):
    settings = by_day(
        tmp_path,
        {DAY: [event(1, 1)], days_before(1): [event(1, 2, "2026-04-04 12:00"), event(1, 3)]},
    )

    report = stage.run(DAY, settings)

    assert [row["pin_id"] for row in staged(settings)] == [1]
    assert [row["pin_id"] for row in staged(settings, days_before(1))] == [2]
    assert report.window_days_missing == settings.model.window_days - 2


def test_events_outside_the_day_of_their_file_are_counted_and_shown(tmp_path):
    late, early = event(7, 2, "2026-04-06 00:00"), event(8, 3, "2026-04-04 23:59:59.999999")
    far = event(9, 4, datetime(1970, 1, 1, tzinfo=UTC))
    settings = by_day(tmp_path, {DAY: [event(1, 1), late, early, far]})

    report = stage.run(DAY, settings)

    assert report.dropped == {"after_the_day": 1, "before_the_day": 2}
    assert report.rows == 1
    outside = next(check for check in report.checks if "outside the day" in check["name"])
    assert outside["n_rows"] == 3
    assert {row["user_id"] for row in outside["examples"]} == {"7", "8", "9"}


def test_file_that_comes_late_is_staged_when_it_is_there(tmp_path):
    settings = by_day(tmp_path, {DAY: [event(1, 1)]})
    stage.run(DAY, settings)
    assert lake_of(settings).current("actions", day=days_before(1)) is None
    write_log(tmp_path / "log" / f"{days_before(1)}.parquet", [event(1, 2, "2026-04-04 01:00")])

    report = stage.run(DAY, settings)

    assert len(staged(settings, days_before(1))) == 1
    assert report.window_days_missing == settings.model.window_days - 2


def test_no_file_for_the_day_names_where_it_was_looked_for(tmp_path):
    settings = by_day(tmp_path, {days_before(1): [event(1, 2, "2026-04-04 01:00")]})
    with pytest.raises(DataError, match=r"no Parquet file there"):
        stage.run(DAY, settings)


def test_too_many_unusable_rows_stop_the_day_and_stage_nothing(tmp_path):
    rows = [event(1, pin) for pin in range(8)] + [event(None, 8), event(1, None)]
    log = write_log(tmp_path / "log.parquet", rows)
    settings = make(tmp_path / "home", log)

    with pytest.raises(
        DataError, match=r"2026-04-05: 2 of 10 raw rows.*limit 5.0%.*no_pin"
    ) as error:
        stage.run(DAY, settings)

    assert "no_user" in str(error.value)
    assert lake_of(settings).current("actions", day=DAY) is None
    report = stage.run(DAY, changed(settings, checks={"max_unusable_share": 0.2}))
    assert report.dropped == {"no_pin": 1, "no_user": 1}


def test_a_bad_day_cannot_hide_among_good_ones(tmp_path):
    rows = [event(1, n % 50, at("2026-04-05 12:00") - timedelta(n % 80)) for n in range(800)]
    rows += [event(None, 1, "2026-03-01 12:00"), event(None, 2, "2026-03-01 12:00")]
    log = write_log(tmp_path / "log.parquet", rows)
    settings = make(tmp_path / "home", log, sections={"model": {"window_days": 80}})
    with pytest.raises(DataError, match=r"2026-03-01: 2 of 12 raw rows"):
        stage.run(DAY, settings)


def test_repeats_are_dropped_counted_and_no_reason_to_stop(tmp_path):
    rows = [event(1, 1, event_id="e")] * 26
    rows += [event(1, 2, event_id=f"f{number}") for number in range(35)]
    settings = make(tmp_path / "home", write_log(tmp_path / "log.parquet", rows), event="event_id")

    report = stage.run(DAY, settings)

    assert (report.rows, report.dropped) == (36, {"duplicate": 25})
    repeats = next(check for check in report.checks if "there already" in check["name"])
    assert (repeats["n_rows"], len(repeats["examples"])) == (25, 20)


def test_an_empty_day_is_a_day_without_rows(tmp_path):
    log = write_log(tmp_path / "log.parquet", [event(1, 1, "2026-04-01 12:00")])
    settings = make(tmp_path / "home", log)
    report = stage.run(DAY, settings)
    assert (report.rows, report.users, report.window_days_missing) == (0, 0, 0)
    assert staged(settings) == []


def test_an_empty_file_is_a_day_without_rows(tmp_path):
    settings = by_day(tmp_path, {DAY: [], days_before(1): [event(1, 2, "2026-04-04 12:00")]})
    assert stage.run(DAY, settings).rows == 0


def test_lake_with_other_buckets_is_refused(tmp_path):
    settings = make(tmp_path / "home", write_log(tmp_path / "log.parquet", [event()]), n_buckets=4)
    with pytest.raises(ConfigError, match=r"lake.n_buckets is 8.*made with 4"):
        stage.run(DAY, changed(settings, lake={"n_buckets": 8}))


def test_ids_of_another_type_than_the_lake_s_are_refused(tmp_path):
    log = write_log(tmp_path / "log.parquet", [event()])
    settings = make(tmp_path / "home", log)
    write_log(log, [event("a", "b")], ids=pa.string())
    with pytest.raises(DataError, match=r"ids of user and pin are \('string', 'string'\)"):
        stage.run(DAY, settings)


def test_column_that_went_missing_is_named(tmp_path):
    log = write_log(tmp_path / "log.parquet", [event()])
    settings = make(tmp_path / "home", log)
    write_log(log, table([event()]).drop_columns(["pin_id"]))
    with pytest.raises(DataError, match=r"no column pin_id; there are user_id, action, acted_at"):
        stage.run(DAY, settings)


def test_broken_parquet_is_a_data_error_and_stages_nothing(tmp_path):
    log = write_log(tmp_path / "log.parquet", [event(1, pin) for pin in range(1000)])
    settings = make(tmp_path / "home", log)
    whole = log.read_bytes()
    log.write_bytes(whole[:4] + bytes(200) + whole[204:])  # the footer is good, a page is not

    with pytest.raises(DataError, match=r"Mend or replace the file.*broken file"):
        stage.run(DAY, settings)

    assert lake_of(settings).current("actions", day=DAY) is None
    assert not list((settings.home / "lake" / ".scratch").iterdir())


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (pa.timestamp("us"), "2026-04-05 00:30:00"),
        (pa.timestamp("ms"), "2026-04-05 00:30:00"),
        (pa.timestamp("s"), "2026-04-05 00:30:00"),
        (pa.timestamp("ns"), "2026-04-05 00:30:00"),
        (pa.timestamp("ns", "UTC"), "2026-04-05 00:30:00"),
        (pa.timestamp("us", "America/New_York"), "2026-04-05 00:30:00"),
        (pa.date32(), "2026-04-05 00:00:00"),
    ],
    ids=str,
)
def test_times_of_every_kind_are_read_as_utc(time, expected, tmp_path):
    moment = pa.array([datetime(2026, 4, 5, 0, 30)])
    moment = moment.cast(pa.timestamp("us", "UTC")) if "tz=" in str(time) else moment
    log = table([event()]).set_column(3, "acted_at", pc.cast(moment, time, safe=False))
    settings = make(tmp_path / "home", write_log(tmp_path / "log.parquet", log))

    stage.run(DAY, settings)

    assert [row["acted_at"] for row in staged(settings)] == [at(expected)]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_the_machine_s_time_zone_changes_nothing(zone, tmp_path, monkeypatch):
    """The window crosses 8 March 2026, when New York's clocks go forward."""
    hours = [at("2026-04-05 23:00") - timedelta(hours=n) for n in range(24 * 40)]
    log = write_log(
        tmp_path / "log.parquet", [event(n % 5, n, when) for n, when in enumerate(hours)]
    )
    window = {"model": {"window_days": 40}}  # every day has 24 events, whatever the clocks do
    utc = make(tmp_path / "utc", log, sections=window)
    stage.run(DAY, utc)
    try:
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        elsewhere = make(tmp_path / "elsewhere", log, sections=window)
        stage.run(DAY, elsewhere)
    finally:
        monkeypatch.undo()
        time.tzset()

    assert bytes_of(utc) == bytes_of(elsewhere)
    assert all(len(staged(utc, days_before(n))) == 24 for n in range(40))


def test_groups_survive_any_batch_size(tmp_path, monkeypatch):
    rows = [event(user, pin) for user in range(30) for pin in range(5)]
    log = write_log(tmp_path / "log.parquet", rows)
    one = make(tmp_path / "one", log)
    stage.run(DAY, one)
    monkeypatch.setattr(stage, "BATCH", 7)
    other = make(tmp_path / "other", log)
    stage.run(DAY, other)
    assert bytes_of(one) == bytes_of(other)


def test_no_scratch_is_left(tmp_path):
    settings = make(tmp_path / "home", write_log(tmp_path / "log.parquet", [event()]))
    stage.run(DAY, settings)
    assert not list((settings.home / "lake" / ".scratch").iterdir())
