"""One contract, every store of online states: a change is read and written as one, and stays."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.errors import ConfigError, DataError, TransientError
from pinnersage.stores import lmdb_states, open_states
from pinnersage.stores.lmdb_states import LmdbStates
from pinnersage.stores.redis_states import RedisStates

KINDS = ["lmdb", pytest.param("redis", marks=pytest.mark.service)]


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    """Where empty states are: a folder or an address."""
    if request.param == "lmdb":
        return tmp_path / "stores" / "online"
    url = request.getfixturevalue("redis_url")
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def states(place):
    with opened(place) as states:
        yield states


def opened(place):
    return LmdbStates(place) if isinstance(place, Path) else RedisStates(place)


def put(states, items, journal=()):
    states.change(list(items), lambda _: items, journal)


def journal_of(states):
    return [entry for _, entry in states.oldest(1_000_000)]


def test_before_anything_is_written_there_is_nothing(states, place):
    assert states.get_many([b"u1", b"u2"]) == [None, None]
    assert states.get_many([]) == []
    assert list(states.items()) == []
    assert states.oldest(10) == []
    if isinstance(place, Path):
        assert not place.parent.exists(), "reading makes nothing"


def test_what_was_changed_is_read_back_in_the_order_asked(states):
    put(states, {b"u1": b"one", b"u2": b"", b"u3": b"\0\xff" * 3000})
    assert states.get_many([b"u3", b"nobody", b"u1", b"u2", b"u1", b"", b"x" * 2000]) == [
        b"\0\xff" * 3000,
        None,
        b"one",
        b"",
        b"one",
        None,
        None,
    ]


def test_a_change_is_told_what_is_there_and_leaves_what_it_does_not_name(states):
    put(states, {b"u1": b"1", b"u2": b"2"})
    seen = []

    def change(values):
        seen.append(dict(values))
        return {b"u2": b"new", b"u3": b"3"}

    states.change([b"u1", b"u2", b"u3"], change)
    assert seen == [{b"u1": b"1", b"u2": b"2", b"u3": None}]
    assert dict(states.items()) == {b"u1": b"1", b"u2": b"new", b"u3": b"3"}


def test_none_removes_a_value(states):
    put(states, {b"u1": b"1", b"u2": b"2"})
    put(states, {b"u1": None, b"nobody": None})
    assert dict(states.items()) == {b"u2": b"2"}


def test_a_change_that_fails_changes_nothing(states):
    put(states, {b"u1": b"1"}, [b"a"])

    def fails(_):
        raise RuntimeError("lost its way")

    with pytest.raises(RuntimeError, match="lost its way"):
        states.change([b"u1"], fails, [b"b"])
    with pytest.raises(KeyError):
        states.change([b"u1"], lambda _: {b"u1": b"2", b"another": b"2"}, [b"b"])
    assert list(states.items()) == [(b"u1", b"1")]
    assert journal_of(states) == [b"a"]
    put(states, {b"u1": b"2"})
    assert states.get_many([b"u1"]) == [b"2"]


@pytest.mark.parametrize("key", [b"", b"k" * 512])
def test_a_key_beyond_the_limit_is_refused(states, key):
    put(states, {b"k" * 511: b"1"})
    with pytest.raises(DataError, match=rf"has {len(key)} bytes \(limit 1 to 511\)"):
        states.change([b"a", key], lambda values: dict.fromkeys(values, b"1"), [b"entry"])
    assert dict(states.items()) == {b"k" * 511: b"1"}
    assert journal_of(states) == []


def test_all_items_come_once_whatever_their_number(states):
    items = {b"user-%d" % i: b"%d" % i * (i % 5) for i in range(2500)}
    put(states, items)
    found = list(states.items())
    assert len(found) == len(items)
    assert dict(found) == items


def test_items_may_be_changed_while_they_are_listed(states):
    put(states, {b"user-%d" % i: b"old" for i in range(2500)})
    for item in states.items():
        put(states, {item[0]: None})
    assert list(states.items()) == []


def test_the_journal_keeps_its_order_and_what_is_not_removed(states):
    put(states, {b"u1": b"1"}, [b"a", b"b"])
    states.change([], dict, [b"c", b"c", b""])
    put(states, {b"u1": b"1"}, [b"d"])  # a change that changes nothing
    assert journal_of(states) == [b"a", b"b", b"c", b"c", b"", b"d"]
    first = states.oldest(3)
    assert [entry for _, entry in first] == [b"a", b"b", b"c"]
    states.remove([key for key, _ in first[:2]])
    states.remove([key for key, _ in first[:2]])
    states.remove([])
    assert journal_of(states) == [b"c", b"c", b"", b"d"]


def test_removing_an_entry_again_never_removes_a_later_one(states):
    states.change([], dict, [b"a"])
    known = [key for key, _ in states.oldest(10)]
    states.remove(known)
    states.change([], dict, [b"b"])
    states.remove(known)
    assert journal_of(states) == [b"b"]


def test_what_was_changed_is_there_when_it_is_opened_again(place):
    with opened(place) as states:
        put(states, {b"u1": b"1"}, [b"a"])
    with opened(place) as states:
        assert states.get_many([b"u1"]) == [b"1"]
        assert journal_of(states) == [b"a"]


def test_closing_twice_is_closing_once_and_others_go_on(place):
    first, second = opened(place), opened(place)
    put(first, {b"u1": b"1"})
    assert second.get_many([b"u1"]) == [b"1"]
    first.close()
    first.close()
    put(second, {b"u1": b"2"})
    assert second.get_many([b"u1"]) == [b"2"]
    second.close()


def test_scrubbing_changes_nothing_that_is_there(place, states):
    states.scrub()
    put(states, {b"u1": b"1", b"u2": b"2"}, [b"a", b"b"])
    states.remove([states.oldest(1)[0][0]])
    with opened(place) as other:
        assert other.get_many([b"u1"]) == [b"1"]
        states.scrub()
        for one in (other, states):
            assert dict(one.items()) == {b"u1": b"1", b"u2": b"2"}
        put(other, {b"u1": b"new"}, [b"c"])
        states.scrub()
        put(states, {b"u2": None}, [b"d"])
        assert dict(other.items()) == {b"u1": b"new"}
        assert journal_of(other) == [b"b", b"c", b"d"]
        known = [entry for entry, _ in other.oldest(10)]
        states.remove(known)
        states.scrub()
        put(states, {}, [b"e"])
        other.remove(known)
        assert journal_of(states) == [b"e"], "a removed entry's name does not come back"


def test_lmdb_keeps_no_byte_of_what_was_removed(tmp_path):
    root = tmp_path / "online"
    items = {b"user-%d" % i: b"value-%d-" % i * 30 for i in range(800)}
    with LmdbStates(root) as states:
        for _ in range(3):
            put(states, items, [b"event of user-77 " * (i % 300) for i in range(500)])
        gone = [b"user-77", *(b"user-77%d" % i for i in range(10))]
        put(states, dict.fromkeys(gone))
        states.remove([entry for entry, _ in states.oldest(2000)])
        assert b"user-77" in everything_in(root), "freed pages keep their bytes"

        states.scrub()

        assert b"user-77" not in everything_in(root)
        assert b"value-77" not in everything_in(root)
        assert [path.name for path in root.iterdir()] == ["2"]
        assert len(list(states.items())) == 789


@pytest.mark.service
def test_redis_keeps_no_byte_of_what_was_removed(redis_url):
    with redis.Redis.from_url(redis_url) as client, RedisStates(redis_url) as states:
        client.flushall()
        client.config_set("rdbcompression", "no")  # of what DUMP says too
        put(states, {b"user-77": b"1", b"user-78": b"1"}, [b"of user-77", b"of user-78"])
        put(states, {b"user-77": None})
        states.remove([states.oldest(1)[0][0]])
        assert any(b"user-77" in client.dump(key) for key in client.scan_iter())

        states.scrub()

        assert not any(b"user-77" in client.dump(key) for key in client.scan_iter())
        assert journal_of(states) == [b"of user-78"]


@pytest.mark.service
def test_redis_names_no_user_in_an_error(redis_url):
    with redis.Redis.from_url(redis_url) as client, RedisStates(redis_url) as states:
        client.flushall()
        user = b"alice@example.org"
        put(states, {user: b"1"})
        (key,) = client.keys()
        client.delete(key)
        client.set(key, "no hash")
        for call in (
            lambda: states.get_many([user, b"u1"]),
            lambda: put(states, {user: b"1"}),
        ):
            with pytest.raises(TransientError, match="WRONGTYPE") as raised:
                call()
            said = "".join(traceback.format_exception(raised.value))
            assert "alice" not in said
        client.delete(key)


def everything_in(root):
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


def test_lmdb_a_scrub_that_dies_leaves_what_was_there_and_the_next_one_finishes(tmp_path):
    root = tmp_path / "online"
    for when in ("sync(copy.path)", "(self._root / str(old)).rename(grave.path / str(old))"):
        with LmdbStates(root) as states:
            put(states, {b"user-77": b"1", b"other": when.encode()}, [b"entry"])
            put(states, {b"user-77": None})
            program = f"""
