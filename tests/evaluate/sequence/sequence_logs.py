"""Small logs for the tests of the sequence models."""

from types import SimpleNamespace

import numpy as np

from pinnersage.evaluate.histories import Histories

HOUR = 3_600_000_000
DAY = 24 * HOUR


def log_of(users, matrix=None):
    """A log of lists of (hour, row), one list a user."""
    flat = [one for actions in users for one in actions]
    return SimpleNamespace(
        offsets=np.concatenate([[0], np.cumsum([len(one) for one in users])]).astype(np.intp),
        rows=np.array([row for _, row in flat], np.intp),
        times_us=np.array([round(hour * HOUR) for hour, _ in flat], np.int64),
        matrix=np.eye(8, dtype=np.float32) if matrix is None else matrix,
    )


def world(n_users=120, n_topics=6, pins_a_topic=12, d=16, n_days=30, seed=0):
    """Users of one topic a day, and the next topic on the next day: the last pin misleads."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.standard_normal((d, d)))[0][:n_topics]
    noise = 0.3 * rng.standard_normal((n_topics * pins_a_topic, d)) / np.sqrt(d)
    matrix = np.repeat(centres, pins_a_topic, axis=0) + noise
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    users = []
    for _ in range(n_users):
        topic, actions = int(rng.integers(n_topics)), []
        for day in np.flatnonzero(rng.random(n_days) < 0.4):
            pins = rng.choice(pins_a_topic, rng.integers(1, 5), replace=False)
            actions += [(24 * int(day) + 9, topic * pins_a_topic + int(pin)) for pin in pins]
            topic = (topic + 1) % n_topics
        users.append(actions)
    return log_of(users, matrix.astype(np.float32))


def known_before(log, now, users=None):
    """What is known of users at a moment."""
    known, offsets = [], [0]
    users = range(log.offsets.size - 1) if users is None else users
    for user in users:
        at = np.arange(log.offsets[user], log.offsets[user + 1])
        known.append(at[log.times_us[at] < now])
        offsets.append(offsets[-1] + known[-1].size)
    at = np.concatenate(known)
    return Histories(
        np.array(offsets, np.intp), log.rows[at], (now - log.times_us[at]) / DAY,
        np.array(list(users), np.intp), np.full(len(known), now),
    )  # fmt: skip
