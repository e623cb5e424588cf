"""Since: what a user did since the release's day, and what it made of her clusters.

For people who look at a user: each cluster as of now beside the stored one that it was, and each
action with the cluster that it went to.
"""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pinnersage.extract import end_of
from pinnersage.online.current import Current
from pinnersage.online.events import EPOCH
from pinnersage.retrieve import as_python
from pinnersage.stores.packing import Profile

Name = Callable[[int | str], str | None]
"""A pin's id as text; None where it must not be shown."""


def told(known: Current, day: date, now: datetime, name: Name) -> dict[str, Any]:
    """Return what was done since a day, ready for JSON.

    Parameters
    ----------
    known : Current
        The user's clusters as of now, and the release's that they were made of.
    day : date
        Of the release.
    now : datetime
        What ``known`` is as of.
    name : callable
        See ``Name``. A cluster or an action whose pin has none is left out.
    """
    clusters = [cluster_of(i, known, name) for i in range(len(known.came_from))]
    actions = [
        {"pin_id": pin, "cluster": cluster, "acted_at": as_text(action.acted_at)}
        for action, cluster in zip(known.actions, known.labels, strict=True)
        if (pin := name(action.pin)) is not None
    ]
    return {
        "since": end_of(day).strftime("%Y-%m-%d %H:%M"),
        "now": now.astimezone(UTC).strftime("%Y-%m-%d %H:%M"),
        "answered": known.answered,
        "left_out": known.left_out,
        "clusters": [cluster for cluster in clusters if cluster["pin_id"] is not None],
        "actions": actions[::-1],
    }


def cluster_of(i: int, known: Current, name: Name) -> dict[str, Any]:
    """Return one cluster as of now, and the stored one that it was."""
    profile, stored, was = known.profile, known.released, known.stored[i]
    assert profile is not None  # noqa: S101 (it has a cluster)
    cluster = facts(profile, i, name) | {
        "rank": i, "from": known.came_from[i], "n_new": Counter(known.labels)[i], "was": None,
    }  # fmt: skip
    return cluster if was < 0 or stored is None else cluster | {"was": facts(stored, was, name)}


def facts(profile: Profile, i: int, name: Name) -> dict[str, Any]:
    """Return what is told of a cluster, whenever it is."""
    importance = float(profile.importance[i])
    return {
        "pin_id": name(as_python(profile.pin_ids[i])),
        "n_actions": int(profile.n_actions[i]),
        "importance": importance,
        "share": importance / float(profile.importance.sum()),
    }


def as_text(acted_at: int) -> str:
    """Return a moment as text, UTC."""
    return (EPOCH + timedelta(microseconds=acted_at)).strftime("%Y-%m-%d %H:%M:%S")