import os, signal
from pathlib import Path
from pinnersage.stores import lmdb_states
source = Path(lmdb_states.__file__).read_text()
assert {when!r} in source
exec(compile(source.replace({when!r}, "os.kill(os.getpid(), 9)"), "states", "exec"))
LmdbStates(Path({str(root)!r})).scrub()
"""
            assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
            assert dict(states.items()) == {b"other": when.encode()}
            put(states, {b"other": b"later"})
            states.scrub()
            assert dict(states.items()) == {b"other": b"later"}
            assert b"user-77" not in everything_in(root)
            assert len(list(root.iterdir())) == 1


def owners_and_modes(root):
    return {
        name: ((found := (root / name).stat()).st_uid, found.st_gid, found.st_mode)
        for name in ("", "data.mdb", "lock.mdb")
    }


def test_lmdb_a_scrub_leaves_the_modes_as_they_were(tmp_path):
    root = tmp_path / "online"
    with LmdbStates(root) as states:
        put(states, {b"u1": b"1"})
        for name, mode in (("", 0o770), ("data.mdb", 0o660), ("lock.mdb", 0o664)):
            (root / "1" / name).chmod(mode)
        before = owners_and_modes(root / "1")
        states.scrub()
        put(states, {b"u2": b"2"})
        assert owners_and_modes(root / "2") == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_lmdb_a_scrub_leaves_the_owner_or_is_refused_and_changes_nothing(tmp_path, monkeypatch):
    root = tmp_path / "online"
    with LmdbStates(root) as states:
        put(states, {b"u1": b"1"})
        for name in ("", "data.mdb", "lock.mdb"):
            os.chown(root / "1" / name, 12345, 23456)
        before = owners_and_modes(root / "1")
        states.scrub()
        assert owners_and_modes(root / "2") == before

        def refused(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "chown", refused)
        with pytest.raises(ConfigError, match=r"belongs to user 12345 .* Do it as that user"):
            states.scrub()
        assert [path.name for path in root.iterdir()] == ["2"]
        assert owners_and_modes(root / "2") == before
        put(states, {b"u1": b"2"})
        assert states.get_many([b"u1"]) == [b"2"]


READ_ALL = """
from pathlib import Path
from pinnersage.errors import DataError
from pinnersage.stores.lmdb_states import LmdbStates
try:
    print(len(list(LmdbStates(Path({root!r})).items())))
