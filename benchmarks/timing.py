"""Timing: contestants one after another on the same data, round by round, on fresh data each.

CPU time is what is compared, since other programs may share the machine; wall time is kept beside
it. A ratio is taken inside a round, where both sides met the same machine, and then its median
over the rounds. The order turns from round to round. Nothing is timed the first time it runs.
"""

import gc
import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import numpy as np

Contestants = Mapping[str, Callable[[Any], Any]]


class Cost(NamedTuple):
    """What a call took, in seconds."""

    cpu: float
    wall: float


def cost(call: Callable[[], Any]) -> Cost:
    """Time of one call, of all threads of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


class Round(NamedTuple):
    """What one round measured."""

    costs: dict[str, Cost]
    multiply_add: float
    """CPU seconds of one multiply-add of ``sgemm``, just before."""


def compete(contestants: Contestants, make: Callable[[int], Any], rounds: int) -> list[Round]:
    """Costs of each contestant in each round; ``make`` gives the data of a seed."""
    names = list(contestants)
    found = []
    gc.collect()
    gc.freeze()  # what is loaded by now is not looked through again while the clock runs
    for seed in range(rounds):
        data = make(seed)
        rate = sgemm_seconds()
        turned = names[seed % len(names) :] + names[: seed % len(names)]
        calls = {name: partial(contestants[name], data) for name in turned}
        found.append(Round({name: cost(call) for name, call in calls.items()}, rate))
    return found


def spread(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest, to four digits."""
    ends = {"median": median(values), "lowest": min(values), "highest": max(values)}
    return {name: float(f"{value:.4g}") for name, value in ends.items()}


def summary(rounds: list[Round]) -> dict[str, dict[str, Any]]:
    """CPU and wall seconds of each contestant."""
    return {
        name: {
            "cpu_seconds": spread([one.costs[name].cpu for one in rounds]),
            "wall_seconds": spread([one.costs[name].wall for one in rounds]),
        }
        for name in rounds[0].costs
    }


def ratios(rounds: list[Round], base: str) -> dict[str, dict[str, float]]:
    """How many times the CPU time of ``base`` each of the others took."""
    return {
        name: spread([one.costs[name].cpu / one.costs[base].cpu for one in rounds])
        for name in rounds[0].costs
        if name != base
    }


def sgemm_seconds(n: int = 1024, repeats: int = 3) -> float:
    """CPU seconds of a multiply-add of the machine's float32 matrix product, at its best."""
    a, b = np.ones((2, n, n), np.float32)
    a @ b
    return min(cost(lambda: a @ b).cpu for _ in range(repeats)) / n**3
