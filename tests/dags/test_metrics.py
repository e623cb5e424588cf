"""Metrics through the real Airflow: on by configuration alone, under names that are documented."""

import json
import re
import shutil
import socket
import threading
from datetime import timedelta

import pytest
from conftest import ROOT
from worlds import DAY

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def statsd():
    """A StatsD server that keeps each metric's last value."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.settimeout(0.2)
    heard, stop = {}, threading.Event()

    def listen():
        while not stop.is_set():
            try:
                text = server.recv(65536).decode()
            except TimeoutError:
                continue
            for line in text.splitlines():
                name, _, value = line.rpartition(":")
                heard[name] = value

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield server.getsockname()[1], heard
    finally:
        stop.set()
        thread.join()
        server.close()


def test_the_live_release_is_measured_by_configuration_alone(world, finished_home, statsd):
    port, heard = statsd
    shutil.copytree(finished_home, world.home, dirs_exist_ok=True)
    world.variables |= {
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(port),
        "PINNERSAGE__ALERTS__MAX_AGE_HOURS": "1e9",
    }

    world.dags_test("pinnersage_watch", DAY + timedelta(days=1))

    ours = {n.removeprefix("airflow."): v for n, v in heard.items() if ".pinnersage.live" in n}
    page = (ROOT / "docs/how-to/lineage-and-metrics.md").read_text()
    documented = set(re.findall(r"^\| `(pinnersage\.live\.\w+)` \|", page, re.MULTILINE))
    assert set(ours) == documented
    assert {value.rpartition("|")[2] for value in ours.values()} == {"g"}
    values = {
        name.rpartition(".")[2]: float(value.partition("|")[0]) for name, value in ours.items()
    }
    assert values["late"] == 0
    manifest = world.home / f"lake/medoids/day={DAY}/manifest.json"
    assert values["users"] == json.loads(manifest.read_text())["report"]["measures"]["n_users"]
    assert values["age_hours"] == values["index_age_hours"] > 0
    assert 1 <= values["clusters_per_user"] <= 75
    assert 0.95 <= values["recall"] <= 1
