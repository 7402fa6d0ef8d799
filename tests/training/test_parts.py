"""The small pieces: schedule, weights, loss, average, plan, augmentation, starts, freezing."""

import math
import pickle
import platform
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import DenseNet121_Weights, densenet121

from cxr_gradcam.checkpoint import load_checkpoint
from cxr_gradcam.classifier import is_out_of_memory
from cxr_gradcam.phantom import CLASS_NAMES, draw_phantom
from cxr_gradcam.preprocess import Letterbox
from cxr_gradcam.radiograph import load_radiograph
from cxr_gradcam.splits import Sample
from cxr_gradcam.training.augmentation import augment, draw, draw_blend, to_unit, warp
from cxr_gradcam.training.batches import Batch, BatchMaker
from cxr_gradcam.training.config import Config, ConfigError
from cxr_gradcam.training.device import make_accelerator
from cxr_gradcam.training.images import (
    NO_LESION,
    PHANTOM_SIZES,
    Images,
    Plan,
    Purpose,
    draw_phantoms,
    load_images,
    share_of,
)
from cxr_gradcam.training.loop import (
    Learner,
    _true_cams,
    make_learner,
    measure_norms,
    train_one_epoch,
)
from cxr_gradcam.training.network import freeze, load_start, prepare_start
from cxr_gradcam.training.optimisation import (
    WeightAverage,
    centred,
    class_weights,
    learning_rate,
    lesion_loss,
    parameter_groups,
    share_of_loss,
)
from cxr_gradcam.training.progress import fixed_choice
from cxr_gradcam.training.record import quick_scores
from cxr_gradcam.training.state import STATE_FILE, Position, load_state, save_state
from tests.training.conftest import go_on, same_bits

CPU = torch.device("cpu")
CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")

# ------------------------------------------------------------------------------------ optimisation


def test_the_learning_rate_climbs_straight_and_falls_as_a_cosine() -> None:
    rates = [learning_rate(step, 14, 4, 8.0) for step in range(14)]
    assert rates[:5] == [2, 4, 6, 8, 8]
    assert rates[9] == pytest.approx(4)
    assert rates[13] == pytest.approx(4 * (1 + math.cos(math.pi * 0.9)))
    assert learning_rate(0, 10, 0, 8.0) == 8


def test_class_weights_are_balanced_about_one() -> None:
    weights = class_weights([100, 25], 0.5)
    assert weights[1] / weights[0] == pytest.approx(2)
    assert (weights @ torch.tensor([100.0, 25.0])) / 125 == pytest.approx(1)
    assert class_weights([100, 25], 0).tolist() == [1, 1]


def test_shares_of_the_loss_add_up_to_torch_s_own() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 3, generator=generator)
    labels, weights = torch.tensor([0, 1, 2, 0, 1, 2, 2]), torch.tensor([1.0, 2.0, 0.5])
    targets = nn.functional.one_hot(labels) * weights
    shares = [
        share_of_loss(logits[part], targets[part], 0.1, weights[labels].sum())
        for part in (slice(0, 2), slice(2, 7))
    ]
    each = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    expected = (each * weights[labels]).sum() / weights[labels].sum()
    assert float(sum(shares)) == pytest.approx(float(expected))
    plain = share_of_loss(logits, targets, 0.0, weights[labels].sum())
    expected = nn.functional.cross_entropy(logits, labels, weight=weights)
    assert float(plain) == pytest.approx(float(expected))


def test_norms_and_biases_do_not_decay() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    network[1].weight.requires_grad_(False)
    decayed, spared = parameter_groups(network, 0.1)
    assert (len(decayed["params"]), decayed["weight_decay"]) == (1, 0.1)
    assert (len(spared["params"]), spared["weight_decay"]) == (2, 0.0)


def test_the_average_follows_the_formula() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    average = WeightAverage(network, 0.9)
    start = [one.clone() for one in average.network.parameters()]
    with torch.no_grad():
        for one in network.parameters():
            one.add_(1)
        network[1].running_mean += 1
    average.update(network, 0)  # young: keeps 1/10
    for before, now in zip(start, average.network.parameters(), strict=True):
        torch.testing.assert_close(now, before + 0.9)
    assert float(average.network[1].running_mean) == pytest.approx(0.9)
    average.update(network, 1000)  # old: keeps 9/10
    for before, now in zip(start, average.network.parameters(), strict=True):
        torch.testing.assert_close(now, before + 0.91)


