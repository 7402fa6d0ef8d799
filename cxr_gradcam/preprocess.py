"""From a radiograph to the square that the network sees, and back, by one stored transform."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from cxr_gradcam.radiograph import Radiograph

PADDING = 0.0  # the bars beside a picture that is not square: air, as outside a collimated film


@dataclass(frozen=True)
class Letterbox:
    """Where a radiograph of `height` x `width` lies inside the `size` x `size` model input.

    The picture keeps its aspect: its longer side fills the square, the shorter one is centred
    between two bars of padding. `apply` goes to the square, `restore` comes back from any grid
    laid over the square, so a CAM always lands on the right pixel of the original picture.
    """

    height: int
    width: int
    size: int
    content_height: int
    content_width: int
    top: int
    left: int

    @classmethod
    def fit(cls, height: int, width: int, size: int) -> Letterbox:
        """Return the letterbox of a `height` x `width` picture in a `size` x `size` square."""
        longer = max(height, width)
        content_height = max(1, round(height * size / longer))
        content_width = max(1, round(width * size / longer))
        top = (size - content_height) // 2
        left = (size - content_width) // 2
        return cls(height, width, size, content_height, content_width, top, left)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Lay a radiograph into the square.

        Args:
            pixels: float32 (height, width) in [0, 1].

        Returns:
            float32 (size, size) in [0, 1]; `PADDING` outside the picture.

        Raises:
            ValueError: when the picture does not have the shape this letterbox was made for.
        """
        if pixels.shape != (self.height, self.width):
            raise ValueError(
                f"This letterbox is for {self.height} x {self.width} pixels, "
                f"the picture has {' x '.join(map(str, pixels.shape))}."
            )
        shrinking = self.content_height < self.height
        # Averaging over the covered area keeps fine texture from aliasing when shrinking.
        interpolation = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        content = cv2.resize(
            pixels, (self.content_width, self.content_height), interpolation=interpolation
        )
        square = np.full((self.size, self.size), PADDING, np.float32)
        square[self._rows, self._columns] = content
        return square

    def restore(self, grid: np.ndarray) -> np.ndarray:
        """Resample a grid laid over the square (a CAM, say) to the radiograph's pixels.

        Every pixel centre of the radiograph is followed into the square and the grid is read
        there, bilinearly between the centres of its cells and constant beyond the outermost
        ones. Padding has no pixel in the radiograph, so it is cut off by construction.

        Args:
            grid: float32 (h, w), covering the whole square, any h and w.

        Returns:
            float32 (height, width), in the grid's units, never beyond the grid's extremes.
        """
        return _read(grid, *self._positions(grid))

    def highest(self, grid: np.ndarray) -> float:
        """Return the maximum of `restore(grid)`, but for rounding, without restoring it all.

        Between the centres of four cells the surface is bilinear, so of the pixels there none is
        higher than all of the outermost four.

        Args:
            grid: as for `restore`.
        """
        rows, columns = map(_outermost, self._positions(grid))
        return float(_read(grid, rows, columns).max())

    def _positions(self, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the radiograph's rows and columns lie in a grid: (height,) and (width,)."""
        rows = _centres(self.height, self.top, self.content_height, self.size, grid.shape[0])
        columns = _centres(self.width, self.left, self.content_width, self.size, grid.shape[1])
        return rows, columns

    @property
    def _rows(self) -> slice:
        return slice(self.top, self.top + self.content_height)

    @property
    def _columns(self) -> slice:
        return slice(self.left, self.left + self.content_width)


def _centres(pixels: int, offset: int, content: int, size: int, cells: int) -> np.ndarray:
    """Return float64 (pixels,): each pixel's centre along an axis, in cells from the first's."""
    in_square = (np.arange(pixels) + 0.5) * content / pixels + offset
    centres: np.ndarray = np.clip(in_square * cells / size - 0.5, 0, cells - 1)
    return centres


def _outermost(positions: np.ndarray) -> np.ndarray:
    """Return the first and the last of the rising positions between any two cells."""
    ends = np.flatnonzero(np.diff(positions.astype(np.int64)))
    outermost: np.ndarray = positions[np.unique([0, *ends, *(ends + 1), len(positions) - 1])]
    return outermost


def _read(grid: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Read a grid, bilinearly, where positions along its two axes cross."""
    down, across = (
        _mixture(positions, cells)
        for positions, cells in zip((rows, columns), grid.shape, strict=True)
    )
    read: np.ndarray = down @ grid.astype(np.float32, copy=False) @ across.T
    return read


def _mixture(positions: np.ndarray, cells: int) -> np.ndarray:
    """Return float32 (n, cells): row i mixes the two cells around position i.

    Bilinear sampling is separable, so one such matrix per axis does the whole resampling as two
    small products, exactly; OpenCV's warps round the position to 1/32 of a cell, which shows
    as steps when 7 cells become 2,500 pixels.
    """
    lower = np.minimum(positions.astype(np.int64), max(cells - 2, 0))
    upper = np.minimum(lower + 1, cells - 1)
    share = (positions - lower).astype(np.float32)
    matrix = np.zeros((len(positions), cells), np.float32)
    rows = np.arange(len(positions))
    matrix[rows, lower] = 1 - share
    matrix[rows, upper] += share
    return matrix


def to_model_input(
    radiograph: Radiograph,
    letterbox: Letterbox,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> torch.Tensor:
    """Turn a radiograph into exactly what the network sees.

    Args:
        radiograph: the picture; float32 (H, W) in [0, 1].
        letterbox: the transform made for its shape.
        mean: one value per channel, subtracted from the intensity in [0, 1].
        std: one value per channel, divided by.

    Returns:
        float32 (1, 3, size, size): the letterboxed grey picture in all three channels, normalised.
    """
    square = torch.from_numpy(letterbox.apply(radiograph.pixels))
    channels = square.expand(1, 3, -1, -1)
    return (channels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
