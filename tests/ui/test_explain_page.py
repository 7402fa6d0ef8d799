"""The page "Explain" in its empty, error and filled states, without a browser; its links too."""

from dataclasses import replace
from pathlib import Path
from typing import Any

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
from cxr_gradcam.localisation import localise
from cxr_gradcam.phantom import CLASS_NAMES, draw_phantom, write_phantoms
from cxr_gradcam.ui import shared
from cxr_gradcam.ui.components import address, downloads, localisation
from cxr_gradcam.ui.models import CHECKPOINT_VARIABLE
from cxr_gradcam.ui.session import _MAKING, MAX_EXPLANATIONS, Keys, Making
from tests.ui.visiting import (
    cam_of,
    check,
    components,
    errors,
    open_page,
    panels_of,
    png,
    text_of,
    turn_to,
)


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


def shown_map(page: AppTest) -> np.ndarray:
    """The CAM beside the radiograph."""
    return cam_of(panels_of(page)[1])


def film(page: AppTest) -> str:
    """Which radiograph is on the page: its digest, or nothing."""
    return panels_of(page)[0]["film"] if "explain" in components(page) else ""


# --- empty, samples


def test_empty_page_invites_and_offers_phantoms_of_every_class() -> None:
    page = open_page()
    assert "Drop chest X-rays" in page.file_uploader(key=Keys.UPLOADS).label
    offered = {f"sample_{label}-{seed}" for label in CLASS_NAMES for seed in range(3)}
    assert {button.key for button in page.button} == offered
    assert len(page.get("image")) == len(offered)
    # No dataset, so nothing to pick from; the list without a key is out of sight.
    assert [box.key for box in page.selectbox] == [None]


def test_a_click_on_a_phantom_fills_the_page() -> None:
    page = open_page()
    page.button(key="sample_Viral Pneumonia-2").click().run()
    check(page)
    assert "Viral Pneumonia phantom 2" in text_of(page)
    assert "Predicted class" in text_of(page)
    assert film(page) == draw_phantom("Viral Pneumonia", 2, shared.SAMPLE_SIDE).radiograph.digest
    assert panels_of(page)[1]["map"]["unit"] == "logits per cell"
    assert "shared scale" in panels_of(page)[1]["map"]["note"]
    assert len(panels_of(page, "classes")) == len(CLASS_NAMES)
    page.selectbox(key=Keys.SAMPLE).select("Normal-0").run()
    check(page)
    assert "Normal phantom 0" in text_of(page)


def test_the_planted_lesion_is_outlined_and_held_against_the_map_on_demand(
    explainer: Explainer,
) -> None:
    page = open_page(sample="COVID-1")
    assert not any(panel["lesion"] for panel in panels_of(page))
    page.toggle(key=Keys.LESION).set_value(True).run()
    page.button_group(key=Keys.CLASS).set_value("COVID").run()
    check(page)
    assert all(panel["lesion"] for panel in [*panels_of(page), *panels_of(page, "classes")])
    phantom = draw_phantom("COVID", 1, shared.SAMPLE_SIDE)
    heatmap = explainer.explain(phantom.radiograph).heatmap("COVID")
    found = localise(heatmap, phantom.lesion_mask)
    for words in (f"{found.inside:.0%}", f"{found.iou:.2f}", f"{found.area:.0%}"):
        assert words in text_of(page)
    assert ('cxr-value">in the lesion' in text_of(page)) == found.hit

    page.button_group(key=Keys.CLASS).set_value("Normal").run()
    assert "The lesion is drawn as COVID, the map is that of Normal" in text_of(page)
    page.selectbox(key=Keys.METHOD).select("eigencam").run()
    check(page)
    assert "so neither do these numbers" in text_of(page)
    page.selectbox(key=Keys.SAMPLE).select("Normal-1").run()
    check(page)
    assert localisation.NO_LESION in text_of(page)


def test_only_a_phantom_has_a_lesion_to_show() -> None:
    page = drop(open_page(), ("film.png", png()))
    assert Keys.LESION not in [toggle.key for toggle in page.toggle]


# --- error