except DataError as error:
    print(error)
"""


def test_lmdb_a_file_that_lost_its_end_is_said_and_kills_no_process(tmp_path):
    root = tmp_path / "online"
    with LmdbStates(root) as states:
        put(states, {b"u%d" % i: b"x" * 400 for i in range(3000)})
    file = root / "1" / "data.mdb"
    command = [sys.executable, "-c", READ_ALL.format(root=str(root))]

    def read():
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert read() == "3000\n"
    for size in (file.stat().st_size - 1, file.stat().st_size // 2, 3 * 4096):
        os.truncate(file, size)
        assert "data.mdb cannot be read: it has lost its end" in read()
        assert "See runbook: damaged online state" in read()


def scrub_often(place, times):
    with opened(place) as states:
        for _ in range(times):
            states.scrub()


def test_processes_that_change_while_others_scrub_lose_nothing(place, states):
    context = multiprocessing.get_context("spawn")
    put(states, {b"all": b"0"})
    names = [b"a", b"b"]
    others = [context.Process(target=count, args=(place, 100, name)) for name in names]
    others.append(context.Process(target=scrub_often, args=(place, 30)))
    for other in others:
        other.start()
    while any(other.is_alive() for other in others):
        (value,) = states.get_many([b"all"])
        assert value is not None, "what is there is never missed"
    assert [other.exitcode for other in others] == [0, 0, 0]
    assert states.get_many([b"all"]) == [b"200"]
    for name in names:
        own = [entry for entry in journal_of(states) if entry.startswith(name)]
        assert own == [name + b"-%d" % i for i in range(100)]


def add(values):
    """Count one more in every value."""
    return {key: b"%d" % (int(value or b"0") + 1) for key, value in values.items()}


def count(place, times, name):
    """Count in common keys and one of our own, from a process of its own."""
    with opened(place) as states:
        for i in range(times):
            states.change([b"all", b"own-" + name, b"few-%d" % (i % 3)], add, [name + b"-%d" % i])


def test_processes_that_change_the_same_keys_lose_nothing(place, states):
    context = multiprocessing.get_context("spawn")
    names = [b"a", b"b", b"c"]
    writers = [context.Process(target=count, args=(place, 150, name)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    counted = {b"all": b"450"} | {b"own-" + name: b"150" for name in names}
    assert dict(states.items()) == counted | {b"few-%d" % i: b"150" for i in range(3)}
    entries = journal_of(states)
    for name in names:
        own = [entry for entry in entries if entry.startswith(name)]
        assert own == [name + b"-%d" % i for i in range(150)]


def test_threads_that_change_the_same_keys_lose_nothing(states):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: states.change([b"all", b"%d" % (i % 2)], add, [b"e"]), range(200)))
    assert dict(states.items()) == {b"all": b"200", b"0": b"100", b"1": b"100"}
    assert journal_of(states) == [b"e"] * 200


CHANGE_AND_STOP = """
import sys, time
from pathlib import Path
from pinnersage.stores.lmdb_states import LmdbStates
from pinnersage.stores.redis_states import RedisStates
def change(values):
    print("within", flush=True)
    time.sleep(600)
{make}.change([b"u1", b"u2"], change, [b"entry"])
"""


def test_a_writer_killed_within_a_change_leaves_what_was_there(place, states):
    put(states, {b"u1": b"old", b"u2": b"old"}, [b"first"])
    program = CHANGE_AND_STOP.format(make=made(place))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"within\n"
        assert states.get_many([b"u1", b"u2"]) == [b"old", b"old"]
        writer.send_signal(signal.SIGKILL)
    assert dict(states.items()) == {b"u1": b"old", b"u2": b"old"}
    assert journal_of(states) == [b"first"]
    put(states, {b"u1": b"new", b"u2": b"new"}, [b"second"])
    assert dict(states.items()) == {b"u1": b"new", b"u2": b"new"}


def made(place):
    if isinstance(place, Path):
        return f"LmdbStates(Path({str(place)!r}))"
    return f"RedisStates({place!r})"


CHANGE_FOR_EVER = """
import itertools
from pathlib import Path
from pinnersage.stores.lmdb_states import LmdbStates
from pinnersage.stores.redis_states import RedisStates
states = {make}
keys = [b"%d" % i for i in range(300)]
def change(values):
    number = int(values[keys[0]] or b"0") + 1
    return dict.fromkeys(keys, b"%d" % number)
