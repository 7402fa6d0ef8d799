"""How many cores there are for this process to keep busy."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return how many cores this process may run on, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # a container may grant fewer than there are
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
