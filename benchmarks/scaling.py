"""Scaling: how PinnerSage's time grows with a user's actions, with users, and over threads.

Users take their pins from one table that all share, through ``rows=``, as the pipeline has them;
the same pin comes again. The growth with a user's actions is on users without repeats. Wall time
is what threads are measured by, so another busy program shows there.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import batches
import numpy as np
import peers
import timing
from batches import Integers

import pinnersage

D = 256
ALPHA = 1.0
TOPICS, PINS_A_TOPIC = 200, 500
BLOCK = 20_000
"""Users whose rows are drawn at a time."""


class Scale(NamedTuple):
    """How much is measured."""

    rounds: int
    sizes: tuple[int, ...]
    users: tuple[int, ...]
    heavy: int


SCALES = {
    "tiny": Scale(1, (20, 40), (10, 20), 20),
    "quick": Scale(2, (250, 500, 1000, 2000, 4000), (1000, 10_000), 600),
    "usual": Scale(3, (250, 500, 1000, 2000, 4000, 8000, 16_000), (1000, 10_000, 100_000), 600),
    "full": Scale(
        5,
        (250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000),
        (1000, 10_000, 100_000, 1_000_000),
        1200,
    ),
}


class Day(NamedTuple):
    """Many users' actions on one table of pins."""

    table: batches.Floats
    offsets: Integers
    ages: batches.Floats
    rows: Integers


def measure(name: str) -> dict[str, Any]:
    """Facts of the three."""
    scale = SCALES[name]
    return {
        "actions": over_actions(scale),
        "users": over_users(scale),
        "threads": over_threads(scale),
    }


# --- a user's actions --------------------------------------------------------------------------


def over_actions(scale: Scale) -> dict[str, Any]:
    """CPU time of one user, by actions, and the exponent that it grows with."""
    rows = []
    peers.ours(batches.batch(np.array([max(scale.sizes)]), D, scale.rounds), ALPHA)
    for m in scale.sizes:
        sizes = np.full(max(1, 2000 // m), m)
        found = timing.compete(
            peers.contestants(ALPHA, ()), partial(batches.batch, sizes, D), scale.rounds
        )
        each = [one.costs[peers.OURS].cpu / sizes.size for one in found]
        rows.append({"actions": m, "cpu_seconds_a_user": timing.spread(each)})
    seconds = [one["cpu_seconds_a_user"]["median"] for one in rows]
    logs = np.log(scale.sizes), np.log(seconds)
    for row, exponent in zip(rows[1:], np.diff(logs[1]) / np.diff(logs[0]), strict=True):
        row["exponent"] = round(float(exponent), 2)
    return {"d": D, "alpha": ALPHA, "sizes": rows, "exponent": round(np.polyfit(*logs, 1)[0], 2)}


# --- users -------------------------------------------------------------------------------------


def over_users(scale: Scale) -> list[dict[str, Any]]:
    """CPU time of a day of heavy-tailed users, by their number; the largest once."""
    table = pins()
    cluster(day(table, batches.heavy_tailed(50), scale.rounds))
    rows = []
    for n in scale.users:
        sizes = batches.heavy_tailed(n)
        rounds = 1 if n == max(scale.users) else scale.rounds
        found = timing.compete({peers.OURS: cluster}, partial(day, table, sizes), rounds)
        seconds = [one.costs[peers.OURS].cpu for one in found]
        rows.append(
            {
                "users": n,
                "actions": int(sizes.sum()),
                "rounds": rounds,
                "cpu_seconds": timing.spread(seconds),
                "users_per_second": timing.spread([n / one for one in seconds]),
                "actions_per_second": timing.spread([int(sizes.sum()) / one for one in seconds]),
            }
        )
    return rows


def pins() -> batches.Floats:
    """Return the table of pins: topics, each as alike as an interest."""
    rng = np.random.default_rng(0)
    centers = np.repeat(batches.directions(TOPICS, D, rng), PINS_A_TOPIC, axis=0)
    weight = np.repeat(rng.uniform(0.75, 0.95, TOPICS), PINS_A_TOPIC)[:, None]
    noise = batches.directions(len(centers), D, rng)
    return batches.unit(np.sqrt(weight) * centers + np.sqrt(1 - weight) * noise)


def day(table: batches.Floats, sizes: Integers, seed: int) -> Day:
    """Users of the sizes given, in random order, on pins of their topics and a few strays."""
    rng = np.random.default_rng([seed, sizes.size])
    sizes = rng.permutation(sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
    rows = np.empty(offsets[-1], np.intp)
    for begin in range(0, sizes.size, BLOCK):
        end = min(begin + BLOCK, sizes.size)
        rows[offsets[begin] : offsets[end]] = drawn(sizes[begin:end], rng)
    ages = rng.uniform(0, batches.WINDOW_DAYS, rows.size)
    return Day(table, offsets, ages, rows)


def drawn(sizes: Integers, rng: np.random.Generator) -> Integers:
    """Rows of the pins of some users."""
    n_interests = np.maximum(1, np.rint(0.42 * sizes**0.61)).astype(np.intp)
    topics = rng.integers(TOPICS, size=n_interests.sum())
    first = np.repeat(np.cumsum(n_interests) - n_interests, sizes)
    chosen = np.repeat(n_interests, sizes) * rng.random(sizes.sum()) ** 1.5
    topic = topics[first + chosen.astype(np.intp)]
    stray = rng.random(topic.size) < batches.STRAY
    topic[stray] = rng.integers(TOPICS, size=stray.sum())
    return topic * PINS_A_TOPIC + rng.integers(PINS_A_TOPIC, size=topic.size)


def cluster(data: Day, threads: int = 1) -> Any:
    """PinnerSage's result."""
    return pinnersage.cluster_users(
        data.table, data.offsets, data.ages, data.rows, ALPHA, peers.DECAY_PER_DAY, threads
    )


# --- threads -----------------------------------------------------------------------------------


def over_threads(scale: Scale) -> dict[str, Any]:
    """Wall time of one thread over that of two; and what matrix products gain, whatever we do."""
    table, sizes = pins(), batches.heavy_tailed(scale.heavy * 5)
    contestants = {str(n): partial(cluster, threads=n) for n in (1, 2)}
    contestants |= {f"sgemm {n}": partial(products, threads=n) for n in (1, 2)}
    for call in contestants.values():
        call(day(table, sizes[::50], scale.rounds))
    found = timing.compete(contestants, partial(day, table, sizes), scale.rounds)

    def faster(name: str) -> dict[str, float]:
        walls = [(one.costs[f"{name}1"].wall, one.costs[f"{name}2"].wall) for one in found]
        return timing.spread([one / two for one, two in walls])

    return {
        "users": sizes.size,
        "actions": int(sizes.sum()),
        "rounds": scale.rounds,
        "costs": timing.summary(found),
        "times_faster": faster(""),
        "sgemm_times_faster": faster("sgemm "),
    }


def products(_: Day, threads: int) -> None:
    """As many matrix products whatever the threads: how much of a second core there is."""
    a = np.ones((1024, 1024), np.float32)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: a @ a, range(16)))


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
