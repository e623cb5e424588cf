"""Init: a home folder over your own Parquet, and your pins and embeddings brought into its lake.

Nothing of the actions is copied: their columns and types are looked at, and ``pinnersage.toml``
says from then on where they are. Pins and embeddings become versions in the lake, valid from a
day on. Calling it again with new ones adds versions beside the old.
"""

import hashlib
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from pinnersage import config, queries, source
from pinnersage.config import LakeConfig, RunConfig, Section, Settings, SourceConfig
from pinnersage.errors import ConfigError, DataError
from pinnersage.schema import PINS, IdType
from pinnersage.stores import embeddings, open_lake
from pinnersage.stores.disk import write_atomically
from pinnersage.stores.embeddings import Imported
from pinnersage.stores.lake import Lake, Layout, Manifest
from pinnersage.version import __version__


class Items(BaseModel):
    """Your table of pins, and which of its columns mean what; empty: there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = ""
    pin: str = "pin_id"
    quality: str = ""
    near_duplicate_of: str = ""
    title: str = ""
    image_url: str = ""
    created_at: str = ""
    topic: str = ""
    embeddings: str = ""
    """A ``.npy`` file, row i for row i of the table; or the name of a list column of it."""


class InitReport(BaseModel):
    """What there is."""

    model_config = ConfigDict(frozen=True)

    home: str
    actions: int
    users: int
    first_day: date
    last_day: date
    action_kinds: dict[str, int]
    pins: int
    embeddings: Imported | None
    user_id: IdType
    pin_id: IdType


def run(
    home: Path,
    actions: SourceConfig,
    items: Items,
    *,
    n_buckets: int = 4,
    lake_root: str = "",
    valid_from: date | None = None,
) -> InitReport:
    """Set up ``home``; versions are valid from ``valid_from``, else from the first action's day.

    Raises
    ------
    DataError, ConfigError
        Files or columns that are not there, types that cannot be used, or a home that was set up
        over other actions.
    """
    actions = actions.model_copy(update={"actions": absolute(actions.actions)})
    facts = look(actions)
    layout = {"n_buckets": n_buckets, "root": lake_root}
    settings = config.build(home, {"lake": layout, "source": actions.model_dump()})
    lake = open_lake(settings)
    lake.create(Layout(n_buckets=n_buckets, user_id=facts["user_id"], pin_id=facts["pin_id"]))
    settings = write_settings(
        settings, lake=LakeConfig(n_buckets=n_buckets, root=lake_root), source=actions
    )
    first_day = facts["first_day"]
    pins, vectors = read_items(items, facts["pin_id"])
    imported = None
    if vectors is not None:
        limit = settings.checks.max_bad_vector_share
        ids = pins["pin_id"].combine_chunks()
        imported = embeddings.write(
            lake, ids, vectors, valid_from=valid_from, first_day=first_day, max_bad_share=limit
        )
    if items.path or not lake.versions("pins"):
        write_pins(lake, pins, valid_from=valid_from, first_day=first_day)
    return InitReport(home=str(home), pins=pins.num_rows, embeddings=imported, **facts)


def absolute(path: str) -> str:
    """Return a path that does not depend on where the command was given."""
    return str(Path(path).expanduser().absolute()) if path and "://" not in path else path


def look(actions: SourceConfig) -> dict[str, Any]:
    """Return what is in the actions: types, counts, first and last day."""
    with TemporaryDirectory() as spill, queries.connect(Path(spill), RunConfig()) as con:
        user, pin = source.view(con, actions)
        try:
            facts = queries.first(con, queries.text("raw_actions/profile"))
            kinds = dict(con.execute(queries.text("raw_actions/kinds")).fetchall())
        except duckdb.Error as error:
            raise queries.translate(error, actions.actions) from error
    if not facts["actions"]:
        raise DataError(f"{actions.actions}: no row with a time. Mend source.actions.")
    absent = [kind for kind in actions.interest_actions if kind not in kinds]
    if len(absent) == len(actions.interest_actions):
        raise DataError(
            f"No action is one of {', '.join(actions.interest_actions)}; there are "
            f"{', '.join(f'{kind} ({n:,})' for kind, n in kinds.items())}. Name with --interest "
            "those that show interest."
        )
    return {
        **facts,
        "action_kinds": kinds,
        "user_id": user,
        "pin_id": pin,
    }


def write_settings(settings: Settings, **given: Section) -> Settings:
    """Write ``pinnersage.toml``, or accept one over the same actions; return what is in force.

    The environment is in force, and is not written down.
    """
    path = settings.home / config.FILE
    if path.is_file():
        there = config.load(settings.home)
        if there.source != settings.source:
            raise ConfigError(
                f"{path} is set up over {there.source.actions} with columns of its own. Edit "
                "[source] there, or choose a new home folder."
            )
        return there
    write_atomically(path, config.to_toml(**given).encode())
    return settings


def read_items(items: Items, pin_type: IdType) -> tuple[pa.Table, np.ndarray | None]:
    """Return pins in the order of the table, and their vectors if there are any."""
    schema = PINS.arrow(pin=pin_type)
    if not items.path:
        if items.embeddings:
            raise ConfigError("--embeddings needs --items: the table whose rows they belong to.")
        return schema.empty_table(), None
    path = Path(items.path).expanduser()
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}. Mend --items.") from error
    vectors = read_vectors(items, table)
    if items.quality and items.quality not in table.column_names:
        table = table.append_column(items.quality, evaluated(table, items.quality, str(path)))
    mapped = items.model_dump(exclude={"path", "embeddings", "pin"})
    named = {"pin_id": items.pin} | {ours: theirs for ours, theirs in mapped.items() if theirs}
    absent = [name for name in named.values() if name not in table.column_names]
    if absent:
        raise DataError(
            f"{path}: no column {', '.join(absent)}; there are {', '.join(table.column_names)}."
        )
    kind = table[items.pin].type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (
        pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    ):
        raise DataError(
            f"{path}: column {items.pin} is {kind}; an identifier is text or an integer. Cast it "
            "when you export."
        )
    columns = [convert(table, named.get(field.name), field, str(path)) for field in schema]
    pins = pa.table(columns, schema=schema)
    embeddings.check_ids(pins["pin_id"].combine_chunks())
    check_quality(pins["quality"], f"{path}: column {items.quality}")
    return pins, vectors


def evaluated(table: pa.Table, expression: str, where: str) -> pa.ChunkedArray:
    """Return what an SQL expression over the table's columns gives for each row, in their order."""
    plain = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    number = "row number"
    while number in plain:
        number += "_"
    numbered = table.select(plain).append_column(number, pa.array(np.arange(table.num_rows)))
    with TemporaryDirectory() as spill, queries.connect(Path(spill), RunConfig()) as con:
        try:
            con.register("items", numbered)
            # The user's own words about the user's own table, on the user's own machine.
            found = con.sql(
                f"SELECT {queries.quoted(number)} AS place, ({expression})::DOUBLE AS quality "  # noqa: S608
                "FROM items"
            ).to_arrow_table()
        except duckdb.Error as error:
            raise DataError(
                f"{where}: quality {expression!r} is no column ({', '.join(table.column_names)}) "
                f"and no SQL expression over them: {str(error).splitlines()[0]}. Mend --quality."
            ) from error
    places = found["place"].to_numpy() if found.column_names == ["place", "quality"] else None
    if places is None or not np.array_equal(np.sort(places), np.arange(table.num_rows)):
        raise DataError(f"{where}: quality {expression!r} does not give one value a row.")
    return found.sort_by("place")["quality"]


