"""Checkpoints: one .safetensors file with the weights and, in its header, what explains them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from cxr_gradcam.densenet import BLOCK, LAST_LAYER, TRANSITION
from cxr_gradcam.familiarity import CHANNELS, Familiarity
from cxr_gradcam.files import composed, write_whole

FORMAT_VERSION = 1
ARCHITECTURE = "densenet121"
# What `--class` or a column of a table means otherwise: no class can be called so.
RESERVED_NAMES = frozenset({"all", "predicted", "file", "label", "error"})
BEST_FILE = "best.safetensors"  # what train.py leaves in a run's folder
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MOST_BYTES = 2**28  # a DenseNet-121 in fp64 has a quarter of that
_LARGEST = float(np.finfo(np.float32).max)  # of the numbers in a header
BUNDLED_CHECKPOINT = Path(__file__).parent / "assets" / "densenet121.safetensors"


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says what is wrong, where, and what to do."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network's weights with what one must know to use them.

    Attributes:
        weights: torchvision's `densenet121` state dict; floating-point values in fp16 or fp32 (bf16
            and fp64 are read, too, and never written).
        class_names: the classes in the order of the logits; none of `RESERVED_NAMES`.
        input_size: side of the square model input in pixels, a multiple of 32.
        mean, std: per channel, for intensities in [0, 1].
        temperature: the logits are divided by it before softmax; 1 means not calibrated.
        training: where the weights come from (data, recipe, dates), free-form JSON.
        metrics: figures measured with these weights, free-form JSON.
        familiarity: what training films look like to these weights; None if it was not learned.
            It lies in the header, so that the tensors are torchvision's state dict and no more.
        digest: SHA-256 of the file, empty when not read from one.
    """

    weights: Mapping[str, Tensor]
    class_names: tuple[str, ...]
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    temperature: float = 1.0
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    familiarity: Familiarity | None = None
    digest: str = ""

    def build_module(self) -> nn.Module:
        """Return torchvision's DenseNet-121 with these weights, fp32, in eval mode."""
        # Imported here, as whoever only explains has no need of it.
        from torchvision.models import densenet121

        with torch.device("meta"):
            module: nn.Module = densenet121(num_classes=len(self.class_names))
        weights = {
            # Copies, so that the module stays as it is when the weights are trained on.
            name: value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
            for name, value in self.weights.items()
        }
        module.load_state_dict(weights, assign=True)
        return module.eval()


def save_checkpoint(
    checkpoint: Checkpoint, path: str | os.PathLike[str], *, half: bool = True
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        checkpoint: what to write.
        path: the .safetensors file; an existing one is replaced.
        half: store floating-point weights as fp16, which halves the file; tensors with numbers too
            large for that stay fp32.

    Raises:
        OSError: when it cannot be written; an existing file is then left as it was.
    """
    metadata = {
        "format_version": FORMAT_VERSION,
        "architecture": ARCHITECTURE,
        "class_names": list(checkpoint.class_names),
        "input_size": checkpoint.input_size,
        "mean": list(checkpoint.mean),
        "std": list(checkpoint.std),
        "temperature": checkpoint.temperature,
        "training": dict(checkpoint.training),
        "metrics": dict(checkpoint.metrics),
    }
    if checkpoint.familiarity:
        metadata["familiarity"] = checkpoint.familiarity.to_metadata()
    weights = {
        name: _stored(value, half) if value.is_floating_point() else value.contiguous()
        for name, value in checkpoint.weights.items()
    }
    write_whole(
        Path(path), save(weights, {key: json.dumps(value) for key, value in metadata.items()})
    )


def _stored(weight: Tensor, half: bool) -> Tensor:
    fits = half and weight.abs().max() <= torch.finfo(torch.float16).max
    return weight.to(torch.float16 if fits else torch.float32).contiguous()


def load_checkpoint(path: str | os.PathLike[str] = BUNDLED_CHECKPOINT) -> Checkpoint:
    """Read and check a checkpoint. Nothing is ever unpickled.

    Args:
        path: a .safetensors file; the bundled one by default.

    Raises:
        CheckpointError: when the file cannot be read, is of another kind, lacks metadata, or its
            weights are not those of a DenseNet-121 with as many outputs as class names.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:  # once: a run may replace it at any moment
            data = file.read(_MOST_BYTES + 1)
        weights = load(data[:_MOST_BYTES])  # cut short, a larger file is a damaged one
    except FileNotFoundError:
        raise CheckpointError(f"There is no checkpoint at {path}: check the path.") from None
    except (SafetensorError, KeyError):  # a KeyError where PyTorch has no such type of numbers
        raise CheckpointError(
            f"{_named(path)} is not a .safetensors file, or is damaged: choose a checkpoint "
            "written by train.py (pickled .pt and .pth files are never loaded)."
        ) from None
    except OSError as error:
        why = "it is a folder" if os.path.isdir(path) else error.strerror or "input error"  # noqa: PTH112 pathlib's raises
        raise CheckpointError(
            f"{path} cannot be read ({why}): choose a readable .safetensors file."
        ) from None
    metadata = _parse_metadata(path, _header(data))
    digest = hashlib.sha256(data).hexdigest()
    checkpoint = Checkpoint(weights=weights, digest=digest, **metadata)
    _check_weights(path, checkpoint)
    return checkpoint


def _header(data: bytes) -> Mapping[str, str]:
    """Return the metadata in a sound file's header, which safetensors reads from a path only."""
    size = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] | None = json.loads(data[8 : 8 + size]).get("__metadata__")
    return metadata or {}


def _named(path: Path) -> str:
    """Return the file's name after its folder's: every run has a best.safetensors."""
    return str(Path(path.parent.name, path.name))


