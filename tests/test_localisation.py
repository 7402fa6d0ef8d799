"""Does the heat lie where the lesion is: the numbers against counting by hand."""

import numpy as np
import pytest

from cxr_gradcam.explainer import Explainer
from cxr_gradcam.localisation import best_iou, localise, pointing_game, share_inside
from cxr_gradcam.phantom import draw_phantom

HEAT = np.array([[0.0, 0.2, 0.2], [0.1, 0.8, 0.4], [0.0, 0.3, 0.0]], np.float32)
MASK = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]], bool)
EMPTY = np.zeros((3, 3), bool)


def iou_by_hand(heatmap: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Try every threshold, one after the other, from the hottest down."""
    best, at = 0.0, 0.0
    for threshold in sorted(set(heatmap[heatmap > 0].tolist()), reverse=True):
        region = heatmap >= np.float32(threshold)
        iou = (region & mask).sum() / (region | mask).sum()
        if iou > best:
            best, at = float(iou), threshold
    return best, at


def test_by_hand() -> None:
    found = localise(HEAT, MASK)
    assert found.hit
    assert found.inside == pytest.approx((0.8 + 0.4 + 0.3) / 2.0)
    assert found.iou == pytest.approx(3 / 4)  # the three hottest pixels are all in the lesion
    assert found.threshold == pytest.approx(0.3)
    assert found.area == pytest.approx(4 / 9)
    assert found.has_heat


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_the_best_overlap_is_the_best_of_all_thresholds(levels: int) -> None:
    rng = np.random.default_rng(levels)
    for _ in range(20):
        heatmap = (rng.integers(0, levels, (9, 7)) / levels).astype(np.float32)  # with many ties
        mask = rng.random((9, 7)) < 0.3
        if mask.any():
            assert best_iou(heatmap, mask) == pytest.approx(iou_by_hand(heatmap, mask))


def test_a_map_that_is_the_lesion_is_perfect() -> None:
    found = localise(MASK.astype(np.float32), MASK)
    assert (found.hit, found.inside, found.iou, found.threshold) == (True, 1.0, 1.0, 1.0)


def test_an_even_map_knows_nothing() -> None:
    found = localise(np.full((3, 3), 0.7, np.float32), MASK)
    assert not found.hit  # 4 of 9 hottest pixels
    assert found.inside == pytest.approx(found.area)
    assert found.iou == pytest.approx(found.area)


def test_of_tied_peaks_most_must_lie_inside() -> None:
    heatmap = np.zeros((3, 3), np.float32)
    heatmap[1, 1] = heatmap[0, 0] = 1
    assert not pointing_game(heatmap, MASK)
    heatmap[2, 2] = 1
    assert pointing_game(heatmap, MASK)


@pytest.mark.parametrize(
    ("heatmap", "mask"),
    [(np.zeros((3, 3), np.float32), MASK), (HEAT, EMPTY), (np.zeros((3, 3), np.float32), EMPTY)],
    ids=["no heat", "no lesion", "neither"],
)
def test_nothing_found_where_there_is_no_heat_or_no_lesion(
    heatmap: np.ndarray, mask: np.ndarray
) -> None:
    assert not pointing_game(heatmap, mask)
    assert share_inside(heatmap, mask) == 0
    assert best_iou(heatmap, mask) == (0, 0)
    assert localise(heatmap, mask).has_heat == heatmap.any()


def test_the_unit_of_the_map_changes_only_the_threshold() -> None:
    small, large = localise(HEAT, MASK), localise(HEAT * np.float32(1000), MASK)
    assert (large.hit, large.area) == (small.hit, small.area)
    assert [large.inside, large.iou] == pytest.approx([small.inside, small.iou])
    assert large.threshold == pytest.approx(1000 * small.threshold)


@pytest.mark.parametrize(
    ("heatmap", "mask", "sentence"),
    [
        (HEAT, MASK[:2], r"shape \(3, 3\), the mask \(2, 3\)"),
        (HEAT[0], MASK[0], r"both must be \(H, W\)"),
        (np.zeros((0, 3)), np.zeros((0, 3), bool), "both must be"),
        (HEAT, MASK.astype(np.uint8), "The mask holds uint8"),
        (-HEAT, MASK, "negative or not finite"),
        (np.full((3, 3), np.nan), MASK, "negative or not finite"),
        (np.full((3, 3), np.inf), MASK, "negative or not finite"),
    ],
)
def test_what_does_not_fit_is_said(heatmap: np.ndarray, mask: np.ndarray, sentence: str) -> None:
    for function in (localise, pointing_game, share_inside, best_iou):
        with pytest.raises(ValueError, match=sentence):
            function(heatmap, mask)


def test_a_heatmap_of_a_phantom_and_its_cam_agree(explainer: Explainer) -> None:
    phantom = draw_phantom("Lung_Opacity", 2)
    explanation = explainer.explain(phantom.radiograph)
    heatmap = explanation.heatmap("Lung_Opacity")
    cam = explanation.letterbox.restore(explanation.cam("Lung_Opacity"))
    on_heatmap, on_cam = localise(heatmap, phantom.lesion_mask), localise(cam, phantom.lesion_mask)
    assert on_heatmap.hit == on_cam.hit
    assert on_heatmap.inside == pytest.approx(on_cam.inside, abs=1e-4)
    assert on_heatmap.iou == pytest.approx(on_cam.iou, abs=1e-3)
    assert 0 < on_heatmap.inside < 1
