"""Scrub: users go, names stay, and every version lists files that are there."""

import html
import json
import os
from datetime import UTC, date, datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinnersage import config, pages, queries, scrub
from pinnersage.errors import DataError, TransientError
from pinnersage.quality import Outcome, QualityReport
from pinnersage.schema import ACTIONS, MEDOIDS
from pinnersage.stores.folder import Folder
from pinnersage.stores.lake import Lake, Manifest

DAY = date(2026, 4, 5)
FOLDER = f"actions/day={DAY}"
SCHEMA = ACTIONS.arrow("string", "string")
GONE = {"gone"}.intersection


@pytest.fixture
def settings(tmp_path):
    return config.build(tmp_path, {})


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def actions(*users):
    """An action of each user."""
    rows = [
        {"event_id": f"{n}", "user_id": user, "pin_id": "p", "action": "repin",
         "acted_at": datetime(2026, 4, 5, n, tzinfo=UTC)}
        for n, user in enumerate(users)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, SCHEMA)


def hash_of(*tables):
    rows = pa.concat_tables(tables)
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("rows_given", rows)
        sql = f"SELECT {queries.values_hash(SCHEMA)} FROM rows_given"  # noqa: S608
        return queries.hash_text(queries.scalar(con, sql))


def commit(lake, *buckets, checks=(), code="1"):
    """A staged day of some buckets."""
    with lake.workspace() as work:
        files = tuple(
            lake.add_table(table, "actions", work, day=DAY, bucket=bucket)
            for bucket, table in enumerate(buckets)
        )
    return lake.commit(
        Manifest(
            table="actions",
            partition={"day": str(DAY)},
            files=files,
            rows=sum(table.num_rows for table in buckets),
            content_hash=hash_of(*buckets),
            code_version=code,
            report={"users": 3, "checks": list(checks)},
        )
    )


def test_a_version_keeps_its_name_and_lists_what_is_left(lake, settings):
    one, other = actions("kept", "gone", "gone", "also kept"), actions("elsewhere")
    before = commit(lake, one, other)
    names = set(lake.paths(before))

    assert scrub.partition(lake, FOLDER, GONE, settings) == 3

    after = lake.current("actions", day=DAY)
    assert after == lake.version("actions", before.version, day=DAY)
    assert (after.ref, after.known_as, after.erased) == (before.ref, before.version, 1)
    kept = actions("kept", "gone", "gone", "also kept").filter(pa.array([True, False, False, True]))
    assert (after.rows, after.content_hash) == (3, hash_of(kept, other))
    first, second = lake.paths(after)
    assert pq.read_table(first, partitioning=None) == kept
    assert second in names, "the other bucket's file is the same"
    assert len(list((lake.storage.root).rglob("*.parquet"))) == 2


def test_scrubbing_again_changes_nothing(lake, settings):
    commit(lake, actions("kept", "gone"))
    scrub.partition(lake, FOLDER, GONE, settings)
    before = lake.current("actions", day=DAY)
    assert scrub.partition(lake, FOLDER, GONE, settings) == 0
    assert lake.current("actions", day=DAY) == before


def test_only_the_bucket_that_is_named_is_looked_at(lake, settings):
    commit(lake, actions("gone"), actions("gone", "kept"))
    assert scrub.partition(lake, FOLDER, GONE, settings, bucket=1) == 3
    (first, second) = lake.paths(lake.current("actions", day=DAY))
    assert pq.ParquetFile(first).read()["user_id"].to_pylist() == ["gone"]
    assert pq.ParquetFile(second).read()["user_id"].to_pylist() == ["kept"]


def test_users_who_go_one_after_another_are_counted(lake, settings):
    before = commit(lake, actions("kept", "gone", "third"))
    scrub.partition(lake, FOLDER, GONE, settings)
    scrub.partition(lake, FOLDER, {"third", "nobody"}.intersection, settings)
    after = lake.current("actions", day=DAY)
    assert (after.known_as, after.erased, after.rows) == (before.version, 2, 1)


def test_a_manifest_that_names_a_user_only_in_its_checks_is_replaced(lake, settings):
    rows = [{"user_id": "gone", "pin_id": "p"}, {"user_id": "kept", "pin_id": "p"}, {"pin_id": "q"}]
    check = {"name": "odd", "severity": "warn", "n_rows": 3, "examples": rows}
    before = commit(lake, actions("kept"), checks=[check])
    assert scrub.partition(lake, FOLDER, GONE, settings) == 2
    after = lake.current("actions", day=DAY)
    assert after.report["checks"] == [check | {"examples": rows[1:]}]
    assert (after.ref, after.files, after.erased) == (before.ref, before.files, 0)


def test_a_file_without_a_row_left_is_not_listed(lake, settings):
    commit(lake, actions("gone", "gone"))
    scrub.partition(lake, FOLDER, GONE, settings)
    after = lake.current("actions", day=DAY)
    assert (after.files, after.rows, after.content_hash) == ((), 0, "0" * 32)


