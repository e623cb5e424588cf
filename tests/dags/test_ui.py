"""A person in Airflow's UI: a backfill from the form, its progress, and the reports of its runs.

Headless Chromium on a real Airflow. Every step leaves a picture, in the folder that
``PINNERSAGE_SHOTS`` names or in the test's own. The third of five days has a planted fault: the
vectors that became valid on it are another model's, so users fall apart into too many clusters.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
from browser import open_browser, requested

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.service,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]

ROOT = Path(__file__).resolve().parents[2]
DAYS = [date(2020, 4, 3) + timedelta(days=n) for n in range(5)]
BAD = DAYS[2]
BEFORE = [DAYS[0] - timedelta(days=n) for n in (4, 3, 2, 1)]
DAG = "pinnersage_daily"
MOST_CLUSTERS = 60
SIZE = (1280, 960)
OF_A_FORM = (1280, 1300)
SHOTS = os.environ.get("PINNERSAGE_SHOTS")  # read here: tests do not see such variables

MAKE_HOME = """
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from pinnersage import config, day, init, synthetic
from pinnersage.stores import embeddings, open_lake

folder, bad, before = Path(sys.argv[1]), date.fromisoformat(sys.argv[2]), sys.argv[3:]
home, first = folder / "home", date(2020, 1, 1)
synthetic.write(synthetic.World(
    n_users=20, n_pins=400, n_topics=8, dimensions=16, n_days=100,
    first_day=first, seed=1), folder / "raw")
init.run(
    home,
    config.SourceConfig(actions=str(folder / "raw/actions/{day}.parquet"), event="event_id"),
    init.Items(path=str(folder / "raw/pins.parquet"), quality="quality",
               embeddings=str(folder / "raw/embeddings.npy")),
    n_buckets=2)
settings = config.load(home)
clock = lambda: datetime(2026, 6, 1, tzinfo=UTC)
for text in before:
    day.run(date.fromisoformat(text), clock, settings, lambda step, report: None)
lake = open_lake(settings)
table = embeddings.open_version(lake, embeddings.valid_at(lake, "embeddings", bad))
good = np.array(table.matrix, dtype=np.float32)
other = np.random.default_rng(0).normal(size=good.shape).astype(np.float32)
good[[0, 1]] = good[[1, 0]]  # a version's content is its name: not quite the first one again
for matrix, since in ((other, bad), (good, bad + timedelta(days=1))):
    embeddings.write(
        lake, table.pin_ids, matrix, valid_from=since, first_day=first, max_bad_share=0)
