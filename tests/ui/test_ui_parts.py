"""The parts of the page that need no page: names, lists, links, numbers, the bounded memory."""

import gc
import math
import time
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from cxr_gradcam.checkpoint import BUNDLED_CHECKPOINT
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.localisation import localise
from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.ui import session, shared
from cxr_gradcam.ui.cache import Cache
from cxr_gradcam.ui.components.address import _Written
from cxr_gradcam.ui.components.heading import name, origin
from cxr_gradcam.ui.components.localisation import in_words
from cxr_gradcam.ui.components.model_figures import calibration_error, score
from cxr_gradcam.ui.components.picture import encode_png
from cxr_gradcam.ui.models import BUNDLED, MAX_RUNS, list_models
from cxr_gradcam.ui.session import Origin, Shown
from cxr_gradcam.ui.text import class_choices, file_part, plain, scale_words
from cxr_gradcam.words import map_title, number, percent, signed


def test_grey_pictures_are_kept_exactly() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    decoded = cv2.imdecode(np.frombuffer(encode_png(grey), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, grey)


def test_parts_of_file_names_stay_in_their_folder() -> None:
    assert file_part("../..\\etc/pass wd") == "etc_pass_wd"
    assert file_part("a" * 500) == "a" * 80


def test_plain_escapes_all_markdown() -> None:
    assert plain("a_b *c* <i> :red[x] $y$ `z`\n# h") == (
        r"a\_b \*c\* \<i\> \:red\[x\] \$y\$ \`z\` \# h"
    )


def test_no_two_classes_are_called_alike_in_a_list() -> None:
    names = ["Pneumonia_viral", "Pneumonia viral", "Pneumonia  viral", "Predicted", "COVID"]
    assert class_choices(names, first="Predicted") == {
        "": "Predicted",
        "Pneumonia_viral": "Pneumonia viral",
        "Pneumonia viral": "Pneumonia viral (2)",
        "Pneumonia  viral": "Pneumonia viral (3)",
        "Predicted": "Predicted (2)",
        "COVID": "COVID",
    }


def test_numbers_read_well() -> None:
    assert [number(value) for value in (0, 0.0572, 79.23, 2.5e-7)] == [
        "0", "0.0572", "79.2", "2.50e−7",
    ]  # fmt: skip
    assert [number(value) for value in (999.6, 1234, -99940, 1)] == [
        "1000", "1230", "−9.99e+4", "1",
    ]  # fmt: skip
    assert signed(-0.284) == "−0.28"
    assert signed(-0.004) == signed(0.004) == "0.00"
    assert signed(0.284) == "+0.28"
    assert [percent(share) for share in (0, 1e-9, 0.0006, 1)] == ["0.0%", "<0.1%", "0.1%", "100.0%"]


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


# --- words


def test_a_radiograph_is_named_by_where_it_comes_from() -> None:
    film = Radiograph.from_array(np.zeros((4, 4), np.float32), name="a.png")
    phantom = Shown(film, "phantom", "Viral Pneumonia-2", label="Viral Pneumonia")
    assert name(phantom) == "Viral Pneumonia phantom 2"
    assert origin(phantom) == "synthetic, drawn by this program"
    assert name(Shown(film, "upload", "1")) == "a.png"
    of_a_split = Shown(film, "dataset", "Normal/test/a.png", label="Normal")
    assert origin(of_a_split) == "dataset, Normal, test"
    assert origin(Shown(film, "dataset", "Lung_Opacity/a.png", label="Lung_Opacity")) == (
        "dataset, Lung Opacity"
    )


def test_what_a_map_shows_and_its_scale_in_words() -> None:
    assert map_title("Lung_Opacity", "gradcam", "features.norm5") == (
        "Lung Opacity · Grad-CAM · norm5"
    )
    assert map_title("Lung_Opacity", "eigencam", "features.norm5") == "Eigen-CAM · norm5"
    assert scale_words("gradcam", "shared") == "shared scale: the maximum over all classes"
    assert scale_words("gradcam", "each") == "scaled by this class’s own maximum"
    assert scale_words("eigencam", "shared") == "scaled by its own maximum"


def test_localisation_is_held_against_chance() -> None:
    phantom = draw_phantom("Lung_Opacity", 1, 128)
    perfect = localise(phantom.lesion_mask.astype(np.float32), phantom.lesion_mask)
    values = [value for _, value, _ in in_words(perfect)]
    assert values == ["in the lesion", "100%", "1.00"]
    chance = f"{phantom.lesion_mask.mean():.0%}"
    assert chance in in_words(perfect)[0][2]
    assert chance in in_words(perfect)[1][2]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.8917, "89.2%"),
        ({"value": 0.9, "low": 0.8, "high": 0.95}, "90.0% (80.0–95.0)"),
        ({"value": 0.9, "low": None, "high": None}, "90.0%"),
        ({"value": None, "low": None, "high": None}, ""),
        (None, ""),
        (1.5, ""),
        (math.nan, ""),
        (True, ""),
        ("0.9", ""),
        ([0.9], ""),
    ],
)
def test_a_score_is_shown_only_if_it_is_one(value: object, words: str) -> None:
    assert score(value).replace("\u2060", "") == words


