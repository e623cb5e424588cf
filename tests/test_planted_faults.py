"""Planted faults: ten kinds, each stops the day at its gate, and the day's report names it.

One world of 400 users whose last days are live. Each fault is put where it would come from: into
the raw events, into the lake between steps, into the embeddings, into the settings; then the day
goes through the real steps. The same world without a fault goes live, so each test can fail.
"""

import html
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from worlds import change, clock, items_of, source_of

from pinnersage import (
    cluster,
    compare,
    config,
    extract,
    init,
    pages,
    parity,
    publish,
    release,
    stage,
    validate,
)
from pinnersage.config import Settings
from pinnersage.errors import ChecksError, DataError
from pinnersage.release import Releases
from pinnersage.stores import embeddings, open_lake, open_storage
from pinnersage.synthetic import World, write

pytestmark = pytest.mark.slow

FIRST = date(2026, 1, 1)
DAY = FIRST + timedelta(days=40)
BEFORE = [DAY - timedelta(days=n) for n in (3, 2, 1)]
WORLD = World(
    n_users=400, n_pins=2000, n_topics=40, dimensions=16, n_days=41, first_day=FIRST, seed=3,
    actions_per_user=400,
)  # fmt: skip
N_BUCKETS = 12


class Fault(NamedTuple):
    """One way in which a day is wrong, and what its report must say."""

    kind: str
    before: str
    """Step that meets it: it is planted before that one."""
    table: str
    rule: str
    rows: dict[str, str] | None
    """Columns and values that the rows shown must have; None: a fact of the day, without rows."""


FAULTS = {
    "half_of_the_day_s_users": Fault(
        "half of the users missing", "stage", "day", compare.ACTING, None),
    "half_of_the_window_s_users": Fault(
        "half of the users missing", "cluster", "day", compare.COVERAGE, None),
    "half_of_the_users_medoids": Fault(
        "half of the users missing", "validate", "users",
        "actions in a user's clusters are the actions of the window", {"n_actions_clustered": "0"}),
    "importance_times_ten": Fault(
        "importances x 10", "validate", "users",
        "importance of a user's clusters is that of the actions", {}),
    "medoid_of_somebody_else": Fault(
        "medoid not in the user's history", "validate", "medoids",
        "medoid is one of the user's own actions of the window", {"is_own_pin": "False"}),
    "events_three_times": Fault(
        "duplicates", "stage", "raw actions", "none is an event that was there already", {}),
    "medoids_twice": Fault(
        "duplicates", "validate", "medoids", "user, rank: one row each", {}),
    "nan_importance": Fault(
        "NaN", "validate", "medoids", "importance is finite and above 0", {"importance": "nan"}),
    "events_without_a_user": Fault(
        "NaN", "stage", "raw actions",
        "none is a raw row without a user, a pin, an action or a time", {"reason": "no_user"}),
    "newer_embeddings_since_cluster": Fault(
        "stale embeddings", "validate", "buckets",
        "bucket was clustered from the embeddings valid on the day", {"has_embeddings": "False"}),
    "embeddings_without_a_refresh": Fault(
        "stale embeddings", "cluster", "day", compare.AGE, None),
    "embeddings_of_a_smaller_catalogue": Fault(
        "stale embeddings", "cluster", "day", compare.UNKNOWN, None),
    "another_threshold": Fault("drift", "cluster", "day", "drift of clusters per user", None),
    "events_of_the_day_before": Fault(
        "wrong day", "stage", "raw actions",
        "none is a raw row outside the day that its file is for", {"reason": "before_the_day"}),
    "staged_files_of_the_day_before": Fault(
        "wrong day", "cluster", "window", "none is an action in the file of another day",
        {"day": DAY.isoformat()}),
    "medoids_of_the_day_before": Fault(
        "wrong day", "validate", "users",
        "first and last action of a user's clusters are the actions'", {}),
    "bucket_without_actions": Fault(
        "empty bucket", "cluster", "buckets", compare.EMPTY, {"bucket": "3"}),
    "bucket_without_medoids": Fault(
        "empty bucket", "validate", "buckets", compare.EMPTY, {"bucket": "3"}),
    "raw_column_missing": Fault(
        "schema change", "stage", "raw actions", "raw actions have their columns and types",
        {"column": "pin_id", "found": "none of that name"}),
    "raw_column_renamed": Fault(
        "schema change", "stage", "raw actions", "raw actions have their columns and types",
        {"column": "acted_at", "found": "none of that name"}),
    "raw_ids_as_text": Fault(
        "schema change", "stage", "raw actions", "raw actions have their columns and types",
        {"column": "user_id", "expected": "int64", "found": "string"}),
    "raw_times_as_text": Fault(
        "schema change", "stage", "raw actions", "raw actions have their columns and types",
        {"column": "acted_at", "expected": "a timestamp", "found": "VARCHAR"}),
    "medoids_column_missing": Fault(
        "schema change", "validate", "medoids", "medoids have their columns and types",
        {"column": "cohesion", "expected": "double", "found": "none of that name"}),
    "medoids_of_another_type": Fault(
        "schema change", "validate", "medoids", "medoids have their columns and types",
        {"column": "importance", "expected": "double", "found": "float"}),
}  # fmt: skip

