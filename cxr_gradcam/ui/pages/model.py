"""The page "Model": what the weights are, how good they are, and which others there are."""

from __future__ import annotations

import streamlit as st

from cxr_gradcam.checkpoint import CheckpointError
from cxr_gradcam.ui import shared
from cxr_gradcam.ui.components import model_choice, model_facts
from cxr_gradcam.ui.components.heading import title
from cxr_gradcam.ui.components.model_figures import figures
from cxr_gradcam.ui.text import plain


def show() -> None:
    """Draw the page; the model may be one that cannot be used."""
    name = shared.model()
    title("Model", name)
    model_choice.choose_on_page()
    try:
        classifier = shared.explainer().classifier
    except CheckpointError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    model_facts.card(shared.models()[name])
    figures(classifier.metrics, classifier.class_names)
    model_facts.facts(classifier)
    model_facts.layers(classifier)
    model_facts.provenance(classifier.training)
