"""Pages: one file each, readable without a network, and safe whatever is in the data."""

import hashlib
import json
import re
from datetime import date
from pathlib import Path

import jinja2
import pytest

from pinnersage import pages
from pinnersage.online_against_batch import Agreement, Medoid, Summary, User
from pinnersage.online_against_batch import Compared as Against
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


def compared(**summary):
    """What parity kept of a day on which one user agreed badly."""
    medoids = [
        Medoid(pin_id=EVIL, online=2.5, batch=None),
        Medoid(pin_id="p7", online=1.25, batch=1.5),
    ]
    user = User(
        user_id="4711", n_actions=12, n_new=3, identical=False, stored_kept=True, jaccard=0.5,
        cosine=0.9, medoids=medoids,
    )  # fmt: skip
    values = {
        "bucket": 1,
        "max_actions": 20,
        "all_users": Agreement(users=31, identical=0.75, jaccard=0.875, cosine=0.98765),
        "sliding": Agreement(users=31, identical=0.5, jaccard=0.625, cosine=0.5),
        "left_out": {"without stored clusters": 4},
    }
    return Against(summary=Summary(**values | summary), worst=[user])


def test_online_against_batch_is_shown_with_both_sides_of_who_agree_least(tmp_path):
    made = report(outcome()).model_copy(update={"parity": compared()})
    page = Path(pages.write_quality(made, Folder(tmp_path))).read_text()
    cells = re.sub(r"<[^>]+>", " ", page[page.index('id="online"') :])
    words = " ".join(cells.split())
    assert "online and batch, all users 31 75.0% 87.5% 0.9877" in words
    assert "what the sliding window changes 31 50.0% 62.5% 0.5000" in words
    assert "more than 20, so that online lacks some 0 \N{EN DASH} \N{EN DASH} \N{EN DASH}" in words
    assert "Not compared: 4 without stored clusters." in words
    assert "user 4711: other clusters; cosine 0.9000" in words
    assert "Medoid Online Batch &lt;script&gt;" in words
    assert "2.500 \N{EN DASH} p7 1.250 1.500" in words
    assert EVIL not in page


def test_a_day_without_a_comparison_says_why_and_an_old_report_nothing(tmp_path):
    made = report(outcome()).model_copy(update={"parity": compared(not_measured="nobody acted")})
    page = Path(pages.write_quality(made, Folder(tmp_path))).read_text()
    assert "Not measured: nobody acted." in page
    assert "4711" not in page
    assert "Online against batch" not in written(tmp_path, outcome())


def test_a_report_of_before_there_was_a_comparison_keeps_its_version():
    old = report(outcome())
    facts = old.model_dump(mode="json", exclude={"parity", "waived"})
    before = hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()[:16]
    assert QualityReport.model_validate(facts).version == old.version == before
    assert old.model_copy(update={"parity": compared()}).version != before


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
