"""Which maps stand side by side, and on which scale: pure functions, from explanations to panels.

Colours may be compared wherever panels share a scale, and every panel says in words which one it
has. A map that knows no class stands once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxr_gradcam.cam import METHODS
from cxr_gradcam.explanation import Explanation, Scale
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.ui.components.viewer import Panel
from cxr_gradcam.words import class_label, knows_no_class, layer_name, percent

CLASS_FREE = "knows no class"
OWN_SCALE = "its own scale"


@dataclass(frozen=True, eq=False)
class Film:
    """A radiograph as it stands in a comparison.

    Attributes:
        radiograph: at its full size.
        name: what to call it; plain text.
        lesion: bool (H, W), to be outlined; None for no outline.
    """

    radiograph: Radiograph
    name: str
    lesion: np.ndarray | None = None


def class_panels(film: Film, answer: Explanation, layer: str, scale: Scale) -> list[Panel]:
    """Return one panel per class, with its probability."""
    if knows_no_class(answer.method):
        return [_class_free(film, answer, layer, METHODS[answer.method].label)]
    note = _scale_note(scale, "one scale for all classes")
    return [
        _class_panel(film, answer, name, layer, scale, _share(answer, name), note)
        for name in answer.classes
    ]


def layer_panels(
    film: Film, answer: Explanation, layers: Sequence[str], scale: Scale
) -> list[Panel]:
    """Return class x layer, row by row; each layer has its own scale, shared by its classes."""
    if knows_no_class(answer.method):
        return [_class_free(film, answer, layer, layer_name(layer)) for layer in layers]
    note = _scale_note(scale, "scale of this layer")
    return [
        _class_panel(film, answer, name, layer, scale, layer_name(layer), note)
        for name in answer.classes
        for layer in layers
    ]


def method_panels(
    film: Film, answers: Mapping[str, Explanation], layer: str, scale: Scale
) -> list[Panel]:
    """Return class x method, row by row, then what knows no class, once.

    Methods measure differently, so each has its own scale, shared by its classes.
    """
    with_class = [answer for method, answer in answers.items() if not knows_no_class(method)]
    class_free = [answer for method, answer in answers.items() if knows_no_class(method)]
    note = _scale_note(scale, "scale of this method")
    matrix = [
        _class_panel(film, answer, name, layer, scale, METHODS[answer.method].label, note)
        for name in with_class[0].classes
        for answer in with_class
    ]
    return matrix + [
        _class_free(film, answer, layer, METHODS[answer.method].label) for answer in class_free
    ]


def contrast_panels(
    film: Film, plain: Explanation, both: tuple[Explanation, Explanation], layer: str
) -> list[Panel]:
    """Return why c rather than r, why r rather than c, and each class alone.

    The two contrasts share one scale, and so do the two classes: a contrast is often far weaker
    than the evidence that its classes have in common.
    """
    names = [answer.classes[0] for answer in both]
    top = max(answer.peak(name, layer) for answer, name in zip(both, names, strict=True))
    alone = max(plain.peak(name, layer) for name in names)
    contrasts = [
        _panel(
            film,
            answer,
            name,
            layer,
            top,
            f"Why {class_label(name)}",
            f"rather than {class_label(other)}",
            "one scale for both contrasts",
        )
        for answer, name, other in zip(both, names, reversed(names), strict=True)
    ]
    return contrasts + [
        _panel(
            film,
            plain,
            name,
            layer,
            alone,
            class_label(name),
            f"alone · {_share(plain, name)}",
            "one scale for both classes",
        )
        for name in names
    ]


def film_panels(
    films: Sequence[Film], answers: Sequence[Explanation], class_name: str, layer: str
) -> list[Panel]:
    """Return one panel per radiograph: the same class and layer on one scale."""
    top = max(answer.peak(class_name, layer) for answer in answers)
    note = "one scale for both radiographs" if len(films) > 1 else OWN_SCALE
    return [
        _panel(
            film,
            answer,
            class_name,
            layer,
            top,
            film.name,
            CLASS_FREE
            if knows_no_class(answer.method)
            else f"{class_label(class_name)} {_share(answer, class_name)}",
            note,
        )
        for film, answer in zip(films, answers, strict=True)
    ]


def _panel(
    film: Film,
    answer: Explanation,
    class_name: str,
    layer: str,
    top: float,
    title: str,
    subtitle: str,
    scale_note: str,
) -> Panel:
    """Return a panel; a map of zeros has no scale, so that it says so instead."""
    return Panel(
        film=film.radiograph,
        title=title,
        subtitle=subtitle,
        explanation=answer,
        class_name=class_name,
        layer=layer,
        top=top if answer.peak(class_name, layer) > 0 else 0.0,
        scale_note=scale_note,
        lesion=film.lesion,
    )


def _class_panel(
    film: Film,
    answer: Explanation,
    class_name: str,
    layer: str,
    scale: Scale,
    subtitle: str,
    scale_note: str,
) -> Panel:
    """Return a panel under the name of its class, on the scale asked for."""
    top = answer.peak(class_name, layer, scale)
    title = class_label(class_name)
    return _panel(film, answer, class_name, layer, top, title, subtitle, scale_note)


def _class_free(film: Film, answer: Explanation, layer: str, title: str) -> Panel:
    """Return the one panel of a method that knows no class."""
    name = answer.classes[0]
    top = answer.peak(name, layer)
    return _panel(film, answer, name, layer, top, title, CLASS_FREE, OWN_SCALE)


def _scale_note(scale: Scale, shared: str) -> str:
    return shared if scale == "shared" else OWN_SCALE


def _share(answer: Explanation, class_name: str) -> str:
    return percent(answer.probabilities[class_name])
