"""The head of the page: what this is, or which radiograph is shown."""

from __future__ import annotations

from html import escape

import streamlit as st

from cxr_gradcam.reading import printable
from cxr_gradcam.render import to_grey
from cxr_gradcam.ui import session
from cxr_gradcam.ui.components.picture import encode_png, note
from cxr_gradcam.ui.session import Shown
from cxr_gradcam.words import class_label

THUMBNAIL_SIDE = 160  # pixels, twice what it is wide on the page


def welcome() -> None:
    """Say what this is and what to do."""
    st.html(
        '<div class="cxr-hero"><h1>See why a classifier says what it says about a chest X-ray</h1>'
        "<p>DenseNet-121 gives the probability of each class. Grad-CAM shows where in the "
        "picture the evidence for it lies, at any layer of the network.</p></div>"
    )


def heading(shown: Shown) -> None:
    """Name the radiograph that is shown."""
    with st.container(key="heading", horizontal=True, vertical_alignment="center"):
        title(name(shown), _facts(shown))
        # The sidebar is shut on a phone: this is the way back to the other sources.
        st.button("Open another", key="open_another", on_click=session.clear)
    with st.container():  # one place, however many: what lies below stays mounted
        for words in shown.radiograph.notes:
            note(words)


def title(text: str, aside: str) -> None:
    """Draw the title of a page with a line under it; plain text."""
    st.html(
        f'<div class="cxr-heading"><h1 title="{escape(text)}">{escape(text)}</h1>'
        f"<p>{escape(aside)}</p></div>"
    )


def in_sidebar(shown: Shown) -> None:
    """Show in small what is on every page."""
    is_phantom = shown.origin == "phantom"
    small = session.shrink(shown.radiograph, THUMBNAIL_SIDE)
    with st.container(key="current", horizontal=True, vertical_alignment="center", gap="small"):
        alt = f"Current radiograph: {name(shown)}"
        st.image(encode_png(to_grey(small)), output_format="PNG", alt=alt)
        st.html(
            '<p class="cxr-note">Current radiograph</p>'
            f'<p class="cxr-name" title="{escape(name(shown))}">{escape(name(shown))}</p>'
            f'<p class="cxr-note">{escape("synthetic" if is_phantom else origin(shown))}</p>'
        )


def name(shown: Shown) -> str:
    """Return what to call the radiograph; plain text, to be escaped."""
    if shown.origin == "phantom":
        label, _, seed = shown.key.rpartition("-")
        return f"{class_label(label)} phantom {seed}"
    return shown.radiograph.name


def origin(shown: Shown) -> str:
    """Return where the radiograph comes from; plain text, to be escaped."""
    if shown.origin == "phantom":
        return "synthetic, drawn by this program"
    if shown.origin == "upload":
        return "your file"
    split = shown.key.partition("/")[2].rpartition("/")[0]  # where the folder has splits
    return ", ".join(filter(None, ("dataset", class_label(shown.label or ""), printable(split))))


def _facts(shown: Shown) -> str:
    radiograph = shown.radiograph
    size = f"{radiograph.width:,} × {radiograph.height:,} px"
    if shown.origin == "phantom":
        return f"{origin(shown)} · {size}"
    return f"{radiograph.format} · {size} · {origin(shown)}"
