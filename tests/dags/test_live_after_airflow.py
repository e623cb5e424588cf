"""What is live after, by Airflow's scheduler: missed, late, repeated, corrected and old days.

The rows of the table in tests/test_live_after.py that a schedule makes; there the library does
them all.
"""

import json
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_daily_run import MAKE_HOME, RUN_DAYS, live_release, python

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(1800)]

DAG = "pinnersage_daily"
MON, TUE, WED, THU, FRI = (date(2020, 3, 30) + timedelta(days=n) for n in range(5))
SUN = MON - timedelta(days=1)


def test_what_is_live_after_each_step(world):
    python(MAKE_HOME, world.home.parent)  # the raw events, and world.home over them
    raw = world.home.parent / "raw" / "actions"
    python(RUN_DAYS, world.home, MON)
    late = raw / f"{THU}.parquet"
    late.rename(late.with_suffix(".late"))

    def live():
        medoids = live_release(world.home)["medoids"]
        return medoids["day"], medoids["manifest"]

    def days_released():
        return [one["medoids"]["day"] for one in releases(world.home)]

    assert live()[0] == str(MON), "Monday ran; then Airflow was down for two days"
    world.schedule_between(TUE, FRI)
    with world.servers() as servers:

        def run(day):
            """Run a day by hand; return what was live before and what is after."""
            before = live()
            assert servers.wait_for_run(DAG, servers.trigger(DAG, day)) == "success"
            return before, live()

        servers.unpause(DAG)
        servers.wait_for_days(DAG, [TUE, WED, FRI])
        assert servers.days(DAG)[str(THU)] == "failed", "its file is late; Friday did not wait"
        assert live()[0] == str(FRI)
        steps = list(dict.fromkeys(days_released()))
        assert steps == [str(day) for day in (MON, TUE, WED, FRI)], "each in its turn"

        late.with_suffix(".late").rename(late)
        before, after = run(THU)
        assert after == before, "the late day is kept, and replaces nothing newer"

        before, after = run(FRI)
        assert after[0] == str(FRI)
        assert after[1] != before[1], "Friday, now with Thursday in its window"

        before, after = run(FRI)
        assert after == before, "the same input: nothing moves"

        friday = raw / f"{FRI}.parquet"
        events = pq.read_table(friday)
        column = events.column_names.index("event_id")
        more = events.slice(0, 5).set_column(column, "event_id", pa.array(range(-5, 0), pa.int64()))
        pq.write_table(pa.concat_tables([events, more]), friday)
        before, after = run(FRI)
        assert after[0] == str(FRI)
        assert after[1] != before[1], "corrected input: the same day, anew"

        before = live()
        servers.backfill(DAG, SUN, SUN)
        servers.wait_for_days(DAG, [SUN])
        assert live() == before, "out of order, and older"


def releases(home):
    """Every release, oldest first."""
    return [json.loads(path.read_text()) for path in sorted((home / "releases").glob("0*.json"))]
