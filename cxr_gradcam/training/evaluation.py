"""A classifier held against labelled files: its scores, and a report on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cxr_gradcam.classifier import Classifier
from cxr_gradcam.dataset import DatasetError, read_dataset
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.radiograph import Radiograph, radiograph_or_reason
from cxr_gradcam.splits import SPLITS_FILE, Sample, Splits, load_splits
from cxr_gradcam.training.report import PREDICTIONS, Prediction, write_predictions, write_report
from cxr_gradcam.training.scores import evaluate_logits


class NothingReadError(ValueError):
    """Not one of the files can be read. One sentence: what is wrong and where it says more."""


def evaluate_samples(
    classifier: Classifier,
    samples: Sequence[Sample],
    out: Path,
    *,
    batch_size: int = 8,
    bootstrap: int = 1000,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a classifier on labelled files and leave the report in a folder.

    Writes metrics.json (what is returned), predictions.csv, confusion_matrix.png, reliability.png
    and worst_errors.png; see `report`. A file that cannot be read is a row with an error in
    predictions.csv and counts in "unreadable", and in no score.

    Args:
        classifier: what to evaluate, with its own temperature.
        samples: files of the classifier's classes; those of one group are near-duplicates, and are
            drawn together for the intervals.
        out: the folder; made if missing, earlier reports in it are replaced.
        batch_size: films in one forward pass.
        bootstrap: as in `evaluate_logits`.
        progress: called with the share of the files done, from 0 to 1.

    Returns:
        The dictionary of `evaluate_logits`, with "unreadable" and "checkpoint" (its SHA-256).

    Raises:
        ValueError: when a label is no class of the classifier, or there is no file.
        NothingReadError: when no file can be read; predictions.csv says why.
        OSError: when the report cannot be written.
    """
    names = classifier.class_names
    if not samples:
        raise ValueError("There is no file to evaluate: check the folder and the split.")
    truths = [_class_index(sample.label, names) for sample in samples]
    explainer = Explainer(classifier)
    predictions: list[Prediction] = []
    with ThreadPoolExecutor(2, "read") as pool:
        for start in range(0, len(samples), batch_size):
            batch = slice(start, start + batch_size)
            paths = [sample.path for sample in samples[batch]]
            read = list(pool.map(radiograph_or_reason, paths))
            predictions += _predict(explainer, paths, truths[batch], read)
            if progress:
                progress(len(predictions) / len(samples))
    known = [i for i, prediction in enumerate(predictions) if not prediction.error]
    if not known:
        out.mkdir(parents=True, exist_ok=True)
        write_predictions(predictions, names, out / PREDICTIONS)
        raise NothingReadError(
            f"None of the {len(samples)} files can be read: see the column error of "
            f"{out / PREDICTIONS}."
        )
    metrics = evaluate_logits(
        [predictions[i].logits for i in known],
        [predictions[i].label for i in known],
        names,
        temperature=classifier.temperature,
        groups=[samples[i].group for i in known],
        bootstrap=bootstrap,
    )
    metrics |= {"unreadable": len(predictions) - len(known), "checkpoint": classifier.digest}
    write_report(explainer, metrics, predictions, out)
    return metrics


def find_samples(data: Path, split: str | None, run: Path) -> list[Sample]:
    """List the labelled images of a dataset folder.

    Args:
        data: the folder.
        split: "train", "val" or "test"; None for every image.
        run: the folder of the training run. Where it holds the splits of this data, they count;
            else those of the data's own folders.

    Returns:
        The images, each in a group of its own where groups are not known.

    Raises:
        DatasetError: when the folder is no dataset, or the split cannot be told.
    """
    dataset = read_dataset(data)
    saved = _saved_splits(run / SPLITS_FILE, data) if split else None
    if split and saved:
        return list(saved.by_name()[split])
    own = {dataset.split_of(path) for paths in dataset.images.values() for path in paths}
    if split and split not in own:
        raise DatasetError(
            f"{data} has no folder {split}, and beside the checkpoint there is no {SPLITS_FILE} "
            "of this data: leave the split out to evaluate every image."
        )
    files = [
        (path, label)
        for label, paths in dataset.images.items()
        for path in paths
        if split in (None, dataset.split_of(path))
    ]
    return [Sample(path, label, number) for number, (path, label) in enumerate(files)]


def _saved_splits(path: Path, data: Path) -> Splits | None:
    """Read the splits of a run, if it has any and they are of this data."""
    try:
        return load_splits(path, data)
    except DatasetError:
        return None


def _class_index(label: str, names: Sequence[str]) -> int:
    if label not in names:
        raise ValueError(
            f"The data has the class {label!r}, the checkpoint knows {', '.join(names)}: "
            "rename the folder or choose another checkpoint."
        )
    return names.index(label)


def _predict(
    explainer: Explainer,
    paths: Sequence[Path],
    labels: Sequence[int],
    read: Sequence[Radiograph | str],
) -> Iterator[Prediction]:
    """Give a prediction per file, in order, from one forward pass for all that can be read."""
    explanations = iter(
        explainer.explain_batch([film for film in read if isinstance(film, Radiograph)])
    )
    for path, label, film in zip(paths, labels, read, strict=True):
        if isinstance(film, str):
            yield Prediction(path, label, error=film)
        else:
            explanation = next(explanations)
            logits = tuple(explanation.logits.values())
            yield Prediction(path, label, logits, tuple(explanation.probabilities.values()))
