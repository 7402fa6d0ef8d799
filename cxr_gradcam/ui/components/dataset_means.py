"""Where the classifier looks on average: the mean heatmap of each class over its mean film."""

from __future__ import annotations

import cv2
import numpy as np
import streamlit as st

from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import overlay, to_grey
from cxr_gradcam.survey.means import OF_CALL, OF_LABEL, Mean
from cxr_gradcam.ui.components.dataset_confusion import films
from cxr_gradcam.ui.components.dataset_state import Keys, Open, nothing_yet
from cxr_gradcam.ui.components.picture import colour_bar, note, picture, section
from cxr_gradcam.words import class_label

_SIDE = 512  # pixels
_COLORMAP, _OPACITY = "turbo", 0.4
_MIDDLE = 0.42, 0.58  # what of a film's width the mediastinum takes, roughly
_WHICH = {
    OF_LABEL: "Films filed as the class",
    OF_CALL: "Films called the class",
}


def means(opened: Open) -> None:
    """Draw them from what is known now."""
    section("Where does the model look on average?", "Grad-CAM at the last layer")
    st.session_state.setdefault(Keys.MEANS_OF, OF_LABEL)
    which = st.segmented_control(
        "Which films",
        list(_WHICH),
        label_visibility="collapsed",
        format_func=_WHICH.__getitem__,
        key=Keys.MEANS_OF,
        required=True,
        persist_state="session",
    )
    found = opened.survey.means(OF_LABEL if which is None else which)
    top = max(float(mean.heatmap.max()) for mean in found.values())
    if not any(mean.count for mean in found.values()):
        st.info(nothing_yet(opened, "mean heatmaps of these"))
        return
    with st.container(key="dataset_means", horizontal=True, gap="medium"):
        for name, mean in found.items():
            with st.container(gap="xsmall"):
                _heatmap(name, mean, top)
    if top > 0:
        words = "one scale for all classes; 1 would be the hottest place of every single film"
        colour_bar(_COLORMAP, top, "mean heat", words)
    section("The mean films alone", "of the same films")
    with st.container(key="dataset_mean_films", horizontal=True, gap="medium"):
        for name, mean in found.items():
            with st.container(gap="xsmall"):
                _film(name, mean)
    note(
        "The map is that of the class. Each film’s heatmap is divided by its own maximum, so that "
        "every film counts the same, stretched to a square and averaged; a film without positive "
        "evidence counts as zero. Heat outside the lungs means that the model looks at something "
        "else than the disease."
    )


def _film(name: str, mean: Mean) -> None:
    label = class_label(name)
    if not mean.count:
        picture(np.zeros((_SIDE, _SIDE), np.uint8), label, f"{label}: no films yet", "no films")
        return
    film = Radiograph.from_array(_enlarged(mean.film), name=name)
    picture(to_grey(film), label, f"{label}: mean of {films(mean.count)}")


def _heatmap(name: str, mean: Mean, top: float) -> None:
    label = class_label(name)
    if not mean.count:
        _film(name, mean)
        return
    film = Radiograph.from_array(_enlarged(mean.film), name=name)
    heatmap = _enlarged(mean.heatmap / top) if top > 0 else np.zeros((_SIDE, _SIDE), np.float32)
    hottest = f"Hottest {_place(mean)}: {mean.heatmap.max():.2f}"
    alt = f"{label}: mean heatmap over the mean film. {hottest}."
    picture(overlay(film, heatmap, _COLORMAP, _OPACITY), label, alt, films(mean.count))
    note(hottest)


def _enlarged(square: np.ndarray) -> np.ndarray:
    large = cv2.resize(square, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
    return np.clip(large, 0, 1)


def _place(mean: Mean) -> str:
    """Say where the hottest point lies. The patient's left is on the right of the picture."""
    row, column = np.unravel_index(int(mean.heatmap.argmax()), mean.heatmap.shape)
    side = len(mean.heatmap)
    down = ("top", "middle", "bottom")[min(2, 3 * int(row) // side)]
    # The lungs begin near the middle: what lies between them is a narrow strip.
    share = (int(column) + 0.5) / side
    across = "left" if share < _MIDDLE[0] else "right" if share > _MIDDLE[1] else "centre"
    if (down, across) == ("middle", "centre"):
        return "in the centre of the picture"
    return f"at the {down} {across} of the picture"
