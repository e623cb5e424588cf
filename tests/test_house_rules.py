"""House rules: what holds for every file, so that nobody has to remember it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pinnersage"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
TESTED_ELSEWHERE = {
    "errors.py": "classes without behaviour",
    "schema.py": "docs/tables.md is made from it; every step writes by it",
    "version.py": "a number",
    "source.py": "through stage and init, which alone call it",
    "day.py": "test_day",
    "retention.py": "test_maintain",
    "survey.py": "test_maintain",
    "evaluate/histories.py": "test_cases and test_models, which hand them about",
    "evaluate/kept.py": "test_kept_measurements",
    "evaluate/paper.py": "numbers; test_lineup, that our rows are named so",
    "evaluate/recorded.py": "test_daily",
    "evaluate/released.py": "test_daily",
    "evaluate/results.py": "classes without behaviour",
    "evaluate/retrieval.py": "test_retrieval_task",
    "evaluate/search.py": "test_searchers",
    "evaluate/tables.py": "test_side_by_side",
    "evaluate/trend.py": "test_daily",
    "serve/access.py": "test_gate, with everything that is refused",
    "serve/orders.py": "test_answers",
    "serve/routes.py": "test_answers",
    "serve/metrics.py": "test_answers",
    "serve/run.py": "test_live, in a process of its own",
    "kernels/distance.py": "with ward, which it serves",
    "stores/address.py": "with each store that has one",
    "stores/disk.py": "through lake, key-value and vectors, each with a full disk",
    "stores/versions.py": "through the contract suites of key-value and vectors",
    "stores/lmdb_store.py": "test_keyvalue",
    "stores/redis_store.py": "test_keyvalue",
    "online/feedback.py": "test_journal",
    "stores/lmdb_states.py": "test_states",
    "stores/redis_states.py": "test_states",
    "stores/edge.py": "test_vectors",
    "stores/edge_build.py": "test_vectors",
    "stores/edge_feed.py": "test_vectors",
}
LONGEST_FUNCTION = 60


def name_of(path):
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_opens_with_its_one_idea(path):
    first = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[:1]
    assert first, "no docstring"
    assert first[0].endswith((".", ")")), first


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_has_a_test_file(path):
    name = name_of(path)
    test = ROOT / "tests" / path.relative_to(PACKAGE).parent / f"test_{path.name}"
    assert test.is_file() or name in TESTED_ELSEWHERE


def test_exemptions_are_of_modules_that_exist():
    assert set(TESTED_ELSEWHERE) <= {name_of(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_are_short(path):
    functions = [
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)
    ]
    for node in functions:
        docstring = len((ast.get_docstring(node) or "").splitlines())
        assert (node.end_lineno or 0) - node.lineno - docstring < LONGEST_FUNCTION, node.name


NO_KERNELS = {"__init__.py", "borrow.py", "cache.py"}  # how kernels are compiled, and kept
KERNELS = sorted(path for path in (PACKAGE / "kernels").glob("*.py") if path.name not in NO_KERNELS)


@pytest.mark.parametrize("path", KERNELS, ids=name_of)
def test_a_kernel_is_measured_against_a_naive_twin(path):
    served = {"distance.py": "test_ward.py"}  # its own promise, symmetry, is tested there
    test = ROOT / "tests" / "kernels" / served.get(path.name, f"test_{path.name}")
    text = test.read_text()
    assert "from naive import" in text or "import naive" in text
    public = [
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    assert public
    assert all(name in text for name in public)
