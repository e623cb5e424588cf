"""Kernels: PinnerSage against other libraries and against the machine, one thread each.

What is compared is a user's whole way from vectors to labels, medoids and importance.
The half-Gram bound is what the distances alone would take at the rate of the machine's own
float32 matrix product: sum of m² d / 2 multiply-adds. The rate is measured in every round.
"""

import json
import sys
from typing import Any, NamedTuple

import batches
import numpy as np
import peers
import timing
from batches import Batch, Integers

import pinnersage

D = 256
SIZES = (20, 50, 100, 200, 500, 1000, 2000, 5000)
DIMENSIONS = (2, 16, 64, 100, 256, 1024)
ALPHAS = (1.0, 2.5)
FAST = (peers.FASTCLUSTER, peers.FASTCLUSTER_BLAS)
ALL = tuple(peers.PEERS)


class Scale(NamedTuple):
    """How much is measured."""

    rounds: int
    heavy: int
    """Users of the heavy-tailed batch."""
    light: int
    work: float
    """Pairs of actions in a batch of one size."""
    largest: int


SCALES = {
    "tiny": Scale(1, 4, 3, 1e3, 50),
    "quick": Scale(3, 200, 200, 4e6, 1000),
    "usual": Scale(5, 400, 600, 4e6, 5000),
    "full": Scale(9, 600, 600, 4e7, 5000),
}


def measure(name: str) -> dict[str, Any]:
    """Facts of every comparison."""
    scale = SCALES[name]
    heavy, light = batches.heavy_tailed(scale.heavy), batches.light(scale.light)
    rounds, few = scale.rounds, max(1, scale.rounds // 2)
    sizes = [m for m in SIZES if m <= scale.largest]
    return {
        "heavy_tailed": [versus(heavy, alpha, rounds) for alpha in ALPHAS],
        "light": [versus(light, alpha, rounds) for alpha in ALPHAS],
        "kinds": [
            versus(heavy, alpha, few, kind=kind, names=FAST)
            for kind in batches.KINDS[1:]
            for alpha in ALPHAS
        ],
        "sizes": [
            versus(np.full(users_of(m, scale.work), m), alpha, few)
            for m in sizes
            for alpha in ALPHAS
        ],
        "dimensions": [versus(heavy[::2], 1.0, few, d=d, names=FAST) for d in DIMENSIONS],
        "tables": tables(heavy, rounds),
        "clusters": clusters_by_size(scale.largest),
    }


def versus(
    sizes: Integers,
    alpha: float,
    rounds: int,
    d: int = D,
    kind: str = "interests",
    names: tuple[str, ...] = ALL,
) -> dict[str, Any]:
    """PinnerSage and peers on fresh users of these sizes in every round."""
    agree = agreement(batches.batch(sizes, d, rounds, kind), alpha, names)
    found = timing.compete(
        peers.contestants(alpha, names),
        lambda seed: batches.batch(sizes, d, seed, kind),
        rounds,
    )
    pairs = float(np.sum(np.square(sizes, dtype=np.float64)))
    bounds = [pairs * d / 2 * one.multiply_add for one in found]
    return {
        "users": len(sizes),
        "actions": int(sizes.sum()),
        "largest": int(sizes.max()),
        "d": d,
        "kind": kind,
        "alpha": alpha,
        "rounds": rounds,
        "costs": timing.summary(found),
        "times_ours": timing.ratios(found, peers.OURS),
        "bound_cpu_seconds": timing.spread(bounds),
        "ours_per_bound": timing.spread(
            [one.costs[peers.OURS].cpu / bound for one, bound in zip(found, bounds, strict=True)]
        ),
        "sgemm_gflops": timing.spread([2e-9 / one.multiply_add for one in found]),
        "users_that_differ": agree,
    }


def users_of(m: int, work: float) -> int:
    """Users of m actions that make enough work to be timed."""
    return max(1, min(300, round(work / m**2)))


def agreement(data: Batch, alpha: float, names: tuple[str, ...]) -> dict[str, int]:
    """Users on whom a peer disagrees with us; this also runs everything once before it is timed."""
    mine = peers.split(peers.ours(data, alpha), data)
    return {
        name: peers.different(mine, peers.loop(peers.PEERS[name], data, alpha), data)
        for name in names
    }


def tables(sizes: Integers, rounds: int) -> dict[str, Any]:
    """The same vectors in order, and read through row indexes from a table in another order."""
    contestants = {
        "in order, float32": lambda data: peers.ours(data[0], 1.0),
        "rows, float32": lambda data: through_rows(*data, np.float32),
        "rows, float16": lambda data: through_rows(*data, np.float16),
        "rows, float64": lambda data: through_rows(*data, np.float64),
    }

    def make(seed: int) -> tuple[Batch, dict[Any, Any], Integers]:
        data = batches.batch(sizes, D, seed)
        order = np.random.default_rng(seed).permutation(len(data.vectors))
        shuffled = data.vectors[order]
        kinds = (np.float16, np.float32, np.float64)
        return data, {kind: shuffled.astype(kind) for kind in kinds}, np.argsort(order)

    for call in contestants.values():
        call(make(rounds))
    found = timing.compete(contestants, make, rounds)
    base = next(iter(contestants))
    return {
        "users": len(sizes),
        "actions": int(sizes.sum()),
        "d": D,
        "alpha": 1.0,
        "rounds": rounds,
        "costs": timing.summary(found),
        "times_in_order": timing.ratios(found, base),
    }


def through_rows(data: Batch, shuffled: dict[Any, Any], rows: Integers, kind: Any) -> Any:
    """PinnerSage's result on a table that holds the vectors in another order."""
    return pinnersage.cluster_users(
        shuffled[kind], data.offsets, data.ages, rows, 1.0, peers.DECAY_PER_DAY
    )


def clusters_by_size(largest: int) -> list[dict[str, Any]]:
    """Median number of clusters of users of some sizes, at alpha = 1: the paper's sanity check."""
    found = []
    for m in (20, 40, 60, 200, 1000, 3000):
        if m <= largest:
            data = batches.batch(np.full(max(3, 600 // m), m), D, 0)
            counts = np.diff(peers.ours(data, 1.0).offsets)
            found.append({"actions": m, "clusters": timing.spread(counts.tolist())})
    return found


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
