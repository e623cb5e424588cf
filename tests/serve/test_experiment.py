"""Experiment: the service shows each user their arm's way, and what it showed is in the lake."""

import json
import threading

import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from served import NOW, bearer, running
from worlds import change

from pinnersage import config, erase
from pinnersage.errors import TransientError
from pinnersage.experiment import assign, exposures
from pinnersage.experiment.exposures import POPULAR
from pinnersage.retrieve import Wishes
from pinnersage.serve.app import make_app
from pinnersage.serve.live import Live
from pinnersage.stores import open_lake

EXPERIMENT = {
    "name": "home-feed",
    "arms": [
        {"name": "control", "share": 0.5, "allocation": "equal", "n_medoids": 1},
        {"name": "proportional", "share": 0.3, "allocation": "proportional"},
    ],
}
WISHES = {
    "control": Wishes(allocation="equal", n_medoids=1),
    "proportional": Wishes(allocation="proportional"),
    None: Wishes(),
}
PATH = "/v1/recommendations"


@pytest.fixture
def trying(home):
    """The home, with an experiment."""
    return change(home, experiment=EXPERIMENT)


@pytest.fixture
def opened(trying):
    """Open the service over it, for a reader; what it logged is in the lake when it closes."""
    return lambda: TestClient(make_app(trying, lambda: NOW), headers=bearer("ann"))


def logged(settings):
    """Every row of the log."""
    lake = open_lake(settings)
    paths = [
        path for day in lake.log_days("exposures") for path in lake.log_paths("exposures", day)
    ]
    rows = [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]
    return sorted(rows, key=lambda row: (row["user_id"], row["draw"]))


def arm_of(settings, user):
    arm = assign.arm_of(settings.experiment, str(user))
    return arm.name if arm else None


def test_each_user_gets_their_arms_way(opened, trying, reader, users):
    with opened() as client:
        found = {user: client.get(PATH, params={"user": user}).json() for user in users}
    assert {answer["arm"] for answer in found.values()} == {"control", "proportional", None}
    for user, answer in found.items():
        assert answer["arm"] == arm_of(trying, user)
        expected = reader.recommend(user, wishes=WISHES[answer["arm"]])
        assert answer["medoids"] == expected.medoids
        assert [one["pin_id"] for one in answer["candidates"]] == expected.pin_ids


def test_what_was_shown_is_logged_as_it_was(opened, trying, users):
    with opened() as client:
        body = {"users": users, "draw": 4, "explain": True}
        answer = client.post(PATH, json=body).json()
    shown = [one for one in answer["results"] if one["arm"]]
    rows = logged(trying)
    assert len(shown) == len(rows) < len(users)
    for one, row in zip(sorted(shown, key=lambda one: int(one["user"])), rows, strict=True):
        assert (row["user_id"], row["arm"]) == (int(one["user"]), one["arm"])
        assert (row["experiment"], row["shown_at"], row["draw"]) == ("home-feed", NOW, 4)
        assert row["release"] == answer["release"]
        assert row["share"] == {"control": 0.5, "proportional": 0.3}[row["arm"]]
        assert row["medoids"] == one["medoids"]
        assert row["candidates"] == [pin["pin_id"] for pin in one["candidates"]]
        by = [row["medoids"][place] for place in row["brought_by"]]
        assert by == [pin["medoid"] for pin in one["candidates"]]


def test_a_request_that_says_how_is_no_part_of_it(opened, trying, users):
    with opened() as client:
        answer = client.get(PATH, params={"user": users[0], "allocation": "round_robin"}).json()
    assert answer["arm"] is None
    assert logged(trying) == []


def test_a_user_of_whom_nothing_is_known_takes_part(opened, trying):
    user = next(n for n in range(1, 99) if arm_of(trying, n) == "control")
    with opened() as client:
        answer = client.get(PATH, params={"user": user}).json()
    (row,) = logged(trying)
    assert (answer["fallback"], answer["arm"], row["medoids"]) == (True, "control", [])
    assert row["candidates"] == [one["pin_id"] for one in answer["candidates"]]
    assert set(row["brought_by"]) == {POPULAR}


def test_a_service_that_cannot_start_leaves_no_thread_behind(opened, monkeypatch):
    def away(_self):
        raise TransientError("away")

    monkeypatch.setattr(Live, "start", away)
    with pytest.raises(TransientError, match="away"), opened():
        pass
    assert "write-exposures" not in {thread.name for thread in threading.enumerate()}


def test_what_cannot_be_a_user_of_this_lake_takes_no_part(opened, trying):
    with opened() as client:
        answer = client.get(PATH, params={"user": "nobody"}).json()
    assert (answer["arm"], logged(trying)) == (None, [])


def test_an_erased_user_is_not_logged(opened, trying, users):
    user = next(user for user in users if arm_of(trying, user))
    erase.run(user, "boss", "asked", NOW, "5a17", trying)
    with opened() as client:
        assert client.get(PATH, params={"user": user}).json()["fallback"]
    assert logged(trying) == []


def test_without_an_experiment_nothing_is_logged(home, client, users):
    assert client.get(PATH, params={"user": users[0]}).json()["arm"] is None
    assert not (home.home / "lake" / "exposures").exists()


def test_a_lake_that_is_away_fails_no_request_and_is_counted(opened, users, monkeypatch):
    def away(*_):
        raise TransientError("the lake is away")

    monkeypatch.setattr(exposures, "append", away)
    before = lost()
    with opened() as client:
        answers = [client.get(PATH, params={"user": user}) for user in users]
    assert {answer.status_code for answer in answers} == {200}
    taking_part = [answer for answer in answers if answer.json()["arm"]]
    assert lost() - before == len(taking_part) > 0


def lost():
    from pinnersage.serve import metrics

    return metrics.EXPOSURES_LOST._value.get()


@pytest.mark.slow
def test_several_processes_log_side_by_side_and_to_the_end(trying, users):
    lines = [f"{key} = {config._toml_value(getattr(trying.experiment, key))}"
             for key in ("name", "arms")]  # fmt: skip
    path = trying.home / config.FILE
    path.write_text("[experiment]\n" + "\n".join(lines) + without_section(path.read_text()))
    assert config.load(trying.home).experiment == trying.experiment
    expected = {}
    with running(trying, PINNERSAGE__SERVICE__WORKERS="2") as service:
        for draw in range(3):
            for user in users:
                status, answer = service.get(f"{PATH}?user={user}&draw={draw}")
                assert status == 200
                if answer["arm"]:
                    pins = [one["pin_id"] for one in answer["candidates"]]
                    expected[int(user), draw] = (answer["arm"], pins)
    rows = logged(trying)
    found = {(row["user_id"], row["draw"]): (row["arm"], row["candidates"]) for row in rows}
    assert found == expected
    assert len(rows) == len(expected)
    assert "lost" not in service.log.read_text()


def without_section(text):
    """A settings file less its experiment, to stand below another."""
    before, _, after = text.partition("[experiment]\n")
    rest = after.partition("\n\n")[2]
    return f"\n\n{before}{rest}"


def test_settings_can_come_from_the_environment(home, monkeypatch):
    monkeypatch.setenv("PINNERSAGE__EXPERIMENT__NAME", EXPERIMENT["name"])
    monkeypatch.setenv("PINNERSAGE__EXPERIMENT__ARMS", json.dumps(EXPERIMENT["arms"]))
    loaded = config.load(home.home)
    assert loaded.experiment == change(home, experiment=EXPERIMENT).experiment
