"""Training images in memory: decoded or drawn once, then only picked out of one tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr_gradcam.phantom import CLASS_NAMES, Phantom, draw_phantom
from cxr_gradcam.preprocess import Letterbox
from cxr_gradcam.radiograph import RadiographError, load_radiograph
from cxr_gradcam.splits import Sample
from cxr_gradcam.threads import in_order
from cxr_gradcam.training.config import TrainingError

Indices = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.float32]

# Far from the seeds that people count up from, so that the phantoms they draw are new to a network.
FIRST_PHANTOM_SEED = 1_000_000_000
PHANTOM_SIZES = (224, 256, 299)  # sides in pixels, as archives of films have them
NO_LESION = -1


@dataclass(frozen=True, eq=False)
class Images:
    """A split, ready to be picked from.

    Attributes:
        pixels: uint8 (N, S, S), letterboxed, on the CPU.
        labels: int64 (N,), indices of the classes, on the CPU.
        names: N file names.
        lesions: uint8 (M, S, S), 255 inside the planted lesions of M phantoms, on the CPU.
        lesion_rows: int64 (N,), which of the lesions an image has, or `NO_LESION`, on the CPU.
    """

    pixels: Tensor
    labels: Tensor
    names: tuple[str, ...]
    lesions: Tensor
    lesion_rows: Tensor

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.pixels)

    def counts(self, classes: int) -> Indices:
        """Return how many images each class has, int64 (classes,)."""
        return np.bincount(self.labels.numpy(), minlength=classes)

    def joined(self, other: Images) -> Images:
        """Return these images followed by those of another split of the same size."""
        rows = torch.where(other.lesion_rows < 0, NO_LESION, other.lesion_rows + len(self.lesions))
        return Images(
            torch.cat([self.pixels, other.pixels]),
            torch.cat([self.labels, other.labels]),
            self.names + other.names,
            torch.cat([self.lesions, other.lesions]),
            torch.cat([self.lesion_rows, rows]),
        )


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

    def read(sample: Sample) -> npt.NDArray[np.uint8]:
        return _squared(load_radiograph(sample.path).pixels, size)

    with (
        ThreadPoolExecutor(readers) as pool,
        closing(in_order(pool, read, samples, 16 * readers)) as squares,
    ):
        try:
            for i, square in enumerate(squares):
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
        lesions=torch.empty((0, size, size), dtype=torch.uint8),
        lesion_rows=torch.full((len(samples),), NO_LESION),
    )


def draw_phantoms(
    count: int,
    class_names: Sequence[str],
    size: int,
    seed: int,
    *,
    on_image: Callable[[], None] = lambda: None,
) -> Images:
    """Draw phantoms with their lesions, the classes taking turns.

    Args:
        count: how many.
        class_names: in the order of the network's outputs; the phantoms' classes among them.
        size: S, the side of the model input.
        seed: same seed, same phantoms.
        on_image: called after each image.
    """
    rng = np.random.default_rng((seed, FIRST_PHANTOM_SEED))
    sides = rng.choice(PHANTOM_SIZES, count)
    first = FIRST_PHANTOM_SEED + int(rng.integers(FIRST_PHANTOM_SEED))
    pixels = np.empty((count, size, size), np.uint8)
    labels, names = [], []
    lesions = [np.empty((0, size, size), np.uint8)]
    rows = np.full(count, NO_LESION, np.int64)
    for i, side in enumerate(sides):
        phantom: Phantom = draw_phantom(CLASS_NAMES[i % len(CLASS_NAMES)], first + i, int(side))
        pixels[i] = _squared(phantom.radiograph.pixels, size)
        labels.append(class_names.index(phantom.label))
        names.append(phantom.radiograph.name)
        if phantom.lesion_mask.any():
            rows[i] = len(lesions) - 1
            lesions.append(_squared(phantom.lesion_mask.astype(np.float32), size)[None])
        on_image()
    return Images(
        torch.from_numpy(pixels),
        torch.tensor(labels, dtype=torch.int64),
        tuple(names),
        torch.from_numpy(np.concatenate(lesions)),
        torch.from_numpy(rows),
    )


def _squared(picture: Pixels, size: int) -> npt.NDArray[np.uint8]:
    """Letterbox float32 (H, W) in [0, 1] to uint8 (size, size)."""
    height, width = picture.shape
    square = Letterbox.fit(height, width, size).apply(picture)
    return np.asarray(np.rint(square * 255), np.uint8)


class Purpose(IntEnum):
    """What random numbers are drawn for."""

    ORDER = 1  # of an epoch's images
    AUGMENTATION = 2
    BLEND = 3
    SAMPLE = 4  # of the images, where all are too many


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
        return self.rng(Purpose.ORDER, epoch).permutation(self.images)

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[tuple[int, Indices]]:
        """Give the number of each step of an epoch, and the images in it."""
        order = self.order(epoch)
        for step in range(first_step, self.steps):
            yield step, order[step * self.batch_size : (step + 1) * self.batch_size]

    def rng(self, purpose: Purpose, *place: int) -> np.random.Generator:
        """Return the source of randomness for a purpose at a place in the run.

        Args:
            purpose: every one has numbers of its own.
            place: such as an epoch and a step.
        """
        return np.random.default_rng((self.seed, purpose, *place))


def share_of(count: int, process: int, processes: int) -> slice:
    """Return which of `count` items a process takes: neighbours, as evenly as can be."""
    return slice(process * count // processes, (process + 1) * count // processes)
