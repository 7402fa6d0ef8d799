"""A small bounded memory for one session."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """Keeps what was used last, up to a budget; the newest value always stays.

    Args:
        budget: how much all the values together may weigh.
        weigh: what one value weighs; 1 by default, so that the budget is a count.
    """

    def __init__(self, budget: int, weigh: Callable[[Value], int] = lambda _: 1) -> None:
        self._budget = budget
        self._weigh = weigh
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def __len__(self) -> int:
        """Return how many values are kept."""
        return len(self._values)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `key`, made now if it is not kept. What `make` raises is not kept."""
        if key not in self._values:
            self._values[key] = make()
            self._shrink()
        self._values.move_to_end(key)
        return self._values[key]

    def _shrink(self) -> None:
        weight = sum(map(self._weigh, self._values.values()))
        while weight > self._budget and len(self._values) > 1:
            _, dropped = self._values.popitem(last=False)
            weight -= self._weigh(dropped)
