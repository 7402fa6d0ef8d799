"""For phantoms: does the heat find the lesion that was planted? On demand, in words."""

from __future__ import annotations

import streamlit as st

from cxr_gradcam.cam import METHODS
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.localisation import Localisation, localise
from cxr_gradcam.ui.components.picture import note, tiles
from cxr_gradcam.ui.session import Keys, Shown
from cxr_gradcam.words import class_label, knows_no_class

NO_LESION = "This phantom is drawn as Normal: no lesion is planted in it, so there is none to find."
NO_HEAT = "There is no heat to hold against the lesion: no positive evidence."


def wants_lesion(shown: Shown) -> bool:
    """Draw the switch, for a phantom, and return whether it is on."""
    if shown.lesion is None:
        return False
    return st.toggle(
        "Show the planted lesion",
        key=Keys.LESION,
        help="The program knows where it drew the lesion: see whether the heat finds it.",
        persist_state="session",
    )


def findings(shown: Shown, explanation: Explanation, class_name: str, layer: str) -> None:
    """Say how well the map of a class finds the planted lesion.

    Args:
        shown: a phantom.
        explanation: with that class and layer.
        class_name, layer: whose map.
    """
    if shown.lesion is None or not shown.lesion.any():
        note(NO_LESION)
        return
    heatmap = explanation.heatmap(class_name, layer, "each")
    found = localise(heatmap, shown.lesion)
    if not found.has_heat:
        note(NO_HEAT)
        return
    tiles(in_words(found), "cxr-findings")
    note(_caution(shown, explanation, class_name))


def in_words(found: Localisation) -> list[tuple[str, str, str]]:
    """Return name, value and meaning of each number; plain text."""
    return [
        (
            "Hottest point",
            "in the lesion" if found.hit else "outside",
            f"by chance it would be inside {found.area:.0%} of the time",
        ),
        (
            "Heat in the lesion",
            f"{found.inside:.0%}",
            f"an even map would have {found.area:.0%}, the lesion’s share of the picture",
        ),
        (
            "Best overlap (IoU)",
            f"{found.iou:.2f}",
            f"of 1.00, for the heat above {found.threshold:.0%} of its maximum",
        ),
    ]


def _caution(shown: Shown, explanation: Explanation, class_name: str) -> str:
    if knows_no_class(explanation.method):
        return f"{METHODS[explanation.method].label} knows no class, so neither do these numbers."
    if class_name != shown.label:
        return (
            f"The lesion is drawn as {class_label(shown.label or '')}, the map is that of "
            f"{class_label(class_name)}: its evidence may well lie elsewhere."
        )
    return "The lesion is drawn by the program, so its place is known exactly."
