"""Tables: every table there is, who writes it, how old it is and how much it covers.

The tables of the lake as ``schema`` registers them, and what is made from them in the two stores.
Only manifests are read, and the reports that steps have left in them: never data.
"""

from datetime import date, datetime, timedelta

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from pinnersage.config import Settings
from pinnersage.extract import end_of, start_of
from pinnersage.release import Release, Releases
from pinnersage.schema import LOGS, MEDOIDS, TABLES, TIME, Column, Table, types_of
from pinnersage.stores import embeddings, open_keyvalue
from pinnersage.stores.lake import Lake, Layout, Manifest

VECTOR = pa.list_(pa.float32())
SHOWN = 14
"""Days of a table that are listed, the newest ones."""

PROFILES = Table(
    "key-value",
    "publish",
    ("version",),
    ("user_id",),
    "One packed value a user, as the live day has them: what is read for a request.",
    tuple(
        column
        for column in MEDOIDS.columns
        if column.name not in {"rank", "first_acted_at", "cohesion"}
    ),
)
INDEX = Table(
    "index",
    "index",
    ("day",),
    (),
    "An HNSW index of the refined pins, in the vector store; days with the same pins share one.",
    (
        Column("row", pa.int64(), "The pin's row in the embeddings' matrix."),
        Column("vector", VECTOR, "The pin's embedding, of unit length."),
    ),
)


class Frozen(BaseModel):
    """A part of the report."""

    model_config = ConfigDict(frozen=True)


class ColumnFacts(Frozen):
    """One column."""

    name: str
    kind: str
    meaning: str


class Part(Frozen):
    """One day or one version of a table."""

    of: date
    """Its day; of a version, the day that it is valid from."""
    version: str
    rows: int
    live: bool
    """Whether the live release reads it."""
    withdrawn: bool = False
    """Whether no day is to be computed with it any more."""


class TableFacts(Frozen):
    """What is known of one table."""

    name: str
    meaning: str
    owner: str
    """The step that writes it."""
    partition: str
    columns: tuple[ColumnFacts, ...]
    n_parts: int
    """Days, or versions, that there are."""
    newest: date | None
    rows: int | None
    """Of the newest."""
    age_days: float | None
    """From the end of the newest day; of versions, from when they are valid."""
    coverage: dict[str, float]
    """Shares, by what they are shares of."""
    parts: tuple[Part, ...]
    """Newest first."""


class TablesReport(Frozen):
    """Every table."""

    live: int | None
    """Number of the live release."""
    tables: tuple[TableFacts, ...]


def run(now: datetime, settings: Settings) -> TablesReport:
    """Return what there is of every table at ``now``."""
    releases = Releases(settings)
    live = releases.live()
    found = [in_lake(table, now, releases, live) for table in (*TABLES, INDEX)]
    return TablesReport(
        live=live.number if live else None,
        tables=(*found, in_store(now, releases, live, settings)),
    )


def in_lake(table: Table, now: datetime, releases: Releases, live: Release | None) -> TableFacts:
    """Return what there is of a table that has manifests."""
    lake = releases.lake
    if table in LOGS:
        return log_in_lake(table, now, lake)
    by_day = table.partition[0] == "day"
    if by_day:
        days = lake.days(table.name)
        newest = [lake.current(table.name, day=day) for day in days[: -SHOWN - 1 : -1]]
        kept, n_parts = [manifest for manifest in newest if manifest], len(days)
    else:
        kept = sorted(lake.versions(table.name), key=age_of_version, reverse=True)
        n_parts = len(kept)
    parts = tuple(part(manifest, live) for manifest in kept)
    covered = coverage(table.name, kept[0], releases) if kept else {}
    return facts(table, lake.layout, parts, n_parts, now, covered, by_day=by_day)


def log_in_lake(table: Table, now: datetime, lake: Lake) -> TableFacts:
    """Return what there is of a log: its days; its rows are in no manifest."""
    known = lake.log_days(table.name)
    newest = known[-1] if known else None
    found = facts(table, lake.layout, (), len(known), now, {}, by_day=True)
    age = None if newest is None else (now - end_of(newest)) / timedelta(days=1)
    return found.model_copy(update={"newest": newest, "age_days": age})


