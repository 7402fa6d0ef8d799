"""The processes that `torchrun` starts to share one run; a plain run is the only one of one."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from cxr_gradcam.threads import usable_cores

# The last process waits for the first one at the end: as long as one run may take.
_PATIENCE = timedelta(days=14)
_Item = TypeVar("_Item")


class ProcessLostError(Exception):
    """Another process of this run has ended early."""


@dataclass(frozen=True)
class Processes:
    """This process among those that share the run.

    Attributes:
        rank: Its number, from 0.
        count: How many there are.
        local_rank: Its number on its machine.
        local_count: How many there are on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @classmethod
    def from_environment(cls) -> Processes:
        """Read what `torchrun` says; without it, this process is alone.

        Raises:
            ValueError: If only a part of it is there, or it makes no sense.
        """
        if os.environ.get("WORLD_SIZE", "1") == "1":
            return cls()
        try:
            names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
            found = cls(*(int(os.environ[name]) for name in names))
            os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
        except (KeyError, ValueError):
            found = None
        if found is None or not 0 <= found.rank < found.count:
            raise ValueError(
                "WORLD_SIZE says that several processes share this run, but RANK, LOCAL_RANK, "
                "LOCAL_WORLD_SIZE, MASTER_ADDR or MASTER_PORT is missing or wrong: start it by "
                "torchrun, or unset WORLD_SIZE."
            )
        return found

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def join(self) -> None:
        """Meet the other processes.

        Raises:
            ProcessLostError: If they cannot be reached.
        """
        if self.count > 1:
            try:
                dist.init_process_group("gloo", timeout=_PATIENCE)
            except RuntimeError:
                raise ProcessLostError from None

    def wait_for_all(self) -> None:
        """Return when every process has come here.

        Raises:
            ProcessLostError: If one of them has ended.
        """
        if self.count == 1:
            return
        try:
            meeting = dist.barrier(async_op=True)
            while not meeting.is_completed():  # in Python, so that Ctrl-C is heard
                time.sleep(0.02)
            meeting.wait()
        except RuntimeError:
            raise ProcessLostError from None

    def share(self, items: Sequence[_Item]) -> Sequence[tuple[int, _Item]]:
        """Return this process's items with their numbers: every `count`-th one."""
        numbers = range(self.rank, len(items), self.count)
        return [(number, items[number]) for number in numbers]

    def device(self, device: str) -> str:
        """Turn "auto" or "cuda" into the GPU of this process where there are several."""
        if device in ("auto", "cuda") and self.count > 1 and torch.cuda.is_available():
            return f"cuda:{self.local_rank % torch.cuda.device_count()}"
        return device

    def threads(self) -> int:
        """Return how many threads this process may keep busy: its share of the machine's cores."""
        return max(1, usable_cores() // self.local_count)
