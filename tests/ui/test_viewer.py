"""What the viewer's component sends to the browser."""

import json
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from cxr_gradcam.densenet import LAST_LAYER
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import COLORMAPS
from cxr_gradcam.ui import frontend
from cxr_gradcam.ui.components.film import MAX_KEPT_BYTES, pack
from cxr_gradcam.ui.components.viewer import Panel, alternative_text, describe, outlines
from tests.ui.visiting import grid

FRONTEND = Path(frontend.__file__).parent


@pytest.fixture(scope="module")
def film() -> Radiograph:
    """A landscape radiograph."""
    return Radiograph.from_array(draw_phantom("COVID", 3, 200).radiograph.pixels[50:], name="f")


@pytest.fixture(scope="module")
def explanation(film: Radiograph, explainer: Explainer) -> Explanation:
    return explainer.explain(film, layers=[LAST_LAYER, "features.denseblock3"])


def unpack(data: bytes) -> tuple[dict[str, Any], np.ndarray]:
    """Return the header and the levels, as the browser reads them."""
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    planes = np.frombuffer(zlib.decompress(data[4 + length :]), np.uint8)
    planes = planes.reshape(header["depth"], header["height"], header["width"])
    kind = np.uint8 if header["depth"] == 1 else np.uint16
    steps = planes[0] if header["depth"] == 1 else planes[0].astype(kind) << 8 | planes[1]
    return header, np.cumsum(steps, axis=1, dtype=kind)


def test_a_film_of_eight_bits_is_sent_in_eight_bits() -> None:
    stored = np.random.default_rng(0).integers(0, 256, (40, 70)).astype(np.uint8)
    film = Radiograph.from_array(stored / np.float32(255), name="a")
    header, levels = unpack(pack(film))
    assert header == {"digest": film.digest, "level": 0, "height": 40, "width": 70, "depth": 1}
    np.testing.assert_array_equal(levels, stored)


def test_a_film_of_more_bits_loses_none() -> None:
    stored = np.random.default_rng(0).integers(0, 65536, (40, 70)).astype(np.uint16)
    film = Radiograph.from_array(stored / np.float32(65535), name="a")
    header, levels = unpack(pack(film))
    assert header["depth"] == 2
    np.testing.assert_array_equal(levels, stored)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shape", [(40, 72), (41, 71)])
def test_a_preview_is_the_film_averaged_two_by_two(shape: tuple[int, int], bits: int) -> None:
    stored = np.random.default_rng(0).integers(0, 2**bits, shape)
    film = Radiograph.from_array((stored / (2**bits - 1)).astype(np.float32), name="a")
    expected = stored * 257 if bits == 8 else stored
    for level in (1, 2, 3):
        padded = np.pad(expected, [(0, side % 2) for side in expected.shape], mode="edge")
        four = [padded[i::2, j::2] for i in (0, 1) for j in (0, 1)]
        expected = (sum(four) + 2) >> 2
        header, levels = unpack(pack(film, level))
        assert (header["level"], header["height"], header["width"]) == (level, *expected.shape)
        np.testing.assert_array_equal(levels, expected)


def test_a_panel_is_described_in_plain_json(film: Radiograph, explanation: Explanation) -> None:
    panel = Panel(film, "<b>", "5%", explanation, "Normal", LAST_LAYER, 0.5, "shared scale")
    said = json.loads(json.dumps(describe(panel)))
    assert (said["title"], said["film"]) == ("<b>", film.digest)
    assert said["map"]["top"] == 0.5
    assert said["map"]["peak"] == explanation.peak("Normal", LAST_LAYER)
    assert said["map"]["unit"] == "logits per cell"
    assert said["map"]["square"]["height"] == explanation.letterbox.content_height
    assert grid(said["map"]["cam"]).tolist() == explanation.cam("Normal").tolist()
    assert grid(said["map"]["evidence"]).tolist() == explanation.evidence("Normal").tolist()


