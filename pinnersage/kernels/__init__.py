"""Kernels: arrays in, arrays out, compiled by Numba; each has a naive twin in the tests."""
