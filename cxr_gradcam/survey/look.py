"""One look at several films: what the classifier says of each, and where it finds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt

from cxr_gradcam.explainer import Explainer
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.radiograph import Radiograph, radiograph_or_reason
from cxr_gradcam.survey.folder import Film

SQUARE = 64  # side of the common square on which films and heatmaps are averaged
_UNKNOWN = -1  # familiarity of a checkpoint that cannot tell

Floats = npt.NDArray[np.float32]
Read = Radiograph | str


@dataclass(frozen=True, eq=False)
class Looks:
    """What was found in N films by a classifier of K classes.

    A film that cannot be read has a reason in `errors` and zeros in all other arrays.

    Attributes:
        keys: str (N,), `Film.key`.
        stamps: int64 (N, 2), `Film.stamp`.
        errors: str (N,), why a film cannot be read, one sentence; else "".
        logits: float32 (N, K).
        probabilities: float32 (N, K), calibrated.
        familiarity: float32 (N,), NaN where the checkpoint cannot tell.
        familiar: int8 (N,), 1 or 0, -1 where the checkpoint cannot tell.
        shapes: int32 (N, 2), height and width of the film.
        cams: float32 (N, 2, h, w), at the last layer, of the film's label and of the predicted
            class; zeros for a label that is no class of the classifier.
        pictures: uint8 (N, SQUARE, SQUARE), the film itself, stretched to the square.
    """

    keys: npt.NDArray[np.str_]
    stamps: npt.NDArray[np.int64]
    errors: npt.NDArray[np.str_]
    logits: Floats
    probabilities: Floats
    familiarity: Floats
    familiar: npt.NDArray[np.int8]
    shapes: npt.NDArray[np.int32]
    cams: Floats
    pictures: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        """Return the number of films."""
        return len(self.keys)

    def only(self, kept: npt.NDArray[np.bool_]) -> Looks:
        """Return the films where `kept`, bool (N,), is true."""
        return Looks(**{one.name: getattr(self, one.name)[kept] for one in fields(self)})

    def readable(self) -> Looks:
        """Return the films that could be read."""
        return self.only(self.errors == "")

    @staticmethod
    def together(parts: Sequence[Looks]) -> Looks:
        """Return all films of several looks, one at least, in their order."""
        return Looks(
            **{
                one.name: np.concatenate([getattr(part, one.name) for part in parts])
                for one in fields(Looks)
            }
        )


def read_film(film: Film) -> Read:
    """Read a film, or return the sentence that says why it cannot be read."""
    return radiograph_or_reason(film.path)


def look_at(explainer: Explainer, films: Sequence[Film], read: Sequence[Read]) -> Looks:
    """Look at films by one forward pass, each as `Explainer.explain` would.

    Args:
        explainer: with the classifier to ask.
        films: one at least.
        read: what `read_film` gave for each.
    """
    names = explainer.classifier.class_names
    radiographs = [one for one in read if isinstance(one, Radiograph)]
    explanations = explainer.explain_batch(radiographs)
    good = [i for i, one in enumerate(read) if isinstance(one, Radiograph)]
    cells = explanations[0].evidence(names[0]).shape if explanations else (1, 1)
    count = len(films)
    looks = Looks(
        keys=np.array([film.key for film in films]),
        stamps=np.array([film.stamp for film in films], np.int64),
        errors=np.array([one if isinstance(one, str) else "" for one in read]),
        logits=np.zeros((count, len(names)), np.float32),
        probabilities=np.zeros((count, len(names)), np.float32),
        familiarity=np.full(count, np.nan, np.float32),
        familiar=np.full(count, _UNKNOWN, np.int8),
        shapes=np.zeros((count, 2), np.int32),
        cams=np.zeros((count, 2, *cells), np.float32),
        pictures=np.zeros((count, SQUARE, SQUARE), np.uint8),
    )
    for i, radiograph, explanation in zip(good, radiographs, explanations, strict=True):
        _put(looks, i, films[i].label, radiograph, explanation)
    return looks


def _put(
    looks: Looks, i: int, label: str, radiograph: Radiograph, explanation: Explanation
) -> None:
    looks.logits[i] = list(explanation.logits.values())
    looks.probabilities[i] = list(explanation.probabilities.values())
    if explanation.familiarity is not None and explanation.familiar is not None:
        looks.familiarity[i] = explanation.familiarity
        looks.familiar[i] = explanation.familiar
    looks.shapes[i] = radiograph.height, radiograph.width
    if label in explanation.classes:
        looks.cams[i, 0] = explanation.cam(label)
    looks.cams[i, 1] = explanation.cam(explanation.predicted)
    looks.pictures[i] = squared(radiograph)


def squared(radiograph: Radiograph) -> npt.NDArray[np.uint8]:
    """Return the film stretched to the common square, uint8 (SQUARE, SQUARE)."""
    small = cv2.resize(radiograph.pixels, (SQUARE, SQUARE), interpolation=cv2.INTER_AREA)
    return np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
