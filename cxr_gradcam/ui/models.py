"""Which checkpoints a visitor may choose. The browser sends back a name of this list, no path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cxr_gradcam.checkpoint import BEST_FILE, BUNDLED_CHECKPOINT
from cxr_gradcam.dataset import natural_key
from cxr_gradcam.files import expanded
from cxr_gradcam.reading import printable

CHECKPOINT_VARIABLE = "CXR_CHECKPOINT"
RUNS_VARIABLE = "CXR_RUNS"
RUNS_FOLDER = "runs"
BUNDLED = "Bundled model"
MAX_RUNS = 200


def list_models(environment: Mapping[str, str], working_folder: Path) -> dict[str, Path]:
    """Return name -> checkpoint, the default first: it is never empty.

    The default is the checkpoint that `CXR_CHECKPOINT` names, else the bundled one. After both come
    the best weights of every training run in the folder `CXR_RUNS`, or `runs` below the working
    folder. Nothing is opened here, so a checkpoint may turn out to be broken.

    Args:
        environment: where the two variables may be set.
        working_folder: where relative paths begin.
    """
    runs = working_folder / expanded(environment.get(RUNS_VARIABLE, "").strip() or RUNS_FOLDER)
    named = environment.get(CHECKPOINT_VARIABLE, "").strip()
    found = [(run.name, run / BEST_FILE) for run in _runs(runs)]
    if named:
        path = working_folder / expanded(named)
        found.insert(0, (path.parent.name if path.name == BEST_FILE else path.stem, path))
    found.insert(1 if named else 0, (BUNDLED, BUNDLED_CHECKPOINT))
    models: dict[str, Path] = {}
    known: set[Path] = set()
    for name, path in found:
        if path.resolve() not in known:
            known.add(path.resolve())
            models[_unused(printable(name), models)] = path
    return models


def _runs(folder: Path) -> list[Path]:
    """List the folders that hold a trained checkpoint, in natural order."""
    try:
        # Not by pathlib's `is_file`, which raises where one run is not ours to read.
        runs = [run for run in folder.iterdir() if os.path.isfile(run / BEST_FILE)]  # noqa: PTH113
    except OSError:  # no such folder, or not ours to read: no runs then
        return []
    return sorted(runs, key=lambda run: natural_key(run.name))[:MAX_RUNS]


def _unused(name: str, taken: Mapping[str, Path]) -> str:
    number = 1
    unused = name
    while unused in taken:
        number += 1
        unused = f"{name} ({number})"
    return unused
