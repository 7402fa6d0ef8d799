"""What a contrast adds up to: the difference of two scores, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import streamlit as st

from cxr_gradcam.densenet import LAST_LAYER
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.words import class_label, layer_name, number, signed


@dataclass(frozen=True)
class Balance:
    """The difference y_c - y_r, split over what gave it, all in logits.

    Attributes:
        gain: what the last layer's cells that speak for c rather than r add.
        loss: what the cells that speak for r rather than c take away; negative or 0.
        bias: the difference of the two biases, which no place in the picture gave.
    """

    gain: float
    loss: float
    bias: float

    @property
    def total(self) -> float:
        """y_c - y_r."""
        return self.gain + self.loss + self.bias


def balance(answer: Explanation, c: str, r: str) -> Balance:
    """Return where the difference of the scores of c and r comes from."""
    cells = answer.evidence(c).astype(np.float64) - answer.evidence(r)
    return Balance(
        float(cells.clip(min=0).sum()),
        float(cells.clip(max=0).sum()),
        answer.biases[c] - answer.biases[r],
    )


def balance_table(answer: Explanation, c: str, r: str) -> None:
    """Draw the sum, and what the difference means for the two probabilities."""
    parts = balance(answer, c, r)
    c_label, r_label = class_label(c), class_label(r)
    rows = (
        (f"Cells that speak for {c_label} rather than {r_label}", parts.gain, ""),
        (f"Cells that speak for {r_label} rather than {c_label}", parts.loss, ""),
        ("Difference of the two biases, from no place in the picture", parts.bias, ""),
        (f"Score of {c_label} minus score of {r_label}", parts.total, ' class="cxr-sum"'),
    )
    body = "".join(
        f'<tr{kind}><th scope="row">{escape(words)}</th><td>{signed(value)}</td></tr>'
        for words, value, kind in rows
    )
    st.html(
        f'<div class="cxr-balance"><table><caption>{escape(_said(answer, c, r))}</caption>'
        f"<tbody>{body}</tbody></table></div>"
        f'<p class="cxr-note">In logits, over the cells of {layer_name(LAST_LAYER)}, the last '
        "layer, whichever layer and method the maps above are of. There the sum is exact, but for "
        "the rounding of the numbers shown.</p>"
    )


def _said(answer: Explanation, c: str, r: str) -> str:
    """Say the two scores and how much more probable one class is than the other."""
    scores = (
        f"Score {signed(answer.logits[c])} for {class_label(c)}, "
        f"{signed(answer.logits[r])} for {class_label(r)}"
    )
    more, less = (c, r) if answer.probabilities[c] >= answer.probabilities[r] else (r, c)
    if answer.probabilities[less] <= 0:
        return f"{scores}."
    times = answer.probabilities[more] / answer.probabilities[less]
    if times < 1.05:
        return f"{scores}: the model finds them equally probable."
    how_many = f"{number(times)} times" if times < 1000 else "more than 1,000 times"
    return (
        f"{scores}: the model finds {class_label(more)} {how_many} as probable as "
        f"{class_label(less)}."
    )
