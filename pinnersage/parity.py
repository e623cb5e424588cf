"""Parity: users' clusters brought up to date online, against a batch over the same actions.

For users of one bucket who acted on the day: the stored clusters of the day before with the day's
latest actions, as a reader has them at the day's end, beside what one batch makes of every action
from the start of that day's window to the same end. What then changes because the window slides on
by a day is no fault of online, and is measured apart.

Reads the passed ``medoids`` of the day before and the actions of both; writes ``parity/day=…``. A
day on which there is nothing to compare has a partition without rows that says why. Stored medoids
that are not what their own actions give are an error.
"""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from pinnersage import erase, extract, queries
from pinnersage.config import Settings, fingerprint, medoids_fingerprint
from pinnersage.errors import DataError
from pinnersage.extract import end_of, start_of
from pinnersage.model import cluster_users
from pinnersage.online import Actions, Clusters, agreement, update
from pinnersage.online_against_batch import WORST, Agreement, Summary, worst_first
from pinnersage.schema import PARITY
from pinnersage.stores import embeddings, open_lake
from pinnersage.stores.embeddings import Embeddings
from pinnersage.stores.lake import DataFile, Lake, Manifest, broken_file
from pinnersage.version import __version__

Array = np.ndarray[Any, Any]
DAY_US = 86_400_000_000
COLUMNS = ["user_id", "rank", "pin_id", "importance", "n_actions", "offset", "last_acted_at"]
BEYOND = "beyond online.parity_users"
WITHOUT = "without stored clusters"
DIGITS = 9
"""Of a cosine: beyond, it depends on how many threads multiplied matrices."""
TOLERANCE = 1e-9
"""Relative, of importance and offsets that are computed again."""


class NotMeasuredError(Exception):
    """A day that cannot be compared, and why; the day has not failed."""


class ParityReport(Summary):
    """What was found; no user is in it."""

    day: date
    version: str
    """Of the partition of ``parity``."""


class Failed(BaseModel):
    """A comparison that failed, where the day goes on all the same."""

    model_config = ConfigDict(frozen=True)

    day: date
    error: str


class Acting(NamedTuple):
    """A user who acted on the day, with every action that counts, oldest first."""

    user_id: int | str
    rows: Array
    """intp[n]: row of each action's pin in the embeddings."""
    acted_at: Array
    """int64[n]: microseconds since 1970, UTC."""


class Result(NamedTuple):
    """A user's clusters, from online or from a batch."""

    labels: Array
    """intp[n]: cluster of each action."""
    rows: Array
    """intp[k]: row of each medoid in the embeddings, the most important first."""
    importance: Array
    n_actions: Array
    offset: Array


class Pair(NamedTuple):
    """How well two results agree."""

    identical: bool
    jaccard: float
    cosine: float


class Compared(NamedTuple):
    """One user, compared."""

    user: Acting
    n_new: int
    online: Result
    batch: Result
    agree: Pair
    stored_kept: bool
    """Whether the batch parts the older actions as the stored clusters do."""
    sliding: Pair


@dataclass(frozen=True)
class Day:
    """A day that can be compared, and what it is compared by."""

    day: date
    bucket: int
    stored: Manifest
    """The passed medoids of the day before."""
    table: Embeddings
    lake: Lake
    settings: Settings

    @property
    def wide(self) -> Settings:
        """Settings of a window that begins as the day before's and ends with the day."""
        return self.settings.with_model(window_days=self.settings.model.window_days + 1)

    @property
    def reads(self) -> tuple[str, ...]:
        """References of what is read."""
        actions = extract.window_manifests(self.lake, self.day, self.wide)
        return (self.table.ref, self.stored.ref, *(one.ref for one in actions))


def run(day: date, settings: Settings) -> ParityReport:
    """Compare online with batch for users who acted on ``day``; replaces that day's partition.

    Raises
    ------
    DataError
        ``day`` is not staged, or stored medoids are not what their own actions give.
    """
    own = erase.own_days(PARITY.name, [day], settings)
    return erase.settled(lambda: measure_day(day, settings), settings, own)


def measure_day(day: date, settings: Settings) -> ParityReport:
    """Do what ``run`` does, once."""
    lake = open_lake(settings)
    staged = lake.require("actions", f"pinnersage stage --day {day}", day=day)
    bucket = day.toordinal() % lake.layout.n_buckets
    most = settings.online.max_actions
    about: dict[str, Any] = {"bucket": bucket, "max_actions": most}
    found: list[Compared] = []
    reads: tuple[str, ...] = (staged.ref,)
    try:
        of = comparable(day, bucket, lake, settings)
        found, left_out = compared(of)
        summary, reads = summarised(found, about | {"left_out": left_out}), of.reads
        pins = of.table.pin_ids
    except NotMeasuredError as error:
        summary, pins = Summary(**about, not_measured=str(error)), pa.array([])
    manifest = write(day, summary, rows_of(found, pins, most, lake), reads, settings)
    return ParityReport(day=day, version=manifest.version, **summary.model_dump())


