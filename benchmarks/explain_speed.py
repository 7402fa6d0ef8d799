"""Speed of one explanation against pytorch-grad-cam, torch-cam, Captum and one bare forward pass.

All start from the same model input and the same weights, and end with one Grad-CAM per class and
layer as NumPy arrays. They take turns, so that whatever else the machine does hits all of them.
Before anything is timed, the maps are compared.

    pip install -r requirements.txt -r benchmarks/requirements.txt
    python benchmarks/explain_speed.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM as PeerGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchcam.methods import GradCAM as TorchcamGradCAM

sys.path.insert(0, str(Path(__file__).parents[1]))

from cxr_gradcam.checkpoint import Checkpoint, load_checkpoint
from cxr_gradcam.classifier import Classifier
from cxr_gradcam.densenet import LAST_LAYER, MAIN_LAYERS
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.radiograph import Radiograph

INPUT_SIZE = 224
OURS = "CXR Grad-CAM"
BARE = "one bare forward pass"
Maps = dict[tuple[int, str], np.ndarray]
Contestant = Callable[[tuple[str, ...]], Maps]


def main() -> None:
    """Compare the maps, then measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="turns each")
    rounds = parser.parse_args().rounds
    checkpoint = replace(load_checkpoint(), input_size=INPUT_SIZE)
    explainer = Explainer(Classifier(checkpoint))
    radiograph = draw_phantom("COVID", seed=0).radiograph
    model_input = explainer.model_input(radiograph)
    contestants: dict[str, Contestant] = {
        OURS: ours(explainer, radiograph),
        "pytorch-grad-cam": pytorch_grad_cam(checkpoint, model_input),
        "torch-cam, a pass per class": torch_cam(checkpoint, model_input),
        "torch-cam, one pass, graph retained": torch_cam(checkpoint, model_input, share=True),
        "Captum": captum(checkpoint, model_input),
    }
    bare = bare_forward_pass(checkpoint, model_input)
    print(
        f"{date.today()}, {os.cpu_count()} cores, {torch.get_num_threads()} PyTorch threads, "
        f"PyTorch {torch.__version__}, {INPUT_SIZE} px, median of {rounds}\n"
    )
    compare_maps(contestants)
    for title, layers in (
        ("4 classes at the last layer", (LAST_LAYER,)),
        ("4 classes x 5 layers", MAIN_LAYERS),
    ):
        runs = {name: partial(run, layers) for name, run in contestants.items()}
        print_table(title, take_turns({**runs, BARE: bare}, rounds))


# Each returns what is timed; models and hooks are made before. A peer hooks its model for good and
# expects it as torchvision makes it: contiguous, with trainable weights.


def ours(explainer: Explainer, radiograph: Radiograph) -> Contestant:
    """Everything by one forward pass."""
    names = explainer.classifier.class_names

    def run(layers: tuple[str, ...]) -> Maps:
        explanation = explainer.explain(radiograph, layers)
        return {(k, at): explanation.cam(name, at) for k, name in enumerate(names) for at in layers}

    return run


def pytorch_grad_cam(checkpoint: Checkpoint, model_input: torch.Tensor) -> Contestant:
    """One call per map: several layers in one call come out as their mean."""
    cams = {}
    for layer in MAIN_LAYERS:
        model = checkpoint.build_module()
        cams[layer] = PeerGradCAM(model, [model.get_submodule(layer)])

    def run(layers: tuple[str, ...]) -> Maps:
        return {
            (k, at): cams[at](model_input, [ClassifierOutputTarget(k)])[0]
            for k in range(len(checkpoint.class_names))
            for at in layers
        }

    return run


def torch_cam(
    checkpoint: Checkpoint, model_input: torch.Tensor, *, share: bool = False
) -> Contestant:
    """One forward pass and one way back per class; with `share`, one forward pass for them all.

    The first is the plain use; the second its best, open to who knows of `retain_graph`.
    """
    classes = len(checkpoint.class_names)
    hooked: dict[tuple[str, ...], tuple[torch.nn.Module, TorchcamGradCAM]] = {}
    for layers in ((LAST_LAYER,), MAIN_LAYERS):
        model = checkpoint.build_module()
        hooked[layers] = model, TorchcamGradCAM(model, list(layers))

    def run(layers: tuple[str, ...]) -> Maps:
        model, extractor = hooked[layers]
        maps: Maps = {}
        for k in range(classes):
            if k == 0 or not share:
                scores = model(model_input)
            retain = share and k < classes - 1
            cams = extractor(k, scores, normalized=False, retain_graph=retain)
            maps |= {(k, at): cam[0].numpy() for at, cam in zip(layers, cams, strict=True)}
        return maps

    return run


def captum(checkpoint: Checkpoint, model_input: torch.Tensor) -> Contestant:
    """One call per map."""
    model = checkpoint.build_module()
    cams = {layer: LayerGradCam(model, model.get_submodule(layer)) for layer in MAIN_LAYERS}

    def run(layers: tuple[str, ...]) -> Maps:
        return {
            (k, at): cams[at]
            .attribute(model_input, target=k, relu_attributions=True)[0, 0]
            .detach()
            .numpy()
            for k in range(len(checkpoint.class_names))
            for at in layers
        }

    return run


def bare_forward_pass(checkpoint: Checkpoint, model_input: torch.Tensor) -> Callable[[], object]:
    """The same torchvision model, predicting only."""
    model = checkpoint.build_module()

    def run() -> object:
        with torch.inference_mode():
            return model(model_input)

    return run


def compare_maps(contestants: dict[str, Contestant]) -> None:
    """Print the largest difference of any peer's map from ours, after the same scaling.

    At the last layer a difference is expected: torchvision's ReLU works in place on what the peers
    hooked there, and they gate the gradient by it (see cxr_gradcam/densenet.py).
    """
    ours = contestants[OURS](MAIN_LAYERS)
    print("| largest difference from ours | " + " | ".join(MAIN_LAYERS) + " |")
    print("| --- |" + " ---: |" * len(MAIN_LAYERS))
    for name, run in contestants.items():
        if name == OURS:
            continue
        theirs = run(MAIN_LAYERS)
        worst = [
            max(difference(ours[key], theirs[key]) for key in ours if key[1] == layer)
            for layer in MAIN_LAYERS
        ]
        print(f"| {name} | " + " | ".join(f"{value:.0e}" for value in worst) + " |")
    print()


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference of two maps, both scaled to [0, 1] and of the larger's size."""
    if ours.shape != theirs.shape:  # pytorch-grad-cam scales first, then resizes to the input
        ours = cv2.resize(scaled(ours), theirs.shape[::-1])
    return float(np.abs(scaled(ours) - scaled(theirs)).max())


def scaled(cam: np.ndarray) -> np.ndarray:
    """Return a map from its minimum to its maximum, as pytorch-grad-cam does."""
    span = cam.max() - cam.min()
    return (cam - cam.min()) / span if span > 0 else np.zeros_like(cam)


def take_turns(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each run."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 2):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn >= 2:  # the first two turns warm up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_table(title: str, seconds: dict[str, float]) -> None:
    """Print milliseconds and the ratio to ours."""
    print(f"| {title} | ms | times ours |\n| --- | ---: | ---: |")
    for name, value in seconds.items():
        print(f"| {name} | {value * 1e3:.0f} | {value / seconds[OURS]:.2f} |")
    print(f"\nOurs takes {seconds[OURS] / seconds[BARE]:.2f} of one bare forward pass.\n")


if __name__ == "__main__":
    main()
