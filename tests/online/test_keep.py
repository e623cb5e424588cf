"""Maintenance leaves only online states that count: not too old, readable, of nobody erased."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnersage import erase
from pinnersage.config import OnlineConfig, Settings
from pinnersage.online import keep, state
from pinnersage.online.events import EPOCH, MICROSECOND
from pinnersage.online.state import Action
from pinnersage.stores import open_states

NOW = datetime(2026, 8, 6, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, online=OnlineConfig(keep_days=7))


def acted(*ages):
    """A packed state whose actions were so many days before ``NOW``."""
    actions = [
        Action((NOW - timedelta(days=age) - EPOCH) // MICROSECOND, "p1", b"%16d" % i)
        for i, age in enumerate(ages)
    ]
    return state.pack(state.merged((), actions, 20))


def put(settings, **values):
    with open_states(settings) as states:
        named = {user.encode(): value for user, value in values.items()}
        states.change(list(named), lambda _: named)


def users(settings):
    with open_states(settings) as states:
        return {key.decode(): value for key, value in states.items()}


def forget(settings, user):
    """Order a user to be erased, and remove nothing of them."""
    erase.replaced(settings, lambda one: erase.with_order(one, user, "ann", "asked", NOW, "5a17"))


def test_a_state_goes_when_no_action_of_it_counts_any_more(settings):
    put(settings, new=acted(0, 30), last=acted(6.999), over=acted(7), old=acted(8, 9), none=acted())
    report = keep.run(NOW, settings, dry_run=False)
    assert (report.users, report.states, report.feedback) == (5, 3, 0)
    assert users(settings) == {"new": acted(0, 30), "last": acted(6.999)}
    assert keep.run(NOW, settings, dry_run=False).states == 0


def test_a_state_that_cannot_be_read_goes(settings):
    put(settings, cut=acted(0)[:-1], other=b"PS" + bytes(30), good=acted(0))
    assert keep.run(NOW, settings, dry_run=False).states == 2
    assert list(users(settings)) == ["good"]


def test_a_state_that_came_back_after_its_user_was_erased_goes(settings):
    put(settings, gone=acted(0), other=acted(0))
    forget(settings, "gone")
    assert keep.run(NOW, settings, dry_run=False).states == 1
    assert list(users(settings)) == ["other"]


def test_a_dry_run_says_what_would_go_and_changes_nothing(settings):
    put(settings, over=acted(8), new=acted(1))
    before = users(settings)
    with open_states(settings) as states:
        states.change([], dict, [json.dumps({"user_id": "new"}).encode()])
        report = keep.run(NOW, settings, dry_run=True)
        assert (report.users, report.states, report.feedback) == (2, 1, 0)
        assert len(states.oldest(10)) == 1
    assert users(settings) == before


def test_an_action_that_comes_meanwhile_keeps_the_state(settings):
    put(settings, over=acted(8))
    with open_states(settings) as states:

        class Busy:
            """A consumer is quicker between reading and removing."""

            items, get_many = states.items, states.get_many

            def change(self, keys, change):
                put(settings, over=acted(8, 0))
                states.change(keys, change)

        keep.sweep(Busy(), NOW, settings)
    assert users(settings) == {"over": acted(8, 0)}


def test_where_nothing_was_ever_online_nothing_is_made(settings):
    report = keep.run(NOW, settings, dry_run=False)
    assert (report.users, report.states, report.feedback) == (0, 0, 0)
    assert not (settings.home / "stores").exists()


@given(ages=st.lists(st.lists(st.integers(0, 14), max_size=3), max_size=30))
def test_what_stays_is_what_a_reader_could_show(tmp_path_factory, ages):
    settings = Settings(home=tmp_path_factory.mktemp("home"), online=OnlineConfig(keep_days=7))
    given_states = {f"u{i}": acted(*of_user) for i, of_user in enumerate(ages)}
    put(settings, **given_states)
    keep.PART, whole = 4, keep.PART
    try:
        keep.run(NOW, settings, dry_run=False)
    finally:
        keep.PART = whole
    shown = {f"u{i}" for i, of_user in enumerate(ages) if min(of_user, default=7) < 7}
    assert users(settings) == {user: given_states[user] for user in given_states if user in shown}
