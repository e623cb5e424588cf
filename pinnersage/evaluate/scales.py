"""Scales: where a number lies in a drawing, and round numbers to write beside an axis."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

ABOUT = 5
"""Steps between the first tick and the last, about."""
NEAR = 1e-9
"""So near to a tick is on it: sums of decimals are not exact."""


class Ticks(NamedTuple):
    """Where an axis begins and ends, and its round numbers, in ascending order."""

    low: float
    high: float
    at: list[float]


class Scale:
    """From numbers to places: the first tick lies at ``begin``, the last at ``end``."""

    def __init__(
        self, values: Iterable[float], begin: float, end: float, *, log: bool = False
    ) -> None:
        self.begin, self.end, self.log = begin, end, log
        self.ticks = log_ticks(list(values)) if log else ticks(list(values))

    def __call__(self, value: float) -> float:
        """Return the place of a number; on a log scale it is above 0."""
        low, high, at = self.ticks.low, self.ticks.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return round(self.begin + (at - low) / (high - low) * (self.end - self.begin), 1)


def ticks(values: Sequence[float]) -> Ticks:
    """Return ticks that are 1, 2 or 5 times a power of ten apart, and hold all values."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high - low <= NEAR * max(abs(low), abs(high)):
        low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
    rough = (high - low) / ABOUT
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough * (1 - NEAR))
    first, last = math.floor(low / step + NEAR), math.ceil(high / step - NEAR)
    at = [float(f"{i * step:.12g}") for i in range(first, last + 1)]
    return Ticks(at[0], at[-1], at)


def log_ticks(values: Sequence[float]) -> Ticks:
    """Return ticks of 1, 2 and 5 times powers of ten, or of those alone; values are above 0."""
    low, high = (min(values), max(values)) if values else (1.0, 1.0)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    first = max(i for i, step in enumerate(steps) if step <= low * (1 + NEAR))
    last = min(i for i, step in enumerate(steps) if step >= high * (1 - NEAR))
    first, last = (first, last) if first < last else (first - 1, last + 1)
    at = steps[first : last + 1]
    fewer = [step for step in at if f"{step:e}"[0] == "1"]
    return Ticks(at[0], at[-1], at if len(at) <= 2 * ABOUT else fewer)
