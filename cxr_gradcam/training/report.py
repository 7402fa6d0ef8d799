"""What an evaluation leaves on disk: two tables and three pictures."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxr_gradcam.explainer import Explainer
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.files import write_whole
from cxr_gradcam.radiograph import Radiograph, RadiographError, load_radiograph
from cxr_gradcam.render import DISCLAIMER, NO_EVIDENCE, overlay, plot_text
from cxr_gradcam.tables import inert, summary_cells, summary_header
from cxr_gradcam.words import class_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

METRICS = "metrics.json"
PREDICTIONS = "predictions.csv"
CONFUSION_MATRIX = "confusion_matrix.png"
RELIABILITY = "reliability.png"
WORST_ERRORS = "worst_errors.png"
WORST = 8  # errors on the sheet
FEW = 10  # films in a bin, below which its accuracy is mostly chance
_INK, _MUTED, _BLUE, _PALE, _RED = "0.15", "0.4", "#2a6fbb", "#b5cde8", "#c8452f"
_DPI = 150
_LONGEST = 30  # characters of a name over a picture
_ROW_HEIGHT, _HEADING_HEIGHT = 2.6, 0.55  # inches


@dataclass(frozen=True)
class Prediction:
    """What the classifier said about one labelled file.

    Attributes:
        path: the file.
        label: index of the true class.
        logits, probabilities: one per class; empty if the file could not be read.
        error: why it could not be read, one sentence; else "".
    """

    path: Path
    label: int
    logits: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str = ""

    @property
    def predicted(self) -> int:
        """Index of the most probable class."""
        return int(np.argmax(self.probabilities))


def write_report(
    explainer: Explainer,
    metrics: Mapping[str, Any],
    predictions: Sequence[Prediction],
    out: Path,
) -> None:
    """Write all files of a report; each appears whole or not at all, the metrics last.

    Args:
        explainer: shows the worst errors.
        metrics: from `evaluation.evaluate_samples`.
        predictions: one per file.
        out: the folder; made if missing.

    Raises:
        OSError: when the folder cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = explainer.classifier.class_names
    write_predictions(predictions, names, out / PREDICTIONS)
    _save(confusion_figure(metrics["confusion_matrix"], names), out / CONFUSION_MATRIX)
    _save(reliability_figure(metrics["calibration"]), out / RELIABILITY)
    _save(worst_errors_figure(explainer, predictions), out / WORST_ERRORS)
    write_metrics(metrics, out / METRICS)


