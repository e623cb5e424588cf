"""The sizing page: its figures are those that were measured, and its sums add up."""

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def sizing():
    import sys

    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return runpy.run_path(f"{folder}/sizing.py")
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def facts(sizing):
    return json.loads(sizing["FACTS"].read_text())


def test_the_page_shows_what_was_measured(sizing, facts):
    page = sizing["PAGE"].read_text()
    assert sizing["refreshed"](page, facts) == page, "stale: python benchmarks/sizing.py"
    assert len(sizing["TABLE"].findall(page)) == len(sizing["tables"](facts))


def test_a_line_through_the_medians_gives_back_what_it_was_made_from(sizing):
    points = [
        (n, {"cpu_seconds": 2 + n / 1000 + noise, "peak_anonymous_mb": 1})
        for n in (1000, 5000)
        for noise in (-0.5, 0.0, 40.0)  # one run was disturbed
    ]
    found = sizing["line"](points)
    assert found.start == pytest.approx(2)
    assert found.rate == pytest.approx(1000)
    assert found.hours(3_600_000, tasks=1800) == pytest.approx(2)


def test_no_number_of_cores_makes_up_for_single_tasks(sizing, facts):
    measured = sizing["rates"](facts)
    plans = [sizing["plan"](users, measured) for users in (1_000_000, 10**10)]
    assert plans[0].cores >= 1
    assert plans[0].cores * (sizing["WINDOW_HOURS"] - plans[0].single_hours) >= (
        plans[0].cluster_hours
    )
    assert plans[1].cores is None
    assert plans[1].buckets == sizing["MOST_BUCKETS"]
