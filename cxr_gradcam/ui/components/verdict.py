"""What the classifier says: the predicted class and the probability of every class."""

from __future__ import annotations

from html import escape

import streamlit as st

from cxr_gradcam.classifier import Classifier
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.render import DISCLAIMER
from cxr_gradcam.ui.components.model_figures import calibration_error
from cxr_gradcam.ui.session import Shown
from cxr_gradcam.words import calibration_words, class_label, familiarity_words, percent


def verdict(explanation: Explanation, classifier: Classifier, shown: Shown) -> None:
    """Draw the predicted class and a bar for each class, in the checkpoint's order.

    Above it stands a warning where the picture does not look like a film the model knows, below it
    the class that the radiograph is of where that is another.
    """
    with st.container():  # one place, with a warning or without: what lies below stays mounted
        if explanation.familiar is False:
            st.warning(familiarity_words(explanation), icon=":material/warning:")
    predicted = explanation.predicted
    error = calibration_error(classifier.metrics)
    calibration = calibration_words(classifier.temperature, len(explanation.probabilities), error)
    rows = "".join(
        _row(name, share, name == predicted) for name, share in explanation.probabilities.items()
    )
    st.html(
        '<section class="cxr-verdict" aria-label="What the classifier says">'
        '<div class="cxr-said"><p class="cxr-label">Predicted class</p>'
        f'<p class="cxr-predicted">{escape(class_label(predicted))} '
        f"<span>{escape(percent(explanation.probabilities[predicted]))}</span></p>"
        f"{_otherwise(explanation, shown)}</div>"
        f'<div class="cxr-rows">{rows}</div></section>'
        f'<p class="cxr-note"><b>{escape(DISCLAIMER)}</b> {escape(calibration)}</p>'
    )


def _otherwise(explanation: Explanation, shown: Shown) -> str:
    """Say that the classifier is wrong, where it is known to be."""
    label = shown.label
    if label is None or label == explanation.predicted or label not in explanation.probabilities:
        return ""
    how = "drawn" if shown.origin == "phantom" else "filed"
    return f'<p class="cxr-label">but {how} as <b>{escape(class_label(label))}</b></p>'


def _row(name: str, share: float, predicted: bool) -> str:
    label = escape(class_label(name))
    return (
        f'<div class="cxr-row{" cxr-first" if predicted else ""}">'
        f'<span title="{label}">{label}</span><span>{escape(percent(share))}</span>'
        f'<div class="cxr-track"><div style="width: {share:.2%}"></div></div></div>'
    )
