"""How many cores there are to keep busy, and work in threads whose results keep their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1, as a container or a job grants."""
    from joblib import cpu_count  # here, as it takes a moment

    return int(cpu_count())


def in_order(
    pool: ThreadPoolExecutor, function: Callable[[_In], _Out], items: Iterable[_In], ahead: int
) -> Generator[_Out, None, None]:
    """Map in threads, in order, with at most `ahead` items waiting besides the one asked for.

    So no results pile up. What has not begun when an item fails, or when the generator is closed,
    is not begun any more.
    """
    pending: deque[Future[_Out]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
