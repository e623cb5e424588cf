"""What Hypothesis may draw: users and their actions, seeded so that a failure replays."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

DIMENSIONS = (1, 2, 3, 8, 16, 64)


class User(NamedTuple):
    embeddings: np.ndarray  # float64[n_rows, d]
    rows: np.ndarray  # intp[n]
    ages: np.ndarray  # float64[n]

    @property
    def points(self):
        return self.embeddings[self.rows]


def padded(points):
    """Points as the kernels take them: one after another, a multiple of 16 numbers each."""
    points = np.asarray(points)
    wide = np.zeros((len(points), -(-points.shape[1] // 16) * 16), points.dtype)
    wide[:, : points.shape[1]] = points
    return wide


def make_user(rng, n, d, *, topics=4, spread=0.3, pins=None, copies=0.1):
    """``n`` actions on up to ``pins`` pins around ``topics`` directions; some pins are copies."""
    pins = max(1, n if pins is None else pins)
    centres = rng.normal(size=(topics, d))
    vectors = centres[rng.integers(topics, size=pins)] + spread * rng.normal(size=(pins, d))
    copied = rng.random(pins) < copies
    vectors[copied] = vectors[rng.integers(pins, size=copied.sum())]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ages = np.sort(rng.random(n) * 90)[::-1]
    return User(vectors, rng.integers(pins, size=n), np.ascontiguousarray(ages))


@st.composite
def user(draw, max_actions=40, min_actions=0):
    n = draw(st.integers(min_actions, max_actions))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return make_user(
        rng,
        n,
        draw(st.sampled_from(DIMENSIONS)),
        topics=draw(st.integers(1, 6)),
        spread=draw(st.sampled_from([0.0, 0.05, 0.3, 2.0])),
        pins=draw(st.sampled_from([1, 3, n // 2, n])),
        copies=draw(st.sampled_from([0.0, 0.1, 0.5])),
    )


def seeded_users(n_users, seed):
    """Users of 0 to 400 actions, most of them small, each with a threshold from 0.05 to 10⁶."""
    rng = np.random.default_rng(seed)
    for number in range(n_users):
        n = number if number < 3 else int(rng.integers(2, 400 if rng.random() < 0.2 else 60))
        drawn = make_user(
            rng,
            n,
            int(rng.choice(DIMENSIONS)),
            topics=int(rng.integers(1, 12)),
            spread=float(rng.choice([0.05, 0.3, 2.0])),
            pins=int(rng.choice([n, n // 2 + 1])),
        )
        yield drawn, float(np.exp(rng.uniform(np.log(0.05), np.log(rng.choice([4.0, 1e6])))))


def thresholds():
    return st.sampled_from([0.05, 0.3, 1.0, 1.7, 2.5, 6.0, 40.0, 1e6])


def decays():
    return st.sampled_from([0.0, 0.01, 0.1, 1.0])


@st.composite
def users(draw, max_users=6, max_actions=25):
    """Users over one table: (embeddings, offsets, ages, rows)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(0, max_actions), max_size=max_users))
    d = draw(st.sampled_from(DIMENSIONS))
    everything = make_user(rng, sum(sizes), d, pins=draw(st.sampled_from([3, 20, 60])))
    return (
        everything.embeddings,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp),
        everything.ages,
        everything.rows,
    )
