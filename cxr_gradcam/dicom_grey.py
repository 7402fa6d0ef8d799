"""The grey scale of a DICOM picture: modality, VOI LUT or window, which end is bone, padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, apply_windowing

from cxr_gradcam.reading import DEPTHS, AnyPixels, Pixels, attempt, blocks

_WINDOW_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_BEYOND = (-1e300, 1e300)  # values that no window reaches
# What a window worth following gives the film: this share of the greys between black and white,
# and this share of its pixels neither black nor white.
_LEAST_SHOWN = 1 / 8
_LEAST_BETWEEN = 1 / 20
# Where the pixels that lie further out, this share at each end, stretch the range by more than so
# much, they are dead or hot ones, and do not set black and white.
_FEW = 0.005
_STRETCH = 1.5
_MOST_TRIED = 8  # of a file's own VOI LUTs, and of its windows


class Curve(NamedTuple):
    """What a film's levels become, in any unit, and what is black and white in it."""

    values: npt.NDArray[np.float64]
    black: float
    white: float


def number(dataset: Dataset, keyword: str, default: int = 0) -> int:
    """Return a whole number of the dataset, or the default where it is missing or malformed."""
    value = attempt(lambda: int(dataset[keyword].value))
    return default if value is None else value


def map_levels(stored: AnyPixels, dataset: Dataset, notes: list[str]) -> Pixels:
    """Map stored values to grey: modality, then VOI LUT or window, then bone made the bright end.

    pydicom's functions are applied to a table of all levels that the file can hold (at most 65,536)
    instead of to the pixels: faster, and little memory for large films. With a window, black and
    white are its ends, with a VOI LUT those of its depth. Without either they are 0 and 255 in a
    film of 8 bits, as in a picture file, and else the ends of what is present.
    """
    signed = stored.dtype.kind == "i"
    top = 1 << min(max(number(dataset, "BitsStored", 16), 1), 16)
    first = min(-top // 2 if signed else 0, int(stored.min()))
    last = max(top // 2 - 1 if signed else top - 1, int(stored.max()))
    levels = np.arange(first, last + 1)
    flat = stored.reshape(-1)
    counts = np.zeros(levels.size, np.int64)
    for block in blocks(flat):
        counts += np.bincount(flat[block].astype(np.intp) - first, minlength=levels.size)
    padding = _padding(levels, dataset)
    padding &= np.any(counts[~padding])  # a film is not all padding
    counts[padding] = 0

    curve = _own_curve(levels, counts, dataset, notes)
    if curve is None:
        curve = _whole_curve(levels, counts, dataset, notes)
    span = max(curve.white - curve.black, np.finfo(np.float64).tiny)
    grey = ((curve.values - curve.black) / span).clip(0, 1)
    if _air_is_bright(dataset, notes):
        grey = 1 - grey
    grey[padding] = 0
    pixels = np.empty(stored.shape, np.float32)
    into = pixels.reshape(-1)
    for block in blocks(flat):
        into[block] = grey[flat[block].astype(np.intp) - first]
    return pixels


def _air_is_bright(dataset: Dataset, notes: list[str]) -> bool:
    """Tell whether larger values mean more rays, and so less body."""
    if dataset.get("PresentationIntentType") == "FOR PROCESSING":
        notes.append("This is the detector's raw picture, not the one for reading.")
        sign = number(dataset, "PixelIntensityRelationshipSign")
        if sign in (1, -1):
            return sign == 1
    return str(dataset.PhotometricInterpretation) == "MONOCHROME1"


def _asks(dataset: Dataset) -> bool:
    """Tell whether the file says how it wants to be shown."""
    return "VOILUTSequence" in dataset or ("WindowCenter" in dataset and "WindowWidth" in dataset)


def _own_curve(
    levels: AnyPixels, counts: npt.NDArray[np.int64], dataset: Dataset, notes: list[str]
) -> Curve | None:
    """Return the first useful of the file's own VOI LUTs and windows."""
    if not _asks(dataset):
        return None
    for curve in _own_curves(levels, dataset):
        if curve is not None and _is_useful(curve, counts):
            return curve
    notes.append("The file's own window shows next to nothing; all of its values are shown.")
    return None


def _own_curves(levels: AnyPixels, dataset: Dataset) -> Iterator[Curve | None]:
    tables = attempt(lambda: len(dataset.VOILUTSequence)) or 0
    windows = attempt(lambda: dataset["WindowCenter"].VM) or 0
    for place in range(min(tables, _MOST_TRIED)):
        yield attempt(_by_table, levels, dataset, place)
    for place in range(min(windows, _MOST_TRIED)):
        yield attempt(_by_window, levels, dataset, place)


def _is_useful(curve: Curve, counts: npt.NDArray[np.int64]) -> bool:
    """Tell whether a curve shows a film, and not next to nothing of it."""
    values, counts = curve.values[counts > 0], counts[counts > 0]
    between = (values > curve.black) & (values < curve.white)
    shown = np.ptp(values) > _LEAST_SHOWN * (curve.white - curve.black)
    return bool(shown and counts[between].sum() > _LEAST_BETWEEN * counts.sum())


def _whole_curve(
    levels: AnyPixels, counts: npt.NDArray[np.int64], dataset: Dataset, notes: list[str]
) -> Curve:
    """Return the curve that shows all values."""
    rescaled = attempt(_modality_curve, levels, dataset)
    values = levels.astype(np.float64) if rescaled is None else rescaled
    of_a_byte = levels[0] == 0 and number(dataset, "BitsStored", 16) <= 8
    if of_a_byte and not _asks(dataset) and np.array_equal(values, levels):
        return Curve(values, values[0], values[-1])
    order = np.argsort(values, kind="stable")
    share = np.cumsum(counts[order]) / counts.sum()
    black, white = values[order][np.searchsorted(share, (_FEW, 1 - _FEW))]
    low, high = values[counts > 0].min(), values[counts > 0].max()
    if high - low <= _STRETCH * (white - black) or white == black:
        return Curve(values, low, high)
    notes.append("A few pixels are far from all others; the others set its black and white.")
    return Curve(values, black, white)


def _padding(levels: AnyPixels, dataset: Dataset) -> npt.NDArray[np.bool_]:
    """Mark the levels that mean "nothing here", as around a turned film: they are shown black."""
    nowhere = int(levels[-1]) + 1
    one = number(dataset, "PixelPaddingValue", nowhere)
    ends = [one, number(dataset, "PixelPaddingRangeLimit", one)]
    if levels[0] < 0:  # some writers give a negative value as an unsigned one
        ends = [end - 65536 if end > 32767 and end != nowhere else end for end in ends]
    return (levels >= min(ends)) & (levels <= max(ends))


def _modality_curve(levels: AnyPixels, dataset: Dataset) -> npt.NDArray[np.float64]:
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        for item in dataset.get(keyword) or ():
            if "LUTDescriptor" in item:
                # pydicom 3 indexes in the table's own type: 8-bit ones overflow, 12-bit ones fail.
                item.LUTDescriptor[2] = 16
    return _finite(apply_modality_lut(levels, dataset))


def _by_table(levels: AnyPixels, dataset: Dataset, place: int) -> Curve:
    """Return what a VOI LUT makes of the levels.

    White is the top of the narrowest depth that holds its values: the depth that it names itself is
    often another.
    """
    _modality_curve(levels, dataset)  # finite, or there is no curve; it widens the tables, too
    values = _finite(apply_voi_lut(apply_modality_lut(levels, dataset), dataset, index=place))
    return Curve(values, 0, next(depth for depth in DEPTHS if values.max() <= depth))


def _by_window(levels: AnyPixels, dataset: Dataset, place: int) -> Curve:
    """Return what a window makes of the levels."""
    values = _modality_curve(levels, dataset)
    if str(dataset.get("VOILUTFunction", "")).upper() not in _WINDOW_FUNCTIONS:
        dataset.VOILUTFunction = _WINDOW_FUNCTIONS[0]
    curve = _finite(apply_windowing(np.append(values, _BEYOND), dataset, index=place))
    # pydicom scales what a window gives as the pixels are, which turns it over where they fall.
    if curve[-1] < curve[-2]:
        curve = -curve
    return Curve(curve[:-2], curve[-2], curve[-1])


def _finite(curve: AnyPixels) -> npt.NDArray[np.float64]:
    if not np.isfinite(curve).all():
        raise ValueError("the curve is not finite")
    return curve.astype(np.float64)
