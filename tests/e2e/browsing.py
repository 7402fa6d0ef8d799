"""A server to visit and a visitor, for all tests in a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")  # the first draws no windows
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 60_000  # ms, for a machine that is busy


@contextmanager
def serve(
    folder: Path, data: str = "", script: str = "streamlit_app.py", runs: str = ""
) -> Iterator[str]:
    """Serve a page on a free port; give its address.

    Args:
        folder: for the server's log and its cache.
        data: what CXR_DATA names; "" for no dataset.
        script: what Streamlit runs, below the project's root.
        runs: what CXR_RUNS names; "" for none, whatever was trained in the project's folder.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CXR_")}
    environment |= {"CXR_DATA": data, "CXR_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    environment["CXR_RUNS"] = runs or str(folder / "none")
    log = folder / "log"
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.headless=true"]
    options = [f"--server.port={address.rpartition(':')[2]}", "--server.fileWatcherType=none"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command + options, cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        wait_until_healthy(address, server, log)
        yield address
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


def new_page(browser: Any, width: int = 1280, height: int = 900) -> Any:
    """Return a new page in the profile of all tests, which keeps Streamlit's programs, compiled.

    Nothing else is kept from page to page: to the server, each is somebody new.
    """
    page = browser.contexts[0].new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.set_default_timeout(PATIENCE)
    return page


def visit(browser: Any, url: str) -> Any:
    """Open an address in a new page."""
    page = new_page(browser)
    page.goto(url)
    return page


def visit_elsewhere(browser: Any, url: str) -> Any:
    """Open an address as somebody else, whose browser knows nothing."""
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    return page
