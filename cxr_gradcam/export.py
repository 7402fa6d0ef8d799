"""What one radiograph leaves behind: overlays, heatmaps and the record that completes them.

The command line writes these files into a folder, the page into a ZIP; both by `write_maps` and
`record`, so that they cannot differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import IO, Any, Literal

import cv2
import numpy as np

from cxr_gradcam.classifier import Classifier
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import DISCLAIMER, overlay

RECORD = "explanation.json"
# Of level 1 with each filter and the library's default, on overlays of 224 x 224, "up" gave the
# smallest files (46 kB) in the shortest time (2 ms); level 6 takes six times as long for 41 kB.
PNG_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
_LONGEST_LABEL = 80  # bytes: a file's name has room for 255
_BAND_PIXELS = 4_000_000  # painted at once: painting takes six times the memory of what it paints

OpenFile = Callable[[str], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class Settings:
    """What decides how results look. Results made with other settings are made anew.

    Attributes:
        shown: A class name, "predicted" or "all".
        layer: The layer explained.
        method: A key of `cam.METHODS`.
        scale: "each" map by its own maximum, or "shared" by that of all the checkpoint's classes.
        colormap: One of `render.COLORMAPS`.
        opacity: From 0 to 1.
        threshold: Heat from 0 to 1 up to which nothing is painted.
    """

    shown: str
    layer: str
    method: str
    scale: Literal["each", "shared"]
    colormap: str
    opacity: float
    threshold: float = 0.0


@dataclass(frozen=True)
class Export:
    """What all results of one run, or of one click, have in common.

    Attributes:
        classifier: What explained.
        settings: How.
        program: Name and version of this program.
    """

    classifier: Classifier
    settings: Settings
    program: str

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Class name -> its part of a file name."""
        return class_labels(self.classifier.class_names)

    @property
    def origin(self) -> dict[str, Any]:
        """The settings and the model, as JSON gives them back, so that records can be compared."""
        classifier = self.classifier
        model = {
            "digest": classifier.digest,
            "classes": list(classifier.class_names),
            "temperature": classifier.temperature,
        }
        return {"settings": asdict(self.settings), "model": model}


def class_labels(class_names: Sequence[str]) -> dict[str, str]:
    """Return class name -> its part of a file name.

    What is no letter, digit, ".", "+" or "-" becomes "_": "Viral Pneumonia" -> "Viral_Pneumonia".
    Long names are cut. Where two names would become one, the later in the checkpoint's order gets
    "-2", "-3" and so on.
    """
    labels: dict[str, str] = {}
    taken = set()
    for name in class_names:
        plain = label = safe_part(name)
        number = 1
        while label.casefold() in taken:
            number += 1
            label = f"{plain}-{number}"
        taken.add(label.casefold())
        labels[name] = label
    return labels


def safe_part(name: str) -> str:
    """Return a name fit to stand inside a file's name, after a prefix of ours."""
    return re.sub(r"[^\w.+-]", "_", name).encode()[:_LONGEST_LABEL].decode(errors="ignore")


def overlay_png(radiograph: Radiograph, heatmap: np.ndarray, settings: Settings) -> bytes:
    """Return the overlay as a PNG file with the radiograph's own number of pixels.

    Painted in bands of rows, so that a film of 100 megapixels does not take gigabytes.
    """
    painted = np.empty((*heatmap.shape, 3), np.uint8)  # BGR, as the encoder wants it
    rows = max(1, _BAND_PIXELS // radiograph.width)
    for top in range(0, radiograph.height, rows):
        band = slice(top, top + rows)
        colours = overlay(
            replace(radiograph, pixels=radiograph.pixels[band]),
            heatmap[band],
            settings.colormap,
            settings.opacity,
            settings.threshold,
        )
        cv2.cvtColor(colours, cv2.COLOR_RGB2BGR, dst=painted[band])
    return cv2.imencode(".png", painted, PNG_OPTIONS)[1].tobytes()


def describe_maps(export: Export, explanation: Explanation) -> dict[str, dict[str, Any]]:
    """Return class -> what its heatmap is worth, for each class shown; no files yet."""
    layer, scale = export.settings.layer, export.settings.scale
    return {
        name: {
            "peak": explanation.peak(name, layer),
            "heatmap_1_stands_for": explanation.peak(name, layer, scale),
            "files": [],
        }
        for name in _shown(export.settings.shown, explanation)
    }


def write_maps(
    open_file: OpenFile, export: Export, radiograph: Radiograph, explanation: Explanation
) -> dict[str, dict[str, Any]]:
    """Write an overlay and a heatmap for each class shown.

    Args:
        open_file: Opens a file of that name for writing bytes.
        export: How.
        radiograph: The picture, which the overlays and heatmaps match in size.
        explanation: What to show.

    Returns:
        Class -> what its heatmap is worth and the names of its files.
    """
    settings = export.settings
    maps = describe_maps(export, explanation)
    for name, described in maps.items():
        heatmap = explanation.heatmap(name, settings.layer, settings.scale)
        label = export.labels[name]
        described["files"] = [f"overlay-{label}.png", f"heatmap-{label}.npy"]
        with open_file(described["files"][0]) as file:
            file.write(overlay_png(radiograph, heatmap, settings))
        with open_file(described["files"][1]) as file:
            np.save(file, heatmap)
    return maps


def record(
    export: Export,
    file: str,
    radiograph: Radiograph,
    explanation: Explanation,
    maps: Mapping[str, Mapping[str, Any]],
    stamp: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return everything that one needs to know to repeat an explanation, ready for JSON.

    Args:
        export: How it was made.
        file: The radiograph's path or name.
        radiograph: What was explained.
        explanation: What came out.
        maps: From `write_maps` or `describe_maps`.
        stamp: What tells cheaply that the file is unchanged; None where there is no file.
    """
    return {
        "program": export.program,
        "disclaimer": DISCLAIMER,
        "file": file,
        "stamp": stamp,
        "radiograph": {
            "digest": radiograph.digest,
            "format": radiograph.format,
            "height": radiograph.height,
            "width": radiograph.width,
            "notes": list(radiograph.notes),
        },
        **export.origin,
        "contrast": explanation.contrast,
        "logits": dict(explanation.logits),
        "probabilities": dict(explanation.probabilities),
        "predicted": explanation.predicted,
        "familiarity": explanation.familiarity,
        "familiar": explanation.familiar,
        "evidence": {name: evidence_sums(explanation, name) for name in explanation.logits},
        "unit": explanation.unit,
        "letterbox": asdict(explanation.letterbox),
        "maps": maps,
    }


def evidence_sums(explanation: Explanation, class_name: str) -> dict[str, float]:
    """Return what the last layer's cells give to a class and take from it, in logits.

    The three numbers, "for" (at least 0), "against" (at most 0) and "bias", add up to the logit.
    """
    evidence = explanation.evidence(class_name).astype(np.float64)
    return {
        "for": float(evidence.clip(min=0).sum()),
        "against": float(evidence.clip(max=0).sum()),
        "bias": explanation.biases[class_name],
    }


def to_json(record: Mapping[str, Any]) -> bytes:
    """Return a record as JSON that any parser reads: NaN would raise ValueError."""
    return json.dumps(record, indent=1, allow_nan=False).encode("ascii")


def _shown(shown: str, explanation: Explanation) -> Sequence[str]:
    match shown:
        case "all":
            return explanation.classes
        case "predicted":
            return (explanation.predicted,)
        case name:
            return (name,)
