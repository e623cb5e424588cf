"""Every SQL file against small tables: ``<table>/<promise>/{*.csv, params.toml, expect.csv}``.

The CSV files stand behind the plain table names of the query. ``params.toml`` names the query
(default: ``query``) and its parameters; ``expect.csv`` has the columns that the promise is
about. Where the query orders its rows, their order is part of what is expected. Tables that other
queries of the folder make stand in ``made``, in their order: ``name = "query"``.
"""

import csv
import re
import tomllib
from pathlib import Path

import pytest

from pinnersage import queries
from pinnersage.config import RunConfig

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("*/*/expect.csv"))
FILES = sorted(
    str(path.relative_to(queries.folder()).with_suffix(""))
    for path in queries.folder().rglob("*.sql")
)
TYPES = {
    "acted_at": "TIMESTAMPTZ",
    "created_at": "TIMESTAMPTZ",
    "first_acted_at": "TIMESTAMPTZ",
    "last_acted_at": "TIMESTAMPTZ",
    "asked_at": "TIMESTAMPTZ",
    "live_from": "TIMESTAMPTZ",
    "live_until": "TIMESTAMPTZ",
    "day_end": "TIMESTAMPTZ",
    "since": "TIMESTAMPTZ",
    "until": "TIMESTAMPTZ",
    "shown_at": "TIMESTAMPTZ",
    "day": "DATE",
    "medoids_day": "DATE",
    "point_row": "BIGINT",
    "bucket": "BIGINT",
    "release": "BIGINT",
    "age_days": "DOUBLE",
    "acted_on": "DATE",
    "in_window": "BOOLEAN",
    "is_interest": "BOOLEAN",
    "user_id": "BIGINT",
    "user_hash": "UBIGINT",
    "pin_id": "BIGINT",
    "near_duplicate_of": "BIGINT",
    "row": "BIGINT",
    "pin_row": "BIGINT",
    "rank": "INTEGER",
    "n_actions": "BIGINT",
    "importance": "DOUBLE",
    "offset": "DOUBLE",
    "cohesion": "DOUBLE",
    "quality": "DOUBLE",
    "share": "DOUBLE",
    "draw": "BIGINT",
    "n_arms": "BIGINT",
    "n_exposures": "BIGINT",
}
JUDGED_BY_CODE = {"refined"}
"""Tables that we make from what was checked already; ``refine`` and ``index`` judge them."""


def name_of(case):
    return f"{case.parent.name}/{case.name}"


def query_of(case):
    query = tomllib.loads((case / "params.toml").read_text()).get("query", "query")
    return f"{case.parent.name}/{query}"


def load(con, path, *, backwards):
    """Put a table over a CSV file, its columns typed by their names; empty is null."""
    with path.open(newline="") as file:
        header = next(csv.reader(file))
    columns = ", ".join(f'"{name}"::{TYPES.get(name, "VARCHAR")} AS "{name}"' for name in header)
    order = "DESC" if backwards else "ASC"
    con.execute(
        f"CREATE TABLE {path.stem} AS SELECT {columns} FROM (SELECT *, row_number() OVER () AS n "  # noqa: S608
        f"FROM read_csv('{path}', all_varchar=true, header=true)) ORDER BY n {order}"
    )


def make(con, name, sql, parameters):
    """Put what a query returns behind a table name."""
    con.execute(f"CREATE TEMP TABLE {name} AS {sql}", queries.used(sql, parameters))


def expected_of(case):
    with (case / "expect.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    return header, [tuple(value or None for value in row) for row in rows]


@pytest.mark.parametrize("backwards", [False, True], ids=["as_given", "backwards"])
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_query_keeps_its_promise(case, backwards, tmp_path):
    given = tomllib.loads((case / "params.toml").read_text())
    header, expected = expected_of(case)
    with queries.connect(tmp_path, RunConfig()) as con:
        for path in sorted(case.glob("*.csv")):
            if path.name != "expect.csv":
                load(con, path, backwards=backwards)
        parameters = given.get("params", {})
        for name, query in given.get("made", {}).items():
            make(con, name, queries.text(f"{case.parent.name}/{query}"), parameters)
        if given.get("query") == "checks":
            checked = queries.run_checks(con, case.parent.name, parameters)
            found = [(check.severity, check.name, str(check.n_rows)) for check in checked]
            ordered = True
        else:
            sql = queries.text(query_of(case))
            shown = ", ".join(f"{queries.quoted(name)}::VARCHAR" for name in header)
            make(con, "result", sql, parameters)
            found = con.execute(f"SELECT {shown} FROM result").fetchall()  # noqa: S608
            ordered = re.search(r"^ORDER BY", sql, re.MULTILINE)
    assert (found if ordered else sorted(found, key=str)) == (
        expected if ordered else sorted(expected, key=str)
    )


@pytest.mark.parametrize("name", FILES)
def test_every_query_has_a_case(name):
    assert name in {query_of(case) for case in CASES}


@pytest.mark.parametrize("name", FILES)
def test_query_says_what_it_returns(name):
    assert queries.text(name).startswith("-- ")


@pytest.mark.parametrize("table", sorted({name.split("/")[0] for name in FILES}))
def test_what_is_given_is_doubted(table):
    made = f"{table}/query" in FILES and table not in JUDGED_BY_CODE
    assert not made or queries.checks(table)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith("/checks")])
def test_every_check_is_read(name):
    written = re.findall(r"^-- (fail|warn): ", queries.text(name), re.MULTILINE)
    assert [check.severity for check in queries.checks(name.split("/")[0])] == written
    assert written
