"""Update: a user's stored clusters and later actions to clusters as of now (DESIGN, section 6).

The pure function of the online path: same arguments, same bytes. What a batch would find in the
window of the stored clusters and the later actions together, it finds from the medoids alone, but
that it never merges two stored clusters (``kernels/attach.py`` says how, and by which formula).

What a caller can meet, and what happens:

- A user without stored clusters has those that a batch would find in the actions alone; so has a
  new user with her first action.
- An action on the pin of a stored medoid joins that cluster, whatever the threshold.
- An action on a pin without an embedding has no row: the caller leaves it out (``intake`` refuses
  it; a pin may be known to the release that took the event and not to the one that is read).
- Of the twenty-first action nothing is seen here: the state has pushed the oldest out, and how
  many actions there are is no matter to this function.
- Late, doubled and unordered events are the state's to settle. An action that is no later than the
  last of the stored clusters has been counted by them, and one from the future has not happened:
  both are errors, since the caller cuts the state at the end of the release's day and at ``now``.
- Midnight is no event. Ages are fractions of days from ``now``, on whichever day that is; actions
  count until the release that has consumed them is read.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pinnersage import model
from pinnersage.errors import DataError
from pinnersage.kernels.attach import attach
from pinnersage.kernels.importance import importance
from pinnersage.model import Floats, Integers, Table, first_not, frozen

DAY_US = 86_400_000_000
"""Microseconds of a day."""
_NEVER = np.iinfo(np.int64).min
_EACH = ("rows", "importance", "n_actions", "offset", "last_acted_at")
"""What there is of each stored cluster."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """A user's stored clusters, in order of importance, largest first."""

    rows: Integers
    """intp[k]: row of each medoid in the embeddings; no two are equal."""
    importance: Floats
    """float64[k]: as it was at ``as_of``."""
    n_actions: Integers
    """intp[k]: at least 1."""
    offset: Floats
    """float64[k]: squared distance of the medoid to the actions' mean."""
    last_acted_at: Integers
    """int64[k]: the last action, in microseconds since 1970 UTC, up to ``as_of``."""
    as_of: int
    """When importance is as stored, in microseconds since 1970 UTC: the end of the day."""


@dataclass(frozen=True, eq=False)
class Actions:
    """A user's actions after those of the stored clusters, the oldest first."""

    rows: Integers
    """intp[n]: row of each action's pin in the embeddings."""
    acted_at: Integers
    """int64[n]: microseconds since 1970 UTC, never falling."""


@dataclass(frozen=True, slots=True, eq=False)
class Updated:
    """A user's clusters as of now, in order of importance, largest first."""

    rows: Integers
    """intp[k']: row of each medoid."""
    importance: Floats
    """float64[k']"""
    n_actions: Integers
    """intp[k']"""
    offset: Floats
    """float64[k']: squared distance of the medoid to the actions' mean, as far as is known."""
    last_acted_at: Integers
    """int64[k']"""
    stored: Integers
    """intp[k']: position in the stored clusters, -1 for a cluster of new actions only."""
    n_new: Integers
    """intp[k']: new actions."""
    labels: Integers
    """intp[n]: cluster of each new action."""


