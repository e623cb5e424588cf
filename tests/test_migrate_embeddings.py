"""Embeddings migrate: built beside the old, live in one move, and all the way back.

Through the steps that people take: an import, a day's run, a rollback, a promotion.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pytest
from worlds import DAY, clock, items_of, source_of

from pinnersage import day as whole
from pinnersage import init, maintain, online, release, retrieve
from pinnersage.errors import DataError
from pinnersage.extract import end_of
from pinnersage.online.current import clusters_of, micros
from pinnersage.online.state import Action, event_of, merged, pack
from pinnersage.release import Releases
from pinnersage.retrieve import as_ids
from pinnersage.stores import embeddings, open_lake, open_states
from pinnersage.stores.packing import key_of

NEXT = DAY + timedelta(days=1)
AFTER = DAY + timedelta(days=2)


class Live(NamedTuple):
    """What readers read, and an answer that it gives."""

    release: int
    medoids: str
    index: str
    embeddings: str
    answer: list


def live_of(settings, user):
    """The live release, read whole; what is made with other embeddings would be refused."""
    with retrieve.open_live(settings) as reader:
        made = {
            reader.release.embeddings, reader.profiles.about["embeddings"],
            reader.index.about["embeddings"], reader.embeddings.version,
        }  # fmt: skip
        assert len(made) == 1
        answer = [(c.pin_id, c.cosine) for c in reader.recommend(user, draw=3).candidates]
        found = reader.release
        return Live(
            found.number, found.medoids.keyvalue, found.index.version, found.embeddings, answer
        )


@pytest.fixture
def user(finished):
    with retrieve.open_live(finished) as reader:
        return next(iter(reader.profiles.items()))[0].decode()


@pytest.fixture
def bring(finished, tiny, tmp_path):
    """Import other vectors for the same pins, valid from a day on; return their version."""

    def import_from(day, seed=1):
        old = np.load(tiny / "embeddings.npy").astype(np.float32)
        noise = np.random.default_rng(seed).normal(size=old.shape).astype(np.float32)
        other = np.roll(old, seed, axis=1) + 0.05 * noise
        path = tmp_path / f"other-{seed}.npy"
        np.save(path, other / np.linalg.norm(other, axis=1, keepdims=True))
        items = items_of(tiny).model_copy(update={"embeddings": str(path)})
        report = init.run(finished.home, source_of(tiny), items, valid_from=day)
        return report.embeddings.version

    return import_from


def run_watched(day, settings, user):
    """Run a day; what was live after each step, in the steps' order."""
    seen = {}

    def look(step, _report):
        seen[step] = live_of(settings, user)

    whole.run(day, clock, settings, look)
    return seen


@pytest.mark.parametrize("day", [DAY, NEXT], ids=["the_day_that_is_live", "the_next_day"])
def test_a_migration_goes_live_in_one_move_and_all_the_way_back(finished, bring, user, day):
    before, moves = live_of(finished, user), len(Releases(finished).history())
    version = bring(day)
    assert version != before.embeddings
    assert live_of(finished, user) == before

    seen = run_watched(day, finished, user)

    new = seen.pop("release index")
    assert all(was == before for was in seen.values()), "one move, at the end"
    assert new.embeddings == version
    assert (new.medoids != before.medoids, new.index != before.index) == (True, True)
    assert new.answer != before.answer
    assert len(Releases(finished).history()) == moves + 1

    back = release.rollback(clock, finished)

    assert f"pinnersage withdraw {version}" in back.why
    assert live_of(finished, user) == before
    assert release.promote(day, clock, finished).moved
    again = live_of(finished, user)
    assert again._replace(release=new.release) == new
    assert release.rollback(clock, finished).moved
    assert live_of(finished, user) == before


def test_the_old_release_stays_whole_while_the_new_one_waits_through_maintenance(
    finished, bring, user
):
    before = live_of(finished, user)
    bring(NEXT)

    def stop(step, _report):
        if step == "release":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        whole.run(NEXT, clock, finished, stop)
    maintain.run(datetime(2100, 1, 1, tzinfo=UTC), finished, dry_run=False)

    assert live_of(finished, user) == before
    new = run_watched(NEXT, finished, user)["release index"]
    assert new.embeddings != before.embeddings
    maintain.run(datetime(2100, 1, 1, tzinfo=UTC), finished, dry_run=False)
    release.rollback(clock, finished)
    assert live_of(finished, user) == before


