"""Sweep: how many clusters users would have at other merge thresholds (the paper's alpha).

Clusters one bucket's users at each threshold, from the same extract and by the same kernels as
``cluster``. Nothing is written to the lake and nothing is published: what comes out is counts,
which add up over buckets, and a page that shows the thresholds side by side. In the paper light
users have 3 to 5 clusters and heavy ones 75 to 100.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

import duckdb
import numpy as np
from pydantic import BaseModel, ConfigDict

from pinnersage import extract, pages, queries
from pinnersage.config import Settings
from pinnersage.errors import ConfigError, DataError
from pinnersage.model import UserClusters, cluster_users
from pinnersage.stores import embeddings, open_lake, open_storage
from pinnersage.stores.lake import canonical

LIGHT_ACTIONS = 20
"""A user with at most this many actions in the window is light."""
HEAVY_ACTIONS = 500
"""A user with at least this many actions in the window is heavy."""
GROUPS = ("all", "light", "heavy")
MOST_THRESHOLDS = 20


class Frozen(BaseModel):
    """A report."""

    model_config = ConfigDict(frozen=True)


class SweepRequest(Frozen):
    """What to sweep: merge thresholds in ascending order, and buckets."""

    merge_thresholds: list[float]
    buckets: list[int]


class Counts(Frozen):
    """One bucket at one merge threshold, in numbers that add up over buckets."""

    merge_threshold: float
    single_action_clusters: int
    cosine_sum: float
    """Of every action to its cluster's medoid."""
    users_by_clusters: dict[str, dict[int, int]]
    """For each group, how many users have how many clusters."""


class SweepReport(Frozen):
    """One bucket at every merge threshold."""

    day: date
    bucket: int
    users: int
    actions: int
    embeddings: str
    counts: tuple[Counts, ...]


class ClustersPerUser(Frozen):
    """Of one group of users."""

    users: int
    median: int | None
    p90: int | None
    most: int | None


class AtThreshold(Frozen):
    """All buckets at one merge threshold."""

    merge_threshold: float
    clusters: int
    single_action_share: float | None
    """Clusters of one action, as a share of all clusters."""
    mean_cohesion: float | None
    """Mean cosine of an action to its cluster's medoid."""
    clusters_per_user: dict[str, ClustersPerUser]


class SweepSummary(Frozen):
    """A day's sweep: what the page shows and a machine reads."""

    day: date
    buckets: tuple[int, ...]
    n_buckets: int
    users: int
    actions: int
    embeddings: str
    merge_threshold: float
    """The one in the settings, that days are computed with."""
    thresholds: tuple[AtThreshold, ...]

    @property
    def version(self) -> str:
        """16 hex digits of the content: the name that it is kept under."""
        return hashlib.sha256(canonical(self.model_dump(mode="json"))).hexdigest()[:16]


def ask(
    merge_thresholds: Sequence[float], buckets: Sequence[int] | None, settings: Settings
) -> SweepRequest:
    """Return what to sweep, all buckets for None; what cannot be swept is an error."""
    n_buckets = settings.lake.n_buckets
    chosen = range(n_buckets) if buckets is None else sorted(set(buckets))
    if not chosen:
        raise ConfigError("No bucket is named. Name some, or leave them out for all.")
    for bucket in chosen:
        if not 0 <= bucket < n_buckets:
            raise ConfigError(f"Bucket {bucket} is not one of 0 to {n_buckets - 1}.")
    return SweepRequest(merge_thresholds=checked(merge_thresholds), buckets=list(chosen))


def number(text: str) -> float:
    """Return a merge threshold that a person wrote."""
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"not a number: {text.strip()!r}; give such as 0.5,1,2") from error


