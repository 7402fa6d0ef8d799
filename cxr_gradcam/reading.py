"""What reading a picture and reading a DICOM file share: error, limits, names, grey scale."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

# Above the chest detectors and film scans in use (20 million). Reading takes up to 18 bytes a pixel
# with the decoders' own copies, so the largest picture stays below 500 MB.
MAX_PIXELS = 25_000_000
MIN_SIDE = 32
# A progressive JPEG has about ten scans. Each is drawn over the whole picture, so that 200 KB with
# thousands of scans of no content would take a minute.
MAX_JPEG_SCANS = 100
DEPTHS = (255, 1023, 4095, 16383, 65535)  # white by the bits of detectors, lookup tables and files

_TURNS = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")

Pixels = npt.NDArray[np.float32]
AnyPixels = npt.NDArray[Any]
Decoded = tuple[Pixels, list[str], str]  # grey, notes, format
T = TypeVar("T")


class RadiographError(ValueError):
    """A file cannot be read as a radiograph. One sentence: what is wrong, where, what to do."""


def printable(name: str) -> str:
    """Return a name as text that can be shown and sent: a file's may hold anything."""
    return "".join("?" if _is_unprintable(letter) else letter for letter in name)


def _is_unprintable(letter: str) -> bool:
    """Tell a control, half of a letter, a line's end, or what turns the direction of writing."""
    turns = unicodedata.bidirectional(letter) in _TURNS
    return turns or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")


def check_size(width: int, height: int, subject: str) -> None:
    """Refuse, before anything is decoded, a picture that is too large or too small."""
    size = f"{subject} has {width} x {height} pixels"
    if width * height > MAX_PIXELS:
        raise RadiographError(f"{size}, over {MAX_PIXELS // 10**6} million: export it smaller.")
    if min(width, height) < MIN_SIDE:
        raise RadiographError(f"{size}, fewer than {MIN_SIDE} on a side: choose a larger picture.")


def attempt(step: Callable[..., T], *args: Any, **options: Any) -> T | None:
    """Return what a step of a foreign decoder returns, or None where it fails.

    Decoders raise nearly anything on damaged data (struct.error, KeyError, SyntaxError,
    ZeroDivisionError, MemoryError ...), so this one place catches everything; only calls into
    Pillow, pydicom and GDCM go through it. Their messages can quote the file's contents: they are
    dropped, and the caller raises its own error outside of the handler, with no cause attached.
    """
    try:
        return step(*args, **options)
    except Exception:
        return None


def blocks(flat: AnyPixels) -> Iterator[slice]:
    """Cut flat pixels into pieces: a whole film's float64 or index copies take 8 bytes a pixel."""
    return (slice(at, at + 2**20) for at in range(0, flat.size, 2**20))


def scale(stored: AnyPixels, notes: list[str]) -> Pixels:
    """Scale stored samples to [0, 1].

    8 bits: white is 255. More bits: files often hold the 10, 12 or 14 bits of a detector in 16 and
    no field says so; white is the top of the narrowest of these depths that holds every value. What
    fits no depth (negative, wider, or fractions outside [0, 1]) is stretched, with a note.
    """
    if stored.dtype == np.uint8:
        return stored * np.float32(1 / 255)
    low, high = float(stored.min()), float(stored.max())
    depths = (1,) if stored.dtype.kind == "f" else DEPTHS
    white = next((float(white) for white in depths if high <= white), None)
    if low < 0 or white is None:
        notes.append("Its values have no fixed scale; they are shown from smallest to largest.")
        white = high
    else:
        low = 0.0
    grey = np.zeros(stored.shape, np.float32)
    into, flat = grey.reshape(-1), stored.reshape(-1)
    for block in blocks(flat) if white > low else ():
        # In float64, for float32 would round 32-bit values before they are compared.
        into[block] = (flat[block].astype(np.float64) - low) / (white - low)
    return grey
