"""Report: the facts of a run as a page of Markdown, for the terminal and for docs/benchmarks.md."""

from collections.abc import Callable, Iterable
from typing import Any

OURS = "PinnerSage"
FASTCLUSTER = "fastcluster"
BLAS = "fastcluster, BLAS distances"
PEERS = (FASTCLUSTER, BLAS, "SciPy", "scikit-learn")

Facts = dict[str, Any]


def page(facts: Facts) -> str:
    """Every section that there are facts for."""
    sections = [on_machine(facts)]
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
            f"Scale: {facts['scale']}. Load at the start: {one['load_at_start']}."
        ),
    ]
    if one["busy"]:
        lines += ["", "**The machine was busy: compare ratios, not seconds, or run it again.**"]
    return "\n".join(lines)


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


SECTIONS: dict[str, Callable[[Facts], str]] = {"kernels": kernels}


# --- cells -------------------------------------------------------------------------------------


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table in Markdown, its columns of one width: read as it is or rendered."""
    body = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*body, strict=True)]
    rule = ["-" * max(3, widths[0])] + ["-" * max(2, width - 1) + ":" for width in widths[1:]]
    padded = [[cells[0].ljust(len(rule[0])), *right(cells[1:], rule[1:])] for cells in body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [padded[0], rule, *padded[1:]])


def right(cells: list[str], rule: list[str]) -> list[str]:
    """Cells as wide as the rule below the head."""
    return [cell.rjust(len(line)) for cell, line in zip(cells, rule, strict=True)]


def range_of(one: Facts) -> str:
    """Median, and lowest and highest if rounds differ."""
    if one["lowest"] == one["highest"]:
        return digits(one["median"])
    return f"{digits(one['median'])} ({digits(one['lowest'])} to {digits(one['highest'])})"


def digits(value: float) -> str:
    """A number in three digits, never in powers of ten."""
    if value >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    if value >= 10:  # noqa: PLR2004
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3g}"  # noqa: PLR2004
