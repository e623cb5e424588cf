"""Runbook: each section that a failing check names can be linked, and nothing else is let in."""

import re
from pathlib import Path

from pinnersage import runbook

ROOT = Path(__file__).resolve().parents[1]


def rendered(text):
    return runbook.render(text, days_url="days").decode()


def test_every_title_of_the_runbook_is_a_place_to_link():
    text = (ROOT / "docs" / "runbook.md").read_text()
    page = rendered(text)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert "failed check" in titles
    assert [runbook.anchor(title) for title in titles] == re.findall(r'<h\d id="([^"]+)"', page)


def test_links_within_the_page_stay_and_others_become_text():
    page = rendered(
        "See [b](#a-b), [how](how-to/x.md), [web](https://a.b/) and `code`.\n\n## A b\n"
    )
    assert '<a href="#a-b">b</a>, how, web and <code>code</code>.' in page
    assert '<h2 id="a-b">A b</h2>' in page


def test_markup_in_the_text_is_text():
    assert "<script" not in rendered("<script>alert(1)</script> [x](javascript:alert(1))")


def test_the_page_loads_nothing():
    page = rendered((ROOT / "docs" / "runbook.md").read_text())
    assert not re.search(r"https?://[^<\s]+[\"']|<script|\bsrc=|\bstyle=", page)
