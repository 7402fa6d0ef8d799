"""How many cores there are for this process to keep busy."""

from __future__ import annotations


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1, as a container or a job grants."""
    from joblib import cpu_count  # here, as it takes a moment

    return int(cpu_count())
