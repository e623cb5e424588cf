"""Ladder: the section of ``costs``: Table 2 of the paper beside what this machine measured."""

from typing import Any

from cells import digits, range_of, table

Facts = dict[str, Any]


def costs(facts: Facts) -> str:
    """What each step leaves of the cost, what each way costs, and how to read it."""
    return "\n\n".join(
        [
            "## Cost of a request, as in Table 2",
            opening(facts),
            table(["step", "the paper leaves", "measured here"], map(step_cells, steps(facts))),
            reading(facts),
            (
                "The first four ways are the steps; the others stand beside them. Recall was aimed "
                f"at {facts['recall_aimed_for']:g}, and what is more than a hundredth off is "
                "marked: + where more is found at the least that a search can be set to."
            ),
            table(
                ["way", "CPU ms a request", "recall", "candidates", "remembered", "set to"],
                (way_cells(one, facts) for one in facts["ways"]),
            ),
            "MB: " + ", ".join(f"{name} {n:,}" for name, n in facts["megabytes"].items()) + ".",
        ]
    )


def opening(facts: Facts) -> str:
    """What was asked of whom."""
    dropped = 1 - facts["refined"] / facts["pins"]
    return (
        f"{facts['queries_a_request']} queries a request, the {facts['candidates_a_query']} "
        f"nearest good pins of each, merged; {facts['pins']:,} pins of {facts['d']} dimensions, "
        f"{facts['low_quality']:.0%} of low quality and {facts['copies']:.0%} made of another, of "
        f"which `refine` drops {dropped:.0%}. {facts['users']:,} users come by Zipf's law, and "
        "their medoids are pins that are popular by Zipf's law. CPU time of one process, search "
        f"and merge; {facts['rounds']} rounds of {facts['requests']:,} requests, after "
        f"{facts['requests_before']:,} that filled the memories. Load of the machine at the "
        f"start: {facts['load_at_start']:g}, which CPU time feels less than wall time does. "
        'To run it again: `make bench ARGS="costs --full"`.'
    )


def reading(facts: Facts) -> str:
    """The steps in words."""
    ways = facts["ways"]
    first, second, third, *_ = (one["cpu_ms"]["median"] for one in ways)
    (large, small, by_user) = (one for one in ways if one["hit_rate"] is not None)
    megabytes = facts["megabytes"]
    return "\n".join(
        [
            (
                f"- **LSH → HNSW.** {digits(first)} ms became {digits(second)} ms at equal "
                f"recall. To compare all good pins takes {digits(ways[-1]['cpu_ms']['median'])} ms."
            ),
            (
                f"- **Full → refined.** {digits(second)} ms became {digits(third)} ms: an index of "
                "all pins is asked for more, and drops what is bad or alike. Its files take "
                f"{megabytes['HNSW of all pins, with vectors']:,} MB, those of refined pins "
                f"{megabytes['HNSW of refined pins, with vectors']:,}: this counts where memory "
                "decides how many machines there are."
            ),
            (
                f"- **Centroid → medoid.** {large['hit_rate']:.0%} of the medoids were remembered "
                f"with room for a tenth of the pins, {small['hit_rate']:.0%} with room for a "
                "hundredth. Users who come again could have their centroids remembered too: that "
                f"alone leaves {by_user['cpu_ms']['median'] / third:.0%} of the cost, and what "
                f"users share brings it to {large['cpu_ms']['median'] / third:.0%}. A request "
                "that searches for nothing still merges its candidates."
            ),
            (
                "- **All three.** The paper's factors multiply to 5 %; its text says a tenth, "
                "and calls them a rough estimation. The steps here multiply to "
                f"{facts['all_steps']['left']['median']:.1%}, since each starts where the one "
                "before it ended. The hit rate is that of a stream that we made up: with yours, "
                "the last step is another."
            ),
        ]
    )


def steps(facts: Facts) -> list[Facts]:
    """The steps, then all of them."""
    return [*facts["steps"], {"name": "all three", **facts["all_steps"]}]


def step_cells(one: Facts) -> list[str]:
    """What a step leaves."""
    return [one["name"], f"{one['paper']:.0%}", share_of(one["left"])]


def share_of(one: Facts) -> str:
    """Median in per cent, with lowest and highest."""
    median, lowest, highest = (
        f"{100 * one[name]:.3g}%" for name in ("median", "lowest", "highest")
    )
    return f"{median} ({lowest} to {highest})"


def way_cells(one: Facts, facts: Facts) -> list[str]:
    """A way's cost, and what it finds."""
    hits = "" if one["hit_rate"] is None else f"{one['hit_rate']:.0%}"
    how = ", ".join(f"{name} {value}" for name, value in one["how"].items())
    recall = f"{one['recall']:.3f}{mark(one['recall'] - facts['recall_aimed_for'])}"
    return [one["name"], range_of(one["cpu_ms"]), recall, digits(one["candidates"]), hits, how]


def mark(apart: float) -> str:
    """Whether a recall is above or below the aim by more than a hundredth."""
    if abs(apart) <= 0.01:  # noqa: PLR2004
        return ""
    return " +" if apart > 0 else " -, not equal"
