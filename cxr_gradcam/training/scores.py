"""How good a classifier is, from its logits: scores with their uncertainty, and calibration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize
from scipy.special import log_softmax, softmax
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

BINS = 15
BINNING = f"{BINS} bins of equal width on the top probability"
TEMPERATURES = (0.05, 20.0)
BIAS_SPREAD = 0.5  # logits at the right temperature: how far a class may well be called too rarely
_PERCENTILES = (2.5, 97.5)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


# ------------------------------------------------------------------------------------- calibration


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the temperature that makes the probabilities fit best.

    Temperature scaling of Guo 2017 (arXiv 1706.04599): softmax(logits / T) with the T > 0 that
    minimises the negative log-likelihood. That is convex in 1 / T, so its slope has one root.

    Where every film is classified rightly the likelihood has no optimum: it grows for ever as T
    goes to 0. There the targets are softened as if each class had been seen once more on every
    film's prediction, (n t + 1) / (n + K), as Platt 1999 does; n right films then warrant about
    one error in n, and no more.

    Args:
        logits: (N, K), of validation films, N > 0.
        labels: (N,) integers, the index of the true class.

    Returns:
        T within `TEMPERATURES`; 1 when all logits of every film are equal.

    Raises:
        ValueError: for other shapes, labels outside 0 to K - 1, or logits that are not finite.
    """
    logits, labels = _checked(logits, labels)
    count, classes = logits.shape
    if not np.ptp(logits, axis=1).any():
        return 1.0
    targets = np.eye(classes)[labels]
    if (logits[np.arange(count), labels] == logits.max(axis=1)).all():
        targets = (count * targets + 1) / (count + classes)

    def slope(log_temperature: float) -> float:
        """Derivative of the mean negative log-likelihood by 1 / T."""
        residual = softmax(logits * math.exp(-log_temperature), axis=1) - targets
        return float((residual * logits).sum())

    low, high = map(math.log, TEMPERATURES)
    if slope(low) <= 0:
        return TEMPERATURES[0]
    if slope(high) >= 0:
        return TEMPERATURES[1]
    return math.exp(brentq(slope, low, high, xtol=1e-9))


def fit_bias(logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike) -> Floats:
    """Return what to add to the logits so that no class is called too rarely or too often.

    A network calls a class that it learned from few films too rarely on films that it never saw,
    whatever the films weighed in its training: it comes to know those it trained on by heart. This
    is the bias of bias-corrected temperature scaling, Alexandari 2020 (arXiv 1901.06852): at the
    temperature of `fit_temperature` it minimises the weighted negative log-likelihood. A normal
    prior with the standard deviation `BIAS_SPREAD` keeps a few films from moving it far. A class
    of which there is no film stays where it is.

    Args:
        logits: (N, K), of validation films, N > 0.
        labels: (N,) integers, the index of the true class.
        weights: (K,), what a film of each class weighs, above 0; their scale does not matter.

    Returns:
        float64 (K,) in the unit of the logits, with a sum of 0.

    Raises:
        ValueError: as `fit_temperature`.
    """
    temperature = fit_temperature(logits, labels)
    logits, labels = _checked(logits, labels)
    films = np.asarray(weights, np.float64)[labels]
    films /= films.mean()
    moved = np.zeros(logits.shape[1])
    known, places = np.unique(labels, return_inverse=True)
    scaled, targets = logits[:, known] / temperature, np.eye(len(known))[places]

    def loss(bias: Floats) -> tuple[float, Floats]:
        """Negative log posterior, and its gradient."""
        likelihoods = log_softmax(scaled + bias, axis=1)
        residual = np.exp(likelihoods) - targets
        return (
            float((bias**2).sum() / (2 * BIAS_SPREAD**2) - films @ (likelihoods * targets).sum(1)),
            bias / BIAS_SPREAD**2 + films @ residual,
        )

    bias = minimize(loss, np.zeros(len(known)), jac=True, method="BFGS").x
    moved[known] = temperature * (bias - bias.mean())
    return moved


