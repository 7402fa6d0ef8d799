"""Names made fit to be shown: plain words, and nothing that a browser or a disk could obey."""

from __future__ import annotations

import re

from cxr_gradcam.explainer import Explanation

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=&])")
_LAYER_WORDS = {
    "features.denseblock1": "Fine detail, far from the decision.",
    "features.denseblock2": "Small patterns, still far from the decision.",
    "features.denseblock3": "Larger patterns, in coarser cells.",
    "features.denseblock4": "Coarse cells, close to the decision.",
    "features.norm5": "The last layer: its cells add up to the class’s score.",
}


def plain(name: str) -> str:
    """Return a name that Streamlit's Markdown shows letter by letter."""
    return _MARKDOWN.sub(r"\\\1", " ".join(name.split()))


def class_label(name: str) -> str:
    """Return a class name as one reads it: `Lung_Opacity` is shown as `Lung Opacity`."""
    return name.replace("_", " ")


def layer_label(layer: str, cells: int) -> str:
    """Return a layer's short name with its resolution."""
    return f"{layer_name(layer)} — {cells} × {cells} cells"


def layer_name(layer: str) -> str:
    """Return the last part of a layer's path: `norm5` for `features.norm5`."""
    return layer.rpartition(".")[2]


def layer_words(layer: str) -> str:
    """Return one plain sentence about a layer, or nothing."""
    return _LAYER_WORDS.get(layer, "")


def number(value: float) -> str:
    """Return a number with three significant digits, without an exponent where it reads well."""
    if value == 0:
        return "0"
    return f"{value:.3g}" if 1e-4 <= abs(value) < 1e4 else f"{value:.2e}"


def signed(value: float) -> str:
    """Return a number with two decimals and its sign, the minus as wide as the plus."""
    return f"{value:+.2f}".replace("-", "−")


def per_cell(explanation: Explanation) -> str:
    """Return the unit of the map's numbers in words."""
    return f"{explanation.unit} per cell"


def file_part(name: str) -> str:
    """Return a name fit to be part of a file's name, at most 80 characters of it."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", name).strip("._-")[:80]
