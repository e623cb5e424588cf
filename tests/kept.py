"""Kept: a home whose days are made by hand in milliseconds, whole enough to be read.

The stores are real: an LMDB version a day, and copies of one small HNSW index under other names.
"""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from worlds import clock

from pinnersage import config, release, retrieve
from pinnersage.release import Releases
from pinnersage.stores import embeddings, open_keyvalue, open_lake, open_storage, open_vectors
from pinnersage.stores.edge import EdgeStore
from pinnersage.stores.lake import Layout, Manifest
from pinnersage.stores.packing import Profile, key_of, pack
from pinnersage.stores.versions import Shelf

FIRST = date(2026, 3, 1)
PINS, DIMENSIONS = 12, 4
VECTORS = np.random.default_rng(5).normal(size=(PINS, DIMENSIONS)).astype(np.float32)
SMALL = {
    "model": {"window_days": 3},
    "checks": {"drift_days": 1, "min_drift_days": 1},
    "retention": {
        "spare_action_days": 0,
        "medoids_days": 3,
        "index_days": 2,
        "ready_days": 2,
        "reports_days": 5,
        "grace_days": 2,
    },
}
"""Kept are 4 days of actions, 3 of medoids and 2 of refined pins."""


def nth(n):
    """The n-th day."""
    return FIRST + timedelta(days=n)


def build_index(root):
    """A folder with one small index, to be copied."""
    EdgeStore(root).build("base", np.arange(PINS), VECTORS, {"embeddings": "?"})
    return root / "base"


