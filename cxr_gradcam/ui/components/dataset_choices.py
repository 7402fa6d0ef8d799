"""Which films to show: the row of choices above the grid, and the pages of the grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import streamlit as st

from cxr_gradcam.survey.results import NONE, Ints, Results
from cxr_gradcam.survey.selection import Known, Order, Selection, Verdict, select
from cxr_gradcam.ui.components.dataset_confusion import films
from cxr_gradcam.ui.components.dataset_state import (
    ANY,
    Keys,
    clear_selection,
    first_page,
)
from cxr_gradcam.ui.text import class_choices

PER_PAGE = 42
_VERDICTS = {ANY: "Right and wrong", "right": "Right", "wrong": "Wrong"}
_KNOWN = {ANY: "Familiar or not", "familiar": "Familiar", "strange": "Not familiar"}
_ORDERS = {
    "name": "Name",
    "least sure": "Least sure first",
    "most sure": "Most sure first",
    "least familiar": "Least familiar first",
}


def choose_films(results: Results) -> Selection:
    """Draw the choices and return them."""
    labels = class_choices(results.folder.labels, first="Any class")
    called = class_choices(results.class_names, first="Any class")
    with st.container(key="dataset_choices", horizontal=True, gap="small"):
        label = _choice("Filed as", labels, Keys.LABEL)
        said = _choice("Called", called, Keys.CALLED)
        verdict = _choice("Right or wrong", _VERDICTS, Keys.VERDICT)
        known = _choice("Familiar", _KNOWN, Keys.KNOWN)
        order = _choice("Order", _ORDERS, Keys.ORDER)
        low, high = _choose_confidence()
    return Selection(
        label=label or None,
        called=said or None,
        verdict=cast("Verdict", verdict or "any"),
        confidence=(low / 100, high / 100),
        known=cast("Known", known or "any"),
        order=cast("Order", order),
    )


def _choose_confidence() -> tuple[int, int]:
    st.session_state.setdefault(Keys.CONFIDENCE, (0, 100))
    chosen: object = st.slider(  # a pair, as what it starts from is one
        "Confidence",
        0,
        100,
        step=5,
        format="%d%%",
        key=Keys.CONFIDENCE,
        on_change=first_page,
        persist_state="session",
        help="Probability of the class that the film was called.",
    )
    return cast("tuple[int, int]", chosen)


def choose_page(results: Results, selection: Selection) -> Ints:
    """Draw how many films there are and the pages, and return the films of this page."""
    places = select(results, selection)
    pages = max(1, -(-len(places) // PER_PAGE))
    # Fewer films may match than when the page was chosen.
    page = min(max(int(st.session_state.get(Keys.PAGE, 1)), 1), pages)
    st.session_state[Keys.PAGE] = page
    with st.container(
        key="dataset_pages", horizontal=True, gap="small", vertical_alignment="center"
    ):
        st.html(f'<p class="cxr-label" role="status">{_summary(len(places), results)}</p>')
        if selection != Selection(order=selection.order):
            st.button("Show all", key="dataset_all", on_click=clear_selection, type="tertiary")
        if pages > 1:
            _pages(page, pages)
    return places[(page - 1) * PER_PAGE : page * PER_PAGE]


def _pages(page: int, pages: int) -> None:
    with st.container(
        key="dataset_turn",
        horizontal=True,
        gap="xsmall",
        vertical_alignment="center",
        width="content",
    ):
        st.button(
            "Previous",
            key="dataset_previous",
            icon=":material/chevron_left:",
            disabled=page == 1,
            on_click=_turn,
            args=(page - 1,),
        )
        st.number_input(
            f"Page, 1 to {pages}",
            1,
            pages,
            key=Keys.PAGE,
            label_visibility="collapsed",
            width=90,
        )
        st.html(f'<p class="cxr-note">of {pages:,}</p>')
        st.button(
            "Next",
            key="dataset_next",
            icon=":material/chevron_right:",
            disabled=page == pages,
            on_click=_turn,
            args=(page + 1,),
        )


def _turn(page: int) -> None:
    st.session_state[Keys.PAGE] = page


def _summary(count: int, results: Results) -> str:
    total, known = len(results.folder.films), int((results.called != NONE).sum())
    if count == total:
        return films(total)
    evaluated = f" ({known:,} evaluated)" if known < total else ""
    return f"{count:,} of {films(total)}{evaluated}"


def _choice(label: str, words: Mapping[str, str], key: str) -> str:
    if st.session_state.get(key) not in words:  # another model has other classes
        st.session_state[key] = next(iter(words))
    return st.selectbox(
        label,
        list(words),
        format_func=words.__getitem__,
        key=key,
        on_change=first_page,
        persist_state="session",
    )
