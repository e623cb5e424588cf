"""Diff: how the medoids of two days differ, on hand-made days."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from pinnersage import diff
from pinnersage.config import Settings
from pinnersage.errors import DataError
from pinnersage.schema import MEDOIDS
from pinnersage.stores.lake import Lake, Layout, Manifest

ONE, TWO, NONE = date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)
DAYS = {
    ONE: {1: [10, 11], 2: [20], 3: [30], 4: [40, 41]},
    TWO: {1: [11, 10], 2: [21], 4: [41, 42, 43], 5: [50]},
    NONE: {},
}


@pytest.fixture(params=["int64", "string"])
def settings(request, tmp_path):
    """A home with three days of medoids; ids as numbers, then as text."""
    kind = request.param
    lake = Lake(tmp_path / "lake")
    lake.create(Layout(n_buckets=1, user_id=kind, pin_id=kind))
    schema = MEDOIDS.arrow(kind, kind)
    as_id = str if kind == "string" else int
    for day, users in DAYS.items():
        pairs = [(u, r, p) for u, pins in users.items() for r, p in enumerate(pins)]
        at = datetime(2026, 1, 1, tzinfo=UTC)
        rows = [
            {
                "user_id": as_id(user), "rank": rank, "pin_id": as_id(pin), "importance": 1.0,
                "n_actions": 1, "offset": 0.0, "first_acted_at": at, "last_acted_at": at,
                "cohesion": 1.0,
            }
            for user, rank, pin in pairs
        ]  # fmt: skip
        with lake.workspace() as work:
            files = ()
            if rows:
                table = pa.Table.from_pylist(rows, schema=schema)
                files = (lake.add_table(table, "medoids", work, day=day),)
        lake.commit(Manifest(table="medoids", partition={"day": str(day)}, files=files))
    return Settings(home=tmp_path)


def test_users_are_counted_by_what_became_of_them(settings):
    report = diff.run(ONE, TWO, settings)

    assert (report.users_in_one, report.users_in_other) == (4, 4)
    assert (report.users_lost, report.users_new, report.users_unchanged) == (1, 1, 1)
    assert report.mean_jaccard == pytest.approx((1 + 0 + 1 / 4) / 3)


def test_a_day_and_itself_do_not_differ(settings):
    report = diff.run(ONE, ONE, settings)

    assert report.users_unchanged == report.users_in_one == 4
    assert report.mean_jaccard == 1
    assert (report.users_lost, report.users_new) == (0, 0)


@pytest.mark.parametrize(("one", "other", "lost", "new"), [(ONE, NONE, 4, 0), (NONE, ONE, 0, 4)])
def test_a_day_without_users_can_be_compared(settings, one, other, lost, new):
    report = diff.run(one, other, settings)

    assert (report.users_lost, report.users_new, report.mean_jaccard) == (lost, new, 0)


def test_a_day_that_is_not_there_says_what_to_run(settings):
    with pytest.raises(DataError, match="pinnersage run --day 2026-02-01"):
        diff.run(ONE, date(2026, 2, 1), settings)
