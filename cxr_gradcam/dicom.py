"""DICOM by pydicom: the first frame to grey. No patient field is parsed, kept, shown or logged."""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from io import BytesIO

import cv2
import numpy as np
import pydicom.misc
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut

from cxr_gradcam.dicom_grey import map_levels, number
from cxr_gradcam.reading import (
    MAX_JPEG_SCANS,
    MAX_PIXELS,
    AnyPixels,
    Decoded,
    Pixels,
    RadiographError,
    attempt,
    check_size,
    scale,
)

# Only these elements are ever parsed into a dataset: none describes the patient.
_ELEMENTS = [
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "RescaleIntercept", "RescaleSlope", "ModalityLUTSequence",
    "VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationIntentType",
    "PixelIntensityRelationshipSign", "PixelAspectRatio", "ImagerPixelSpacing", "PixelSpacing",
    "NominalScannedPixelSpacing", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData", "PixelData", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
]  # fmt: skip
_NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
_BY_PILLOW = (uid.JPEGBaseline8Bit, uid.JPEG2000Lossless, uid.JPEG2000)
_BY_GDCM = (
    uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1,
    uid.JPEGLSLossless, uid.JPEGLSNearLossless,
)  # fmt: skip
_PLUGINS = dict.fromkeys(_NATIVE, "") | dict.fromkeys(_BY_PILLOW, "pillow") | {
    uid.RLELossless: "pydicom"
}  # fmt: skip
PREFIX_END = 132
# Where an enhanced object says of its frames what other objects say at the top.
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelMeasuresSequence")
# What gives a pixel's height and width; the first that is there counts.
_PROPORTIONS = (
    "PixelAspectRatio", "ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing"
)  # fmt: skip
_SQUARE = 0.01  # as far from a square as a pixel may be
_LONGEST = 8  # times as long as wide; beyond it, it is a mistake
# The file's head for an inflated dataset, which is explicit VR little endian.
_PLAIN_HEAD = bytes(128) + b"DICM\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
# Markers in the JPEG family: those that give the size, and those after which coded data follows.
_JPEG_SIZE = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_JPEG_2000_SIZE = 0x51
_JPEG_DATA = {0xDA, 0x90}

_this_thread = threading.local()


class _Hush(logging.Filter):
    """Drops what pydicom logs and warns in a thread that reads here: it may quote patient data.

    `warnings.catch_warnings` changes the whole process and is not safe with threads. But pydicom
    sends every warning through one function of `pydicom.misc`; there, this stands in for the module
    `warnings` and passes on all that comes from other threads.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_this_thread, "reads", False)

    def warn(
        self, message: str, category: type[Warning] | None = None, stacklevel: int = 1
    ) -> None:
        if not getattr(_this_thread, "reads", False):
            warnings.warn(message, category, stacklevel=stacklevel + 1)


_hush = _Hush()
setattr(pydicom.misc, "warnings", _hush)  # noqa: B010 (mypy knows no such attribute)
for _logger in ("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils"):
    logging.getLogger(_logger).addFilter(_hush)


@contextmanager
def _hushed() -> Iterator[None]:
    _this_thread.reads = True
    try:
        with np.errstate(all="ignore"):  # numpy's complaints about absurd windows
            yield
    finally:
        _this_thread.reads = False


def is_dicom(data: bytes) -> bool:
    """Tell DICOM by its prefix, or without one by a first element of group 0002 or 0008."""
    groups = (b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08")
    return has_prefix(data) or (data[:2] in groups and len(data) > PREFIX_END)


def has_prefix(data: bytes) -> bool:
    """Tell whether there is DICOM's prefix after its 128 bytes for anything."""
    return data[128:PREFIX_END] == b"DICM"


