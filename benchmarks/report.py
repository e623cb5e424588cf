"""Report: the facts of a run as a page of Markdown, for the terminal and for docs/benchmarks.md."""

from collections.abc import Callable
from typing import Any

from bars import at_a_glance, peak
from cells import digits, milliseconds, range_of, table
from interests import recovery
from ladder import costs

OURS = "PinnerSage"
FASTCLUSTER = "fastcluster"
BLAS = "fastcluster, BLAS distances"
PEERS = (FASTCLUSTER, BLAS, "SciPy", "scikit-learn")

Facts = dict[str, Any]


def page(facts: Facts) -> str:
    """Every section that there are facts for."""
    sections = [on_machine(facts), at_a_glance(facts)]
    sections += [section(facts[name]) for name, section in SECTIONS.items() if name in facts]
    return "\n\n".join(sections)


def on_machine(facts: Facts) -> str:
    """What it ran on, and whether to believe it."""
    one = facts["machine"]
    libraries = ", ".join(f"{name} {version}" for name, version in one["libraries"].items())
    lines = [
        (
            f"{one['processor']}, {one['cores']} cores, {one['memory_gb']} GB; "
            f"Python {one['python']}, {libraries}; {'; '.join(one['blas'])}. "
            f"Scale: {scales(facts['scale'])}. Load at the start: {one['load_at_start']}."
        ),
    ]
    if one["busy"]:
        lines += ["", "**The machine was busy: compare ratios, not seconds, or run it again.**"]
    return "\n".join(lines)


def scales(of_subject: dict[str, str]) -> str:
    """Each scale with its subjects, or the only one."""
    subjects: dict[str, list[str]] = {}
    for subject, scale in of_subject.items():
        subjects.setdefault(scale, []).append(subject)
    if len(subjects) == 1:
        return next(iter(subjects))
    return "; ".join(f"{scale} for {', '.join(names)}" for scale, names in subjects.items())


def kernels(facts: Facts) -> str:
    """Our kernels against peers and the machine."""
    wide = [*facts["heavy_tailed"], *facts["light"], *facts["kinds"]]
    per_size = [[f"{one['largest']:,}", *versus_cells(one)] for one in facts["sizes"]]
    per_d = [[str(one["d"]), *versus_cells(one)] for one in facts["dimensions"]]
    tables = facts["tables"]
    return "\n\n".join(
        [
            "## Kernels against peers",
            (
                "CPU seconds of ours, and how many times as long the others took: the median over "
                "rounds, lowest and highest in brackets where there are several. The last column "
                "is ours against the half-Gram bound."
            ),
            table(
                ["users", "alpha", *VERSUS],
                ([batch_name(one), f"{one['alpha']:g}", *versus_cells(one)] for one in wide),
            ),
            "Users of one size:",
            table(
                ["actions a user", "alpha", *VERSUS],
                (
                    [cells[0], f"{one['alpha']:g}", *cells[1:]]
                    for cells, one in zip(per_size, facts["sizes"], strict=True)
                ),
            ),
            "Heavy-tailed users by dimensions, alpha = 1:",
            table(["d", *VERSUS], per_d),
            (
                "The same vectors read through `rows=` from a table in another order, CPU time "
                "against vectors in order:"
            ),
            table(
                ["table", "times"],
                ([name, range_of(one)] for name, one in tables["times_in_order"].items()),
            ),
            (
                "Clusters at alpha = 1 of these users (the paper: 3 to 5 for light users, 75 to "
                "100 for heavy ones):"
            ),
            table(
                ["actions", "clusters, median"],
                (
                    [f"{one['actions']:,}", f"{one['clusters']['median']:.0f}"]
                    for one in facts["clusters"]
                ),
            ),
            disagreement([*wide, *facts["sizes"], *facts["dimensions"]]),
        ]
    )


VERSUS = ["ours, CPU s", *PEERS, "of the bound"]


def versus_cells(one: Facts) -> list[str]:
    """Ours, each peer's ratio, and ours against the bound."""
    ratios = [range_of(one["times_ours"][p]) if p in one["times_ours"] else "" for p in PEERS]
    seconds = one["costs"][OURS]["cpu_seconds"]["median"]
    return [digits(seconds), *ratios, range_of(one["ours_per_bound"])]


def batch_name(one: Facts) -> str:
    """A batch in words."""
    kind = "" if one["kind"] == "interests" else f", {one['kind']}"
    name = "heavy-tailed" if one["largest"] > 200 else "20 to 200 actions"  # noqa: PLR2004
    return f"{one['users']:,} {name}{kind}"


