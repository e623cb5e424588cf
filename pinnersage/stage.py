"""Stage: a day's raw events to Parquet in buckets of users, once, when they arrive.

Reads the source; writes ``actions/day=…`` for the day, and for each day of the window before it
that has no actions yet (a run of such days in one pass). From then on bucket *b* of a day needs
only bucket *b* of the days before: no later step shuffles users. Rows that cannot be used are
counted by reason; a ``DataError`` follows when too many are. Rows of users who were erased are left
out and counted too.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from pinnersage import erase, erased, parallel, queries, source
from pinnersage.config import Settings, fingerprint
from pinnersage.erased import Erased
from pinnersage.errors import ChecksError, ConfigError, DataError, SchemaError
from pinnersage.extract import end_of, start_of
from pinnersage.schema import ACTIONS
from pinnersage.stores import open_lake, open_storage
from pinnersage.stores.lake import DataFile, Lake, Layout, Manifest
from pinnersage.version import __version__

BATCH = 1_000_000
ONE_DAY = timedelta(days=1)


REPEATS = "an event that was there already"
"""The check of repeats, which have a limit of their own."""


class UnusableError(DataError):
    """Too many of a day's raw rows cannot be used."""

    def __init__(
        self, message: str, day: date, checks: list[dict[str, Any]], *, n_rows: int, limit: float
    ) -> None:
        super().__init__(message)
        self.day = day
        self.checks = checks
        """Those that found the rows."""
        self.n_rows = n_rows
        self.limit = limit


class StageReport(BaseModel):
    """What was staged."""

    model_config = ConfigDict(frozen=True)

    day: date
    days_staged: int
    rows: int
    users: int
    dropped: dict[str, int]
    window_days_missing: int
    checks: list[dict[str, Any]]
    version: str


def run(day: date, settings: Settings) -> StageReport:
    """Stage ``day``, replacing it, and the days of its window that are missing or empty so far."""
    window = [day - ONE_DAY * back for back in range(settings.model.window_days)]
    own = erase.own_days("actions", window, settings)
    return erase.settled(lambda: stage_window(day, window, settings), settings, own)


def stage_window(day: date, window: list[date], settings: Settings) -> StageReport:
    """Do what ``run`` does, once."""
    lake = open_lake(settings)
    layout = lake.layout
    if layout.n_buckets != settings.lake.n_buckets:
        raise ConfigError(
            f"lake.n_buckets is {settings.lake.n_buckets}, and {lake.where} was made with "
            f"{layout.n_buckets}. Set it back; a lake keeps its buckets."
        )
    days = [d for d in window if d == day or not staged_rows(lake, d)]
    try:
        stage_days(lake, layout, settings, days[1:])
        stage_span(lake, layout, settings, [day])
    except DataError as error:
        raise reported(day, error, settings) from error
    missing = sum(lake.current("actions", day=d) is None for d in window)
    manifest = lake.require("actions", f"pinnersage stage --day {day}", day=day)
    return StageReport(
        **manifest.report,
        day=day,
        days_staged=len(days) - missing,
        rows=manifest.rows,
        window_days_missing=missing,
        version=manifest.version,
    )


def run_missing(days: list[date], settings: Settings) -> int:
    """Stage those of some days that are not staged yet; return how many that were.

    Days that are there stay as they are, and a day without a file is none.
    """
    lake = open_lake(settings)
    missing = [day for day in days if lake.current("actions", day=day) is None]

    def stage_missing() -> int:
        stage_days(lake, lake.layout, settings, missing)
        return sum(lake.current("actions", day=day) is not None for day in missing)

    own = erase.own_days("actions", missing, settings)
    return erase.settled(stage_missing, settings, own) if missing else 0


def stage_days(lake: Lake, layout: Layout, settings: Settings, days: list[date]) -> None:
    """Stage days, those that follow each other in one pass.

    A file that comes later is staged then.
    """
    by_day = source.by_day(settings.source)
    for span in spans(days, one_by_one=by_day):
        if source.files(settings.source, span[0]) or not by_day:
            stage_span(lake, layout, settings, span)


