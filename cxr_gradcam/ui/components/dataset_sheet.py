"""The samples sheet on the page, to look at and to take home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import streamlit as st

from cxr_gradcam.survey.folder import Film
from cxr_gradcam.survey.sheet import choose, draw_sheet
from cxr_gradcam.ui.cache import Cache
from cxr_gradcam.ui.components.dataset_state import Keys, Open, thumbnails
from cxr_gradcam.ui.components.dataset_style import theme
from cxr_gradcam.ui.components.picture import section
from cxr_gradcam.ui.text import file_part
from cxr_gradcam.words import class_label

_SHEETS = "_sheets"


def sheet(opened: Open) -> None:
    """Draw a few films of every class."""
    folder = opened.folder
    seed = int(st.session_state.setdefault(Keys.SHEET_SEED, 0))
    chosen = choose(folder, seed)
    section("Samples sheet", "films of every class, by chance")
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Other films",
            key="dataset_other",
            icon=":material/shuffle:",
            on_click=_shuffle,
        )
        st.download_button(
            "Samples sheet PNG",
            lambda: draw_sheet(chosen, thumbnails()),
            f"samples-{file_part(folder.root.name) or 'dataset'}.png",
            "image/png",
            key="dataset_get_sheet",
            icon=":material/download:",
            on_click="ignore",
        )
    names = ", ".join(class_label(label) for label in chosen)
    with st.container(key="dataset_sheet"):
        st.image(
            _drawn(chosen),
            width="stretch",
            output_format="PNG",
            alt=f"Samples sheet: a row of films for each of {names}.",
        )


def _drawn(chosen: Mapping[str, Sequence[Film]]) -> bytes:
    """Draw the sheet, or remember it: while an evaluation runs, the view is drawn ever again."""
    cache = cast("Cache[bytes]", st.session_state.setdefault(_SHEETS, Cache(4)))
    colours = theme()
    films = tuple(film for row in chosen.values() for film in row)
    with st.spinner("Drawing the sheet …"):
        return cache.get(
            (films, colours.ink, colours.paper),
            lambda: draw_sheet(chosen, thumbnails(), ink=colours.ink, paper=colours.paper),
        )


def _shuffle() -> None:
    st.session_state[Keys.SHEET_SEED] += 1
