"""Speed of the training loop against the notebook's recipe, on the same images in the same run.

The notebook's recipe is the plain one: fp32, contiguous memory, and a DataLoader whose workers
decode every image with Pillow and transform it with torchvision on every epoch. Both train the
same network at the same batch size, taking turns, one epoch at a time, each in a process of its
own: what ours asks of the memory allocator must not serve the other. Ours decodes once, before its
first epoch, and that time is told apart.

    pip install -r requirements.txt
    python benchmarks/train_speed.py --data ../shared/data/COVID-19_Radiography_Dataset
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import date
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.models import densenet121

sys.path.insert(0, str(Path(__file__).parents[1]))

from cxr_gradcam.dataset import read_dataset
from cxr_gradcam.phantom import write_phantoms
from cxr_gradcam.splits import Sample
from cxr_gradcam.training.config import Config
from cxr_gradcam.training.device import make_accelerator
from cxr_gradcam.training.images import Plan, load_images
from cxr_gradcam.training.loop import make_learner, train_one_epoch
from cxr_gradcam.training.network import prepare_start
from cxr_gradcam.training.state import Position
from cxr_gradcam.training.stopping import Stop

Epoch = Callable[[int], None]
Recipe = Callable[[], Epoch]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="dataset folder; phantoms of 299 px if left out")
    parser.add_argument("--count", type=int, default=128, help="images per epoch")
    parser.add_argument("--size", type=int, default=224, help="side of the model input")
    parser.add_argument("--batch-size", type=int, default=Config("").batch_size)
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each, taking turns")
    parser.add_argument("--workers", type=int, default=2, help="of the notebook's DataLoader")
    parser.add_argument("--precision", default="auto", help="of ours: auto, bf16 or fp32")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.data or Path(temporary)
        if options.data is None:
            write_phantoms(root, min(options.count, 32), size=299)
        samples, classes = find_samples(root, options.count)
        config = Config(
            str(root),
            input_size=options.size,
            batch_size=options.batch_size,
            epochs=options.rounds + 1,
            precision=options.precision,
        )
        notebook = partial(notebook_recipe, samples, classes, config, options.workers)
        ours = partial(our_recipe, samples, classes, config)
        (theirs, _), (mine, preparing) = measure([notebook, ours], options.rounds)
        report(theirs, mine, preparing, len(samples), config)


def find_samples(root: Path, count: int) -> tuple[list[Sample], tuple[str, ...]]:
    """Return so many images, the classes taking turns, some of them twice where there are few."""
    dataset = read_dataset(root)
    samples = []
    for number in range(count):
        label = dataset.classes[number % len(dataset.classes)]
        paths = dataset.images[label]
        place = number // len(dataset.classes) % len(paths)
        samples.append(Sample(paths[place], label, number))
    return samples, dataset.classes


class Files(Dataset[tuple[Tensor, int]]):
    """The notebook's dataset: every image is opened and transformed each time it is asked for."""

    def __init__(self, samples: Sequence[Sample], classes: Sequence[str], size: int) -> None:
        self.samples = samples
        self.classes = list(classes)
        self.transform = transforms.Compose(
            [
                transforms.Resize((size, size)),
                transforms.RandomHorizontalFlip(),
                transforms.RandomRotation(10),
                transforms.ColorJitter(brightness=0.1, contrast=0.1),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.samples)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        """Open and transform one."""
        sample = self.samples[place]
        picture = Image.open(sample.path).convert("RGB")
        return self.transform(picture), self.classes.index(sample.label)


def notebook_recipe(
    samples: Sequence[Sample], classes: Sequence[str], config: Config, workers: int
) -> Epoch:
    """Return what trains an epoch in the notebook's way."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network: nn.Module = densenet121(num_classes=len(classes)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    loss_of = nn.CrossEntropyLoss()
    loader = DataLoader(
        Files(samples, classes, config.input_size),
        batch_size=config.batch_size,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
    )

    def epoch(number: int) -> None:
        network.train()
        total = 0.0
        for pictures, labels in loader:
            optimizer.zero_grad()
            loss = loss_of(network(pictures.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            total += loss.item()

    return epoch


def our_recipe(samples: Sequence[Sample], classes: Sequence[str], config: Config) -> Epoch:
    """Return what trains an epoch in our way; all images are decoded before."""
    learner = make_learner(
        make_accelerator(config.precision, "auto"),
        prepare_start(config, classes),
        [sum(one.label == name for one in samples) for name in classes],
        config,
    )
    images = load_images(samples, classes, config.input_size, readers=os.cpu_count() or 1)
    plan = Plan(len(images), config.batch_size, config.seed)

    def go_on(position: Position, stop: Stop) -> bool:
        return False

    def epoch(number: int) -> None:
        train_one_epoch(learner, images, plan, config, Position(epoch=number), after_step=go_on)

    return epoch


def serve(recipe: Recipe, orders: Connection) -> None:
    """In a process of its own: prepare, then train an epoch whenever told to; answer in seconds."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    began = time.perf_counter()
    epoch = recipe()
    orders.send(time.perf_counter() - began)
    with suppress(EOFError):  # nobody asks any more
        while True:
            number = orders.recv()
            began = time.perf_counter()
            epoch(number)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            orders.send(time.perf_counter() - began)


def measure(recipes: Sequence[Recipe], rounds: int) -> list[tuple[list[float], float]]:
    """Return the seconds of every epoch but a first one to warm up, and of the preparation."""
    context = multiprocessing.get_context("spawn")
    prepared: list[float] = []
    seconds: list[list[float]] = [[] for _ in recipes]
    with ExitStack() as lines_closed:  # which ends the processes, whatever happens
        lines = []
        for recipe in recipes:
            mine, its = context.Pipe()
            lines.append(lines_closed.enter_context(mine))
            # No daemon: those may not start the workers of a DataLoader.
            context.Process(target=serve, args=(recipe, its)).start()
            its.close()  # so that the end of a process that fails is heard
            prepared.append(mine.recv())
        for number in range(rounds + 1):
            for line, taken in zip(lines, seconds, strict=True):
                line.send(number)
                taken.append(line.recv())
    return [(taken[1:], before) for taken, before in zip(seconds, prepared, strict=True)]


def report(
    theirs: Sequence[float], ours: Sequence[float], preparing: float, count: int, config: Config
) -> None:
    """Print the table."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    trained = count // config.batch_size * config.batch_size
    print(
        f"{trained} images at {config.input_size} px, batch {config.batch_size}, {device}, "
        f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}, {date.today()}, "
        f"median of {len(ours)}\n"
    )
    print("| recipe | images/s |\n| --- | --- |")
    for name, taken in (("the notebook's", theirs), ("train.py", ours)):
        print(f"| {name} | {trained / statistics.median(taken):.1f} |")
    ratio = statistics.median(slow / fast for slow, fast in zip(theirs, ours, strict=True))
    print(f"| ratio | {ratio:.2f}x |\n\nPreparing, all decoding included: {preparing:.1f} s")


if __name__ == "__main__":
    main()
