"""The viewer: linked pictures that the browser paints, with no word to the server.

The server says what is to be seen (film, CAM, scale); opacity, colours, window and zoom live in the
browser, the same for all viewers of the page. `frontend/` holds the program.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import streamlit as st

from cxr_gradcam.cam import METHODS
from cxr_gradcam.densenet import LAST_LAYER
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.preprocess import Letterbox
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import NO_EVIDENCE
from cxr_gradcam.ui.components.film import send_film, send_preview
from cxr_gradcam.ui.frontend import LOADER
from cxr_gradcam.words import class_label, knows_no_class, layer_name, per_cell

_OUTLINE_ERROR = 0.5  # pixels by which a lesion's outline may be simplified

_VIEWER = st.components.v2.component("cxr_gradcam.viewer", js=LOADER)


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of the viewer.

    Attributes:
        film: the radiograph, at full resolution.
        title: plain text above the picture.
        subtitle: plain text at the end of the title's line, softer.
        explanation: whose CAM is painted; None for the radiograph alone.
        class_name: one of its classes.
        layer: one of its layers.
        top: what heat 1.0 stands for, in the explanation's unit; 0: no positive evidence, nothing
            is painted.
        scale_note: what the scale belongs to, said beside the colour bar; plain text.
        lesion: bool (H, W), outlined on demand.
    """

    film: Radiograph
    title: str
    subtitle: str = ""
    explanation: Explanation | None = None
    class_name: str = ""
    layer: str = ""
    top: float = 0.0
    scale_note: str = ""
    lesion: np.ndarray | None = None


def viewer(
    panels: Sequence[Panel],
    *,
    key: str,
    columns: int | None = None,
    tall: bool = True,
    tools: bool = True,
) -> None:
    """Draw linked panels. All viewers of a page move and change together.

    Args:
        panels: what to show, in reading order.
        key: unique on the page.
        columns: how many panels in a row where there is room; as many as fit by default.
        tall: whether a picture may take most of the window's height.
        tools: whether to draw the toolbar; one is enough for a page, as all viewers obey it.
    """
    films = {panel.film.digest: panel.film for panel in panels}.values()
    with st.container(gap=None):
        for film in films:
            send_preview(film)
        data = {
            "panels": [describe(panel) for panel in panels],
            "columns": columns,
            "tall": tall,
            "tools": tools,
        }
        _VIEWER(key=key, data=data)
        for film in films:
            send_film(film)


def describe(panel: Panel) -> dict[str, Any]:
    """Return what the browser needs to paint a panel, fit for JSON; the film is only named."""
    return {
        "film": panel.film.digest,
        "height": panel.film.height,
        "width": panel.film.width,
        "title": panel.title,
        "subtitle": panel.subtitle,
        "alt": alternative_text(panel),
        "lesion": [] if panel.lesion is None else outlines(panel.lesion),
        "map": None if panel.explanation is None else _describe_map(panel, panel.explanation),
    }


def alternative_text(panel: Panel) -> str:
    """Return what a panel shows, for those who cannot see it."""
    if panel.explanation is None:
        return "Radiograph without colours"
    method = panel.explanation.method
    whose = "" if knows_no_class(method) else f"{class_label(panel.class_name)}, "
    where = f"{whose}{METHODS[method].label}, {layer_name(panel.layer)}"
    if panel.top > 0:
        return f"Radiograph with the heatmap of {where}"
    return f"Radiograph without colours: {NO_EVIDENCE} for {where}{_rather_than(panel.explanation)}"


def _rather_than(explanation: Explanation) -> str:
    other = explanation.contrast
    return "" if other is None else f" rather than {class_label(other)}"


def outlines(mask: np.ndarray) -> list[list[int]]:
    """Return the outlines of a mask, bool (H, W): each [x, y, x, y, ...], by pixel numbers."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    simple = [cv2.approxPolyDP(line, _OUTLINE_ERROR, True) for line in found]
    return [[int(number) for number in line.ravel()] for line in simple]


def _describe_map(panel: Panel, explanation: Explanation) -> dict[str, Any]:
    box = explanation.letterbox
    return {
        "cam": _grid(explanation.cam(panel.class_name, panel.layer)),
        "evidence": _evidence(panel, explanation),
        "top": panel.top,
        "peak": explanation.peak(panel.class_name, panel.layer),
        "unit": per_cell(explanation),
        "note": panel.scale_note,
        "nothing": _nothing(panel, explanation),
        "square": _square(box),
    }


def _nothing(panel: Panel, explanation: Explanation) -> str:
    """Say that a map is zero everywhere."""
    whose = "this class"
    if explanation.contrast is not None:  # which may well have evidence of its own
        whose = f"{class_label(panel.class_name)}{_rather_than(explanation)}"
    return f"{NO_EVIDENCE.capitalize()} for {whose} at this layer."


def _evidence(panel: Panel, explanation: Explanation) -> dict[str, Any] | None:
    """Return what the cells of the last layer add to the score, where the map is about that."""
    if panel.layer != LAST_LAYER or knows_no_class(explanation.method):
        return None
    evidence = explanation.evidence(panel.class_name)
    if explanation.contrast is not None:
        evidence = evidence - explanation.evidence(explanation.contrast)
    return _grid(evidence)


def _square(box: Letterbox) -> dict[str, int]:
    """Return where the film lies in the model input."""
    return {
        "size": box.size,
        "top": box.top,
        "left": box.left,
        "height": box.content_height,
        "width": box.content_width,
    }


def _grid(values: np.ndarray) -> dict[str, Any]:
    """Return a small map with its shape, float32 in base64."""
    data = base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()
    return {"height": values.shape[0], "width": values.shape[1], "data": data}
