"""The page "Compare": classes, layers, methods, two classes or two radiographs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cxr_gradcam.agreement import agreement
from cxr_gradcam.cam import METHODS
from cxr_gradcam.densenet import LAST_LAYER, MAIN_LAYERS
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.explanation import Explanation, Scale
from cxr_gradcam.ui import session, shared
from cxr_gradcam.ui.components import compare_choices as choices
from cxr_gradcam.ui.components import compare_style
from cxr_gradcam.ui.components.compare_agreement import agreement_table
from cxr_gradcam.ui.components.compare_answers import (
    FAST_METHODS,
    GRADIENT_METHODS,
    all_maps,
    both_ways,
    scorecam_on_request,
)
from cxr_gradcam.ui.components.compare_balance import balance_table
from cxr_gradcam.ui.components.compare_panels import (
    Film,
    class_panels,
    contrast_panels,
    film_panels,
    layer_panels,
    method_panels,
)
from cxr_gradcam.ui.components.compare_second import choose_second
from cxr_gradcam.ui.components.heading import heading, name
from cxr_gradcam.ui.components.localisation import wants_lesion
from cxr_gradcam.ui.components.picture import note, section
from cxr_gradcam.ui.components.verdict import verdict
from cxr_gradcam.ui.components.viewer import viewer
from cxr_gradcam.ui.session import Shown
from cxr_gradcam.ui.text import plain
from cxr_gradcam.words import class_label, familiarity_words, knows_no_class, layer_name

OWN_SCALES = (
    "Each map is on its own scale: a weak one looks as hot as a strong one, so colours cannot be "
    "compared between pictures."
)
SAME_AT_THE_LAST = (
    f"At {layer_name(LAST_LAYER)} the gradient is the same in every cell, so Grad-CAM, XGrad-CAM "
    "and HiResCAM are one map by definition. Choose an earlier layer to see them part."
)


def show() -> None:
    """Draw the page; a radiograph and a model are there."""
    compare_style.apply()
    current, explainer = session.current(), shared.explainer()
    heading(current)
    maps = all_maps(explainer, current.radiograph)
    said = maps[FAST_METHODS[0]]
    verdict(said, explainer.classifier, current)
    with st.container(key="compare_subject", horizontal=True, gap="medium"):
        subject = choices.choose_subject()
        outlined = wants_lesion(current)
    film, row = _film(current, outlined), _row()
    if subject == choices.CLASSES:
        _classes(film, maps, row)
    elif subject == choices.LAYERS:
        _layers(film, maps, said, row)
    elif subject == choices.METHODS_:
        _methods(explainer, film, maps, said, row)
    elif subject == choices.CONTRAST:
        _contrast(explainer, film, maps, said, row)
    else:
        told = st.container()
        with row.second:
            second = choose_second(current, told)
        _films(explainer, [film, *([_film(second, outlined)] if second else [])], said, row)


def _classes(film: Film, maps: Mapping[str, Explanation], row: Row) -> None:
    with row.layer:
        layer = choices.choose_layer()
    with row.method:
        method = choices.choose_method(FAST_METHODS)
    with row.scale:
        scale = _choose_scale(method)
    _note_on_scale(
        method,
        scale,
        "All classes are on one scale: a colour means as much evidence in every picture.",
    )
    viewer(class_panels(film, maps[method], layer, scale), key="compare_classes", columns=4)


def _layers(film: Film, maps: Mapping[str, Explanation], said: Explanation, row: Row) -> None:
    with row.method:
        method = choices.choose_method(FAST_METHODS)
    with row.scale:
        scale = _choose_scale(method)
    _note_on_scale(
        method,
        scale,
        "Every class at every layer, from fine detail to the decision. Each layer has one scale "
        "for all classes: compare colours within a layer, not between layers.",
    )
    panels = layer_panels(film, maps[method], MAIN_LAYERS, scale)
    viewer(panels, key="compare_layers", columns=len(MAIN_LAYERS), tall=False)
    section("Do the layers agree?", METHODS[method].label)
    class_name = said.classes[0] if knows_no_class(method) else _choose_agreement_class(said)
    cams = [maps[method].cam(class_name, layer) for layer in MAIN_LAYERS]
    agreement_table(
        [layer_name(layer) for layer in MAIN_LAYERS],
        agreement(cams, said.letterbox),
        "Agreement between layers",
    )


def _methods(
    explainer: Explainer, film: Film, maps: Mapping[str, Explanation], said: Explanation, row: Row
) -> None:
    with row.layer:
        layer = choices.choose_layer()
    with row.scale:
        scale = choices.choose_scale()
    with row.request:
        with_scorecam = scorecam_on_request(explainer, film.radiograph, layer)
    found = dict(maps)
    if with_scorecam is not None:
        found[with_scorecam.method] = with_scorecam
    with st.container():  # one place, for the choice below to stand where it does among layers
        note(
            OWN_SCALES
            if scale == "each"
            else "Every class by every method. Methods measure differently, so each has one scale "
            "for all classes: compare colours within a method, not between methods. Eigen-CAM "
            "knows no class, so it stands once, at the end."
        )
        if layer == LAST_LAYER:
            note(SAME_AT_THE_LAST)
    panels = method_panels(film, found, layer, scale)
    columns = sum(not knows_no_class(method) for method in found)
    viewer(panels, key="compare_methods", columns=columns, tall=False)
    section("Do the methods agree?", layer_name(layer))
    class_name = _choose_agreement_class(said)
    cams = [answer.cam(class_name, layer) for answer in found.values()]
    labels = [METHODS[method].label for method in found]
    agreement_table(labels, agreement(cams, said.letterbox), "Agreement between methods")


def _contrast(
    explainer: Explainer, film: Film, maps: Mapping[str, Explanation], said: Explanation, row: Row
) -> None:
    with row.classes:
        c = choices.choose_class(said, "Why")
    with row.other_class:
        r = choices.choose_other_class(said, c)
    with row.layer:
        layer = choices.choose_layer()
    with row.method:
        method = choices.choose_method(GRADIENT_METHODS)
    note(
        f"The first map shows what raises the score of {class_label(c)} above that of "
        f"{class_label(r)}, the second the reverse. What speaks for both cancels out."
    )
    both = both_ways(explainer, film.radiograph, c, r, method)
    viewer(contrast_panels(film, maps[method], both, layer), key="compare_contrast", columns=4)
    section(f"Why {class_label(c)} rather than {class_label(r)}", "what it adds up to")
    balance_table(said, c, r)


def _films(explainer: Explainer, films: Sequence[Film], said: Explanation, row: Row) -> None:
    with row.classes:
        class_name = choices.choose_class(said)
    with row.layer:
        layer = choices.choose_layer()
    with row.method:
        method = choices.choose_method(FAST_METHODS)
    answers = [all_maps(explainer, film.radiograph)[method] for film in films]
    for film, answer in list(zip(films, answers, strict=True))[1:]:
        if answer.familiar is False:
            warning = f"{plain(film.name)}: {familiarity_words(answer)}"
            st.warning(warning, icon=":material/warning:")
    note(
        "Both radiographs are on one scale: a colour means as much in one as in the other."
        if len(films) > 1
        else "Choose a second radiograph."
    )
    viewer(film_panels(films, answers, class_name, layer), key="compare_films", columns=2)


def _film(shown: Shown, outlined: bool) -> Film:
    return Film(shown.radiograph, name(shown), shown.lesion if outlined else None)


@dataclass(frozen=True)
class Row:
    """Where each choice stands, whatever is compared; a place without a choice takes no room.

    A choice that moved on the page when the subject changes would no longer be written into the
    address: the browser forgets it with its old place after it has learnt of the new one.
    """

    second: DeltaGenerator
    classes: DeltaGenerator
    other_class: DeltaGenerator
    layer: DeltaGenerator
    method: DeltaGenerator
    scale: DeltaGenerator
    request: DeltaGenerator


def _row() -> Row:
    second = st.container(key="compare_choices_of_second", horizontal=True)
    with st.container(key="compare_choices", horizontal=True):
        return Row(second, *(st.container() for _ in fields(Row)[1:]))


def _choose_scale(method: str) -> Scale:
    return "each" if knows_no_class(method) else choices.choose_scale()


def _choose_agreement_class(said: Explanation) -> str:
    with st.container(key="compare_agreement"):
        return choices.choose_agreement_class(said)


def _note_on_scale(method: str, scale: Scale, shared: str) -> None:
    """Say which colours may be compared; `shared` where all classes are on one scale."""
    if knows_no_class(method):
        note(
            f"{METHODS[method].label} knows no class: it shows what the layer responds to most, "
            "the same for every class, and stands here once, on its own scale."
        )
    else:
        note(OWN_SCALES if scale == "each" else shared)
