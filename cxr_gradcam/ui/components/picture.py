"""A picture on the page, and its colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import cv2
import numpy as np
import streamlit as st

from cxr_gradcam.render import colormap_table
from cxr_gradcam.words import number

_FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_STOPS = 24


def encode_png(picture: np.ndarray) -> bytes:
    """Return a picture as a PNG file, without loss.

    Args:
        picture: uint8, grey (H, W) or RGB (H, W, 3).
    """
    ordered = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".png", ordered, _FAST)
    return data.tobytes()


def note(text: str) -> None:
    """Draw a small line of plain text."""
    st.html(f'<p class="cxr-note">{escape(text)}</p>')


def section(title: str, aside: str) -> None:
    """Draw the heading of a part of the page; plain text."""
    st.html(f'<h2 class="cxr-section">{escape(title)} <span>{escape(aside)}</span></h2>')


def tiles(values: Sequence[tuple[str, str, str]], kind: str = "") -> None:
    """Draw few values large.

    Args:
        values: for each what it is, the value, and what it means; plain text.
        kind: a further class of the page's style.
    """
    boxes = "".join(
        f'<div><p class="cxr-note">{escape(name)}</p><p class="cxr-value">{escape(value)}</p>'
        f'<p class="cxr-note">{escape(meaning)}</p></div>'
        for name, value, meaning in values
    )
    st.html(f'<div class="cxr-tiles {kind}">{boxes}</div>')


def picture(pixels: np.ndarray, title: str, alt: str, aside: str = "") -> None:
    """Draw a picture under its title.

    Args:
        pixels: uint8, grey (H, W) or RGB (H, W, 3).
        title: plain text; escaped here.
        alt: what the picture shows, for those who cannot see it.
        aside: plain text that stands at the end of the title's line, softer.
    """
    st.html(f'<p class="cxr-title"><span>{escape(title)}</span><span>{escape(aside)}</span></p>')
    st.image(encode_png(pixels), width="stretch", output_format="PNG", alt=alt)


def colour_bar(colormap: str, top: float, unit: str, note: str) -> None:
    """Draw the scale from 0 to the value that the hottest colour stands for.

    Args:
        colormap: one of `render.COLORMAPS`.
        top: that value; positive.
        unit: what it counts.
        note: what the scale belongs to; plain text.
    """
    table = colormap_table(colormap)
    places = np.linspace(0, 255, _STOPS).astype(int)
    colours = ", ".join("rgb({}, {}, {})".format(*table[place]) for place in places)
    ticks = "".join(f"<span>{number(share * top)}</span>" for share in (0, 0.25, 0.5, 0.75, 1))
    st.html(
        '<div class="cxr-bar">'
        f'<div class="cxr-ramp" role="img" aria-label="Colours from 0 to {number(top)} '
        f'{escape(unit)}"><div style="background: linear-gradient(90deg, {colours})"></div></div>'
        f'<div class="cxr-ticks">{ticks}</div>'
        f'<p class="cxr-note"><b>{escape(unit)}</b> · {escape(note)}</p></div>'
    )
