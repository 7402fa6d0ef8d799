"""The training loop: one epoch of steps, one pass over the validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from cxr_gradcam.familiarity import BANDS, LAYER, pooled
from cxr_gradcam.training.augmentation import to_unit
from cxr_gradcam.training.batches import Batch, BatchMaker
from cxr_gradcam.training.config import Config, TrainingError
from cxr_gradcam.training.images import Images, Indices, Plan
from cxr_gradcam.training.network import Normalise, Scored, Start
from cxr_gradcam.training.optimisation import (
    WeightAverage,
    centred,
    class_weights,
    flattened,
    learning_rate,
    lesion_loss,
    parameter_groups,
    share_of_loss,
    statistics_of,
)
from cxr_gradcam.training.state import Position
from cxr_gradcam.training.stopping import Stop
from cxr_gradcam.training.teacher import Teacher

# Looking at a step's loss makes the processor wait for the GPU: look at several steps together.
STEPS_UNSEEN_ON_GPU = 16
_DIVERGED = (
    "The loss is no longer a finite number: start anew with a lower --learning-rate; "
    "the best checkpoint so far is kept."
)


@dataclass(frozen=True, eq=False)
class Learner:
    """The network in training with all that moves with it.

    Attributes:
        accelerator: device, precision and the other processes.
        network: the weights under training; its parts in `resting` stay in eval mode.
        parallel: `Scored` as it runs a step: with autocast, and tied to the other processes.
        average: the moving average of the weights.
        optimizer: AdamW.
        weights: (K,), what an image of each class weighs.
        model_input: of the network, from films.
        resting: modules that never train.
        teachers: what the network learns from beside the labels.
    """

    accelerator: Accelerator
    network: nn.Module
    parallel: nn.Module
    average: WeightAverage
    optimizer: torch.optim.Optimizer
    weights: Tensor
    model_input: Normalise
    resting: tuple[nn.Module, ...]
    teachers: tuple[Teacher, ...]

    def train_mode(self) -> None:
        """Make the network ready for training steps."""
        self.network.train()
        for module in self.resting:
            module.eval()


def make_learner(
    accelerator: Accelerator,
    start: Start,
    counts: Sequence[int] | Indices,
    config: Config,
    teachers: Sequence[Teacher] = (),
) -> Learner:
    """Bring a network onto the device, ready for its first step.

    Args:
        accelerator: device, precision, processes.
        start: the network, with what is frozen switched off.
        counts: training images per class.
        config: the recipe.
        teachers: what it is to learn from beside the labels.
    """
    device = accelerator.device
    network = start.network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = WeightAverage(network, config.ema_decay)
    optimizer = torch.optim.AdamW(
        parameter_groups(network, config.weight_decay), lr=config.learning_rate, fused=True
    )
    model_input = Normalise(start.mean, start.std).to(device)
    weights = class_weights(counts, config.balance).to(device)
    parallel = accelerator.prepare_model(Scored(network))
    moving = (network, parallel, average, optimizer)
    heard = tuple(one.to(device=device, memory_format=torch.channels_last) for one in teachers)  # type: ignore[call-overload]
    return Learner(accelerator, *moving, weights, model_input, start.resting, heard)


def train_one_epoch(
    learner: Learner,
    images: Images,
    plan: Plan,
    config: Config,
    position: Position,
    *,
    after_step: Callable[[Position, Stop], bool],
    wants_stop: Callable[[], Stop] = lambda: Stop.NO,
) -> Position:
    """Take the steps of an epoch that are left.

    Args:
        learner: changed in place.
        images: the training split.
        plan: which images make which step.
        config: the recipe.
        position: where the run is.
        after_step: called after every step, or every few on a GPU, with the position and with
            what all processes agree on, the same in each; returns whether to stop there.
        wants_stop: whether this process is to stop.

    Returns:
        The position after the last step of the epoch, or where `after_step` stopped.

    Raises:
        TrainingError: when the loss or the gradient is not finite.
    """
    learner.train_mode()
    accelerator = learner.accelerator
    stride = STEPS_UNSEEN_ON_GPU if accelerator.device.type == "cuda" else 1
    unseen: list[Tensor] = []
    epoch = position.epoch
    maker = BatchMaker(images, plan, config, learner.weights, accelerator)
    for step, batch in maker.epoch(epoch, position.step):
        done = epoch * plan.steps + step
        _set_learning_rate(learner.optimizer, done, plan.steps, config)
        unseen.append(_step(learner, batch, config, done))
        learner.average.update(learner.network, done)
        # A save needs every figure up to it, so what is unseen never reaches past one.
        if (
            (step + 1) % stride == 0
            or step + 1 == plan.steps
            or (step + 1) % config.save_every == 0
        ):
            losses, stop = _look(accelerator, unseen, wants_stop())
            unseen.clear()
            for loss in losses:
                position = position.after_step(loss)
            if after_step(position, stop):
                break
    return position


def _set_learning_rate(
    optimizer: torch.optim.Optimizer, done: int, steps: int, config: Config
) -> None:
    rate = scheduled_rate(done, steps, config)
    for group in optimizer.param_groups:
        group["lr"] = rate


def scheduled_rate(done: int, steps: int, config: Config) -> float:
    """Return the learning rate of the step after `done` steps of a run, `steps` to an epoch."""
    warmup = round(config.warmup_epochs * steps)
    return learning_rate(done, config.epochs * steps, warmup, config.learning_rate)


def _step(learner: Learner, batch: Batch, config: Config, done: int) -> Tensor:
    """Take one step; return this process's share of its loss, NaN where the gradient is not finite.

    Nothing is saved before `_look` has seen that all is finite.
    """
    accelerator = learner.accelerator
    logits, activation = learner.parallel(learner.model_input(batch.films))
    targets = _taught(learner, batch, config, done)
    share = share_of_loss(logits, targets, config.label_smoothing, batch.total)
    if config.lesion_weight and batch.all_lesions:
        strayed = lesion_loss(_true_cams(learner, batch, activation), batch.lesions)
        share = share + config.lesion_weight * strayed.sum() / batch.all_lesions
    learner.optimizer.zero_grad(set_to_none=True)
    # Gradients are averaged over the processes, but the shares of the loss add up.
    accelerator.backward(share * accelerator.num_processes)
    trained = [one for group in learner.optimizer.param_groups for one in group["params"]]
    length = nn.utils.clip_grad_norm_(trained, config.clip_norm)
    learner.optimizer.step()
    _average_statistics(learner)
    return share.detach() + 0 * length


def _taught(learner: Learner, batch: Batch, config: Config, done: int) -> Tensor:
    """Return the targets, of which the teacher whose turn it is gives its share."""
    if not learner.teachers:
        return batch.targets
    teacher = learner.teachers[done % len(learner.teachers)]
    with learner.accelerator.autocast():
        said = teacher(batch.films)
    weights = batch.targets.sum(1, keepdim=True)
    return torch.lerp(batch.targets, said * weights, config.teacher_share)


def _true_cams(learner: Learner, batch: Batch, activation: Tensor) -> Tensor:
    """Return the signed last-layer CAMs (m, h, w) of the true classes where lesions are known."""
    weights = centred(learner.network.get_parameter("classifier.weight"))
    weight = weights[batch.lesion_labels]
    return torch.einsum("mc,mchw->mhw", weight.float(), activation[batch.lesion_films].float())


def _average_statistics(learner: Learner) -> None:
    """Give all processes the mean of their batch-norm statistics."""
    accelerator = learner.accelerator
    if accelerator.num_processes == 1:
        return
    statistics = statistics_of(learner.network)
    common = accelerator.reduce(flattened(statistics), "mean")
    sizes = [one.numel() for one in statistics]
    for one, part in zip(statistics, torch.split(common, sizes), strict=True):
        one.copy_(part.view_as(one))


def _look(
    accelerator: Accelerator, shares: Sequence[Tensor], wants_stop: Stop
) -> tuple[list[float], Stop]:
    """Return the losses of some steps over all processes, and the strongest wish to stop of any.

    Raises:
        TrainingError: when a loss is not finite.
    """
    wishes = torch.tensor([float(wants_stop == stop) for stop in Stop], device=shares[0].device)
    figures = accelerator.reduce(torch.cat([torch.stack(list(shares)), wishes]), "sum")
    losses, votes = figures.tolist()[: len(shares)], figures.tolist()[len(shares) :]
    if not torch.isfinite(figures).all():
        raise TrainingError(_DIVERGED)
    return losses, max(stop for stop, count in zip(Stop, votes, strict=True) if count)


@torch.no_grad()
def validate(
    learner: Learner,
    images: Images,
    batch_size: int,
    *,
    exact: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Tensor:
    """Run the averaged weights over a split.

    Args:
        learner: not changed.
        images: the split; every process does its share.
        batch_size: images at once, in one process.
        exact: in fp32 (TF32 on a GPU that has it), whatever the precision of the training is.
        check: called before every batch. May raise, to end the run there.

    Returns:
        The logits, float32 (N, K), on the CPU, in every process.

    Raises:
        TrainingError: when they are not finite.
    """
    accelerator = learner.accelerator
    # Each process takes equally many, the last ones some twice: gathering wants equal shapes.
    count, processes = len(images), accelerator.num_processes
    each = -(-count // processes)
    mine = torch.arange(each * processes).clamp(max=count - 1)
    mine = mine[accelerator.process_index * each :][:each]
    parts = []
    for batch in torch.split(mine, batch_size):
        check()
        films = to_unit(images.pixels[batch], accelerator.device)
        with nullcontext() if exact else accelerator.autocast():
            parts.append(learner.average.network(learner.model_input(films)).float())
    logits: Tensor = accelerator.gather(torch.cat(parts))
    if not torch.isfinite(logits).all():
        raise TrainingError(_DIVERGED)
    return logits[:count].cpu()


@torch.no_grad()
def measure_norms(
    learner: Learner,
    images: Images,
    chosen: Tensor,
    *,
    batch_size: int = 64,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Measure the averaged network's batch-norm statistics anew, on images as they are.

    Those of the training were measured on augmented images, with weights that went on changing.
    Each norm gets the mean of what the batches have, as in Izmailov 2018 (arXiv 1803.05407). Those
    that rest keep what they have.

    Args:
        learner: its average is changed.
        images: the training images.
        chosen: int64 (N,), which of them.
        batch_size: images at once, at most.
        check: called before every batch. May raise, to end the run there.
    """
    network = learner.average.network
    norms = [
        module
        for module, trained in zip(network.modules(), learner.network.modules(), strict=True)
        if isinstance(module, nn.BatchNorm2d) and trained not in learner.resting
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    try:
        # Batches count alike, so they are alike in size.
        for batch in torch.tensor_split(chosen, -(-len(chosen) // batch_size)):
            check()
            films = to_unit(images.pixels[batch], learner.accelerator.device)
            with learner.accelerator.autocast():
                network(learner.model_input(films))
    finally:
        network.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def pooled_features(
    learner: Learner,
    images: Images,
    chosen: Tensor | None = None,
    *,
    batch_size: int = 64,
    check: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return what familiarity is read from in the averaged weights: float32 (N, C), on the CPU.

    Args:
        learner: not changed.
        images: a split.
        chosen: int64 (N,), which of its images; all by default.
        batch_size: images at once.
        check: called before every batch. May raise, to end the run there.
    """
    features = cast("nn.Sequential", learner.average.network.get_submodule("features"))
    names = [f"features.{name}" for name, _ in features.named_children()]
    looked_at = features[: names.index(LAYER) + 1]
    rows = torch.arange(len(images)) if chosen is None else chosen
    parts = []
    with torch.inference_mode():
        for batch in torch.split(rows, batch_size):
            check()
            films = to_unit(images.pixels[batch], learner.accelerator.device)
            parts.append(pooled(looked_at(learner.model_input(films)), BANDS).float().cpu())
    return torch.cat(parts)
