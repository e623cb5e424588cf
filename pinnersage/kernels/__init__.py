"""Kernels: arrays in, arrays out, compiled by Numba; each has a naive twin in the tests."""

from pathlib import Path

from pinnersage.kernels.cache import drop_stale

drop_stale(Path(__file__).parent)
