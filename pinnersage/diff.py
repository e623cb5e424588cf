"""Diff: how the medoids of two days differ."""

from datetime import date

import duckdb
from pydantic import BaseModel, ConfigDict

from pinnersage import queries
from pinnersage.config import Settings
from pinnersage.schema import MEDOIDS
from pinnersage.stores import open_lake


class DiffReport(BaseModel):
    """One day against another; counts are of users."""

    model_config = ConfigDict(frozen=True)

    one: date
    other: date
    users_in_one: int
    users_in_other: int
    users_lost: int
    users_new: int
    users_unchanged: int
    """In both, with the same medoids."""
    mean_jaccard: float
    """Of a user's medoids on the two days, over users in both."""
    mean_clusters_one: float
    mean_clusters_other: float


def run(one: date, other: date, settings: Settings) -> DiffReport:
    """Compare the medoids of two days that passed their checks."""
    lake = open_lake(settings)
    empty = MEDOIDS.arrow(lake.layout.user_id, lake.layout.pin_id).empty_table()
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        for name, day in (("medoids_of_one", one), ("medoids_of_other", other)):
            manifest = lake.require("medoids", f"pinnersage run --day {day}", day=day)
            paths = lake.paths(manifest)
            if paths:
                con.read_parquet(paths, hive_partitioning=False).create_view(name)
            else:
                con.register(name, empty)
        try:
            values = queries.first(con, queries.text("medoids/diff"))
        except duckdb.Error as error:
            raise queries.translate(error, f"diff {one} {other}") from error
    return DiffReport(one=one, other=other, **values)
