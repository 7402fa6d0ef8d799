"""Trained networks that another one learns from: distillation, Hinton 2015 (arXiv 1503.02531).

A teacher is asked about the very films that the network sees, augmented and blended as they are,
as in Beyer 2022 (arXiv 2106.05237).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxr_gradcam.checkpoint import Checkpoint
from cxr_gradcam.training.config import ConfigError
from cxr_gradcam.training.network import Normalise, fitted, read_weights


class Teacher(nn.Module):
    """A trained network that says what films are, in place of their labels.

    Attributes:
        network: torchvision's DenseNet-121, fp32, in eval mode.
        model_input: of the network, from films of its size.
        input_size: side of its model input in pixels.
        source: which checkpoint it is, in words, for the record.
        record: how its weights came about, as the checkpoint says.
    """

    def __init__(self, checkpoint: Checkpoint, source: str) -> None:
        super().__init__()
        self.network = checkpoint.build_module()
        self.model_input = Normalise(checkpoint.mean, checkpoint.std)
        self.input_size = checkpoint.input_size
        self.source = source
        self.record: Mapping[str, Any] = checkpoint.training

    @torch.no_grad()
    def forward(self, films: Tensor) -> Tensor:
        """Return what it says of films.

        Its logits are not divided by the checkpoint's temperature: that suits films which it never
        learnt, and it has learnt these.

        Args:
            films: float32 (N, 1, S, S) in [0, 1]; resampled to its own size.

        Returns:
            Probabilities, float32 (N, K).
        """
        size = [self.input_size, self.input_size]
        if list(films.shape[2:]) != size:
            films = F.interpolate(films, size, mode="bicubic", antialias=True).clamp_(0, 1)
        logits: Tensor = self.network(self.model_input(films))
        return logits.float().softmax(1)


def load_teacher(weights: str, class_names: Sequence[str]) -> Teacher:
    """Read a checkpoint to learn from.

    Args:
        weights: "bundled" or the path of a checkpoint.
        class_names: in the order of what it says.

    Raises:
        ConfigError: when it cannot be read, or tells other classes apart.
    """
    checkpoint, source = read_weights(weights, "--teacher")
    if set(checkpoint.class_names) != set(class_names):
        raise ConfigError(
            f"--teacher: {source} tells {', '.join(checkpoint.class_names)} apart, the data has "
            f"{', '.join(class_names)}: choose a checkpoint of the same classes."
        )
    names, weights_in_order = tuple(class_names), fitted(checkpoint, class_names, {})
    return Teacher(replace(checkpoint, class_names=names, weights=weights_in_order), source)
