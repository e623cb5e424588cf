"""Drawings: points, lines, and dots with whiskers, from numbers to SVG.

What has no number (None) or no place (0 on a log axis) is left out. Places go by scales that begin
and end at round numbers.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from pinnersage.evaluate.scales import Scale
from pinnersage.evaluate.svg import (
    LETTER,
    WIDTH,
    Place,
    Words,
    drawing,
    element,
    nothing,
    path,
    rule,
    short,
    text,
)

HEIGHT = 210
"""Of the space between axes."""
LEFT, RIGHT = 46, 366
"""Between these lie the data."""
FIRST = 14
"""Where rows of dots and whiskers begin: they have no numbers at their left."""
HEAD, FOOT, LINE = 24, 38, 17
"""Heights of the name of y, of the numbers and name of x, of a row of words."""
ROW = 38
"""Height of a row of dots and whiskers."""
DASHES = ("none", "6 3", "2 3", "9 3 2 3", "12 4", "4 5")
"""Tell lines apart where colours can't."""


def plain(value: float) -> str:
    """Return a number as it is, with a minus sign for its hyphen."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


class Axis(NamedTuple):
    """An axis: its name, and how its numbers are written."""

    name: str
    text: Callable[[float], str] = plain
    log: bool = False
    holds: tuple[float, ...] = ()
    """Numbers that it must reach, such as 0."""


class Point(NamedTuple):
    """A point of a scatter."""

    x: float | None
    y: float | None
    label: str = ""


class Line(NamedTuple):
    """A named line of a chart."""

    name: str
    points: Sequence[tuple[float | None, float | None]]
    reach: Sequence[tuple[float, float, float]] = ()
    """Intervals of y: x, where it begins, where it ends."""


class Mark(NamedTuple):
    """A dashed line across at one number, with a label."""

    at: float | None
    label: str


class Band(NamedTuple):
    """A range of y that is shaded, with a label."""

    low: float
    high: float
    label: str


class Whisker(NamedTuple):
    """A row: a dot, its interval, and another number to compare it with."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    other: float | None = None
    text: str = ""
    """The numbers in words."""


class Plane(NamedTuple):
    """The space between two axes."""

    x: Axis
    y: Axis
    across: Scale
    up: Scale

    def at(self, x: float, y: float) -> Place:
        """Return the place of a point."""
        return self.across(x), self.up(y)


def scatter(
    points: Sequence[Point],
    x: Axis,
    y: Axis,
    words: Words,
    *,
    vertical: Sequence[Mark] = (),
    horizontal: Sequence[Mark] = (),
    joined: bool = False,
) -> Markup:
    """Return points with labels, joined in their order if wanted, and lines across."""
    there = known([(point.x, point.y) for point in points], x, y)
    if not there:
        return nothing(words)
    plane = plane_of(there, x, y, HEAD, vertical, horizontal)
    at = [plane.at(*point) for point in there]
    parts = [axes(plane)]
    if joined:
        parts.append(element("polyline", points=path(at), class_="path"))
    named = [p.label for p in points if known([(p.x, p.y)], x, y)]
    for (cx, cy), (px, py), label in zip(at, there, named, strict=True):
        told = f"{label}: " if label else ""
        title = element("title", f"{told}{x.text(px)}, {y.text(py)}")
        parts.append(element("circle", title, cx=cx, cy=cy, r=4 if label else 2.5, class_="point"))
    parts += [marks(plane, vertical, horizontal), *labels(at, named)]
    return drawing(words, plane.up.begin + FOOT, *parts)


def lines(
    drawn: Sequence[Line],
    x: Axis,
    y: Axis,
    words: Words,
    *,
    vertical: Sequence[Mark] = (),
    bands: Sequence[Band] = (),
) -> Markup:
    """Return lines with a legend; shaded bands lie behind them, dashed lines stand across."""
    found = [(one, known(one.points, x, y)) for one in drawn]
    found = [(one, points) for one, points in found if points]
    if not found:
        return nothing(words)
    rows = legend([one.name for one, _ in found])
    y = y._replace(holds=(*y.holds, *(edge for band in bands for edge in band[:2])))
    everything = [point for _, points in found for point in points]
    everything += [(at, end) for one, _ in found for at, *ends in one.reach for end in ends]
    plane = plane_of(everything, x, y, HEAD + LINE * len(rows), vertical)
    boxes, said = shade(plane, bands)
    parts = [*boxes, axes(plane)]
    for number, (one, points) in enumerate(found):
        hue = number % len(DASHES)
        for at, low, high in one.reach:
            parts.append(rule(*plane.at(at, low), *plane.at(at, high), f"span h{hue}"))
        parts.append(line(plane, one.name, points, hue))
    return drawing(words, plane.up.begin + FOOT, *parts, marks(plane, vertical, ()), *said, *rows)