def comparable(day: date, bucket: int, lake: Lake, settings: Settings) -> Day:
    """Return what a day is compared by, or say why it cannot be."""
    eve = day - timedelta(days=1)
    stored = lake.current("medoids", day=eve)
    if stored is None:
        raise NotMeasuredError(f"no medoids of {eve} passed")
    if stored.settings_hash != medoids_fingerprint(settings):
        raise NotMeasuredError(f"the medoids of {eve} were made with other settings of the model")
    table = embeddings.open_valid(lake, day)
    if stored.report["embeddings"] != table.version:
        raise NotMeasuredError(
            f"the medoids of {eve} were made with embeddings {stored.report['embeddings']}, and "
            f"{table.version} are valid on {day}"
        )
    version = stored.reads[bucket].rpartition("@")[2]
    clustered = lake.version("medoids", version, day=eve, bucket=bucket)
    window = (lake.current("actions", day=one) for one in extract.window_of(eve, settings))
    if list(clustered.reads[1:]) != [one.ref for one in window if one]:
        raise NotMeasuredError(f"the window of {eve} was staged again since its medoids were made")
    return Day(day, bucket, stored, table, lake, settings)


def compared(of: Day) -> tuple[list[Compared], dict[str, int]]:
    """Return the users who are compared, by id, and how many are not, by reason."""
    acting, n_beyond = acting_users(of)
    stored = stored_clusters(of, [user.user_id for user in acting])
    known = [user for user in acting if user.user_id in stored]
    left_out = {BEYOND: n_beyond, WITHOUT: len(acting) - len(known)}
    if not known:
        who = "nobody with stored clusters" if acting else "nobody"
        raise NotMeasuredError(f"{who} of bucket {of.bucket} acted on {of.day}")
    day_us, now_us = (micros(moment) for moment in (start_of(of.day), end_of(of.day)))
    first_us = now_us - of.settings.model.window_days * DAY_US
    before = batches(known, first_us - DAY_US, day_us, of)
    whole = batches(known, first_us - DAY_US, now_us, of)
    slid = batches(known, first_us, now_us, of)
    found = []
    for user, eve, batch, own in zip(known, before, whole, slid, strict=True):
        clusters = stored[user.user_id]
        check_stored(user, clusters, eve, of)
        online = brought_up_to_date(user, clusters, eve.labels, of)
        n_new = user.rows.size - eve.labels.size
        agree = pair(online, batch, of.table)
        if n_new > of.settings.online.max_actions:
            agree = agree._replace(identical=False)
        kept = batch._replace(labels=batch.labels[batch.labels.size - own.labels.size :])
        sliding = pair(kept, own, of.table)
        is_kept = agreement.identical(eve.labels, batch.labels[: eve.labels.size])
        found.append(Compared(user, n_new, online, batch, agree, is_kept, sliding))
    return found, {why: n for why, n in left_out.items() if n}


def acting_users(of: Day) -> tuple[list[Acting], int]:
    """Return users who acted on the day, by id, and how many more there are than are compared.

    In memory are a chunk of the bucket and the users who are compared.
    """
    day_us, most = micros(start_of(of.day)), of.settings.online.parity_users
    kept: list[Acting] = []
    n_acting = 0
    for chunk in chunks(of):
        newest = chunk.acted_at[chunk.offsets[1:] - 1]
        places = np.flatnonzero(newest >= day_us).tolist()
        n_acting += len(places)
        kept = heapq.nsmallest(most, [*kept, *(acting(chunk, i) for i in places)], key=digest)
    return sorted(kept, key=lambda user: user.user_id), n_acting - len(kept)


def chunks(of: Day) -> Iterator[extract.Chunk]:
    """Yield the users of the bucket, with their actions of the day and of the window before."""
    with of.lake.workspace() as work, queries.connect(work / "spill", of.settings.run) as con:
        try:
            extract.label(con, of.lake, of.day, of.bucket, of.wide, of.table)
            yield from extract.chunks(con, of.day)
        except duckdb.Error as error:
            raise queries.translate(error, f"parity {of.day}, bucket {of.bucket}") from error


