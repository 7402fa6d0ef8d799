"""A table that says how far maps agree: the rank correlation of every two of them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import combinations

import numpy as np
import streamlit as st

MEANING = (
    "Spearman’s rank correlation of the heat in the cells: 1 puts the cells in the same order, "
    "0 is no relation, −1 the opposite order. It tells whether two maps point to the same places, "
    "not whether they are right (Adebayo 2018, arXiv 1810.03292)."
)


def agreement_table(labels: Sequence[str], correlation: np.ndarray, about: str) -> None:
    """Draw the matrix, with what stands out in it said in a sentence.

    Args:
        labels: what each row and column is; plain text.
        correlation: float64 (n, n) from `agreement.agreement`, NaN where undefined.
        about: what the maps have in common; plain text.
    """
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in labels)
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th>{"".join(map(_cell, row))}</tr>'
        for label, row in zip(labels, correlation, strict=True)
    )
    st.html(
        f'<p class="cxr-agreement-said">{escape(summary(labels, correlation))}</p>'
        f'<div class="cxr-agreement" tabindex="0" role="region" aria-label="{escape(about)}">'
        f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<p class="cxr-note">{escape(MEANING)}</p>'
    )


def summary(labels: Sequence[str], correlation: np.ndarray) -> str:
    """Say what the matrix comes to: the mean, the pair furthest apart, and what has no score."""
    undefined = [
        label for label, score in zip(labels, np.diag(correlation), strict=True) if np.isnan(score)
    ]
    pairs = [
        (float(correlation[i, j]), labels[i], labels[j])
        for i, j in combinations(range(len(labels)), 2)
        if not np.isnan(correlation[i, j])
    ]
    sentences = []
    if pairs:
        mean = sum(score for score, _, _ in pairs) / len(pairs)
        lowest, one, other = min(pairs)
        sentences.append(
            f"Mean over {len(pairs)} pairs: {_number(mean)}. "
            f"Furthest apart: {one} and {other}, {_number(lowest)}."
        )
    else:
        sentences.append("No two maps can be compared.")
    if undefined:
        sentences.append(
            f"No score for {', '.join(undefined)}: such a map is the same everywhere, as one "
            "without positive evidence is, and puts the cells in no order."
        )
    return " ".join(sentences)


def _cell(score: float) -> str:
    if np.isnan(score):
        return '<td><span title="undefined: the map is the same everywhere">n/a</span></td>'
    colour = "var(--cxr-accent)" if score >= 0 else "#c2571a"
    share = round(55 * abs(score))
    return (
        f'<td style="background: color-mix(in srgb, {colour} {share}%, transparent)">'
        f"{_number(score)}</td>"
    )


def _number(score: float) -> str:
    rounded = round(float(score), 2) + 0.0  # no minus before a zero
    return f"{rounded:.2f}".replace("-", "−")
