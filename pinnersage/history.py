"""History: what became of every day, and the trend of everything that was measured.

Reads the last quality report of each day, what later steps measured for it (recall of the index),
and which day is live. One page holds it all: as ``reports/quality/index.html`` it is read offline,
in Airflow's UI the plugin serves it. Any measure that a report has is shown; one that nobody has
heard of yet comes last.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from pinnersage import pages
from pinnersage.config import Settings
from pinnersage.quality import QualityReport
from pinnersage.release import Releases
from pinnersage.stores import open_storage
from pinnersage.stores.lake import Lake

LONGEST = 400
"""Days on the page: a year, and room to compare with the year before."""
SHOWN = 30
"""Days of the table that are not folded away."""
PARALLEL = 8
"""Files read at a time: from an object store one takes milliseconds, nearly all waiting."""
WIDTH, HEIGHT, EDGE = 220.0, 44.0, 3.0
"""Of a trend's drawing."""

ABOUT = {
    "n_users": "users with clusters",
    "user_coverage": "users against the last passed day",
    "acting_share": "users who acted, against the weekday before",
    "n_actions": "actions clustered",
    "n_clusters": "clusters",
    "mean_clusters": "clusters per user, mean",
    "median_clusters": "clusters per user, median",
    "p90_clusters": "clusters per user, 90 %",
    "most_clusters": "clusters per user, most",
    "unknown_pin_share": "share of interests without embedding",
    "embeddings_age_days": "age of the embeddings, days",
    "online_identical_of_kept": "online against batch, the same where batch keeps what is stored",
    "online_stored_kept": "users whose stored clusters a batch keeps",
    "online_cosine": "online against batch, cosine",
    "online_jaccard": "online against batch, medoids in common",
    "online_identical": "online against batch, users the same",
    "sliding_cosine": "window slid by a day, cosine",
    "sliding_jaccard": "window slid by a day, medoids in common",
    "sliding_identical": "window slid by a day, users the same",
    "online_users": "users compared online against batch",
}
"""Names in words, in the order in which they are shown; others follow, by name."""
DROPPED = "dropped: "
"""Such measures are left out of a report where they are 0."""
LATER = (("index", "recall", "recall of the index"),)
"""Table, figure in its manifest's report, name: measured for a day after it passed."""

Status = Literal["passed", "warned", "failed", "waived", "unreadable"]


class Day(BaseModel):
    """What became of one day, by its last report."""

    model_config = ConfigDict(frozen=True)

    day: date
    status: Status
    failed: tuple[str, ...] = ()
    """Rules that did not hold."""
    warned: tuple[str, ...] = ()
    waived_by: str = ""
    error: str = ""
    """Why the report cannot be read."""
    measures: dict[str, float] = {}


class History(BaseModel):
    """The days that have a report, newest first."""

    model_config = ConfigDict(frozen=True)

    days: tuple[Day, ...]
    n_older: int = 0
    """Older days that have a report and are not among them."""
    live: date | None = None
    """Day of the live medoids."""
    release: int | None = None


class Written(BaseModel):
    """Where the page of all days was written."""

    model_config = ConfigDict(frozen=True)

    days: int
    page: str


class Trend(NamedTuple):
    """One measure over the days, drawn."""

    name: str
    last: str
    least: str
    most: str
    lines: tuple[str, ...]
    """Points of lines, left to right; a day without the measure ends one and begins another."""
    failed: tuple[tuple[float, float], ...]
    """Where the days lie that failed."""


def run(settings: Settings, *, runbook: bytes | None = None) -> Written:
    """Write the page of all days beside their reports, for reading without Airflow.

    Beside it goes the page of the runbook, if it is given; reports that are written from then on
    link it.
    """
    history, storage, folder = read(settings), open_storage(settings), "reports/quality"
    if runbook is not None:
        storage.write(f"{folder}/{pages.RUNBOOK}", runbook)
    url = pages.RUNBOOK if storage.exists(f"{folder}/{pages.RUNBOOK}") else ""
    key = f"{folder}/{pages.DAYS}"
    storage.write(key, render(history, day_url="day={day}/index.html", runbook_url=url))
    return Written(days=len(history.days), page=f"{storage.where}/{key}")


def read(settings: Settings, *, longest: int = LONGEST) -> History:
    """Return the newest ``longest`` days that have a report, and what is live."""
    storage, releases = open_storage(settings), Releases(settings)
    names = storage.names("reports/quality")
    found = sorted(
        (day for name in names if (day := day_named(name.removeprefix("day=")))), reverse=True
    )

    def read_one(day: date) -> Day:
        data = storage.read(f"reports/quality/day={day}/report.json")
        return day_of(day, data, later(releases.lake, day))

    with ThreadPoolExecutor(PARALLEL) as pool:
        days = tuple(pool.map(read_one, found[:longest]))
    live = releases.live()
    return History(
        days=days,
        n_older=max(0, len(found) - longest),
        live=live.medoids.day if live else None,
        release=live.number if live else None,
    )


