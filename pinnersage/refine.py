"""Refine: which pins are worth indexing (paper, section 4.1.1).

Reads the embeddings and pins valid at the day's end; writes ``refined/day=…``, a row for every
pin that has an embedding: kept, or dropped with its reason. Low quality goes first. Then pins
are taken best first, and each one kept drops the pins near it: a near-duplicate is always within
the threshold of the pin that stands for it, so chains of likeness cannot drift away. A better pin
that the pins table names is believed when it may be indexed itself. Pins change more rarely than
days: a day whose versions and rules are those of an earlier one takes its files. A pin that is
blocked (``takedown``) is dropped before all that, and stands for nobody.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict
from threadpoolctl import threadpool_limits

from pinnersage import near_duplicates, queries, takedown
from pinnersage.config import IndexConfig, Settings, fingerprint
from pinnersage.errors import DataError
from pinnersage.schema import REFINED
from pinnersage.stores import embeddings, open_lake
from pinnersage.stores.embeddings import Embeddings
from pinnersage.stores.filters import EPOCH, UNKNOWN, Attributes
from pinnersage.stores.lake import Lake, Manifest, broken_file
from pinnersage.version import __version__

_DAY_US = 86_400_000_000
_FIRST, _LAST = ((day - EPOCH).days for day in (date.min, date.max))
"""Days that have a name: a pin made outside them was made at a time that is not known."""


class RefineReport(BaseModel):
    """What was kept."""

    model_config = ConfigDict(frozen=True)

    day: date
    pins: int
    kept: int
    dropped: dict[str, int]
    embeddings: str
    version: str
    reused: bool
    """Whether an earlier day had judged the same pins by the same rules."""


def run(day: date, settings: Settings) -> RefineReport:
    """Judge every pin for ``day``, unless the same was done; replaces the day's partition."""
    lake = open_lake(settings)
    table = embeddings.open_valid(lake, day)
    pins = embeddings.valid_at(lake, "pins", day)
    blocked = list(takedown.read(settings).blocked)
    done = same_before(lake, day, (table.ref, pins.ref), blocked, settings.index)
    if done is not None:
        manifest = lake.commit(done.model_copy(update={"partition": {"day": day.isoformat()}}))
        return RefineReport(day=day, version=manifest.version, reused=True, **manifest.report)
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        try:
            con.register("blocked", pa.table({"pin": pa.array(blocked, pa.string())}))
            refined = judged(con, lake, table, pins, settings.index)
            con.register("refined", refined)
            total = queries.values_hash(refined.schema)
            hashed = queries.scalar(con, f"SELECT {total} FROM refined")  # noqa: S608 (our columns)
        except duckdb.Error as error:
            raise queries.translate(error, f"refine {day}") from error
        file = lake.add_table(refined, "refined", work, day=day)
    reasons = pc.value_counts(refined["reason"].drop_null()).to_pylist()
    kept = int(pc.sum(refined["kept"]).as_py())
    if not kept:
        raise DataError(
            f"{day}: none of {refined.num_rows:,} pins is worth indexing "
            f"({ {r['values']: r['counts'] for r in reasons} }). Lower index.min_quality."
        )
    report: dict[str, Any] = {  # takedown is for same_before; people read in dropped how many
        "pins": refined.num_rows,
        "kept": kept,
        "dropped": {item["values"]: item["counts"] for item in reasons},
        "embeddings": table.version,
        "takedown": fingerprint(json.dumps(blocked)),
    }
    manifest = lake.commit(
        Manifest(
            table="refined",
            partition={"day": day.isoformat()},
            files=(file,),
            rows=refined.num_rows,
            content_hash=queries.hash_text(hashed),
            settings_hash=refine_hash(settings.index),
            code_version=__version__,
            reads=(table.ref, pins.ref),
            report=report,
        )
    )
    return RefineReport(day=day, version=manifest.version, reused=False, **report)


