"""Releases: they change under load, and no answer fails or mixes two of them."""

import dataclasses
import http.client
import itertools
import os
import signal
import threading
import time

import numpy as np
import pytest
from served import free_port, running
from worlds import DAY, clock

from pinnersage import release, retrieve
from pinnersage.release import Index, Medoids, Releases
from pinnersage.serve import live
from pinnersage.stores import embeddings, open_keyvalue, open_lake, open_vectors
from pinnersage.stores.packing import Profile, key_of, pack

USERS = [f"u{i}" for i in range(12)]
CONNECTIONS, REFRESHES, ROLLBACKS = 16, 10, 5
KILLS = int(os.environ.get("CHAOS_KILLS", "4"))


class Refreshes:
    """A home to which releases of other medoids and of another index are added by hand."""

    def __init__(self, settings):
        self.settings = settings
        self.table = embeddings.open_valid(open_lake(settings), DAY)
        self.releases = Releases(settings)

    def add(self, number):
        """Profiles and an index of this number's own chance, live at once."""
        rng = np.random.default_rng(number)
        version = self.table.version
        ids = self.table.pin_ids.to_numpy()
        items = [(key_of(user), pack(profile(rng.choice(ids, 3, replace=False)))) for user in USERS]
        keyvalue = f"{DAY}-{number:016x}"
        about = {"embeddings": version, "popular": rng.choice(ids, 20, replace=False).tolist()}
        open_keyvalue(self.settings).write(keyvalue, items, about)
        rows = np.sort(rng.choice(len(ids), len(ids) // 2, replace=False))
        index = f"{number:016x}"
        open_vectors(self.settings).build(
            index, rows, self.table.matrix[rows], {"embeddings": version}
        )
        medoids = Medoids(day=DAY, manifest="m", keyvalue=keyvalue, embeddings=version)
        made = Index(day=DAY, version=index, embeddings=version)
        with self.releases.locked():
            self.releases.move(medoids, made, self.releases.pointer(), "made by hand", clock)

    def answers(self, number, index_of=None):
        """What a release must answer, by user; with the index of another: what it must not."""
        made = self.releases.get(number)
        if index_of:
            made = made.model_copy(update={"index": self.releases.get(index_of).index})
        context = retrieve.open_context(self.settings)
        with retrieve.open_release(made, self.settings, context) as reader:
            return {
                user: [(c.pin_id, c.cosine) for c in reader.recommend(user).candidates]
                for user in USERS
            } | {"nobody": [(pin, None) for pin in reader.popular()]}


def profile(pins):
    """A user of three clusters."""
    zeros = np.zeros(3, np.float32)
    return Profile(
        pins, np.array([3.0, 2.0, 1.0]), np.ones(3, np.uint32), zeros, zeros.astype(np.int64)
    )


@pytest.fixture
def refreshes(home):
    made = Refreshes(home)
    made.add(100)
    return made


def ask_until(end, service, asked, seen, errors):
    """Ask over one connection, one user after another; keep every answer."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    try:
        for user in asked:
            if end.is_set():
                return
            status, body = service.get(f"/v1/recommendations?user={user}", connection)
            found = tuple((c["pin_id"], c["cosine"]) for c in body.get("candidates", []))
            seen.append((status, body.get("release"), user, found))
    except OSError as error:
        errors.append(error)
    finally:
        connection.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_refreshes_and_rollbacks_under_load_lose_no_request_and_mix_nothing(refreshes, workers):
    settings, end, seen, errors = refreshes.settings, threading.Event(), [], []
    with running(settings, PINNERSAGE__SERVICE__WORKERS=str(workers)) as service:
        threads = [
            threading.Thread(
                target=ask_until,
                args=(end, service, itertools.cycle([*USERS[i % 3 :], "nobody"]), seen, errors),
            )
            for i in range(CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        for n in range(REFRESHES):
            refreshes.add(101 + n)
            time.sleep(live.SECONDS)
            if n % (REFRESHES // ROLLBACKS):
                release.rollback(clock, settings)
                time.sleep(live.SECONDS)
        time.sleep(2 * live.SECONDS)
        end.set()
        for thread in threads:
            thread.join(60)
        _, last = service.get("/ready")

    assert not errors
    assert {status for status, *_ in seen} == {200}
    assert last["release"] == refreshes.releases.live().number
    numbers = {number for _, number, *_ in seen}
    assert len(numbers) > REFRESHES // 2, "the load saw releases come and go"
    expected = {number: refreshes.answers(number) for number in numbers}
    for _, number, user, found in seen:
        assert list(found) == expected[number][user]
    two = sorted(numbers)[:2]
    assert refreshes.answers(two[0], index_of=two[1])["u0"] not in (
        expected[two[0]]["u0"],
        expected[two[1]]["u0"],
    ), "a mix would be another answer"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_that_is_killed_is_back_on_its_port_with_the_live_release(
    refreshes, workers, record_property
):
    port, seconds = free_port(), []
    for n in range(1 + KILLS // 2):
        refreshes.add(200 + n)
        count = str(workers)
        with running(refreshes.settings, port=port, PINNERSAGE__SERVICE__WORKERS=count) as service:
            seconds.append(service.seconds)
            status, found = service.get("/v1/recommendations?user=u1")
            assert (status, found["release"]) == (200, refreshes.releases.live().number)
            os.kill(service.process.pid, signal.SIGKILL)
            service.process.wait()
    record_property("seconds from start to first answer", np.round(seconds, 1).tolist())


def test_a_service_that_is_stopped_ends_what_it_began(refreshes):
    seen, errors = [], []
    with running(refreshes.settings) as service:
        end = threading.Event()
        asking = threading.Thread(
            target=ask_until, args=(end, service, itertools.cycle(USERS), seen, errors)
        )
        asking.start()
        time.sleep(1)
        service.process.terminate()
        code = service.process.wait(20)
        asking.join(20)
    assert code in {0, -signal.SIGTERM}
    assert {status for status, *_ in seen} == {200}
    assert "Traceback" not in service.log.read_text()


# --- in this process -----------------------------------------------------------------------------


@pytest.fixture
def following(refreshes):
    made = live.Live(refreshes.settings, retrieve.open_context(refreshes.settings), seconds=0.02)
    made.start()
    yield made
    made.close()


def wait_for(true):
    for _ in range(500):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to pass")


def test_a_request_ends_with_the_release_that_it_began_with(refreshes, following):
    first = following.release
    with following.reader() as reader:
        before = reader.recommend("u1")
        refreshes.add(101)
        wait_for(lambda: following.release.number == first.number + 1)
        refreshes.add(102)
        wait_for(lambda: following.release.number == first.number + 2)
        again = reader.recommend("u1")
    assert dataclasses.replace(before, searched=again.searched) == again
    assert reader.release == first
    with pytest.raises(Exception, match="closed"):
        reader.recommend("u1")


def test_a_release_that_cannot_be_opened_leaves_the_one_before_in_service(refreshes, following):
    first = following.release
    broken = first.medoids.model_copy(update={"keyvalue": "gone"})
    with refreshes.releases.locked():
        refreshes.releases.move(broken, first.index, refreshes.releases.pointer(), "", clock)
    wait_for(lambda: following.problem)
    with following.reader() as reader:
        assert reader.release == first
        assert reader.recommend("u1").candidates

    refreshes.add(103)

    wait_for(lambda: not following.problem)
    assert following.release.number == first.number + 2


def test_it_closes_after_the_last_request_and_leaves_no_thread(refreshes):
    following = live.Live(refreshes.settings, retrieve.open_context(refreshes.settings), 0.02)
    following.start()
    with following.reader() as reader:
        following.close()
        assert reader.recommend("u1").candidates
    assert not [t for t in threading.enumerate() if t.name == "follow-release"]
    with pytest.raises(Exception, match="closed"):
        reader.profile("u1")


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), KeyError("about")])
def test_whatever_goes_wrong_while_looking_it_is_told_and_it_goes_on(
    refreshes, following, monkeypatch, error
):
    read = Releases.live

    def fails(_self):
        raise error

    monkeypatch.setattr(Releases, "live", fails)
    wait_for(lambda: following.problem)
    assert str(error) in following.problem
    monkeypatch.setattr(Releases, "live", read)
    refreshes.add(104)
    wait_for(lambda: following.release.number == refreshes.releases.live().number)
    wait_for(lambda: not following.problem)


def test_a_release_that_opens_and_cannot_be_searched_leaves_nothing_open(
    refreshes, following, monkeypatch
):
    closed = []
    close = retrieve.Reader.close
    monkeypatch.setattr(
        retrieve.Reader, "close", lambda self: (closed.append(self.release.number), close(self))
    )
    monkeypatch.setattr(retrieve.Reader, "similar", lambda *_: 1 / 0)
    first = following.release.number
    refreshes.add(105)
    wait_for(lambda: len(closed) > 2)
    assert set(closed) == {first + 1}
    assert following.release.number == first


def test_a_release_without_an_index_answers_what_needs_none(refreshes):
    bare = refreshes.releases.live()
    with refreshes.releases.locked():
        refreshes.releases.move(bare.medoids, None, refreshes.releases.pointer(), "", clock)
    following = live.Live(refreshes.settings, retrieve.open_context(refreshes.settings), 0.02)
    following.start()
    try:
        with following.reader() as reader:
            assert reader.release.index is None
            assert len(reader.profile("u1")) == 3
    finally:
        following.close()


def test_what_a_killed_service_counted_with_is_swept_by_the_next(refreshes):
    folder = refreshes.settings.home / "service"
    for _ in range(3):
        with running(refreshes.settings, PINNERSAGE__SERVICE__WORKERS="2") as service:
            here = [path for path in folder.iterdir() if path.name.startswith(".aside")]
            os.kill(service.process.pid, signal.SIGKILL)
            service.process.wait()
    assert len(here) == 1
