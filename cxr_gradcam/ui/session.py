"""What one visitor's session remembers. Everything here is gone when the session ends.

Keys of `st.session_state` are named here and nowhere else: `Keys` for widgets, which Streamlit
fills, and the private ones below for what the page itself keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, cast

import numpy as np
import streamlit as st

from cxr_gradcam.explainer import Explainer, Progress
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import shrunk
from cxr_gradcam.ui.cache import Cache

MAX_EXPLANATIONS = 64  # a few hundred kB each at most
MAX_KEPT_PIXELS = 16_000_000  # of decoded uploads, 64 MB; others are decoded again when looked at

Origin = Literal["upload", "dataset", "phantom"]


class Keys:
    """Keys of the widgets."""

    UPLOADS: Final = "uploads"
    UPLOAD: Final = "upload"
    DATASET_CLASS: Final = "dataset_class"
    DATASET_FILE: Final = "dataset_file"
    SAMPLE: Final = "sample"
    MODEL: Final = "model"
    MODEL_ON_PAGE: Final = "model_on_page"
    LESION: Final = "lesion"
    CLASS: Final = "class"
    LAYER: Final = "layer"
    METHOD: Final = "method"
    EACH_SCALE: Final = "each_scale"


_SHOWN = "_shown"
_MODEL = "_model"
_EXPLAINED = "_explained"
_RADIOGRAPHS = "_radiographs"
_SMALL = "_small"
_MAKING = "_making"


@dataclass(frozen=True, eq=False)
class Shown:
    """The radiograph on the page.

    Attributes:
        radiograph: at its full size.
        origin: "upload", "dataset" or "phantom".
        key: which one of that origin: the upload's id; a film's `<class>/<short name>`; a phantom's
            key in `shared.sample_keys`.
        label: the class that the dataset files it under, or that the phantom was drawn as; None if
            nobody knows.
        lesion: bool (H, W), the lesion planted in a phantom, all False for Normal; else None.
    """

    radiograph: Radiograph
    origin: Origin
    key: str
    label: str | None = None
    lesion: np.ndarray | None = None


@dataclass(eq=False)
class Making:
    """A file on several radiographs while it is built: the building thread counts, the page looks.

    Attributes:
        what: which file, in the words of its button.
        total: how many radiographs go into it.
        done: how many of them are in it.
    """

    what: str
    total: int
    done: int = 0


def shown() -> Shown | None:
    """Return the radiograph on the page, if there is one."""
    return cast("Shown | None", st.session_state.get(_SHOWN))


def current() -> Shown:
    """Return the radiograph on the page, for a page that is drawn only when there is one.

    Raises:
        LookupError: when there is none.
    """
    found = shown()
    if found is None:
        raise LookupError("There is no radiograph on the page: show one first.")
    return found


def show(chosen: Shown) -> None:
    """Put a radiograph on the page, in place of the last one."""
    st.session_state[_SHOWN] = chosen


def clear() -> None:
    """Take the radiograph off the page."""
    st.session_state.pop(_SHOWN, None)


def model() -> str | None:
    """Return the name of the model chosen in this session, as `shared.models` lists it."""
    return cast("str | None", st.session_state.get(_MODEL))


def choose_model(name: str) -> None:
    """Look through another model from now on."""
    st.session_state[_MODEL] = name


def method() -> str:
    """Return the method chosen on the page Explain; "" before its first choice is drawn."""
    return cast("str", st.session_state.get(Keys.METHOD, ""))


def radiographs() -> Cache[Radiograph]:
    """Return the decoded uploads that are kept, by the upload's id."""
    if _RADIOGRAPHS not in st.session_state:
        st.session_state[_RADIOGRAPHS] = Cache(MAX_KEPT_PIXELS, _pixels)
    return cast("Cache[Radiograph]", st.session_state[_RADIOGRAPHS])


def making() -> list[Making]:
    """Return the files that are being built for this visitor: a list to add to and to take from."""
    return cast("list[Making]", st.session_state.setdefault(_MAKING, []))


def explain(
    explainer: Explainer,
    radiograph: Radiograph,
    layer: str,
    method: str,
    progress: Progress | None = None,
) -> Explanation:
    """Explain every class of a radiograph at one layer, or remember having done so."""
    if _EXPLAINED not in st.session_state:
        st.session_state[_EXPLAINED] = Cache(MAX_EXPLANATIONS)
    cache = cast("Cache[Explanation]", st.session_state[_EXPLAINED])

    def look() -> Explanation:
        if progress:
            progress(0)  # the first batch of many passes may take seconds
        return explainer.explain(radiograph, [layer], method=method, progress=progress)

    return cache.get((radiograph.digest, layer, method, explainer.classifier.digest), look)


def shrink(radiograph: Radiograph, longest: int) -> Radiograph:
    """Return what `render.shrunk` does, for a screen, or remember having done so."""
    if max(radiograph.height, radiograph.width) <= longest:
        return radiograph
    if _SMALL not in st.session_state:
        st.session_state[_SMALL] = Cache(8)
    cache = cast("Cache[Radiograph]", st.session_state[_SMALL])
    return cache.get((radiograph.digest, longest), lambda: shrunk(radiograph, longest))


def _pixels(radiograph: Radiograph) -> int:
    return radiograph.height * radiograph.width
