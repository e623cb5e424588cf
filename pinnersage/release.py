"""Release: the one pointer that makes a day live, and back.

    releases/000007.json         never changed: medoids, index, embeddings, the release before it
    releases/live.json           which one is live, and what was withdrawn: moving it is the publish
    releases/moves/000012.json   never changed: when which release went live (``moves``)

A release joins a day's medoids and an index made with the same embeddings, so a reader that
follows the pointer can never see the two disagree. An older day never replaces a newer one. What
was rolled back stays withdrawn until someone promotes its day by name. Two DAGs move the
pointer: each reads it, decides, and swaps it only if it is still what was read; who comes second
reads it anew and decides again.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date
from typing import ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pinnersage.config import Settings
from pinnersage.errors import DataError, TransientError
from pinnersage.moves import SKEW, Clock, Move, Moves, RacedError
from pinnersage.stores import open_keyvalue, open_lake, open_storage, open_vectors
from pinnersage.stores.lake import Manifest, canonical

LIVE = "live.json"
ATTEMPTS = 20
"""Each is milliseconds, and whoever is beaten is beaten by someone whose move succeeded."""

Arguments = ParamSpec("Arguments")


class Frozen(BaseModel):
    """A record that is never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Record = TypeVar("Record", bound=Frozen)


class Medoids(Frozen):
    """A day's medoids, as published."""

    day: date
    manifest: str
    """Version of the manifest of ``medoids/day=…``."""
    keyvalue: str
    """Version in the key-value store."""
    embeddings: str


class Index(Frozen):
    """An index of pins that passed its gate."""

    day: date
    version: str
    """Version in the vector store."""
    embeddings: str


class Release(Frozen):
    """What readers read together."""

    number: int
    medoids: Medoids
    index: Index | None
    previous: int | None

    @property
    def embeddings(self) -> str:
        """The version that medoids and index were made with."""
        return self.medoids.embeddings


class Pointer(Frozen):
    """Which release is live, and what may not go live by itself."""

    live: int | None = None
    move: int | None = None
    """The move that made it live; None for a pointer from before there were moves."""
    withdrawn_days: tuple[date, ...] = ()
    withdrawn_indexes: tuple[str, ...] = ()


class Moved(Frozen):
    """Whether the pointer moved, and why or why not."""

    moved: bool
    why: str
    live: Release | None