for number in itertools.count():
    states.change(keys, change, [b"x" * 5000])
    print(number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 2, 5, 9, 14])
def test_a_writer_killed_at_any_moment_leaves_a_change_whole_or_not_made(place, states, lines):
    program = CHANGE_FOR_EVER.format(make=made(place))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as writer:
        for _ in range(lines):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        told = lines + len(writer.stdout.read().splitlines())
    items = dict(states.items())
    assert len(items) == 300
    (number,) = {int(value) for value in items.values()}
    assert number in {told, told + 1}, "what it was told is safe; the next may be"
    assert len(journal_of(states)) == number


def test_a_forked_child_and_its_parent_both_go_on(states, in_a_fork):
    put(states, {b"u1": b"1"})
    assert states.get_many([b"u1"]) == [b"1"]

    def child():
        assert states.get_many([b"u1"]) == [b"1"]
        put(states, {b"u1": b"child's"}, [b"child's"])
        assert states.get_many([b"u1"]) == [b"child's"]

    for _ in range(3):
        assert in_a_fork(child) == 0
        for _ in range(3):
            assert states.get_many([b"u1"]) == [b"child's"]
        put(states, {b"u1": b"1"})
        assert states.get_many([b"u1"]) == [b"1"]
    assert journal_of(states) == [b"child's"] * 3


def test_a_fork_while_others_read_and_write_disturbs_nobody(states, in_a_fork):
    put(states, {b"u1": b"1", b"own": b"0"})
    stop, wrong = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                assert states.get_many([b"u1"]) == [b"1"]
            except BaseException as error:  # noqa: BLE001, it is what the test is about
                wrong.append(error)
                return

    def write():
        for _ in range(100):
            states.change([b"own"], add)

    readers = [threading.Thread(target=read) for _ in range(3)]
    writer = threading.Thread(target=write)
    for thread in (*readers, writer):
        thread.start()
    codes = [in_a_fork(lambda: put(states, {b"from a child": b"1"})) for _ in range(8)]
    writer.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert codes == [0] * 8
    assert wrong == []
    assert dict(states.items()) == {b"u1": b"1", b"own": b"100", b"from a child": b"1"}


