"""Memory that is given back to the system between two steps must be fetched, and cleared, anew."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Have this process keep the memory it frees, for the next step needs as much again.

    On a CPU most of a step's tensors are larger than what glibc keeps: it would return each to the
    system and have fresh pages cleared for the next one.

    Returns:
        Whether there is a glibc that took it; elsewhere nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return False
    never = -1
    return bool(mallopt(_TRIM_THRESHOLD, never)) and bool(mallopt(_MMAP_MAX, 0))
