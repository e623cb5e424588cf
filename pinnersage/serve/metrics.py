"""Metrics: what the service counts, for Prometheus.

With several worker processes they are added up through files in ``PROMETHEUS_MULTIPROC_DIR``,
which ``run`` sets before this module is imported.
"""

import os
import threading

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from pinnersage.extract import end_of
from pinnersage.online.latest import Latest
from pinnersage.release import Release
from pinnersage.stores.neighbours import Counts

REQUESTS = Counter("pinnersage_requests", "Requests, by route and status.", ["route", "status"])
SECONDS = Histogram(
    "pinnersage_request_seconds",
    "From the first byte of a request to the last of its answer.",
    ["route"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
REFUSED = Counter("pinnersage_refused", "Requests refused unread, by reason.", ["why"])
FALLBACKS = Counter("pinnersage_fallbacks", "Users who got popular pins for want of clusters.")
EXPOSURES = Counter("pinnersage_exposures_written", "Exposures of experiments, in the lake.")
EXPOSURES_LOST = Counter("pinnersage_exposures_lost", "Exposures that will never be in the lake.")
HITS = Counter("pinnersage_neighbours_remembered", "Medoids whose neighbours were remembered.")
MISSES = Counter("pinnersage_neighbours_searched", "Medoids that had to be searched for.")
EVENTS = Counter("pinnersage_events", "Posted events, by what became of them.", ["verdict"])
AWAY = Counter("pinnersage_online_away", "Times that the online states did not answer.")
RELEASE = Gauge(
    "pinnersage_release", "Number of the release that answers.", multiprocess_mode="mostrecent"
)
DAY_END = Gauge(
    "pinnersage_release_day_end_timestamp_seconds",
    "End of the day that the release is of; its age is time() less this.",
    multiprocess_mode="mostrecent",
)
OPENED = Counter("pinnersage_releases_opened", "Releases that took over.")
NOT_OPENED = Counter("pinnersage_releases_not_opened", "Looks that could not open what is live.")

_guard = threading.Lock()
_told: dict[tuple[Counter, int], int] = {}
"""What was added to each already, by where it comes from."""


def release(opened: Release) -> None:
    """Note that a release took over."""
    RELEASE.set(opened.number)
    DAY_END.set(end_of(opened.medoids.day).timestamp())
    OPENED.inc()


def failed_to_open() -> None:
    """Note that what is live could not be opened."""
    NOT_OPENED.inc()


def neighbours(counts: Counts) -> None:
    """Add what was remembered and searched for since the last call."""
    _add(HITS, counts, counts.hits)
    _add(MISSES, counts, counts.misses)


def states(latest: Latest) -> None:
    """Add how often the online states did not answer since the last call."""
    _add(AWAY, latest, latest.failures)


def _add(counter: Counter, source: object, n: int) -> None:
    with _guard:
        before = _told.get((counter, id(source)), 0)
        _told[counter, id(source)] = n
        counter.inc(max(0, n - before))


def text() -> bytes:
    """Return everything in Prometheus's text format, of all worker processes."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
