"""Agreement between maps, against SciPy's rank correlation and by hand."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from cxr_gradcam.agreement import agreement
from cxr_gradcam.cam import METHODS
from cxr_gradcam.densenet import LAST_LAYER, MAIN_LAYERS
from cxr_gradcam.explainer import Explainer, Question
from cxr_gradcam.preprocess import Letterbox
from cxr_gradcam.radiograph import Radiograph

SQUARE = Letterbox.fit(500, 500, 224)
FAST = [name for name, method in METHODS.items() if method.needs != "passes"]


def maps(count: int, cells: int = 7, seed: int = 0) -> list[np.ndarray]:
    """Maps with many ties: mostly zero, as after a ReLU, and few different values."""
    rng = np.random.default_rng(seed)
    return [
        np.maximum(rng.integers(-6, 6, (cells, cells)), 0).astype(np.float32) / 5
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_equals_scipy_with_ties(seed: int) -> None:
    cams = maps(4, seed=seed)
    expected = spearmanr(np.stack([cam.ravel() for cam in cams]), axis=1).statistic
    np.testing.assert_allclose(agreement(cams, SQUARE), expected, atol=1e-12)


def test_ties_share_their_mean_rank() -> None:
    # Ranks 1.5 1.5 3 4 against 1 2 3.5 3.5; by hand r = (-1 * -1.5 + -1 * -.5 + .5 + 1.5) / 4.5.
    first = np.array([[0, 0], [1, 2]], np.float32)
    second = np.array([[1, 2], [3, 3]], np.float32)
    assert agreement([first, second], SQUARE)[0, 1] == pytest.approx(4 / 4.5)


def test_only_the_order_counts() -> None:
    cam = np.random.default_rng(0).random((14, 14)).astype(np.float32)
    score = agreement([cam, 1000 * cam, np.sqrt(cam), -cam], SQUARE)
    np.testing.assert_allclose(score[0], [1, 1, 1, -1], atol=1e-6)
    np.testing.assert_array_equal(score, score.T)


def test_unrelated_maps_score_about_zero() -> None:
    rng = np.random.default_rng(0)
    cams = [rng.random((56, 56)).astype(np.float32) for _ in range(2)]
    assert abs(agreement(cams, SQUARE)[0, 1]) < 0.05


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_map_has_no_order_to_agree_with(value: float) -> None:
    rng = np.random.default_rng(0)
    constant = np.full((7, 7), value, np.float32)
    constant *= (1 + 1e-7 * rng.random((7, 7))).astype(np.float32)  # but for the last bit
    score = agreement([maps(1)[0], constant, maps(2)[1]], SQUARE)
    assert np.isnan(score[1]).all()
    assert np.isnan(score[:, 1]).all()
    assert np.isfinite(score[0, 2])
    assert score[0, 0] == 1


def test_the_last_bits_order_nothing() -> None:
    cam = maps(1)[0]
    noise = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    assert agreement([cam, cam + 1e-7 * noise], SQUARE)[0, 1] == pytest.approx(1)


def test_heat_in_the_padding_does_not_count() -> None:
    wide = Letterbox.fit(300, 700, 224)  # of 7 rows of cells the centres of 2, 3, 4 are on it
    rng = np.random.default_rng(0)
    first, second = (rng.random((7, 7)).astype(np.float32) for _ in range(2))
    expected = spearmanr(first[2:5].ravel(), second[2:5].ravel()).statistic
    assert agreement([first, second], wide)[0, 1] == pytest.approx(expected, abs=1e-12)
    sliver = Letterbox.fit(2, 700, 224)
    expected = spearmanr(first[3], second[3]).statistic
    assert agreement([first, second], sliver)[0, 1] == pytest.approx(expected, abs=1e-12)


def test_no_map_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="no map to compare"):
        agreement([], Letterbox.fit(10, 10, 32))


def test_maps_of_different_layers_meet_on_the_finest_grid() -> None:
    slope = np.linspace(0, 1, 56, dtype=np.float32)
    fine = np.add.outer(slope, 2 * slope)
    coarse = fine.reshape(7, 8, 7, 8).mean((1, 3))
    assert agreement([fine, coarse], SQUARE)[0, 1] > 0.99
    assert agreement([fine, coarse[::-1, ::-1]], SQUARE)[0, 1] < -0.99
    doubled = np.repeat(np.repeat(coarse, 2, axis=0), 2, axis=1)
    assert agreement([coarse, doubled], SQUARE).shape == (2, 2)


def test_methods_that_must_agree_at_the_last_layer_do(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    questions = [Question(method) for method in ("gradcam", "hirescam", "xgradcam")]
    for radiograph in phantoms:
        answers = explainer.compare(radiograph, questions)
        cams = [answer.cam(answer.predicted) for answer in answers]
        np.testing.assert_allclose(agreement(cams, answers[0].letterbox), 1, atol=1e-3)


def test_real_maps_of_all_methods_and_layers_score_in_range(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    answers = explainer.compare(phantoms[0], [Question(method) for method in FAST], MAIN_LAYERS)
    for layer in MAIN_LAYERS:
        cams = [answer.cam("COVID", layer) for answer in answers]
        score = agreement(cams, answers[0].letterbox)
        assert np.nanmin(score) >= -1
        assert np.nanmax(score) <= 1
    layers = [answers[0].cam(answers[0].predicted, layer) for layer in MAIN_LAYERS]
    score = agreement(layers, answers[0].letterbox)
    assert score[MAIN_LAYERS.index(LAST_LAYER), MAIN_LAYERS.index(LAST_LAYER)] == 1
