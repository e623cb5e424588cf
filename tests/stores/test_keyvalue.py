"""One contract, every key-value store: a version is whole or not there."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pinnersage.errors import ConfigError, DataError, TransientError
from pinnersage.stores.lmdb_store import LmdbStore
from pinnersage.stores.redis_store import RedisStore

ABOUT = {"day": "2026-03-01", "embeddings": "v3", "settings": {"merge_threshold": 1.0}, "n": None}
ITEMS = {f"user-{i}".encode(): f"value {i}".encode() * (i % 7) for i in range(2500)}


@pytest.fixture(params=["lmdb", pytest.param("redis", marks=pytest.mark.service)])
def store(request, tmp_path):
    if request.param == "lmdb":
        yield LmdbStore(tmp_path / "store")
        return
    store = RedisStore(request.getfixturevalue("redis_url"))
    store.client.flushall()
    yield store
    store.client.close()


def nothing_left(store):
    """Nothing but what complete versions hold."""
    if isinstance(store, RedisStore):
        return not store.client.keys()
    return [p for p in store._shelf.root.iterdir() if p.is_dir()] == []


def test_everything_written_is_read_back(store):
    assert store.write("v1", ITEMS.items(), ABOUT) == len(ITEMS)
    with store.open("v1") as reader:
        assert len(reader) == len(ITEMS)
        assert all(reader.get(key) == value for key, value in ITEMS.items())
        assert reader.get_many(list(ITEMS)) == list(ITEMS.values())
        assert list(reader.items()) == sorted(ITEMS.items())


def test_an_absent_key_is_none(store):
    store.write("v1", ITEMS.items(), ABOUT)
    with store.open("v1") as reader:
        assert reader.get(b"nobody") is None
        assert reader.get(b"") is None
        assert reader.get(b"x" * 2000) is None
        keys = [b"user-1", b"nobody", b"", b"user-1", b"user-0"]
        one = ITEMS[b"user-1"]
        assert reader.get_many(keys) == [one, None, None, one, b""]
        assert reader.get_many([]) == []


def test_about_comes_back_as_it_was(store):
    store.write("v1", ITEMS.items(), ABOUT)
    with store.open("v1") as reader:
        assert reader.about == ABOUT


def test_keys_and_values_are_any_bytes(store):
    items = {bytes([i, 0, 255 - i]): bytes(range(256)) for i in range(256)}
    items[b"k" * 511] = b"v" * 1_000_000
    store.write("v1", items.items(), {})
    with store.open("v1") as reader:
        assert dict(reader.items()) == items


def test_order_of_writing_does_not_matter(store):
    store.write("v1", reversed(ITEMS.items()), {})
    with store.open("v1") as reader:
        assert list(reader.items()) == sorted(ITEMS.items())


def test_an_empty_version_is_a_version(store):
    assert store.write("v1", [], ABOUT) == 0
    with store.open("v1") as reader:
        assert (len(reader), reader.get(b"a"), list(reader.items())) == (0, None, [])


def test_versions_are_listed_sorted_and_do_not_mix(store):
    assert store.versions() == []
    for version in ("2026-03-02", "2026-03-01", "2026-02-28.a=b+c_d"):
        store.write(version, [(b"k", version.encode())], {"v": version})
    assert store.versions() == ["2026-02-28.a=b+c_d", "2026-03-01", "2026-03-02"]
    for version in store.versions():
        with store.open(version) as reader:
            assert reader.get(b"k") == version.encode()
            assert reader.about == {"v": version}


def test_writing_a_version_again_replaces_nothing_and_reads_nothing(store):
    store.write("v1", ITEMS.items(), ABOUT)

    def never():
        pytest.fail("the items were read")
        yield

    assert store.write("v1", never(), {"other": 1}) == len(ITEMS)
    with store.open("v1") as reader:
        assert reader.about == ABOUT


def test_an_unknown_version_is_named_with_those_that_exist(store):
    store.write("v1", [], {})
    store.write("v2", [], {})
    with pytest.raises(DataError, match=r"no version 'v3'; there are: v1, v2\."):
        store.open("v3")


@pytest.mark.parametrize("version", ["", ".hidden", "a/b", "..", "a:b", "a*", "x" * 129])
def test_a_name_that_a_store_cannot_carry_is_refused(store, version):
    for call in (lambda: store.write(version, [], {}), lambda: store.open(version)):
        with pytest.raises(DataError, match="cannot name a version"):
            call()
    with pytest.raises(DataError, match="cannot name a version"):
        store.drop(version)


def test_an_erased_key_is_gone_from_every_version_that_had_it(store):
    for version in ("v1", "v2"):
        store.write(version, ITEMS.items(), ABOUT | {"v": version})
    store.write("v3", [(b"other", b"1")], {})

    assert store.erase([b"user-8", b"nobody"]) == ["v1", "v2"]

    kept = {key: value for key, value in ITEMS.items() if key != b"user-8"}
    for version in ("v1", "v2"):
        with store.open(version) as reader:
            assert reader.about == ABOUT | {"v": version}
            assert list(reader.items()) == sorted(kept.items())
            assert (len(reader), reader.get(b"user-8")) == (len(kept), None)
    assert store.versions() == ["v1", "v2", "v3"]
    assert store.erase([b"user-8", b"nobody"]) == []
    assert store.write("v1", [], {}) == len(ITEMS), "what it was given when it was written"


def test_two_erased_at_once_are_both_gone(store):
    store.write("v1", ITEMS.items(), ABOUT)
    gone = [f"user-{i}".encode() for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda key: store.erase([key]), gone)) == [["v1"]] * len(gone)
    with store.open("v1") as reader:
        assert dict(reader.items()) == {k: v for k, v in ITEMS.items() if k not in gone}


def test_an_open_reader_goes_on_when_a_key_is_erased(store):
    store.write("v1", ITEMS.items(), ABOUT)
    with store.open("v1") as before:
        store.erase([b"user-8"])
        assert before.get(b"user-9") == ITEMS[b"user-9"]
        with store.open("v1") as after:
            assert after.get(b"user-8") is None
            assert after.get(b"user-9") == before.get(b"user-9") == ITEMS[b"user-9"]
        assert before.get(b"user-10") == ITEMS[b"user-10"]


def test_the_last_key_may_be_erased(store):
    store.write("v1", [(b"k", b"v")], ABOUT)
    assert store.erase([b"k"]) == ["v1"]
    with store.open("v1") as reader:
        assert (list(reader.items()), len(reader), reader.about) == ([], 0, ABOUT)


def test_lmdb_keeps_no_byte_of_what_was_erased(tmp_path):
    store = LmdbStore(tmp_path / "store")
    items = ITEMS | {b"erase-me-1": b"secret-value" * 3000, b"erase-me-2": b"secret"}
    store.write("v1", items.items(), {})
    path = tmp_path / "store" / "v1" / "data.mdb"
    assert b"erase-me" in path.read_bytes()
    store.erase([b"erase-me-1", b"erase-me-2"])
    assert b"erase-me" not in path.read_bytes()
    assert b"secret" not in path.read_bytes()
    assert nothing_left_aside(store)


def nothing_left_aside(store):
    return not list(store._shelf.root.glob(".aside-*"))


def test_a_dropped_version_is_gone_and_can_be_written_again(store):
    store.write("v1", [(b"k", b"old")], {})
    store.write("v2", [(b"k", b"2")], {})
    store.drop("v1")
    store.drop("v1")
    store.drop("never-there")
    assert store.versions() == ["v2"]
    assert store.write("v1", [(b"k", b"new")], {}) == 1
    with store.open("v1") as reader:
        assert reader.get(b"k") == b"new"
    for version in ("v1", "v2"):
        store.drop(version)
    assert nothing_left(store)


def test_a_reader_of_a_dropped_version_never_takes_users_for_unknown(store):
    store.write("v1", ITEMS.items(), ABOUT)
    with store.open("v1") as reader:
        store.drop("v1")
        store.write("v1", [(b"other", b"x")], {})
        if isinstance(store, RedisStore):
            for call in (lambda: reader.get(b"user-1"), lambda: reader.get_many([b"user-2"])):
                with pytest.raises(DataError, match="dropped while it was open"):
                    call()
        else:
            assert dict(reader.items()) == ITEMS


def test_a_writer_that_fails_leaves_nothing(store):
    def breaks():
        yield from list(ITEMS.items())[:1000]
        raise RuntimeError("lost its input")

    with pytest.raises(RuntimeError, match="lost its input"):
        store.write("v1", breaks(), {})
    assert store.versions() == []
    assert nothing_left(store)


def test_a_key_that_comes_twice_is_refused(store):
    with pytest.raises(DataError, match="1 keys came twice"):
        store.write("v1", [*ITEMS.items(), (b"user-7", b"again")], {})
    assert store.versions() == []
    assert nothing_left(store)


@pytest.mark.parametrize("key", [b"", b"k" * 512])
def test_a_key_beyond_the_limit_is_refused(store, key):
    with pytest.raises(DataError, match=rf"has {len(key)} bytes \(limit 1 to 511\)"):
        store.write("v1", [(b"a", b""), (key, b"")], {})
    assert nothing_left(store)


def test_nothing_is_seen_while_a_version_is_written(store):
    seen = []

    def watched():
        for i, item in enumerate(ITEMS.items()):
            if i == 2000:
                seen.append(store.versions())
            yield item

    store.write("v1", watched(), {})
    assert seen == [[]]


def test_two_writers_of_one_version_leave_one_of_them_whole(store):
    start = threading.Barrier(4)

    def write(writer):
        start.wait()
        return store.write("v1", [(k, writer) for k in ITEMS], {"by": writer.decode()})

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(write, [b"a", b"b", b"c", b"d"]))
    assert counts == [len(ITEMS)] * 4
    with store.open("v1") as reader:
        assert {value for _, value in reader.items()} == {reader.about["by"].encode()}
    store.drop("v1")
    assert nothing_left(store)


def test_one_version_can_be_open_many_times(store):
    store.write("v1", ITEMS.items(), ABOUT)
    first, second = store.open("v1"), store.open("v1")
    first.close()
    first.close()
    assert second.get(b"user-1") == ITEMS[b"user-1"]
    second.close()
    with store.open("v1") as third:
        assert len(third) == len(ITEMS)


def test_threads_share_a_reader(store):
    store.write("v1", ITEMS.items(), ABOUT)
    with store.open("v1") as reader, ThreadPoolExecutor(8) as pool:
        keys = list(ITEMS) * 2
        assert list(pool.map(reader.get, keys)) == [ITEMS[key] for key in keys]


def test_a_reader_goes_on_in_a_forked_child_and_in_its_parent(store, in_a_fork):
    store.write("v1", ITEMS.items(), ABOUT)
    with store.open("v1") as reader, store.open("v1") as other:
        assert reader.get(b"user-1") == ITEMS[b"user-1"]

        def child():
            assert reader.get(b"user-1") == ITEMS[b"user-1"]
            assert other.get_many([b"user-2"]) == [ITEMS[b"user-2"]]
            with store.open("v1") as third:
                assert list(third.items()) == sorted(ITEMS.items())
            reader.close()
            assert other.get(b"user-3") == ITEMS[b"user-3"]

        assert in_a_fork(child) == 0
        assert reader.get(b"user-3") == ITEMS[b"user-3"]
        assert other.get(b"user-4") == ITEMS[b"user-4"]


def _read_all(make, where, expected):
    with make(where).open("v1") as reader:
        assert dict(reader.items()) == expected


def test_processes_read_side_by_side(store):
    store.write("v1", ITEMS.items(), ABOUT)
    if isinstance(store, RedisStore):
        make, where = RedisStore, store.name
    else:
        make, where = LmdbStore, store._shelf.root
    context = multiprocessing.get_context("spawn")
    readers = [context.Process(target=_read_all, args=(make, where, ITEMS)) for _ in range(3)]
    for process in readers:
        process.start()
    for process in readers:
        process.join(60)
    assert [process.exitcode for process in readers] == [0, 0, 0]


WRITE_SLOWLY = """
import sys, time
from pathlib import Path
from pinnersage.stores.lmdb_store import LmdbStore
from pinnersage.stores.redis_store import RedisStore
def items():
    for i in range(60_000):
        yield b"%d" % i, b"x" * 100
    print("half", flush=True)
    time.sleep(600)
{make}.write("v1", items(), {{}})
"""


def test_a_killed_writer_leaves_nothing_to_see_and_the_next_one_succeeds(store):
    if isinstance(store, RedisStore):
        make = f"RedisStore({store.name!r})"
    else:
        make = f"LmdbStore(Path({str(store._shelf.root)!r}))"
    program = WRITE_SLOWLY.format(make=make)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"half\n"
        assert store.versions() == []
        store.write("v2", [(b"k", b"v")], {})  # a sweep while the other writer lives
        assert writer.poll() is None
        writer.send_signal(signal.SIGKILL)
    assert store.versions() == ["v2"]
    if isinstance(store, RedisStore):  # what the dead writer left will expire by itself
        data = store.client.keys("pinnersage:v1:*")
        assert data
        assert all(store.client.ttl(key) > 0 for key in data)
    assert store.write("v1", ITEMS.items(), ABOUT) == len(ITEMS)
    with store.open("v1") as reader:
        assert dict(reader.items()) == ITEMS
    if isinstance(store, LmdbStore):
        assert sorted(path.name for path in store._shelf.root.iterdir()) == ["v1", "v2"]


@pytest.mark.parametrize(
    "password", ["hunter2", "hunter2#x", "hunter2/x", "hunter2?x", "a@hunter2"]
)
def test_redis_a_password_is_in_no_name_and_no_message(password):
    try:
        said = repr(RedisStore(f"redis://:{password}@localhost:1/0"))
    except ConfigError as error:
        said = str(error)
    assert "hunter2" not in said


def test_lmdb_a_full_disk_is_named_and_leaves_nothing(tmp_path, on_a_full_disk):
    root = tmp_path / "store"
    said = on_a_full_disk(
        f"""
