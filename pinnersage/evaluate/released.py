"""Released: what readers were given for a day, as a model and a searcher.

Not what the lake holds now: a day computed again has other medoids. Moves say which release of the
day went live last; its manifest names the medoids, its embeddings their vectors, and its index, as
long as the store has it, is what is searched.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pinnersage.config import RetrievalConfig, Settings
from pinnersage.errors import DataError
from pinnersage.evaluate.histories import (
    Floats,
    Histories,
    Integers,
    Represented,
    Vectors,
    gathered,
)
from pinnersage.evaluate.log import Log
from pinnersage.evaluate.models import Fixed
from pinnersage.evaluate.policies import Budget, Policy
from pinnersage.evaluate.search import Exact, Indexed, Searcher
from pinnersage.release import Release, Releases
from pinnersage.stores import open_lake, open_vectors
from pinnersage.stores.lake import broken_file

NAME = "Released medoids"
COLUMNS = ["user_id", "rank", "pin_id", "importance", "last_acted_at"]


class Medoids(NamedTuple):
    """Released medoids of some users, one user after another, the most important first."""

    user_ids: pa.Array
    """Of users who have any, ascending."""
    offsets: Integers
    """intp[n_users + 1]: user i has the medoids offsets[i] .. offsets[i + 1] - 1."""
    rows: Integers
    """Row of each medoid in the log's matrix."""
    importance: Floats
    last_us: np.ndarray
    """int64[m]: the newest action of its cluster, microseconds since 1970, UTC."""


@dataclass(frozen=True)
class Released(Fixed):
    """A model that gives users the medoids that were released for them."""

    matrix: Vectors
    medoids: Medoids
    """Of every user of the log, in its order."""
    name: str = NAME

    def represent(self, histories: Histories) -> Represented:
        """Return each user's medoids, weighed by importance; histories say who, and no more."""
        begins, sizes = self.medoids.offsets[:-1], np.diff(self.medoids.offsets)
        offsets, places = gathered(begins[histories.users], sizes[histories.users])
        rows = self.medoids.rows[places]
        return Represented(offsets, self.matrix[rows], self.medoids.importance[places], rows)


def release_of(day: date, settings: Settings) -> Release | None:
    """Return the release of a day's medoids that went live last; None if none did."""
    releases = Releases(settings)
    went_live = dict.fromkeys(move.live for move in reversed(releases.history()))
    found = (releases.get(number) for number in went_live)
    return next((release for release in found if release.medoids.day == day), None)


def went_live(release: Release, settings: Settings) -> datetime:
    """Return when a release that ``release_of`` found first went live, UTC."""
    return min(one.at for one in Releases(settings).history() if one.live == release.number)


def medoids_of(release: Release, log: Log, settings: Settings) -> Medoids:
    """Return the released medoids of the users of a log.

    Raises
    ------
    DataError
        The version that was released is gone, or a medoid has no embedding.
    """
    import pyarrow.dataset as ds  # noqa: PLC0415

    lake, day = open_lake(settings), release.medoids.day
    manifest = lake.version("medoids", release.medoids.manifest, day=day)
    paths = [Path(path) for path in lake.paths(manifest)]
    if not paths:
        none = np.empty(0, np.intp)
        nobody = log.user_ids.slice(0, 0)
        return Medoids(nobody, np.zeros(1, np.intp), none, np.empty(0), none.astype(np.int64))
    with broken_file(paths[0]):
        found = ds.dataset(paths).to_table(
            columns=COLUMNS, filter=ds.field("user_id").isin(log.user_ids)
        )
    found = found.sort_by([("user_id", "ascending"), ("rank", "ascending")]).combine_chunks()
    users = pc.unique(found["user_id"].combine_chunks())
    numbers = pc.index_in(found["user_id"], value_set=users).to_numpy()
    rows = pc.fill_null(pc.index_in(found["pin_id"], value_set=log.pin_ids), -1).to_numpy()
    if (rows < 0).any():
        raise DataError(
            f"Medoids of release {release.number} have no embedding in version {log.embeddings}, "
            f"such as {found['pin_id'][int(np.argmin(rows))]}. See runbook: mixed versions."
        )
    return Medoids(
        user_ids=users,
        offsets=np.searchsorted(numbers, np.arange(len(users) + 1)).astype(np.intp),
        rows=rows.astype(np.intp),
        importance=found["importance"].to_numpy(),
        last_us=found["last_acted_at"].cast(pa.int64()).to_numpy(),
    )


def policy_of(config: RetrievalConfig) -> Policy:
    """Return the policy that the settings ask the service for.

    Turns over all medoids are equal shares of all, made up for by the next neighbours.
    """
    if config.allocation == "equal":
        return Policy("sample", config.n_medoids)
    return Policy("all", share="weight" if config.allocation == "proportional" else "equal")


def budget_of(config: RetrievalConfig) -> Budget:
    """Return the budget at which the service answers.

    ``equal`` leaves an answer as small as its overlaps make it; whatever asks all medoids fills up.
    """
    return "equal cost" if config.allocation == "equal" else "equal candidates"


@contextlib.contextmanager
def searcher(release: Release, matrix: Vectors, settings: Settings) -> Iterator[Searcher]:
    """Yield the release's index; exact search where it has none, or the store has dropped it."""
    if release.index is None:
        yield Exact(matrix)
        return
    store = open_vectors(settings)
    if release.index.version not in store.versions():
        yield Exact(matrix)
        return
    with store.open(release.index.version) as reader:
        yield Indexed(reader, matrix)
