"""Scrub: users out of files that never change otherwise, their versions, reports and leftovers.

A file of the lake that has such a user is written again without, under its new content's name. Then
every version of a manifest that lists it is replaced, and goes on under its name: releases,
key-value versions and what was made from it go on finding it. Last, the old file is removed. Killed
anywhere, a version lists files that are there, and scrubbing again finds the rest by the old file.
Other users' rows are the same to the byte.
"""

import html
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from pinnersage import pages, queries
from pinnersage.config import Settings
from pinnersage.errors import DataError, TransientError
from pinnersage.quality import QualityReport
from pinnersage.schema import LOGS
from pinnersage.stores.lake import (
    ROW_GROUP,
    DataFile,
    Lake,
    Manifest,
    broken_file,
    parse_manifest,
    write_parquet,
)
from pinnersage.stores.packing import key_of
from pinnersage.stores.states import States
from pinnersage.stores.storage import Storage

Who = Callable[[Iterable[str]], set[str]]
"""Which of some users, as text, are to go."""
ATTEMPTS = 20
"""Each is beaten only by a step that commits the same day in the same moments."""
REPORTS = "reports/quality"
JOURNAL_PART = 10_000
"""Events of the journal that are looked at together."""
UNFINISHED = re.compile(r"\..+\.(json|html)\.\w{8}")
"""Names of files that are being written, or that a killed writer left."""


class Rewritten(NamedTuple):
    """What takes the place of a file."""

    file: DataFile | None
    """None where no row is left."""
    users: set[str]
    rows: int
    """Rows that are gone."""
    hash: int
    """Of those rows."""


def partition(
    lake: Lake, folder: str, who: Who, settings: Settings, bucket: int | None = None
) -> int:
    """Remove users from a day of a table, such as ``medoids/day=2026-01-05``.

    Parameters
    ----------
    lake, folder, who, settings
        Where, and who is to go.
    bucket : int, optional
        The one whose files they can be in; any, if it is not said.

    Returns
    -------
    int
        Files and versions of manifests that named such a user.

    Raises
    ------
    TransientError
        Steps committed the same day again and again.
    """
    part = "/data/" if bucket is None else f"/bucket={bucket}/data/"
    for _ in range(ATTEMPTS):
        changed = attempt(lake, folder, part, who, settings)
        if changed is not None:
            return changed
    raise TransientError(
        f"{folder} was written by others {ATTEMPTS} times meanwhile. Run it again."
    )


def attempt(lake: Lake, folder: str, part: str, who: Who, settings: Settings) -> int | None:
    """Do what ``partition`` does; None when a step has written there meanwhile."""
    keys = [entry.key for entry in lake.storage.list(folder)]
    with lake.workspace() as work:
        files = rewritten(lake, [key for key in keys if part in key], who, work, settings)
    changed = len(files)
    for key in (key for key in keys if key.endswith(".json")):
        data = lake.storage.read(key)
        if data is None:
            continue
        manifest = parse_manifest(data, f"{lake.where}/{key}")
        without = cleaned(manifest, files, who)
        if without is not manifest:
            if not lake.storage.swap(key, data, without.data):
                return None
            changed += 1
    for key in files:
        lake.storage.remove(key)
    return changed


def rewritten(
    lake: Lake, keys: Sequence[str], who: Who, work: Path, settings: Settings
) -> dict[str, Rewritten]:
    """Write those of some files again that have a user who is to go; by the old file's key."""
    found: dict[str, Rewritten] = {}
    for key, path in zip(keys, lake.storage.locals(keys), strict=True):
        with broken_file(path):
            users = pc.unique(pq.ParquetFile(path).read(columns=["user_id"])["user_id"])
            gone = who(str(user) for user in users.to_pylist())
            if not gone:
                continue
            table = pq.ParquetFile(path).read()
        ids = [user for user in users.to_pylist() if str(user) in gone]
        is_gone = pc.is_in(table["user_id"], pa.array(ids, users.type))
        name, day, bucket = re.match(r"(\w+)/day=([^/]+)/(?:bucket=(\d+)/)?", key).groups()  # type: ignore[union-attr]
        where = {"day": day} | ({"bucket": int(bucket)} if bucket else {})
        removed, kept = table.filter(is_gone), table.filter(pc.invert(is_gone))
        file = None
        if kept.num_rows:
            target = work / f"{len(found)}.parquet"
            write_as_its_step(name, kept, target)
            file = lake.add(target, name, kept.num_rows, **where)
        # A log has no manifest that a hash would stand in.
        hashed = hash_of(removed, work, settings) if bucket else 0
        found[key] = Rewritten(file, gone, removed.num_rows, hashed)
    return found


def write_as_its_step(name: str, table: pa.Table, path: Path) -> None:
    """Write a file as its step would have: the same rows, the same bytes."""
    if name in {"actions", "parity", *(log.name for log in LOGS)}:
        write_parquet(table, path)
    else:
        pq.write_table(table.combine_chunks(), path, compression="zstd", row_group_size=ROW_GROUP)


