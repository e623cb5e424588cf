"""Chaos: any step killed at any moment leaves a release that reads, and the next run succeeds.

``CHAOS_KILLS`` says how often each step is killed: a few times here, 50 in ``make chaos``.
"""

import os
import shutil
import time
import zlib
from datetime import timedelta

import numpy as np
import pytest
from children import ERASE, STEPS, WHOLE, copy, facts
from worlds import DAY

from pinnersage import config, erased, retrieve
from pinnersage.release import Releases
from pinnersage.stores import open_keyvalue, open_vectors
from pinnersage.stores.versions import Shelf

KILLS = int(os.environ.get("CHAOS_KILLS", "3"))
NEXT = DAY + timedelta(days=1)


def assert_readable(home, allowed, but=""):
    """The live release is one of those, and gives a user candidates; all but one may be read."""
    settings = config.load(home)
    live = Releases(settings).live()
    assert (live.medoids, live.index) in allowed
    with retrieve.open_live(settings) as reader:
        users = [key.decode() for key, _ in reader.profiles.items()]
        users = [user for user in users if user != but]
        assert all(reader.profile(user) for user in users)
        assert reader.recommend(users[0]).candidates


@pytest.mark.parametrize("step", [*STEPS, WHOLE])
def test_a_killed_step_leaves_the_old_release_or_the_new_and_the_next_run_succeeds(
    step, undisturbed, children, tmp_path
):
    before, expected, seconds = undisturbed[step]
    allowed = {facts(before)["live"], expected["live"]}
    if step == WHOLE:  # the day's medoids go live first, beside the old index
        allowed.add(undisturbed["release"][1]["live"])
    rng = np.random.default_rng(zlib.crc32(step.encode()))
    killed = tries = 0
    while killed < KILLS:
        tries += 1
        assert tries <= 5 * KILLS + 10, "the children end before they can be killed"
        home = tmp_path / str(tries)
        copy(before, home)
        # Every third is late: around the last write, the commit.
        kill_after = seconds * (rng.uniform(0.8, 1) if tries % 3 == 0 else rng.random())

        outcome = children.run(step, home, NEXT, kill_after=kill_after)

        assert outcome.ended in {"killed", "done"}, outcome
        killed += outcome.ended == "killed"
        seconds = min(seconds, outcome.seconds) if outcome.ended == "done" else seconds
        assert_readable(home, allowed)
        again = children.run(step, home, NEXT)
        assert again.ended == "done", (kill_after, again)
        assert facts(home) == expected, kill_after
        assert_readable(home, {expected["live"]})
        shutil.rmtree(home)


def test_a_killed_build_leaves_nothing_that_a_reader_takes_for_an_index(
    undisturbed, children, tmp_path
):
    before, _, seconds = undisturbed["index"]
    home = tmp_path / "home"
    copy(before, home)
    store = open_vectors(config.load(home))
    indexes = store.versions()

    outcome = children.run("index", home, NEXT, kill_after=seconds / 2)

    assert outcome.ended == "killed"
    assert store.versions() == indexes
    assert children.run("index", home, NEXT).ended == "done"
    assert len(store.versions()) == len(indexes) + 1
    shelf = Shelf(home / "stores" / "vectors")
    for _ in range(300):  # the orphaned builder needs a moment to see that nobody feeds it
        with shelf.aside() as aside:
            left = set(shelf.root.glob(".aside-*")) - {aside.path}
        if not left:
            break
        time.sleep(0.1)
    assert not left, "the next writer sweeps"


def test_a_killed_erasure_is_finished_by_giving_the_order_again(children, finished_home, tmp_path):
    before = facts(finished_home)
    store = open_keyvalue(config.load(finished_home))
    with store.open(store.versions()[0]) as reader:
        user = next(iter(reader.items()))[0].decode()
    whole = tmp_path / "whole"
    copy(finished_home, whole)
    outcome = children.run(ERASE + user, whole, NEXT)
    assert outcome.ended == "done", outcome
    expected, seconds = facts(whole), outcome.seconds
    assert expected["manifests"] != before["manifests"]
    assert user.encode() not in next(iter(expected["profiles"].values()))
    rng = np.random.default_rng(39)
    killed = tries = 0
    while killed < 3 * KILLS:
        tries += 1
        assert tries <= 15 * KILLS, "the children end before they can be killed"
        home = tmp_path / str(tries)
        copy(finished_home, home)
        outcome = children.run(ERASE + user, home, NEXT, kill_after=seconds * rng.random())
        killed += outcome.ended == "killed"
        assert_readable(home, {before["live"]}, but=user)
        assert children.run(ERASE + user, home, NEXT).ended == "done"
        assert facts(home) == expected
        assert not erased.read(config.load(home)).under_way
        assert_readable(home, {before["live"]}, but=user)
        shutil.rmtree(home)
