"""Markdown: the numbers of the report in tables that hold, whatever is in the text."""

import re

import made_up

from pinnersage.evaluate.markdown import markdown, plain

EVIL = "a | b <script>*x*</script>\n# head `code` [x](y) \\| z"


def tables(text):
    """Tables as lists of rows, each a list of cells."""
    found = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    return [
        [re.split(r"(?<!\\) \| ", line[2:-2]) for line in one.splitlines() if "| ---" not in line]
        for one in found
    ]


def test_every_row_has_the_cells_of_its_head():
    for report in (made_up.report(), made_up.report(title=EVIL, left_out={EVIL: 3}, notes=[EVIL])):
        found = tables(markdown(report).decode())
        assert len(found) > 8
        for head, *rows in found:
            assert rows
            assert {len(row) for row in rows} == {len(head)}


def test_the_verdict_comes_first():
    text = markdown(made_up.report()).decode()
    assert re.match(r"# PinnerSage on online\\_retail\n\n\*\*beats in part\*\*: PinnerSage", text)


def test_lifts_values_and_the_papers_stand_in_one_cell():
    text = markdown(made_up.report()).decode()
    assert "+20 % [11 %, 29 %]; 0.240 [0.230, 0.250]; paper +25 %" in text
    assert "base; 0.200 [0.190, 0.210]" in text
    assert ", undecided; " in text
    assert text.count("(chosen)") == 4


def test_parts_that_are_not_there_have_no_heading():
    whole = markdown(made_up.report()).decode()
    none = {"choice": None, "sweep": [], "curve": None, "groups": [], "training": [], "notes": []}
    bare = markdown(
        made_up.report(**none, comparisons=[], contrasts=[], tables=[], tuning_days=None)
    ).decode()
    assert len(re.findall("^## ", whole, re.MULTILINE)) == 11
    assert re.findall("^## .*", bare, re.MULTILINE) == ["## Made from"]


def test_whatever_text_is_it_stays_text_on_its_line():
    assert "\n" not in plain(EVIL)
    assert not re.search(r"(?<!\\)[|<`*\[]", plain(EVIL))
    text = markdown(made_up.report(notes=[EVIL], title=EVIL)).decode()
    assert not re.search(r"(?<!\\)<", text)


def test_twice_the_same():
    assert markdown(made_up.report()) == markdown(made_up.report())
