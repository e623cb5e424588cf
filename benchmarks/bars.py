"""Bars: what was aimed for, beside what was measured; a bar that is missed says so."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from cells import digits, table

Facts = dict[str, Any]

LARGE = 900_000
"""Actions of a day, or more, whose memory is compared."""
LOOP, BLAS = "fastcluster", "fastcluster, BLAS distances"


class Bar(NamedTuple):
    """One aim: ``limit`` is the least, or the most, that counts as reached."""

    what: str
    limit: float
    is_least: bool
    measured: float

    def row(self) -> list[str]:
        """Cells of the table."""
        reached = self.measured >= self.limit if self.is_least else self.measured <= self.limit
        sign = "≥" if self.is_least else "≤"
        limit = digits(self.limit).removesuffix(".00").removesuffix(".0")
        return [self.what, f"{sign} {limit}", digits(self.measured), "yes" if reached else "no"]


def at_a_glance(facts: Facts) -> str:
    """Every bar that there are facts for; medians."""
    rows = [bar.row() for name, bars in BARS.items() if name in facts for bar in bars(facts[name])]
    return f"## At a glance\n\n{table(['what', 'bar', 'measured', 'reached'], rows)}"


def kernels(facts: Facts) -> Iterator[Bar]:
    """Ratios to peers and to the bound."""
    for one, least, least_blas in zip(facts["heavy_tailed"], (15, 12), (11, 8), strict=True):
        times = one["times_ours"]
        users = f"heavy-tailed users, alpha = {one['alpha']:g}: "
        yield Bar(users + "times the fastcluster loop", least, True, times[LOOP]["median"])
        yield Bar(users + "times that on BLAS distances", least_blas, True, times[BLAS]["median"])
    first, light = facts["heavy_tailed"][0], facts["light"][0]
    yield Bar(
        "users of 20 to 200 actions, alpha = 1: times the fastcluster loop",
        15,
        True,
        light["times_ours"][LOOP]["median"],
    )
    yield Bar(
        "heavy-tailed users, alpha = 1: of the half-Gram bound",
        1.5,
        False,
        first["ours_per_bound"]["median"],
    )
    rows = facts["tables"]["times_in_order"]["rows, float32"]["median"]
    yield Bar("read through rows of a float32 table, times", 1.15, False, rows)


def large(facts: list[Facts]) -> Iterator[Bar]:
    """Time and memory of a user of 20,000 actions."""
    for one in facts:
        if (one["m"], one["kind"], one["who"]) == (20_000, "interests", "PinnerSage"):
            yield Bar("one user of 20,000 actions, CPU s", 1, False, one["cpu_seconds"]["median"])
            memory = one["extra_peak_mb"]["median"]
            yield Bar("one user of 20,000 actions, extra MB", 100, False, memory)
        if (one["m"], one["who"]) == (100_000, "PinnerSage"):
            memory = one["extra_peak_mb"]["median"]
            yield Bar("one user of 100,000 actions, extra MB", 1000, False, memory)


def scaling(facts: Facts) -> Iterator[Bar]:
    """What a second thread brings."""
    faster = facts["threads"]["times_faster"]["median"]
    yield Bar("two threads against one, times", 1.8, True, faster)


def start(facts: Facts) -> Iterator[Bar]:
    """The first call."""
    seconds = facts["warm_wall_seconds"]["median"]
    yield Bar("first call in a new process, imports included, s", 1.5, False, seconds)


def keyvalue(facts: Facts) -> Iterator[Bar]:
    """Publish and read."""
    rate, read = facts["publish_users_per_second"], facts["read_p99_ms"]
    yield Bar("key-value publish, users a second", 100_000, True, rate["median"])
    yield Bar("key-value read, 99 of 100 below, ms", 0.1, False, read["median"])


def staging(facts: Facts) -> Iterator[Bar]:
    """A new day's events."""
    what = f"staging a new day of {facts['rows']:,} events, rows a second"
    yield Bar(what, 1_000_000, True, facts["rows_per_second"]["median"])


def peak(one: Facts) -> int:
    """The most anonymous memory of a day's steps from staged to published."""
    steps = ("cluster", "validate", "publish")
    return max(one["steps"][step]["peak_anonymous_mb"] for step in steps)


def days(facts: list[Facts]) -> Iterator[Bar]:
    """The largest day, and memory against the smallest of a million actions or more."""
    by_size = sorted(facts, key=lambda one: int(one["world"]["actions"]))
    largest = by_size[-1]
    what = f"day of {largest['world']['actions']:,} actions, staged to published, a second"
    yield Bar(what, 300_000, True, largest["actions_per_second"])
    large = [one for one in by_size if one["world"]["actions"] >= LARGE]
    if len(large) > 1:
        times = large[-1]["world"]["actions"] / large[0]["world"]["actions"]
        memory = peak(large[-1]) / peak(large[0])
        yield Bar(f"peak memory of {times:.0f} times the actions, times", 1.2, False, memory)


def retrieval(facts: Facts) -> Iterator[Bar]:
    """Requests that wait longest."""
    yield Bar("recommendation, cold, 99 of 100 below, ms", 15, False, facts["cold_ms"]["p99"])
    what = "recommendation, remembered, 99 of 100 below, ms"
    yield Bar(what, 2, False, facts["remembered_ms"]["p99"])
    for what in ("recall", "precision"):
        yield Bar(f"near-duplicates, {what}", 0.99, True, facts["duplicates"][what])


def indexing(facts: Facts) -> Iterator[Bar]:
    """From pins to an index that was checked, and what it finds."""
    whole = facts["ways"][0]
    seconds = whole["refine_seconds"] + whole["index_seconds"]
    what = f"refine, build and check of {facts['pins']:,} pins of {facts['d']} dimensions, s"
    yield Bar(what, 300, False, seconds)
    none, *filtered = facts["searches"]
    yield Bar("recall@50 as in serving", 0.98, True, none["recall_at_50"])
    least = min(min(one["recall_at_50"], one["recall_at_depth"]) for one in filtered)
    yield Bar("recall under filters of 50 % to 0.1 %, the least", 0.95, True, least)
    for what in ("recall", "precision"):
        yield Bar(f"planted copies dropped, {what}", 0.99, True, facts["planted"][what])


def serving(facts: Facts) -> Iterator[Bar]:
    """Requests that were not answered."""
    failed = sum(one["errors"] for one in facts["ways"])
    yield Bar(
        f"requests over HTTP of {facts['connections']} connections that failed", 0, False, failed
    )


def online(facts: Facts) -> Iterator[Bar]:
    """An update, and an event through the streams."""
    yield Bar("online update of one user, 99 of 100 below, ms", 5, False, facts["update_ms"]["p99"])
    streams = facts["streams"]
    if streams:
        yield Bar(
            f"posted event counted in recommendations at {streams['rate']:.0f} events/s, "
            "99 of 100 below, ms",
            50,
            False,
            streams["reflected_ms"]["p99"],
        )


BARS: dict[str, Callable[[Any], Iterable[Bar]]] = {
    "kernels": kernels,
    "large": large,
    "scaling": scaling,
    "start": start,
    "keyvalue": keyvalue,
    "staging": staging,
    "days": days,
    "indexing": indexing,
    "retrieval": retrieval,
    "serving": serving,
    "online": online,
}