def test_evidence_is_told_where_the_cells_add_up_to_the_score(
    film: Radiograph, explanation: Explanation, explainer: Explainer
) -> None:
    def evidence(answer: Explanation, layer: str) -> Any:
        return describe(Panel(film, "", "", answer, "Normal", layer, 1.0))["map"]["evidence"]

    assert evidence(explanation, "features.denseblock3") is None
    assert evidence(explainer.explain(film, method="eigencam"), LAST_LAYER) is None
    against = explainer.explain(film, contrast="COVID")
    expected = explanation.evidence("Normal") - explanation.evidence("COVID")
    np.testing.assert_allclose(grid(evidence(against, LAST_LAYER)), expected, atol=1e-6)


def test_every_picture_has_words(
    film: Radiograph, explanation: Explanation, explainer: Explainer
) -> None:
    assert alternative_text(Panel(film, "")) == "Radiograph without colours"
    heat = Panel(film, "", "", explanation, "Viral Pneumonia", LAST_LAYER, 1.0)
    assert alternative_text(heat) == (
        "Radiograph with the heatmap of Viral Pneumonia, Grad-CAM, norm5"
    )
    cold = Panel(film, "", "", explanation, "Lung_Opacity", LAST_LAYER)
    assert alternative_text(cold) == (
        "Radiograph without colours: no positive evidence for Lung Opacity, Grad-CAM, norm5"
    )
    free = Panel(film, "", "", explainer.explain(film, method="eigencam"), "COVID", LAST_LAYER, 1)
    assert alternative_text(free) == "Radiograph with the heatmap of Eigen-CAM, norm5"


def test_outlines_run_along_the_mask() -> None:
    mask = np.zeros((60, 80), bool)
    mask[10:30, 20:50] = True
    mask[15:25, 30:40] = False  # a hole has an outline of its own
    mask[50:55, 5:9] = True
    lines = outlines(mask)
    assert len(lines) == 3
    drawn = np.zeros(mask.shape, np.uint8)
    for line in lines:
        cv2.polylines(drawn, [np.array(line, np.int32).reshape(-1, 1, 2)], True, 1)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) - cv2.erode(
        mask.astype(np.uint8), np.ones((3, 3))
    )
    assert drawn[10, 20] == drawn[29, 49] == 1
    assert not drawn[near == 0].any()
    assert outlines(np.zeros((5, 5), bool)) == []


def _page() -> None:
    import numpy as np
    import streamlit as st

    from cxr_gradcam.phantom import draw_phantom
    from cxr_gradcam.radiograph import Radiograph
    from cxr_gradcam.ui.components.viewer import Panel, viewer

    large = Radiograph.from_array(np.eye(2100, 900), name="large")
    films = [draw_phantom("COVID", 1, 64).radiograph, large]
    viewer([Panel(film, "a") for film in (*films, films[0])], key="one")
    viewer([Panel(films[0], "b")], key="two")
    st.text(len(st.session_state["_packed_films"]))


def test_a_film_is_sent_once_in_a_run_and_packed_once_in_a_session() -> None:
    page = AppTest.from_function(_page, default_timeout=30).run()
    for _ in range(2):
        assert not page.exception
        names = [each.proto.component_name for each in page.get("bidi_component")]
        assert names.count("cxr_gradcam.film") == 3  # of the large one a preview, too
        assert names.count("cxr_gradcam.viewer") == 2
        assert page.text[-1].value == "3"
        page.run()
    assert MAX_KEPT_BYTES < 2**26


def test_what_changes_is_small(film: Radiograph, explanation: Explanation) -> None:
    panel = Panel(film, "", "", explanation, "COVID", "features.denseblock3", 1.0)
    assert len(json.dumps(describe(panel))) < 2000
    assert len(frontend.LOADER) < 1000


def test_the_program_is_all_of_its_files() -> None:
    scripts = {path.stem for path in FRONTEND.glob("*.js")} - {"loader"}
    assert scripts == set(frontend._SCRIPTS)
    for name in scripts:
        assert (FRONTEND / f"{name}.js").read_text(encoding="utf-8") in frontend.ENGINE
    for name in COLORMAPS:
        assert f'"{name}"' in frontend.ENGINE
    assert "http" not in frontend.ENGINE + frontend.LOADER  # asks no machine for anything
