"""Features: what a ranker is told of a batch of users, as the live release has it.

The medoids that may be shown, most important first, and on request their embeddings; with them the
release and its age, or the reason why there is nothing. ``point_in_time`` gives the same for a
past time, under the same names and for the same reasons, so what a model is trained on is what it
will be served.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from pinnersage.config import FeaturesConfig
from pinnersage.errors import DataError
from pinnersage.extract import end_of
from pinnersage.retrieve import Reader, as_python, without_blocked
from pinnersage.stores.packing import Profile, key_of, unpack

Reason = Literal["unknown_user", "blocked", "too_old"]
"""Why a user has no features now: not in the release; every medoid is taken down; the release's day
ended more than ``features.max_age_days`` ago."""


@dataclass(frozen=True)
class UserFeatures:
    """One user's medoids, most important first; where there is a reason there are none."""

    user_id: int | str
    medoid_ids: tuple[int | str, ...] = ()
    importance: tuple[float, ...] = ()
    """Equation 3, at the end of the release's day."""
    n_actions: tuple[int, ...] = ()
    last_acted_at: tuple[datetime, ...] = ()
    reason: Reason | None = None


@dataclass(frozen=True)
class Features:
    """A batch of users, all from one release."""

    release: int
    medoids_day: date
    embeddings: str
    """Version that the medoids were made with, and that ``vectors`` are of."""
    age_days: float
    """From the end of the release's day to the time that was asked for."""
    users: tuple[UserFeatures, ...]
    """In the order in which they were asked for."""
    vectors: tuple[npt.NDArray[np.float32], ...] | None
    """Each user's float32[k, d], row i of medoid i; None if they were not asked for."""


def online(
    reader: Reader,
    user_ids: Sequence[int | str],
    *,
    now: datetime,
    config: FeaturesConfig,
    embeddings: bool = False,
) -> Features:
    """Return the features of some users, read from the key-value store in one go.

    Parameters
    ----------
    reader : Reader
        The live release.
    user_ids : sequence of int or str
        Of 1 to 511 bytes as text; the same may come twice.
    now : datetime
        With its zone: what the release's age is told for.
    config : FeaturesConfig
        The oldest that is served.
    embeddings : bool
        Whether to look up the medoids' vectors.

    Raises
    ------
    DataError
        An id that can be no key, a damaged profile, or a medoid without an embedding.
    """
    release = reader.release
    age = now - end_of(release.medoids.day)
    if too_old(age, config):
        users = [UserFeatures(user, reason="too_old") for user in user_ids]
    else:
        values = reader.profiles.get_many([key_of(user) for user in user_ids])
        blocked = reader.watch.pins()
        users = [
            UserFeatures(user, reason="unknown_user")
            if value is None or reader.erased.has(user)
            else of_profile(user, without_blocked(unpack(value), blocked))
            for user, value in zip(user_ids, values, strict=True)
        ]
    return Features(
        release=release.number,
        medoids_day=release.medoids.day,
        embeddings=release.embeddings,
        age_days=age / timedelta(days=1),
        users=tuple(users),
        vectors=vectors_of(reader, users) if embeddings else None,
    )


def too_old(age: timedelta, config: FeaturesConfig) -> bool:
    """Return whether a release of some age gives no features."""
    return age > timedelta(days=config.max_age_days)


def of_profile(user_id: int | str, profile: Profile) -> UserFeatures:
    """Return a user's features from the clusters that may be shown."""
    if not len(profile):
        return UserFeatures(user_id, reason="blocked")
    return UserFeatures(
        user_id,
        tuple(as_python(pin) for pin in profile.pin_ids),
        tuple(profile.importance.tolist()),
        tuple(profile.n_actions.tolist()),
        tuple(moment(micros) for micros in profile.last_acted_at.tolist()),
    )


def moment(micros: int) -> datetime:
    """Return a time from microseconds since 1970; exactly, as a float of seconds would not be."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def vectors_of(
    reader: Reader, users: Sequence[UserFeatures]
) -> tuple[npt.NDArray[np.float32], ...]:
    """Return each user's medoids' vectors, looked up together."""
    pins = [pin for user in users for pin in user.medoid_ids]
    rows = reader.embeddings.rows_of(pins)
    if (rows < 0).any():
        absent = [pin for pin, row in zip(pins, rows, strict=True) if row < 0]
        raise DataError(
            f"Medoids {absent[:5]} have no embedding in version {reader.embeddings.version}. "
            "See runbook: mixed versions."
        )
    vectors = np.asarray(reader.embeddings.matrix[rows], dtype=np.float32)
    ends = np.cumsum([len(user.medoid_ids) for user in users])
    return tuple(np.split(vectors, ends[:-1])) if users else ()