class Home:
    """Days staged, clustered, published, refined and indexed by hand."""

    def __init__(self, root: Path, index: Path, **sections):
        self.settings = config.build(root, SMALL | sections)
        self.base = index
        self.lake = open_lake(self.settings)
        self.storage = open_storage(self.settings)
        self.keyvalue = open_keyvalue(self.settings)
        self.vectors = open_vectors(self.settings)
        self.shelf = Shelf(root / "stores" / "vectors")
        self.releases = Releases(self.settings)
        self.lake.create(Layout(n_buckets=1, user_id="string", pin_id="int64"))
        self.embed(FIRST)

    def embed(self, valid_from, scale=1.0):
        """A version of the embeddings and one of the pins."""
        turned = np.roll(VECTORS, int(scale), axis=1)
        made = embeddings.write(
            self.lake,
            pa.array(range(PINS)),
            turned,
            valid_from=valid_from,
            first_day=FIRST,
            max_bad_share=0.0,
        )
        report = embeddings.dated(self.lake, "pins", made.version, valid_from, FIRST)
        file = self.file("pins", f"pins {scale}", version=made.version)
        keys = {"version": made.version}
        self.lake.commit(Manifest(table="pins", partition=keys, files=(file,), report=report))
        return made.version

    def file(self, table, content, **keys):
        """A data file of a partition."""
        with self.lake.workspace() as work:
            rows = pa.table(
                {
                    "pin_id": list(range(PINS)),
                    "title": [content] * PINS,
                    "image_url": [""] * PINS,
                }
            )
            return self.lake.add_table(rows, table, work, **keys)

    def stage(self, day, content="a"):
        file = self.file("actions", f"{day} {content}", day=day, bucket=0)
        keys = {"day": str(day)}
        return self.lake.commit(
            Manifest(table="actions", partition=keys, files=(file,), rows=file.rows)
        )

    def stage_empty(self, day):
        """A day of which the source has no row."""
        return self.lake.commit(Manifest(table="actions", partition={"day": str(day)}))

    def judge(self, day, waived=None):
        """The day's quality report, under its own name and as the last one."""
        data = json.dumps({"day": str(day), "waived": waived}).encode()
        for name in ("report", "0123456789abcdef"):
            self.storage.write(f"reports/quality/day={day}/{name}.json", data)

    def cluster(self, day, content="a"):
        """The day's one bucket."""
        vectors = embeddings.valid_at(self.lake, "embeddings", day)
        window = [day - timedelta(days=n) for n in range(self.settings.model.window_days)]
        staged = [m for d in window if (m := self.lake.current("actions", day=d))]
        return self.lake.commit(
            Manifest(
                table="medoids",
                partition={"day": str(day), "bucket": "0"},
                files=(self.file("medoids", f"{day} {content}", day=day, bucket=0),),
                reads=(vectors.ref, *(m.ref for m in staged)),
                report={"embeddings": vectors.partition["version"]},
            )
        )

    def validate(self, day):
        bucket = self.lake.current("medoids", day=day, bucket=0)
        return self.lake.commit(
            Manifest(
                table="medoids",
                partition={"day": str(day)},
                files=bucket.files,
                reads=(bucket.ref,),
                report=bucket.report,
            )
        )

    def publish(self, day):
        medoids = self.lake.current("medoids", day=day)
        version = release.keyvalue_version(medoids)
        one = Profile(
            np.array([3]),
            np.array([1.5]),
            np.array([2], np.uint32),
            np.array([0.0], np.float32),
            np.array([0]),
        )
        self.keyvalue.write(version, [(key_of("user"), pack(one))], medoids.report)
        return version

    def index(self, day, version=None, content="same"):
        """Refined pins and their index; equal content takes the files of a day before."""
        vectors = embeddings.valid_at(self.lake, "embeddings", day)
        pins = embeddings.valid_at(self.lake, "pins", day)
        reads = (vectors.ref, pins.ref)
        for earlier in reversed([d for d in self.lake.days("refined") if d <= day]):
            refined = self.lake.current("refined", day=earlier)
            if (refined.reads, refined.settings_hash) == (reads, content):
                break
        else:
            file = self.file("refined", f"{day} {content}", day=day)
            refined = Manifest(
                table="refined", partition={}, files=(file,), reads=reads, settings_hash=content
            )
        refined = self.lake.commit(refined.model_copy(update={"partition": {"day": str(day)}}))
        about = {"embeddings": vectors.partition["version"]}
        version = version or f"index-{content}-{about['embeddings']}"
        if version not in self.shelf:
            facts = json.loads((self.base / "about.json").read_text())
            with self.shelf.aside() as aside:
                shutil.copytree(self.base / "shard", aside.path / "shard")
                self.shelf.finish(aside, version, facts | {"about": about})
        report = {"version": version} | about
        self.lake.commit(
            Manifest(
                table="index", partition={"day": str(day)}, reads=(refined.ref,), report=report
            )
        )
        return version

    def medoids(self, day, content="a"):
        """A day up to its release, beside whatever index there is."""
        self.stage(day, content)
        self.cluster(day, content)
        self.validate(day)
        self.publish(day)
        self.judge(day)
        return release.release_medoids(day, clock, self.settings)

    def day(self, n, content="a", **index):
        """A whole day, as the two DAGs would run it."""
        self.medoids(nth(n), content)
        self.index(nth(n), **index)
        return release.release_index(nth(n), clock, self.settings)

    def copy(self, root):
        """Another home with the same in it."""
        shutil.copytree(self.settings.home, root)
        return Home.opened(root, self)

    @classmethod
    def opened(cls, root, like):
        """A home that is there."""
        home = cls.__new__(cls)
        values = like.settings.model_dump(exclude={"home"})
        home.settings, home.base = config.build(root, values), like.base
        home.lake, home.storage = open_lake(home.settings), open_storage(home.settings)
        home.keyvalue, home.vectors = open_keyvalue(home.settings), open_vectors(home.settings)
        home.shelf, home.releases = Shelf(root / "stores" / "vectors"), Releases(home.settings)
        return home

    def files(self):
        """Every file and every version, but maintenance's reports."""
        found = {entry.key for entry in self.storage.list("")}
        found = {key for key in found if not key.startswith(("reports/maintenance", "stores/"))}
        return found | {*self.keyvalue.versions()} | {*self.vectors.versions()}


def assert_reads_whole(home):
    """The live release opens, recommends, and every file that it names is there."""
    live = home.releases.live()
    release.require_present(live, home.settings)
    with retrieve.open_live(home.settings) as reader:
        assert reader.profile("user") is not None
        if live.index:
            assert reader.recommend("user").candidates
            assert retrieve.titles(home.settings, live, [3])
    medoids = home.lake.version("medoids", live.medoids.manifest, day=live.medoids.day)
    assert all(home.lake.holds(file) for file in medoids.files)
