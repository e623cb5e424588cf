"""Neighbours that are remembered: the same in one process and in a Redis."""

import threading

import numpy as np
import pytest

from pinnersage.errors import ConfigError
from pinnersage.stores.neighbours import PAUSE, Memory, Near, Shared


def near(n, first=0):
    return Near(
        np.arange(first, first + n, dtype=np.int64), np.linspace(1, -1, n).astype(np.float32)
    )


def same(one, other):
    return np.array_equal(one.rows, other.rows) and np.array_equal(one.cosines, other.cosines)


@pytest.fixture(params=["memory", pytest.param("shared", marks=pytest.mark.service)])
def known(request):
    """Each implementation, empty."""
    if request.param == "memory":
        yield Memory(100)
        return
    shared = Shared(request.getfixturevalue("redis_url"))
    yield shared
    for key in shared._client.scan_iter("pinnersage:near:*"):
        shared._client.delete(key)


def test_what_was_found_is_known_and_nothing_else(known):
    assert known.get("i1", 11, [5, 7]) == [None, None]
    known.put("i1", 11, {5: near(3), 9: near(0)})
    five, seven, nine = known.get("i1", 11, [5, 7, 9])
    assert same(five, near(3))
    assert seven is None
    assert nine.rows.size == nine.cosines.size == 0
    assert (five.rows.dtype, five.cosines.dtype) == (np.int64, np.float32)


def test_another_index_or_depth_is_another_entry(known):
    known.put("i1", 11, {5: near(3)})
    assert known.get("i2", 11, [5]) == [None]
    assert known.get("i1", 12, [5]) == [None]


def test_hits_and_misses_are_counted(known):
    assert known.counts.hit_rate == 0
    known.put("i1", 11, {5: near(3)})
    known.get("i1", 11, [5, 5, 7])
    assert (known.counts.hits, known.counts.misses) == (2, 1)
    assert known.counts.hit_rate == pytest.approx(2 / 3)


def test_no_medoids_are_no_question(known):
    assert known.get("i1", 11, []) == []
    known.put("i1", 11, {})
    assert (known.counts.hits, known.counts.misses) == (0, 0)


def test_what_was_used_longest_ago_is_forgotten_first():
    known = Memory(2)
    known.put("i", 1, {1: near(1), 2: near(1)})
    known.get("i", 1, [1])
    known.put("i", 1, {3: near(1)})
    assert [found is not None for found in known.get("i", 1, [1, 2, 3])] == [True, False, True]
    assert len(known) == 2


def test_threads_may_share_it():
    known = Memory(50)

    def work(seed):
        rng = np.random.default_rng(seed)
        for row in rng.integers(200, size=500).tolist():
            (found,) = known.get("i", 1, [row])
            assert found is None or found.rows[0] == row
            known.put("i", 1, {row: near(2, row)})

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(known) == 50
    assert known.counts.hits + known.counts.misses == 2000


def test_a_server_that_is_away_costs_a_search_and_not_the_request(caplog):
    now = [0.0]
    known = Shared("redis://:pa55word@127.0.0.1:1/0", lambda: now[0])
    assert known.get("i1", 11, [5, 7]) == [None, None]
    known.put("i1", 11, {5: near(3)})
    assert known.get("i1", 11, [5]) == [None]
    assert known.failures == 1, "it is left alone for a while"
    assert known.counts.misses == 3
    now[0] += PAUSE
    known.put("i1", 11, {5: near(3)})
    assert known.failures == 2
    assert "127.0.0.1:1" in caplog.text
    assert "pa55word" not in caplog.text


def test_what_is_no_address_is_refused_without_its_password():
    with pytest.raises(ConfigError, match="is no address of a Redis server") as refused:
        Shared("http://:pa55word@x")
    assert "pa55word" not in str(refused.value)


@pytest.mark.service
@pytest.mark.parametrize("damage", [b"", b"xxxxx", b"x" * 25, b"x" * 29])
def test_a_shared_entry_that_is_none_is_not_believed(redis_url, damage):
    known = Shared(redis_url)
    known.put("i1", 11, {5: near(3)})
    (key,) = known._client.scan_iter("pinnersage:near:i1:11:5")
    whole = known._client.get(key)
    for value in (
        damage,
        whole[:-1],
        whole[:-12],
        whole[:9] + b"y" + whole[10:],
        b"\x02" + whole[1:],
    ):
        known._client.set(key, value)
        assert known.get("i1", 11, [5]) == [None]
    known._client.delete(key)


@pytest.mark.service
def test_a_shared_entry_is_forgotten_without_use(redis_url):
    known = Shared(redis_url)
    known.put("i1", 11, {5: near(3)})
    (key,) = known._client.scan_iter("pinnersage:near:i1:11:5")
    known._client.expire(key, 60)
    known.get("i1", 11, [5])
    assert 2 * 86_400 < known._client.ttl(key) <= 3 * 86_400
    known._client.delete(key)
