"""The class activation maps: pure functions, one per method, in one table.

Everywhere: `activation` is A, (N, C, h, w); `gradient` is g = dy/dA, (N, C, h, w), where y is a
class logit or a difference of two; the map is (N, h, w) in the method's own units, not normalised.
One radiograph explained for several classes has one activation and several gradients: an
activation of (1, C, h, w) goes with any number of gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM: relu(sum_k w_k A_k), w_k the mean of g_k. In logits.

    Selvaraju et al. 2017, arXiv 1610.02391.
    """
    return _weighted_sum(gradient.mean((2, 3)), activation)


def gradcam_plus_plus(activation: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM++: relu(sum_k w_k A_k), w_k = sum_ij alpha_kij relu(g_kij). In logits.

    alpha = g^2 / (2 g^2 + (sum_ab A_kab) g^3), and 0 where g = 0. Dividing by g^2 first,
    alpha = 1 / (2 + (sum_ab A_kab) g), keeps the cube of a small gradient from underflowing.
    Where that denominator is 0, alpha is undefined and counts as 0.

    Chattopadhay et al. 2018, arXiv 1710.11063.
    """
    denominator = 2 + activation.sum((2, 3), keepdim=True) * gradient
    defined = (gradient != 0) & (denominator != 0)
    alpha = torch.where(defined, 1 / torch.where(defined, denominator, 1.0), 0.0)
    return _weighted_sum((alpha * gradient.relu()).sum((2, 3)), activation)


def xgradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """XGrad-CAM: relu(sum_k w_k A_k), w_k = sum_ij A_kij g_kij / sum_ij A_kij. In logits.

    Where that sum is 0, w_k counts as 0. Its authors mean activations after a ReLU: in one of both
    signs the sum may nearly cancel, and such a channel then rules the map.

    Fu et al. 2020, arXiv 2008.02312.
    """
    total = activation.sum((2, 3))
    product = (activation * gradient).sum((2, 3))
    weights = torch.where(total != 0, product / torch.where(total != 0, total, 1.0), 0.0)
    return _weighted_sum(weights, activation)


def hirescam(activation: Tensor, gradient: Tensor) -> Tensor:
    """HiResCAM: relu(sum_k g_k * A_k), element by element. In logits.

    Draelos and Carin 2020, arXiv 2011.08891.
    """
    return (gradient * activation).sum(1).relu()


def layercam(activation: Tensor, gradient: Tensor) -> Tensor:
    """LayerCAM: relu(sum_k relu(g_k) * A_k). In logits.

    Jiang et al. 2021, IEEE Transactions on Image Processing 30, 5875.
    """
    return (gradient.relu() * activation).sum(1).relu()


def eigencam(activation: Tensor) -> Tensor:
    """Eigen-CAM: relu of the cells' projection on the first right singular vector. In activation.

    It knows no class. As in the paper the cells are not centred, so that an activation that is the
    same everywhere is hot everywhere. A singular vector's sign is arbitrary: here the map is turned
    so that its cells do not sum to less than 0.

    Muhammad and Yeasin 2020, arXiv 2008.00299.
    """
    batch, channels, height, width = activation.shape
    cells = activation.reshape(batch, channels, height * width).transpose(1, 2)
    u, s, _ = torch.linalg.svd(cells, full_matrices=False)
    projection = u[:, :, 0] * s[:, :1]
    sign = torch.where(projection.sum(1, keepdim=True) < 0, -1.0, 1.0)
    turned: Tensor = projection * sign
    return turned.relu().reshape(batch, height, width)


def scorecam(
    activation: Tensor,
    model_input: Tensor,
    score: Callable[[Tensor], Tensor],
    *,
    batch_size: int = 32,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Score-CAM: relu(sum_k w_k A_k), w = softmax over k of y(X * H_k). In activation.

    H_k is A_k resampled to the input, then scaled to [0, 1]; a constant A_k masks everything. The
    paper subtracts the score of a blank input from every y before the softmax, where it cancels.

    Args:
        activation: (1, C, h, w).
        model_input: (1, 3, S, S), masked with every H_k in turn: C forward passes, in batches.
        score: gives (B, classes) scores for (B, 3, S, S) inputs.
        batch_size: inputs per forward pass.
        progress: called with the share done, from 0 to 1, after every batch.

    Returns:
        (classes, h, w).

    Wang et al. 2020, arXiv 1910.01279.
    """
    channels = activation[0][:, None]
    # Asked of the cells, as resampling a constant leaves the last bits different.
    varies = channels.amax((2, 3), keepdim=True) > channels.amin((2, 3), keepdim=True)
    scores = []
    for start in range(0, len(channels), batch_size):
        part = slice(start, start + batch_size)
        mask = F.interpolate(
            channels[part], model_input.shape[2:], mode="bilinear", align_corners=False
        )
        mask = mask - mask.amin((2, 3), keepdim=True)
        highest = torch.where(varies[part], mask.amax((2, 3), keepdim=True), 1.0)
        scores.append(score(model_input * torch.where(varies[part], mask / highest, 0.0)))
        if progress:
            progress(min(start + batch_size, len(channels)) / len(channels))
    return _weighted_sum(torch.cat(scores).softmax(0).T, activation)


def _weighted_sum(weights: Tensor, activation: Tensor) -> Tensor:
    """Return relu(sum_k w_k A_k) for weights (N, C), (N, h, w)."""
    return torch.einsum("nc,nchw->nhw", weights, activation).relu()


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        label: the name as the field writes it.
        unit: what the numbers of the map are.
        paper: where it is defined.
        needs: "gradient" for methods of (activation, gradient), "activation" for the class-free
            one, "passes" for the one that runs the network again and again.
        function: the function above.
    """

    label: str
    unit: str
    paper: str
    needs: Literal["gradient", "activation", "passes"]
    function: Callable[..., Tensor]


METHODS: dict[str, Method] = {
    "gradcam": Method("Grad-CAM", "logits", "arXiv 1610.02391", "gradient", gradcam),
    "gradcam++": Method("Grad-CAM++", "logits", "arXiv 1710.11063", "gradient", gradcam_plus_plus),
    "xgradcam": Method("XGrad-CAM", "logits", "arXiv 2008.02312", "gradient", xgradcam),
    "hirescam": Method("HiResCAM", "logits", "arXiv 2011.08891", "gradient", hirescam),
    "layercam": Method("LayerCAM", "logits", "IEEE TIP 30, 5875", "gradient", layercam),
    "eigencam": Method("Eigen-CAM", "activation", "arXiv 2008.00299", "activation", eigencam),
    "scorecam": Method("Score-CAM", "activation", "arXiv 1910.01279", "passes", scorecam),
}
