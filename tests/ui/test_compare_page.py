"""The page "Compare" without a browser: what it sends to the viewer, says, asks and remembers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from cxr_gradcam.cam import METHODS
from cxr_gradcam.classifier import load_classifier
from cxr_gradcam.densenet import LAST_LAYER, MAIN_LAYERS, DenseNet
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.phantom import write_phantoms
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.ui import shared
from cxr_gradcam.ui.components.compare_agreement import summary
from cxr_gradcam.ui.components.compare_answers import FAST_METHODS, GRADIENT_METHODS
from cxr_gradcam.ui.components.compare_balance import balance
from cxr_gradcam.ui.session import Keys
from cxr_gradcam.words import percent
from tests.ui.visiting import (
    Sent,
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

EARLY = "features.denseblock3"

pytestmark = pytest.mark.usefixtures("small_model")


@pytest.fixture(scope="module")
def explainer(small_explainer: Explainer) -> Explainer:
    return small_explainer


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many inputs each forward pass through any network had, from now on."""
    ran: list[int] = []
    original = DenseNet.forward

    def counted(self: DenseNet, model_input: Any, *rest: Any, **named: Any) -> Any:
        ran.append(len(model_input))
        return original(self, model_input, *rest, **named)

    monkeypatch.setattr(DenseNet, "forward", counted)
    return ran


def open_subject(subject: str = "Classes", sample: str = "COVID-0", **address: str) -> AppTest:
    """Open a comparison of a phantom by its link."""
    page = open_page("Compare", sample=sample, compare=subject, **address)
    assert page.button_group(key="compare").value == subject
    return page


def check_top(panel: Sent, own: float, top: float) -> None:
    """A map without evidence is painted by no scale; all others by that which they share."""
    assert panel["map"]["top"] == pytest.approx(top if own else 0)


def pairs(page: AppTest) -> int:
    """How many pairs of maps have a score of their agreement."""
    found = re.search(r"Mean over (\d+) pairs", text_of(page))
    return int(found[1]) if found else 0


def first_phantom() -> Radiograph:
    return shared.sample("COVID-0").radiograph


def explained(explainer: Explainer, method: str = "gradcam", **wanted: Any) -> Explanation:
    return explainer.explain(first_phantom(), MAIN_LAYERS, method=method, **wanted)


# --- empty, and what every subject has in common


def test_without_a_radiograph_the_page_invites() -> None:
    page = open_page("Compare")
    assert "compare_classes" not in components(page)
    page.button(key="sample_Normal-1").click().run()
    check(page)
    assert "Normal phantom 1" in text_of(page)
    assert len(panels_of(page, "compare_classes")) == 4


def test_one_forward_pass_feeds_everything_but_a_contrast(passes: list[int]) -> None:
    page = open_subject()
    assert passes == [1]
    for subject in ("Layers", "Methods", "Classes"):
        page.button_group(key="compare").set_value(subject).run()
        check(page)
        drawn = {box.key for box in page.selectbox}
        for key in ("compare_class", "compare_layer", "compare_method"):  # Eigen-CAM last
            for option in range(len(page.selectbox(key=key).options) if key in drawn else 0):
                page.selectbox(key=key).select_index(option).run()
                check(page)
    assert passes == [1]
    page.button_group(key="compare").set_value("Contrast").run()
    assert passes == [1, 1]
    for method in range(len(GRADIENT_METHODS)):
        page.selectbox(key="compare_method").select_index(method).run()
    page.selectbox(key="compare_layer").select_index(0).run()
    check(page)
    assert passes == [1, 1]
    page.button_group(key="compare").set_value("Two radiographs").run()
    check(page)
    assert passes == [1, 1, 1]


def test_a_link_opens_the_same_choices() -> None:
    page = open_subject(
        "Methods", compare_layer="denseblock2", agreement_class="Lung Opacity", compare_each="true"
    )
    assert page.selectbox(key="compare_layer").value == "features.denseblock2"
    assert page.selectbox(key="agreement_class").value == "Lung_Opacity"
    assert page.toggle(key="compare_each").value is True


def test_a_link_with_nonsense_opens_the_first_choices() -> None:
    nonsense = {"compare": "Nothing", "compare_layer": "x", "compare_method": "scorecam"}
    page = open_page("Compare", sample="COVID-0", **nonsense)
    assert page.button_group(key="compare").value == "Classes"
    assert page.selectbox(key="compare_layer").value == LAST_LAYER
    assert page.selectbox(key="compare_method").value == "gradcam"