def update(
    clusters: Clusters,
    actions: Actions,
    now: int,
    *,
    embeddings: npt.ArrayLike,
    merge_threshold: float,
    decay_per_day: float,
) -> Updated:
    """Clusters of a user as of ``now``.

    Parameters
    ----------
    clusters : Clusters
        May be none.
    actions : Actions
        After the last of the stored clusters and not after ``now``; may be none.
    now : int
        Microseconds since 1970 UTC, not before ``clusters.as_of`` if there are actions.
    embeddings : float16, float32 or float64 [n_rows, d]
        One row a pin, of about unit length; may be a memory map. Only rows in use are read.
    merge_threshold : float
        Largest Ward distance that still merges (the paper's alpha), at least 0; ``inf`` merges
        all that may merge.
    decay_per_day : float
        How fast an action loses weight (the paper's lambda), at least 0.

    Returns
    -------
    Updated
        Without actions, the very arrays of ``clusters``: importance is as stored, not decayed,
        so that their reader sees what the night has published. Else stored importance is decayed
        to ``now``, and each action adds its own.
        Without stored clusters, what ``cluster_actions`` finds.
        Clusters of equal importance: later last action first, then the medoid of the smaller
        row. A stored medoid wins a tie with a new pin, an earlier action with a later one.
        A stored cluster without new actions keeps its medoid and its offset to the bit.

    Raises
    ------
    DataError
        An argument, or a vector that is in use, is not as described.
    """
    model.check_rates(merge_threshold, decay_per_day)
    table = model.table_of(embeddings)
    stored = _checked_clusters(clusters, table.shape[0])
    new = _checked_actions(actions, table.shape[0], stored, now)
    if new.rows.size == 0:
        return _as_stored(clusters)
    if clusters.as_of > now:
        raise DataError(
            f"The stored clusters are as of {clusters.as_of} (limit: up to now, {now}). "
            "Give the time of the request, or the clusters that were live then."
        )
    ages = (now - new.acted_at) / DAY_US
    if stored.rows.size == 0:
        return _as_batch(new, ages, table, merge_threshold, decay_per_day)
    return _attached(stored, new, now, ages, table, merge_threshold, decay_per_day)


def _as_stored(clusters: Clusters) -> Updated:
    """What is stored, as it is."""
    k = len(clusters.rows)
    return Updated(
        clusters.rows,
        clusters.importance,
        clusters.n_actions,
        clusters.offset,
        clusters.last_acted_at,
        stored=np.arange(k),
        n_new=np.zeros(k, np.intp),
        labels=np.empty(0, np.intp),
    )


def _as_batch(
    new: Actions, ages_days: Floats, table: Table, merge_threshold: float, decay_per_day: float
) -> Updated:
    """What a batch finds in the new actions."""
    found = model.cluster_actions(table, ages_days, new.rows, merge_threshold, decay_per_day)
    k = found.medoids.size
    return Updated(
        new.rows[found.medoids],
        found.importance,
        found.n_actions,
        found.medoid_offset,
        _latest(new, found.labels, np.full(k, _NEVER)),
        stored=np.full(k, -1),
        n_new=found.n_actions,
        labels=found.labels,
    )


def _attached(
    stored: Clusters,
    new: Actions,
    now: int,
    ages_days: Floats,
    table: Table,
    merge_threshold: float,
    decay_per_day: float,
) -> Updated:
    """New actions merged into stored clusters, or into clusters of their own."""
    k = stored.rows.size
    both = np.concatenate([stored.rows, new.rows])
    readable, places = model.readable(table, both)
    found, bad = attach(
        readable,
        places[:k],
        frozen(stored.n_actions.astype(np.float64)),
        frozen(stored.offset),
        places[k:],
        float(merge_threshold),
    )
    if bad >= 0:
        where = f"stored medoid {bad}" if bad < k else f"action {bad - k}"
        raise model.no_direction(where, table, int(both[bad]))
    n_new = np.bincount(found.labels, minlength=found.medoids.size)
    scores = importance(ages_days, found.labels, n_new.size, decay_per_day)
    scores[:k] += stored.importance * np.exp(-decay_per_day * (now - stored.as_of) / DAY_US)
    n_actions = n_new.copy()
    n_actions[:k] += stored.n_actions
    before = np.full(n_new.size, _NEVER)
    before[:k] = stored.last_acted_at
    last = _latest(new, found.labels, before)
    rows = both[found.medoids]
    order = np.lexsort((rows, -last, -scores))
    ranks = np.argsort(order)
    of_stored = np.where(order < k, order, -1)
    return Updated(
        rows[order],
        scores[order],
        n_actions[order],
        found.offsets[order],
        last[order],
        of_stored,
        n_new[order],
        ranks[found.labels],
    )


