"""Publish: a day's medoids to the key-value store, as a version of their own.

Reads ``medoids/day=…``, which exists only if ``validate`` passed it. Writes one packed value a
user under a new version, and with it the day's popular pins; readers see it when ``release`` moves
the pointer. The version is named for the day and its manifest, so publishing the same day again
finds it there and writes nothing.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
from pydantic import BaseModel, ConfigDict

from pinnersage import erase, erased, queries
from pinnersage.config import Settings
from pinnersage.errors import DataError
from pinnersage.release import keyvalue_version
from pinnersage.schema import MEDOIDS
from pinnersage.stores import open_keyvalue, open_lake
from pinnersage.stores.lake import Lake, Manifest, broken_file
from pinnersage.stores.packing import pack_users

POPULAR = 1000
"""Most pins that are kept for users of whom nothing is known."""


class PublishReport(BaseModel):
    """What was published."""

    model_config = ConfigDict(frozen=True)

    day: date
    users: int
    version: str


def run(day: date, settings: Settings) -> PublishReport:
    """Write ``day`` as a version of the key-value store."""
    own = erase.own_days("medoids", [day], settings)
    return erase.settled(lambda: publish_day(day, settings), settings, own)


def publish_day(day: date, settings: Settings) -> PublishReport:
    """Do what ``run`` does, once."""
    lake, before = open_lake(settings), erased.read(settings)
    manifest = lake.require("medoids", f"pinnersage validate --day {day}", day=day)
    version = keyvalue_version(manifest)
    store = open_keyvalue(settings)
    try:
        about = {
            "day": day.isoformat(),
            "medoids": manifest.version,
            "embeddings": manifest.report["embeddings"],
            "users": manifest.report["measures"]["n_users"] - manifest.erased,
            "popular": popular(lake, manifest, settings),
        }
        users = store.write(version, packed(lake, manifest), about)
    except duckdb.Error as error:
        raise queries.translate(error, f"publish {day}") from error
    with store.open(version) as reader:  # one written earlier may be of more users
        counted = reader.about["users"]
    if users != counted:
        store.drop(version)
        raise DataError(
            f"{day}: {users:,} users were written and the checks counted {counted:,}. "
            "The version was dropped; run validate and publish again. See runbook: publish count."
        )
    now = erased.read(settings)
    if now.under_way or now != before:  # the files that were read may have had them
        erase.from_version(store, version, now.among)
    return PublishReport(day=day, users=users, version=version)


def popular(lake: Lake, manifest: Manifest, settings: Settings) -> list[int | str]:
    """Return the pins that are a medoid of the most users, those of the most first."""
    paths = lake.paths(manifest)
    if not paths:
        return []
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        con.read_parquet(paths, hive_partitioning=False).create_view("medoids")
        rows = con.sql(queries.text("medoids/popular"), params={"most": POPULAR}).fetchall()
    return [pin for (pin,) in rows]


def packed(lake: Lake, manifest: Manifest) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of each user, one bucket's file at a time."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    schema = MEDOIDS.arrow(lake.layout.user_id, lake.layout.pin_id)
    for path in lake.paths(manifest):
        with broken_file(Path(path)):
            medoids = pq.ParquetFile(path).read(columns=schema.names)
        yield from pack_users(medoids)
