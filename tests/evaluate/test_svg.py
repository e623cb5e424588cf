"""SVG: whatever is in the text, it stays text."""

import string

from drawn import parsed
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.evaluate import svg

texts = st.text(string.printable.strip() + " äλ'\"<>&")


@given(texts, texts)
def test_text_and_attributes_come_back_as_they_were(inside, attribute):
    found = parsed(svg.element("text", inside, class_=attribute, text_anchor="end"))
    assert (found.text or "") == inside
    assert found.attrib == {"class": attribute, "text-anchor": "end"}


def test_elements_inside_are_elements():
    found = parsed(svg.element("g", svg.element("title", "a < b"), svg.rule(1, 2, 3, 4, "x")))
    assert [child.tag for child in found] == ["title", "line"]
    assert found[1].attrib == {"x1": "1", "y1": "2", "x2": "3", "y2": "4", "class": "x"}


def test_a_drawing_says_its_name_first_and_then_what_it_shows():
    words = svg.Words("A & B", "falls < 3")
    for drawn in (svg.drawing(words, 100, svg.text(1, 2, "x")), svg.nothing(words)):
        found = parsed(drawn)
        assert (found.tag, found.get("role")) == ("svg", "img")
        assert [(child.tag, child.text) for child in found][:2] == [
            ("title", "A & B"),
            ("desc", "falls < 3"),
        ]
        assert found.get("viewBox", "").startswith("0 0 380 ")


def test_long_words_are_cut_to_the_room_there_is():
    assert svg.short("abcdef", 6) == "abcdef"
    assert svg.short("abcde fgh", 7) == "abcde…"
    assert len(svg.short("x" * 50, 20)) == 20


def test_places_are_written_as_points():
    assert svg.path([(1, 2.5), (3, 4)]) == "1,2.5 3,4"