def disagreement(comparisons: list[Facts]) -> str:
    """How many users' clusters were not the same as a peer's."""
    users = sum(one["users"] for one in comparisons)
    most: dict[str, int] = {}
    for one in comparisons:
        for name, count in one["users_that_differ"].items():
            most[name] = most.get(name, 0) + count
    found = ", ".join(f"{name} {count}" for name, count in most.items())
    return f"Users whose clusters, medoids' costs or importance differ, of {users:,}: {found}."


def large(facts: list[Facts]) -> str:
    """One user of very many actions."""
    return "\n\n".join(
        [
            "## One very large user",
            f"d = {facts[0]['d']}, alpha = {facts[0]['alpha']:g}, each in a process of its own.",
            table(
                ["actions, vectors", "by", "CPU s", "extra memory at the peak, MB", "clusters"],
                (
                    [
                        f"{one['m']:,} {one['kind']}",
                        one["who"],
                        range_of(one["cpu_seconds"]),
                        f"{one['extra_peak_mb']['median']:,.0f}",
                        f"{one['clusters']['median']:,.0f}",
                    ]
                    for one in facts
                ),
            ),
        ]
    )


def scaling(facts: Facts) -> str:
    """Growth with actions, users and threads."""
    actions, users, threads = facts["actions"], facts["users"], facts["threads"]
    return "\n\n".join(
        [
            "## Scaling",
            (
                "Over one user's actions. The CPU time grows with the power "
                f"{actions['exponent']:.2f} of them; the last column is the power from one row to "
                "the next."
            ),
            table(
                ["actions", "CPU ms a user", "power"],
                (
                    [
                        f"{one['actions']:,}",
                        milliseconds(one["cpu_seconds_a_user"]),
                        f"{one['exponent']:.2f}" if "exponent" in one else "",
                    ]
                    for one in actions["sizes"]
                ),
            ),
            "Over users, heavy-tailed, whose pins are rows of one table:",
            table(
                ["users", "actions", "CPU s", "actions a CPU second"],
                (
                    [
                        f"{one['users']:,}",
                        f"{one['actions']:,}",
                        range_of(one["cpu_seconds"]),
                        digits(one["actions_per_second"]["median"]),
                    ]
                    for one in users
                ),
            ),
            (
                f"Over threads, {threads['users']:,} such users: two threads took "
                f"1 / {range_of(threads['times_faster'])} of the wall time of one. Plain matrix "
                f"products on two threads gained {range_of(threads['sgemm_times_faster'])} beside "
                "it: what is short of 2 there, other programs had."
            ),
        ]
    )


def start(facts: Facts) -> str:
    """The first call in a new process."""
    warm, bare = facts["warm_wall_seconds"], facts["numpy_alone_wall_seconds"]
    text = (
        "A new Python process that imports, loads the compiled kernels and clusters one user: "
        f"{range_of(warm)} s of wall time; Python and NumPy alone take {range_of(bare)} s of it."
    )
    if "compiling_wall_seconds" in facts:
        seconds = digits(facts["compiling_wall_seconds"]["median"])
        text += f" The very first on a machine also compiles: {seconds} s."
    return f"## The first call\n\n{text}"


def keyvalue(facts: Facts) -> str:
    """Publish and read."""
    rows = {
        "publish, users a second": facts["publish_users_per_second"],
        "publish, users a CPU second": facts["publish_users_per_cpu_second"],
        "read of a user, median, ms": facts["read_p50_ms"],
        "read of a user, 99 of 100 below, ms": facts["read_p99_ms"],
        "read of a user, 999 of 1,000 below, ms": facts["read_p999_ms"],
        "reads a second in one batch, not unpacked": facts["batched_reads_per_second"],
        "bytes a user": facts["bytes_a_user"],
    }
    return "\n\n".join(
        [
            "## Key-value store",
            (
                f"LMDB, embedded, {facts['users']:,} users of {facts['medoids_a_user']} medoids. "
                "Publishing packs, writes and syncs; a read takes a key to unpacked medoids."
            ),
            table(["what", "measured"], ([name, range_of(one)] for name, one in rows.items())),
        ]
    )


