"""The plugin's pages on a real API server: closed without a login, and closed to path tricks."""

import base64
import hashlib
import http.client
import json
import re
import shutil
import urllib.parse
from datetime import date
from pathlib import Path

import pytest
from conftest import World

from pinnersage import pages
from pinnersage.evaluate import report as evaluation
from pinnersage.evaluate.results import EvaluationReport
from pinnersage.quality import Outcome, QualityReport
from pinnersage.stores.folder import Folder
from pinnersage.stores.lake import Lake, Layout

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
DAY = date(2026, 4, 5)
HIDDEN = "a-user-whom-nobody-sees-without-a-login"
DAILY = "pinnersage_daily"
TOML = '[source]\nactions = "none/{day}.parquet"\n'


def a_report(user):
    bad = Outcome(
        rule="clusters of a user", table="users", severity="fail", status="failed",
        expected=">= 1 and <= 60", observed="1 of 20 rows breaks it", n_checked=20, n_wrong=1,
        examples=[{"user_id": user, "n_clusters": "97"}], runbook="failed check",
    )  # fmt: skip
    return QualityReport(day=DAY, outcomes=[bad], measures={})


EVALUATED = EvaluationReport(
    title=f"Release 7 on {DAY}", code_version="0", libraries={}, inputs="", embeddings="e",
    n_pins=3, dimensions=2, first_day=DAY, tuning_days=None, test_days=(DAY, DAY), seed=0,
    n_candidates=2, cosine_threshold=0.8, false_match_rate=0.1, settings={}, n_users=1,
    n_actions=1, n_cases=1, n_targets={"all": 1}, left_out={}, tables=[],
)  # fmt: skip
FIRST, LAST = a_report(HIDDEN), a_report(HIDDEN + "-either")

ROUTES = [
    "/days",
    f"/days/{DAY}",
    f"/days/{DAY}/{FIRST.version}",
    f"/run?dag_id={DAILY}&run_id=made",
    "/releases",
    f"/releases/{DAY}",
    "/runbook",
]
TRICKS = [
    "/",
    "/nothing",
    "/openapi.json",
    "/docs",
    "/redoc",
    "/days/",
    f"/days/{DAY}/",
    f"/days/{DAY}/{FIRST.version}/",
    f"/days/{DAY}/report",
    f"/days/{DAY}/index.html",
    f"/days/{DAY}/{FIRST.version}.json",
    f"/days/{DAY}/{FIRST.version.upper()}x",
    "/days/2026-13-01",
    "/days/2026-W14-7",
    "/days/20260405",
    "/days/..",
    "/days/../days",
    "/days/../../secret.txt",
    "/days/%2e%2e",
    "/days/%2e%2e/%2e%2e/secret.txt",
    "/days/..%2f..%2fsecret.txt",
    "/days/%252e%252e%252fsecret.txt",
    f"/days/{DAY}%2f..%2f..%2fsecret",
    f"/days/{DAY}/..%2f..%2fsecret",
    f"/days/{DAY}%00",
    f"/days/{DAY}/{FIRST.version}%00",
    f"/days/{DAY}%0a",
    f"/days/{DAY}/{FIRST.version}%0a",
    f"/days//{DAY}",
    "/days//etc/passwd",
    "/days/%2fetc%2fpasswd",
    "/days/file:%2f%2f%2fetc%2fpasswd",
    f"/days/{'9' * 5000}",
    f"/days/{DAY}/{'a' * 5000}",
    "/days/%EF%BC%92026-04-05",
    "/run",
    "/run?dag_id=&run_id=",
    f"/run?dag_id={DAILY}&run_id=nobody-made-it",
    f"/run?dag_id={DAILY}&run_id=..%2f..%2fsecret.txt",
    f"/run?dag_id={DAILY}&run_id={'r' * 5000}",
    f"/run?dag_id={DAILY}&run_id=trick",
    "/releases/",
    f"/releases/{DAY}/",
    f"/releases/{DAY}/report",
    f"/releases/{DAY}%2f..%2f..%2f..%2fsecret",
    "/releases/..%2f..%2fsecret.txt",
    "/releases/2026-04-06",
    "/runbook/",
    "/runbook/..%2f..%2fsecret.txt",
    "/static/secret.txt",
]


