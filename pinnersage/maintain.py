"""Maintain: remove what nothing needs any more, or say what would go.

What goes is decided in ``retention``. A partition loses its manifest first, so that no step finds
half of it; then versions are dropped from the stores; then files go. Killed anywhere, readers see
what they saw, and the next run finds the rest as files that nothing names. Partitions and versions
go under the lock of the live pointer. An object store has no such lock, so the pointer is read
again before each of them, and all is decided anew if it has moved.
"""

import json
from datetime import date, datetime

from pydantic import BaseModel, ConfigDict

from pinnersage import retention
from pinnersage.config import Settings
from pinnersage.errors import TransientError
from pinnersage.release import Releases, require_present
from pinnersage.retention import INDEXES, KEYVALUE, REPORTS, UNNAMED, Item, Plan
from pinnersage.schema import LOGS
from pinnersage.stores import open_keyvalue, open_storage, open_vectors
from pinnersage.stores.lake import canonical
from pinnersage.stores.storage import Storage
from pinnersage.survey import BY_DAY, BY_VERSION, worked_on

ATTEMPTS = 5
"""Each is beaten only by a release that goes live in the same moments."""
SHOWN = 20
"""Things of a kind that a brief report lists."""


class Frozen(BaseModel):
    """A part of the report."""

    model_config = ConfigDict(frozen=True)


class Gone(Frozen):
    """One thing that goes."""

    name: str
    files: int
    bytes: int | None
    """None where a server keeps it and does not say."""
    why: str


class KindReport(Frozen):
    """What there was of one kind."""

    kind: str
    kept: int
    held: dict[str, str]
    """What would go by its age and stays, and why; counted in ``kept``."""
    n_gone: int
    bytes: int
    gone: list[Gone]


class MaintainReport(Frozen):
    """What would go, or went."""

    day: date
    dry_run: bool
    finished: bool
    """False in a report that a killed run leaves: it says what was about to go."""
    kinds: list[KindReport]

    @property
    def n_gone(self) -> int:
        """Things of all kinds that go."""
        return sum(kind.n_gone for kind in self.kinds)

    def brief(self) -> "MaintainReport":
        """Return the same with the first things of each kind: all counts, and not all names."""
        kinds = [
            kind.model_copy(
                update={
                    "gone": kind.gone[:SHOWN],
                    "held": dict(list(kind.held.items())[:SHOWN]),
                }
            )
            for kind in self.kinds
        ]
        return self.model_copy(update={"kinds": kinds})


def run(now: datetime, settings: Settings, *, dry_run: bool) -> MaintainReport:
    """Remove what may go at ``now`` (UTC), or only say what would.

    Raises
    ------
    TransientError
        The live pointer moved again and again, or a store is away. What is left goes next time.
    """
    plan = retention.plan(now, settings)
    first = report_of(now, plan, {kind: part.gone for kind, part in plan.kinds.items()})
    if dry_run:
        return first
    keep_report(settings, first.model_copy(update={"dry_run": False, "finished": False}))
    done: dict[str, list[Item]] = {kind: [] for kind in plan.kinds}
    for _ in range(ATTEMPTS):
        if carry_out(plan, settings, done):
            break
        plan = retention.plan(now, settings)
    else:
        raise TransientError(
            f"The live release was moved by others {ATTEMPTS} times meanwhile. Run it again."
        )
    live = Releases(settings).live()
    if live and (done[KEYVALUE] or done[INDEXES]):
        require_present(live, settings)
    report = report_of(now, plan, done).model_copy(update={"dry_run": False})
    keep_report(settings, report, replace=True)
    return report


def carry_out(plan: Plan, settings: Settings, done: dict[str, list[Item]]) -> bool:
    """Remove what a plan lists, noting it in ``done``; False when the pointer has moved.

    A partition that has been worked on since the plan was made stays.
    """
    root = open_storage(settings)
    lake = root.under("lake")
    with Releases(settings).locked():
        if not (retire(plan, settings, lake) and drop(plan, settings, done)):
            return False
    for kind in (*BY_DAY, *BY_VERSION, UNNAMED):
        for item in plan.kinds[kind].gone:
            if not busy(plan, lake, item):
                remove(lake, kind, item, done)
    for log in LOGS:
        for item in plan.kinds[log.name].gone:
            remove(lake, log.name, item, done)
    for item in plan.kinds[REPORTS].gone:
        remove(root, REPORTS, item, done)
    return True


def retire(plan: Plan, settings: Settings, lake: Storage) -> bool:
    """Remove the current manifests of the partitions that go; False when the pointer has moved."""
    for kind in (*BY_DAY, *BY_VERSION):
        for item in plan.kinds[kind].gone:
            if Releases(settings).pointer() != plan.pointer:
                return False
            if not busy(plan, lake, item):
                for key in item.keys:
                    if key.endswith("/manifest.json"):
                        lake.remove(key)
    return True


def drop(plan: Plan, settings: Settings, done: dict[str, list[Item]]) -> bool:
    """Drop the versions that go from the stores; False when the pointer has moved."""
    for kind, store in ((KEYVALUE, open_keyvalue(settings)), (INDEXES, open_vectors(settings))):
        for item in plan.kinds[kind].gone:
            if Releases(settings).pointer() != plan.pointer:
                return False
            store.drop(item.name)
            done[kind].append(item)
    return True


def busy(plan: Plan, lake: Storage, item: Item) -> bool:
    """Return whether something was written in a partition that had been at rest."""
    return worked_on(lake, lake.list(item.name), plan.since)


def remove(storage: Storage, kind: str, item: Item, done: dict[str, list[Item]]) -> None:
    """Remove a thing's files."""
    for key in item.keys:
        storage.remove(key)
    done[kind].append(item)


def report_of(now: datetime, plan: Plan, gone: dict[str, list[Item]]) -> MaintainReport:
    """Return a report of what a plan keeps, and of what is said to go."""
    kinds = [
        KindReport(
            kind=kind,
            kept=part.kept,
            held=part.held,
            n_gone=len(gone[kind]),
            bytes=sum(item.bytes or 0 for item in gone[kind]),
            gone=[
                Gone(name=item.name, files=len(item.keys), bytes=item.bytes, why=item.why)
                for item in gone[kind]
            ],
        )
        for kind, part in plan.kinds.items()
    ]
    return MaintainReport(day=now.date(), dry_run=True, finished=True, kinds=kinds)


def keep_report(settings: Settings, report: MaintainReport, *, replace: bool = False) -> None:
    """Keep a report among those of its day, last; it may replace the one before it."""
    storage, key = open_storage(settings), f"reports/maintenance/{report.day}.json"
    data = storage.read(key)
    runs = json.loads(data) if data else []
    if replace:
        runs.pop()
    storage.write(key, canonical([*runs, report.model_dump(mode="json")]))
