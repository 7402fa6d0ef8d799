"""Numbers, names and verdicts in words, the same on the page and in what leaves it."""

from __future__ import annotations

import numpy as np

from cxr_gradcam.cam import METHODS
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.reading import printable


def class_label(name: str) -> str:
    """Return a class name as one reads it: `Lung_Opacity` is shown as `Lung Opacity`."""
    return printable(name).replace("_", " ")


def layer_name(layer: str) -> str:
    """Return the last part of a layer's path: `norm5` for `features.norm5`."""
    return layer.rpartition(".")[2]


def number(value: float) -> str:
    """Return a number with three significant digits, without an exponent where it reads well."""
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e4:
        text = np.format_float_positional(value, 3, fractional=False, trim="-")
    else:
        text = np.format_float_scientific(value, 2, unique=False, exp_digits=1)
    return text.replace("-", "−")


def signed(value: float) -> str:
    """Return a number with two decimals and its sign, the minus as wide as the plus; 0 has none."""
    rounded = round(value, 2)
    return f"{rounded:+.2f}".replace("-", "−") if rounded else "0.00"


def percent(share: float) -> str:
    """Return a probability with one decimal; one that is rounded to nothing is not called 0."""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def per_cell(explanation: Explanation) -> str:
    """Return the unit of the map's numbers in words."""
    return f"{explanation.unit} per cell"


def map_title(class_name: str, method: str, layer: str) -> str:
    """Return whose map it is: the class, unless the method knows none, the method and the layer."""
    whose = "" if knows_no_class(method) else f"{class_label(class_name)} · "
    return f"{whose}{METHODS[method].label} · {layer_name(layer)}"


def knows_no_class(method: str) -> bool:
    """Tell whether a method gives every class the same map."""
    return METHODS[method].needs == "activation"


def calibration_words(temperature: float, class_count: int, error: float | None = None) -> str:
    """Say what the probabilities are worth.

    Args:
        temperature: what the logits are divided by; 1 where the checkpoint is not calibrated.
        class_count: how many classes share the probability.
        error: expected calibration error in [0, 1], where it was measured.
    """
    calibrated = "not calibrated" if temperature == 1 else "calibrated"
    if temperature != 1 and error is not None:
        calibrated += f" (off by {100 * error:.1f} points on average where it was tested)"
    return (
        f"Probabilities of a research model, {calibrated}: it always answers with one of its "
        f"{class_count} classes, whatever the picture shows."
    )


def familiarity_words(explanation: Explanation) -> str:
    """Say in words whether the picture looks like those the model learned from."""
    share = explanation.familiarity
    if share is None:
        return "This checkpoint cannot tell whether the picture looks like those it learned from."
    told = f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else "hardly any"
    if explanation.familiar:
        return (
            "This looks like the chest X-rays that the model learned from: of those it was "
            f"checked on, {told} look as strange or stranger."
        )
    return (
        "This does not look like the chest X-rays that the model learned from: of those it was "
        f"checked on, {told if told == 'hardly any' else f'only {told}'} look as strange. It names "
        "a class all the same; put no trust in the probabilities or in the maps. Is it a frontal "
        "chest X-ray, upright, with the air dark and the bones bright?"
    )