def reported(day: date, error: DataError, settings: Settings) -> ChecksError:
    """Return an error as that of a day whose quality report, written here, says why it stopped."""
    from pinnersage import pages, quality  # noqa: PLC0415 (pandas, for a day that fails)

    rule, runbook, rows = "raw actions can be read", "missing day", []
    if isinstance(error, SchemaError):
        rule, runbook, rows = "raw actions have their columns and types", "schema", error.columns
    stopped = [quality.stopped(rule, str(error), table="raw actions", rows=rows, runbook=runbook)]
    if isinstance(error, UnusableError):
        stopped = [
            quality.stopped(
                f"none is {item['name']}",
                f"{item['n_rows']:,} of {error.n_rows:,} rows of {error.day}",
                table="raw actions",
                rows=item["examples"],
                runbook="unusable rows",
                expected=f"<= {error.limit:.1%} of all rows, with those of other checks",
            )
            for item in error.checks
        ]
    report = quality.QualityReport(day=day, outcomes=stopped, measures={})
    page = pages.write_quality(report, open_storage(settings))
    return ChecksError(f"{error} Report: {page}", day, report.version)


def staged_rows(lake: Lake, day: date) -> int:
    """Return how many actions of a day are staged: none may mean that they come late."""
    manifest = lake.current("actions", day=day)
    return manifest.rows if manifest else 0


def spans(days: list[date], *, one_by_one: bool) -> list[list[date]]:
    """Return runs of days without a gap, ascending; each is one pass over the source."""
    runs: list[list[date]] = []
    for day in sorted(days):
        if runs and not one_by_one and runs[-1][-1] == day - ONE_DAY:
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def stage_span(lake: Lake, layout: Layout, settings: Settings, days: list[date]) -> None:
    """Stage days that follow each other, in one pass over their files."""
    by_day = source.by_day(settings.source)
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        types = source.view(con, settings.source, days[0])
        if types != (layout.user_id, layout.pin_id):
            agreed = layout.user_id, layout.pin_id
            names = settings.source.user, settings.source.pin
            raise SchemaError(
                f"{settings.source.actions}: ids of user and pin are {types}, and the lake holds "
                f"{agreed}. Cast them when you export. See runbook: schema.",
                [
                    source.wrong(name, want, found)
                    for name, want, found in zip(names, agreed, types, strict=True)
                    if want != found
                ],
            )
        span = {"start": start_of(days[0]), "end": end_of(days[-1]), "by_day": by_day}
        try:
            label(con, span, erased.read(settings))
            reports = day_reports(con, days, ACTIONS.arrow(*types))
            for day in days:
                refuse_unusable(day, reports[day], settings)
            rows = con.sql(queries.text("actions/query"), params={"n_buckets": layout.n_buckets})
            files = write_files(lake, rows.to_arrow_reader(BATCH), work, settings.run.threads)
        except duckdb.Error as error:
            raise queries.translate(error, f"stage {days[0]} to {days[-1]}") from error
    for day in days:
        lake.commit(day_manifest(day, settings, files.get(day, []), reports[day]))


def label(con: duckdb.DuckDBPyConnection, span: dict[str, Any], gone: Erased) -> None:
    """Make ``labelled_actions``: every raw row of a span, with the reason it is left out."""
    for kind, name, sql in (
        ("TABLE", "read_actions", "actions/read"),
        ("TABLE", "repeats", "actions/repeats"),
        ("VIEW", "labelled_actions", "actions/labelled"),
    ):
        text = queries.text(sql)
        con.execute(f"CREATE TEMP {kind} {name} AS {text}", queries.used(text, span))
        if name == "read_actions" and gone.users:
            label_erased(con, gone)


def label_erased(con: duckdb.DuckDBPyConnection, gone: Erased) -> None:
    """Give rows of erased users their reason, before any other: nothing else is said of them."""
    found = queries.text("actions/erased")
    con.execute(
        f"UPDATE read_actions SET reason = 'erased' WHERE user_id IN ({found})",  # noqa: S608
        gone.parameters(),
    )


def refuse_unusable(day: date, report: dict[str, Any], settings: Settings) -> None:
    """Stop when more of a day's rows cannot be used, or repeat others, than the settings allow.

    A few repeats are harmless, and so are rows of users who were erased; rows without a time where
    all days share their files do not count, since they would weigh on every day.
    """
    harmless = {"duplicate", "erased"}
    if not source.by_day(settings.source):
        harmless.add("no_time")
    dropped: dict[str, int] = report["dropped"]
    unusable = sum(count for reason, count in dropped.items() if reason not in harmless)
    total = report["rows"] + unusable + dropped.get("duplicate", 0)
    limit = settings.checks.max_unusable_share
    found = [item for item in report["checks"] if item["n_rows"]]
    if unusable > limit * total:
        raise UnusableError(
            f"{day}: {unusable:,} of {total:,} raw rows cannot be used (limit {limit:.1%}): "
            f"{dropped}. Mend the source, or raise checks.max_unusable_share. "
            "See runbook: unusable rows.",
            day,
            [item for item in found if item["name"] != REPEATS],
            n_rows=total,
            limit=limit,
        )
    repeats, limit = dropped.get("duplicate", 0), settings.checks.max_duplicate_share
    if repeats > limit * total:
        raise UnusableError(
            f"{day}: {repeats:,} of {total:,} raw rows repeat an event (limit {limit:.0%}). Is "
            f"source.event ({settings.source.event or 'not set: equal rows are repeats'}) the "
            "event's own id? Mend it, or raise checks.max_duplicate_share. "
            "See runbook: unusable rows.",
            day,
            [item for item in found if item["name"] == REPEATS],
            n_rows=total,
            limit=limit,
        )


