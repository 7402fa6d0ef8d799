"""How often the heat of a checkpoint lies where a phantom's lesion was planted, layer by layer.

The phantoms are drawn anew from seeds that training never uses. The heat is that of the phantom's
own class, whatever the checkpoint takes it for.

    python benchmarks/localisation.py --count 200 --checkpoint runs/NAME/best.safetensors
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from cxr_gradcam.cam import METHODS
from cxr_gradcam.checkpoint import BUNDLED_CHECKPOINT
from cxr_gradcam.classifier import load_classifier
from cxr_gradcam.densenet import MAIN_LAYERS
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.localisation import Localisation, localise
from cxr_gradcam.phantom import CLASS_NAMES, draw_phantom

Scores = dict[tuple[str, str], list[Localisation]]  # by layer and class


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="phantoms, the classes in turn")
    parser.add_argument("--seed", type=int, default=10_000, help="of the first phantom")
    parser.add_argument("--size", type=int, default=256, help="side in pixels")
    parser.add_argument("--method", choices=METHODS, default="gradcam")
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED_CHECKPOINT)
    options = parser.parse_args()
    explainer = Explainer(load_classifier(options.checkpoint))
    right: dict[str, list[bool]] = defaultdict(list)
    scores: Scores = defaultdict(list)
    for i in range(options.count):
        label = CLASS_NAMES[i % len(CLASS_NAMES)]
        phantom = draw_phantom(label, options.seed + i, options.size)
        said = explainer.explain(phantom.radiograph, MAIN_LAYERS, [label], options.method)
        right[label].append(said.predicted == label)
        if phantom.lesion_mask.any():
            for layer in MAIN_LAYERS:
                heatmap = said.heatmap(label, layer)
                scores[layer, label].append(localise(heatmap, phantom.lesion_mask))
    report_accuracy(right)
    report_places(scores)


def report_accuracy(right: dict[str, list[bool]]) -> None:
    """Print how many phantoms were told right, by class."""
    print("| phantoms | n | right |\n| --- | ---: | ---: |")
    for label, answers in right.items():
        print(f"| {label} | {len(answers)} | {np.mean(answers):.1%} |")
    every = np.concatenate(list(right.values()))
    print(f"| all | {len(every)} | {every.mean():.1%} |\n")


def report_places(scores: Scores) -> None:
    """Print the pointing game by layer and class, and the layer that plays it best."""
    classes = list(dict.fromkeys(label for _, label in scores))
    print(f"| peak inside the lesion | {' | '.join(classes)} | all | heat inside | best IoU |")
    print("| --- |" + " ---: |" * (len(classes) + 3))
    overall = {}
    for layer in MAIN_LAYERS:
        hits = [np.mean([one.hit for one in scores[layer, label]]) for label in classes]
        every = [one for label in classes for one in scores[layer, label]]
        overall[layer] = float(np.mean([one.hit for one in every]))
        inside = np.mean([one.inside for one in every])
        iou = np.mean([one.iou for one in every])
        cells = " | ".join(f"{hit:.1%}" for hit in [*hits, overall[layer]])
        print(f"| {layer} | {cells} | {inside:.1%} | {iou:.2f} |")
    area = np.mean([one.area for found in scores.values() for one in found])
    print(f"\nBest layer: {max(overall, key=overall.__getitem__)}. The lesions cover {area:.1%}.")


if __name__ == "__main__":
    main()