def in_store(
    now: datetime, releases: Releases, live: Release | None, settings: Settings
) -> TableFacts:
    """Return what there is of the profiles in the key-value store, the live version first."""
    store = open_keyvalue(settings)
    versions = store.versions()
    if live is None or live.medoids.keyvalue not in versions:
        return facts(PROFILES, releases.lake.layout, (), len(versions), now, {}, by_day=True)
    with store.open(live.medoids.keyvalue) as reader:
        users, known = len(reader), reader.about["users"]
    own = Part(of=live.medoids.day, version=live.medoids.keyvalue, rows=users, live=True)
    covered = {"of users with medoids": share(users, known)}
    return facts(PROFILES, releases.lake.layout, (own,), len(versions), now, covered, by_day=True)


def facts(
    table: Table,
    layout: Layout,
    parts: tuple[Part, ...],
    n_parts: int,
    now: datetime,
    covered: dict[str, float],
    *,
    by_day: bool,
) -> TableFacts:
    """Return what is known of a table, from its parts, the newest first."""
    newest = parts[0] if parts else None
    since = (end_of if by_day else start_of)(newest.of) if newest else None
    return TableFacts(
        name=table.name,
        meaning=table.meaning,
        owner=table.owner,
        partition=" and ".join(table.partition),
        columns=tuple(
            ColumnFacts(name=c.name, kind=kind_of(c, layout), meaning=c.meaning)
            for c in table.columns
        ),
        n_parts=n_parts,
        newest=newest and newest.of,
        rows=newest and newest.rows,
        age_days=None if since is None else (now - since) / timedelta(days=1),
        coverage=covered,
        parts=parts,
    )


def age_of_version(manifest: Manifest) -> tuple[str, int]:
    """Return what versions are ordered by: the first day, then the import."""
    return manifest.report["valid_from"], manifest.report["imported"]


def part(manifest: Manifest, live: Release | None) -> Part:
    """Return one day or version of a table in the lake."""
    of = manifest.partition.get("day") or manifest.report["valid_from"]
    named = {
        "medoids": manifest.version,
        "index": manifest.report.get("version"),
        "embeddings": manifest.partition.get("version"),
    }.get(manifest.table)
    read = (
        {live.medoids.manifest, live.embeddings, live.index and live.index.version} if live else ()
    )
    return Part(
        of=date.fromisoformat(of),
        version=manifest.partition.get("version") or manifest.version,
        rows=manifest.rows,
        live=named is not None and named in read,
        withdrawn=embeddings.is_withdrawn(manifest),
    )


def kind_of(column: Column, layout: Layout) -> str:
    """Return a column's type in words."""
    own = types_of(layout.user_id, layout.pin_id)
    kind = own[column.kind] if isinstance(column.kind, str) else column.kind
    words = {pa.string(): "text", TIME: "time, UTC", pa.float64(): "float64", VECTOR: "float32[d]"}
    if pa.types.is_list(kind) and kind not in words:
        return f"list of {words.get(kind.value_type, str(kind.value_type))}"
    return words.get(kind, str(kind))


def coverage(name: str, manifest: Manifest, releases: Releases) -> dict[str, float]:
    """Return what the newest part of a table covers, from the reports that steps have left."""
    report, lake = manifest.report, releases.lake
    if name == "actions":
        return {
            "of raw rows": share(manifest.rows, manifest.rows + sum(report["dropped"].values()))
        }
    if name == "medoids":
        return {"of interests have an embedding": 1 - report["measures"]["unknown_pin_share"]}
    if name == "embeddings":
        pins = max(lake.versions("pins"), key=age_of_version, default=None)
        return {"of pins": share(manifest.rows, pins.rows)} if pins and pins.rows else {}
    if name == "refined":
        return {"of pins with an embedding are kept": share(report["kept"], report["pins"])}
    if name == "index":
        day = manifest.partition["day"]
        refined = lake.current("refined", day=day)
        of_kept = {"of kept pins": share(manifest.rows, refined.report["kept"])} if refined else {}
        return of_kept | {"recall@50": report["recall"]}
    return {}


def share(part: int, whole: int) -> float:
    """Return a share, 1 of nothing."""
    return part / whole if whole else 1.0