def hash_of(table: pa.Table, work: Path, settings: Settings) -> int:
    """Return the sum of rows' hashes."""
    with queries.connect(work / "spill", settings.run) as con:
        con.register("removed", table)
        total: int = queries.scalar(con, f"SELECT {queries.values_hash(table.schema)} FROM removed")  # noqa: S608
    return total


def cleaned(manifest: Manifest, files: dict[str, Rewritten], who: Who) -> Manifest:
    """Return a manifest without some users, under the version it has; itself if none is in it."""
    gone = [files[file.path] for file in manifest.files if file.path in files]
    report = report_without(manifest.report, who)
    if not gone and report == manifest.report:
        return manifest
    kept = (files[f.path].file if f.path in files else f for f in manifest.files)
    content = manifest.content_hash
    if content:
        content = queries.hash_text(int(content, 16) - sum(one.hash for one in gone))
    return manifest.model_copy(
        update={
            "files": tuple(file for file in kept if file),
            "rows": manifest.rows - sum(one.rows for one in gone),
            "content_hash": content,
            "report": report,
            "known_as": manifest.version,
            "erased": manifest.erased + len(set[str]().union(*(one.users for one in gone))),
        }
    )


def report_without(report: dict[str, Any], who: Who) -> dict[str, Any]:
    """Return a manifest's report, the rows of some users not among its examples."""
    if "checks" not in report:
        return report
    checks = [item | {"examples": rows_without(item["examples"], who)} for item in report["checks"]]
    return report | {"checks": checks}


def rows_without(rows: Sequence[dict[str, Any]], who: Who) -> list[dict[str, Any]]:
    """Return the rows that are not about some users."""
    gone = who({str(row["user_id"]) for row in rows if "user_id" in row})
    return [row for row in rows if str(row.get("user_id")) not in gone]


def reports(storage: Storage, who: Who, folder: str = REPORTS) -> int:
    """Remove the rows of users from quality reports and their pages; how many named one.

    Pages are written before the reports that they show, and all of a day's, so that a kill leaves a
    report that still says what is left to do.
    """
    days: dict[str, dict[str, QualityReport]] = {}
    for key in (entry.key for entry in storage.list(folder) if entry.key.endswith(".json")):
        day, _, name = key.removesuffix(".json").rpartition("/")
        days.setdefault(day, {})[name] = read_report(storage, key)
    changed = 0
    for day, found in days.items():
        without = {name: quality_without(report, who) for name, report in found.items()}
        named = [name for name in found if without[name] != found[name]]
        for name, report in without.items() if named else ():
            page = f"{day}/{pages.PAGES.get(name, name)}.html"
            storage.write(page, pages.page_of(report, storage))
        for name in named:
            storage.write(f"{day}/{name}.json", without[name].model_dump_json(indent=1).encode())
        changed += len(named)
    return changed


def read_report(storage: Storage, key: str) -> QualityReport:
    """Return a quality report; one that cannot be read might name anybody."""
    try:
        return QualityReport.model_validate_json(storage.read(key) or b"")
    except ValidationError as error:
        raise DataError(
            f"{storage.where}/{key} cannot be read, so nobody knows whom it names. Mend or remove "
            "it and its page, then give the order again."
        ) from error


def quality_without(report: QualityReport, who: Who) -> QualityReport:
    """Return a quality report without the rows of some users; what was counted stays."""
    outcomes = [
        outcome.model_copy(update={"examples": rows_without(outcome.examples, who)})
        for outcome in report.outcomes
    ]
    parity = report.parity
    if parity:
        gone = who({user.user_id for user in parity.worst})
        kept = [user for user in parity.worst if user.user_id not in gone]
        parity = parity.model_copy(update={"worst": kept})
    return report.model_copy(update={"outcomes": outcomes, "parity": parity})


def online(states: States, user: str) -> int:
    """Remove a user's online state, and their events from the journal; how many there were."""
    key, after, found = key_of(user), b"", 0
    if states.get_many([key]) != [None]:
        states.change([key], lambda _: {key: None})
        found += 1
    while part := states.oldest(JOURNAL_PART, after):
        own = [entry for entry, event in part if user_of(entry, event) == user]
        states.remove(own)
        found += len(own)
        after = part[-1][0]
    return found


def user_of(entry: bytes, event: bytes) -> str:
    """Return whose event an entry of the journal is; one that cannot be read might be anybody's."""
    try:
        return str(json.loads(event)["user_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"Entry {entry.hex()} of the online journal is no event, so nobody knows whose it is. "
            "See runbook: damaged online state."
        ) from error


def leftovers(folders: Iterable[Path], user: str) -> int:
    """Remove what ``write_atomically`` left unfinished, if it names a user; how many files."""
    said = {user, html.escape(user), json.dumps(user)[1:-1]}
    spelled = [text.encode() for text in said]
    found = 0
    for path in (path for folder in folders for path in folder.rglob(".*")):
        if UNFINISHED.fullmatch(path.name) and path.is_file():
            data = path.read_bytes()
            if any(text in data for text in spelled):
                path.unlink(missing_ok=True)
                found += 1
    return found
