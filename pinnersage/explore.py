"""Explore: all that the page for people shows of one user, as one answer.

Her clusters, the tree they were cut from, how they stand now with what she did since, what the
medoids asked bring (the paper's figures 5 and 6), and what changed since the day before. The
actions of the tree are those that the release's medoids were made from, read for this user alone.
The tree carries a medoid for every node, so the page regroups at any merge threshold by itself,
exactly. Ids are text: JavaScript would round 64-bit integers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from pinnersage import dendrogram, extract, lineage, people, queries, retrieve, since
from pinnersage.config import Settings
from pinnersage.errors import DataError
from pinnersage.model import ActionClusters, cluster_actions
from pinnersage.online.current import Current
from pinnersage.release import Release
from pinnersage.retrieve import Reader
from pinnersage.stores import open_lake
from pinnersage.stores.lake import Lake, Manifest, broken_file
from pinnersage.stores.packing import Profile
from pinnersage.takedown import as_integer

MOST_LEAVES = 400
"""Leaves of the tree that is sent, and more only where more clusters are published."""
MOST_ROWS, MOST_CANDIDATES = 12, 24
"""Medoids whose recommendations are sent, and how many of each."""
FILES = {
    "explore.html": "text/html; charset=utf-8",
    "explore.css": "text/css; charset=utf-8",
    "explore.js": "text/javascript; charset=utf-8",
}
"""The page's files and their media types."""


def file(name: str) -> bytes:
    """Return one of the page's ``FILES``."""
    return (resources.files("pinnersage") / "templates" / "explore" / name).read_bytes()


@dataclass(frozen=True, eq=False)
class Actions:
    """One user's actions of the window, oldest first."""

    rows: np.ndarray
    """intp[n], row of each action's pin."""
    ages_days: np.ndarray
    """float64[n]."""
    acted_at: np.ndarray
    """int64[n], microseconds since 1970, UTC."""


