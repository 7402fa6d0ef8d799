"""The radiograph and the model in the address, so that a copied link opens the same view.

A film of the dataset is `?file=<class>/<short name>`, a phantom `?sample=COVID-0`, and a model that
is not the default `?model=<name>`. An upload has no address: nobody else can open it. What stands
in the address is looked up in what this server offers, and is never used as a path.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from cxr_gradcam.reading import printable
from cxr_gradcam.ui import session, shared
from cxr_gradcam.ui.components import model_choice, source

FILE = "file"
SAMPLE = "sample"
MODEL = "model"
NAMES = (FILE, SAMPLE, MODEL)
_WRITTEN = "_written"
_EMPTIED = "_emptied"  # pages that were turned to: an empty address there says nothing
# A click made just before the browser learnt of a new address still sends the one before it.
_LATE_SECONDS = 3.0


@dataclass(frozen=True)
class _Written:
    """What this session last wrote into the address, what stood there before, and when."""

    now: Mapping[str, str]
    before: Mapping[str, str]
    since: float

    def is_news(self, asked: Mapping[str, str]) -> bool:
        """Tell whether the browser asks for something else than it was sent to."""
        late = asked == self.before and time.monotonic() - self.since < _LATE_SECONDS
        return asked != self.now and not late


def follow(title: str, *, turned: bool) -> None:
    """Show what the address names, where it is a link or the Back button.

    Args:
        title: of the page.
        turned: whether the visitor turned to it just now, which empties the address.
    """
    asked = {name: st.query_params[name] for name in NAMES if name in st.query_params}
    emptied: set[str] = st.session_state.setdefault(_EMPTIED, set())
    if turned and not asked:
        emptied.add(title)
    written = _written()
    if not written.is_news(asked) or (not asked and title in emptied):
        return
    if FILE in asked:
        label, _, short_name = asked[FILE].partition("/")
        source.open_film(label, short_name)
    elif SAMPLE in asked:
        source.open_sample(asked[SAMPLE])
    elif written.now.keys() & {FILE, SAMPLE}:
        session.clear()  # back to where there was none
    if MODEL in asked:
        model_choice.open_model(asked[MODEL])
    elif MODEL in written.now:
        model_choice.open_model(next(iter(shared.models())))


def write() -> None:
    """Put the radiograph and the model on the page into the address."""
    current = session.shown()
    names = {"dataset": FILE, "phantom": SAMPLE}
    wanted: dict[str, str] = {}
    if current is not None and current.origin in names:
        wanted[names[current.origin]] = printable(current.key)
    if shared.model() != next(iter(shared.models())):
        wanted[MODEL] = shared.model()
    for name in NAMES:
        if name not in wanted:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != wanted[name]:
            st.query_params[name] = wanted[name]
    written = _written()
    if wanted != written.now:
        st.session_state[_WRITTEN] = _Written(wanted, written.now, time.monotonic())


def _written() -> _Written:
    written: _Written = st.session_state.get(_WRITTEN, _Written({}, {}, 0.0))
    return written