"""


class Person:
    """Somebody at a browser: looks for words, clicks on them, and takes pictures."""

    def __init__(self, browser, url, shots):
        self.browser, self.url, self.shots = browser, url, shots
        shots.mkdir(parents=True, exist_ok=True)

    def find(self, xpath, patience=60):
        from selenium.webdriver.support.expected_conditions import visibility_of_element_located
        from selenium.webdriver.support.wait import WebDriverWait

        found = visibility_of_element_located(("xpath", xpath))
        return WebDriverWait(self.browser, patience).until(found, xpath)

    def click(self, xpath):
        from selenium.common.exceptions import (
            ElementClickInterceptedException,
            StaleElementReferenceException,
        )
        from selenium.webdriver.support.wait import WebDriverWait

        moving = (ElementClickInterceptedException, StaleElementReferenceException)

        def clicked(_browser):
            self.find(xpath).click()
            return True

        WebDriverWait(self.browser, 30, ignored_exceptions=moving).until(clicked, xpath)

    def text(self):
        return self.browser.find_element("tag name", "body").text

    def open(self, path):
        self.browser.switch_to.default_content()
        self.browser.get(self.url + path)

    def shot(self, name):
        self.browser.switch_to.default_content()
        assert self.browser.save_screenshot(str(self.shots / f"{name}.png"))

    def log_in(self, user, password, then):
        self.open(f"/auth/login?next={then}")
        self.find("//input[@name='username']").send_keys(user)
        self.shot("login")
        self.find("//input[@name='password']").send_keys(password)
        self.click("//button[@type='submit']")

    def enter_moment(self, number, day, time):
        """Fill in one of the form's two moments."""
        from selenium.webdriver.common.keys import Keys

        self.click(f"(//*[@data-testid='datetime-input'])[{number}]")
        for placeholder, value in (("YYYY/MM/DD", f"{day:%Y/%m/%d}"), ("HH:mm", time)):
            self.type(f"//input[@placeholder='{placeholder}']", value)
        self.browser.switch_to.active_element.send_keys(Keys.ESCAPE)

    def type(self, xpath, value):
        """Replace what stands in a field that may be drawn anew meanwhile, and leave it."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.common.keys import Keys
        from selenium.webdriver.support.wait import WebDriverWait

        def typed(_browser):
            field = self.find(xpath)
            field.send_keys(Keys.CONTROL, "a")
            field.send_keys(value)
            return field.get_attribute("value") == value

        moving = (StaleElementReferenceException,)
        WebDriverWait(self.browser, 30, ignored_exceptions=moving).until(typed, xpath)
        self.find(xpath).send_keys(Keys.TAB)

    def scroll_to(self, xpath):
        script = "arguments[0].scrollIntoView({block: 'center'})"
        self.browser.execute_script(script, self.find(xpath))

    def report(self, title):
        """Text of the page in the frame of that title, once it is there."""
        self.browser.switch_to.default_content()
        self.browser.switch_to.frame(self.find(f"//iframe[@title='{title}']"))
        self.find("//h1")
        return self.text()


@pytest.fixture
def person(ui_world, tmp_path):
    """A browser beside a running Airflow."""
    shots = Path(SHOTS or tmp_path / "shots")
    with ui_world.servers() as servers:
        browser = open_browser(tmp_path / "profile", SIZE)
        try:
            yield Person(browser, servers.url, shots), servers
        finally:
            browser.quit()


@pytest.fixture
def ui_world(world, tmp_path):
    """Four days computed, five to come; no schedule of its own starts beside the backfill."""
    folder = tmp_path / "made"
    env = {k: v for k, v in os.environ.items() if not k.startswith("PINNERSAGE")}
    command = [sys.executable, "-c", MAKE_HOME, folder, BAD, *BEFORE]
    subprocess.run([*map(str, command)], check=True, env=env)
    shutil.copytree(folder / "home", world.home, dirs_exist_ok=True)
    dags = world.home / "dags"
    shutil.copytree(ROOT / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    daily = dags / f"{DAG}.py"
    old, end = "    catchup=False,\n", DAYS[-1] + timedelta(days=2)
    assert daily.read_text().count(old) == 1
    bound = f"    end_date=START.replace(year={end.year}, month={end.month}, day={end.day}),\n"
    daily.write_text(daily.read_text().replace(old, old + bound))
    world.variables |= {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "PINNERSAGE__CHECKS__MAX_CLUSTERS_PER_USER": str(MOST_CLUSTERS),
    }
    return world


def test_a_backfill_from_the_form_to_the_report_of_the_day_that_failed(person):
    person, servers = person
    servers.until("the DAG is parsed", lambda: DAG in servers.dags(), 60)
    servers.unpause("pinnersage_index")
    start_backfill(person, password(servers))
    servers.until("a run succeeded", lambda: "success" in backfilled(servers).values(), 600)
    person.open(f"/dags/{DAG}/runs")
    person.find("//*[contains(text(), 'Backfill in progress')]")
    person.find("//*[contains(text(), 'Running')]")
    person.shot("backfill-progress")
    servers.until("five runs ended", lambda: ended(servers), 900)
    states = backfilled(servers)
    assert states == {str(day): "failed" if day == BAD else "success" for day in DAYS}
    home, newest = servers.world.home, str(DAYS[-1])
    servers.until("its index is there, and both go live", lambda: live_day(home) == newest, 300)
    runs = {run["partition_key"]: run["dag_run_id"] for run in servers.runs(DAG)}

    person.open(f"/dags/{DAG}/backfills")
    person.find("//*[contains(text(), '2020-04-03')]")
    person.shot("backfill-done")

    open_tab(person, runs[str(DAYS[0])])
    assert f"Data quality of {DAYS[0]}" in person.report("Quality report")
    person.shot("report-passed")

    open_tab(person, runs[str(BAD)])
    look_at_the_failure(person)

    person.open(f"/dags/{DAG}/runs/{runs[str(BAD)]}/tasks/validate/details")
    person.find("//a[normalize-space()='Quality report' and contains(@href, '/plugin/')]")
    person.shot("link-on-the-task")
    person.click("//a[normalize-space()='Quality report' and contains(@href, '/plugin/')]")
    assert f"Data quality of {BAD}" in person.report("Quality report")

    look_at_all_days(person)


def password(servers):
    folder = servers.world.airflow_home / "secrets"
    return json.loads((folder / "passwords.json").read_text())["admin"]


def start_backfill(person, secret):
    person.log_in("admin", secret, f"/dags/{DAG}")
    person.browser.set_window_size(*OF_A_FORM)
    person.click("//button[@data-testid='trigger-dag-button']")
    person.find("//*[contains(text(), 'Largest Ward distance')]")
    person.scroll_to("//*[contains(text(), 'range of dates')]")
    person.shot("trigger-form")
    person.click("//*[contains(text(), 'range of dates')]")
    person.enter_moment(1, DAYS[0], "00:00")
    person.enter_moment(2, DAYS[-1], "23:00")
    person.find("//*[contains(text(), '5 runs will be triggered')]")
    person.scroll_to("(//*[@data-testid='datetime-input'])[1]")
    person.shot("backfill-form")
    person.click("//button[contains(normalize-space(), 'Run Backfill')]")
    person.find("//*[contains(text(), 'Backfill in progress')]")
    person.browser.set_window_size(*SIZE)
    person.shot("backfill-started")


def backfilled(servers):
    """State of each day that the form asked for; nothing while a busy server does not answer."""
    with contextlib.suppress(TimeoutError):
        return servers.days(DAG, "backfill")
    return {}


def ended(servers):
    states = backfilled(servers)
    return len(states) == len(DAYS) and set(states.values()) <= {"success", "failed"}


def live_day(home):
    folder = home / "releases"
    number = json.loads((folder / "live.json").read_text())["live"]
    return json.loads((folder / f"{number:06}.json").read_text())["medoids"]["day"]


def open_tab(person, run):
    person.open(f"/dags/{DAG}/runs/{run}")
    person.click("//a[normalize-space()='Quality report']")


def look_at_the_failure(person):
    page = person.report("Quality report")
    assert f"Data quality of {BAD}" in page
    assert "failed, not published" in page
    card = person.find(
        "//section[contains(@class, 'failed')][h3[starts-with(., 'clusters of a user')]]"
    ).text
    assert f"expected\n>= 1 and <= {MOST_CLUSTERS}" in card
    assert "observed\n" in card
    assert "user_id" in card
    rows = person.browser.find_elements(
        "xpath", "//section[h3[starts-with(., 'clusters of a user')]]//tbody/tr[td[1] != '']"
    )
    assert rows, card
    card = person.find("//section[h3[starts-with(., 'clusters of a user')]]")
    person.browser.execute_script("arguments[0].scrollIntoView()", card)
    person.shot("report-failed")
    person.report("Quality report")
    person.click("//section[h3[starts-with(., 'clusters of a user')]]//a")
    assert "failed check" in person.find("//h3[@id='failed-check']").text
    person.shot("runbook")


def look_at_all_days(person):
    requested(person.browser)
    person.browser.get_log("browser")
    person.browser.switch_to.default_content()
    person.click("//a[normalize-space()='Quality']")
    page = person.report("Quality")
    for day in [*BEFORE, *DAYS]:
        assert str(day) in page
    assert f"Live: the medoids of {DAYS[-1]}" in page
    assert "clusters of a user" in page
    person.shot("quality-days")
    person.report("Quality")
    person.browser.execute_script("document.querySelector('.trends').scrollIntoView()")
    person.shot("quality-trends")
    person.report("Quality")
    person.click(f"//a[normalize-space()='{BAD}']")
    assert f"Data quality of {BAD}" in person.report("Quality")
    asked = {url for url in requested(person.browser) if not url.startswith("data:")}
    assert {url for url in asked if not url.startswith(person.url)} == set()
    log = [entry["message"] for entry in person.browser.get_log("browser")]
    assert [message for message in log if "Content Security Policy" in message] == []
