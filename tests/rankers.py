"""Rankers: a home whose users have the medoids that a test says, whole enough to serve them.

Files, key-value versions and releases are made by the real steps; the medoids are made by hand.
"""

import hashlib
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from pinnersage import config, features, publish, release, retrieve, takedown
from pinnersage.release import Releases
from pinnersage.schema import MEDOIDS
from pinnersage.stores import embeddings, open_lake
from pinnersage.stores.lake import Layout, Manifest

FIRST = date(2026, 3, 1)
PINS = [10 * n for n in range(1, 10)]


def nth(n):
    """The n-th day."""
    return FIRST + timedelta(days=n)


def bucket_of(user, n_buckets):
    """The bucket of a user, as the lake has it."""
    digest = hashlib.md5(str(user).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[8:], "little") % n_buckets


class Home:
    """Days whose medoids are given as ``{user: [(pin, importance), …]}``."""

    def __init__(self, root, *, user="int64", n_buckets=4, **sections):
        self.settings = config.build(root, {"lake": {"n_buckets": n_buckets}} | sections)
        self.lake, self.releases = open_lake(self.settings), Releases(self.settings)
        self.lake.create(Layout(n_buckets=n_buckets, user_id=user, pin_id="int64"))
        self.schema = MEDOIDS.arrow(user, "int64")
        self.now = datetime(2026, 3, 2, 6, tzinfo=UTC)
        vectors = np.random.default_rng(3).normal(size=(len(PINS), 4)).astype(np.float32)
        self.embeddings = embeddings.write(
            self.lake, pa.array(PINS), vectors, valid_from=FIRST, first_day=FIRST, max_bad_share=0.0
        ).version

    def clock(self):
        return self.now

    def compute(self, day, users):
        """The day's medoids, as ``validate`` leaves them."""
        rows = [
            {
                "user_id": user, "rank": rank, "pin_id": pin, "importance": importance,
                "n_actions": rank + 2, "offset": 0.0, "cohesion": 1.0,
                "first_acted_at": datetime(2026, 1, 1, tzinfo=UTC),
                "last_acted_at": datetime(2026, 2, 1, 0, 0, rank, 123_457, tzinfo=UTC),
            }
            for user, clusters in sorted(users.items())
            for rank, (pin, importance) in enumerate(clusters)
        ]  # fmt: skip
        files = []
        n_buckets = self.settings.lake.n_buckets
        with self.lake.workspace() as work:
            for bucket in range(n_buckets):
                own = [row for row in rows if bucket_of(row["user_id"], n_buckets) == bucket]
                made = pa.Table.from_pylist(own, schema=self.schema)
                files.append(self.lake.add_table(made, "medoids", work, day=day, bucket=bucket))
        report = {"embeddings": self.embeddings, "measures": {"n_users": len(users)}}
        return self.lake.commit(
            Manifest(
                table="medoids",
                partition={"day": str(day)},
                files=tuple(files),
                rows=len(rows),
                report=report,
            )
        )

    def day(self, n, users):
        """A day, released."""
        self.compute(nth(n), users)
        publish.run(nth(n), self.settings)
        return release.release_medoids(nth(n), self.clock, self.settings)

    def rollback(self):
        return release.rollback(self.clock, self.settings)

    def promote(self, n):
        return release.promote(nth(n), self.clock, self.settings)

    def block(self, pin, what="block"):
        takedown.order(what, str(pin), "Ada", "a test", self.now, self.settings)

    def served(self, users, **wishes):
        """What a ranker is told now."""
        with retrieve.open_live(self.settings) as reader:
            return features.online(
                reader, users, now=self.now, config=self.settings.features, **wishes
            )
