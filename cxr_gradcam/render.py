"""From heatmap to picture: the overlay and the comparison figure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from cxr_gradcam.cam import METHODS
from cxr_gradcam.explanation import Explanation, Scale
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.reading import printable
from cxr_gradcam.words import class_label, knows_no_class, per_cell, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DISCLAIMER = "Research use only, not for clinical use."
NO_EVIDENCE = "no positive evidence"
_PANEL_INCHES = 2.9
_LETTERS_PER_INCH = 15  # of a caption at 9 points, wide ones
ONSET = 0.1  # heat above the threshold over which the paint fades in, so that it has no hard rim
_OPENCV_COLORMAPS = {
    "turbo": cv2.COLORMAP_TURBO,
    "jet": cv2.COLORMAP_JET,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "inferno": cv2.COLORMAP_INFERNO,
}
COLORMAPS = (*_OPENCV_COLORMAPS, "gray")


@cache
def colormap_table(colormap: str) -> np.ndarray:
    """Return a colour map as uint8 (256, 3) RGB, from the lowest heat to the highest.

    Raises:
        ValueError: when it is not one of `COLORMAPS`.
    """
    if colormap not in COLORMAPS:
        raise ValueError(
            f"There is no colormap {colormap!r} here: choose one of {', '.join(COLORMAPS)}."
        )
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    if colormap == "gray":
        table = np.repeat(ramp, 3, axis=1)
    else:
        coloured = cv2.applyColorMap(ramp, _OPENCV_COLORMAPS[colormap])  # (256, 1, 3) BGR
        table = np.asarray(coloured[:, 0, ::-1], np.uint8).copy()
    table.flags.writeable = False
    return table


def unpainted(threshold: float) -> np.ndarray:
    """Return which of a colour map's colours no overlay shows: bool (256,), those of lower heat."""
    return np.arange(256) < threshold * 256


def to_grey(radiograph: Radiograph) -> np.ndarray:
    """Return the radiograph as uint8 (H, W)."""
    return np.rint(radiograph.pixels * 255).astype(np.uint8)


def shrunk(radiograph: Radiograph, longest: int) -> Radiograph:
    """Return a radiograph with at most `longest` pixels on its longer side; itself if it has."""
    share = longest / max(radiograph.height, radiograph.width)
    if share >= 1:
        return radiograph
    size = (max(1, round(radiograph.width * share)), max(1, round(radiograph.height * share)))
    pixels = cv2.resize(radiograph.pixels, size, interpolation=cv2.INTER_AREA)
    # Averages of values in [0, 1] can leave it by a rounding error.
    return Radiograph.from_array(np.clip(pixels, 0, 1), name=radiograph.name)


def overlay(
    radiograph: Radiograph,
    heatmap: np.ndarray,
    colormap: str = "turbo",
    opacity: float = 0.45,
    threshold: float = 0.0,
) -> np.ndarray:
    """Paint a heatmap over a radiograph.

    Each pixel is mixed as (1 - a) radiograph + a colour(heat), where a is `opacity`, fading in
    over the first `ONSET` of heat above `threshold`. The mixture is never rescaled: opacity 0, or
    a heatmap of zeros, gives the radiograph back exactly.

    Args:
        radiograph: the picture, (H, W).
        heatmap: float32 (H, W) in [0, 1].
        colormap: one of `COLORMAPS`.
        opacity: from 0 (radiograph only) to 1 (colour only).
        threshold: heat from 0 to 1 up to which nothing is painted.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        ValueError: for another shape, heat outside [0, 1], an opacity or threshold outside, or an
            unknown colormap.
    """
    if heatmap.shape != radiograph.pixels.shape:
        raise ValueError(
            f"The heatmap has the shape {heatmap.shape}, the radiograph {radiograph.pixels.shape}: "
            "they must be the same."
        )
    for name, value in (("opacity", opacity), ("threshold", threshold)):
        if not 0 <= value <= 1:
            raise ValueError(f"The {name} must be from 0 to 1, not {value}.")
    if not (heatmap.min() >= 0 and heatmap.max() <= 1):
        raise ValueError("The heatmap must lie in [0, 1]: take it from Explanation.heatmap.")
    grey = cv2.cvtColor(to_grey(radiograph), cv2.COLOR_GRAY2RGB)
    level = cv2.cvtColor(cv2.convertScaleAbs(heatmap, alpha=255), cv2.COLOR_GRAY2RGB)
    colour = cv2.LUT(level, colormap_table(colormap)[None])
    paint = (np.clip((heatmap - threshold) / ONSET, 0, 1) * opacity).astype(np.float32)
    # cv2.blendLinear mixes (grey * w1 + colour * w2) / (w1 + w2) in one pass; the weights add to 1.
    mixed = cv2.blendLinear(grey, colour, 1 - paint, paint)
    # Where nothing is painted the grey stays as it is, free of the mixture's rounding.
    return np.asarray(cv2.copyTo(grey, (paint <= 0).view(np.uint8), mixed), np.uint8)


