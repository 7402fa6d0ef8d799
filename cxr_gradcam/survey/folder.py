"""A dataset folder as a list of films, each with the stamp that tells whether it has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cxr_gradcam.dataset import read_dataset

Stamp = tuple[int, int]
_GONE: Stamp = (-1, -1)


@dataclass(frozen=True, slots=True)
class Film:
    """One image file of a dataset folder.

    Attributes:
        label: the class whose folder it lies in.
        name: its short name, unique within the class; see `Dataset.by_label`.
        path: the file.
        stamp: its size in bytes and the time of its last change in nanoseconds.
    """

    label: str
    name: str
    path: Path
    stamp: Stamp

    @property
    def key(self) -> str:
        """Return what names the film within its folder and tells nothing of where that lies."""
        return f"{self.label}/{self.name}"


@dataclass(frozen=True, eq=False)
class Folder:
    """A dataset folder as it was when it was listed.

    Attributes:
        root: the folder.
        labels: its classes, in natural order.
        films: every film, class by class, in natural order.
    """

    root: Path
    labels: tuple[str, ...]
    films: tuple[Film, ...]

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Film key -> its place in `films`. The only way from a name back to a file."""
        return {film.key: place for place, film in enumerate(self.films)}


def list_folder(root: Path) -> Folder:
    """List a dataset folder with the stamps of its files.

    Raises:
        DatasetError: when it is no dataset.
    """
    dataset = read_dataset(root)
    films = tuple(
        Film(label, name, path, _stamp(path))
        for label, files in dataset.by_label.items()
        for name, path in files.items()
    )
    return Folder(dataset.root, dataset.classes, films)


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:  # it has vanished since; reading it will say so
        return _GONE
    return found.st_size, found.st_mtime_ns
