"""Training images in memory: decoded once, then only picked out of one tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr_gradcam.preprocess import Letterbox
from cxr_gradcam.radiograph import RadiographError, load_radiograph
from cxr_gradcam.splits import Sample
from cxr_gradcam.training.config import TrainingError

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Images:
    """A split, ready to be picked from.

    Attributes:
        pixels: uint8 (N, S, S), letterboxed, on the CPU.
        labels: int64 (N,), indices of the classes, on the CPU.
        names: N file names.
    """

    pixels: Tensor
    labels: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.pixels)

    def counts(self, classes: int) -> Indices:
        """Return how many images each class has, int64 (classes,)."""
        return np.bincount(self.labels.numpy(), minlength=classes)


def load_images(
    samples: Sequence[Sample],
    class_names: Sequence[str],
    size: int,
    *,
    readers: int = 1,
    on_image: Callable[[], None] = lambda: None,
) -> Images:
    """Decode, letterbox and keep the images of a split.

    Args:
        samples: the split.
        class_names: in the order of the network's outputs.
        size: S, the side of the model input.
        readers: threads that decode.
        on_image: called after each image.

    Raises:
        TrainingError: when an image can no longer be read.
    """
    pixels = np.empty((len(samples), size, size), np.uint8)

    def read(path: Path) -> npt.NDArray[np.uint8]:
        film = load_radiograph(path)
        square = Letterbox.fit(film.height, film.width, size).apply(film.pixels)
        return np.asarray(np.rint(square * 255), np.uint8)

    with ThreadPoolExecutor(readers) as pool:
        try:
            # A window of tasks, so that the first error, or a signal, is not waited for long.
            for start in range(0, len(samples), 16 * readers):
                paths = [one.path for one in samples[start : start + 16 * readers]]
                for i, square in enumerate(pool.map(read, paths), start):
                    pixels[i] = square
                    on_image()
        except RadiographError as error:
            raise TrainingError(
                f"A training image is gone or damaged since the data was split: {error} "
                "Put it back and --resume, or start anew with another --out."
            ) from None
    places = {name: place for place, name in enumerate(class_names)}
    return Images(
        torch.from_numpy(pixels),
        torch.tensor([places[one.label] for one in samples], dtype=torch.int64),
        tuple(one.path.name for one in samples),
    )


@dataclass(frozen=True)
class Plan:
    """Which images make which step, known before the run starts.

    Attributes:
        images: how many there are.
        batch_size: images per step, over all processes; never more than there are.
        seed: of the order.
    """

    images: int
    batch_size: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps per epoch. Images left over are seen in another epoch, whose order is another."""
        return self.images // self.batch_size

    def order(self, epoch: int) -> Indices:
        """Return the order of the images in an epoch, int64 (images,)."""
        return self.rng(epoch).permutation(self.images)

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[tuple[int, Indices]]:
        """Give the number of each step of an epoch, and the images in it."""
        order = self.order(epoch)
        for step in range(first_step, self.steps):
            yield step, order[step * self.batch_size : (step + 1) * self.batch_size]

    def rng(self, *place: int) -> np.random.Generator:
        """Return the source of randomness of a place in the run, such as an epoch and a step."""
        return np.random.default_rng((self.seed, *place))


def share_of(count: int, process: int, processes: int) -> slice:
    """Return which of `count` items a process takes: neighbours, as evenly as can be."""
    return slice(process * count // processes, (process + 1) * count // processes)