def day_named(text: str) -> date | None:
    """Return the day that a text is the name of: ``2026-04-05``, and no other way to write it."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None


def later(lake: Lake, day: date) -> dict[str, float]:
    """Return what was measured for a day after it passed."""
    found = {}
    for table, figure, name in LATER:
        manifest = lake.current(table, day=day)
        if manifest and figure in manifest.report:
            found[name] = manifest.report[figure]
    return found


def day_of(day: date, data: bytes | None, measured: Mapping[str, Any]) -> Day:
    """Return what a report says of its day; a damaged one hides no other day."""
    if data is None:
        return Day(day=day, status="unreadable", error="report.json is not there")
    try:
        report = QualityReport.model_validate_json(data)
    except ValueError as error:
        return Day(day=day, status="unreadable", error=str(error).splitlines()[0])
    return Day(
        day=day,
        status=report.status,
        failed=tuple(outcome.rule for outcome in report.failed),
        warned=tuple(outcome.rule for outcome in report.warned),
        waived_by=report.waived.by if report.waived else "",
        measures=numbers({**report.measures, **measured}),
    )


def numbers(measures: Mapping[str, Any]) -> dict[str, float]:
    """Return the measures that can be drawn."""
    return {
        name: float(value)
        for name, value in measures.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def render(
    history: History, *, day_url: str, runbook_url: str = "", releases_url: str = ""
) -> bytes:
    """Return the page of all days; ``day_url`` holds ``{day}``, and is relative to the page."""
    newest = history.days[0].day if history.days else None
    recent = [d for d in history.days if newest and d.day > newest - timedelta(days=SHOWN)]
    counts = {status: sum(d.status == status for d in recent) for status in STATUSES}
    return pages.render(
        "history.html.j2",
        {
            "history": history,
            "shown": SHOWN,
            "counts": {status: n for status, n in counts.items() if n},
            "trends": trends(history.days),
            "url": {d.day: day_url.format(day=d.day) for d in history.days},
            "runbook_url": runbook_url,
            "releases_url": releases_url,
            "width": WIDTH,
            "height": HEIGHT,
        },
    )


STATUSES: tuple[Status, ...] = ("passed", "warned", "waived", "failed", "unreadable")


def trends(days: Sequence[Day]) -> list[Trend]:
    """Return every measure over the days, those that people look at first in front."""
    known = {name: number for number, name in enumerate(ABOUT)}
    names = sorted(
        {name for day in days for name in day.measures},
        key=lambda name: (known.get(name, len(known)), name),
    )
    return [trend(name, days) for name in names]


def trend(name: str, days: Sequence[Day]) -> Trend:
    """Return one measure over days that are given newest first."""
    oldest_first = days[::-1]
    values = {day.day: value_of(name, day) for day in oldest_first}
    there = {day: value for day, value in values.items() if value is not None}
    first, last = oldest_first[0].day, oldest_first[-1].day
    least, most = min(there.values()), max(there.values())

    def place(day: date) -> tuple[float, float]:
        along = (day - first) / (last - first) if last > first else 0.5
        up = (there[day] - least) / (most - least) if most > least else 0.5
        x, y = EDGE + along * (WIDTH - 2 * EDGE), HEIGHT - EDGE - up * (HEIGHT - 2 * EDGE)
        return round(x, 1), round(y, 1)

    return Trend(
        name=ABOUT.get(name, name.replace("_", " ")),
        last=number(there[max(there)]),
        least=number(least),
        most=number(most),
        lines=tuple(lines((day, place(day)) for day in there)),
        failed=tuple(place(d.day) for d in days if d.status == "failed" and d.day in there),
    )


def value_of(name: str, day: Day) -> float | None:
    """Return a measure of a day; one that was judged and dropped nothing dropped 0."""
    zero = 0.0 if name.startswith(DROPPED) and "n_actions" in day.measures else None
    return day.measures.get(name, zero)


def lines(points: Iterable[tuple[date, tuple[float, float]]]) -> list[str]:
    """Return points as SVG wants them: a line for each stretch of days, a dot for a lone one."""
    found: list[list[str]] = []
    before = None
    for day, (x, y) in points:
        if before is None or day - before > timedelta(days=1):
            found.append([])
        found[-1].append(f"{x:g},{y:g}")
        before = day
    return [" ".join(stretch * 2 if len(stretch) == 1 else stretch) for stretch in found]


def number(value: float) -> str:
    """Return a measure as people read it."""
    if value == int(value) and abs(value) < 1e15:  # noqa: PLR2004 (whole numbers of a float)
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004