def test_after_a_rollback_later_days_wait_until_the_new_embeddings_are_withdrawn(
    finished, bring, user
):
    before = live_of(finished, user)
    version = bring(NEXT)
    whole.run(NEXT, clock, finished, lambda *_: None)
    release.rollback(clock, finished)

    whole.run(AFTER, clock, finished, lambda *_: None)
    assert live_of(finished, user) == before, "made with what was rolled back, it waits"

    assert embeddings.withdraw(open_lake(finished), version) == before.embeddings
    whole.run(AFTER, clock, finished, lambda *_: None)

    live = live_of(finished, user)
    assert Releases(finished).live().medoids.day == AFTER
    assert (live.embeddings, live.index) == (before.embeddings, before.index)


def test_a_withdrawn_version_can_be_promoted_and_imported_again(finished, bring, user):
    version = bring(NEXT)
    new = run_watched(NEXT, finished, user)["release index"]
    release.rollback(clock, finished)
    lake = open_lake(finished)
    embeddings.withdraw(lake, version)
    assert embeddings.withdraw(lake, version) != version, "again changes nothing"

    release.promote(NEXT, clock, finished)
    assert live_of(finished, user).answer == new.answer
    assert embeddings.valid_at(lake, "embeddings", NEXT).partition["version"] != version
    assert bring(NEXT) == version
    assert embeddings.valid_at(lake, "embeddings", NEXT).partition["version"] == version


def test_the_only_version_of_its_days_cannot_be_withdrawn(finished, bring):
    lake = open_lake(finished)
    first = embeddings.valid_at(lake, "embeddings", DAY).partition["version"]
    bring(NEXT)

    with pytest.raises(DataError, match="none would be valid on 2026-01-01"):
        embeddings.withdraw(lake, first)
    with pytest.raises(DataError, match="No embeddings of version nothing"):
        embeddings.withdraw(lake, "nothing")

    assert embeddings.valid_at(lake, "embeddings", DAY).partition["version"] == first


def test_a_migration_takes_todays_actions_with_it_and_a_rollback_gives_them_back(
    finished, bring, user
):
    """The state names pins, so vectors are those of whatever release answers, in one move."""
    now = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=3)

    def seen():
        with retrieve.open_live(finished) as reader:
            return reader.release.embeddings, reader.current(user, now)

    with retrieve.open_live(finished) as reader:
        stored = {str(pin) for pin in reader.profile(user).pin_ids}
        pins = [str(pin) for pin in reader.embeddings.pin_ids.to_pylist()]
    acted = [pin for pin in pins if pin not in stored][:6]
    start = micros(now - timedelta(hours=1))
    latest = [Action(start + n, pin, event_of(pin)) for n, pin in enumerate(acted)]
    with open_states(finished) as states:
        states.change([key_of(user)], lambda _: {key_of(user): pack(merged((), latest, 20))})
    version, before = seen()
    assert [action.pin for action in before.actions] == acted

    new = bring(DAY)
    assert seen()[1].profile.pin_ids.tolist() == before.profile.pin_ids.tolist()
    run_watched(DAY, finished, user)
    now_live, after = seen()
    assert now_live == new != version
    assert [action.pin for action in after.actions] == acted
    with retrieve.open_live(finished) as reader:
        table, profile = reader.embeddings, reader.profile(user)
    twin = online.update(
        clusters_of(profile, micros(end_of(DAY)), table),
        online.Actions(table.rows_of(as_ids(acted, table)), np.arange(len(acted)) + start),
        micros(now),
        embeddings=table.matrix,
        merge_threshold=finished.model.merge_threshold,
        decay_per_day=finished.model.decay_per_day,
    )
    assert after.profile.pin_ids.tolist() == table.pin_ids.take(twin.rows).to_pylist()
    assert np.array_equal(after.profile.importance, twin.importance)

    release.rollback(clock, finished)
    assert seen()[0] == version
    assert np.array_equal(seen()[1].profile.importance, before.profile.importance)
