"""Pages in a real browser: readable offline, on a phone's width, and with what they promise."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from browser import open_browser, requested

from pinnersage import pages, tables
from pinnersage.quality import Outcome, QualityReport, Waiver
from pinnersage.stores.folder import Folder

pytestmark = pytest.mark.service

PHONE = (390, 844)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = open_browser(tmp_path_factory.mktemp("profile"), PHONE)
    yield driver
    driver.quit()


def visit(browser, page):
    """Open a page; return its text and every address that it asked for."""
    browser.get_log("performance")  # what earlier pages asked for
    browser.get(page.as_uri())
    text = browser.find_element("tag name", "body").text
    return text, requested(browser)


@pytest.fixture
def failed_report(tmp_path):
    bad = Outcome(
        rule="medoid is one of the user's own actions of the window",
        table="medoids", severity="fail", status="failed", expected="true for every row",
        observed="1 of 40 rows breaks it", n_checked=40, n_wrong=1,
        examples=[{"user_id": "u<script>7", "rank": "0", "pin_id": "p9"}], runbook="failed check",
    )  # fmt: skip
    measures = {
        "n_users": 20, "n_actions": 400, "n_clusters": 40, "median_clusters": 2,
        "p90_clusters": 4, "unknown_pin_share": 0.0,
    }  # fmt: skip
    report = QualityReport(
        day=date(2026, 4, 5),
        outcomes=[bad],
        measures=measures,
        histograms={"clusters per user": {"0": 3, "1": 12, "2": 5}},
    )
    return Path(pages.write_quality(report, Folder(tmp_path)))


def test_a_failed_day_shows_its_rows_offline(browser, failed_report):
    text, asked = visit(browser, failed_report)

    assert "1 failed, not published" in text
    assert "u<script>7" in text
    assert asked == [failed_report.as_uri()]


def test_a_report_fits_a_phone(browser, failed_report):
    browser.get(failed_report.as_uri())

    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= browser.execute_script("return window.innerWidth")


def test_a_long_name_and_reason_of_a_waiver_fit_a_phone(browser, failed_report):
    report = pages.read_quality(Folder(failed_report.parents[3]), date(2026, 4, 5))
    waiver = Waiver(
        rules=["a rule"], by="Ada" * 80, reason="x" * 400, at=datetime(2026, 4, 6, tzinfo=UTC)
    )
    waived = report.model_copy(update={"waived": waiver})
    test_a_report_fits_a_phone(
        browser, Path(pages.write_quality(waived, Folder(failed_report.parents[3])))
    )


def test_a_users_page_shows_interests_and_why(browser, tmp_path):
    cluster = {
        "rank": 0, "pin_id": 7, "title": "Red boots", "importance": 2.5, "share": 1.0,
        "n_actions": 3, "last_acted_at": "2026-04-05 10:00+00:00",
    }  # fmt: skip
    candidate = {"pin_id": 9, "title": "Brown boots", "cosine": 0.91, "medoid": 7}
    user = {"user_id": "u1", "day": "2026-04-05", "release": 3, "clusters": [cluster]}
    rows = [{"pin_id": 7, "title": "Red boots", "candidates": [candidate]}]
    made = {"allocation": "equal", "draw": 4}
    page = pages.write_user({"user": user, "made": made, "rows": rows}, tmp_path / "u1.html")

    text, asked = visit(browser, page)

    assert "Because of “Red boots”" in text
    assert "cosine 0.910" in text
    assert "1 medoid sampled in proportion to importance (draw 4), as many pins near each." in text
    assert asked == [page.as_uri()]


@pytest.mark.parametrize(
    ("allocation", "words"),
    [
        ("proportional", "asked, each for a share of the pins in proportion to its importance."),
        ("round_robin", "asked in turns, the most important first."),
    ],
)
@pytest.mark.parametrize("n", [12, 77])
def test_a_users_page_shows_the_first_medoids_and_says_how_many_more(
    tmp_path, allocation, words, n
):
    user = {"user_id": "u1", "day": "2026-04-05", "release": 3, "clusters": []}
    rows = [{"pin_id": pin, "title": "", "candidates": []} for pin in range(n)]
    made = {"allocation": allocation, "draw": 4}
    page = pages.write_user({"user": user, "made": made, "rows": rows}, tmp_path / "u1.html")

    text = " ".join(page.read_text().split())

    more = " Shown are the first 12; 65 more were asked.</p>" if n > 12 else "</p>"
    assert f"{n} medoids {words}{more}" in text.replace(" </p>", "</p>")
    assert text.count("Because of") == 12
    assert "draw" not in text.partition("<body")[2]


def test_the_page_of_tables_fits_a_phone_and_loads_nothing(browser, finished, tmp_path):
    now = datetime(2026, 4, 7, 6, tzinfo=UTC)
    values = {"report": tables.run(now, finished), "now": now}
    page = pages.write_page("tables.html.j2", values, tmp_path / "tables.html")

    text, asked = visit(browser, page)

    assert "Release 2 is live." in text
    assert "Written by cluster" in text
    assert asked == [page.as_uri()]
    test_a_report_fits_a_phone(browser, page)