KINDS = {
    "half of the users missing", "importances x 10", "medoid not in the user's history",
    "duplicates", "NaN", "stale embeddings", "drift", "wrong day", "empty bucket", "schema change",
}  # fmt: skip


def test_all_ten_kinds_are_planted():
    assert {fault.kind for fault in FAULTS.values()} == KINDS


# The world


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Events, and a home in which the three days before are live, by the step that is next.

    Before ``stage`` nothing of the day is done; before ``cluster`` it is staged; and so on.
    """
    folders = {step: tmp_path_factory.mktemp("before") / step for step in STEPS[:3]}
    folder = folders["stage"]
    folder.mkdir()
    write(WORLD, folder)
    source = source_of(folder).model_copy(update={"actions": str(folder / "actions/{day}.parquet")})
    init.run(folder / "home", source, items_of(folder), n_buckets=N_BUCKETS)
    for day in BEFORE:
        run_steps(day, Planting.of(folder).settings)
    for before, after in (("stage", "cluster"), ("cluster", "validate")):
        shutil.copytree(folders[before], folders[after])
        RUN[before](DAY, Planting.of(folders[after]).settings)
    return folders


STEPS = ("stage", "cluster", "validate", "publish", "release")


def cluster_all(day, settings):
    for bucket in range(N_BUCKETS):
        cluster.run(day, bucket, settings)


RUN = {
    "stage": stage.run,
    "cluster": cluster_all,
    "validate": validate.run,
    "publish": publish.run,
    "release": partial(release.release_medoids, clock=clock),
}


def run_steps(day, settings, first="stage"):
    """Run the steps of a day from one on; return what the last said."""
    for step in STEPS[STEPS.index(first) :]:
        if step == "validate":
            with suppress(DataError):  # it stops no day
                parity.run(day, settings)
        said = RUN[step](day, settings=settings)
    return said


@dataclass
class Planting:
    """A home of the test's own; a fault changes its files, or its settings."""

    folder: Path
    settings: Settings

    @classmethod
    def of(cls, folder: Path) -> "Planting":
        settings = change(
            config.load(folder / "home"),
            model={"window_days": 28},
            source={"actions": str(folder / "actions/{day}.parquet")},
        )
        return cls(folder, settings)

    @property
    def raw(self):
        """The day's file of raw events."""
        return self.folder / "actions" / f"{DAY}.parquet"

    @property
    def lake(self):
        return open_lake(self.settings)

    def rewrite_raw(self, alter):
        pq.write_table(alter(pq.read_table(self.raw)), self.raw)

    def rewrite_medoids(self, alter):
        """Change the day's files where they lie, as no step would."""
        for manifest in self.manifests("medoids", DAY):
            for path in self.lake.paths(manifest):
                pq.write_table(alter(pq.read_table(path)), path)

    def manifests(self, table, day):
        if table == "actions":
            return [self.lake.require("actions", "stage", day=day)]
        return [manifest for manifest in validate.current_buckets(self.lake, day) if manifest]

    def window(self):
        return extract.window_manifests(self.lake, DAY, self.settings)

    def drop_buckets(self, manifests, buckets):
        for manifest in manifests:
            files = tuple(f for f in manifest.files if f.bucket not in buckets)
            self.lake.commit(manifest.model_copy(update={"files": files}))


@pytest.fixture
def before(homes, tmp_path):
    """The world before a step of the day."""

    def make(step):
        shutil.copytree(homes[step], tmp_path / "world")
        return Planting.of(tmp_path / "world")

    return make


# How each fault comes into the world


def half(table):
    return table.filter(pc.equal(pc.bit_wise_and(table["user_id"], 1), 0))


def with_column(table, name, values):
    position = table.column_names.index(name)
    return table.set_column(position, name, values)


def first_changed(table, name, value):
    """The same table with another value in the first row."""
    values = table[name].to_pylist()
    return with_column(table, name, pa.array([value, *values[1:]], table[name].type))


def without_users(table):
    ids = table["user_id"].to_pylist()
    return with_column(
        table, "user_id", pa.array([None if n % 8 == 0 else i for n, i in enumerate(ids)])
    )


