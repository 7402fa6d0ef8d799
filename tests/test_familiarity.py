"""Familiarity: against scikit-learn and by hand, as a share of films, and on real strangers."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from cxr_gradcam.explainer import Explainer
from cxr_gradcam.familiarity import BANDS, LAYER, THRESHOLD, Familiarity, fit_familiarity, pooled
from cxr_gradcam.phantom import CLASS_NAMES, draw_phantom
from cxr_gradcam.radiograph import Radiograph

CHANNELS = 20


def films(count: int, seed: int) -> np.ndarray:
    """Features (count, CHANNELS) with a few strong directions and small other ones."""
    rng = np.random.default_rng(seed)
    strengths = np.geomspace(3, 0.05, CHANNELS)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(CHANNELS, CHANNELS)))[0]
    return 0.5 + (rng.normal(size=(count, CHANNELS)) * strengths) @ turn


@pytest.fixture(scope="module")
def fitted() -> Familiarity:
    return fit_familiarity(films(2000, 1), films(1000, 2), rank=12)


# ---------------------------------------------------------------------------------------- distance


def test_distance_is_mahalanobis_with_shrinkage() -> None:
    known, others = films(60, 1), films(30, 2)
    full = fit_familiarity(known, others, rank=CHANNELS)
    covariance = LedoitWolf().fit(known).covariance_
    # One direction fewer than there are channels, so that the others' variance is the last one's.
    assert full.directions.shape == (CHANNELS, CHANNELS - 1)
    centred = others - known.mean(axis=0)
    expected = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
    np.testing.assert_allclose(full.distance(others), expected, rtol=0.02)  # fp16 directions


def test_directions_that_are_not_kept_share_one_variance() -> None:
    known = films(500, 1)
    cut = fit_familiarity(known, films(30, 2), rank=5)
    strengths = np.linalg.eigvalsh(LedoitWolf().fit(known).covariance_)
    assert cut.rest == pytest.approx(strengths[:-5].mean(), rel=1e-4)
    np.testing.assert_allclose(np.sort(cut.variances), strengths[-5:], rtol=1e-4)
    off = np.linalg.svd(cut.directions.T)[2][-1]  # at right angles to all that are kept
    far = cut.mean + 3 * off
    assert cut.distance(far[None])[0] == pytest.approx(9 / cut.rest, rel=0.01)


# ------------------------------------------------------------------------------------------- score


def test_familiarity_is_the_share_of_films_as_far_off(fitted: Familiarity) -> None:
    validation = fitted.distance(films(1000, 2))
    for film in films(20, 3):
        share = (validation >= fitted.distance(film[None])[0]).mean()
        assert fitted.score(film) == pytest.approx(share, abs=0.006)  # the table's levels


def test_ninety_nine_in_a_hundred_pass(fitted: Familiarity) -> None:
    assert fitted.threshold == THRESHOLD
    passed = [fitted.score(film) >= fitted.threshold for film in films(1000, 2)]
    assert np.mean(passed) == pytest.approx(0.99, abs=0.001)
    new = [fitted.score(film) for film in films(2000, 5)]
    assert np.mean(np.array(new) >= fitted.threshold) == pytest.approx(0.99, abs=0.01)
    assert np.mean(new) == pytest.approx(0.5, abs=0.05)  # as a p-value should


def test_familiarity_falls_with_distance_from_one_to_nothing(fitted: Familiarity) -> None:
    scores = [fitted.score(fitted.mean + step * fitted.directions[:, 0]) for step in range(60)]
    assert scores[0] == 1
    assert 0 < scores[-1] < 1e-3  # beyond all validation films, and still falling
    assert all(a >= b for a, b in pairwise(scores))
    assert all(isinstance(score, float) for score in scores)


def test_few_validation_films_call_few_strange() -> None:
    few = fit_familiarity(films(2000, 1), films(10, 2), rank=12)
    new = [few.score(film) for film in films(500, 5)]
    assert np.mean(np.array(new) < few.threshold) < 0.01
    assert few.score(few.mean + 100 * few.directions[:, 0]) < few.threshold


def test_features_may_be_tensors(fitted: Familiarity) -> None:
    film = films(1, 7)[0]
    assert fitted.score(torch.tensor(film)) == fitted.score(film)


# ----------------------------------------------------------------------------------------- storage


def test_it_comes_back_bit_for_bit(fitted: Familiarity) -> None:
    again = Familiarity.from_metadata(json.loads(json.dumps(fitted.to_metadata())))
    for name in ("mean", "directions", "variances", "distances"):
        before, after = getattr(fitted, name), getattr(again, name)
        assert after.dtype == before.dtype == np.float32
        np.testing.assert_array_equal(after, before)
    assert (again.rest, again.least, again.threshold) == (fitted.rest, 1 / 1001, THRESHOLD)
    assert (again.layer, again.bands) == ("features.transition3", 2)
    for film in films(20, 8):
        assert again.score(film) == fitted.score(film)


def test_the_first_checkpoints_looked_at_the_last_layer(fitted: Familiarity) -> None:
    values = fitted.to_metadata()
    del values["layer"], values["bands"]
    first = Familiarity.from_metadata(values)
    assert (first.layer, first.bands) == ("features.norm5", 1)


def test_it_is_small() -> None:
    rng = np.random.default_rng(0)
    wide = fit_familiarity(rng.normal(size=(200, 1024)), rng.normal(size=(50, 1024)))
    assert len(json.dumps(wide.to_metadata())) < 400_000


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": None},
        {"mean": {"dtype": "<f4", "shape": [1], "data": "AAAAAA=="}},
        {"mean": {"dtype": "O", "shape": [1], "data": "AAAAAA=="}},
        {"directions": {"dtype": "<f2", "shape": [CHANNELS, 12], "data": "not base64!"}},
        {"directions": {"dtype": "<f2", "shape": [3, 3], "data": "AAAA"}},
        {"rest": 0},
        {"rest": float("nan")},
        {"rest": "much"},
        {"least": -1},
        {"threshold": 2},
        {"threshold": None},
        {"layer": 3},
        {"bands": 0},
        {"bands": "two"},
    ],
)
def test_damaged_values_are_told(fitted: Familiarity, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="damaged: train again"):
        Familiarity.from_metadata(fitted.to_metadata() | changes)


def test_values_out_of_range_are_told(fitted: Familiarity) -> None:
    for wrong in (
        replace(fitted, variances=-fitted.variances),
        replace(fitted, distances=fitted.distances[::-1]),
        replace(fitted, distances=fitted.distances[:1]),
        replace(fitted, mean=fitted.mean * np.float32(np.nan)),
    ):
        with pytest.raises(ValueError, match="damaged"):
            Familiarity.from_metadata(wrong.to_metadata())
    for none in (None, [], "x", {}):
        with pytest.raises(ValueError, match="damaged"):
            Familiarity.from_metadata(none)


# --------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("features", "validation", "words"),
    [
        (np.ones((5, 3)), np.ones((5, 4)), r"\(5, 3\) and \(5, 4\)"),
        (np.ones(5), np.ones((5, 4)), "expected"),
        (np.ones((1, 3)), np.ones((5, 3)), "two films or more"),
        (np.ones((5, 3)), np.ones((0, 3)), "one to validate"),
        (np.full((5, 3), np.inf), np.ones((5, 3)), "not finite"),
        (np.ones((5, 3)), np.ones((5, 3)), "the same features"),
    ],
)
def test_wrong_features_are_named(features: np.ndarray, validation: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fit_familiarity(features, validation)


def test_a_channel_that_never_changes_does_no_harm() -> None:
    known, others = films(200, 1), films(100, 2)
    known[:, 3] = others[:, 3] = 0.25
    fitted = fit_familiarity(known, others, rank=10)
    assert np.isfinite(fitted.distance(others)).all()
    stranger = others[0].copy()
    stranger[3] = 9
    assert fitted.score(stranger) < THRESHOLD / 2


# ----------------------------------------------------------------------------------------- pictures


def strangers() -> dict[str, list[Radiograph]]:
    """Pictures that are no chest films, a few of each kind."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    grey = [picture.mean(axis=2) / 255 for picture in load_sample_images().images]
    crops = [
        picture[y : y + side, x : x + side]
        for picture in grey
        for side in (200, 300, 400)
        for y, x in rng.integers(0, (427 - side, 640 - side), size=(2, 2))
    ]
    noise = [rng.random((160, 160)) for _ in range(4)]
    noise += [np.clip(rng.normal(0.5, 0.1, (160, 160)), 0, 1) for _ in range(4)]
    noise += [(rng.random((160, 160)) < 0.1).astype(float) for _ in range(4)]
    pages = []
    for _ in range(4):
        page = Image.new("L", (300, 400), 250)
        pen = ImageDraw.Draw(page)
        for row in range(10, 390, 14):
            words = "".join(rng.choice(list("abcdefghij    "), 45))
            pen.text((12, row), words, 10)
        pages.append(np.asarray(page) / 255)
    made = {"photographs": crops, "noise": noise, "pages": pages}
    return {
        kind: [Radiograph.from_array(picture, name=kind) for picture in pictures]
        for kind, pictures in made.items()
    }


