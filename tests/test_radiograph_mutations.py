"""Unbreakable reading: thousands of damaged files give a radiograph or a `RadiographError`.

Nothing else may come out, none may take 5 s, and none may take 500 MB. The memory is the peak of
the process's resident memory, set back before each file (Linux only; elsewhere it is not checked):
a limit on the address space would mostly count libraries that are mapped and not used. GDCM's own
process has a limit of its own. The draws are the same in every run.
"""

import io
import os
import re
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from cxr_gradcam.radiograph import MIN_SIDE, READABLE_SUFFIXES, RadiographError, load_radiograph
from tests.test_radiograph import SHARED, dicom, encode, film, gdcm, saved, through_gdcm

MAX_SECONDS = 5
MAX_MEGABYTES = 500


# -------------------------------------------------------------------------------------- whole files


@cache
def pictures() -> list[bytes]:
    """One small file of every mode, depth and compression, and a few real films."""
    grey = Image.fromarray(film())
    colour = Image.merge("RGB", (grey, grey.transpose(Image.Transpose.ROTATE_180), grey))
    clear = colour.copy()
    clear.putalpha(grey)
    deep, wide = Image.fromarray(film(4095)), Image.fromarray(film(4095).astype(np.int32))
    real = Image.fromarray((film() / 255).astype(np.float32))
    ink, few, inks = grey.convert("1"), colour.quantize(16), colour.convert("CMYK")
    turned = Image.Exif()
    turned[0x0112] = 6
    both = {"save_all": True, "append_images": [colour.transpose(Image.Transpose.ROTATE_180)]}
    files = [encode(each, "PNG") for each in (grey, colour, clear, clear.convert("LA"), deep, few)]
    files += [encode(ink, "PNG", exif=turned), encode(colour, "PNG", **both)]
    files += [encode(each, "JPEG", exif=turned) for each in (grey, colour, inks)]
    files += [encode(grey, "JPEG", progressive=True)]
    modes = (grey, colour, clear, deep, wide, real, ink, few, inks)
    files += [encode(each, "TIFF") for each in modes]
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files.append(encode(grey, "TIFF", compression=compression))
    files += [encode(ink, "TIFF", compression="group4"), encode(colour, "TIFF", **both)]
    files += [encode(each, "BMP") for each in (grey, colour, few, ink)]
    files += [encode(colour, "WEBP"), encode(clear, "WEBP", lossless=True)]
    files += [encode(colour, "WEBP", **both)]
    for ending, channels in ((".png", 3), (".png", 4), (".tif", 3)):
        _, written = cv2.imencode(ending, np.dstack([film(4095)] * channels))
        files.append(written.tobytes())
    for channels in (1, 3):  # floats that Pillow does not read
        _, written = cv2.imencode(".tif", np.dstack([film() / 255] * channels))
        files.append(written.tobytes())
    for folder in ("COVID-19_Radiography_Dataset/COVID/images", "lung_masks/images"):
        if (SHARED / folder).is_dir():
            files += [path.read_bytes() for path in sorted((SHARED / folder).iterdir())[:3]]
    return files


@cache
def dicoms() -> list[bytes]:
    """DICOM files in every syntax that is decoded within this process, and the real ones."""
    signed = dicom(film(2047).astype(np.int16) - 1000, RescaleSlope="2", RescaleIntercept="-24")
    signed.WindowCenter, signed.WindowWidth = "1000", "3000"
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [1024, 0, 12], np.arange(1024, dtype=np.uint16).tobytes()
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    bent = dicom(film(1023), VOILUTSequence=[table], PhotometricInterpretation="MONOCHROME1")
    window, group = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = "2000", "3000"
    group.FrameVOILUTSequence = [window]
    grouped = dicom(film(4095), SharedFunctionalGroupsSequence=[group], PixelAspectRatio=[2, 1])
    files = [saved(signed), saved(bent), saved(grouped)]
    plain = (uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian)
    files += [saved(dicom(film(4095), syntax)) for syntax in plain]
    files.append(saved(dicom(film(), uid.DeflatedExplicitVRLittleEndian)))
    for format, syntax in (("JPEG", uid.JPEGBaseline8Bit), ("JPEG2000", uid.JPEG2000)):
        packed = dicom(film(), syntax)
        picture = encode(Image.fromarray(film()), format)
        packed.PixelData = pydicom.encaps.encapsulate([picture])
        files.append(saved(packed))
    names = ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_rle_2frame.dcm"]
    names += ["SC_rgb_dcmtk_+eb+cy+s2.dcm", "SC_ybr_full_422_uncompressed.dcm"]
    files += [Path(get_testdata_file(name, download=False)).read_bytes() for name in names]
    if (SHARED / "dicom").is_dir():
        files += [path.read_bytes() for path in sorted((SHARED / "dicom").iterdir())]
    return files


