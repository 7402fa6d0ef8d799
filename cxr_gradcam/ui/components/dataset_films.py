"""The films of the folder that meet the visitor's choices, a page at a time."""

from __future__ import annotations

import streamlit as st

from cxr_gradcam.survey.results import Results
from cxr_gradcam.ui.components import frame, source
from cxr_gradcam.ui.components.dataset_choices import choose_films, choose_page
from cxr_gradcam.ui.components.dataset_grid import film_grid
from cxr_gradcam.ui.components.dataset_state import Open, thumbnails
from cxr_gradcam.ui.text import plain
from cxr_gradcam.words import class_label

MOST_PROBLEMS = 100  # listed


def browse(opened: Open) -> None:
    """Draw the choices, the films and what cannot be read; open the film that is clicked."""
    results = opened.survey.results()
    selection = choose_films(results)
    places = choose_page(results, selection).tolist()
    if not places:
        st.info(_nothing(opened, results))
    films = [results.folder.films[place] for place in places]
    clicked = film_grid(results, places, thumbnails().of(films))
    _unreadable(results)
    if clicked is not None:
        if source.open_film(clicked.label, clicked.name):
            frame.go_to("Explain")
        st.rerun()


def _nothing(opened: Open, results: Results) -> str:
    status = opened.survey.status
    if status.done < status.total:
        return "None of the films evaluated so far is like this."
    return "No film is like this."


def _unreadable(results: Results) -> None:
    """List the files that cannot be read, each with the reason."""
    count = len(results.errors)
    if not count:
        return
    words = "1 file cannot be read" if count == 1 else f"{count:,} files cannot be read"
    with st.expander(words, icon=":material/broken_image:"):
        listed = list(results.errors.items())[:MOST_PROBLEMS]
        lines = [
            f"- {plain(class_label(key.partition('/')[0]))}: {plain(error)}"
            for key, error in listed
        ]
        if count > MOST_PROBLEMS:
            lines.append(f"- and {count - MOST_PROBLEMS:,} more")
        st.markdown("\n".join(lines))
