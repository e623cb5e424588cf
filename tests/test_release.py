"""Releases: what may go live, when, and the way back. On hand-made manifests and stores."""

import multiprocessing
import shutil
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from worlds import NOW, clock

from pinnersage import release
from pinnersage.config import Settings
from pinnersage.errors import DataError, TransientError
from pinnersage.release import Releases
from pinnersage.stores.lake import Lake, Manifest
from pinnersage.stores.lmdb_store import LmdbStore
from pinnersage.stores.versions import Shelf

ONE = date(2026, 3, 1)
TWO, THREE, FOUR = (ONE + timedelta(days=n) for n in (1, 2, 3))


class Home:
    """A home whose days are published and indexed by hand, in milliseconds."""

    def __init__(self, root, clock=clock):
        self.settings = Settings(home=root)
        self.clock = clock
        self.lake = Lake(root / "lake")
        self.keyvalue = LmdbStore(root / "stores" / "keyvalue")
        self.vectors = Shelf(root / "stores" / "vectors")
        self.releases = Releases(self.settings)

    def publish(self, day, embeddings="e1", content="a"):
        manifest = self.lake.commit(
            Manifest(
                table="medoids",
                partition={"day": day.isoformat()},
                content_hash=content,
                report={"embeddings": embeddings},
            )
        )
        about = {"embeddings": embeddings}
        self.keyvalue.write(f"{day}-{manifest.version}", [(b"user", b"value")], about)
        return f"{day}-{manifest.version}"

    def index(self, day, embeddings="e1", version=None):
        version = version or f"index-{day}"
        if version not in self.vectors:
            with self.vectors.aside() as aside:
                self.vectors.finish(aside, version, {"about": {"embeddings": embeddings}})
        self.lake.commit(
            Manifest(
                table="index",
                partition={"day": day.isoformat()},
                report={"version": version, "embeddings": embeddings},
            )
        )
        return version

    def release(self, day):
        return release.release_medoids(day, self.clock, self.settings)

    def release_index(self, day):
        return release.release_index(day, self.clock, self.settings)

    def rollback(self):
        return release.rollback(self.clock, self.settings)

    def promote(self, day):
        return release.promote(day, self.clock, self.settings)

    def day(self, day, **made):
        """A whole day: medoids and index, each released."""
        self.publish(day, **made)
        self.release(day)
        self.index(day, made.get("embeddings", "e1"))
        return self.release_index(day)

    @property
    def live(self):
        """Live (medoids' day, index' day)."""
        found = self.releases.live()
        return found and (found.medoids.day, found.index and found.index.day)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def test_nothing_is_live_before_the_first_release(home):
    assert home.releases.live() is None
    assert home.releases.all() == []


def test_a_newer_day_goes_live(home):
    home.day(ONE)

    assert home.publish(TWO)
    moved = home.release(TWO)

    assert moved.moved
    assert home.live == (TWO, ONE)
    assert moved.live.previous == 2


def test_an_older_day_never_replaces_a_newer_one_and_is_kept(home):
    home.day(TWO)
    kept = home.publish(ONE)

    moved = home.release(ONE)

    assert not moved.moved
    assert "older" in moved.why
    assert home.live == (TWO, TWO)
    assert kept in home.keyvalue.versions()


def test_the_live_day_corrected_goes_live_again(home):
    home.day(ONE)
    corrected = home.publish(ONE, content="b")

    moved = home.release(ONE)

    assert moved.moved
    assert moved.live.medoids.keyvalue == corrected
    assert moved.live.index.day == ONE


def test_releasing_what_is_live_is_no_move(home):
    home.day(ONE)
    before = home.releases.pointer()

    assert not home.release(ONE).moved
    assert not home.release_index(ONE).moved
    assert not home.promote(ONE).moved

    assert home.releases.pointer() == before
    assert len(home.releases.all()) == 2


def test_rollback_moves_medoids_and_index_at_once(home):
    home.day(ONE)
    home.publish(TWO)
    home.index(TWO)
    home.promote(TWO)
    assert home.live == (TWO, TWO)

    moved = home.rollback()

    assert moved.moved
    assert home.live == (ONE, ONE)
    pointer = home.releases.pointer()
    assert pointer.withdrawn_days == (TWO,)
    assert pointer.withdrawn_indexes == ("index-2026-03-02",)


