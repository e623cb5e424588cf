"""Drawings as elements: what a test looks at."""

from xml.etree import ElementTree as ET


def parsed(drawing):
    """The root element of a drawing, which must be sound XML."""
    return ET.fromstring(str(drawing))  # noqa: S314 - our own


def of(root, tag, kind):
    """Elements of a class, in order."""
    return [one for one in root.iter(tag) if (one.get("class") or "").split()[:1] == [kind]]


def places(root, kind="point"):
    """Centres of dots, in order."""
    return [(float(dot.get("cx")), float(dot.get("cy"))) for dot in of(root, "circle", kind)]


def said(root):
    """All that is written, in order."""
    return [one.text for one in root.iter("text")]
