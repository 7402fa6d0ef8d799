"""The slow and obvious way: torchvision's network with autograd, the formulas cell by cell."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import DenseNet

from cxr_gradcam.explanation import Explanation

LAST_LAYER = "features.norm5"


def tiny_densenet(seed: int = 0) -> nn.Module:
    """A DenseNet small enough to loop over every number, with batch-norm statistics of its own."""
    torch.manual_seed(seed)
    module = DenseNet(4, (2, 1, 2, 1), num_init_features=8, bn_size=2, num_classes=3).double()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = torch.randn_like(part.running_mean) * 0.1
            part.running_var = torch.rand_like(part.running_var) + 0.5
            part.weight.data = torch.randn_like(part.weight)
            part.bias.data = torch.randn_like(part.bias) * 0.3
    return module.eval().requires_grad_(False)


def activations_and_gradients(
    module: nn.Module, model_input: Tensor, layers: Sequence[str]
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Logits (1, K), and per layer A (1, C, h, w) and dy/dA (K, C, h, w), by hooks and autograd.

    The hooks hand on a copy, so that no in-place ReLU reaches what was stored. The head is spelt
    out, because the last layer is the pooled tensor, which torchvision gives no name.
    """
    stored: dict[str, Tensor] = {}

    def store(name: str) -> Callable[..., Tensor]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            stored[name] = output
            return output.clone()

        return hook

    handles = [
        module.get_submodule(name).register_forward_hook(store(name))
        for name in layers
        if name != LAST_LAYER
    ]
    try:
        leaf = model_input.clone().requires_grad_(True)
        pooled = F.relu(module.get_submodule("features")(leaf))
        stored[LAST_LAYER] = pooled
        logits = module.get_submodule("classifier")(pooled.mean((2, 3)))
        tensors = [stored[name] for name in layers]
        per_class = [
            torch.autograd.grad(logits[0, k], tensors, retain_graph=True)
            for k in range(logits.shape[1])
        ]
    finally:
        for handle in handles:
            handle.remove()
    gradients = {
        name: torch.cat([of_class[i] for of_class in per_class]) for i, name in enumerate(layers)
    }
    return logits.detach(), {name: a.detach() for name, a in stored.items()}, gradients


def brute_force_cam(method: str, activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The definition, number by number. A and g are (C, h, w); the map is (h, w)."""
    channels, height, width = activation.shape
    if method == "eigencam":
        cells = activation.reshape(channels, -1).T
        values, vectors = np.linalg.eigh(cells.T @ cells)
        cam = (cells @ vectors[:, values.argmax()]).reshape(height, width)
        return np.maximum(cam if cam.sum() >= 0 else -cam, 0)
    cam = np.zeros((height, width))
    for k in range(channels):
        if method not in ("hirescam", "layercam"):
            weight = channel_weight(method, activation[k], gradient[k])
        for i in range(height):
            for j in range(width):
                if method == "hirescam":
                    weight = gradient[k, i, j]
                elif method == "layercam":
                    weight = max(gradient[k, i, j], 0.0)
                cam[i, j] += weight * activation[k, i, j]
    return np.maximum(cam, 0)


def channel_weight(method: str, activation: np.ndarray, gradient: np.ndarray) -> float:
    """w_k of one channel, (h, w) activation and gradient."""
    total = activation.sum()
    if method == "gradcam":
        return float(gradient.sum() / gradient.size)
    if method == "xgradcam":
        return float((activation * gradient).sum() / total) if total else 0.0
    weight = 0.0
    for g in gradient.flat:
        below = 2 * g**2 + total * g**3
        weight += (g**2 / below if below else 0.0) * max(g, 0.0)
    return weight


def brute_force_scorecam(module: nn.Module, model_input: Tensor, activation: Tensor) -> np.ndarray:
    """Score-CAM of every class, one masked forward pass after the other: (K, h, w)."""
    scores = []
    for channel in activation[0]:
        mask = F.interpolate(channel[None, None], model_input.shape[2:], mode="bilinear")
        if channel.max() > channel.min():
            mask = (mask - mask.min()) / (mask.max() - mask.min())
        else:
            mask = torch.zeros_like(mask)
        scores.append(module(model_input * mask)[0].numpy())
    exponentials = np.exp(np.array(scores) - np.max(scores, axis=0))
    weights = exponentials / exponentials.sum(0)
    return np.maximum(np.einsum("ck,chw->khw", weights, activation[0].numpy()), 0)


def every_number(explanation: Explanation) -> bytes:
    """All that an explanation says, bit for bit."""
    arrays = [
        explanation.cam(name, layer) for name in explanation.classes for layer in explanation.layers
    ]
    arrays += [explanation.evidence(name) for name in explanation.logits]
    arrays.append(np.array([*explanation.logits.values(), *explanation.probabilities.values()]))
    return b"".join(array.tobytes() for array in arrays)
