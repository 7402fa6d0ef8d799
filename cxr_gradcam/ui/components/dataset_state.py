"""What the dataset page works on: the folder, its survey, and the visitor's choices.

The folder is the one that the server was set up with, or a folder of phantoms where there is none.
What the browser sends is a film's place and name in the listing, which are only looked up.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import streamlit as st

from cxr_gradcam.survey.folder import Folder, list_folder
from cxr_gradcam.survey.phantoms import phantom_folder
from cxr_gradcam.survey.registry import Registry
from cxr_gradcam.survey.store import cache_folder
from cxr_gradcam.survey.survey import Survey
from cxr_gradcam.survey.thumbnails import Thumbnails
from cxr_gradcam.ui import shared
from cxr_gradcam.ui.text import plain
from cxr_gradcam.words import class_label

ANY = ""  # in a choice: no restriction; no class has an empty name
FILMS, FIGURES, MAPS, SHEET = "Films", "Figures", "Heatmaps", "Samples"
LISTING_SECONDS = 60  # after which new and changed files are noticed
_PHANTOMS = "_dataset_phantoms"  # this visitor browses phantoms


class Keys:
    """Keys of the page's widgets."""

    VIEW: Final = "dataset_view"
    LABEL: Final = "dataset_label"
    CALLED: Final = "dataset_called"
    VERDICT: Final = "dataset_verdict"
    KNOWN: Final = "dataset_known"
    CONFIDENCE: Final = "dataset_confidence"
    ORDER: Final = "dataset_order"
    PAGE: Final = "dataset_page"
    GRID: Final = "dataset_grid"
    CONFUSION: Final = "dataset_confusion"
    MEANS_OF: Final = "dataset_means_of"
    SHEET_SEED: Final = "dataset_sheet_seed"


@dataclass(frozen=True, eq=False)
class Open:
    """A folder that is open on the page.

    Attributes:
        folder: its films.
        survey: by the model of this session.
        phantoms: whether these are phantoms, drawn for want of data.
    """

    folder: Folder
    survey: Survey
    phantoms: bool


@st.cache_resource(show_spinner=False)
def _registry() -> Registry:
    return Registry()


@st.cache_resource(show_spinner=False)
def thumbnails() -> Thumbnails:
    """Return the small pictures that all visitors share."""
    return Thumbnails()


@st.cache_resource(max_entries=4, ttl=LISTING_SECONDS, show_spinner="Listing the dataset …")
def _listed(root: bytes) -> Folder:
    return list_folder(Path(os.fsdecode(root)))


def open_dataset() -> Open | None:
    """Return what is open; None where there is no dataset and no phantoms were asked for.

    Raises:
        DatasetError: when the folder is no dataset.
    """
    dataset = shared.dataset()
    if dataset is not None:
        return _opened(dataset.root, phantoms=False)
    root: str | None = st.session_state.get(_PHANTOMS)
    return None if root is None else _opened(Path(root), phantoms=True)


def _opened(root: Path, *, phantoms: bool) -> Open:
    folder = _listed(os.fsencode(root))
    return Open(folder, _registry().survey(shared.explainer(), folder), phantoms)


def draw_phantoms() -> str:
    """Draw the folder of phantoms and open it; return why that failed, or nothing."""
    try:
        st.session_state[_PHANTOMS] = str(phantom_folder(cache_folder()))
    except OSError as error:
        return (
            f"The phantoms cannot be written to the disk ({error.strerror or 'output error'}): "
            "set CXR_CACHE to a folder that the server may write to."
        )
    return ""


# --- choices


def show_cell(label: str, called: str) -> None:
    """Let the page show the films of one class that were called another; in a callback."""
    clear_selection()
    st.session_state[Keys.LABEL] = label
    st.session_state[Keys.CALLED] = called
    st.session_state[Keys.VIEW] = FILMS


def clear_selection() -> None:
    """Take back all restrictions; in a callback."""
    for key in (Keys.LABEL, Keys.CALLED, Keys.VERDICT, Keys.KNOWN):
        st.session_state[key] = ANY
    st.session_state[Keys.CONFIDENCE] = (0, 100)
    first_page()


def first_page() -> None:
    """Go to the first page of films; in a callback."""
    st.session_state[Keys.PAGE] = 1


def nothing_yet(opened: Open, what: str) -> str:
    """Say, as Markdown, why there is none of what is counted by the classes of the model.

    Args:
        opened: the folder.
        what: is missing, in the plural.
    """
    status = opened.survey.status
    if status.done < status.total:
        return f"There are no {what} yet: evaluate the films first."
    names = opened.survey.results().class_names
    return (
        f"There are no {what}: all films are evaluated, but none that can be read is filed under a "
        f"class of the model ({', '.join(plain(class_label(name)) for name in names)})."
    )