from pathlib import Path
from pinnersage.errors import TransientError
from pinnersage.stores.lmdb_store import LmdbStore
store = LmdbStore(Path({str(root)!r}))
try:
    store.write("v1", ((b"%d" % i, b"x" * 300) for i in range(50_000)), {{}})
except TransientError as error:
    print("said:", error, store.versions())
""",
        1_000_000,
    )
    assert f"said: {root} is full" in said
    assert "Make room" in said
    assert said.strip().endswith("[]")
    assert list(root.iterdir()) == []


def test_lmdb_a_damaged_version_is_a_data_error(tmp_path):
    store = LmdbStore(tmp_path)
    store.write("v1", ITEMS.items(), ABOUT)
    (tmp_path / "v1" / "data.mdb").write_bytes(b"not an environment" * 1000)
    with pytest.raises(DataError, match=r"cannot be read: .*publish it again"):
        store.open("v1")
    (tmp_path / "v1" / "data.mdb").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        store.open("v1")
    (tmp_path / "v1" / "about.json").write_text("{")
    with pytest.raises(DataError, match=r"about.json is damaged"):
        store.open("v1")


def test_lmdb_a_closed_reader_says_so(tmp_path):
    store = LmdbStore(tmp_path)
    store.write("v1", ITEMS.items(), ABOUT)
    reader = store.open("v1")
    reader.close()
    with pytest.raises(DataError, match="reader is closed"):
        reader.get(b"user-1")


def test_redis_that_is_away_is_a_transient_error_without_its_password():
    store = RedisStore("redis://someone:secret@127.0.0.1:1/0")
    for call in (lambda: store.write("v1", [], {}), store.versions, lambda: store.open("v1")):
        with pytest.raises(TransientError, match=r"redis://127.0.0.1:1/0 is away") as caught:
            call()
        assert "secret" not in str(caught.value)
    assert "secret" not in repr(store)


def test_redis_an_address_that_is_none_is_refused_without_its_password():
    with pytest.raises(ConfigError, match="no address of a Redis server") as caught:
        RedisStore("http://:secret@host:1")
    assert "secret" not in str(caught.value)


@pytest.fixture
def redis_store(redis_url):
    store = RedisStore(redis_url)
    store.client.flushall()
    yield store
    store.client.config_set("maxmemory", 0)
    store.client.config_set("requirepass", "")
    store.client.close()


@pytest.mark.service
def test_redis_that_is_full_is_a_transient_error_that_leaves_nothing(redis_store):
    redis_store.client.config_set("maxmemory", redis_store.client.info()["used_memory"] + 500_000)
    with pytest.raises(TransientError, match=r"is full: .*raise maxmemory"):
        redis_store.write("v1", ((b"%d" % i, b"x" * 500) for i in range(100_000)), {})
    redis_store.client.config_set("maxmemory", 0)
    assert nothing_left(redis_store)


@pytest.mark.service
def test_redis_a_wrong_password_is_a_config_error(redis_store, redis_url):
    redis_store.client.config_set("requirepass", "right")
    try:
        wrong = RedisStore(redis_url.replace("//", "//:wrong@"))
        with pytest.raises(ConfigError, match="refused the login") as caught:
            wrong.versions()
        assert "wrong" not in str(caught.value)
        wrong.client.close()
    finally:
        redis_store.client.config_set("requirepass", "")


@pytest.mark.service
def test_redis_a_version_that_lost_values_is_refused(redis_store):
    redis_store.write("v1", ITEMS.items(), ABOUT)
    shard = next(key for key in redis_store.client.keys("pinnersage:v1:*"))
    redis_store.client.unlink(shard)
    with pytest.raises(DataError, match=r"holds [\d,]+ of 2,500 values.*volatile-lru"):
        redis_store.open("v1")


@pytest.mark.service
def test_redis_a_finished_version_never_expires(redis_store):
    redis_store.write("v1", ITEMS.items(), ABOUT)
    assert set(map(redis_store.client.ttl, redis_store.client.keys("*"))) == {-1}


def test_lmdb_a_version_whose_file_lost_its_end_is_said_and_kills_no_process(tmp_path):
    store = LmdbStore(tmp_path / "store")
    store.write("v1", ITEMS.items(), ABOUT)
    (file,) = (tmp_path / "store").rglob("data.mdb")
    os.truncate(file, file.stat().st_size // 2)
    program = f"""
from pathlib import Path
from pinnersage.stores.lmdb_store import LmdbStore
try:
    print(len(list(LmdbStore(Path({str(tmp_path / "store")!r})).open("v1").items())))
except Exception as error:
    print(type(error).__name__, error)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("DataError")
    assert "lost its end" in done.stdout
    assert "publish it again" in done.stdout
