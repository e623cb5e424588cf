"""Popular pins: counted by users, in the window before the day, the same for everybody."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pinnersage.evaluate import cases
from pinnersage.evaluate.cases import DAY_US
from pinnersage.evaluate.log import Log
from pinnersage.evaluate.popular import Popular

N_PINS = 7


def log_of(actions):
    """A log of (user, pin, day) triples."""
    ordered = sorted(actions, key=lambda one: (one[0], one[2]))
    users, rows, days = (np.array(part, np.intp) for part in zip(*ordered, strict=True))
    named, sizes = np.unique(users, return_counts=True)
    return Log(
        user_ids=pa.array([f"u{user}" for user in named]),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp),
        rows=rows,
        times_us=days.astype(np.int64) * DAY_US,
        matrix=np.eye(N_PINS, dtype=np.float32),
        pin_ids=pa.array([f"p{i}" for i in range(N_PINS)]),
        embeddings="e",
        left_out={},
    )


triples = st.tuples(st.integers(0, 3), st.integers(0, N_PINS - 1), st.integers(0, 9))


@given(st.lists(triples, min_size=1), st.sets(st.integers(0, N_PINS - 1)), st.integers(1, N_PINS))
def test_pins_come_by_how_many_users_acted_on_them_in_the_window(actions, without, depth):
    now, window = 8, 4
    log = log_of([*actions, (0, 0, now - 1)])
    model = Popular(log, window)
    model.represent(cases.before(log, np.array([0]), now * DAY_US, window))

    found = model.search(
        np.eye(N_PINS, dtype=np.float32)[:2], depth, np.array(sorted(without), int)
    )

    acted = {
        (user, pin) for user, pin, day in [*actions, (0, 0, now - 1)] if now - window <= day < now
    }
    counts = [sum(pin == p for _, p in acted) for pin in range(N_PINS)]
    twin = sorted((p for p in range(N_PINS) if p not in without), key=lambda p: (-counts[p], p))[
        :depth
    ]
    for rows, shares in zip(found.rows, found.cosines, strict=True):
        assert rows[rows >= 0].tolist() == twin
        assert (rows >= 0).sum() == np.isfinite(shares).sum()
        assert np.allclose(shares[: len(twin)] * max(counts), [counts[p] for p in twin])


def test_what_happens_at_or_after_the_moment_counts_for_nothing():
    before = [(0, 1, 5), (1, 1, 6), (2, 2, 6)]
    log, later = log_of(before), log_of([*before, (0, 3, 7), (1, 3, 7), (2, 3, 8)])
    answers = []
    for one in (log, later):
        model = Popular(one, 90)
        model.represent(cases.before(one, np.array([0]), 7 * DAY_US, 90))
        answers.append(model.search(one.matrix[:1], 3, np.array([], np.intp)).rows.tolist())

    assert answers[0] == answers[1] == [[1, 2, 0]]
