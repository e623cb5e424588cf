"""Dead letters are listed by reason, and given back once."""

import json

import pytest
import redis

from pinnersage import parked
from pinnersage.config import OnlineConfig
from pinnersage.errors import ConfigError, RefusedError
from pinnersage.online.dead_letters import DeadLetters, open_dead_letters
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
    monkeypatch.setattr(parked, "PAGE", 2)
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
def test_an_entry_that_we_did_not_write_is_shown_and_stays(letters):
    letters.client.xadd(parked.DEAD, {"x": "y"})
    letters.client.xadd(parked.DEAD, {"reason": "malformed"})
    report = letters.report(1)
    assert report.reasons == {"malformed": 4, "unknown_pin": 3, "too_old": 1, "": 1}
    assert (report.newest[0].reason, report.newest[0].data) == ("malformed", "")
    assert letters.again("malformed").events == 3
    assert letters.report(0).reasons == {"malformed": 1, "unknown_pin": 3, "too_old": 1, "": 1}


@pytest.mark.parametrize(
    ("source", "says"), [("http", "is told"), ("kafka", "pinnersage-events-dead")]
)
def test_only_redis_has_them_here(settings, source, says):
    online = OnlineConfig(source=source)
    with pytest.raises(ConfigError, match=says):
        open_dead_letters(settings.model_copy(update={"online": online}))