def check_quality(quality: Any, where: str) -> None:
    """Refuse a quality that is no share: ``index.min_quality`` could not be compared with it."""
    known = quality.drop_null().to_numpy()
    wrong = known[~((known >= 0) & (known <= 1))]
    if wrong.size:
        raise DataError(
            f"{where}: {wrong.size:,} of {known.size:,} are not within 0 to 1, such as "
            f"{wrong[0]}. Scale them when you export; where quality is not known, leave it empty."
        )


def convert(table: pa.Table, name: str | None, field: pa.Field, where: str) -> Any:
    """Return a column in our type; one that is not mapped is null."""
    if name is None:
        return pa.nulls(table.num_rows, field.type)
    try:
        column = table[name]
        if pa.types.is_boolean(column.type) and pa.types.is_floating(field.type):
            column = column.cast(pa.int8())
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{where}: column {name} is {table[name].type} and cannot become {field.type} for "
            f"{field.name} ({str(error).splitlines()[0]}). Cast it when you export."
        ) from error


def read_vectors(items: Items, table: pa.Table) -> np.ndarray | None:
    """Return the vectors from a ``.npy`` file or a list column."""
    if not items.embeddings:
        return None
    if items.embeddings in table.column_names:
        return list_column(table[items.embeddings].combine_chunks(), items)
    path = Path(items.embeddings).expanduser()
    if not path.is_file():
        raise DataError(
            f"--embeddings {items.embeddings}: neither a file nor a column of {items.path}; its "
            f"columns are {', '.join(table.column_names)}."
        )
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is not a .npy file of numbers: {error}.") from error
    if not isinstance(vectors, np.ndarray):
        raise DataError(f"{path} holds several arrays. Save one with numpy.save, as .npy.")
    return vectors


def list_column(column: Any, items: Items) -> np.ndarray:
    """Return a column of lists as a matrix; every list must be as long as the first."""
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise DataError(f"{items.path}: column {items.embeddings} is {column.type}, not lists.")
    if not pa.types.is_floating(column.type.value_type):
        raise DataError(
            f"{items.path}: column {items.embeddings} has lists of {column.type.value_type}, not "
            "of floats. Cast them when you export."
        )
    lengths = pa.compute.list_value_length(column)
    if column.null_count or pa.compute.count_distinct(lengths).as_py() != 1:
        counts = pa.compute.value_counts(lengths).to_pylist()
        raise DataError(
            f"{items.path}: vectors in column {items.embeddings} have different lengths: "
            f"{ {str(c['values']): c['counts'] for c in counts} }. Export one dimension."
        )
    values = column.flatten().to_numpy(zero_copy_only=False)
    kind = np.float16 if values.dtype == np.float16 else np.float32
    vectors: np.ndarray = values.astype(kind, copy=False).reshape(len(column), -1)
    return vectors


def write_pins(lake: Lake, pins: pa.Table, *, valid_from: date | None, first_day: date) -> Manifest:
    """Write a version of ``pins``, named for its content."""
    with lake.workspace() as work, queries.connect(work / "spill", RunConfig()) as con:
        con.register("pins", pins)
        sql = f"SELECT {queries.values_hash(pins.schema)} FROM pins"  # noqa: S608
        hashed = queries.scalar(con, sql)
        name = hashlib.sha256(f"{hashed}/{pins.num_rows}".encode()).hexdigest()[:12]
        ordered = pins.sort_by("pin_id") if pins.num_rows else pins
        file = lake.add_table(ordered, "pins", work, version=name)
    return lake.commit(
        Manifest(
            table="pins",
            partition={"version": name},
            files=(file,),
            rows=pins.num_rows,
            content_hash=queries.hash_text(hashed),
            code_version=__version__,
            report=embeddings.dated(lake, "pins", name, valid_from, first_day),
        )
    )