@pytest.fixture(scope="module")
def servers(prepared_airflow, tmp_path_factory):
    """An Airflow whose lake has two reports of one day; its DAGs are paused, so nothing runs."""
    home = tmp_path_factory.mktemp("plugin") / "home"
    shutil.copytree(prepared_airflow.airflow_home, home / "airflow")
    (home / "pinnersage.toml").write_text(TOML)
    for report in (FIRST, LAST):
        pages.write_quality(report, Folder(home))
    evaluation.write(EVALUATED, Folder(home), evaluation.DAILY)
    Lake(home / "lake").create(Layout(n_buckets=1, user_id="string", pin_id="string"))
    for folder in (home, home / "reports", home / "reports" / "quality"):
        (folder / "secret.txt").write_text(HIDDEN)
    with World(home).servers() as servers:
        servers.until("the DAG is parsed", lambda: DAILY in servers.dags(), 90)
        make_run(servers, "made", {"day": str(DAY), "version": FIRST.version})
        make_run(servers, "trick", {"day": "../..", "version": "secret.txt"})
        make_run(servers, "unjudged", None)
        yield servers


def make_run(servers, run_id, told):
    """A run that waits, and what its task would have said of its report."""
    day = {"made": "05", "trick": "06", "unjudged": "07"}[run_id]
    runs = f"/api/v2/dags/{DAILY}/dagRuns"
    body = {"dag_run_id": run_id, "logical_date": None, "partition_key": f"2026-04-{day}"}
    servers.api(runs, body)
    if told:
        task = f"{runs}/{run_id}/taskInstances/validate/xcomEntries"
        servers.api(task, {"key": "quality_report", "value": told})


class Answer:
    """What came back for one request, whose path was sent as it is."""

    def __init__(self, servers, path, *, method="GET", body=None, **headers):
        where = urllib.parse.urlsplit(servers.url)
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
        data = None if body is None else json.dumps(body)
        connection.request(method, path, body=data, headers=headers)
        answer = connection.getresponse()
        self.status, self.headers, self.text = answer.status, answer.headers, answer.read().decode()
        connection.close()


@pytest.fixture(scope="module")
def tokens(servers):
    """A login of each account."""
    secrets = json.loads((servers.world.airflow_home / "secrets/passwords.json").read_text())
    return {
        user: servers.api("/auth/token", {"username": user, "password": password})["access_token"]
        for user, password in secrets.items()
    }


def reader(tokens, user="viewer"):
    """Headers as a browser has them after a login."""
    return {"Cookie": f"_token={tokens[user]}"}


# Without a login


@pytest.mark.parametrize("path", [*ROUTES, *TRICKS])
def test_without_a_login_there_is_nothing(path, servers):
    answer = Answer(servers, f"/pinnersage{path}")
    assert answer.status == 401
    assert HIDDEN not in answer.text


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_no_method_goes_round_the_login(method, servers, tokens):
    assert Answer(servers, "/pinnersage/days", method=method).status == 401
    answer = Answer(servers, "/pinnersage/days", method=method, **reader(tokens))
    assert answer.status == 404


@pytest.mark.parametrize(
    "headers",
    [{"Cookie": "_token=x.y.z"}, {"Authorization": "Bearer x.y.z"}, {"Cookie": "_token="}],
    ids=["cookie", "bearer", "empty"],
)
def test_a_forged_login_is_none(headers, servers):
    answer = Answer(servers, f"/pinnersage/days/{DAY}", **headers)
    assert answer.status in (401, 403)
    assert HIDDEN not in answer.text


@pytest.mark.parametrize(
    "path", ["/pinnersage", "//pinnersage/days", f"/x/../pinnersage/days/{DAY}"]
)
def test_other_ways_to_write_the_place_lead_to_no_report(path, servers):
    assert HIDDEN not in Answer(servers, path).text


# With a login


@pytest.mark.parametrize("path", ROUTES)
def test_a_viewer_reads_every_page(path, servers, tokens):
    answer = Answer(servers, f"/pinnersage{path}", **reader(tokens))
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", TRICKS)
def test_a_path_trick_is_not_found(path, servers, tokens):
    answer = Answer(servers, f"/pinnersage{path}", **reader(tokens, "admin"))
    assert answer.status == 404
    assert HIDDEN not in answer.text


@pytest.mark.parametrize("path", [*ROUTES, "/nothing", "/days/.."])
def test_pages_are_kept_by_nobody_and_load_nothing(path, servers, tokens):
    answer = Answer(servers, f"/pinnersage{path}", **reader(tokens))
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script|\bstyle=|https?://|\bsrc=", answer.text)


def test_only_the_pages_own_style_applies(servers, tokens):
    answer = Answer(servers, "/pinnersage/days", **reader(tokens))
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["Content-Security-Policy"]


