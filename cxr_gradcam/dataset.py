"""The dataset folder: its classes, their image files and their masks.

Three layouts are read, in any mixture of readable formats:

- `<root>/<Class>/images/*`, the Kaggle layout, with optional `<root>/<Class>/masks/*`,
- `<root>/<Class>/*`,
- `<root>/{train,val,test}/<Class>/*`, of which `val` may be called `valid` or `validation` as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cxr_gradcam.files import composed, expanded
from cxr_gradcam.radiograph import looks_readable

ENVIRONMENT_VARIABLE = "CXR_DATA"
DEFAULT_FOLDER = Path("data") / "COVID-19_Radiography_Dataset"
SPLITS = ("train", "val", "test")
# Names of their folders, in any capitals -> the split.
SPLIT_FOLDERS = {**{name: name for name in SPLITS}, "valid": "val", "validation": "val"}
IMAGES = "images"
MASKS = "masks"
LESIONS = "lesions"
# Folders that stand beside a class's images but hold none, so they are never classes themselves.
NOT_CLASSES = frozenset({IMAGES, MASKS, LESIONS})


class DatasetError(ValueError):
    """A folder is no dataset. One sentence: what is wrong, where, what to do."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset folder as it was when it was read.

    Attributes:
        root: the folder.
        images: class name -> its image files, in natural order; no class is empty.
        no_images: folders that are no classes, as they hold no images where those are looked for,
            or stand beside the splits' folders; in natural order.
    """

    root: Path
    images: Mapping[str, tuple[Path, ...]]
    no_images: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in natural order."""
        return tuple(self.images)

    @cached_property
    def by_label(self) -> Mapping[str, Mapping[str, Path]]:
        """Class name -> short name -> image file, in the same order.

        The short name is the file's name, after its split's name where the folder has splits, so
        it is unique within a class and tells nothing of where the folder lies.
        """
        return {
            name: {self._label(path): path for path in paths} for name, paths in self.images.items()
        }

    @cached_property
    def lung_masks(self) -> Mapping[Path, Path]:
        """Image file -> its lung mask: the file of the same name, in any format, in `masks`.

        Images without a mask are left out.

        Raises:
            DatasetError: when a folder of masks may not be read.
        """
        return self._beside_images(MASKS)

    @cached_property
    def lesion_masks(self) -> Mapping[Path, Path]:
        """Image file -> the mask of its planted lesion, in `lesions`, where phantoms have one.

        Raises:
            DatasetError: when a folder of masks may not be read.
        """
        return self._beside_images(LESIONS)

    def _beside_images(self, kind: str) -> Mapping[Path, Path]:
        """Return image file -> the file of the same name in the folder `kind` of its class."""
        found: dict[Path, Path] = {}
        listed: dict[Path, dict[str, Path]] = {}
        for path in (path for paths in self.images.values() for path in paths):
            folder = path.parent.parent if path.parent.name == IMAGES else path.parent
            if folder not in listed:
                listed[folder] = _masks(folder / kind)
            if path.stem in listed[folder]:
                found[path] = listed[folder][path.stem]
        return found

    def split_of(self, path: Path) -> str | None:
        """Return the split that a file of the folder lies in; None where it has no splits."""
        return SPLIT_FOLDERS.get(self._first(path).lower())

    def _label(self, path: Path) -> str:
        return f"{self._first(path)}/{path.name}" if self.split_of(path) else path.name

    def _first(self, path: Path) -> str:
        return path.relative_to(self.root).parts[0]


def find_dataset(
    environment: Mapping[str, str] = os.environ, working_folder: Path | None = None
) -> Dataset | None:
    """Read the dataset folder that the user set up.

    Args:
        environment: where `CXR_DATA` may name the folder.
        working_folder: where `data/COVID-19_Radiography_Dataset` is looked for when `CXR_DATA` is
            not set; the process's own by default.

    Returns:
        The dataset; None when `CXR_DATA` is not set and there is no such folder.

    Raises:
        DatasetError: when `CXR_DATA` is set, or the default folder exists, and is no dataset.
    """
    named = environment.get(ENVIRONMENT_VARIABLE, "").strip()
    if named:
        root = expanded(named)
        if not _is_folder(root):
            raise DatasetError(
                f"There is no dataset folder at {root}: correct {ENVIRONMENT_VARIABLE}, which "
                "names it."
            )
        return read_dataset(root)
    default = (working_folder or Path.cwd()) / DEFAULT_FOLDER
    return read_dataset(default) if _is_folder(default) else None


