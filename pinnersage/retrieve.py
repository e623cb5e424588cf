"""Retrieve: ask a user's medoids for what is near them, all or a few (paper, section 4).

Everything is read through the live release, so medoids, index and embeddings belong together;
a mix is refused. A pin that is blocked (``takedown``) is neither a candidate nor a medoid. Of the
others all are asked, or those that user, day and draw choose by chance (``equal``); either can be
replayed, whatever is remembered of earlier searches, from the same clusters. Each candidate says
which medoid brought it, and at which cosine.

Asked for a moment, ``now``, clusters are brought up to date by what the user did since the
release's day (``online.current``); asked for none, they are the release's alone.
"""

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pinnersage import allocate, erased, takedown
from pinnersage.allocate import Picks
from pinnersage.config import Allocation, Settings
from pinnersage.errors import DataError
from pinnersage.online.current import Current, From, batch_alone, current
from pinnersage.online.latest import Latest
from pinnersage.release import Release, Releases
from pinnersage.stores import (
    embeddings,
    open_keyvalue,
    open_lake,
    open_neighbours,
    open_states,
    open_vectors,
)
from pinnersage.stores.embeddings import Embeddings
from pinnersage.stores.filters import Filter
from pinnersage.stores.keyvalue import KeyValueReader
from pinnersage.stores.lake import broken_file
from pinnersage.stores.neighbours import Near, Neighbours
from pinnersage.stores.packing import Profile, key_of, unpack
from pinnersage.stores.vectors import VectorReader


@dataclass(frozen=True)
class Candidate:
    """A pin for ranking, and why it is there."""

    pin_id: int | str
    cosine: float
    medoid: int | str
    """The one that brought it; of several, see ``allocate``."""


@dataclass(frozen=True)
class Recommendation:
    """What a user is recommended."""

    user_id: int | str
    release: int
    allocation: Allocation
    draw: int
    """Of ``equal`` alone: the others ask the same medoids whatever it is."""
    medoids: list[int | str]
    """Those that were asked: by importance; for ``equal``, in order of the draw."""
    came_from: list[From]
    """Where the cluster of each of them comes from."""
    n_online: int
    """Actions since the release's day that count among the clusters."""
    pin_ids: list[int | str]
    """Candidates: best first, equal cosines by pin; for ``round_robin``, in turns."""
    cosines: list[float]
    """Of each candidate to the medoid that brought it."""
    brought_by: list[int]
    """Position of that medoid in ``medoids``."""
    searched: frozenset[int | str] = field(compare=False)
    """Medoids that had to be searched for; the others' neighbours were remembered."""

    @property
    def candidates(self) -> list[Candidate]:
        """The candidates one by one, each with its medoid."""
        columns = zip(self.pin_ids, self.cosines, self.brought_by, strict=True)
        return [Candidate(pin, cosine, self.medoids[i]) for pin, cosine, i in columns]


@dataclass(frozen=True)
class Wishes:
    """What one request wants otherwise than the settings say."""

    allocation: Allocation | None = None
    exclude: frozenset[int | str] = frozenset()
    """Pins that must not come, such as those seen already. Those next in line take their place, as
    far as the ``n_candidates`` nearest of each medoid go."""
    min_cosine: float = -1.0
    """To the medoid that brings a candidate."""
    relevance: float = 1.0
    """Below 1, maximal marginal relevance: the lower, the less alike are candidates in a row."""
    fresh_days: int | None = None
    """Only pins made within so many days before the end of the live medoids' day, or later."""
    topics: tuple[str, ...] = ()
    """Only pins about any of these; empty: about anything."""
    n_medoids: int | None = None
    """For ``equal``: most medoids that are sampled, in place of the setting."""

    def filter_on(self, day: date) -> Filter | None:
        """Return what the index is asked for on a day; None: anything."""
        if self.fresh_days is None and not self.topics:
            return None
        since = None
        if self.fresh_days is not None:
            if not 1 <= self.fresh_days <= day.toordinal():
                raise DataError(f"fresh_days is {self.fresh_days}; it takes 1 or more days.")
            since = day + timedelta(days=1 - self.fresh_days)
        return Filter(since, tuple(sorted(set(self.topics))))


