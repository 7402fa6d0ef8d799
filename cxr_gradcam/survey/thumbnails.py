"""Small pictures of films, made once and kept in bounded memory for all visitors."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cxr_gradcam.radiograph import radiograph_or_reason
from cxr_gradcam.survey.folder import Film, Stamp

SIDE = 240  # pixels of the longer side
KEPT = 4000  # about 10 kB each
_THREADS = 4
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 82]

Thumbnail = bytes | str  # a JPEG file, or the sentence that says why there is none


class Thumbnails:
    """Hands out small JPEG files. Safe to share between threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._made: OrderedDict[tuple[Path, Stamp], bytes] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._made)

    def of(self, films: Sequence[Film]) -> list[Thumbnail]:
        """Return a JPEG file for each film, or the reason why it cannot be read."""
        with ThreadPoolExecutor(_THREADS, "thumbnail") as pool:
            return list(pool.map(self._one, films))

    def _one(self, film: Film) -> Thumbnail:
        key = (film.path, film.stamp)
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = _make(film.path)
        if isinstance(made, str):
            return made  # not kept: it may be readable the next time
        with self._lock:
            self._made[key] = made
            while len(self._made) > self._kept:
                self._made.popitem(last=False)
        return made


def decode(thumbnail: bytes) -> npt.NDArray[np.uint8]:
    """Return a thumbnail's pixels, uint8 (h, w)."""
    pixels = cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_GRAYSCALE)
    return np.asarray(pixels, np.uint8)


def _make(path: Path) -> Thumbnail:
    radiograph = radiograph_or_reason(path)
    if isinstance(radiograph, str):
        return radiograph
    share = SIDE / max(radiograph.height, radiograph.width)
    size = (max(1, round(radiograph.width * share)), max(1, round(radiograph.height * share)))
    way = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
    small = cv2.resize(radiograph.pixels, size, interpolation=way)
    grey = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
    return cv2.imencode(".jpg", grey, _QUALITY)[1].tobytes()
