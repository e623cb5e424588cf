"""Against SciPy: whole users in float64, one linkage each, cut at thresholds of every size.

``KERNEL_USERS`` says how many users: a thousand here, ten thousand when it matters:
``KERNEL_USERS=10000 .venv/bin/python -m pytest -n 0 -s tests/kernels/test_against_scipy.py``.
"""

import os
import sys
from collections import Counter
from typing import NamedTuple

import naive
import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from pinnersage.kernels.collapse import collapse
from pinnersage.kernels.gather import narrow, vectors
from pinnersage.kernels.medoid import medoids
from pinnersage.kernels.ward import ward

USERS = int(os.environ.get("KERNEL_USERS", "1000"))
LARGEST = 5_000
KINDS = ("topics", "directions", "crowd", "line", "grid", "scales")
TIE, AT_THE_HEIGHT = 1e-12, 1e-11
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + USERS)]


class User(NamedTuple):
    """Some table and the row of each action."""

    kind: str
    table: np.ndarray
    rows: np.ndarray


def points_of(kind, rng, m, d):
    """Users as they come, and users whose distances a float32 can't tell apart."""
    if kind == "topics":
        centres = rng.normal(size=(rng.integers(2, 20), d))
        points = centres[rng.integers(len(centres), size=m)]
        points += rng.choice([0.05, 0.3, 0.6]) * rng.normal(size=(m, d))
    elif kind == "directions":
        points = rng.normal(size=(m, d))
    elif kind == "crowd":
        points = rng.normal(size=d) + 10.0 ** -rng.integers(1, 6) * rng.normal(size=(m, d))
    elif kind == "line":
        steps = rng.random(m) * np.geomspace(1, 10.0 ** rng.integers(0, 4), m)
        angles = np.outer(np.cumsum(steps) / steps.sum(), np.arange(1, d + 1))
        return np.cos(angles + rng.uniform(0, 6, d)) + 1.5
    elif kind == "grid":
        noise = 10.0 ** -rng.integers(4, 7) * rng.normal(size=(m, d))
        return rng.integers(1, 5, size=(m, d)) + noise
    else:
        return rng.normal(size=(m, d)) * np.exp(2 * rng.normal(size=(m, 1)))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def user(seed):
    """A user of 2 to 5,000 actions, half of them below 30 pins, one in fifty above 1,000."""
    rng = np.random.default_rng([7, seed])
    kind, d = rng.choice(KINDS), int(rng.choice([2, 16, 64, 256, 1024]))
    m = min(1_000 if kind == "grid" else LARGEST, 2 + int(30 * rng.pareto(1.1)))
    table = points_of(kind, rng, m, d)
    if d > 2 and kind not in ("crowd", "line", "grid") and rng.random() < 0.7:
        table = table.astype(np.float32)  # few numbers of few digits would tie
    if rng.random() < 0.3:
        copied = rng.random(m) < 0.2
        table[copied] = table[rng.integers(m, size=copied.sum())]
    rows = np.arange(m)
    if rng.random() < 0.4:
        rows = rng.permutation(np.repeat(rows, rng.integers(1, 5, m)))[:LARGEST]
    return User(str(kind), table, rows), rng


def thresholds(rng, heights, actions):
    """Nothing and everything, a hair beside two merges, around the mean, and anywhere."""
    positive = heights[heights > 0]
    if positive.size == 0:
        return [0.0, 1.0, np.inf]
    beside = rng.choice(positive, 2) * (1 + rng.choice([-1e-6, 1e-6], 2))
    mean = 2 * actions.var(axis=0).sum()
    anywhere = np.exp(rng.uniform(np.log(positive.min() / 2), np.log(positive.max() * 2)))
    return [0.0, *beside, mean * rng.choice([0.3, 0.74, 0.76, 1.9]), anywhere, 1.0, np.inf]


def same_partition(a, b):
    pairs = np.unique(np.asarray(a, np.int64) * (len(b) + 1) + b).size
    return pairs == np.unique(a).size == np.unique(b).size


def is_least_and_earliest(chosen, points, weights, labels):
    """Eq. 2 with the centroid c: a member's cost is that of c and W‖P - c‖², so ‖P‖² - 2 P·c."""
    k = labels.max() + 1
    sums, totals = np.zeros((k, points.shape[1])), np.bincount(labels, weights)
    np.add.at(sums, labels, weights[:, None] * points)
    squares = (points**2).sum(axis=1)
    costs = squares - 2 * ((sums / totals[:, None])[labels] * points).sum(axis=1)
    order = np.lexsort((costs, labels))
    best = order[np.searchsorted(labels[order], np.arange(k))]
    room = naive.TIE * np.maximum(np.abs(costs[best]), squares[best])
    least = np.all(costs[chosen] <= costs[best] + room * (1 + 1e-6))
    earlier = (np.arange(labels.size) < chosen[labels]) & (
        costs < (costs[best] + room * (1 - 1e-6))[labels]
    )
    return bool(least and np.array_equal(labels[chosen], np.arange(k)) and not earlier.any())


