"""Waive: a person releases a day although rules failed that a true day may break.

Reads the day's last quality report; writes ``medoids/day=…`` as ``validate`` would have, with the
waiver in it, so that ``publish`` and ``release`` go on as usual. A waiver holds for just the
buckets and the outcomes of that report: if either changes, the day is judged, and waived, anew.
The first waiver of a report stands: who answers for a day is never written over.
"""

from datetime import UTC, date, datetime

from pydantic import BaseModel, ConfigDict

from pinnersage import erase, pages, validate
from pinnersage.config import Settings
from pinnersage.errors import ConfigError, DataError
from pinnersage.quality import QualityReport, Waiver
from pinnersage.stores import open_lake, open_storage
from pinnersage.stores.lake import Lake


class WaiveReport(BaseModel):
    """What was waived."""

    model_config = ConfigDict(frozen=True)

    day: date
    rules: list[str]
    by: str
    reason: str
    report: str
    version: str
    page: str


def last_report(day: date, settings: Settings) -> QualityReport:
    """Return the day's last quality report."""
    report = pages.read_quality(open_storage(settings), day)
    if report is None:
        raise DataError(f"{day} has no quality report. Run first: pinnersage validate --day {day}")
    return report


def run(
    day: date, report_version: str, by: str, reason: str, at: datetime, settings: Settings
) -> WaiveReport:
    """Let ``day`` be released although rules failed; ``by`` and ``reason`` are kept.

    Parameters
    ----------
    day : date
        The day that failed.
    report_version : str
        The quality report that was read: it must be the day's last one.
    by, reason : str
        Who answers for it, and why the day is right all the same.
    at : datetime
        When, with a time zone.
    settings : Settings
        Of the home.

    Raises
    ------
    ConfigError
        No name or no reason.
    DataError
        Another report, other buckets, nothing that failed, a rule that may not be waived, or
        waived already: by another person, or for another reason.
    """
    by, reason = by.strip(), reason.strip()
    if not by or not reason:
        raise ConfigError("A waiver needs a name and a reason: --by NAME --reason TEXT.")
    own = erase.own_days("medoids", [day], settings)
    return erase.settled(
        lambda: waive_report(day, report_version, by, reason, at, settings), settings, own
    )


def waive_report(
    day: date, report_version: str, by: str, reason: str, at: datetime, settings: Settings
) -> WaiveReport:
    """Do what ``run`` does, once."""
    report = last_report(day, settings)
    require_waivable(report, report_version, settings)
    lake, storage = open_lake(settings), open_storage(settings)
    current = validate.current_buckets(lake, day)
    buckets = [manifest for manifest in current if manifest]
    facts = validate.bucket_frame(lake, day, current, settings).filter(regex="^(is|has)_")
    if validate.sources(buckets) != report.made_from or not facts.all(axis=None):
        raise DataError(
            f"{day} was staged or clustered again since report {report.version}, or a user was "
            f"erased from it. Judge it anew: pinnersage validate --day {day}"
        )
    rules = [outcome.rule for outcome in report.failed]
    new = Waiver(rules=rules, by=by, reason=reason, at=at.astimezone(UTC))
    waiver = given(report, lake) or new
    if (waiver.by, waiver.reason) != (by, reason):
        raise DataError(
            f"{day}: report {report.version} was waived by {waiver.by} at "
            f"{waiver.at:%Y-%m-%d %H:%M} UTC, with the reason: {waiver.reason}. "
            "That stands, and the day can be published as it is."
        )
    report = report.model_copy(update={"waived": waiver})
    manifest = lake.commit(validate.day_manifest(report, buckets, settings))
    page = pages.write_quality(report, storage)
    return WaiveReport(
        day=day,
        rules=rules,
        by=by,
        reason=reason,
        report=report.version,
        version=manifest.version,
        page=page,
    )


def given(report: QualityReport, lake: Lake) -> Waiver | None:
    """Return the waiver that a report has; one killed before its page is in the manifest alone."""
    manifest = lake.current("medoids", day=report.day)
    said = manifest.report.get("waived") if manifest else None
    if report.waived or not said or said["report"] != report.version:
        return report.waived
    return Waiver.model_validate(said)


def require_waivable(report: QualityReport, version: str, settings: Settings) -> None:
    """Refuse a waiver of a report that is not the last one, or whose failures have to be mended."""
    day = report.day
    if report.version != version:
        raise DataError(
            f"{day}: report {version} is not the last one, which is {report.version}. Read that, "
            "then waive it."
        )
    if not report.failed:
        raise DataError(f"{day}: nothing failed in report {version}; there is nothing to waive.")
    fixed = [o.rule for o in report.failed if o.rule not in settings.checks.waivable]
    if fixed:
        raise DataError(
            f"{day}: not to be waived: {'; '.join(fixed)}. Mend what is wrong and run the day "
            "again; checks.waivable names the rules that may be waived. See docs/how-to/"
            "waive-a-check.md."
        )
