"""How many cores may be kept busy."""

import pytest

from cxr_gradcam.cores import usable_cores


def test_no_more_cores_than_are_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores() >= 1
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # joblib's own, as a scheduler of jobs sets it
    assert usable_cores() == 1
