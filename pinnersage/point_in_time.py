"""Point in time: for any table of users and times, the medoids that were live for them then.

Reads the moves of the live pointer, so what is joined is what readers read, rollbacks and withdrawn
days included, and not what a day says today; and the takedowns, so a pin that was blocked then is
left out, and one that was blocked later is not. A point without an answer has a reason instead.

The points are put in the order of the buckets and releases that they need, and so many of them at
a time are joined to these files alone: memory does not grow with the points or the lake. Row i of
what is written is row i of what was given.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from pinnersage import erased, queries, source, takedown
from pinnersage.config import Settings
from pinnersage.errors import ConfigError, DataError
from pinnersage.extract import end_of
from pinnersage.moves import spans
from pinnersage.queries import quoted
from pinnersage.release import Medoids, Releases
from pinnersage.schema import MEDOIDS, TIME
from pinnersage.stores.disk import disk_errors
from pinnersage.stores.lake import ROW_GROUP, Lake, place

COLUMNS = (
    "medoid_ids", "importance", "n_actions", "last_acted_at",
    "release", "medoids_day", "embeddings", "age_days", "reason",
)  # fmt: skip
"""What is added to each point: lists, the most important medoid first; where they are from."""
ROW = "file_row_number"
"""DuckDB's own name."""
BATCH = 50_000
"""Points that are joined at a time."""


class PointsReport(BaseModel):
    """What the points were given."""

    model_config = ConfigDict(frozen=True)

    points: int
    with_medoids: int
    without: dict[str, int]
    """Points by the reason why they have none."""
    releases: int
    """Different releases that the points fall into."""
    deleted_days: list[date]
    """Days whose medoids retention has removed."""
    written: str


class Files:
    """The files of medoids that some points need."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.medoids: dict[str, Medoids] = {}
        """By their version in the key-value store."""
        self.deleted_days: set[date] = set()

    def paths(self, keyvalue: str, bucket: int) -> list[str] | None:
        """Return the files of a bucket, None where retention has removed some."""
        made = self.medoids[keyvalue]
        folder = place("medoids", day=made.day)
        if self.lake.storage.exists(f"{folder}/manifests/{made.manifest}.json"):
            manifest = self.lake.version("medoids", made.manifest, day=made.day)
            files = [file for file in manifest.files if file.bucket == bucket]
            if all(self.lake.holds(file) for file in files):
                return self.lake.paths(manifest, bucket=bucket)
        self.deleted_days.add(made.day)
        return None


def at_points(
    points: Path,
    to: Path,
    now: datetime,
    settings: Settings,
    *,
    user: str = "user_id",
    time: str = "time",
) -> PointsReport:
    """Write the points with the medoids that were live then, as Parquet.

    Parameters
    ----------
    points : Path
        A Parquet file.
    to : Path
        Where to write: the columns of ``points``, and ``COLUMNS``.
    now : datetime
        With its zone; nothing is known of what comes later.
    settings : Settings
        Of the home.
    user, time : str
        Columns: an id as text or integer; a timestamp, UTC where it has no zone.

    Raises
    ------
    ConfigError, DataError
        Columns that are not there, of another type, or of a name that is written; a broken file.
    """
    releases = Releases(settings)
    lake = releases.lake
    if to.is_dir() or not to.parent.is_dir() or to.absolute() == points.absolute():
        raise ConfigError(
            f"{to}: name a file of its own for the result, in a folder that is there."
        )
    with (
        disk_errors(to.parent),
        lake.workspace() as work,
        queries.connect(work / "spill", settings.run) as con,
    ):
        try:
            view(con, points, user, time)
            files = Files(lake)
            lives(con, releases, files)
            blocked(con, settings)
            locate(con, work, now, settings)
            joined(con, work, files)
            return finished(con, work, to, files)
        except duckdb.Error as error:
            raise queries.translate(error, str(points)) from error


def view(con: duckdb.DuckDBPyConnection, points: Path, user: str, time: str) -> None:
    """Put the views ``given`` and ``points`` over the file."""
    if not points.is_file():
        raise DataError(f"{points}: no such file. Name a Parquet file of users and times.")
    present = source.columns(con, [str(points)], str(points))
    absent = [name for name in (user, time) if name not in present]
    if absent:
        raise DataError(
            f"{points}: no column {', '.join(absent)}; there are {', '.join(present)}. Name them "
            "with --user and --time."
        )
    taken = [name for name in present if name.lower() in {*COLUMNS, ROW}]
    if taken:
        raise ConfigError(f"{points}: columns {', '.join(taken)} would be written. Rename them.")
    source.id_type(present[user], user, str(points))
    if present[time] not in source.TIMES | source.ZONED:
        raise DataError(f"{points}: column {time} is {present[time]}, not a timestamp. Cast it.")
    con.read_parquet(str(points), file_row_number=True).create_view("given")
    zoned = f"{quoted(time)}{'' if present[time] in source.ZONED else '::TIMESTAMP'}::TIMESTAMPTZ"
    con.view("given").project(
        f"{ROW} AS point_row, {quoted(user)}::VARCHAR AS user_id, "
        f"CASE WHEN isfinite({zoned}) THEN {zoned} END AS asked_at"
    ).create_view("points")


def lives(con: duckdb.DuckDBPyConnection, releases: Releases, files: Files) -> None:
    """Put the table ``lives``: which medoids were live from when to when; those points need."""
    first, last = con.sql("SELECT min(asked_at), max(asked_at) FROM points").fetchall()[0]
    history = releases.history()
    known = spans(history)
    rows: list[dict[str, Any]] = []
    begin = min((move.at for move in history), default=None)
    for span in known:
        if last is None or span.start > last or (span.end is not None and span.end <= first):
            continue
        release = releases.get(span.live)
        medoids = release.medoids
        files.medoids[medoids.keyvalue] = medoids
        rows.append(
            {
                "live_from": span.start,
                "live_until": span.end,
                "release": release.number,
                "medoids_day": medoids.day,
                "day_end": end_of(medoids.day),
                "keyvalue": medoids.keyvalue,
                "embeddings": release.embeddings,
            }
        )
    if begin is not None and not (rows and rows[0]["live_from"] == begin):
        rows.append({"live_from": begin, "live_until": begin})  # something was live, unsure what
    schema = pa.schema(
        [
            ("live_from", TIME), ("live_until", TIME), ("release", pa.int64()),
            ("medoids_day", pa.date32()), ("day_end", TIME), ("keyvalue", pa.string()),
            ("embeddings", pa.string()),
        ]
    )  # fmt: skip
    con.register("lives", pa.Table.from_pylist(rows, schema=schema))


def blocked(con: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Put the table ``blocked``: which pins were taken down from when to when."""
    rows = [
        {"pin": pin, "since": since, "until": until}
        for pin, since, until in takedown.read(settings).times()
    ]
    schema = pa.schema([("pin", pa.string()), ("since", TIME), ("until", TIME)])
    con.register("blocked", pa.Table.from_pylist(rows, schema=schema))


