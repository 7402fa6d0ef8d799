"""Names made fit to be shown: plain words, and nothing that a browser or a disk could obey."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cxr_gradcam.densenet import MAIN_LAYERS
from cxr_gradcam.explanation import Explanation, Scale
from cxr_gradcam.export import evidence_sums
from cxr_gradcam.reading import printable
from cxr_gradcam.words import class_label, knows_no_class, signed

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
    return _MARKDOWN.sub(r"\\\1", printable(" ".join(name.split())))


def class_choices(class_names: Sequence[str], first: str = "") -> dict[str, str]:
    """Return what a list calls each class: no two alike, as Streamlit tells choices apart by that.

    Args:
        class_names: of a model or a folder.
        first: what the list calls the choice before them, which is ""; "" if there is none.
    """
    words = {"": first} if first else {}
    taken = {first}
    for name in class_names:
        label = shown = " ".join(class_label(name).split())
        number = 1
        while shown in taken:
            number += 1
            shown = f"{label} ({number})"
        taken.add(shown)
        words[name] = shown
    return words


def layer_cells(layer: str, input_size: int) -> int:
    """Return how many cells one of `MAIN_LAYERS` has on a side, for a model input of that side."""
    return input_size // _STRIDES[layer]


def layer_words(layer: str) -> str:
    """Return one plain sentence about a layer, or nothing."""
    return _LAYER_WORDS.get(layer, "")


def scale_words(method: str, scale: Scale) -> str:
    """Return what the hottest colour of one class's map belongs to."""
    if knows_no_class(method):
        return "scaled by its own maximum"
    if scale == "each":
        return "scaled by this class’s own maximum"
    return "shared scale: the maximum over all classes"


def score_sentence(explanation: Explanation, class_name: str) -> str:
    """Say what the last layer's cells add to the class's score, and what they take away."""
    sums = evidence_sums(explanation, class_name)
    return (
        f"Evidence in logit units, over the whole last layer: {signed(sums['for'])} for "
        f"{class_label(class_name)}, {signed(sums['against'])} against, "
        f"bias {signed(sums['bias'])}. "
        f"Together: score {signed(explanation.logits[class_name])}."
    )


def file_part(name: str) -> str:
    """Return a name fit to be part of a file's name, at most 80 characters of it."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", name).strip("._-")[:80]