@pytest.mark.parametrize("content", ["a", "b"], ids=["as it was", "computed again"])
def test_a_rolled_back_day_stays_withdrawn_until_promoted(home, content):
    home.day(ONE)
    home.publish(TWO)
    home.release(TWO)
    home.rollback()
    home.publish(TWO, content=content)

    refused = home.release(TWO)
    assert not refused.moved
    assert "promote 2026-03-02" in refused.why
    assert home.live == (ONE, ONE)

    assert home.promote(TWO).moved
    assert home.live == (TWO, ONE)
    assert home.releases.pointer().withdrawn_days == ()
    home.publish(TWO, content="c")
    assert home.release(TWO).moved


def test_a_withdrawn_day_does_not_keep_newer_ones_back(home):
    home.day(ONE)
    home.publish(TWO)
    home.release(TWO)
    home.rollback()
    home.publish(THREE)

    assert home.release(THREE).moved
    assert home.live == (THREE, ONE)
    home.rollback()
    assert home.live == (ONE, ONE)


def test_a_rolled_back_index_stays_withdrawn_until_promoted(home):
    home.day(ONE)
    home.index(TWO)
    home.release_index(TWO)
    home.rollback()
    assert home.live == (ONE, ONE)

    assert not home.release_index(TWO).moved
    home.index(THREE, version="index-2026-03-02")
    assert not home.release_index(THREE).moved, "the same index under another day"
    home.publish(TWO)
    assert home.release(TWO).live.index.day == ONE

    assert home.promote(TWO).moved
    assert home.live == (TWO, TWO)


def test_rollback_of_a_day_whose_index_changed_too_leaves_neither_live(home):
    home.day(ONE)
    home.day(TWO)

    home.rollback()

    assert home.live == (ONE, ONE)
    pointer = home.releases.pointer()
    assert pointer.withdrawn_days == (TWO,)
    assert pointer.withdrawn_indexes == ("index-2026-03-02",)


def test_rollback_to_a_number_can_take_the_index_back_alone(home):
    home.day(ONE)
    home.day(TWO)
    numbers = [one.number for one in home.releases.all()]

    moved = release.rollback(clock, home.settings, numbers[-2])

    assert moved.live.number == numbers[-2]
    assert home.live == (TWO, ONE)
    assert home.releases.pointer().withdrawn_days == ()
    with pytest.raises(DataError, match="does not lie on the way back"):
        release.rollback(clock, home.settings, 99)


def test_rollback_to_a_release_without_an_index_is_refused(home):
    home.day(ONE)

    with pytest.raises(DataError, match="has no index"):
        home.rollback()

    assert home.live == (ONE, ONE)


def test_rollback_without_a_release_before_is_refused(home):
    with pytest.raises(DataError, match="no release before"):
        home.rollback()
    home.publish(ONE)
    home.release(ONE)
    with pytest.raises(DataError, match="no release before"):
        home.rollback()


def test_promote_makes_an_older_day_live_with_its_own_index(home):
    home.day(ONE)
    home.day(TWO)
    home.publish(THREE)
    home.release(THREE)

    assert home.promote(ONE).moved

    assert home.live == (ONE, ONE)
    assert home.release(THREE).moved, "a newer day goes live as ever"


def test_promote_never_leaves_readers_without_an_index(home):
    home.day(ONE)
    home.publish(TWO, embeddings="e2")

    with pytest.raises(DataError, match="no index made with embeddings e2"):
        home.promote(TWO)

    assert home.live == (ONE, ONE)


def test_medoids_first_then_index(home):
    home.publish(ONE)
    assert home.release(ONE).moved
    assert home.live == (ONE, None)
    home.index(ONE)
    assert home.release_index(ONE).moved
    assert home.live == (ONE, ONE)


def test_index_first_then_medoids(home):
    home.index(ONE)
    assert not home.release_index(ONE).moved
    assert home.live is None
    home.publish(ONE)
    assert home.release(ONE).moved
    assert home.live == (ONE, ONE)
    assert len(home.releases.all()) == 1


def test_an_older_index_never_replaces_a_newer_one(home):
    home.day(TWO)
    home.index(ONE)

    assert not home.release_index(ONE).moved
    assert home.live == (TWO, TWO)


@pytest.mark.parametrize("medoids_first", [True, False])
def test_new_embeddings_go_live_once_and_only_with_both_halves(home, medoids_first):
    home.day(ONE)
    before = home.releases.live()
    halves = [
        (lambda: home.publish(TWO, embeddings="e2"), home.release),
        (lambda: home.index(TWO, "e2"), home.release_index),
    ]
    (make, move), (make_other, move_other) = halves if medoids_first else halves[::-1]

    make()
    waits = move(TWO)
    assert not waits.moved
    assert "e2" in waits.why
    assert home.releases.live() == before
    make_other()
    moved = move_other(TWO)

    assert moved.moved
    assert (moved.live.embeddings, moved.live.index.embeddings) == ("e2", "e2")
    assert moved.live.previous == before.number


