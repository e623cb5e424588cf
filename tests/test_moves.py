"""Moves: what was live when, also where a crash, a race or a wrong clock left its mark."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_release import ONE, THREE, TWO, Home

from pinnersage import release
from pinnersage.errors import DataError
from pinnersage.moves import Move, RacedError, Span, spans
from pinnersage.release import Releases
from pinnersage.stores.lake import canonical

START = datetime(2026, 3, 2, 6, tzinfo=UTC)


def at(hours):
    return START + timedelta(hours=hours)


class Ticking:
    """A clock that a test sets."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def ticking():
    return Ticking()


@pytest.fixture
def home(tmp_path, ticking):
    return Home(tmp_path, ticking)


def chain(*hours):
    """Moves at these hours, to releases 1, 2, …"""
    return [
        Move(number=n, at=at(hour), live=n, previous=n - 1 or None, why="")
        for n, hour in enumerate(hours, 1)
    ]


def told(home):
    return [(move.live, move.at) for move in home.releases.history()]


def test_every_move_is_in_the_history_with_its_time_also_a_rollback(home, ticking):
    home.day(ONE)
    ticking.now = at(24)
    home.publish(TWO)
    home.release(TWO)
    ticking.now = at(25)
    home.rollback()
    ticking.now = at(26)
    home.release(TWO)  # withdrawn: nothing moves
    ticking.now = at(27)
    home.promote(TWO)

    assert told(home) == [
        (1, at(0)), (2, at(0)), (3, at(24)), (2, at(25)), (4, at(27))
    ]  # fmt: skip
    assert "back from release 3 to 2" in home.releases.history()[3].why
    assert spans(home.releases.history()) == [
        Span(at(0), at(24), 2), Span(at(24), at(25), 3), Span(at(25), at(27), 2),
        Span(at(27), None, 4),
    ]  # fmt: skip


def test_the_clock_is_asked_when_the_pointer_moves(home, ticking, monkeypatch):
    """Not when the command began, which waited meanwhile."""
    home.publish(ONE)
    locked = Releases.locked

    def waited(self):
        ticking.now = at(5)
        return locked(self)

    monkeypatch.setattr(Releases, "locked", waited)
    home.release(ONE)

    assert told(home) == [(1, at(5))]


def test_a_promotion_that_moves_nothing_is_no_move(home, ticking):
    home.day(ONE)
    ticking.now = at(1)

    assert not home.promote(ONE).moved

    assert [hour for _, hour in told(home)] == [at(0), at(0)]


def test_a_crash_before_the_swap_leaves_no_move_in_the_history(home, ticking, monkeypatch):
    home.day(ONE)
    before = told(home)
    home.publish(TWO)

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Releases, "point", crash)
        with pytest.raises(KeyboardInterrupt):
            home.release(TWO)
    assert home.releases.moves.numbers() == [1, 2, 3]
    assert told(home) == before

    ticking.now = at(1)
    home.release(TWO)

    assert told(home) == [*before, (4, at(1))]
    assert home.releases.history()[-1].number == 4


def test_a_lost_race_leaves_no_move_in_the_history(home, ticking, monkeypatch):
    home.day(ONE)
    home.publish(TWO)
    swap = type(home.releases.storage).swap
    lost = []

    def beaten(self, key, old, data):
        if key == release.LIVE and not lost:
            lost.append(key)
            return False
        return swap(self, key, old, data)

    monkeypatch.setattr(type(home.releases.storage), "swap", beaten)
    ticking.now = at(1)
    home.release(TWO)

    assert lost
    assert [live for live, _ in told(home)] == [1, 2, 4]
    assert len(home.releases.moves.numbers()) == 4


def test_a_number_that_somebody_takes_meanwhile_is_a_race(home, ticking, monkeypatch):
    home.day(ONE)
    moves = home.releases.moves
    monkeypatch.setattr(type(moves), "numbers", lambda _: [1])

    with pytest.raises(RacedError):
        moves.add(1, 2, "", ticking)


def test_a_pointer_from_before_there_were_moves_goes_on(home, ticking):
    home.day(ONE)
    root = home.releases.storage.root
    pointer = home.releases.pointer().model_dump(mode="json")
    del pointer["move"]
    (root / "live.json").write_bytes(canonical(pointer))
    for path in (root / "moves").iterdir():
        path.unlink()

    assert home.live == (ONE, ONE)
    assert told(home) == []
    ticking.now = at(1)
    home.publish(TWO)
    home.release(TWO)

    assert told(home) == [(3, at(1))]
    assert home.rollback().live.number == 2


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_record_that_cannot_be_read_is_named_and_hinders_no_release(home, harm):
    home.day(ONE)
    path = home.releases.storage.root / "moves" / "000001.json"
    path.unlink() if harm == "gone" else path.write_text('{"number": 1')

    with pytest.raises(DataError, match=rf"moves/000001\.json is {harm}"):
        home.releases.history()

    home.publish(THREE)
    assert home.release(THREE).moved
    assert home.rollback().moved


def test_times_without_a_zone_are_refused():
    with pytest.raises(ValueError, match="timezone"):
        Move(number=1, at=START.replace(tzinfo=None), live=1, previous=None, why="")


def test_nothing_live_has_no_spans(home):
    assert spans(home.releases.history()) == []


def test_a_clock_that_was_behind_leaves_what_is_unsure_out():
    found = spans(chain(0, 10, 4, 20, 30))

    # Was the second at 10 too late, or the third at 4 too early?
    assert found == [Span(at(20), at(30), 4), Span(at(30), None, 5)]


def test_a_clock_far_ahead_makes_all_after_it_unsure_and_nothing_wrong():
    assert spans(chain(0, 5, 1_000_000, 10, 20)) == [Span(at(0), at(5), 1)]


def test_clocks_that_differ_by_seconds_leave_nothing_out():
    found = spans(chain(0, 10, 10 - 1 / 120, 20))

    assert found == [Span(at(0), at(10), 1), Span(at(10), at(20), 3), Span(at(20), None, 4)]


@given(
    true=st.lists(st.integers(0, 100), min_size=1, max_size=8, unique=True).map(sorted),
    wrong=st.tuples(st.integers(0, 7), st.integers(0, 100)),
)
def test_with_one_wrong_clock_no_span_names_what_was_not_live(true, wrong):
    """True wherever the wrong time is at odds with another; where it is not, nobody can tell."""
    said = list(true)
    place = wrong[0] % len(said)
    said[place] = wrong[1]
    odd = any(a > b for a, b in pairwise(said))

    for span in spans(chain(*said)):
        for hour in range(201):
            inside = span.start <= at(hour) and (span.end is None or at(hour) < span.end)
            live = max((n for n, since in enumerate(true, 1) if since <= hour), default=None)
            if inside and (odd or said == true):
                assert span.live == live, (true, said, hour)


@given(st.lists(st.integers(0, 20), max_size=12))
def test_spans_never_overlap_and_come_in_order(hours):
    found = spans(chain(*hours))

    assert all(a.end is not None and a.end <= b.start for a, b in pairwise(found))
    assert len({span.start for span in found}) == len(found)
    if hours == sorted(hours):
        starts = {hour: n for n, hour in enumerate(hours, 1)}  # of several at once the last
        assert [(s.start, s.live) for s in found] == [(at(h), n) for h, n in starts.items()]
