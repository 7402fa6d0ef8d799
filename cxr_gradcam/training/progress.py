"""What one sees of a run: a bar with images/s and time left, a line per epoch, TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from torch.utils.tensorboard import SummaryWriter

from cxr_gradcam.checkpoint import Checkpoint
from cxr_gradcam.classifier import Classifier
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import overlay, to_grey
from cxr_gradcam.training.images import Images

EVENTS = "events"
LOG_SECONDS = 60.0  # between two lines of a log, where no terminal could show a bar
_STRIP_IMAGES = 8
_STRIP_SIDE = 224


class Display:
    """The terminal of the first process; the others keep silent."""

    def __init__(self, *, silent: bool = False) -> None:
        self.console = Console(stderr=True, quiet=silent, highlight=False)

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, soft_wrap=True, markup=False)

    @contextmanager
    def bar(self, what: str, total: int, done: int = 0) -> Iterator[Bar]:
        """Show a bar while the block runs; in a log, a line every minute."""
        draws = self.console.is_terminal and not self.console.quiet
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not draws,
        )
        with progress:
            task = progress.add_task(what, total=total, completed=done, note="")
            yield Bar(progress, task, None if draws else self.say)


class Bar:
    """A bar under way."""

    def __init__(self, progress: Progress, task: TaskID, say: Callable[[str], None] | None) -> None:
        self._progress = progress
        self._task = task
        self._say = say
        self._said = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Move on."""
        self._progress.advance(self._task, count)
        self._log()

    def move_to(self, done: int, note: str = "") -> None:
        """Move to a place, with a note beside the bar."""
        self._progress.update(self._task, completed=done, note=note)
        self._log()

    def _log(self) -> None:
        if self._say is None or time.monotonic() - self._said < LOG_SECONDS:
            return
        self._said = time.monotonic()
        (task,) = self._progress.tasks
        place = f"{task.description}: {task.completed:.0f} of {task.total:.0f}"
        left = f"{TimeRemainingColumn().render(task)} left"
        self._say("  ".join(part for part in (place, task.fields["note"], left) if part))


class Events:
    """TensorBoard's event file of a run."""

    def __init__(self, folder: Path, epochs_done: int) -> None:
        # After a kill the file may hold epochs that the state does not: they come again.
        self._writer = SummaryWriter(folder / EVENTS, purge_step=epochs_done + 1)

    def epoch(self, row: Mapping[str, float], strip: npt.NDArray[np.uint8]) -> None:
        """Write the figures of an epoch and its strip.

        Raises:
            OSError: when they cannot be written.
        """
        epoch = int(row["epoch"])
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, epoch)
        self._writer.add_image("Grad-CAM of validation images", strip, epoch, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


def gradcam_strip(checkpoint: Checkpoint, images: Images) -> npt.NDArray[np.uint8]:
    """Draw a few fixed images over their Grad-CAM for their true class, side by side.

    All heatmaps of an image's classes share one scale, so a map looks weak where the network
    looks for another class.

    Args:
        checkpoint: the weights that look.
        images: a split; some of each class are taken, always the same.

    Returns:
        uint8 (2 side, images * side, 3) RGB.
    """
    explainer = Explainer(Classifier(checkpoint))
    columns = []
    for place in fixed_choice(images.labels.numpy(), _STRIP_IMAGES):
        film = images.pixels[place].numpy().astype(np.float32) / 255
        radiograph = Radiograph.from_array(film, name=images.names[place])
        label = checkpoint.class_names[int(images.labels[place])]
        heatmap = explainer.explain(radiograph).heatmap(label, scale="shared")
        grey = np.repeat(to_grey(radiograph)[:, :, None], 3, axis=2)
        columns.append(np.concatenate([grey, overlay(radiograph, heatmap)]))
    strip = np.concatenate(columns, axis=1)
    shape = (_STRIP_SIDE * len(columns), 2 * _STRIP_SIDE)
    return np.asarray(cv2.resize(strip, shape, interpolation=cv2.INTER_AREA), np.uint8)


def fixed_choice(labels: Sequence[int] | npt.NDArray[np.int64], count: int) -> list[int]:
    """Return the places of up to `count` items, the classes taking turns, always the same."""
    labels = np.asarray(labels)
    turns = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        mine = labels == label
        turns[mine] = np.arange(mine.sum())
    chosen = np.lexsort((labels, turns))[:count]
    return [int(place) for place in chosen[np.argsort(labels[chosen], kind="stable")]]