class Releases:
    """The releases of one home folder."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.storage = open_storage(settings).under("releases")
        self.moves = Moves(self.storage.under("moves"))
        self.lake = open_lake(settings)
        self._read: bytes | None = None

    def pointer(self) -> Pointer:
        """Return the pointer as it is now; the next ``point`` replaces just this one."""
        self._read = self.storage.read(LIVE)
        return self._pointer(self._read)

    def get(self, number: int) -> Release:
        """Return one release."""
        name = f"{number:06}.json"
        data = self.storage.read(name)
        if data is None:
            raise DataError(f"There is no release {number}. See them all: pinnersage releases")
        return self._parse(data, name, Release)

    def numbers(self) -> list[int]:
        """Return the number of every release, ascending."""
        stems = (name.removesuffix(".json") for name in self.storage.names(""))
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def all(self) -> list[Release]:
        """Return every release, oldest first."""
        return [self.get(number) for number in self.numbers()]

    def live(self) -> Release | None:
        """Return the live release."""
        number = self._pointer(self.storage.read(LIVE)).live
        return None if number is None else self.get(number)

    def locked(self) -> AbstractContextManager[None]:
        """Keep others on this disk from moving the pointer; on an object store the swap decides."""
        return self.storage.locked("pointer")

    def history(self) -> list[Move]:
        """Return every move that led to what is live, the oldest first."""
        return self.moves.chain(self._pointer(self.storage.read(LIVE)).move)

    def move(
        self, medoids: Medoids, index: Index | None, pointer: Pointer, why: str, clock: Clock
    ) -> Moved:
        """Record a release and make it live. Call it under the lock."""
        number = max(self.numbers(), default=0) + 1
        release = Release(number=number, medoids=medoids, index=index, previous=pointer.live)
        name = f"{number:06}.json"
        if not self.storage.swap(name, None, canonical(release.model_dump(mode="json"))):
            raise RacedError(f"{self.storage.where}/{name}")
        self.turn(pointer, number, why, clock)
        return Moved(moved=True, why=why, live=release)

    def turn(self, pointer: Pointer, to: int, why: str, clock: Clock) -> None:
        """Record that a release goes live now, and let it. Call it under the lock."""
        made = self.moves.add(to, pointer.move, why, clock)
        if clock() - made.at > SKEW:  # as long, readers saw the release before: it is told anew
            raise RacedError(f"{self.moves.storage.where}: move {made.number} took too long")
        self.point(pointer.model_copy(update={"live": to, "move": made.number}))

    def point(self, pointer: Pointer) -> None:
        """Replace the pointer that was read, then tell the vector store. Call it under the lock.

        A kill in between leaves the store's own alias behind until ``announce`` is called again, as
        every later move does, also one that finds the release live already.

        Raises
        ------
        RacedError
            Somebody else has moved it since.
        """
        if not self.storage.swap(LIVE, self._read, canonical(pointer.model_dump(mode="json"))):
            raise RacedError(f"{self.storage.where}/{LIVE}")
        self.announce()

    def announce(self) -> None:
        """Tell the vector store which index is live."""
        live = self.live()
        if live and live.index:
            open_vectors(self.settings).announce(live.index.version)

    def published(self, day: date) -> Medoids | None:
        """Return a day's medoids if they passed and are in the key-value store."""
        manifest = self.lake.current("medoids", day=day)
        if manifest is None:
            return None
        medoids = Medoids(
            day=day,
            manifest=manifest.version,
            keyvalue=keyvalue_version(manifest),
            embeddings=manifest.report["embeddings"],
        )
        return medoids if medoids.keyvalue in open_keyvalue(self.settings).versions() else None

    def indexed(self, day: date) -> Index | None:
        """Return a day's index if it passed its gate and is in the vector store."""
        manifest = self.lake.current("index", day=day)
        if manifest is None:
            return None
        index = Index(
            day=day,
            version=manifest.report["version"],
            embeddings=manifest.report["embeddings"],
        )
        return index if index.version in open_vectors(self.settings).versions() else None

    def _pointer(self, data: bytes | None) -> Pointer:
        return Pointer() if data is None else self._parse(data, LIVE, Pointer)

    def _parse(self, data: bytes, name: str, kind: type[Record]) -> Record:
        try:
            return kind.model_validate_json(data)
        except ValidationError as error:
            if {item["type"] for item in error.errors()} == {"extra_forbidden"}:
                raise DataError(
                    f"{self.storage.where}/{name} was written by a newer version of this code: "
                    "upgrade this one. See docs/how-to/several-workers.md."
                ) from error
            raise DataError(
                f"{self.storage.where}/{name} is damaged: "
                f"{str(error).splitlines()[-2].strip()}. Restore the file from a backup. "
                "See runbook: damaged release."
            ) from error