@dataclass(frozen=True)
class Context:
    """What readers of one process have in common, and keep when the release changes."""

    neighbours: Neighbours
    watch: takedown.Watch
    erased: erased.Watch
    latest: Latest


def open_context(settings: Settings) -> Context:
    """Return the context that the settings choose, nothing remembered yet."""
    record = takedown.record_of(settings)
    return Context(
        open_neighbours(settings),
        takedown.Watch(record),
        erased.Watch(record),
        Latest(lambda: open_states(settings)),
    )


class Reader:
    """One release, open for reading; threads may share it."""

    def __init__(
        self,
        release: Release,
        profiles: KeyValueReader,
        table: Embeddings,
        index: VectorReader | None,
        settings: Settings,
        context: Context,
        search: str = "",
    ) -> None:
        self.release = release
        self.profiles = profiles
        self.embeddings = table
        self.index = index
        self.settings = settings
        self.config = settings.retrieval
        self.neighbours = context.neighbours
        self.watch = context.watch
        self.erased = context.erased
        self.latest = context.latest
        self.search = f"{release.index.version if release.index else ''}{search}"
        """Names what a search finds: the index, and how it is searched."""
        self._blocked: tuple[frozenset[str], np.ndarray] = (frozenset(), np.empty(0, np.intp))

    def profile(self, user_id: int | str) -> Profile | None:
        """Return a user's clusters in the release, most important first; None without any.

        A cluster whose medoid is blocked is left out; of a user who is erased there are none.
        """
        return self._profile(user_id, self.watch.pins())

    def _profile(self, user_id: int | str, blocked: frozenset[str]) -> Profile | None:
        value = self.profiles.get(key_of(user_id))
        if value is None or self.erased.has(user_id):
            return None
        return without_blocked(unpack(value), blocked)

    def current(self, user_id: int | str, now: datetime | None) -> Current:
        """Return a user's clusters as of now; without a time, or the states, the release's alone.

        What may not be shown is left out as in ``profile``.
        """
        blocked = self.watch.pins()
        profile = self._profile(user_id, blocked)
        if now is None:
            return batch_alone(profile, answered=False)
        if self.erased.has(user_id):
            return batch_alone(None)
        state = self.latest.of(user_id)
        if state is None:
            return batch_alone(profile, answered=False)
        return current(
            profile,
            state,
            day=self.release.medoids.day,
            now=now,
            table=self.embeddings,
            blocked=blocked,
            model=self.settings.model,
            online=self.settings.online,
        )

    def recommend(
        self,
        user_id: int | str,
        *,
        now: datetime | None = None,
        draw: int = 0,
        wishes: Wishes | None = None,
    ) -> Recommendation | None:
        """Return candidates for a user; None for a user without clusters.

        Parameters
        ----------
        user_id : int or str
        now : datetime, optional
            Up to when what the user did counts; None: only what the release has.
        draw : int
            For ``equal``: another number, another sample of medoids.
        wishes : Wishes, optional
            What this request wants otherwise.
        """
        return self.candidates(user_id, self.current(user_id, now), draw=draw, wishes=wishes)

    def candidates(
        self, user_id: int | str, known: Current, *, draw: int = 0, wishes: Wishes | None = None
    ) -> Recommendation | None:
        """Return candidates for a user whose clusters are known; see ``recommend``."""
        profile = known.profile
        if profile is None or not len(profile):
            return None
        wishes = wishes or Wishes()
        chosen = self._chosen(user_id, profile, draw, wishes)
        pins = [as_python(profile.pin_ids[i]) for i in chosen]
        where = wishes.filter_on(self.release.medoids.day)
        near, searched = self.near(pins, where)
        unwanted = self._unwanted(wishes)
        near = [wanted(one, unwanted, wishes.min_cosine) for one in near]
        picks = self._allocated(near, profile.importance, chosen, wishes)
        if wishes.relevance < 1:
            vectors = self.embeddings.matrix[picks.rows]
            picks = allocate.diverse(picks, vectors, wishes.relevance)
        return Recommendation(
            user_id=user_id,
            release=self.release.number,
            allocation=self._allocation(wishes),
            draw=draw,
            medoids=pins,
            came_from=[known.came_from[i] for i in chosen],
            n_online=len(known.actions),
            pin_ids=self._pins(picks.rows),
            cosines=picks.cosines.tolist(),
            brought_by=picks.medoids.tolist(),
            searched=searched,
        )

    def popular(self, wishes: Wishes | None = None) -> list[int | str]:
        """Return the day's popular pins, for a user of whom nothing is known; the first most so.

        As many as a request may have candidates, of those in the index that pass its filter. Empty
        where the day was published by a version of this code that kept none.
        """
        wishes = wishes or Wishes()
        rows, where = self._popular, wishes.filter_on(self.release.medoids.day)
        if where is not None:
            rows = rows[self._index().holds(rows, where)]
        return self._pins(rows[~np.isin(rows, self._unwanted(wishes))][: self.config.n_candidates])

    @cached_property
    def _popular(self) -> npt.NDArray[np.int64]:
        """Rows of the popular pins that are in the index."""
        rows = self.embeddings.rows_of(self.profiles.about.get("popular", [])).astype(np.int64)
        rows = rows[rows >= 0]
        return rows[self._index().holds(rows)] if rows.size else rows

    def similar(self, pin: int | str) -> list[Candidate] | None:
        """Return the pins nearest to a pin, best first; None for one that is not to be shown."""
        (known,) = as_ids([pin], self.embeddings) or [None]
        row = self.embeddings.row_of(known)
        if known is None or row < 0 or row in self._blocked_rows():
            return None
        ((near,), _) = self.near([known])
        near = without(near, self._blocked_rows())
        pins, cosines = self._pins(near.rows), near.cosines.tolist()
        return [Candidate(other, c, known) for other, c in zip(pins, cosines, strict=True)]

    def near(
        self, medoids: list[int | str], where: Filter | None = None
    ) -> tuple[list[Near], frozenset[int | str]]:
        """Return the pins nearest to each medoid, and which medoids had to be searched for.

        As many as a request may have candidates, whatever is asked for: so an answer does not
        depend on what is remembered; under a filter, of those that it lets through. A medoid is
        not its own neighbour. What is not remembered is searched for in one batch.
        """
        index = self._index()
        rows = self.embeddings.rows_of(medoids)
        if (rows < 0).any():
            raise DataError(
                f"Medoids {[m for m, row in zip(medoids, rows, strict=True) if row < 0]} have no "
                f"embedding in version {self.embeddings.version}. See runbook: mixed versions."
            )
        depth = self.config.n_candidates + 1
        version = self.search if where is None else f"{self.search}/{where.name}"
        known = dict(zip(rows.tolist(), self.neighbours.get(version, depth, rows.tolist()),
                         strict=True))  # fmt: skip
        missing = [row for row, near in known.items() if near is None]
        found: dict[int, Near] = {}
        if missing:
            queries = np.asarray(self.embeddings.matrix[missing], dtype=np.float32)
            result = index.search(queries, depth, where=where)
            found = {
                row: without(Near(near[near >= 0], cosines[near >= 0]), np.array([row]))
                for row, near, cosines in zip(missing, result.rows, result.cosines, strict=True)
            }
            self.neighbours.put(version, depth, found)
            known |= found
        searched = frozenset(m for m, row in zip(medoids, rows, strict=True) if row in found)
        return [near for row in rows.tolist() if (near := known[row]) is not None], searched

    def _index(self) -> VectorReader:
        if self.index is None or self.release.index is None:
            raise DataError(
                f"Release {self.release.number} has no index yet. "
                f"Run: pinnersage refine and pinnersage index --day {self.release.medoids.day}"
            )
        return self.index

    def _pins(self, rows: npt.NDArray[np.int64]) -> list[int | str]:
        found: list[int | str] = self.embeddings.pin_ids.take(pa.array(rows)).to_pylist()
        return found

    def _chosen(
        self, user_id: int | str, profile: Profile, draw: int, wishes: Wishes
    ) -> npt.NDArray[np.intp]:
        """Return the positions of the medoids that are asked, in the order of the draw or by rank.

        Never more than may bring a candidate: a heavy user has hundreds.
        """
        allocation, most = self._allocation(wishes), self.config.n_candidates
        if allocation == "round_robin":
            return np.arange(min(len(profile), most))
        if allocation == "proportional":
            return np.flatnonzero(allocate.shares(profile.importance, most))
        rng = generator(user_id, self.release.medoids.day.isoformat(), draw)
        size = self.config.n_medoids if wishes.n_medoids is None else wishes.n_medoids
        return sample_medoids(profile.importance, size, rng=rng)

    def _allocation(self, wishes: Wishes) -> Allocation:
        return wishes.allocation or self.config.allocation

    def _unwanted(self, wishes: Wishes) -> np.ndarray:
        """Return the rows of blocked pins, and of those that the request excludes, ascending."""
        if not wishes.exclude:
            return self._blocked_rows()
        excluded = self.embeddings.rows_of(as_ids(wishes.exclude, self.embeddings))
        return np.union1d(excluded, self._blocked_rows())

    def _blocked_rows(self) -> np.ndarray:
        """Return the rows of the blocked pins."""
        pins, (known, rows) = self.watch.pins(), self._blocked
        if pins is not known:
            found = self.embeddings.rows_of(as_ids(pins, self.embeddings))
            rows = np.sort(found[found >= 0])
            self._blocked = (pins, rows)
        return rows

    def _allocated(
        self,
        near: list[Near],
        importance: npt.NDArray[np.float64],
        chosen: npt.NDArray[np.intp],
        wishes: Wishes,
    ) -> Picks:
        """Return the candidates that the chosen of a user's medoids bring."""
        most, allocation = self.config.n_candidates, self._allocation(wishes)
        if allocation == "round_robin":
            return allocate.in_turns(near, most)
        if allocation == "proportional":
            return allocate.filled(near, allocate.shares(importance, most)[chosen], most)
        return allocate.merged(near, [most // len(near)] * len(near))

    def close(self) -> None:
        """Let go of the stores."""
        self.profiles.close()
        if self.index:
            self.index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_live(settings: Settings, context: Context | None = None) -> Reader:
    """Open the live release; ``context`` is that of earlier readers, of any release.

    Raises
    ------
    DataError
        Nothing is live, or what is live was not made with one version of the embeddings.
    """
    release = Releases(settings).live()
    if release is None:
        raise DataError("Nothing is live yet. Run: pinnersage run --day YYYY-MM-DD")
    return open_release(release, settings, context or open_context(settings))


def open_release(release: Release, settings: Settings, context: Context) -> Reader:
    """Open a release; see ``open_live``."""
    lake = open_lake(settings)
    with ExitStack() as opened:  # closes what is open when a later part fails
        profiles = opened.enter_context(open_keyvalue(settings).open(release.medoids.keyvalue))
        index = None
        if release.index:
            index = opened.enter_context(open_vectors(settings).open(release.index.version))
        refuse_mix(release, profiles.about, index.about if index else None)
        table = embeddings.named(lake, release.embeddings)
        opened.pop_all()
    search = f"/{settings.index.store}/{settings.index.hnsw_ef_search}"
    return Reader(release, profiles, table, index, settings, context, search)


def without_blocked(profile: Profile, blocked: frozenset[str]) -> Profile:
    """Return the clusters of a profile whose medoid is not blocked."""
    if not blocked:
        return profile
    return profile.where(np.array([str(pin) not in blocked for pin in profile.pin_ids], bool))


def refuse_mix(release: Release, profiles: dict[str, Any], index: dict[str, Any] | None) -> None:
    """Refuse stores that were not made with the release's embeddings."""
    versions = {
        "release": release.embeddings,
        "medoids": profiles.get("embeddings"),
        "index": (index or {}).get("embeddings", release.embeddings),
        "index in release": release.index.embeddings if release.index else release.embeddings,
    }
    if len(set(versions.values())) > 1:
        raise DataError(
            f"Release {release.number} mixes embedding versions: {versions}. Roll back with "
            "pinnersage rollback. See runbook: mixed versions."
        )


def generator(user_id: int | str, day: str, draw: int) -> np.random.Generator:
    """Return the generator of one request: the same for the same user, day and draw."""
    text = f"{len(str(user_id))}:{user_id}/{day}/{draw}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


def sample_medoids(
    importance: npt.NDArray[np.float64], size: int, *, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Return positions of up to ``size`` medoids, drawn by importance without replacement.

    Parameters
    ----------
    importance : float64[k]
        Finite and above 0 (eq. 3).
    size : int
        All k when there are no more.
    """
    size = min(size, importance.size)
    chances = importance / importance.sum()
    return rng.choice(importance.size, size=size, replace=False, p=chances).astype(np.intp)


def wanted(near: Near, unwanted: np.ndarray, min_cosine: float) -> Near:
    """Return the neighbours that are near enough and not among some rows, which ascend."""
    if min_cosine > -1:
        enough = near.cosines >= np.float32(min_cosine)
        near = Near(near.rows[enough], near.cosines[enough])
    return without(near, unwanted)


def without(near: Near, rows: np.ndarray) -> Near:
    """Return the neighbours that are not among some rows, which ascend."""
    if not rows.size:
        return near
    places = np.minimum(np.searchsorted(rows, near.rows), rows.size - 1)
    kept = rows[places] != near.rows
    return Near(near.rows[kept], near.cosines[kept])


def as_ids(pins: Iterable[int | str], table: Embeddings) -> list[Any]:
    """Return pins in the type that the lake's ids have; what cannot be one is no pin of it."""
    if pa.types.is_integer(table.pin_ids.type):
        return [number for pin in pins if (number := takedown.as_integer(str(pin))) is not None]
    return [str(pin) for pin in pins]


def as_python(value: Any) -> int | str:
    """Return an id as plain text or integer, whatever array it comes from."""
    value = value.as_py() if hasattr(value, "as_py") else value
    return int(value) if isinstance(value, (int, np.integer)) else str(value)


def titles(settings: Settings, release: Release, pins: list[int | str]) -> dict[int | str, str]:
    """Return what is written on pins, for people; a pin without a title is not in it."""
    found = faces(settings, release, pins)
    return {pin: title for pin, (title, _) in found.items() if title}


def faces(
    settings: Settings, release: Release, pins: list[int | str]
) -> dict[int | str, tuple[str, str]]:
    """Return title and address of the image of pins that are known, empty where there is none."""
    import pyarrow.dataset as ds  # noqa: PLC0415

    lake = open_lake(settings)
    manifest = embeddings.valid_at(lake, "pins", release.medoids.day)
    wanted = pa.array(pins, type=pa.type_for_alias(lake.layout.pin_id))
    paths = [Path(path) for path in lake.paths(manifest)]
    with broken_file(paths[0]):
        table = ds.dataset(paths).to_table(
            columns=["pin_id", "title", "image_url"], filter=ds.field("pin_id").isin(wanted)
        )
    return {
        row["pin_id"]: (row["title"] or "", row["image_url"] or "") for row in table.to_pylist()
    }