# --- classes


def test_classes_share_one_scale_or_each_has_its_own(explainer: Explainer) -> None:
    page = open_subject()
    page.selectbox(key="compare_layer").set_value(EARLY).run()
    check(page)
    answer = explained(explainer)
    names = explainer.classifier.class_names
    panels = panels_of(page, "compare_classes")
    shared_top = answer.peak("COVID", EARLY, "shared")
    assert [panel["title"] for panel in panels] == [name.replace("_", " ") for name in names]
    for panel, name in zip(panels, names, strict=True):
        np.testing.assert_array_equal(cam_of(panel), answer.cam(name, EARLY))
        check_top(panel, answer.peak(name, EARLY), shared_top)
        assert panel["map"]["note"] == "one scale for all classes"
        assert percent(answer.probabilities[name]) in panel["subtitle"]
    page.toggle(key="compare_each").set_value(True).run()
    check(page)
    assert "Each map is on its own scale" in text_of(page)
    for panel, name in zip(panels_of(page, "compare_classes"), names, strict=True):
        assert panel["map"]["top"] == pytest.approx(answer.peak(name, EARLY))
        assert panel["map"]["note"] == "its own scale"


def test_eigencam_stands_once_and_says_that_it_knows_no_class() -> None:
    page = open_subject(compare_method="Eigen-CAM")
    (panel,) = panels_of(page, "compare_classes")
    assert panel["title"] == "Eigen-CAM"
    assert "Eigen-CAM knows no class" in text_of(page)
    assert "compare_each" not in {toggle.key for toggle in page.toggle}
    page.button_group(key="compare").set_value("Layers").run()
    check(page)
    assert len(panels_of(page, "compare_layers")) == len(MAIN_LAYERS)
    assert "Eigen-CAM knows no class" in text_of(page)
    page.button_group(key="compare").set_value("Methods").run()
    check(page)
    free = [p for p in panels_of(page, "compare_methods") if p["title"] == "Eigen-CAM"]
    assert len(free) == 1


# --- layers and methods


def test_layers_are_a_matrix_with_a_scale_per_layer(explainer: Explainer) -> None:
    panels = panels_of(open_subject("Layers"), "compare_layers")
    answer = explained(explainer)
    places = [(name, layer) for name in answer.classes for layer in MAIN_LAYERS]
    assert len(panels) == len(places)
    for panel, (name, layer) in zip(panels, places, strict=True):
        assert panel["title"] == name.replace("_", " ")
        assert panel["subtitle"].startswith(layer.rpartition(".")[2])
        np.testing.assert_array_equal(cam_of(panel), answer.cam(name, layer))
        check_top(panel, answer.peak(name, layer), answer.peak(name, layer, "shared"))


def test_methods_are_a_matrix_with_a_scale_per_method(explainer: Explainer) -> None:
    panels = panels_of(open_subject("Methods", compare_layer="denseblock3"), "compare_methods")
    answers = {method: explained(explainer, method) for method in FAST_METHODS}
    names = explainer.classifier.class_names
    places = [(name, method) for name in names for method in GRADIENT_METHODS]
    assert len(panels) == len(places) + 1
    for panel, (name, method) in zip(panels[:-1], places, strict=True):
        assert panel["subtitle"].startswith(METHODS[method].label)
        np.testing.assert_array_equal(cam_of(panel), answers[method].cam(name, EARLY))
        check_top(panel, *(answers[method].peak(name, EARLY, s) for s in ("each", "shared")))


def test_a_map_of_zeros_says_that_there_is_no_evidence(mute_model: Path) -> None:
    answer = explained(Explainer(load_classifier(mute_model, device="cpu")))
    places = [(name, layer) for name in answer.classes for layer in MAIN_LAYERS]
    zero = [place for place in places if answer.peak(*place) == 0]
    assert {("Normal", layer) for layer in MAIN_LAYERS} <= set(zero)
    panels = panels_of(open_subject("Layers"), "compare_layers")
    assert len(panels) == len(answer.classes) * len(MAIN_LAYERS)
    silent = [panel for panel in panels if panel["map"]["top"] == 0]
    assert [(panel["title"].replace(" ", "_"), panel["subtitle"]) for panel in silent] == [
        (name.replace(" ", "_"), layer.rpartition(".")[2]) for name, layer in zero
    ]
    for panel in silent:
        assert "No positive evidence" in panel["map"]["nothing"]
        assert "no positive evidence" in panel["alt"]


