"""Current: a user's clusters as of now: those of the release, and what was done since its day.

    stored clusters without blocked medoids ─┐
                                             ├─ update ─▶ clusters as of now
    state: actions since the day's end ──────┘

Blocked medoids go first, so that what is done near one makes a cluster of its own. Of the actions
count those at the end of the release's day or later (the batch has the others), younger than
``online.keep_days``, whose pin has an embedding in the release and is not blocked. Where none
counts, the stored clusters are given back as they are, to the object.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np

from pinnersage.config import ModelConfig, OnlineConfig
from pinnersage.errors import DataError
from pinnersage.extract import end_of
from pinnersage.online.events import EPOCH, MICROSECOND
from pinnersage.online.known import rows_of
from pinnersage.online.state import Action, State, since
from pinnersage.online.update import Actions, Clusters, Updated, update
from pinnersage.stores.embeddings import Embeddings
from pinnersage.stores.packing import Profile

From = Literal["batch", "online", "both"]
"""Where a cluster comes from: the release; what was done since; the release, and it has grown."""


@dataclass(frozen=True, eq=False)
class Current:
    """A user's clusters as of some time, and which actions made them so."""

    profile: Profile | None
    """The most important cluster first; None for a user of whom nothing is known."""
    came_from: tuple[From, ...]
    """Of each cluster."""
    stored: tuple[int, ...]
    """Position of each in ``released``, -1 where it is new."""
    released: Profile | None
    """The stored clusters that may be shown, which these were made of."""
    actions: tuple[Action, ...] = ()
    """Those that count, oldest first."""
    labels: tuple[int, ...] = ()
    """Cluster of each of them."""
    left_out: int = 0
    """Young enough and since the day's end, but their pin is blocked or has no embedding."""
    answered: bool = True
    """Whether the states were asked and answered; if not, what was done since is not known."""

    @property
    def last_acted_at(self) -> datetime | None:
        """Time of the newest action that counts."""
        return EPOCH + self.actions[-1].acted_at * MICROSECOND if self.actions else None


def batch_alone(profile: Profile | None, *, left_out: int = 0, answered: bool = True) -> Current:
    """Return the stored clusters as they are, for who knows no later action."""
    n = 0 if profile is None else len(profile)
    every: tuple[From, ...] = tuple("batch" for _ in range(n))
    return Current(profile, every, tuple(range(n)), profile, left_out=left_out, answered=answered)


def current(
    profile: Profile | None,
    state: State,
    *,
    day: date,
    now: datetime,
    table: Embeddings,
    blocked: frozenset[str],
    model: ModelConfig,
    online: OnlineConfig,
) -> Current:
    """Return a user's clusters as of now.

    Parameters
    ----------
    profile : Profile or None
        The stored clusters, without those whose medoid is blocked.
    state : State
        The user's latest actions.
    day : date
        Of the release that the profile is of.
    now : datetime
        With a zone. An action dated later, which a clock that is ahead may bring, counts as of
        its own time, and so does everything else.
    table : Embeddings
        Of the release.
    blocked : frozenset of str
        Pins, as text.
    model : ModelConfig
        Merge threshold and decay.
    online : OnlineConfig
        How long an action counts.

    Raises
    ------
    DataError
        A stored medoid has no embedding.
    """
    start, oldest = micros(end_of(day)), micros(now - timedelta(days=online.keep_days))
    young = [action for action in since(state, start) if action.acted_at > oldest]
    rows = rows_of([action.pin for action in young], table)
    counts = [row >= 0 and one.pin not in blocked for one, row in zip(young, rows, strict=True)]
    counted = tuple(one for one, good in zip(young, counts, strict=True) if good)
    left_out = len(young) - len(counted)
    if not counted:
        return batch_alone(profile, left_out=left_out)
    acted_at = np.array([action.acted_at for action in counted], np.int64)
    found = update(
        clusters_of(profile, start, table),
        Actions(rows[counts], acted_at),
        max(micros(now), int(acted_at[-1])),
        embeddings=table.matrix,
        merge_threshold=model.merge_threshold,
        decay_per_day=model.decay_per_day,
    )
    return Current(
        profile=profile_of(found, table),
        came_from=tuple(map(came_from, found.stored.tolist(), found.n_new.tolist())),
        stored=tuple(found.stored.tolist()),
        released=profile,
        actions=counted,
        labels=tuple(found.labels.tolist()),
        left_out=left_out,
    )


def warm(table: Embeddings) -> None:
    """Bring one pin's clusters up to date, so that no request waits for code to be loaded."""
    profile = Profile(
        table.pin_ids.slice(0, 1).to_numpy(zero_copy_only=False),
        *(np.ones(1, kind) for kind in (np.float64, np.uint32, np.float32, np.int64)),
    )
    for stored in (None, profile):
        update(
            clusters_of(stored, 1, table),
            Actions(np.zeros(1, np.intp), np.full(1, 2)),
            2,
            embeddings=table.matrix,
            merge_threshold=1.0,
            decay_per_day=0.0,
        )


def came_from(stored: int, n_new: int) -> From:
    """Return where a cluster comes from."""
    if stored < 0:
        return "online"
    return "both" if n_new else "batch"


def micros(moment: datetime) -> int:
    """Return a time in microseconds since 1970, UTC."""
    return (moment - EPOCH) // MICROSECOND


def clusters_of(profile: Profile | None, as_of: int, table: Embeddings) -> Clusters:
    """Return stored clusters as ``update`` takes them."""
    if profile is None:
        none = np.empty(0)
        whole = np.empty(0, np.int64)
        return Clusters(none.astype(np.intp), none, whole, none, whole, as_of)
    rows = table.rows_of(profile.pin_ids.tolist())
    if (rows < 0).any():
        raise DataError(
            f"Medoids {profile.pin_ids[rows < 0].tolist()} have no embedding in version "
            f"{table.version}. See runbook: mixed versions."
        )
    return Clusters(
        rows,
        profile.importance,
        profile.n_actions.astype(np.int64),
        profile.offset.astype(np.float64),
        profile.last_acted_at,
        as_of,
    )


def profile_of(found: Updated, table: Embeddings) -> Profile:
    """Return clusters as everybody reads them."""
    pins = table.pin_ids.take(found.rows)
    return Profile(
        pins.to_numpy(zero_copy_only=False),
        found.importance,
        found.n_actions.astype(np.uint32),
        found.offset.astype(np.float32),
        found.last_acted_at,
    )
