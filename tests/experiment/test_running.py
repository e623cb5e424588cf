"""Running: whoever recommends does not wait for the lake, and nothing is lost unsaid."""

import threading
from datetime import timedelta

import pytest
from events import DAY, changed
from shows import ARMS, NAME

from pinnersage import retrieve
from pinnersage.errors import TransientError
from pinnersage.experiment import assign, exposures, running
from pinnersage.experiment.running import Member, Popular, Running
from pinnersage.extract import start_of
from pinnersage.retrieve import Recommendation, Wishes
from pinnersage.stores import open_lake

AT = start_of(DAY) + timedelta(hours=1)
LATER = 3_600.0
"""Seconds between writes: only what a test asks for is written."""


class Told:
    """What a program was told."""

    def __init__(self):
        self.written = self.lost = 0

    def note_written(self, n):
        self.written += n

    def note_lost(self, n):
        self.lost += n


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def experiment(home, told):
    return Running(home(), told.note_written, told.note_lost, LATER)


def made(user="a", n=3):
    """A recommendation."""
    return Recommendation(
        user_id=user, release=3, allocation="proportional", draw=0, medoids=[20, 21],
        pin_ids=list(range(n)), cosines=[0.5] * n, brought_by=[0] * n, searched=frozenset(),
        came_from=["batch"] * 2, n_online=0,
    )  # fmt: skip


def note(experiment, user, hours=1):
    experiment.shown(experiment.member(user), made(user), AT + timedelta(hours=hours))


def in_lake(experiment):
    import pyarrow.parquet as pq

    paths = open_lake(experiment._settings).log_paths("exposures", DAY)
    return sorted(user for path in paths for user in pq.read_table(path)["user_id"].to_pylist())


@pytest.fixture
def away(monkeypatch):
    """A lake that cannot be written until the fixture's answer is called."""

    def refuse(*_):
        raise TransientError("the lake is away")

    with monkeypatch.context() as patched:
        patched.setattr(exposures, "append", refuse)
        yield patched.undo


@pytest.mark.parametrize(("user", "asked", "known"), [(str, "007", "007"), (int, "007", 7)])
def test_a_member_is_called_as_the_lake_calls_them(home, user, asked, known):
    experiment = Running(home(user=user))
    member = experiment.member(asked)
    assert member == Member(known, assign.arm_of(experiment.config, str(known)))


def test_what_cannot_be_a_user_takes_no_part(home):
    experiment = Running(home(user=int))
    assert experiment.member("u7") is None
    assert experiment.member(10**30) is None


def test_a_user_beyond_the_shares_takes_no_part(home):
    few = [{**arm, "share": 0.0001} for arm in ARMS]
    experiment = Running(home(arms=few))
    outside = next(user for user in map(str, range(99)) if assign.place_of(NAME, user) > 1)
    assert experiment.member(outside) is None


def test_wishes_are_those_of_the_arm(experiment):
    control, all_medoids = experiment.config.arms
    assert running.wishes(Member("a", control)) == Wishes(allocation="equal", n_medoids=1)
    assert running.wishes(Member("a", all_medoids)) == Wishes(allocation="proportional")
    assert running.wishes(None) == Wishes()


def test_an_arm_with_one_medoid_asks_one(finished):
    settings = changed(finished, experiment={"name": NAME, "arms": ARMS})
    experiment = Running(settings)
    with retrieve.open_live(settings) as reader:
        users = [key.decode() for key, _ in reader.profiles.items()]
        several = [user for user in users if len(reader.profile(user)) > 3]
        asked = {}
        for user in several:
            member = experiment.member(user)
            found = reader.recommend(user, wishes=running.wishes(member))
            asked.setdefault(member.arm.name, []).append(len(found.medoids))
    assert set(asked["control"]) == {1}
    assert min(asked["all"]) > 3


def test_what_is_noted_is_written_at_the_end(experiment, told):
    with experiment:
        note(experiment, "a")
        note(experiment, "b")
        assert in_lake(experiment) == []
    assert in_lake(experiment) == ["a", "b"]
    assert (told.written, told.lost) == (2, 0)


def test_it_is_written_every_so_often(home, told):
    wrote = threading.Event()

    def note_written(n):
        told.note_written(n)
        wrote.set()

    with Running(home(), note_written, told.note_lost, 0.01) as experiment:
        note(experiment, "a")
        assert wrote.wait(30)
        assert in_lake(experiment) == ["a"]


def test_a_full_batch_is_written_at_once(home, told, monkeypatch):
    monkeypatch.setattr(running, "BATCH", 3)
    wrote = threading.Event()
    with Running(home(), lambda _: wrote.set(), told.note_lost, LATER) as experiment:
        for user in "abc":
            note(experiment, user)
        assert wrote.wait(30)


def test_popular_pins_are_noted_as_such(experiment):
    import pyarrow.parquet as pq

    with experiment:
        experiment.shown(experiment.member("a"), Popular(3, 5, [11, 12]), AT)
    (path,) = open_lake(experiment._settings).log_paths("exposures", DAY)
    (row,) = pq.read_table(path).to_pylist()
    assert (row["medoids"], row["candidates"], row["brought_by"]) == ([], [11, 12], [-1, -1])
    assert (row["release"], row["draw"]) == (3, 5)


def test_what_cannot_be_written_waits(experiment, told, away, caplog):
    note(experiment, "a")
    experiment.flush()
    assert "cannot be written now" in caplog.text
    assert (told.written, told.lost) == (0, 0)
    away()
    note(experiment, "b")
    experiment.flush()
    assert in_lake(experiment) == ["a", "b"]
    assert told.written == 2


@pytest.mark.usefixtures("away")
def test_what_can_never_be_written_is_counted_and_logged(experiment, told, caplog):
    note(experiment, "a")
    note(experiment, "b")
    experiment.close()
    assert (told.written, told.lost) == (0, 2)
    assert "2 exposures are lost" in caplog.text
    assert "See runbook: exposures not written." in caplog.text


@pytest.mark.usefixtures("away")
def test_no_more_than_a_limit_waits_and_the_rest_is_counted(experiment, told, monkeypatch, caplog):
    monkeypatch.setattr(running, "MOST", 5)
    for n in range(7):
        note(experiment, f"u{n}")
    assert told.lost == 2
    experiment.flush()
    assert "2 exposures are lost: 5 waited already" in caplog.text
    assert len(experiment._waiting) == 5


def test_what_comes_during_a_failed_write_does_not_raise_the_limit(experiment, told, monkeypatch):
    monkeypatch.setattr(running, "MOST", 2)

    def refuse(*_):
        note(experiment, "late")
        raise TransientError("the lake is away")

    monkeypatch.setattr(exposures, "append", refuse)
    note(experiment, "a")
    note(experiment, "b")
    experiment.flush()
    assert [one.user_id for one in experiment._waiting] == ["a", "b"]
    assert told.lost == 1


def test_threads_may_share_it(experiment, told, monkeypatch):
    monkeypatch.setattr(running, "BATCH", 10)

    def many(first):
        for n in range(first, first + 50):
            note(experiment, f"u{n}")

    with experiment:
        threads = [threading.Thread(target=many, args=(first,)) for first in range(0, 200, 50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert in_lake(experiment) == sorted(f"u{n}" for n in range(200))
    assert (told.written, told.lost) == (200, 0)
