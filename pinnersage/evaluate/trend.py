"""Trend: every evaluated day on one page, from the table ``metrics``.

A line a model, with the intervals of what readers were given; below it all numbers with theirs. As
``index.html`` beside the days' reports it is read offline; in Airflow's UI the plugin serves it.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from markupsafe import Markup

from pinnersage import pages
from pinnersage.config import Settings
from pinnersage.evaluate import drawings, recorded, report, words
from pinnersage.evaluate.drawings import Axis, Line
from pinnersage.evaluate.recorded import AGE, COVERAGE, Day, Metric
from pinnersage.evaluate.results import Estimate
from pinnersage.evaluate.svg import Words
from pinnersage.stores import open_storage

LONGEST = 400
"""Days on the page: a year, and room to compare with the year before."""
SHOWN = 30
"""Days of the table that are not folded away."""
LIFTS = ("lift of relevance, new", "lift of recall, new")
"""What the table of days says of the policy in force."""
DRAWN = {
    "relevance, new": "Relevance on new pins",
    "recall, new": "Recall on new pins",
    "relevance, all": "Relevance on all pins",
    "recall, all": "Recall on all pins",
    "diversity": "Diversity",
    COVERAGE: "Coverage: share of all pins that came to anyone",
    "interest entropy": "Interest entropy",
    AGE: "Age of medoids, in days",
}
"""Measures, each day at the budget of what readers were given."""


class Trend(NamedTuple):
    """One measure over the days."""

    title: str
    figure: Markup
    models: list[str]
    rows: list[tuple[date, list[str]]]
    """Of each day, newest first, each model's value with its interval."""


def write(settings: Settings) -> str:
    """Write the page of all days beside their reports; return where it is, for people."""
    storage = open_storage(settings)
    key = f"{report.DAILY}/index.html"
    days = recorded.read(settings, longest=LONGEST)
    storage.write(key, render(days, day_url="day={day}/index.html"))
    return f"{storage.where}/{key}"


def render(days: Sequence[Day], *, day_url: str) -> bytes:
    """Return the page of days, newest first; ``day_url`` holds ``{day}``, relative to the page."""
    values: dict[str, Any] = {
        "days": days,
        "shown": SHOWN,
        "url": {one.day: day_url.format(day=one.day) for one in days},
        "lifts": {one.day: [in_force(one, measure) for measure in LIFTS] for one in days},
        "trends": [made for measure in DRAWN if (made := trend(measure, days))],
    }
    return pages.render("evaluation_days.html.j2", values)


def in_force(day: Day, measure: str) -> str:
    """Return a lift of what readers were given, with its interval."""
    return words.lift(day.found.get(Metric(day.in_force, recorded.at_budget(measure, day.budget))))


def trend(measure: str, days: Sequence[Day]) -> Trend | None:
    """Return one measure over the days; None where no day has it."""
    metric = {day.day: recorded.at_budget(measure, day.budget) for day in days}
    models = sorted(
        {key.model for day in days for key in day.found if key.metric == metric[day.day]}
    )
    if not models:
        return None
    newest, title = days[0].day, DRAWN[measure]

    def at(day: Day, model: str) -> Estimate | None:
        return day.found.get(Metric(model, metric[day.day]))

    drawn = [line(model, [(one, at(one, model)) for one in days[::-1]], newest) for model in models]
    figure = drawings.lines(
        drawn,
        Axis(f"days, 0 is {newest}"),
        Axis(title),
        Words(title, f"{title}, {days[-1].day} to {newest}, a line a model."),
    )
    rows = [
        (one.day, [words.value(at(one, model)) for model in models])
        for one in days
        if not one.nothing
    ]
    return Trend(title, figure, models, rows)


def line(model: str, found: Sequence[tuple[Day, Estimate | None]], newest: date) -> Line:
    """Return a model's values over the days; with intervals where readers were given it."""
    there = [((day.day - newest).days, day, value) for day, value in found if value]
    return Line(
        model,
        [(x, value.value) for x, _, value in there],
        [
            (x, value.low, value.high)
            for x, day, value in there
            if f"{day.in_force}, ".startswith(f"{model}, ")
            and value.low is not None
            and value.high is not None
        ],
    )
