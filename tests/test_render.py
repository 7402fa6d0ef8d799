"""The overlay: nothing rescaled, nothing painted without heat, colours as the table says."""

import io

import numpy as np
import pytest
from PIL import Image

from cxr_gradcam.explainer import Explainer
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import (
    COLORMAPS,
    DISCLAIMER,
    NO_EVIDENCE,
    ONSET,
    colormap_table,
    comparison_figure,
    overlay,
    plot_text,
    to_grey,
)
from cxr_gradcam.words import percent


@pytest.fixture
def film() -> Radiograph:
    rng = np.random.default_rng(0)
    return Radiograph.from_array(rng.random((60, 90), np.float32), name="noise")


@pytest.fixture
def ramp() -> np.ndarray:
    return np.tile(np.linspace(0, 1, 90, dtype=np.float32), (60, 1))


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_opacity_zero_gives_the_radiograph_back_exactly(
    film: Radiograph, ramp: np.ndarray, colormap: str
) -> None:
    picture = overlay(film, ramp, colormap, opacity=0)
    assert (picture.dtype, picture.shape) == (np.uint8, (60, 90, 3))
    np.testing.assert_array_equal(picture, np.dstack([to_grey(film)] * 3))


def test_a_heatmap_of_zeros_paints_nothing(film: Radiograph) -> None:
    picture = overlay(film, np.zeros((60, 90), np.float32), opacity=1)
    np.testing.assert_array_equal(picture, np.dstack([to_grey(film)] * 3))


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_full_opacity_shows_the_colour_map_itself(
    film: Radiograph, ramp: np.ndarray, colormap: str
) -> None:
    picture = overlay(film, ramp, colormap, opacity=1)
    painted = ramp >= ONSET
    expected = colormap_table(colormap)[np.rint(ramp * 255).astype(int)]
    difference = np.abs(picture[painted].astype(int) - expected[painted])
    assert difference.max() <= 1


@pytest.mark.parametrize("opacity", [0.2, 0.45, 0.8])
def test_the_mixture_is_the_stated_one(film: Radiograph, ramp: np.ndarray, opacity: float) -> None:
    threshold = 0.3
    picture = overlay(film, ramp, "viridis", opacity, threshold).astype(float)
    share = np.clip((ramp - threshold) / ONSET, 0, 1)[..., None] * opacity
    colour = colormap_table("viridis")[np.rint(ramp * 255).astype(int)]
    expected = (1 - share) * to_grey(film)[..., None] + share * colour
    assert np.abs(picture - expected).max() <= 1


def test_nothing_is_painted_up_to_the_threshold(film: Radiograph, ramp: np.ndarray) -> None:
    picture = overlay(film, ramp, opacity=1, threshold=0.5)
    grey = np.dstack([to_grey(film)] * 3)
    np.testing.assert_array_equal(picture[ramp <= 0.5], grey[ramp <= 0.5])
    assert (picture[ramp > 0.6] != grey[ramp > 0.6]).any(axis=1).all()
    np.testing.assert_array_equal(overlay(film, ramp, opacity=1, threshold=1), grey)


def test_eight_bit_greys_survive(film: Radiograph) -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    radiograph = Radiograph.from_array(stored * np.float32(1 / 255), name="greys")
    np.testing.assert_array_equal(to_grey(radiograph), stored)


def test_colour_maps() -> None:
    for name in COLORMAPS:
        table = colormap_table(name)
        assert (table.dtype, table.shape) == (np.uint8, (256, 3))
        assert not table.flags.writeable
    np.testing.assert_array_equal(colormap_table("gray")[7], [7, 7, 7])
    # RGB, not OpenCV's BGR: viridis starts dark violet and ends yellow, jet goes blue to red.
    assert colormap_table("viridis")[0].argmax() == 2
    assert colormap_table("viridis")[255].argmin() == 2
    assert colormap_table("jet")[0].argmax() == 2
    assert colormap_table("jet")[255].argmax() == 0


def test_wrong_arguments_are_named(film: Radiograph, ramp: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no colormap 'rainbow' here: choose one of turbo, jet"):
        overlay(film, ramp, "rainbow")
    with pytest.raises(ValueError, match=r"opacity must be from 0 to 1, not 1\.5"):
        overlay(film, ramp, opacity=1.5)
    with pytest.raises(ValueError, match="threshold must be from 0 to 1, not -1"):
        overlay(film, ramp, threshold=-1)
    with pytest.raises(ValueError, match=r"shape \(2, 2\), the radiograph \(60, 90\)"):
        overlay(film, np.zeros((2, 2), np.float32))
    for wrong in (ramp * 2, ramp - 1, np.full_like(ramp, np.nan)):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
            overlay(film, wrong)


@pytest.mark.parametrize("scale", ["shared", "each"])
def test_the_comparison_shows_every_class_with_its_units(
    explainer: Explainer, phantoms: list[Radiograph], scale: str
) -> None:
    layer = "features.denseblock4"
    explanation = explainer.explain(phantoms[0], [layer])
    figure = comparison_figure(phantoms[0], explanation, scale=scale)  # type: ignore[arg-type]
    panels = [axis for axis in figure.axes if axis.images]
    titles = [axis.get_title() for axis in panels]
    assert titles[0] == "radiograph"
    for name, title in zip(explanation.classes, titles[1:], strict=True):
        assert title == f"{name.replace('_', ' ')}  {percent(explanation.probabilities[name])}"
    silent = [name for name in explanation.classes if explanation.peak(name) == 0]
    assert [axis.get_xlabel() for axis in panels].count(NO_EVIDENCE) == len(silent)
    bars = [axis for axis in figure.axes if axis not in panels and axis.get_visible()]
    if scale == "shared":
        (bar,) = bars
        assert bar.get_ylabel() == "logits per cell"
        top = max(explanation.peak(name) for name in explanation.classes)
        assert bar.get_ylim()[1] == pytest.approx(top)
    else:
        assert len(bars) == len(explanation.classes) - len(silent)
    assert DISCLAIMER in figure.get_suptitle()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=60)
    assert Image.open(file).width > Image.open(file).height


def test_the_comparison_shows_one_map_of_a_method_that_knows_no_class(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    figure = comparison_figure(phantoms[0], explainer.explain(phantoms[0], method="eigencam"))
    titles = [axis.get_title() for axis in figure.axes if axis.images]
    assert titles == ["radiograph", "Eigen-CAM"]
    assert "knows no class" in figure.get_suptitle()


def test_the_bar_of_the_comparison_is_white_where_nothing_is_painted(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    figure = comparison_figure(phantoms[0], explainer.explain(phantoms[0]), threshold=0.5)
    bar = next(axis for axis in figure.axes if axis.get_ylabel() == "logits per cell")
    shades = bar.collections[-1].cmap(np.linspace(0, 1, 256))[:, :3]
    np.testing.assert_array_equal(shades[:128], 1)
    np.testing.assert_array_equal(shades[128:], colormap_table("turbo")[128:] / 255.0)


def test_the_comparison_of_a_strip_is_no_tower(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    strip = Radiograph.from_array(np.tile(phantoms[0].pixels[:, :16], (20, 1)), name="strip")
    figure = comparison_figure(strip, explainer.explain(strip))
    assert figure.get_figheight() < 10


def test_names_in_figures_are_drawn_letter_by_letter() -> None:
    assert plot_text("A$x$B") == r"A\$x\$B"
    assert plot_text("one\ntwo") == "one?two"
    assert plot_text("Pleural Thickening and Effusion", 22) == "Pleural Th…d Effusion"
    assert plot_text("x" * 22, 22) == "x" * 22
