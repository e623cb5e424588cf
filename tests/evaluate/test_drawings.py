"""Drawings: every datum is drawn once, where it belongs, and nothing else is."""

import math
from itertools import pairwise

import pytest
from drawn import of, parsed, places, said
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.evaluate import drawings
from pinnersage.evaluate.drawings import Axis, Band, Line, Mark, Point, Whisker
from pinnersage.evaluate.svg import Words

EVIL = "</title><script>alert('x')</script>&\""
WORDS = Words("Name", "What it shows")
X, Y = Axis("x"), Axis("y")
numbers = st.integers(-(10**6), 10**6).map(lambda n: n / 100)
maybe = st.none() | numbers


def xs_of(found):
    return [x for x, _ in found]


def ys_of(found):
    return [y for _, y in found]


def in_proportion(values, found, *, rising):
    """Whether places are an affine image of values, to the tenth that they are rounded to."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        return max(found) - min(found) < 0.11
    begin, end = found[values.index(low)], found[values.index(high)]
    shares = [(value - low) / (high - low) for value in values]
    close = all(
        abs(begin + share * (end - begin) - at) < 0.16
        for share, at in zip(shares, found, strict=True)
    )
    return close and ((end > begin) == rising or abs(end - begin) < 0.11)


@given(st.lists(st.tuples(maybe, maybe)))
def test_points_lie_in_proportion_and_those_without_numbers_are_left_out(pairs):
    root = parsed(drawings.scatter([Point(*pair) for pair in pairs], X, Y, WORDS))
    there = [pair for pair in pairs if None not in pair]
    found = places(root)
    assert len(found) == len(there)
    if there:
        assert in_proportion([x for x, _ in there], xs_of(found), rising=True)
        assert in_proportion([y for _, y in there], ys_of(found), rising=False)


@given(st.lists(st.lists(st.tuples(maybe, maybe), max_size=8), max_size=4))
def test_lines_go_through_their_points(lines):
    drawn = [Line(f"line {i}", points) for i, points in enumerate(lines)]
    root = parsed(drawings.lines(drawn, X, Y, WORDS))
    there = [[p for p in points if None not in p] for points in lines]
    there = [points for points in there if points]
    polylines = of(root, "polyline", "line")
    paths = [
        [tuple(map(float, p.split(","))) for p in one.get("points").split()] for one in polylines
    ]
    assert [len(path) for path in paths] == [len(points) for points in there]
    everywhere = [place for path in paths for place in path]
    assert everywhere == places(root, "dot")
    if there:
        points = [point for some in there for point in some]
        assert in_proportion([x for x, _ in points], xs_of(everywhere), rising=True)
        assert in_proportion([y for _, y in points], ys_of(everywhere), rising=False)


def test_an_interval_of_a_line_reaches_round_its_dot():
    one = Line("a", [(0, 3), (1, 5), (2, 9)], [(0, 2, 4), (2, 8, 12)])
    root = parsed(drawings.lines([one], X, Y, WORDS))
    dots, spans = places(root, "dot"), of(root, "line", "span")
    ends = [tuple(float(span.get(name)) for name in ("x1", "y1", "x2", "y2")) for span in spans]
    assert [(x1, x2) for x1, _, x2, _ in ends] == [(dots[0][0],) * 2, (dots[2][0],) * 2]
    heights = [*ys_of(dots), *(y for _, low, _, high in ends for y in (low, high))]
    assert in_proportion([3, 5, 9, 2, 4, 8, 12], heights, rising=False)


def test_each_line_is_named_in_the_legend_and_has_its_own_dashes():
    names = [f"model {i}" for i in range(6)]
    root = parsed(drawings.lines([Line(n, [(0, 1), (1, 2)]) for n in names], X, Y, WORDS))
    polylines, samples = of(root, "polyline", "line"), of(root, "line", "line")
    looks = [(one.get("class"), one.get("stroke-dasharray")) for one in polylines]
    assert looks == [(one.get("class"), one.get("stroke-dasharray")) for one in samples]
    assert len(set(looks)) == len({dash for _, dash in looks}) == 6
    assert [name for name in said(root) if name in names] == names


def test_a_log_axis_is_in_proportion_to_logarithms_and_leaves_out_what_has_none():
    alphas = [0.0, 0.25, 0.5, 1.0, 4.0]
    line = Line("clusters", [(alpha, 8 - alpha) for alpha in alphas])
    root = parsed(
        drawings.lines(
            [line],
            Axis("alpha", log=True),
            Y,
            WORDS,
            vertical=[Mark(0.5, "chosen"), Mark(0, "none")],
        )
    )
    found = xs_of(places(root, "dot"))
    assert in_proportion([math.log(alpha) for alpha in alphas[1:]], found, rising=True)
    assert [float(mark.get("x1")) for mark in of(root, "line", "mark")] == [found[1]]


def test_lines_across_stand_where_points_of_their_number_do():
    points = [Point(0.2, 0.1), Point(0.7, 0.8)]
    root = parsed(
        drawings.scatter(
            points,
            X,
            Y,
            WORDS,
            vertical=[Mark(0.7, "v"), Mark(None, "w")],
            horizontal=[Mark(0.8, "h")],
        )
    )
    vertical, horizontal = of(root, "line", "mark")
    (x, y) = places(root)[1]
    assert float(vertical.get("x1")) == float(vertical.get("x2")) == x
    assert float(horizontal.get("y1")) == float(horizontal.get("y2")) == y
    assert {"v", "h"} <= set(said(root))
    assert "w" not in said(root)


def test_a_band_covers_its_range():
    line = Line("a", [(0, 3), (1, 5), (2, 9)])
    root = parsed(drawings.lines([line], X, Y, WORDS, bands=[Band(3, 5, "range")]))
    (band,) = of(root, "rect", "band")
    top = float(band.get("y"))
    ys = ys_of(places(root, "dot"))
    assert top == ys[1]
    assert top + float(band.get("height")) == pytest.approx(ys[0])


@given(st.lists(st.tuples(maybe, maybe, maybe, maybe), max_size=6))
def test_whiskers_lie_on_one_scale(rows):
    given_rows = [Whisker("a", *row) for row in rows]
    root = parsed(drawings.whiskers(given_rows, X, WORDS))
    there = [row for row in given_rows if row.value is not None or row.other is not None]
    values, found = [], []

    def add(numbers, at):
        assert len(numbers) == len(at)
        values.extend(numbers)
        found.extend(at)

    reaches = [
        one for row in there if None not in (row.low, row.high) for one in (row.low, row.high)
    ]
    add([row.value for row in there if row.value is not None], xs_of(places(root)))
    add(reaches, [float(r.get(end)) for r in of(root, "line", "reach") for end in ("x1", "x2")])
    add(
        [row.other for row in there if row.other is not None],
        [float(d.get("points").split()[1].split(",")[0]) for d in of(root, "polygon", "other")],
    )
    if values:
        assert in_proportion(values, found, rising=True)
    heights = ys_of(places(root))
    assert all(b - a >= drawings.ROW - 0.1 for a, b in pairwise(heights))


def test_numbers_in_words_stand_beside_each_row_and_zero_is_in_sight():
    axis = Axis("lift", holds=(0.0,))
    root = parsed(drawings.whiskers([Whisker("a model", 0.4, 0.3, 0.5, text="+40 %")], axis, WORDS))
    assert said(root)[:2] == ["a model", "+40 %"]
    assert "0" in said(root)
    assert len(of(root, "line", "axis")) == 1


@pytest.mark.parametrize(
    "drawn",
    [
        drawings.scatter([], X, Y, WORDS),
        drawings.scatter([Point(None, 1), Point(1, None)], X, Y, WORDS, joined=True),
        drawings.lines([], X, Y, WORDS),
        drawings.lines([Line("a", [])], X, Y, WORDS, bands=[Band(1, 2, "b")]),
        drawings.whiskers([], X, WORDS),
        drawings.whiskers([Whisker("a", None, 1.0, 2.0)], X, WORDS),
    ],
)
def test_without_data_a_drawing_says_so(drawn):
    root = parsed(drawn)
    assert said(root) == ["nothing to show"]
    assert root.find("title").text == "Name"


@pytest.mark.parametrize(
    "drawn",
    [
        drawings.scatter([Point(3, 3, "one")], X, Y, WORDS, joined=True),
        drawings.lines([Line("a", [(3, 3)])], Axis("x", log=True), Axis("y", log=True), WORDS),
        drawings.whiskers([Whisker("a", 3)], X, WORDS),
    ],
)
def test_a_single_point_lies_within_its_axes(drawn):
    root = parsed(drawn)
    width, height = map(float, root.get("viewBox").split()[2:])
    ((x, y),) = places(root) or places(root, "dot")
    assert 0 < x < width
    assert 0 < y < height


def test_labels_hide_neither_points_nor_each_other_where_there_is_room():
    points = [Point(x, 1 - 0.6**x, f"e = {x}") for x in range(1, 11)]
    root = parsed(drawings.scatter(points, X, Y, WORDS, joined=True))
    labels = [one for one in root.iter("text") if (one.text or "").startswith("e = ")]
    assert [one.text for one in labels] == [point.label for point in points]
    boxes = []
    for one in labels:
        x, y = float(one.get("x")), float(one.get("y"))
        boxes.append((x, y - 9, x + 5 * len(one.text), y))
    boxes += [(x - 3, y - 3, x + 3, y + 3) for x, y in places(root)]
    assert not any(drawings.overlap(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    assert all(box[2] <= 380 for box in boxes)


def test_whatever_a_name_is_it_stays_text():
    words, axis = Words(EVIL, EVIL), Axis(EVIL)
    marks = {"vertical": [Mark(1, EVIL)], "horizontal": [Mark(1, EVIL)]}
    for drawn in (
        drawings.scatter([Point(1, 2, EVIL)], axis, axis, words, **marks),
        drawings.lines([Line(EVIL, [(1, 2)])], axis, axis, words, bands=[Band(1, 2, EVIL)]),
        drawings.whiskers([Whisker(EVIL, 1, text=EVIL)], axis, words),
    ):
        root = parsed(drawn)
        assert {one.tag for one in root.iter()} <= {
            *("svg", "title", "desc", "text", "line", "polyline", "circle", "rect", "g"),
        }
        assert root.find("title").text == EVIL
        assert "<script" not in str(drawn)


def test_a_drawing_carries_no_styles_of_its_own():
    drawn = drawings.lines([Line("a", [(1, 2)])], X, Y, WORDS, bands=[Band(1, 2, "b")])
    assert "style" not in str(drawn)


def test_twice_the_same_data_give_the_same_bytes():
    made = [drawings.scatter([Point(1, 2, "a")], X, Y, WORDS) for _ in range(2)]
    assert made[0] == made[1]
