"""Pictures to choose from, each a button that one can click anywhere or reach by keyboard."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from cxr_gradcam.ui.text import plain


def tile(
    picture: bytes, label: str, alt: str, key: str, choose: Callable[..., None], *args: object
) -> None:
    """Draw a picture with its name; the whole of it is a button.

    Args:
        picture: a PNG file.
        label: plain text under the picture.
        alt: what the picture shows, for those who cannot see it.
        key: of the button, unique on the page.
        choose, args: called when it is clicked, before the page is drawn anew.
    """
    with st.container(key=f"tile_{key}", gap=None):
        st.image(picture, width="stretch", output_format="PNG", alt=alt)
        st.button(plain(label), key=key, width="stretch", on_click=choose, args=args)