def test_rollback_of_new_embeddings_goes_all_the_way_back(home):
    home.day(ONE)
    home.publish(TWO, embeddings="e2")
    home.release(TWO)
    home.index(TWO, "e2")
    home.release_index(TWO)

    home.rollback()

    live = home.releases.live()
    assert home.live == (ONE, ONE)
    assert (live.embeddings, live.index.embeddings) == ("e1", "e1")
    assert not home.release(TWO).moved
    assert not home.release_index(TWO).moved
    home.publish(THREE, embeddings="e2")
    assert not home.release(THREE).moved, "its only index is withdrawn"
    assert home.promote(TWO).moved
    assert home.live == (TWO, TWO)


def test_a_day_that_is_not_published_cannot_go_live(home):
    with pytest.raises(DataError, match="pinnersage publish --day 2026-03-01"):
        home.release(ONE)
    with pytest.raises(DataError, match="pinnersage publish --day 2026-03-01"):
        home.promote(ONE)
    with pytest.raises(DataError, match="pinnersage index --day 2026-03-01"):
        home.release_index(ONE)


def test_a_day_that_passed_again_and_is_not_published_again_does_not_go_live(home):
    home.day(ONE)
    home.lake.commit(
        Manifest(table="medoids", partition={"day": str(ONE)}, report={"embeddings": "e1"})
    )

    with pytest.raises(DataError, match="not published"):
        home.release(ONE)


@pytest.mark.parametrize("store", ["keyvalue", "vectors"])
def test_a_release_whose_stores_are_gone_is_refused(home, store):
    home.day(ONE)
    live = home.releases.live()
    home.publish(TWO)
    home.index(TWO)
    home.promote(TWO)
    gone = live.medoids.keyvalue if store == "keyvalue" else live.index.version
    getattr(home, store).drop(gone)

    with pytest.raises(DataError, match=f"{gone} is gone"):
        home.rollback()

    assert home.live == (TWO, TWO)


def test_a_damaged_record_is_named(home):
    home.day(ONE)
    (home.releases.storage.root / "live.json").write_text('{"live": 1')

    with pytest.raises(DataError, match=r"live\.json"):
        home.releases.live()


def test_a_crash_between_record_and_pointer_leaves_the_old_release_live(home, monkeypatch):
    home.day(ONE)
    home.publish(TWO)

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Releases, "point", crash)
        with pytest.raises(KeyboardInterrupt):
            home.release(TWO)

    assert home.live == (ONE, ONE)
    assert [one.number for one in home.releases.all()] == [1, 2, 3]
    assert home.release(TWO).live.number == 4
    assert home.live == (TWO, ONE)
    assert home.rollback().live.number == 2, "the orphan is nobody's way back"


def test_a_full_disk_is_an_error_that_may_pass(home, monkeypatch):
    home.day(ONE)
    home.publish(TWO)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pinnersage.stores.folder.write_atomically", full)
        with pytest.raises(TransientError, match="is full"):
            home.release(TWO)

    assert home.live == (ONE, ONE)
    assert home.release(TWO).moved


def many(root, what, days, start):
    """In a process of its own: release every day, one after the other."""
    settings = Settings(home=root)
    start.wait(30)
    for day in days:
        getattr(release, what)(day, clock, settings)


def test_two_processes_that_move_the_pointer_lose_nothing(home):
    days = [ONE + timedelta(days=n) for n in range(12)]
    home.day(ONE)
    for day in days:
        home.publish(day)
        home.index(day)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    processes = [
        context.Process(target=many, args=(home.settings.home, what, days, start))
        for what in ("release_medoids", "release_index")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0]
    assert home.live == (days[-1], days[-1])
    every = home.releases.all()
    assert len(every) == 2 + 2 * (len(days) - 1)
    assert [one.previous for one in every] == [None, *(one.number for one in every[:-1])]
    seen = [(one.medoids.day, one.index.day) for one in every[1:]]
    assert all(a <= b for one, two in pairwise(seen) for a, b in zip(one, two, strict=True))


def test_two_days_at_once_end_with_the_newest_live(home):
    """Whoever is first: a day each, released by processes that start together, again and again."""
    home.day(ONE)
    context = multiprocessing.get_context("spawn")
    days = [ONE + timedelta(days=n) for n in range(1, 41)]
    for day in days:
        home.publish(day)
    start = context.Barrier(2)
    processes = [
        context.Process(
            target=many, args=(home.settings.home, "release_medoids", days[half::2], start)
        )
        for half in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0]
    assert home.live == (days[-1], ONE)
    seen = [one.medoids.day for one in home.releases.all()]
    assert seen == sorted(seen), "no older day ever replaced a newer one"