def calibration(probabilities: Floats, labels: Ints) -> dict[str, Any]:
    """Compare how sure the classifier was with how often it was right.

    The expected calibration error of Guo 2017: over `BINS` bins (a, b] of the top probability,
    the mean distance between accuracy and mean probability, weighted by the films in each bin.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,).

    Returns:
        "ece" in [0, 1], and "bins": for each "low", "high", "n", and "confidence" (mean top
        probability) and "accuracy", None where the bin is empty.
    """
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(top * BINS).astype(int) - 1, 0, BINS - 1)
    films, sure, hits = (
        np.bincount(place, weights, BINS) for weights in (np.ones_like(top), top, right)
    )
    return {
        "ece": float(np.abs(hits - sure).sum() / len(top)),
        "bins": [
            {
                "low": i / BINS,
                "high": (i + 1) / BINS,
                "n": int(films[i]),
                "confidence": _ratio(sure[i], films[i]),
                "accuracy": _ratio(hits[i], films[i]),
            }
            for i in range(BINS)
        ],
    }


# ------------------------------------------------------------------------------------------ scores


def evaluate_logits(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    class_names: Sequence[str],
    *,
    temperature: float = 1.0,
    groups: npt.ArrayLike | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score a classifier by its logits.

    Every score is {"value", "low", "high"}: low and high bound the middle 95% of its values on
    `bootstrap` sets drawn with replacement (Efron 1979), of films or, where films of one patient
    or near-duplicates are grouped, of groups, as films of one group are no separate witnesses.
    They tell how much the choice of films matters, not what films from elsewhere would give; and
    where every film is right they say 1 to 1, as no resampling finds an error that is not there.
    What has no value is None: recall and AUROC of a class without films, precision of a class
    never predicted.

    Args:
        logits: (N, K), N > 0.
        labels: (N,) integers, the index of the true class.
        class_names: K names, in the order of the logits.
        temperature: the logits are divided by it before softmax.
        groups: (N,) integers, equal for films of one group; by default each film is its own.
        bootstrap: how many sets to draw; with 0, low and high are None.
        seed: of the drawing.

    Returns:
        A dictionary fit for JSON: "n", "accuracy", "balanced_accuracy" (mean recall of the classes
        that have films), "classes": name -> "n", "precision", "recall", "f1", "auroc" (one versus
        rest, by probability), "confusion_matrix" (a row per true, a column per predicted class),
        "calibration": "temperature", "binning", and "before" and "after" temperature scaling each
        "ece", "nll" (mean negative log-likelihood) and "bins", and "intervals" in words.

    Raises:
        ValueError: as `fit_temperature`, for a temperature that is not positive, or when there are
            not K class names.
    """
    logits, labels = _checked(logits, labels)
    if len(class_names) != logits.shape[1]:
        raise ValueError(
            f"There are {len(class_names)} class names for logits of the shape {logits.shape}: "
            "give one name per column."
        )
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"The temperature is {temperature}: give a positive number.")
    probabilities = softmax(logits / temperature, axis=1)
    predicted = logits.argmax(axis=1)
    witnesses = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if witnesses.shape != labels.shape:
        raise ValueError(
            f"There are {len(witnesses)} groups for {len(labels)} films: give one per film."
        )
    weights = _drawn_weights(witnesses, bootstrap, seed)
    drawn = _resampled_scores(probabilities, predicted, labels, weights)
    entries = iter(_with_intervals(_scores(probabilities, predicted, labels), drawn))
    overall = {name: next(entries) for name in ("accuracy", "balanced_accuracy")}
    classes: dict[str, dict[str, Any]] = {
        name: {"n": int((labels == k).sum())} for k, name in enumerate(class_names)
    }
    for score in ("precision", "recall", "f1", "auroc"):
        for name in class_names:
            classes[name][score] = next(entries)
    return {
        "n": len(labels),
        **overall,
        "classes": classes,
        "confusion_matrix": confusion_matrix(
            labels, predicted, labels=range(len(class_names))
        ).tolist(),
        "calibration": {
            "temperature": float(temperature),
            "binning": BINNING,
            "before": _calibration_of(logits, labels),
            "after": _calibration_of(logits / temperature, labels),
        },
        "intervals": f"95%, percentiles over {bootstrap} sets of "
        f"{'films' if len(set(witnesses)) == len(labels) else 'groups of films'} "
        "drawn with replacement",
    }


def _scores(probabilities: Floats, predicted: Ints, labels: Ints) -> Floats:
    """Accuracy, balanced accuracy, then K times precision, recall, F1, AUROC; NaN for none."""
    classes = range(probabilities.shape[1])
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=classes, average=None, zero_division=np.nan
    )
    auroc = [
        roc_auc_score(labels == k, probabilities[:, k]) if 0 < (labels == k).mean() < 1 else np.nan
        for k in classes
    ]
    overall = [(predicted == labels).mean(), np.nanmean(recall)]
    return np.concatenate([overall, precision, recall, f1, auroc])


def _drawn_weights(groups: Ints, bootstrap: int, seed: int) -> Iterator[Ints]:
    """Draw as many groups as there are, with replacement; give how often each film came, (N,)."""
    rng = np.random.default_rng(seed)
    names, member = np.unique(groups, return_inverse=True)
    for _ in range(bootstrap):
        drawn = rng.integers(len(names), size=len(names))
        yield np.bincount(drawn, minlength=len(names))[member]


def _resampled_scores(
    probabilities: Floats, predicted: Ints, labels: Ints, weights: Iterable[Ints]
) -> Floats:
    """Return (sets, 2 + 4 K): `_scores` of sets of films, each given by the weight of every film.

    scikit-learn would take milliseconds for the scores of one set, most of it to check its
    arguments; weighted counts take a tenth.
    """
    classes = probabilities.shape[1]
    cell = labels * classes + predicted
    rankings = [_Ranking(probabilities[:, k], labels == k) for k in range(classes)]
    rows = [np.empty((0, 2 + 4 * classes))]
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as meant
        for weight in weights:
            counts = np.bincount(cell, weight, classes**2).reshape(classes, classes)
            hits, films, calls = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
            recall = hits / films
            overall = [hits.sum() / films.sum(), recall[films > 0].mean()]
            auroc = [ranking.auroc(weight) for ranking in rankings]
            f1 = 2 * hits / (films + calls)
            rows.append(np.concatenate([overall, hits / calls, recall, f1, auroc])[None])
    return np.concatenate(rows)


class _Ranking:
    """Films in the order of one class's probability, to get AUROC after AUROC without sorting."""

    def __init__(self, probability: Floats, positive: npt.NDArray[np.bool_]) -> None:
        self._order = np.argsort(probability, kind="stable")
        ordered = probability[self._order]
        self._positive = positive[self._order]
        self._ties = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])  # where each starts

    def auroc(self, weights: Ints) -> float:
        """Return how often a positive film stands above a negative one; a tie counts half."""
        ordered = weights[self._order]
        positive = np.add.reduceat(ordered * self._positive, self._ties)
        negative = np.add.reduceat(ordered * ~self._positive, self._ties)
        pairs = positive.sum() * negative.sum()
        won = positive @ (np.cumsum(negative) - 0.5 * negative)
        return float(won / pairs) if pairs else math.nan