def test_the_planted_lesion_is_outlined_on_demand() -> None:
    page = open_subject("Layers")
    assert not any(panel["lesion"] for panel in panels_of(page, "compare_layers"))
    page.toggle(key=Keys.LESION).set_value(True).run()
    check(page)
    assert all(panel["lesion"] for panel in panels_of(page, "compare_layers"))


def test_methods_that_must_agree_at_the_last_layer_are_said_to() -> None:
    page = open_subject("Methods")
    assert "are one map by definition" in text_of(page)
    assert "Mean over 15 pairs" in text_of(page)
    page.selectbox(key="compare_layer").set_value(EARLY).run()
    assert "are one map by definition" not in text_of(page)


def test_scorecam_comes_on_request_and_stays(passes: list[int]) -> None:
    page = open_subject("Methods", compare_layer="denseblock1")
    before, compared = len(panels_of(page, "compare_methods")), pairs(page)
    page.button(key="compare_add_scorecam").click().run()
    check(page)
    assert sum(passes[2:]) == 256  # a pass for the maps, then one masked input per channel
    panels = panels_of(page, "compare_methods")
    assert len(panels) == before + 4
    assert sum("Score-CAM" in panel["subtitle"] for panel in panels) == 4
    assert pairs(page) > compared or "No score for Score-CAM" in text_of(page)
    done = list(passes)
    page.toggle(key="compare_each").set_value(True).run()
    check(page)
    assert len(panels_of(page, "compare_methods")) == before + 4
    assert passes == done
    page.selectbox(key="compare_layer").set_value(EARLY).run()
    check(page)
    assert len(panels_of(page, "compare_methods")) == before
    assert passes == done


# --- agreement, balance


def test_the_summary_names_the_pair_furthest_apart_and_what_has_no_score() -> None:
    nan = np.nan
    scores = np.array([[1, 0.9, -0.301, nan], [0.9, 1, 0.4, nan], [-0.301, 0.4, 1, nan], [nan] * 4])
    said = summary(["A", "B", "C", "D"], scores)
    assert "Mean over 3 pairs: 0.33. Furthest apart: A and C, −0.30." in said
    assert "No score for D: such a map is the same everywhere" in said
    assert summary(["A", "D"], np.array([[1, nan], [nan, nan]])).startswith("No two maps can be")