class Tally:
    """What became of all cuts."""

    def __init__(self):
        self.users = self.cuts = self.at_a_height = 0
        self.decisions, self.in_float64 = Counter(), Counter()
        self.large = self.repeated = self.with_copies = self.medoids = 0
        self.ties, self.apart, self.copies_apart, self.not_least = [], [], [], []

    def __str__(self):
        share = ", ".join(
            f"{kind} {d} {self.in_float64[kind, d]:,} of {self.decisions[kind, d]:,}"
            for kind, d in sorted(self.decisions)
        )
        return (
            f"{self.users} users ({self.large} above 1,000 actions, {self.repeated} with repeats, "
            f"{self.with_copies} with copies), {self.cuts} cuts, {len(self.apart)} mismatches, "
            f"{len(self.ties)} ties, {self.at_a_height} thresholds at a height, "
            f"{self.medoids} medoids; in float64 of about all decisions: {share}"
        )

    def take(self, seed):
        drawn, rng = user(seed)
        pins = collapse(drawn.rows)
        points, squares = vectors(drawn.table, drawn.rows[pins.firsts])
        actions = drawn.table[drawn.rows].astype(np.float64)
        tree = linkage(actions, "ward")
        heights = tree[:, 2] ** 2
        about = drawn.kind, drawn.table.shape[1]
        self.users += 1
        self.large += actions.shape[0] > 1_000
        self.repeated += pins.firsts.size < actions.shape[0]
        self.with_copies += np.unique(points, axis=0).shape[0] < points.shape[0]
        for number, threshold in enumerate(thresholds(rng, heights, actions)):
            if threshold > 0 and np.abs(heights / threshold - 1).min() < AT_THE_HEIGHT:
                self.at_a_height += 1
                continue
            most = 8_192
            if points.shape[0] <= 400 and number % 3 == 1:
                most = points.shape[0] // 4  # lower cuts, then no matrix at all
            labels, in_float64 = ward(points, narrow(points), pins.weights, threshold, most)
            self.cuts += 1
            self.in_float64[about] += in_float64
            self.decisions[about] += 3 * points.shape[0]
            theirs = fcluster(tree, np.sqrt(threshold), "distance")
            if not same_partition(labels[pins.of_action], theirs):
                _, tied = naive.merges(actions, within=TIE)
                (self.ties if tied else self.apart).append((seed, drawn.kind, threshold, most))
            if threshold == 0:
                copies = np.unique(points, axis=0, return_inverse=True)[1]
                if not same_partition(labels, copies.ravel()):
                    self.copies_apart.append(seed)
            elif number in (1, 4):
                found = medoids(points, squares, pins.weights, labels, labels.max() + 1)
                self.medoids += found.points.size
                exact = points.astype(np.float64)
                if not is_least_and_earliest(found.points, exact, pins.weights, labels):
                    self.not_least.append((seed, threshold))


@pytest.fixture(scope="module")
def tally():
    found = Tally()
    for seed in range(USERS):
        found.take(seed)
    sys.stdout.write(f"\n{found}\n")
    return found


def test_every_cut_has_the_partition_of_scipy_repeated_pins_counted_one_by_one(tally):
    assert tally.apart == []
    assert len(tally.ties) + tally.at_a_height <= tally.cuts / 10_000 + 1, tally.ties


def test_copies_merge_at_zero_and_nothing_else_does(tally):
    assert tally.copies_apart == []


def test_each_medoid_is_the_earliest_of_least_cost_in_float64(tally):
    assert tally.not_least == []


def test_users_of_all_sizes_repeats_copies_and_close_decisions_were_among_them(tally):
    assert tally.users == USERS
    assert tally.large >= USERS // 100
    assert tally.repeated >= USERS // 4
    assert tally.with_copies >= USERS // 10
    assert tally.medoids > tally.users


def test_float64_is_asked_seldom_of_vectors_far_apart_and_often_of_crowds(tally):
    def share(kind):
        known = [(kind, d) for d in (64, 256, 1024)]
        asked, all_ = (sum(c[key] for key in known) for c in (tally.in_float64, tally.decisions))
        return asked / all_

    assert share("directions") < 0.05
    assert share("crowd") > 0.25
