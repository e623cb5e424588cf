"""Batches: made-up users, many small and a few large, as logs have them; every seed other vectors.

How many actions each user has is the same in every round: the quantiles of the distribution
itself. So rounds differ in their vectors alone, and no few heavy users decide a median.

Three kinds of vectors, all of unit length:

- ``interests``: a user has some interests, more with more actions, and a share of stray pins.
  At alpha = 1 light users come to 3 to 5 clusters and the heaviest to 75 to 100, as the paper
  has it. Interests belong to themes: those of one theme have a cosine of about 0.5.
- ``crowded``: the same, and all vectors share a direction, so that any two have a cosine of
  about 0.5, as text embeddings do.
- ``isotropic``: no structure at all.
"""

from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

KINDS = ("interests", "crowded", "isotropic")
WINDOW_DAYS = 90
STRAY = 0.01
"""Share of pins that belong to no interest."""

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Integers = np.ndarray[Any, np.dtype[np.intp]]


class Batch(NamedTuple):
    """Users' actions one after another, as ``pinnersage.cluster_users`` takes them."""

    vectors: Floats
    """float32[n, d], of unit length."""
    offsets: Integers
    """intp[n_users + 1]."""
    ages: Floats
    """float64[n]: days, each user's oldest first."""

    def users(self) -> list[tuple[Floats, Floats]]:
        """Vectors and ages of each user."""
        ends = self.offsets[1:-1]
        return list(zip(np.split(self.vectors, ends), np.split(self.ages, ends), strict=True))


def heavy_tailed(n_users: int, median: float = 60, tail: int = 3000) -> Integers:
    """Actions of each user: log-normal, the largest few at ``tail``."""
    normal = NormalDist(np.log(median), 1.3)
    sizes = np.exp([normal.inv_cdf((i + 0.5) / n_users) for i in range(n_users)])
    return np.clip(np.rint(sizes), 1, tail).astype(np.intp)


def light(n_users: int, least: int = 20, most: int = 200) -> Integers:
    """Actions of each user: any order of magnitude in the range is as frequent as any other."""
    return np.rint(np.geomspace(least, most, n_users)).astype(np.intp)


def batch(sizes: Integers, d: int, seed: int, kind: str = "interests") -> Batch:
    """Users of the sizes given, in random order."""
    rng = np.random.default_rng([seed, d, sizes.size])
    sizes = rng.permutation(sizes)
    common = unit(rng.standard_normal((1, d)))
    vectors = np.concatenate([user(m, d, kind, common, rng) for m in sizes])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
    ages = rng.uniform(0, WINDOW_DAYS, offsets[-1])
    owner = np.repeat(np.arange(sizes.size), sizes)
    return Batch(vectors, offsets, ages[np.lexsort((-ages, owner))])


def user(m: int, d: int, kind: str, common: Floats, rng: np.random.Generator) -> Floats:
    """Vectors of one user, float32[m, d]."""
    noise = directions(m, d, rng)
    if kind == "isotropic":
        return noise
    centers = interests(m, d, rng)
    # Few interests hold most of the actions; how alike the pins of one are differs.
    owner = (len(centers) * rng.random(m) ** 1.5).astype(np.intp)
    cosine = rng.uniform(0.75, 0.95, len(centers))[owner]
    cosine[rng.random(m) < STRAY] = 0
    weight = cosine[:, None]
    vectors = np.sqrt(weight) * centers[owner] + np.sqrt(1 - weight) * noise
    return unit(unit(vectors) + common if kind == "crowded" else vectors)


def interests(m: int, d: int, rng: np.random.Generator) -> Floats:
    """Directions of the interests of a user of m actions, three to a theme."""
    n = max(1, round(0.42 * m**0.61))
    themes = directions(max(1, n // 3), d, rng)
    return unit(themes[rng.integers(len(themes), size=n)] + directions(n, d, rng))


def directions(n: int, d: int, rng: np.random.Generator) -> Floats:
    """Random vectors of unit length."""
    return unit(rng.standard_normal((n, d), dtype=np.float32))


def unit(vectors: Floats) -> Floats:
    """The vectors at unit length, float32."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return (vectors / lengths[:, None]).astype(np.float32)