def _parse_metadata(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    """Return the keyword arguments of `Checkpoint` that stand in the file's header."""

    def wrong(what: str) -> CheckpointError:
        return CheckpointError(
            f"{_named(path)} {what}: choose a DenseNet-121 checkpoint written by train.py."
        )

    try:
        values = {key: json.loads(text) for key, text in header.items()}
    except (ValueError, RecursionError):
        raise wrong("has a header whose values are not JSON") from None
    version = values.get("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise wrong(f"has format version {version!r}, this program reads {FORMAT_VERSION}")
    for key, (is_right, expected) in _METADATA.items():
        if key not in values:
            if key in _OPTIONAL:
                continue
            raise wrong(f"does not say its {key}")
        if not is_right(values[key]):
            raise wrong(f"has the {key} {values[key]!r}, expected {expected}")
    try:
        familiarity = _parse_familiarity(values.get("familiarity"))
    except ValueError:
        raise wrong("has damaged statistics of familiarity") from None
    return {
        "class_names": tuple(map(composed, values["class_names"])),
        "input_size": values["input_size"],
        "mean": tuple(map(float, values["mean"])),
        "std": tuple(map(float, values["std"])),
        "temperature": float(values.get("temperature", 1.0)),
        "training": values.get("training", {}),
        "metrics": values.get("metrics", {}),
        "familiarity": familiarity,
    }


def _parse_familiarity(value: Any) -> Familiarity | None:
    """Return the statistics in a header, if there are any.

    Raises:
        ValueError: when they are damaged or of another network.
    """
    if value is None:
        return None
    familiarity = Familiarity.from_metadata(value)
    channels = CHANNELS.get(familiarity.layer, 0)
    if familiarity.mean.shape != (channels * familiarity.bands,):
        raise ValueError
    return familiarity


def _is_names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(name, str) and name.strip() for name in value)
        and len(set(map(composed, value))) == len(value) >= 2
        and not RESERVED_NAMES & set(value)
    )


def _is_triple(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_finite, value))


def _is_finite(value: Any) -> bool:
    # Compared, not converted: an integer may be too large for a float.
    return type(value) in (int, float) and abs(value) <= _LARGEST


_OPTIONAL = ("temperature", "training", "metrics")
_METADATA: dict[str, tuple[Callable[[Any], bool], str]] = {
    "architecture": (lambda value: value == ARCHITECTURE, repr(ARCHITECTURE)),
    "class_names": (
        _is_names,
        f"two or more different names, and none of {', '.join(sorted(RESERVED_NAMES))}",
    ),
    "input_size": (
        lambda value: type(value) is int and 64 <= value <= 1024 and value % 32 == 0,
        "a multiple of 32 from 64 to 1024",
    ),
    "mean": (_is_triple, "three numbers"),
    "std": (lambda value: _is_triple(value) and min(value) > 0, "three positive numbers"),
    "temperature": (lambda value: _is_finite(value) and value > 0, "a positive number"),
    "training": (lambda value: isinstance(value, dict), "an object"),
    "metrics": (lambda value: isinstance(value, dict), "an object"),
}


def _expected_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor in the state dict of torchvision's DenseNet-121."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    def conv(name: str, given: int, made: int, side: int) -> None:
        shapes[f"{name}.weight"] = (made, given, side, side)

    channels, growth, between = 64, 32, 128
    conv("features.conv0", 3, channels, 7)
    norm("features.norm0", channels)
    for block, layers in enumerate((6, 12, 24, 16), start=1):
        for layer in range(1, layers + 1):
            name = f"{BLOCK}{block}.denselayer{layer}"
            norm(f"{name}.norm1", channels)
            conv(f"{name}.conv1", channels, between, 1)
            norm(f"{name}.norm2", between)
            conv(f"{name}.conv2", between, growth, 3)
            channels += growth
        if block < 4:
            norm(f"{TRANSITION}{block}.norm", channels)
            conv(f"{TRANSITION}{block}.conv", channels, channels // 2, 1)
            channels //= 2
    norm(LAST_LAYER, channels)
    shapes["classifier.weight"], shapes["classifier.bias"] = (classes, channels), (classes,)
    return shapes


def _check_weights(path: Path, checkpoint: Checkpoint) -> None:
    """Compare names, shapes and values of the weights with what torchvision's network needs."""
    expected = _expected_shapes(len(checkpoint.class_names))
    missing = sorted(set(expected) - set(checkpoint.weights))
    unknown = sorted(set(checkpoint.weights) - set(expected))
    if missing or unknown:
        example = f"{missing[0]} is missing" if missing else f"{unknown[0]} is unknown"
        raise CheckpointError(
            f"{_named(path)} does not hold torchvision's DenseNet-121 "
            f"({len(missing)} tensors missing, {len(unknown)} unknown: {example}): "
            "choose a checkpoint written by train.py."
        )
    for name, value in checkpoint.weights.items():
        if value.shape != expected[name]:
            raise CheckpointError(
                f"{_named(path)} has {name} in the shape {tuple(value.shape)}, expected "
                f"{expected[name]} for {len(checkpoint.class_names)} classes: "
                "choose a checkpoint written by train.py."
            )
        wanted = (torch.int64,) if name.endswith("num_batches_tracked") else _FLOATS
        if value.dtype not in wanted:
            raise CheckpointError(
                f"{_named(path)} has {name} as {value.dtype}: "
                "choose a checkpoint with fp16 or fp32 weights."
            )
    # One look at all numbers together: 600 looks at small tensors take seconds on a busy machine.
    numbers = [
        value.flatten() for value in checkpoint.weights.values() if value.dtype.is_floating_point
    ]
    if not torch.isfinite(torch.cat(numbers)).all():
        raise CheckpointError(
            f"{_named(path)} has weights that are not finite, its training diverged: "
            "choose an earlier checkpoint."
        )
