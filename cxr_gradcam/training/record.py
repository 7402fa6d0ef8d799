"""What a run leaves behind: the best weights as a checkpoint, its figures, its report."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score, recall_score
from torch import Tensor
from torch.nn import functional as F

import cxr_gradcam
from cxr_gradcam.checkpoint import BEST_FILE, Checkpoint, save_checkpoint
from cxr_gradcam.files import LEFTOVERS, write_whole
from cxr_gradcam.training.config import Config, option
from cxr_gradcam.training.loop import Learner
from cxr_gradcam.training.network import Start
from cxr_gradcam.training.scores import fit_temperature
from cxr_gradcam.training.state import Position
from cxr_gradcam.training.teacher import Teacher

HISTORY_FILE = "history.jsonl"
_OF_A_TEACHER = ("data", "recipe", "before", "teachers")  # of its record: what it may know


@dataclass(frozen=True)
class Provenance:
    """What is known of a run's weights before the first step.

    Attributes:
        config: the recipe.
        start: the weights at the start.
        teachers: what they learn from beside the labels.
        images: split -> class -> how many.
        test_digest: which images the test split holds, as `Splits.test_digest` gives it.
    """

    config: Config
    start: Start
    teachers: Sequence[Teacher]
    images: Mapping[str, Mapping[str, int]]
    test_digest: str

    @property
    def folder(self) -> str:
        """The dataset folder's name. Where it lay tells more about the person than the model."""
        return Path(self.config.data).name

    def warning(self) -> str:
        """Say which weights may know the test images already; "" where nothing shows it.

        Each run that weights have been through, or that a teacher of theirs has, tells the folder's
        name and which images it kept out.
        """
        sentences = [self._warning("The weights to start from", self.start.training)]
        sentences += [
            self._warning(f"The teacher {one.source}", one.record) for one in self.teachers
        ]
        return "\n".join(filter(None, sentences))

    def _warning(self, who: str, record: Mapping[str, Any]) -> str:
        """Say it of weights with this record of their training."""
        runs: list[Any] = [record]
        while runs:
            run = runs.pop()
            if not isinstance(run, Mapping):
                continue
            data, recipe = (
                found if isinstance(found := run.get(name), Mapping) else {}
                for name in ("data", "recipe")
            )
            theirs = data.get("test_digest", self.test_digest)
            if data.get("folder") == self.folder and theirs != self.test_digest:
                options = ", ".join(
                    f"{option(name)} {recipe.get(name)}"
                    for name in ("val_share", "test_share", "seed")
                )
                return (
                    f"{who} learned from {self.folder} with other test images and may know those "
                    f"of this run, whose figures would flatter: that run had {options}."
                )
            teachers = run.get("teachers")
            runs += [run.get("before"), *(teachers if isinstance(teachers, list) else ())]
        return ""

    def to_dict(self, position: Position, learner: Learner) -> dict[str, Any]:
        """Return the provenance of the weights at a position, for a checkpoint's header."""
        accelerator = learner.accelerator
        recipe = asdict(self.config)
        sources = [teacher.source for teacher in self.teachers]
        recipe |= {"data": self.folder, "weights": self.start.source, "teacher": sources}
        kept = {
            "before": self.start.training,
            "teachers": [
                {name: one.record[name] for name in _OF_A_TEACHER if name in one.record}
                for one in self.teachers
            ],
        }
        return {
            "program": f"cxr_gradcam {cxr_gradcam.__version__}",
            "date": datetime.now(UTC).date().isoformat(),
            "data": {
                "folder": self.folder,
                "images": self.images,
                "test_digest": self.test_digest,
            },
            "weights": self.start.source,
            "recipe": recipe,
            "epochs": len(position.history),
            "best_epoch": position.best_epoch + 1,
            "seconds": round(position.seconds),
            "precision": accelerator.mixed_precision.replace("no", "fp32"),
            "device": accelerator.device.type,
            "processes": accelerator.num_processes,
            "torch": torch.__version__,
            "python": platform.python_version(),
        } | {name: record for name, record in kept.items() if record}


def quick_scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return what an epoch is judged by.

    Args:
        logits: (N, K), on the CPU.
        labels: (N,), on the CPU.

    Returns:
        "calibrated_loss" (decides): the cross-entropy with the temperature that suits these
        logits best, as the finished checkpoint will have one. "val_loss" has none; "macro_f1",
        "balanced_accuracy" and "accuracy" count a film on the edge as a whole one, so they tell
        less of epochs that differ by a few films.
    """
    temperature = fit_temperature(logits.numpy(), labels.numpy())
    truth, said = labels.numpy(), logits.argmax(dim=1).numpy()
    # A class without a film has no figure, as in the report.
    options: dict[str, Any] = {
        "labels": np.unique(truth), "average": "macro", "zero_division": 0.0,
    }  # fmt: skip
    return {
        "val_loss": float(F.cross_entropy(logits, labels)),
        "calibrated_loss": float(F.cross_entropy(logits / temperature, labels)),
        "macro_f1": float(f1_score(truth, said, **options)),
        "balanced_accuracy": float(recall_score(truth, said, **options)),
        "accuracy": float(accuracy_score(truth, said)),
    }


def as_checkpoint(
    learner: Learner, start: Start, class_names: Sequence[str], input_size: int
) -> Checkpoint:
    """Return the averaged weights as a checkpoint, not calibrated."""
    weights = {
        name: value.detach().cpu() for name, value in learner.average.network.state_dict().items()
    }
    return Checkpoint(weights, tuple(class_names), input_size, start.mean, start.std)


def save_best(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the best checkpoint of a run.

    Raises:
        OSError, safetensors.SafetensorError: when it cannot be written; the one before it stays.
    """
    save_checkpoint(checkpoint, folder / BEST_FILE)


def save_history(history: Sequence[Mapping[str, float]], folder: Path) -> None:
    """Write one line of JSON per epoch.

    Raises:
        OSError: when it cannot be written.
    """
    lines = [json.dumps(dict(row)) + "\n" for row in history]
    write_whole(folder / HISTORY_FILE, "".join(lines).encode())


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed process had only half written, in a run's folder or its report's."""
    for path in (*folder.glob(LEFTOVERS), *folder.glob(f"*/{LEFTOVERS}")):
        path.unlink(missing_ok=True)