def _latest(new: Actions, labels: Integers, before: Integers) -> Integers:
    """Last action of each cluster, those before the new ones included."""
    last = before.copy()
    last[labels] = new.acted_at  # oldest first, so the last one stays
    return last


def _checked_clusters(clusters: Clusters, n_rows: int) -> Clusters:
    """Return the stored clusters as arrays of the right type, or raise ``DataError``."""
    found = Clusters(
        model.integers("rows of stored clusters", clusters.rows),
        _floats("importance", clusters.importance),
        model.integers("n_actions", clusters.n_actions),
        _floats("offset", clusters.offset),
        model.integers("last_acted_at", clusters.last_acted_at),
        clusters.as_of,
    )
    rows, weight, n_actions, offset, last = (getattr(found, name) for name in _EACH)
    for name in _EACH:
        _check_size(name, getattr(found, name), rows.size, "stored clusters")
    once = np.zeros(rows.size, np.bool_)
    once[np.unique(rows, return_index=True)[1]] = True
    for name, values, good, limit in (
        ("row", rows, (rows >= 0) & (rows < n_rows), f"0 to {n_rows - 1}, rows of the embeddings"),
        ("row", rows, once, "no two clusters have one medoid"),
        ("importance", weight, (weight > 0) & (weight < np.inf), "finite, above 0"),
        ("n_actions", n_actions, n_actions >= 1, "at least 1"),
        ("offset", offset, (offset >= 0) & (offset < np.inf), "finite, at least 0"),
        ("last_acted_at", last, last <= clusters.as_of, f"up to as_of, {clusters.as_of}"),
    ):
        _check("stored cluster", name, values, good, limit, "Read them again from their release.")
    return found


def _checked_actions(actions: Actions, n_rows: int, stored: Clusters, now: int) -> Actions:
    """Return the actions as arrays of the right type, or raise ``DataError``."""
    rows = model.integers("rows of actions", actions.rows)
    times = model.integers("acted_at", actions.acted_at)
    _check_size("acted_at", times, rows.size, "actions")
    counted = int(stored.last_acted_at.max(initial=_NEVER))
    rising = np.concatenate([[True], times[1:] >= times[:-1]])[: times.size]
    for name, values, good, limit, advice in (
        ("row", rows, (rows >= 0) & (rows < n_rows), f"0 to {n_rows - 1}", "Leave out such pins."),
        ("acted_at", times, times > counted, f"after {counted}, which is stored", "Leave it out."),
        ("acted_at", times, times <= now, f"up to now, {now}", "Leave it out until then."),
        ("acted_at", times, rising, "the oldest first", "Sort them."),
    ):
        _check("action", name, values, good, limit, advice)
    return Actions(rows, times)


def _floats(name: str, values: npt.ArrayLike) -> Floats:
    """Return a vector of numbers as float64."""
    given = np.asarray(values)
    if given.ndim != 1 or (given.dtype.kind not in "fiu" and given.size > 0):
        raise DataError(
            f"{name} is {given.dtype} of the shape {given.shape} (limit: numbers, one dimension). "
            "Convert it."
        )
    return np.ascontiguousarray(given, dtype=np.float64)


def _check_size(name: str, values: npt.NDArray[Any], n: int, each: str) -> None:
    """Refuse a vector of another length."""
    if values.size != n:
        raise DataError(
            f"{name} has {values.size} entries for {n} {each} (limit: one each). Pass them all."
        )


def _check(
    what: str,
    name: str,
    values: npt.NDArray[Any],
    good: npt.NDArray[np.bool_],
    limit: str,
    advice: str,
) -> None:
    """Refuse values of which one is not good."""
    bad = first_not(good)
    if bad is not None:
        raise DataError(f"{what} {bad}: {name} is {values[bad]} (limit: {limit}). {advice}")
