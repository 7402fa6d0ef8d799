"""The page "Explain": one radiograph, what the classifier says, and why."""

from __future__ import annotations

import streamlit as st

from cxr_gradcam.cam import METHODS
from cxr_gradcam.densenet import LAST_LAYER
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.ui import session, shared
from cxr_gradcam.ui.components import localisation
from cxr_gradcam.ui.components.compare_panels import Film, class_panels
from cxr_gradcam.ui.components.controls import Look, choose_class, choose_look
from cxr_gradcam.ui.components.downloads import downloads
from cxr_gradcam.ui.components.heading import heading, name
from cxr_gradcam.ui.components.picture import note, section
from cxr_gradcam.ui.components.verdict import verdict
from cxr_gradcam.ui.components.viewer import Panel, viewer
from cxr_gradcam.ui.session import Shown
from cxr_gradcam.ui.text import scale_words, score_sentence
from cxr_gradcam.words import knows_no_class, layer_name, map_title

MOST_IN_A_ROW = 6  # maps of classes; smaller ones could not be read


def show() -> None:
    """Draw the page; a radiograph and a model are there."""
    current, explainer = session.current(), shared.explainer()
    heading(current)
    # The verdict needs no gradient, so it never waits for the layer or the method chosen below.
    said = session.explain(explainer, current.radiograph, LAST_LAYER, "gradcam")
    verdict(said, explainer.classifier, current)
    # In a fragment a choice redraws no more than what it changes. But it waits there until the last
    # one is answered, and a method of many passes is to be stopped by any choice.
    if _is_slow(session.method()):
        with st.container():  # as deep as a fragment: what is left of the last run stays in place
            _workbench(current, explainer, said.predicted, drawn_as_slow=True)
    else:
        st.fragment(_workbench)(current, explainer, said.predicted, drawn_as_slow=False)


def _is_slow(method: str) -> bool:
    return method in METHODS and METHODS[method].needs == "passes"


def _workbench(
    current: Shown, explainer: Explainer, predicted: str, *, drawn_as_slow: bool
) -> None:
    """Draw all that the choices here change.

    Args:
        current: what is on the page.
        explainer: the model.
        predicted: class of the radiograph.
        drawn_as_slow: whether the page expects a method of many passes. Draws all anew otherwise.
    """
    with st.container(key="workbench", horizontal=True, gap="medium"):
        stage = st.container(key="stage", gap="small")
        with st.container(key="inspector", gap="small"):
            look = choose_look(explainer.classifier)
            if _is_slow(look.method) != drawn_as_slow:
                st.rerun()
            wants_lesion = localisation.wants_lesion(current)
            buttons = st.container()
    with stage:
        class_name = choose_class(explainer.classifier, predicted)
        explanation = _explain(explainer, current.radiograph, look)
        _pictures(current, explanation, class_name, look, wants_lesion)
    with buttons:
        downloads(current, explanation, explainer, class_name, look)
    if not knows_no_class(look.method):
        _every_class(current, explanation, look, wants_lesion)


def _pictures(
    current: Shown, explanation: Explanation, class_name: str, look: Look, wants_lesion: bool
) -> None:
    """Draw the radiograph beside the heatmap, and what stands in words under them."""
    film, lesion = current.radiograph, current.lesion if wants_lesion else None
    painted = Panel(
        film=film,
        title=map_title(class_name, look.method, look.layer),
        explanation=explanation,
        class_name=class_name,
        layer=look.layer,
        top=explanation.peak(class_name, look.layer, look.scale),
        scale_note=scale_words(look.method, look.scale),
        lesion=lesion,
    )
    viewer([Panel(film=film, title="Radiograph", lesion=lesion), painted], key="explain", columns=2)
    if wants_lesion:
        localisation.findings(current, explanation, class_name, look.layer)
    note(score_sentence(explanation, class_name))


def _every_class(current: Shown, explanation: Explanation, look: Look, wants_lesion: bool) -> None:
    """Draw the heatmaps of all classes side by side, on the chosen scale."""
    how = "each on its own scale" if look.scale == "each" else "on one shared scale"
    section("All classes", f"{how} · {METHODS[look.method].label} · {layer_name(look.layer)}")
    film = Film(current.radiograph, name(current), current.lesion if wants_lesion else None)
    panels = class_panels(film, explanation, look.layer, look.scale)
    columns = min(len(panels), MOST_IN_A_ROW)
    viewer(panels, key="classes", columns=columns, tall=False, tools=False)


def _explain(explainer: Explainer, radiograph: Radiograph, look: Look) -> Explanation:
    """Explain with a progress bar where it takes many passes."""
    if not _is_slow(look.method):
        return session.explain(explainer, radiograph, look.layer, look.method)
    place = st.empty()
    label = METHODS[look.method].label

    def report(share: float) -> None:
        place.progress(share, f"{label}: {share:.0%} of its passes")

    explanation = session.explain(explainer, radiograph, look.layer, look.method, report)
    place.empty()
    return explanation
