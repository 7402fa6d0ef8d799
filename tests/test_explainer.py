"""One look at one radiograph: complete, consistent, correctly placed."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

import cxr_gradcam as cg
from cxr_gradcam.cam import METHODS
from cxr_gradcam.checkpoint import load_checkpoint
from cxr_gradcam.classifier import Classifier
from cxr_gradcam.densenet import LAST_LAYER, MAIN_LAYERS
from cxr_gradcam.explainer import Explainer, Question
from cxr_gradcam.explanation import check_known
from cxr_gradcam.familiarity import BANDS, LAYER, fit_familiarity, pooled
from cxr_gradcam.phantom import CLASS_NAMES
from cxr_gradcam.radiograph import Radiograph
from tests import oracle
from tests.oracle import every_number

FAST_METHODS = [name for name, method in METHODS.items() if method.needs != "passes"]


def test_the_public_names_work_together(explainer: Explainer, phantoms: list[Radiograph]) -> None:
    explanation = explainer.explain(phantoms[0])
    names = explainer.classifier.class_names
    assert tuple(explanation.probabilities) == tuple(explanation.logits) == names
    assert sum(explanation.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert explanation.predicted == max(names, key=explanation.probabilities.__getitem__)
    assert explanation.layers == (LAST_LAYER,)
    cells = explainer.classifier.input_size // 32
    for name in names:
        cam = explanation.cam(name, layer=LAST_LAYER)
        heatmap = explanation.heatmap(name, layer=LAST_LAYER, scale="each")
        assert (cam.dtype, cam.shape) == (np.float32, (cells, cells))
        assert (heatmap.dtype, heatmap.shape) == (np.float32, phantoms[0].pixels.shape)
        assert heatmap.min() >= 0
        assert heatmap.max() == (1 if explanation.peak(name) > 0 else 0)


def test_logits_are_torchvisions(explainer: Explainer, phantoms: list[Radiograph]) -> None:
    module = load_checkpoint().build_module()
    for radiograph in phantoms[:4]:
        with torch.inference_mode():
            expected = module(explainer.model_input(radiograph))[0]
        logits = torch.tensor(list(explainer.explain(radiograph).logits.values()))
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_the_evidence_is_complete(explainer: Explainer, phantoms: list[Radiograph]) -> None:
    for radiograph in phantoms:
        explanation = explainer.explain(radiograph)
        for name, logit in explanation.logits.items():
            total = explanation.evidence(name).sum() + explanation.biases[name]
            assert total == pytest.approx(logit, abs=1e-4)
            # At the last layer Grad-CAM is the positive part of the evidence, cell by cell.
            np.testing.assert_allclose(
                explanation.cam(name), np.maximum(explanation.evidence(name), 0), atol=1e-5
            )


def test_the_evidence_is_complete_on_real_films(explainer: Explainer, films: list[Path]) -> None:
    for film in films:
        explanation = explainer.explain(cg.load_radiograph(film))
        for name, logit in explanation.logits.items():
            total = explanation.evidence(name).sum() + explanation.biases[name]
            assert total == pytest.approx(logit, abs=1e-4)


@pytest.mark.parametrize("method", FAST_METHODS)
def test_batches_equal_singles(
    method: str, small_explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    wide = Radiograph.from_array(phantoms[3].pixels[40:140], name="wide")
    batch = [*phantoms[:3], wide]
    for layers in ([LAST_LAYER], ["features.denseblock3", LAST_LAYER]):
        together = small_explainer.explain_batch(batch, layers, method=method)
        assert len(together) == len(batch)
        for radiograph, explanation in zip(batch, together, strict=True):
            alone = small_explainer.explain(radiograph, layers, method=method)
            assert explanation.predicted == alone.predicted
            assert explanation.letterbox == alone.letterbox
            for name in explanation.classes:
                assert explanation.logits[name] == pytest.approx(alone.logits[name], abs=1e-4)
                for layer in layers:
                    ours, theirs = explanation.cam(name, layer), alone.cam(name, layer)
                    assert np.abs(ours - theirs).max() <= 1e-4 * max(theirs.max(), 1e-6)


def test_one_pass_for_many_layers_equals_one_each(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    together = explainer.explain(phantoms[0], MAIN_LAYERS)
    for layer in MAIN_LAYERS:
        alone = explainer.explain(phantoms[0], [layer])
        for name in together.classes:
            np.testing.assert_array_equal(together.cam(name, layer), alone.cam(name, layer))


def test_one_class_equals_the_same_among_all(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    layer = "features.denseblock4"
    every = explainer.explain(phantoms[0], [layer])
    one = explainer.explain(phantoms[0], [layer], classes=["Normal"])
    assert one.classes == ("Normal",)
    assert set(one.probabilities) == set(every.probabilities)
    np.testing.assert_allclose(one.cam("Normal"), every.cam("Normal"), rtol=1e-4, atol=1e-7)


def test_a_contrast_explains_the_difference_of_two_logits(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    module = load_checkpoint().build_module()
    layer = "features.denseblock4"
    model_input = explainer.model_input(phantoms[0])
    _, activations, gradients = oracle.activations_and_gradients(module, model_input, [layer])
    difference = (gradients[layer][0] - gradients[layer][2]).numpy()
    explanation = explainer.explain(phantoms[0], [layer], contrast="Normal")
    assert explanation.classes == ("COVID", "Lung_Opacity", "Viral Pneumonia")
    expected = oracle.brute_force_cam("gradcam", activations[layer][0].numpy(), difference)
    np.testing.assert_allclose(explanation.cam("COVID"), expected, atol=1e-4 * expected.max())


# ------------------------------------------------------------------- many questions, one pass


QUESTIONS = [
    *(Question(method) for method in FAST_METHODS),
    Question("layercam", ("COVID", "Normal")),
    Question("gradcam", ("COVID",), contrast="Normal"),
    Question("gradcam", ("Normal",), contrast="COVID"),
    Question("hirescam", contrast="Lung_Opacity"),
]


@pytest.mark.parametrize("layers", [[LAST_LAYER], list(MAIN_LAYERS), ["features.denseblock3"]])
def test_comparing_gives_bit_for_bit_what_each_question_gives_alone(
    layers: list[str], small_explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    answers = small_explainer.compare(phantoms[0], QUESTIONS, layers)
    for question, answer in zip(QUESTIONS, answers, strict=True):
        alone = small_explainer.explain(
            phantoms[0], layers, question.classes, question.method, contrast=question.contrast
        )
        assert every_number(answer) == every_number(alone)
        for field in ("classes", "layers", "method", "contrast", "predicted", "familiarity"):
            assert getattr(answer, field) == getattr(alone, field)


def test_comparing_takes_one_forward_pass_and_one_way_back_per_set_of_gradients(
    phantoms: list[Radiograph], classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def count(name: str) -> None:
        original = getattr(classifier.network, name)

        def counted(*given: object, **options: object) -> object:
            ran.append(name)
            return original(*given, **options)

        monkeypatch.setattr(classifier.network, name, counted)

    count("forward")
    count("gradients")
    Explainer(classifier).compare(phantoms[0], QUESTIONS, MAIN_LAYERS)
    # All classes, two of them, each of two contrasts and all against one.
    assert ran == ["forward", *["gradients"] * 5]


def test_comparing_with_scorecam_reports_progress_over_all_of_its_passes(
    small_explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    shares: list[float] = []
    layers = ["features.denseblock1.denselayer1"]  # 32 channels, one batch of passes
    questions = [Question("scorecam"), Question("eigencam"), Question("scorecam", ("COVID",))]
    film = phantoms[0]
    both, eigen, one = small_explainer.compare(film, questions, layers, progress=shares.append)
    assert shares == [0.5, 1.0]
    assert (both.method, eigen.method) == ("scorecam", "eigencam")
    alone = small_explainer.explain(film, layers, method="scorecam")
    assert every_number(both) == every_number(alone)
    np.testing.assert_array_equal(one.cam("COVID"), both.cam("COVID"))


def test_a_question_asked_twice_is_answered_twice(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    first, second = explainer.compare(phantoms[0], [Question(), Question()])
    assert every_number(first) == every_number(second)
    assert explainer.compare(phantoms[0], []) == []


def test_one_bad_question_is_refused_before_any_pass(
    explainer: Explainer, phantoms: list[Radiograph], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explainer, "model_input", None)  # a pass would call it
    with pytest.raises(ValueError, match="no method 'cam' here"):
        explainer.compare(phantoms[0], [Question(), Question("cam")])
    with pytest.raises(ValueError, match="Score-CAM has no gradient to contrast"):
        explainer.compare(phantoms[0], [Question(), Question("scorecam", contrast="COVID")])


def test_contrasts_of_opposite_direction_share_no_heat_where_the_gradients_are_constant(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    why, reverse = (
        Question(classes=(c,), contrast=r) for c, r in [("COVID", "Normal"), ("Normal", "COVID")]
    )
    for radiograph in phantoms[:2]:
        forth, back = explainer.compare(radiograph, [why, reverse])
        evidence = forth.evidence("COVID") - forth.evidence("Normal")
        np.testing.assert_allclose(forth.cam("COVID"), np.maximum(evidence, 0), atol=1e-5)
        np.testing.assert_allclose(back.cam("Normal"), np.maximum(-evidence, 0), atol=1e-5)


def test_eigencam_is_the_same_for_every_class(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    explanation = explainer.explain(phantoms[0], method="eigencam")
    for name in explanation.classes:
        np.testing.assert_array_equal(explanation.cam(name), explanation.cam("COVID"))


def test_scorecam_reports_progress_over_all_layers(
    small_explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    shares: list[float] = []
    layers = ["features.pool0", "features.denseblock1.denselayer1"]  # 64 and 32 channels
    small_explainer.explain(phantoms[0], layers, method="scorecam", progress=shares.append)
    assert shares == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("shape", [(300, 700), (700, 300)])
@pytest.mark.parametrize("place", [(0.25, 0.3), (0.6, 0.75)])
def test_a_bright_square_is_explained_where_it_is(
    shape: tuple[int, int], place: tuple[float, float]
) -> None:
    explainer = Explainer(Classifier(replace(load_checkpoint(), input_size=320)))
    row, column, side = int(place[0] * shape[0]), int(place[1] * shape[1]), 80
    grain = np.random.default_rng(0).uniform(0.3, 0.4, shape).astype(np.float32)
    planted = grain.copy()
    planted[row - side // 2 : row + side // 2, column - side // 2 : column + side // 2] = 1
    plain, changed = (
        explainer.explain(
            Radiograph.from_array(pixels, name="grain"), ["features.relu0"], method="eigencam"
        )
        for pixels in (grain, planted)
    )
    heat = np.abs(changed.cam("COVID") - plain.cam("COVID"))
    heat = changed.letterbox.restore(heat)
    assert heat.shape == shape
    rows, columns = np.nonzero(heat > 0.5 * heat.max())
    assert abs(rows.mean() - row) < 6  # a cell of this layer is 4 pixels wide
    assert abs(columns.mean() - column) < 6
    assert abs(np.ptp(rows) - side) < 20
    assert abs(np.ptp(columns) - side) < 20


def test_shared_scale_divides_all_classes_of_a_layer_by_one_number(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    explanation = explainer.explain(phantoms[0], ["features.denseblock4"])
    tops = {name: explanation.peak(name) for name in explanation.classes}
    highest = max(tops, key=tops.__getitem__)
    assert tops[highest] > 0
    for name in explanation.classes:
        assert explanation.peak(name, scale="shared") == tops[highest]
        shared = explanation.heatmap(name, scale="shared")
        np.testing.assert_allclose(
            shared * tops[highest], explanation.letterbox.restore(explanation.cam(name)), atol=1e-6
        )
    assert explanation.heatmap(highest, scale="shared").max() == 1


def test_a_map_without_positive_evidence_stays_zero(
    mute_checkpoint: Path, phantoms: list[Radiograph]
) -> None:
    mute = Explainer(cg.load_classifier(mute_checkpoint, device="cpu"))
    for explanation in mute.explain_batch(phantoms, ["features.norm5"]):
        assert explanation.evidence("Normal").max() <= 0
        assert not explanation.cam("Normal").any()
        assert explanation.peak("Normal") == 0
        for scale in ("each", "shared"):
            assert not explanation.heatmap("Normal", scale=scale).any()


def test_what_an_explanation_holds_cannot_be_changed(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    explanation = explainer.explain(phantoms[0])
    for array in (explanation.cam("COVID"), explanation.evidence("COVID")):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_what_cannot_be_explained_is_refused(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    film = phantoms[0]
    with pytest.raises(ValueError, match="no class 'Covid' here: choose one of COVID, Lung_"):
        explainer.explain(film, classes=["Covid"])
    with pytest.raises(ValueError, match=r"no layer 'norm5' here: choose one of features\.dense"):
        explainer.explain(film, ["norm5"])
    with pytest.raises(ValueError, match="no method 'cam' here: choose one of gradcam, "):
        explainer.explain(film, method="cam")
    with pytest.raises(ValueError, match="No layer to explain"):
        explainer.explain(film, [])
    with pytest.raises(ValueError, match="No class to explain"):
        explainer.explain(film, classes=[])
    with pytest.raises(ValueError, match="Eigen-CAM has no gradient to contrast"):
        explainer.explain(film, method="eigencam", contrast="Normal")
    with pytest.raises(ValueError, match="Normal cannot be contrasted with itself"):
        explainer.explain(film, classes=["Normal"], contrast="Normal")
    explanation = explainer.explain(film, classes=["COVID"])
    with pytest.raises(ValueError, match="no class 'Normal' here: choose one of COVID"):
        explanation.cam("Normal")
    with pytest.raises(ValueError, match=r"no layer 'features\.denseblock1' here"):
        explanation.heatmap("COVID", "features.denseblock1")
    with pytest.raises(ValueError, match="no scale 'log' here: choose one of each, shared"):
        explanation.heatmap("COVID", scale="log")  # type: ignore[arg-type]


def test_no_radiograph_gives_no_explanation(explainer: Explainer) -> None:
    assert explainer.explain_batch([]) == []


def test_another_dtype_runs_through(phantoms: list[Radiograph], classifier: Classifier) -> None:
    exact = Explainer(Classifier(load_checkpoint(), dtype=torch.float64))
    ours = Explainer(classifier).explain(phantoms[1], MAIN_LAYERS)
    theirs = exact.explain(phantoms[1], MAIN_LAYERS)
    for layer in MAIN_LAYERS:
        for name in ours.classes:
            expected = theirs.cam(name, layer)
            # float32 against float64: see tests/test_cam.py on ReLUs near zero.
            assert np.abs(ours.cam(name, layer) - expected).max() <= 1e-3 * expected.max() + 1e-7


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=r"no heatmaps in torch\.\w+: choose torch\.float32"):
        Classifier(load_checkpoint(), dtype=dtype)


def test_other_networks_are_refused_in_one_sentence() -> None:
    other = torchvision.models.resnet18()
    with pytest.raises(TypeError, match="A ResNet is no Classifier: load_classifier reads one"):
        Explainer(other)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="A ResNet is no Checkpoint: load_classifier reads a file"):
        Classifier(other)  # type: ignore[arg-type]
    theirs = replace(load_checkpoint(), weights=other.state_dict())
    with pytest.raises(ValueError, match=r"weights lack 'classifier\.weight': give the state_dict"):
        Classifier(theirs)


def test_a_classifier_stays_as_it_is_when_its_weights_are_trained_on(
    phantoms: list[Radiograph],
) -> None:
    checkpoint = load_checkpoint()
    module = checkpoint.build_module()
    explainer = Explainer(Classifier(replace(checkpoint, weights=module.state_dict())))
    before = explainer.explain(phantoms[0])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.1)
    after = explainer.explain(phantoms[0])
    assert after.logits == before.logits
    assert np.array_equal(after.cam("COVID"), before.cam("COVID"))


# ------------------------------------------------------------------------------------- familiarity


@cache
def bundled_module() -> torch.nn.Module:
    return load_checkpoint().build_module().float().eval()


def halves(explainer: Explainer, radiograph: Radiograph, layer: str, bands: int) -> np.ndarray:
    """The features (1024,) that familiarity is read from, by torchvision's network and a hook."""
    found: list[torch.Tensor] = []
    module = bundled_module()
    place = module.get_submodule(layer)
    hook = place.register_forward_hook(lambda *given: found.append(given[2]))
    with torch.inference_mode():
        module(explainer.model_input(radiograph))
    hook.remove()
    activation = found[0][0].relu() if layer == LAST_LAYER else found[0][0]
    rows = activation.shape[1]
    share = -(-rows // bands)
    parts = (activation[:, :share], activation[:, rows - share :])[:bands]
    return torch.stack([part.mean((1, 2)) for part in parts], dim=1).flatten().numpy()


@pytest.mark.parametrize(("layer", "bands"), [(LAYER, BANDS), (LAST_LAYER, 1)])
def test_familiarity_is_read_from_its_layer(
    layer: str, bands: int, explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    films = np.stack([halves(explainer, radiograph, layer, bands) for radiograph in phantoms])
    drawn = np.random.default_rng(0).normal(films.mean(axis=0), films.std(axis=0), (300, 1024))
    learned = replace(fit_familiarity(drawn[::2], drawn[1::2]), layer=layer, bands=bands)
    own = Explainer(Classifier(replace(load_checkpoint(), familiarity=learned)))
    noise = Radiograph.from_array(np.random.default_rng(0).random((90, 120)), name="noise")
    looked_at = (*phantoms[:3], noise)
    explanations = [own.explain(radiograph) for radiograph in looked_at]
    for radiograph, explanation in zip(looked_at, explanations, strict=True):
        run = own.classifier.network.forward(own.model_input(radiograph), beside=layer)
        features = pooled(run.activations[layer], bands)[0].numpy()
        assert explanation.familiarity == learned.score(features)
        theirs = halves(own, radiograph, layer, bands)
        np.testing.assert_allclose(features, theirs, rtol=1e-4, atol=1e-5)
        assert explanation.familiar is (explanation.familiarity >= learned.threshold)
    assert explanations[-1].familiar is False
    assert any(explanations[-1].cam(name).max() > 0 for name in CLASS_NAMES)  # still explained
    # Whatever was asked for, the answer is the same.
    for asked in ("features.denseblock3", "features.denseblock4", layer):
        other = own.explain(phantoms[0], [asked], ["COVID"], "layercam")
        assert other.familiarity == explanations[0].familiarity


def test_radiographs_may_come_one_by_one_and_a_class_by_its_name(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    found = explainer.explain_batch((film for film in phantoms[:2]), classes="COVID")
    assert [one.classes for one in found] == [("COVID",)] * 2
    (only,) = explainer.compare(phantoms[0], [Question(classes="COVID")])
    assert only.classes == ("COVID",)


def test_a_wrong_name_is_answered_with_what_there_is_of_its_kind() -> None:
    many = tuple(f"class {number}" for number in range(30))
    with pytest.raises(ValueError, match=r"There is no class 'Flu' here: .* class 29"):
        check_known("class", "Flu", many)
    with pytest.raises(ValueError, match=r"There is no layer 'x' here: .* a module inside them"):
        check_known("layer", "x", many)


def test_what_is_no_radiograph_or_question_is_named(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    with pytest.raises(TypeError, match="A str is no Radiograph: load_radiograph reads a file"):
        explainer.explain("film.png")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="A str is no Radiograph: load_radiograph reads a file"):
        explainer.model_input("film.png")
    with pytest.raises(TypeError, match="A str is no Question: give a list of Question"):
        explainer.compare(phantoms[0], ["gradcam"])


def test_a_checkpoint_that_learned_no_familiarity_claims_none(phantoms: list[Radiograph]) -> None:
    bare = Explainer(Classifier(replace(load_checkpoint(), familiarity=None)))
    explanation = bare.explain(phantoms[0])
    assert explanation.familiarity is explanation.familiar is None


def test_the_bundled_model_knows_phantoms_and_no_noise(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    assert explainer.classifier.familiarity is not None
    rng = np.random.default_rng(0)
    noise = [Radiograph.from_array(rng.random((200, 200)), name="noise") for _ in range(4)]
    known = [one.familiar for one in explainer.explain_batch(phantoms)]
    assert sum(bool(one) for one in known) >= len(phantoms) - 1
    assert not any(one.familiar for one in explainer.explain_batch(noise))


def test_the_bundled_model_knows_no_negative_and_no_film_upside_down(
    explainer: Explainer, phantoms: list[Radiograph]
) -> None:
    changed = [
        Radiograph.from_array(pixels, name="turned")
        for film in phantoms
        for pixels in (1 - film.pixels, film.pixels[::-1], np.rot90(film.pixels))
    ]
    strange = [not one.familiar for one in explainer.explain_batch(changed)]
    assert sum(strange) >= 0.9 * len(strange)


def test_what_a_notebook_prints_is_short(explainer: Explainer, phantoms: list[Radiograph]) -> None:
    said = repr(explainer.explain(phantoms[0], classes=["COVID"], contrast="Normal"))
    assert said.startswith("Explanation(COVID ")
    assert said.endswith("gradcam of COVID rather than Normal at features.norm5)")
    assert repr(explainer.classifier).startswith("Classifier(COVID, Lung_Opacity, Normal, ")


def test_an_empty_contrast_is_no_class(explainer: Explainer, phantoms: list[Radiograph]) -> None:
    with pytest.raises(ValueError, match="class"):
        explainer.explain(phantoms[0], contrast="")
