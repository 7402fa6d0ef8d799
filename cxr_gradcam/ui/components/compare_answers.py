"""What a session asked about radiographs side by side; each question is put to the network once.

The first look at a radiograph costs one forward pass: it answers every fast method at every main
layer for every class, so that on the whole page only a contrast and Score-CAM need the network
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import streamlit as st

from cxr_gradcam.cam import METHODS
from cxr_gradcam.densenet import MAIN_LAYERS
from cxr_gradcam.explainer import Explainer, Progress, Question
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.ui.cache import Cache

FAST_METHODS = tuple(name for name, method in METHODS.items() if method.needs != "passes")
GRADIENT_METHODS = tuple(name for name, method in METHODS.items() if method.needs == "gradient")
SCORECAM = "scorecam"
MAX_ANSWERS = 24  # the largest, all maps of one radiograph, weighs about 0.5 MB

_ANSWERS = "_compare_answers"
_SCORECAM_AT = "_compare_scorecam_at"  # where Score-CAM was run last

ByMethod = Mapping[str, Explanation]


def all_maps(explainer: Explainer, radiograph: Radiograph) -> ByMethod:
    """Return fast method -> the maps of every class at every main layer."""
    with st.spinner("Explaining every class at every layer by every method …"):
        found = _ask(explainer, radiograph, [Question(method) for method in FAST_METHODS])
    return dict(zip(FAST_METHODS, found, strict=True))


def both_ways(
    explainer: Explainer, radiograph: Radiograph, c: str, r: str, method: str
) -> tuple[Explanation, Explanation]:
    """Return why c rather than r, and why r rather than c, at every main layer."""
    # All methods at once: they share the way back, which takes most of the time.
    questions = [
        Question(name, (one,), other)
        for name in GRADIENT_METHODS
        for one, other in ((c, r), (r, c))
    ]
    with st.spinner("Contrasting the two classes …"):
        found = _ask(explainer, radiograph, questions)
    place = 2 * GRADIENT_METHODS.index(method)
    return found[place], found[place + 1]


def scorecam_on_request(
    explainer: Explainer, radiograph: Radiograph, layer: str
) -> Explanation | None:
    """Draw a button that runs Score-CAM, with a progress bar; return its maps once it has run."""
    here = (radiograph.digest, explainer.classifier.digest, layer)
    place = st.empty()
    asked = st.session_state.get(_SCORECAM_AT) == here or place.button(
        "Add Score-CAM",
        key="compare_add_scorecam",
        icon=":material/hourglass_top:",
        help="It runs the network once for every channel of the layer, up to 1,024 times.",
    )
    if not asked:
        return None

    def report(share: float) -> None:
        place.progress(share, f"Score-CAM: {share:.0%} of its passes")

    (found,) = _ask(explainer, radiograph, [Question(SCORECAM)], [layer], report)
    place.empty()
    # Only now: whoever interrupts it by another choice does not start it again.
    st.session_state[_SCORECAM_AT] = here
    return found


def _ask(
    explainer: Explainer,
    radiograph: Radiograph,
    questions: Sequence[Question],
    layers: Sequence[str] = MAIN_LAYERS,
    progress: Progress | None = None,
) -> list[Explanation]:
    """Ask, or remember the answers."""
    if _ANSWERS not in st.session_state:
        st.session_state[_ANSWERS] = Cache(MAX_ANSWERS)
    cache = cast("Cache[list[Explanation]]", st.session_state[_ANSWERS])
    key = (radiograph.digest, explainer.classifier.digest, tuple(questions), tuple(layers))
    return cache.get(
        key, lambda: explainer.compare(radiograph, questions, layers, progress=progress)
    )
