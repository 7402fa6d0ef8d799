"""Train, validation and test: which image of a dataset folder serves for what.

Near-duplicates stay together (unless the folder comes with splits of its own), every split holds
the classes in the folder's own proportions, and the same folder and seed give the same splits. They
are kept in one readable file beside the model.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxr_gradcam.dataset import SPLITS, Dataset, DatasetError
from cxr_gradcam.dataset_report import Report
from cxr_gradcam.duplicates import HASH_BITS, Bits, group_duplicates, perceptual_hash
from cxr_gradcam.files import composed, write_whole
from cxr_gradcam.radiograph import RadiographError, load_radiograph
from cxr_gradcam.stratify import TooFewGroupsError, share_groups
from cxr_gradcam.threads import in_order, usable_cores

Progress = Callable[[float], None]

SPLITS_FILE = "splits.json"  # in the folder of a run
_MAX_READERS = 4  # threads; each may hold a film that takes 500 MB
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class Sample:
    """One image of a dataset.

    Attributes:
        path: the image file.
        label: its class.
        group: near-duplicates share this number, and one split unless the folder has its own.
    """

    path: Path
    label: str
    group: int


@dataclass(frozen=True)
class Splits:
    """The three splits of a dataset; `val` or `test` is empty where its share was 0.

    Attributes:
        class_names: in the order of the network's outputs.
        train: what the weights are fitted on.
        val: what decides when to stop, and the temperature.
        test: what nothing was decided on.
    """

    class_names: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]

    def by_name(self) -> dict[str, tuple[Sample, ...]]:
        """Return the splits under their names, in the order train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def counts(self) -> dict[str, dict[str, int]]:
        """Return split -> class -> how many images."""
        return {
            name: {label: sum(one.label == label for one in samples) for label in self.class_names}
            for name, samples in self.by_name().items()
        }

    def test_digest(self, root: Path) -> str:
        """Return what tells one choice of test images from another: SHA-256 of their names.

        Args:
            root: the dataset folder, which the names are relative to.
        """
        names = sorted(_below(one.path, root) for one in self.test)
        # A file name may hold bytes that are no UTF-8; Python keeps each as a surrogate.
        return hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest()


# --------------------------------------------------------------------------------------- splitting


def split_dataset(
    dataset: Dataset,
    *,
    val: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Splits, Report]:
    """Read every image of a dataset once, group near-duplicates and share the groups out.

    A folder laid out as train, val and test keeps its own splits; of `val` and `test`, what it
    lacks is taken from its train images. Every split that is made here gets each class at least
    once.

    Args:
        dataset: the folder, as `read_dataset` lists it.
        val: share of the images for validation, 0 for none.
        test: share of the images for the test, 0 for none.
        seed: of the shuffling; not negative.
        progress: called with the share of the images read, from 0 to 1.

    Returns:
        The splits, each in the dataset's order, and what was found.

    Raises:
        DatasetError: when a share is out of range, there is one class only, or a class has too few
            readable images that differ to be in every split.
    """
    if not (val >= 0 and test >= 0 and val + test < 1):
        raise DatasetError(
            f"The shares for validation and test are {val:g} and {test:g}: give two that are not "
            "negative and leave something to train on."
        )
    if len(dataset.classes) < 2:
        raise DatasetError(
            f"{dataset.root} holds one class only, {dataset.classes[0]}: add a folder of images "
            "for every class to tell apart."
        )
    samples, unreadable = _read_samples(dataset, progress)
    places = _places(dataset, samples, {"test": test, "val": val}, seed)
    parts = {
        name: tuple(s for s, place in zip(samples, places, strict=True) if place == name)
        for name in SPLITS
    }
    splits = Splits(dataset.classes, **parts)
    return splits, _report(splits, unreadable, dataset.no_images)


def _read_samples(
    dataset: Dataset, progress: Progress | None
) -> tuple[list[Sample], dict[str, str]]:
    """Read every image: the readable ones with their groups, and why the others are not."""
    files = [(path, label) for label, paths in dataset.images.items() for path in paths]
    hashes: list[Bits] = []
    readable: list[tuple[Path, str]] = []
    unreadable: dict[str, str] = {}
    # Closed at once after Ctrl-C, or the threads would first read the 100,000 files that are left.
    with closing(_hash_files([path for path, _ in files])) as results:
        for done, (file, result) in enumerate(zip(files, results, strict=True), start=1):
            if isinstance(result, str):
                unreadable[file[0].relative_to(dataset.root).as_posix()] = result
            else:
                readable.append(file)
                hashes.append(result)
            if progress is not None:
                progress(done / len(files))
    groups = group_duplicates(np.array(hashes, np.bool_).reshape(len(hashes), HASH_BITS))
    samples = [
        Sample(path, label, int(group))
        for (path, label), group in zip(readable, groups, strict=True)
    ]
    return samples, unreadable


def _hash_files(paths: Sequence[Path]) -> Generator[Bits | str, None, None]:
    """Give the hash of each file, or why it cannot be read, in order."""
    readers = min(_MAX_READERS, usable_cores())
    with ThreadPoolExecutor(readers) as pool:
        yield from in_order(pool, _hash_file, paths, 16 * readers)


def _hash_file(path: Path) -> Bits | str:
    """Return the hash of a file, or why it cannot be read."""
    try:
        return perceptual_hash(load_radiograph(path))
    except RadiographError as error:
        return str(error)


