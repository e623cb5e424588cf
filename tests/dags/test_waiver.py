"""A day whose checks failed waits for a person: approved it goes live, rejected it does not."""

import json
import shutil
import time
import urllib.error
import urllib.parse

import pytest
from test_daily_run import DAYS, MAKE_HOME, live_release, python

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(1200)]

DAG = "pinnersage_daily"


def state(servers, run, name="waive"):
    return {task["task_id"]: task["state"] for task in servers.tasks(DAG, run)}.get(name)


def wait_until_it_asks(servers, run, asked):
    """Return when a person could answer.

    Airflow 3.3.2 takes an answer that comes before the asking process has ended for a lost task.
    """
    servers.until("it asks", lambda: state(servers, run) == "awaiting_input", 300)
    log = servers.world.airflow_home / "up.log"
    ended = "final_state=awaiting_input"
    servers.until("its process ends", lambda: log.read_text().count(ended) >= asked, 60)
    time.sleep(5)  # until the scheduler has heard of it


def answer(servers, run, choice, reason):
    """Status with which the API takes a person's answer."""
    path = f"{urllib.parse.quote(run)}/taskInstances/waive/-1/hitlDetails"
    body = {"chosen_options": [choice], "params_input": {"reason": reason}}
    try:
        servers.api(f"/api/v2/dags/{DAG}/dagRuns/{path}", body, "PATCH")
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def as_viewer(servers):
    """The same Airflow, seen by somebody who may only read."""
    path = servers.world.airflow_home / "secrets" / "passwords.json"
    login = {"username": "viewer", "password": json.loads(path.read_text())["viewer"]}
    viewer = servers.world.at(servers.url)
    viewer.token = servers.api("/auth/token", login)["access_token"]
    return viewer


def test_a_day_that_fails_waits_for_an_answer_and_keeps_who_gave_it(world, tmp_path):
    python(MAKE_HOME, tmp_path / "made")
    shutil.copytree(tmp_path / "made" / "home", world.home, dirs_exist_ok=True)
    # No true day has so few clusters: every day fails this check, which may be waived.
    world.variables["PINNERSAGE__CHECKS__MAX_MEAN_CLUSTERS_PER_USER"] = "0.01"
    with world.servers() as servers:
        servers.unpause(DAG)
        good, bad = (servers.trigger(DAG, day) for day in DAYS[:2])

        wait_until_it_asks(servers, good, asked=1)
        assert not (world.home / "releases").exists(), "nothing is live while it waits"
        assert answer(as_viewer(servers), good, "Approve", "I may not") == 403
        assert answer(servers, good, "Approve", "a true day") == 200
        assert servers.wait_for_run(DAG, good) == "success"

        wait_until_it_asks(servers, bad, asked=2)
        assert answer(servers, bad, "Reject", None) == 200
        assert servers.wait_for_run(DAG, bad) == "failed"
        assert state(servers, bad, "publish") == "upstream_failed"

    assert live_release(world.home)["medoids"]["day"] == DAYS[0].isoformat()
    folder = world.home / "lake" / "medoids"
    kept = json.loads((folder / f"day={DAYS[0]}" / "manifest.json").read_text())["report"]["waived"]
    assert (kept["by"], kept["reason"]) == ("admin", "a true day")
    assert kept["rules"] == ["clusters per user on average"]
    assert not (folder / f"day={DAYS[1]}" / "manifest.json").exists()