# ------------------------------------------------------------------------------------------ images


def test_every_epoch_has_its_own_order_and_steps_are_disjoint() -> None:
    plan = Plan(images=23, batch_size=5, seed=1)
    assert plan.steps == 4
    first = [indices for _, indices in plan.batches(0)]
    assert len({int(i) for indices in first for i in indices}) == 20
    assert not np.array_equal(plan.order(0), plan.order(1))
    resumed = dict(plan.batches(0, first_step=2))
    assert sorted(resumed) == [2, 3]
    np.testing.assert_array_equal(resumed[3], first[3])


@pytest.mark.parametrize(("count", "processes"), [(7, 2), (8, 3), (5, 5)])
def test_processes_share_a_step_without_rest(count: int, processes: int) -> None:
    shares = [range(count)[share_of(count, i, processes)] for i in range(processes)]
    assert [i for share in shares for i in share] == list(range(count))
    assert min(map(len, shares)) >= 1


def test_images_are_what_the_model_would_see(phantom_data: Path) -> None:
    paths = sorted(phantom_data.glob("*/images/*"))[::9]
    samples = [Sample(path, path.parts[-3], i) for i, path in enumerate(paths)]
    images = load_images(samples, CLASSES, 96, readers=2)
    assert images.pixels.dtype == torch.uint8
    assert [CLASSES[label] for label in images.labels] == [one.label for one in samples]
    film = load_radiograph(paths[1])
    expected = Letterbox.fit(film.height, film.width, 96).apply(film.pixels)
    assert np.abs(images.pixels[1].numpy() / 255 - expected).max() <= 0.5 / 255 + 1e-6


def test_phantoms_bring_their_lesions_with_them(phantom_data: Path) -> None:
    drawn = draw_phantoms(8, CLASSES, 96, seed=3)
    assert [CLASSES[label] for label in drawn.labels] == list(CLASS_NAMES) * 2
    assert drawn.lesion_rows.tolist() == [0, 1, NO_LESION, 2, 3, 4, NO_LESION, 5]
    for name, row in zip(drawn.names, drawn.lesion_rows, strict=True):
        label, _, seed = name.rpartition("-phantom-")
        if row != NO_LESION:
            sizes = [draw_phantom(label, int(seed), side) for side in PHANTOM_SIZES]
            masks = [cv2.resize(one.lesion_mask.astype(np.float32), (96, 96)) for one in sizes]
            ours = drawn.lesions[row].numpy() / 255
            assert min(np.abs(mask - ours).mean() for mask in masks) < 0.02
    again, other = draw_phantoms(8, CLASSES, 96, seed=3), draw_phantoms(1, CLASSES, 96, seed=4)
    assert torch.equal(again.pixels, drawn.pixels)
    assert not set(other.names) & set(drawn.names)


def test_joined_images_keep_their_own_lesions() -> None:
    first, second = draw_phantoms(3, CLASSES, 64, seed=0), draw_phantoms(4, CLASSES, 64, seed=1)
    both = first.joined(second)
    assert both.names == first.names + second.names
    assert both.lesion_rows.tolist() == [0, 1, NO_LESION, 2, 3, NO_LESION, 4]
    assert torch.equal(both.lesions[4], second.lesions[2])


def test_the_strip_shows_some_of_each_class() -> None:
    labels = [0] * 50 + [1] * 3 + [2] * 20
    assert fixed_choice(labels, 8) == [0, 1, 2, 50, 51, 52, 53, 54]
    assert fixed_choice([1, 0], 8) == [1, 0]


# ------------------------------------------------------------------------------------ augmentation


def films(count: int = 12, size: int = 64) -> torch.Tensor:
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.uniform(0, 255 / size, (count, size, size)), axis=1)
    return torch.from_numpy(smooth.astype(np.uint8))


@pytest.mark.parametrize("strength", [0.1, 1.0, 2.0])
def test_augmented_films_keep_shape_and_range(strength: float) -> None:
    pixels = films()
    before = pixels.clone()
    result = augment(pixels, draw(np.random.default_rng(1), 12, strength), CPU)
    assert result.shape == (12, 1, 64, 64)
    assert result.dtype == torch.float32
    assert torch.isfinite(result).all()
    assert 0 <= result.min() < result.max() <= 1
    assert torch.equal(pixels, before)
    assert len({float(film.mean()) for film in result}) == 12


