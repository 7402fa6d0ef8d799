"""Distillation: a network learns what other networks say of the very films that it sees."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from cxr_gradcam.checkpoint import load_checkpoint, save_checkpoint
from cxr_gradcam.phantom import CLASS_NAMES
from cxr_gradcam.training.augmentation import to_unit
from cxr_gradcam.training.config import Config, ConfigError
from cxr_gradcam.training.device import make_accelerator
from cxr_gradcam.training.images import Images, Plan, draw_phantoms
from cxr_gradcam.training.loop import make_learner, train_one_epoch
from cxr_gradcam.training.network import prepare_start
from cxr_gradcam.training.state import Position
from cxr_gradcam.training.stopping import Stop
from cxr_gradcam.training.teacher import load_teacher

CPU = torch.device("cpu")
ORDER = [2, 0, 3, 1]


@pytest.fixture(scope="module")
def images() -> Images:
    return draw_phantoms(8, CLASS_NAMES, 64, seed=0)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled weights for films of 96 pixels, their classes in another order."""
    path = tmp_path_factory.mktemp("teachers") / "small.safetensors"
    bundled = load_checkpoint()
    rows = {name: bundled.weights[name][ORDER] for name in ("classifier.weight", "classifier.bias")}
    names = tuple(bundled.class_names[place] for place in ORDER)
    weights = {**bundled.weights, **rows}
    save_checkpoint(replace(bundled, input_size=96, class_names=names, weights=weights), path)
    return str(path)


def test_a_teacher_sees_films_in_its_own_size_and_answers_in_the_order_asked_for(
    images: Images, small: str
) -> None:
    said = load_teacher(small, CLASS_NAMES)(to_unit(images.pixels, CPU))
    checkpoint = load_checkpoint(small)
    resampled = [
        np.asarray(Image.fromarray(film.numpy()).resize((96, 96), Image.Resampling.BICUBIC))
        for film in images.pixels
    ]
    seen = (torch.from_numpy(np.stack(resampled))[:, None] / 255 - 0.5) / 0.25
    with torch.no_grad():
        expected = checkpoint.build_module()(seen.expand(-1, 3, -1, -1)).softmax(1)
    places = [checkpoint.class_names.index(name) for name in CLASS_NAMES]
    torch.testing.assert_close(said, expected[:, places], atol=0.02, rtol=0)  # 8 bits there
    assert not torch.equal(said.argmax(1), expected.argmax(1))


def test_steps_ask_for_the_label_and_for_what_the_teachers_say_in_turn(
    images: Images, small: str
) -> None:
    config = Config(
        "", input_size=64, epochs=1, batch_size=4, augmentation=0, freeze_norm=True, balance=1,
        learning_rate=1e-12, label_smoothing=0, lesion_weight=0, precision="fp32",
        teacher=("bundled", small), teacher_share=0.75,
    )  # fmt: skip
    images = replace(images, labels=images.labels.roll(1))  # which the teachers contradict
    teachers = [load_teacher(weights, CLASS_NAMES) for weights in config.teacher]
    start, accelerator = prepare_start(config, CLASS_NAMES), make_accelerator("fp32", "cpu")
    counts, plan = [1, 3, 3, 1], Plan(len(images), 4, 0)
    learner = make_learner(accelerator, start, counts, config, teachers)
    sums = [0.0]

    def note(position: Position, stop: Stop) -> bool:
        sums.append(position.loss_sum)
        return False

    train_one_epoch(learner, images, plan, config, Position(), after_step=note)
    for teacher, (step, indices) in zip(teachers, plan.batches(0), strict=True):
        films, labels = to_unit(images.pixels[indices], CPU), images.labels[indices]
        with torch.no_grad():
            logits = load_checkpoint().build_module()((films.expand(-1, 3, -1, -1) - 0.5) / 0.25)
            target = 0.75 * teacher(films) + 0.25 * F.one_hot(labels, 4)
        weights = 1 / torch.tensor(counts)[labels]
        losses = -(target * logits.log_softmax(1)).sum(1)
        expected = float((weights * losses).sum() / weights.sum())
        assert sums[step + 1] - sums[step] == pytest.approx(expected, rel=1e-4)


def test_a_teacher_of_other_classes_is_refused(small: str) -> None:
    with pytest.raises(ConfigError, match=r"^--teacher: small\.safetensors .* of the same classes"):
        load_teacher(small, ("COVID", "Normal"))


def test_a_teacher_stays_as_it_is(images: Images, small: str) -> None:
    config = Config("", input_size=64, batch_size=4, teacher=(small,))
    teacher = load_teacher(small, CLASS_NAMES)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    start, accelerator = prepare_start(config, CLASS_NAMES), make_accelerator("auto", "cpu")
    learner = make_learner(accelerator, start, images.counts(4), config, [teacher])
    plan = Plan(len(images), 4, 0)
    train_one_epoch(learner, images, plan, config, Position(), after_step=lambda *_: False)
    after = teacher.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
