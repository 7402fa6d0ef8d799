"""The page "Dataset": browse a folder of films, evaluate it, find the errors."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from cxr_gradcam.dataset import DatasetError
from cxr_gradcam.ui.components import dataset_style, dataset_welcome
from cxr_gradcam.ui.components.dataset_figures import figures
from cxr_gradcam.ui.components.dataset_films import browse
from cxr_gradcam.ui.components.dataset_means import means
from cxr_gradcam.ui.components.dataset_progress import progress
from cxr_gradcam.ui.components.dataset_sheet import sheet
from cxr_gradcam.ui.components.dataset_state import (
    FIGURES,
    FILMS,
    MAPS,
    SHEET,
    Keys,
    Open,
    open_dataset,
)
from cxr_gradcam.ui.text import plain

BUSY_SECONDS, IDLE_SECONDS = 1.0, 5.0  # between two looks at how far the evaluation is
PARTIAL_SECONDS = 4.0  # between two views of a partial result
VIEWS: dict[str, Callable[[Open], None]] = {
    FILMS: browse,
    FIGURES: figures,
    MAPS: means,
    SHEET: sheet,
}


def show() -> None:
    """Draw the page."""
    dataset_style.apply()
    try:
        opened = open_dataset()
    except DatasetError as error:
        st.html('<div class="cxr-heading"><h1>Dataset</h1></div>')
        st.error(plain(str(error)), icon=":material/folder_off:")
        return
    if opened is None:
        dataset_welcome.invite()
        return
    dataset_welcome.heading(opened)
    running = opened.survey.status.running
    # Another visitor may start or stop it, so an idle page looks now and then, too.
    st.fragment(progress, run_every=BUSY_SECONDS if running else IDLE_SECONDS)(
        opened.survey, running
    )
    st.fragment(_views, run_every=PARTIAL_SECONDS if running else None)(opened)


def _views(opened: Open) -> None:
    st.session_state.setdefault(Keys.VIEW, FILMS)
    chosen = st.segmented_control(
        "What to look at",
        list(VIEWS),
        key=Keys.VIEW,
        required=True,
        label_visibility="collapsed",
        persist_state="session",
    )
    view = chosen or FILMS
    # Every view has a place of its own, so that what is left of the last one can be hidden at once
    # instead of fading below the new one until that is complete.
    places = {
        name: st.container(key=f"dataset_{'on' if name == view else 'off'}_{name}")
        for name in VIEWS
    }
    with places[view]:
        VIEWS[view](opened)
