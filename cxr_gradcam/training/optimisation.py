"""The mathematics of a step, in small pure pieces: schedule, weights of classes, loss, average."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def learning_rate(step: int, steps: int, warmup: int, highest: float) -> float:
    """Return the learning rate of a step: a straight climb, then half a cosine (arXiv 1608.03983).

    Args:
        step: from 0 to `steps` - 1.
        steps: of the whole run.
        warmup: steps of the climb; the last of them has the highest rate.
        highest: the rate at the top.
    """
    if step < warmup:
        return highest * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return highest * (1 + math.cos(math.pi * share)) / 2


def class_weights(counts: npt.ArrayLike, power: float) -> Tensor:
    """Return what an image of each class weighs: counts ** -power, scaled to 1 for the mean image.

    Args:
        counts: (K,) images per class, each above 0.
        power: 0 weighs images alike, 1 classes alike, 0.5 is the way between.

    Returns:
        float32 (K,).
    """
    numbers = np.asarray(counts, np.float64)
    weights = numbers**-power
    weights *= numbers.sum() / (weights * numbers).sum()
    return torch.from_numpy(weights.astype(np.float32))


def share_of_loss(logits: Tensor, targets: Tensor, smoothing: float, total: Tensor) -> Tensor:
    """Return these images' share of the loss of a step.

    The loss is the weighted mean of the smoothed cross-entropy over all images of the step, in
    whatever process they are: the shares of all processes add up to it exactly, which the mean of
    their own means would not.

    Args:
        logits: (n, K).
        targets: (n, K), what each image weighs as one of each class: more than one in a blend.
        smoothing: share of the target spread over all classes.
        total: the weights of all images of the step, summed.

    Returns:
        A scalar, float32.
    """
    weights = targets.sum(1)
    each = F.cross_entropy(
        logits.float(), targets / weights[:, None], reduction="none", label_smoothing=smoothing
    )
    return (each * weights).sum() / total


def lesion_loss(cams: Tensor, lesions: Tensor) -> Tensor:
    """Return how far heat strays from planted lesions, one figure per CAM.

    The softmax over the cells of a CAM is read as the place that the network looks at, and the
    lesion's share of each cell as where it should: the loss is their Kullback-Leibler divergence,
    0 where they agree. A lesion that was shifted out of the picture costs nothing.

    Args:
        cams: (n, h, w), of the true classes, in logits.
        lesions: (n, S, S) in [0, 1], 1 inside a lesion.

    Returns:
        (n,), float32, not negative.
    """
    _, rows, columns = cams.shape
    cells = F.adaptive_avg_pool2d(lesions[:, None].float(), (rows, columns)).flatten(1)
    wanted = cells / cells.sum(1, keepdim=True).clamp(min=1e-6)
    looked = F.log_softmax(cams.float().flatten(1), dim=1)
    return F.kl_div(looked, wanted, reduction="none").sum(1)


def centred(rows: Tensor) -> Tensor:
    """Return the weights or biases of a classifier (K, ...) with a mean of 0 over the classes.

    What all classes have in common moves no softmax, so training leaves it to chance, and it would
    lie in every map: a network that is sure of one class may then show no evidence for any other.
    Without it a class's map shows what speaks for it rather than for the average class.
    """
    return rows - rows.mean(0, keepdim=True)


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return AdamW's groups: decay pulls on filters and the classifier, not on norms and biases."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim > 1]
    vectors = [parameter for parameter in trained if parameter.ndim <= 1]
    groups = [(matrices, weight_decay), (vectors, 0.0)]
    return [{"params": params, "weight_decay": decay} for params, decay in groups if params]


class WeightAverage:
    """The exponential moving average of a network's weights and batch-norm statistics.

    Attributes:
        network: a copy that holds the average, frozen and in eval mode.
        decay: what the average keeps of itself per step, once it has run for a while.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step.

        Early on the average forgets faster, (1 + step) / (10 + step), or a short run would
        mostly average its start.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        # One call for all tensors, as torch.optim does it: 600 calls would take longer.
        torch._foreach_lerp_(numbers_of(self.network), numbers_of(network), 1 - decay)


def numbers_of(network: nn.Module) -> list[Tensor]:
    """Return all that is learnt or measured in training: parameters and running statistics."""
    return [*network.parameters(), *statistics_of(network)]


def statistics_of(network: nn.Module) -> list[Tensor]:
    """Return the running means and variances of the batch norms."""
    return [buffer for buffer in network.buffers() if buffer.is_floating_point()]


def flattened(tensors: Sequence[Tensor]) -> Tensor:
    """Return the numbers of several tensors in one row."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
