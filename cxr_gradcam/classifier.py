"""The classifier: a frozen DenseNet-121 with its class names, input geometry and calibration."""

from __future__ import annotations

import os
import re

import torch
from torch import Tensor

from cxr_gradcam.checkpoint import BUNDLED_CHECKPOINT, Checkpoint, load_checkpoint
from cxr_gradcam.densenet import DenseNet


class Classifier:
    """A checkpoint made ready to run: frozen, in eval mode, safe to share between threads.

    Attributes:
        class_names: the classes in the order of the logits.
        input_size: side of the square model input in pixels.
        mean, std: per channel, for intensities in [0, 1].
        temperature: what the logits are divided by before softmax.
        digest: SHA-256 of the checkpoint file.
        training, metrics: what the checkpoint says about itself.
        familiarity: what training films look like to the network; None if it was not learned.
        network: the DenseNet in stages.

    Args:
        checkpoint: from `load_checkpoint`; its weights are copied.
        device: where the network lies.
        dtype: of its numbers, torch.float32 or, as a reference, torch.float64.

    Raises:
        TypeError: when it is no checkpoint.
        ValueError: for another dtype, or weights that lack one of a DenseNet's.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not isinstance(checkpoint, Checkpoint):
            raise TypeError(
                f"A {type(checkpoint).__name__} is no Checkpoint: load_classifier reads a file, "
                "save_checkpoint writes one from a DenseNet-121's state_dict."
            )
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"There are no heatmaps in {dtype}: choose torch.float32 or float64.")
        self.class_names = checkpoint.class_names
        self.input_size = checkpoint.input_size
        self.mean = checkpoint.mean
        self.std = checkpoint.std
        self.temperature = checkpoint.temperature
        self.digest = checkpoint.digest
        self.training = checkpoint.training
        self.metrics = checkpoint.metrics
        self.familiarity = checkpoint.familiarity
        weights = {
            name: value.to(device, dtype, copy=True) for name, value in checkpoint.weights.items()
        }
        try:
            self.network = DenseNet(weights)
        except KeyError as missing:
            raise ValueError(
                f"The checkpoint's weights lack {missing}: give the state_dict of torchvision's "
                "densenet121."
            ) from None

    def __repr__(self) -> str:
        """Its classes, input and checkpoint; no weights."""
        return (
            f"Classifier({', '.join(self.class_names)}; input {self.input_size} px, "
            f"checkpoint {self.digest[:8]})"
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that can be explained, in the order of the forward pass."""
        return self.network.layers

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return calibrated probabilities in [0, 1] from logits, both floats (N, classes)."""
        return torch.softmax(logits / self.temperature, dim=1)


def load_classifier(
    path: str | os.PathLike[str] = BUNDLED_CHECKPOINT, *, device: str | torch.device = "auto"
) -> Classifier:
    """Load a checkpoint for explaining.

    Args:
        path: a .safetensors checkpoint; the bundled one by default.
        device: "cpu", "cuda" (or "cuda:1"), or "auto": CUDA where there is a GPU, else the CPU.

    Raises:
        CheckpointError: when the file is not a usable checkpoint.
        ValueError: when the device does not exist here.
    """
    return Classifier(load_checkpoint(path), device=choose_device(device))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that there is not enough memory, here or on the GPU."""
    # On a CPU, PyTorch raises a plain RuntimeError that names its allocator.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def choose_device(device: str | torch.device) -> torch.device:
    """Turn "auto", "cpu" or "cuda" into a device that exists here.

    Raises:
        ValueError: when it is another word, or CUDA is asked for and there is no GPU.
    """
    device = str(device)
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or not re.fullmatch("[0-9]{0,3}", index):
        raise ValueError(f"There is no device {device!r}: choose auto, cpu or cuda.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(f"There is no GPU for the device {device!r} here: choose auto or cpu.")
    return torch.device(device)