def user(
    reader: Reader,
    settings: Settings,
    user_id: str,
    *,
    draw: int = 0,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Return what there is to see of a user.

    Parameters
    ----------
    reader : Reader
        The live release.
    settings : Settings
    user_id : str
    draw : int
        Where the allocation is ``equal``: which sample of the medoids is asked.
    now : datetime, optional
        Up to when counts what she did since the release's day; None: nothing of it.

    Returns
    -------
    dict
        Ready for JSON. A pin that is blocked is nowhere in it; a cluster whose medoid is blocked is
        left out, as it is for everybody. Of a user whom the release does not know there is only
        what she did since.

    Raises
    ------
    DataError
        Nothing is known of such a user, or nothing of hers may be shown.
    """
    known = reader.current(user_id, now)
    if known.profile is None or not len(known.profile):
        people.clusters(reader, settings, user_id, now=now)  # says why there is none
        raise DataError("What may be shown of the user has just changed. Ask again.")
    day = reader.release.medoids.day
    view = View(reader, settings, user_id)
    answer = {
        "user_id": user_id,
        "day": day.isoformat(),
        "draw": draw,
        "window_days": settings.model.window_days,
        "merge_threshold": settings.model.merge_threshold,
        "decay_per_day": settings.model.decay_per_day,
        **(view.released(known.released) if known.released else NOTHING),
        "since": None if now is None else since.told(known, day, now, view.pin_of_text),
        "recommendations": view.recommendations(known, draw),
    }
    return answer | {"pins": view.faces()} | people.stamp(reader)


NOTHING = {
    "n_actions": 0, "n_pins": 0, "clusters": [], "as_served": True, "tree": None, "yesterday": None,
}  # fmt: skip
"""What the release says of a user whom it does not know."""


class View:
    """Looks at one user: hides what is blocked, and remembers which pins need a title."""

    def __init__(self, reader: Reader, settings: Settings, user_id: str) -> None:
        self.reader, self.settings, self.user_id = reader, settings, user_id
        self.blocked = reader.watch.pins()
        self.seen: dict[str, int | str] = {}

    def pin(self, pin: int | str) -> str | None:
        """Return a pin's id as text, None where it is blocked."""
        text = str(pin)
        if text in self.blocked:
            return None
        self.seen[text] = pin
        return text

    def pins(self, rows: Iterable[int]) -> list[str | None]:
        """Return the pins of some rows of the embeddings, None for those that are blocked."""
        ids = self.reader.embeddings.pin_ids.take(pa.array(list(rows), pa.int64()))
        return [self.pin(pin) for pin in ids.to_pylist()]

    def pin_of_text(self, pin: int | str) -> str | None:
        """Return a pin's id as text, None where it is blocked; however the id is given."""
        (known,) = retrieve.as_ids([pin], self.reader.embeddings) or [pin]
        return self.pin(known)

    def released(self, profile: Profile) -> dict[str, Any]:
        """Return the clusters of the release, what they were made from, and how they came to be."""
        lake, settings = open_lake(self.settings), self.settings
        actions = read_actions(lake, self.reader, settings, self.user_id)
        found = cluster_actions(
            self.reader.embeddings.matrix,
            actions.ages_days,
            actions.rows,
            settings.model.merge_threshold,
            settings.model.decay_per_day,
        )
        clusters = self.clusters(found, actions)
        served = [str(pin) for pin in profile.pin_ids]
        return {
            "n_actions": int(actions.rows.size),
            "n_pins": int(np.unique(actions.rows).size),
            "clusters": clusters,
            "as_served": [row["pin_id"] for row in clusters] == served,
            "tree": self.tree(actions),
            "yesterday": self.yesterday(lake, found, actions),
        }

    def clusters(self, found: ActionClusters, actions: Actions) -> list[dict[str, Any]]:
        """Return the clusters, most important first."""
        pins = self.pins(actions.rows[found.medoids])
        kept = [cluster for cluster, pin in enumerate(pins) if pin is not None]
        total = float(found.importance[kept].sum())
        facts = groups(found.labels, actions, self.settings.model.decay_per_day)
        return [
            {"rank": rank, "pin_id": pins[cluster], **facts[cluster]}
            | {
                "importance": float(found.importance[cluster]),
                "share": float(found.importance[cluster]) / total,
            }
            for rank, cluster in enumerate(kept)
        ]

    def tree(self, actions: Actions) -> dict[str, Any]:
        """Return the user's Ward tree, in the form of SciPy's linkage, a medoid for each node."""
        grown = dendrogram.grow(
            self.reader.embeddings.matrix,
            actions.rows,
            actions.ages_days,
            merge_threshold=self.settings.model.merge_threshold,
            most_leaves=MOST_LEAVES,
        )
        merges = zip(grown.pairs.tolist(), grown.heights.tolist(), strict=True)
        return {
            "leaf_height": grown.leaf_height,
            "leaves": groups(grown.leaves, actions, self.settings.model.decay_per_day),
            "merges": [[a, b, height] for (a, b), height in merges],
            "medoids": self.pins(actions.rows[grown.medoids]),
        }

    def recommendations(self, known: Current, draw: int) -> dict[str, Any] | None:
        """Return what the medoids asked bring, a row each; None where there is no index yet."""
        if self.reader.release.index is None:
            return None
        made = self.reader.candidates(self.user_id, known, draw=draw)
        if made is None:
            raise DataError("What may be shown of the user has just changed. Ask again.")
        rows = []
        for medoid, came_from in zip(made.medoids[:MOST_ROWS], made.came_from, strict=False):
            brought = [c for c in made.candidates if c.medoid == medoid]
            shown = [
                {"pin_id": self.pin(c.pin_id), "cosine": round(float(c.cosine), 6)}
                for c in brought[:MOST_CANDIDATES]
            ]
            rows.append(
                {
                    "medoid": self.pin(medoid),
                    "candidates": [c for c in shown if c["pin_id"] is not None],
                    "n_candidates": len(brought),
                    "searched": medoid in made.searched,
                    "from": came_from,
                }
            )
        return {
            "rows": [row for row in rows if row["medoid"] is not None],
            "allocation": made.allocation,
            "n_medoids": len(made.medoids),
            "n_candidates": len(made.candidates),
        }

    def yesterday(
        self, lake: Lake, found: ActionClusters, actions: Actions
    ) -> dict[str, Any] | None:
        """Return the clusters of the last day before, and which of today's holds each medoid.

        A cluster of today that holds none of them is new; one of then whose medoid is in none of
        today's is gone: the window has left its last action behind. None without such a day.
        """
        day = self.reader.release.medoids.day
        earlier = [other for other in lake.days("medoids") if other < day]
        if not earlier:
            return None
        manifest = lake.require("medoids", f"pinnersage run --day {earlier[-1]}", day=earlier[-1])
        before = medoids_of(lake, manifest, self.user_id)
        rows = self.reader.embeddings.rows_of([row["pin_id"] for row in before])
        now = dict(zip(actions.rows.tolist(), found.labels.tolist(), strict=True))
        kept = [pin is not None for pin in self.pins(actions.rows[found.medoids])]
        ranks = np.cumsum(kept) - 1
        total = sum(row["importance"] for row in before)
        clusters = []
        for row, at in zip(before, rows.tolist(), strict=True):
            cluster = now.get(at)
            if cluster is not None and not kept[cluster]:
                continue
            clusters.append(
                {
                    "pin_id": self.pin(row["pin_id"]),
                    "n_actions": row["n_actions"],
                    "share": row["importance"] / total,
                    "now": None if cluster is None else int(ranks[cluster]),
                }
            )
        return {
            "day": earlier[-1].isoformat(),
            "embeddings": manifest.report["embeddings"],
            "clusters": [c for c in clusters if c["pin_id"] is not None or c["now"] is not None],
        }

    def faces(self) -> dict[str, dict[str, str]]:
        """Return title and image of every pin in the answer."""
        known = retrieve.faces(self.settings, self.reader.release, list(self.seen.values()))
        return {
            text: dict(zip(("title", "image_url"), known.get(pin, ("", "")), strict=True))
            for text, pin in self.seen.items()
        }


def groups(labels: np.ndarray, actions: Actions, decay_per_day: float) -> list[dict[str, Any]]:
    """Return what is known of each group of actions beside its medoid."""
    n = int(labels.max()) + 1
    importance = np.bincount(labels, np.exp(-decay_per_day * actions.ages_days), n)
    pairs = np.unique(np.stack([labels, actions.rows]), axis=1)
    n_pins, n_actions = np.bincount(pairs[0], minlength=n), np.bincount(labels, minlength=n)
    (first, last), age = np.empty((2, n), np.int64), np.empty(n)
    last[labels], age[labels] = actions.acted_at, actions.ages_days
    first[labels[::-1]] = actions.acted_at[::-1]
    return [
        {
            "n_pins": int(n_pins[i]),
            "n_actions": int(n_actions[i]),
            "importance": float(importance[i]),
            "first_acted_at": as_time(first[i]),
            "last_acted_at": as_time(last[i]),
            "age_days": round(float(age[i]), 3),
        }
        for i in range(n)
    ]


def as_time(microseconds: int) -> str:
    """Return a moment as text, UTC."""
    moment = datetime.fromtimestamp(int(microseconds) / 1e6, tz=UTC)
    return moment.isoformat(sep=" ", timespec="minutes")


def id_of(lake: Lake, user_id: str) -> int | str | None:
    """Return a user's id in the type that the lake's have."""
    return as_integer(user_id) if lake.layout.user_id == "int64" else user_id


def read_actions(lake: Lake, reader: Reader, settings: Settings, user_id: str) -> Actions:
    """Return a user's actions as they were clustered for the release."""
    day, bucket = reader.release.medoids.day, lake.layout.bucket_of(user_id)
    paths = lake.paths(*made_from(lake, reader.release, bucket), bucket=bucket)
    hers = duckdb.ColumnExpression("user_id") == duckdb.ConstantExpression(id_of(lake, user_id))
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        try:
            rows = con.read_parquet(paths, hive_partitioning=True).filter(hers).to_arrow_table()
            extract.label(
                con, lake, day, bucket, settings, reader.embeddings, rows.to_reader()
            )  # fmt: skip
            chunks = list(extract.chunks(con, day))
        except duckdb.Error as error:
            raise queries.translate(error, f"actions of a user, {day}") from error
    if not chunks:
        raise DataError(
            f"A user has clusters on {day}, and no action that they are made of: the "
            "interest actions in the settings are others than those of the release. Run the day "
            "again."
        )
    return Actions(chunks[0].rows, chunks[0].ages_days, chunks[0].acted_at)


def made_from(lake: Lake, release: Release, bucket: int) -> list[Manifest]:
    """Return the staged days that a bucket of the release's medoids was made from."""
    whole = lake.version("medoids", release.medoids.manifest, day=release.medoids.day)
    parts = [lineage.parsed(ref)[1] for ref in whole.reads]
    part = next((part for part in parts if part.keys.get("bucket") == str(bucket)), None)
    if part is None:
        raise DataError(
            f"The medoids of {release.medoids.day} do not say what bucket {bucket} was made from. "
            "Run the day again."
        )
    reads = lake.version("medoids", part.version, **part.keys).reads
    staged = [partition for table, partition in map(lineage.parsed, reads) if table == "actions"]
    return [lake.version("actions", one.version, **one.keys) for one in staged]


def medoids_of(lake: Lake, manifest: Manifest, user_id: str) -> list[dict[str, Any]]:
    """Return a user's rows of a day's medoids, most important first."""
    bucket = lake.layout.bucket_of(user_id)
    paths = [Path(path) for path in lake.paths(manifest, bucket=bucket)]
    if not paths:
        return []
    with broken_file(paths[0]):
        table = ds.dataset(paths).to_table(
            columns=["rank", "pin_id", "importance", "n_actions"],
            filter=ds.field("user_id") == id_of(lake, user_id),
        )
    rows: list[dict[str, Any]] = table.sort_by("rank").to_pylist()
    return rows