def test_the_balance_adds_up_to_the_difference_of_the_scores(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    for radiograph in phantoms[:3]:
        answer = explainer.explain(radiograph)
        for c, r in (("COVID", "Normal"), ("Normal", "Lung_Opacity")):
            parts = balance(answer, c, r)
            assert parts.gain >= 0 >= parts.loss
            assert parts.total == pytest.approx(answer.logits[c] - answer.logits[r], abs=1e-4)
            forth = explainer.explain(radiograph, classes=[c], contrast=r)
            assert forth.cam(c).sum() == pytest.approx(parts.gain, abs=1e-4)


# --- contrast


def test_a_contrast_shows_both_directions_on_one_scale(explainer: Explainer) -> None:
    page = open_subject("Contrast", compare_class="Normal", rather_than="COVID")
    forth, back, normal, covid = panels_of(page, "compare_contrast")
    why = explained(explainer, classes=["Normal"], contrast="COVID")
    reverse = explained(explainer, classes=["COVID"], contrast="Normal")
    np.testing.assert_array_equal(cam_of(forth), why.cam("Normal", LAST_LAYER))
    np.testing.assert_array_equal(cam_of(back), reverse.cam("COVID", LAST_LAYER))
    top = max(why.peak("Normal", LAST_LAYER), reverse.peak("COVID", LAST_LAYER))
    check_top(forth, why.peak("Normal", LAST_LAYER), top)
    check_top(back, reverse.peak("COVID", LAST_LAYER), top)
    plain = explained(explainer)
    shared_top = max(plain.peak(name, LAST_LAYER) for name in ("Normal", "COVID"))
    check_top(normal, plain.peak("Normal", LAST_LAYER), shared_top)
    check_top(covid, plain.peak("COVID", LAST_LAYER), shared_top)
    assert (forth["title"], forth["subtitle"]) == ("Why Normal", "rather than COVID")
    logits = plain.logits
    difference = f"{logits['Normal'] - logits['COVID']:+.2f}".replace("-", "−")
    assert f"Score of Normal minus score of COVID</th><td>{difference}" in text_of(page)


def test_a_blank_contrast_does_not_say_that_the_class_has_no_evidence() -> None:
    page = open_subject("Contrast", compare_class="Normal", rather_than="COVID")
    said = [panel["map"]["nothing"] for panel in panels_of(page, "compare_contrast")]
    assert said == [
        "No positive evidence for Normal rather than COVID at this layer.",
        "No positive evidence for COVID rather than Normal at this layer.",
        "No positive evidence for this class at this layer.",
        "No positive evidence for this class at this layer.",
    ]


def test_a_contrast_starts_with_the_two_most_probable_classes_and_never_has_one_twice(
    explainer: Explainer,
) -> None:
    page = open_subject("Contrast")
    said = explained(explainer)
    first, second = sorted(said.classes, key=said.probabilities.__getitem__, reverse=True)[:2]
    forth = panels_of(page, "compare_contrast")[0]
    assert forth["title"] == f"Why {first.replace('_', ' ')}"
    assert forth["subtitle"] == f"rather than {second.replace('_', ' ')}"
    page.selectbox(key="compare_class").set_value(second).run()
    check(page)
    assert second.replace("_", " ") not in page.selectbox(key="rather_than").options
    assert panels_of(page, "compare_contrast")[0]["subtitle"] != forth["subtitle"]


# --- two radiographs


def two(page: AppTest) -> list[Sent]:
    return panels_of(page, "compare_films")


def test_two_radiographs_stand_on_one_scale(explainer: Explainer) -> None:
    page = open_subject("Two radiographs", second_sample="Normal 1", compare_class="COVID")
    other = explainer.explain(shared.sample("Normal-1").radiograph, MAIN_LAYERS)
    first, second = two(page)
    assert (first["title"], second["title"]) == ("COVID phantom 0", "Normal phantom 1")
    assert first["film"] != second["film"]
    np.testing.assert_array_equal(cam_of(second), other.cam("COVID", LAST_LAYER))
    peaks = [answer.peak("COVID", LAST_LAYER) for answer in (explained(explainer), other)]
    for panel, own in zip((first, second), peaks, strict=True):
        check_top(panel, own, max(peaks))
    assert percent(other.probabilities["COVID"]) in second["subtitle"]


def test_the_second_radiograph_is_at_first_another_normal_phantom() -> None:
    first, second = two(open_subject("Two radiographs", sample="Normal-0"))
    assert first["title"] == "Normal phantom 0"
    assert second["title"] == "Normal phantom 1"


def test_a_second_film_of_the_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_phantoms(tmp_path / "data", count=4, seed=7)
    monkeypatch.setenv("CXR_DATA", str(tmp_path / "data"))
    page = open_subject("Two radiographs", second_from="Dataset")
    assert len(two(page)) == 1
    assert "Choose a second radiograph" in text_of(page)
    page.selectbox(key="second_class").set_value("Normal").run()
    box = page.selectbox(key="second_file")
    box.select_index(0).run()
    check(page)
    assert len(two(page)) == 2
    page.selectbox(key="second_class").set_value("COVID").run()
    check(page)
    assert len(two(page)) == 1  # a file of one class is not looked for in another


def test_no_dataset_leaves_out_the_choice() -> None:
    page = open_subject(
        "Two radiographs", second_from="Dataset", second_class="COVID", second_file="../../secret"
    )
    assert errors(page) == [
        "COVID/../../secret cannot be shown, as this server has no dataset folder: choose another "
        "radiograph."
    ]
    assert page.button_group(key="second_from").value == "Phantom"
    assert page.button_group(key="second_from").options == [
        "Phantom",
        "Your file",
    ]


def test_a_link_to_a_second_radiograph_that_is_not_here_says_so_until_another_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_subject("Two radiographs", second_sample="Normal 99")
    assert errors(page) == [
        "There is no phantom Normal 99: check the link, or choose one of the list."
    ]
    page.toggle(key="lesion").set_value(True).run()
    assert len(errors(page)) == 1
    page.selectbox(key="second_sample").set_value("Normal-2").run()
    assert errors(page) == []
    write_phantoms(tmp_path / "data", 4, size=64)
    monkeypatch.setenv("CXR_DATA", str(tmp_path / "data"))
    wanted = {"second_from": "Dataset", "second_class": "Normal"}
    page = open_subject("Two radiographs", **wanted, second_file="gone.png")
    assert errors(page) == [
        "There is no Normal/gone.png in the dataset: check the link, or choose another radiograph."
    ]
    page.selectbox(key="second_class").set_value("COVID").run()
    assert errors(page) == []
    (film,) = (tmp_path / "data/COVID/images").iterdir()
    # A browser leaves the first class out of the address.
    page = open_subject("Two radiographs", second_from="Dataset", second_file=film.name)
    assert errors(page) == []
    assert two(page)[1]["title"] == film.name


def test_a_second_upload_or_one_sentence_why_not() -> None:
    film = png(seed=5)
    page = open_subject("Two radiographs", second_from="Your file")
    assert len(two(page)) == 1
    name = "<b>mine.png"
    page.file_uploader(key="second_upload").upload(name, film).run()
    check(page)
    assert two(page)[1]["title"] == name  # the viewer writes titles as text
    page.file_uploader(key="second_upload").clear().run()
    page.file_uploader(key="second_upload").upload(name, film[:900]).run()
    check(page)
    assert len(page.error) == 1
    assert "is damaged or incomplete" in page.error[0].value
    assert r"\<b\>" in page.error[0].value
    assert len(two(page)) == 1


def test_the_second_radiograph_may_be_another_upload() -> None:
    page = open_page()
    uploader = page.file_uploader(key=Keys.UPLOADS)
    for name, film in (("a.png", png(seed=5)), ("x.png", b"none"), ("b.png", png(seed=6))):
        uploader.upload(name, film)
    uploader.run()
    turn_to(page, "Compare")
    page.button_group(key="compare").set_value("Two radiographs").run()
    page.button_group(key="second_from").set_value("Your file").run()
    check(page)
    assert [panel["title"] for panel in two(page)] == ["a.png", "b.png"]
    page.file_uploader(key="second_upload").upload("c.png", png(seed=7)).run()
    check(page)
    assert [panel["title"] for panel in two(page)] == ["a.png", "c.png"]
    assert page.selectbox(key="second_own").options == ["2 · b.png", "3 · c.png"]
    assert page.selectbox(key=Keys.UPLOAD).options == ["1 · a.png", "2 · b.png"]  # numbered alike


def test_a_file_that_cannot_be_read_is_no_second_radiograph_to_choose() -> None:
    page = open_page()
    uploader = page.file_uploader(key=Keys.UPLOADS)
    for name, film in (("a.png", png(seed=5)), ("b.png", png(seed=6))):
        uploader.upload(name, film)
    uploader.run()
    turn_to(page, "Compare")
    page.button_group(key="compare").set_value("Two radiographs").run()
    page.button_group(key="second_from").set_value("Your file").run()
    page.file_uploader(key="second_upload").upload("text.png", b"none").run()
    check(page)
    assert len(page.error) == 1
    assert "cannot be read as a picture" in page.error[0].value
    assert page.selectbox(key="second_own").options == ["2 · b.png"]
    assert [panel["title"] for panel in two(page)] == ["a.png", "b.png"]
    turn_to(turn_to(page, "Explain"), "Compare")
    page.button_group(key="compare").set_value("Two radiographs").run()
    assert len(page.error) == 0


def test_a_second_upload_is_there_after_a_look_at_another_page() -> None:
    page = open_subject("Two radiographs", second_from="Your file")
    page.file_uploader(key="second_upload").upload("mine.png", png(seed=5)).run()
    turn_to(turn_to(page, "Explain"), "Compare")
    page.button_group(key="compare").set_value("Two radiographs").run()
    check(page)
    assert two(page)[1]["title"] == "mine.png"


def test_a_second_film_of_a_folder_of_phantoms_has_its_lesion_outlined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "d\udcffta"  # no UTF-8, which OpenCV's own reading of files does not survive
    write_phantoms(data, 4, size=64)
    monkeypatch.setenv("CXR_DATA", str(data))
    page = open_subject("Two radiographs", second_from="Dataset", second_class="COVID")
    page.selectbox(key="second_file").select_index(0).run()
    assert not any(panel["lesion"] for panel in two(page))
    before = two(page)[1]["film"]
    (film,) = (data / "COVID/images").iterdir()
    film.write_bytes(png(seed=9))
    assert two(page.run())[1]["film"] != before
    write_phantoms(data, 4, size=64)
    page.toggle(key="lesion").set_value(True).run()
    check(page)
    assert all(panel["lesion"] for panel in two(page))
