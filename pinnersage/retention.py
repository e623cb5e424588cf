"""Retention: what in lake, stores and reports is still needed, and so what may go.

Partitions go by their day, counted back from the newest sound day of their table, so that neither
an outage nor a day that failed ages anything; logs go by the clock, which also dated them. Files go
by name: a data file stays while a manifest that stays lists it, in whatever folder it lies. What
the live release or the way back from it names stays, however old. So does what was worked on within
the grace, since a running step's files are not named yet, and a version in a store that this lake
does not know, since a server may be shared.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from pinnersage.config import Settings
from pinnersage.release import Pointer, Releases, keyvalue_version
from pinnersage.schema import EXPOSURES, FEEDBACK
from pinnersage.stores import embeddings, open_keyvalue, open_storage, open_vectors
from pinnersage.stores.lake import Manifest
from pinnersage.stores.storage import Entry, Storage
from pinnersage.survey import BY_DAY, BY_VERSION, Named, Survey, names

KEYVALUE, INDEXES = "key-value versions", "index versions"
UNNAMED, REPORTS = "unnamed files", "reports"
METRICS, PARITY = "metrics", "parity"
NUMBERS = (METRICS, PARITY)
"""Tables of what was measured: they need no embeddings to stay."""
QUALITY, OWN = "reports/quality/day=", "reports/maintenance/"
EVALUATION = "reports/evaluation/daily/day="
_REPORT = re.compile(rf"(?P<of>(?:{QUALITY}|{EVALUATION}|{OWN})\d{{4}}-\d\d-\d\d)[./].+")


@dataclass(frozen=True)
class Item:
    """One thing that may go."""

    name: str
    why: str
    bytes: int | None = 0
    """None where a server keeps it and does not say."""
    keys: tuple[str, ...] = ()
    """Its files; what a store holds has none of ours."""


@dataclass
class Kind:
    """What there is of one kind."""

    kept: int = 0
    held: dict[str, str] = field(default_factory=dict)
    """What would go by its age and stays, and why; counted in ``kept``."""
    gone: list[Item] = field(default_factory=list)

    def hold(self, name: str, why: str) -> None:
        """Keep a thing for a reason of its own."""
        self.kept += 1
        self.held[name] = why


@dataclass(frozen=True)
class Plan:
    """What may go; valid while the pointer is what it was."""

    pointer: Pointer
    since: datetime
    """A partition in which something was written later is left alone."""
    kinds: dict[str, Kind]


def plan(now: datetime, settings: Settings) -> Plan:
    """Return what may go at ``now`` (UTC); nothing is changed."""
    releases = Releases(settings)
    pointer = releases.pointer()
    named = names(releases, pointer, settings.retention.ready_days)
    survey = Survey(now, settings)
    kinds = {table: day_partitions(survey, named, table) for table in BY_DAY}
    marks = survey.mark(set(BY_DAY) - {*NUMBERS})
    for release in named.way:
        survey.mark_version(marks, release)
    for table in BY_VERSION:
        kinds[table] = version_partitions(survey, named, marks, table)
    marks |= survey.mark((*NUMBERS, *BY_VERSION))
    lake_items(survey, marks, kinds)
    kinds[KEYVALUE] = keyvalue_versions(survey, named)
    kinds[INDEXES] = index_versions(survey, named, pointer)
    kept = settings.retention
    kinds[EXPOSURES.name] = log(survey, EXPOSURES.name, kept.exposures_days)
    kinds[FEEDBACK.name] = log(survey, FEEDBACK.name, kept.feedback_days)
    kinds[REPORTS] = reports(survey, named)
    return Plan(pointer, survey.since, kinds)


def day_partitions(survey: Survey, named: Named, table: str) -> Kind:
    """Decide on the partitions of a table by their days."""
    kind, days, n_days = Kind(), survey.days(table), days_kept(survey.settings)[table]
    window = survey.settings.model.window_days if table == "actions" else 1
    grace = f"worked on within {within(survey)}"
    worked_on = [
        day
        for other in BY_DAY
        for day, partition in survey.days(other).items()
        if partition in survey.fresh
    ]
    newest = survey.newest(table) or date.min
    for day, partition in days.items():
        age = (newest - day).days
        near = next((d for d in worked_on if 0 <= (d - day).days < window), None)
        if age < n_days:
            kind.kept += 1
        elif partition in survey.fresh:
            kind.hold(partition, grace)
        elif near is not None:
            kind.hold(partition, f"of {near}, which was {grace}")
        elif partition in named.partitions:
            kind.hold(partition, named.partitions[partition])
        else:
            survey.going[partition] = f"{age} days before {newest}, the newest; kept are {n_days}"
    return kind


def within(survey: Survey) -> str:
    """Return the grace in words."""
    days = survey.settings.retention.grace_days
    return f"{days} day{'' if days == 1 else 's'}"


def days_kept(settings: Settings) -> dict[str, int]:
    """Return how many days of each table stay, the newest among them."""
    kept, drift = settings.retention, settings.checks.drift_days
    return {
        "actions": settings.model.window_days + max(kept.spare_action_days, drift),
        "medoids": max(kept.medoids_days, drift + 1),
        "refined": kept.index_days,
        "index": kept.index_days,
        METRICS: kept.reports_days,
        PARITY: kept.reports_days,
    }


def version_partitions(survey: Survey, named: Named, marks: set[str], table: str) -> Kind:
    """Keep the oldest version that is needed and all newer ones.

    Were one in between to go, a day of its time would be computed with an older one, in silence.
    """
    kind = Kind()
    found = dict(survey.manifests(table))
    by_age = sorted(found, key=lambda one: order(found[one]))
    days = [release.medoids.day for release in named.way]
    for other in ("medoids", "refined", "index"):
        days += [day for day, one in survey.days(other).items() if one not in survey.going]
    spare = survey.settings.retention.spare_action_days
    if newest := survey.newest("actions"):
        days.append(newest - timedelta(days=spare))
    in_force = [one for one in by_age if not embeddings.is_withdrawn(found[one])]
    valid = [one for one in in_force if days and order(found[one])[0] <= min(days).isoformat()]
    needed = {valid[-1]} if valid else set(in_force[:1])
    needed |= {one for one in by_age if any(key.startswith(f"{one}/") for key in marks)}
    needed |= {f"embeddings/version={release.embeddings}" for release in named.way}
    needed |= {one for one in by_age if one in survey.fresh}
    oldest = min((by_age.index(one) for one in needed if one in found), default=0)
    kind.kept = len(by_age) - oldest
    why = f"older than {by_age[oldest]}, the oldest that a kept day uses" if oldest else ""
    survey.going |= dict.fromkeys(by_age[:oldest], why)
    return kind


def order(manifest: Manifest) -> tuple[str, int]:
    """Return what versions are ordered by: the first day, then the import."""
    return manifest.report["valid_from"], manifest.report["imported"]


def lake_items(survey: Survey, marks: set[str], kinds: dict[str, Kind]) -> None:
    """List the files that go: those of partitions that go, and those that nothing names."""
    unnamed = kinds.setdefault(UNNAMED, Kind())
    for partition, entries in sorted(survey.files.items()):
        left = [entry for entry in entries if entry.key not in marks]
        why = survey.going.get(partition)
        if not left:
            continue
        if why is None and partition in survey.fresh:
            unnamed.kept += len(left)
            continue
        kind = kinds[partition.partition("/")[0]] if why else unnamed
        said = why or "no manifest that stays names them"
        size = sum(entry.size for entry in left)
        kind.gone.append(Item(partition, said, size, tuple(entry.key for entry in left)))


def keyvalue_versions(survey: Survey, named: Named) -> Kind:
    """Decide on the versions in the key-value store."""
    settings, known = survey.settings, set(named.ever)
    for key in survey.keys:
        if found := re.fullmatch(r"medoids/day=([^/]+)/manifests/(\w+)\.json", key):
            known.add(f"{found[1]}-{found[2]}")
    current = [
        (m.partition["day"], keyvalue_version(m), one) for one, m in survey.manifests("medoids")
    ]
    ready = ready_versions(survey, current)
    folder = settings.home / "stores" / "keyvalue" if settings.keyvalue.store == "lmdb" else None
    return store_versions(open_keyvalue(settings).versions(), ready, named, known, folder)


def index_versions(survey: Survey, named: Named, pointer: Pointer) -> Kind:
    """Decide on the versions in the vector store."""
    settings, known = survey.settings, set(named.ever)
    old = survey.read(k for k in survey.keys if re.fullmatch(r"index/day=[^/]+/manifests/.+", k))
    known |= {manifest.report["version"] for _, manifest in old}
    there = survey.manifests("index")
    current = [(m.partition["day"], str(m.report["version"]), one) for one, m in there]
    ready = ready_versions(survey, current)
    waiting = survey.manifests("medoids")[-settings.retention.ready_days :]
    for vectors in {manifest.report["embeddings"] for _, manifest in waiting}:
        fitting = [m.report["version"] for _, m in there if m.report["embeddings"] == vectors]
        fitting = [version for version in fitting if version not in pointer.withdrawn_indexes]
        ready |= dict.fromkeys(fitting[-1:], "")
    folder = settings.home / "stores" / "vectors" if settings.index.store == "edge" else None
    return store_versions(open_vectors(settings).versions(), ready, named, known, folder)


def ready_versions(survey: Survey, current: list[tuple[str, str, str]]) -> dict[str, str]:
    """Return the versions that may go live next, by name: empty, or why they stay all the same.

    Whatever runs releases the day that it has just made, so that is among the newest or was worked
    on within the grace. Others go live only when a person promotes one of the newest.

    Parameters
    ----------
    current : list of (day, version, partition)
        What the current manifests say, ascending.
    """
    kept = survey.settings.retention
    ready = {
        version: f"its day was worked on within {within(survey)}"
        for _, version, partition in current
        if partition in survey.fresh
    }
    return ready | {version: "" for _, version, _ in current[-kept.ready_days :]}


def store_versions(
    there: list[str], ready: dict[str, str], named: Named, known: set[str], folder: Path | None
) -> Kind:
    """Decide on versions by name; ``folder`` is where they lie, if they lie on this disk."""
    kind = Kind()
    for version in there:
        if ready.get(version) == "":
            kind.kept += 1
        elif version in named.stores or version in ready:
            kind.hold(version, named.stores.get(version) or ready[version])
        elif version not in known:
            kind.hold(version, "no manifest and no release of this lake names it")
        else:
            size = bytes_in(folder / version) if folder else None
            why = "of none of the newest days, nor on the way back from the live release"
            kind.gone.append(Item(version, why, size))
    return kind


def bytes_in(folder: Path) -> int:
    """Return the size of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def log(survey: Survey, table: str, kept: int) -> Kind:
    """Decide on the days of a log, by age alone: no manifest names its files.

    They age by the clock, which also dated them: when an experiment is over no newer day comes.
    """
    kind = Kind()
    by_day: dict[date, list[Entry]] = {}
    for entry in survey.lake.storage.list(table):
        if found := re.fullmatch(rf"{table}/day=(\d{{4}}-\d\d-\d\d)/data/[^/]+", entry.key):
            by_day.setdefault(date.fromisoformat(found[1]), []).append(entry)
    today = survey.now.date()
    for day, entries in sorted(by_day.items()):
        age = (today - day).days
        if age < kept:
            kind.kept += 1
        else:
            size, keys = sum(e.size for e in entries), tuple(e.key for e in entries)
            why = f"{age} days before {today}, today; kept are {kept}"
            kind.gone.append(Item(f"{table}/day={day}", why, size, keys))
    return kind


