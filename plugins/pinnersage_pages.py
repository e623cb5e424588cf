"""Pages: what the API server serves under ``/pinnersage`` to whoever may read the daily runs.

    days                every day that has a report, and trends
    days/DAY            a day's last report
    days/DAY/VERSION    one report of a day
    run?dag_id=&run_id= the report of a run, by the XCom that its task pushed
    releases            every day on which a release was measured
    releases/DAY        a day's last evaluation
    runbook             what to do

Not a plugin itself (.airflowignore). A path of anything else is answered 404, and 401 without a
login: names from a URL are parsed, never joined to a path as they came. A page loads nothing, runs
nothing, and is framed by Airflow alone.
"""

import base64
import hashlib
import json
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.providers.standard.decorators.python import _PythonDecoratedOperator
from airflow.sdk import BaseOperatorLink
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from sqlalchemy import select

if TYPE_CHECKING:
    from pinnersage.config import Settings
    from pinnersage.quality import QualityReport

DAILY = "pinnersage_daily"
XCOM = "quality_report"
"""Key under which a task of a run says which report is the run's: its day and version."""
VERSION = re.compile(r"[0-9a-f]{16}")
LONGEST_ID = 250
"""Of a run or a DAG: the length of Airflow's own columns."""
RUNBOOK = Path(__file__).resolve().parents[1] / "docs" / "runbook.md"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
UNFINISHED = {"queued", "running"}

router = APIRouter()