def settled(operation: Callable[Arguments, Moved]) -> Callable[Arguments, Moved]:
    """Begin an operation again when somebody else moved the pointer meanwhile."""

    @functools.wraps(operation)
    def again(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Moved:
        for _ in range(ATTEMPTS):
            try:
                return operation(*args, **kwargs)
            except RacedError:
                continue
        raise TransientError(
            f"The live pointer was moved by others {ATTEMPTS} times meanwhile. Run it again."
        )

    return again


def keyvalue_version(manifest: Manifest) -> str:
    """Return the name under which a day's medoids are published."""
    return f"{manifest.partition['day']}-{manifest.version}"


@settled
def release_medoids(day: date, clock: Clock, settings: Settings) -> Moved:
    """Make ``day``'s published medoids live, if it is the live day or newer."""
    releases = Releases(settings)
    with releases.locked():
        pointer, live = releases.pointer(), releases.live()
        medoids = releases.published(day)
        if medoids is None:
            raise DataError(f"{day} is not published. Run first: pinnersage publish --day {day}")
        if day in pointer.withdrawn_days:
            why = f"{day} was withdrawn; make it live by name: pinnersage promote {day}"
            return Moved(moved=False, why=why, live=live)
        if live and live.medoids.day > day:
            why = f"{day} is older than the live day {live.medoids.day}; both are kept"
            return Moved(moved=False, why=why, live=live)
        index = _fitting_index(releases, pointer, live, medoids.embeddings)
        if index is None and live and live.index:
            why = (
                f"medoids of {day} were made with embeddings {medoids.embeddings}; they go live "
                "with the first index made with the same"
            )
            return Moved(moved=False, why=why, live=live)
        return _move_unless_live(releases, pointer, live, medoids, index, clock)


@settled
def release_index(day: date, clock: Clock, settings: Settings) -> Moved:
    """Make ``day``'s index live, if it is as new as the live one or newer."""
    releases = Releases(settings)
    with releases.locked():
        pointer, live = releases.pointer(), releases.live()
        index = releases.indexed(day)
        if index is None:
            raise DataError(f"{day} has no index. Run first: pinnersage index --day {day}")
        if index.version in pointer.withdrawn_indexes:
            why = f"the index of {day} was withdrawn; pinnersage promote {day} brings it back"
            return Moved(moved=False, why=why, live=live)
        if live is None:
            return Moved(moved=False, why="no medoids are live yet; the index waits", live=None)
        if live.index and live.index.day > day:
            why = f"the index of {day} is older than the live one of {live.index.day}"
            return Moved(moved=False, why=why, live=live)
        medoids = live.medoids
        if index.embeddings != medoids.embeddings:
            newer = _newest_medoids(releases, pointer, index.embeddings, since=medoids.day)
            if newer is None:
                why = (
                    f"the index of {day} was made with embeddings {index.embeddings}; it goes live "
                    "with the first medoids made with the same"
                )
                return Moved(moved=False, why=why, live=live)
            medoids = newer
        return _move_unless_live(releases, pointer, live, medoids, index, clock)


def _move_unless_live(
    releases: Releases,
    pointer: Pointer,
    live: Release | None,
    medoids: Medoids,
    index: Index | None,
    clock: Clock,
) -> Moved:
    if live and live.medoids == medoids and _same(live.index, index):
        releases.announce()
        return Moved(moved=False, why="it is live already", live=live)
    return releases.move(medoids, index, pointer, f"{medoids.day} is live", clock)


def _fitting_index(
    releases: Releases, pointer: Pointer, live: Release | None, embeddings: str
) -> Index | None:
    """Return the live index if it was made with these embeddings, else the newest that was."""
    if live and live.index and live.index.embeddings == embeddings:
        return live.index
    for day in reversed(releases.lake.days("index")):
        index = releases.indexed(day)
        if index is None or index.version in pointer.withdrawn_indexes:
            continue
        if index.embeddings == embeddings:
            return index
    return None


def _same(one: Index | None, other: Index | None) -> bool:
    """Whether two indexes are the same version, whatever day they were asked for."""
    return (one and one.version) == (other and other.version)


def _newest_medoids(
    releases: Releases, pointer: Pointer, embeddings: str, *, since: date
) -> Medoids | None:
    for day in reversed(releases.lake.days("medoids")):
        if day < since or day in pointer.withdrawn_days:
            continue
        medoids = releases.published(day)
        if medoids and medoids.embeddings == embeddings:
            return medoids
    return None


@settled
def rollback(clock: Clock, settings: Settings, to: int | None = None) -> Moved:
    """Go back, medoids and index at once, to the last release of other medoids or to a number.

    A day whose index changed makes two releases, and going back one would leave its medoids live.
    What was released since and differs is withdrawn until its day is promoted by name.
    """
    releases = Releases(settings)
    with releases.locked():
        pointer, live = releases.pointer(), releases.live()
        if live is None or live.previous is None:
            raise DataError("There is no release before the live one. See: pinnersage releases")
        since = _way_back(releases, live, to)
        target = since.pop()
        if live.index and target.index is None:
            raise DataError(
                f"Release {target.number} has no index: nothing could be recommended. Make a day "
                "live by name: pinnersage promote DAY"
            )
        require_present(target, settings)
        days = {r.medoids.day for r in since if r.medoids != target.medoids}
        indexes = {r.index.version for r in since if r.index and not _same(r.index, target.index)}
        pointer = pointer.model_copy(
            update={
                "withdrawn_days": tuple(sorted(days.union(pointer.withdrawn_days))),
                "withdrawn_indexes": tuple(sorted(indexes.union(pointer.withdrawn_indexes))),
            }
        )
        why = f"back from release {live.number} to {target.number}"
        if target.embeddings != live.embeddings:
            why += (
                f"; days to come would still be computed with embeddings {live.embeddings}: see "
                f"pinnersage withdraw {live.embeddings}"
            )
        releases.turn(pointer, target.number, why, clock)
        return Moved(moved=True, why=why, live=target)


def _way_back(releases: Releases, live: Release, to: int | None) -> list[Release]:
    """Return the releases from the live one back to the target, which is the last of them.

    Without a number the target is the first of other medoids; where all have the same, the one
    before the live one.
    """
    way = [live]
    while (before := way[-1].previous) is not None:
        way.append(releases.get(before))
        if before == to or (to is None and way[-1].medoids != live.medoids):
            return way
    if to is not None:
        raise DataError(
            f"Release {to} does not lie on the way back from release {live.number}: "
            f"{', '.join(str(release.number) for release in way[1:]) or 'nothing'}. "
            "Make a day live by name: pinnersage promote DAY"
        )
    return way[:2]


@settled
def promote(day: date, clock: Clock, settings: Settings) -> Moved:
    """Make a day live by name: withdrawn or older, its medoids, with its index where it fits."""
    releases = Releases(settings)
    with releases.locked():
        pointer, live = releases.pointer(), releases.live()
        medoids = releases.published(day)
        if medoids is None:
            raise DataError(f"{day} is not published. Run first: pinnersage publish --day {day}")
        own = releases.indexed(day)
        withdrawn = set(pointer.withdrawn_indexes) - ({own.version} if own else set())
        pointer = pointer.model_copy(
            update={
                "withdrawn_days": tuple(d for d in pointer.withdrawn_days if d != day),
                "withdrawn_indexes": tuple(sorted(withdrawn)),
            }
        )
        index = own
        if own is None or own.embeddings != medoids.embeddings:
            index = _fitting_index(releases, pointer, live, medoids.embeddings)
        if index is None and live and live.index:
            raise DataError(
                f"{day}: there is no index made with embeddings {medoids.embeddings} that is not "
                "withdrawn; without one nothing could be recommended. Run first: "
                f"pinnersage refine and pinnersage index --day {day}"
            )
        moved = _move_unless_live(releases, pointer, live, medoids, index, clock)
        if not moved.moved:
            releases.point(pointer)
        return moved


def require_present(release: Release, settings: Settings) -> None:
    """Refuse a release whose stores no longer hold what it names."""
    gone = []
    if release.medoids.keyvalue not in open_keyvalue(settings).versions():
        gone.append(f"key-value version {release.medoids.keyvalue}")
    if release.index and release.index.version not in open_vectors(settings).versions():
        gone.append(f"index {release.index.version}")
    if gone:
        raise DataError(
            f"Release {release.number} cannot go live: {' and '.join(gone)} is gone. Publish "
            f"{release.medoids.day} again, or promote another day. See: pinnersage releases"
        )
