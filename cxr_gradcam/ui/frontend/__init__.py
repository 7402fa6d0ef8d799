"""The viewer's program for the browser: plain files, joined when the page starts.

There is no build step. The scripts share one module scope and are joined in the order below, from
what knows nothing of the others up to what a component starts.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from cxr_gradcam.render import COLORMAPS, ONSET, colormap_table

_FOLDER = Path(__file__).parent
_SCRIPTS = (
    "words", "film", "settings", "geometry", "heat", "paint", "contours", "marks", "measure",
    "panel", "gestures", "keyboard", "toolbar", "viewer", "start",
)  # fmt: skip


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _constants() -> str:
    """Return what the scripts must have in common with `render`, and the two other files."""
    tables = {name: base64.b64encode(colormap_table(name).tobytes()).decode() for name in COLORMAPS}
    values = {
        "COLORMAP_TABLES": tables,
        "ONSET": ONSET,
        "MARKUP": _read("viewer.html"),
        "STYLE": _read("viewer.css"),
    }
    return "\n".join(f"const {name} = {json.dumps(value)};" for name, value in values.items())


def _engine() -> str:
    return "\n".join([_constants(), *(_read(f"{name}.js") for name in _SCRIPTS)])


ENGINE = _engine()
LOADER = _read("loader.js")
