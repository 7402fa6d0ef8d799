"""What the classifier says: the predicted class and the probability of every class."""

from __future__ import annotations

from html import escape

import streamlit as st

from cxr_gradcam.classifier import Classifier
from cxr_gradcam.explainer import Explanation
from cxr_gradcam.render import DISCLAIMER
from cxr_gradcam.ui.components.model_figures import calibration_error
from cxr_gradcam.words import class_label


def verdict(explanation: Explanation, classifier: Classifier) -> None:
    """Draw the predicted class and a bar for each class, in the checkpoint's order.

    Above it stands a warning where the picture does not look like a film the model knows.
    """
    if explanation.familiar is False:
        st.warning(strangeness(explanation.familiarity or 0), icon=":material/warning:")
    predicted = explanation.predicted
    rows = "".join(
        _row(name, share, name == predicted) for name, share in explanation.probabilities.items()
    )
    st.html(
        '<section class="cxr-verdict" aria-label="What the classifier says">'
        '<div class="cxr-said"><p class="cxr-label">Predicted class</p>'
        f'<p class="cxr-predicted">{escape(class_label(predicted))} '
        f"<span>{explanation.probabilities[predicted]:.1%}</span></p></div>"
        f'<div class="cxr-rows">{rows}</div></section>'
        f'<p class="cxr-note"><b>{escape(DISCLAIMER)}</b> '
        f"Probabilities of a research model, {calibration_note(classifier)}: it always answers "
        f"with one of its {len(explanation.probabilities)} classes, whatever the picture shows.</p>"
    )


def calibration_note(classifier: Classifier) -> str:
    """Say in a few words what the probabilities are worth; plain text."""
    if classifier.temperature == 1:
        return "not calibrated"
    error = calibration_error(classifier.metrics)
    if error is None:
        return "calibrated"
    return f"calibrated (off by {100 * error:.1f} points on average where it was tested)"


def strangeness(familiarity: float) -> str:
    """Return what to say of a picture that is not familiar."""
    few = f"only {familiarity:.1%}" if familiarity >= 0.001 else "hardly any"
    return (
        "**This does not look like the chest X-rays that the model learned from**: of those it was "
        f"checked on, {few} looked as strange. It names a class all the same, and the map shows "
        "why; put no trust in either. Is it a frontal chest X-ray, upright, with the air dark and "
        "the bones bright?"
    )


def _row(name: str, share: float, predicted: bool) -> str:
    return (
        f'<div class="cxr-row{" cxr-first" if predicted else ""}">'
        f"<span>{escape(class_label(name))}</span><span>{share:.1%}</span>"
        f'<div class="cxr-track"><div style="width: {share:.2%}"></div></div></div>'
    )