def test_a_bad_file_says_so_and_the_page_stays_empty() -> None:
    page = drop(open_page(), ("notes.txt", b"not a picture"))
    assert len(errors(page)) == 1
    assert "notes.txt cannot be read as a picture" in errors(page)[0]
    assert not film(page)


def test_a_bad_file_leaves_the_last_good_radiograph() -> None:
    page = drop(open_page(), ("good.png", png()))
    before = film(page)
    assert before
    drop(page, ("broken.png", png()[:2000]))
    assert errors(page) == ["broken.png is damaged or incomplete: copy or export it again."]
    assert film(page) == before
    assert "good.png" in text_of(page)


def test_of_many_files_that_cannot_be_read_most_are_named_on_request() -> None:
    page = drop(open_page(), *((f"{i}.png", b"none") for i in range(5)), ("film.png", png()))
    assert len(errors(page)) == 5
    (more,) = [box for box in page.expander if "cannot be shown" in box.label]
    assert more.label == "And 2 more that cannot be shown"
    assert [error.value.replace("\\", "")[:5] for error in more.error] == ["3.png", "4.png"]


def test_one_bad_file_among_good_ones() -> None:
    page = drop(
        open_page(), ("a.png", png(seed=1)), ("bad.png", b"\x89PNG\r\n"), ("a.png", png(seed=2))
    )
    assert len(errors(page)) == 1
    assert "bad.png" in errors(page)[0]
    chooser = page.selectbox(key=Keys.UPLOAD)
    assert chooser.options == ["1 · a.png", "2 · a.png"]
    first = film(page)
    second = list(page.session_state["_read"])[2]
    chooser.select(second).run()
    check(page)
    assert film(page) != first


def test_a_file_taken_out_is_no_longer_shown() -> None:
    page = drop(open_page(), ("mine.png", png()))
    assert "mine.png" in text_of(page)
    page.file_uploader(key=Keys.UPLOADS).clear().run()
    check(page)
    assert "mine.png" not in text_of(page)
    assert not film(page)


def test_a_hostile_name_is_only_text() -> None:
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
    monkeypatch.setenv(CHECKPOINT_VARIABLE, str(path))
    page = open_page()
    assert len(page.error) == 1
    assert "mine.safetensors" in errors(page)[0]
    page.selectbox(key=Keys.MODEL).select("Bundled model").run()
    check(page)
    assert not page.error


