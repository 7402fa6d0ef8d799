"""Ending a run early, on a signal or at a time limit, with nothing lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Stop(IntEnum):
    """Whether, and why, a run is to end early."""

    NO = 0
    TIME = 1
    SIGNAL = 2


class Stopped(BaseException):
    """The run ends here, all saved. No `Exception`, so nothing on the way swallows it."""


class Stopwatch:
    """Knows whether the run is to end: a signal came, or its time is up."""

    def __init__(self, max_minutes: float | None = None) -> None:
        self._started = time.monotonic()
        self._limit = float("inf") if max_minutes is None else 60 * max_minutes
        self.signal_number: int | None = None

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._started

    def reason(self) -> Stop:
        """Return why the run is to end now, if it is."""
        if self.signal_number is not None:
            return Stop.SIGNAL
        return Stop.TIME if self.seconds >= self._limit else Stop.NO

    def check(self) -> None:
        """End the run where nothing needs saving.

        Raises:
            Stopped: when a signal came.
        """
        if self.signal_number is not None:
            raise Stopped

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of SIGTERM and Ctrl-C while the block runs; a second one acts at once."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {one: signal.getsignal(one) for one in signals}

        def restore() -> None:
            for one, handler in before.items():
                signal.signal(one, handler)

        def note(number: int, frame: FrameType | None) -> None:
            self.signal_number = number
            restore()

        for one in signals:
            signal.signal(one, note)
        try:
            yield
        finally:
            restore()