ENTRIES = st.lists(st.binary(max_size=5), max_size=3)
STEPS = st.lists(
    st.tuples(
        st.dictionaries(
            st.binary(min_size=1, max_size=2), st.none() | st.binary(max_size=3), max_size=4
        ),
        ENTRIES,
        st.integers(1, 4),
    ),
    max_size=12,
)


@pytest.fixture(scope="module", params=KINDS)
def shared_place(request, tmp_path_factory):
    if request.param == "lmdb":
        return tmp_path_factory.mktemp("online") / "states"
    return request.getfixturevalue("redis_url")


@given(steps=STEPS)
def test_any_changes_leave_what_they_leave_in_a_dictionary(shared_place, steps):
    with opened(shared_place) as states:
        put(states, dict.fromkeys([key for key, _ in states.items()]))
        states.remove([key for key, _ in states.oldest(1_000)])
        expected, journal = {}, []
        for items, entries, removed in steps:
            put(states, items, entries)
            expected |= items
            journal += entries
            states.remove([key for key, _ in states.oldest(removed)])
            journal = journal[removed:]
            assert states.get_many(list(items)) == list(items.values())
        expected = {key: value for key, value in expected.items() if value is not None}
        assert dict(states.items()) == expected
        assert journal_of(states) == journal


def test_lmdb_a_read_of_a_damaged_store_says_where_to_look(tmp_path):
    with LmdbStates(tmp_path / "online") as states:
        put(states, {b"u1": b"1"})
    (tmp_path / "online" / "1" / "data.mdb").write_bytes(b"not an environment" * 1000)
    with LmdbStates(tmp_path / "online") as states:
        for call in (lambda: states.get_many([b"u1"]), lambda: put(states, {b"u1": b"2"})):
            with pytest.raises(DataError, match="See runbook: damaged online state"):
                call()


def test_lmdb_a_full_disk_is_named_and_leaves_what_was_there(tmp_path, on_a_full_disk):
    root = tmp_path / "online"
    said = on_a_full_disk(
        f"""
from pathlib import Path
from pinnersage.errors import TransientError
from pinnersage.stores.lmdb_states import LmdbStates
states = LmdbStates(Path({str(root)!r}))
done = 0
try:
    for i in range(50):
        states.change([b"u"], lambda _: {{b"u": b"%d" % i}}, [b"x" * 100_000])
        done += 1
except TransientError as error:
    print("said:", error)
print(states.get_many([b"u"]) == [b"%d" % (done - 1)], len(states.oldest(1000)) == done, done < 50)
states.remove([key for key, _ in states.oldest(1000)])
states.change([b"u"], lambda _: {{b"u": b"again"}})
print(states.get_many([b"u"]))
""",
        1_000_000,
    )
    assert f"said: {root} is full" in said
    assert "Make room" in said
    assert "True True True" in said
    assert "[b'again']" in said


def test_lmdb_who_may_not_write_there_is_told_so(tmp_path, in_a_fork):
    root = tmp_path / "online"
    with LmdbStates(root) as states:
        put(states, {b"u1": b"1"})
    for path in (*root.rglob("*"), root):
        path.chmod(0o500)

    def child():
        if os.geteuid() == 0:
            os.seteuid(65534)
        with LmdbStates(root) as states:
            for call in (lambda: states.get_many([b"u1"]), lambda: put(states, {b"u1": b"2"})):
                with pytest.raises(ConfigError, match="cannot be used"):
                    call()

    assert in_a_fork(child) == 0


READ_AND_STOP = """
import time
from pathlib import Path
from pinnersage.stores.lmdb_states import LmdbStates
states = {make}
with states._read(b"states") as transaction:
    print(transaction.get(b"u1"), flush=True)
    time.sleep(600)
"""


def test_lmdb_readers_of_killed_processes_are_forgotten(tmp_path):
    root = tmp_path / "online"
    with LmdbStates(root) as states:
        put(states, {b"u1": b"1"})
    command = [sys.executable, "-c", READ_AND_STOP.format(make=made(root))]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as living,
        subprocess.Popen(command, stdout=subprocess.PIPE) as killed,
    ):
        for reader in (living, killed):
            assert reader.stdout.readline() == b"b'1'\n"
        killed.kill()
        killed.wait()
        with LmdbStates(root) as states:
            assert states.get_many([b"u1"]) == [b"1"]
            assert reading_there(root) == {living.pid, os.getpid()}
        living.kill()


