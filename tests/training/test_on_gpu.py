"""Training on a GPU, where there is one."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import train
from cxr_gradcam.cam import METHODS
from cxr_gradcam.checkpoint import load_checkpoint
from cxr_gradcam.classifier import Classifier, load_classifier
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.training.batches import Batch, BatchMaker
from cxr_gradcam.training.config import Config
from cxr_gradcam.training.device import make_accelerator
from cxr_gradcam.training.images import Images, Indices, Plan, draw_phantoms
from cxr_gradcam.training.loop import (
    Learner,
    make_learner,
    measure_norms,
    pooled_features,
    train_one_epoch,
    validate,
)
from cxr_gradcam.training.network import prepare_start
from cxr_gradcam.training.state import Position, load_state, save_state
from tests.training.conftest import go_on

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

CLASSES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
PLAN = Plan(48, 8, 0)
CONFIG = Config("", input_size=64, batch_size=8, epochs=2, mixup=0.4, learning_rate=1e-3)


@pytest.fixture(scope="module")
def images() -> Images:
    return draw_phantoms(48, CLASSES, 64, seed=0)


def gpu_learner(images: Images) -> Learner:
    accelerator = make_accelerator(CONFIG.precision, "cuda")
    assert accelerator.mixed_precision == "bf16"
    return make_learner(accelerator, prepare_start(CONFIG, CLASSES), images.counts(4), CONFIG)


def test_batches_made_ahead_are_those_made_on_demand(images: Images) -> None:
    learner = gpu_learner(images)
    maker = BatchMaker(images, PLAN, CONFIG, learner.weights, learner.accelerator)
    for epoch, first_step in [(0, 0), (1, 0), (1, 2)]:
        ahead = list(maker.epoch(epoch, first_step))
        steps = list(PLAN.batches(epoch, first_step))
        assert [step for step, _ in ahead] == [step for step, _ in steps]
        for (_, batch), (step, indices) in zip(ahead, steps, strict=True):
            expected = maker.make(epoch, step, indices)
            for field in fields(Batch):
                ours, other = getattr(batch, field.name), getattr(expected, field.name)
                torch.testing.assert_close(ours, other)


class NoSuchFilm(BatchMaker):
    def make(self, epoch: int, step: int, indices: Indices) -> Batch:
        raise ValueError("no such film")


def test_what_a_batch_cannot_be_made_of_is_said_where_it_is_asked_for(images: Images) -> None:
    learner = gpu_learner(images)
    maker = NoSuchFilm(images, PLAN, CONFIG, learner.weights, learner.accelerator)
    with pytest.raises(ValueError, match="no such film"):
        next(maker.epoch(0))


def test_epochs_learn_and_a_state_goes_on(images: Images, tmp_path: Path) -> None:
    learner = gpu_learner(images)
    position = train_one_epoch(learner, images, PLAN, CONFIG, Position(), after_step=go_on)
    assert position.step == PLAN.steps
    assert 0 < position.mean_loss < 3
    save_state(tmp_path, position, learner.network, learner.average, learner.optimizer)
    other = gpu_learner(images)
    assert load_state(tmp_path, other.network, other.average, other.optimizer) == position
    for mine, its in zip(learner.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(mine, its)
    measure_norms(learner, images, torch.arange(48))
    assert validate(learner, images, 16, exact=True).shape == (48, 4)
    assert pooled_features(learner, images).shape == (48, 1024)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_leaves_a_checkpoint_that_the_gpu_reads(phantom_data: Path, tmp_path: Path) -> None:
    arguments = ["--data", str(phantom_data), "--out", str(tmp_path), "--device", "cuda"]
    small = ["--input-size", "64", "--epochs", "2", "--batch-size", "8", "--phantoms", "8"]
    assert train.main([*arguments, *small]) == 0
    film = draw_phantom("COVID", 1, 64).radiograph
    on_gpu, on_cpu = (
        Explainer(load_classifier(tmp_path / "best.safetensors", device=device)).explain(film)
        for device in ("cuda", "cpu")
    )
    for name, probability in on_cpu.probabilities.items():
        assert on_gpu.probabilities[name] == pytest.approx(probability, abs=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_cpus_maps(method: str) -> None:
    film = draw_phantom("COVID", 1, 64).radiograph
    checkpoint = replace(load_checkpoint(), input_size=64)
    on_gpu, on_cpu = (
        Explainer(Classifier(checkpoint, device)).explain(film, method=method)
        for device in ("cuda", "cpu")
    )
    for name in checkpoint.class_names:
        cam = on_cpu.cam(name)
        np.testing.assert_allclose(on_gpu.cam(name), cam, atol=0.02 * cam.max())
