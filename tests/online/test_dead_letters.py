"""Dead letters are listed by reason, given back once, and forgotten with their user."""

import json

import pytest
import redis
from worlds import NOW, change

from pinnersage import erase
from pinnersage.config import OnlineConfig
from pinnersage.errors import ConfigError, RefusedError
from pinnersage.online import dead_letters, keep
from pinnersage.online.dead_letters import (
    DeadLetters,
    forget_erased,
    open_dead_letters,
    users_in,
)
from pinnersage.online.redis_source import RedisSender, RedisSource
from pinnersage.online.sources import Refusal

service = pytest.mark.service


def event(user, pin="p1"):
    return json.dumps({"user_id": user, "pin_id": pin}).encode()


PARKED = [
    (event("u1"), "unknown_pin"),
    (event(7), "unknown_pin"),
    (event("u2"), "too_old"),
    (b'{"user_id": "u1", "pin', "malformed"),
    (b"\xff\x00", "malformed"),
    (b"[7]", "malformed"),
    (event("u1", "p2"), "unknown_pin"),
]


@pytest.fixture
def letters(redis_url, monkeypatch):
    monkeypatch.setattr(dead_letters, "PAGE", 2)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    RedisSender(redis_url, 4, 1000).send([(f"u{i}", data) for i, (data, _) in enumerate(PARKED)])
    park(redis_url, dict(PARKED))
    letters = DeadLetters(redis_url, 4)
    yield letters
    letters.close()


def park(url, reasons, *data):
    RedisSender(url, 4, 1000).send([("u", one) for one in data])
    source = RedisSource(url, 4)
    while source.waiting():
        got = source.receive(100, 0.1)
        source.settle(got, [Refusal(one, reasons[one.data], "says") for one in got])
    source.close()


@service
def test_they_are_counted_by_reason_and_the_newest_are_listed(letters):
    report = letters.report(3)
    assert report.reasons == {"malformed": 3, "unknown_pin": 3, "too_old": 1}
    assert [letter.says for letter in report.newest] == ["says"] * 3
    assert report.newest[0].parked_at >= report.newest[1].parked_at >= report.newest[2].parked_at
    assert len(letters.report(100).newest) == len(PARKED)
    assert letters.report(0).newest == []


@service
def test_those_of_a_reason_are_given_back_once_also_if_they_are_refused_again(letters, redis_url):
    assert letters.again("unknown_pin").events == 3
    assert letters.report(0).reasons == {"malformed": 3, "too_old": 1}
    source = RedisSource(redis_url, 4)
    back = []
    while source.waiting():
        got = source.receive(10, 0.1)
        back += [one.data for one in got]
        source.settle(got, [Refusal(one, "unknown_pin", "still") for one in got])
    source.close()
    assert sorted(back) == sorted(data for data, reason in PARKED if reason == "unknown_pin")
    assert letters.report(0).reasons["unknown_pin"] == 3


@service
@pytest.mark.parametrize("reason", ["oversized", "erased_user", "nonsense"])
def test_what_was_cut_or_never_parked_is_not_given_back(letters, reason):
    with pytest.raises(RefusedError, match="cannot be given back"):
        letters.again(reason)
    assert sum(letters.report(0).reasons.values()) == len(PARKED)


@service
def test_those_of_a_user_are_forgotten_also_broken_ones(letters):
    assert letters.forget({"u1"}.intersection) == 3
    left = [letter.data for letter in letters.report(100).newest]
    assert not [data for data in left if "u1" in data]
    assert letters.forget({"7"}.intersection) == 1
    assert letters.forget({"nobody", "u"}.intersection) == 0
    assert len(letters.report(100).newest) == 3


@pytest.mark.parametrize(
    ("data", "users"),
    [
        (b'{"user_id": 7}', {"7"}),
        (b'{"user_id": "007", "x', {"007", "7"}),
        (b'{"user_id":"a\\"b"', {'a"b'}),
        (b'{"user_id":"\\u00e4"}', {"\u00e4"}),
        (b'[{"user_id": "a"}, {"user_id" : "b"}]', {"a", "b"}),
        (b'{"user_id": "cut', set()),
        (b'{"user_id": "bad \\q"}', set()),
        (b'{"user_id": "\\ud800"}', set()),
        (b"\xff", set()),
    ],
)
def test_whom_an_event_names_is_seen_however_broken_it_is(data, users):
    assert users_in(data) == users


@service
def test_an_order_to_erase_reaches_what_is_parked(finished, letters, redis_url):
    settings = change(finished, online={"source": "redis", "url": redis_url})
    assert forget_erased(settings) == 0
    erase.run("7", "me", "asked", NOW, "5a17", settings)
    assert forget_erased(settings) == 1
    assert forget_erased(settings) == 0
    assert sum(letters.report(0).reasons.values()) == len(PARKED) - 1
    park(redis_url, {event(7): "unknown_pin"}, event(7))  # by who had not heard of it yet
    assert keep.run(NOW, settings, dry_run=True).dead_letters == 0
    assert keep.run(NOW, settings, dry_run=False).dead_letters == 1
    assert forget_erased(finished) == 0, "http: nothing is parked"


@pytest.mark.parametrize(
    ("source", "says"), [("http", "is told"), ("kafka", "pinnersage-events-dead")]
)
def test_only_redis_has_them_here(settings, source, says):
    online = OnlineConfig(source=source)
    with pytest.raises(ConfigError, match=says):
        open_dead_letters(settings.model_copy(update={"online": online}))