def _places(
    dataset: Dataset, samples: Sequence[Sample], shares: Mapping[str, float], seed: int
) -> list[str]:
    """Name the split of each sample: the folder's own, else by the shares for val and test."""
    own = [dataset.split_of(sample.path) for sample in samples]
    places = [name or "train" for name in own]
    free = [i for i, place in enumerate(places) if place == "train"]
    held_out = {name: share for name, share in shares.items() if share and name not in own}
    names = [*held_out, "train"]
    _, groups = np.unique([samples[i].group for i in free], return_inverse=True)
    counts = np.zeros((len(set(groups)), len(dataset.classes)), np.int64)
    for i, group in zip(free, groups, strict=True):
        counts[group, dataset.classes.index(samples[i].label)] += 1
    try:
        chosen = share_groups(
            counts, np.array([*held_out.values(), 1 - sum(held_out.values())]), seed
        )
    except TooFewGroupsError as error:
        where = dataset.root / "train" if any(own) else dataset.root
        name = dataset.classes[error.class_index]
        images = (
            f"{error.groups} readable image{'' if error.groups == 1 else 's'} of the class {name}"
        )
        if error.groups > 1:
            images += " that differ from each other"
        raise DatasetError(
            f"{where} holds {images}, too few for {' and '.join(names)}: add images, or repair "
            "those that cannot be read."
        ) from None
    for i, group in zip(free, groups, strict=True):
        places[i] = names[chosen[group]]
    return places


def _report(splits: Splits, unreadable: Mapping[str, str], no_images: Sequence[str]) -> Report:
    labels: dict[int, list[str]] = defaultdict(list)
    places: dict[int, set[str]] = defaultdict(set)
    for place, samples in splits.by_name().items():
        for sample in samples:
            labels[sample.group].append(sample.label)
            places[sample.group].add(place)
    sizes = [len(members) for members in labels.values() if len(members) > 1]
    counts = splits.counts()
    return Report(
        images={name: sum(count[name] for count in counts.values()) for name in splits.class_names},
        groups=len(sizes),
        images_in_groups=sum(sizes),
        largest_group=max(sizes, default=0),
        groups_across_classes=sum(len(set(members)) > 1 for members in labels.values()),
        groups_across_splits=sum(len(names) > 1 for names in places.values()),
        unreadable=dict(unreadable),
        splits=counts,
        no_images=no_images,
    )


# ---------------------------------------------------------------------------------------- the file


def save_splits(splits: Splits, path: Path, root: Path) -> None:
    """Write splits as JSON, one image a line, so that a person can read and compare them.

    Files below `root` are named relative to it, so the folder may move; others in full.

    Raises:
        OSError: when the file cannot be written; an older one is then left as it was.
    """
    head = json.dumps({"format_version": _FORMAT_VERSION, "class_names": splits.class_names})
    parts = [head[:-1]]
    for name, samples in splits.by_name().items():
        rows = ",\n".join(json.dumps(_to_row(sample, root)) for sample in samples)
        parts.append(f'"{name}": [\n{rows}\n]')
    write_whole(path, (",\n".join(parts) + "}\n").encode())


def load_splits(path: Path, root: Path) -> Splits:
    """Read splits back, exactly as they were saved.

    Args:
        path: the file that `save_splits` wrote.
        root: the dataset folder, wherever it is now.

    Raises:
        DatasetError: when the file cannot be read, is damaged, or names files that are gone.
    """
    try:
        content = json.loads(path.read_bytes())
        version = content["format_version"]
        class_names = tuple(map(composed, content["class_names"]))
        parts = {name: tuple(_from_row(row, root) for row in content[name]) for name in SPLITS}
    except OSError as error:
        raise DatasetError(
            f"The splits {path} cannot be read ({error.strerror or 'input error'}): "
            "check the path, or start a new run."
        ) from None
    except (ValueError, LookupError, TypeError):
        version, class_names, parts = None, (), {}
    splits = Splits(class_names, **parts) if version == _FORMAT_VERSION else None
    if splits is None or not _is_sound(splits):
        raise DatasetError(f"{path} holds no splits that this version wrote: start a new run.")
    _check_files(splits, root)
    return splits


def _to_row(sample: Sample, root: Path) -> dict[str, Any]:
    return {"file": _below(sample.path, root), "class": sample.label, "group": sample.group}


def _below(path: Path, root: Path) -> str:
    inside = path.is_relative_to(root)
    return (path.relative_to(root) if inside else path.absolute()).as_posix()


def _from_row(row: Mapping[str, Any], root: Path) -> Sample:
    return Sample(root / row["file"], composed(row["class"]), int(row["group"]))


def _is_sound(splits: Splits) -> bool:
    labels = {sample.label for samples in splits.by_name().values() for sample in samples}
    return labels <= set(splits.class_names) and bool(splits.train)


def _check_files(splits: Splits, root: Path) -> None:
    """Say now, not after hours of training, that an image is gone."""
    named = (sample.path for samples in splits.by_name().values() for sample in samples)
    gone = [file for file in named if not file.is_file()]
    if gone:
        files, verb = ("1 file", "is") if len(gone) == 1 else (f"{len(gone):,} files", "are")
        raise DatasetError(
            f"{files} of the splits {verb} no longer in {root}, first {gone[0]}: put back what is "
            "missing, check the path, or start a new run."
        )
