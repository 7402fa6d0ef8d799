"""How to look: class, layer, method, colours and scale."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from cxr_gradcam.cam import METHODS
from cxr_gradcam.classifier import Classifier
from cxr_gradcam.densenet import LAST_LAYER, MAIN_LAYERS
from cxr_gradcam.explainer import Scale
from cxr_gradcam.render import COLORMAPS
from cxr_gradcam.ui.components.picture import note
from cxr_gradcam.ui.session import Keys
from cxr_gradcam.ui.text import class_label, layer_label, layer_words, plain

PREDICTED = ""  # the choice "whatever is predicted"; no class has an empty name
_STRIDES = dict(zip(MAIN_LAYERS, (4, 8, 16, 32, 32), strict=True))


@dataclass(frozen=True)
class Look:
    """What to explain and how to paint it.

    Attributes:
        layer: one of `MAIN_LAYERS`.
        method: key of `cam.METHODS`.
        colormap, opacity, threshold: as in `render.overlay`.
        scale: as in `Explanation.heatmap`.
    """

    layer: str
    method: str
    colormap: str
    opacity: float
    threshold: float
    scale: Scale


def choose_class(classifier: Classifier, predicted: str) -> str:
    """Draw the choice of the class to explain and return its name.

    The first choice follows the prediction, so it goes on being right with the next radiograph.
    """
    options = [PREDICTED, *classifier.class_names]
    st.session_state.setdefault(Keys.CLASS, PREDICTED)
    if st.session_state[Keys.CLASS] not in options:  # another checkpoint has other classes
        st.session_state[Keys.CLASS] = PREDICTED
    chosen = st.pills(
        "Why this class?",
        options,
        required=True,
        format_func=lambda name: plain(class_label(name)) if name else "Predicted",
        key=Keys.CLASS,
        persist_state="session",
    )
    return chosen or predicted


def choose_look(classifier: Classifier) -> Look:
    """Draw the other choices and return them."""
    with st.container(gap="xxsmall"):
        layer = _choose_layer(classifier)
    with st.container(gap="xxsmall"):
        method = _choose_method()
    colormap = st.selectbox(
        "Colours", COLORMAPS, format_func=str.capitalize, key=Keys.COLORMAP, persist_state="session"
    )
    opacity = st.slider(
        "Opacity", 0, 100, 45, 5, format="%d%%", key=Keys.OPACITY, persist_state="session"
    )
    threshold = st.slider(
        "Hide heat below", 0, 100, 0, 5, format="%d%%", key=Keys.THRESHOLD, persist_state="session"
    )
    each = st.toggle(
        "Each class on its own scale",
        key=Keys.EACH_SCALE,
        help="Off: one scale for all classes, so that their colours can be compared. "
        "On: each class by its own maximum, so that a weak map looks as hot as a strong one.",
        persist_state="session",
    )
    scale: Scale = "each" if each else "shared"
    return Look(layer, method, colormap, opacity / 100, threshold / 100, scale)


def _choose_layer(classifier: Classifier) -> str:
    layer = st.selectbox(
        "Layer",
        MAIN_LAYERS,
        index=MAIN_LAYERS.index(LAST_LAYER),
        format_func=lambda layer: layer_label(layer, classifier.input_size // _STRIDES[layer]),
        key=Keys.LAYER,
        persist_state="session",
    )
    note(layer_words(layer))
    return layer


def _choose_method() -> str:
    method = st.selectbox(
        "Method",
        list(METHODS),
        format_func=lambda method: METHODS[method].label,
        key=Keys.METHOD,
        persist_state="session",
    )
    _method_note(method)
    return method


def _method_note(method: str) -> None:
    needs = METHODS[method].needs
    if needs == "activation":
        note(f"{METHODS[method].label} knows no class: it shows what the layer responds to most.")
    elif needs == "passes":
        note(
            f"{METHODS[method].label} runs the network once for every channel, up to 1,024 times. "
            "Choose another method to stop it."
        )