@pytest.mark.parametrize(
    ("metrics", "error"),
    [
        ({"test": {"calibration": {"after": {"ece": 0.02}}}}, 0.02),
        ({"validation": {"calibration": {"after": {"ece": 0.03}}}}, 0.03),
        ({"validation": {"accuracy": 0.5}}, None),
        ({"test": {"calibration": "good"}}, None),
        ({"test": 1}, None),
        ({}, None),
    ],
)
def test_calibration_error_of_a_header_that_may_hold_anything(
    metrics: dict[str, object], error: float | None
) -> None:
    assert calibration_error(metrics) == error


# --- models


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A working folder with three runs, one of them without a checkpoint."""
    for run in ("run10", "run2", "half"):
        (tmp_path / "runs" / run).mkdir(parents=True)
    for run in ("run10", "run2"):
        (tmp_path / "runs" / run / "best.safetensors").write_bytes(b"x")
    return tmp_path


def test_models_are_the_bundled_one_and_every_run(runs: Path) -> None:
    models = list_models({}, runs)
    assert list(models) == [BUNDLED, "run2", "run10"]
    assert models[BUNDLED] == BUNDLED_CHECKPOINT
    assert models["run2"] == runs / "runs/run2/best.safetensors"


def test_the_folder_of_runs_may_be_below_the_users_own(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(runs))
    models = list_models({"CXR_RUNS": "~/runs"}, runs / "elsewhere")
    assert list(models) == [BUNDLED, "run2", "run10"]


def test_the_model_that_is_set_comes_first_and_once(runs: Path) -> None:
    assert list(list_models({"CXR_CHECKPOINT": "runs/run10/best.safetensors"}, runs)) == [
        "run10", BUNDLED, "run2",
    ]  # fmt: skip
    assert list(list_models({"CXR_CHECKPOINT": str(BUNDLED_CHECKPOINT)}, runs))[1:] == [
        "run2", "run10",
    ]  # fmt: skip
    elsewhere = {"CXR_CHECKPOINT": "gone/run2/best.safetensors"}
    assert list(list_models(elsewhere, runs)) == ["run2", BUNDLED, "run2 (2)", "run10"]


def test_what_a_visitor_has_while_a_model_loads_is_let_go_later(small_checkpoint: Path) -> None:
    class Held:
        pass

    shared._load(bytes(BUNDLED_CHECKPOINT), (0, 0))  # the first one may keep what there is
    held = Held()
    held.itself = held  # type: ignore[attr-defined]
    is_there = weakref.ref(held)
    shared._load(bytes(small_checkpoint), (0, 0))
    del held
    gc.collect()
    assert is_there() is None


def test_a_run_may_be_called_what_cannot_be_sent(runs: Path) -> None:
    odd = runs / "runs" / "r\udce4n"
    (runs / "runs" / "run2").rename(odd)
    assert list_models({}, runs)["r?n"] == odd / "best.safetensors"


def test_a_home_that_nobody_has_is_no_error(runs: Path) -> None:
    named = {"CXR_CHECKPOINT": "~nobody-of-this-name/m.safetensors"}
    assert next(iter(list_models(named, runs))) == "m"


def test_runs_may_lie_elsewhere_and_are_bounded(tmp_path: Path) -> None:
    assert list(list_models({"CXR_RUNS": "nowhere"}, tmp_path)) == [BUNDLED]
    for number_ in range(MAX_RUNS + 5):
        (tmp_path / "many" / str(number_)).mkdir(parents=True)
        (tmp_path / "many" / str(number_) / "best.safetensors").touch()
    models = list_models({"CXR_RUNS": str(tmp_path / "many")}, tmp_path / "other")
    assert len(models) == MAX_RUNS + 1


# --- the address


def test_an_address_is_followed_only_if_the_visitor_asks_for_it() -> None:
    old, new, third = {"sample": "COVID-0"}, {"sample": "COVID-1"}, {"file": "A/b.png"}
    written = _Written(now=new, before=old, since=time.monotonic())
    assert not written.is_news(new)
    assert not written.is_news(old)  # a click on its way while the address changed
    assert written.is_news(third)
    long_ago = _Written(now=new, before=old, since=time.monotonic() - 60)
    assert long_ago.is_news(old)  # the Back button


def test_a_page_that_needs_a_radiograph_is_told_when_there_is_none() -> None:
    with pytest.raises(LookupError, match="no radiograph on the page"):
        session.current()


def draw_verdict(explanation, explainer, shown):
    from cxr_gradcam.ui.components.verdict import verdict

    verdict(explanation, explainer.classifier, shown)


@pytest.mark.parametrize(
    ("origin", "label", "said"),
    [
        ("dataset", "Viral Pneumonia", "but filed as <b>Viral Pneumonia</b>"),
        ("phantom", "Lung_Opacity", "but drawn as <b>Lung Opacity</b>"),
        ("dataset", "COVID", None),
        ("dataset", "Flu", None),  # a class that the model does not know
        ("upload", None, None),
    ],
)
def test_the_verdict_says_where_it_is_known_to_be_wrong(
    origin: Origin,
    label: str | None,
    said: str | None,
    explainer: Explainer,
    phantoms: list[Radiograph],
) -> None:
    explanation = explainer.explain(phantoms[0])
    assert explanation.predicted == "COVID"
    shown = Shown(phantoms[0], origin, "film", label)
    page = AppTest.from_function(draw_verdict, args=(explanation, explainer, shown)).run()
    assert not page.exception
    html = "".join(element.proto.body for element in page.get("html"))
    assert "Predicted class" in html
    assert said in html if said else " as <b>" not in html
