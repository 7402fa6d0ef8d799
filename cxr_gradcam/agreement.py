"""How far two maps agree on where the heat is: the rank correlation of their cells.

Methods and layers measure in different units, so only the order of the cells can be compared.
Adebayo et al. 2018 (arXiv 1810.03292) compare saliency maps by the same number. Agreement is no
proof that a map is right: methods that share a flaw agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxr_gradcam.preprocess import Letterbox

ROUNDING = 1e-6  # share of a map's largest value below which two cells count as equally hot


def agreement(cams: Sequence[np.ndarray], letterbox: Letterbox) -> np.ndarray:
    """Return Spearman's rank correlation between every two CAMs of one radiograph.

    All maps are read on the cells of the finest one, bilinearly, and only where a cell's centre
    lies on the radiograph: the padding is no part of the picture.

    Args:
        cams: at least one, float32 (h, w) each, covering the model input; any h and w.
        letterbox: how the radiograph lies in the model input.

    Returns:
        float64 (n, n), symmetric, from -1 (opposite order) over 0 (unrelated) to 1 (same order),
        1 on the diagonal. NaN in the row and column of a map that is the same everywhere, such as
        one without positive evidence: it puts the cells in no order.

    Raises:
        ValueError: without a CAM.
    """
    if not cams:
        raise ValueError("There is no map to compare: give one at least.")
    rows = max(cam.shape[0] for cam in cams)
    columns = max(cam.shape[1] for cam in cams)
    seen = _on_the_radiograph(letterbox, rows, columns)
    ranks = np.stack([_ranks(_resampled(cam, rows, columns)[seen]) for cam in cams])
    with np.errstate(invalid="ignore"):  # 0 / 0 where a map is the same everywhere
        correlation: np.ndarray = np.atleast_2d(np.corrcoef(ranks))
    np.fill_diagonal(correlation, np.where(np.isnan(correlation.diagonal()), np.nan, 1))
    return correlation


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of every value, float64, from 1; equal ones share the mean of their ranks.

    Values are compared in steps of `ROUNDING`, so that the last bits of a sum, which differ
    between two ways to the same map, order nothing. (SciPy's `rankdata` takes 2.4 s to import.)
    """
    largest = float(np.abs(values).max())
    steps = np.rint(values.astype(np.float64) / (largest * ROUNDING)) if largest else values
    _, place, count = np.unique(steps, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2
    ranks: np.ndarray = mean_rank[place]
    return ranks


def _resampled(cam: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return a CAM read at the cells of another grid over the same square; itself on its own."""
    size = max(rows, columns)
    whole = Letterbox(rows, columns, size, size, size, 0, 0)
    return whole.restore(cam)


def _on_the_radiograph(letterbox: Letterbox, rows: int, columns: int) -> np.ndarray:
    """Return bool (rows, columns): which cells of the square have their centre on the picture."""

    def inside(cells: int, start: int, length: int) -> np.ndarray:
        centres = (np.arange(cells) + 0.5) * letterbox.size / cells
        kept: np.ndarray = (centres >= start) & (centres < start + length)
        # A picture thinner than a cell may hold no centre: then the cell it lies in.
        if not kept.any():
            kept[int((start + length / 2) * cells / letterbox.size)] = True
        return kept

    return np.outer(
        inside(rows, letterbox.top, letterbox.content_height),
        inside(columns, letterbox.left, letterbox.content_width),
    )