def check_apart(out: Path, root: Path) -> None:
    """Raises DatasetError where pictures of results would be taken for films of the dataset."""
    if out.resolve().is_relative_to(root.resolve()):
        raise DatasetError(
            f"{out} lies in the dataset folder, where its pictures would be taken for films: "
            "choose another folder for --out."
        )


def read_dataset(root: Path) -> Dataset:
    """List the classes of a folder and their images.

    Raises:
        DatasetError: when the folder is missing, may not be read, or holds no class with images.
    """
    if not _is_folder(root):
        raise DatasetError(f"There is no dataset folder at {root}: check the path.")
    found: dict[str, list[Path]] = {}
    alike: dict[Path, Path] = {}
    beside: list[str] = []
    try:
        folders = _folders(root)
        splits = [folder for folder in folders if folder.name.lower() in SPLIT_FOLDERS]
        if splits:
            beside = [folder.name for folder in folders if folder not in splits]
            folders = [folder for split in splits for folder in _folders(split)]
        for folder in folders:
            name = composed(folder.name)
            if alike.setdefault(folder.parent / name, folder) != folder:
                raise DatasetError(
                    f"{root} holds two folders called {name}, whose letters differ in their code "
                    "only: rename one, or put their images together."
                )
            found.setdefault(name, []).extend(_images(folder))
    except OSError as error:
        raise _cannot_read(Path(error.filename or root), error) from None
    names = sorted(found, key=natural_key)
    images = {
        name: tuple(sorted(found[name], key=lambda path: natural_key(str(path.relative_to(root)))))
        for name in names
        if found[name]
    }
    if not images:
        raise DatasetError(
            f"{root} holds no images in class folders: arrange them as <Class>/images/*.png, "
            "<Class>/*.png or train/<Class>/*.png."
        )
    left_out = sorted({*beside, *(set(names) - set(images))}, key=natural_key)
    return Dataset(root, images, tuple(left_out))


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Return a sort key that puts COVID-2 before COVID-10, and upper beside lower case.

    No two names have the same one: their order would be that of the file system.
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts), name


def _folders(parent: Path) -> list[Path]:
    """List the folders that may be classes or splits, in no order."""
    return [
        folder
        for folder in parent.iterdir()
        if _is_visible(folder.name) and folder.name not in NOT_CLASSES and folder.is_dir()
    ]


def _images(folder: Path) -> list[Path]:
    """List the image files of a class folder, in no order."""
    inner = folder / IMAGES
    return _readable(inner if inner.is_dir() else folder)


def _is_folder(path: Path) -> bool:
    """Tell whether there is such a folder.

    Raises:
        DatasetError: when a folder above it may not be searched.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise _cannot_read(path, error) from None


def _masks(folder: Path) -> dict[str, Path]:
    """List a folder of masks by their names without suffix; none where there is no such folder."""
    if not _is_folder(folder):
        return {}
    try:
        return {path.stem: path for path in sorted(_readable(folder))}
    except OSError as error:
        raise _cannot_read(folder, error) from None


def _cannot_read(folder: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"The dataset folder {folder} cannot be read ({error.strerror or 'input error'}): "
        "check who may read it."
    )


def _readable(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [
            Path(entry.path)
            for entry in entries
            if _is_visible(entry.name) and entry.is_file() and looks_readable(Path(entry.path))
        ]


def _is_visible(name: str) -> bool:
    # macOS leaves a hidden "._name.png" beside every file that it copies to a foreign disk.
    return not name.startswith(".")
