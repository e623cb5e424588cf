"""Moments within a day, and what the day's own actions change, against naive twins."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_logs import FIRST, N_DAYS, actions_of, drawn_log, log_of, nth, pins

from pinnersage.evaluate import within_day
from pinnersage.evaluate.cases import DAY_US, NO_PAST, start_us
from pinnersage.evaluate.metrics import Sums
from pinnersage.evaluate.models import PinnerSage
from pinnersage.model import cluster_actions

START = start_us(FIRST)
HOUR = DAY_US // 24
MATRIX = pins(np.random.default_rng(0))


def naive(log, day, window_days):
    """Each moment: user, time, what was known at the day's start, the pins and which are new."""
    start, found, without = start_us(day), [], 0
    for user in range(len(log.user_ids)):
        own = [(time, row) for u, time, row in actions_of(log) if u == user]
        times = sorted({time for time, _ in own if start <= time < start + DAY_US})
        known = [a for a in own if start - window_days * DAY_US <= a[0] < start]
        without += bool(times and not known)
        for time in times[1:] if known else []:
            before = {row for t, row in own if t < time}
            did = dict.fromkeys(row for t, row in own if t == time)
            history = [(row, (time - t) / DAY_US) for t, row in known]
            found.append((user, time, history, [(row, row not in before) for row in did]))
    return found, without


def listed(made):
    """Moments as the naive twin has them."""
    h, t = made.histories, made.targets
    return [
        (
            user,
            now,
            list(zip(h.rows[a:b].tolist(), h.ages_days[a:b].tolist(), strict=True)),
            list(zip(t.rows[c:d].tolist(), t.new[c:d].tolist(), strict=True)),
        )
        for user, now, a, b, c, d in zip(
            h.users.tolist(),
            h.now_us.tolist(),
            h.offsets,
            h.offsets[1:],
            t.offsets,
            t.offsets[1:],
            strict=False,
        )
    ]


@given(st.integers(0, 200), st.integers(1, N_DAYS), st.lists(st.integers(0, N_DAYS), min_size=1))
def test_moments_are_those_of_a_naive_twin(seed, window_days, days):
    log, days = drawn_log(seed), [nth(n) for n in sorted(set(days))]
    made = within_day.of_days(log, days, window_days)
    twins = [naive(log, day, window_days) for day in days]
    assert listed(made) == [moment for found, _ in twins for moment in found]
    assert made.left_out[NO_PAST] == sum(without for _, without in twins)
    seen = [made.seen.rows[a:b].tolist() for a, b in pairwise(made.seen.offsets)]
    acted = actions_of(log)
    assert seen == [
        sorted({row for u, time, row in acted if u == user and time < now})
        for user, now, *_ in listed(made)
    ]


def test_of_a_long_sitting_ten_moments_are_looked_at_the_first_and_the_last_among_them():
    acted = [(0, START - HOUR, 0), *((0, START + n * HOUR // 4, n % 9) for n in range(41))]
    made = within_day.of_days(log_of(acted, MATRIX), [FIRST], 5)
    assert made.n == within_day.MOMENTS
    assert made.left_out[within_day.OVER] == 30
    assert made.histories.now_us[[0, -1]].tolist() == [START + HOUR // 4, START + 10 * HOUR]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 200))
def test_what_happens_at_a_moment_or_later_changes_nothing_that_is_known_before_it(seed):
    log = drawn_log(seed)
    made = within_day.of_days(log, [nth(8)], 6)
    model = PinnerSage(MATRIX, 1.0)
    for case in range(made.n):
        one = made.histories.of(slice(case, case + 1))
        user, now = int(one.users[0]), int(one.now_us[0])
        past = [a for a in actions_of(log) if a[0] != user or a[1] < now]
        short = log_of([*past, (len(log.user_ids) - 1, START + 30 * DAY_US, 0)], MATRIX)
        whole = within_day.Online(model, log, 20).represent(one)
        cut = within_day.Online(model, short, 20).represent(one)
        assert np.array_equal(whole.rows, cut.rows)
        assert np.array_equal(whole.weights, cut.weights)


def test_only_the_latest_actions_of_the_same_day_count():
    far = [9, 3, 17, 11]
    acted = [(0, START - HOUR, 0), (0, START - 1, 5)]
    acted += [(0, START + n * HOUR, row) for n, row in enumerate(far)]
    acted.append((0, START + 9 * HOUR, 2))
    log = log_of(acted, MATRIX)
    made = within_day.of_days(log, [FIRST], 5)
    last = made.histories.of(slice(made.n - 1, made.n))
    plain = PinnerSage(MATRIX, 0.0)  # nothing merges but copies: medoids are what was acted on
    found = within_day.Online(plain, log, 2).represent(last)
    assert set(found.rows.tolist()) == {0, 5, *far[-2:]}
    assert set(within_day.Online(plain, log, 20).represent(last).rows.tolist()) == {0, 5, *far}
    assert within_day.LatestPin(log).represent(last).rows.tolist() == [far[-1]]


def test_a_day_that_begins_with_the_moment_leaves_what_batch_has():
    acted = [(0, START - HOUR * n, n) for n in range(1, 9)] + [
        (0, START + HOUR, 3),
        (0, START + 2, 4),
    ]
    log = log_of(acted, MATRIX)
    one = within_day.of_days(log, [FIRST], 5).histories
    plain = PinnerSage(MATRIX, 1.0)
    batch, online = plain.represent(one), within_day.Online(plain, log, 20).represent(one)
    assert online.weights.sum() == pytest.approx(
        batch.weights.sum() + np.exp(-0.01 * HOUR / DAY_US)
    )
    alone = cluster_actions(MATRIX, one.ages_days, one.rows, 1.0, 0.01)
    assert batch.rows.tolist() == one.rows[alone.medoids].tolist()


def test_the_table_says_what_was_left_out_and_lifts_are_over_batch_alone():
    acted = [(0, START - HOUR, 0), (0, START, 1), (0, START + 1, 2), (1, START - HOUR, 0)]
    acted += [(1, START, 1), (1, START + 1, 2), (2, START, 3)]
    made = within_day.of_days(log_of(acted, MATRIX), [FIRST], 5)
    sums = dict.fromkeys(within_day.MEASURES, Sums(np.array([1.0, 0.0]), np.ones(2)))
    better = dict.fromkeys(within_day.MEASURES, Sums(np.ones(2), np.ones(2)))
    found = {"Batch alone": sums, "Batch and online": better}
    table = within_day.table(found, made, "all medoids", 20, 0)
    assert table.base == "Batch alone"
    assert table.rows[1].lifts["recall, all"].value == 1.0
    assert "2 first actions of a user's day, 1 users' days with nothing" in table.about
