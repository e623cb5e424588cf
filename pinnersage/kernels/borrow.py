"""Borrow: how small kernels that only read and write given arrays are compiled.

Numba counts references to arrays, and a call that hands over a dozen of them spends more on
counting than a user of fifty points on arithmetic. A kernel that allocates nothing needs no
count: its caller holds the arrays. Numba refuses to compile an allocation in it.
"""

from functools import partial

from numba import njit

borrowing = partial(njit, cache=True, nogil=True, forceinline=True, _nrt=False)
"""``@borrowing()``: compiled into its caller, without counts of references."""
