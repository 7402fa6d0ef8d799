"""What to look at: class, layer, method and scale. How it is painted is the browser's business.

All are in the address (`?class=…&layer=…&method=…&each_scale=…`), so that a link opens the same
view; what an address names and this page does not have is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from cxr_gradcam.cam import METHODS
from cxr_gradcam.classifier import Classifier
from cxr_gradcam.densenet import LAST_LAYER, MAIN_LAYERS
from cxr_gradcam.explanation import Scale
from cxr_gradcam.ui.components.picture import note
from cxr_gradcam.ui.session import Keys
from cxr_gradcam.ui.text import class_choices, layer_cells, layer_words, plain
from cxr_gradcam.words import knows_no_class, layer_name

PREDICTED = ""  # the choice "whatever is predicted"; no class has an empty name


@dataclass(frozen=True)
class Look:
    """What to explain.

    Attributes:
        layer: one of `MAIN_LAYERS`.
        method: key of `cam.METHODS`.
        scale: as in `Explanation.heatmap`.
    """

    layer: str
    method: str
    scale: Scale


def choose_class(classifier: Classifier, predicted: str) -> str:
    """Draw the choice of the class to explain and return its name.

    The first choice follows the prediction, so it goes on being right with the next radiograph.
    """
    words = class_choices(classifier.class_names, first="Predicted")
    default: str | None = PREDICTED
    if st.session_state.get(Keys.CLASS, PREDICTED) not in words:  # another checkpoint has others
        st.session_state[Keys.CLASS] = PREDICTED
        default = None  # beside a value that is set Streamlit complains of it
    chosen = st.pills(
        "Why this class?",
        list(words),
        default=default,
        required=True,
        format_func=lambda name: plain(words[name]),
        key=Keys.CLASS,
        bind="query-params",
        persist_state="session",
    )
    return chosen or predicted


def choose_look(classifier: Classifier) -> Look:
    """Draw the other choices and return them."""
    with st.container(gap="xxsmall"):
        layer = _choose_layer(classifier)
    with st.container(gap="xxsmall"):
        method = _choose_method()
    each = st.toggle(
        "Each class on its own scale",
        key=Keys.EACH_SCALE,
        help="Off: one scale for all classes, so that their colours can be compared. "
        "On: each class by its own maximum, so that a weak map looks as hot as a strong one.",
        disabled=knows_no_class(method),
        bind="query-params",
        persist_state="session",
    )
    scale: Scale = "each" if each else "shared"
    return Look(layer, method, scale)


def _choose_layer(classifier: Classifier) -> str:
    layer = st.selectbox(
        "Layer",
        MAIN_LAYERS,
        index=MAIN_LAYERS.index(LAST_LAYER),
        format_func=layer_name,  # what stands in the address must not depend on the model
        key=Keys.LAYER,
        bind="query-params",
        persist_state="session",
    )
    cells = layer_cells(layer, classifier.input_size)
    note(f"{cells} × {cells} cells. {layer_words(layer)}")
    return layer


def _choose_method() -> str:
    method = st.selectbox(
        "Method",
        list(METHODS),
        format_func=lambda method: METHODS[method].label,
        key=Keys.METHOD,
        bind="query-params",
        persist_state="session",
    )
    _method_note(method)
    return method


def _method_note(method: str) -> None:
    if knows_no_class(method):
        note(f"{METHODS[method].label} knows no class: it shows what the layer responds to most.")
    elif METHODS[method].needs == "passes":
        note(
            f"{METHODS[method].label} runs the network once for every channel, up to 1,024 times. "
            "Choose another method to stop it."
        )
