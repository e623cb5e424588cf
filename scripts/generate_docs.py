"""Docs that are made from the code: tables, settings, commands, DAGs.

    python scripts/generate_docs.py            write them into docs/
    python scripts/generate_docs.py --check    exit code 1 if one is stale, naming it

A page depends on the code alone: not on the terminal, the clock, the machine or Airflow. DAG
files are read as syntax, since importing Airflow takes seconds; a construct that is not known
here is an error, so that a picture is never wrong in silence.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa
from pydantic.fields import FieldInfo
from typer.main import get_command

from pinnersage import config, schema
from pinnersage.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
WIDTH = 88
"""Columns of a terminal that command help is written for."""
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
        lines += [f"Partitioned by {partition}. Rows in the order of {order}.", ""]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        lines += [row(f"`{c.name}`", type_name(c.kind), c.meaning) for c in table.columns]
    return page(lines)


def type_name(kind: pa.DataType | str) -> str:
    """Return a column's type in words."""
    if isinstance(kind, str):
        return f"text or int64 ({kind})"
    names = {pa.string(): "text", schema.TIME: "time, µs, UTC", pa.float64(): "float64"}
    return names.get(kind, str(kind))


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
        return "list of text"
    words = {str: "text", int: "whole number", float: "number"}[kind]  # type: ignore[index]
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
    """Return the page of ``dags/``: each DAG's docstring, schedule and tasks."""
    shared = module(ROOT / "dags" / "pinnersage_dags.py")
    names = dict(constants(shared))
    lines = [
        *opening("DAGs", "dags/"),
        "The text of each DAG is the page that Airflow's UI shows for it.",
        "",
        "| pool | for |",
        "|---|---|",
    ]
    lines += [row(f"`{names[key]}`", said) for key, said in described_constants(shared)]
    lines += ["", f"Where a task has no settings of its own: {shown(defaults(shared))}."]
    for path in sorted((ROOT / "dags").glob("pinnersage_*.py")):
        tree = module(path)
        if any(dag_of(node) for node in tree.body):
            lines += dag_page(path.stem, tree, names)
    return page(lines)


def dag_page(name: str, tree: ast.Module, names: dict[str, str]) -> list[str]:
    """Return the part of the page for one DAG file."""
    function = next(node for node in tree.body if dag_of(node))
    assert isinstance(function, ast.FunctionDef)  # noqa: S101 (what dag_of has said)
    asked = {keyword.arg: keyword.value for keyword in dag_of(function).keywords}
    tasks = {node.name: node for node in function.body if isinstance(node, ast.FunctionDef)}
    edges = wiring([node for node in function.body if not isinstance(node, ast.FunctionDef)])
    after = {task: [one for one, other in edges if other == task] for task in tasks}
    if set(tasks) != {task for edge in edges for task in edge}:
        raise SystemExit(f"{name}: a task is not wired, or is wired in a way not known here.")
    lines = ["", f"## {name}", "", (ast.get_docstring(tree) or "").strip(), ""]
    lines += [f"**Schedule:** `{ast.unparse(asked['schedule'])}`", ""]
    lines += ["| task | after | pool | own settings |", "|---|---|---|---|"]
    for task, node in tasks.items():
        own = {k: v for k, v in task_keywords(node).items() if k != "map_index_template"}
        pool = own.pop("pool", None)
        mapped = " (mapped)" if "map_index_template" in task_keywords(node) else ""
        lines.append(
            row(
                f"`{task}`{mapped}",
                ", ".join(f"`{one}`" for one in after[task]),
                f"`{names[pool.id]}`" if isinstance(pool, ast.Name) else "default",
                shown(own),
            )
        )
    return lines


def shown(keywords: dict[str, ast.expr]) -> str:
    """Return settings as Python says them."""
    return ", ".join(f"`{key}={ast.unparse(value)}`" for key, value in keywords.items())


def defaults(tree: ast.Module) -> dict[str, ast.expr]:
    """Return what every task is given unless it says otherwise."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "DEFAULTS":
            assert isinstance(node.value, ast.Dict)  # noqa: S101 (its type says so)
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return {ast.literal_eval(key): value for key, value in pairs if key}
    raise SystemExit("dags/pinnersage_dags.py has no DEFAULTS.")


def module(path: Path) -> ast.Module:
    """Return a file as syntax."""
    return ast.parse(path.read_text(encoding="utf-8"))


def constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the module's names that stand for a text."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, str(node.value.value)


def described_constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield texts' names with the line that stands under them."""
    known = dict(constants(tree))
    for node, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            said = following.value if isinstance(following, ast.Expr) else None
            if node.targets[0].id in known and isinstance(said, ast.Constant):
                yield node.targets[0].id, str(said.value).removeprefix("Pool of ").strip()


def dag_of(node: ast.stmt) -> Any:
    """Return the call of ``@dag`` that makes a function a DAG, or None."""
    for decorator in getattr(node, "decorator_list", []):
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "dag":
            return decorator
    return None


def task_keywords(node: ast.FunctionDef) -> dict[str, ast.expr]:
    """Return what ``@task`` is given."""
    found: dict[str, ast.expr] = {}
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            found |= {keyword.arg: keyword.value for keyword in decorator.keywords if keyword.arg}
    return found


def wiring(body: list[ast.stmt]) -> list[tuple[str, str]]:
    """Return pairs (task, task after it) of assignments and chains of ``>>``."""
    named: dict[str, str] = {}
    edges: list[tuple[str, str]] = []

    def last(node: ast.expr) -> str:
        """Return the task that an expression stands for, having noted what goes before it."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift):
            before, task = last(node.left), last(node.right)
            edges.append((before, task))
            return task
        if isinstance(node, ast.Name):
            return named[node.id]
        if isinstance(node, ast.Call):
            function = node.func
            mapped = isinstance(function, ast.Attribute) and function.attr == "expand"
            base = function.value if mapped and isinstance(function, ast.Attribute) else function
            if isinstance(base, ast.Name):
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                edges.extend((last(one), base.id) for one in given)
                return base.id
        raise SystemExit(f"Not known here, so not drawn: {ast.unparse(node)}")

    for statement in body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            named[statement.targets[0].id] = last(statement.value)
        elif isinstance(statement, ast.Expr):
            last(statement.value)
        else:
            raise SystemExit(f"Not known here, so not drawn: {ast.unparse(statement)}")
    return edges


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
