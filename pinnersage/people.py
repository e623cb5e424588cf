"""People: what is known of one user, with titles, for a terminal, a page or a machine."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pinnersage import retrieve
from pinnersage.config import Settings
from pinnersage.errors import DataError
from pinnersage.online.current import Current
from pinnersage.retrieve import Reader, Wishes


def clusters(
    reader: Reader, settings: Settings, user_id: str, *, now: datetime | None = None
) -> dict[str, Any]:
    """Return a user's clusters, most important first: as of now, or without a time the release's.

    Raises
    ------
    DataError
        The live release has no such user, and nothing was done since.
    """
    known = reader.current(user_id, now)
    profile = known.profile
    day = reader.release.medoids.day
    if profile is None:
        raise DataError(
            f"User {user_id} has no clusters on {day}: no interest in the "
            f"{settings.model.window_days} days before its end, or no such user."
        )
    if not len(profile):
        raise DataError(
            f"User {user_id} has no cluster that may be shown: every medoid is blocked. "
            "See: pinnersage blocked"
        )
    pins = [retrieve.as_python(pin) for pin in profile.pin_ids]
    titles = retrieve.titles(settings, reader.release, pins)
    total = float(profile.importance.sum())
    rows = [
        {
            "rank": rank,
            "pin_id": pin,
            "title": titles.get(pin, ""),
            "importance": float(profile.importance[rank]),
            "share": float(profile.importance[rank]) / total,
            "n_actions": int(profile.n_actions[rank]),
            "last_acted_at": datetime.fromtimestamp(
                int(profile.last_acted_at[rank]) / 1e6, tz=UTC
            ).isoformat(sep=" ", timespec="minutes"),
            "from": known.came_from[rank],
        }
        for rank, pin in enumerate(pins)
    ]
    facts = {"user_id": user_id, "day": day.isoformat(), "online": online(known)}
    return facts | {"clusters": rows} | stamp(reader)


def recommendation(
    reader: Reader,
    settings: Settings,
    user_id: str,
    *,
    draw: int,
    wishes: Wishes | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Return a user's candidates, in their order, each with its medoid and cosine."""
    known = reader.current(user_id, now)
    made = reader.candidates(user_id, known, draw=draw, wishes=wishes)
    if made is None:
        clusters(reader, settings, user_id, now=now)  # says why there is none
        raise DataError(f"User {user_id}: what may be shown has just changed. Ask again.")
    titles = retrieve.titles(
        settings, reader.release, [*made.medoids, *(c.pin_id for c in made.candidates)]
    )
    rows = [
        {
            "pin_id": c.pin_id,
            "title": titles.get(c.pin_id, ""),
            "cosine": c.cosine,
            "medoid": c.medoid,
            "medoid_title": titles.get(c.medoid, ""),
        }
        for c in made.candidates
    ]
    medoids = [
        {"pin_id": pin, "title": titles.get(pin, ""), "from": came_from}
        for pin, came_from in zip(made.medoids, made.came_from, strict=True)
    ]
    return {
        "user_id": user_id,
        "day": reader.release.medoids.day.isoformat(),
        "allocation": made.allocation,
        "draw": made.draw,
        "online": online(known),
        "medoids": medoids,
        "candidates": rows,
    } | stamp(reader)


def online(known: Current) -> dict[str, Any] | None:
    """Return how many later actions count; None where the states were not asked or are away."""
    if not known.answered:
        return None
    last = known.last_acted_at
    return {
        "actions": len(known.actions),
        "last_acted_at": last and last.isoformat(sep=" ", timespec="minutes"),
    }


def by_medoid(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a recommendation's candidates, grouped by the medoid that brought them."""
    return [
        medoid | {"candidates": [c for c in made["candidates"] if c["medoid"] == medoid["pin_id"]]}
        for medoid in made["medoids"]
    ]


def stamp(reader: Reader) -> dict[str, Any]:
    """Return what was read, so that an answer can be made again."""
    release = reader.release
    return {
        "release": release.number,
        "embeddings": release.embeddings,
        "index": release.index.version if release.index else None,
    }
