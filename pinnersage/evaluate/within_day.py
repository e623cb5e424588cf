"""Within a day: what online updates are worth for the next action of the same day (section 4.2).

A case is a *moment*: a user acts, and has acted earlier that day. Batch alone knows what was known
when the day began. Batch and online also knows the user's latest actions since then, as a service
does (``online.update``). Both are asked for candidates just before the moment, in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np

from pinnersage import online
from pinnersage.evaluate import tables
from pinnersage.evaluate.cases import (
    DAY_US,
    NO_PAST,
    Cases,
    places_at,
    seen_before,
    start_us,
    targets_of,
    together,
)
from pinnersage.evaluate.histories import (
    Histories,
    Integers,
    Represented,
    gathered,
    offsets_of,
)
from pinnersage.evaluate.log import Log
from pinnersage.evaluate.metrics import Sums
from pinnersage.evaluate.models import Fixed, PinnerSage, one_each
from pinnersage.evaluate.results import Table
from pinnersage.evaluate.tables import Frame, Measured
from pinnersage.model import UserClusters

MOMENTS = 10
"""Most of one user's day, evenly spread: a long sitting says little more."""
MEASURES = (
    "relevance, all",
    "recall, all",
    "relevance, new",
    "recall, new",
    "hit rate, new",
    "mrr, new",
)
FIRST = "first actions of a user's day"
OVER = "moments of a user's day beyond ten"


@dataclass(frozen=True)
class LatestPin(Fixed):
    """The pin of the user's latest action, which was on the same day."""

    log: Log
    name: str = "Latest pin"

    def represent(self, histories: Histories) -> Represented:
        """Return one vector a user."""
        begins = self.log.offsets[histories.users]
        ends = self.log.offsets[histories.users + 1]
        times = zip(begins, ends, histories.now_us, strict=True)
        before = [b + np.searchsorted(self.log.times_us[b:e], now) - 1 for b, e, now in times]
        rows = self.log.rows[np.array(before, np.intp)]
        return one_each(self.log.matrix[rows], rows)


