"""What a step of the training sees: films augmented and blended, and what is asked of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional as F

from cxr_gradcam.threads import in_order
from cxr_gradcam.training.augmentation import Blend, Draws, augment, draw, draw_blend, to_unit, warp
from cxr_gradcam.training.config import Config
from cxr_gradcam.training.images import Images, Indices, Plan, Purpose, share_of

# Beside a GPU. Of a step of 110 ms on an H100, making its batch in turn would be some 50 more.
_MAKERS = 2
_MADE_AHEAD = 4


@dataclass(frozen=True, eq=False)
class Batch:
    """One process's part of a step.

    Attributes:
        films: float32 (n, 1, S, S) in [0, 1].
        targets: float32 (n, K), what each film weighs as one of each class.
        total: what all films of the step weigh, in whatever process.
        lesions: float32 (m, S, S) in [0, 1], planted lesions as they lie in the films.
        lesion_films: int64 (m,), which film each is in.
        lesion_labels: int64 (m,), the class of that film.
        all_lesions: lesions of the step, in whatever process.
    """

    films: Tensor
    targets: Tensor
    total: Tensor
    lesions: Tensor
    lesion_films: Tensor
    lesion_labels: Tensor
    all_lesions: int


@dataclass(frozen=True, eq=False)
class BatchMaker:
    """Makes this process's part of every step of a run.

    Every process draws for the whole step and takes its rows, so that the number of processes
    changes nothing.

    Attributes:
        images: the training split.
        plan: which images make which step, and where the random numbers come from.
        config: the recipe.
        class_weights: float32 (K,), what a film of each class weighs, on the device.
        accelerator: the device, and which of the processes this is.
    """

    images: Images
    plan: Plan
    config: Config
    class_weights: Tensor
    accelerator: Accelerator

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[int, Batch]]:
        """Give each step of an epoch with its batch.

        While a GPU works on one, threads make those that follow.
        """
        steps = self.plan.batches(epoch, first_step)
        if self.accelerator.device.type == "cuda":
            yield from self._ahead(epoch, steps)
            return
        for step, indices in steps:
            yield step, self.make(epoch, step, indices)

    def make(self, epoch: int, step: int, indices: Indices) -> Batch:
        """Make the batch of these images, as they look in this step of this epoch."""
        images, device, count = self.images, self.accelerator.device, len(indices)
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        mine = np.arange(count)[share_of(count, process, processes)]
        strength = self.config.augmentation
        draws = (
            draw(self.plan.rng(Purpose.AUGMENTATION, epoch, step), count, strength)
            if strength
            else None
        )
        lesion_rows = images.lesion_rows[indices]
        # A planted lesion stays as it is: faint in a blend, it could not be asked for.
        planted = lesion_rows.numpy() >= 0
        blend = draw_blend(self.plan.rng(Purpose.BLEND, epoch, step), planted, self.config.mixup)
        lesion_films = torch.nonzero(lesion_rows[mine] >= 0).flatten()
        lesions = to_unit(images.lesions[lesion_rows[mine][lesion_films]], device)
        if draws:
            lesions = warp(lesions, draws.share(mine[lesion_films.numpy()]))
        labels = images.labels[indices].to(device, non_blocking=True)
        asked = F.one_hot(labels, len(self.class_weights)) * self.class_weights
        shares = torch.from_numpy(blend.shares).to(device)[:, None]
        targets = asked * shares + asked[blend.partners] * (1 - shares)
        return Batch(
            self._films(indices, mine, draws, blend),
            targets[mine],
            targets.sum(),
            lesions[:, 0],
            lesion_films.to(device),
            labels[mine][lesion_films],
            int((lesion_rows >= 0).sum()),
        )

    def _films(self, indices: Indices, mine: Indices, draws: Draws | None, blend: Blend) -> Tensor:
        """Return this process's films, (n, 1, S, S), each with its partner, of any process, in it.

        Every film that it takes is read and augmented once.
        """
        device = self.accelerator.device
        needed, places = np.unique([mine, blend.partners[mine]], return_inverse=True)
        pixels = self.images.pixels[indices[needed]]
        films = augment(pixels, draws.share(needed), device) if draws else to_unit(pixels, device)
        own, partner = places.reshape(2, -1)
        if np.array_equal(own, partner):
            return films
        shares = torch.from_numpy(blend.shares[mine]).to(device).view(-1, 1, 1, 1)
        return films[partner].lerp_(films[own], shares)

    def _ahead(
        self, epoch: int, steps: Iterable[tuple[int, Indices]]
    ) -> Iterator[tuple[int, Batch]]:
        # On a stream of its own, or each copy to the GPU would wait for the steps before it.
        stream = torch.cuda.Stream(self.accelerator.device)  # type: ignore[no-untyped-call]

        def make_aside(asked: tuple[int, Indices]) -> tuple[int, Batch, torch.cuda.Event]:
            step, indices = asked
            with torch.cuda.stream(stream):
                batch = self.make(epoch, step, indices)
            return step, batch, stream.record_event()

        pool = ThreadPoolExecutor(_MAKERS)
        try:
            for made in in_order(pool, make_aside, steps, _MADE_AHEAD):
                yield _taken_over(*made)
        finally:
            pool.shutdown(cancel_futures=True)


def _taken_over(step: int, batch: Batch, made: torch.cuda.Event) -> tuple[int, Batch]:
    """Have the current stream wait for a batch, and keep its memory until the stream is done."""
    current = torch.cuda.current_stream(batch.films.device)
    current.wait_event(made)
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Tensor):
            value.record_stream(current)
    return step, batch
