"""What is live after: days missed, late, repeated, corrected, out of order; and by hand.

One home lives through the table below, in its order, by the library's own steps. The same table
stands in docs/architecture.md, and a part of it goes through Airflow's scheduler in
tests/dags/test_live_after_airflow.py.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from events import changed, event, make, write_log, write_pins
from worlds import clock

from pinnersage import day as whole
from pinnersage import index, publish, refine, release, waive
from pinnersage.errors import ChecksError, WaivableError
from pinnersage.release import Releases

MONDAY = date(2026, 3, 2)
DAYS = [MONDAY + timedelta(days=n) for n in range(10)]
SUN, MON, TUE, WED, THU, FRI, SAT, NEXT_SUN, NEXT_MON, NEXT_TUE = range(-1, 9)
NAMES = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun 8", "Mon 9", "Tue 10"]
STRICT = {"max_mean_clusters_per_user": 0.01}
DOCS = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"


def day_of(number: int) -> date:
    return MONDAY + timedelta(days=number)


class Home:
    """A home over files by day, which arrive when a step of the table says so."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log" / "{day}.parquet"
        self.arrive(SUN)
        items = write_pins(folder / "pins", list(range(40)))
        checks = {"checks": {"max_drift_psi": 1000.0}}  # windows fill up: not what this is about
        self.settings = make(folder / "home", self.log, items, n_buckets=1, sections=checks)
        self.releases = Releases(self.settings)

    def arrive(self, number: int, *, more: int = 0) -> None:
        """A day's file comes, or comes again with more events."""
        day = day_of(number)
        events = [
            event(user, (user * 7 + n * 3 + number) % 40, f"{day} {8 + n:02}:00")
            for user in range(12)
            for n in range(3 + more)
        ]
        write_log(Path(str(self.log).replace("{day}", day.isoformat())), events)

    def run(self, number: int, **checks: float) -> None:
        settings = changed(self.settings, checks=checks) if checks else self.settings
        whole.run(day_of(number), clock, settings, lambda _step, _report: None)

    def scheduled(self, number: int) -> None:
        self.arrive(number)
        self.run(number)

    def fails(self, number: int, error: type[Exception], **checks: float) -> None:
        with pytest.raises(error):
            self.run(number, **checks)

    def waived(self, number: int) -> None:
        day, strict = day_of(number), changed(self.settings, checks=STRICT)
        report = waive.last_report(day, strict)
        at = datetime(2026, 3, 9, 12, tzinfo=UTC)
        waive.run(day, report.version, "Ada", "fewer clusters are wanted", at, strict)
        publish.run(day, strict)
        release.release_medoids(day, clock, strict)
        for step in (refine.run, index.run):
            step(day, strict)
        release.release_index(day, clock, strict)

    @property
    def live(self) -> tuple[int, date, str] | None:
        """Number of the release, day of its medoids, and their version."""
        live = self.releases.live()
        return live and (live.number, live.medoids.day, live.medoids.manifest)


class Step(NamedTuple):
    """What happens, and what is live then."""

    happens: str
    does: Callable[[Home], object]
    live: int | None
    anew: bool
    """Whether readers read other medoids than before."""
    why: str


NOTHING = lambda _home: None  # noqa: E731 (a row of the table)

TABLE = (
    Step("Monday runs on schedule", lambda h: h.scheduled(MON), MON, True, ""),
    Step("Airflow is down on Tuesday and Wednesday", lambda h: (h.arrive(TUE), h.arrive(WED)),
         MON, False, "readers need no Airflow"),
    Step("it is back and catches up Tuesday", lambda h: h.run(TUE), TUE, True, ""),
    Step("and Wednesday", lambda h: h.run(WED), WED, True, ""),
    Step("Thursday's file is late: its run fails", lambda h: h.fails(THU, ChecksError),
         WED, False, "a day without data is no day"),
    Step("Friday runs on schedule, without Thursday", lambda h: h.scheduled(FRI), FRI, True,
         "later days do not wait; Friday's window lacks Thursday"),
    Step("Thursday's file arrives and Thursday is run", lambda h: h.scheduled(THU), FRI, False,
         "an older day is kept, and never replaces a newer one"),
    Step("Friday is run again, now with Thursday in its window", lambda h: h.run(FRI), FRI, True,
         "the live day, computed again from more, goes live anew"),
    Step("Friday is run again, from the same input", lambda h: h.run(FRI), FRI, False,
         "the same bytes: it is live already"),
    Step("Friday's file is corrected and Friday is run again",
         lambda h: (h.arrive(FRI, more=2), h.run(FRI)), FRI, True, "the correction goes live"),
    Step("Sunday before is backfilled", lambda h: h.run(SUN), FRI, False,
         "out of order, and older"),
    Step("somebody rolls back", lambda h: release.rollback(clock, h.settings), FRI, True,
         "Friday as it was before the correction; Friday is withdrawn"),
    Step("Friday is run again", lambda h: h.run(FRI), FRI, False,
         "withdrawn until promoted, whoever runs it"),
    Step("Saturday runs on schedule", lambda h: h.scheduled(SAT), SAT, True,
         "a withdrawn day keeps no newer one back"),
    Step("somebody promotes Wednesday",
         lambda h: release.promote(day_of(WED), clock, h.settings), WED,
         True, "by name, also an older day"),
    Step("Saturday is run again", lambda h: h.run(SAT), SAT, True,
         "newer than what is live, and not withdrawn"),
    Step("Sunday fails its checks", lambda h: (h.arrive(NEXT_SUN),
         h.fails(NEXT_SUN, WaivableError, **STRICT)), SAT, False, "nothing of it is published"),
    Step("somebody waives them, and Sunday goes on", lambda h: h.waived(NEXT_SUN), NEXT_SUN, True,
         "a waived day is like any other"),
    Step("Monday runs on schedule again", lambda h: h.scheduled(NEXT_MON), NEXT_MON, True, ""),
)  # fmt: skip


@pytest.mark.slow
def test_what_is_live_after_each_step(tmp_path):
    home = Home(tmp_path)
    before = home.live
    for step in TABLE:
        step.does(home)
        after = home.live
        assert after[1] == day_of(step.live), step.happens
        assert ((before and before[2]) != after[2]) == step.anew, step.happens
        before = after
    kept = home.releases.lake.days("medoids")
    assert kept == [day_of(n) for n in range(SUN, NEXT_MON + 1)], "every day is there in the end"


def rows():
    """The table as the documentation has it."""
    for step in TABLE:
        moved = "anew" if step.anew else "as before"
        live = f"{day_of(step.live):%A %-d}"
        yield f"| {step.happens} | {live}, {moved} | {step.why} |"


def test_the_table_in_the_docs_is_this_one():
    section = DOCS.read_text().split("### What is live after", 1)[1].split("\n## ")[0]
    found = re.findall(r"^\|.*\|$", section, re.MULTILINE)[2:]
    assert found == list(rows())
