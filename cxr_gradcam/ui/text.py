"""Names made fit to be shown: plain words, and nothing that a browser or a disk could obey."""

from __future__ import annotations

import re

from cxr_gradcam.cam import METHODS
from cxr_gradcam.densenet import MAIN_LAYERS
from cxr_gradcam.explainer import Explanation, Scale

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=&])")
_LAYER_WORDS = {
    "features.denseblock1": "Fine detail, far from the decision.",
    "features.denseblock2": "Small patterns, still far from the decision.",
    "features.denseblock3": "Larger patterns, in coarser cells.",
    "features.denseblock4": "Coarse cells, close to the decision.",
    "features.norm5": "The last layer: its cells add up to the class’s score.",
}

# How many pixels of the model input one cell is wide; a smaller input has fewer cells.
_STRIDES = dict(zip(MAIN_LAYERS, (4, 8, 16, 32, 32), strict=True))


def plain(name: str) -> str:
    """Return a name that Streamlit's Markdown shows letter by letter."""
    return _MARKDOWN.sub(r"\\\1", " ".join(name.split()))


def class_label(name: str) -> str:
    """Return a class name as one reads it: `Lung_Opacity` is shown as `Lung Opacity`."""
    return name.replace("_", " ")


def layer_cells(layer: str, input_size: int) -> int:
    """Return how many cells one of `MAIN_LAYERS` has on a side, for a model input of that side."""
    return input_size // _STRIDES[layer]


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


def map_title(class_name: str, method: str, layer: str) -> str:
    """Return whose map it is: the class, unless the method knows none, the method and the layer."""
    whose = "" if METHODS[method].needs == "activation" else f"{class_label(class_name)} · "
    return f"{whose}{METHODS[method].label} · {layer_name(layer)}"


def scale_words(method: str, scale: Scale) -> str:
    """Return what the hottest colour of one class's map belongs to."""
    if METHODS[method].needs == "activation":
        return "scaled by its own maximum"
    if scale == "each":
        return "scaled by this class’s own maximum"
    return "shared scale: the maximum over all classes"


def score_sentence(explanation: Explanation, class_name: str) -> str:
    """Say what the last layer's cells add to the class's score, and what they take away."""
    evidence = explanation.evidence(class_name)
    gain, loss = float(evidence.clip(min=0).sum()), float(evidence.clip(max=0).sum())
    return (
        f"Evidence in logit units, over the whole last layer: {signed(gain)} for "
        f"{class_label(class_name)}, {signed(loss)} against, "
        f"bias {signed(explanation.biases[class_name])}. "
        f"Together: score {signed(explanation.logits[class_name])}."
    )


def file_part(name: str) -> str:
    """Return a name fit to be part of a file's name, at most 80 characters of it."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", name).strip("._-")[:80]