def checked(merge_thresholds: Sequence[float]) -> list[float]:
    """Return the merge thresholds in ascending order, each once, if each can be one."""
    for threshold in merge_thresholds:
        if not 0 <= threshold < math.inf:
            raise ConfigError(
                f"Merge threshold {threshold} (limit: finite, at least 0). "
                "Give Ward distances such as 0.5, 1.0 and 2.0."
            )
    chosen = sorted({float(threshold) for threshold in merge_thresholds})
    if not 1 <= len(chosen) <= MOST_THRESHOLDS:
        raise ConfigError(
            f"{len(chosen)} merge thresholds (limit: 1 to {MOST_THRESHOLDS}). "
            "Give some, such as 0.5, 1.0 and 2.0."
        )
    return chosen


def run(
    day: date, bucket: int, merge_thresholds: Sequence[float], settings: Settings
) -> SweepReport:
    """Cluster one bucket's users for ``day`` at each merge threshold; writes nothing."""
    chosen = checked(merge_thresholds)
    lake = open_lake(settings)
    table = embeddings.open_valid(lake, day)
    tallies = [Tally(threshold) for threshold in chosen]
    users = actions = 0
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        try:
            extract.label(con, lake, day, bucket, settings, table)
            for chunk in extract.chunks(con, day):
                users += chunk.offsets.size - 1
                actions += chunk.rows.size
                for tally in tallies:
                    tally.add(chunk, clusters_of(chunk, table.matrix, tally.threshold, settings))
        except duckdb.Error as error:
            raise queries.translate(error, f"sweep {day}, bucket {bucket}") from error
    return SweepReport(
        day=day,
        bucket=bucket,
        users=users,
        actions=actions,
        embeddings=table.version,
        counts=tuple(tally.counts() for tally in tallies),
    )


def clusters_of(
    chunk: extract.Chunk, matrix: np.ndarray, merge_threshold: float, settings: Settings
) -> UserClusters:
    """Return a chunk's clusters as ``cluster`` makes them, at another merge threshold."""
    return cluster_users(
        matrix,
        chunk.offsets,
        chunk.ages_days,
        rows=chunk.rows,
        merge_threshold=merge_threshold,
        decay_per_day=settings.model.decay_per_day,
        threads=settings.run.threads,
        matrix_mb=settings.run.matrix_mb,
    )


class Tally:
    """Adds up chunks at one merge threshold."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.singles = 0
        self.cosines = 0.0
        self.by_clusters: dict[str, Counter[int]] = {group: Counter() for group in GROUPS}

    def add(self, chunk: extract.Chunk, clusters: UserClusters) -> None:
        """Count a chunk's clusters."""
        self.singles += int((clusters.n_actions == 1).sum())
        self.cosines += float(clusters.cohesion @ clusters.n_actions)
        n_actions, n_clusters = np.diff(chunk.offsets), np.diff(clusters.offsets)
        of_group = {
            "all": np.ones(n_actions.size, dtype=bool),
            "light": n_actions <= LIGHT_ACTIONS,
            "heavy": n_actions >= HEAVY_ACTIONS,
        }
        for group, members in of_group.items():
            self.by_clusters[group].update(n_clusters[members].tolist())

    def counts(self) -> Counts:
        """Return the sums."""
        return Counts(
            merge_threshold=self.threshold,
            single_action_clusters=self.singles,
            cosine_sum=self.cosines,
            users_by_clusters={g: dict(sorted(c.items())) for g, c in self.by_clusters.items()},
        )


def summarise(reports: Sequence[SweepReport], settings: Settings) -> SweepSummary:
    """Return the sum of some buckets' reports."""
    if not reports:
        raise DataError("No bucket was swept: there is nothing to sum up. Sweep at least one.")
    ordered = sorted(reports, key=lambda report: report.bucket)
    first = ordered[0]
    for report in ordered[1:]:
        if (report.day, report.embeddings) != (first.day, first.embeddings):
            raise DataError(
                f"Bucket {report.bucket} is of {report.day} with embeddings {report.embeddings}, "
                f"bucket {first.bucket} of {first.day} with {first.embeddings}. Sweep again."
            )
    actions = sum(report.actions for report in ordered)
    by_threshold = zip(*(report.counts for report in ordered), strict=True)
    return SweepSummary(
        day=first.day,
        buckets=tuple(report.bucket for report in ordered),
        n_buckets=settings.lake.n_buckets,
        users=sum(report.users for report in ordered),
        actions=actions,
        embeddings=first.embeddings,
        merge_threshold=settings.model.merge_threshold,
        thresholds=tuple(at_threshold(counts, actions) for counts in by_threshold),
    )


