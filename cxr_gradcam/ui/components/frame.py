"""What every page shares: navigation, sidebar, address, and the state a page may rely on.

A page is a function without arguments, named in a `Place`. When it is called:

- `shared.explainer()` gives the model that this session chose, and does not fail, unless the
  place has `needs_model=False`;
- `session.current()` gives the radiograph, if the place has `needs_radiograph=True`; any page may
  ask `session.shown()`, which may be None;
- the sidebar, files that could not be read, and "Research use only" are on the page already.

To show another radiograph, in a callback or in the page's own body: `source.open_film(class, short
name)` or `source.open_sample(key)`, then `frame.go_to("Explain")` in the body. What a page may not
do is to draw in the sidebar or to load a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import streamlit as st

from cxr_gradcam.checkpoint import CheckpointError
from cxr_gradcam.render import DISCLAIMER
from cxr_gradcam.ui import session, shared
from cxr_gradcam.ui.components import address, model_choice, source
from cxr_gradcam.ui.components.film import send_program
from cxr_gradcam.ui.components.heading import in_sidebar, welcome
from cxr_gradcam.ui.text import plain

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage

_PAGES = "_pages"  # title -> what `st.switch_page` takes
_TITLE = "_title"  # of the page that was drawn last


@dataclass(frozen=True)
class Place:
    """A page of the navigation.

    Attributes:
        title: its name in the navigation; in lower case, its address.
        show: draws it.
        icon: a Material icon as Streamlit names it.
        needs_radiograph: without one, the page that invites to choose one stands in its place.
        needs_model: without one, a sentence that says why not stands in its place.
    """

    title: str
    show: Callable[[], None]
    icon: str
    needs_radiograph: bool = False
    needs_model: bool = True


def run(places: Sequence[Place]) -> None:
    """Draw the navigation, the sidebar and the page that the visitor chose; the first at first."""
    shared.look_for_models()
    pages = {
        place.title: st.Page(
            place.show,
            title=place.title,
            icon=place.icon,
            url_path=place.title.lower(),
            default=place is places[0],
        )
        for place in places
    }
    chosen = st.navigation(list(pages.values()), position="top")
    place = next(place for place in places if place.title == chosen.title)
    st.session_state[_PAGES] = pages

    turned = st.session_state.get(_TITLE, place.title) != place.title
    st.session_state[_TITLE] = place.title
    if turned:
        source.forget_told_problems()
    address.follow(place.title, turned=turned)
    problem = _model_problem()
    inviting = place.needs_radiograph and session.shown() is None and not problem
    with st.sidebar:
        _sidebar(inviting)
    address.write()
    source.problems(skip=inviting)  # an invitation says them under its dropzone
    # The last line is drawn first, so that it is there whatever becomes of the page above it.
    body = st.container(key="body")
    kind = "cxr-foot cxr-narrow" if inviting else "cxr-foot"
    st.html(f'<p class="{kind}">{DISCLAIMER}</p>')
    with body:
        if problem and place.needs_model:
            st.error(plain(problem), icon=":material/error:")
        elif inviting:
            _invite()
        else:
            chosen.run()


def go_to(title: str) -> NoReturn:
    """Leave the page for another of the navigation; from a page's body, not from a callback."""
    pages: dict[str, StreamlitPage] = st.session_state[_PAGES]
    st.switch_page(pages[title])


def _model_problem() -> str:
    """Load this session's model, and return why that failed, or nothing."""
    try:
        shared.explainer()
    except CheckpointError as error:
        return str(error)
    return ""


def _sidebar(inviting: bool) -> None:
    current = session.shown()
    if current is not None:
        in_sidebar(current)
    if not inviting:
        source.offer()
    model_choice.choose_in_sidebar()


def _invite() -> None:
    with st.container(key="welcome"):
        welcome()
        source.invite()
        send_program()
        _rehearse()


def _rehearse() -> None:
    """Draw, out of sight, a widget of every kind that the page with a radiograph has.

    The browser fetches the program of a kind when it draws the first one. Here it does so while the
    visitor still looks for a film, whose heatmap then need not wait for it.
    """
    with st.container(key="rehearsal"):
        st.pills("Choice", [""])
        st.selectbox("List", [""])
        st.toggle("Switch")
        st.download_button("File", "", on_click="ignore")
        with st.expander("More"):
            st.slider("Slider")
