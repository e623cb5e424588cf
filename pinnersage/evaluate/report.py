"""Report: an evaluation as a page for people, as Markdown, and as JSON for machines.

All three show the same ``EvaluationReport``. The page is one file that needs no network and no
script. It says first what came out, then what it is made from.
"""

import hashlib
from datetime import date

from pinnersage import pages
from pinnersage.errors import DataError
from pinnersage.evaluate import figures, words
from pinnersage.evaluate.markdown import markdown
from pinnersage.evaluate.results import EvaluationReport
from pinnersage.stores.lake import canonical
from pinnersage.stores.storage import Storage

__all__ = ["folder", "markdown", "read", "render", "stamped", "withdraw", "write"]

ROOT = "reports/evaluation"
DAILY = f"{ROOT}/daily"
"""Where the daily evaluation of releases keeps its own."""
BEST = 10
"""Candidates of the tuning days that stand on the page at once; the others are a click away."""
ASIDE = (words.KINDS["repeats"], words.KINDS[""])
"""Parts of tables that are a click away."""


def write(report: EvaluationReport, storage: Storage, root: str = ROOT) -> str:
    """Write an evaluation as page, Markdown and JSON; return where the page is, for people.

    Each is kept under its version; the last one whose test days end on a day also stands as
    ``index.html``, ``report.md`` and ``report.json``.
    """
    report = stamped(report)
    where = folder(report.test_days[1], root)
    files = {
        "json": canonical(report.model_dump(mode="json")),
        "md": markdown(report),
        "html": render(report, days_url="../index.html" if root == DAILY else ""),
    }
    for ending, data in files.items():
        last = "index" if ending == "html" else "report"
        for name in (report.version, last):
            storage.write(f"{where}/{name}.{ending}", data)
    return f"{storage.where}/{where}/index.html"


def withdraw(last_day: date, storage: Storage, root: str = ROOT) -> None:
    """Remove a day's last evaluation from where it stood; what is kept by version stays."""
    for name in ("report.json", "report.md", "index.html"):
        storage.remove(f"{folder(last_day, root)}/{name}")


def read(
    storage: Storage, last_day: date, version: str = "report", root: str = ROOT
) -> EvaluationReport | None:
    """Return the last evaluation whose test days end on a day, or one by version; None if none."""
    data = storage.read(f"{folder(last_day, root)}/{version}.json")
    return None if data is None else EvaluationReport.model_validate_json(data)


def folder(last_day: date, root: str = ROOT) -> str:
    """Return where evaluations lie whose test days end on a day."""
    return f"{root}/day={last_day}"


def stamped(report: EvaluationReport) -> EvaluationReport:
    """Return a report with its version: 16 hex digits of all else in it."""
    content = report.model_copy(update={"version": ""}).model_dump(mode="json")
    try:
        version = hashlib.sha256(canonical(content)).hexdigest()[:16]
    except ValueError as error:
        raise DataError(
            f"The evaluation up to {report.test_days[1]} holds a number that is not finite: "
            "what is not defined is None. This is a defect of a measure; report it."
        ) from error
    return report.model_copy(update={"version": version})


def render(report: EvaluationReport, *, days_url: str = "") -> bytes:
    """Return the page of an evaluation; it links the page of all days if told where that is."""
    report = stamped(report)
    tried = words.ranked(report.choice) if report.choice else []
    values = {
        "report": report,
        "days_url": days_url,
        "words": words,
        "figures": figures,
        "headline": words.headline(report),
        "measures": words.explained(name for table in report.tables for name in table.measures),
        "aside": ASIDE,
        "is_chosen": lambda one: report.choice is not None and words.is_chosen(one, report.choice),
        "tried": [tried[:BEST], tried[BEST:]],
        "tried_measures": list(dict.fromkeys(name for one in tried for name in one.values)),
        "sweep_measures": list(dict.fromkeys(n for point in report.sweep for n in point.values)),
        "settings": dict(words.flat(report.settings)),
    }
    return pages.render("evaluation.html.j2", values)
