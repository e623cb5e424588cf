"""Cases: one user on one test day, with what was known of her before and what she then did.

What was known is her window before the day, half-open: the daily job has run at its end. What she
did is every pin that she acted on that day, each once, and whether it is new: one that she had
never acted on before the day, as far back as the log goes.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pinnersage.evaluate.histories import Histories, Integers, gathered, offsets_of
from pinnersage.evaluate.log import Log

DAY_US = 86_400_000_000
NO_PAST = "users' days with nothing in the window before"


class Targets(NamedTuple):
    """What the users of some cases did: pins, each once a case, by first action."""

    offsets: Integers
    """intp[n_cases + 1]."""
    rows: Integers
    new: npt.NDArray[np.bool_]
    """Not acted on by this user before the day."""

    @property
    def cases(self) -> Integers:
        """Number of each target's case."""
        return np.repeat(np.arange(self.offsets.size - 1), np.diff(self.offsets))


class Seen(NamedTuple):
    """What the users of some cases had ever acted on before the day, each pin once a case."""

    offsets: Integers
    rows: Integers


class Cases(NamedTuple):
    """Users on test days, by day and then by user."""

    days: tuple[date, ...]
    """The test days."""
    day: Integers
    """intp[n]: position of each case's day."""
    histories: Histories
    targets: Targets
    seen: Seen
    left_out: dict[str, int]
    """Users' days that are no cases, by reason."""

    @property
    def n(self) -> int:
        """How many cases there are."""
        return int(self.day.size)

    @property
    def end_us(self) -> int:
        """The first moment after the last day."""
        return start_us(self.days[-1]) + DAY_US

    def day_of(self, case: int) -> date:
        """Return the day of a case."""
        return self.days[int(self.day[case])]

    def by_day(self) -> Iterator["Cases"]:
        """Yield the cases of each day, in order; a day may have none."""
        for number, day in enumerate(self.days):
            begin, end = np.searchsorted(self.day, [number, number + 1])
            one = slice(int(begin), int(end))
            offsets, places = ranges(self.targets.offsets, one)
            targets = Targets(offsets, self.targets.rows[places], self.targets.new[places])
            offsets, places = ranges(self.seen.offsets, one)
            seen = Seen(offsets, self.seen.rows[places])
            none = np.zeros(end - begin, np.intp)
            yield Cases((day,), none, self.histories.of(one), targets, seen, {})


def ranges(offsets: Integers, users: slice) -> tuple[Integers, slice]:
    """Return the offsets of a range of lists, and where their entries lie."""
    part = offsets[users.start : users.stop + 1]
    return part - part[0], slice(int(part[0]), int(part[-1]))


def start_us(day: date) -> int:
    """Return the first moment of a day, UTC, in microseconds since 1970."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def of_days(log: Log, days: Sequence[date], window_days: int) -> Cases:
    """Return the cases of some days.

    Parameters
    ----------
    log : Log
    days : sequence of date
        In order.
    window_days : int
        Days before each day that make a history.
    """
    parts = [_of_day(log, day, window_days) for day in days]
    without = sum(part.left_out[NO_PAST] for part in parts)
    return Cases(
        days=tuple(days),
        day=np.repeat(np.arange(len(days)), [part.n for part in parts]),
        histories=together([part.histories for part in parts]),
        targets=Targets(
            offsets=offsets_of(np.concatenate([np.diff(p.targets.offsets) for p in parts])),
            rows=np.concatenate([p.targets.rows for p in parts]),
            new=np.concatenate([p.targets.new for p in parts]),
        ),
        seen=Seen(
            offsets=offsets_of(np.concatenate([np.diff(p.seen.offsets) for p in parts])),
            rows=np.concatenate([p.seen.rows for p in parts]),
        ),
        left_out={NO_PAST: without},
    )


def _of_day(log: Log, day: date, window_days: int) -> Cases:
    start = start_us(day)
    first, begin, end = (
        places_at(log, moment) for moment in (start - window_days * DAY_US, start, start + DAY_US)
    )
    acted = end > begin
    users = np.flatnonzero(acted & (begin > first))
    seen = seen_before(log, users, begin[users])
    return Cases(
        days=(day,),
        day=np.zeros(users.size, np.intp),
        histories=before(log, users, start, window_days),
        targets=_targets(log, users, begin[users], end[users], seen),
        seen=seen,
        left_out={NO_PAST: int(acted.sum()) - users.size},
    )


def before(log: Log, users: Integers, now_us: int, window_days: int) -> Histories:
    """Return what is known of some users at a moment: their window before it, half-open."""
    first = places_at(log, now_us - window_days * DAY_US)[users]
    offsets, places = gathered(first, places_at(log, now_us)[users] - first)
    return Histories(
        offsets=offsets,
        rows=log.rows[places],
        ages_days=(now_us - log.times_us[places]) / DAY_US,
        users=users,
        now_us=np.full(users.size, now_us, np.int64),
    )


def places_at(log: Log, moment_us: int) -> Integers:
    """Return for each user the place in the log of the first action not before a moment."""
    earlier = np.concatenate([[0], np.cumsum(log.times_us < moment_us)])
    return (log.offsets[:-1] + np.diff(earlier[log.offsets])).astype(np.intp)


def seen_before(log: Log, users: Integers, begin: Integers) -> Seen:
    """Return the pins that users acted on before some places of the log, by row."""
    offsets, places = gathered(log.offsets[users], begin - log.offsets[users])
    cases = np.repeat(np.arange(users.size), np.diff(offsets))
    keys = np.unique(cases * len(log.pin_ids) + log.rows[places])
    cases, rows = np.divmod(keys, len(log.pin_ids))
    return Seen(offsets_of(np.bincount(cases, minlength=users.size)), rows.astype(np.intp))


def targets_of(log: Log, users: Integers, begin: Integers, end: Integers) -> Targets:
    """Return what users did in ranges of the log, each pin once; new is what was never before."""
    return _targets(log, users, begin, end, seen_before(log, users, begin))


def _targets(log: Log, users: Integers, begin: Integers, end: Integers, seen: Seen) -> Targets:
    n_pins = len(log.pin_ids)
    offsets, places = gathered(begin, end - begin)
    cases = np.repeat(np.arange(users.size), np.diff(offsets))
    _, once = np.unique(cases * n_pins + log.rows[places], return_index=True)
    once.sort()
    rows, cases = log.rows[places[once]], cases[once]
    known = np.repeat(np.arange(users.size), np.diff(seen.offsets)) * n_pins + seen.rows
    return Targets(
        offsets=offsets_of(np.bincount(cases, minlength=users.size)),
        rows=rows,
        new=~np.isin(cases * n_pins + rows, known),
    )


def together(parts: Sequence[Histories]) -> Histories:
    """Return some histories as one."""
    joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in Histories._fields}
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    return Histories(**(joined | {"offsets": offsets_of(sizes)}))
