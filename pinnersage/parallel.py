"""Parallel: the same work for many items, several at a time, results in the items' order.

Threads, not processes: what takes long here (DuckDB, kernels, Parquet, the disk) lets others run.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def in_order(do: Callable[[Item], Found], items: Iterable[Item], threads: int) -> Iterator[Found]:
    """Yield ``do(item)`` for each item in order, ``threads`` of them at a time.

    As many again wait, for a thread or to be taken, no more: so memory does not grow with the
    items. The first error in the items' order ends it: what runs by then is waited for, and what
    waits for a thread does not begin.
    """
    if threads == 1:
        yield from map(do, items)
        return
    pending: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(do, item))
                if len(pending) >= 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
