"""Pages: reports for people, each one HTML file that needs no network.

Style and drawings are inside the file; nothing is loaded from elsewhere. Beside a report lies
the same as JSON, for machines.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from pinnersage.errors import ConfigError
from pinnersage.quality import QualityReport
from pinnersage.stores.disk import disk_errors, write_atomically
from pinnersage.stores.storage import Storage

DAYS, RUNBOOK = "index.html", "runbook.html"
"""Beside the days' folders, for reading without Airflow: written by ``pinnersage reports``."""
PAGES = {"report": "index"}
"""Names of pages that are not called as their reports are."""


def render(template: str, values: Mapping[str, Any]) -> bytes:
    """Return a template filled in; a value that is missing is an error."""
    environment = Environment(
        loader=PackageLoader("pinnersage", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values).encode()


def write_quality(report: QualityReport, storage: Storage) -> str:
    """Write a day's data-quality report; return where its page is, for people.

    Each report is kept under its version, so that every run can show its own; the last one of a
    day also stands as ``report.json`` and ``index.html``. The page links the page of all days and
    the runbook where these are there.
    """
    folder = f"reports/quality/day={report.day}"
    data, page = report.model_dump_json(indent=1).encode(), page_of(report, storage)
    for name in (report.version, "report"):
        storage.write(f"{folder}/{name}.json", data)
    for name in (report.version, "report"):
        storage.write(f"{folder}/{PAGES.get(name, name)}.html", page)
    return f"{storage.where}/{folder}/index.html"


def page_of(report: QualityReport, storage: Storage) -> bytes:
    """Return the page of a day's data-quality report, with links to what is beside its folder."""
    days_url, runbook_url = (
        f"../{name}" if storage.exists(f"reports/quality/{name}") else ""
        for name in (DAYS, RUNBOOK)
    )
    return render_quality(report, days_url=days_url, runbook_url=runbook_url)


def read_quality(storage: Storage, day: date, version: str = "report") -> QualityReport | None:
    """Return a day's last data-quality report, or the one of a version; None if there is none."""
    data = storage.read(f"reports/quality/day={day}/{version}.json")
    return None if data is None else QualityReport.model_validate_json(data)


def render_quality(report: QualityReport, *, days_url: str = "", runbook_url: str = "") -> bytes:
    """Return the page of a day's data-quality report; it links what it is told where to find."""
    tables = list(dict.fromkeys(outcome.table for outcome in report.outcomes))
    order = {"failed": 0, "warned": 1, "not_judged": 2, "passed": 3}
    outcomes = sorted(
        report.outcomes, key=lambda o: (order[o.status], tables.index(o.table), o.rule)
    )
    bars = {name: histogram_bars(counts) for name, counts in report.histograms.items()}
    values = {"report": report, "outcomes": outcomes, "bars": bars}
    return render("quality.html.j2", values | {"days_url": days_url, "runbook_url": runbook_url})


def histogram_bars(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return a histogram in bins that double as labelled bars, lengths in percent."""
    most = max(counts.values(), default=1)
    return [
        {"label": bin_label(int(bin_)), "n": n, "percent": round(100 * n / most, 1)}
        for bin_, n in sorted(counts.items(), key=lambda item: int(item[0]))
    ]


def bin_label(power: int) -> str:
    """Return the values in the bin from 2^power to 2^(power + 1), in words."""
    if power < 0:
        return f"{2.0**power:.2g} to {2.0 ** (power + 1):.2g}"
    first, last = 2**power, 2 ** (power + 1) - 1
    return f"{first}" if first == last else f"{first} to {last}"


def write_user(values: Mapping[str, Any], path: Path) -> Path:
    """Write the page of one user: clusters, and what each medoid brought."""
    return write_page("user.html.j2", values, path)


def write_page(template: str, values: Mapping[str, Any], path: Path) -> Path:
    """Write a page that a person asked for to the file that they named."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder. Name the file to write, such as {path}/page.html.")
    with disk_errors(path.parent):
        write_atomically(path, render(template, values))
    return path
