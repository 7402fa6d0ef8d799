"""Does the heat lie where the lesion is? Three numbers for a map and a mask that is known.

All three are the same whatever positive number the map is multiplied by, so a heatmap serves as
well as a CAM on the pixels of the mask. They say where the heat lies, not whether the class is
right; and a mask tells where a lesion was planted, not all that the classifier may rightly look at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Localisation:
    """How well a map finds a lesion.

    Attributes:
        hit: as `pointing_game`.
        inside: as `share_inside`.
        iou, threshold: as `best_iou`.
        area: share of the picture that the lesion covers, in [0, 1]; what `inside` would be, and
            how often the peak would hit, if the map knew nothing.
        has_heat: False for a map of zeros, which points nowhere.
    """

    hit: bool
    inside: float
    iou: float
    threshold: float
    area: float
    has_heat: bool


def localise(heatmap: np.ndarray, lesion_mask: np.ndarray) -> Localisation:
    """Return all the numbers at once.

    Args:
        heatmap: (H, W), not negative, any unit.
        lesion_mask: bool (H, W).

    Raises:
        ValueError: when the shapes differ, the mask is not of bools, or the heat is negative or
            not finite.
    """
    iou, threshold = best_iou(heatmap, lesion_mask)
    return Localisation(
        hit=pointing_game(heatmap, lesion_mask),
        inside=share_inside(heatmap, lesion_mask),
        iou=iou,
        threshold=threshold,
        area=float(lesion_mask.mean()),
        has_heat=bool(heatmap.any()),
    )


def pointing_game(heatmap: np.ndarray, lesion_mask: np.ndarray) -> bool:
    """Tell whether the hottest point lies in the lesion (Zhang 2018, arXiv 1608.00507).

    There a miss by up to 15 pixels counts as a hit; here it does not, as the mask is exact. Where
    several pixels are the hottest, more than half of them must lie inside. A map of zeros and an
    empty mask give no hit.

    Args, Raises: as `localise`.
    """
    _check(heatmap, lesion_mask)
    top = heatmap.max()
    return bool(top > 0 and lesion_mask[heatmap == top].mean() > 0.5)


def share_inside(heatmap: np.ndarray, lesion_mask: np.ndarray) -> float:
    """Return the share of all heat that lies in the lesion, in [0, 1].

    The "energy-based pointing game" of Wang 2020 (Score-CAM, arXiv 1910.01279). 0 for a map of
    zeros and for an empty mask.

    Args, Raises: as `localise`.
    """
    _check(heatmap, lesion_mask)
    total = float(heatmap.sum(dtype=np.float64))
    return float(heatmap[lesion_mask].sum(dtype=np.float64)) / total if total > 0 else 0.0


def best_iou(heatmap: np.ndarray, lesion_mask: np.ndarray) -> tuple[float, float]:
    """Return the best overlap that any threshold gives, and that threshold.

    The overlap of the region where the heat is at least t with the lesion is their intersection
    over their union (Jaccard 1901). Every t that the map knows is tried, so this is the most that
    the map could give to somebody who knew the best t beforehand. Of equal ones the hottest counts.

    Args, Raises: as `localise`.

    Returns:
        The overlap in [0, 1] and t in the map's unit; both 0 for a map of zeros or an empty mask.
    """
    _check(heatmap, lesion_mask)
    hot = heatmap > 0
    lesion = int(np.count_nonzero(lesion_mask))
    if not lesion or not hot.any():
        return 0.0, 0.0
    heat = heatmap[hot]
    order = np.argsort(heat)[::-1]
    heat = heat[order]
    inside = np.cumsum(lesion_mask[hot][order])
    # Pixels of equal heat come together: a region ends only where the heat falls.
    ends = np.flatnonzero(np.r_[heat[1:] != heat[:-1], True])
    overlap = inside[ends] / (lesion + ends + 1 - inside[ends])
    best = int(overlap.argmax())
    return float(overlap[best]), float(heat[ends[best]])


def _check(heatmap: np.ndarray, lesion_mask: np.ndarray) -> None:
    if heatmap.ndim != 2 or heatmap.shape != lesion_mask.shape or not heatmap.size:
        raise ValueError(
            f"The heatmap has the shape {heatmap.shape}, the mask {lesion_mask.shape}: both must "
            "be (H, W), on the same pixels."
        )
    if lesion_mask.dtype != np.bool_:
        raise ValueError(f"The mask holds {lesion_mask.dtype}: give bools, True in the lesion.")
    if not (heatmap.min() >= 0 and np.isfinite(heatmap.max())):
        raise ValueError("The heat is negative or not finite: give a heatmap, or a CAM, as it is.")
