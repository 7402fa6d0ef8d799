"""How many cores may be kept busy, and work in threads that keeps its order."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from cxr_gradcam.threads import in_order, usable_cores


def test_no_more_cores_than_are_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores() >= 1
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # joblib's own, as a scheduler of jobs sets it
    assert usable_cores() == 1


def test_what_has_not_begun_is_not_begun_after_a_failure_or_a_stop() -> None:
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.01)
        if item == 1:
            raise OSError("gone")
        return item

    with ThreadPoolExecutor(1) as pool, pytest.raises(OSError, match="gone"):
        list(in_order(pool, work, range(100), ahead=50))
    assert len(begun) < 10
    begun.clear()
    with ThreadPoolExecutor(1) as pool, closing(in_order(pool, work, [0] * 100, 50)) as results:
        assert next(results) == 0
    assert len(begun) < 30


def test_in_order_takes_no_more_than_it_may() -> None:
    taken = given = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for taken in range(1, 101):
            assert taken - given <= 4
            yield taken

    with ThreadPoolExecutor(2) as pool:
        for number in in_order(pool, lambda item: -item, items(), ahead=3):
            given += 1
            assert number == -given
    assert given == 100
