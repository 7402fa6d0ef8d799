"""One look at one radiograph: a single forward pass that explains any classes at any layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cxr_gradcam.cam import METHODS, scorecam
from cxr_gradcam.classifier import Classifier
from cxr_gradcam.densenet import LAST_LAYER, Pass
from cxr_gradcam.explanation import Explanation, check_known
from cxr_gradcam.familiarity import pooled
from cxr_gradcam.preprocess import Letterbox, to_model_input
from cxr_gradcam.radiograph import Radiograph

Progress = Callable[[float], None]

_NO_RADIOGRAPH = "load_radiograph reads a file, Radiograph.from_array takes pixels."


@dataclass(frozen=True)
class Question:
    """One thing to ask of a forward pass; any number of them share it in `Explainer.compare`.

    What it names is checked when it is asked.

    Attributes:
        method: a key of `cam.METHODS`.
        classes: the classes to explain; None for all (but the contrast).
        contrast: a class r: explain y_c - y_r, why c rather than r. Gradient methods only.
    """

    method: str = "gradcam"
    classes: Sequence[str] | None = None
    contrast: str | None = None


class Explainer:
    """Explains radiographs with one classifier. Holds no state: share it between threads freely."""

    def __init__(self, classifier: Classifier) -> None:
        """Take the classifier to explain.

        Raises:
            TypeError: when it is another kind of network.
        """
        if not isinstance(classifier, Classifier):
            raise TypeError(
                f"A {type(classifier).__name__} is no Classifier: load_classifier reads one, a "
                "DenseNet-121, from a checkpoint."
            )
        self.classifier = classifier

    def model_input(self, radiograph: Radiograph) -> Tensor:
        """Return exactly what the network sees: float32 (1, 3, S, S), letterboxed, normalised.

        Raises:
            TypeError: when it is no radiograph.
        """
        _check_type(radiograph, Radiograph, _NO_RADIOGRAPH)
        return to_model_input(
            radiograph, self._letterbox(radiograph), self.classifier.mean, self.classifier.std
        )

    def explain(
        self,
        radiograph: Radiograph,
        layers: Sequence[str] = (LAST_LAYER,),
        classes: Sequence[str] | None = None,
        method: str = "gradcam",
        *,
        contrast: str | None = None,
        progress: Progress | None = None,
    ) -> Explanation:
        """Explain one radiograph by one forward pass (Score-CAM alone needs more).

        Args:
            radiograph: the picture, any size.
            layers: names from `classifier.layers`.
            classes: class names to explain; None for all of them (but the contrast).
            method: a key of `cam.METHODS`.
            contrast: a class r: explain y_c - y_r, why c rather than r. Gradient methods only.
            progress: called with the share of Score-CAM's passes done, from 0 to 1.

        Returns:
            Logits and probabilities of all classes, and a CAM per class and layer asked for.

        Raises:
            ValueError: for an unknown layer, class or method, or a contrast that cannot be.
            TypeError: when it is no radiograph.
        """
        return self.explain_batch(
            [radiograph], layers, classes, method, contrast=contrast, progress=progress
        )[0]

    def explain_batch(
        self,
        radiographs: Sequence[Radiograph],
        layers: Sequence[str] = (LAST_LAYER,),
        classes: Sequence[str] | None = None,
        method: str = "gradcam",
        *,
        contrast: str | None = None,
        progress: Progress | None = None,
    ) -> list[Explanation]:
        """Explain several radiographs, each as `explain` would.

        At the last layer they share one forward pass. Gradients at earlier layers go one radiograph
        at a time: the way back keeps every activation, and a batch of them would fill the memory.

        Args:
            radiographs: as many as fit into memory, about 9 MB each at 224 px; each of any size.
            layers, classes, method, contrast, progress: as `explain` takes them.

        Returns:
            An explanation per radiograph, in their order.

        Raises:
            ValueError, TypeError: as `explain`; nothing is explained then.
        """
        question = Question(method, classes, contrast)
        return [answer for (answer,) in self._answer(radiographs, layers, [question], progress)]

    def compare(
        self,
        radiograph: Radiograph,
        questions: Sequence[Question],
        layers: Sequence[str] = (LAST_LAYER,),
        *,
        progress: Progress | None = None,
    ) -> list[Explanation]:
        """Answer several questions about one radiograph by one forward pass.

        Methods that ask for the same classes and contrast share one way back, too. Every answer is
        bit for bit what `explain` gives for that question and these layers alone.

        Args:
            radiograph: what to explain.
            questions: which methods, classes and contrasts.
            layers: names from `classifier.layers`, the same for all questions.
            progress: called with the share of all Score-CAM's passes done, from 0 to 1.

        Returns:
            One explanation per question, in their order.

        Raises:
            ValueError, TypeError: as `explain`, for any of the questions.
        """
        return self._answer([radiograph], layers, questions, progress)[0]

    def _answer(
        self,
        radiographs: Sequence[Radiograph],
        layers: Sequence[str],
        questions: Sequence[Question],
        progress: Progress | None,
    ) -> list[list[Explanation]]:
        """Return for every radiograph one explanation per question."""
        radiographs = list(radiographs)
        for one in radiographs:
            _check_type(one, Radiograph, _NO_RADIOGRAPH)
        for question in questions:
            _check_type(question, Question, "give a list of Question(method, classes, contrast).")
        layers = self._checked_layers(layers)
        requests = [self._request(question) for question in questions]
        way_back = set(layers) != {LAST_LAYER} and any(one.gradients for one in requests)
        batches = [[radiograph] for radiograph in radiographs] if way_back else [radiographs]
        return [
            answers
            for batch in batches
            if batch
            for answers in self._answer_together(batch, layers, requests, way_back, progress)
        ]

    def _checked_layers(self, layers: Sequence[str]) -> tuple[str, ...]:
        layers = (layers,) if isinstance(layers, str) else tuple(dict.fromkeys(layers))
        if not layers:
            raise ValueError("No layer to explain: name at least one.")
        for layer in layers:
            check_known("layer", layer, self.classifier.layers)
        return layers

    def _request(self, question: Question) -> _Request:
        """Check what was asked for and fill in what was left open."""
        method, classes, contrast = question.method, question.classes, question.contrast
        if classes is not None:
            classes = (classes,) if isinstance(classes, str) else tuple(classes)
        names = self.classifier.class_names
        check_known("method", method, tuple(METHODS))
        for name in (*(classes or ()), *([] if contrast is None else [contrast])):
            check_known("class", name, names)
        if contrast is not None and METHODS[method].needs != "gradient":
            raise ValueError(
                f"{METHODS[method].label} has no gradient to contrast two classes with: "
                "choose a gradient method, such as gradcam."
            )
        if contrast is not None and contrast in (classes or ()):
            raise ValueError(f"{contrast} cannot be contrasted with itself: leave it out.")
        chosen = tuple(
            name for name in names if (name != contrast if classes is None else name in classes)
        )
        if not chosen:
            raise ValueError("No class to explain: name at least one, or None for all.")
        return _Request(method, chosen, contrast)

    def _answer_together(
        self,
        radiographs: Sequence[Radiograph],
        layers: tuple[str, ...],
        requests: Sequence[_Request],
        way_back: bool,
        progress: Progress | None,
    ) -> list[list[Explanation]]:
        """Answer all requests about all radiographs by one forward pass."""
        network, known = self.classifier.network, self.classifier.familiarity
        inputs = torch.cat([self.model_input(one) for one in radiographs]).to(network.weight)
        run = network.forward(
            inputs, layers, way_back=way_back, beside=known.layer if known else ""
        )
        maps = self._maps(run, inputs, layers, tuple(dict.fromkeys(requests)), progress)
        return [
            [
                blank(
                    classes=request.classes,
                    layers=layers,
                    method=request.method,
                    contrast=request.contrast,
                    _cams={
                        (name, layer): _read_only(maps[request][layer][i, k])
                        for layer in layers
                        for k, name in enumerate(request.classes)
                    },
                )
                for request in requests
            ]
            for i, blank in enumerate(self._blanks(run, radiographs))
        ]

    def _blanks(
        self, run: Pass, radiographs: Sequence[Radiograph]
    ) -> Iterator[partial[Explanation]]:
        """Yield for every radiograph an explanation that lacks only what was asked for."""
        names, network = self.classifier.class_names, self.classifier.network
        with torch.inference_mode():
            logits = run.logits.cpu()
            probabilities = self.classifier.probabilities(logits)
            evidence = network.evidence(run).cpu().numpy()
            looks = self._look_familiar(run)
        biases = dict(zip(names, network.bias.tolist(), strict=True))
        for i, radiograph in enumerate(radiographs):
            by_class = dict(zip(names, probabilities[i].tolist(), strict=True))
            familiarity, familiar = looks[i]
            yield partial(
                Explanation,
                logits=dict(zip(names, logits[i].tolist(), strict=True)),
                probabilities=by_class,
                predicted=max(by_class, key=by_class.__getitem__),
                letterbox=self._letterbox(radiograph),
                biases=biases,
                familiarity=familiarity,
                familiar=familiar,
                _evidence={name: _read_only(evidence[i, k]) for k, name in enumerate(names)},
            )

    def _look_familiar(self, run: Pass) -> list[tuple[float, bool]] | list[tuple[None, None]]:
        """Tell how much each picture looks like the training films, and whether that is enough."""
        known = self.classifier.familiarity
        if known is None:
            return [(None, None)] * len(run.logits)
        features = pooled(run.activations[known.layer], known.bands).float().cpu().numpy()
        shares = [known.score(one) for one in features]
        return [(share, share >= known.threshold) for share in shares]

    def _maps(
        self,
        run: Pass,
        inputs: Tensor,
        layers: tuple[str, ...],
        requests: Sequence[_Request],
        progress: Progress | None,
    ) -> dict[_Request, dict[str, np.ndarray]]:
        """Return request -> layer -> CAMs, float32 (N, classes, h, w)."""
        maps: dict[_Request, dict[str, np.ndarray]] = {}
        costly = sum(METHODS[request.method].needs == "passes" for request in requests)
        parts = _parts(progress, costly * len(layers) * len(inputs))
        # One set of gradients at a time: those of all layers and classes fill tens of megabytes.
        for wanted in dict.fromkeys(request.gradients for request in requests):
            gradients = self._gradients(run, *wanted) if wanted else {}
            for request in requests:
                if request.gradients == wanted:
                    maps[request] = {
                        layer: self._cams(run, inputs, layer, request, gradients, parts)
                        for layer in layers
                    }
        return maps

    def _gradients(
        self, run: Pass, classes: tuple[str, ...], contrast: str | None
    ) -> dict[str, Tensor]:
        """Go back through the network once: layer -> (classes, C, h, w)."""
        network, names = self.classifier.network, self.classifier.class_names
        cotangents = torch.eye(len(names)).to(network.weight)
        rows = cotangents[[names.index(name) for name in classes]]
        if contrast is not None:
            rows = rows - cotangents[names.index(contrast)]
        return network.gradients(run, rows)

    def _cams(
        self,
        run: Pass,
        inputs: Tensor,
        layer: str,
        request: _Request,
        gradients: dict[str, Tensor],
        parts: Iterator[Progress | None],
    ) -> np.ndarray:
        """Return the CAMs of one request at one layer, float32 (N, classes, h, w)."""
        method = METHODS[request.method]
        rows = [self.classifier.class_names.index(name) for name in request.classes]
        cams = []
        with torch.inference_mode():
            for i in range(len(inputs)):
                activation = run.activations[layer][i : i + 1]
                if method.needs == "gradient":
                    cams.append(method.function(activation, gradients[layer]))
                elif method.needs == "activation":
                    cams.append(method.function(activation).expand(len(rows), -1, -1))
                else:
                    of_all = scorecam(
                        activation, inputs[i : i + 1], self._score, progress=next(parts)
                    )
                    cams.append(of_all[rows])
            return torch.stack(cams).float().cpu().numpy()

    def _score(self, inputs: Tensor) -> Tensor:
        return self.classifier.network.forward(inputs).logits

    def _letterbox(self, radiograph: Radiograph) -> Letterbox:
        return Letterbox.fit(radiograph.height, radiograph.width, self.classifier.input_size)


@dataclass(frozen=True)
class _Request:
    """A question, checked and complete."""

    method: str
    classes: tuple[str, ...]
    contrast: str | None

    @property
    def gradients(self) -> tuple[tuple[str, ...], str | None] | None:
        """Which scores to go back from; methods that ask for the same share the way back."""
        if METHODS[self.method].needs != "gradient":
            return None
        return self.classes, self.contrast


def _parts(progress: Progress | None, total: int) -> Iterator[Progress | None]:
    """Yield a progress for each of `total` tasks that reports to the whole one."""
    for number in range(total):
        yield None if progress is None else partial(_report, progress, number, total)


def _report(progress: Progress, number: int, total: int, share: float) -> None:
    progress((number + share) / total)


def _check_type(value: object, kind: type, advice: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"A {type(value).__name__} is no {kind.__name__}: {advice}")


def _read_only(array: np.ndarray) -> np.ndarray:
    """Return a float32 copy that nobody can change under another reader."""
    copy = np.array(array, np.float32)
    copy.flags.writeable = False
    return copy
