"""The maintenance DAG, run once each way: it removes what the plan said, and a dry run nothing."""

import json
import os
import shutil
import tomllib

import pytest
from worlds import DAY

from pinnersage import config

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]


def keep_days(home, **retention):
    """Change the retention in a home's settings file."""
    text = (home / config.FILE).read_text()
    for name, value in retention.items():
        old = tomllib.loads(text)["retention"][name]
        text = text.replace(f"\n{name} = {old}\n", f"\n{name} = {value}\n")
    (home / config.FILE).write_text(text)


def test_a_run_removes_what_its_plan_says_and_a_dry_run_nothing(world, finished_home):
    shutil.copytree(finished_home, world.home, dirs_exist_ok=True)
    keep_days(world.home, grace_days=1)
    left = world.home / "lake" / "medoids" / f"day={DAY}" / "data" / "left.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of a step that was killed")
    for path in (world.home / "lake").rglob("*.*"):
        os.utime(path, (1.7e9, 1.7e9))
    reports = world.home / "reports" / "maintenance"

    day, dry = f"{DAY}", json.dumps({"dry_run": True})
    said = world.airflow("dags", "test", "pinnersage_maintenance", day, "--conf", dry)
    assert "A dry run: nothing is removed." in said
    assert left.exists()
    assert not reports.exists()
    world.dags_test("pinnersage_maintenance", DAY)

    assert not left.exists()
    (kept,) = json.loads(next(reports.iterdir()).read_text())
    went = {kind["kind"]: kind["n_gone"] for kind in kept["kinds"] if kind["n_gone"]}
    assert went == {"unnamed files": 1}
    assert kept["finished"]
