"""Scores against scikit-learn and by hand, calibration, and the report on disk."""

import csv
import json
import shutil
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn import metrics as sk

from cxr_gradcam.checkpoint import load_checkpoint, save_checkpoint
from cxr_gradcam.classifier import Classifier, load_classifier
from cxr_gradcam.dataset import DatasetError, read_dataset
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import CLASS_NAMES, write_phantoms
from cxr_gradcam.radiograph import load_radiograph
from cxr_gradcam.splits import SPLITS_FILE, Sample, save_splits, split_dataset
from cxr_gradcam.training import scores
from cxr_gradcam.training.evaluation import evaluate_samples, find_samples
from cxr_gradcam.training.report import (
    Prediction,
    _save,
    confusion_figure,
    reliability_figure,
    worst_errors_figure,
    write_predictions,
)
from cxr_gradcam.training.scores import (
    TEMPERATURES,
    calibration,
    evaluate_logits,
    fit_bias,
    fit_temperature,
)

NAMES = ("COVID", "Lung_Opacity", "Normal")
SCORES = ("precision", "recall", "f1", "auroc")


def made_up(count: int, sharpness: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (count, 3) and labels that follow their softmax exactly."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(count, 3))
    labels = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return logits, labels.clip(max=2)


def logits_saying(predicted: list[int], classes: int = 3) -> np.ndarray:
    return 4.0 * np.eye(classes)[predicted]


# ------------------------------------------------------------------------------------------ scores


def test_every_score_is_scikit_learns() -> None:
    logits, labels = made_up(200)
    scored = evaluate_logits(logits, labels, NAMES, temperature=1.7, bootstrap=10)
    probabilities, predicted = softmax(logits / 1.7, axis=1), logits.argmax(axis=1)

    assert scored["n"] == 200
    assert scored["accuracy"]["value"] == pytest.approx(sk.accuracy_score(labels, predicted))
    balanced = sk.balanced_accuracy_score(labels, predicted)
    assert scored["balanced_accuracy"]["value"] == pytest.approx(balanced)
    np.testing.assert_array_equal(
        scored["confusion_matrix"], sk.confusion_matrix(labels, predicted)
    )
    for k, name in enumerate(NAMES):
        own, is_k, says_k = scored["classes"][name], labels == k, predicted == k
        assert own["n"] == is_k.sum()
        assert own["precision"]["value"] == pytest.approx(sk.precision_score(is_k, says_k))
        assert own["recall"]["value"] == pytest.approx(sk.recall_score(is_k, says_k))
        assert own["f1"]["value"] == pytest.approx(sk.f1_score(is_k, says_k))
        area = sk.roc_auc_score(is_k, probabilities[:, k])
        assert own["auroc"]["value"] == pytest.approx(area)
    for key, divisor in (("before", 1.0), ("after", 1.7)):
        expected = sk.log_loss(labels, softmax(logits / divisor, axis=1))
        assert scored["calibration"][key]["nll"] == pytest.approx(expected)


def test_auroc_by_counting_pairs() -> None:
    logits = np.round(made_up(60)[0])  # ties
    labels = made_up(60)[1]
    scored = evaluate_logits(logits, labels, NAMES, bootstrap=0)
    for k, name in enumerate(NAMES):
        probability = softmax(logits, axis=1)[:, k]
        pairs = [
            (a > b) + 0.5 * (a == b)
            for a in probability[labels == k]
            for b in probability[labels != k]
        ]
        assert scored["classes"][name]["auroc"]["value"] == pytest.approx(np.mean(pairs))


def test_a_drawn_set_scores_as_if_its_films_were_there() -> None:
    """The weighted counts behind the intervals against scikit-learn on the repeated films."""
    logits, labels = np.round(made_up(40)[0]), made_up(40)[1]
    probabilities, predicted = softmax(logits, axis=1), logits.argmax(axis=1)
    weights = list(scores._drawn_weights(np.arange(40), 25, seed=3))
    weights.append(np.where(labels == 1, 0, 1))  # a class that was not drawn
    found = scores._resampled_scores(probabilities, predicted, labels, weights)
    for weight, row in zip(weights, found, strict=True):
        repeated = [
            np.repeat(array, weight, axis=0) for array in (probabilities, predicted, labels)
        ]
        np.testing.assert_allclose(row, scores._scores(*repeated), atol=1e-12)


def test_intervals_are_percentiles_of_the_drawn_sets() -> None:
    logits, labels = made_up(300)
    accuracy = evaluate_logits(logits, labels, NAMES, bootstrap=4000)["accuracy"]
    expected = 1.96 * np.sqrt(accuracy["value"] * (1 - accuracy["value"]) / 300)
    assert accuracy["high"] - accuracy["value"] == pytest.approx(expected, rel=0.15)
    assert accuracy["value"] - accuracy["low"] == pytest.approx(expected, rel=0.15)


def test_intervals_cover_the_truth() -> None:
    truth = evaluate_logits(*made_up(50_000, seed=9), NAMES, bootstrap=0)
    covered = dict.fromkeys(("accuracy", "auroc"), 0)
    for seed in range(60):
        scored = evaluate_logits(*made_up(120, seed=seed), NAMES, bootstrap=200)
        for name, one, true in (
            ("accuracy", scored["accuracy"], truth["accuracy"]),
            ("auroc", scored["classes"]["Normal"]["auroc"], truth["classes"]["Normal"]["auroc"]),
        ):
            covered[name] += one["low"] <= true["value"] <= one["high"]
    assert min(covered.values()) >= 52  # 57 expected; fewer than 52 once in a hundred


def test_same_seed_same_intervals() -> None:
    logits, labels = made_up(80)
    first, again, other = (
        evaluate_logits(logits, labels, NAMES, bootstrap=50, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_copies_of_a_film_are_no_new_witnesses() -> None:
    logits, labels = made_up(80)
    alone = evaluate_logits(logits, labels, NAMES, bootstrap=100)
    copied = evaluate_logits(
        np.repeat(logits, 4, axis=0),
        np.repeat(labels, 4),
        NAMES,
        groups=np.repeat(np.arange(80), 4),
        bootstrap=100,
    )
    assert copied["accuracy"] == pytest.approx(alone["accuracy"])
    for name in NAMES:
        for score in SCORES:
            assert copied["classes"][name][score] == pytest.approx(alone["classes"][name][score])
    assert "groups" in copied["intervals"]
    assert "groups" not in alone["intervals"]


def test_a_perfect_classifier() -> None:
    labels = [0, 1, 2] * 5
    scored = evaluate_logits(logits_saying(labels), labels, NAMES, bootstrap=100)
    one = {"value": 1.0, "low": 1.0, "high": 1.0}
    assert scored["accuracy"] == scored["balanced_accuracy"] == one
    assert all(scored["classes"][name][score] == one for name in NAMES for score in SCORES)


def test_an_absent_class_has_no_value_and_no_warning() -> None:
    none = {"value": None, "low": None, "high": None}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scored = evaluate_logits(logits_saying([0, 1, 1, 0]), [0, 1, 0, 0], NAMES, bootstrap=50)
    absent = scored["classes"]["Normal"]
    assert absent == {"n": 0} | dict.fromkeys(SCORES, none)
    assert scored["balanced_accuracy"]["value"] == pytest.approx((2 / 3 + 1) / 2)
    json.dumps(scored, allow_nan=False)


def test_a_class_that_is_predicted_but_absent_is_never_right() -> None:
    scored = evaluate_logits(logits_saying([0, 2]), [0, 0], NAMES, bootstrap=20)
    assert scored["classes"]["Normal"]["precision"]["value"] == 0
    assert scored["classes"]["Normal"]["recall"]["value"] is None
    # One class only: nothing to rank against.
    assert scored["classes"]["COVID"]["auroc"]["value"] is None
    json.dumps(scored, allow_nan=False)


def test_one_film_of_a_class_is_enough() -> None:
    scored = evaluate_logits(logits_saying([0, 1, 1]), [0, 1, 1], NAMES, bootstrap=200)
    assert scored["classes"]["COVID"]["recall"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    single = evaluate_logits(logits_saying([1]), [1], NAMES, bootstrap=5)
    json.dumps(single, allow_nan=False)


def test_without_drawn_sets_there_are_no_intervals() -> None:
    scored = evaluate_logits(*made_up(20), NAMES, bootstrap=0)
    assert scored["accuracy"]["low"] is scored["accuracy"]["high"] is None


@pytest.mark.parametrize(
    ("logits", "labels", "options", "words"),
    [
        (np.zeros((2, 3)), [0], {}, r"\(2, 3\) and the labels \(1,\)"),
        (np.zeros((0, 3)), [], {}, "N > 0"),
        (np.zeros(3), [0], {}, "expected"),
        (np.full((1, 3), np.nan), [0], {}, "not finite"),
        (np.zeros((1, 3)), [3], {}, "whole numbers from 0 to 2"),
        (np.zeros((1, 3)), [-1], {}, "whole numbers"),
        (np.zeros((1, 3)), [0.5], {}, "whole numbers"),
        (np.zeros((1, 2)), [0], {}, "3 class names"),
        (np.zeros((1, 3)), [0], {"temperature": 0}, "positive"),
        (np.zeros((1, 3)), [0], {"temperature": float("nan")}, "positive"),
        (np.zeros((2, 3)), [0, 1], {"groups": [1]}, "1 groups for 2 films"),
    ],
)
def test_wrong_arguments_are_named(
    logits: np.ndarray, labels: list[float], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        evaluate_logits(logits, labels, NAMES, **options)


# ------------------------------------------------------------------------------------- calibration


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_temperature_recovers_a_known_one(true: float) -> None:
    logits, labels = made_up(20_000)
    assert fit_temperature(true * logits, labels) == pytest.approx(true, rel=0.03)


def test_temperature_is_where_the_likelihood_is_best() -> None:
    logits, labels = made_up(150, seed=4)
    logits = 2.3 * logits

    def loss(temperature: float) -> float:
        return -log_softmax(logits / temperature, axis=1)[np.arange(150), labels].mean()

    fitted = fit_temperature(logits, labels)
    tried = np.geomspace(*TEMPERATURES, 400)
    assert loss(fitted) <= min(map(loss, tried)) + 1e-12
    scored = evaluate_logits(logits, labels, NAMES, temperature=fitted, bootstrap=0)
    after, before = scored["calibration"]["after"], scored["calibration"]["before"]
    assert after["nll"] < before["nll"]
    assert after["ece"] < before["ece"]


@pytest.mark.parametrize("scale", [0.5, 1, 10])
@pytest.mark.parametrize("count", [6, 60, 600])
def test_perfect_separation_makes_nobody_certain(count: int, scale: float) -> None:
    labels = np.arange(count) % 3
    logits = scale * logits_saying(list(labels))
    surest = softmax(logits / fit_temperature(logits, labels), axis=1).max()
    # n right films warrant (n + 1) / (n + K), within the temperatures allowed.
    assert surest == pytest.approx((count + 1) / (count + 3), abs=0.02)


def test_temperature_of_odd_logits() -> None:
    assert fit_temperature(np.zeros((5, 3)), [0, 1, 2, 0, 1]) == 1
    wrong = logits_saying([1, 2, 0])
    assert fit_temperature(wrong, [0, 1, 2]) == TEMPERATURES[1]  # worse than chance
    tiny = 1e-3 * made_up(200)[0]
    assert fit_temperature(tiny, made_up(200)[1]) == TEMPERATURES[0]


def test_bias_is_found_that_classes_were_called_too_rarely_by() -> None:
    logits, labels = made_up(20_000)
    missed = np.array([0.6, -1.0, 0.4])
    found = fit_bias(1.7 * (logits - missed), labels, np.ones(3))
    np.testing.assert_allclose(found, 1.7 * missed, atol=0.1)
    assert found.sum() == pytest.approx(0, abs=1e-9)


def test_bias_lets_rare_classes_count_as_much_as_their_films_weigh() -> None:
    logits, labels = made_up(40_000)
    # Of the second class one film in five is left: logits that fit these call it more rarely.
    kept = (labels != 1) | (np.arange(len(labels)) % 5 == 0)
    fewer = logits + np.log([1, 0.2, 1])
    logits, fewer, labels = logits[kept], fewer[kept], labels[kept]
    expected = -np.log([1, 0.2, 1])
    as_they_are = fit_bias(fewer, labels, np.ones(3))
    np.testing.assert_allclose(as_they_are, 0, atol=0.05)
    alike = fit_bias(fewer, labels, 3.0 / np.bincount(labels))
    np.testing.assert_allclose(alike, expected - expected.mean(), atol=0.05)


def test_bias_is_the_most_likely_one() -> None:
    logits, labels = made_up(150, seed=4)
    weights = np.array([0.5, 1.0, 2.0])
    temperature = fit_temperature(logits, labels)

    def loss(bias: np.ndarray) -> float:
        likelihoods = log_softmax((logits + bias) / temperature, axis=1)[np.arange(150), labels]
        films = weights[labels] / weights[labels].mean()
        prior = ((bias / temperature) ** 2).sum() / (2 * 0.5**2)
        return float(prior - (films * likelihoods).sum())

    found, rng = fit_bias(logits, labels, weights), np.random.default_rng(0)
    near = found + 0.05 * rng.normal(size=(200, 3))
    assert loss(found) < min(map(loss, near))


def test_a_few_films_hardly_move_the_bias() -> None:
    wrong = logits_saying([0, 1, 2, 0, 1, 2, 0, 1, 0])
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])  # one film of the third class missed
    found = fit_bias(wrong, labels, np.ones(3)) / fit_temperature(wrong, labels)
    assert 0 < found[2] < 0.25
    right = fit_bias(logits_saying(list(labels)), labels, np.ones(3))
    assert np.abs(right).max() < 0.1


def test_a_class_of_which_there_is_no_film_keeps_its_bias() -> None:
    logits, labels = made_up(2000)
    missed = np.array([0.5, -0.5, 0.0])
    kept = labels != 2
    found = fit_bias((logits - missed)[kept], labels[kept], np.ones(3))
    assert found[2] == 0
    np.testing.assert_allclose(found, missed, atol=0.15)
    assert not fit_bias(logits[labels == 1], labels[labels == 1], np.ones(3)).any()


def test_bias_refuses_what_temperature_refuses() -> None:
    with pytest.raises(ValueError, match="whole numbers from 0 to 2"):
        fit_bias(np.zeros((1, 3)), [3], np.ones(3))


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    found = calibration(probabilities, np.array([0, 1, 1, 0]))
    # 0.9 twice, half of them right; 0.6 on the edge of its bin, right; 0.5, right.
    assert found["ece"] == pytest.approx((2 * 0.4 + 0.4 + 0.5) / 4)
    filled = {i: one for i, one in enumerate(found["bins"]) if one["n"]}
    assert sorted(filled) == [7, 8, 13]
    assert filled[13]["confidence"] == pytest.approx(0.9)
    assert filled[13]["accuracy"] == 0.5
    assert found["bins"][0]["accuracy"] is found["bins"][0]["confidence"] is None
    assert [one["low"] for one in found["bins"]][1:] == [one["high"] for one in found["bins"]][:-1]


def test_calibration_error_of_honest_probabilities_is_small() -> None:
    logits, labels = made_up(20_000)
    assert calibration(softmax(logits, axis=1), labels)["ece"] < 0.02
    certain = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert calibration(certain, np.array([0, 1]))["ece"] == 0.5


# ------------------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Eight small phantoms with their classes."""
    paths = write_phantoms(tmp_path_factory.mktemp("phantoms"), 8, size=96)
    return [Sample(path, path.parents[1].name, group) for group, path in enumerate(paths)]


@pytest.fixture(scope="module")
def report(
    drawn: list[Sample], classifier: Classifier, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], list[float]]:
    """A report of the phantoms and a file that is none: its folder, what it says, the progress."""
    folder = tmp_path_factory.mktemp("report")
    broken = folder / "broken.png"
    broken.write_bytes(b"no picture")
    shares: list[float] = []
    said = evaluate_samples(
        classifier,
        [*drawn[:3], Sample(broken, "Normal", 8), *drawn[3:]],
        folder / "deep" / "out",
        batch_size=4,
        bootstrap=20,
        progress=shares.append,
    )
    return folder / "deep" / "out", said, shares


def test_the_report_is_complete(report: tuple[Path, dict[str, Any], list[float]]) -> None:
    out, said, shares = report
    assert {path.name for path in out.iterdir()} == {
        "metrics.json", "predictions.csv", "confusion_matrix.png", "reliability.png",
        "worst_errors.png",
    }  # fmt: skip
    assert json.loads((out / "metrics.json").read_text()) == said
    assert said["n"] == 8
    assert said["unreadable"] == 1
    assert np.sum(said["confusion_matrix"]) == 8
    assert shares[-1] == 1
    assert all(a < b for a, b in pairwise(shares))
    for name in ("confusion_matrix", "reliability", "worst_errors"):
        picture = cv2.imread(str(out / f"{name}.png"))
        assert min(picture.shape[:2]) > 50
        assert picture.std() > 5


def test_predictions_are_what_the_explainer_says(
    report: tuple[Path, dict[str, Any], list[float]],
    drawn: list[Sample],
    explainer: Explainer,
) -> None:
    with (report[0] / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "label", "predicted", *CLASS_NAMES, "error"]
    assert [row["file"] for row in rows if not row["error"]] == [str(one.path) for one in drawn]
    assert [row["label"] for row in rows if not row["error"]] == [one.label for one in drawn]
    broken = rows[3]
    assert broken["error"].startswith("broken.png ")
    assert broken["predicted"] == broken["COVID"] == ""
    for row in (rows[0], rows[-1]):
        explanation = explainer.explain(load_radiograph(row["file"]))
        assert row["predicted"] == explanation.predicted
        for name, probability in explanation.probabilities.items():
            assert float(row[name]) == pytest.approx(probability, abs=1e-5)
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert report[1]["accuracy"]["value"] == right / 8


def test_a_class_the_checkpoint_does_not_know(
    drawn: list[Sample], classifier: Classifier, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="the checkpoint knows COVID, Lung_Opacity"):
        evaluate_samples(classifier, [replace(drawn[0], label="Flu")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_evaluate(classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file to evaluate"):
        evaluate_samples(classifier, [], tmp_path / "out")
    with pytest.raises(ValueError, match="None of the 1 files can be read"):
        evaluate_samples(classifier, [Sample(tmp_path / "gone.png", "COVID", 0)], tmp_path / "out")


def test_a_report_that_cannot_be_written(
    drawn: list[Sample], classifier: Classifier, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        evaluate_samples(classifier, drawn[:1], tmp_path / "file", bootstrap=1)


def test_no_cell_of_the_predictions_is_a_formula(tmp_path: Path) -> None:
    names = ("=1+1", "b")
    written = [Prediction(Path("-x.png"), 0, (0.0, 1.0), (0.25, 0.75)),
               Prediction(Path("@y.png"), 1, error="+3")]  # fmt: skip
    write_predictions(written, names, tmp_path / "predictions.csv")
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert list(csv.reader(lines)) == [
        ["file", "label", "predicted", "./=1+1", "b", "error"],
        ["./-x.png", "./=1+1", "b", "0.25", "0.75", ""],
        ["./@y.png", "b", "", "", "", "./+3"],
    ]


# ----------------------------------------------------------------------------------- which samples


def test_every_image_or_a_folder_of_its_own(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "data" / "train", 8, size=64)
    write_phantoms(tmp_path / "data" / "test", 4, seed=8, size=64)
    everything = find_samples(tmp_path / "data", None, tmp_path)
    test = find_samples(tmp_path / "data", "test", tmp_path)
    assert len(everything) == 12
    assert {sample.label for sample in test} == set(CLASS_NAMES)
    assert all("test" in sample.path.parts for sample in test)
    assert len({sample.group for sample in test}) == 4
    with pytest.raises(DatasetError, match="no folder val"):
        find_samples(tmp_path / "data", "val", tmp_path)


def test_the_splits_of_the_run_come_first(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "data", 16, size=64)
    splits, _ = split_dataset(read_dataset(tmp_path / "data"), val=0.25, test=0.25)
    save_splits(splits, tmp_path / SPLITS_FILE, tmp_path / "data")
    assert find_samples(tmp_path / "data", "test", tmp_path) == list(splits.test)
    assert len(find_samples(tmp_path / "data", None, tmp_path)) == 16
    write_phantoms(tmp_path / "other", 4, seed=50, size=64)
    with pytest.raises(DatasetError, match="leave the split out"):
        find_samples(tmp_path / "other", "test", tmp_path)


# ---------------------------------------------------------------------------------------- pictures


def texts(figure: Any) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_confusion_matrix_says_its_numbers() -> None:
    said = texts(confusion_figure([[8, 2, 0], [0, 0, 0], [1, 0, 3]], ("A_b", "$x", "C")))
    assert "11 of 14 right (78.6%)" in said
    assert "A b\nn = 10" in said
    assert "80.0%" in said
    assert r"\$x" in said  # not taken for mathematics


def test_reliability_diagram_says_its_numbers() -> None:
    logits, labels = made_up(300)
    measured = evaluate_logits(3 * logits, labels, NAMES, temperature=3.0, bootstrap=0)
    measured = measured["calibration"]
    figure = reliability_figure(measured)
    assert f"ECE {measured['before']['ece']:.3f}" in texts(figure)
    assert "at temperature 3.00" in texts(figure)
    heights = [bar.get_height() for bar in figure.axes[1].patches[: len(measured["after"]["bins"])]]
    filled = [one["accuracy"] for one in measured["after"]["bins"] if one["n"]]
    assert heights[: len(filled)] == pytest.approx(filled)


def prediction(path: Path, label: int, probabilities: tuple[float, ...]) -> Prediction:
    return Prediction(path, label, tuple(np.log(probabilities)), probabilities)


def test_worst_errors_come_first(drawn: list[Sample], explainer: Explainer) -> None:
    paths = [one.path for one in drawn]
    figure = worst_errors_figure(
        explainer,
        [
            prediction(paths[0], 0, (0.3, 0.4, 0.2, 0.1)),
            prediction(paths[1], 0, (0.1, 0.7, 0.1, 0.1)),
            prediction(paths[2], 0, (0.7, 0.1, 0.1, 0.1)),  # right
            prediction(Path("gone.png"), 0, (0.0001, 0.9997, 0.0001, 0.0001)),
            Prediction(Path("broken.png"), 0, error="It cannot be read."),
        ],
    )
    said = texts(figure)
    assert "3 of 4 films classified wrongly" in said
    assert said.index(paths[1].name) < said.index(paths[0].name)
    assert paths[2].name not in said
    assert len(figure.axes) == 6  # two errors, three pictures each


def test_the_note_of_an_empty_map_lies_in_its_picture(drawn: list[Sample], tmp_path: Path) -> None:
    """Below it, it would lie on the title of the next film, or be cut off by the sheet's edge."""
    checkpoint = load_checkpoint()
    weights = dict(checkpoint.weights)
    rows = weights["classifier.weight"].clone()
    rows[3] = -1  # nothing speaks for the last class
    save_checkpoint(
        replace(checkpoint, weights=weights | {"classifier.weight": rows}),
        tmp_path / "blind.safetensors",
    )
    explainer = Explainer(load_classifier(tmp_path / "blind.safetensors"))
    sure = (0.9997, 0.0001, 0.0001, 0.0001)
    names = (f"{'long' * 20}.png", "肺.png", "c.png")
    films = [Path(shutil.copy(drawn[0].path, tmp_path / name)) for name in names]
    figure = worst_errors_figure(explainer, [prediction(path, 3, sure) for path in films])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _save(figure, tmp_path / "sheet.png")
    notes = [axes.texts[0] for axes in figure.axes if axes.texts]
    assert len(notes) == len(films)
    for note in notes:
        box, picture = note.get_window_extent(), note.axes.get_window_extent()
        assert picture.x0 <= box.x0 <= box.x1 <= picture.x1
        assert picture.y0 <= box.y0 <= box.y1 <= picture.y1


def test_errors_that_have_vanished_are_not_said_to_be_shown(
    tmp_path: Path, explainer: Explainer
) -> None:
    gone = prediction(tmp_path / "gone.png", 0, (0.1, 0.7, 0.1, 0.1))
    said = texts(worst_errors_figure(explainer, [gone]))
    assert "1 of 1 film classified wrongly; the worst can no longer be read." in said


def test_no_errors_is_worth_a_sheet_too(drawn: list[Sample], explainer: Explainer) -> None:
    figure = worst_errors_figure(explainer, [prediction(drawn[0].path, 0, (0.7, 0.1, 0.1, 0.1))])
    assert "No errors among 1 film." in texts(figure)
