"""Docs made from the code: tables, settings, commands, DAGs, API; and the benchmarks' page.

    python scripts/generate_docs.py            write them into docs/
    python scripts/generate_docs.py --check    exit code 1 if one is stale, naming it

A page depends on the code, and on what the benchmarks saved, alone: not on the terminal, the clock
or the machine.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa
from pydantic.fields import FieldInfo
from typer.main import get_command

from pinnersage import config, schema
from pinnersage.cli import app
from pinnersage.serve.app import make_app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
WIDTH = 88
"""Columns of a terminal that command help is written for."""
LIMITS = {"minimum": "≥", "maximum": "≤", "minItems": "at least", "maxItems": "at most"}
SYMBOLS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def tables() -> str:
    """Return the page of ``pinnersage/schema.py``."""
    lines = [
        *opening("Tables", "pinnersage/schema.py"),
        "Everything in the lake is Parquet, except the matrix of embeddings, which is `.npy`.",
        "Times are UTC. The id of a user or a pin is text or a 64-bit integer, as you have it;",
        "which of the two belongs to the lake (`lake.json`). How partitions and manifests lie on",
        "the disk: [architecture](architecture.md#the-lake).",
    ]
    for table in schema.TABLES:
        partition = ", ".join(f"`{key}=`" for key in table.partition)
        order = ", ".join(f"`{name}`" for name in table.order)
        lines += ["", f"## {table.name}", "", table.meaning, ""]
        lines += [
            f"Written by `{table.owner}`, by {partition}. Rows in the order of {order}.",
            "",
        ]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        lines += [row(f"`{c.name}`", type_name(c.kind), c.meaning) for c in table.columns]
    return page(lines)


def type_name(kind: pa.DataType | str) -> str:
    """Return a column's type in words."""
    if kind == "pins":
        return "list of text or int64 (pin)"
    if isinstance(kind, str):
        return f"text or int64 ({kind})"
    names = {pa.string(): "text", schema.TIME: "time, µs, UTC", pa.float64(): "float64"}
    return names.get(kind, f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind))


def settings() -> str:
    """Return the page of ``pinnersage/config.py``."""
    lines = [
        *opening("Settings", "pinnersage/config.py"),
        f"They live in `{config.FILE}` in the home folder; `pinnersage init` writes the file with",
        "every key and its description. A variable in the environment overrides a key, and lists",
        "are JSON there:",
        "",
        f"    {config.PREFIX}MODEL__MERGE_THRESHOLD=2.5",
        f"    {config.PREFIX}SOURCE__INTEREST_ACTIONS='[\"repin\"]'",
        "",
        "An unknown key or a value out of its limits is an error.",
        "",
        "`home`, the root of lake, stores, releases and reports, is not in the file: it is the",
        "variable `PINNERSAGE_HOME`, or `--home`.",
    ]
    for section, field in config.Settings.model_fields.items():
        kind = field.annotation
        if section == "home" or kind is None:
            continue
        described = config.descriptions(kind)
        lines += ["", f"## {section}", "", (kind.__doc__ or "").strip(), ""]
        lines += ["| key | type and limits | default | meaning |", "|---|---|---|---|"]
        for name, key in kind.model_fields.items():
            default = f"`{config._toml_value(key.default)}`"  # noqa: SLF001 (as the file says it)
            lines.append(row(f"`{name}`", limits(key), default, described[name]))
    return page(lines).replace("``", "`")


def limits(key: FieldInfo) -> str:
    """Return a setting's type and limits in words."""
    kind = key.annotation
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return "list of arms" if config.Arm in get_args(kind) else "list of text"
    words = {str: "text", int: "whole number", float: "number", bool: "true or false"}[kind]  # type: ignore[index]
    bounds = []
    for item in key.metadata:
        for name, symbol in SYMBOLS.items():
            if (bound := getattr(item, name, None)) is not None:
                bounds.append(f"{symbol} {bound}")
        if pattern := getattr(item, "pattern", None):
            bounds.append(f"`{pattern}`")
    return ", ".join([words, *bounds])


def commands() -> str:
    """Return the page of the command line: each command's own help."""
    program: Any = get_command(app)
    top = context(program, "pinnersage")
    lines = [
        *opening("Commands", "pinnersage/cli.py"),
        "Exit code 0: done. 1: an error, one paragraph on stderr; `doctor` also exits with 1 when",
        "something is not as it should be. 2: a command line that cannot be read. `--json` gives a",
        "machine the facts that a person is shown.",
        "",
        *block(program.get_help(top)),
    ]
    for name, command in program.commands.items():
        lines += ["", f"## pinnersage {name}", ""]
        lines += block(command.get_help(context(command, name, top)))
    return page(lines)


