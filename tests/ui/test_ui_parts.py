"""The parts of the page that need no page: downloads, names, the bounded memory."""

from io import BytesIO

import cv2
import numpy as np
import pytest

import cxr_gradcam as cg
from cxr_gradcam.explainer import Explainer, Scale
from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.ui.cache import Cache
from cxr_gradcam.ui.components.controls import Look
from cxr_gradcam.ui.components.downloads import file_name, heatmap_npy, overlay_png
from cxr_gradcam.ui.components.picture import encode_png
from cxr_gradcam.ui.session import Explained
from cxr_gradcam.ui.text import file_part, layer_label, number, plain, signed

LAYER = "features.denseblock3"


@pytest.fixture(scope="module")
def film() -> Radiograph:
    """A landscape radiograph."""
    return Radiograph.from_array(draw_phantom("COVID", 3, 200).radiograph.pixels[50:], name="f.png")


@pytest.fixture(scope="module")
def explanation(film: Radiograph, explainer: Explainer) -> cg.Explanation:
    return explainer.explain(film, layers=[LAYER])


@pytest.mark.parametrize("scale", ["shared", "each"])
def test_downloads_hold_what_the_engine_gives(
    film: Radiograph, explanation: cg.Explanation, scale: Scale
) -> None:
    look = Look(LAYER, "gradcam", "viridis", 0.6, 0.2, scale)
    heatmap = explanation.heatmap("Normal", LAYER, scale)
    saved = np.load(BytesIO(heatmap_npy(explanation, "Normal", look)))
    assert saved.dtype == np.float32
    np.testing.assert_array_equal(saved, heatmap)
    data = overlay_png(film, explanation, "Normal", look)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[:, :, ::-1]
    np.testing.assert_array_equal(decoded, cg.overlay(film, heatmap, "viridis", 0.6, 0.2))


def test_grey_pictures_are_kept_exactly() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    decoded = cv2.imdecode(np.frombuffer(encode_png(grey), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, grey)


def test_file_names_tell_what_is_inside_and_stay_in_their_folder(film: Radiograph) -> None:
    look = Look(LAYER, "gradcam++", "turbo", 0.5, 0.0, "shared")
    name = file_name("overlay", film, "Viral Pneumonia", look, "png")
    assert name == "f-overlay-Viral_Pneumonia-denseblock3-gradcam++-shared.png"
    foreign = Radiograph.from_array(film.pixels, name="фильм.png")
    assert file_name("heatmap", foreign, "A", look, "npy").startswith("radiograph-heatmap-A-")
    assert file_part("../..\\etc/pass wd") == "etc_pass_wd"
    assert file_part("a" * 500) == "a" * 80


def test_shrunken_heatmaps_lie_where_the_full_ones_do(explanation: cg.Explanation) -> None:
    peaks = {name: explanation.peak(name) for name in explanation.classes}
    small = Radiograph.from_array(np.linspace(0, 1, 75 * 100).reshape(75, 100), name="small")
    shrunk = Explained(explanation, peaks).on_grid(small).heatmap("COVID")
    full = explanation.heatmap("COVID")
    assert shrunk.shape == (75, 100)
    # Every second pixel's centre lies between two centres of the full heatmap.
    between = (full[::2, ::2] + full[1::2, ::2] + full[::2, 1::2] + full[1::2, 1::2]) / 4
    np.testing.assert_allclose(shrunk * between.max(), between, atol=0.02)


def test_plain_escapes_all_markdown() -> None:
    assert plain("a_b *c* <i> :red[x] $y$ `z`\n# h") == (
        r"a\_b \*c\* \<i\> \:red\[x\] \$y\$ \`z\` \# h"
    )


def test_numbers_read_well() -> None:
    assert [number(value) for value in (0, 0.0572, 79.23, 2.5e-7)] == [
        "0", "0.0572", "79.2", "2.50e-07",
    ]  # fmt: skip
    assert signed(-0.284) == "−0.28"
    assert layer_label("features.norm5", 7) == "norm5 — 7 × 7 cells"


def test_cache_keeps_the_last_used_within_its_budget() -> None:
    cache: Cache[int] = Cache(10, lambda value: value)
    made: list[str] = []

    def make(key: str, value: int) -> int:
        return cache.get(key, lambda: made.append(key) or value)

    make("a", 4)
    make("b", 4)
    make("a", 4)
    make("c", 4)  # drops b, which was used longest ago
    assert made == ["a", "b", "c"]
    make("a", 4)
    make("b", 4)
    assert made == ["a", "b", "c", "b"]
    make("huge", 99)
    assert len(cache) == 1  # the newest stays, whatever it weighs


def test_cache_keeps_no_failure() -> None:
    cache: Cache[int] = Cache(2)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 // 0)
    assert cache.get("a", lambda: 5) == 5
