"""Corpus: pins as a site has them, bad ones and copies among them, and users who ask for more.

Themes hold topics, topics hold pins; few topics hold most. A share of the pins are of low quality,
and a share are copies, a little off, most often of a popular pin. What is worth indexing is judged
by refine's rules. Users' medoids are popular pins, and users come by Zipf's law: the r-th most
popular is met 1 / r times as often as the first.
"""

from typing import Any, NamedTuple

import batches
import numpy as np
from batches import Floats, Integers
from threadpoolctl import threadpool_limits

from pinnersage import near_duplicates
from pinnersage.config import IndexConfig
from pinnersage.retrieve import sample_medoids

D, MEDOIDS, MEMBERS = 256, 10, 10
PINS_A_TOPIC, TOPICS_A_THEME = 100, 10
LOW_QUALITY, COPIES = 0.15, 0.2
"""Shares of the pins."""
FARTHEST = 0.22
"""What is added to a copy at most, before it is made of unit length: cosines from 0.975 on."""


class Corpus(NamedTuple):
    """Pins by row; the lower the rank, the more popular."""

    matrix: Floats
    """float32[n, d], of unit length."""
    topics: Integers
    quality: Floats
    copy_of: Integers
    """Row of the original; a pin's own row where it is none."""
    ranked: Integers
    """Rows of the originals, the most popular first."""


def pins(n: int, rng: np.random.Generator) -> Corpus:
    """Make ``n`` pins."""
    n_topics = max(2, n // PINS_A_TOPIC)
    themes = batches.directions(max(1, n_topics // TOPICS_A_THEME), D, rng)
    of_theme = themes[rng.integers(len(themes), size=n_topics)]
    centers = batches.unit(of_theme + batches.directions(n_topics, D, rng))
    topics = (n_topics * rng.random(n) ** 1.5).astype(np.intp)
    cosine = rng.uniform(0.45, 0.8, n_topics)[topics][:, None].astype(np.float32)
    noise = batches.directions(n, D, rng)
    matrix = batches.unit(np.sqrt(cosine) * centers[topics] + np.sqrt(1 - cosine) * noise)
    shuffled = rng.permutation(n)
    copies, ranked = np.split(shuffled, [int(n * COPIES)])
    copy_of = np.arange(n)
    copy_of[copies] = ranked[(ranked.size * rng.random(copies.size) ** 2).astype(np.intp)]
    off = rng.uniform(0, FARTHEST, (copies.size, 1)).astype(np.float32)
    noise = batches.directions(copies.size, D, rng)
    matrix[copies] = batches.unit(matrix[copy_of[copies]] + off * noise)
    topics[copies] = topics[copy_of[copies]]
    least = IndexConfig().min_quality
    low = rng.random(n) < LOW_QUALITY
    quality = np.where(low, rng.uniform(0, least, n), rng.uniform(least, 1, n))
    return Corpus(matrix, topics, quality, copy_of, ranked)


def worth_indexing(known: Corpus) -> np.ndarray:
    """Which pins refine keeps, bool[n]."""
    config = IndexConfig()
    good = np.flatnonzero(known.quality >= config.min_quality)
    order = good[np.lexsort((good, -known.quality[good]))]
    with threadpool_limits(1, user_api="blas"):
        leader, _ = near_duplicates.leaders(known.matrix, order, config.near_duplicate_cosine)
    kept = np.zeros(len(known.quality), bool)
    kept[order[leader < 0]] = True
    return kept


class People(NamedTuple):
    """Users' clusters, each by its medoid and by all of its pins."""

    medoids: Integers
    """intp[users, clusters]: rows."""
    members: Integers
    """intp[users, clusters, pins]: rows, the medoid among them."""
    importance: Floats
    """float64[users, clusters]."""


def people(known: Corpus, n_users: int, rng: np.random.Generator) -> People:
    """Make users: a cluster is a popular pin and others of its topic."""
    draws = zipf(known.ranked.size, (n_users, 8 * MEDOIDS), rng)
    medoids = known.ranked[
        np.stack([first_different(one, rng, known.ranked.size) for one in draws])
    ]
    by_topic = np.argsort(known.topics, kind="stable")
    counts = np.bincount(known.topics)
    starts = np.cumsum(counts) - counts
    of = known.topics[medoids][..., None]
    drawn = (rng.random((*medoids.shape, MEMBERS - 1)) * counts[of]).astype(np.intp)
    members = np.concatenate([medoids[..., None], by_topic[starts[of] + drawn]], axis=2)
    return People(medoids, members, rng.exponential(size=medoids.shape) + 1e-3)


def first_different(draws: Integers, rng: np.random.Generator, n: int) -> Integers:
    """The first ``MEDOIDS`` numbers below ``n`` that differ; any others where there are too few."""
    found = list(dict.fromkeys(draws.tolist()))[:MEDOIDS]
    if len(found) < MEDOIDS:
        others = np.setdiff1d(np.arange(n), found)
        found += rng.choice(others, MEDOIDS - len(found), replace=False).tolist()
    return np.array(found, np.intp)


def zipf(n: int, size: Any, rng: np.random.Generator) -> Integers:
    """Numbers below ``n`` by Zipf's law: ``r`` with a chance of 1 / (r + 1), scaled."""
    bounds = np.cumsum(1 / np.arange(1, n + 1))
    return np.searchsorted(bounds, rng.random(size) * bounds[-1], side="right")


class Requests(NamedTuple):
    """Users who ask, and the clusters that were sampled for each, intp[requests, clusters]."""

    users: Integers
    clusters: Integers


def requests(known: People, n: int, n_medoids: int, rng: np.random.Generator) -> Requests:
    """Draw the next ``n`` of the stream."""
    users = zipf(len(known.medoids), n, rng)
    sampled = [sample_medoids(known.importance[user], n_medoids, rng=rng) for user in users]
    return Requests(users, np.stack(sampled))
