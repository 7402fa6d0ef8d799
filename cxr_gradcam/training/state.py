"""All that a run is at one moment, in one file: written whole, read without unpickling."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cxr_gradcam.files import write_whole
from cxr_gradcam.training.config import TrainingError
from cxr_gradcam.training.optimisation import WeightAverage

STATE_FILE = "state.safetensors"
_VERSION = 2
_NETWORK, _AVERAGE, _OPTIMIZER = "network.", "average.", "optimizer."


@dataclass(frozen=True)
class Position:
    """How far a run has come.

    Attributes:
        epoch: number of the epoch under way, from 0.
        step: steps of it that are done.
        loss_sum: of these steps.
        best_epoch: whose weights are kept, from 0; -1 before the first validation.
        best_loss: its calibrated validation loss.
        seconds: spent so far.
        history: one row of figures per finished epoch.
        is_done: whether there is nothing left to train.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best_epoch: int = -1
    best_loss: float = math.inf
    seconds: float = 0.0
    history: tuple[Mapping[str, float], ...] = ()
    is_done: bool = False

    def after_step(self, loss: float) -> Position:
        """Return the position one step on."""
        return replace(self, step=self.step + 1, loss_sum=self.loss_sum + loss)

    @property
    def mean_loss(self) -> float:
        """Mean over the steps of this epoch that are done."""
        return self.loss_sum / max(1, self.step)


def save_state(
    folder: Path,
    position: Position,
    network: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state of a run into its folder.

    Randomness needs no room in it: every random number is derived from the seed and the position.

    Raises:
        OSError: when it cannot be written; the state before it is then untouched.
    """
    tensors = {_NETWORK + name: value for name, value in network.state_dict().items()}
    tensors |= {_AVERAGE + name: value for name, value in average.network.state_dict().items()}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{_OPTIMIZER}{key}.{name}"] = value
    # safetensors keeps the order of the axes only, so channels_last is laid out anew and back.
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    header = {"version": str(_VERSION), "position": json.dumps(asdict(position))}
    write_whole(folder / STATE_FILE, save(contiguous, header))


def load_state(
    folder: Path,
    network: nn.Module,
    average: WeightAverage,
    optimizer: torch.optim.Optimizer,
) -> Position | None:
    """Bring a run back to where its saved state was.

    Args:
        folder: of the run.
        network, average, optimizer: filled in place.

    Returns:
        The position; None when no state was saved yet, and nothing is changed.

    Raises:
        TrainingError: when the state cannot be read, or is not of this run.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 no dict
        if header.get("version") != str(_VERSION):
            raise ValueError("version")
        position = _parse_position(header["position"])
        network.load_state_dict(_under(_NETWORK, tensors))
        average.network.load_state_dict(_under(_AVERAGE, tensors))
        _fill_optimizer(optimizer, network, _under(_OPTIMIZER, tensors))
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError):
        raise TrainingError(
            f"{path} is damaged or of another version: start anew with another --out."
        ) from None
    return position


def _parse_position(text: str) -> Position:
    values: dict[str, Any] = json.loads(text)
    values["history"] = tuple(values["history"])
    return Position(**values)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _fill_optimizer(
    optimizer: torch.optim.Optimizer, network: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Give every parameter its moments back, laid out in memory as the parameter is."""
    parameters = dict(network.named_parameters())
    for full_name, value in tensors.items():
        key, _, name = full_name.partition(".")
        parameter = parameters[name]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter).copy_(value)
        elif parameter.is_cuda:
            value = value.to(parameter.device)
        optimizer.state[parameter][key] = value
