"""The results of one radiograph on disk: overlays, heatmaps and the record that completes them.

Files appear whole or not at all: each is written under another name first. The record,
`explanation.json`, is deleted first and written last, so a folder with a record is finished.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal

import cv2
import numpy as np

from cxr_gradcam.classifier import Classifier
from cxr_gradcam.explainer import Explanation
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import DISCLAIMER, overlay

RECORD = "explanation.json"
_OURS = ("overlay-*.png", "heatmap-*.npy", ".overlay-*.part", ".heatmap-*.part", f".{RECORD}*.part")
_LONGEST_LABEL = 80
# Of level 1 with each filter and the library's default, on overlays of 224 x 224, "up" gave the
# smallest files (46 kB) in the shortest time (2 ms); level 6 takes six times as long for 41 kB.
PNG_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]


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
    """

    shown: str
    layer: str
    method: str
    scale: Literal["each", "shared"]
    colormap: str
    opacity: float


@dataclass(frozen=True)
class Stamp:
    """What tells cheaply that a file is unchanged: its size in bytes and time of change in ns."""

    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: str) -> Stamp | None:
        """Return the stamp of a file; None if there is none."""
        try:
            status = Path(path).stat()
        except (OSError, ValueError):
            return None
        return cls(status.st_size, status.st_mtime_ns)


def class_labels(class_names: Sequence[str]) -> dict[str, str]:
    """Return class name -> its part of a file name.

    What is no letter, digit, ".", "+" or "-" becomes "_": "Viral Pneumonia" -> "Viral_Pneumonia".
    Long names are cut. Where two names would become one, the later in the checkpoint's order gets
    "-2", "-3" and so on.
    """
    labels: dict[str, str] = {}
    taken = set()
    for name in class_names:
        plain = label = re.sub(r"[^\w.+-]", "_", name)[:_LONGEST_LABEL]
        number = 1
        while label.casefold() in taken:
            number += 1
            label = f"{plain}-{number}"
        taken.add(label.casefold())
        labels[name] = label
    return labels


@contextmanager
def whole_file(path: Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Open a file for writing that appears under its name when it is complete, or never."""
    # The process's id keeps two runs into one folder from writing one file together.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open(mode, **options) as file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class ResultWriter:
    """Writes the results of radiographs explained by one classifier with one set of settings.

    Holds nothing that changes: share it between threads.
    """

    def __init__(self, classifier: Classifier, settings: Settings, program: str) -> None:
        self._settings = settings
        self._program = program
        self._labels = class_labels(classifier.class_names)
        # As JSON gives them back, so that records can be compared.
        self._wanted: dict[str, Any] = {
            "settings": asdict(settings),
            "model": {"digest": classifier.digest, "classes": list(classifier.class_names)},
        }

    def finished(self, folder: Path) -> dict[str, Any] | None:
        """Return the record of a folder that is complete for these settings and this model."""
        try:
            record = json.loads((folder / RECORD).read_bytes())
            present = {entry.name for entry in os.scandir(folder)}
            wanted = all(record[key] == value for key, value in self._wanted.items())
            files = {file for entry in record["maps"].values() for file in entry["files"]}
            sound = wanted and files <= present and _summary_values(record)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None
        return record if sound else None

    def write(
        self,
        folder: Path,
        file: str,
        stamp: Stamp | None,
        radiograph: Radiograph,
        explanation: Explanation,
    ) -> None:
        """Write all results of one radiograph.

        Raises:
            OSError: If the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).unlink(missing_ok=True)
        peaks = {name: explanation.peak(name) for name in explanation.classes}
        highest = max(peaks.values())
        maps: dict[str, dict[str, Any]] = {
            name: {
                "peak": peaks[name],
                "heatmap_1_stands_for": highest
                if self._settings.scale == "shared"
                else peaks[name],
                "files": self._write_map(folder, name, radiograph, explanation),
            }
            for name in self._shown(explanation)
        }
        written = {file for entry in maps.values() for file in entry["files"]}
        for path in chain.from_iterable(map(folder.glob, _OURS)):
            # Of a class that is no longer asked for, or of a run that was killed while writing.
            if path.name not in written:
                path.unlink(missing_ok=True)
        record = self._record(file, stamp, radiograph, explanation) | {"maps": maps}
        with whole_file(folder / RECORD, encoding="ascii") as target:
            json.dump(record, target, indent=1)

    def _shown(self, explanation: Explanation) -> Sequence[str]:
        match self._settings.shown:
            case "all":
                return explanation.classes
            case "predicted":
                return (explanation.predicted,)
            case name:
                return (name,)

    def _write_map(
        self, folder: Path, name: str, radiograph: Radiograph, explanation: Explanation
    ) -> list[str]:
        settings = self._settings
        heatmap = explanation.heatmap(name, scale=settings.scale)
        picture = overlay(radiograph, heatmap, settings.colormap, settings.opacity)
        overlay_file = f"overlay-{self._labels[name]}.png"
        heatmap_file = f"heatmap-{self._labels[name]}.npy"
        with whole_file(folder / overlay_file, "wb") as target:
            target.write(
                cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), PNG_OPTIONS)[1]
            )
        with whole_file(folder / heatmap_file, "wb") as target:
            np.save(target, heatmap)
        return [overlay_file, heatmap_file]

    def _record(
        self, file: str, stamp: Stamp | None, radiograph: Radiograph, explanation: Explanation
    ) -> dict[str, Any]:
        return {
            "program": self._program,
            "disclaimer": DISCLAIMER,
            "file": file,
            "stamp": stamp and asdict(stamp),
            "radiograph": {
                "digest": radiograph.digest,
                "format": radiograph.format,
                "height": radiograph.height,
                "width": radiograph.width,
                "notes": list(radiograph.notes),
            },
            **self._wanted,
            "logits": dict(explanation.logits),
            "probabilities": dict(explanation.probabilities),
            "predicted": explanation.predicted,
            "familiarity": explanation.familiarity,
            "familiar": explanation.familiar,
            "unit": explanation.unit,
            "letterbox": asdict(explanation.letterbox),
        }


def _summary_values(record: Mapping[str, Any]) -> bool:
    """Tell whether a record, which anybody may have edited, holds what the summary takes."""
    numbers = record["probabilities"].values()
    return isinstance(record["predicted"], str) and all(isinstance(p, float) for p in numbers)