def line(plane: Plane, name: str, points: Sequence[tuple[float, float]], hue: int) -> Markup:
    """Return one line with a dot at each of its points."""
    at = [plane.at(*point) for point in points]
    kinds, dash = (f"line h{hue}", f"dot h{hue}"), DASHES[hue]
    title = element("title", name)
    parts = [element("polyline", title, points=path(at), class_=kinds[0], stroke_dasharray=dash)]
    for (cx, cy), (px, py) in zip(at, points, strict=True):
        told = element("title", f"{name}: {plane.x.text(px)}, {plane.y.text(py)}")
        parts.append(element("circle", told, cx=cx, cy=cy, r=2.5, class_=kinds[1]))
    return Markup("").join(parts)


def whiskers(rows: Sequence[Whisker], x: Axis, words: Words) -> Markup:
    """Return a row for each value: label and numbers, below them dot, interval, and diamond."""
    there = [row for row in rows if row.value is not None or row.other is not None]
    if not there:
        return nothing(words)
    numbers = [
        n for row in there for n in (row.value, row.low, row.high, row.other) if n is not None
    ]
    across = Scale([*numbers, *x.holds], FIRST, RIGHT)
    bottom = ROW * len(there) + 6
    parts = [whisker(row, across, ROW * number) for number, row in enumerate(there)]
    parts += [
        text(across(tick), bottom + 13, x.text(tick), "soft", "middle") for tick in across.ticks.at
    ]
    parts.append(text(WIDTH / 2, bottom + 30, x.name, "name", "middle"))
    return drawing(words, bottom + FOOT, *parts)


def whisker(row: Whisker, across: Scale, top: float) -> Markup:
    """Return one row of dots and whiskers."""
    letters = int((RIGHT - FIRST) / LETTER - len(row.text) - 2)
    parts = [
        text(FIRST, top + 15, short(row.label, letters)),
        text(RIGHT, top + 15, row.text, "soft", "end"),
    ]
    at = top + 27
    for tick in across.ticks.at:
        kind = "grid" if tick else "axis"
        parts.append(rule(across(tick), at - 7, across(tick), at + 7, kind))
    if row.low is not None and row.high is not None:
        parts.append(rule(across(row.low), at, across(row.high), at, "reach"))
    if row.other is not None:
        cx = across(row.other)
        corners = [(cx - 5, at), (cx, at - 5), (cx + 5, at), (cx, at + 5)]
        parts.append(element("polygon", points=path(corners), class_="other"))
    if row.value is not None:
        title = element("title", f"{row.label}: {row.text}")
        parts.append(element("circle", title, cx=across(row.value), cy=at, r=4, class_="point"))
    return element("g", *parts)


def known(
    points: Sequence[tuple[float | None, float | None]], x: Axis, y: Axis
) -> list[tuple[float, float]]:
    """Return the points that have a place."""
    return [
        (px, py)
        for px, py in points
        if px is not None and py is not None and not (x.log and px <= 0) and not (y.log and py <= 0)
    ]


def plane_of(
    points: Sequence[tuple[float, float]],
    x: Axis,
    y: Axis,
    top: float,
    vertical: Sequence[Mark] = (),
    horizontal: Sequence[Mark] = (),
) -> Plane:
    """Return the space between two axes that hold points and lines across."""
    stand = [m.at for m in vertical if m.at is not None and not (x.log and m.at <= 0)]
    lie = [m.at for m in horizontal if m.at is not None and not (y.log and m.at <= 0)]
    across = Scale([px for px, _ in points] + stand + list(x.holds), LEFT, RIGHT, log=x.log)
    up = Scale([py for _, py in points] + lie + list(y.holds), top + HEIGHT, top, log=y.log)
    return Plane(x, y, across, up)