def test_a_run_shows_its_own_report_and_a_day_its_last(servers, tokens):
    of_run = Answer(servers, f"/pinnersage/run?dag_id={DAILY}&run_id=made", **reader(tokens))
    assert f"<td>{HIDDEN}</td>" in of_run.text
    of_day = Answer(servers, f"/pinnersage/days/{DAY}", **reader(tokens))
    assert f"<td>{HIDDEN}-either</td>" in of_day.text


def test_a_days_evaluation_leads_to_all_days(servers, tokens):
    answer = Answer(servers, f"/pinnersage/releases/{DAY}", **reader(tokens))
    assert EVALUATED.title in answer.text
    assert 'href="../releases"' in answer.text
    days = Answer(servers, "/pinnersage/days", **reader(tokens))
    assert 'href="releases"' in days.text, "what the menu opens leads on"


def test_a_run_without_a_report_says_so(servers, tokens):
    answer = Answer(servers, f"/pinnersage/run?dag_id={DAILY}&run_id=unjudged", **reader(tokens))
    assert answer.status == 200
    assert "No quality report yet" in answer.text
    assert 'http-equiv="refresh"' in answer.text
    other = Answer(servers, "/pinnersage/run?dag_id=pinnersage_index&run_id=x", **reader(tokens))
    assert "pinnersage_index makes no quality report" in other.text


def test_links_of_the_pages_lead_to_pages(servers, tokens):
    for start in ROUTES:
        page = Answer(servers, f"/pinnersage{start}", **reader(tokens)).text
        found = {link.split("#")[0] for link in re.findall(r'href="([^"]+)"', page)} - {""}
        for link in found:
            target = urllib.parse.urljoin(f"{servers.url}/pinnersage{start}", link)
            path = target.removeprefix(servers.url)
            assert Answer(servers, path, **reader(tokens)).status == 200, (start, link)


def test_each_failing_check_links_its_section_of_the_runbook(servers, tokens):
    page = Answer(servers, f"/pinnersage/days/{DAY}", **reader(tokens)).text
    assert 'href="../runbook#failed-check"' in page
    runbook = Answer(servers, "/pinnersage/runbook", **reader(tokens)).text
    assert '<h3 id="failed-check">' in runbook


# Roles


def test_a_viewer_can_read_runs_and_start_none(servers, tokens):
    runs = f"/api/v2/dags/{DAILY}/dagRuns"
    assert Answer(servers, runs, **reader(tokens)).status == 200
    body = {"logical_date": None, "partition_key": "2026-04-01"}
    kind = {"Content-Type": "application/json"}
    for path, asked in ((runs, body), ("/api/v2/backfills", backfill())):
        answer = Answer(servers, path, method="POST", body=asked, **reader(tokens), **kind)
        assert answer.status == 403
    for path in (runs, "/api/v2/backfills"):
        asked = body if path == runs else backfill()
        answer = Answer(servers, path, method="POST", body=asked, **reader(tokens, "admin"), **kind)
        assert answer.status in (200, 201), answer.text


def backfill():
    return {
        "dag_id": DAILY,
        "from_date": "2026-03-01T00:00:00Z",
        "to_date": "2026-03-02T23:00:00Z",
        "max_active_runs": 1,
        "reprocess_behavior": "completed",
    }


# Where the UI shows them


def test_airflow_shows_them_in_the_navigation_and_on_runs(servers):
    plugins = {p["name"]: p for p in servers.api("/api/v2/plugins")["plugins"]}
    views = plugins["pinnersage_reports"]["external_views"]
    assert {view["destination"] for view in views} == {"nav", "dag_run"}
    assert servers.api("/api/v2/plugins/importErrors")["import_errors"] == []


@pytest.mark.parametrize("task", ["stage", "validate", "release"])
def test_a_task_links_its_runs_report_before_and_after_it_ran(task, servers):
    url = f"/api/v2/dags/{DAILY}/dagRuns/made/taskInstances/{task}/links"
    links = servers.api(url)["extra_links"]
    assert links == {"Quality report": f"/dags/{DAILY}/runs/made/plugin/quality-report"}


# What it costs the others


def test_workers_and_schedulers_do_not_load_the_pages(prepared_airflow):
    heavy = ["duckdb", "fastapi", "great_expectations", "pandas", "pinnersage", "pinnersage_pages"]
    loaded = prepared_airflow.python(
        "import json, sys\n"
        "from airflow import plugins_manager\n"
        "before = set(sys.modules)\n"
        "plugins, errors = plugins_manager._get_plugins()\n"
        "assert 'pinnersage_reports' in {p.name for p in plugins}, errors\n"
        f"print(json.dumps([n for n in {heavy} if n in set(sys.modules) - before]))\n"
    )
    assert loaded == []
