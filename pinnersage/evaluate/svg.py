"""SVG: the elements of a drawing that stands inside a page and needs no script.

A drawing is 380 units wide, so that its words can be read on a phone. Colours come from the page
(templates/drawings.css) by class: pages are served without styles on elements. To those who listen
to a page a drawing says its title and what it shows.
"""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

WIDTH = 380
"""Of a drawing."""
LETTER = 6.6
"""Width of a letter, about."""

Place = tuple[float, float]


class Words(NamedTuple):
    """What a drawing is called, and what it shows."""

    title: str
    about: str


def nothing(words: Words) -> Markup:
    """Return a drawing that says that there is nothing to draw."""
    return drawing(words, 60, text(WIDTH / 2, 34, "nothing to show", "soft", "middle"))


def drawing(words: Words, height: float, *inside: str) -> Markup:
    """Return a drawing, named and described."""
    parts = (element("title", words.title), element("desc", words.about), *inside)
    box = f"0 0 {WIDTH} {height:g}"
    return element("svg", *parts, class_="drawing", viewBox=box, role="img")


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> Markup:
    """Return words at a place."""
    return element(
        "text", words, x=round(x, 1), y=round(y, 1), class_=kind or "label", text_anchor=anchor
    )


def rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def path(places: Sequence[Place]) -> str:
    """Return places as the points of a line."""
    return " ".join(f"{x:g},{y:g}" for x, y in places)


def short(words: str, letters: int) -> str:
    """Return words in at most so many letters."""
    return words if len(words) <= letters else words[: letters - 1].rstrip() + "…"


def element(name: str, *inside: str, **attributes: object) -> Markup:
    """Return an element; text and attributes are escaped, elements inside it are not again.

    ``class_`` is the attribute class, and ``text_anchor`` is text-anchor.
    """
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, Markup("").join(inside))
