"""A stream that is written anew has what it had, and no byte of what was removed."""

import pytest
import redis

from pinnersage.config import OnlineConfig
from pinnersage.errors import ConfigError
from pinnersage.stores.redis_streams import rewrite, url_of

NAME = "pinnersage:test"


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        client.config_set("rdbcompression", "no")  # of what DUMP says too
        yield client


@pytest.mark.service
def test_a_stream_written_anew_has_every_entry_that_is_kept_and_nothing_else(client):
    ids = [client.xadd(NAME, {"a": f"<{i}>" * (i % 7), "b": i}) for i in range(1003)]
    removed, left_out = ids[::3], ids[1::5]
    client.xdel(NAME, *removed)
    kept = [one for one in client.xrange(NAME) if one[0] not in left_out]
    assert b"<3>" in client.dump(NAME)

    rewrite(client, NAME, left_out)

    assert client.xrange(NAME) == kept
    for i, entry in enumerate(ids):
        there = entry not in {*removed, *left_out} and i % 7 > 0
        assert (b"<%d>" % i in client.dump(NAME)) == there
    assert client.keys() == [NAME.encode()]


@pytest.mark.service
def test_later_entries_get_later_ids_also_where_none_is_kept(client):
    last = client.xadd(NAME, {"a": "x"}, id="9999999999999-7")  # by a clock that was ahead
    rewrite(client, NAME, [last])
    assert client.xlen(NAME) == 0
    assert client.xadd(NAME, {"a": "y"}) == b"9999999999999-8"


@pytest.mark.service
def test_what_a_stopped_script_left_is_in_nobodys_way(client):
    client.xadd(f"{NAME}:copy", {"a": "half"})
    client.xadd(NAME, {"a": "x"})
    rewrite(client, NAME)
    assert [fields for _, fields in client.xrange(NAME)] == [{b"a": b"x"}]
    assert client.keys() == [NAME.encode()]


@pytest.mark.service
def test_a_stream_that_is_not_there_is_not_made(client):
    rewrite(client, NAME)
    assert client.keys() == []


def test_the_address_is_the_setting_or_else_the_variable(settings, monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(ConfigError, match=r"neither online\.url nor REDIS_URL"):
        url_of(settings)
    monkeypatch.setenv("REDIS_URL", "redis://there/0")
    assert url_of(settings) == "redis://there/0"
    online = OnlineConfig(url="redis://here/0")
    assert url_of(settings.model_copy(update={"online": online})) == "redis://here/0"
