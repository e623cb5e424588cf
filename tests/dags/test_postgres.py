"""A day through Airflow on PostgreSQL, as production keeps its metadata."""

import shutil
from datetime import date

import pytest

pytestmark = [pytest.mark.service, pytest.mark.airflow, pytest.mark.timeout(1200)]

DAY = date(2026, 4, 5)


def test_a_day_and_its_index_go_live(postgres, prepared_airflow, tmp_path, staged_home):
    world = type(prepared_airflow)(tmp_path / "home")
    shutil.copytree(staged_home, world.home)
    world.variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = postgres

    with world.servers() as servers:
        servers.unpause("pinnersage_index", "pinnersage_daily")
        run = servers.trigger("pinnersage_daily", DAY)
        assert servers.wait_for_run("pinnersage_daily", run) == "success"
        servers.wait_for_days("pinnersage_index", [DAY])

    live = world.python(
        "import json; from pinnersage.release import Releases; from pinnersage.config import load;"
        "print(json.dumps(Releases(load()).live().model_dump(mode='json')))"
    )
    assert live["medoids"]["day"] == live["index"]["day"] == DAY.isoformat()
    assert not (world.airflow_home / "airflow.db").exists()
