"""Recovery: how well clusters find interests that are known, in the synthetic world.

Truth is the topic of a pin. Of a user's actions in 90 days, those on a topic that she has an
interest in that day are of this interest, all others are noise. Methods that need a number get
it twice: chosen without truth (``threshold``), and the best that truth could choose, which is what
a choice is measured against. Three levels of noise are stated, each a share of actions at random
and a blur of the embeddings: a random vector of that length is added to each pin.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from pinnersage import synthetic
from pinnersage.evaluate import threshold
from pinnersage.evaluate.cases import DAY_US
from pinnersage.evaluate.clusterers import complete, hdbscan, kmeans, label, summarise, unit
from pinnersage.evaluate.histories import Floats, Histories, Integers, Represented, Vectors
from pinnersage.model import cluster_users
from pinnersage.sweep import HEAVY_ACTIONS, LIGHT_ACTIONS

WINDOW_DAYS = 90
LEAST_ACTIONS = 3
"""Actions from which on an interest counts as one that should be found."""
CUTS = tuple(round(0.125 * 2 ** (step / 3), 3) for step in range(16))
"""Squared distances to cut complete linkage at: 0.125 to 4, all that unit vectors can have."""
SIZES = (2, 3, 5)
"""Smallest clusters that HDBSCAN is tried with."""
K = 5
_FIRST_DAY = date(2026, 1, 1)

Flags = npt.NDArray[np.bool_]


class Frozen(BaseModel):
    """A report."""

    model_config = ConfigDict(frozen=True)


class Level(Frozen):
    """How much noise there is."""

    name: str
    noise_share: float
    """Share of a user's actions that are on any pin at all."""
    blur: float
    """Length of the random vector that is added to each pin of unit length."""


LEVELS = (
    Level(name="low", noise_share=0.05, blur=0.0),
    Level(name="middle", noise_share=0.2, blur=0.5),
    Level(name="high", noise_share=0.4, blur=0.9),
)


class Scores(Frozen):
    """How well one method did; means over users unless said otherwise."""

    method: str
    parameter: float | None
    """Threshold, or smallest cluster, or k."""
    by: str
    """How the parameter was found: given, chosen (without truth) or best (with it)."""
    adjusted_rand: float
    adjusted_rand_light: float | None
    adjusted_rand_heavy: float | None
    interests_found: float | None
    """Share of all interests of three actions and more with a medoid of their topic."""
    interests_found_first: float | None
    """The same where a user may show as many medoids as she has such interests."""
    medoids_of_interests: float
    """Share of all medoids whose topic is an interest of the user."""
    purity: float
    """Share of all actions on the topic that most of their cluster are on."""
    clusters_light: float | None
    """Median of the users with at most 20 actions."""
    clusters_heavy: float | None
    """Median of the users with 500 actions and more."""


class AtLevel(Frozen):
    """One world at one level of noise."""

    level: Level
    seed: int
    users: int
    light: int
    heavy: int
    actions: int
    noise: float
    """Share of the actions, among those that count as interest, that are of no interest."""
    choice: threshold.Choice
    adjusted_rand: tuple[float, ...]
    """Of Ward at each candidate of the choice."""
    share_of_best: float
    """Adjusted Rand index at the chosen threshold, as a share of that at the best one."""
    scores: tuple[Scores, ...]


class RecoveryReport(Frozen):
    """Every world at every level."""

    users: int
    seeds: tuple[int, ...]
    levels: tuple[AtLevel, ...]

    @property
    def least_share_of_best(self) -> float:
        """The worst choice of all."""
        return min(one.share_of_best for one in self.levels)


class Truth(NamedTuple):
    """Users whose interests are known; arrays have one entry an action unless said otherwise."""

    histories: Histories
    matrix: Vectors
    topics: Integers
    """intp[n_pins]: topic of each pin."""
    of_interest: Flags
    """Whether the user has an interest in the pin's topic on that day."""


def run(
    folder: Path | None = None,
    *,
    users: int = 300,
    seeds: Sequence[int] = (11,),
    levels: Sequence[Level] = LEVELS,
    threads: int = 1,
    progress: Callable[[str], None] = lambda _message: None,
) -> RecoveryReport:
    """Compare methods on worlds made for it.

    Parameters
    ----------
    folder : Path, optional
        Where worlds are written for the time being; the system's temporary folder without it.
    users : int
        Of each world.
    seeds : sequence of int
        One world each, at each level.
    levels : sequence of Level
    threads : int
        No number depends on it.
    progress : callable
        Called with a line after each world.
    """
    found = []
    for level in levels:
        for seed in seeds:
            with tempfile.TemporaryDirectory(dir=folder) as made:
                truth = read(world(level, users, seed), Path(made), level.blur)
            found.append(at_level(truth, level, seed, threads))
            progress(
                f"noise {level.name}, seed {seed}: chosen {found[-1].choice.merge_threshold}, "
                f"{found[-1].share_of_best:.1%} of the best adjusted Rand index"
            )
    return RecoveryReport(users=users, seeds=tuple(seeds), levels=tuple(found))