def context(command: Any, name: str, parent: Any = None) -> Any:
    """Return what a command formats its help in, at a fixed width."""
    return command.context_class(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
    )


def dags() -> str:
    """Return the page of ``dags/``: each DAG's docstring, schedule, tasks and form."""
    command = [sys.executable, str(ROOT / "scripts" / "describe_dags.py")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [
        *opening("DAGs", "dags/"),
        "The text of each DAG is the page that Airflow's UI shows for it. Pools and queues:",
        "[several workers](how-to/several-workers.md#pools-and-queues).",
    ]
    for name, dag in json.loads(done.stdout.splitlines()[-1]).items():
        lines += [
            "",
            f"## {name}",
            "",
            dag["text"].strip(),
            "",
            f"**Schedule:** {dag['schedule']}.",
        ]
        lines += [
            "",
            "| task | after | pool | queue | retries | minutes at most |",
            "|" + "---|" * 6,
        ]
        lines += [task_row(task) for task in dag["tasks"]]
        if dag["params"]:
            lines += ["", "| field of the form | type | empty or untouched | |", "|" + "---|" * 4]
            lines += [field_row(param) for param in dag["params"]]
    return page(lines)


def task_row(task: dict[str, Any]) -> str:
    """Return the row of one task."""
    mapped = " (one a bucket)" if task["mapped"] else ""
    after = ", ".join(f"`{one}`" for one in task["after"])
    facts = (task["pool"], task["queue"], str(task["retries"]), str(task["minutes"] or "no limit"))
    return row(f"`{task['name']}`{mapped}", after, *facts)


def field_row(param: dict[str, Any]) -> str:
    """Return the row of one field of a trigger form."""
    kinds = param["type"] if isinstance(param["type"], list) else [param["type"]]
    kind = " or ".join(one for one in kinds if one != "null")
    limits = [f"{sign} {param[key]}" for key, sign in LIMITS.items() if key in param]
    default = "" if param["default"] is None else f"`{json.dumps(param['default'])}`"
    return row(f"`{param['name']}`", ", ".join([kind, *limits]), default, param["says"] or "")


def api() -> str:
    """Return the page of the service: its routes, what each takes and what comes back."""
    with tempfile.TemporaryDirectory() as home:
        document = make_app(config.build(Path(home), {}), never).openapi()
    lines = beside("scripts", "api_page").lines(document)
    return page([*opening("API", "pinnersage/serve/"), *lines])


def never() -> datetime:
    """Stand for a clock that nobody looks at."""
    raise AssertionError


def benchmarks() -> str:
    """Return the page of the benchmarks' last saved run."""
    text = beside("benchmarks", "docs_page").text()
    return page([*opening("Benchmarks", "benchmarks/"), text])


def beside(folder: str, name: str) -> Any:
    """Return a module of a folder that is no package."""
    path = str(ROOT / folder)
    sys.path.insert(0, path)
    try:
        return import_module(name)
    finally:
        sys.path.remove(path)


def opening(title: str, source: str) -> list[str]:
    """Return the first lines of a page."""
    return [f"# {title}", "", f"<!-- Made from {source}. Do not edit: make docs -->", ""]


def row(*cells: str) -> str:
    """Return a row of a table; a bar inside a cell is not its end."""
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def block(text: str) -> list[str]:
    """Return text as it stands."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return ["```text", *lines, "```"]


def page(lines: list[str]) -> str:
    """Return a page's text."""
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "tables.md": tables,
    "settings.md": settings,
    "commands.md": commands,
    "dags.md": dags,
    "api.md": api,
    "benchmarks.md": benchmarks,
}


def stale(folder: Path = DOCS) -> list[str]:
    """Return the pages in ``folder`` that are not what the code says now."""
    return [
        name
        for name, make in PAGES.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != make()
    ]


def main() -> None:
    """Write the pages, or check them."""
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    old = stale()
    if sys.argv[1:]:
        if old:
            sys.exit(f"Stale: {', '.join(f'docs/{name}' for name in old)}. Run: make docs")
        return
    for name in old:
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