def plant(name: str, w: Planting) -> None:  # noqa: C901, PLR0912, PLR0915 (one case a fault)
    match name:
        case "half_of_the_day_s_users":
            w.rewrite_raw(half)
        case "half_of_the_window_s_users":
            w.drop_buckets(w.window(), range(0, N_BUCKETS, 2))
        case "half_of_the_users_medoids":
            w.rewrite_medoids(half)
        case "importance_times_ten":
            w.rewrite_medoids(
                lambda t: with_column(t, "importance", pc.multiply(t["importance"], 10))
            )
        case "medoid_of_somebody_else":
            w.rewrite_medoids(lambda t: first_changed(t, "pin_id", -1))
        case "events_three_times":
            w.rewrite_raw(lambda t: pa.concat_tables([t, t, t]))
        case "medoids_twice":
            w.rewrite_medoids(lambda t: pa.concat_tables([t, t.slice(0, 1)]))
        case "nan_importance":
            w.rewrite_medoids(lambda t: first_changed(t, "importance", float("nan")))
        case "events_without_a_user":
            w.rewrite_raw(without_users)
        case "newer_embeddings_since_cluster":
            new_embeddings(w, keep=1.0)
        case "embeddings_without_a_refresh":
            w.settings = change(w.settings, checks={"max_embeddings_age_days": 30})
        case "embeddings_of_a_smaller_catalogue":
            new_embeddings(w, keep=0.7)
        case "another_threshold":
            w.settings = change(w.settings, model={"merge_threshold": 3.0})
        case "events_of_the_day_before":
            shutil.copy(w.raw.with_name(f"{BEFORE[-1]}.parquet"), w.raw)
        case "staged_files_of_the_day_before":
            put_in_place(w, "actions")
        case "medoids_of_the_day_before":
            put_in_place(w, "medoids")
        case "bucket_without_actions":
            w.drop_buckets(w.window(), [3])
        case "bucket_without_medoids":
            w.drop_buckets(w.manifests("medoids", DAY), [3])
        case "raw_column_missing":
            w.rewrite_raw(lambda t: t.drop_columns(["pin_id"]))
        case "raw_column_renamed":
            w.rewrite_raw(lambda t: t.rename_columns({"acted_at": "time"}))
        case "raw_ids_as_text":
            w.rewrite_raw(lambda t: with_column(t, "user_id", t["user_id"].cast(pa.string())))
        case "raw_times_as_text":
            w.rewrite_raw(lambda t: with_column(t, "acted_at", t["acted_at"].cast(pa.string())))
        case "medoids_column_missing":
            w.rewrite_medoids(lambda t: t.drop_columns(["cohesion"]))
        case "medoids_of_another_type":
            w.rewrite_medoids(
                lambda t: with_column(t, "importance", t["importance"].cast(pa.float32()))
            )
        case _:
            raise AssertionError(name)


def new_embeddings(w, *, keep):
    """Another version becomes valid on the day, for a share of the pins."""
    table = embeddings.open_version(w.lake, embeddings.valid_at(w.lake, "embeddings", DAY))
    n = int(keep * len(table.pin_ids))
    vectors = -np.asarray(table.matrix[:n])
    embeddings.write(
        w.lake, table.pin_ids[:n], vectors, valid_from=DAY, first_day=DAY, max_bad_share=0
    )


def put_in_place(w, table):
    """The files of the day before lie under the names of the day's."""
    for today, yesterday in zip(
        w.manifests(table, DAY), w.manifests(table, BEFORE[-1]), strict=True
    ):
        old = {file.bucket: file for file in yesterday.files}
        for file in today.files:
            path = w.lake.path(file)
            path.unlink()
            shutil.copy(w.lake.path(old[file.bucket]), path)


# What must come of it


def test_the_same_world_without_a_fault_goes_live(before):
    world = before("stage")

    assert run_steps(DAY, world.settings).moved

    assert Releases(world.settings).live().medoids.day == DAY
    report = pages.read_quality(open_storage(world.settings), DAY)
    unjudged = {o.rule for o in report.outcomes if o.status == "not_judged"}
    assert (report.failed, unjudged) == ([], set()), "every rule is judged, so that each can fail"


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_stops_the_day_and_is_named(name, before):
    fault = FAULTS[name]
    world = before(fault.before)
    releases = Releases(world.settings)
    live = releases.pointer(), releases.live()
    assert live[1].medoids.day == BEFORE[-1]

    plant(name, world)
    with pytest.raises(ChecksError) as caught:
        run_steps(DAY, world.settings, fault.before)

    assert world.lake.current("medoids", day=DAY) is None
    with pytest.raises(DataError, match="Run first: pinnersage validate"):
        publish.run(DAY, world.settings)
    assert (releases.pointer(), releases.live()) == live
    report = pages.read_quality(open_storage(world.settings), DAY)
    assert (report.status, report.version) == ("failed", caught.value.report_version)
    failed = {(outcome.table, outcome.rule): outcome for outcome in report.failed}
    assert (fault.table, fault.rule) in failed
    page = open_storage(world.settings).read(f"reports/quality/day={DAY}/index.html").decode()
    assert fault.rule in html.unescape(page)
    if fault.rows is not None:
        examples = failed[fault.table, fault.rule].examples
        assert examples
        for column, value in fault.rows.items():
            assert value in {row[column] for row in examples}


def test_a_little_of_a_fault_is_a_warning_that_is_published_and_seen(before):
    world = before("stage")
    world.rewrite_raw(lambda t: pa.concat_tables([t, t.slice(0, 3)]))

    assert run_steps(DAY, world.settings).moved

    report = pages.read_quality(open_storage(world.settings), DAY)
    assert report.status == "warned"
    warned = {outcome.rule: outcome for outcome in report.warned}
    assert len(warned["none is an event that was there already"].examples) == 3
