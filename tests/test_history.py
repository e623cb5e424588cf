"""History: every day with what became of it, every measure with its trend, on one page."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pinnersage import config, history, pages, runbook
from pinnersage.cli import app
from pinnersage.config import Settings
from pinnersage.quality import Outcome, QualityReport, Waiver
from pinnersage.stores import open_lake, open_storage
from pinnersage.stores.lake import Manifest

DAY = date(2026, 4, 5)
EVIL = "<script>alert('x')</script>"
CARDS = {"median_clusters": 9, "p90_clusters": 20, "n_clusters": 190, "unknown_pin_share": 0.0}


@pytest.fixture
def empty(tmp_path) -> Settings:
    """A home that has computed nothing."""
    (tmp_path / "pinnersage.toml").write_text('[source]\nactions = "none"\n')
    return config.load(tmp_path)


def outcome(rule, status, **more):
    values = {"table": "day", "severity": "fail", "expected": ">= 1", "observed": "0"}
    return Outcome(rule=rule, status=status, n_checked=1, n_wrong=1, **values | more)


def report(back=0, *, outcomes=(), **measures):
    measured = {"n_users": 20, "n_actions": 100, "mean_clusters": 9.5, **measures}
    return QualityReport(day=DAY - timedelta(days=back), outcomes=list(outcomes), measures=measured)


def write(settings, *reports):
    for one in reports:
        folder = f"reports/quality/day={one.day}"
        open_storage(settings).write(f"{folder}/report.json", one.model_dump_json().encode())


def waived(one):
    waiver = Waiver(rules=["drift"], by="Ada", reason="new", at=datetime(2026, 4, 6, tzinfo=UTC))
    return one.model_copy(update={"waived": waiver})


def page_of(settings):
    return history.render(history.read(settings), day_url="days/{day}").decode()


def test_days_come_newest_first_with_what_became_of_them(empty):
    failed = outcome("drift", "failed")
    write(
        empty,
        report(0),
        report(3, outcomes=[failed, outcome("coverage", "warned")]),
        report(1, outcomes=[outcome("coverage", "not_judged")]),
        waived(report(2, outcomes=[failed])),
    )
    days = history.read(empty).days
    assert [day.day for day in days] == [DAY - timedelta(days=n) for n in range(4)]
    assert [day.status for day in days] == ["passed", "warned", "waived", "failed"]
    assert days[1].warned == ("coverage",)
    assert days[2].waived_by == "Ada"
    assert (days[3].failed, days[3].warned) == (("drift",), ("coverage",))


def test_the_page_names_what_failed_and_links_each_day(empty):
    write(empty, report(0), report(1, outcomes=[outcome("a rule", "failed")]))
    page = page_of(empty)
    assert re.search(r'<span class="failed">a rule</span>', page)
    assert re.findall(r'href="([^"]+)"', page) == ["days/2026-04-05", "days/2026-04-04"]
    assert "Nothing is live yet" in page


def test_a_home_without_reports_has_a_page_that_says_how_to_make_one(empty):
    assert "pinnersage validate --day DAY" in page_of(empty)


def test_a_damaged_report_is_seen_and_hides_no_other_day(empty):
    write(empty, report(0))
    storage = open_storage(empty)
    storage.write("reports/quality/day=2026-04-04/report.json", b"{}")
    storage.write("reports/quality/day=2026-04-03/index.html", b"")
    days = history.read(empty).days
    assert [day.status for day in days] == ["passed", "unreadable", "unreadable"]
    assert "report.json is not there" in page_of(empty)


def test_only_folders_of_days_are_days(empty):
    write(empty, report(0))
    for name in ("day=20260401", "day=2026-W14-1", "day=..", "index.html"):
        open_storage(empty).write(f"reports/quality/{name}/report.json", b"{}")
    assert [day.day for day in history.read(empty).days] == [DAY]


def test_older_days_are_counted_not_shown(empty):
    write(empty, *(report(n) for n in range(5)))
    found = history.read(empty, longest=3)
    assert [day.day for day in found.days] == [DAY - timedelta(days=n) for n in range(3)]
    assert found.n_older == 2
    assert "2 days before these" in history.render(found, day_url="{day}").decode()


def test_the_index_and_the_live_release_are_told(finished):
    found = history.read(finished)
    assert found.live == found.days[0].day
    assert found.release is not None
    assert 0.9 < found.days[0].measures["recall of the index"] <= 1
    page = page_of(finished)
    assert f"Live: the medoids of {found.live}" in page
    assert "recall of the index" in page


def test_recall_is_of_the_day_it_was_measured_for(empty):
    write(empty, report(0), report(1))
    day = (DAY - timedelta(days=1)).isoformat()
    manifest = Manifest(table="index", partition={"day": day}, report={"recall": 0.97})
    open_lake(empty).commit(manifest)
    newest, older = history.read(empty).days
    assert "recall of the index" not in newest.measures
    assert older.measures["recall of the index"] == 0.97


# Trends


def days(*values, name="n_users"):
    """Days with a value each, oldest first as given; newest first as ``history`` has them."""
    made = [
        history.Day(
            day=DAY - timedelta(days=back),
            status="passed",
            measures={} if value is None else {name: value},
        )
        for back, value in enumerate(reversed(values))
    ]
    return tuple(made)


def points(trend):
    return [[tuple(map(float, p.split(","))) for p in line.split()] for line in trend.lines]


def test_a_trend_runs_left_to_right_and_up():
    trend = history.trend("n_users", days(1, 3, 2))
    ((one, three, two),) = points(trend)
    assert one[0] < three[0] < two[0]
    assert one[1] > two[1] > three[1], "higher values are higher up"
    assert (trend.last, trend.least, trend.most) == ("2", "1", "3")


def test_a_day_without_the_measure_is_a_gap():
    first, second = points(history.trend("n_users", days(1, 2, None, 4, 5)))
    assert len(first) == len(second) == 2
    lone, _ = points(history.trend("n_users", days(1, None, 4, 5)))
    assert lone[0] == lone[1], "a lone day is a dot"


def test_a_drawing_stays_within_its_frame():
    for trend in (history.trend("n_users", days(*values)) for values in [(7,), (5, 5), (-1, 1e12)]):
        for x, y in (point for line in points(trend) for point in line):
            assert 0 <= x <= history.WIDTH
            assert 0 <= y <= history.HEIGHT


def test_days_that_failed_are_marked_on_every_trend():
    bad = [day.model_copy(update={"status": "failed"}) for day in days(1, 2, 3)[1:2]]
    trend = history.trend("n_users", (days(1, 2, 3)[0], *bad, days(1, 2, 3)[2]))
    assert list(trend.failed) == [points(trend)[0][1]]


def test_nothing_dropped_for_a_reason_is_zero_not_unknown(empty):
    write(empty, report(0), report(1, **{"dropped: repeat": 4}))
    open_storage(empty).write("reports/quality/day=2026-04-03/report.json", b"{}")
    (trend,) = [t for t in history.trends(history.read(empty).days) if t.name == "dropped: repeat"]
    assert (trend.last, trend.most) == ("0", "4")
    assert len(points(trend)[0]) == 2, "a day that was never judged is no zero"


def test_what_cannot_be_drawn_is_left_out_and_the_unheard_of_comes_last():
    measures = {"n_users": 3, "drift of x": None, "note": "text", "huge": float("inf"), "ndcg": 0.5}
    assert history.numbers(measures) == {"n_users": 3.0, "ndcg": 0.5}
    both = [
        history.Day(day=DAY, status="passed", measures={"a_new_one": 1, "n_users": 2, "ndcg": 0.5})
    ]
    assert [t.name for t in history.trends(both)] == ["users with clusters", "a new one", "ndcg"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234567, "1,234,567"), (0.98765, "0.9877"), (12345.6, "12,346"), (1e-7, "1e-07")],
)
def test_numbers_are_short(value, text):
    assert history.number(value) == text


# Offline


def test_the_command_writes_a_page_for_reading_without_a_network(empty):
    pages.write_quality(report(0, **CARDS), open_storage(empty))
    done = CliRunner().invoke(app, ["reports", "--home", str(empty.home)])
    assert done.exit_code == 0, done.output
    page = empty.home / "reports" / "quality" / "index.html"
    assert str(page) in done.output
    text = page.read_text()
    links = re.findall(r'href="([^"]+)"', text)
    assert links == ["runbook.html", f"day={DAY}/index.html"]
    assert all((page.parent / link).is_file() for link in links)
    assert not re.search(r"https?://|<script|@import|url\(|\bstyle=", text)


def test_a_report_links_the_runbook_where_that_is_written(empty):
    storage, failed = open_storage(empty), outcome("drift", "failed", runbook="failed check")
    folder = empty.home / "reports" / "quality"
    before = Path(pages.write_quality(report(1, outcomes=[failed], **CARDS), storage))
    assert "href" not in before.read_text()

    history.run(empty, runbook=runbook.page())

    after = Path(pages.write_quality(report(0, outcomes=[failed], **CARDS), storage))
    links = re.findall(r'href="([^"]+)"', after.read_text())
    assert links == ["../index.html", "../runbook.html", "../runbook.html#failed-check"]
    assert '<h3 id="failed-check">' in (folder / "runbook.html").read_text()
    assert 'href="index.html"' in (folder / "runbook.html").read_text()


def test_without_a_checkout_there_is_no_runbook_to_link(empty, tmp_path, monkeypatch):
    write(empty, report(0))
    monkeypatch.setattr(runbook, "SOURCE", tmp_path / "nowhere.md")
    page = Path(history.run(empty, runbook=runbook.page()).page)
    assert "runbook" not in page.read_text()
    assert not (page.parent / "runbook.html").exists()


def test_names_from_the_data_cannot_become_markup(empty):
    write(empty, report(0, outcomes=[outcome(EVIL, "failed")], **{EVIL: 1.0}))
    page = page_of(empty)
    assert EVIL not in page
    assert page.count("&lt;script&gt;") >= 3
