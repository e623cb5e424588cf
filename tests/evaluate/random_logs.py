"""Random logs: a few users over some days, with edges and ties, and models to put on them."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from pinnersage.evaluate import cases
from pinnersage.evaluate.log import Log, unit

FIRST = date(2026, 3, 1)
N_DAYS = 12


def nth(n):
    """The n-th day."""
    return FIRST + timedelta(days=n)


def log_of(actions, matrix):
    """A log of (user, microsecond, row); users are named 100, 101 and so on, all of them there."""
    n_users = 1 + max((user for user, *_ in actions), default=-1)
    actions = sorted(actions)
    counts = np.bincount([user for user, *_ in actions], minlength=n_users)
    return Log(
        user_ids=pa.array(range(100, 100 + n_users)),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.intp),
        rows=np.array([row for *_, row in actions], np.intp),
        times_us=np.array([time for _, time, _ in actions], np.int64),
        matrix=matrix,
        pin_ids=pa.array(range(len(matrix))),
        embeddings="drawn",
        left_out={},
    )


def pins(rng, n_pins=25, d=6, n_topics=4):
    """Unit vectors around some directions; the last two are one."""
    topics = rng.normal(size=(n_topics, d))
    vectors = topics[rng.integers(n_topics, size=n_pins)] + 0.3 * rng.normal(size=(n_pins, d))
    vectors[-1] = vectors[-2]
    return unit(vectors)


def drawn_actions(rng, n_users=7, n_pins=25, n_days=N_DAYS):
    """Actions by user, time and row: some at midnight, a microsecond before it, and at one time."""
    moments = [0, 0, cases.DAY_US - 1, *rng.integers(0, cases.DAY_US, 4).tolist()]
    start = cases.start_us(FIRST)
    return [
        (user, start + int(rng.integers(n_days)) * cases.DAY_US + int(rng.choice(moments)), row)
        for user in range(n_users)
        for row in rng.integers(n_pins, size=rng.integers(0, 40)).tolist()
    ]


def drawn_log(seed, **sizes):
    """A random log."""
    rng = np.random.default_rng(seed)
    matrix = pins(rng)
    return log_of(drawn_actions(rng, **sizes), matrix)


def actions_of(log):
    """A log as (user, microsecond, row)."""
    return list(zip(log.users.tolist(), log.times_us.tolist(), log.rows.tolist(), strict=True))


def with_another_future(log, moment_us, seed):
    """The log with all that is dated at or after a moment drawn anew: pins, times and how much."""
    rng = np.random.default_rng(seed)
    past = [action for action in actions_of(log) if action[1] < moment_us]
    future = [
        (user, moment_us + int(rng.integers(9 * cases.DAY_US)), int(rng.integers(len(log.matrix))))
        for user in range(len(log.user_ids))
        for _ in range(rng.integers(0, 9))
    ]
    kept = log_of([*past, *future, (len(log.user_ids) - 1, moment_us, 0)], log.matrix)
    assert len(kept.user_ids) == len(log.user_ids)
    return kept