def reading_there(root):
    """Ids of the processes that LMDB has noted as readers."""
    _, *lines = lmdb_states._Environment.shared[root].opened.lmdb.readers().splitlines()
    return {int(line.split()[0]) for line in lines}


def test_lmdb_a_forked_child_is_a_reader_of_its_own(tmp_path, in_a_fork):
    root = tmp_path / "online"
    with LmdbStates(root) as states:
        put(states, {b"u1": b"1"})
        assert states.get_many([b"u1"]) == [b"1"]

        def child():
            assert states.get_many([b"u1"]) == [b"1"]
            assert reading_there(root) == {os.getpid()}

        assert in_a_fork(child) == 0
        assert states.get_many([b"u1"]) == [b"1"]
        assert os.getpid() in reading_there(root)


def test_lmdb_closed_states_say_so(tmp_path):
    states = LmdbStates(tmp_path / "online")
    states.close()
    with pytest.raises(DataError, match="states are closed"):
        states.get_many([b"u1"])


def test_redis_that_is_away_is_a_transient_error_without_its_password():
    states = RedisStates("redis://someone:secret@127.0.0.1:1/0")
    calls = (
        lambda: states.get_many([b"u1"]),
        lambda: put(states, {b"u1": b"1"}),
        lambda: list(states.items()),
        lambda: states.oldest(1),
        lambda: states.remove([b"1-0"]),
    )
    for call in calls:
        with pytest.raises(TransientError, match=r"redis://127.0.0.1:1/0 is away") as caught:
            call()
        assert "secret" not in str(caught.value)
    assert "secret" not in repr(states)


@pytest.fixture
def redis_states(redis_url):
    with RedisStates(redis_url) as states:
        states.client.flushall()
        yield states
        states.client.config_set("maxmemory", 0)


@pytest.mark.service
def test_redis_that_is_full_makes_no_half_of_a_change(redis_states):
    put(redis_states, {b"u1": b"old", b"u2": b"old"}, [b"first"])
    redis_states.client.config_set("maxmemory", 1)
    with pytest.raises(TransientError, match=r"is full: .*Give it memory \(maxmemory\)"):
        put(redis_states, {b"u1": b"new", b"u2": b"new"}, [b"second"])
    assert dict(redis_states.items()) == {b"u1": b"old", b"u2": b"old"}
    assert journal_of(redis_states) == [b"first"]
    put(redis_states, {b"u1": None})
    assert dict(redis_states.items()) == {b"u2": b"old"}, "removing makes room"


@pytest.mark.service
def test_redis_states_have_no_time_to_live(redis_states):
    put(redis_states, {b"%d" % i: b"1" for i in range(50)}, [b"entry"])
    names = redis_states.client.scan_iter()
    assert names
    assert {redis_states.client.ttl(name) for name in names} == {-1}


@pytest.mark.service
def test_redis_a_writer_that_is_always_beaten_gives_up_and_says_so(redis_states, redis_url):
    with RedisStates(redis_url) as other:
        calls = []

        def beaten(_):
            calls.append(1)
            other.change([b"u1"], add)
            return {b"u1": b"mine"}

        with pytest.raises(TransientError, match="others changed the same users 100 times"):
            redis_states.change([b"u1"], beaten, [b"entry"])
    assert redis_states.get_many([b"u1"]) == [b"%d" % len(calls)]
    assert journal_of(redis_states) == []


@pytest.mark.service
def test_redis_goes_on_when_the_server_has_forgotten_its_scripts(redis_states):
    put(redis_states, {b"u1": b"1"})
    redis_states.client.script_flush()
    put(redis_states, {b"u1": b"2"})
    assert redis_states.get_many([b"u1"]) == [b"2"]


def test_lmdb_states_are_in_the_home_of_lmdb_profiles(make_home):
    settings = make_home()
    with open_states(settings) as states:
        put(states, {b"u1": b"1"})
    assert (settings.home / "stores" / "online" / "1" / "data.mdb").is_file()


@pytest.mark.service
def test_redis_states_are_in_the_server_of_redis_profiles(make_home, redis_states, redis_url):
    settings = make_home(keyvalue={"store": "redis", "url": redis_url})
    with open_states(settings) as states:
        put(states, {b"u1": b"1"})
    assert redis_states.get_many([b"u1"]) == [b"1"]
    assert not (settings.home / "stores" / "online").exists()
