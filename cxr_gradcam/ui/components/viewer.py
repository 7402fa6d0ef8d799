"""The radiograph beside its overlay, and every class side by side."""

from __future__ import annotations

import numpy as np
import streamlit as st

from cxr_gradcam.cam import METHODS
from cxr_gradcam.explainer import Explanation
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import NO_EVIDENCE, overlay, to_grey
from cxr_gradcam.ui import session
from cxr_gradcam.ui.components.controls import Look
from cxr_gradcam.ui.components.picture import colour_bar, note, picture, section
from cxr_gradcam.ui.session import DISPLAY_SIDE, PANEL_SIDE, Explained
from cxr_gradcam.ui.text import class_label, layer_name, number, per_cell, plain, signed

ZERO_MAP = f"{NO_EVIDENCE} for this class at this layer"


def side_by_side(radiograph: Radiograph, explained: Explained, class_name: str, look: Look) -> None:
    """Draw the radiograph, its overlay, and what the colours mean."""
    film = session.shrink(radiograph, DISPLAY_SIDE)
    painted = _painted(film, explained, class_name, look)
    subject = _subject(class_name, look)
    with st.container(key="panes", horizontal=True, gap="small"):
        with st.container(gap="xsmall", key="pane_radiograph"):
            picture(to_grey(film), "Radiograph", "The radiograph without colours")
            note(_score_sentence(explained.explanation, class_name))
        with st.container(gap="xsmall", key="pane_overlay"):
            picture(painted, subject, f"The radiograph with the heatmap of {subject}")
            if explained.peaks[class_name] > 0:
                _colour_bar(explained, class_name, look, _scale_note(look))
            else:
                st.info(f"{plain(class_label(class_name))}: {ZERO_MAP}. Nothing is painted.")


def every_class(radiograph: Radiograph, explained: Explained, look: Look) -> None:
    """Draw the overlays of all classes, on the chosen scale."""
    how = "each on its own scale" if look.scale == "each" else "on one shared scale"
    section("All classes", f"{how} · {METHODS[look.method].label} · {layer_name(look.layer)}")
    film = session.shrink(radiograph, PANEL_SIDE)
    probabilities = explained.explanation.probabilities
    with st.container(key="classes", horizontal=True, gap="small"):
        for name, peak in explained.peaks.items():
            with st.container(gap="xsmall"):
                painted = _painted(film, explained, name, look)
                alt = f"The radiograph with the heatmap of {class_label(name)}"
                picture(painted, class_label(name), alt, f"{probabilities[name]:.1%}")
                if peak <= 0:
                    note(NO_EVIDENCE.capitalize())
                elif look.scale == "each":
                    _colour_bar(explained, name, look, "its own scale")
                else:
                    note(f"Peak {number(peak)} {per_cell(explained.explanation)}")


def _painted(film: Radiograph, explained: Explained, class_name: str, look: Look) -> np.ndarray:
    heatmap = explained.on_grid(film).heatmap(class_name, look.layer, look.scale)
    return overlay(film, heatmap, look.colormap, look.opacity, look.threshold)


def _colour_bar(explained: Explained, class_name: str, look: Look, belongs_to: str) -> None:
    top = explained.top(class_name, look.scale)
    colour_bar(look.colormap, top, per_cell(explained.explanation), look.threshold, belongs_to)


def _score_sentence(explanation: Explanation, class_name: str) -> str:
    """Say what the last layer's cells add to the class's score, and what they take away."""
    evidence = explanation.evidence(class_name)
    gain, loss = float(evidence.clip(min=0).sum()), float(evidence.clip(max=0).sum())
    return (
        f"Evidence in logit units, over the whole last layer: {signed(gain)} for "
        f"{class_label(class_name)}, {signed(loss)} against, "
        f"bias {signed(explanation.biases[class_name])}. "
        f"Together: score {signed(explanation.logits[class_name])}."
    )


def _subject(class_name: str, look: Look) -> str:
    method = METHODS[look.method]
    whose = "" if method.needs == "activation" else f"{class_label(class_name)} · "
    return f"{whose}{method.label} · {layer_name(look.layer)}"


def _scale_note(look: Look) -> str:
    if METHODS[look.method].needs == "activation":
        return "scaled by its own maximum"
    if look.scale == "each":
        return "scaled by this class’s own maximum"
    return "shared scale: the maximum over all classes"