def locate(con: duckdb.DuckDBPyConnection, work: Path, now: datetime, settings: Settings) -> None:
    """Write the points with the release that they fall into, in the order of what they need."""
    max_age = timedelta(days=settings.features.max_age_days)
    parameters = {
        "now": now,
        "n_buckets": settings.lake.n_buckets,
        "max_age_us": max_age // timedelta(microseconds=1),
    } | erased.read(settings).parameters()
    con.sql(queries.text("medoids/live_at"), params=parameters).write_parquet(
        str(work / "located.parquet")
    )


def joined(con: duckdb.DuckDBPyConnection, work: Path, files: Files) -> None:
    """Write what each point is given, some points at a time."""
    writer = None
    for part in parts(con, work / "located.parquet", files):
        writer = writer or pq.ParquetWriter(work / "features.parquet", part.schema)
        writer.write_table(part)
    if writer:
        writer.close()


def parts(con: duckdb.DuckDBPyConnection, located: Path, files: Files) -> Iterator[pa.Table]:
    """Yield what some points are given; at least once, so that there is a schema."""
    with pq.ParquetFile(located) as file:
        batches = file.iter_batches(BATCH) if file.metadata.num_rows else iter(())
        empty = file.schema_arrow.empty_table()
        first = next(batches, None)
        yield part(con, empty if first is None else pa.Table.from_batches([first]), files)
        for batch in batches:
            yield part(con, pa.Table.from_batches([batch]), files)


def part(con: duckdb.DuckDBPyConnection, points: pa.Table, files: Files) -> pa.Table:
    """Return what some points are given."""
    con.register("located_points", points)
    wanted = con.sql(
        "SELECT DISTINCT keyvalue, bucket FROM located_points WHERE reason IS NULL ORDER BY ALL"
    ).fetchall()
    found = {(keyvalue, bucket): files.paths(keyvalue, bucket) for keyvalue, bucket in wanted}
    named = [(v, b, path) for (v, b), paths in found.items() for path in paths or ()]
    gone = [key for key, paths in found.items() if paths is None]
    key = ("keyvalue", pa.string()), ("bucket", pa.int64())
    con.register("medoid_files", table(*key, ("filename", pa.string()), of=named))
    con.register("deleted", table(*key, of=gone))
    paths = sorted({path for _, _, path in named})
    if paths:
        con.read_parquet(paths, filename=True, hive_partitioning=False).create_view(
            "medoids", replace=True
        )
    else:
        layout = files.lake.layout
        empty = MEDOIDS.arrow(layout.user_id, layout.pin_id).append(
            pa.field("filename", pa.string())
        )
        con.from_arrow(empty.empty_table()).create_view("medoids", replace=True)
    return con.sql(queries.text("medoids/at_points")).to_arrow_table()


def table(*columns: tuple[str, pa.DataType], of: Sequence[tuple[object, ...]]) -> pa.Table:
    """Return a small table of rows, which may be none."""
    names = [name for name, _ in columns]
    rows = [dict(zip(names, row, strict=True)) for row in of]
    return pa.Table.from_pylist(rows, schema=pa.schema(columns))


def finished(con: duckdb.DuckDBPyConnection, work: Path, to: Path, files: Files) -> PointsReport:
    """Write the points with what they are given, in their order, and say what that is."""
    con.read_parquet(str(work / "features.parquet")).create_view("features")
    unfinished = to.with_name(f".{to.name}.unfinished")
    try:
        con.sql(
            f"SELECT given.* EXCLUDE ({ROW}), features.* EXCLUDE (point_row) FROM given "  # noqa: S608
            f"INNER JOIN features ON given.{ROW} = features.point_row ORDER BY features.point_row"
        ).write_parquet(str(unfinished), compression="zstd", row_group_size=ROW_GROUP)
        unfinished.replace(to)
    finally:
        unfinished.unlink(missing_ok=True)
    reasons = dict(
        con.sql("SELECT reason, count(*) FROM features GROUP BY reason ORDER BY reason").fetchall()
    )
    with_medoids = reasons.pop(None, 0)
    return PointsReport(
        points=with_medoids + sum(reasons.values()),
        with_medoids=with_medoids,
        without=reasons,
        releases=queries.scalar(con, "SELECT count(DISTINCT release) FROM features"),
        deleted_days=sorted(files.deleted_days),
        written=str(to),
    )
