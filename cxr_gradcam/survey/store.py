"""Looks kept on disk between starts of the server: one folder per model and dataset folder.

Each part is a file of its own that is written whole and never changed, so several servers may
share a store. What lies in it is believed film by film: only where name, size and time of the last
change still hold.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from io import BytesIO
from pathlib import Path

import numpy as np

from cxr_gradcam.files import expanded, write_whole
from cxr_gradcam.survey.folder import Film, Folder
from cxr_gradcam.survey.look import SQUARE, Looks

CACHE_VARIABLE = "CXR_CACHE"
KEPT_STORES = 16  # the least recently used beyond these are deleted
_FORMAT = 1
_SUFFIX = ".npz"
_DAMAGED = (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile)
_log = logging.getLogger(__name__)


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where this program may keep what it can make again.

    Args:
        environment: `CXR_CACHE` names the folder itself; else it is `cxr-gradcam` in the user's
            folder of caches, `XDG_CACHE_HOME` (`LOCALAPPDATA` on Windows) or `~/.cache`, or, for a
            user without a home, in that of temporary files.
    """
    named = environment.get(CACHE_VARIABLE, "").strip()
    if named:
        return expanded(named)
    named = environment.get("XDG_CACHE_HOME") or environment.get("LOCALAPPDATA") or "~/.cache"
    caches = expanded(named)
    return (caches if caches.is_absolute() else Path(tempfile.gettempdir())) / "cxr-gradcam"


class Store:
    """The looks of one model at one dataset folder.

    Where the disk refuses, parts are kept in memory, until it takes them with the next part, and
    `problem` says so in one sentence.

    Args:
        cache: the folder of all caches; see `cache_folder`.
        digest: SHA-256 of the model.
        root: the dataset folder.
    """

    def __init__(self, cache: Path, digest: str, root: Path) -> None:
        self.problem = ""
        name = hashlib.sha256(
            f"{_FORMAT} {digest} {root.resolve()}".encode(errors="surrogateescape")
        )
        self._folder = cache / "surveys" / name.hexdigest()[:32]
        self._in_memory: list[Looks] = []

    def read(self, folder: Folder, classes: int) -> Iterator[Looks]:
        """Give the looks that still hold, each film once; parts that hold nothing are deleted.

        Args:
            folder: the films as they are now.
            classes: how many the model has.
        """
        wanted = {film.key: film for film in folder.films}
        for part in self._in_memory:
            yield _take(part, wanted)
        for path in self._parts():
            try:
                part = _unpack(path.read_bytes(), classes)
            except _DAMAGED:
                _log.warning("A part of the cache is damaged and is made anew: %s", path.name)
                self._delete(path)
                continue
            taken = _take(part, wanted)
            if len(taken):
                yield taken
            else:
                self._delete(path)

    def add(self, parts: Sequence[Looks]) -> None:
        """Keep looks at films, as one part; with none there is nothing to do.

        Looks at films that could not be read do not belong here: they should be tried again.
        """
        filled = [part for part in parts if len(part)]
        if not filled:
            return
        looks = Looks.together([*self._in_memory, *filled])
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(parents=True, mode=0o700)  # names of films are nobody else's
                self._make_room()
            write_whole(self._folder / f"{uuid.uuid4().hex}{_SUFFIX}", _pack(looks))
        except OSError as error:
            self._in_memory = [looks]
            self.problem = (
                f"The results cannot be written to the disk ({error.strerror or 'output error'}): "
                "they are kept in memory for now. Set CXR_CACHE to a folder that the server may "
                "write to."
            )
        else:
            self._in_memory, self.problem = [], ""

    def _parts(self) -> list[Path]:
        with suppress(OSError):
            os.utime(self._folder)  # used now, so that other stores are deleted before this one
        try:
            return sorted(path for path in self._folder.iterdir() if path.suffix == _SUFFIX)
        except OSError:
            return []

    def _make_room(self) -> None:
        stores = [path for path in self._folder.parent.iterdir() if path != self._folder]
        stores.sort(key=_last_used, reverse=True)
        for path in stores[KEPT_STORES - 1 :]:
            shutil.rmtree(path, ignore_errors=True)

    def _delete(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("A part of the cache cannot be deleted: %s", error)


def _last_used(store: Path) -> float:
    try:
        return store.stat().st_mtime
    except OSError:  # another server has deleted it
        return 0.0


def _take(part: Looks, wanted: dict[str, Film]) -> Looks:
    """Return the films of a part that are wanted and unchanged; they are wanted no longer."""
    kept = np.zeros(len(part), bool)
    for i, (key, stamp) in enumerate(zip(part.keys.tolist(), part.stamps.tolist(), strict=True)):
        film = wanted.get(key)
        if film is not None and film.stamp == tuple(stamp):
            kept[i] = True
            del wanted[key]
    return part.only(kept)


def _pack(looks: Looks) -> bytes:
    data = BytesIO()
    np.savez(data, **vars(looks))
    return data.getvalue()


def _unpack(data: bytes, classes: int) -> Looks:
    """Read what `_pack` wrote.

    Raises:
        ValueError and others: when it is something else.
    """
    with np.load(BytesIO(data), allow_pickle=False) as arrays:
        looks = Looks(**{one.name: arrays[one.name] for one in fields(Looks)})
    count = len(looks)
    fitting = {
        "stamps": (count, 2),
        "errors": (count,),
        "logits": (count, classes),
        "probabilities": (count, classes),
        "familiarity": (count,),
        "familiar": (count,),
        "shapes": (count, 2),
        "cams": (count, 2, *looks.cams.shape[2:]),
        "pictures": (count, SQUARE, SQUARE),
    }
    if any(getattr(looks, name).shape != shape for name, shape in fitting.items()):
        raise ValueError("The arrays do not fit together.")
    return looks
