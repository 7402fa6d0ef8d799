"""What to compare: the choices of the page "Compare". They stand in the address, to be shared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from cxr_gradcam.cam import METHODS
from cxr_gradcam.densenet import LAST_LAYER, MAIN_LAYERS
from cxr_gradcam.explanation import Explanation, Scale
from cxr_gradcam.ui.text import class_choices
from cxr_gradcam.words import layer_name

CLASSES = "Classes"
LAYERS = "Layers"
METHODS_ = "Methods"
CONTRAST = "Contrast"
FILMS = "Two radiographs"
SUBJECTS = (CLASSES, LAYERS, METHODS_, CONTRAST, FILMS)

FOLLOWING = ""  # the choice that follows the prediction; no class has an empty name


class Keys:
    """Keys of the widgets, which are their names in the address."""

    SUBJECT: Final = "compare"
    CLASS: Final = "compare_class"
    RATHER_THAN: Final = "rather_than"
    LAYER: Final = "compare_layer"
    METHOD: Final = "compare_method"
    AGREEMENT: Final = "agreement_class"
    EACH_SCALE: Final = "compare_each"


def choose_subject() -> str:
    """Draw the choice of what stands side by side and return one of `SUBJECTS`."""
    return st.segmented_control(
        "Compare",
        SUBJECTS,
        default=CLASSES,
        required=True,
        key=Keys.SUBJECT,
        bind="query-params",
        persist_state="session",
    )


def choose_layer() -> str:
    """Draw the choice of the layer; the last one at first."""
    return st.selectbox(
        "Layer",
        MAIN_LAYERS,
        index=MAIN_LAYERS.index(LAST_LAYER),
        format_func=layer_name,
        key=Keys.LAYER,
        bind="query-params",
        persist_state="session",
    )


def choose_method(methods: Sequence[str]) -> str:
    """Draw the choice of the method and return a key of `cam.METHODS`."""
    _leave_out_unknown(Keys.METHOD, methods)
    return st.selectbox(
        "Method",
        methods,
        format_func=lambda method: METHODS[method].label,
        key=Keys.METHOD,
        bind="query-params",
        persist_state="session",
    )


def choose_scale() -> Scale:
    """Draw the switch between a shared scale and each map's own."""
    each = st.toggle(
        "Each map on its own scale",
        key=Keys.EACH_SCALE,
        help="Off: one scale for all classes, so that their colours can be compared. "
        "On: each map by its own maximum, so that a weak map looks as hot as a strong one.",
        bind="query-params",
        persist_state="session",
    )
    return "each" if each else "shared"


def choose_class(said: Explanation, label: str = "Class") -> str:
    """Draw the choice of one class and return its name; at first the predicted one.

    That first choice follows the prediction, so it goes on being right with the next radiograph.
    """
    return _choose_of(label, Keys.CLASS, "Predicted", list(said.logits)) or said.predicted


def choose_agreement_class(said: Explanation) -> str:
    """Draw the choice of the class whose maps are held against each other; as `choose_class`."""
    names = list(said.logits)
    return _choose_of("For the class", Keys.AGREEMENT, "Predicted", names) or said.predicted


def choose_other_class(said: Explanation, c: str) -> str:
    """Draw the choice of the class that c is contrasted with; at first the next most probable."""
    others = [name for name in said.logits if name != c]
    chosen = _choose_of("rather than", Keys.RATHER_THAN, "Next most probable", others)
    return chosen or max(others, key=said.probabilities.__getitem__)


def _choose_of(label: str, key: str, following: str, names: Sequence[str]) -> str:
    words = class_choices(names, first=following)
    _leave_out_unknown(key, list(words))
    return st.selectbox(
        label,
        list(words),
        format_func=words.__getitem__,
        key=key,
        bind="query-params",
        persist_state="session",
    )


def _leave_out_unknown(key: str, options: Sequence[str]) -> None:
    """Go back to the first option where the one chosen before is not on offer now."""
    if st.session_state.get(key, options[0]) not in options:
        st.session_state[key] = options[0]
