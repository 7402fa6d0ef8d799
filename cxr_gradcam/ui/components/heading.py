"""The head of the page: what this is, or which radiograph is shown."""

from __future__ import annotations

from html import escape

import streamlit as st

from cxr_gradcam.classifier import Classifier
from cxr_gradcam.ui import session
from cxr_gradcam.ui.session import Shown
from cxr_gradcam.ui.text import class_label, plain


def welcome() -> None:
    """Say what this is and what to do."""
    st.html(
        '<div class="cxr-hero"><h1>See why a classifier says what it says about a chest X-ray</h1>'
        "<p>DenseNet-121 gives the probability of each class. Grad-CAM shows where in the "
        "picture the evidence for it lies, at any layer of the network.</p></div>"
    )


def heading(shown: Shown) -> None:
    """Name the radiograph that is shown."""
    radiograph = shown.radiograph
    size = f"{radiograph.width:,} × {radiograph.height:,} px"
    if shown.origin == "phantom":
        name = f"{class_label(shown.key)} phantom"
        facts = f"synthetic, drawn by this program · {size}"
    else:
        name = radiograph.name
        facts = f"{radiograph.format} · {size} · {_origin(shown)}"
    with st.container(key="heading", horizontal=True, vertical_alignment="center"):
        _title(name, facts)
        # The sidebar is shut on a phone: this is the way back to the other sources.
        st.button("Open another", key="open_another", on_click=session.clear)
    for note in radiograph.notes:
        st.caption(plain(note))


def _origin(shown: Shown) -> str:
    if shown.origin == "upload":
        return "your file"
    return f"dataset, {class_label(shown.key.partition('/')[0])}"


def model_card(classifier: Classifier) -> None:
    """Say which model is at work."""
    side = classifier.input_size
    facts = f"DenseNet-121 · {len(classifier.class_names)} classes · {side} px input"
    digest = f"checkpoint {classifier.digest[:8]}"
    st.html(
        f'<p class="cxr-label">Model</p><p class="cxr-note">{escape(facts)}<br>{escape(digest)}</p>'
    )


def _title(name: str, facts: str) -> None:
    st.html(
        f'<div class="cxr-heading"><h1 title="{escape(name)}">{escape(name)}</h1>'
        f"<p>{escape(facts)}</p></div>"
    )