def reported(out: Path) -> str:
    """Return which checkpoint a folder holds a whole report of: its SHA-256, "" where none."""
    try:
        return str(json.loads((out / METRICS).read_bytes())["checkpoint"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def write_metrics(metrics: Mapping[str, Any], path: Path) -> None:
    """Write metrics as JSON that any parser reads: NaN would raise ValueError."""
    write_whole(path, json.dumps(metrics, indent=1, allow_nan=False).encode())


def write_predictions(
    predictions: Sequence[Prediction], class_names: Sequence[str], path: Path
) -> None:
    """Write a row per file: file, label, predicted, a probability column per class, error."""
    table = StringIO(newline="")
    writer = csv.writer(table)
    file, *said = summary_header(class_names)
    writer.writerow((file, "label", *said))
    for one in predictions:
        predicted = "" if one.error else class_names[one.predicted]
        file, *said = summary_cells(
            str(one.path), predicted, one.probabilities, one.error, len(class_names)
        )
        writer.writerow((file, inert(class_names[one.label]), *said))
    write_whole(path, table.getvalue().encode(errors="backslashreplace"))


def _save(figure: Figure, path: Path) -> None:
    picture = BytesIO()
    with warnings.catch_warnings():
        # A name in a script that matplotlib's own font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(picture, format="png", dpi=_DPI, facecolor="white")
    write_whole(path, picture.getvalue())


# ---------------------------------------------------------------------------------------- pictures


def confusion_figure(counts: Sequence[Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Draw the confusion matrix: a row per true class, shaded by its share of the row.

    Args:
        counts: (K, K), true by predicted class.
        class_names: K names.
    """
    from matplotlib.figure import Figure

    matrix = np.asarray(counts)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    shown = [plot_text(class_label(name), _LONGEST) for name in class_names]
    side, longest = 1.0 * len(shown), max(map(len, shown))  # an inch a class, and the names beside
    size = (max(side + 1.1 + 0.087 * longest, 4.4), side + 1.1 + 0.04 * longest)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        if not count:
            axes.text(column, row, "0", ha="center", va="center", fontsize=12, color="0.65")
            continue
        colour = "white" if shares[row, column] > 0.55 else _INK
        weight = "bold" if row == column else "normal"
        place: dict[str, Any] = {"x": column, "ha": "center", "color": colour}
        axes.text(y=row, s=str(count), va="bottom", fontsize=12, fontweight=weight, **place)
        axes.text(y=row + 0.07, s=f"{shares[row, column]:.1%}", va="top", fontsize=8, **place)
    ticks = range(len(class_names))
    axes.set_xticks(ticks, shown, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        ticks, [f"{name}\nn = {n}" for name, n in zip(shown, totals[:, 0], strict=True)]
    )
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    right = np.trace(matrix)
    axes.set_title(f"{right} of {matrix.sum()} right ({right / matrix.sum():.1%})", fontsize=11)
    _quiet(axes, grid=np.arange(0.5, len(class_names) - 1))
    above: dict[str, Any] = {"xytext": (0, 24), "textcoords": "offset points", "ha": "center"}
    axes.annotate(DISCLAIMER, (0.5, 1), xycoords="axes fraction", fontsize=9, color=_MUTED, **above)
    return figure


def reliability_figure(calibration: Mapping[str, Any]) -> Figure:
    """Draw accuracy against confidence, before and after temperature scaling.

    After DeGroot 1983 and Guo 2017 (arXiv 1706.04599): on the diagonal a classifier that is 80%
    sure is right 8 times in 10. Below, how many films lie in each bin.

    Args:
        calibration: "calibration" of `scores.evaluate_logits`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.8), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
    temperature = calibration["temperature"]
    titles = ("before temperature scaling", f"after, at temperature {temperature:.2f}")
    for column, (key, title) in enumerate(zip(("before", "after"), titles, strict=True)):
        measured = calibration[key]
        _draw_reliability(axes[0, column], measured["bins"])
        axes[0, column].set_title(
            f"{title}\nECE {measured['ece']:.3f}, NLL {measured['nll']:.3f}", fontsize=11
        )
        _draw_counts(axes[1, column], measured["bins"])
        axes[1, column].set_xlabel("confidence: probability of the predicted class")
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("films")
    axes[0, 0].set(xlim=(0, 1), ylim=(0, 1.02), xticks=np.arange(0, 1.1, 0.2))
    axes[1, 0].xaxis.set_major_formatter("{x:g}")  # "0", not "0.0" against the "1.0" to its left
    figure.suptitle(DISCLAIMER, fontsize=9, color=_MUTED)
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return figure


def _draw_reliability(axes: Axes, bins: Sequence[Mapping[str, Any]]) -> None:
    filled = [one for one in bins if one["n"]]
    left = [one["low"] for one in filled]
    width = bins[0]["high"] - bins[0]["low"]
    accuracy = np.array([one["accuracy"] for one in filled])
    confidence = np.array([one["confidence"] for one in filled])
    colours = [_BLUE if one["n"] >= FEW else _PALE for one in filled]
    axes.bar(left, accuracy, width, align="edge", color=colours, edgecolor="white", zorder=2)
    # Bars without height, so that the legend shows both colours in every figure.
    axes.bar(0, 0, 0, color=_BLUE, label="accuracy")
    axes.bar(0, 0, 0, color=_PALE, label=f"accuracy of fewer than {FEW} films")
    axes.plot(
        [0, 1], [0, 1], "--", color=_MUTED, linewidth=1, label="perfect calibration", zorder=3
    )
    axes.vlines(confidence, accuracy, confidence, color=_RED, linewidth=1.5, zorder=4)
    axes.plot(
        confidence, confidence, "_", color=_RED, markersize=9, label="mean confidence", zorder=4
    )
    _plain(axes)


def _draw_counts(axes: Axes, bins: Sequence[Mapping[str, Any]]) -> None:
    width = bins[0]["high"] - bins[0]["low"]
    left, counts = [one["low"] for one in bins], [one["n"] for one in bins]
    bars = axes.bar(left, counts, width, align="edge", color="0.65", edgecolor="white", zorder=2)
    axes.bar_label(bars, [str(n) if n else "" for n in counts], fontsize=7.5, color=_MUTED)
    axes.margins(y=0.18)
    _plain(axes)


def worst_errors_figure(explainer: Explainer, predictions: Sequence[Prediction]) -> Figure:
    """Draw the errors that gave the true class least: radiograph, and why this, why not that.

    Each shows the radiograph and the CAMs of the predicted and of the true class at the last
    layer, both on one scale. A file that has vanished since it was evaluated is left out.

    Args:
        explainer: explains them again.
        predictions: one per file; those that are right or could not be read do not count.
    """
    from matplotlib.figure import Figure

    errors = [one for one in predictions if not one.error and one.predicted != one.label]
    errors.sort(key=lambda one: one.probabilities[one.label])
    shown = [(one, film) for one in errors[:WORST] if (film := _reread(one.path))]
    columns = 2 if len(shown) > 1 else 1
    rows = -(-len(shown) // columns)
    height = _ROW_HEIGHT * rows + _HEADING_HEIGHT
    figure = Figure(figsize=(6.9 * columns, height), layout="constrained")
    heading = _heading(len(errors), len(shown), predictions)
    figure.suptitle(
        heading, y=1 - 0.12 / height, va="top", fontsize=10 if columns > 1 else 8, color=_INK
    )
    if shown:
        figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - _HEADING_HEIGHT / height))
        parts = figure.subfigures(rows, columns, squeeze=False, wspace=0.03).ravel()
        for part, (prediction, film) in zip(parts, shown, strict=False):
            _draw_error(part, explainer, prediction, film)
    return figure


def _heading(errors: int, shown: int, predictions: Sequence[Prediction]) -> str:
    read = sum(not one.error for one in predictions)
    films = f"{read} film{'' if read == 1 else 's'}"
    if not errors:
        return f"No errors among {films}. {DISCLAIMER}"
    counted = f"{errors} of {films} classified wrongly"
    if not shown:
        return f"{counted}; the worst can no longer be read. {DISCLAIMER}"
    which = f", the {shown} worst" if shown < errors else ""
    return (
        f"{counted}{which}. {DISCLAIMER}\n"
        "Grad-CAM at the last layer, both classes of a film on one scale."
    )


def _reread(path: Path) -> Radiograph | None:
    try:
        return load_radiograph(path)
    except RadiographError:
        return None


def _draw_error(
    part: SubFigure, explainer: Explainer, prediction: Prediction, film: Radiograph
) -> None:
    names = explainer.classifier.class_names
    said, true = names[prediction.predicted], names[prediction.label]
    explanation = explainer.explain(film, classes=[said, true])
    panels = part.subplots(1, 3)
    panels[0].imshow(film.pixels, cmap="gray", vmin=0, vmax=1)
    panels[0].set_title(plot_text(film.name, _LONGEST), fontsize=8.5, color=_MUTED)
    for axes, role, name in ((panels[1], "predicted", said), (panels[2], "true", true)):
        _draw_cam(axes, film, explanation, name)
        share = explanation.probabilities[name]
        colour = _RED if role == "predicted" else _INK
        title = f"{role}, {share:.1%}\n{plot_text(class_label(name), _LONGEST)}"
        axes.set_title(title, fontsize=8.5, color=colour)
    for axes in panels:
        _quiet(axes)
        axes.set_xticks([])
        axes.set_yticks([])


def _draw_cam(axes: Axes, film: Radiograph, explanation: Explanation, name: str) -> None:
    axes.imshow(overlay(film, explanation.heatmap(name, scale="shared")))
    if explanation.peak(name) <= 0:
        box = {"boxstyle": "square", "facecolor": "black", "edgecolor": "none", "alpha": 0.6}
        place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "bottom"}
        axes.text(0.5, 0.04, NO_EVIDENCE, fontsize=8, color="white", bbox=box, **place)


def _plain(axes: Axes) -> None:
    """Only the axes that carry numbers, and a light grid behind the bars."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", zorder=0)


def _quiet(axes: Axes, grid: Sequence[float] | np.ndarray = ()) -> None:
    """No frame and no tick marks; white lines at `grid`."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for place in grid:
        axes.axhline(place, color="white", linewidth=2)
        axes.axvline(place, color="white", linewidth=2)
