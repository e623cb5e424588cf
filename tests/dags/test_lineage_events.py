"""OpenLineage through the real Airflow: each task's event names the tables read and written."""

import json
from datetime import timedelta

import pytest
from test_daily_run import DAYS, RUN_DAYS, python, tiny, tiny_world  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]

DAILY = {
    "stage": (["actions"], ["lake/actions"]),
    "buckets": ([], []),
    "cluster": (["lake/actions", "lake/embeddings"], ["lake/medoids"]),
    "validate": (["lake/actions", "lake/embeddings", "lake/medoids"], ["lake/medoids"]),
    "parity": (["lake/actions"], ["lake/parity"]),
    "compared": ([], []),
    "waive": ([], []),
    "publish": (["lake/medoids"], ["stores/keyvalue"]),
    "release": (["stores/keyvalue"], ["releases"]),
}
INDEX = {
    "refine": (["lake/embeddings", "lake/pins"], ["lake/refined"]),
    "index": (["lake/embeddings", "lake/refined"], ["lake/index", "stores/vectors"]),
    "release": (["stores/vectors"], ["releases"]),
}


def completed(world, dag):
    """Events of tasks that ended well, as the file transport wrote them."""
    events = [json.loads(line) for line in (world.home / "events.jsonl").read_text().splitlines()]
    tasks = [e for e in events if e["job"]["name"].startswith(f"{dag}.")]
    return [event for event in tasks if event["eventType"] == "COMPLETE"]


def named(world, event):
    home = f"{world.home}/"
    return tuple(
        sorted(d["name"].removeprefix(home).removeprefix(f"{world.raw}/") for d in event[side])
        for side in ("inputs", "outputs")
    )


@pytest.fixture
def told_world(tiny_world, tiny):  # noqa: F811
    """A world whose events go to a file, by configuration alone."""
    transport = {"type": "file", "log_file_path": f"{tiny_world.home}/events.jsonl", "append": True}
    tiny_world.variables["AIRFLOW__OPENLINEAGE__TRANSPORT"] = json.dumps(transport)
    tiny_world.raw = tiny.parent / "raw"
    return tiny_world


def test_every_task_of_a_day_names_what_it_read_and_wrote(told_world):
    told_world.dags_test("pinnersage_daily", DAYS[0])
    events = completed(told_world, "pinnersage_daily")
    found = {
        (e["job"]["name"].partition(".")[2], *map(tuple, named(told_world, e))) for e in events
    }
    assert found == {(task, tuple(r), tuple(w)) for task, (r, w) in DAILY.items()}
    assert {d["namespace"] for e in events for d in e["inputs"] + e["outputs"]} == {"file"}

    clusters = [e for e in events if e["job"]["name"].endswith(".cluster")]
    buckets = [partitions(e["outputs"][0])[0]["dimensions"] for e in clusters]
    day = DAYS[0].isoformat()
    assert sorted(b["bucket"] for b in buckets) == ["0", "1"]
    assert {b["day"] for b in buckets} == {day}
    actions = next(d for d in clusters[0]["inputs"] if d["name"].endswith("lake/actions"))
    assert len(partitions(actions)) == 90
    assert partitions(actions)[-1]["dimensions"] == {"day": day}
    (manifest,) = (told_world.home / f"lake/actions/day={day}/manifests").glob("*.json")
    assert partitions(actions)[-1]["identifier"] == manifest.stem


def partitions(dataset):
    """Which part of a dataset an event is about."""
    told = dataset.get("inputFacets", {}) | dataset.get("outputFacets", {})
    condition = told["subset"]
    return condition.get("inputCondition", condition.get("outputCondition"))["partitions"]


def test_every_task_of_an_index_names_what_it_read_and_wrote(told_world):
    python(RUN_DAYS, told_world.home, DAYS[0])
    told_world.dags_test("pinnersage_index", DAYS[0])
    events = completed(told_world, "pinnersage_index")
    found = {e["job"]["name"].partition(".")[2]: named(told_world, e) for e in events}
    assert found == INDEX


def test_a_task_that_failed_names_no_table_that_it_did_not_write(told_world):
    told_world.dags_test("pinnersage_daily", DAYS[0] + timedelta(days=2000), check=False)
    text = (told_world.home / "events.jsonl").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    (failed,) = [
        e for e in events if e["job"]["name"].endswith(".stage") and e["eventType"] == "FAIL"
    ]
    assert (failed.get("inputs", []), failed.get("outputs", [])) == ([], [])
    assert "no Parquet file there" in failed["run"]["facets"]["errorMessage"]["message"]
