"""Latest: a state for whoever asks, whatever is wrong with the store."""

import logging
import socket
import threading

import pytest

from pinnersage.errors import DataError, TransientError
from pinnersage.online import state
from pinnersage.online.latest import PAUSE, Latest
from pinnersage.online.state import Action
from pinnersage.stores.redis_states import RedisStates

ONE = (Action(7, "p1", state.event_of("e1")),)
WHO = "u-who-must-not-be-named"


class Store:
    """States in a dictionary, which can be away."""

    def __init__(self):
        self.values, self.away, self.asked, self.closed = {}, False, 0, 0

    def get_many(self, keys):
        self.asked += 1
        if self.away:
            raise TransientError("store x does not answer. Try again.")
        return [self.values.get(key) for key in keys]

    def close(self):
        self.closed += 1


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def seconds():
    return [100.0]


@pytest.fixture
def latest(store, seconds):
    return Latest(lambda: store, lambda: seconds[0])


def test_a_user_has_the_state_that_is_stored_and_others_an_empty_one(latest, store):
    store.values[b"7"] = state.pack(ONE)

    assert latest.of(7) == latest.of("7") == ONE
    assert latest.of("nobody") == ()
    assert latest.failures == 0


def test_a_store_that_is_away_is_left_alone_for_a_while_counted_and_logged(
    latest, store, seconds, caplog
):
    store.away = True
    with caplog.at_level(logging.WARNING):
        assert [latest.of(WHO) for _ in range(3)] == [None] * 3
    assert (store.asked, latest.failures) == (1, 1)
    assert caplog.text.count("store x does not answer") == 1
    assert "See runbook: online states away." in caplog.text
    assert WHO not in caplog.text

    store.away = False
    seconds[0] += PAUSE - 0.1
    assert latest.of("ann") is None
    seconds[0] += 0.2
    assert latest.of("ann") == ()


def test_a_redis_that_is_not_there_costs_what_was_done_since_and_no_answer():
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        port = nobody_listens.getsockname()[1]
        latest = Latest(lambda: RedisStates(f"redis://127.0.0.1:{port}"))
        assert latest.of("ann") is None
        latest.close()
    assert latest.failures == 1


def test_a_store_that_could_not_be_opened_is_opened_later(store, seconds):
    away = [True]

    def open_states():
        if away:
            away.clear()
            raise TransientError("no disk. Try again.")
        return store

    latest = Latest(open_states, lambda: seconds[0])
    assert latest.of("ann") is None
    seconds[0] += PAUSE
    assert latest.of("ann") == ()
    assert latest.states() is store, "opened once"


def test_a_damaged_state_counts_as_empty(latest, store):
    store.values[b"ann"] = b"no state"
    assert latest.of("ann") == ()
    assert latest.failures == 0


def test_what_can_be_no_user_is_refused_and_not_taken_for_a_store_that_is_away(latest):
    with pytest.raises(DataError, match="as UTF-8"):
        latest.of("x" * 600)
    assert latest.failures == 0


def test_it_closes_what_it_opened_once(latest, store):
    latest.close()
    latest.of("ann")
    latest.close()
    latest.close()
    assert store.closed == 1


def test_when_a_pause_ends_one_thread_asks_for_all(latest, store, seconds):
    store.away = True
    assert latest.of("ann") is None
    seconds[0] += PAUSE
    inside, go = threading.Event(), threading.Event()

    def slow(_keys):
        store.asked += 1
        inside.set()
        go.wait(30)
        raise TransientError("still away")

    store.get_many = slow
    prober = threading.Thread(target=latest.of, args=("ann",))
    prober.start()
    assert inside.wait(30)
    assert [latest.of("bob") for _ in range(5)] == [None] * 5
    go.set()
    prober.join()
    assert (store.asked, latest.failures) == (2, 2)
