"""From any file to a `Radiograph`: PNG, JPEG, TIFF, BMP and WebP by Pillow, DICOM by pydicom.

Reads in stages: fetch the bytes -> tell what they are -> decode -> grey in [0, 1] -> checks. The
content decides, never the file's extension. Files come from strangers, so sizes are limited before
anything is decoded, and every failure is a `RadiographError` of one sentence.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from cxr_gradcam.dicom import PREFIX_END, has_prefix, is_dicom, read_dicom
from cxr_gradcam.picture import read_picture
from cxr_gradcam.reading import (
    MAX_PIXELS,
    MIN_SIDE,
    AnyPixels,
    Pixels,
    RadiographError,
    printable,
)

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "MIN_SIDE",
    "READABLE_SUFFIXES",
    "Radiograph",
    "RadiographError",
    "load_radiograph",
    "looks_readable",
    "radiograph_or_reason",
]

READABLE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom",
)  # fmt: skip
MAX_FILE_BYTES = 200 * 2**20
_AS_TEXT = "The file is open as text: open it in binary mode ('rb')."


@dataclass(frozen=True, eq=False, repr=False)
class Radiograph:
    """One X-ray as grey pixels, whatever the file was.

    Attributes:
        pixels: float32 (H, W) in [0, 1], C-contiguous, read-only; air dark, bone bright.
        name: The file's name without its folder, for captions.
        format: What the file was: "PNG", "JPEG", "TIFF", "BMP", "WEBP", "DICOM" or "array".
        digest: SHA-256 in hexadecimal, a key for caches: of the file's bytes, or of the pixels
            where there was no file.
        notes: Plain sentences worth telling the user about how the file was read.
    """

    pixels: Pixels
    name: str
    format: str
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """Number of rows H."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Number of columns W."""
        return int(self.pixels.shape[1])

    def __repr__(self) -> str:
        """Name, format and size; never the pixels."""
        return f"Radiograph({self.name!r}, {self.format}, {self.height} x {self.width})"

    @classmethod
    def from_array(cls, pixels: npt.NDArray[np.floating[Any]], *, name: str) -> Radiograph:
        """Build a radiograph from pixels that are grey already, such as a phantom's.

        Args:
            pixels: Floating-point (H, W) in [0, 1]; copied.
            name: A name for captions.

        Raises:
            RadiographError: If shape, type or range is not as above.
        """
        if not isinstance(pixels, np.ndarray):
            raise RadiographError(
                f"{name} is a {type(pixels).__name__}: give a NumPy array of shape (height, width)."
            )
        if pixels.ndim != 2 or 0 in pixels.shape or not np.issubdtype(pixels.dtype, np.floating):
            raise RadiographError(
                f"{name} is not a radiograph: give floating-point pixels of shape (height, width),"
                f" not {pixels.dtype} of shape {pixels.shape}."
            )
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # false for NaN too
            raise RadiographError(f"{name} has pixels outside [0, 1]: scale them to that range.")
        own = _frozen(pixels.copy())
        return cls(own, name, "array", hashlib.sha256(own.tobytes()).hexdigest())


def load_radiograph(
    source: str | os.PathLike[str] | bytes | BinaryIO, *, name: str | None = None
) -> Radiograph:
    """Read one radiograph. Safe to call from many threads at once.

    Args:
        source: A path, the file's bytes, or an open binary file (read from its start).
        name: The name to show; by default the file's own name without its folder, or "uploaded
            picture" where it has none.

    Returns:
        The radiograph, upright and grey, with notes on what the user should know.

    Raises:
        RadiographError: If the file cannot be found, read or understood, or is no radiograph.
        TypeError: If it is none of these, or a file that was not opened in binary mode.
    """
    name = _shown_name(source, name)
    subject = name or "This picture"
    data = _fetch(source, subject)
    read = read_dicom if is_dicom(data) else read_picture
    grey, notes, format = read(data, subject)
    if grey.min() == grey.max():
        raise RadiographError(f"{subject} is blank, all of one grey: choose another file.")
    digest = hashlib.sha256(data).hexdigest()
    return Radiograph(_frozen(grey), name or "uploaded picture", format, digest, tuple(notes))


def radiograph_or_reason(path: str | os.PathLike[str]) -> Radiograph | str:
    """Read one radiograph, or return the sentence that says why it cannot be read."""
    try:
        return load_radiograph(path)
    except RadiographError as error:
        return str(error)  # the exception itself would keep what was read of the file


def looks_readable(path: Path) -> bool:
    """Tell whether a file of a folder is meant as a radiograph, by its name or its first bytes.

    Such are files with one of `READABLE_SUFFIXES`, and DICOM without a suffix, as archives and
    discs give it (`IM000001`, or an identifier like `1.2.840.1`). A disc's index, `DICOMDIR`, is
    none.
    """
    suffix = path.suffix.lower()
    if suffix in READABLE_SUFFIXES or suffix.strip(".0123456789") or path.stem == "DICOMDIR":
        return suffix in READABLE_SUFFIXES
    try:
        if not path.is_file():  # a pipe would never open
            return False
        with path.open("rb") as file:
            return has_prefix(file.read(PREFIX_END))
    except OSError:
        return False


def _frozen(grey: AnyPixels) -> Pixels:
    own: Pixels = np.ascontiguousarray(grey, dtype=np.float32)
    own.flags.writeable = False
    return own


def _shown_name(source: object, name: str | None) -> str:
    """Return the last part of the file's name, printable; "" where it has none."""
    if name is None:
        path = source if isinstance(source, str | os.PathLike) else getattr(source, "name", "")
        # An open file's name may also be a number (a descriptor) or bytes.
        name = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
    last = str(name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    return printable(last)


def _fetch(source: str | os.PathLike[str] | bytes | BinaryIO, subject: str) -> bytes:
    """Return the file's bytes, never reading more than one byte past the limit."""
    try:
        data = _read_bytes(source)
        problem = "" if data else "is empty: choose another file or copy it again"
        if len(data) > MAX_FILE_BYTES:
            problem = f"is larger than {MAX_FILE_BYTES // 2**20} MB: export it smaller"
    except FileNotFoundError:
        problem = "was not found: check the path"
    except IsADirectoryError:
        problem = "is not a file: choose a picture file"
    except PermissionError:
        problem = "may not be read: ask for permission to read it"
    except (OSError, ValueError):  # ValueError: a null character in the path, or a closed file
        problem = "cannot be opened: check the path and the disk"
    if problem:
        raise RadiographError(f"{subject} {problem}.")
    return data


def _read_bytes(source: str | os.PathLike[str] | bytes | BinaryIO) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.exists() and not path.is_file():  # a pipe would be waited on for ever
            raise IsADirectoryError
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    if isinstance(source, TextIOBase):  # type: ignore[unreachable]
        raise TypeError(_AS_TEXT)
    if not hasattr(source, "read"):
        raise TypeError(
            f"A {type(source).__name__} is no file: give a path, bytes or an open file, and pixels "
            "to Radiograph.from_array."
        )
    if source.seekable():
        source.seek(0)  # an upload that was looked at before stands at its end
    data: object = source.read(MAX_FILE_BYTES + 1)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(_AS_TEXT)
    return bytes(data)
