"""Pages: one file each, readable without a network, and safe whatever is in the data."""

import json
import re
from datetime import date
from pathlib import Path

import jinja2
import pytest

from pinnersage import pages
from pinnersage.quality import Outcome, QualityReport
from pinnersage.stores.folder import Folder

MEASURES = {
    "n_users": 1234,
    "n_actions": 5,
    "n_clusters": 6,
    "median_clusters": 1,
    "p90_clusters": 2,
    "unknown_pin_share": 0.125,
    "drift of importance": None,
}
EVIL = "<script>alert('x')</script>"


def report(*outcomes):
    return QualityReport(
        day=date(2026, 4, 5),
        outcomes=list(outcomes),
        measures=MEASURES,
        histograms={"clusters per user": {"0": 3, "2": 1}, "importance": {"-1": 4}},
        made_from=["medoids/day=2026-04-05/bucket=0@0123"],
    )


def outcome(status="passed", rule="a rule", **more):
    observed = "1 of 2 rows breaks it"
    values = {"table": "t", "severity": "fail", "expected": "> 0", "observed": observed}
    return Outcome(rule=rule, status=status, n_checked=2, n_wrong=1, **values | more)


def written(tmp_path, *outcomes):
    page = pages.write_quality(report(*outcomes), Folder(tmp_path))
    return Path(page).read_text(encoding="utf-8")


def test_page_loads_nothing_from_elsewhere(tmp_path):
    page = written(tmp_path, outcome("failed", examples=[{"user_id": "7"}]), outcome("warned", "b"))
    assert not re.search(r"https?:|//cdn|(src|href)\s*=|@import|url\(|<script|<link", page)


def test_same_facts_lie_beside_it_for_machines(tmp_path):
    made = report(outcome("failed"))
    folder = Path(pages.write_quality(made, Folder(tmp_path))).parent
    for name in ("report", made.version):
        facts = json.loads((folder / f"{name}.json").read_text())
        assert QualityReport.model_validate(facts) == made
    assert (folder / f"{made.version}.html").read_bytes() == (folder / "index.html").read_bytes()


@pytest.mark.parametrize(
    ("statuses", "headline"),
    [
        (["passed"], "all passed"),
        (["passed", "not_judged", "warned"], "passed, 2 to look at"),
        (["passed", "failed", "warned"], "1 failed, not published"),
    ],
)
def test_headline_says_what_came_of_the_day(statuses, headline, tmp_path):
    outcomes = [outcome(status, f"rule {n}") for n, status in enumerate(statuses)]
    assert headline in written(tmp_path, *outcomes)


def test_failures_stand_first_and_open(tmp_path):
    page = written(
        tmp_path,
        outcome("passed", "first"),
        outcome("failed", "second", examples=[{"user_id": "42", "rank": "0"}], runbook="drift"),
    )
    assert page.index("second") < page.index("first")
    assert re.search(r"<details open>.*first 1 rows", page, re.DOTALL)
    assert "<td>42</td><td>0</td>" in page
    assert "<dd>drift</dd>" in page


def test_values_from_the_data_cannot_become_markup(tmp_path):
    page = written(tmp_path, outcome("failed", examples=[{EVIL: EVIL}], observed=EVIL))
    assert EVIL not in page
    assert page.count("&lt;script&gt;") == 4


def test_bars_are_in_order_and_to_scale():
    bars = pages.histogram_bars({"10": 1, "-1": 2, "2": 4})
    assert [(bar["label"], bar["n"], bar["percent"]) for bar in bars] == [
        ("0.5 to 1", 2, 50.0),
        ("4 to 7", 4, 100.0),
        ("1024 to 2047", 1, 25.0),
    ]
    assert pages.histogram_bars({}) == []
    assert pages.bin_label(0) == "1"


def test_a_day_without_users_has_a_page(tmp_path):
    empty = report(outcome("failed")).model_copy(update={"histograms": {"importance": {}}})
    assert Path(pages.write_quality(empty, Folder(tmp_path))).is_file()


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        pages.render("user.html.j2", {})


def test_written_again_is_the_same(tmp_path):
    assert written(tmp_path, outcome()) == written(tmp_path, outcome())
    version = report(outcome()).version
    written_files = (tmp_path / "reports" / "quality" / "day=2026-04-05").iterdir()
    assert {path.name for path in written_files} == {
        *("index.html", "report.json"),
        *(f"{version}.html", f"{version}.json"),
    }
