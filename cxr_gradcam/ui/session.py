"""What one visitor's session remembers. Everything here is gone when the session ends.

Keys of `st.session_state` are named here and nowhere else: `Keys` for widgets, which Streamlit
fills, and the private ones below for what the page itself keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

import cv2
import numpy as np
import streamlit as st

from cxr_gradcam.explainer import Explainer, Explanation, Progress, Scale
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.ui.cache import Cache

DISPLAY_SIDE = 1024  # pixels on the longer side; a pane is at most half as wide on a 2x screen
PANEL_SIDE = 512
MAX_EXPLANATIONS = 64  # a few hundred kB each at most
MAX_KEPT_PIXELS = 16_000_000  # of decoded uploads, 64 MB; others are decoded again when looked at


class Keys:
    """Keys of the widgets."""

    UPLOADS: Final = "uploads"
    UPLOAD: Final = "upload"
    DATASET_CLASS: Final = "dataset_class"
    DATASET_FILE: Final = "dataset_file"
    SAMPLE: Final = "sample"
    CLASS: Final = "class"
    LAYER: Final = "layer"
    METHOD: Final = "method"
    COLORMAP: Final = "colormap"
    OPACITY: Final = "opacity"
    THRESHOLD: Final = "threshold"
    EACH_SCALE: Final = "each_scale"
    GET_OVERLAY: Final = "get_overlay"
    GET_HEATMAP: Final = "get_heatmap"


_SHOWN = "_shown"
_EXPLAINED = "_explained"
_RADIOGRAPHS = "_radiographs"
_DISPLAY = "_display"


@dataclass(frozen=True, eq=False)
class Shown:
    """The radiograph on the page.

    Attributes:
        radiograph: at its full size.
        origin: "upload", "dataset" or "phantom".
        key: which one of that origin: the upload's id, the label of a file, the phantom's class.
    """

    radiograph: Radiograph
    origin: str
    key: str


@dataclass(frozen=True, eq=False)
class Explained:
    """An explanation of every class at one layer.

    Attributes:
        explanation: with that layer alone.
        peaks: class -> `Explanation.peak`, kept because finding it takes longer on a large film
            than painting a small one.
    """

    explanation: Explanation
    peaks: Mapping[str, float]

    def top(self, class_name: str, scale: Scale) -> float:
        """Return the value that the hottest colour stands for; 0 without positive evidence."""
        return self.peaks[class_name] if scale == "each" else max(self.peaks.values())

    def on_grid(self, radiograph: Radiograph) -> Explanation:
        """Return the explanation with its heatmaps on the pixels of a shrunken radiograph.

        Only the number of rows and columns that are read from the CAM changes, not the place where
        the picture lies in the model input, so nothing moves.
        """
        letterbox = replace(
            self.explanation.letterbox, height=radiograph.height, width=radiograph.width
        )
        return replace(self.explanation, letterbox=letterbox)


def shown() -> Shown | None:
    """Return the radiograph on the page, if there is one."""
    return cast("Shown | None", st.session_state.get(_SHOWN))


def show(radiograph: Radiograph, origin: str, key: str) -> None:
    """Put a radiograph on the page, in place of the last one."""
    st.session_state[_SHOWN] = Shown(radiograph, origin, key)


def clear() -> None:
    """Take the radiograph off the page."""
    st.session_state.pop(_SHOWN, None)


def radiographs() -> Cache[Radiograph]:
    """Return the decoded uploads that are kept, by the upload's id."""
    if _RADIOGRAPHS not in st.session_state:
        st.session_state[_RADIOGRAPHS] = Cache(MAX_KEPT_PIXELS, _pixels)
    return cast("Cache[Radiograph]", st.session_state[_RADIOGRAPHS])


def explain(
    explainer: Explainer,
    radiograph: Radiograph,
    layer: str,
    method: str,
    progress: Progress | None = None,
) -> Explained:
    """Explain every class of a radiograph at one layer, or remember having done so."""
    if _EXPLAINED not in st.session_state:
        st.session_state[_EXPLAINED] = Cache(MAX_EXPLANATIONS)
    cache = cast("Cache[Explained]", st.session_state[_EXPLAINED])

    def make() -> Explained:
        explanation = explainer.explain(
            radiograph, layers=[layer], method=method, progress=progress
        )
        return Explained(
            explanation, {name: explanation.peak(name) for name in explanation.classes}
        )

    return cache.get((radiograph.digest, layer, method, explainer.classifier.digest), make)


def shrink(radiograph: Radiograph, longest: int) -> Radiograph:
    """Return the radiograph with at most `longest` pixels on its longer side, for a screen."""
    if max(radiograph.height, radiograph.width) <= longest:
        return radiograph
    if _DISPLAY not in st.session_state:
        st.session_state[_DISPLAY] = Cache(4)
    cache = cast("Cache[Radiograph]", st.session_state[_DISPLAY])
    return cache.get((radiograph.digest, longest), lambda: _shrunk(radiograph, longest))


def _shrunk(radiograph: Radiograph, longest: int) -> Radiograph:
    share = longest / max(radiograph.height, radiograph.width)
    size = (max(1, round(radiograph.width * share)), max(1, round(radiograph.height * share)))
    pixels = cv2.resize(radiograph.pixels, size, interpolation=cv2.INTER_AREA)
    # Averages of values in [0, 1] can leave it by a rounding error.
    return Radiograph.from_array(np.clip(pixels, 0, 1), name=radiograph.name)


def _pixels(radiograph: Radiograph) -> int:
    return radiograph.height * radiograph.width
