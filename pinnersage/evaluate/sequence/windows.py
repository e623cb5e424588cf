"""Windows: stretches of users' actions, cut into sittings, and what came after each sitting.

A sitting ends where the next action is more than a gap away. What a model is asked to predict is
the next *sitting*: the order within a basket is often arbitrary, and an item of the same basket
would teach it to copy the basket (decision 43).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pinnersage.evaluate.histories import Integers
from pinnersage.evaluate.log import Log

Microseconds = npt.NDArray[np.int64]

US_PER_HOUR = 3_600_000_000


class Actions(NamedTuple):
    """Actions in the order of a log, without embeddings."""

    offsets: Integers
    rows: Integers
    times_us: Microseconds


class Windows(NamedTuple):
    """Stretches of actions, and the ends of sittings in them that something came after.

    Window w is the actions starts[w] .. stops[w] - 1 and has the transitions
    offsets[w] .. offsets[w + 1] - 1, at least one.
    """

    starts: Integers
    stops: Integers
    offsets: Integers
    ends: Integers
    """Position of the last action of the sitting that a transition leads from."""
    next_starts: Integers
    next_stops: Integers
    """The sitting that it leads to: actions next_starts .. next_stops - 1."""


def before(log: Log, until_us: int, users: npt.NDArray[np.bool_]) -> Actions:
    """Actions of some users before a moment; the others are there, with none."""
    kept = (log.times_us < until_us) & np.repeat(users, np.diff(log.offsets))
    total = np.concatenate([[0], np.cumsum(kept)])
    return Actions(total[log.offsets], log.rows[kept], log.times_us[kept])


def sitting_starts(offsets: Integers, times_us: Microseconds, gap_us: int) -> npt.NDArray[np.bool_]:
    """Whether each action begins a sitting: a user's first, or more than a gap after the last."""
    begins = np.ones(times_us.size, np.bool_)
    begins[1:] = np.diff(times_us) > gap_us
    begins[offsets[:-1][np.diff(offsets) > 0]] = True
    return begins


def windows_of(actions: Actions, *, gap_us: int, length: int, since_us: int | None) -> Windows:
    """Windows that hold each transition once, the newest windows full.

    Parameters
    ----------
    actions : Actions
        What may be known; nothing after it is looked at.
    gap_us : int
        Longest time between two actions of a sitting.
    length : int
        Most actions a window. The transitions of a user are dealt out to windows from the newest
        one back; a window ends with its newest transition's sitting.
    since_us : int or None
        Only transitions to sittings that begin at or after this moment.
    """
    first = np.flatnonzero(sitting_starts(actions.offsets, actions.times_us, gap_us))
    stop = np.append(first[1:], actions.rows.size)
    user = np.searchsorted(actions.offsets, first, side="right") - 1
    # The sitting after sitting s is s + 1, where that is the same user's.
    leads = np.flatnonzero(user[1:] == user[:-1])
    if since_us is not None:
        leads = leads[actions.times_us[first[leads + 1]] >= since_us]
    ends, user = stop[leads] - 1, user[leads]
    last = ends[np.searchsorted(user, user, side="right") - 1] if ends.size else ends
    chunk = (last - ends) // length
    heads = np.ones(ends.size, np.bool_)
    heads[1:] = (user[1:] != user[:-1]) | (chunk[1:] != chunk[:-1])
    offsets = np.append(np.flatnonzero(heads), ends.size)
    stops = ends[offsets[1:] - 1] + 1
    starts = np.maximum(stops - length, actions.offsets[user[offsets[:-1]]])
    return Windows(starts, stops, offsets, ends, stop[leads], stop[leads + 1])


class Padded(NamedTuple):
    """Stretches of actions as a rectangle; what lies behind a stretch's end means nothing."""

    rows: npt.NDArray[np.int32]
    """int32[b, t]: 0 behind the end."""
    sittings: npt.NDArray[np.int32]
    """int32[b, t]: number of each action's sitting in its stretch, from 0; t behind the end."""


def padded(
    actions: Actions, starts: Integers, stops: Integers, shape: tuple[int, int], gap_us: int
) -> Padded:
    """Stretches as a rectangle of a given shape; rows of it that are left over are empty."""
    places = np.arange(shape[1])
    inside = np.zeros(shape, np.bool_)
    inside[: starts.size] = places < (stops - starts)[:, None]
    at = np.zeros(shape, np.intp)
    at[: starts.size] = starts[:, None] + places
    at[~inside] = 0
    rows = np.where(inside, actions.rows[at], 0).astype(np.int32)
    times = actions.times_us[at]
    begins = np.zeros(shape, np.bool_)
    begins[:, 1:] = (np.diff(times, axis=1) > gap_us) & inside[:, 1:]
    sittings = np.where(inside, np.cumsum(begins, axis=1), shape[1]).astype(np.int32)
    return Padded(rows, sittings)
