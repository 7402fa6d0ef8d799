"""Which model to look through: small in the sidebar, at length on the page "Model"."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from cxr_gradcam.checkpoint import CheckpointError
from cxr_gradcam.ui import session, shared
from cxr_gradcam.ui.components import source
from cxr_gradcam.ui.components.picture import note
from cxr_gradcam.ui.session import Keys
from cxr_gradcam.ui.text import plain

_MODEL = "model"


def choose_in_sidebar() -> None:
    """Draw the name of the model, a choice where there are several, and its few facts."""
    names = list(shared.models())
    with st.container(key="model_in_sidebar", gap="xsmall"):
        if len(names) > 1:
            _settle(Keys.MODEL)
            st.selectbox("Model", names, key=Keys.MODEL, on_change=_take(Keys.MODEL))
        else:
            st.html('<p class="cxr-label">Model</p>')
        note(_facts())


def choose_on_page() -> None:
    """Draw every checkpoint as a choice; nothing where there is only one."""
    models = shared.models()
    if len(models) < 2:
        return
    _settle(Keys.MODEL_ON_PAGE)
    st.radio(
        "Checkpoint",
        list(models),
        format_func=plain,
        key=Keys.MODEL_ON_PAGE,
        on_change=_take(Keys.MODEL_ON_PAGE),
        horizontal=True,
    )


def open_model(name: str) -> bool:
    """Look through a model, or remember the sentence that says why not.

    Args:
        name: one of `shared.models`; only looked up, never used as a path.

    Returns:
        Whether it is chosen now. Whether it can be used shows when it is loaded.
    """
    if name not in shared.models():
        source.remember_problem(
            _MODEL, f"There is no model {name} here: check the link, or choose one of the list."
        )
        return False
    source.forget_problem(_MODEL)
    session.choose_model(name)
    return True


def _settle(key: str) -> None:
    """Let a widget show the session's model, whichever widget chose it."""
    st.session_state[key] = shared.model()


def _take(key: str) -> Callable[[], None]:
    def take() -> None:
        open_model(st.session_state[key])

    return take


def _facts() -> str:
    try:
        classifier = shared.explainer().classifier
    except CheckpointError:
        return "It cannot be used."
    side = classifier.input_size
    return (
        f"DenseNet-121 · {len(classifier.class_names)} classes · {side} px input · "
        f"checkpoint {classifier.digest[:8]}"
    )
