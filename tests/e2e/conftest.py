"""One browser and two servers for all tests that need them."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxr_gradcam.checkpoint import load_checkpoint, save_checkpoint
from cxr_gradcam.phantom import write_phantoms
from tests.e2e.browsing import ARGUMENTS, CHROMIUM, serve

WORDY_NAMES = (
    "Pleural_effusion_bilateral_with_pneumothorax_and_emphysema_right_greater_than_left",
    "PleuralEffusionBilateralWithPneumothoraxAndEmphysemaRightGreaterThanLeft",
    "Enlarged Cardiomediastinum",
    "<b>Normal & $x$ `y`",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A running Chromium; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium: install it, or name it in the variable CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        browser.new_context()  # for `new_page`
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _leave(browser: Any) -> Iterator[None]:
    """Close the pages that a test has opened: the server has others to serve."""
    yield
    own, *others = browser.contexts
    for page in own.pages:
        page.close()
    for context in others:
        context.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of sixteen phantoms."""
    root = tmp_path_factory.mktemp("chests")
    write_phantoms(root, 16, size=128)
    return root


@pytest.fixture(scope="session")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with that folder as its dataset, no film of it evaluated."""
    with serve(tmp_path_factory.mktemp("server"), str(folder)) as address:
        yield address


@pytest.fixture(scope="session")
def bare_address(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server without a dataset. It has the bundled model at 64 px, too, called `small`.

    The same with other class names is called `wordy`.
    """
    folder = tmp_path_factory.mktemp("bare")
    for name in ("small", "wordy"):
        (folder / "runs" / name).mkdir(parents=True)
    shutil.copyfile(small_checkpoint, folder / "runs/small/best.safetensors")
    wordy = replace(load_checkpoint(small_checkpoint), class_names=WORDY_NAMES)
    save_checkpoint(wordy, folder / "runs/wordy/best.safetensors")
    with serve(folder, runs=str(folder / "runs")) as address:
        yield address
