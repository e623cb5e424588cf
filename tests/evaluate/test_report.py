"""Report: one file that needs no network, says first what came out, and claims no more."""

import json
import re
from datetime import date
from pathlib import Path

import made_up
import pytest
from drawn import parsed
from markupsafe import escape

from pinnersage.errors import DataError
from pinnersage.evaluate import report, words
from pinnersage.evaluate.results import Estimate, EvaluationReport
from pinnersage.stores.folder import Folder

EVIL = "<script>alert('x')</script>"
LAST = date(2010, 11, 30)


def page_of(**other):
    return report.render(made_up.report(**other)).decode()


@pytest.fixture(scope="module")
def page():
    return page_of()


def bare():
    """Only what a report must have."""
    whole = made_up.report().model_dump()
    must = {n for n, field in EvaluationReport.model_fields.items() if field.is_required()}
    return EvaluationReport(
        **{name: whole[name] for name in must} | {"tuning_days": None, "tables": []}
    )


def test_page_loads_nothing_runs_nothing_and_has_no_style_but_its_own(page):
    assert not re.search(r"https?:|//cdn|src\s*=|@import|url\(|<script|<link|\son\w+=", page)
    assert not re.search(r"<[^>]*\sstyle\s*=", page)
    assert page.count("<style>") == 1
    links = re.findall(r'href="([^"]*)"', page)
    assert links
    for link in links:
        assert page.count(f'id="{link.removeprefix("#")}"') == 1, link


def test_what_came_out_is_said_first_then_all_in_order(page):
    order = [
        *("beats in part", "What was evaluated", "Left out", "Against the best single embedding"),
        *(
            "Measures",
            "Table 1: ",
            "Table 4: ",
            "Ward's",
            "What was chosen",
            "Merge thresholds",
            "Figure 7",
        ),
        *("Figure 3", "By activity", "How sequence models learned", "Made from"),
    ]
    body = page[page.index("</nav>") :]
    found = [page.index(order[0]), *(page.index("</nav>") + body.index(f">{o}") for o in order[1:])]
    assert found == sorted(found)


def test_what_a_reader_must_know_stands_under_the_verdict(page):
    notes = made_up.report().notes
    assert notes
    for note in notes:
        place = page.index(str(escape(note)))
        assert page.index('class="verdict') < place < page.index("<nav")


def test_every_drawing_is_sound(page):
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 3 + 2 + 1 + 3 + 2 + 2
    for drawing in drawings:
        root = parsed(drawing)
        assert root.find("title").text
        assert root.find("desc").text


def test_denominators_and_what_was_left_out_are_printed(page):
    for number in ("1,804", "407,332", "2,954", "3,701", "61,212", "38,020", "5,210", "641"):
        assert number in page
    assert "1.23 % of random pairs" in page
    assert "0.8," in page


def test_rows_show_value_lift_and_the_papers_lift(page):
    table = made_up.accuracy()
    for row in table.rows[1:]:
        lift, value = row.lifts["accuracy, all"], row.values["accuracy, all"]
        head, interval = words.lift(lift).split(" [")
        cell = "".join(
            rf"{part}\s*"
            for part in (
                rf"<b>{re.escape(head)}</b>",
                rf"\[{re.escape(interval)}",
                rf"<small>{re.escape(words.value(value))}</small>",
            )
        )
        paper = re.escape(words.percent(row.paper["accuracy, all"], sign=True))
        assert re.search(cell + rf"\s*<small>paper {paper}</small>", page), row.model


def test_a_lift_whose_interval_holds_0_is_shown_as_undecided():
    table = made_up.accuracy()
    rows = [
        row.model_copy(update={"lifts": {"accuracy, all": made_up.about(0.01)}})
        for row in table.rows
    ]
    page = page_of(tables=[table.model_copy(update={"rows": rows})])
    assert page.count(">undecided</small>") == 3
    assert not re.search(r"<b>\+1\.0 %</b>", page)
    assert ">undecided</small>" not in page_of(tables=[table])


def test_the_chosen_row_is_marked_and_no_other(page):
    rows = re.findall(r'<tr class="chosen"><th scope="row">(.*?)</th>', page, re.DOTALL)
    assert len(rows) == 4
    assert all(made_up.CHOSEN in row and ">chosen</span>" in row for row in rows)
    assert page.count('class="chosen"') == 4 + 1


def test_the_papers_order_is_shown_contradicted_or_left_open():
    up, down, either = (made_up.about(lift) for lift in (0.2, -0.2, 0.01))
    for lifts, said in (
        ((up, down), ["shown", "contradicted"]),
        ((either, up), ["undecided", "shown"]),
    ):
        page = page_of(contrasts=made_up.contrasts(*lifts))
        section = page[page.index('id="order"') : page.index('id="choice"')]
        assert re.findall(r'<span class="tag \w+">(\w+)<', section) == said
        assert section.count("+10 %") == section.count("+12 %") == 1
        text = report.markdown(made_up.report(contrasts=made_up.contrasts(*lifts))).decode()
        assert [
            word for word in re.findall(r"\| (\w+) \|$", text, re.MULTILINE) if word in said
        ] == said