def staging(facts: Facts) -> str:
    """A new day's events."""
    rows = {
        "rows a second": facts["rows_per_second"],
        "rows a CPU second": facts["rows_per_cpu_second"],
        "peak anonymous memory, MB": facts["peak_anonymous_mb"],
    }
    return "\n\n".join(
        [
            "## Staging a new day",
            (
                f"`pinnersage stage` of a day of {facts['rows']:,} events, its process's start "
                f"included: {facts['buckets']} buckets, {facts['threads']} threads."
            ),
            table(["what", "measured"], ([name, range_of(one)] for name, one in rows.items())),
        ]
    )


def days(facts: list[Facts]) -> str:
    """Whole days, and where the time of the largest goes."""
    columns = ["clustered", "users", "clusters", "seconds", "actions a second", "peak, MB"]
    return "\n\n".join(
        [
            "## A whole day",
            (
                "From staged Parquet to the published key-value store, without Airflow: cluster, "
                "validate and publish, each in a process of its own, starts included. "
                f"d = {facts[0]['dimensions']}, {facts[0]['threads']} threads, buckets of 250,000 "
                "actions. Not all actions of the window are clustered: some are no interests. "
                "Memory is anonymous memory; mapped files are the page cache's."
            ),
            table(["actions in the window", *columns], map(day_cells, facts)),
            (
                "Step by step, wall seconds (CPU seconds) and peak memory in MB; `stage` takes in "
                "all 90 days at once, which a lake sees only on its first day:"
            ),
            table(["actions in the window", *STEPS], map(step_cells, facts)),
            "### Where the time of the largest day goes",
            (
                "The same steps once more, on one thread under Python's profiler, which makes "
                "them slower than they are."
            ),
            table(["part", "seconds", "of the step"], part_cells(facts[-1]["profile"])),
        ]
    )


def day_cells(one: Facts) -> list[str]:
    """A day as a whole."""
    counts = (one["world"]["actions"], one["actions_clustered"], one["users"], one["clusters"])
    speed = (one["staged_to_published_seconds"], one["actions_per_second"])
    return [*(f"{n:,}" for n in counts), *map(digits, speed), f"{peak(one):,}"]


STEPS = ("stage", "cluster", "validate", "publish", "release")


def step_cells(one: Facts) -> list[str]:
    """A day step by step: times and memory."""
    steps = [one["steps"][name] for name in STEPS]
    return [
        f"{one['world']['actions']:,}",
        *(
            f"{digits(step['seconds'])} ({digits(step['cpu_seconds'])}), "
            f"{step['peak_anonymous_mb']:,}"
            for step in steps
        ),
    ]


def part_cells(parts: list[Facts]) -> list[list[str]]:
    """Parts of steps, each beside its share of the step."""
    whole: dict[str, float] = {}
    for part in parts:
        whole[part["step"]] = whole.get(part["step"], 0.0) + part["seconds"]
    return [
        [
            f"{part['step']}: {part['what']}",
            digits(part["seconds"]),
            f"{part['seconds'] / (whole[part['step']] or 1):.0%}",
        ]
        for part in parts
    ]


def near_duplicates(facts: Facts) -> str:
    """What refine finds of what was planted."""
    return (
        f"Near-duplicates: {facts['planted']:,} of the pins, a fifth, were made of another at a "
        f"cosine of 0.975 or more. {facts['found']:,} were dropped, in "
        f"{digits(facts['wall_seconds'])} s: {facts['recall']:.2%} of the pairs lost one, and "
        f"{facts['precision']:.2%} of the dropped had one of their pair for a leader."
    )


def retrieval(facts: Facts) -> str:
    """Requests for candidates."""
    kinds = {
        "cold: every medoid is searched for": "cold_ms",
        "remembered: none has to be": "remembered_ms",
        f"stream: {facts['stream_hit_rate']:.0%} of the medoids are remembered": "stream_ms",
    }
    return "\n\n".join(
        [
            "## Retrieval",
            (
                f"{facts['candidates']} candidates of {facts['medoids_a_request']} sampled "
                f"medoids, from {facts['pins']:,} pins of {facts['d']} dimensions in "
                f"qdrant-edge (built in {digits(facts['build_wall_seconds'])} s, recall@50 "
                f"{facts['recall_at_50']:.3f} at ef = {facts['ef_search']}), in this process: "
                f"milliseconds of {facts['requests']:,} requests."
            ),
            table(
                ["requests", "median", "99 of 100 below"],
                (
                    [name, *(digits(facts[kind][q]) for q in ("p50", "p99"))]
                    for name, kind in kinds.items()
                ),
            ),
            near_duplicates(facts["duplicates"]),
        ]
    )


