"""Cells: numbers and tables of a page, in Markdown that also reads well as it stands."""

from collections.abc import Iterable


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


def range_of(one: dict[str, float]) -> str:
    """Median, and lowest and highest if rounds differ."""
    if one["lowest"] == one["highest"]:
        return digits(one["median"])
    return f"{digits(one['median'])} ({digits(one['lowest'])} to {digits(one['highest'])})"


def milliseconds(one: dict[str, float]) -> str:
    """Seconds as milliseconds."""
    return range_of({name: value * 1000 for name, value in one.items()})


def digits(value: float) -> str:
    """A number in three digits, never in powers of ten."""
    if value >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    if value >= 10:  # noqa: PLR2004
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"  # noqa: PLR2004
