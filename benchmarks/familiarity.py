"""How well a checkpoint tells chest films from pictures that are none.

Films at home are the test images of a run (or all of a folder that the checkpoint never saw) and
fresh phantoms. Strangers are photographs that ship inside Python packages, whole and cropped,
noise, text pages, and the same films turned, inverted and mirrored.

    pip install -r requirements.txt -r benchmarks/requirements.txt
    python benchmarks/familiarity.py --data DIR --split test --checkpoint runs/NAME/best.safetensors
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).parents[1]))

from cxr_gradcam.checkpoint import BUNDLED_CHECKPOINT
from cxr_gradcam.classifier import load_classifier
from cxr_gradcam.dataset import DatasetError
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import CLASS_NAMES, draw_phantom
from cxr_gradcam.radiograph import Radiograph, load_radiograph
from cxr_gradcam.training.evaluation import find_samples

# Package -> photographs inside it. Packages that are not installed are left out.
SHIPPED = {
    "skimage/data": "astronaut.png brick.png camera.png cell.png chelsea.png clock_motion.png "
    "coffee.png coins.png grass.png gravel.png hubble_deep_field.jpg ihc.png moon.png "
    "motorcycle_left.png retina.jpg rocket.jpg",
    "sklearn/datasets/images": "china.jpg flower.jpg",
    "matplotlib/mpl-data/sample_data": "grace_hopper.jpg",
    "gradio/media_assets/images": "cheetah.jpg cheetah1.jpg groot.jpeg lion.jpg tower.jpg",
    "mahotas/demos/data": "DepartmentStore.jpg lena.jpg luispedro.jpg nuclear.png",
    "ultralytics/assets": "bus.jpg zidane.jpg",
}
WORDS = ("lungs", "clear", "heart", "size", "is", "normal", "no", "acute", "findings", "invoice")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--split", help="test, as train.py split it; every image if left out")
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED_CHECKPOINT)
    parser.add_argument("--count", type=int, default=600, help="films at home; a quarter is turned")
    options = parser.parse_args()
    explainer = Explainer(load_classifier(options.checkpoint))
    try:
        samples = find_samples(options.data, options.split, options.checkpoint.parent)
    except DatasetError as error:
        parser.error(str(error))
    order = np.random.default_rng(0).permutation(len(samples))[: options.count]
    films = [load_radiograph(samples[i].path) for i in order]
    home = familiarities(explainer, iter(films))
    print(f"films at home: {len(home)}, familiar {(home >= threshold(explainer)).mean():.1%}\n")
    print("| pictures | n | called strange | median | AUROC against films |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for kind, pictures in kinds(films[: len(films) // 4]).items():
        found = familiarities(explainer, pictures)
        told = roc_auc_score(np.r_[np.ones_like(home), np.zeros_like(found)], np.r_[home, found])
        strange = (found < threshold(explainer)).mean()
        print(
            f"| {kind} | {len(found)} | {strange:.1%} | {np.median(found):.3f} | {told:.4f} |",
            flush=True,
        )


def threshold(explainer: Explainer) -> float:
    """Return the checkpoint's own threshold."""
    known = explainer.classifier.familiarity
    if known is None:
        raise SystemExit("This checkpoint has no statistics of familiarity: train it again.")
    return known.threshold


def familiarities(explainer: Explainer, pictures: Iterator[Radiograph]) -> np.ndarray:
    """Return the familiarity of each picture, (N,)."""
    found = [explainer.explain(picture).familiarity for picture in pictures]
    return np.array([np.nan if one is None else one for one in found])


def kinds(films: list[Radiograph]) -> dict[str, Iterator[Radiograph]]:
    """Return pictures by kind; phantoms first, then strangers."""

    def changed(change: Callable[[np.ndarray], np.ndarray]) -> Iterator[Radiograph]:
        return (Radiograph.from_array(change(film.pixels), name=film.name) for film in films)

    return {
        "phantoms": (
            draw_phantom(CLASS_NAMES[i % 4], 1_000_000 + i).radiograph for i in range(100)
        ),
        "films mirrored": changed(lambda pixels: pixels[:, ::-1]),
        "photographs": photographs(crops=0),
        "photographs, cropped": photographs(crops=6),
        "noise": noise(20),
        "text pages": pages(100),
        "films inverted": changed(lambda pixels: 1 - pixels),
        "films turned by 90": changed(np.rot90),
        "films turned by 180": changed(lambda pixels: np.rot90(pixels, 2)),
        "films turned by 270": changed(lambda pixels: np.rot90(pixels, 3)),
    }


def photographs(crops: int) -> Iterator[Radiograph]:
    """Give every photograph whole, or so many random squares of each."""
    rng = np.random.default_rng(0)
    for folder, names in SHIPPED.items():
        package, _, inside = folder.partition("/")
        found = find_spec(package)
        if found is None or found.origin is None:
            continue
        for name in names.split():
            picture = load_radiograph(Path(found.origin).parent / inside / name)
            if not crops:
                yield picture
            for _ in range(crops):
                side = int(min(picture.height, picture.width) * rng.uniform(0.35, 0.95))
                top = rng.integers(picture.height - side + 1)
                left = rng.integers(picture.width - side + 1)
                square = picture.pixels[top : top + side, left : left + side]
                yield Radiograph.from_array(square, name=name)


def noise(count: int) -> Iterator[Radiograph]:
    """Give so many of each of seven kinds."""
    rng = np.random.default_rng(1)
    far = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256))
    far[0, 0] = 1
    for _ in range(count):
        pink = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(256, 256))) / far ** rng.uniform(0.5, 2))
        for pixels in (
            rng.random((256, 256)),
            rng.normal(rng.uniform(0.3, 0.7), rng.uniform(0.03, 0.3), (256, 256)).clip(0, 1),
            (rng.random((256, 256)) < rng.uniform(0.02, 0.5)).astype(float),
            (pink - pink.min()) / np.ptp(pink),
            cv2.GaussianBlur(rng.random((256, 256)), (0, 0), rng.uniform(1, 6)),
            np.kron(rng.random((8, 8)), np.ones((32, 32))),
            (np.add.outer(np.arange(256), np.arange(256)) // rng.integers(4, 40) % 2).astype(float),
        ):
            yield Radiograph.from_array(np.asarray(pixels, np.float64), name="noise")


def pages(count: int) -> Iterator[Radiograph]:
    """Give pages of text, three in ten white on black."""
    rng = np.random.default_rng(2)
    for _ in range(count):
        width, height = (int(side) for side in rng.integers((300, 300), (900, 1100)))
        paper, ink = (20, 240) if rng.random() < 0.3 else (250, 10)
        page = Image.new("L", (width, height), paper)
        size = int(rng.integers(9, 30))
        pen, font = ImageDraw.Draw(page), ImageFont.load_default(size)
        for top in range(20, height - 20, int(size * 1.4)):
            if rng.random() < 0.85:
                line = " ".join(rng.choice(WORDS, max(1, width // (3 * size))))
                pen.text((20, top), line, ink, font)
        yield Radiograph.from_array(np.asarray(page) / 255, name="page")


if __name__ == "__main__":
    main()
