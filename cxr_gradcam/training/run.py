"""A training run before its first step: its recipe, its data, its device."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from cxr_gradcam.checkpoint import RESERVED_NAMES, Checkpoint
from cxr_gradcam.dataset import Dataset, DatasetError, check_apart, read_dataset
from cxr_gradcam.files import write_whole
from cxr_gradcam.phantom import CLASS_NAMES as PHANTOM_CLASSES
from cxr_gradcam.splits import SPLITS_FILE, Sample, Splits, load_splits, save_splits, split_dataset
from cxr_gradcam.threads import usable_cores
from cxr_gradcam.training.config import (
    CONFIG_FILE,
    Config,
    ConfigError,
    TrainingError,
    resumed_config,
    save_config,
)
from cxr_gradcam.training.device import check_device, is_slow_bf16, make_accelerator
from cxr_gradcam.training.images import Images, load_images
from cxr_gradcam.training.loop import Learner
from cxr_gradcam.training.network import Start, prepare_start
from cxr_gradcam.training.progress import Display
from cxr_gradcam.training.record import Provenance, as_checkpoint
from cxr_gradcam.training.stopping import Stopwatch
from cxr_gradcam.training.teacher import Teacher, load_teacher

DATA_FILE = "data.json"
_MOST_READERS = 8


@dataclass(frozen=True, eq=False)
class Run:
    """What stays the same through a run.

    Attributes:
        config: the recipe.
        out: the run's folder.
        splits: which image serves for what.
        accelerator: device, precision and the other processes.
        start: the weights at the start.
        teachers: what they learn from beside the labels.
        watch: knows when to end early.
        display: the terminal.
    """

    config: Config
    out: Path
    splits: Splits
    accelerator: Accelerator
    start: Start
    teachers: tuple[Teacher, ...]
    watch: Stopwatch
    display: Display

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return bool(self.accelerator.is_main_process)

    @property
    def validated_at_once(self) -> int:
        """How many images one process validates in one pass; without gradients, twice as many."""
        processes: int = self.accelerator.num_processes
        return 2 * max(1, self.config.batch_size // processes)

    @cached_property
    def provenance(self) -> Provenance:
        """What is known before the first step."""
        images, digest = self.splits.counts(), self.splits.test_digest(Path(self.config.data))
        return Provenance(self.config, self.start, self.teachers, images, digest)

    @contextmanager
    def counting(self, what: str, count: int) -> Iterator[Callable[[], None]]:
        """Show a progress bar; give what to call after each image, which may end the run there."""
        with self.display.bar(what, count) as bar:

            def on_image() -> None:
                self.watch.check()
                bar.advance()

            yield on_image

    def load(self, samples: Sequence[Sample], what: str) -> Images:
        """Read the images of a split, with a progress bar of that name."""
        with self.counting(what, len(samples)) as on_image:
            return load_images(
                samples,
                self.splits.class_names,
                self.config.input_size,
                readers=max(
                    1, min(_MOST_READERS, usable_cores() // self.accelerator.num_processes)
                ),
                on_image=on_image,
            )

    def averaged(self, learner: Learner) -> Checkpoint:
        """Return the averaged weights as they are."""
        return as_checkpoint(learner, self.start, self.splits.class_names, self.config.input_size)


def choose_config(out: Path, asked: Mapping[str, Any], *, resume: bool) -> Config:
    """Decide the recipe, writing nothing yet.

    Args:
        out: the run's folder.
        asked: fields of the config that were given, by name.
        resume: go on with the run in the folder; where there is none, start it if data is given.

    Raises:
        ConfigError: when the folder holds a run already, there is nothing to resume, or a value
            is out of its range or differs from that of the run.
        DatasetError: when a new run's folder lies in the dataset's.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out: {out} is a file: choose a folder, which may be new.")
    exists = (out / CONFIG_FILE).exists()
    if resume and (exists or "data" not in asked):
        return resumed_config(out, asked)
    if exists:
        raise ConfigError(
            f"{out} holds a run already: add --resume to go on with it, or choose another --out."
        )
    if "data" not in asked:
        raise ConfigError("There is no data to train on: give the dataset folder with --data.")
    check_apart(out, Path(asked["data"]))
    return Config(**asked)


def prepare(config: Config, out: Path, *, device: str, watch: Stopwatch, display: Display) -> Run:
    """Open the device, split the data or read its splits, and read the weights to start from.

    Raises:
        ConfigError, DatasetError: when the run cannot be started so.
        TrainingError: when the data of a run that has begun is gone.
        OSError: when the run's folder cannot be written.
    """
    check_device(device)
    is_new = not (out / CONFIG_FILE).exists()
    data = read_dataset(Path(config.data)) if is_new else _read_splits(config, out)
    class_names = data.classes if isinstance(data, Dataset) else data.class_names
    if is_new and (reserved := sorted(RESERVED_NAMES & set(class_names))):
        raise ConfigError(
            f"{config.data} has a class called {reserved[0]}, which --class or a column of the "
            "tables means otherwise: rename its folder."
        )
    if config.phantoms and not set(PHANTOM_CLASSES) <= set(class_names):
        raise ConfigError(
            f"--phantoms draws {', '.join(PHANTOM_CLASSES)}, and {config.data} has other classes: "
            "leave it out."
        )
    start = prepare_start(config, class_names)
    teachers = tuple(load_teacher(weights, class_names) for weights in config.teacher)
    # Every process has come to its decisions before the first one writes: here they all meet.
    accelerator = make_accelerator(config.precision, device, compiled=config.compile)
    if is_slow_bf16(accelerator):
        display.say(
            "This CPU does not multiply bf16 by itself, so bf16 is slower here than fp32: "
            "--precision auto would have chosen fp32."
        )
    if config.batch_size < accelerator.num_processes:
        raise ConfigError(
            f"--batch-size is {config.batch_size} for {accelerator.num_processes} processes: "
            "give each at least one image."
        )
    if isinstance(data, Dataset):
        if accelerator.is_main_process:
            _begin(config, out, data, watch, display)
        accelerator.wait_for_everyone()
        data = _read_splits(config, out)
    run = Run(config, out, data, accelerator, start, teachers, watch, display)
    if warning := run.provenance.warning():
        display.say(warning)
    return run


def _read_splits(config: Config, out: Path) -> Splits:
    """Read the splits of a run that has begun: what is missing now has vanished since."""
    try:
        return load_splits(out / SPLITS_FILE, Path(config.data))
    except DatasetError as error:
        raise TrainingError(str(error)) from None


def _begin(config: Config, out: Path, found: Dataset, watch: Stopwatch, display: Display) -> None:
    """Split the data and make the run's folder."""
    out.mkdir(parents=True, exist_ok=True)
    count = sum(map(len, found.images.values()))
    with display.bar("Looking at the data", count) as bar:

        def report_share(share: float) -> None:
            watch.check()
            bar.move_to(round(share * count))

        splits, report = split_dataset(
            found,
            val=config.val_share,
            test=config.test_share,
            seed=config.seed,
            progress=report_share,
        )
    display.say(str(report))
    write_whole(out / DATA_FILE, json.dumps(report.to_dict(), indent=1).encode())
    save_splits(splits, out / SPLITS_FILE, Path(config.data))
    save_config(config, out)  # last: a folder with a config has all that a run needs