def read_dicom(data: bytes, subject: str) -> Decoded:
    """Read the first frame of a DICOM file.

    Args:
        data: the file's bytes, for which `is_dicom` holds.
        subject: how an error names the file.

    Returns:
        float32 (H, W) in [0, 1] with bone bright, notes for the user, and "DICOM".

    Raises:
        RadiographError: If the file is damaged, holds no picture, or one that cannot be read.
    """
    with _hushed():
        dataset = attempt(_parse, data)
        if dataset is None:
            raise RadiographError(f"{subject} is a damaged DICOM file: copy or export it again.")
        if "PixelData" not in dataset:
            raise RadiographError(
                f"{subject} is a DICOM file without a complete picture: choose the picture's file."
            )
        notes: list[str] = []
        attempt(_complete, dataset, notes)
        check_size(number(dataset, "Columns"), number(dataset, "Rows"), subject)
        if dataset.file_meta.TransferSyntaxUID not in (*_PLUGINS, *_BY_GDCM):
            raise RadiographError(
                f"{subject} is compressed in a way that cannot be read: export it uncompressed."
            )
        if number(dataset, "BitsAllocated") > 16:
            raise RadiographError(
                f"{subject} has more than 16 bits per pixel: export it with 16 or fewer."
            )
        stored = attempt(_first_frame, dataset)
        if stored is None:
            raise RadiographError(
                f"{subject} is a DICOM file with a damaged or incomplete picture: export it again."
            )
        del dataset.PixelData
        if (frames := number(dataset, "NumberOfFrames")) > 1:
            notes.append(f"This file holds {frames} frames; the first is shown.")
        coloured = "MONOCHROME" not in str(dataset.PhotometricInterpretation)
        grey = scale(stored, notes) if coloured else map_levels(stored, dataset, notes)
        return _square(grey, dataset, notes), notes, "DICOM"


def _parse(data: bytes) -> Dataset:
    """Parse the elements named above that have a value, and no other."""
    if uid.DeflatedExplicitVRLittleEndian.encode() in data:
        data = _inflate(data)
    dataset = dcmread(BytesIO(data), force=True, specific_tags=list(_ELEMENTS))
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        plain = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = plain if little else uid.ExplicitVRBigEndian
    for keyword in _GROUPS:
        attempt(_lift_first_group, dataset, keyword)
        dataset.pop(keyword, None)
    for tag in list(dataset.keys()):
        if _is_empty(dataset.get_item(tag).value):
            del dataset[tag]  # says nothing, but pydicom would ask it
    return dataset


def _lift_first_group(dataset: Dataset, keyword: str) -> None:
    """Move what an enhanced object says of its first frame to where other objects say it."""
    for group in dataset.get(keyword, [])[:1]:
        for macro in _MACROS:
            for item in group.get(macro, [])[:1]:
                for element in item:
                    if element.keyword in _ELEMENTS:
                        dataset[element.tag] = element


def _complete(dataset: Dataset, notes: list[str]) -> None:
    """Add what older and careless writers leave out where it goes without saying."""
    if "PhotometricInterpretation" not in dataset:
        dataset.PhotometricInterpretation = "MONOCHROME2"
        notes.append("The file does not say whether its bone is bright; it is taken to be.")
    photometric = str(dataset.PhotometricInterpretation).upper()
    dataset.PhotometricInterpretation = photometric
    coloured = photometric.startswith(("RGB", "YBR"))
    dataset.setdefault("SamplesPerPixel", 3 if coloured else 1)
    dataset.setdefault("PixelRepresentation", 0)
    if coloured:
        dataset.setdefault("PlanarConfiguration", 0)
    if attempt(lambda: float(dataset.RescaleSlope)) == 0:  # which would leave nothing
        del dataset.RescaleSlope
        dataset.pop("RescaleIntercept", None)
    # pydicom rescales only where it finds both.
    if "RescaleSlope" in dataset or "RescaleIntercept" in dataset:
        dataset.setdefault("RescaleSlope", 1)
        dataset.setdefault("RescaleIntercept", 0)