def test_augmentation_depends_on_its_draws_alone() -> None:
    pixels = films()
    draws = draw(np.random.default_rng((5, 2, 7)), 12, 1.0)
    whole = augment(pixels, draws, CPU)
    torch.manual_seed(99)
    assert torch.equal(augment(pixels, draws, CPU), whole)
    parts = [augment(pixels[rows], draws.share(rows), CPU) for rows in (slice(5), slice(5, 12))]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-6, rtol=0)
    other = augment(pixels, draw(np.random.default_rng((5, 2, 8)), 12, 1.0), CPU)
    assert not torch.equal(other, whole)


def test_a_shift_and_a_flip_move_a_dot_where_they_should() -> None:
    pixels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    pixels[0, 20:24, 10:14] = 255
    draws = draw(np.random.default_rng(0), 1, 1e-9)  # hardly anything but flip, and no noise
    still = {"blur": np.zeros(1), "noise": np.zeros(1), "quality": np.zeros(1)}
    for flip, columns in ((1.0, slice(10, 14)), (-1.0, slice(50, 54))):
        values = {**vars(draws), **still, "flip": np.array([flip])}
        moved = augment(pixels, type(draws)(**values), CPU)[0, 0]
        assert moved[20:24, columns].min() > 0.95
        assert moved.sum() == pytest.approx(16, rel=0.02)


def test_a_mask_moves_with_its_film() -> None:
    pixels = torch.zeros(6, 64, 64, dtype=torch.uint8)
    pixels[:, 20:30, 10:18] = 255
    draws = draw(np.random.default_rng(3), 6, 1.0)
    flat = {"brightness": np.zeros(6), "noise": np.zeros(6), "blur": np.zeros(6)}
    plain = {**flat, "contrast": np.ones(6), "gamma": np.ones(6), "quality": np.zeros(6)}
    draws = type(draws)(**{**vars(draws), **plain})
    moved = warp(to_unit(pixels, CPU), draws)
    torch.testing.assert_close(moved, augment(pixels, draws, CPU), atol=1e-6, rtol=0)
    assert moved.std(0).max() > 0.1
    assert len(warp(to_unit(pixels[:0], CPU), draws.share(slice(0)))) == 0


def test_blends_spare_whom_they_should_and_are_mostly_the_film_itself() -> None:
    spared = np.arange(400) % 4 == 0
    blend = draw_blend(np.random.default_rng(0), spared, 0.4)
    assert sorted(blend.partners) == list(range(400))
    assert (blend.shares[spared] == 1).all()
    free = blend.shares[~spared]
    assert free.min() >= 0.5
    assert free.max() <= 1
    # max(s, 1 - s) of s from Beta(a, a) has this mean for a = 0.4, in four million draws.
    assert free.mean() == pytest.approx(0.840, abs=0.02)
    none = draw_blend(np.random.default_rng(0), spared, 0)
    assert (none.shares == 1).all()


def test_a_step_on_blends_sees_their_pixels_and_is_asked_for_both_classes() -> None:
    learner, images, plan, config = small_learner_of(
        draw_phantoms(8, CLASSES, 64, seed=0), augmentation=0, mixup=1.0, precision="fp32"
    )
    indices = np.array([2, 6, 0, 1])  # two normal phantoms, and two with lesions
    maker = BatchMaker(images, plan, config, learner.weights, learner.accelerator)
    batch = maker.make(0, 0, indices)
    blend = draw_blend(plan.rng(Purpose.BLEND, 0, 0), images.lesion_rows[indices].numpy() >= 0, 1.0)
    assert blend.shares[:2].max() < 1
    pixels = to_unit(images.pixels[indices], CPU)
    shares = torch.from_numpy(blend.shares).view(-1, 1, 1, 1)
    expected = shares * pixels + (1 - shares) * pixels[blend.partners]
    torch.testing.assert_close(batch.films, expected)
    labels = images.labels[indices]
    asked = torch.zeros(4, 4)
    for row, (partner, share) in enumerate(zip(blend.partners, blend.shares, strict=True)):
        asked[row, labels[row]] += float(share)
        asked[row, labels[partner]] += 1 - float(share)
    asked = asked * learner.weights
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    loss = -(asked * logits.log_softmax(1)).sum() / asked.sum()
    ours = share_of_loss(logits, batch.targets, 0.0, batch.total)
    assert float(ours) == pytest.approx(float(loss), rel=1e-5)


