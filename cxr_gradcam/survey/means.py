"""Where a classifier looks on average: mean heatmaps and mean films on one common square.

Every film counts the same: its heatmap is scaled by its own maximum, and is zero where the CAM has
no positive evidence. Films of any shape are stretched to the square, so that lung lies on lung.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cxr_gradcam.preprocess import Letterbox
from cxr_gradcam.survey.look import SQUARE, Floats, Looks

OF_LABEL, OF_CALL = 0, 1  # a class's own films with its map; films called so, with that map


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean over some films.

    Attributes:
        count: of how many.
        heatmap: float32 (SQUARE, SQUARE) in [0, 1].
        film: float32 (SQUARE, SQUARE) in [0, 1].
    """

    count: int
    heatmap: Floats
    film: Floats


class Sums:
    """Adds heatmaps and films up, class by class, once by label and once by what was called."""

    def __init__(self, class_names: Sequence[str], input_size: int) -> None:
        self._names = tuple(class_names)
        self._input_size = input_size
        shape = (2, len(self._names), SQUARE, SQUARE)
        self._heat = np.zeros(shape)
        self._film = np.zeros(shape)
        self._count = np.zeros(shape[:2], np.int64)

    def add(self, looks: Looks, labels: npt.NDArray[np.int64]) -> None:
        """Add films that could be read.

        Args:
            looks: the films.
            labels: int (N,), index of each film's class; -1 where the classifier has no such class.
        """
        heatmaps = on_square(looks.cams, looks.shapes, self._input_size)
        called = looks.probabilities.argmax(axis=1)
        for which, classes in ((OF_LABEL, labels), (OF_CALL, called)):
            for k in range(len(self._names)):
                mine = classes == k
                self._heat[which, k] += heatmaps[mine, which].sum(axis=0, dtype=float)
                self._film[which, k] += looks.pictures[mine].sum(axis=0, dtype=float)
                self._count[which, k] += mine.sum()

    def means(self, which: int) -> dict[str, Mean]:
        """Return class -> mean; `which` is `OF_LABEL` or `OF_CALL`. Without films: zeros."""
        means = {}
        for k, name in enumerate(self._names):
            count = int(self._count[which, k])
            heatmap = (self._heat[which, k] / max(count, 1)).astype(np.float32)
            film = (self._film[which, k] / (255 * max(count, 1))).astype(np.float32)
            means[name] = Mean(count, np.clip(heatmap, 0, 1), np.clip(film, 0, 1))
        return means


def on_square(cams: Floats, shapes: npt.NDArray[np.int32], input_size: int) -> Floats:
    """Return the heatmaps of CAMs on the common square, each scaled by its own maximum there.

    What `Explanation.heatmap` gives for a film of SQUARE x SQUARE pixels that lies in the model
    input where this one lies, for all films of one shape at a time.

    Args:
        cams: float32 (N, M, h, w).
        shapes: int (N, 2), height and width of each film.
        input_size: side of the model input.

    Returns:
        float32 (N, M, SQUARE, SQUARE) in [0, 1].
    """
    heatmaps = np.zeros((*cams.shape[:2], SQUARE, SQUARE), np.float32)
    for height, width in np.unique(shapes, axis=0).tolist():
        mine = (shapes == (height, width)).all(axis=1)
        rows, columns = _axes(height, width, input_size, cams.shape[2], cams.shape[3])
        heatmaps[mine] = rows @ cams[mine] @ columns.T
    tops = heatmaps.max(axis=(2, 3), keepdims=True)
    np.divide(heatmaps, tops, out=heatmaps, where=tops > 0)
    return heatmaps


@lru_cache(maxsize=256)
def _axes(height: int, width: int, size: int, h: int, w: int) -> tuple[Floats, Floats]:
    """Return what one axis after the other does to a grid: (SQUARE, h) and (SQUARE, w).

    Restoring is linear and separable, so what it does to unit columns and rows tells all of it.
    """
    box = replace(Letterbox.fit(height, width, size), height=SQUARE, width=SQUARE)
    rows = [box.restore(unit[:, None])[:, 0] for unit in np.eye(h, dtype=np.float32)]
    columns = [box.restore(unit[None, :])[0] for unit in np.eye(w, dtype=np.float32)]
    return np.stack(rows, axis=1), np.stack(columns, axis=1)