def test_a_commit_meanwhile_is_not_undone(lake, settings, monkeypatch):
    """A step commits between our look at the manifest and its replacement."""
    commit(lake, actions("kept", "gone"))
    swap, late = Folder.swap, [actions("gone", "newer")]

    def beaten(storage, key, old, data):
        if late:
            commit(lake, late.pop(), code="2")
        return swap(storage, key, old, data)

    monkeypatch.setattr(Folder, "swap", beaten)
    scrub.partition(lake, FOLDER, GONE, settings)

    after = lake.current("actions", day=DAY)
    assert (after.code_version, after.rows) == ("2", 1)
    for path in lake.storage.root.rglob("*.json"):
        manifest = Manifest.model_validate_json(path.read_bytes())
        assert all(lake.holds(file) for file in manifest.files)
    users = {u for p in lake.storage.root.rglob("*.parquet")
             for u in pq.ParquetFile(p).read()["user_id"].to_pylist()}  # fmt: skip
    assert users == {"kept", "newer"}


def test_a_day_that_is_written_all_the_time_is_left_for_later(lake, settings, monkeypatch):
    commit(lake, actions("kept", "gone"))
    monkeypatch.setattr(Folder, "swap", lambda *_: False)
    with pytest.raises(TransientError, match="Run it again"):
        scrub.partition(lake, FOLDER, GONE, settings)


def test_a_file_that_cannot_be_read_is_named(lake, settings):
    manifest = commit(lake, actions("kept", "gone"))
    lake.path(manifest.files[0]).write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        scrub.partition(lake, FOLDER, GONE, settings)


def test_large_files_are_written_as_their_steps_do(tmp_path):
    """More rows than a row group, handed over in pieces."""
    n = scrub.ROW_GROUP + 5
    schema = MEDOIDS.arrow("int64", "int64")
    rng = np.random.default_rng(1)
    columns = {name: rng.integers(0, 50, n) for name in schema.names}
    table = pa.table(columns).cast(schema)
    scrub.write_as_its_step("medoids", table, tmp_path / "one")
    pieces = pa.concat_tables([table.slice(0, 1000), table.slice(1000)])
    scrub.write_as_its_step("medoids", pieces, tmp_path / "two")
    with pq.ParquetWriter(tmp_path / "step", schema, compression="zstd") as writer:
        writer.write_table(table.slice(0, scrub.ROW_GROUP), row_group_size=scrub.ROW_GROUP)
        writer.write_table(table.slice(scrub.ROW_GROUP))
    step = (tmp_path / "step").read_bytes()
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == step


# --- reports -------------------------------------------------------------------------------------


def report_of(*users):
    rows = [{"user_id": user, "rank": "0"} for user in users]
    outcome = Outcome(
        rule="a rule", table="medoids", severity="fail", status="failed", expected="true",
        observed=f"{len(rows)} rows break it", n_checked=9, n_wrong=len(rows), examples=rows,
    )  # fmt: skip
    return QualityReport(day=DAY, outcomes=[outcome], measures={})


def test_rows_of_a_user_leave_every_report_of_a_day(tmp_path):
    storage = Folder(tmp_path)
    for users in (("kept", "gone"), ("kept",)):
        pages.write_quality(report_of(*users), storage)
    names = {entry.key for entry in storage.list("reports")}

    assert scrub.reports(storage, GONE) == 1

    assert {entry.key for entry in storage.list("reports")} == names
    assert not any("gone" in path.read_text() for path in tmp_path.rglob("*.*"))
    old = pages.read_quality(storage, DAY, report_of("kept", "gone").version)
    assert old.outcomes[0].examples == [{"user_id": "kept", "rank": "0"}]
    assert (old.outcomes[0].n_wrong, old.status) == (2, "failed")
    assert scrub.reports(storage, GONE) == 0


def test_a_report_of_others_is_not_touched(tmp_path):
    storage = Folder(tmp_path)
    pages.write_quality(report_of("gone-too", "1gone"), storage)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert scrub.reports(storage, GONE) == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


# --- leftovers -----------------------------------------------------------------------------------


def test_what_a_killed_write_leaves_is_found(tmp_path, monkeypatch):
    """By the name that a write gives to what is not finished."""
    monkeypatch.setattr(scrub.Path, "replace", lambda *_: os._exit(9))
    number = os.fork()
    if not number:
        Folder(tmp_path).write("reports/day/report.json", b"gone")
    os.waitpid(number, 0)
    assert len(list(tmp_path.rglob(".*"))) == 1
    assert scrub.leftovers([tmp_path], "gone") == 1


@pytest.mark.parametrize("user", ["plain", "a<b>&c", 'quo"ted', "\u00e9t\u00e9", "7"])
@pytest.mark.parametrize("spell", [str, html.escape, lambda text: json.dumps(text)[1:-1]])
def test_unfinished_files_that_name_a_user_go_and_others_stay(tmp_path, user, spell):
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / ".report.json.x_1abcd2").write_text(f"<{spell(user)}>")
    (folder / ".report.json.x_1abcd3").write_text("somebody else")
    (folder / ".pointer.lock").write_text(user)
    (folder / ".yours").write_text(user)
    (folder / "report.json").write_text(user)
    assert scrub.leftovers([folder, tmp_path / "none"], user) == 1
    assert sorted(path.name for path in folder.iterdir()) == [
        ".pointer.lock", ".report.json.x_1abcd3", ".yours", "report.json",
    ]  # fmt: skip
