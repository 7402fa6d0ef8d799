"""What the model is: its numbers, its layers, where its weights come from, its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from cxr_gradcam.checkpoint import BUNDLED_CHECKPOINT
from cxr_gradcam.classifier import Classifier
from cxr_gradcam.densenet import MAIN_LAYERS
from cxr_gradcam.ui.components.picture import note, section
from cxr_gradcam.ui.components.table import table
from cxr_gradcam.ui.text import layer_cells, layer_words
from cxr_gradcam.words import class_label, layer_name

MODEL_CARD = BUNDLED_CHECKPOINT.with_name("MODEL_CARD.md")
_LONGEST = 300  # characters of a value; a header may hold anything
_SILENT = "This checkpoint does not say where its weights come from."


def facts(classifier: Classifier) -> None:
    """Draw what one must know to read the model's answers."""
    side = classifier.input_size
    section("What it is", "")
    _pairs(
        {
            "Network": "DenseNet-121, torchvision’s weights format",
            "Classes": ", ".join(map(class_label, classifier.class_names)),
            "Model input": f"{side} × {side} px, the whole radiograph letterboxed: its aspect is "
            "kept and the rest padded",
            "Probabilities": calibration_words(classifier),
            "Strange pictures": familiarity_words(classifier),
            "Checkpoint": f"SHA-256 {classifier.digest}",
        }
    )


def calibration_words(classifier: Classifier) -> str:
    """Say what the temperature of the probabilities is and does."""
    temperature = classifier.temperature
    if temperature == 1:
        return "not calibrated (temperature 1): how sure it sounds was never held against films"
    change = "less" if temperature > 1 else "more"
    return (
        f"calibrated on validation films: temperature {temperature:.2f}, so it sounds {change} "
        "sure than the network’s raw scores"
    )


def familiarity_words(classifier: Classifier) -> str:
    """Say whether the model can tell pictures that are unlike its training films."""
    known = classifier.familiarity
    if known is None:
        return "it cannot tell them: it was given no statistics of its training films"
    return (
        "it warns of a picture that looks stranger than "
        f"{1 - known.threshold:.0%} of the validation films"
    )


def layers(classifier: Classifier) -> None:
    """Draw the layers that the page offers, with their grids."""
    section("Layers", "from fine detail to the decision")
    rows = []
    for layer in MAIN_LAYERS:
        cells = layer_cells(layer, classifier.input_size)
        share = f"{classifier.input_size // cells}\u00a0px"
        rows.append([layer_name(layer), f"{cells}\u00a0×\u00a0{cells}", share, layer_words(layer)])
    table(
        "Layers that can be explained",
        ["Layer", "Cells", "One cell covers, of the model input", "In words"],
        rows,
    )


def provenance(training: Mapping[str, Any]) -> None:
    """Draw what the checkpoint says of its own training; free-form, so each value as it is."""
    section("Where it comes from", "as the checkpoint says")
    simple = {key: value for key, value in training.items() if not isinstance(value, Mapping)}
    if not training:
        note(_SILENT)
    if simple:
        _pairs({_heading(key): value for key, value in simple.items()})
    for key, value in training.items():
        if isinstance(value, Mapping):
            with st.expander(_heading(key)):
                _pairs(_flat(value))


def card(path: Path) -> None:
    """Draw the bundled model's card; nothing for another checkpoint, or where there is none.

    Args:
        path: of the checkpoint.
    """
    if path == BUNDLED_CHECKPOINT and MODEL_CARD.is_file():
        _, _, below_its_title = MODEL_CARD.read_text(encoding="utf-8").partition("\n")
        with (
            st.container(key="model_card"),
            st.expander("Model card", icon=":material/description:"),
        ):
            st.markdown(below_its_title)


def _pairs(values: Mapping[str, Any]) -> None:
    pairs = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(_value(value))}</dd>" for name, value in values.items()
    )
    st.html(f'<dl class="cxr-pairs">{pairs}</dl>')


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested values side by side, their names joined: `{"a": {"b": 1}}` gives `a, b: 1`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{before}{_words(key)}"
        flat |= _flat(value, f"{name}, ") if isinstance(value, Mapping) else {name: value}
    return flat


def _words(key: str) -> str:
    return key.replace("_", " ")


def _heading(key: str) -> str:
    return _words(key).capitalize()


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = ", ".join(map(_value, value))
    text = "–" if value is None or value == "" else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
