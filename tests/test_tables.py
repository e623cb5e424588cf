"""Tables: all are listed with who writes them; ages and shares are those of what is there."""

import re
import shutil
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pyarrow as pa
import pytest
from worlds import DAY, FIRST_DAY

from pinnersage import pages, schema, tables
from pinnersage.errors import ConfigError
from pinnersage.experiment import exposures
from pinnersage.experiment.exposures import Exposure
from pinnersage.release import Releases
from pinnersage.stores import open_lake

NOW = datetime(2026, 4, 7, 6, tzinfo=UTC)
assert DAY.isoformat() == "2026-04-05"


def by_name(settings, now=NOW):
    return {one.name: one for one in tables.run(now, settings).tables}


def test_every_table_of_the_schema_and_both_stores_are_there(finished):
    assert [*by_name(finished)] == [
        *(table.name for table in schema.TABLES), "index", "key-value",
    ]  # fmt: skip


@pytest.mark.parametrize("table", [*schema.TABLES, tables.INDEX, tables.PROFILES])
def test_a_tables_owner_is_a_step(table):
    owner = {"serve": "serve.run", "online": "online.keep"}.get(table.owner, table.owner)
    assert callable(import_module(f"pinnersage.{owner}").run)


def test_ages_count_from_a_days_end_and_from_when_a_version_is_valid(finished):
    found = by_name(finished)

    assert found["medoids"].newest == DAY
    assert found["medoids"].age_days == found["key-value"].age_days == 1.25
    assert found["pins"].newest == FIRST_DAY
    assert found["pins"].age_days == 96.25


def test_rows_and_shares_are_those_of_the_newest(finished):
    found, lake = by_name(finished), open_lake(finished)

    refined = lake.current("refined", day=DAY)
    kept = refined.report["kept"]
    assert found["refined"].rows == 400
    assert found["refined"].coverage == {"of pins with an embedding are kept": kept / 400}
    assert found["index"].rows == kept
    assert found["index"].coverage["of kept pins"] == 1
    assert found["index"].coverage["recall@50"] == lake.current("index", day=DAY).report["recall"]
    medoids = lake.current("medoids", day=DAY)
    assert found["medoids"].rows == medoids.rows
    assert found["key-value"].rows == medoids.report["measures"]["n_users"]
    assert found["key-value"].coverage == {"of users with medoids": 1}
    assert found["actions"].n_parts == len(lake.days("actions"))
    assert len(found["actions"].parts) == tables.SHOWN


def test_what_stage_drops_is_no_coverage(finished):
    lake = open_lake(finished)
    manifest = lake.current("actions", day=DAY)
    report = manifest.report | {"dropped": {"no user": manifest.rows}}
    lake.commit(manifest.model_copy(update={"report": report}))

    assert by_name(finished)["actions"].coverage == {"of raw rows": 0.5}


def test_what_the_live_release_reads_is_marked(finished):
    live = Releases(finished).live()

    marked = {
        (name, part.version)
        for name, one in by_name(finished).items()
        for part in one.parts
        if part.live
    }

    index = open_lake(finished).current("index", day=DAY)
    assert marked == {
        ("medoids", live.medoids.manifest), ("embeddings", live.embeddings),
        ("index", index.version), ("key-value", live.medoids.keyvalue),
    }  # fmt: skip
    assert tables.run(NOW, finished).live == live.number


def test_a_home_without_days_has_tables_without_rows(settings):
    shutil.rmtree(settings.home / "lake" / "actions")

    found = by_name(settings)

    assert found["actions"].n_parts == found["medoids"].n_parts == found["key-value"].n_parts == 0
    assert found["actions"].newest is found["actions"].rows is found["actions"].age_days is None
    assert found["pins"].rows == 400
    assert pages.render(
        "tables.html.j2", {"report": tables.run(NOW, settings), "now": NOW}
    ).count(b"There is none yet") == 9  # fmt: skip


def test_a_log_has_days_and_no_manifest_to_count_rows_by(finished):
    shown = Exposure(
        NOW - timedelta(days=1), "one", 1, "control", 0.5, 1, 0, [], pa.array([], pa.int64()),
        pa.array([], pa.int32()),
    )  # fmt: skip
    exposures.append([shown], finished)
    found = by_name(finished)["exposures"]

    assert (found.n_parts, found.newest, found.rows) == (1, DAY + timedelta(days=1), None)
    assert found.age_days == 0.25
    assert {c.name: c.kind for c in found.columns}["candidates"] == "list of int64"
    page = pages.render("tables.html.j2", {"report": tables.run(NOW, finished), "now": NOW})
    assert page.count(b"There is none yet") == 2, "of metrics and feedback"


def test_a_live_version_that_the_store_has_lost_is_not_told_as_there(finished):
    shutil.rmtree(finished.home / "stores" / "keyvalue")

    assert by_name(finished)["key-value"].rows is None


def test_ids_have_the_type_of_the_lake(finished):
    kinds = {column.name: column.kind for column in by_name(finished)["medoids"].columns}

    assert kinds["user_id"] == kinds["pin_id"] == "int64"
    assert kinds["last_acted_at"] == "time, UTC"
    assert kinds["importance"] == "float64"


def test_the_page_names_all_of_it_and_loads_nothing(finished, tmp_path):
    report = tables.run(NOW, finished)

    page = pages.write_page(
        "tables.html.j2", {"report": report, "now": NOW}, tmp_path / "t.html"
    ).read_text()

    for one in report.tables:
        assert f'id="{one.name}"' in page
        assert f"<code>{one.owner}</code>" in page
        assert all(f"<code>{column.name}</code>" in page for column in one.columns)
        assert all(part.version in page for part in one.parts)
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert "the newest 14 of 9" in page
    with pytest.raises(ConfigError, match="is a folder"):
        pages.write_page("tables.html.j2", {"report": report, "now": NOW}, tmp_path)


def test_a_home_of_text_ids_says_so(tmp_path):
    from rankers import Home

    home = Home(tmp_path, user="string")
    kinds = {c.name: c.kind for c in by_name(home.settings)["actions"].columns}

    assert kinds["user_id"] == "text"