def test_two_tables_of_one_name_keep_their_own_measures():
    one, other = made_up.accuracy(), made_up.retrieval().model_copy(update={"name": "Table 1"})
    page = page_of(tables=[one, other])
    assert "New pins</h3>" in page
    assert page.index('id="table-1"') < page.index('id="table-2"')


def test_the_best_candidates_stand_in_front(page):
    choice = made_up.choice()
    values = sorted((c.values["recall, new"] for c in choice.tried), reverse=True)
    section = page[page.index('id="choice"') : page.index('id="alpha"')]
    first, rest = section.split("<details>")
    assert first.count("<tr") - first.count("<thead") == 10
    assert '<tr class="chosen">' in first
    assert rest.count("<tr><td") == len(choice.tried) - 10
    shown = re.findall(r'<td class="n">([\d.]+)</td></tr>', first)
    assert shown == [words.number(value) for value in values[:10]]


def test_a_report_without_its_optional_parts_has_a_page():
    page = report.render(bare()).decode()
    assert "not compared" in page
    assert re.findall(r'<h2 id="([^"]*)"', page) == ["what", "made-from"]
    assert "<svg" not in page
    assert report.markdown(bare())


def test_text_from_outside_cannot_become_markup():
    evil_row = made_up.accuracy().rows[1].model_copy(update={"model": EVIL, "policy": EVIL})
    table = made_up.accuracy().model_copy(
        update={"name": EVIL, "title": EVIL, "about": EVIL, "base": EVIL, "rows": [evil_row]}
    )
    group = made_up.groups()[0].model_copy(update={"label": EVIL})
    training = made_up.training()[0].model_copy(update={"model": EVIL, "about": EVIL})
    compared = [
        c.model_copy(update={"chosen": EVIL, "best_single": EVIL})
        for c in made_up.report().comparisons
    ]
    page = page_of(
        title=EVIL,
        code_version=EVIL,
        libraries={EVIL: EVIL},
        inputs=EVIL,
        embeddings=EVIL,
        settings={EVIL: EVIL},
        left_out={EVIL: 1},
        notes=[EVIL],
        tables=[table],
        groups=[group],
        training=[training],
        comparisons=compared,
    )
    assert EVIL not in page
    assert page.count("&lt;script&gt;") > 20


def test_page_markdown_and_facts_are_kept_under_the_version_and_as_the_last(tmp_path):
    storage, made = Folder(tmp_path), made_up.report()
    where = Path(report.write(made, storage))
    version = report.stamped(made).version
    assert where == tmp_path / "reports" / "evaluation" / "day=2010-11-30" / "index.html"
    assert {path.name for path in where.parent.iterdir()} == {
        *("index.html", "report.json", "report.md"),
        *(f"{version}.html", f"{version}.json", f"{version}.md"),
    }
    assert where.read_bytes() == report.render(made)
    assert where.with_name(f"{version}.html").read_bytes() == where.read_bytes()
    assert where.with_name("report.md").read_bytes() == report.markdown(report.stamped(made))
    facts = json.loads(where.with_name("report.json").read_text())
    assert EvaluationReport.model_validate(facts) == report.stamped(made)
    assert version in where.read_text()


def test_a_later_evaluation_leaves_the_earlier_one_readable(tmp_path):
    storage = Folder(tmp_path)
    first, second = made_up.report(seed=1), made_up.report(seed=2)
    for one in (first, second):
        report.write(one, storage)
    for one in (first, second):
        stamped = report.stamped(one)
        assert report.read(storage, LAST, stamped.version) == stamped
    assert report.read(storage, LAST) == report.stamped(second)
    assert report.read(storage, date(2010, 11, 29)) is None


def test_the_version_is_of_the_content_alone():
    made = made_up.report()
    version = report.stamped(made).version
    assert re.fullmatch("[0-9a-f]{16}", version)
    assert report.stamped(report.stamped(made)).version == version
    assert report.stamped(made_up.report(seed=3)).version != version


def test_written_again_is_the_same(tmp_path):
    pages = []
    for name in ("a", "b"):
        report.write(made_up.report(), Folder(tmp_path / name))
        pages.append({p.name: p.read_bytes() for p in (tmp_path / name).rglob("*.*")})
    assert pages[0] == pages[1]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(number, tmp_path):
    broken = made_up.report(comparisons=made_up.compared(Estimate(value=number)))
    with pytest.raises(DataError, match="up to 2010-11-30 holds a number that is not finite"):
        report.write(broken, Folder(tmp_path))
    assert not any(tmp_path.rglob("*.*"))
