"""Freshness: how old what readers read is, and whether that is late.

A release's age counts from the end of its day: one that went live in time is a few hours old, and
a day older just before the next takes its place. An index's age counts from the newest day that it
was checked for, since a day with the same pins keeps the same index. Reads what is live and its
manifests; changes nothing.
"""

from datetime import date, datetime, timedelta

from pydantic import BaseModel, ConfigDict

from pinnersage.config import Settings
from pinnersage.extract import end_of
from pinnersage.release import Release, Releases
from pinnersage.stores.lake import Lake


class Freshness(BaseModel):
    """What is live, how old it is, and what to do if that is too old."""

    model_config = ConfigDict(frozen=True)

    late: bool
    says: str
    max_age_hours: float
    day: date | None = None
    age_hours: float | None = None
    index_day: date | None = None
    index_age_hours: float | None = None
    users: int | None = None
    clusters_per_user: float | None = None
    recall: float | None = None


def run(now: datetime, settings: Settings) -> Freshness:
    """Return how fresh the live release is at ``now``, with the day's and the index's figures."""
    releases = Releases(settings)
    live = releases.live()
    index_day = checked_until(releases.lake, live) if live else None
    found = judge(live.medoids.day if live else None, index_day, now, settings.alerts.max_age_hours)
    if live is None:
        return found
    medoids = releases.lake.version("medoids", live.medoids.manifest, day=live.medoids.day)
    measures = medoids.report["measures"]
    figures = {"users": measures["n_users"], "clusters_per_user": measures["mean_clusters"]}
    if index := index_day and releases.lake.current("index", day=index_day):
        figures["recall"] = index.report["recall"]
    return found.model_copy(update=figures)


def judge(day: date | None, index_day: date | None, now: datetime, limit: float) -> Freshness:
    """Return whether a live day is late.

    Parameters
    ----------
    day, index_day : date or None
        Day of the live medoids, and the last day that the live index was checked for.
    now : datetime
        With its zone.
    limit : float
        Hours from the end of the live day to when it is late.
    """
    if day is None:
        says = "Nothing is live yet. Run a day: pinnersage run --day DAY, or pinnersage_daily."
        return Freshness(late=True, says=says, max_age_hours=limit)
    age = hours_since(day, now)
    late = age > limit
    says = f"{day} is live, {age:.1f} hours after its end (limit {limit:g})."
    if late:
        says = (
            f"The live release is late: {says} Look at the runs of pinnersage_daily for "
            f"{day + timedelta(days=1)} and later: failed, waiting, or not started. "
            "See runbook: late release."
        )
    return Freshness(
        late=late,
        says=says,
        max_age_hours=limit,
        day=day,
        age_hours=age,
        index_day=index_day,
        index_age_hours=None if index_day is None else hours_since(index_day, now),
    )


def hours_since(day: date, now: datetime) -> float:
    """Return the hours from the end of a day, in UTC, to ``now``."""
    return round((now - end_of(day)).total_seconds() / 3600, 2)


def checked_until(lake: Lake, live: Release) -> date | None:
    """Return the newest day whose checked index is the live one."""
    if live.index is None:
        return None
    for day in reversed(lake.days("index")):
        manifest = lake.current("index", day=day)
        if manifest and manifest.report["version"] == live.index.version:
            return day
    return live.index.day
