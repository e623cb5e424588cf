"""Runbook: docs/runbook.md as a page, so that a failed check can link the section that it names.

A section's anchor is its title in lower case with hyphens, as Git hosts make it. Links to other
files of the repository lead nowhere from here and become plain text.
"""

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pinnersage import pages

if TYPE_CHECKING:
    from markdown_it.token import Token


SOURCE = Path(__file__).resolve().parents[1] / "docs" / "runbook.md"
"""Stands in a checkout; a wheel has none."""


def page() -> bytes | None:
    """Return a checkout's runbook as a page beside the reports; None where there is none."""
    if not SOURCE.is_file():
        return None
    return render(SOURCE.read_text(encoding="utf-8"), days_url=pages.DAYS)


def render(text: str, *, days_url: str) -> bytes:
    """Return the runbook as a page; ``text`` is Markdown."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 (only who shows the runbook needs it)

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(inline.content))
        if inline.children:
            inline.children = only_anchors(inline.children)
    body = markdown.renderer.render(tokens, markdown.options, {})
    return pages.render("runbook.html.j2", {"body": body, "days_url": days_url})


def anchor(title: str) -> str:
    """Return the name of a section in links."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def only_anchors(tokens: "list[Token]") -> "list[Token]":
    """Return inline tokens without links that leave the page."""
    kept, leaves = [], False
    for token in tokens:
        if token.type == "link_open":
            leaves = not str(token.attrGet("href")).startswith("#")
        if token.type not in {"link_open", "link_close"} or not leaves:
            kept.append(token)
    return kept
