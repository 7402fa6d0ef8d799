"""The network at the start of a run: where its weights come from and what of it is trained."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import DenseNet121_Weights, densenet121

from cxr_gradcam.checkpoint import BUNDLED_CHECKPOINT, Checkpoint, CheckpointError, load_checkpoint
from cxr_gradcam.training.config import Config, ConfigError

Triple = tuple[float, float, float]

CLASSIFIER = ("classifier.weight", "classifier.bias")  # torchvision's names
BUNDLED, IMAGENET, SCRATCH = "bundled", "imagenet", "scratch"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY_MEAN, GREY_STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class Scored(nn.Module):
    """A DenseNet that gives its logits and what they were read from, in one pass.

    Attributes:
        network: torchvision's DenseNet-121, whose weights these are.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, films: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (N, K) and the last layer's activation (N, C, h, w)."""
        features, classifier = (self.network.get_submodule(n) for n in ("features", "classifier"))
        activation = F.relu(features(films))
        return classifier(activation.mean((2, 3))), activation


class Normalise(nn.Module):
    """Turns films into the model input.

    Args:
        mean, std: per channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Triple, std: Triple) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, films: Tensor) -> Tensor:
        """Turn float32 (N, 1, S, S) in [0, 1] into (N, 3, S, S), in channels_last."""
        return ((films - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class Start:
    """A network before its first step.

    Attributes:
        network: torchvision's DenseNet-121, fp32, on the CPU.
        mean, std: per channel, that its weights expect.
        source: where the weights come from, in words, for the record.
        resting: modules that stay in eval mode while the network trains.
        training: how the weights came about, as their checkpoint says.
    """

    network: nn.Module
    mean: Triple
    std: Triple
    source: str
    resting: tuple[nn.Module, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)


def prepare_start(config: Config, class_names: Sequence[str]) -> Start:
    """Build the network that a run starts from, with what is frozen switched off.

    Raises:
        ConfigError: when the weights cannot be had, or there is no such layer to freeze.
    """
    start = load_start(config.weights, class_names, config.seed)
    resting = freeze(start.network, config.freeze_until, norms=config.freeze_norm)
    return replace(start, resting=resting)


def load_start(weights: str, class_names: Sequence[str], seed: int) -> Start:
    """Build the network that a run starts from.

    Args:
        weights: "bundled", "imagenet", "scratch", or the path of a checkpoint.
        class_names: in the order of the outputs. Outputs of classes that the weights do not know
            start at random; those they know are kept.
        seed: of what starts at random.

    Raises:
        ConfigError: when the weights cannot be had.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = densenet121(num_classes=len(class_names))
    if weights == SCRATCH:
        return Start(network, GREY_MEAN, GREY_STD, "random weights")
    if weights == IMAGENET:
        features = {
            name: value
            for name, value in _imagenet_weights().items()
            if not name.startswith("classifier.")
        }
        network.load_state_dict(features, strict=False)
        return Start(network, IMAGENET_MEAN, IMAGENET_STD, str(DenseNet121_Weights.IMAGENET1K_V1))
    checkpoint, source = read_weights(weights, "--weights")
    network.load_state_dict(fitted(checkpoint, class_names, network.state_dict()))
    return Start(network, checkpoint.mean, checkpoint.std, source, training=checkpoint.training)


def read_weights(weights: str, option: str) -> tuple[Checkpoint, str]:
    """Read a checkpoint that the command line names.

    Args:
        weights: "bundled" or a path.
        option: of the command line, for the error.

    Returns:
        The checkpoint, and what the record calls it.

    Raises:
        ConfigError: when it cannot be read.
    """
    path = BUNDLED_CHECKPOINT if weights == BUNDLED else Path(weights)
    try:
        checkpoint = load_checkpoint(path)
    except CheckpointError as error:
        raise ConfigError(f"{option}: {error}") from None
    name = "bundled checkpoint" if weights == BUNDLED else path.name
    return checkpoint, f"{name} ({checkpoint.digest[:12]})"


def _imagenet_weights() -> Mapping[str, Tensor]:
    """Return torchvision's ImageNet weights, downloaded once into its cache."""
    weights = DenseNet121_Weights.IMAGENET1K_V1
    try:
        # By hand, as torchvision would unpickle whatever lies in its cache.
        found = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (pickle.UnpicklingError, EOFError, struct.error):
        found = {}
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"The ImageNet weights cannot be had from {weights.url} ({error}): connect to the "
            "internet, or choose --weights bundled."
        ) from None
    if not (isinstance(found, Mapping) and found and all(isinstance(key, str) for key in found)):
        file = Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2])
        raise ConfigError(
            f"{file} holds something else than weights: delete it, and it is downloaded anew."
        )
    # The file is older than the network's names: `norm.1` is `norm1` today.
    return {re.sub(r"(denselayer\d+\.\w+)\.(?=\d\.)", r"\1", key): found[key] for key in found}


def fitted(
    checkpoint: Checkpoint, class_names: Sequence[str], fresh: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return a checkpoint's weights with one output per class name, those it lacks from `fresh`."""
    weights = {
        name: value.float() if value.is_floating_point() else value
        for name, value in checkpoint.weights.items()
    }
    for name in CLASSIFIER:
        rows = [
            weights[name][checkpoint.class_names.index(label)]
            if label in checkpoint.class_names
            else fresh[name][place]
            for place, label in enumerate(class_names)
        ]
        weights[name] = torch.stack(rows)
    return weights


def freeze(network: nn.Module, until: str, *, norms: bool) -> tuple[nn.Module, ...]:
    """Switch off what is not to be trained.

    Args:
        network: changed in place.
        until: a layer such as "features.denseblock2"; nothing up to its end learns. "" for none.
        norms: keep the statistics of every batch norm, wherever it is.

    Returns:
        The modules that must stay in eval mode while the network trains.

    Raises:
        ConfigError: when the network has no such layer.
    """
    modules = [(name, module) for name, module in network.named_modules() if name]
    inside = [
        place
        for place, (name, _) in enumerate(modules)
        if until and (name == until or name.startswith(f"{until}."))
    ]
    if until and (not inside or not until.startswith("features.")):
        children = network.get_submodule("features").named_children()
        layers = ", ".join(f"features.{name}" for name, _ in children)
        raise ConfigError(f"--freeze-until: there is no layer {until!r}, choose one of {layers}.")
    resting: list[nn.Module] = []
    for place, (_, module) in enumerate(modules):
        # torchvision registers the layers in the order of the forward pass. Blocks are passed
        # over: their layers are in the list themselves.
        if any(module.children()):
            continue
        is_frozen = bool(inside) and place <= inside[-1]
        if is_frozen:
            module.requires_grad_(False)
        if isinstance(module, nn.BatchNorm2d) and (is_frozen or norms):
            resting.append(module)
    return tuple(resting)