@cache
def lossless_dicoms() -> list[bytes]:
    """DICOM files for GDCM, whose damaged streams kill its process now and then."""
    names = ["JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEGExtendedProcess2_4"]
    dataset = dicom(film(4095), BitsStored=12, HighBit=11)
    with tempfile.TemporaryDirectory() as folder:
        kinds = [getattr(gdcm.TransferSyntax, name) for name in names]
        return [through_gdcm(dataset, kind, Path(folder)) for kind in kinds]


# ------------------------------------------------------------------------------------------ damages

NUMBERS = [
    *(struct.pack("<H", value) for value in (0, 1, 31, 255, 32767, 65535)),
    *(struct.pack(end + "I", v) for end in "<>" for v in (0, 1, 6000, 65536, 2**31 - 1, 2**32 - 1)),
]


def flip(data: bytearray, at: int, other: bytes, extra: int) -> None:
    data[at] ^= 1 << extra % 8


def replace(data: bytearray, at: int, other: bytes, extra: int) -> None:
    data[at] = extra % 256


def absurd_number(data: bytearray, at: int, other: bytes, extra: int) -> None:
    number = NUMBERS[extra % len(NUMBERS)]
    data[at : at + len(number)] = number


def truncate(data: bytearray, at: int, other: bytes, extra: int) -> None:
    del data[at:]


def cut_out(data: bytearray, at: int, other: bytes, extra: int) -> None:
    del data[at : at + extra % 60]


def repeat_chunk(data: bytearray, at: int, other: bytes, extra: int) -> None:
    data[at:at] = data[extra % len(data) :][:80]


def splice(data: bytearray, at: int, other: bytes, extra: int) -> None:
    data[at : at + extra % 400] = other[extra % len(other) :][: extra % 400]


def swap_header(data: bytearray, at: int, other: bytes, extra: int) -> None:
    data[: extra % 200] = other[: extra % 200]


def mend_png(data: bytearray, at: int, other: bytes, extra: int) -> None:
    """Correct the checksums, so that damage gets past them (an odd mode, an absurd size)."""
    at = 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4


DAMAGES: list[Callable[[bytearray, int, bytes, int], None]] = [
    flip, replace, absurd_number, truncate, cut_out, repeat_chunk, splice, swap_header, mend_png,
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, files: list[bytes]) -> bytes:
    """One to five damages to one file, most of them near its start, where the headers are."""
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 5))):
        damage = draw(st.sampled_from(DAMAGES))
        reach = draw(st.sampled_from([32, 200, 1000, len(data)]))
        at, extra = draw(st.integers(0, 2**20)), draw(st.integers(0, 2**20))
        if data:
            damage(data, at % min(reach, len(data)), files[extra % len(files)], extra)
    if draw(st.booleans()):
        mend_png(data, 0, b"", 0)
    return bytes(data)


# --------------------------------------------------------------------------------------- properties


