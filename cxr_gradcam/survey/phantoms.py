"""A small dataset of phantoms, for those who have none at hand."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from cxr_gradcam.phantom import write_phantoms

COUNT = 40
_SIZE = 256


def phantom_place(cache: Path) -> Path:
    """Return where the phantoms lie below `cache` once they are drawn."""
    return cache / f"phantoms-{COUNT}-{_SIZE}"


def phantom_folder(cache: Path) -> Path:
    """Return a dataset folder of phantoms below `cache`, drawn now if it is not there.

    Raises:
        OSError: when it cannot be written.
    """
    folder = phantom_place(cache)
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    drawing = Path(tempfile.mkdtemp(prefix=".phantoms-", dir=cache))
    try:
        write_phantoms(drawing, COUNT, size=_SIZE)
        drawing.rename(folder)  # whole or not at all
    except OSError:
        shutil.rmtree(drawing, ignore_errors=True)
        if not folder.is_dir():  # another server was faster
            raise
    return folder
