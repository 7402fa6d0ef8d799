"""What a training run does, decided before it starts and kept beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from cxr_gradcam.files import write_whole

CONFIG_FILE = "config.json"
PRECISIONS = ("auto", "fp32", "bf16")
SMALLEST_INPUT, LARGEST_INPUT, INPUT_STEP = 64, 1024, 32  # DenseNet halves the picture five times


class ConfigError(ValueError):
    """A run cannot be started as asked. One sentence: what is wrong and what to do."""


class TrainingError(RuntimeError):
    """A run cannot go on. One sentence: what is wrong, where, what to do."""


@dataclass(frozen=True)
class Config:
    """The recipe of a run. On a CPU: same config, same data, same machine, same weights.

    Attributes:
        data: the dataset folder.
        weights: to start from: "bundled", "imagenet", "scratch", or the path of a checkpoint.
        input_size: side of the square model input in pixels, a multiple of 32.
        epochs: how often every training image is seen, at most. 0 trains nothing: the weights are
            calibrated and evaluated as they are, for this input size.
        batch_size: images per step, over all processes together.
        learning_rate: AdamW's, at its highest.
        weight_decay: AdamW's, for convolutions and the classifier; norms and biases have none.
        warmup_epochs: the learning rate climbs from 0 for so long, then falls as a cosine.
        clip_norm: the gradient is scaled down to this length where it is longer.
        ema_decay: of the moving average of the weights, which is what is validated and kept.
        label_smoothing: share of the target spread over all classes.
        balance: a class of n images weighs n to the power of minus this; 0 treats images alike.
        augmentation: strength of the augmentation; 0 is none, 1 is usual.
        mixup: films are blended with others of their step, in shares from the beta distribution
            with both parameters this, as in Zhang 2018 (arXiv 1710.09412); 0 blends none.
        teacher: checkpoints to learn from as well as from the labels; steps hear them in turn.
        teacher_share: how much of the target is what the teacher says.
        freeze_until: layer up to which, itself included, nothing is trained; "" trains all.
        freeze_norm: keep the statistics of all batch norms as they were at the start.
        patience: stop after so many epochs without a better validation score; 0 never does.
        val_share, test_share: of the images, where the folder has no splits of its own.
        phantoms: synthetic films mixed into the training images, the classes taking turns.
        lesion_weight: of the loss that asks for a phantom's heat inside its planted lesion.
        precision: "bf16", "fp32", or "auto": bf16 on a GPU or a CPU that multiplies it, else fp32.
        compile: let PyTorch compile the network: minutes at the start, then perhaps faster.
        save_every: steps between two saved states; one is saved after every epoch anyway.
        seed: of everything random.
    """

    data: str
    weights: str = "bundled"
    input_size: int = 224
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 3e-4
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    label_smoothing: float = 0.05
    balance: float = 0.5
    augmentation: float = 1.0
    mixup: float = 0.0
    teacher: tuple[str, ...] = ()
    teacher_share: float = 0.7
    freeze_until: str = ""
    freeze_norm: bool = False
    patience: int = 5
    val_share: float = 0.15
    test_share: float = 0.15
    phantoms: int = 0
    lesion_weight: float = 0.3
    precision: str = "auto"
    compile: bool = False
    save_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        size, step = self.input_size, INPUT_STEP
        checks = {
            "input_size": (
                SMALLEST_INPUT <= size <= LARGEST_INPUT and size % step == 0,
                f"a multiple of {step} from {SMALLEST_INPUT} to {LARGEST_INPUT}",
            ),
            "epochs": (self.epochs >= 0, "0 or more"),
            "batch_size": (self.batch_size >= 2, "2 or more"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "warmup_epochs": (self.warmup_epochs >= 0, "0 or more"),
            "clip_norm": (self.clip_norm > 0, "above 0"),
            "ema_decay": (0 <= self.ema_decay < 1, "from 0 to below 1"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "from 0 to below 1"),
            "balance": (0 <= self.balance <= 1, "from 0 to 1"),
            "augmentation": (0 <= self.augmentation <= 2, "from 0 to 2"),
            "mixup": (0 <= self.mixup <= 1, "from 0 to 1"),
            "teacher_share": (0 <= self.teacher_share <= 1, "from 0 to 1"),
            "patience": (self.patience >= 0, "0 or more"),
            "val_share": (0 < self.val_share < 1, "between 0 and 1"),
            "test_share": (
                0 < self.test_share < 1 - self.val_share,
                "above 0, and less than 1 together with --val-share",
            ),
            "phantoms": (self.phantoms >= 0, "0 or more"),
            "lesion_weight": (self.lesion_weight >= 0, "0 or more"),
            "precision": (self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            "save_every": (self.save_every >= 1, "1 or more"),
            "seed": (0 <= self.seed < 2**32, "from 0 to 4294967295"),
        }
        for name, (right, expected) in checks.items():
            value = getattr(self, name)
            if not right or (isinstance(value, float) and not math.isfinite(value)):
                raise ConfigError(f"{option(name)} is {value!r}: choose {expected}.")


def option(name: str) -> str:
    """Return a field's name as one writes it on the command line."""
    return "--" + name.replace("_", "-")


def save_config(config: Config, folder: Path) -> None:
    """Write the config into a run's folder.

    Raises:
        OSError: when it cannot be written.
    """
    write_whole(folder / CONFIG_FILE, json.dumps(asdict(config), indent=2).encode() + b"\n")


def load_config(folder: Path) -> Config:
    """Read the config of a run.

    Raises:
        ConfigError: when there is none in the folder, or it is not one that this version wrote.
    """
    path = folder / CONFIG_FILE
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(
            f"There is no run in {folder} to resume: check --out, or leave --resume out."
        ) from None
    except (OSError, ValueError):
        found = None
    if isinstance(found, dict):  # JSON has no tuples
        found = {
            name: tuple(map(str, value)) if isinstance(value, list) else value
            for name, value in found.items()
        }
    kinds = {field.name: type(getattr(Config(""), field.name)) for field in fields(Config)}
    if (
        not isinstance(found, dict)
        or set(found) != set(kinds)
        or any(
            not isinstance(found[name], (int, float) if kind is float else kind)
            for name, kind in kinds.items()
        )
    ):
        raise ConfigError(
            f"{path} is damaged or of another version: choose another --out and start anew."
        )
    return Config(**found)


def resumed_config(folder: Path, asked: Mapping[str, Any]) -> Config:
    """Return the config of the run in a folder, if what is asked for now is the same.

    Args:
        folder: of the run.
        asked: the fields that were given now, by name.

    Raises:
        ConfigError: when there is no run, or it was started with another value.
    """
    config = load_config(folder)
    for name, value in asdict(replace(config, **asked)).items():
        before = getattr(config, name)
        if value != before:
            raise ConfigError(
                f"{option(name)} was {before!r} when this run began, and is {value!r} now: "
                "resume it as it began, or choose another --out."
            )
    return config
