import numpy as np
import pytest
from numba import njit
from numba.core.errors import NumbaError

from pinnersage.kernels.borrow import borrowing


def test_a_kernel_that_allocates_is_refused():
    def allocates(array):
        array += np.zeros(array.size)

    njit(allocates)(np.ones(3))  # nothing else is wrong with it
    with pytest.raises(NumbaError):
        borrowing(cache=False)(allocates)(np.ones(3))


def test_a_kernel_that_only_writes_what_it_is_given_is_compiled():
    @borrowing(cache=False)
    def doubles(array):
        for k in range(array.size):
            array[k] *= 2

    given = np.arange(3.0)
    doubles(given)
    assert given.tolist() == [0, 2, 4]