def memory(key: str) -> float:
    """Megabytes from /proc: VmRSS now, VmHWM the peak since it was set back."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(key)), 0)


def set_back_peak() -> None:
    peak = Path("/proc/self/clear_refs")
    if os.access(peak, os.W_OK):
        peak.write_text("5")


def read_safely(data: bytes, name: str = "film.png") -> None:
    """Read and check all that is promised."""
    set_back_peak()
    before, start = memory("VmRSS"), time.perf_counter()
    error = pixels = None
    try:
        pixels = load_radiograph(data, name=name).pixels
    except RadiographError as refusal:
        error = refusal
    assert time.perf_counter() - start < MAX_SECONDS
    assert memory("VmHWM") - before < MAX_MEGABYTES
    if error:
        assert re.fullmatch(rf"{re.escape(name)} [^\n]+: [^\n]+\.", str(error))
        assert error.__context__ is None
    else:
        assert pixels.dtype == np.float32
        assert pixels.ndim == 2
        assert min(pixels.shape) >= MIN_SIDE
        assert not pixels.flags.writeable
        assert 0 <= pixels.min() < pixels.max() <= 1


@pytest.mark.parametrize(
    ("files", "count"), [(pictures, 1400), (dicoms, 800), (lossless_dicoms, 100)]
)
def test_damaged_files(files: Callable[[], list[bytes]], count: int) -> None:
    read = 0

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,  # `read_safely` measures the reading alone
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(files()), st.sampled_from(READABLE_SUFFIXES))
    def every_file_is_read_safely(data: bytes, suffix: str) -> None:
        nonlocal read
        read += 1
        read_safely(data, f"film{suffix}")

    every_file_is_read_safely()
    assert read >= count


def odd_elements() -> Iterator[tuple[str, str, object]]:
    numbers = "Rows Columns BitsAllocated BitsStored HighBit SamplesPerPixel PixelRepresentation"
    for keyword in (numbers + " PlanarConfiguration PixelPaddingValue").split():
        yield from ((keyword, "US", value) for value in (0, 1, 2, 3, 7, 12, 33, 64, 255, 65535))
    for keyword in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"):
        yield from ((keyword, "DS", v) for v in ("0", "-1", "1e300", "-1e-300", "", "1\\2", "NaN"))
    for value in (
        "MONOCHROME1",
        "RGB",
        "YBR_FULL_422",
        "YBR_ICT",
        "PALETTE COLOR",
        "X",
        "",
        "A\\B",
    ):
        yield "PhotometricInterpretation", "CS", value
    yield from (("NumberOfFrames", "IS", v) for v in ("0", "-3", "2147483647", "", "5\\6"))
    yield from (("VOILUTFunction", "CS", v) for v in ("SIGMOID", "LINEAR_EXACT", "NONE"))


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # while writing what it must not accept
@pytest.mark.parametrize("kind", range(9))
def test_odd_elements(kind: int) -> None:
    """Each element of the picture on its own, with values that no film has: about 1,100 files."""
    for keyword, vr, value in odd_elements():
        dataset = pydicom.dcmread(io.BytesIO(dicoms()[kind]))
        if dataset.file_meta.TransferSyntaxUID == uid.DeflatedExplicitVRLittleEndian:
            dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        dataset.add(pydicom.DataElement(keyword, vr, value, validation_mode=0))
        read_safely(saved(dataset), "film.dcm")


def test_wrong_extensions(tmp_path: Path) -> None:
    """The content decides: every file under every extension shows the same."""
    for index, data in enumerate(pictures() + dicoms()):
        right = load_radiograph(data)
        path = tmp_path / f"film{READABLE_SUFFIXES[index % len(READABLE_SUFFIXES)]}"
        path.write_bytes(data)
        assert np.array_equal(load_radiograph(path).pixels, right.pixels)
        read_safely(data, "film.txt")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # with errors, more would be refused
@pytest.mark.parametrize("files", [pictures, dicoms])
def test_no_truncated_file_shows_half_a_picture(files: Callable[[], list[bytes]]) -> None:
    """A file cut anywhere is refused, unless its (first) picture was whole: then it is the same."""
    for data in files():
        whole, refused = load_radiograph(data).pixels, 0
        for part in np.linspace(0.02, 0.99, 20):
            try:
                assert np.array_equal(load_radiograph(data[: int(len(data) * part)]).pixels, whole)
            except RadiographError:
                refused += 1
        assert refused >= 8
