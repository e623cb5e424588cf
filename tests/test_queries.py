"""Queries: DuckDB as every step sees it, its errors in our words, and hashes of values."""

import hashlib
import random
import resource
from datetime import date

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pinnersage import queries
from pinnersage.config import RunConfig
from pinnersage.errors import DataError, TransientError
from pinnersage.schema import TIME


@pytest.fixture
def con(tmp_path):
    with queries.connect(tmp_path / "spill", RunConfig()) as con:
        yield con


def test_connection_works_in_utc_whatever_the_machine_s_zone(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    with queries.connect(tmp_path, RunConfig()) as con:
        sql = "SELECT '2026-03-08 02:30:00'::TIMESTAMP::TIMESTAMPTZ::VARCHAR"
        assert queries.scalar(con, sql) == "2026-03-08 02:30:00+00"


def test_connection_keeps_to_threads_and_memory(tmp_path):
    with queries.connect(tmp_path, RunConfig(threads=2, memory_limit="300MB")) as con:
        assert queries.scalar(con, "SELECT current_setting('threads')") == 2
        assert queries.scalar(con, "SELECT current_setting('memory_limit')") == "286.1 MiB"


def test_connection_downloads_nothing(con):
    assert not queries.scalar(con, "SELECT current_setting('autoinstall_known_extensions')")


rows = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        st.one_of(
            st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
        ),
        st.floats(allow_nan=False),
    ),
    max_size=8,
)


def hash_of(rows):
    with duckdb.connect() as con:
        con.execute("CREATE TABLE t (a BIGINT, b VARCHAR, c DOUBLE)")
        if rows:
            con.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
        hashed = queries.values_hash(
            pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.float64())])
        )
        return queries.scalar(con, f"SELECT {hashed} FROM t")  # noqa: S608


@hypothesis_settings(max_examples=25)
@given(rows, st.randoms(use_true_random=False))
def test_hash_does_not_depend_on_the_order(given_rows, chance):
    shuffled = list(given_rows)
    chance.shuffle(shuffled)
    assert hash_of(shuffled) == hash_of(given_rows)


@hypothesis_settings(max_examples=25)
@given(rows, rows)
def test_hash_is_a_sum_over_parts(one, other):
    """So a day's hash is that of its buckets, whatever their number."""
    assert hash_of(one + other) == hash_of(one) + hash_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, "2", 0.0), (12, "", 0.0)),
        ((1, "a", 0.0), (1, "b", 0.0)),
        ((1, "", 0.0), (1, None, 0.0)),
        ((None, "-", 0.0), (None, None, 0.0)),
        ((1, "1:2", 0.0), (1, "2", 0.0)),
        ((1, "a", 0.1), (1, "a", 0.1 + 2**-56)),
    ],
)
def test_hash_tells_values_apart(one, other):
    assert hash_of([one]) != hash_of([other])
    assert hash_of([one, one]) != hash_of([one])


def test_hash_is_text_of_one_width():
    assert queries.hash_text(0) == "0" * 32
    assert queries.hash_text(2**128 + 255) == "0" * 30 + "ff"


@given(st.text(max_size=6))
def test_quoted_name_is_one_name(name):
    name = name.replace("\0", "")
    if name:
        quoted = queries.quoted(name)
        assert quoted[0] == quoted[-1] == '"'
        assert quoted[1:-1].replace('""', "") == name.replace('"', "")


def test_checks_count_all_and_show_the_first_in_order(con):
    rows = [(n, f"u{n}") for n in range(50)]
    random.Random(1).shuffle(rows)
    con.execute(
        "CREATE TABLE labelled_actions (event_id VARCHAR, user_id VARCHAR, pin_id VARCHAR, "
        "action VARCHAR, acted_at TIMESTAMPTZ, acted_on DATE, reason VARCHAR)"
    )
    con.executemany(
        "INSERT INTO labelled_actions "
        "VALUES (?, ?, 'p', 'a', '2026-04-05 12:00+00', '2026-04-05', 'duplicate')",
        [(f"{n:02}", user) for n, user in rows],
    )
    found = queries.run_checks(con, "actions", {})[-1]
    assert found.n_rows == 50
    assert [row["event_id"] for row in found.examples] == [f"{n:02}" for n in range(20)]
    ((day, same),) = queries.run_check_by_day(con, queries.checks("actions")[-1])
    assert day == date(2026, 4, 5)
    assert same == found


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (duckdb.IOException("IO Error: No space left on device"), TransientError),
        (duckdb.IOException("IO Error: Could not write file"), TransientError),
        (duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate"), TransientError),
        (duckdb.IOException("IO Error: No files found"), DataError),
        (
            duckdb.InvalidInputException("Invalid Input Error: too small to be a Parquet file"),
            DataError,
        ),
        (duckdb.Error("TProtocolException: Invalid data"), DataError),
        (duckdb.ConversionException("Conversion Error: out of range"), DataError),
    ],
)
def test_errors_are_for_good_or_for_now(error, expected):
    ours = queries.translate(error, "stage 2026-04-05")
    assert type(ours) is expected
    assert str(ours).startswith("stage 2026-04-05: ")
    assert "See runbook: " in str(ours)


def test_our_own_mistakes_stay_what_they_are():
    error = duckdb.ParserException("Parser Error: syntax error")
    assert queries.translate(error, "stage") is error


def test_spill_to_a_full_disk_may_pass(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    sql = "CREATE TEMP TABLE t AS SELECT md5(n::VARCHAR) AS m FROM range(2000000) r(n) ORDER BY m"
    with queries.connect(tmp_path / "spill", RunConfig(memory_limit="60MB")) as con:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with pytest.raises(duckdb.Error) as error:
                con.execute(sql)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(queries.translate(error.value, "stage"), TransientError)


def test_every_file_of_sql_is_found_by_its_name():
    assert queries.text("actions/query").startswith("-- ")


@hypothesis_settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.none() | st.text(alphabet=st.characters(exclude_categories=("Cs",))),
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.integers(-(2**55), 2**55) | st.sampled_from(["infinity", "-infinity"]),
        ),
        max_size=20,
    )
)
def test_hash_is_that_of_python(given_rows):
    def written(text, number, microseconds):
        encoded = b"-" if text is None else b"%d:%s" % (len(text.encode()), text.encode())
        for value in (number, microseconds):
            encoded += (b"" if value is None else str(value).encode()) + b";"
        return encoded

    with duckdb.connect() as con:
        con.execute("CREATE TABLE t (a VARCHAR, n BIGINT, acted_at TIMESTAMPTZ)")
        if given_rows:
            con.executemany(
                "INSERT INTO t VALUES (?, ?, CASE WHEN ? LIKE '%inf%' THEN ?::TIMESTAMPTZ "
                "ELSE make_timestamptz(?::BIGINT) END)",
                [(text, number, *[at and str(at)] * 3) for text, number, at in given_rows],
            )
        schema = pa.schema([("a", pa.string()), ("n", pa.int64()), ("acted_at", TIME)])
        hashed = queries.values_hash(schema)
        found = queries.scalar(con, f"SELECT {hashed} FROM t")  # noqa: S608
    digests = [hashlib.md5(written(*row)).digest() for row in given_rows]  # noqa: S324
    assert found == sum(int.from_bytes(digest[8:], "little") for digest in digests)
