"""An order to erase a user reaches what is parked, before it says that it is done."""

import json

import pytest
import redis
from worlds import NOW, change

from pinnersage import erase, erased, parked
from pinnersage.errors import TransientError
from pinnersage.online import keep
from pinnersage.parked import DEAD, forget, users_in

service = pytest.mark.service
REDIS = {"source": "redis", "url": "redis://127.0.0.1:1/0"}


def event(user, pin="p1"):
    return json.dumps({"user_id": user, "pin_id": pin}).encode()


PARKED = [
    event("u1"),
    event(71),
    event("u2"),
    b'{"user_id": "u1", "pin',
    b"\xff\x00",
    b"[7]",
    event("u1", "p2"),
]


@pytest.fixture
def server(redis_url, monkeypatch):
    monkeypatch.setattr(parked, "PAGE", 2)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        client.config_set("rdbcompression", "no")  # of what DUMP says too
        park(client, *PARKED)
        client.xadd(DEAD, {"x": "y"})  # not ours
        yield client


def park(client, *events):
    for data in events:
        client.xadd(DEAD, {"data": data, "reason": "malformed", "says": "says", "shard": 0})


@pytest.fixture
def streaming(finished, redis_url):
    return change(finished, online={"source": "redis", "url": redis_url})


def left(client):
    return [fields.get(b"data") for _, fields in client.xrange(DEAD)]


@service
def test_those_of_a_user_are_forgotten_also_broken_ones(server, streaming):
    before = server.xrange(DEAD)
    assert forget(streaming, {"u1"}.intersection) == 3
    others = [data for data in PARKED if b"u1" not in data]
    assert left(server) == [*others, None]
    assert [one for one in before if one[1].get(b"data") in left(server)] == server.xrange(DEAD)
    assert forget(streaming, {"71"}.intersection) == 1
    assert forget(streaming, {"nobody", "u"}.intersection) == 0
    assert len(left(server)) == 4


@service
def test_no_byte_of_them_is_left_whoever_removed_them(server, streaming):
    (gone,) = [entry for entry, fields in server.xrange(DEAD) if fields.get(b"data") == event("u2")]
    server.xdel(DEAD, gone)  # given back
    assert b"u2" in server.dump(DEAD), "it stays in its block"
    forget(streaming, {"u1"}.intersection)
    assert b"u1" not in server.dump(DEAD)
    assert b"u2" not in server.dump(DEAD)
    assert b"71" in server.dump(DEAD)
    assert server.keys() == [DEAD.encode()]


@service
def test_an_order_to_erase_reaches_what_is_parked(server, streaming):
    report = erase.run("71", "me", "asked", NOW, "5a17", streaming)
    assert (report.dead_letters, report.found) == (1, True)
    assert b"71" not in server.dump(DEAD)
    assert not erase.run("71", "me", "asked", NOW, "5a17", streaming).found
    park(server, event(71))  # by who had not heard of it yet
    assert keep.run(NOW, streaming, dry_run=True).dead_letters == 0
    assert keep.run(NOW, streaming, dry_run=False).dead_letters == 1
    assert len(left(server)) == len(PARKED)


def test_an_order_is_not_done_while_what_is_parked_cannot_be_removed(finished):
    with pytest.raises(TransientError, match="is away"):
        erase.run("71", "me", "asked", NOW, "5a17", change(finished, online=REDIS))
    assert [order.done for order in erased.read(finished).orders] == [None]
    erase.run("71", "me", "asked", NOW, "5a17", finished)
    assert [order.done for order in erased.read(finished).orders] == [NOW]


def test_where_events_do_not_come_through_redis_nothing_is_asked(finished):
    url = REDIS["url"]
    for source in ("http", "kafka"):
        settings = change(finished, online={"source": source, "url": url})
        assert forget(settings, set) == 0


@pytest.mark.parametrize(
    ("data", "users"),
    [
        (b'{"user_id": 7}', {"7"}),
        (b'{"user_id": "007", "x', {"007", "7"}),
        (b'{"user_id":"a\\"b"', {'a"b'}),
        (b'{"user_id":"\\u00e4"}', {"\u00e4"}),
        (b'[{"user_id": "a"}, {"user_id" : "b"}]', {"a", "b"}),
        (b'{"user\\u005fid": "a"}', {"a"}),
        (b'{"user\\u005Fid": "a", ', {"a"}),
        (b'{"user_id": "a", "user_id": "b"}', {"a", "b"}),
        (b'{"x": "\\"user_id\\": 7"}', set()),
        (b'{"user_id": 1e3}', {"1000"}),
        (b'{"user_id": 7.0, ', {"7"}),
        (b'{"user_id": 7.5}', set()),
        (b'{"user_id": 1e999}', set()),
        (b'{"user_id": true}', set()),
        (b'{"user_id": ["a"]}', set()),
        (b'{"user_id": "cut', set()),
        (b'{"user_id": "bad \\q"}', set()),
        (b'{"user_id": "\\ud800"}', set()),
        (b'{"user_id": ' + b"9" * 5000 + b"}", set()),
        (b'{"user_id": "a", "x": ' + b"[" * 100_000, {"a"}),
        (b"\xff", set()),
    ],
)
def test_whom_an_event_names_is_seen_however_broken_it_is(data, users):
    assert users_in(data) == users
