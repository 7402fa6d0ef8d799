"""The page "Model": what a checkpoint says of itself, whole, half, broken or hostile."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from cxr_gradcam.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cxr_gradcam.densenet import MAIN_LAYERS
from cxr_gradcam.training.scores import evaluate_logits
from cxr_gradcam.ui import shared
from cxr_gradcam.ui.components import address, model_facts
from cxr_gradcam.ui.components.model_figures import NO_FIGURES
from cxr_gradcam.ui.models import BUNDLED, list_models
from cxr_gradcam.ui.session import Keys
from tests.ui.visiting import check, open_page, text_of, turn_to


@pytest.fixture(scope="module")
def bundled() -> Checkpoint:
    return load_checkpoint()


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """What an evaluation of 200 films writes into a checkpoint."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    logits = rng.normal(size=(200, 4)) + 3 * np.eye(4)[labels]
    names = load_checkpoint().class_names
    return evaluate_logits(logits, labels, names, temperature=1.4, bootstrap=50)


@pytest.fixture
def add_run(tmp_path: Path, bundled: Checkpoint) -> Callable[..., Path]:
    """Put a run into the working folder whose checkpoint differs from the bundled one."""

    def add(name: str, **changes: Any) -> Path:
        path = tmp_path / "runs" / name / "best.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(replace(bundled, **changes), path)
        return path

    return add


def test_the_bundled_model_says_what_it_is(bundled: Checkpoint) -> None:
    page = open_page("Model")
    text = text_of(page)
    assert bundled.digest in text
    assert f"{bundled.input_size} × {bundled.input_size} px" in text
    for name in ("COVID", "Lung Opacity", "Normal", "Viral Pneumonia"):
        assert name in text
    for layer in MAIN_LAYERS:
        assert layer.rpartition(".")[2] in text
    assert not [radio.key for radio in page.radio]  # nothing else to choose


def test_a_checkpoint_without_figures_says_so(add_run: Callable[..., Path]) -> None:
    add_run("plain", metrics={}, training={}, temperature=1.0, familiarity=None)
    text = text_of(open_page("Model", model="plain"))
    assert NO_FIGURES in text
    assert "does not say where its weights come from" in text
    assert "not calibrated" in text
    assert "it cannot tell them" in text


def test_figures_are_those_of_the_header(
    add_run: Callable[..., Path], measured: dict[str, Any]
) -> None:
    recipe = {"epochs": 3, "weights": "<b>x</b>", "teacher": ["one", "two"], "frozen": []}
    training = {"date": "2026-01-02", "recipe": recipe}
    metrics = {"validation": {"accuracy": 0.1}, "test": measured}
    add_run("first", metrics=metrics, training=training, temperature=1.4)
    page = open_page("Model", model="first")
    text = text_of(page)
    accuracy = measured["accuracy"]
    low, high = 100 * accuracy["low"], 100 * accuracy["high"]
    assert f"{accuracy['value']:.1%} ({low:.1f}–{high:.1f})" in text
    assert f"{measured['calibration']['after']['ece']:.1%}" in text
    assert f"{measured['calibration']['before']['ece']:.1%} before" in text
    assert "on test films, which its last training run did not learn from" in text
    for row in measured["confusion_matrix"]:
        assert all(f">{count}</td>" in text for count in row)
    assert f"{measured['classes']['COVID']['recall']['value']:.1%}" in text
    assert "temperature 1.40, so it sounds less sure" in text
    assert "2026-01-02" in text
    assert "<dt>teacher</dt><dd>one, two</dd><dt>frozen</dt><dd>–</dd>" in text
    assert "<b>x</b>" not in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text


@pytest.mark.parametrize(
    "metrics",
    [
        {"test": {"accuracy": {"value": "high"}, "n": "many"}},
        {"test": []},
        {"test": {"accuracy": 0.9, "classes": [1], "confusion_matrix": [[1, 2], [3]]}},
        {"test": {"accuracy": 0.9, "confusion_matrix": [["<b>"] * 4] * 4, "intervals": 7}},
        {"accuracy": {"value": 0.9, "low": None, "high": None}, "calibration": {"after": 3}},
        {"test": {"accuracy": 0.9, "classes": {"COVID": {"n": None, "recall": "<i>"}}}},
    ],
)
def test_a_header_may_hold_anything(metrics: dict[str, Any]) -> None:
    def draw(metrics: dict[str, object], training: dict[str, object]) -> None:
        from cxr_gradcam.ui.components.model_facts import provenance
        from cxr_gradcam.ui.components.model_figures import figures

        figures(metrics, ["COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"])
        provenance(training)

    training = {"a": [1, {"b": None}], "long": "x" * 5000, "deep": {"deeper": {"<i>": "<b>"}}}
    page = AppTest.from_function(draw, kwargs={"metrics": metrics, "training": training}).run()
    assert not page.exception
    text = text_of(page)
    assert "<b>" not in text
    assert "<i>" not in text
    assert "x" * 1000 not in text
    assert ("90.0%" in text) == ("0.9" in str(metrics))


