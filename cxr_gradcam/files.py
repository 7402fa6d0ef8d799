"""Paths and names as people and disks write them, and files written whole or not at all."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

LEFTOVERS = ".*.[0-9]*.part"  # what a process that was killed while it wrote leaves in a folder


def expanded(path: str) -> Path:
    """Return a path with the user's folder in place of `~`; where there is none, as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 pathlib's raises RuntimeError


def composed(name: str) -> str:
    """Return a name in composed letters: a Mac's disk gives an umlaut as two."""
    return unicodedata.normalize("NFC", name)


def print_any_path() -> None:
    """Have this process print what its terminal or pipe cannot write as `\\u80f8`, and not fail."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def whole_file(path: Path, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open a file for writing that appears under its name when it is complete, or never.

    Args:
        path: the file; an existing one is replaced.
        mode, options: as `Path.open` takes them.

    Raises:
        OSError: when it cannot be written; the old file is then untouched.
    """
    # The process's id keeps two of them from writing one file together.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open(mode, **options) as file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that, whatever happens, either the old or the new one is there.

    The bytes reach the disk under another name before the file is put in place, and the folder is
    told to remember the new name: a power cut in between leaves the old file.

    Raises:
        OSError: when it cannot be written; the old file is then untouched.
    """
    with whole_file(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows cannot open a folder
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
