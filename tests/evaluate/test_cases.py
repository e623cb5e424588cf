"""Cases: what was known before a day and what was done on it, against a naive twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_logs import (
    FIRST,
    N_DAYS,
    actions_of,
    drawn_log,
    log_of,
    nth,
    pins,
    with_another_future,
)

from pinnersage.evaluate import cases
from pinnersage.evaluate.cases import DAY_US, NO_PAST, start_us

START = start_us(FIRST)
MATRIX = pins(np.random.default_rng(0))


def naive(log, day, window_days):
    """Each user's case on a day: history, targets, and what she had seen; and users without."""
    start, found, without = start_us(day), [], 0
    for user in range(len(log.user_ids)):
        own = [(time, row) for u, time, row in actions_of(log) if u == user]
        did = [row for time, row in own if start <= time < start + DAY_US]
        known = [a for a in own if start - window_days * DAY_US <= a[0] < start]
        seen = sorted({row for time, row in own if time < start})
        if did and known:
            targets = [(row, row not in seen) for row in dict.fromkeys(did)]
            history = [(row, (start - time) / DAY_US) for time, row in known]
            found.append((user, history, targets, seen))
        without += bool(did and not known)
    return found, without


def lists(offsets, *columns):
    """Flat columns as a list a case."""
    joined = list(zip(*(column.tolist() for column in columns), strict=True))
    pairs = zip(offsets.tolist(), offsets.tolist()[1:], strict=False)
    return [joined[begin:end] for begin, end in pairs]


def listed(made):
    """Cases as the naive twin has them."""
    histories = lists(made.histories.offsets, made.histories.rows, made.histories.ages_days)
    targets = lists(made.targets.offsets, made.targets.rows, made.targets.new)
    seen = [[row for (row,) in one] for one in lists(made.seen.offsets, made.seen.rows)]
    users = made.histories.users.tolist()
    return list(zip(users, histories, targets, seen, strict=True))


@given(st.integers(0, 300), st.integers(1, N_DAYS), st.lists(st.integers(0, N_DAYS), min_size=1))
def test_cases_are_those_of_a_naive_twin(seed, window_days, days):
    log, days = drawn_log(seed), [nth(n) for n in sorted(set(days))]
    made = cases.of_days(log, days, window_days)
    twins = [naive(log, day, window_days) for day in days]
    assert listed(made) == [case for found, _ in twins for case in found]
    assert made.left_out == {NO_PAST: sum(without for _, without in twins)}
    assert made.n == sum(len(found) for found, _ in twins)
    assert made.day.tolist() == [i for i, (found, _) in enumerate(twins) for _ in found]
    moments = [start_us(days[i]) for i in made.day]
    assert made.histories.now_us.tolist() == moments


@given(st.integers(0, 300))
def test_by_day_gives_each_day_s_own_cases(seed):
    log, days = drawn_log(seed), [nth(n) for n in (2, 3, 9, N_DAYS + 5)]
    parts = list(cases.of_days(log, days, 4).by_day())
    assert [part.days for part in parts] == [(day,) for day in days]
    for part in parts:
        alone = cases.of_days(log, part.days, 4)
        assert listed(part) == listed(alone)
        assert part.histories.now_us.tolist() == alone.histories.now_us.tolist()
        assert part.day.tolist() == [0] * part.n
    assert parts[-1].n == 0


def test_the_windows_are_half_open():
    day, window = nth(5), 3
    start, first = start_us(day), start_us(nth(2))
    times = [first - 1, first, start - 1, start, start + DAY_US - 1, start + DAY_US]
    log = log_of([(0, time, row) for row, time in enumerate(times)], MATRIX)
    made = cases.of_days(log, [day], window)
    assert made.histories.rows.tolist() == [1, 2]
    assert made.histories.ages_days.tolist() == [window, 1 / DAY_US]
    assert made.targets.rows.tolist() == [3, 4]
    assert made.seen.rows.tolist() == [0, 1, 2], "as far back as the log goes"


def test_a_pin_of_before_the_window_is_a_repeat():
    old, yesterday, today = START, start_us(nth(8)), start_us(nth(9))
    log = log_of([(0, old, 7), (0, yesterday, 1), (0, today, 7), (0, today + 1, 2)], MATRIX)
    targets = cases.of_days(log, [nth(9)], 2).targets
    assert (targets.rows.tolist(), targets.new.tolist()) == ([7, 2], [False, True])


def test_a_pin_counts_once_a_day_where_it_came_first():
    today = start_us(nth(1))
    acts = [(0, START, 3), (0, today, 5), (0, today + 1, 4), (0, today + 2, 5)]
    assert cases.of_days(log_of(acts, MATRIX), [nth(1)], 1).targets.rows.tolist() == [5, 4]


def test_users_without_a_past_are_left_out_and_counted():
    today = start_us(nth(5))
    acts = [(0, today, 1), (1, today - DAY_US, 1), (1, today, 1), (2, START, 1), (2, today, 1)]
    made = cases.of_days(log_of([*acts, (3, START, 1)], MATRIX), [nth(5)], 2)
    assert made.histories.users.tolist() == [1]
    assert made.left_out == {NO_PAST: 2}


@pytest.mark.parametrize("seed", range(20))
def test_nothing_dated_on_or_after_a_day_changes_what_was_known_before_it(seed):
    log, day = drawn_log(seed), nth(6)
    other = with_another_future(log, start_us(day), seed)
    everyone = np.arange(len(log.user_ids))
    for one, two in zip(
        cases.before(log, everyone, start_us(day), 4),
        cases.before(other, everyone, start_us(day), 4),
        strict=True,
    ):
        assert one.tobytes() == two.tobytes()
    both = [cases.of_days(one, [day], 4) for one in (log, other)]
    was, now = ({case[0]: (case[1], case[3]) for case in listed(made)} for made in both)
    assert all(was[user] == now[user] for user in was.keys() & now.keys())


@given(st.integers(0, 300), st.integers(0, N_DAYS * 24))
def test_places_in_the_log_are_those_of_the_first_action_not_before(seed, hour):
    log = drawn_log(seed)
    moment = START + hour * DAY_US // 24
    expected = [
        begin + sum(time < moment for time in log.times_us[begin:end].tolist())
        for begin, end in zip(log.offsets.tolist(), log.offsets.tolist()[1:], strict=False)
    ]
    assert cases.places_at(log, moment).tolist() == expected
