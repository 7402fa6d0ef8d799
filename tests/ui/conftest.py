"""What every test of the page starts from."""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from streamlit.components.v2 import manifest_scanner

from cxr_gradcam.ui.models import CHECKPOINT_VARIABLE, RUNS_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def _scanned_once() -> Iterator[None]:
    """Look through all that is installed for components once, not for every page anew."""
    with pytest.MonkeyPatch.context() as patch:
        scan = manifest_scanner.scan_component_manifests
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(scan))
        yield


@pytest.fixture(autouse=True)
def _nothing_set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No dataset, no runs, the bundled checkpoint; a working folder and a cache of its own."""
    for variable in ("CXR_DATA", CHECKPOINT_VARIABLE, RUNS_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("CXR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    # A page that runs takes this place and keeps it; processes started later would run the page.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch, small_checkpoint: Path) -> None:
    """Have the page look through the model of 64 px."""
    monkeypatch.setenv(CHECKPOINT_VARIABLE, str(small_checkpoint))


@pytest.fixture
def mute_model(monkeypatch: pytest.MonkeyPatch, mute_checkpoint: Path) -> Path:
    """Have the page look through a model to which no place of any picture speaks for Normal."""
    monkeypatch.setenv(CHECKPOINT_VARIABLE, str(mute_checkpoint))
    return mute_checkpoint