def features(explainer: Explainer, pictures: list[Radiograph]) -> np.ndarray:
    """What familiarity is read from, (N, 1024)."""
    inputs = torch.cat([explainer.model_input(picture) for picture in pictures])
    run = explainer.classifier.network.forward(inputs, beside=LAYER)
    return pooled(run.activations[LAYER], BANDS).numpy()


def test_bands_are_means_from_top_to_bottom() -> None:
    """Of an odd number of rows the middle one lies in both halves."""
    activation = torch.arange(5.0).view(1, 1, 5, 1).repeat(2, 3, 1, 4)
    activation[:, 1] *= 10
    expected = torch.tensor([1.0, 3.0, 10.0, 30.0, 1.0, 3.0])
    assert torch.equal(pooled(activation, 2), expected.repeat(2, 1))
    assert torch.equal(pooled(activation, 1), torch.tensor([2.0, 20.0, 2.0]).repeat(2, 1))


def test_strangers_are_told_from_phantoms(small_explainer: Explainer) -> None:
    drawn = [draw_phantom(CLASS_NAMES[i % 4], 900 + i, size=64).radiograph for i in range(60)]
    known = features(small_explainer, drawn)
    fitted = fit_familiarity(known[:36], known[36:48])
    at_home = [fitted.score(film) for film in known[48:]]
    for kind, pictures in strangers().items():
        scores = [fitted.score(film) for film in features(small_explainer, pictures)]
        told = roc_auc_score([1] * len(at_home) + [0] * len(scores), at_home + scores)
        assert told >= 0.99, kind
        # Farther than every validation film; twelve are too few to call that strange.
        assert np.mean(np.array(scores) < fitted.least) >= 0.95, kind
