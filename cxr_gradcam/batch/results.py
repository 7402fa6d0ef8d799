"""The results of one radiograph in a folder of its own.

Files appear whole or not at all: each is written under another name first. The record,
`explanation.json`, is deleted first and written last, so a folder with a record is finished.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from cxr_gradcam.explanation import Explanation
from cxr_gradcam.export import RECORD, Export, record, to_json, write_maps
from cxr_gradcam.files import whole_file
from cxr_gradcam.radiograph import Radiograph

_OURS = ("overlay-*.png", "heatmap-*.npy", ".overlay-*.part", ".heatmap-*.part", f".{RECORD}*.part")


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


class ResultWriter:
    """Writes the results of radiographs explained by one classifier with one set of settings.

    Holds nothing that changes: share it between threads.
    """

    def __init__(self, export: Export) -> None:
        self._export = export

    def finished(self, folder: Path) -> dict[str, Any] | None:
        """Return the record of a folder that is complete for these settings and this model."""
        try:
            record = json.loads((folder / RECORD).read_bytes())
            present = {entry.name for entry in os.scandir(folder)}
            wanted = all(record[key] == value for key, value in self._export.origin.items())
            sound = wanted and _listed(record) <= present and _holds_what_is_read(record)
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
        earlier = recorded_files(folder)
        (folder / RECORD).unlink(missing_ok=True)
        maps = write_maps(
            lambda name: whole_file(folder / name), self._export, radiograph, explanation
        )
        written = {name for entry in maps.values() for name in entry["files"]}
        for path in chain.from_iterable(map(folder.glob, _OURS)):
            # Of a class that is no longer asked for, or of a run that was killed while writing.
            # Anything else is somebody else's, whatever its name.
            if path.name in earlier - written or path.suffix == ".part":
                path.unlink(missing_ok=True)
        stamped = asdict(stamp) if stamp else None
        made = record(self._export, file, radiograph, explanation, maps, stamped)
        with whole_file(folder / RECORD) as target:
            target.write(to_json(made))


def recorded_files(folder: Path) -> set[str]:
    """Return the names of the overlays and heatmaps that a folder's record lists; none without."""
    try:
        return _listed(json.loads((folder / RECORD).read_bytes()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()


def _listed(record: Mapping[str, Any]) -> set[str]:
    return {file for entry in record["maps"].values() for file in entry["files"]}


def _holds_what_is_read(record: Mapping[str, Any]) -> bool:
    """Tell whether a record, which anybody may have edited, holds what is read of it later."""
    texts = (record["predicted"], record["file"], record["radiograph"]["digest"])
    numbers = record["probabilities"].values()
    return all(isinstance(text, str) for text in texts) and all(
        isinstance(number, float) for number in numbers
    )
