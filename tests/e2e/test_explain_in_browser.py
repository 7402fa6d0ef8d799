"""The page in a real browser: files dropped on it, choices made, pixels compared."""

import base64
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

import cxr_gradcam as cg
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import draw_phantom

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 60_000  # ms, for a machine that is busy


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, without a dataset, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CXR_")}
    environment["CXR_DATA"] = ""
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]
    options = [f"--server.port={port}", "--server.headless=true", "--server.fileWatcherType=none"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command + options, cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=20)
    assert "Traceback" not in log.read_text()


def wait_until_healthy(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            with urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: install it, or name it in the variable CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.get_by_text("Drop chest X-rays here").wait_for()
        yield page
        browser.close()


def drop(page: Any, name: str, data: bytes) -> None:
    """Drop a file on the dropzone, as a hand would."""
    transfer = page.evaluate_handle(
        """([name, data]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            return transfer;
        }""",
        [name, base64.b64encode(data).decode()],
    )
    zone = page.get_by_test_id("stFileUploaderDropzone")
    for event in ("dragenter", "dragover", "drop"):
        zone.dispatch_event(event, {"dataTransfer": transfer})


def pixels(page: Any, pane: str) -> np.ndarray:
    """Return the picture in a pane as the server sent it, RGB."""
    data = page.locator(f".st-key-pane_{pane} img").evaluate(
        """async (image) => {
            const blob = await (await fetch(image.src)).blob();
            return await new Promise((done) => {
                const reader = new FileReader();
                reader.onload = () => done(reader.result.split(",")[1]);
                reader.readAsDataURL(blob);
            });
        }"""
    )
    encoded = np.frombuffer(base64.b64decode(data), np.uint8)
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[:, :, ::-1]


def wait_for(page: Any, pane: str, expected: np.ndarray) -> None:
    """Wait until a pane shows exactly the picture expected."""
    shown = np.empty(0)
    for _ in range(150):
        shown = pixels(page, pane)
        if np.array_equal(shown, expected):
            return
        page.wait_for_timeout(200)
    difference = np.abs(shown.astype(int) - expected).max() if shown.shape == expected.shape else ""
    pytest.fail(f"{pane}: {shown.shape} for {expected.shape}, differs by up to {difference}")


def choose(page: Any, key: str, words: str) -> None:
    box = page.locator(f".st-key-{key} input")
    box.click()
    box.fill(words)
    box.press("Enter")


def test_a_dropped_film_is_explained_and_every_choice_changes_the_picture(
    page: Any, explainer: Explainer
) -> None:
    stored = np.rint(draw_phantom("COVID", 5).radiograph.pixels * 255).astype(np.uint8)
    png = cv2.imencode(".png", stored)[1].tobytes()
    film = cg.load_radiograph(png)
    drop(page, "phantom.png", png)
    page.get_by_role("heading", name="phantom.png").wait_for()

    def expected(class_name: str, layer: str, opacity: float = 0.45) -> np.ndarray:
        explanation = explainer.explain(film, layers=[layer])
        return cg.overlay(film, explanation.heatmap(class_name, layer, "shared"), opacity=opacity)

    predicted = explainer.explain(film).predicted
    other = "Normal" if predicted != "Normal" else "COVID"
    wait_for(page, "radiograph", np.repeat(stored[:, :, None], 3, axis=2))
    wait_for(page, "overlay", expected(predicted, "features.norm5"))

    page.locator(".st-key-class").get_by_text(other, exact=True).click()
    wait_for(page, "overlay", expected(other, "features.norm5"))
    choose(page, "layer", "denseblock3")
    wait_for(page, "overlay", expected(other, "features.denseblock3"))
    page.locator(".st-key-opacity").get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    last = expected(other, "features.denseblock3", 0.5)
    wait_for(page, "overlay", last)

    drop(page, "broken.png", png[:3000])
    page.get_by_text("broken.png is damaged or incomplete: copy or export it again.").wait_for()
    wait_for(page, "overlay", last)
    assert page.get_by_role("heading", name="phantom.png").is_visible()

    with page.expect_download() as caught:
        page.get_by_role("button", name="Overlay PNG").click()
    saved = cv2.imread(str(caught.value.path()), cv2.IMREAD_COLOR)[:, :, ::-1]
    np.testing.assert_array_equal(saved, last)
    with page.expect_download() as caught:
        page.get_by_role("button", name="Heatmap NPY").click()
    heatmap = np.load(BytesIO(Path(caught.value.path()).read_bytes()))
    layer = "features.denseblock3"
    wanted = explainer.explain(film, layers=[layer]).heatmap(other, layer, "shared")
    np.testing.assert_array_equal(heatmap, wanted)
    assert caught.value.suggested_filename == (
        f"phantom-heatmap-{other}-denseblock3-gradcam-shared.npy"
    )


def test_the_page_asks_no_other_machine_for_anything(page: Any, address: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.get_by_role("button", name="Normal", exact=True).click()
    page.get_by_text("Predicted class").wait_for()
    ours = (address, address.replace("http", "ws"), "data:", "blob:")
    assert [url for url in asked if not url.startswith(ours)] == []
