"""Speed and memory of `python -m cxr_gradcam explain` against a loop around pytorch-grad-cam.

Both explain the same files for all classes at the last layer with the same weights, and write an
overlay (PNG, same compression) and a heatmap (NPY) per class. Both run as commands of their own,
taking turns, and are timed from start to end, loading of PyTorch included. The peer's loop is the
plain one of its README: read, preprocess, one call per class, write.

    pip install -r requirements.txt -r benchmarks/requirements.txt
    python benchmarks/explain_files.py --data ../shared/data/COVID-19_Radiography_Dataset
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SIZES = (1, 4)  # memory is measured at so many times --count


@dataclass(frozen=True)
class Usage:
    """What one command took."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of radiographs; phantoms if left out")
    parser.add_argument("--count", type=int, default=200, help="files per run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, taking turns")
    parser.add_argument("--peer-loop", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer_loop:
        loop_around_pytorch_grad_cam(*options.peer_loop)
        return
    with tempfile.TemporaryDirectory() as temporary:
        measure(options.data, options.count, options.rounds, Path(temporary))


def measure(data: Path | None, count: int, rounds: int, work: Path) -> None:
    """Run both commands in turns and print the tables."""
    films = find_films(data, count, work)
    folder = link(films, count, work / "films")
    ours: list[Usage] = []
    peers: list[Usage] = []
    for number in range(rounds):
        ours.append(run(our_command(folder, work / f"ours-{number}")))
        script = [sys.executable, __file__, "--peer-loop"]
        peers.append(run([*script, str(folder), str(work / f"peer-{number}")]))
    print(f"{count} files, {os.cpu_count()} cores, {date.today()}, median of {rounds}\n")
    print("| command | images/s | CPU ms per image | peak MB |")
    print("| --- | --- | --- | --- |")
    print(row("cxr_gradcam explain", ours, count))
    print(row("pytorch-grad-cam loop", peers, count))
    print(f"| ratio | {ratio(peers, ours, 'seconds')} | {ratio(peers, ours, 'cpu_seconds')} | |\n")
    print("| files | peak MB of cxr_gradcam explain |")
    print("| --- | --- |")
    for times in SIZES:
        more = link(films, count * times, work / f"films-{times}")
        usage = run(our_command(more, work / f"memory-{times}"))
        print(f"| {count * times} | {usage.peak_mb:.0f} |")


def find_films(data: Path | None, count: int, work: Path) -> list[Path]:
    """Return radiographs spread over the data folder, or phantoms."""
    if data is None:
        from cxr_gradcam.phantom import write_phantoms

        return write_phantoms(work / "phantoms", min(count, 40), size=299)
    films = sorted(path for path in data.rglob("*") if path.parent.name == "images")
    step = max(1, len(films) // (count * max(SIZES)))
    return films[::step]


def link(films: Sequence[Path], count: int, folder: Path) -> Path:
    """Make a flat folder of `count` links, repeating films where there are too few."""
    folder.mkdir()
    for number in range(count):
        film = films[number % len(films)]
        (folder / f"{number:06d}{film.suffix}").symlink_to(film.resolve())
    return folder


def our_command(folder: Path, out: Path) -> list[str]:
    """Return the command line measured."""
    module = [sys.executable, "-m", "cxr_gradcam", "explain"]
    return [*module, str(folder), "--out", str(out), "--class", "all", "--device", "cpu"]


def run(command: Sequence[str]) -> Usage:
    """Run a command to its end."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}.")
    seconds = time.perf_counter() - started
    return Usage(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def row(name: str, usages: Sequence[Usage], count: int) -> str:
    """Return a row of medians."""
    seconds = statistics.median(usage.seconds for usage in usages)
    cpu = statistics.median(usage.cpu_seconds for usage in usages)
    peak = max(usage.peak_mb for usage in usages)
    return f"| {name} | {count / seconds:.1f} | {1000 * cpu / count:.0f} | {peak:.0f} |"


def ratio(slow: Sequence[Usage], fast: Sequence[Usage], field: str) -> str:
    """Return the median over the rounds of how many times more the slow one took."""
    pairs = zip(slow, fast, strict=True)
    return f"{statistics.median(getattr(s, field) / getattr(f, field) for s, f in pairs):.1f}x"


def loop_around_pytorch_grad_cam(folder: Path, out: Path) -> None:
    """Do the same work in the way that pytorch-grad-cam's README shows."""
    import cv2
    import torch
    from PIL import Image
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import preprocess_image, show_cam_on_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    from cxr_gradcam.checkpoint import load_checkpoint
    from cxr_gradcam.export import PNG_OPTIONS, class_labels

    checkpoint = load_checkpoint()
    model, size = checkpoint.build_module(), checkpoint.input_size
    assert isinstance(model.features, torch.nn.Module)
    labels = class_labels(checkpoint.class_names)
    mean, std = list(checkpoint.mean), list(checkpoint.std)
    with GradCAM(model=model, target_layers=[model.features.norm5]) as cam:
        for path in sorted(folder.iterdir()):
            picture = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
            height, width = picture.shape[:2]
            small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
            tensor = preprocess_image(small, mean=mean, std=std)
            (out / path.stem).mkdir(parents=True)
            for number, label in enumerate(labels.values()):
                map_ = cam(input_tensor=tensor, targets=[ClassifierOutputTarget(number)])[0]
                heatmap = cv2.resize(map_, (width, height))
                painted = show_cam_on_image(picture, heatmap, use_rgb=True, image_weight=0.55)
                bgr = cv2.cvtColor(painted, cv2.COLOR_RGB2BGR)
                cv2.imwrite(str(out / path.stem / f"overlay-{label}.png"), bgr, PNG_OPTIONS)
                np.save(out / path.stem / f"heatmap-{label}.npy", heatmap)


if __name__ == "__main__":
    main()
