"""What the docs name is there: commands, settings, files, sections; made pages are fresh."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

from pinnersage import config
from pinnersage.cli import app

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "generate_docs.py"
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
        ROOT / "docker" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
COMMANDS = get_command(app).commands
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
SECTIONS = [name for name in config.Settings.model_fields if name != "home"]
DOTTED = "|".join(name for name in SECTIONS if name != "lake")
"""Sections as they are written before a key; ``lake.add_table`` is a method, not a key."""

each_page = pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def code(text):
    """What stands in a page as code: fences, indented blocks, and between backticks."""
    fences = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    without = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    .*$", without, re.MULTILINE)
    return "\n".join([*fences, *indented, *re.findall(r"`([^`\n]+)`", without)])


def anchors(path):
    """Names that a link can point to on a page."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def own_sources():
    """Text of whatever may name a section of the runbook."""
    for folder in ("pinnersage", "dags", "sql", "scripts"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".sql", ".j2"}:
                yield path, path.read_text()


# --- generated pages ---------------------------------------------------------------------------


@pytest.fixture
def generator():
    spec = importlib.util.spec_from_file_location("generate_docs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("columns", ["30", "300"])
def test_generated_pages_are_fresh_whatever_the_terminal(columns):
    variables = {"COLUMNS": columns, "TERMINAL_WIDTH": columns, "FORCE_COLOR": "1", "LANG": "C"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"],
        env=os.environ | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_stale_page_is_named_with_the_command_to_run(generator, monkeypatch):
    monkeypatch.setitem(generator.PAGES, "tables.md", lambda: "# Something else\n")
    monkeypatch.setattr(sys, "argv", ["generate_docs.py", "--check"])
    with pytest.raises(SystemExit, match=r"^Stale: docs/tables\.md\. Run: make docs$"):
        generator.main()


def test_every_dag_has_its_schedule_tasks_and_form_on_the_page():
    page = (ROOT / "docs" / "dags.md").read_text()
    for name in ("daily", "index", "maintenance", "sweep", "watch"):
        assert f"\n## pinnersage_{name}\n" in page
    assert "**Schedule:** cron 0 2 * * *, UTC." in page
    assert (
        "| `cluster` (one a bucket) | `buckets`, `stage` | pinnersage_compute | compute |" in page
    )
    assert "| `merge_threshold` | number, ≥ 0 |" in page


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_documented(name):
    page = (ROOT / "docs" / "commands.md").read_text()
    assert COMMANDS[name].help
    assert f"\n## pinnersage {name}\n" in page
    for parameter in COMMANDS[name].params:
        assert getattr(parameter, "help", None) or parameter.param_type_name == "argument", (
            f"{name}: {parameter.name} has no help"
        )


# --- runbook -----------------------------------------------------------------------------------


def test_every_section_of_the_runbook_that_the_code_names_is_there():
    sections = anchors(ROOT / "docs" / "runbook.md")
    named = {}
    for path, text in own_sources():
        joined = re.sub(r'"\s*\n\s*f?"', "", text)  # a message may go on in the next line
        for name in re.findall(r"See runbook: ([a-z -]+)\.", joined):
            named[name] = path
        for name in re.findall(r'runbook(?:: str)? ?= ?"([^"]+)"', joined):
            named[name] = path
    assert len(named) > 10
    absent = {name: str(at) for name, at in named.items() if name.replace(" ", "-") not in sections}
    assert not absent


def test_pages_that_the_code_names_are_there():
    for path, text in own_sources():
        for name in re.findall(r"\bdocs/[\w/-]+\.md", text):
            assert (ROOT / name).is_file(), f"{path} names {name}"


# --- links and names ---------------------------------------------------------------------------


@each_page
def test_links_resolve(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        there = path.parent / name if name else path
        assert there.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(there), f"{target}: no such section"


@each_page
def test_commands_and_their_options_exist(path):
    text = code(path.read_text()).replace("\\\n", " ")
    for name, rest in re.findall(
        r"(?<![\w/.-])(?<!from )(?:\S*/)?pinnersage ([a-z][a-z-]*)\b([^\n|;#]*)", text
    ):
        assert name in COMMANDS, f"pinnersage {name}"
        known = {option for p in COMMANDS[name].params for option in p.opts} | {"--help"}
        assert set(re.findall(r"(?<=\s)--[a-z-]+", rest)) <= known, f"pinnersage {name}{rest}"


@each_page
def test_make_targets_exist(path):
    for line in re.findall(r"(?:^|[ (])make ([a-z][a-z -]*)", code(path.read_text()), re.MULTILINE):
        assert line.split()[0] in TARGETS, f"make {line}"


@each_page
def test_settings_exist(path):
    for section, key in re.findall(
        rf"(?<![\w/.])({DOTTED})\.([a-z_]+)\b(?!\()", code(path.read_text())
    ):
        if key not in {"py", "md", "toml", "run", "sql"}:
            kind = config.Settings.model_fields[section].annotation
            assert key in kind.model_fields, f"{section}.{key}"
    for name in re.findall(r"\bPINNERSAGE__([A-Z_]+)", path.read_text()):
        section, _, key = name.lower().partition("__")
        assert section in SECTIONS, name
        assert key in config.Settings.model_fields[section].annotation.model_fields, name


@each_page
def test_files_that_are_named_exist(path):
    folders = "pinnersage|dags|sql|scripts|tests|docker|docs|examples|benchmarks|requirements"
    found = re.findall(
        rf"(?<![\w/.$-])((?:{folders})/[\w./-]*\w\.(?:py|sql|sh|md|yaml|txt))", path.read_text()
    )
    for name in found:
        if "NAME" not in name and path.parent.name != "docker":
            assert (ROOT / name).exists() or (path.parent / name).exists(), name


# --- what single pages promise -----------------------------------------------------------------


def test_readmes_library_example_gives_what_it_says():
    text = (ROOT / "README.md").read_text()
    program = re.search(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    names = {}
    exec(program, names)  # noqa: S102 (our own page)
    for fact, said in re.findall(r"^c\.(\w+) +# \[([^\]]+)\]", program, re.MULTILINE):
        expected = [float(value) for value in said.split()]
        np.testing.assert_allclose(getattr(names["c"], fact), expected, atol=5e-4)


def test_architecture_shows_the_layers_that_are_checked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    page = (ROOT / "docs" / "architecture.md").read_text()
    shown = [line.split("  ")[0] for line in re.findall(r"^    (.+)$", page, re.MULTILINE)]
    first = shown.index("dags, plugins, cli")
    assert shown[first : first + len(layers)] == ["dags, plugins, cli", *layers[1:]]


def test_every_decision_is_listed_and_has_its_four_parts():
    folder = ROOT / "docs" / "decisions"
    pages = sorted(folder.glob("0*.md"))
    listed = re.findall(r"\((0[\w-]+\.md)\)", (folder / "README.md").read_text())
    assert listed == [page.name for page in pages]
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        for part in ("**Context.**", "**Choice.**", "**Cost.**", "**Think again when**"):
            assert part in page.read_text(), f"{page.name}: {part}"


def test_images_are_small_and_load_nothing():
    for image in (ROOT / "docs" / "images").iterdir():
        assert image.stat().st_size < 200_000, image.name
        if image.suffix == ".svg":
            assert not re.search(r"(href|src|url)\s*[=(]\s*[\"']?(https?:|//)", image.read_text())
