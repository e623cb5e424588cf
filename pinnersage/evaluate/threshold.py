"""Threshold: the merge threshold (the paper's alpha) by a rule that knows neither truth nor future.

The paper gives no value and one cannot be carried over: it grows with the spread of a topic and
with how much users do. What can be asked of any embeddings is whether a pin is nearer to the rest
of its cluster than to the next one, the silhouette (Rousseeuw 1987). Here by direction:

    s = (b - a) / max(a, b),    a, b = 1 - cos(pin, mean direction of a cluster)

with a of the pin's own cluster without the pin, and b of the nearest other one. A cluster of one
pin counts 0, and so does a user of one cluster: neither can be doubted, and neither is a find.
The threshold with the largest mean over users is taken. Means are compared by direction because a
mean of few pins is short, and near to everything: by distance, large clusters would win.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

import numpy as np
from pydantic import BaseModel, ConfigDict
from threadpoolctl import threadpool_limits

from pinnersage.errors import ConfigError, DataError
from pinnersage.evaluate.clusterers import cluster_sums
from pinnersage.evaluate.histories import Floats, Histories, Integers, Vectors
from pinnersage.kernels.collapse import collapse
from pinnersage.model import Table, cluster_users
from pinnersage.parallel import in_order

CANDIDATES = tuple(round(0.25 * 2 ** (step / 3), 2) for step in range(22))
"""Merge thresholds to choose from: 0.25 to 32, each a quarter above the one before."""
MOST_USERS = 2_000
_BLOCK = 1 << 22
"""Cosines that are held at a time."""
_SHORTEST = 1e-12


class Choice(BaseModel):
    """A chosen merge threshold, and why: one value a candidate."""

    model_config = ConfigDict(frozen=True)

    merge_threshold: float
    candidates: tuple[float, ...]
    silhouettes: tuple[float, ...]
    """Mean over users at each candidate; the largest was taken, the smaller threshold of two."""
    clusters_per_user: tuple[float, ...]
    users: int
    """Users with two distinct pins or more; only they can tell."""

    @property
    def at_the_edge(self) -> bool:
        """Whether a threshold outside the candidates may be better."""
        return self.merge_threshold in (self.candidates[0], self.candidates[-1])


def choose(
    histories: Histories,
    matrix: Table,
    *,
    candidates: Sequence[float] = CANDIDATES,
    most_users: int = MOST_USERS,
    seed: int = 0,
    threads: int = 1,
) -> Choice:
    """The merge threshold at which pins are most clearly of their own cluster.

    Parameters
    ----------
    histories : Histories
        What is known before the days that the threshold is for.
    matrix : float16, float32 or float64 [n_rows, d]
        Unit-length embeddings; may be a memory map.
    candidates : sequence of float
        Each above 0 and finite.
    most_users : int
        A seeded sample of this size stands for more.
    seed : int
    threads : int
        The result is the same for any number.

    Returns
    -------
    Choice

    Raises
    ------
    ConfigError
        There is no candidate, or one that cannot be a threshold.
    DataError
        Nobody has two distinct pins.
    """
    tried = tuple(sorted({float(candidate) for candidate in candidates}))
    if not tried or not all(one > 0 and isfinite(one) for one in tried):
        raise ConfigError(f"Candidates are {tried} (limit: at least one, finite, above 0).")
    known = sample(histories, most_users, seed)
    if not known.offsets.size > 1:
        raise DataError("No user has two distinct pins: nothing can be chosen. Take more actions.")
    found = [
        cluster_users(matrix, known.offsets, known.ages_days, known.rows, one, threads=threads)
        for one in tried
    ]
    means = silhouettes(known, matrix, [one.labels for one in found], threads).mean(axis=1)
    return Choice(
        merge_threshold=tried[int(np.argmax(means))],
        candidates=tried,
        silhouettes=tuple(means.tolist()),
        clusters_per_user=tuple(float(np.diff(one.offsets).mean()) for one in found),
        users=known.offsets.size - 1,
    )


def sample(histories: Histories, most: int, seed: int) -> Histories:
    """Return the users with two distinct pins or more, or a seeded sample of them."""
    spans = zip(histories.offsets[:-1], histories.offsets[1:], strict=True)
    able = [i for i, (a, b) in enumerate(spans) if np.unique(histories.rows[a:b]).size > 1]
    if len(able) > most:
        able = sorted(np.random.default_rng(seed).choice(able, most, replace=False).tolist())
    sizes = np.diff(histories.offsets)[able]
    actions = np.concatenate(
        [np.empty(0, np.intp), *(np.arange(*histories.offsets[i : i + 2]) for i in able)]
    )
    return Histories(
        np.concatenate([[0], np.cumsum(sizes, dtype=np.intp)]),
        histories.rows[actions],
        histories.ages_days[actions],
        histories.users[able],
        histories.now_us[able],
    )


def silhouettes(
    histories: Histories, matrix: Table, labellings: Sequence[Integers], threads: int = 1
) -> Floats:
    """Mean silhouette of each user's distinct pins in each of some labellings.

    Parameters
    ----------
    histories, matrix, threads
        As in ``choose``.
    labellings : sequence of intp[n]
        Cluster of each action within its user, 0 .. k - 1, none empty; actions on one pin are in
        one cluster.

    Returns
    -------
    float64[n_labellings, n_users]
        Between -1 and 1; 0 for a user without actions.
    """

    def of_user(span: tuple[int, int]) -> Floats:
        rows = histories.rows[slice(*span)]
        if not rows.size:
            return np.zeros(len(labellings))
        pins = collapse(rows)
        points = np.asarray(matrix[rows[pins.firsts]], np.float32)
        own = [labels[slice(*span)][pins.firsts] for labels in labellings]
        return np.array([_of_pins(points, pins.weights, labels).mean() for labels in own])

    # One thread inside BLAS: how it splits a sum among several changes its last bits.
    with threadpool_limits(1, user_api="blas"):
        found = list(in_order(of_user, pairwise(histories.offsets.tolist()), threads))
    return np.array(found).reshape(-1, len(labellings)).T


def _of_pins(points: Vectors, weights: Floats, labels: Integers) -> Floats:
    """Silhouette of each pin of one user."""
    found = np.zeros(labels.size)
    n_pins = np.bincount(labels)
    if n_pins.size == 1:
        return found
    sums, _ = cluster_sums(points, weights, labels)
    judged = np.flatnonzero(n_pins[labels] > 1)
    own, x = labels[judged], points[judged].astype(np.float64)
    rest = sums[own] - weights[judged, None] * x
    a = 1 - np.einsum("ij,ij->i", x, _directions(rest))
    b = 1 - _nearest_other(points[judged], own, _directions(sums).astype(np.float32))
    worst = np.maximum(a, b)
    found[judged] = np.where(worst > _SHORTEST, (b - a) / np.maximum(worst, _SHORTEST), 0.0)
    return found


def _nearest_other(points: Vectors, own: Integers, directions: Vectors) -> Floats:
    """Largest cosine of each point to a direction that is not its own cluster's."""
    found = np.empty(own.size)
    size = max(1, _BLOCK // len(directions))
    for start in range(0, own.size, size):
        block = slice(start, start + size)
        cosines = points[block] @ directions.T
        cosines[np.arange(len(cosines)), own[block]] = -np.inf
        found[block] = cosines.max(axis=1)
    return found


def _directions(sums: Floats) -> Floats:
    """Rows at unit length; one that has no direction is 0, far from everything alike."""
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(np.where(lengths > _SHORTEST, sums / np.maximum(lengths, _SHORTEST), 0.0))
