"""A visitor without a browser: opens a page, turns to another, and reads what it says."""

import base64
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.render import DISCLAIMER

APP = str(Path(__file__).parents[2] / "streamlit_app.py")
Sent = dict[str, Any]


def open_page(title: str = "Explain", **address: str) -> AppTest:
    """Open a page of the app by its link, as somebody new."""
    page = AppTest.from_file(APP, default_timeout=60)
    for name, value in address.items():
        page.query_params[name] = value
    return turn_to(page, title)


def turn_to(page: AppTest, title: str) -> AppTest:
    """Turn to another page of the navigation, as a click there does."""
    page._page_hash = calc_hash(title.lower())
    page.run()
    check(page)
    return page


def check(page: AppTest) -> None:
    assert not page.exception
    assert DISCLAIMER in text_of(page)


def text_of(page: AppTest) -> str:
    """Return all that the page says, but for what its components paint."""
    kinds = ("html", "markdown", "caption", "error", "warning", "info")
    parts = [str(part.value) for kind in kinds for part in page.get(kind)]
    return "\n".join(parts).replace("\u2060", "")


def errors(page: AppTest) -> list[str]:
    return [error.value.replace("\\", "") for error in page.error]


def components(page: AppTest) -> Collection[str]:
    """Return the keys of the components on the page."""
    return [one.key for one in page.get("bidi_component")]


def component(page: AppTest, key: str) -> Sent:
    """Return what a component was given to draw."""
    (found,) = [one for one in page.get("bidi_component") if one.key == key]
    given: Sent = json.loads(found.proto.json)
    return given


def panels_of(page: AppTest, key: str = "explain") -> list[Sent]:
    """Return what a viewer was given to paint."""
    given: list[Sent] = component(page, key)["panels"]
    return given


def grid(sent: Sent) -> np.ndarray:
    """Return a grid of cells as the browser reads it, float32 (h, w)."""
    values = np.frombuffer(base64.b64decode(sent["data"]), "<f4")
    return values.reshape(sent["height"], sent["width"])


def cam_of(panel: Sent) -> np.ndarray:
    """Return the CAM that a panel was given, float32 (h, w)."""
    return grid(panel["map"]["cam"])


def png(label: str = "COVID", seed: int = 1) -> bytes:
    """Return a phantom as a PNG file."""
    pixels = np.rint(draw_phantom(label, seed).radiograph.pixels * 255).astype(np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()