# ------------------------------------------------------------------------------------- lesion loss


def test_the_lesion_loss_is_the_divergence_of_two_places() -> None:
    cams = torch.tensor([[[0.0, 2.0], [1.0, -1.0]]])
    lesions = torch.zeros(1, 8, 8)
    lesions[0, :4, 4:] = 1  # the upper right cell, whole
    lesions[0, 4:6, :4] = 1  # half of the lower left one
    looked = cams.flatten().exp() / cams.exp().sum()
    wanted = torch.tensor([0, 2 / 3, 1 / 3, 0])
    expected = sum(w * torch.log(w / q) for w, q in zip(wanted, looked, strict=True) if w)
    assert float(lesion_loss(cams, lesions)) == pytest.approx(float(expected), rel=1e-5)
    agreeing = torch.log(wanted.clamp(min=1e-9)).view(1, 2, 2)
    assert float(lesion_loss(agreeing, lesions)) == pytest.approx(0, abs=1e-5)
    assert float(lesion_loss(cams, torch.zeros(1, 8, 8))) == 0


def test_what_all_classes_have_in_common_moves_neither_softmax_nor_lesion_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, pooled = torch.randn(4, 9, generator=generator), torch.rand(5, 9, generator=generator)
    torch.testing.assert_close(
        (pooled @ centred(weight).T).softmax(1), (pooled @ weight.T).softmax(1)
    )
    assert centred(weight).sum(0).abs().max() < 1e-6
    images = draw_phantoms(4, CLASSES, 96, seed=0)
    learner, *_ = small_learner_of(images, augmentation=0, precision="fp32")
    config = Config("", input_size=96, batch_size=4, epochs=1, augmentation=0)
    batch = whole_batch(learner, images, config)
    activation = torch.rand(4, 1024, 3, 3, generator=generator)
    before = _true_cams(learner, batch, activation)
    with torch.no_grad():
        learner.network.get_parameter("classifier.weight").add_(
            torch.rand(1024, generator=generator)
        )
    torch.testing.assert_close(_true_cams(learner, batch, activation), before)


def test_training_moves_the_heat_into_the_lesion() -> None:
    torch.manual_seed(0)
    learner, *_ = small_learner_of(draw_phantoms(4, CLASSES, 96, seed=0), weights="scratch")
    images = draw_phantoms(4, CLASSES, 96, seed=0)
    config = Config("", input_size=96, batch_size=4, epochs=12, augmentation=0, lesion_weight=1.0)

    def strayed() -> float:
        batch = whole_batch(learner, images, config)
        with torch.no_grad():
            _, activation = learner.parallel(learner.model_input(batch.films))
            return float(lesion_loss(_true_cams(learner, batch, activation), batch.lesions).mean())

    before = strayed()
    for epoch in range(config.epochs):
        start = Position(epoch=epoch)
        train_one_epoch(learner, images, Plan(4, 4, 0), config, start, after_step=go_on)
    assert strayed() < 0.5 * before


# ------------------------------------------------------------------------------------------ memory


def test_no_two_purposes_share_random_numbers() -> None:
    plan = Plan(8, 4, 0)
    places = [(purpose, *place) for purpose in Purpose for place in ((0,), (0, 0), (0, 1))]
    drawn = {tuple(plan.rng(*place).random(3)) for place in places}
    # An epoch is a step 0 to NumPy, so each purpose asks in one of these ways only.
    assert len(drawn) == 2 * len(Purpose)


def test_a_class_without_films_has_no_part_in_the_figures_of_an_epoch() -> None:
    logits = torch.tensor([[4.0, 0, 0], [0, 4, 0], [0, 4, 0]])
    scores = quick_scores(logits, torch.tensor([0, 1, 1]))
    assert (scores["balanced_accuracy"], scores["macro_f1"], scores["accuracy"]) == (1, 1, 1)


