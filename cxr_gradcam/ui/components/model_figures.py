"""How good the model is, as its checkpoint says. The header is free-form JSON: nothing is trusted.

What `training.scores.evaluate_logits` writes is shown; of anything else, what has the same
names and makes sense. The rest is left out, and a checkpoint that says nothing gets a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import streamlit as st

from cxr_gradcam.ui.components.picture import note, section, tiles
from cxr_gradcam.ui.components.table import table
from cxr_gradcam.words import class_label

# Where figures may come from, the most telling first.
_PARTS = {
    "test": "on test films, which its last training run did not learn from",
    "validation": "on validation films, which chose among its epochs",
}
_SCORES = {"precision": "Precision", "recall": "Recall", "f1": "F1", "auroc": "AUROC"}
_OVERALL = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Mean F1 of the classes",
}
_TO = "\u2060–\u2060"  # a dash at which no line breaks
NO_FIGURES = (
    "This checkpoint does not say how good it is. Measure it on a folder of labelled X-rays: "
    "the page “Dataset”, or python -m cxr_gradcam evaluate."
)


def figures(metrics: Mapping[str, Any], class_names: Sequence[str]) -> None:
    """Draw accuracy, the scores of each class, the confusion matrix and the calibration."""
    where, part = _best_part(metrics)
    section("How good it is", where)
    overall = [
        (words, score(part[key]), "") for key, words in _OVERALL.items() if score(part.get(key))
    ]
    if not overall:
        note(NO_FIGURES)
        return
    count = part.get("n")
    if isinstance(count, int):
        overall.insert(0, ("Films", f"{count:,}", ""))
    tiles([*overall, *_calibration(part)])
    with st.container(key="model_tables", horizontal=True, gap="medium"):
        with st.container():
            _class_table(part, class_names)
        with st.container():
            _confusion(part, class_names)
    if isinstance(part.get("intervals"), str):
        note(f"In brackets: {part['intervals']}. They tell how much the choice of films matters.")


def calibration_error(metrics: Mapping[str, Any]) -> float | None:
    """Return the expected calibration error of the probabilities as shown, in [0, 1], if known."""
    calibration = _mapping(_best_part(metrics)[1].get("calibration"))
    return _share(_mapping(calibration.get("after")).get("ece"))


def score(value: object) -> str:
    """Return a share as a percentage, with its interval where it has one; empty if it is none."""
    if not isinstance(value, Mapping):
        share = _share(value)
        return "" if share is None else f"{share:.1%}"
    middle, low, high = (_share(value.get(key)) for key in ("value", "low", "high"))
    if middle is None:
        return ""
    if low is None or high is None:
        return f"{middle:.1%}"
    return f"{middle:.1%} ({100 * low:.1f}{_TO}{100 * high:.1f})"


def _best_part(metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return where the best figures come from, in words, and the figures."""
    for name, words in _PARTS.items():
        if _mapping(metrics.get(name)):
            return words, _mapping(metrics[name])
    return ("", metrics) if "accuracy" in metrics else ("", {})


def _calibration(part: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    calibration = _mapping(part.get("calibration"))
    before, after = (
        _share(_mapping(calibration.get(key)).get("ece")) for key in ("before", "after")
    )
    if after is None:
        return []
    aside = "" if before is None else f"{before:.1%} before temperature scaling"
    return [("Calibration error (ECE)", f"{after:.1%}", aside)]


def _class_table(part: Mapping[str, Any], class_names: Sequence[str]) -> None:
    classes = _mapping(part.get("classes"))
    rows = []
    for name in class_names:
        own = _mapping(classes.get(name))
        if own:
            count = f"{own['n']:,}" if isinstance(own.get("n"), int) else "–"
            rows.append(
                [class_label(name), count, *(score(own.get(key)) or "–" for key in _SCORES)]
            )
    if rows:
        table("Scores of each class", ["Class", "Films", *_SCORES.values()], rows)


def _confusion(part: Mapping[str, Any], class_names: Sequence[str]) -> None:
    matrix = _matrix(part.get("confusion_matrix"), len(class_names))
    if not matrix:
        return
    names = [class_label(name) for name in class_names]
    rows = [
        [name, *(f"{count:,}" for count in row)] for name, row in zip(names, matrix, strict=True)
    ]
    shades = [[0.0, *(count / max(1, sum(row)) for count in row)] for row in matrix]
    caption = "Confusion matrix: a row per true, a column per predicted class"
    table(caption, ["True class", *names], rows, shades)


def _matrix(value: object, side: int) -> list[list[int]]:
    """Return a square matrix of counts; an empty one where there is none."""
    is_one = (
        isinstance(value, list)
        and len(value) == side
        and all(isinstance(row, list) and len(row) == side for row in value)
        and all(type(count) is int and count >= 0 for row in value for count in row)
    )
    return cast("list[list[int]]", value) if is_one else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _share(value: object) -> float | None:
    if type(value) not in (int, float):
        return None
    # Compared before it is converted: an integer may be too large for a float.
    return float(value) if 0 <= value <= 1 else None  # type: ignore[arg-type,operator]
