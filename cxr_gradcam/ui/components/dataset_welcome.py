"""The head of the dataset page, and what stands there without a dataset."""

from __future__ import annotations

from html import escape

import streamlit as st

from cxr_gradcam.reading import printable
from cxr_gradcam.survey.phantoms import COUNT
from cxr_gradcam.ui.components.dataset_confusion import films
from cxr_gradcam.ui.components.dataset_state import Open, draw_phantoms
from cxr_gradcam.ui.components.picture import note
from cxr_gradcam.ui.text import plain
from cxr_gradcam.words import class_label


def heading(opened: Open) -> None:
    """Name the folder and say what is in it."""
    folder = opened.folder
    counts = dict.fromkeys(folder.labels, 0)
    for film in folder.films:
        counts[film.label] += 1
    listed = [f"{class_label(label)}\u00a0{count:,}" for label, count in counts.items()]
    name = "Phantoms" if opened.phantoms else printable(folder.root.resolve().name)
    words = "synthetic radiographs that this program drew; to browse your own, set CXR_DATA"
    told = [films(len(folder.films)), *listed, *([words] if opened.phantoms else [])]
    facts = "\u00a0· ".join(told)  # a line breaks after a dot, never inside a count
    st.html(f'<div class="cxr-heading"><h1>{escape(name)}</h1><p>{escape(facts)}</p></div>')


def invite() -> None:
    """Say how to set a dataset up, and offer phantoms in its place."""
    st.html(
        '<div class="cxr-hero"><h1>A whole folder at once</h1><p>Browse a dataset, evaluate the '
        "model on it in the background, open its errors, and see where it looks on average. No "
        "dataset is set up on this server: start it with the variable <code>CXR_DATA</code> "
        "naming a folder that holds one folder of films for each class, such as "
        "<code>COVID/images/*.png</code>.</p></div>"
    )
    if st.button(
        f"Draw {COUNT} phantoms", key="dataset_draw", type="primary", icon=":material/draw:"
    ):
        with st.spinner("Drawing phantoms …"):
            problem = draw_phantoms()
        if problem:
            st.error(plain(problem), icon=":material/error:")
        else:
            st.rerun()
    note("Synthetic radiographs of no real patient, with planted lesions, in this server’s cache.")