def test_another_checkpoint_is_chosen_and_kept_on_every_page(add_run: Callable[..., Path]) -> None:
    path = add_run("small", input_size=64)
    page = open_page("Model", sample="COVID-0")
    assert page.radio(key=Keys.MODEL_ON_PAGE).options == [BUNDLED, "small"]
    page.radio(key=Keys.MODEL_ON_PAGE).set_value("small").run()
    check(page)
    assert load_checkpoint(path).digest in text_of(page)
    assert page.selectbox(key=Keys.MODEL).value == "small"
    turn_to(page, "Explain")
    assert page.selectbox(key=Keys.MODEL).value == "small"
    assert "2 × 2 cells. The last layer" in text_of(page)
    assert page.query_params["model"] == "small"

    other = open_page("Model")  # another visitor
    assert other.selectbox(key=Keys.MODEL).value == BUNDLED


def test_a_link_names_the_model(add_run: Callable[..., Path]) -> None:
    add_run("small", input_size=64)
    page = open_page("Model", sample="COVID-0", model="small")
    assert page.selectbox(key=Keys.MODEL).value == "small"
    assert page.query_params["model"] == "small"


def test_the_back_button_takes_back_a_model(
    add_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "_LATE_SECONDS", 0)
    add_run("small", input_size=64)
    page = open_page("Explain", sample="COVID-0")
    page.selectbox(key=Keys.MODEL).select("small").run()
    assert page.query_params["model"] == "small"
    del page.query_params["model"]
    page.run()
    check(page)
    assert page.selectbox(key=Keys.MODEL).value == BUNDLED
    assert "model" not in page.query_params


def test_a_model_that_is_not_there_is_no_longer_spoken_of_when_another_is_chosen(
    add_run: Callable[..., Path],
) -> None:
    add_run("small", input_size=64)
    page = open_page("Explain", sample="COVID-0", model="nope")
    assert len(page.error) == 1
    page.selectbox(key=Keys.MODEL).select("small").run()
    check(page)
    assert not page.error


def test_a_model_is_loaded_once_and_again_when_its_file_has_changed(
    add_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    original = shared.load_classifier

    def counted(path: Any) -> Any:
        loaded.append(Path(path).parent.name)
        return original(path)

    monkeypatch.setattr(shared, "load_classifier", counted)
    add_run("mine", input_size=64)
    page = open_page("Model", model="mine")
    open_page("Model", model="mine")
    assert loaded.count("mine") == 1
    path = add_run("mine", input_size=96, training={"note": "trained on"})
    page.run()
    check(page)
    assert loaded.count("mine") == 2
    assert "96 × 96 px" in text_of(page)
    path.unlink()
    page.run()  # the run is gone: back to the default
    check(page)
    assert BUNDLED in text_of(page)


def test_a_run_that_cannot_be_looked_at_hides_no_other(
    add_run: Callable[..., Path], tmp_path: Path
) -> None:
    add_run("mine", input_size=64)
    (tmp_path / "runs/locked").symlink_to("x" * 300)  # to ask for it is an error, as for root's
    assert list(list_models({}, tmp_path)) == [BUNDLED, "mine"]


def test_a_broken_checkpoint_is_one_sentence_and_another_can_be_chosen(tmp_path: Path) -> None:
    broken = tmp_path / "runs/broken/best.safetensors"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no weights")
    page = open_page("Model", model="broken")
    assert len(page.error) == 1
    assert "best.safetensors is not a .safetensors file" in page.error[0].value.replace("\\", "")
    for title in ("Explain", "Compare", "Dataset"):
        turn_to(page, title)
        assert len(page.error) == 1
    turn_to(page, "Model")
    page.radio(key=Keys.MODEL_ON_PAGE).set_value(BUNDLED).run()
    check(page)
    assert not page.error


def test_the_card_of_the_bundled_model_is_shown_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, add_run: Callable[..., Path]
) -> None:
    add_run("other", input_size=64)
    card = tmp_path / "MODEL_CARD.md"
    monkeypatch.setattr(model_facts, "MODEL_CARD", card)
    card.write_text("# Card\nNot for *patients*.")
    page = open_page("Model")
    assert "Not for *patients*." in text_of(page)
    page.selectbox(key=Keys.MODEL).select("other").run()
    check(page)
    assert "Not for *patients*." not in text_of(page)