def axes(plane: Plane) -> Markup:
    """Return both axes: lines across at the ticks of y, numbers, and names."""
    bottom, parts = plane.up.begin, []
    for tick in plane.up.ticks.at:
        at = plane.up(tick)
        parts.append(rule(LEFT, at, RIGHT, at, "grid"))
        parts.append(text(LEFT - 5, at + 4, plane.y.text(tick), "soft", "end"))
    for tick in plane.across.ticks.at:
        at = plane.across(tick)
        parts.append(rule(at, bottom, at, bottom + 4, "axis"))
        parts.append(text(at, bottom + 16, plane.x.text(tick), "soft", "middle"))
    parts.append(rule(LEFT, bottom, RIGHT, bottom, "axis"))
    parts.append(text((LEFT + RIGHT) / 2, bottom + 33, plane.x.name, "name", "middle"))
    parts.append(text(4, 13, plane.y.name, "name"))
    return Markup("").join(parts)


def marks(plane: Plane, vertical: Sequence[Mark], horizontal: Sequence[Mark]) -> Markup:
    """Return dashed lines across; their labels lie over them."""
    rules, said = [], []
    for number, mark in enumerate(vertical):
        if mark.at is not None and not (plane.x.log and mark.at <= 0):
            at, height = plane.across(mark.at), plane.up.begin - 6 - LINE * number
            anchor, aside = ("start", 4) if at < (LEFT + RIGHT) / 2 else ("end", -4)
            rules.append(rule(at, plane.up.begin, at, plane.up.end, "mark"))
            said.append(text(at + aside, height, mark.label, "over soft", anchor))
    for mark in horizontal:
        if mark.at is not None and not (plane.y.log and mark.at <= 0):
            at = plane.up(mark.at)
            rules.append(rule(LEFT, at, RIGHT, at, "mark"))
            said.append(text(RIGHT - 3, at - 4, mark.label, "over soft", "end"))
    return Markup("").join([*rules, *said])


def shade(plane: Plane, bands: Sequence[Band]) -> tuple[list[Markup], list[Markup]]:
    """Return shaded ranges of y, and their labels."""
    boxes, said = [], []
    for band in bands:
        begin, end = plane.up(band.high), plane.up(band.low)
        size = {"width": RIGHT - LEFT, "height": round(end - begin, 1)}
        boxes.append(element("rect", x=LEFT, y=begin, class_="band", **size))
        said.append(text(RIGHT - 3, begin - 4, band.label, "over soft", "end"))
    return boxes, said


def legend(names: Sequence[str]) -> list[Markup]:
    """Return rows of samples of lines with their names, as many in a row as there is room for."""
    rows: list[list[Markup]] = []
    at = float(WIDTH)
    for number, name in enumerate(names):
        said = short(name, 52)
        width = 34 + LETTER * len(said)
        if at + width > WIDTH:
            rows.append([])
            at = 4.0
        y = HEAD + LINE * (len(rows) - 1)
        kind, dash = f"line h{number % len(DASHES)}", DASHES[number % len(DASHES)]
        sample = element(
            "line", x1=at, y1=y + 2, x2=at + 20, y2=y + 2, class_=kind, stroke_dasharray=dash
        )
        rows[-1] += [sample, text(at + 24, y + 6, said)]
        at += width
    return [element("g", *row) for row in rows]


def labels(at: Sequence[Place], names: Sequence[str]) -> list[Markup]:
    """Return labels beside points, where they hide neither each other nor a point if they can."""
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in at]
    parts = []
    for (x, y), name in zip(at, names, strict=True):
        width = LETTER * len(name)
        right, left, middle = x + 7, x - 7 - width, min(x - width / 2, WIDTH - width)
        corners = [(right, y + 4), (middle, y - 8), (left, y + 4), (middle, y + 17)]
        boxes = [(bx, by - 9, bx + width, by + 2) for bx, by in corners]
        inside = [box for box in boxes if box[0] >= LEFT and box[2] <= WIDTH]
        free = [box for box in inside if not any(overlap(box, other) for other in taken)]
        box = (free or inside or boxes)[0]
        taken.append(box)
        if name:
            parts.append(text(box[0], box[3] - 2, name, "over"))
    return parts


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Return whether two boxes (left, top, right, bottom) share any place."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
