from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sequence_logs import HOUR, log_of

pytest.importorskip("jax", reason="the extra sequence is not installed")

from pinnersage.evaluate.sequence import windows as w

GAP = 6


@st.composite
def logs(draw):
    hours = st.lists(st.integers(0, 60), max_size=25).map(sorted)
    users = draw(st.lists(hours, min_size=1, max_size=5))
    return log_of([[(hour, draw(st.integers(0, 7))) for hour in user] for user in users])


def everyone(log):
    return np.ones(log.offsets.size - 1, bool)


def sittings(log, until):
    """Of each user: lists of positions among the actions before a moment."""
    at, users = 0, []
    for begin, stop in zip(log.offsets[:-1], log.offsets[1:], strict=True):
        times = [t for t in log.times_us[begin:stop] if t < until]
        found = []
        for i, time in enumerate(times):
            if i and time - times[i - 1] <= GAP * HOUR:
                found[-1].append(at + i)
            else:
                found.append([at + i])
        at += len(times)
        users.append(found)
    return users


@given(logs(), st.integers(0, 70), st.integers(1, 12))
def test_every_step_to_a_next_sitting_is_in_one_window(log, until, length):
    until *= HOUR
    actions = w.before(log, until, everyone(log))
    found = w.windows_of(actions, gap_us=GAP * HOUR, length=length, since_us=None)
    expected = [
        (now[-1], after[0], after[-1] + 1)
        for user in sittings(log, until)
        for now, after in pairwise(user)
    ]
    ours = zip(found.ends, found.next_starts, found.next_stops, strict=True)
    assert [tuple(map(int, one)) for one in ours] == expected


@given(logs(), st.integers(1, 12))
def test_a_window_is_the_newest_actions_of_one_user_up_to_a_sittings_end(log, length):
    actions = w.before(log, 10**15, everyone(log))
    found = w.windows_of(actions, gap_us=GAP * HOUR, length=length, since_us=None)
    for i, (start, stop) in enumerate(zip(found.starts, found.stops, strict=True)):
        user = np.searchsorted(log.offsets, start, side="right") - 1
        ends = found.ends[found.offsets[i] : found.offsets[i + 1]]
        assert ends.size
        assert stop == ends[-1] + 1 <= log.offsets[user + 1]
        assert start == max(stop - length, log.offsets[user])
        assert (ends >= start).all()


@given(logs(), st.integers(0, 70))
def test_steps_since_a_moment_are_those_whose_next_sitting_begins_then(log, since):
    actions = w.before(log, 10**15, everyone(log))
    options = {"gap_us": GAP * HOUR, "length": 9}
    every = w.windows_of(actions, since_us=None, **options)
    some = w.windows_of(actions, since_us=since * HOUR, **options)
    kept = actions.times_us[every.next_starts] >= since * HOUR
    np.testing.assert_array_equal(some.ends, every.ends[kept])
    np.testing.assert_array_equal(some.next_stops, every.next_stops[kept])


@given(logs(), st.integers(0, 70))
def test_nothing_at_or_after_the_moment_is_kept(log, until):
    users = np.arange(log.offsets.size - 1) % 2 == 0
    actions = w.before(log, until * HOUR, users)
    expected = [
        (i, row)
        for i, user in enumerate(users)
        for at, row in zip(
            log.times_us[log.offsets[i] : log.offsets[i + 1]],
            log.rows[log.offsets[i] : log.offsets[i + 1]],
            strict=True,
        )
        if user and at < until * HOUR
    ]
    of = np.repeat(np.arange(users.size), np.diff(actions.offsets))
    assert list(zip(of, actions.rows, strict=True)) == expected


def test_a_gap_of_just_the_limit_is_still_one_sitting():
    log = log_of([[(0, 1), (6, 2), (12.001, 3)], [], [(12.001, 4)]])
    begins = w.sitting_starts(log.offsets, log.times_us, GAP * HOUR)
    assert begins.tolist() == [True, False, True, True]


def test_a_rectangle_holds_each_stretch_from_its_left_edge():
    log = log_of([[(0, 1), (1, 2), (9, 3), (20, 4), (21, 5)]])
    actions = w.before(log, 10**15, everyone(log))
    found = w.padded(actions, np.array([1, 3]), np.array([5, 5]), (3, 5), GAP * HOUR)
    assert found.rows.tolist() == [[2, 3, 4, 5, 0], [4, 5, 0, 0, 0], [0] * 5]
    assert found.sittings.tolist() == [[0, 1, 2, 2, 5], [0, 0, 5, 5, 5], [5] * 5]
