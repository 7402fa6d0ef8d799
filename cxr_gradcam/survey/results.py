"""What is known of a folder's films so far, as one unchanging value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_gradcam.survey.folder import Folder
from cxr_gradcam.survey.look import Floats

NONE = -1  # in place of the index of a class: not known, or no class of the classifier

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Results:
    """Results of N films by a classifier of K classes; a film that waits has zeros.

    Attributes:
        folder: the films, in their order.
        class_names: the classifier's K classes.
        temperature: of its calibration.
        read: bool (N,), true where a film was evaluated.
        logits, probabilities: float32 (N, K).
        familiarity: float32 (N,), NaN where not known.
        familiar: int8 (N,), 1 or 0, -1 where not known.
        errors: film key -> why it cannot be read, one sentence.
    """

    folder: Folder
    class_names: tuple[str, ...]
    temperature: float
    read: Bools
    logits: Floats
    probabilities: Floats
    familiarity: Floats
    familiar: npt.NDArray[np.int8]
    errors: Mapping[str, str]

    @cached_property
    def truth(self) -> Ints:
        """Index of each film's own class, int (N,); NONE where the classifier has no such class."""
        return true_classes(self.folder, self.class_names)

    @cached_property
    def called(self) -> Ints:
        """Index of the class each film was called, int (N,); NONE where not evaluated."""
        return np.where(self.read, self.probabilities.argmax(axis=1), NONE).astype(np.int64)

    @cached_property
    def confidence(self) -> Floats:
        """Probability of the class called, float32 (N,); NaN where not evaluated."""
        return np.where(self.read, self.probabilities.max(axis=1), np.nan).astype(np.float32)

    @cached_property
    def scored(self) -> Bools:
        """Whether a film can be right or wrong: evaluated, and of a class that is known."""
        return np.asarray(self.read & (self.truth != NONE))

    @cached_property
    def right(self) -> Bools:
        """Whether a film was called what it is."""
        return np.asarray(self.scored & (self.called == self.truth))

    def metrics(self, bootstrap: int) -> dict[str, Any] | None:
        """Return the dictionary of `scores.evaluate_logits`; None where nothing is scored."""
        from cxr_gradcam.training.scores import evaluate_logits  # scikit-learn comes slowly

        if not self.scored.any():
            return None
        return evaluate_logits(
            self.logits[self.scored],
            self.truth[self.scored],
            self.class_names,
            temperature=self.temperature,
            bootstrap=bootstrap,
        )


def true_classes(folder: Folder, class_names: tuple[str, ...]) -> Ints:
    """Return the index of each film's own class, int (N,); NONE where it is no class."""
    index = {name: k for k, name in enumerate(class_names)}
    return np.array([index.get(film.label, NONE) for film in folder.films], np.int64)