# --- dataset, links


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight phantoms as a dataset folder, one more file that is broken, and a secret beside it."""
    place = tmp_path_factory.mktemp("drawn")
    write_phantoms(place / "films", 8, size=64)
    (place / "films/Normal/images/Normal-phantom-10.png").write_bytes(b"broken")
    write_phantoms(place / "secret", 1, seed=77, size=64)
    return place / "films"


@pytest.fixture
def dataset(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CXR_DATA", str(drawn))
    return drawn


def test_dataset_film_is_picked_by_class_and_file(dataset: Path) -> None:
    page = open_page()
    page.selectbox(key=Keys.DATASET_CLASS).select("Normal").run()
    options = ["Normal-phantom-2.png", "Normal-phantom-6.png", "Normal-phantom-10.png"]
    assert page.selectbox(key=Keys.DATASET_FILE).options == options
    page.selectbox(key=Keys.DATASET_FILE).select(options[1]).run()
    check(page)
    assert "Normal-phantom-6.png" in text_of(page)
    assert not page.toggle(key=Keys.LESION).value  # its mask lies beside it, all black
    before = film(page)

    page.selectbox(key=Keys.DATASET_FILE).select(options[2]).run()
    check(page)
    assert "Normal-phantom-10.png cannot be read as a picture" in errors(page)[0]
    assert film(page) == before
    assert page.selectbox(key=Keys.DATASET_FILE).value == options[1]  # what is shown

    page.selectbox(key=Keys.SAMPLE).select("COVID-0").run()
    check(page)
    assert not page.error
    assert page.selectbox(key=Keys.DATASET_FILE).value is None


def test_a_dataset_folder_that_is_none_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_DATA", str(tmp_path / "gone"))
    page = open_page()
    assert "There is no dataset folder" in page.warning[0].value.replace("\\", "")
    assert len(page.get("image")) == len(shared.sample_keys())


def test_a_link_opens_the_same_film_of_the_dataset(dataset: Path) -> None:
    page = open_page()
    page.selectbox(key=Keys.DATASET_CLASS).select("Viral Pneumonia").run()
    page.selectbox(key=Keys.DATASET_FILE).select("Viral Pneumonia-phantom-7.png").run()
    address = dict(page.query_params)
    assert address == {"file": "Viral Pneumonia/Viral Pneumonia-phantom-7.png"}

    colleague = open_page(**address)
    assert film(colleague) == film(page)
    assert colleague.selectbox(key=Keys.DATASET_CLASS).value == "Viral Pneumonia"
    assert colleague.selectbox(key=Keys.DATASET_FILE).value == "Viral Pneumonia-phantom-7.png"
    colleague.selectbox(key=Keys.SAMPLE).select("Normal-2").run()
    assert dict(colleague.query_params) == {"sample": "Normal-2"}


def test_a_file_on_all_uploads_shows_how_far_it_is_while_it_is_built() -> None:
    page = drop(open_page(), ("one.png", png(seed=1)), ("two.png", png(seed=2)))
    page.toggle(key=downloads.Keys.EVERY_UPLOAD).set_value(True).run()
    assert not page.get("progress")
    page.session_state[_MAKING].append(Making("Report", 2, 1))
    page.run()
    check(page)
    (bar,) = page.get("progress")
    assert (bar.proto.text, bar.proto.value) == ("Report: 1 of 2 radiographs", 50)


def test_an_upload_has_no_address() -> None:
    page = drop(open_page(sample="COVID-0"), ("mine.png", png()))
    assert "mine.png" in text_of(page)
    assert "sample" not in page.query_params


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("file", "Normal/gone.png", "There is no Normal/gone.png in the dataset"),
        ("file", "Nobody/Normal-phantom-2.png", "There is no Nobody/Normal-phantom-2.png"),
        ("file", "Normal/../../../secret/COVID/images/COVID-phantom-77.png", "There is no Normal/"),
        ("file", "/etc/passwd", "There is no /etc/passwd in the dataset"),
        (
            "file",
            "Normal/Normal-phantom-10.png",
            "Normal-phantom-10.png cannot be read as a picture",
        ),
        ("sample", "COVID-99", "There is no phantom COVID-99"),
        ("model", "../../x", "There is no model ../../x here"),
    ],
)
def test_a_link_to_what_is_not_there_says_so(
    dataset: Path, name: str, value: str, sentence: str
) -> None:
    page = open_page(**{name: value})
    assert len(page.error) == 1
    assert sentence in errors(page)[0]
    assert not film(page)
    assert name not in page.query_params


def test_a_link_to_a_film_where_there_is_no_dataset() -> None:
    page = open_page(file="Normal/x.png")
    assert "this server has no dataset folder" in errors(page)[0]


def test_an_empty_address_is_the_back_button_only_where_no_page_was_turned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(address, "_LATE_SECONDS", 0)
    page = open_page(sample="COVID-0")
    page.query_params.clear()
    turn_to(page, "Compare")  # which empties the address
    assert page.query_params["sample"] == "COVID-0"
    page.query_params.clear()
    page.run()  # back to before it was filled again, or a click that was on its way
    assert page.query_params["sample"] == "COVID-0"
    turn_to(page, "Explain")  # by the Back button, with its address
    page.query_params.clear()
    page.run()
    check(page)
    assert "See why a classifier says what it says" in text_of(page)


def test_what_a_link_asked_for_in_vain_is_said_on_one_page() -> None:
    page = open_page(sample="COVID-99")
    assert len(page.error) == 1
    page.run()
    assert len(page.error) == 1
    assert not turn_to(page, "Model").error
    assert not turn_to(page, "Explain").error


def test_a_film_that_is_gone_is_no_path_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_phantoms(tmp_path / "data", 4, size=64)[0]
    monkeypatch.setenv("CXR_DATA", str(tmp_path / "data"))
    page = open_page()
    path.unlink()
    page.selectbox(key=Keys.DATASET_FILE).select(path.name).run()
    check(page)
    assert errors(page) == [
        f"COVID/{path.name} is no longer in the dataset folder: choose another radiograph."
    ]


def test_a_film_whose_name_cannot_be_sent_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_phantoms(tmp_path / "data", 4, size=64)[0]
    path.rename(path.with_name("bad\udcff.png"))
    monkeypatch.setenv("CXR_DATA", str(tmp_path / "data"))
    page = open_page()
    page.selectbox(key=Keys.DATASET_FILE).select("bad?.png").run()
    check(page)
    assert "bad?.png" in text_of(page)
    assert page.query_params["file"] == "COVID/bad?.png"
    for title in ("Compare", "Dataset", "Explain"):
        turn_to(page, title)
        assert not page.error
    assert panels_of(page)


# --- filled


def test_a_link_keeps_the_scale() -> None:
    page = open_page(sample="COVID-0", each_scale="true")
    assert page.toggle(key=Keys.EACH_SCALE).value
    assert panels_of(page)[1]["map"]["note"] == "scaled by this class’s own maximum"


def test_the_network_runs_only_for_a_new_radiograph_layer_or_method(
    passes: list[tuple[Any, ...]],
) -> None:
    page = drop(open_page(), ("film.png", png()))
    assert len(passes) == 1  # the verdict and the default map are one pass
    first = shown_map(page)
    page.button_group(key=Keys.CLASS).set_value("Normal").run()
    normal = shown_map(page)
    assert not np.array_equal(normal, first)
    page.toggle(key=Keys.EACH_SCALE).set_value(True).run()
    check(page)
    assert len(passes) == 1
    assert panels_of(page)[1]["map"]["note"] == "scaled by this class’s own maximum"

    page.selectbox(key=Keys.LAYER).select("features.denseblock3").run()
    page.selectbox(key=Keys.METHOD).select("layercam").run()
    assert len(passes) == 3
    page.selectbox(key=Keys.METHOD).select("gradcam").run()
    page.selectbox(key=Keys.LAYER).select(LAST_LAYER).run()
    check(page)
    assert len(passes) == 3
    np.testing.assert_array_equal(shown_map(page), normal)


def test_the_map_is_that_of_the_engine(explainer: Explainer) -> None:
    page = open_page(sample="COVID-0")
    page.button_group(key=Keys.CLASS).set_value("Lung_Opacity")
    page.selectbox(key=Keys.LAYER).select("features.denseblock4").run()
    check(page)
    layer = "features.denseblock4"
    explanation = explainer.explain(shared.sample("COVID-0").radiograph, layers=[layer])
    np.testing.assert_allclose(shown_map(page), explanation.cam("Lung_Opacity"), rtol=1e-4)
    top = panels_of(page)[1]["map"]["top"]
    assert top == pytest.approx(explanation.peak("Lung_Opacity", scale="shared"), rel=1e-4)


def test_choices_stay_when_the_radiograph_changes() -> None:
    page = drop(open_page(), ("one.png", png(seed=1)))
    page.button_group(key=Keys.CLASS).set_value("Lung_Opacity")
    page.selectbox(key=Keys.LAYER).select("features.denseblock4").run()
    drop(page, ("two.png", png(seed=2)))
    assert "two.png" in text_of(page)
    assert page.button_group(key=Keys.CLASS).value == "Lung_Opacity"
    assert page.selectbox(key=Keys.LAYER).value == "features.denseblock4"
    assert panels_of(page)[1]["title"] == "Lung Opacity · Grad-CAM · denseblock4"


def test_layers_are_named_with_their_resolution(
    classifier: Classifier, explainer: Explainer
) -> None:
    page = drop(open_page(), ("film.png", png()))
    explanation = explainer.explain(draw_phantom("COVID", 1).radiograph, layers=list(MAIN_LAYERS))
    cells = [explanation.cam("COVID", layer).shape[0] for layer in MAIN_LAYERS]
    names = [layer.removeprefix("features.") for layer in MAIN_LAYERS]
    assert page.selectbox(key=Keys.LAYER).options == names
    for layer, n in zip(MAIN_LAYERS, cells, strict=True):
        page.selectbox(key=Keys.LAYER).set_value(layer).run()
        assert f"{n} × {n} cells." in text_of(page)


def test_every_method_but_the_slow_one_can_be_looked_at() -> None:
    page = drop(open_page(), ("film.png", png()))
    for name, method in METHODS.items():
        if method.needs != "passes":
            page.selectbox(key=Keys.METHOD).select(name).run()
            check(page)
            assert f"{method.label} · norm5" in panels_of(page)[1]["title"]
            assert panels_of(page)[1]["map"]["unit"] == f"{method.unit} per cell"


def test_eigencam_says_that_it_knows_no_class() -> None:
    page = drop(open_page(), ("film.png", png()))
    page.selectbox(key=Keys.METHOD).select("eigencam").run()
    check(page)
    assert "Eigen-CAM knows no class" in text_of(page)
    assert "classes" not in components(page)  # not four times the same map


@pytest.mark.usefixtures("small_model")
def test_scorecam_warns_and_shows_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
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
    page.button_group(key=Keys.CLASS).set_value("Normal").run()
    assert len(shares) == count


@pytest.mark.usefixtures("mute_model")
def test_a_zero_map_says_so_and_paints_nothing() -> None:
    page = open_page(sample="COVID-0")
    page.button_group(key=Keys.CLASS).set_value("Normal")
    page.toggle(key=Keys.LESION).set_value(True).run()
    check(page)
    assert panels_of(page)[1]["map"]["nothing"] == (
        "No positive evidence for this class at this layer."
    )
    assert not shown_map(page).any()
    assert localisation.NO_HEAT in text_of(page)


@pytest.mark.parametrize("known", [True, False])
def test_a_stranger_is_warned_of_and_still_explained(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    learned = fit_familiarity(rng.random((40, 1024)), rng.random((20, 1024)))
    learned = replace(learned, threshold=0.0 if known else 1.0)
    path = tmp_path / "c.safetensors"
    save_checkpoint(replace(load_checkpoint(), familiarity=learned), path)
    monkeypatch.setenv(CHECKPOINT_VARIABLE, str(path))
    page = drop(open_page(), ("film.png", png()))
    assert len(page.warning) == (0 if known else 1)
    if not known:
        assert "does not look like the chest X-rays" in page.warning[0].value
    assert film(page)


@pytest.mark.parametrize(
    ("temperature", "metrics", "words"),
    [
        (1.0, {}, "not calibrated: it always"),
        (1.5, {}, "calibrated: it always"),
        (
            1.5,
            {"test": {"accuracy": 0.9, "calibration": {"after": {"ece": 0.021}}}},
            "calibrated (off by 2.1 points on average where it was tested)",
        ),
    ],
)
def test_the_probabilities_say_what_they_are_worth(
    temperature: float,
    metrics: dict[str, Any],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "c.safetensors"
    changed = replace(load_checkpoint(), temperature=temperature, metrics=metrics)
    save_checkpoint(changed, path)
    monkeypatch.setenv(CHECKPOINT_VARIABLE, str(path))
    assert f"Probabilities of a research model, {words}" in text_of(open_page(sample="COVID-0"))


def test_what_is_remembered_is_bounded() -> None:
    page = drop(open_page(), ("film.png", png()))
    cache = page.session_state["_explained"]
    for number in range(2 * MAX_EXPLANATIONS):
        cache.get(number, lambda: None)
    assert len(cache) == MAX_EXPLANATIONS


# --- from page to page


def test_every_page_keeps_the_radiograph_and_says_research_only() -> None:
    page = drop(open_page(), ("one.png", png(seed=1)), ("two.png", png(seed=2)))
    before = film(page)
    for title in ("Compare", "Dataset", "Model"):
        turn_to(page, title)
        sidebar = "".join(str(part.value) for part in page.sidebar.get("html"))
        assert "Current radiograph" in sidebar
        assert "one.png" in sidebar
        assert page.sidebar.selectbox(key=Keys.SAMPLE)
    second = list(page.session_state["_read"])[1]
    page.selectbox(key=Keys.UPLOAD).select(second).run()  # on the page "Model"
    check(page)
    turn_to(page, "Explain")
    assert "two.png" in text_of(page)
    assert film(page) != before