def reports(survey: Survey, named: Named) -> Kind:
    """Decide by their days on reports of quality, of releases, and of this step."""
    kind, days, storage = (
        Kind(),
        survey.settings.retention.reports_days,
        open_storage(survey.settings),
    )
    by_day: dict[str, list[Entry]] = {}
    for entry in storage.list("reports"):
        if found := _REPORT.fullmatch(entry.key):
            by_day.setdefault(found["of"], []).append(entry)
    newest = {
        QUALITY: survey.newest("medoids") or date.min,
        EVALUATION: survey.newest(METRICS) or date.min,
        OWN: survey.now.date(),
    }
    for name, entries in sorted(by_day.items()):
        of, day = name[:-10], name[-10:]
        age = (newest[of] - date.fromisoformat(day)).days
        if age < days:
            kind.kept += 1
        elif any(entry.modified > survey.since for entry in entries):
            kind.hold(name, f"written within {within(survey)}")
        elif why := held_report(storage, entries, named, day) if of == QUALITY else "":
            kind.hold(name, why)
        else:
            size, keys = sum(e.size for e in entries), tuple(e.key for e in entries)
            why = f"{age} days before {newest[of]}, the newest; kept are {days}"
            kind.gone.append(Item(name, why, size, keys))
    return kind


def held_report(storage: Storage, entries: list[Entry], named: Named, day: str) -> str:
    """Return why a day's quality reports stay however old they are; empty if they need not.

    They alone say why the live day could go live, and who let a day go live that had failed.
    """
    if why := named.partitions.get(f"medoids/day={day}"):
        return why
    for entry in entries:
        if not entry.key.endswith(".json"):
            continue
        try:
            waived = json.loads(storage.read(entry.key) or b"{}").get("waived")
        except ValueError:
            return f"{entry.key.rpartition('/')[2]} cannot be read: mend or remove it"
        if waived:
            return f"waived by {waived['by']}"
    return ""