def plot_text(text: str, longest: int | None = None) -> str:
    """Return text that matplotlib draws letter by letter, its middle left out where it is long.

    It would take what stands between two $ for mathematics, and complain of what it cannot draw.
    """
    if longest is not None and len(text) > longest:
        half = longest // 2 - 1
        text = f"{text[:half]}…{text[-half:]}"
    return printable(text).replace("$", r"\$")


def comparison_figure(
    radiograph: Radiograph,
    explanation: Explanation,
    layer: str | None = None,
    *,
    scale: Scale = "shared",
    colormap: str = "turbo",
    opacity: float = 0.45,
    threshold: float = 0.0,
) -> Figure:
    """Draw the radiograph beside the overlays of every explained class, with a colour bar.

    A method that knows no class gives one overlay. A picture of extreme proportions is drawn small.

    Args:
        radiograph: the picture that was explained.
        explanation: what to show.
        layer: one of its layers; the first by default.
        scale: "shared" draws one colour bar for all classes, "each" one per class.
        colormap, opacity, threshold: as in `overlay`.

    Returns:
        A matplotlib figure that belongs to no window: save it with `figure.savefig`.

    Raises:
        ValueError: for a layer that was not explained, another scale, and as `overlay`.
    """
    from matplotlib.figure import Figure

    layer = explanation.layers[0] if layer is None else layer
    names = explanation.classes[: 1 if knows_no_class(explanation.method) else None]
    shared, aspect = scale == "shared", min(max(radiograph.height / radiograph.width, 1 / 3), 3)
    width = _PANEL_INCHES * (1 + len(names)) + (0.8 if shared else 0)
    height = _PANEL_INCHES * aspect + (0.65 if shared else 1.3)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(1, 1 + len(names), squeeze=False)[0])
    axes[0].imshow(radiograph.pixels, cmap="gray", vmin=0, vmax=1)
    axes[0].set_title("radiograph", fontsize=11)
    for axis, name in zip(axes[1:], names, strict=True):
        heatmap = explanation.heatmap(name, layer, scale)
        axis.imshow(overlay(radiograph, heatmap, colormap, opacity, threshold))
        _name_overlay(axis, explanation, name, layer)
    shades = colormap_table(colormap) / 255.0
    shades[unpainted(threshold)] = 1
    unit = per_cell(explanation)
    if shared:
        _draw_bar(figure, axes, explanation.peak(names[0], layer, "shared"), shades, unit)
    else:
        tops = [0.0, *(explanation.peak(name, layer) for name in names)]
        for axis, top in zip(axes, tops, strict=True):
            _draw_bar(figure, [axis], top, shades, unit)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    caption = _caption(explanation, layer, shared)
    fits = len(caption) + len(DISCLAIMER) < _LETTERS_PER_INCH * width
    figure.suptitle(f"{caption}{' ' if fits else chr(10)}{DISCLAIMER}", fontsize=9, color="0.35")
    return figure


def _name_overlay(axis: Axes, explanation: Explanation, class_name: str, layer: str) -> None:
    """Write over an overlay whose it is, and below it where there is none to see."""
    share = percent(explanation.probabilities[class_name])
    title = f"{plot_text(class_label(class_name), 22)}  {share}"
    weight = "bold" if class_name == explanation.predicted else "normal"
    if knows_no_class(explanation.method):
        title, weight = METHODS[explanation.method].label, "normal"
    axis.set_title(title, fontsize=11, fontweight=weight)
    if explanation.peak(class_name, layer) <= 0:
        axis.set_xlabel(NO_EVIDENCE, fontsize=9)


def _draw_bar(figure: Figure, axes: list[Axes], top: float, shades: np.ndarray, unit: str) -> None:
    """Draw what the colours are worth: beside several panels that share it, or below one.

    A panel without heat keeps the room of its bar, so that all pictures stay in line.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    below = len(axes) == 1
    if top <= 0 and not below:
        return
    place: dict[str, Any] = {"orientation": "horizontal", "shrink": 0.8} if below else {}
    mappable = ScalarMappable(Normalize(0, top or 1.0), ListedColormap(shades))
    bar = figure.colorbar(mappable, ax=axes, label=unit, **place or {"shrink": 0.85, "pad": 0.01})
    bar.ax.set_visible(top > 0)


def _caption(explanation: Explanation, layer: str, shared: bool) -> str:
    """Say what is drawn and what its colours may be compared with."""
    rest = plot_text(class_label(explanation.contrast), 22) if explanation.contrast else ""
    against = f" rather than {rest}" if rest else ""
    how = "one scale for all classes" if shared else "a scale per class"
    if knows_no_class(explanation.method):
        how = "by a method that knows no class"
    return f"{METHODS[explanation.method].label}{against} at {layer}, {how}."