class Steps(RuleBasedStateMachine):
    """Any order of publishing, indexing, rolling back and promoting, against a small model."""

    days = st.sampled_from([ONE, TWO, THREE, FOUR])

    @initialize()
    def make(self):
        import tempfile
        from pathlib import Path

        self.root = Path(tempfile.mkdtemp(prefix="releases-"))
        self.hours = 0
        self.home = Home(self.root, lambda: NOW + timedelta(hours=self.hours))
        self.contents = 0
        self.withdrawn = set()
        self.withdrawn_indexes = set()
        self.medoids = None  # live (day, version)
        self.index = None
        self.indexed = {}
        self.published = {}
        self.history = []  # what each live release came from

    @rule(day=days)
    def publish(self, day):
        self.contents += 1
        self.published[day] = self.home.publish(day, content=str(self.contents))
        moved = self.home.release(day)
        due = day not in self.withdrawn and (self.medoids is None or day >= self.medoids[0])
        assert moved.moved == due
        if due:
            fitting = [d for d in self.indexed if self.indexed[d] not in self.withdrawn_indexes]
            newest = (max(fitting), self.indexed[max(fitting)]) if fitting else None
            self.go((day, self.published[day]), self.index or newest)

    @rule(day=days)
    def build(self, day):
        self.contents += 1
        self.indexed[day] = self.home.index(day, version=f"i{self.contents}")
        moved = self.home.release_index(day)
        due = self.medoids is not None and (self.index is None or day >= self.index[0])
        assert moved.moved == due
        if due:
            self.go(self.medoids, (day, self.indexed[day]))

    @rule(day=days)
    def promote(self, day):
        if day not in self.published:
            with pytest.raises(DataError):
                self.home.promote(day)
            return
        self.withdrawn.discard(day)
        self.withdrawn_indexes.discard(self.indexed.get(day))
        fitting = [d for d in self.indexed if self.indexed[d] not in self.withdrawn_indexes]
        newest = (max(fitting), self.indexed[max(fitting)]) if fitting else None
        own = (day, self.indexed[day]) if day in self.indexed else self.index or newest
        medoids = (day, self.published[day])
        changes = medoids != self.medoids or (own and own[1]) != (self.index and self.index[1])
        assert self.home.promote(day).moved == changes
        if changes:
            self.go(medoids, own)

    @precondition(lambda self: self.medoids is not None)
    @rule()
    def roll_back(self):
        way = [self.history[-1]]
        while way[-1][2] is not None:
            way.append(way[-1][2])
            if way[-1][0] != self.medoids:
                break
        else:
            way = way[:2]
        before = way[-1] if len(way) > 1 else None
        if before is None or (self.index and before[1] is None):
            with pytest.raises(DataError):
                self.home.rollback()
            return
        self.home.rollback()
        for medoids, index, _ in way[:-1]:
            if medoids != before[0]:
                self.withdrawn.add(medoids[0])
            if index and (before[1] and before[1][1]) != index[1]:
                self.withdrawn_indexes.add(index[1])
        self.history.append(before)
        self.medoids, self.index = before[:2]

    def go(self, medoids, index):
        self.history.append((medoids, index, self.history[-1] if self.history else None))
        self.medoids, self.index = medoids, index

    @invariant()
    def agrees(self):
        if not hasattr(self, "home"):
            return
        self.hours += 1  # whatever happened had an hour of its own
        live, pointer = self.home.releases.live(), self.home.releases.pointer()
        if self.medoids is None:
            assert live is None
            return
        assert (live.medoids.day, live.medoids.keyvalue) == self.medoids
        moves = self.home.releases.history()
        assert [move.at for move in moves] == sorted({move.at for move in moves})
        went = [self.home.releases.get(move.live) for move in moves]
        assert [(one.medoids.day, one.medoids.keyvalue) for one in went] == [
            medoids for medoids, _, _ in self.history
        ]
        assert (live.index and live.index.version) == (self.index and self.index[1])
        assert set(pointer.withdrawn_days) == self.withdrawn
        assert set(pointer.withdrawn_indexes) == self.withdrawn_indexes
        release.require_present(live, self.home.settings)

    def teardown(self):
        if hasattr(self, "root"):
            shutil.rmtree(self.root)


TestSteps = Steps.TestCase
TestSteps.settings = hypothesis_settings(
    max_examples=12, stateful_step_count=20, deadline=None, derandomize=True
)
