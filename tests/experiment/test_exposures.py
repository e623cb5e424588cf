"""Exposures: what was shown is in the lake as it was; whoever is erased is not."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from events import DAY, write_log, write_pins
from shows import event_of, exposure

from pinnersage import config, erase, erased, init, maintain
from pinnersage.config import SourceConfig
from pinnersage.errors import TransientError
from pinnersage.experiment import exposures
from pinnersage.schema import EXPOSURES
from pinnersage.stores import open_lake

AT = datetime(2026, 4, 8, tzinfo=UTC)
NEXT = DAY + timedelta(days=1)


def rows(settings, day=DAY):
    """Every row of a day."""
    tables = [
        pq.ParquetFile(path).read() for path in open_lake(settings).log_paths("exposures", day)
    ]
    return [row for table in tables for row in table.to_pylist()]


def users(settings, day=DAY):
    return sorted(row["user_id"] for row in rows(settings, day))


def order(settings, user):
    return erase.run(user, "ann", "asked by letter", AT, "5a17", settings)


@pytest.mark.parametrize("user", [str, int])
def test_what_was_shown_comes_back(home, user):
    settings = home(user=user)
    shown = [exposure(user("2"), hours=2), exposure(user("1"), "all", pins=[])]

    assert exposures.append(shown, settings) == 2

    first, second = rows(settings)
    assert first == {
        "shown_at": shown[1].shown_at, "experiment": "one", "user_id": user("1"), "arm": "all",
        "share": 0.5, "release": 3, "draw": 0, "medoids": [20, 21], "candidates": [],
        "brought_by": [],
    }  # fmt: skip
    assert second["candidates"] == [10, 11, 12]
    assert second["brought_by"] == [0, 1, 0]


def test_a_file_has_the_schema_of_the_table(home):
    settings = home(user=int)
    exposures.append([exposure(1)], settings)
    (path,) = open_lake(settings).log_paths("exposures", DAY)
    assert pq.read_schema(path).equals(EXPOSURES.arrow("int64", "int64"))


def test_a_day_is_that_of_utc(home):
    settings = home()
    exposures.append([exposure("a", hours=23.99), exposure("b", hours=24)], settings)
    assert (users(settings, DAY), users(settings, NEXT)) == (["a"], ["b"])
    assert open_lake(settings).log_days("exposures") == [DAY, NEXT]


def test_the_same_batch_again_adds_no_file(home):
    settings, shown = home(), [exposure("a"), exposure("b", hours=30)]
    for batch in (shown, shown[::-1]):
        exposures.append(batch, settings)
    assert [len(open_lake(settings).log_paths("exposures", day)) for day in (DAY, NEXT)] == [1, 1]


@pytest.mark.parametrize("user", [str, int])
def test_an_erased_user_leaves_and_the_others_rows_stay(home, user):
    settings = home(user=user)
    exposures.append([exposure(user("7")), exposure(user("8"))], settings)
    exposures.append([exposure(user("7"), hours=3)], settings)
    exposures.append([exposure(user("9"), hours=30)], settings)
    kept = [
        row for day in (DAY, NEXT) for row in rows(settings, day) if row["user_id"] != user("7")
    ]

    report = order(settings, "7")

    assert (report.found, report.files) == (True, 2)
    assert [row for day in (DAY, NEXT) for row in rows(settings, day)] == kept
    assert order(settings, "7").files == 0


def test_a_file_without_the_erased_user_is_what_would_have_been_written(home):
    settings = home()
    exposures.append([exposure("a"), exposure("b"), exposure("c")], settings)
    order(settings, "b")
    without = open_lake(settings).log_paths("exposures", DAY)
    exposures.append([exposure("a"), exposure("c")], settings)
    assert open_lake(settings).log_paths("exposures", DAY) == without


def test_an_erased_user_is_not_taken_in(home):
    settings = home()
    order(settings, "a")
    assert exposures.append([exposure("a"), exposure("b")], settings) == 1
    assert exposures.append([exposure("a")], settings) == 0
    assert users(settings) == ["b"]


def test_a_user_who_is_erased_meanwhile_is_not_left_behind(home, monkeypatch):
    settings = home()
    table_of, orders = exposures.table_of, []

    def ordered_while_written(shown, lake):
        if not orders:
            orders.append(order(settings, "a"))
        return table_of(shown, lake)

    monkeypatch.setattr(exposures, "table_of", ordered_while_written)

    assert exposures.append([exposure("a"), exposure("b")], settings) == 1

    assert users(settings) == ["b"]
    assert erased.read(settings).among(["a"]) == {"a"}


def test_a_damaged_record_of_erased_users_keeps_all_out(home):
    settings = home()
    erased.record_of(settings).write(erased.RECORD, b"{")
    with pytest.raises(Exception, match="damaged"):
        exposures.append([exposure("a")], settings)
    assert users(settings) == []


def test_old_days_go_by_age_alone(home):
    settings = home()
    settings = config.build(
        settings.home,
        settings.model_dump(exclude={"home"}) | {"retention": {"exposures_days": 2}},
    )
    for hours in (1, 25, 49):
        exposures.append([exposure("a", hours=hours)], settings)
    now = AT - timedelta(hours=1)

    said = maintain.run(now, settings, dry_run=True)
    assert open_lake(settings).log_days("exposures")[0] == DAY
    done = maintain.run(now, settings, dry_run=False)

    for report in (said, done):
        (kind,) = [one for one in report.kinds if one.kind == "exposures"]
        assert (kind.kept, [one.name for one in kind.gone]) == (2, [f"exposures/day={DAY}"])
    assert open_lake(settings).log_days("exposures") == [NEXT, NEXT + timedelta(days=1)]


def test_what_an_ended_experiment_showed_goes_although_nothing_newer_comes(home):
    settings = home()
    exposures.append([exposure("a"), exposure("a", hours=49)], settings)
    last, kept = DAY + timedelta(days=2), settings.retention.exposures_days

    def left(days):
        now = AT.replace(hour=5) + timedelta(days=days - (AT.date() - last).days)
        maintain.run(now, settings, dry_run=False)
        return open_lake(settings).log_days("exposures")

    assert left(kept - 1) == [last]
    assert left(kept) == []


def test_a_day_that_is_not_yet_ages_nothing(home):
    settings = home()
    exposures.append([exposure("a"), exposure("a", hours=24 * 400)], settings)
    report = maintain.run(AT, settings, dry_run=True)
    assert [one.n_gone for one in report.kinds if one.kind == "exposures"] == [0]


def test_what_is_away_is_said(home, monkeypatch):
    settings = home()

    def away(*_):
        raise TransientError("away")

    monkeypatch.setattr(exposures, "table_of", away)
    with pytest.raises(TransientError):
        exposures.append([exposure("a")], settings)


def test_pins_wait_in_arrows_form():
    one = exposure("a", pins=list(range(400)))
    assert isinstance(one.candidates, pa.Array)
    assert one.candidates.nbytes + one.brought_by.nbytes < 5_000


def test_an_object_store_does_the_same(bucket, tmp_path):
    log = write_log(tmp_path / "log.parquet", [event_of(1)])
    items = write_pins(tmp_path / "items", list(range(10, 30)))
    home, source = tmp_path / "home", SourceConfig(actions=str(log))
    init.run(home, source, items, n_buckets=2, lake_root=bucket.where, valid_from=DAY)
    settings = config.load(home)
    exposures.append([exposure(7), exposure(8)], settings)
    assert users(settings) == [7, 8]

    assert order(settings, "7").files == 1

    assert users(settings) == [8]
    assert open_lake(settings).log_days("exposures") == [DAY]