def _is_empty(value: object) -> bool:
    """Tell whether an element holds nothing, or spaces only, which numbers as text may have."""
    if isinstance(value, bytes) and len(value) <= 16:  # no number as text is longer
        value = value.strip(b" ")
    return value is None or (isinstance(value, Sized) and not len(value))


def _inflate(data: bytes) -> bytes:
    """Inflate a deflated dataset up to a limit: pydicom would inflate it without one."""
    file = BytesIO(data)
    read_preamble(file, force=True)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    if meta.TransferSyntaxUID != uid.DeflatedExplicitVRLittleEndian:
        raise ValueError("the deflated syntax is named outside of the header")
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = stream.decompress(file.read(), 3 * MAX_PIXELS)
    if not stream.eof:
        raise ValueError("the deflated dataset is incomplete or too large")
    return _PLAIN_HEAD + plain


def _square(grey: Pixels, dataset: Dataset, notes: list[str]) -> Pixels:
    """Stretch a picture whose pixels are not square, as on digitised films, to its proportions."""
    tall = next(
        filter(None, (attempt(_height_of_pixel, dataset, key) for key in _PROPORTIONS)), 1.0
    )
    if abs(tall - 1) <= _SQUARE or not 1 / _LONGEST <= tall <= _LONGEST:
        return grey
    rows, columns = grey.shape
    if rows * columns * max(tall, 1 / tall) <= MAX_PIXELS:
        size = (columns, round(rows * tall)) if tall > 1 else (round(columns / tall), rows)
    else:
        size = (round(columns / tall), rows) if tall > 1 else (columns, round(rows * tall))
    notes.append("Its pixels are not square; the picture is stretched to its true proportions.")
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)


def _height_of_pixel(dataset: Dataset, keyword: str) -> float:
    """Return a pixel's height by its width."""
    down, across = map(float, dataset[keyword].value)
    return down / across


def _first_frame(dataset: Dataset) -> AnyPixels:
    """Decode the first frame only: integers (H, W), colours as luminance."""
    syntax = dataset.file_meta.TransferSyntaxUID
    photometric = str(dataset.PhotometricInterpretation)
    if syntax in (*_BY_PILLOW, *_BY_GDCM):
        frames = max(number(dataset, "NumberOfFrames"), 1)
        frame = get_frame(dataset.PixelData, 0, number_of_frames=frames)
        # Decoders allocate by the stream's own header, whatever Rows and Columns say.
        if _coded_size(frame) != (dataset.Columns, dataset.Rows):
            raise ValueError("the stream and the dataset differ in size")
    if syntax in _BY_GDCM:
        stored = _decode_by_gdcm(frame, dataset)
    else:
        high_bit = number(dataset, "HighBit")
        raised = syntax not in _BY_PILLOW and high_bit >= dataset.BitsStored
        stored, properties = get_decoder(syntax).as_array(
            dataset,
            index=0,
            raw=True,
            decoding_plugin=_PLUGINS[syntax],
            view_only=True,  # type: ignore[arg-type]  # pydicom annotates its options wrongly
            correct_unused_bits=not raised,  # type: ignore[arg-type]
        )
        if raised:
            stored = _lowered(stored, dataset.BitsStored, high_bit)
        photometric = str(properties["photometric_interpretation"])
    if photometric == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
    if stored.ndim == 2:
        return stored
    if photometric.startswith("YBR"):
        return np.ascontiguousarray(stored[..., 0])  # Y is the luminance
    light = np.empty(stored.shape[:2], stored.dtype)
    for into, row in zip(light, stored, strict=True):
        into[:] = (row @ np.array([0.299, 0.587, 0.114])).round()
    return light


def _lowered(stored: AnyPixels, bits: int, high_bit: int) -> AnyPixels:
    """Return values that stand in the upper bits of their words, as older writers put them.

    Where they fit into the lower bits as they are, that is where they stand: writers name a high
    bit carelessly. Below and above them there may be overlays.
    """
    word = 8 * stored.dtype.itemsize
    if stored.min() >= -(1 << bits - 1) and stored.max() < 1 << bits:
        high_bit = bits - 1
    if not 0 < bits <= high_bit + 1 <= word:
        raise ValueError("there is no such bit")
    return stored << (word - 1 - high_bit) >> (word - bits)


