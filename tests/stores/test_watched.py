"""Watched: a record that others replace. Its threads are tested in ``tests/test_takedown.py``."""

import pytest
from pydantic import BaseModel

from pinnersage.errors import DataError, TransientError
from pinnersage.stores import watched
from pinnersage.stores.folder import Folder
from pinnersage.stores.watched import Watched


@pytest.fixture
def storage(tmp_path):
    return Folder(tmp_path)


@pytest.fixture
def now():
    return [50.0]


@pytest.fixture
def record(storage, now):
    """The record's own text, ``-`` while there is none."""
    return Watched(
        storage,
        "name",
        lambda data: "-" if data is None else data.decode(),
        gone="alas.",
        clock=lambda: now[0],
    )


def test_no_record_is_a_value_and_a_new_one_is_seen_after_seconds(storage, now, record):
    assert record.value() == "-"
    storage.write("name", b"one")
    now[0] += watched.SECONDS - 0.01
    assert record.value() == "-"
    now[0] += 0.01
    assert record.value() == "one"


def test_an_unchanged_record_gives_the_same_object(storage, now, record):
    storage.write("name", b"a longer text, so that it is not interned")
    first = record.value()
    now[0] += watched.SECONDS
    assert record.value() is first


def test_what_cannot_be_read_does_not_pass_for_what_was_known(storage, now, record):
    storage.write("name", b"one")
    assert record.value() == "one"
    storage.write("name", b"\xff")
    now[0] += watched.SECONDS
    for _ in range(2):
        with pytest.raises(UnicodeDecodeError):
            record.value()
    storage.write("name", b"two")
    assert record.value() == "two"


def test_a_record_that_is_gone_is_an_error_that_says_so(storage, now, record):
    storage.write("name", b"one")
    record.value()
    (storage.local("name")).unlink()
    now[0] += watched.SECONDS
    with pytest.raises(DataError, match=r"name is gone, alas\."):
        record.value()


class Names(BaseModel):
    """A record of names."""

    names: tuple[str, ...] = ()


def names_of(data, _where):
    return Names() if data is None else Names.model_validate_json(data)


def with_name(name):
    return lambda known: Names(names=(*known.names, name))


def test_who_is_beaten_reads_again_and_nothing_is_lost(storage):
    asked = []

    def beaten_once(known):
        if not asked:
            watched.replaced(storage, "names", names_of, with_name("quick"))
        asked.append(known)
        return with_name("slow")(known)

    made = watched.replaced(storage, "names", names_of, beaten_once)

    assert made.names == ("quick", "slow")
    assert len(asked) == 2
    assert names_of(storage.read("names"), "") == made


def test_a_change_that_changes_nothing_writes_nothing(storage):
    assert watched.replaced(storage, "names", names_of, lambda known: known) == Names()
    assert storage.read("names") is None


def test_who_is_beaten_every_time_says_so(storage):
    def beaten(known):
        storage.write(
            "names", Names(names=("x",) * (len(known.names) + 1)).model_dump_json().encode()
        )
        return with_name("slow")(known)

    with pytest.raises(TransientError, match="others changed it 20 times"):
        watched.replaced(storage, "names", names_of, beaten)
