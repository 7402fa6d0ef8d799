"""The page "Explain": one radiograph, what the classifier says, and why."""

from __future__ import annotations

import streamlit as st

from cxr_gradcam.cam import METHODS
from cxr_gradcam.checkpoint import CheckpointError
from cxr_gradcam.densenet import LAST_LAYER
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import DISCLAIMER
from cxr_gradcam.ui import session, shared
from cxr_gradcam.ui.components import source
from cxr_gradcam.ui.components.controls import Look, choose_class, choose_look
from cxr_gradcam.ui.components.downloads import downloads
from cxr_gradcam.ui.components.heading import heading, model_card, welcome
from cxr_gradcam.ui.components.verdict import verdict
from cxr_gradcam.ui.components.viewer import every_class, side_by_side
from cxr_gradcam.ui.session import Explained
from cxr_gradcam.ui.text import plain


def show() -> None:
    """Draw the page."""
    try:
        explainer = shared.explainer()
    except CheckpointError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    current = session.shown()
    if current is None:
        with st.container(key="welcome"):
            welcome()
            source.invite()
            st.caption(DISCLAIMER)
        return
    with st.sidebar:
        source.offer()
        model_card(explainer.classifier)
    source.problems()
    heading(current)
    _workbench(explainer, current.radiograph)


def _workbench(explainer: Explainer, radiograph: Radiograph) -> None:
    # The verdict needs no gradient, so it never waits for the layer or the method chosen below.
    said = session.explain(explainer, radiograph, LAST_LAYER, "gradcam").explanation
    verdict(said, explainer.classifier)
    with st.container(key="workbench", horizontal=True, gap="medium"):
        stage = st.container(key="stage", gap="small")
        with st.container(key="inspector", gap="small"):
            look = choose_look(explainer.classifier)
            buttons = st.container()
    with stage:
        class_name = choose_class(explainer.classifier, said.predicted)
        explained = _explain(explainer, radiograph, look)
        side_by_side(radiograph, explained, class_name, look)
    with buttons:
        downloads(radiograph, explained.explanation, class_name, look)
    if METHODS[look.method].needs != "activation":
        every_class(radiograph, explained, look)


def _explain(explainer: Explainer, radiograph: Radiograph, look: Look) -> Explained:
    """Explain with a progress bar where it takes many passes."""
    if METHODS[look.method].needs != "passes":
        return session.explain(explainer, radiograph, look.layer, look.method)
    place = st.empty()
    label = METHODS[look.method].label

    def report(share: float) -> None:
        place.progress(share, f"{label}: {share:.0%} of its passes")

    explained = session.explain(explainer, radiograph, look.layer, look.method, report)
    place.empty()
    return explained