def test_memory_that_is_not_there_is_known_by_its_error() -> None:
    with pytest.raises(RuntimeError) as told:
        torch.empty(2**50)
    assert is_out_of_memory(told.value)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("something else"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_kept() -> None:
    code = """
import resource, torch
from cxr_gradcam.training.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

without = faults()
assert keep_freed_memory()
print(without, faults())
"""
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    without, kept = map(int, said.split())
    assert kept < 0.5 * without


# ----------------------------------------------------------------------------------------- network


def test_the_bundled_start_is_the_bundled_network() -> None:
    start = load_start("bundled", CLASSES, 0)
    bundled = load_checkpoint()
    weights = start.network.state_dict()
    assert all(torch.equal(weights[name], value.float()) for name, value in bundled.weights.items()
               if value.is_floating_point())  # fmt: skip
    assert start.mean == bundled.mean


def test_known_classes_keep_their_outputs_in_any_order() -> None:
    start = load_start("bundled", ("Normal", "Tuberculosis"), 0)
    weight = start.network.state_dict()["classifier.weight"]
    bundled = load_checkpoint().weights["classifier.weight"].float()
    assert torch.equal(weight[0], bundled[2])
    assert not any(torch.equal(weight[1], row) for row in bundled)


def test_scratch_is_random_by_seed_and_leaves_torch_s_own_randomness_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, same, other = (load_start("scratch", CLASSES, seed).network for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.features.conv0.weight, same.features.conv0.weight)
    assert not torch.equal(first.features.conv0.weight, other.features.conv0.weight)


def test_imagenet_weights_come_from_torchvision_s_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    stand_in = densenet121(num_classes=1000)
    name = DenseNet121_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    file = tmp_path / "hub" / "checkpoints" / name
    old_names = {  # and the file format of its time
        re.sub(r"(denselayer\d+\.(?:norm|conv))(?=\d)", r"\1.", key): value
        for key, value in stand_in.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old_names
    torch.save(old_names, file, _use_new_zipfile_serialization=False)
    start = load_start("imagenet", CLASSES, 0)
    for key, value in start.network.state_dict().items():
        assert key.startswith("classifier.") or torch.equal(value, stand_in.state_dict()[key]), key
    assert start.network.classifier.weight.shape == (4, 1024)
    assert start.mean == (0.485, 0.456, 0.406)

    file.write_bytes(pickle.dumps(Planted(tmp_path / "ran"), protocol=2))
    with pytest.raises(ConfigError, match=f"{name} holds something else than weights: delete it"):
        load_start("imagenet", CLASSES, 0)
    assert not (tmp_path / "ran").exists()


class Planted:
    """What runs code where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_imagenet_weights_that_cannot_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    with pytest.raises(ConfigError, match=r"cannot be had from https.*--weights bundled"):
        load_start("imagenet", CLASSES, 0)


def small_learner(phantom_data: Path, **options: object) -> tuple[Learner, Images, Plan, Config]:
    paths = sorted(phantom_data.glob("*/images/*"))[::4]
    samples = [Sample(path, path.parts[-3], i) for i, path in enumerate(paths)]
    return small_learner_of(load_images(samples, CLASSES, 64), **options)


def small_learner_of(images: Images, **options: object) -> tuple[Learner, Images, Plan, Config]:
    config = Config("", input_size=64, batch_size=4, epochs=1, **options)  # type: ignore[arg-type]
    learner = make_learner(
        make_accelerator(config.precision, "cpu"),
        prepare_start(config, CLASSES),
        images.counts(4),
        config,
    )
    return learner, images, Plan(len(images), 4, 0), config


def whole_batch(learner: Learner, images: Images, config: Config) -> Batch:
    """Make one step of all images."""
    count = len(images)
    plan = Plan(count, count, 0)
    maker = BatchMaker(images, plan, config, learner.weights, learner.accelerator)
    return maker.make(0, 0, np.arange(count))


def test_what_is_frozen_stays_and_the_rest_learns(phantom_data: Path) -> None:
    learner, images, plan, config = small_learner(phantom_data, freeze_until="features.denseblock3")
    before = {name: value.clone() for name, value in learner.network.state_dict().items()}
    train_one_epoch(learner, images, plan, config, Position(), after_step=go_on)
    changed = {
        name.split(".")[1]
        for name, value in learner.network.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"transition3", "denseblock4", "norm5", "weight", "bias"}


def test_norms_are_measured_anew_on_films_as_they_are(phantom_data: Path) -> None:
    learner, images, *_ = small_learner(phantom_data, precision="fp32")
    network = learner.average.network
    weights = [one.clone() for one in network.parameters()]
    chosen = torch.arange(len(images))
    measure_norms(learner, images, chosen, batch_size=len(images))
    seen = learner.model_input(to_unit(images.pixels, torch.device("cpu")))
    first = network.get_submodule("features.conv0")(seen)
    norm = network.get_submodule("features.norm0")
    torch.testing.assert_close(norm.running_mean, first.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(norm.running_var, first.var((0, 2, 3)), rtol=1e-3, atol=1e-4)
    assert not network.training
    assert norm.momentum == 0.1
    assert all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))


def test_films_count_alike_in_the_norms_however_many_there_are(phantom_data: Path) -> None:
    """A last batch of one film would count as much as all others together."""
    learner, images, *_ = small_learner(phantom_data, precision="fp32")
    pixels = torch.zeros_like(images.pixels)
    pixels[4] = 255
    films = replace(images, pixels=pixels)

    def mean_of(*chosen: int) -> torch.Tensor:
        measure_norms(learner, films, torch.tensor(chosen), batch_size=4)
        mean = learner.average.network.get_submodule("features.norm0").running_mean
        assert isinstance(mean, torch.Tensor)
        return mean.clone()

    dark, bright = mean_of(0), mean_of(4)
    share = (mean_of(0, 1, 2, 3, 4) - dark) @ (bright - dark) / (bright - dark).square().sum()
    assert share == pytest.approx(1 / 5, abs=0.06)


def test_norms_that_rest_are_not_measured_anew(phantom_data: Path) -> None:
    learner, images, *_ = small_learner(phantom_data, freeze_until="features.denseblock3")
    before = {name: value.clone() for name, value in learner.average.network.state_dict().items()}
    measure_norms(learner, images, torch.arange(len(images)))
    changed = {
        name.split(".")[1]
        for name, value in learner.average.network.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"transition3", "denseblock4", "norm5"}


def test_frozen_norms_keep_their_statistics_only(phantom_data: Path) -> None:
    learner, images, plan, config = small_learner(phantom_data, freeze_norm=True)
    before = {name: value.clone() for name, value in learner.network.state_dict().items()}
    train_one_epoch(learner, images, plan, config, Position(), after_step=go_on)
    after = learner.network.state_dict()
    assert torch.equal(after["features.norm5.running_mean"], before["features.norm5.running_mean"])
    assert not torch.equal(after["features.norm5.weight"], before["features.norm5.weight"])


def test_freezing_part_of_a_block() -> None:
    network = densenet121(num_classes=2)
    freeze(network, "features.denseblock2.denselayer3", norms=False)
    learning = [name for name, one in network.named_parameters() if one.requires_grad]
    assert learning[0] == "features.denseblock2.denselayer4.norm1.weight"
    with pytest.raises(ConfigError, match=r"there is no layer 'classifier'"):
        freeze(network, "classifier", norms=False)


def test_bf16_trains_on_the_cpu_too(phantom_data: Path) -> None:
    learner, images, plan, config = small_learner(phantom_data, precision="bf16")
    position = train_one_epoch(learner, images, plan, config, Position(), after_step=go_on)
    assert position.step == 2
    assert 0 < position.mean_loss < 10
    assert learner.network.features.conv0.weight.dtype == torch.float32


# ------------------------------------------------------------------------------------------- state


def test_a_state_comes_back_as_it_was(phantom_data: Path, tmp_path: Path) -> None:
    learner, images, plan, config = small_learner(phantom_data)
    position = train_one_epoch(learner, images, plan, config, Position(), after_step=go_on)
    parts = (learner.network, learner.average, learner.optimizer)
    save_state(tmp_path, position, *parts)
    fresh, *_ = small_learner(phantom_data)
    others = (fresh.network, fresh.average, fresh.optimizer)
    assert load_state(tmp_path, *others) == position
    (tmp_path / "again").mkdir()
    save_state(tmp_path / "again", position, *others)
    assert same_bits(tmp_path / "again" / STATE_FILE, tmp_path / STATE_FILE)
    assert load_state(tmp_path / "nowhere", *others) is None
