"""What one can take home: the overlay and the heatmap, at the radiograph's full size."""

from __future__ import annotations

from io import BytesIO
from pathlib import PurePath

import numpy as np
import streamlit as st

from cxr_gradcam.explainer import Explanation
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import overlay
from cxr_gradcam.ui.components.controls import Look
from cxr_gradcam.ui.components.picture import encode_png
from cxr_gradcam.ui.session import Keys
from cxr_gradcam.ui.text import file_part, layer_name


def overlay_png(
    radiograph: Radiograph, explanation: Explanation, class_name: str, look: Look
) -> bytes:
    """Return the overlay as a PNG file with the radiograph's own number of pixels."""
    heatmap = explanation.heatmap(class_name, look.layer, look.scale)
    return encode_png(overlay(radiograph, heatmap, look.colormap, look.opacity, look.threshold))


def heatmap_npy(explanation: Explanation, class_name: str, look: Look) -> bytes:
    """Return the heatmap as an NPY file, float32 (H, W) in [0, 1]."""
    file = BytesIO()
    np.save(file, explanation.heatmap(class_name, look.layer, look.scale))
    return file.getvalue()


def file_name(kind: str, radiograph: Radiograph, class_name: str, look: Look, suffix: str) -> str:
    """Return a name that tells what is in the file."""
    film = file_part(PurePath(radiograph.name).stem) or "radiograph"
    parts = (class_name, layer_name(look.layer), look.method, look.scale)
    return "-".join([film, kind, *map(file_part, parts)]) + f".{suffix}"


def downloads(
    radiograph: Radiograph, explanation: Explanation, class_name: str, look: Look
) -> None:
    """Draw the buttons. A file is built when its button is pressed, not before."""
    with st.container(key="downloads", horizontal=True, gap="small"):
        st.download_button(
            "Overlay PNG",
            lambda: overlay_png(radiograph, explanation, class_name, look),
            file_name("overlay", radiograph, class_name, look, "png"),
            "image/png",
            key=Keys.GET_OVERLAY,
            icon=":material/download:",
            width="stretch",
            on_click="ignore",
        )
        st.download_button(
            "Heatmap NPY",
            lambda: heatmap_npy(explanation, class_name, look),
            file_name("heatmap", radiograph, class_name, look, "npy"),
            "application/octet-stream",
            key=Keys.GET_HEATMAP,
            icon=":material/download:",
            width="stretch",
            on_click="ignore",
        )