def make_app() -> FastAPI:
    """Return the application; every route of it asks who is there first."""
    from pinnersage.errors import PinnerSageError

    may_read = requires_access_dag("GET", DagAccessEntity.RUN, DAILY)
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(may_read)],
    )
    app.include_router(router)

    @app.middleware("http")
    async def headers(request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.exception_handler(PinnerSageError)
    async def unable(_request: Request, error: PinnerSageError) -> Response:
        return PlainTextResponse(str(error), status_code=503)

    return app


@router.get("/days")
def days() -> Response:
    """Every day that has a report."""
    from pinnersage import history

    return page(
        history.render(
            history.read(settings()),
            day_url="days/{day}",
            runbook_url="runbook",
            releases_url="releases",
        )
    )


@router.get("/days/{day}")
def day_report(day: str) -> Response:
    """A day's last report."""
    return report_page(find(parse_day(day)), up="../")


@router.get("/days/{day}/{version}")
def version_report(day: str, version: str) -> Response:
    """One report of a day."""
    if not VERSION.fullmatch(version):
        raise HTTPException(404)
    return report_page(find(parse_day(day), version), up="../../")


@router.get("/run")
def run_report(session: SessionDep, dag_id: str = "", run_id: str = "") -> Response:
    """The report of a run of the daily DAG, or why there is none."""
    if not dag_id or not run_id or max(len(dag_id), len(run_id)) > LONGEST_ID:
        raise HTTPException(404)
    if dag_id != DAILY:
        return note(f"{dag_id} makes no quality report", f"The runs of {DAILY} make them.")
    run = session.scalar(select(DagRun).where(DagRun.dag_id == DAILY, DagRun.run_id == run_id))
    if run is None:
        raise HTTPException(404)
    of_run = (XComModel.dag_id == DAILY, XComModel.run_id == run_id, XComModel.key == XCOM)
    told = session.scalar(
        select(XComModel.value).where(*of_run).order_by(XComModel.timestamp.desc()).limit(1)
    )
    if told is not None:
        told = json.loads(told) if isinstance(told, str) else told
        if not VERSION.fullmatch(told["version"]):
            raise HTTPException(404)
        return report_page(find(parse_day(told["day"]), told["version"]), up="")
    state = session.scalar(
        select(TaskInstance.state).where(
            TaskInstance.dag_id == DAILY,
            TaskInstance.run_id == run_id,
            TaskInstance.task_id == "validate",
        )
    )
    says = {
        "upstream_failed": "A task before it failed; its log says why.",
        "failed": "It failed before it could judge the day; its log says why.",
    }.get(state or "", "It appears here as soon as the task has judged the day.")
    text = f"Task validate of this run is {state or 'not scheduled yet'}. {says}"
    return note("No quality report yet", text, refresh=10 if run.state in UNFINISHED else 0)


@router.get("/releases")
def evaluated_days() -> Response:
    """Every day on which the release of the day before was measured."""
    from pinnersage.evaluate import recorded, trend

    found = recorded.read(settings(), longest=trend.LONGEST)
    return page(trend.render(found, day_url="releases/{day}"))


@router.get("/releases/{day}")
def evaluation(day: str) -> Response:
    """A day's last evaluation."""
    from pinnersage.errors import DataError
    from pinnersage.evaluate import report
    from pinnersage.stores import open_storage

    of = parse_day(day)
    try:
        found = report.read(open_storage(settings()), of, root=report.DAILY)
    except ValueError as error:
        why = str(error).splitlines()[0]
        raise DataError(f"The evaluation of {of} cannot be read: {why}") from error
    if found is None:
        raise HTTPException(404, "There is no such report; old ones are removed by maintenance.")
    return page(report.render(found, days_url="../releases"))


@router.get("/runbook")
def the_runbook() -> Response:
    """What to do about each check."""
    from pinnersage import runbook

    if not RUNBOOK.is_file():
        return note("No runbook here", f"This installation has no docs/{RUNBOOK.name}.")
    return page(runbook.render(RUNBOOK.read_text(encoding="utf-8"), days_url="days"))


@router.api_route("/{path:path}", methods=METHODS)
def nothing_else(path: str) -> Response:
    """Whatever else is asked for, once the login is known."""
    del path
    raise HTTPException(404)


def settings() -> "Settings":
    """Return the settings of this home."""
    from pinnersage import config

    return config.load()


def parse_day(text: str) -> date:
    """Return the day that a part of a URL names."""
    from pinnersage.history import day_named

    day = day_named(text)
    if day is None:
        raise HTTPException(404)
    return day


def find(day: date, version: str = "report") -> "QualityReport":
    """Return a report that is there."""
    from pinnersage.errors import DataError
    from pinnersage.pages import read_quality
    from pinnersage.stores import open_storage

    try:
        report = read_quality(open_storage(settings()), day, version)
    except ValueError as error:
        why = str(error).splitlines()[0]
        raise DataError(f"The report {version} of {day} cannot be read: {why}") from error
    if report is None:
        raise HTTPException(404, "There is no such report; old ones are removed by maintenance.")
    return report


def report_page(report: "QualityReport", *, up: str) -> Response:
    """Return a day's report; ``up`` leads from the page to the others."""
    from pinnersage.pages import render_quality

    return page(render_quality(report, days_url=f"{up}days", runbook_url=f"{up}runbook"))


def note(title: str, text: str, *, refresh: int = 0) -> Response:
    """Return a page of one sentence, asked for again every ``refresh`` seconds."""
    from pinnersage.pages import render

    return page(render("note.html.j2", {"title": title, "text": text, "refresh": refresh}))


def page(content: bytes) -> Response:
    """Return a page that may use its own style, and nothing else from anywhere."""
    start, end = content.index(b"<style>") + len(b"<style>"), content.index(b"</style>")
    style = base64.b64encode(hashlib.sha256(content[start:end]).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'self'; "
        "base-uri 'none'; form-action 'none'"
    )
    return HTMLResponse(content, headers={"Content-Security-Policy": policy})


class ReportLink(BaseOperatorLink):
    """From a task of the daily DAG to its run's report, whatever the task's state."""

    operators = [_PythonDecoratedOperator]  # noqa: RUF012 (Airflow's way)
    root = ""

    @property
    def name(self) -> str:
        """What the link is called."""
        return "Quality report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the tab of the run; nothing for a task of another DAG."""
        del operator
        if ti_key.dag_id != DAILY:
            return ""
        run = quote(ti_key.run_id, safe="")
        return f"{self.root}/dags/{DAILY}/runs/{run}/plugin/quality-report"


def make_link(root: str) -> ReportLink:
    """Return the link, for an Airflow that is served below a path."""
    link = ReportLink()
    link.root = root
    return link