def at_threshold(counts: Sequence[Counts], actions: int) -> AtThreshold:
    """Return the sum of some buckets' counts at one merge threshold."""
    users: dict[str, Counter[int]] = {group: Counter() for group in GROUPS}
    for one in counts:
        for group, found in one.users_by_clusters.items():
            users[group].update(found)
    clusters = sum(n * how_many for n, how_many in users["all"].items())
    singles = sum(one.single_action_clusters for one in counts)
    return AtThreshold(
        merge_threshold=counts[0].merge_threshold,
        clusters=clusters,
        single_action_share=singles / clusters if clusters else None,
        mean_cohesion=sum(one.cosine_sum for one in counts) / actions if actions else None,
        clusters_per_user={group: per_user(found) for group, found in users.items()},
    )


def per_user(users_by_clusters: Counter[int]) -> ClustersPerUser:
    """Return how many clusters a group's users have."""
    median, p90, most = (quantile(users_by_clusters, share) for share in (0.5, 0.9, 1.0))
    return ClustersPerUser(users=users_by_clusters.total(), median=median, p90=p90, most=most)


def quantile(users_by_clusters: Counter[int], share: float) -> int | None:
    """Return the lowest value that at least ``share`` of the users do not exceed."""
    wanted, seen = share * users_by_clusters.total(), 0
    for n_clusters, users in sorted(users_by_clusters.items()):
        seen += users
        if seen >= wanted:
            return n_clusters
    return None


def finish(day: date, reports: Sequence[dict[str, Any]], settings: Settings) -> SweepSummary:
    """Sum up the reports of a day's buckets, as plain data; write the page, return the sum."""
    found = [SweepReport.model_validate(report) for report in reports]
    summary = summarise(found, settings)
    if summary.day != day:
        raise DataError(f"The reports are of {summary.day}, asked for is {day}. Sweep again.")
    write(summary, settings)
    return summary


def write(summary: SweepSummary, settings: Settings) -> str:
    """Write a sweep's page and its facts; return where the page is, for people.

    Each sweep is kept under its version; the day's last one also stands as ``index.html``.
    """
    storage = open_storage(settings)
    folder = f"reports/sweep/day={summary.day}"
    page, facts = render(summary), canonical(summary.model_dump(mode="json"))
    for name in (summary.version, "report"):
        storage.write(f"{folder}/{name}.json", facts)
    for name in (summary.version, "index"):
        storage.write(f"{folder}/{name}.html", page)
    return f"{storage.where}/{folder}/index.html"


def render(summary: SweepSummary) -> bytes:
    """Return the page of a sweep."""
    groups = [group for group in GROUPS if summary.thresholds[0].clusters_per_user[group].users]
    bars = {group: medians(summary, group) for group in groups}
    values = {"sweep": summary, "light": LIGHT_ACTIONS, "heavy": HEAVY_ACTIONS, "bars": bars}
    return pages.render("sweep.html.j2", values)


def medians(summary: SweepSummary, group: str) -> list[dict[str, Any]]:
    """Return a group's median of clusters per user as labelled bars, lengths in percent."""
    found = {at.merge_threshold: at.clusters_per_user[group].median for at in summary.thresholds}
    most = max(median or 0 for median in found.values())
    return [
        {"label": threshold, "n": median, "percent": round(100 * (median or 0) / most, 1)}
        for threshold, median in found.items()
    ]