def acting(chunk: extract.Chunk, place: int) -> Acting:
    """Return one user of a chunk; copies, so that the chunk can go."""
    own = slice(chunk.offsets[place], chunk.offsets[place + 1])
    return Acting(
        chunk.user_ids[own.start].as_py(), chunk.rows[own].copy(), chunk.acted_at[own].copy()
    )


def digest(user: Acting) -> bytes:
    """Return what decides who is compared where there are too many."""
    return hashlib.md5(str(user.user_id).encode(), usedforsecurity=False).digest()


def micros(moment: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return int(moment.timestamp()) * 1_000_000


def stored_clusters(of: Day, user_ids: Sequence[Any]) -> dict[Any, Clusters]:
    """Return the stored clusters of those of some users who have any."""
    import pyarrow.dataset as ds  # noqa: PLC0415

    paths = of.lake.paths(of.stored, bucket=of.bucket)
    if not paths or not user_ids:
        return {}
    wanted = pa.array(user_ids, pa.type_for_alias(of.lake.layout.user_id))
    with broken_file(paths[0]):
        found = ds.dataset(paths).to_table(columns=COLUMNS, filter=ds.field("user_id").isin(wanted))
    found = found.sort_by([("user_id", "ascending"), ("rank", "ascending")]).combine_chunks()
    if not found.num_rows:
        return {}
    starts = extract.user_starts(found)
    ends = np.append(starts[1:], found.num_rows)
    rows = of.table.rows_of(found["pin_id"].combine_chunks())
    importance, n_actions, offset = (found[name].to_numpy() for name in COLUMNS[3:6])
    last = found["last_acted_at"].cast(pa.int64()).to_numpy()
    names = found["user_id"].take(pa.array(starts)).to_pylist()
    return {
        name: Clusters(
            rows=rows[begin:end],
            importance=importance[begin:end],
            n_actions=n_actions[begin:end],
            offset=offset[begin:end],
            last_acted_at=last[begin:end],
            as_of=micros(start_of(of.day)),
        )
        for name, begin, end in zip(names, starts, ends, strict=True)
    }


def batches(users: Sequence[Acting], first_us: int, end_us: int, of: Day) -> list[Result]:
    """Return each user's clusters by a batch over ``[first_us, end_us)``, as ``cluster`` has it."""
    cuts = [np.searchsorted(user.acted_at, [first_us, end_us]) for user in users]
    offsets = np.concatenate([[0], np.cumsum([end - begin for begin, end in cuts])]).astype(np.intp)
    within = list(zip(users, cuts, strict=True))
    rows = np.concatenate([user.rows[begin:end] for user, (begin, end) in within])
    acted_at = np.concatenate([user.acted_at[begin:end] for user, (begin, end) in within])
    model, machine = of.settings.model, of.settings.run
    found = cluster_users(
        of.table.matrix,
        offsets,
        (end_us - acted_at) / DAY_US,
        rows=rows,
        merge_threshold=model.merge_threshold,
        decay_per_day=model.decay_per_day,
        threads=machine.threads,
        matrix_mb=machine.matrix_mb,
    )
    medoids = rows[found.medoids]
    results = []
    for i in range(len(users)):
        own = slice(found.offsets[i], found.offsets[i + 1])
        results.append(
            Result(
                labels=found.labels[offsets[i] : offsets[i + 1]],
                rows=medoids[own],
                importance=found.importance[own],
                n_actions=found.n_actions[own],
                offset=found.medoid_offset[own],
            )
        )
    return results


def check_stored(user: Acting, stored: Clusters, again: Result, of: Day) -> None:
    """Refuse to compare with medoids that their own actions do not give."""
    same = np.array_equal(stored.rows, again.rows)
    if same and np.array_equal(stored.n_actions, again.n_actions):
        near = (
            np.allclose(stored.importance, again.importance, rtol=TOLERANCE, atol=0.0),
            np.allclose(stored.offset, again.offset, rtol=TOLERANCE, atol=TOLERANCE),
        )
        if all(near):
            return
    eve = of.day - timedelta(days=1)
    pins, anew = (of.table.pin_ids.take(pa.array(rows[:5])) for rows in (stored.rows, again.rows))
    raise DataError(
        f"{of.day}: the stored medoids of user {user.user_id} of {eve} are not what the staged "
        f"actions give: stored are {stored.rows.size}, the first {pins.to_pylist()}; computed "
        f"again {again.rows.size}, the first {anew.to_pylist()}. Nothing is compared. Cluster "
        f"{eve} again: pinnersage cluster --day {eve}. See runbook: online against batch."
    )


def brought_up_to_date(user: Acting, stored: Clusters, stored_labels: Array, of: Day) -> Result:
    """Return a user's stored clusters with the latest actions of the day, at its end.

    An action of the day that newer ones have pushed out is in no cluster: its label is -1.
    """
    n_new = user.rows.size - stored_labels.size
    first = user.rows.size - min(n_new, of.settings.online.max_actions)
    found = update(
        stored,
        Actions(user.rows[first:], user.acted_at[first:]),
        micros(end_of(of.day)),
        embeddings=of.table.matrix,
        merge_threshold=of.settings.model.merge_threshold,
        decay_per_day=of.settings.model.decay_per_day,
    )
    place = np.empty(stored.rows.size, np.intp)
    has_stored = found.stored >= 0
    place[found.stored[has_stored]] = np.flatnonzero(has_stored)
    out = np.full(first - stored_labels.size, -1)
    return Result(
        labels=np.concatenate([place[stored_labels], out, found.labels]).astype(np.intp),
        rows=found.rows,
        importance=found.importance,
        n_actions=found.n_actions,
        offset=found.offset,
    )


def pair(one: Result, other: Result, table: Embeddings) -> Pair:
    """Return how well two results over the same actions agree."""
    vectors, others = table.matrix[one.rows], table.matrix[other.rows]
    cosine = agreement.cosine(vectors, one.importance, others, other.importance)
    return Pair(
        agreement.identical(one.labels, other.labels),
        agreement.jaccard(one.rows, other.rows),
        round(cosine, DIGITS),
    )


def summarised(found: Sequence[Compared], about: dict[str, Any]) -> Summary:
    """Return a day's sums."""
    most = about["max_actions"]
    whole = [one for one in found if one.n_new <= most]
    return Summary(
        **about,
        all_users=agreed([one.agree for one in found]),
        up_to_max_actions=agreed([one.agree for one in whole]),
        stored_kept=agreed([one.agree for one in whole if one.stored_kept]),
        with_more=agreed([one.agree for one in found if one.n_new > most]).model_copy(
            update={"identical": None}
        ),
        sliding=agreed([one.sliding for one in found]),
    )


def agreed(pairs: Sequence[Pair]) -> Agreement:
    """Return the means over some users."""
    if not pairs:
        return Agreement(users=0)
    identical, jaccard, cosine = (float(np.mean(values)) for values in zip(*pairs, strict=True))
    return Agreement(users=len(pairs), identical=identical, jaccard=jaccard, cosine=cosine)


def rows_of(found: Sequence[Compared], pins: pa.Array, most: int, lake: Lake) -> pa.Table:
    """Return the rows of the table; with medoids for those alone who agree least."""
    by_user = {one.user.user_id: one for one in found}
    rows = [
        {
            "user_id": one.user.user_id,
            "n_actions": one.user.rows.size,
            "n_new": one.n_new,
            **one.agree._asdict(),
            "stored_kept": one.stored_kept,
            **{f"sliding_{name}": value for name, value in one.sliding._asdict().items()},
        }
        for one in found
    ]
    apart = [row for row in rows if row["jaccard"] < 1 or not row["identical"]]
    for row in worst_first(apart, most)[:WORST]:
        one = by_user[row["user_id"]]
        for side, result in (("online", one.online), ("batch", one.batch)):
            row[f"{side}_medoids"] = pins.take(pa.array(result.rows)).to_pylist()
            row[f"{side}_importance"] = result.importance.tolist()
    return pa.Table.from_pylist(rows, PARITY.arrow(lake.layout.user_id, lake.layout.pin_id))


def write(
    day: date, summary: Summary, rows: pa.Table, reads: tuple[str, ...], settings: Settings
) -> Manifest:
    """Write a day's partition; without rows where nothing was measured."""
    lake, online = open_lake(settings), settings.online
    files: tuple[DataFile, ...] = ()
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        con.register("parity", rows)
        total = queries.values_hash(rows.schema)
        hashed = queries.scalar(con, f"SELECT {total} FROM parity")  # noqa: S608 (our columns)
        if rows.num_rows:
            keys = {"day": day.isoformat(), "bucket": summary.bucket}
            files = (lake.add_table(rows, PARITY.name, work, **keys),)
    return lake.commit(
        Manifest(
            table=PARITY.name,
            partition={"day": day.isoformat()},
            files=files,
            rows=rows.num_rows,
            content_hash=queries.hash_text(hashed),
            settings_hash=fingerprint(
                settings.model, str(online.max_actions), str(online.parity_users)
            ),
            code_version=__version__,
            reads=reads,
            report=summary.model_dump(mode="json"),
        )
    )