@dataclass(frozen=True)
class Online(Fixed):
    """PinnerSage with the day's latest actions merged into the clusters as of its beginning."""

    plain: PinnerSage
    log: Log
    n_latest: int
    """Latest actions that count (``online.max_actions``)."""
    name: str = "Batch and online"

    def represent(self, histories: Histories) -> Represented:
        """Return one vector a cluster, those of the day's actions among them."""
        clusters = self.plain.clusters(histories)
        parts = [self._one(histories, clusters, case) for case in range(histories.users.size)]
        rows = np.concatenate([part.rows for part in parts]) if parts else np.empty(0, np.intp)
        weights = np.concatenate([part.importance for part in parts] or [np.empty(0)])
        sizes = np.array([part.rows.size for part in parts], np.intp)
        return Represented(offsets_of(sizes), self.plain.matrix[rows], weights, rows)

    def _one(self, histories: Histories, found: UserClusters, case: int) -> online.Updated:
        """Return one user's clusters just before a moment."""
        now, own = int(histories.now_us[case]), slice(*found.offsets[case : case + 2])
        stored = online.Clusters(
            rows=histories.rows[found.medoids[own]],
            importance=found.importance[own],
            n_actions=found.n_actions[own],
            offset=found.medoid_offset[own],
            last_acted_at=now - np.round(found.newest_days[own] * DAY_US).astype(np.int64),
            as_of=now,
        )
        begin, end = self.log.offsets[histories.users[case] :][:2]
        times = self.log.times_us[begin:end]
        since, until = np.searchsorted(times, [now // DAY_US * DAY_US, now])
        latest = slice(begin + max(since, until - self.n_latest), begin + until)
        return online.update(
            stored,
            online.Actions(self.log.rows[latest], self.log.times_us[latest]),
            now,
            embeddings=self.plain.matrix,
            merge_threshold=self.plain.merge_threshold,
            decay_per_day=self.plain.decay_per_day,
        )


class Moments(NamedTuple):
    """Where the moments of one day lie in the log, by user and time."""

    users: Integers
    begins: Integers
    """Place of the first action of each."""
    ends: Integers
    left_out: dict[str, int]


def of_days(log: Log, days: Sequence[date], window_days: int) -> Cases:
    """Return the moments of some days, by day, user and time.

    Each has as its history what was known when its day began, and as its targets the pins that the
    user acted on at that moment; new is what she had never acted on before it, that day included.
    """
    found = [_of_day(log, day, window_days) for day in days]
    users, begins, ends = (
        np.concatenate([getattr(one, name) for one in found])
        for name in ("users", "begins", "ends")
    )
    known = [_known(log, day, one, window_days) for day, one in zip(days, found, strict=True)]
    return Cases(
        days=tuple(days),
        day=np.repeat(np.arange(len(days)), [one.users.size for one in found]),
        histories=together(known),
        targets=targets_of(log, users, begins, ends),
        seen=seen_before(log, users, begins),
        left_out={why: sum(one.left_out[why] for one in found) for why in (FIRST, NO_PAST, OVER)},
    )


def _of_day(log: Log, day: date, window_days: int) -> Moments:
    """Return the later times of a day at which users act who have a past."""
    start = start_us(day)
    first, begin, end = (
        places_at(log, moment) for moment in (start - window_days * DAY_US, start, start + DAY_US)
    )
    acted = np.flatnonzero(end > begin)
    past = acted[begin[acted] > first[acted]]
    none = np.empty(0, np.intp)
    users, begins, ends, over = [none], [none], [none], 0
    for user in past.tolist():
        later = begin[user] + 1 + np.flatnonzero(np.diff(log.times_us[begin[user] : end[user]]))
        kept = spread(later.size, MOMENTS)
        over += later.size - kept.size
        users.append(np.full(kept.size, user))
        begins.append(later[kept])
        ends.append(np.append(later, end[user])[kept + 1])
    return Moments(
        users=np.concatenate(users),
        begins=np.concatenate(begins),
        ends=np.concatenate(ends),
        left_out={FIRST: past.size, NO_PAST: acted.size - past.size, OVER: over},
    )


def spread(n: int, most: int) -> Integers:
    """Return up to ``most`` of the places 0 .. n - 1, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.intp))


def _known(log: Log, day: date, moments: Moments, window_days: int) -> Histories:
    """Return what was known of the users when the day began, as old as it is at their moments."""
    start = start_us(day)
    first = places_at(log, start - window_days * DAY_US)[moments.users]
    offsets, places = gathered(first, places_at(log, start)[moments.users] - first)
    now = log.times_us[moments.begins]
    return Histories(
        offsets=offsets,
        rows=log.rows[places],
        ages_days=(np.repeat(now, np.diff(offsets)) - log.times_us[places]) / DAY_US,
        users=moments.users,
        now_us=now,
    )


def table(
    found: dict[str, dict[str, Sums]], moments: Cases, policy: str, n_latest: int, seed: int
) -> Table:
    """Return what was measured by model, batch alone first: lifts are over it."""
    left_out = ", ".join(f"{n:,} {why}" for why, n in moments.left_out.items() if n)
    frame = Frame(
        "Online",
        f"The next action of the same day, {policy}, equal candidates",
        "Candidates just before a later time at which the user acts that day (section 4.2). Batch "
        f"alone knows what was known when the day began; online adds the latest {n_latest} actions "
        "since. Times follow each other within a sitting, so part of what is gained is the sitting "
        f"itself: the latest pin alone stands beside it. Left out: {left_out}.",
        MEASURES,
    )
    new = int(moments.targets.new.sum())
    n_all = moments.targets.rows.size
    n_targets = {"all": n_all, "new": new, "repeats": n_all - new}
    rows = [Measured(name, "", sums) for name, sums in found.items()]
    return tables.table(frame, rows, moments.histories.users, n_targets, seed)
