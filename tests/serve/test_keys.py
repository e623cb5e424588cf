"""Keys: who is let in, what is kept of a key, and how fast one that was removed stops working."""

from datetime import UTC, datetime

import pytest

from pinnersage.errors import ConfigError, DataError
from pinnersage.serve import keys
from pinnersage.stores import watched

AT = datetime(2026, 6, 1, tzinfo=UTC)


def test_a_key_is_kept_as_a_digest_alone(settings):
    keys.add("ann", "reader", "the-secret-itself", AT, settings)

    written = keys.record_of(settings).read(keys.RECORD)

    assert b"the-secret-itself" not in written
    assert keys.digest("the-secret-itself").encode() in written


def test_a_key_opens_until_it_is_removed_and_no_longer_than_seconds_after(settings):
    now = [0.0]
    door = keys.Doorkeeper(keys.record_of(settings), lambda: now[0])
    assert door.key_of("one") is None
    keys.add("ann", "reader", "one", AT, settings)
    keys.add("boss", "admin", "two", AT, settings)
    now[0] += watched.SECONDS
    assert (door.key_of("one").name, door.key_of("two").role) == ("ann", "admin")
    assert door.key_of("One") is door.key_of("") is door.key_of("\udc80") is None

    keys.remove("ann", settings)
    now[0] += watched.SECONDS

    assert door.key_of("one") is None
    assert door.key_of("two").name == "boss"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "x" * 65, "a\n"])
def test_a_name_that_is_no_name_is_refused(settings, name):
    with pytest.raises(ConfigError, match="is no name for a key"):
        keys.add(name, "reader", "k", AT, settings)


def test_a_name_is_given_once(settings):
    keys.add("ann", "reader", "one", AT, settings)
    with pytest.raises(ConfigError, match="already"):
        keys.add("ann", "admin", "two", AT, settings)
    assert [key.role for key in keys.read(settings).keys] == ["reader"]


def test_what_is_not_there_cannot_be_removed(settings):
    with pytest.raises(ConfigError, match="There is no key ann"):
        keys.remove("ann", settings)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"keys": [{"name": "ann"}]}'])
def test_a_damaged_record_lets_nobody_in(settings, content):
    keys.record_of(settings).write(keys.RECORD, content)
    with pytest.raises(DataError, match=r"damaged.*runbook: damaged keys"):
        keys.Doorkeeper(keys.record_of(settings)).key_of("one")


def test_two_who_add_keys_at_once_both_succeed(settings, monkeypatch):
    swap, once = type(keys.record_of(settings)).swap, []

    def beaten(storage, name, old, new):
        if not once:
            once.append(1)
            keys.add("other", "reader", "two", AT, settings)
        return swap(storage, name, old, new)

    monkeypatch.setattr(type(keys.record_of(settings)), "swap", beaten)
    keys.add("ann", "reader", "one", AT, settings)

    assert [key.name for key in keys.read(settings).keys] == ["ann", "other"]
