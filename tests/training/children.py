"""What the tests run in processes of their own. Imported by the server they are forked from."""

import json
import os
import resource
from pathlib import Path

import torch

import train
from cxr_gradcam.training.fit import training_images
from cxr_gradcam.training.images import Plan
from cxr_gradcam.training.loop import make_learner, train_one_epoch
from cxr_gradcam.training.optimisation import flattened, numbers_of
from cxr_gradcam.training.progress import Display
from cxr_gradcam.training.run import choose_config, prepare
from cxr_gradcam.training.state import Position
from cxr_gradcam.training.stopping import Stop, Stopwatch


def command(
    argv: list[str], log: Path, environment: dict[str, str], largest_file: int | None
) -> None:
    """Do what `python train.py ARGV` does, its output into a file.

    Where `largest_file` is given, writing past so many bytes fails, as on a full disk.
    """
    os.environ.update(environment)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    raise SystemExit(train.main(argv))


def steps(asked: dict[str, object], out: Path, log: Path, environment: dict[str, str]) -> None:
    """Train an epoch; write the loss of every step and the sum over the weights after it."""
    os.environ.update(environment)
    rows: list[list[float]] = []
    sums = [0.0]
    config = choose_config(out, asked, resume=False)
    display = Display(silent=True)
    run = prepare(config, out, device="cpu", watch=Stopwatch(), display=display)
    images = training_images(run)
    counts = images.counts(len(run.splits.class_names))
    learner = make_learner(run.accelerator, run.start, counts, config, run.teachers)

    def note(position: Position, stop: Stop) -> bool:
        weights = flattened([one.detach().double() for one in numbers_of(learner.network)])
        at = torch.arange(len(weights), dtype=torch.float64)
        sums.append(position.loss_sum)
        rows.append([sums[-1] - sums[-2], float(weights.sum()), float(weights @ at)])
        return False

    plan = Plan(len(images), config.batch_size, config.seed)
    train_one_epoch(learner, images, plan, config, Position(), after_step=note)
    log.write_text(json.dumps(rows))
    run.accelerator.wait_for_everyone()
