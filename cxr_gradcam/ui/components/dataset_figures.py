"""How good the classifier is on this folder: scores, confusion matrix, reliability."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

import streamlit as st

from cxr_gradcam.survey.results import Results
from cxr_gradcam.ui.components.dataset_confusion import confusion, films
from cxr_gradcam.ui.components.dataset_state import Open, nothing_yet
from cxr_gradcam.ui.components.dataset_style import Theme, theme
from cxr_gradcam.ui.components.picture import note, section
from cxr_gradcam.words import class_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOOTSTRAP = 200  # sets drawn for an interval, once all films are there
_SCORES = {"precision": "Precision", "recall": "Recall", "f1": "F1", "auroc": "AUROC"}
_DPI = 160


def figures(opened: Open) -> None:
    """Draw all of it from what is known now."""
    survey = opened.survey
    status = survey.status
    partial = status.running or status.done < status.total
    results = survey.results()
    # Intervals take seconds on a large folder, too long for figures that change all the time.
    metrics = survey.metrics(0 if status.running else BOOTSTRAP)
    if metrics is None:
        st.info(nothing_yet(opened, "figures"))
        return
    _headline(metrics, partial)
    _foreign(results)
    with st.container(key="dataset_figures", horizontal=True, gap="large"):
        with st.container(key="dataset_confusion_part", gap="xsmall"):
            section("Confusion matrix", "")
            confusion(metrics["confusion_matrix"], results.class_names)
        with st.container(key="dataset_classes_part", gap="xsmall"):
            section("Per class", "")
            st.html(_table(metrics["classes"], intervals=not status.running))
            if not status.running:
                note(f"Small: {metrics['intervals']}.")
    section("Reliability", "how sure it was, against how often it was right")
    if status.running:
        note("It is drawn when the evaluation ends or is stopped.")
    else:
        _reliability(metrics["calibration"])


def _headline(metrics: Mapping[str, Any], partial: bool) -> None:
    ece = metrics["calibration"]["after"]["ece"]
    right = sum(row[k] for k, row in enumerate(metrics["confusion_matrix"]))
    entries = (
        ("Accuracy", _percent(metrics["accuracy"]), f"{right:,} of {films(metrics['n'])} right"),
        ("Balanced accuracy", _percent(metrics["balanced_accuracy"]), "mean recall of the classes"),
        ("Calibration error", f"{ece:.3f}", "ECE: 0 where 80% sure means right 8 times in 10"),
    )
    boxes = "".join(
        f'<div><p class="cxr-label">{name}</p><p class="cxr-value">{value}</p>'
        f'<p class="cxr-note">{escape(words)}</p></div>'
        for name, value, words in entries
    )
    sofar = "These are the films evaluated so far. " if partial else ""
    st.html(
        f'<div class="cxr-numbers">{boxes}</div><p class="cxr-note">{sofar}Films that the model '
        "learned from flatter these figures: a fair test has none of them.</p>"
    )


def _foreign(results: Results) -> None:
    """Say which classes of the folder the model does not know."""
    foreign = [label for label in results.folder.labels if label not in results.class_names]
    if foreign:
        named = ", ".join(class_label(label) for label in foreign)
        note(f"The model has no class {named}: these films are called, but counted nowhere here.")


def _table(classes: Mapping[str, Mapping[str, Any]], *, intervals: bool) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Films", *_SCORES.values()))
    rows = "".join(
        f'<tr><th scope="row">{escape(class_label(name))}</th><td>{entry["n"]:,}</td>'
        + "".join(f"<td>{_score(entry[score], intervals)}</td>" for score in _SCORES)
        + "</tr>"
        for name, entry in classes.items()
    )
    return (
        '<div class="cxr-scroll" tabindex="0" role="region" aria-label="Scores per class">'
        f'<table class="cxr-scores"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _score(entry: Mapping[str, float | None], interval: bool) -> str:
    value, low, high = entry["value"], entry["low"], entry["high"]
    if value is None:
        return "–"
    if not interval or low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f}<small>{low:.3f} – {high:.3f}</small>"


def _percent(entry: Mapping[str, float | None]) -> str:
    return f"{entry['value']:.1%}" if entry["value"] is not None else "–"


# --- reliability


def _reliability(calibration: Mapping[str, Any]) -> None:
    data = _reliability_png(calibration, theme())
    before, after = (calibration[key]["ece"] for key in ("before", "after"))
    alt = (
        "Reliability diagram: accuracy against confidence in 15 bins. Expected calibration error "
        f"{before:.3f} before temperature scaling, {after:.3f} after."
    )
    # On a phone it is wider than the screen, and is moved sideways: by keyboard, too.
    st.html(
        '<div class="cxr-scroll" tabindex="0" role="region" aria-label="Reliability diagram">'
        f'<img class="cxr-reliability" alt="{alt}" '
        f'src="data:image/png;base64,{base64.b64encode(data).decode()}"></div>'
    )


@st.cache_data(max_entries=16, show_spinner=False)
def _reliability_png(calibration: Mapping[str, Any], colours: Theme) -> bytes:
    from cxr_gradcam.training.report import reliability_figure  # matplotlib comes slowly

    figure = reliability_figure(calibration)
    recolour(figure, colours)
    data = BytesIO()
    figure.savefig(data, format="png", dpi=_DPI, facecolor=colours.paper)
    return data.getvalue()


def recolour(figure: Figure, colours: Theme) -> None:
    """Give a figure that was drawn for white paper the colours of the page."""
    from matplotlib.text import Text

    figure.set_facecolor(colours.paper)
    for text in figure.findobj(Text):
        text.set_color(colours.ink)
    for axes in figure.axes:
        axes.set_facecolor(colours.paper)
        axes.tick_params(colors=colours.ink)
        for spine in axes.spines.values():
            spine.set_color(colours.muted)
        for line in (*axes.get_xgridlines(), *axes.get_ygridlines()):
            line.set_color(colours.line)
        for bar in axes.patches:
            bar.set_edgecolor(colours.paper)
