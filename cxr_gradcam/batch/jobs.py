"""From the paths on a command line to jobs: which files are meant and where their results go."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr_gradcam.batch.results import recorded_files
from cxr_gradcam.batch.summary import SUMMARY
from cxr_gradcam.export import RECORD
from cxr_gradcam.radiograph import READABLE_SUFFIXES, looks_readable

# Beside a folder `images` these hold no radiographs, in the dataset's layout and in the phantoms'.
_NOT_RADIOGRAPHS = {"masks", "lesions"}
_RESULT_SUFFIXES = (".png", ".npy", ".json", ".csv")


class InputError(ValueError):
    """The paths given cannot be explained. One sentence: what is wrong, where, what to do."""


@dataclass(frozen=True, slots=True)
class Job:
    """One file to explain.

    Attributes:
        path: The file, as reached from the path that was given.
        place: The folder of its results, relative to the output folder.
    """

    path: str
    place: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A file: as reached, and as the folder that was given, resolved, and the path below that."""

    path: Path
    above: Path
    below: Path


def find_jobs(inputs: Sequence[Path], out: Path) -> list[Job]:
    """List the files meant, in the order given; folders are searched and sorted by name.

    In a folder every file that `looks_readable` counts, at any depth. Left out are names with a
    leading dot, the output folder, overlays that a record beside them lists, and `masks` and
    `lesions` beside `images`. A file that is reached twice counts once.

    Where results go, relative to `out`: a file's path below the folder that was given, without its
    suffix. Where two files would share that place, each keeps its suffix (`X.png`, `X.dcm`), and
    where that is not enough its parent folders come before it (`a/1.png`, `b/1.png`). A file whose
    results stand at the short place already keeps it, so adding files moves no results.

    Args:
        inputs: Files and folders.
        out: The output folder; need not exist.

    Raises:
        InputError: If a path does not exist or cannot be searched, or nothing is found.
    """
    found: dict[Path, _Found] = {}
    for path in inputs:
        for file in _files_of(path, out):
            found.setdefault(file.above / file.below, file)
    if not found:
        named = ", ".join(map(str, inputs))
        raise InputError(
            f"There is no radiograph in {named}: give a folder with files ending in "
            f"{' '.join(READABLE_SUFFIXES)} or DICOM files without a suffix, or name the files "
            "one by one."
        )
    files = list(found.values())
    places = _places(files, out)
    return [Job(str(file.path), place) for file, place in zip(files, places, strict=True)]


def _files_of(path: Path, out: Path) -> Iterator[_Found]:
    try:
        is_folder, is_there = path.is_dir(), path.is_symlink() or path.exists()
    except OSError as error:
        raise InputError(
            f"{path} cannot be reached ({error.strerror}): check the path and who may read it, or "
            "leave it out."
        ) from None
    if is_folder:
        if path.resolve() == out.resolve():
            raise InputError(f"{path} is both input and output: choose another folder for --out.")
        yield from _search(path, out)
    elif is_there:
        yield _Found(path, path.parent.resolve(), Path(path.name))
    else:
        raise InputError(f"There is no file or folder at {path}: check the path.")


def _search(folder: Path, out: Path) -> Iterator[_Found]:
    """Walk through a folder in a fixed order, into linked folders too, but into none twice."""
    above, seen = folder.resolve(), {out.resolve()}
    for here, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        place = Path(here)
        if place.resolve() in seen:
            folders.clear()
            continue
        seen.add(place.resolve())
        skipped = _NOT_RADIOGRAPHS if "images" in folders else set()
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in skipped)
        results = recorded_files(place) if RECORD in files else set()
        for name in sorted(files):
            if name[0] != "." and name not in results and looks_readable(place / name):
                yield _Found(place / name, above, place.relative_to(folder) / name)


def _refuse(error: OSError) -> None:
    """Stop at a folder that cannot be listed: its files would be missing without a word."""
    raise InputError(
        f"The folder {error.filename} cannot be searched ({error.strerror}): "
        "ask for permission to read it or leave it out."
    )


# ------------------------------------------------------------------------------------------- places


def _places(files: Sequence[_Found], out: Path) -> list[str]:
    """Give each file a place of its own, moving those that clash to longer and longer names."""
    levels = [0] * len(files)
    while True:
        groups = defaultdict(list)
        for i, file in enumerate(files):
            groups[_as_file_systems_see(_candidate(file, levels[i]))].append(i)
        clashes = [group for group in groups.values() if len(group) > 1]
        if not clashes:
            return [_candidate(file, level) for file, level in zip(files, levels, strict=True)]
        for group in clashes:
            for i in group:
                if levels[i] or not _stands_at(files[i], out / _candidate(files[i], 0)):
                    levels[i] += 1


def _candidate(file: _Found, level: int) -> str:
    """Return a file's place: 0 without suffix, 1 with it, then with one parent folder more each."""
    stem = file.below.stem
    if level == 0 and not _is_taken_name(stem):
        return str(file.below.with_name(stem))
    parents = file.above.parts[1:]
    used = max(level - 1, 0)
    if used <= len(parents):
        return str(Path(*parents[len(parents) - used :], file.below))
    # Only capitals tell such files apart, which not every file system sees.
    return f"{file.below}-{hashlib.sha256(bytes(file.above / file.below)).hexdigest()[:8]}"


def _is_taken_name(stem: str) -> bool:
    """Tell a folder name that could be taken for a result (`summary.csv`) or leads elsewhere."""
    return stem in ("", ".", "..", SUMMARY) or stem.lower().endswith(_RESULT_SUFFIXES)


def _as_file_systems_see(place: str) -> str:
    """Return what two places have in common that are one folder on macOS or Windows."""
    return unicodedata.normalize("NFC", place).casefold()


def _stands_at(file: _Found, folder: Path) -> bool:
    try:
        return bool(json.loads((folder / RECORD).read_bytes())["file"] == str(file.path))
    except (OSError, ValueError, LookupError, TypeError):
        return False
