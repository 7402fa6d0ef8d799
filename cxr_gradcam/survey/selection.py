"""Which films to look at, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cxr_gradcam.survey.results import Bools, Ints, Results

Verdict = Literal["any", "right", "wrong"]
Known = Literal["any", "familiar", "strange"]
Order = Literal["name", "least sure", "most sure", "least familiar"]


@dataclass(frozen=True)
class Selection:
    """What a film must be to be shown. Films that wait for their evaluation meet only `label`.

    Attributes:
        label: the class whose folder it lies in; None for any.
        called: the class it was called; None for any.
        verdict: whether that is right.
        confidence: from and to, both included, of the probability of the class called.
        known: whether it looks familiar to the classifier.
        order: films that wait come last in any order but "name".
    """

    label: str | None = None
    called: str | None = None
    verdict: Verdict = "any"
    confidence: tuple[float, float] = (0.0, 1.0)
    known: Known = "any"
    order: Order = "name"


def select(results: Results, selection: Selection) -> Ints:
    """Return the places of the films to show in `results.folder.films`, in order."""
    places = np.flatnonzero(_matches(results, selection))
    if selection.order == "name":
        return places
    values = {
        "least sure": results.confidence,
        "most sure": -results.confidence,
        "least familiar": results.familiarity,
    }[selection.order]
    # NaN, for films that wait, sorts last.
    return places[np.argsort(values[places], kind="stable")]


def _matches(results: Results, selection: Selection) -> Bools:
    kept = np.ones(len(results.folder.films), bool)
    if selection.label is not None:
        kept &= np.array([film.label == selection.label for film in results.folder.films], bool)
    if selection.called is not None:
        kept &= results.called == results.class_names.index(selection.called)
    if selection.verdict != "any":
        kept &= results.right if selection.verdict == "right" else results.scored & ~results.right
    low, high = selection.confidence
    if (low, high) != (0, 1):
        kept &= (results.confidence >= low) & (results.confidence <= high)
    if selection.known != "any":
        kept &= results.familiar == (1 if selection.known == "familiar" else 0)
    return kept
