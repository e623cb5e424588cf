"""Several at a time: the order stays, little waits, and an error ends it."""

import threading
import time

import pytest

from pinnersage.parallel import in_order


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_results_stand_in_the_order_of_the_items(threads):
    def slower_at_first(item):
        time.sleep((20 - item) / 2000)
        return item * item

    assert list(in_order(slower_at_first, range(20), threads)) == [n * n for n in range(20)]
    assert list(in_order(slower_at_first, [], threads)) == []


def test_as_many_run_at_a_time_as_there_are_threads():
    together = threading.Barrier(3, timeout=30)  # nobody gets past it alone
    assert len(list(in_order(lambda _: together.wait(), range(6), 3))) == 6


def test_items_are_taken_only_as_fast_as_results_are():
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    results = in_order(lambda item: item, items(), 2)
    for n in range(50):
        assert next(results) == n
        assert len(taken) <= n + 4
    results.close()
    assert len(taken) <= 54


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_error_ends_it_and_what_has_not_begun_does_not_begin(threads):
    begun = []

    def fails_at_three(item):
        begun.append(item)
        if item == 3:
            raise ValueError(item)
        return item

    results = in_order(fails_at_three, range(100), threads)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)
    assert max(begun) <= 3 + 2 * threads
    assert list(results) == []


def test_an_error_of_the_items_arrives_and_leaves_no_thread():
    def items():
        yield 1
        raise KeyError("no more")

    before = threading.active_count()
    with pytest.raises(KeyError, match="no more"):
        list(in_order(lambda item: item, items(), 2))
    assert threading.active_count() == before