def same_before(
    lake: Lake, day: date, reads: tuple[str, ...], blocked: list[str], config: IndexConfig
) -> Manifest | None:
    """Return what was refined from the same versions by the same rules, that day or before it."""
    for earlier in reversed([one for one in lake.days("refined") if one <= day]):
        found = lake.require("refined", f"pinnersage refine --day {earlier}", day=earlier)
        made_by = (found.reads, found.report.get("takedown"), found.settings_hash)
        rules = (reads, fingerprint(json.dumps(blocked)), refine_hash(config))
        if made_by == rules and found.code_version == __version__:
            return found if all(map(lake.holds, found.files)) else None
    return None


def refine_hash(config: IndexConfig) -> str:
    """Return a fingerprint of the settings that decide what is kept."""
    columns = [column.name for column in REFINED.columns]  # an older day may lack some
    return fingerprint(str(config.min_quality), str(config.near_duplicate_cosine), *columns)


def judged(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    table: Embeddings,
    pins: Manifest,
    config: IndexConfig,
) -> pa.Table:
    """Return the rows of ``refined``."""
    known = con.read_parquet(lake.paths(pins), hive_partitioning=False)
    if "topic" not in known.columns:  # pins brought in before there was one
        known = known.project("*, NULL::VARCHAR AS topic")
    known.create_view("pins")
    con.read_parquet([str(table.pin_rows)], hive_partitioning=False).create_view("pin_rows")
    parameters = {"min_quality": config.min_quality}
    pool = con.sql(queries.text("refined/query"), params=parameters).to_arrow_table()
    reason = pool["reason"].to_numpy(zero_copy_only=False).astype(object)
    rows = pool["row"].to_numpy().astype(np.int64)
    candidates = np.flatnonzero(pc.is_null(pool["reason"]).to_numpy())
    quality = pc.fill_null(pool["quality"], 1.0).to_numpy()[candidates]
    order = candidates[np.lexsort((rows[candidates], -quality))]
    with threadpool_limits(
        1, user_api="blas"
    ):  # it may sum in another order on other numbers of threads
        leader, cosine = near_duplicates.leaders(
            table.matrix, rows[order], config.near_duplicate_cosine
        )
    representative = np.full(len(rows), -1)
    cosines = np.full(len(rows), np.nan)
    dropped = leader >= 0
    reason[order[dropped]] = "near_duplicate"
    representative[order[dropped]] = rows[order[leader[dropped]]]
    cosines[order[dropped]] = cosine[dropped]
    better = pa.array(representative, mask=representative < 0)
    given = pool["near_duplicate_of"]
    columns = {
        "pin_id": pool["pin_id"],
        "row": rows,
        "kept": pa.array([value is None for value in reason]),
        "reason": pa.array(reason, type=pa.string()),
        "representative": pc.coalesce(table.pin_ids.take(better), given.combine_chunks()),
        "cosine": pa.array(cosines, mask=np.isnan(cosines)),
        "quality": pool["quality"],
        "created_at": pool["created_at"],
        "topic": pool["topic"],
    }
    schema = REFINED.arrow(pin=lake.layout.pin_id)
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def kept(lake: Lake, manifest: Manifest) -> tuple[npt.NDArray[np.int64], Attributes]:
    """Return the embedding rows of the pins that were kept, ascending, and what filters may ask.

    What is known of no pin is None: a filter on it would find nothing.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415

    path: Path = lake.path(manifest.files[0])
    with broken_file(path):
        columns = ["row", "created_at", "topic"]
        table = pq.read_table(path, columns=columns, filters=pc.field("kept")).sort_by("row")
    rows = table["row"].to_numpy().astype(np.int64)
    created = topic = None
    names: tuple[str, ...] = ()
    if table["created_at"].null_count < table.num_rows:
        us = pc.fill_null(table["created_at"].cast(pa.int64()), UNKNOWN).to_numpy()
        days = us // _DAY_US
        created = np.where((days < _FIRST) | (days > _LAST), UNKNOWN, days)
    if table["topic"].null_count < table.num_rows:
        coded = table["topic"].combine_chunks().dictionary_encode()
        topic = pc.fill_null(coded.indices, -1).to_numpy().astype(np.int32)
        names = tuple(coded.dictionary.to_pylist())
    return rows, Attributes(created, topic, names)
