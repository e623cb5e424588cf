"""Source: the user's own Parquet of actions, under our names and types.

Nothing is read here. Files are found, their columns and types checked, and a view
``raw_actions`` (event_id, user_id, pin_id, action, acted_at) is put over them.
"""

import glob
from datetime import date
from pathlib import Path

import duckdb

from pinnersage.config import SourceConfig
from pinnersage.errors import ConfigError, DataError, SchemaError
from pinnersage.queries import quoted, translate
from pinnersage.schema import IdType
from pinnersage.stores import s3

S3 = "s3://"
INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
TIMES = {"DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
ZONED = {"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"}


def by_day(source: SourceConfig) -> bool:
    """Whether the source has files for each day apart."""
    return "{day}" in source.actions


def files(source: SourceConfig, day: date | None = None) -> list[str]:
    """Return the Parquet files of the source, of one day if it has files by day; sorted."""
    if not source.actions:
        raise ConfigError("source.actions is empty: name your Parquet in pinnersage.toml.")
    if source.actions.startswith(S3):
        return s3.matching(pattern(source, day))
    path = Path(pattern(source, day)).expanduser()
    if path.is_file():
        return [str(path)]
    if path.is_dir():
        return sorted(str(found) for found in path.rglob("*.parquet"))
    return sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute patterns too)


def pattern(source: SourceConfig, day: date | None) -> str:
    """Return where the files are, of one day if there are files by day."""
    return source.actions.replace("{day}", day.isoformat() if day else "*")


def id_type(type_name: str, column: str, where: str) -> IdType:
    """Return the identifier type for a DuckDB type, or say that it cannot be one."""
    if type_name in INTEGERS:
        return "int64"
    if type_name == "VARCHAR":
        return "string"
    raise SchemaError(
        f"{where}: column {column} is {type_name}; an identifier is text or an integer of at most "
        f"64 signed bits. Cast it when you export. See runbook: schema.",
        [wrong(column, "text or integer", type_name)],
    )


def wrong(column: str, expected: str, found: str) -> dict[str, str]:
    """Return what a report says of a column that is not as agreed."""
    return {"column": column, "expected": expected, "found": found}


def columns(con: duckdb.DuckDBPyConnection, paths: list[str], where: str) -> dict[str, str]:
    """Return name and DuckDB type of each column of some Parquet files."""
    try:
        relation = con.read_parquet(paths, union_by_name=True)
        return dict(zip(relation.columns, map(str, relation.types), strict=True))
    except duckdb.Error as error:
        raise translate(error, where) from error


def view(
    con: duckdb.DuckDBPyConnection, source: SourceConfig, day: date | None = None
) -> tuple[IdType, IdType]:
    """Put the view ``raw_actions`` over the files; return the types of user and pin ids."""
    where, paths = pattern(source, day), files(source, day)
    if where.startswith(S3):
        con.register_filesystem(s3.file_system())
    if not paths:
        raise DataError(
            f"{where}: no Parquet file there. Bring it, or mend where the actions are "
            "(source.actions). See runbook: missing day."
        )
    present = columns(con, paths, where)
    wanted = [source.user, source.pin, source.action, source.time]
    wanted += [source.event] if source.event else []
    missing = [name for name in wanted if name not in present]
    if missing:
        raise SchemaError(
            f"{where}: no column {', '.join(missing)}; there are {', '.join(present)}. "
            "Mend the export, or [source] in pinnersage.toml. See runbook: schema.",
            [wrong(name, "a column", "none of that name") for name in missing],
        )
    user = id_type(present[source.user], source.user, where)
    pin = id_type(present[source.pin], source.pin, where)
    if present[source.action] != "VARCHAR":
        kind = present[source.action]
        raise SchemaError(
            f"{where}: column {source.action} is {kind}, not text. Cast it when you export. "
            "See runbook: schema.",
            [wrong(source.action, "text", kind)],
        )
    kind = present[source.time]
    if kind not in TIMES | ZONED:
        raise SchemaError(
            f"{where}: column {source.time} is {kind}, not a timestamp. "
            "Cast it when you export; one without a zone is read as UTC. See runbook: schema.",
            [wrong(source.time, "a timestamp", kind)],
        )
    time = quoted(source.time) + ("" if kind in ZONED else "::TIMESTAMP")
    event = f"{quoted(source.event)}::VARCHAR" if source.event else "NULL::VARCHAR"
    sql_types = {"int64": "BIGINT", "string": "VARCHAR"}
    con.read_parquet(paths, union_by_name=True).project(
        f"{event} AS event_id, {quoted(source.user)}::{sql_types[user]} AS user_id, "
        f"{quoted(source.pin)}::{sql_types[pin]} AS pin_id, {quoted(source.action)} AS action, "
        f"{time}::TIMESTAMPTZ AS acted_at"
    ).create_view("raw_actions", replace=True)
    return user, pin