def day_reports(
    con: duckdb.DuckDBPyConnection, days: list[date], schema: pa.Schema
) -> dict[date, dict[str, Any]]:
    """Return for each day its rows, users, hash, rows left out by reason, and its checks.

    A day's report is the same whether it is staged alone or with others.
    """
    reports: dict[date, dict[str, Any]] = {
        day: {"rows": 0, "users": 0, "hash": 0, "dropped": {}, "checks": []} for day in days
    }
    for acted_on, reason, count in con.execute(queries.text("actions/dropped")).fetchall():
        for day in days_of(acted_on, days):
            dropped = reports[day]["dropped"]
            dropped[reason] = dropped.get(reason, 0) + count
    hashed = queries.values_hash(schema)
    sql = queries.text("actions/measures").replace("'values_hash'", hashed)
    for day, rows, users, total in con.execute(sql).fetchall():
        reports[day] |= {"rows": rows, "users": users, "hash": total}
    for check in queries.checks("actions"):
        for day in days:
            none = {"name": check.name, "severity": check.severity, "n_rows": 0, "examples": []}
            reports[day]["checks"].append(none)
        for acted_on, found in queries.run_check_by_day(con, check):
            for day in days_of(acted_on, days):
                seen = reports[day]["checks"][-1]
                seen["n_rows"] += found.n_rows
                seen["examples"] = (seen["examples"] + found.examples)[: queries.EXAMPLES]
    return reports


def days_of(acted_on: date | None, days: list[date]) -> list[date]:
    """Return the days that a row of some date is counted in: all, if it has none.

    A date outside the days stands in a file that is for the last of them.
    """
    if acted_on is None:
        return days
    return [acted_on if acted_on in days else days[-1]]


def day_manifest(
    day: date, settings: Settings, files: list[DataFile], report: dict[str, Any]
) -> Manifest:
    """Return the manifest of one staged day."""
    return Manifest(
        table="actions",
        partition={"day": day.isoformat()},
        files=tuple(files),
        rows=report.pop("rows"),
        content_hash=queries.hash_text(report.pop("hash")),
        settings_hash=fingerprint(str(settings.lake.n_buckets)),
        code_version=__version__,
        report=report,
    )


def write_files(
    lake: Lake, reader: pa.RecordBatchReader, work: Path, threads: int
) -> dict[date, list[DataFile]]:
    """Write each day's buckets to files of their own, several at a time."""
    schema = ACTIONS.arrow(lake.layout.user_id, lake.layout.pin_id)

    def write(group: tuple[date, int, pa.Table]) -> tuple[date, DataFile]:
        day, bucket, part = group
        table = part.select(schema.names).cast(schema)
        return day, lake.add_table(table, "actions", work, day=day, bucket=bucket)

    files: dict[date, list[DataFile]] = {}
    for day, file in parallel.in_order(write, groups(reader), threads):
        files.setdefault(day, []).append(file)
    return files


def groups(reader: pa.RecordBatchReader) -> Iterator[tuple[date, int, pa.Table]]:
    """Yield (day, bucket, its actions) from rows that stand in that order."""
    held: pa.Table | None = None
    for batch in reader:
        table = pa.Table.from_batches([batch])
        held = table if held is None else pa.concat_tables([held, table])
        starts = group_starts(held)
        for start, end in pairwise(starts):
            yield group(held.slice(start, end - start))
        held = held.slice(starts[-1])  # the last group may go on in the next batch
    if held is not None and held.num_rows:
        yield group(held)


def group_starts(table: pa.Table) -> list[int]:
    """Return the position of the first row of each day and bucket."""
    days, buckets = (table[name].cast(pa.int32()).to_numpy() for name in ("day", "bucket"))
    changed = (days[1:] != days[:-1]) | (buckets[1:] != buckets[:-1])
    starts: list[int] = (np.flatnonzero(changed) + 1).tolist()
    return [0, *starts]


def group(table: pa.Table) -> tuple[date, int, pa.Table]:
    """Return the day and the bucket of rows that share them, and the rows."""
    return table["day"][0].as_py(), table["bucket"][0].as_py(), table
