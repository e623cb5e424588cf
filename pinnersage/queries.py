"""Queries: the SQL files under ``sql/`` and the DuckDB connection that runs them.

SQL reads plain table names; whoever runs it decides what stands behind them. In a checkout
``sql/`` is at the root, in a wheel inside the package. Every connection works in UTC: without
that, window arithmetic would follow the machine's zone across summer time.
"""

import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from pinnersage.config import RunConfig
from pinnersage.errors import ConfigError, DataError, TransientError

HERE = Path(__file__).parent
EXAMPLES = 20
"""Offending rows that a report shows for one check."""


@cache
def folder() -> Path:
    """Return the folder of SQL files, of a checkout or of an installed wheel."""
    for candidate in (HERE / "sql", HERE.parent / "sql"):
        if candidate.is_dir():
            return candidate
    raise ConfigError(f"No sql/ folder beside {HERE}: the installation is broken. Reinstall it.")


@cache
def text(name: str) -> str:
    """Return the SQL of ``sql/<name>.sql``, such as ``actions/query``."""
    return (folder() / f"{name}.sql").read_text(encoding="utf-8")


def shared(run: RunConfig, n_tasks: int) -> RunConfig:
    """Return one task's share of threads and memory, when several work side by side."""
    limit = f"{max(1, round(megabytes(run) / n_tasks))}MB"
    return run.model_copy(update={"threads": max(1, run.threads // n_tasks), "memory_limit": limit})


def megabytes(run: RunConfig) -> float:
    """Return the limit of memory as a number."""
    size, unit = float(run.memory_limit[:-2]), run.memory_limit[-2:]
    return size * (1000 if unit == "GB" else 1)


def connect(scratch: Path, run: RunConfig) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB connection in UTC that spills into ``scratch``."""
    scratch.mkdir(parents=True, exist_ok=True)
    con = duckdb.connect(
        config={
            "threads": run.threads,
            "memory_limit": run.memory_limit,
            "temp_directory": str(scratch),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    con.execute("SET TimeZone = 'UTC'")
    return con


def translate(error: duckdb.Error, what: str) -> Exception:
    """Return our error for DuckDB's, or DuckDB's own where it can only be our mistake.

    A full disk or memory may pass; a file that cannot be read will not.
    """
    message = str(error).strip().splitlines()[0]
    full = re.search(
        r"No space left|File too large|Could not write|out of memory", str(error), re.IGNORECASE
    )
    if full or isinstance(error, duckdb.OutOfMemoryException):
        return TransientError(
            f"{what}: {message}. Free space on the disk of the home folder, or raise "
            "run.memory_limit, and run the step again. See runbook: disk full."
        )
    broken = (
        duckdb.IOException,
        duckdb.InvalidInputException,
        duckdb.ConversionException,
        duckdb.SerializationException,
        duckdb.BinderException,
    )
    if isinstance(error, broken) or type(error) is duckdb.Error:  # Parquet's own, unclassified
        return DataError(
            f"{what}: {message}. Mend or replace the file and run the step again. "
            "See runbook: broken file."
        )
    return error


@dataclass(frozen=True)
class Check:
    """A query for rows that are wrong: none means that it passed."""

    name: str
    severity: Literal["fail", "warn"]
    sql: str


@dataclass(frozen=True)
class Found:
    """What a check found."""

    name: str
    severity: Literal["fail", "warn"]
    n_rows: int
    examples: list[dict[str, Any]]


@cache
def checks(table: str) -> tuple[Check, ...]:
    """Return the checks in ``sql/<table>/checks.sql``.

    Each query ends with a semicolon and opens with ``-- fail: …`` or ``-- warn: …``.
    """
    found = []
    for part in re.split(r";\s*\n", text(f"{table}/checks") + "\n"):
        opening = re.search(r"^-- (fail|warn): (.+)$", part, re.MULTILINE)
        if opening:
            severity: Literal["fail", "warn"] = "fail" if opening[1] == "fail" else "warn"
            found.append(Check(opening[2].strip(), severity, part.strip()))
    return tuple(found)


def used(sql: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that a query names: DuckDB refuses others."""
    return {name: value for name, value in parameters.items() if re.search(rf"\${name}\b", sql)}


def run_checks(
    con: duckdb.DuckDBPyConnection, table: str, parameters: dict[str, Any]
) -> list[Found]:
    """Run a table's checks; each result carries its count and the first rows that are wrong."""
    results = []
    for check in checks(table):
        given = used(check.sql, parameters)
        count = f"SELECT count(*) FROM ({check.sql})"  # noqa: S608 (our own file)
        n_rows = scalar(con, count, given)
        examples: list[dict[str, Any]] = []
        if n_rows:
            ordered = f"SELECT * FROM ({check.sql}) ORDER BY ALL LIMIT {EXAMPLES}"  # noqa: S608
            rows = con.sql(ordered, params=given)
            examples = [
                as_text(dict(zip(rows.columns, row, strict=True))) for row in rows.fetchall()
            ]
        results.append(Found(check.name, check.severity, n_rows, examples))
    return results


def run_check_by_day(
    con: duckdb.DuckDBPyConnection, check: Check
) -> list[tuple[date | None, Found]]:
    """Run a check whose rows have ``acted_at``; return what it found for each day of theirs."""
    rows = con.sql(
        f"SELECT acted_at::DATE AS day, count(*), min(wrong, {EXAMPLES}) "  # noqa: S608
        f"FROM ({check.sql}) AS wrong GROUP BY day ORDER BY day"
    )
    return [
        (day, Found(check.name, check.severity, n_rows, [as_text(row) for row in examples]))
        for day, n_rows, examples in rows.fetchall()
    ]


def as_text(row: dict[str, Any]) -> dict[str, str]:
    """Return a row's values as text, for people."""
    return {name: str(value) for name, value in row.items()}


def first(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the first row of a query by column; the result is read to its end."""
    result = con.sql(sql, params=parameters or {})
    return dict(zip(result.columns, result.fetchall()[0], strict=True))


def scalar(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any] | None = None
) -> Any:
    """Return the one value of a query that has one row and one column."""
    return next(iter(first(con, sql, parameters).values()))


def quoted(name: str) -> str:
    """Return a column's name as SQL spells it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def values_hash(schema: pa.Schema) -> str:
    """Return SQL for a hash of rows' values: the same for any order, layout and file.

    The sum, over rows, of the lower 64 bits of the MD5 of the row's values, one after another: a
    text or list as its length and itself, null as ``-``; a number, truth or time (as microseconds
    since 1970) as text with ``;`` behind it. So no value can be mistaken for part of another. The
    shift is DuckDB's own ``md5_number_lower``, which goes through a text of bits and takes five
    times as long.
    """
    parts = ", ".join(hashed_text(field) for field in schema)
    return f"coalesce(sum((md5_number(concat({parts})) >> 64)::UBIGINT::HUGEINT), 0)"


def hashed_text(field: pa.Field) -> str:
    """Return what stands for a column's value in ``values_hash``; ``concat`` skips nulls."""
    name = quoted(field.name)
    if pa.types.is_timestamp(field.type):
        return f"if(isfinite({name}), epoch_us({name})::VARCHAR, {name}::VARCHAR), ';'"
    if pa.types.is_list(field.type):
        name = f"{name}::VARCHAR"
    elif not (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
        return f"{name}, ';'"
    return (
        f"coalesce(strlen({name})::VARCHAR, '-'), CASE WHEN {name} IS NOT NULL THEN ':' END, {name}"
    )


def hash_text(total: int) -> str:
    """Return a sum of row hashes as 32 hex digits."""
    return f"{total % 2**128:032x}"