def _coded_size(frame: bytes) -> tuple[int, int]:
    """Return (width, height) from the header of a JPEG, JPEG-LS or JPEG 2000 stream."""
    if frame.startswith(b"\xff\xd8") and frame.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise ValueError("the stream has too many scans")
    at = max(frame.find(b"\xff\x4f\xff\x51"), 0) + 2  # JPEG 2000 may lie in a JP2 wrapper
    sizes = []
    while (marker := frame[at + 1]) not in _JPEG_DATA:
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _JPEG_SIZE:
            height, width = struct.unpack_from(">HH", frame, at + 5)
            sizes.append((width, height))
        elif marker == _JPEG_2000_SIZE:
            right, bottom, left, top = struct.unpack_from(">4I", frame, at + 6)
            sizes.append((right - left, bottom - top))
        at += 2 + int(struct.unpack_from(">H", frame, at + 2)[0])
    (size,) = sizes  # decoders differ in which of two headers they follow
    return size


# GDCM alone decodes the rarer JPEGs, but about 1 in 200 damaged streams kills its process (version
# 3.2.6: aborts and segmentation faults). So it runs in a process of its own, 0.07 s a file.
_GDCM_WORKER = """
import sys, gdcm
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (500_000_000, 500_000_000))
except ImportError:
    pass  # Windows
syntax, photometric, *numbers = sys.argv[1:]
columns, rows, samples, planar, allocated, stored, signed = map(int, numbers)
fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
fragment.SetByteStringValue(sys.stdin.buffer.read())
fragments.AddFragment(fragment)
element, image = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010)), gdcm.Image()
element.SetValue(fragments.__ref__())
image.SetNumberOfDimensions(2)
image.SetDimensions((columns, rows, 1))
image.SetDataElement(element)
interpretation = gdcm.PhotometricInterpretation.GetPIType(photometric)
image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(interpretation))
if samples > 1:
    image.SetPlanarConfiguration(planar)
image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
image.SetPixelFormat(gdcm.PixelFormat(samples, allocated, stored, stored - 1, signed))
text = image.GetBuffer()  # bytes disguised as a string
for at in range(0, len(text), 2**20):
    sys.stdout.buffer.write(text[at : at + 2**20].encode("utf-8", "surrogateescape"))
"""


def _decode_by_gdcm(frame: bytes, dataset: Dataset) -> AnyPixels:
    """Decode one frame in another process, which may crash, hang or overeat without harm here."""
    rows, columns, samples = dataset.Rows, dataset.Columns, dataset.SamplesPerPixel
    bits, signed = dataset.BitsStored, dataset.PixelRepresentation == 1
    planar = number(dataset, "PlanarConfiguration")
    numbers = (columns, rows, samples, planar, dataset.BitsAllocated, bits, int(signed))
    syntax, photometric = dataset.file_meta.TransferSyntaxUID, dataset.PhotometricInterpretation
    done = subprocess.run(
        [sys.executable, "-I", "-c", _GDCM_WORKER, syntax, photometric, *map(str, numbers)],
        input=frame,
        capture_output=True,
        timeout=4 + rows * columns / 1e6,
        check=True,
    )
    if b"Corrupt" in done.stderr or b"Premature" in done.stderr:
        raise ValueError("the stream is damaged")
    width = len(done.stdout) // (rows * columns * samples)
    if not 0 < bits <= 8 * width:
        raise ValueError("the stream holds fewer bits than the dataset says")
    stored = np.frombuffer(done.stdout, f"{'i' if signed else 'u'}{width}")
    if signed:  # the sign stands in the highest stored bit, not in the container's
        stored = stored << (8 * width - bits) >> (8 * width - bits)
    return stored.reshape((rows, columns) if samples == 1 else (rows, columns, samples))
