"""Takedown: a blocked pin is in no answer, whatever was built and remembered before."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import pyarrow.parquet as pq
import pytest
from worlds import DAY, change

from pinnersage import index, people, refine, release, retrieve, takedown
from pinnersage.errors import ConfigError, DataError
from pinnersage.stores import watched
from pinnersage.stores.folder import Folder
from pinnersage.stores.lake import Lake

AT = datetime(2026, 4, 6, 12, 30, tzinfo=UTC)


def block(settings, pin, by="ann", reason="a rights holder asked"):
    return takedown.order("block", str(pin), by, reason, AT, settings)


def unblock(settings, pin):
    return takedown.order("unblock", str(pin), "bob", "a mistake", AT, settings)


# --- the record ----------------------------------------------------------------------------------


def test_an_order_is_kept_with_who_why_and_when(settings):
    local = AT.astimezone(timezone(timedelta(hours=5)))
    report = takedown.order("block", "11", " ann ", " asked ", local, settings)

    assert (report.changed, report.blocked) == (True, 1)
    (order,) = takedown.read(settings).orders
    assert (order.pin, order.what, order.by, order.reason) == ("11", "block", "ann", "asked")
    assert (order.at, order.at.utcoffset()) == (AT, timedelta(0))


def test_an_order_given_again_changes_nothing_and_the_first_stands(settings):
    block(settings, "11")
    again = block(settings, "11", by="bob", reason="another")

    assert (again.changed, again.by, again.blocked) == (False, "ann", 1)
    assert len(takedown.read(settings).orders) == 1
    assert not unblock(settings, "12").changed


@pytest.mark.parametrize(
    ("given", "kept"),
    [("007", "7"), ("+7", "7"), (" 7 ", "7"), ("-0", "0"), (str(2**63 - 1), str(2**63 - 1)),
     (str(-(2**63)), str(-(2**63)))],
)  # fmt: skip
def test_a_number_is_one_pin_however_it_is_written(given, kept):
    assert takedown.canonical_id(given, "int64") == kept


@pytest.mark.parametrize(
    "wrong", ["seven", "7.0", "\uff17", str(2**63), str(-(2**63) - 1), "1" * 50]
)
def test_what_is_no_number_is_refused_where_pins_are_numbers(settings, wrong):
    with pytest.raises(ConfigError, match="whole numbers of 64 bits"):
        block(settings, wrong)


def test_a_text_is_a_pin_as_it_is():
    for pin in ("007", " lead ", "a\nb", "e\u0301", "\U0001f9f6"):
        assert takedown.canonical_id(pin, "string") == pin
    with pytest.raises(ConfigError, match="UTF-8"):
        takedown.canonical_id("\udcff", "string")


def test_what_was_unblocked_stays_on_record(settings):
    block(settings, "11")
    block(settings, "12")
    assert unblock(settings, "11").blocked == 1
    assert block(settings, "11").changed

    orders = takedown.read(settings)
    assert [(o.pin, o.what) for o in orders.orders] == [
        ("11", "block"), ("12", "block"), ("11", "unblock"), ("11", "block"),
    ]  # fmt: skip
    assert list(orders.blocked) == ["11", "12"]


@pytest.mark.parametrize("missing", ["pin", "by", "reason"])
def test_an_order_without_pin_name_or_reason_is_refused(settings, missing):
    given = {"pin": "11", "by": "ann", "reason": "asked"} | {missing: "  "}
    with pytest.raises(ConfigError, match="needs a pin, a name and a reason"):
        takedown.order("block", at=AT, settings=settings, **given)
    assert takedown.read(settings).orders == ()


def test_two_orders_at_once_are_both_kept(settings, monkeypatch):
    swap, others = Folder.swap, ["12"]

    def beaten(storage, key, old, data):
        if others:
            block(settings, others.pop())
        return swap(storage, key, old, data)

    monkeypatch.setattr(Folder, "swap", beaten)
    block(settings, "11")
    assert set(takedown.read(settings).blocked) == {"11", "12"}


def test_a_damaged_record_is_no_empty_one(settings):
    block(settings, "11")
    path = settings.home / "takedown" / takedown.RECORD
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(DataError, match=r"damaged.*runbook: damaged takedown record"):
        takedown.read(settings)
    with pytest.raises(DataError, match="damaged"):
        block(settings, "12")
    with pytest.raises(DataError, match="damaged"):
        takedown.Watch(takedown.record_of(settings)).pins()


@pytest.mark.parametrize("content", [b"{}", b"null", b"[]", b'{"orders": [{"pin": "7"}]}'])
def test_what_has_no_orders_in_it_is_damaged(settings, content):
    takedown.record_of(settings).write(takedown.RECORD, content)
    with pytest.raises(DataError, match="damaged"):
        takedown.read(settings)


def test_a_record_that_vanishes_opens_nothing(settings):
    now = [0.0]
    watch = takedown.Watch(takedown.record_of(settings), lambda: now[0])
    block(settings, "11")
    assert watch.pins() == {"11"}
    (settings.home / "takedown" / takedown.RECORD).unlink()
    now[0] += watched.SECONDS
    for _ in range(2):
        with pytest.raises(DataError, match="is gone, and there were orders in it"):
            watch.pins()


def test_a_slow_look_makes_nobody_wait_while_what_is_known_is_young(settings):
    storage, now = takedown.record_of(settings), [0.0]
    read, looking, go_on = storage.read, threading.Event(), threading.Event()
    watch = takedown.Watch(storage, lambda: now[0])
    watch.pins()

    def slow(key):
        looking.set()
        assert go_on.wait(30)
        return read(key)

    storage.read = slow
    block(settings, "11")
    now[0] = watched.SECONDS
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(watch.pins)
        assert looking.wait(30)
        assert watch.pins() == frozenset()
        go_on.set()
        assert first.result() == {"11"}
    assert watch.pins() == {"11"}


def test_a_reader_knows_of_an_order_after_some_seconds_and_not_at_every_question(settings):
    storage, asked, now = takedown.record_of(settings), [], [100.0]
    read = storage.read
    storage.read = lambda key: asked.append(key) or read(key)
    watch = takedown.Watch(storage, lambda: now[0])

    assert watch.pins() == frozenset()
    block(settings, "11")
    now[0] += watched.SECONDS - 0.1
    assert watch.pins() == frozenset()
    assert len(asked) == 1
    now[0] += 0.1
    assert watch.pins() == {"11"}
    assert watch.pins() is watch.pins(), "what is made from it can be kept"
    assert len(asked) == 2
    assert watched.LONGEST < 5


# --- answers -------------------------------------------------------------------------------------


@pytest.fixture
def user(finished):
    """Its user with the most clusters."""
    with retrieve.open_live(finished) as reader:
        sizes = {key: len(reader.profile(key.decode())) for key, _ in reader.profiles.items()}
    return max(sizes, key=sizes.get).decode()


@pytest.fixture
def reader(finished):
    """The live release, with a watch whose clock is ``reader.now``."""
    with retrieve.open_live(finished) as opened:
        opened.now = 0.0
        opened.watch = takedown.Watch(takedown.record_of(finished), lambda: opened.now)
        yield opened


def said(reader, settings, user):
    """Every pin of every answer about a user."""
    pins = {row["pin_id"] for row in people.clusters(reader, settings, user)["clusters"]}
    for allocation in ("equal", "proportional", "round_robin"):
        made = reader.recommend(user, wishes=retrieve.Wishes(allocation))
        pins |= {*made.medoids, *(c.medoid for c in made.candidates)}
        pins |= {c.pin_id for c in made.candidates}
    return pins


def test_a_blocked_pin_is_gone_from_every_answer_also_from_what_is_remembered(
    reader, finished, user
):
    before = reader.recommend(user, wishes=retrieve.Wishes("proportional"))
    candidate, medoid = before.candidates[0].pin_id, before.medoids[-1]
    assert {candidate, medoid} <= said(reader, finished, user)

    block(finished, candidate)
    block(finished, medoid)
    reader.now += watched.SECONDS

    after = said(reader, finished, user)
    assert after
    assert not {candidate, medoid} & after
    assert len(reader.profile(user)) == len(before.medoids) - (candidate in before.medoids) - 1
    unblock(finished, candidate)
    unblock(finished, medoid)
    reader.now += watched.SECONDS
    assert reader.recommend(user, wishes=retrieve.Wishes("proportional")) == before


def test_another_takes_the_place_of_a_blocked_candidate(finished, user):
    few = change(finished, retrieval={"n_medoids": 2, "n_candidates": 8})
    with retrieve.open_live(few) as reader:
        wishes = retrieve.Wishes("round_robin")
        before = reader.recommend(user, wishes=wishes)
        block(finished, before.candidates[0].pin_id)
        reader.watch = takedown.Watch(takedown.record_of(finished))
        after = reader.recommend(user, wishes=wishes)

    assert before.candidates[0].pin_id not in {c.pin_id for c in after.candidates}
    assert len(after.candidates) == len(before.candidates) == 8


def test_a_user_with_nothing_left_to_show_is_told_so(reader, finished, user):
    for pin in reader.profile(user).pin_ids:
        block(finished, pin)
    reader.now += watched.SECONDS

    assert reader.recommend(user) is None
    for ask in (people.clusters, partial(people.recommendation, draw=0)):
        with pytest.raises(DataError, match="every medoid is blocked"):
            ask(reader, finished, user)


def test_an_unknown_pin_may_be_blocked_and_hinders_nothing(reader, finished, user):
    before = reader.recommend(user)
    for pin in (2**63 - 1, -(2**63), -1):
        block(finished, pin)
    reader.now += watched.SECONDS

    assert reader.recommend(user) == before


# --- later indexes -------------------------------------------------------------------------------


def test_a_later_index_does_not_have_it_until_it_is_unblocked(finished):
    lake = Lake(finished.home / "lake")
    before = refine.run(DAY, finished)
    (path,) = lake.paths(lake.current("refined", day=DAY))
    pin = next(row["pin_id"] for row in pq.read_table(path).to_pylist() if row["kept"])
    old = release.Releases(finished).live().index.version

    block(finished, pin)
    report = refine.run(DAY, finished)

    assert not report.reused
    assert report.dropped["blocked"] == 1
    (path,) = lake.paths(lake.current("refined", day=DAY))
    row = next(row for row in pq.read_table(path).to_pylist() if row["pin_id"] == pin)
    assert (row["kept"], row["reason"], row["representative"]) == (False, "blocked", None)
    built = index.run(DAY, finished)
    assert built.version != old
    assert refine.run(DAY, finished).reused
    unblock(finished, pin)
    assert refine.run(DAY, finished).kept == before.kept
    assert index.run(DAY, finished).version == old


def test_a_pin_that_stood_for_others_gives_its_place_to_one_of_them(settings):
    settings = change(settings, index={"near_duplicate_cosine": 0.9})
    refine.run(DAY, settings)
    lake = Lake(settings.home / "lake")
    (path,) = lake.paths(lake.current("refined", day=DAY))
    rows = {row["pin_id"]: row for row in pq.read_table(path).to_pylist()}
    leader = next(r["representative"] for r in rows.values() if r["reason"] == "near_duplicate")

    block(settings, leader)
    refine.run(DAY, settings)

    (path,) = lake.paths(lake.current("refined", day=DAY))
    now = {row["pin_id"]: row for row in pq.read_table(path).to_pylist()}
    assert now[leader]["reason"] == "blocked"
    assert leader not in {row["representative"] for row in now.values()}
    followers = [pin for pin, row in rows.items() if row["representative"] == leader]
    assert any(now[pin]["kept"] or now[pin]["representative"] for pin in followers)


def test_the_record_says_from_when_to_when_a_pin_was_blocked(settings):
    def at(hour):
        return datetime(2026, 4, 5, hour, tzinfo=UTC)

    for hour, what, pin in [
        (1, "block", "7"), (2, "block", "8"), (3, "unblock", "7"), (4, "block", "7"),
    ]:  # fmt: skip
        takedown.order(what, pin, "Ada", "a test", at(hour), settings)

    assert takedown.read(settings).times() == [
        ("7", at(1), at(3)), ("8", at(2), None), ("7", at(4), None),
    ]  # fmt: skip