def world(level: Level, users: int, seed: int) -> synthetic.World:
    """Return the world of a level: 200 topics of 100 pins, 64 dimensions, one window of days."""
    return synthetic.World(
        n_users=users,
        n_pins=20_000,
        n_topics=200,
        dimensions=64,
        n_days=WINDOW_DAYS,
        first_day=_FIRST_DAY,
        seed=seed,
        noise_share=level.noise_share,
    )


def read(world: synthetic.World, folder: Path, blur: float = 0.0) -> Truth:
    """Write a world to an empty folder and return what its users did, at the end of its days."""
    synthetic.write(world, folder)
    actions = pa.concat_tables(pq.read_table(f) for f in sorted((folder / "actions").iterdir()))
    actions = actions.filter(pc.is_in(actions["action"], pa.array(synthetic.INTEREST_ACTIONS)))
    actions = actions.sort_by([("user_id", "ascending"), ("acted_at", "ascending")])
    pins = pq.read_table(folder / "pins.parquet", columns=["pin_id", "topic"])
    names = pc.unique(pins["topic"])
    topics = pc.index_in(pins["topic"], names).to_numpy().astype(np.intp)
    rows = pc.index_in(actions["pin_id"], pins["pin_id"]).to_numpy().astype(np.intp)
    at_us = actions["acted_at"].cast(pa.int64()).to_numpy()
    end = datetime.combine(world.days[-1] + timedelta(days=1), datetime.min.time(), UTC)
    now_us = int(end.timestamp()) * 1_000_000
    ids, users = np.unique(actions["user_id"].to_numpy(), return_inverse=True)
    histories = Histories(
        np.concatenate([[0], np.cumsum(np.bincount(users))]).astype(np.intp),
        rows,
        (now_us - at_us) / DAY_US,
        (ids - synthetic.USER_BASE).astype(np.intp),
        np.full(ids.size, now_us),
    )
    interests = pq.read_table(folder / "interests.parquet")
    interests = interests.filter(pc.is_in(interests["user_id"], pa.array(ids)))
    of_interest = _of_interest(interests, ids, names, users, topics[rows], at_us // DAY_US)
    matrix = np.load(folder / "embeddings.npy").astype(np.float32)
    return Truth(histories, blurred(matrix, blur, world.seed), topics, of_interest)


def _of_interest(
    interests: pa.Table,
    ids: npt.NDArray[np.int64],
    names: pa.Array,
    users: Integers,
    topics: Integers,
    days: npt.NDArray[np.int64],
) -> Flags:
    """Whether a user has an interest in a topic on a day, for each action."""
    who = np.searchsorted(ids, interests["user_id"].to_numpy())
    what = pc.index_in(interests["topic"], names).to_numpy()
    spans = [
        interests[name].cast(pa.int32()).to_numpy().tolist() for name in ("first_day", "last_day")
    ]
    of: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for user, topic, first, last in zip(who.tolist(), what.tolist(), *spans, strict=True):
        of.setdefault((user, topic), []).append((first, last))
    acted = zip(users.tolist(), topics.tolist(), days.tolist(), strict=True)
    return np.array(
        [any(a <= day <= b for a, b in of.get((user, topic), ())) for user, topic, day in acted],
        bool,
    )


def blurred(matrix: Vectors, blur: float, seed: int) -> Vectors:
    """Return unit rows with a random vector of length ``blur`` added to each, at unit length."""
    if not blur:
        return matrix
    away = unit(np.random.default_rng(seed).standard_normal(matrix.shape))
    return unit(matrix + blur * away).astype(np.float32)


def at_level(truth: Truth, level: Level, seed: int, threads: int = 1) -> AtLevel:
    """Return how each method does in one world."""
    histories, matrix = truth.histories, truth.matrix
    choice = threshold.choose(histories, matrix, threads=threads)
    ward = {
        alpha: cluster_users(
            matrix, histories.offsets, histories.ages_days, histories.rows, alpha, threads=threads
        ).labels
        for alpha in choice.candidates
    }
    rand = {alpha: adjusted_rand(truth, labels) for alpha, labels in ward.items()}
    means = [float(rand[alpha].mean()) for alpha in choice.candidates]
    best = choice.candidates[int(np.argmax(means))]
    chosen = choice.merge_threshold
    scores = [
        score(truth, "Ward", chosen, "chosen", ward[chosen]),
        score(truth, "Ward", best, "best", ward[best]),
        *others(truth, threads),
    ]
    n_actions = np.diff(histories.offsets)
    return AtLevel(
        level=level,
        seed=seed,
        users=n_actions.size,
        light=int((n_actions <= LIGHT_ACTIONS).sum()),
        heavy=int((n_actions >= HEAVY_ACTIONS).sum()),
        actions=histories.rows.size,
        noise=float(1 - truth.of_interest.mean()),
        choice=choice,
        adjusted_rand=tuple(means),
        share_of_best=means[choice.candidates.index(chosen)] / max(means),
        scores=tuple(scores),
    )


def others(truth: Truth, threads: int) -> Iterator[Scores]:
    """Yield the scores of k-means, complete linkage and HDBSCAN."""
    histories, matrix = truth.histories, truth.matrix
    labels = label(histories, matrix, kmeans(K), threads=threads)
    yield score(truth, "k-means", K, "given", labels)
    cuts = {cut: label(histories, matrix, complete(cut), threads=threads) for cut in CUTS}
    means = threshold.silhouettes(histories, matrix, list(cuts.values()), threads).mean(axis=1)
    chosen = CUTS[int(np.argmax(means))]
    yield score(truth, "complete linkage", chosen, "chosen", cuts[chosen])
    yield best_of(truth, "complete linkage", cuts)
    sizes = {float(n): label(histories, matrix, hdbscan(n), threads=threads) for n in SIZES}
    yield best_of(truth, "HDBSCAN", sizes)


def best_of(truth: Truth, method: str, found: Mapping[float, Integers]) -> Scores:
    """Return the scores at the parameter that truth likes best."""
    rand = {at: adjusted_rand(truth, labels).mean() for at, labels in found.items()}
    best = max(rand, key=lambda at: (rand[at], -at))
    return score(truth, method, best, "best", found[best])


def score(truth: Truth, method: str, parameter: float, by: str, labels: Integers) -> Scores:
    """Return how well one labelling of all users' actions did."""
    rand = adjusted_rand(truth, labels)
    shown = summarise(truth.histories, truth.matrix, labels)
    found, found_first, medoids_of_interests = interests(truth, shown)
    n_actions, n_clusters = np.diff(truth.histories.offsets), np.diff(shown.offsets)
    light, heavy = n_actions <= LIGHT_ACTIONS, n_actions >= HEAVY_ACTIONS
    return Scores(
        method=method,
        parameter=parameter,
        by=by,
        adjusted_rand=float(rand.mean()),
        adjusted_rand_light=_mean(rand[light]),
        adjusted_rand_heavy=_mean(rand[heavy]),
        interests_found=found,
        interests_found_first=found_first,
        medoids_of_interests=medoids_of_interests,
        purity=purity(truth, labels),
        clusters_light=_median(n_clusters[light]),
        clusters_heavy=_median(n_clusters[heavy]),
    )


def adjusted_rand(truth: Truth, labels: Integers) -> Floats:
    """Return each user's adjusted Rand index of clusters and topics (Hubert and Arabie 1985).

    1 where the two agree, which one cluster does with one topic.
    """
    n_users = truth.histories.offsets.size - 1
    of_user, clusters, topics, counts = crossed(truth, labels)

    def pairs(groups: Integers) -> Floats:
        """Pairs of a user's actions that share a group."""
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        sizes = np.bincount(group, counts)
        return np.asarray(np.bincount(of_user[first], sizes * (sizes - 1) / 2, n_users), np.float64)

    both = np.bincount(of_user, counts * (counts - 1) / 2, n_users)
    by_cluster, by_topic, everyone = pairs(clusters), pairs(topics), pairs(of_user)
    chance = by_cluster * by_topic / np.maximum(everyone, 1)
    room = (by_cluster + by_topic) / 2 - chance
    agree = (both == by_cluster) & (both == by_topic)
    return np.where(agree, 1.0, (both - chance) / np.where(agree, 1.0, room))


def crossed(truth: Truth, labels: Integers) -> tuple[Integers, Integers, Integers, Integers]:
    """Return how many actions each user has in each cluster on each topic.

    User, a number of user and cluster, a number of user and topic, and the count.
    """
    offsets, topics = truth.histories.offsets, truth.topics[truth.histories.rows]
    users = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    n_clusters, n_topics = int(labels.max()) + 1, int(truth.topics.max()) + 1
    cells = (users * n_clusters + labels) * n_topics + topics
    cells, counts = np.unique(cells, return_counts=True)
    clusters, topic = np.divmod(cells, n_topics)
    user = clusters // n_clusters
    return user, clusters, user * n_topics + topic, counts


def interests(truth: Truth, shown: Represented) -> tuple[float | None, float | None, float]:
    """Return the shares of interests found, found first, and of medoids that are of one."""
    offsets, topics = truth.histories.offsets, truth.topics[truth.histories.rows]
    wanted = found = found_first = of_interest = 0
    for i, (a, b) in enumerate(pairwise(offsets)):
        own, counts = np.unique(topics[a:b][truth.of_interest[a:b]], return_counts=True)
        medoids = truth.topics[shown.rows[shown.offsets[i] : shown.offsets[i + 1]]]
        real = own[counts >= LEAST_ACTIONS]
        wanted += real.size
        found += int(np.isin(real, medoids).sum())
        found_first += int(np.isin(real, medoids[: real.size]).sum())
        of_interest += int(np.isin(medoids, own).sum())
    share = of_interest / shown.rows.size
    return (found / wanted, found_first / wanted, share) if wanted else (None, None, share)


def purity(truth: Truth, labels: Integers) -> float:
    """Return the share of actions on the topic that most of their cluster are on."""
    _, clusters, _, counts = crossed(truth, labels)
    _, starts = np.unique(clusters, return_index=True)
    return float(np.maximum.reduceat(counts, starts).sum() / counts.sum())


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None


def _median(values: Integers) -> float | None:
    return float(np.median(values)) if values.size else None
