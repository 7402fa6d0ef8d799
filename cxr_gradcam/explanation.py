"""What one look at one radiograph gives: probabilities, CAMs and evidence, and no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cxr_gradcam.cam import METHODS
from cxr_gradcam.densenet import MAIN_LAYERS
from cxr_gradcam.preprocess import Letterbox

Scale = Literal["each", "shared"]


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Everything that one look at one radiograph gives: no network, no picture; arrays read-only.

    Attributes:
        logits: class name -> score before softmax, for every class of the checkpoint.
        probabilities: class name -> calibrated probability.
        predicted: the most probable class.
        classes: the classes that have CAMs, in the checkpoint's order.
        layers: the layers that have CAMs, as asked for.
        method: key of `cam.METHODS`.
        contrast: the class r of "why c rather than r", or None.
        letterbox: how the radiograph lay in the model input.
        biases: class name -> the part of the logit that no place in the picture gave.
        familiarity: in [0, 1], how much the picture looks like the training films: the share of
            validation films that look as strange or stranger. None if the checkpoint cannot tell,
            as a number would be a claim.
        familiar: the verdict on it; None if the checkpoint cannot tell. Below 1% (99% of validation
            films pass) the picture is likely no chest radiograph, and neither probabilities nor
            maps mean what they say.
    """

    logits: Mapping[str, float]
    probabilities: Mapping[str, float]
    predicted: str
    classes: tuple[str, ...]
    layers: tuple[str, ...]
    method: str
    contrast: str | None
    letterbox: Letterbox
    biases: Mapping[str, float]
    familiarity: float | None
    familiar: bool | None
    _cams: Mapping[tuple[str, str], np.ndarray]
    _evidence: Mapping[str, np.ndarray]

    def __repr__(self) -> str:
        """What was said and what was asked; no arrays."""
        rather = "" if self.contrast is None else f" rather than {self.contrast}"
        return (
            f"Explanation({self.predicted} {self.probabilities[self.predicted]:.1%}; {self.method} "
            f"of {', '.join(self.classes)}{rather} at {', '.join(self.layers)})"
        )

    @property
    def unit(self) -> str:
        """What the numbers of the CAMs are: "logits" or "activation"."""
        return METHODS[self.method].unit

    def cam(self, class_name: str, layer: str | None = None) -> np.ndarray:
        """Return the CAM, float32 (h, w), read-only, in the method's units, never negative.

        Args:
            class_name: one of `classes`.
            layer: one of `layers`; the first of them by default.

        Raises:
            ValueError: when this explanation has no such class or layer.
        """
        layer = self.layers[0] if layer is None else layer
        check_known("class", class_name, self.classes)
        check_known("layer", layer, self.layers)
        return self._cams[class_name, layer]

    def evidence(self, class_name: str) -> np.ndarray:
        """Return what every cell of the last layer adds to the logit, float32 (h, w), signed.

        In logit units, read-only, and complete: its sum plus `biases[class_name]` is the logit. The
        map of Zhou 2016 (arXiv 1512.04150) before any scaling.

        Raises:
            ValueError: when the checkpoint has no such class.
        """
        check_known("class", class_name, tuple(self._evidence))
        return self._evidence[class_name]

    def heatmap(
        self, class_name: str, layer: str | None = None, scale: Scale = "each"
    ) -> np.ndarray:
        """Return the CAM on the radiograph's pixels, float32 (H, W) in [0, 1].

        A CAM without positive evidence gives zeros everywhere.

        Args:
            class_name: one of `classes`.
            layer: one of `layers`; the first of them by default.
            scale: "each" divides by the map's own maximum, "shared" by the common maximum of all
                explained classes at this layer, so that they can be compared.

        Raises:
            ValueError: when this explanation has no such class or layer, or for another scale.
        """
        check_known("scale", scale, ("each", "shared"))
        heatmap = self.letterbox.restore(self.cam(class_name, layer))
        top = heatmap.max() if scale == "each" else np.float32(self.peak(class_name, layer, scale))
        if top <= 0:
            return np.zeros_like(heatmap)
        heatmap /= top
        np.minimum(heatmap, 1, out=heatmap)  # rounding must not carry it past 1
        return heatmap

    def peak(self, class_name: str, layer: str | None = None, scale: Scale = "each") -> float:
        """Return the value, in the method's units, that a heatmap's 1.0 stands for; 0 if none.

        It is the maximum over the radiograph itself: heat in the padding is not counted.

        Raises:
            ValueError: as `heatmap`.
        """
        check_known("scale", scale, ("each", "shared"))
        layer = self.layers[0] if layer is None else layer
        cam = self.cam(class_name, layer)
        if scale == "shared":
            return max(self.peak(name, layer) for name in self.classes)
        return self.letterbox.highest(cam)


def check_known(kind: str, name: str, known: tuple[str, ...]) -> None:
    """Raise a ValueError that lists what there is, when `name` is not among it."""
    if name not in known:
        many = kind == "layer" and len(known) > 12
        listed = (*MAIN_LAYERS, "or a module inside them") if many else known
        raise ValueError(f"There is no {kind} {name!r} here: choose one of {', '.join(listed)}.")
