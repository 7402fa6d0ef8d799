"""A radiograph on its way to the browser: once, without loss, and apart from all that changes.

A large one is preceded by a preview: the same picture halved a few times, exactly as the browser
would halve it itself, so that a view of the whole film is painted in its final pixels at once.
"""

from __future__ import annotations

import json
import zlib
from typing import Final, cast

import cv2
import numpy as np
import streamlit as st
from streamlit.errors import StreamlitDuplicateElementKey

from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.ui.cache import Cache
from cxr_gradcam.ui.frontend import ENGINE

PREVIEW_SIDE = 1024  # pixels of a preview's longer side, at most
MAX_KEPT_BYTES = 48 * 2**20  # of packed films in one session; others are packed again
_KEPT: Final = "_packed_films"
_ALMOST_EXACT = 1e-6  # far below half a grey level, far above what float32 rounds off

# The film's component brings the viewer's whole program along: a message of this size is cached in
# the browser, so neither is sent twice, and the messages that change stay small.
_FILM = st.components.v2.component("cxr_gradcam.film", js=ENGINE)


def send_preview(radiograph: Radiograph) -> None:
    """Hand the browser a small copy of a large radiograph, to paint until the film is there."""
    level = 0
    while max(radiograph.height, radiograph.width) > PREVIEW_SIDE << level:
        level += 1
    if level:
        _send(radiograph, level)


def send_film(radiograph: Radiograph) -> None:
    """Hand a radiograph to the browser, once in a run of the page."""
    _send(radiograph, 0)


def _send(radiograph: Radiograph, level: int) -> None:
    if _KEPT not in st.session_state:
        st.session_state[_KEPT] = Cache(MAX_KEPT_BYTES, len)
    kept = cast("Cache[bytes]", st.session_state[_KEPT])
    data = kept.get((radiograph.digest, level), lambda: pack(radiograph, level))
    try:
        _FILM(key=f"{'preview' if level else 'film'}_{radiograph.digest}", data=data)
    except StreamlitDuplicateElementKey:
        return  # another viewer of this page has sent it


def send_program() -> None:
    """Hand the viewer's program to the browser, so that the first film need not wait for it."""
    _FILM(key="viewer_program")


def pack(radiograph: Radiograph, level: int = 0) -> bytes:
    """Return a radiograph, halved `level` times, as the browser reads it.

    Four bytes say how long the header is (little-endian), the header is JSON (digest, level,
    height, width, depth: 1 or 2 bytes a pixel), and the rest is a zlib stream of planes of bytes
    (H, W), the high bytes first. Every pixel is stored as its difference from the one to its left.

    No image format is used because a browser gives pixels back only through a canvas, which has
    8 bits and, in browsers that guard against fingerprinting, noise.
    """
    levels = _halved(radiograph.pixels, level) if level else _levels(radiograph.pixels)
    steps = levels.copy()
    steps[:, 1:] -= levels[:, :-1]
    planes = [steps] if levels.dtype == np.uint8 else [steps >> 8, steps & 0xFF]
    header = {
        "digest": radiograph.digest,
        "level": level,
        "height": levels.shape[0],
        "width": levels.shape[1],
        "depth": levels.dtype.itemsize,
    }
    head = json.dumps(header).encode()
    # Neighbours' differences leave nothing to match: Huffman coding alone is faster and smaller.
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    parts = [packer.compress(plane.astype(np.uint8).tobytes()) for plane in planes]
    return b"".join([len(head).to_bytes(4, "little"), head, *parts, packer.flush()])


def _levels(pixels: np.ndarray) -> np.ndarray:
    """Return the pixels as uint8 where that is all they hold, else as uint16."""
    coarse = pixels * np.float32(255)
    np.rint(coarse, out=coarse)
    error = coarse / np.float32(255)
    error -= pixels
    if np.abs(error, out=error).max() < _ALMOST_EXACT:
        return np.asarray(coarse, np.uint8)
    return _sixteen_bits(pixels)


def _sixteen_bits(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(pixels * 65535), np.uint16)


def _halved(pixels: np.ndarray, times: int) -> np.ndarray:
    """Return uint16 pixels averaged two by two, so many times, as `halve` in film.js does it."""
    halved = _sixteen_bits(pixels)
    for _ in range(times):
        height, width = halved.shape
        # A last odd row or column counts twice.
        even = cv2.copyMakeBorder(halved, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        half = (even.shape[1] // 2, even.shape[0] // 2)
        halved = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA))
    return halved