def _with_intervals(values: Floats, drawn: Floats) -> Iterator[dict[str, float | None]]:
    for value, column in zip(values, drawn.T, strict=True):
        known = column[~np.isnan(column)]
        if np.isnan(value):
            yield {"value": None, "low": None, "high": None}
        elif not len(known):
            yield {"value": float(value), "low": None, "high": None}
        else:
            low, high = np.percentile(known, _PERCENTILES)
            yield {"value": float(value), "low": float(low), "high": float(high)}


def _calibration_of(logits: Floats, labels: Ints) -> dict[str, Any]:
    likelihoods = log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
    measured = calibration(softmax(logits, axis=1), labels)
    return {"ece": measured["ece"], "nll": float(-likelihoods.mean()), "bins": measured["bins"]}


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _checked(logits: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Ints]:
    """Return both as arrays of one precision.

    Raises:
        ValueError: when they do not fit together.
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(labels)
    if scores.ndim != 2 or 0 in scores.shape or truth.shape != scores.shape[:1]:
        raise ValueError(
            f"The logits have the shape {scores.shape} and the labels {truth.shape}: "
            "expected (N, K) and (N,) with N > 0."
        )
    if not np.isfinite(scores).all():
        raise ValueError("Some logits are not finite: the network has diverged, use another one.")
    if truth.dtype.kind not in "iu" or not (truth.min() >= 0 and truth.max() < scores.shape[1]):
        raise ValueError(f"The labels must be whole numbers from 0 to {scores.shape[1] - 1}.")
    return scores, truth.astype(np.int64)