def indexing(facts: Facts) -> str:
    """From pins to an index, and searches under filters."""
    ways = [
        [
            one["name"],
            f"{one['pins']:,}",
            digits(one["refine_seconds"]),
            digits(one["index_seconds"]),
            digits(one["index_cpu_seconds"]),
            f"{one['peak_anonymous_mb']:,}",
            f"{one['recall_at_50']:.3f}",
            f"{one['least_filtered_recall']:.3f}",
        ]
        for one in facts["ways"]
    ]
    kinds = {"none": "no filter", "created": "fresh pins", "topic": "topics"}
    searches = [
        [kinds[one["filter"]], f"{one['share']:.1%}", *search_cells(one)]
        for one in facts["searches"]
    ]
    planted = facts["planted"]
    return "\n\n".join(
        [
            "## Indexing",
            (
                f"`pinnersage refine` and `index` (build and check) of {facts['pins']:,} pins of "
                f"{facts['d']} dimensions around topics, each command a process of its own. "
                f"{planted['copies']:,} were made of another; of these {planted['recall']:.2%} "
                f"were dropped, and {planted['precision']:.2%} of what was dropped was right. "
                f"*Refreshed*: {facts['changed']:.0%} of the pins became bad the next day. "
                "*int8*: the same pins, quantised."
            ),
            table(
                ["index", "pins kept", "refine, s", "index, s", "its CPU s", "peak MB",
                 "recall@50", "under filters"],
                ways,
            ),
            (
                "One search as serving makes it, to the depth of a whole answer, by the share of "
                "pins that a filter lets through. Filters follow the topics that pins lie around, "
                "and a query often lies where nothing is let through: the hardest case."
            ),
            table(
                ["filter", "share", "recall@50", "at depth", "median, ms", "99 of 100 below"],
                [*searches, ["no filter, int8", "100.0%", *search_cells(facts["int8_search"])]],
            ),
        ]
    )  # fmt: skip


def serving(facts: Facts) -> str:
    """Requests over HTTP."""
    return "\n\n".join(
        [
            "## Serving",
            (
                f"`pinnersage serve` over {facts['pins']:,} pins of 256 dimensions, with keys on: "
                f"{facts['connections']} connections ask for the candidates of one user after "
                f"another, {facts['requests']:,} requests a way after as many to warm up. Whoever "
                "asks runs on the same machine and takes a part of it. *Stream*: users by Zipf's "
                "law, medoids mostly remembered. *Cold*: every medoid is searched for."
            ),
            table(
                ["way", "requests/s", "median, ms", "99 of 100 below", "failed"],
                (
                    [
                        one["name"],
                        f"{one['requests_a_second']:,}",
                        digits(one["p50_ms"]),
                        digits(one["p99_ms"]),
                        f"{one['errors']:,}",
                    ]
                    for one in facts["ways"]
                ),
            ),
        ]
    )


def online(facts: Facts) -> str:
    """Updates and streams."""
    one = facts["update_ms"]
    parts = [
        "## Online",
        (
            f"One user's clusters brought up to date: {facts['clusters']} clusters and "
            f"{facts['actions']} actions of {facts['d']} dimensions, vectors in a file of "
            f"{facts['pins']:,}: {digits(one['p50'])} ms, 99 of 100 below {digits(one['p99'])} ms."
        ),
    ]
    streams = facts["streams"]
    if not streams:
        return "\n\n".join([*parts, "No redis-server here: streams were not measured."])
    seen = streams["reflected_ms"]
    parts += [
        (
            "Through Redis Streams (`appendfsync always`), service, consumer, server and who posts "
            f"on one machine, at {streams['rate']:.0f} events a second with bursts of five times "
            f"that, late and doubled ones: from posting an event to the end of the first answer "
            f"that counts it {digits(seen['p50'])} ms, 99 % of {streams['probes']:,} below "
            f"{digits(seen['p99'])} ms. A burst of {streams['burst']:,} events:"
        ),
        table(
            ["consumers", "seconds until none waits", "events/s"],
            (
                [n, digits(way["seconds"]), f"{way['events_a_second']:,}"]
                for n, way in streams["drained"].items()
            ),
        ),
    ]
    return "\n\n".join(parts)


def search_cells(one: Facts) -> list[str]:
    """What searches found, and how long they took."""
    recalls = [f"{one[name]:.3f}" for name in ("recall_at_50", "recall_at_depth")]
    return [*recalls, digits(one["p50_ms"]), digits(one["p99_ms"])]


SECTIONS: dict[str, Callable[[Any], str]] = {
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
    "costs": costs,
    "recovery": recovery,
}
