"""The page "Explain" in its empty, error and filled states, without a browser."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from cxr_gradcam.cam import METHODS
from cxr_gradcam.checkpoint import load_checkpoint, save_checkpoint
from cxr_gradcam.classifier import Classifier
from cxr_gradcam.densenet import LAST_LAYER, MAIN_LAYERS
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.familiarity import fit_familiarity
from cxr_gradcam.phantom import CLASS_NAMES, draw_phantom, write_phantoms
from cxr_gradcam.render import DISCLAIMER
from cxr_gradcam.ui import shared
from cxr_gradcam.ui.components.viewer import ZERO_MAP
from cxr_gradcam.ui.session import MAX_EXPLANATIONS, Keys

APP = str(Path(__file__).parents[2] / "streamlit_app.py")


@pytest.fixture(autouse=True)
def _nothing_set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No dataset, the bundled checkpoint, and a working folder without data."""
    monkeypatch.delenv("CXR_DATA", raising=False)
    monkeypatch.delenv(shared.CHECKPOINT_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module", autouse=True)
def _fresh_resources() -> Iterator[None]:
    yield
    st.cache_resource.clear()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the network was asked for, one entry per `Explainer.explain_batch`."""
    asked: list[tuple[Any, ...]] = []
    original = Explainer.explain_batch

    def counted(self: Explainer, radiographs: Any, layers: Any, *rest: Any, **named: Any) -> Any:
        asked.append((tuple(layers), *rest))
        return original(self, radiographs, layers, *rest, **named)

    monkeypatch.setattr(Explainer, "explain_batch", counted)
    return asked


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Draw a phantom as a PNG file."""

    def draw(label: str = "COVID", seed: int = 1) -> bytes:
        pixels = np.rint(draw_phantom(label, seed).radiograph.pixels * 255).astype(np.uint8)
        return cv2.imencode(".png", pixels)[1].tobytes()

    return draw


def open_page() -> AppTest:
    page = AppTest.from_file(APP, default_timeout=60).run()
    check(page)
    return page


def check(page: AppTest) -> None:
    assert not page.exception
    assert DISCLAIMER in text_of(page)


def text_of(page: AppTest) -> str:
    parts = [*page.get("html"), *page.markdown, *page.caption, *page.error, *page.info]
    return "\n".join(str(part.value) for part in parts)


def drop(page: AppTest, *files: tuple[str, bytes]) -> AppTest:
    """Add files to what lies in the uploader, as a browser does: the others keep their ids."""
    uploader = page.file_uploader(key=Keys.UPLOADS)
    kept = uploader._get_files_to_register()  # `upload` alone would take them out
    for name, data in files:
        uploader.upload(name, data)
    uploader._files = [*kept, *uploader._files]
    page.run()
    check(page)
    return page


def pictures(page: AppTest) -> list[str]:
    """The address of every picture, which Streamlit makes from its contents."""
    return [url for image in page.get("image") for url in image.value]


def errors(page: AppTest) -> list[str]:
    return [error.value.replace("\\", "") for error in page.error]


# --- empty, samples


def test_empty_page_invites_and_offers_one_phantom_per_class() -> None:
    page = open_page()
    assert "Drop chest X-rays" in page.file_uploader(key=Keys.UPLOADS).label
    assert len(pictures(page)) == len(CLASS_NAMES)
    assert {button.key for button in page.button} >= {f"sample_{label}" for label in CLASS_NAMES}
    assert not page.selectbox  # no dataset, so nothing to pick from


def test_a_click_on_a_phantom_fills_the_page() -> None:
    page = open_page()
    page.button(key="sample_Viral Pneumonia").click().run()
    check(page)
    shown = text_of(page)
    assert "Viral Pneumonia phantom" in shown
    assert "Predicted class" in shown
    assert "logits per cell" in shown
    assert "shared scale" in shown
    assert len(pictures(page)) == 2 + len(CLASS_NAMES)
    page.button_group(key=Keys.SAMPLE).set_value("Normal").run()
    check(page)
    assert "Normal phantom" in text_of(page)


# --- error


def test_a_bad_file_says_so_and_the_page_stays_empty() -> None:
    page = drop(open_page(), ("notes.txt", b"not a picture"))
    assert len(errors(page)) == 1
    assert "notes.txt is no picture that can be read" in errors(page)[0]
    assert len(pictures(page)) == len(CLASS_NAMES)


def test_a_bad_file_leaves_the_last_good_radiograph(png: Callable[..., bytes]) -> None:
    page = drop(open_page(), ("good.png", png()))
    before = pictures(page)
    drop(page, ("broken.png", png()[:2000]))
    assert errors(page) == ["broken.png is damaged or incomplete: copy or export it again."]
    assert pictures(page) == before
    assert "good.png" in text_of(page)


def test_one_bad_file_among_good_ones(png: Callable[..., bytes]) -> None:
    page = drop(
        open_page(), ("a.png", png(seed=1)), ("bad.png", b"\x89PNG\r\n"), ("a.png", png(seed=2))
    )
    assert len(errors(page)) == 1
    assert "bad.png" in errors(page)[0]
    chooser = page.selectbox(key=Keys.UPLOAD)
    assert chooser.options == ["1 · a.png", "2 · a.png"]
    first = pictures(page)
    second = list(page.session_state["_read"])[2]
    chooser.select(second).run()
    check(page)
    assert pictures(page) != first


def test_a_file_taken_out_is_no_longer_shown(png: Callable[..., bytes]) -> None:
    page = drop(open_page(), ("mine.png", png()))
    assert "mine.png" in text_of(page)
    page.file_uploader(key=Keys.UPLOADS).clear().run()
    check(page)
    assert "mine.png" not in text_of(page)
    assert len(pictures(page)) == len(CLASS_NAMES)


def test_a_hostile_name_is_only_text(png: Callable[..., bytes]) -> None:
    name = "<img src=x onerror=alert(1)> **b** [l](http:x).png"
    page = drop(open_page(), (name, png()), (name, b"broken"))
    assert "<img src=x" not in text_of(page)
    assert "&lt;img src=x onerror=alert(1)&gt; **b**" in text_of(page)
    assert r"\<img src\=x" in page.error[0].value
    assert r"\*\*b\*\*" in page.error[0].value


@pytest.mark.parametrize("content", [None, b"no weights"], ids=["missing", "wrong"])
def test_a_checkpoint_that_cannot_be_used_is_one_sentence(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.safetensors"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(shared.CHECKPOINT_VARIABLE, str(path))
    page = AppTest.from_file(APP, default_timeout=60).run()
    assert not page.exception
    assert len(page.error) == 1
    assert "mine.safetensors" in errors(page)[0]


# --- dataset


def test_dataset_film_is_picked_by_class_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_phantoms(tmp_path / "films", 8)
    (tmp_path / "films/Normal/images/Normal-phantom-10.png").write_bytes(b"broken")
    monkeypatch.setenv("CXR_DATA", str(tmp_path / "films"))
    page = open_page()
    page.selectbox(key=Keys.DATASET_CLASS).select("Normal").run()
    options = ["Normal-phantom-2.png", "Normal-phantom-6.png", "Normal-phantom-10.png"]
    assert page.selectbox(key=Keys.DATASET_FILE).options == options
    page.selectbox(key=Keys.DATASET_FILE).select(options[1]).run()
    check(page)
    assert "Normal-phantom-6.png" in text_of(page)
    before = pictures(page)

    page.selectbox(key=Keys.DATASET_FILE).select(options[2]).run()
    check(page)
    assert "Normal-phantom-10.png is no picture" in errors(page)[0]
    assert pictures(page) == before

    page.button_group(key=Keys.SAMPLE).set_value("COVID").run()
    check(page)
    assert not page.error
    assert page.selectbox(key=Keys.DATASET_FILE).value is None


def test_a_dataset_folder_that_is_none_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_DATA", str(tmp_path / "gone"))
    page = open_page()
    assert "There is no dataset folder" in page.warning[0].value.replace("\\", "")
    assert len(pictures(page)) == len(CLASS_NAMES)


# --- filled


def test_the_network_runs_only_for_a_new_radiograph_layer_or_method(
    passes: list[tuple[Any, ...]], png: Callable[..., bytes]
) -> None:
    page = drop(open_page(), ("film.png", png()))
    assert len(passes) == 1  # the verdict and the default map are one pass
    seen = [pictures(page)]
    for change in (
        lambda: page.slider(key=Keys.OPACITY).set_value(80),
        lambda: page.slider(key=Keys.THRESHOLD).set_value(40),
        lambda: page.selectbox(key=Keys.COLORMAP).select("inferno"),
        lambda: page.button_group(key=Keys.CLASS).set_value("Normal"),
        lambda: page.toggle(key=Keys.EACH_SCALE).set_value(True),
    ):
        change().run()
        check(page)
        seen.append(pictures(page))
    assert len(passes) == 1
    assert all(before != after for before, after in pairwise(seen))

    page.selectbox(key=Keys.LAYER).select("features.denseblock3").run()
    page.selectbox(key=Keys.METHOD).select("layercam").run()
    assert len(passes) == 3
    page.selectbox(key=Keys.METHOD).select("gradcam").run()
    page.selectbox(key=Keys.LAYER).select(LAST_LAYER).run()
    check(page)
    assert len(passes) == 3
    assert pictures(page) == seen[-1]


def test_choices_stay_when_the_radiograph_changes(png: Callable[..., bytes]) -> None:
    page = drop(open_page(), ("one.png", png(seed=1)))
    page.button_group(key=Keys.CLASS).set_value("Lung_Opacity")
    page.selectbox(key=Keys.LAYER).select("features.denseblock4")
    page.selectbox(key=Keys.COLORMAP).select("viridis")
    page.slider(key=Keys.OPACITY).set_value(70).run()
    drop(page, ("two.png", png(seed=2)))
    assert "two.png" in text_of(page)
    assert page.button_group(key=Keys.CLASS).value == "Lung_Opacity"
    assert page.selectbox(key=Keys.LAYER).value == "features.denseblock4"
    assert page.selectbox(key=Keys.COLORMAP).value == "viridis"
    assert page.slider(key=Keys.OPACITY).value == 70
    assert "Lung Opacity · Grad-CAM · denseblock4" in text_of(page)


def test_layers_are_named_with_their_resolution(
    classifier: Classifier, explainer: Explainer, png: Callable[..., bytes]
) -> None:
    page = drop(open_page(), ("film.png", png()))
    explanation = explainer.explain(draw_phantom("COVID", 1).radiograph, layers=list(MAIN_LAYERS))
    cells = [explanation.cam("COVID", layer).shape[0] for layer in MAIN_LAYERS]
    names = [layer.removeprefix("features.") for layer in MAIN_LAYERS]
    expected = [f"{name} — {n} × {n} cells" for name, n in zip(names, cells, strict=True)]
    assert page.selectbox(key=Keys.LAYER).options == expected


def test_every_method_but_the_slow_one_can_be_looked_at(png: Callable[..., bytes]) -> None:
    page = drop(open_page(), ("film.png", png()))
    for name, method in METHODS.items():
        if method.needs != "passes":
            page.selectbox(key=Keys.METHOD).select(name).run()
            check(page)
            assert f"{method.label} · norm5" in text_of(page)
            assert f"{method.unit} per cell" in text_of(page)


def test_eigencam_says_that_it_knows_no_class(png: Callable[..., bytes]) -> None:
    page = drop(open_page(), ("film.png", png()))
    page.selectbox(key=Keys.METHOD).select("eigencam").run()
    check(page)
    assert "Eigen-CAM knows no class" in text_of(page)
    assert len(pictures(page)) == 2  # not four times the same map


def test_scorecam_warns_and_shows_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, png: Callable[..., bytes]
) -> None:
    small = tmp_path / "small.safetensors"  # so that 256 passes take seconds
    save_checkpoint(replace(load_checkpoint(), input_size=64), small)
    monkeypatch.setenv(shared.CHECKPOINT_VARIABLE, str(small))
    shares: list[float] = []
    original = st.delta_generator.DeltaGenerator.progress

    def watched(self: Any, value: float, *rest: Any, **named: Any) -> Any:
        shares.append(value)
        return original(self, value, *rest, **named)

    monkeypatch.setattr(st.delta_generator.DeltaGenerator, "progress", watched)
    page = drop(open_page(), ("film.png", png()))
    page.selectbox(key=Keys.LAYER).select("features.denseblock1")
    page.selectbox(key=Keys.METHOD).select("scorecam").run()
    check(page)
    assert "runs the network once for every channel" in text_of(page)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert not page.get("progress")  # gone when done
    count = len(shares)
    page.slider(key=Keys.OPACITY).set_value(60).run()
    assert len(shares) == count


def test_a_zero_map_says_so_and_paints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, png: Callable[..., bytes]
) -> None:
    checkpoint = load_checkpoint()
    weights = dict(checkpoint.weights)
    weights["classifier.weight"] = weights["classifier.weight"].clone()
    weights["classifier.weight"][checkpoint.class_names.index("Normal")] = 0
    mute = tmp_path / "mute.safetensors"  # no place of any picture speaks for Normal
    save_checkpoint(replace(checkpoint, weights=weights), mute)
    monkeypatch.setenv(shared.CHECKPOINT_VARIABLE, str(mute))
    page = drop(open_page(), ("film.png", png()))
    assert not page.info
    page.button_group(key=Keys.CLASS).set_value("Normal").run()
    check(page)
    assert ZERO_MAP == "no positive evidence for this class at this layer"
    assert ZERO_MAP in page.info[0].value
    zero = pictures(page)
    page.slider(key=Keys.OPACITY).set_value(100).run()
    assert pictures(page)[1] == zero[1]  # the same pixels at any opacity


@pytest.mark.parametrize("known", [True, False])
def test_a_stranger_is_warned_of_and_still_explained(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, png: Callable[..., bytes]
) -> None:
    rng = np.random.default_rng(0)
    learned = fit_familiarity(rng.random((40, 1024)), rng.random((20, 1024)))
    learned = replace(learned, threshold=0.0 if known else 1.0)
    path = tmp_path / "c.safetensors"
    save_checkpoint(replace(load_checkpoint(), familiarity=learned), path)
    monkeypatch.setenv(shared.CHECKPOINT_VARIABLE, str(path))
    page = drop(open_page(), ("film.png", png()))
    check(page)
    assert len(page.warning) == (0 if known else 1)
    if not known:
        assert "does not look like the chest X-rays" in page.warning[0].value
    assert pictures(page)


def test_what_is_remembered_is_bounded(png: Callable[..., bytes]) -> None:
    page = drop(open_page(), ("film.png", png()))
    cache = page.session_state["_explained"]
    for number in range(2 * MAX_EXPLANATIONS):
        cache.get(number, lambda: None)
    assert len(cache) == MAX_EXPLANATIONS
