"""Reading: every format and depth, every source, every error sentence, and no patient data."""

import hashlib
import io
import logging
import os
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import gdcm
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame

from cxr_gradcam import dicom as dicom_module
from cxr_gradcam import picture, radiograph
from cxr_gradcam.radiograph import Radiograph, RadiographError, load_radiograph

SHARED = Path(os.environ.get("CXR_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
SHAPE = (40, 56)  # not square, so that a swapped axis shows


def film(top: int = 255) -> np.ndarray:
    """A smooth picture of SHAPE with all of [0, top] in it, brighter to the lower right."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    values = (rows / (SHAPE[0] - 1) + columns / (SHAPE[1] - 1)) / 2
    return (values * top).round().astype(np.uint8 if top < 256 else np.uint16)


def encode(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def dicom(pixels: np.ndarray, syntax: str = uid.ExplicitVRLittleEndian, **elements) -> Dataset:
    """A computed radiograph with planted patient fields; `elements` go on top."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = uid.ComputedRadiographyImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.ComputedRadiographyImageStorage, "1.2.3"
    dataset.PatientName, dataset.PatientID = "SECRETNAME^ANNA", "SECRETID77"
    dataset.PatientBirthDate, dataset.InstitutionName = "19550505", "SECRETHOSPITAL"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    big = syntax == uid.ExplicitVRBigEndian
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def saved(dataset: Dataset, **options) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True, **options)
    return file.getvalue()


def through_gdcm(dataset: Dataset, syntax: int, folder: Path) -> bytes:
    """Compress by GDCM, the only encoder of the lossless JPEGs at hand."""
    plain, packed = folder / "plain.dcm", folder / "packed.dcm"
    plain.write_bytes(saved(dataset))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(packed))
    assert writer.Write()
    return packed.read_bytes()


def assert_shows(source, expected: np.ndarray, tolerance: float = 1e-6) -> Radiograph:
    radiograph = load_radiograph(source)
    pixels = radiograph.pixels
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    assert not pixels.flags.writeable
    assert (radiograph.height, radiograph.width) == pixels.shape == expected.shape
    assert 0 <= pixels.min() < pixels.max() <= 1
    np.testing.assert_allclose(pixels, expected, rtol=0, atol=tolerance)
    return radiograph


# ----------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_8_bit_pictures_are_divided_by_255(format: str, mode: str) -> None:
    image = Image.fromarray(film()).convert(mode)
    options = {"lossless": True} if format == "WEBP" else {}
    radiograph = assert_shows(encode(image, format, **options), film() / 255)
    assert radiograph.format == format
    assert radiograph.notes == ()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg(mode: str) -> None:
    data = encode(Image.fromarray(film()).convert(mode), "JPEG", quality=95)
    assert assert_shows(data, film() / 255, 0.02).format == "JPEG"


def test_colours_become_luminance() -> None:
    colours = np.zeros((*SHAPE, 3), np.uint8)
    colours[:, :20, 0], colours[:, 20:40, 1], colours[:, 40:, 2] = 255, 255, 255
    expected = np.zeros(SHAPE)
    expected[:, :20], expected[:, 20:40], expected[:, 40:] = 0.299, 0.587, 0.114
    assert_shows(encode(Image.fromarray(colours), "PNG"), expected, 1 / 255)


def test_palette_and_one_bit() -> None:
    ink = film() > 120
    assert_shows(encode(Image.fromarray(ink), "PNG"), ink)
    assert_shows(encode(Image.fromarray(ink), "TIFF", compression="group4"), ink)
    palette = Image.fromarray(ink.astype(np.uint8))
    palette.putpalette([51, 51, 51, 204, 204, 204])
    assert_shows(encode(palette, "PNG"), np.where(ink, 0.8, 0.2))
    assert_shows(encode(palette, "BMP"), np.where(ink, 0.8, 0.2))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_laid_over_black(mode: str) -> None:
    image = Image.fromarray(film()).convert(mode)
    alpha = np.full(SHAPE, 255, np.uint8)
    alpha[:10] = 0
    alpha[10:20] = 128
    image.putalpha(Image.fromarray(alpha))
    assert_shows(encode(image, "PNG"), film() / 255 * (alpha / 255), 1 / 255)


def test_transparent_palette_colour() -> None:
    palette = Image.fromarray((film() > 120).astype(np.uint8))
    palette.putpalette([204, 204, 204, 102, 102, 102])
    assert_shows(encode(palette, "PNG", transparency=0), np.where(film() > 120, 0.4, 0))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_16_bit_white_is_the_narrowest_depth_that_holds_the_values(format: str, bits: int) -> None:
    top = 2**bits - 1
    assert_shows(encode(Image.fromarray(film(top)), format), film(top) / top)
    darker = (film(top) * 0.9).astype(np.uint16)  # the scale does not follow the brightest pixel
    assert_shows(encode(Image.fromarray(darker), format), darker / top)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bits_per_channel_keep_their_depth(ending: str) -> None:
    light = film(4095)
    channels = [light, light // 2, light]
    for opacity in ([], [np.full_like(light, 65535)]):
        _, written = cv2.imencode(ending, np.dstack([*channels[::-1], *opacity]))
        expected = (0.299 + 0.587 / 2 + 0.114) * light / 4095
        radiograph = assert_shows(written.tobytes(), expected, 1 / 4095)
        assert len(np.unique(radiograph.pixels)) > 256
    glass = np.where(light > 2000, 65535, 0).astype(np.uint16)
    _, written = cv2.imencode(ending, np.dstack([light] * 3 + [glass]))
    assert_shows(written.tobytes(), np.where(light > 2000, light / 4095, 0), 1 / 4095)


def test_16_bits_per_channel_are_not_read_from_a_truncated_file() -> None:
    _, written = cv2.imencode(".png", np.dstack([film(4095)] * 3))
    with pytest.raises(RadiographError, match="is damaged or incomplete"):
        load_radiograph(written.tobytes()[: len(written) // 2])


def test_32_bit_tiff() -> None:
    whole = film(4095).astype(np.int32)
    assert_shows(encode(Image.fromarray(whole), "TIFF"), whole / 4095)
    wide = whole * 1000 - 7
    notes = assert_shows(encode(Image.fromarray(wide), "TIFF"), whole / 4095).notes
    assert notes == ("Its values have no fixed scale; they are shown from smallest to largest.",)


def test_float_tiff() -> None:
    values = (film() / 255 * 0.9).astype(np.float32)
    assert assert_shows(encode(Image.fromarray(values), "TIFF"), values).notes == ()
    assert assert_shows(encode(Image.fromarray(values * 300 - 5), "TIFF"), film() / 255, 1e-5).notes


def test_unsigned_32_bit_tiff() -> None:
    values = (film(65535).astype(np.uint32) << 16 | 0xFFFF).view(np.int32)
    data = encode(Image.fromarray(values), "TIFF")
    signed = struct.pack("<HHIHH", 339, 3, 1, 2, 0)
    assert data.count(signed) == 1
    data = data.replace(signed, struct.pack("<HHIHH", 339, 3, 1, 1, 0))
    assert_shows(data, film(65535) / 65535, 1e-4)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiff_of_floats_as_matlab_and_numpy_write_them(kind: type, channels: int) -> None:
    values = np.dstack([film() / 255] * channels).astype(kind)
    data = cv2.imencode(".tif", values)[1].tobytes()
    assert assert_shows(data, film() / 255).format == "TIFF"
    values[3, 4] = np.nan
    with pytest.raises(RadiographError, match="holds values that are not numbers"):
        load_radiograph(cv2.imencode(".tif", values)[1].tobytes())


def test_tiff_that_neither_library_reads_right_is_not_called_damaged() -> None:
    data = cv2.imencode(".tif", np.dstack([film(4095)] * 3))[1].tobytes()
    in_planes = struct.pack("<HHIHH", 284, 3, 1, 1, 0)
    assert data.count(in_planes) == 1
    with pytest.raises(RadiographError, match=r"stored in a way that cannot be read: export it as"):
        load_radiograph(data.replace(in_planes, struct.pack("<HHIHH", 284, 3, 1, 2, 0)))


def test_tiff_of_floats_too_large_is_refused_before_decoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = cv2.imencode(".tif", np.zeros((5000, 5001)))[1].tobytes()
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(RadiographError, match="over 25 million"):
        load_radiograph(data)


@pytest.mark.parametrize("top", [255, 65535])
def test_tiff_with_white_at_zero(top: int) -> None:
    data = encode(Image.fromarray(film(top)), "TIFF", tiffinfo={262: 0})
    entry = struct.pack("<HHI", 262, 3, 1)
    assert struct.unpack_from("<H", data, data.index(entry) + 8) == (0,)
    # Pillow's writer inverts 8-bit samples for this tag and its reader turns them back.
    assert_shows(data, film(top) / top if top == 255 else 1 - film(top) / top)


@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(format: str, orientation: int, top: int) -> None:
    upright = Image.fromarray((film() / 255 * 250).astype(np.uint8))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transpose that undoes the turn
    stored = upright.transpose(Image.Transpose(back[orientation])) if orientation > 1 else upright
    values = np.asarray(stored)
    image = Image.fromarray(values if top == 255 else values.astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_shows(encode(image, format, exif=exif), np.asarray(upright) / 255)


def test_damaged_exif_does_not_matter() -> None:
    data = encode(Image.fromarray(film()), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert_shows(data, film() / 255)


def test_more_than_one_picture_gives_the_first_and_a_note() -> None:
    first = Image.fromarray(film()).convert("RGB")
    others = [Image.fromarray(255 - film()).convert("RGB")]
    for format, options in (("TIFF", {}), ("PNG", {}), ("WEBP", {"lossless": True})):
        data = encode(first, format, save_all=True, append_images=others, **options)
        radiograph = assert_shows(data, film() / 255)
        assert radiograph.notes == ("This file holds more than one picture; the first is shown.",)


# ------------------------------------------------------------------------------------------ sources


def test_path_bytes_and_file_give_the_same(tmp_path: Path) -> None:
    data = encode(Image.fromarray(film()), "PNG")
    path = tmp_path / "film.jpg"  # the content decides, not the extension
    path.write_bytes(data)
    file = io.BytesIO(data)
    file.read()  # as an upload that was looked at before
    with path.open("rb") as opened:
        both = [load_radiograph(each) for each in (path, str(path), opened)]
    assert {each.name for each in both} == {"film.jpg"}
    both += [load_radiograph(each) for each in (data, bytearray(data), memoryview(data), file)]
    assert {each.digest for each in both} == {hashlib.sha256(data).hexdigest()}
    assert {each.format for each in both} == {"PNG"}
    assert both[-1].name == "uploaded picture"
    assert load_radiograph(data, name="C:\\films\\a\nb.png").name == "a?b.png"
    assert repr(both[0]) == "Radiograph('film.jpg', PNG, 40 x 56)"


def test_from_array() -> None:
    pixels = film() / 255
    radiograph = Radiograph.from_array(pixels, name="phantom")
    np.testing.assert_allclose(radiograph.pixels, pixels, atol=1e-7)
    assert radiograph.pixels.dtype == np.float32
    assert pixels.flags.writeable
    assert not radiograph.pixels.flags.writeable
    assert radiograph.digest != Radiograph.from_array(pixels.T, name="other").digest
    for wrong in (pixels[None], film(), pixels[:0]):
        with pytest.raises(RadiographError, match=r"phantom is not a radiograph: give floating"):
            Radiograph.from_array(wrong, name="phantom")
    with pytest.raises(RadiographError, match="phantom is a list: give a NumPy array of shape"):
        Radiograph.from_array(pixels.tolist(), name="phantom")
    for wrong in (pixels + 0.1, pixels - 0.1, pixels * np.nan):
        with pytest.raises(RadiographError, match=r"phantom has pixels outside \[0, 1\]: scale"):
            Radiograph.from_array(wrong, name="phantom")


def test_many_threads_read_what_one_reads(tmp_path: Path) -> None:
    dataset = dicom(film(4095), BitsStored=12, HighBit=11)
    files = [encode(Image.fromarray(film()), "PNG"), saved(dataset), saved(dicom(film()))]
    files.append(through_gdcm(dataset, gdcm.TransferSyntax.JPEGLosslessProcess14_1, tmp_path))
    alone = [load_radiograph(data).pixels for data in files]
    with ThreadPoolExecutor(8) as pool:
        for index, radiograph in enumerate(pool.map(load_radiograph, files * 8)):
            assert np.array_equal(radiograph.pixels, alone[index % len(files)])


# ------------------------------------------------------------------------------------------- errors


def assert_refused(source, message: str, **options) -> None:
    """The error is one sentence that matches, and nothing else hangs on it."""
    with pytest.raises(RadiographError, match=f"^{message}$") as caught:
        load_radiograph(source, **options)
    assert caught.value.__context__ is None
    assert "\n" not in str(caught.value)


def test_paths_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(tmp_path / "a.png", r"a\.png was not found: check the path\.")
    assert_refused(tmp_path, r".+ is not a file: choose a picture file\.")
    assert_refused("a\0b.png", r"a\?b\.png cannot be opened: check the path and the disk\.")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        assert_refused(tmp_path / "pipe.png", r"pipe\.png is not a file: choose a picture file\.")

    def forbid(*_: object) -> None:
        raise PermissionError

    path = tmp_path / "b.png"
    path.write_bytes(b"x")
    monkeypatch.setattr(Path, "open", forbid)  # as root, every file may be read
    assert_refused(path, r"b\.png may not be read: ask for permission to read it\.")


def test_files_that_cannot_be_read() -> None:
    closed = io.BytesIO(b"x")
    closed.close()
    assert_refused(closed, r"This picture cannot be opened: check the path and the disk\.")
    text = io.StringIO("x")
    with pytest.raises(TypeError, match="A ndarray is no file: give a path"):
        load_radiograph(np.zeros((4, 4)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="binary mode"):
        load_radiograph(text)  # a programming error, not a bad file


def test_empty_and_too_large_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(b"", r"This picture is empty: choose another file or copy it again\.")
    monkeypatch.setattr(radiograph, "MAX_FILE_BYTES", 2**20)
    message = r"big\.png is larger than 1 MB: export it smaller\."
    assert_refused(bytes(2**20 + 1), message, name="big.png")

    class Endless(io.RawIOBase):
        asked = 0

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 2**20 + 1
            self.asked += size
            return bytes(size)

    endless = Endless()
    assert_refused(endless, message, name="big.png")
    assert endless.asked == 2**20 + 1


@pytest.mark.parametrize(
    "data", [b"hello, this is text", b"%PDF-1.7" + bytes(500), bytes(5000), b"GIF89a" + bytes(99)]
)
def test_files_that_are_no_picture(data: bytes) -> None:
    assert_refused(
        data,
        r"notes\.png cannot be read as a picture: choose a PNG, JPEG, TIFF, BMP, WebP or DICOM "
        r"file\.",
        name="notes.png",
    )


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9, 0.97])
def test_truncated_pictures(format: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    data = encode(Image.fromarray(noise), format)
    assert_refused(
        data[: int(len(data) * part)],
        r"cut\.png is damaged or incomplete: copy or export it again\.",
        name="cut.png",
    )


def test_blank_and_not_finite_pictures() -> None:
    blank = np.full(SHAPE, 7, np.uint8)
    message = r"This picture is blank, all of one grey: choose another file\."
    for array in (blank, blank * np.uint16(9), blank.astype(np.int32), blank.astype(np.float32)):
        assert_refused(encode(Image.fromarray(array), "TIFF"), message)
    assert_refused(saved(dicom(blank)), message)
    hidden = Image.fromarray(film()).convert("RGBA")
    hidden.putalpha(0)
    assert_refused(encode(hidden, "PNG"), message)
    for bad in (np.nan, np.inf):
        values = film().astype(np.float32)
        values[3, 3] = bad
        message = r"This picture holds values that are not numbers: export it again\."
        assert_refused(encode(Image.fromarray(values), "TIFF"), message)
        assert_refused(encode(Image.fromarray(np.full_like(values, bad)), "TIFF"), message)


def png_head(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    head = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + head + struct.pack(">I", 99) + b"IDAT"


def test_size_limits_are_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    small = encode(Image.fromarray(film()[:31]), "PNG")
    message = r"This picture has 56 x 31 pixels, fewer than 32 on a side: choose a larger picture\."
    assert_refused(small, message)
    assert_refused(saved(dicom(film()[:31])), message)

    def refuse(*_: object) -> None:
        raise AssertionError("a bomb was decoded")

    monkeypatch.setattr(picture, "_samples", refuse)
    monkeypatch.setattr(dicom_module, "_first_frame", refuse)
    message = r"This picture has {} x {} pixels, over 25 million: export it smaller\."
    for size in ((5001, 5000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)):
        assert_refused(png_head(*size), message.format(*size))
    dataset = dicom(film(), Rows=65535, Columns=65535)
    assert_refused(saved(dataset), message.format(65535, 65535))


def test_jpeg_bomb_inside_dicom_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_module, "get_decoder", lambda _: pytest.fail("a bomb was decoded"))
    for format, syntax in (("JPEG", uid.JPEGBaseline8Bit), ("JPEG2000", uid.JPEG2000)):
        dataset = dicom(film(), syntax)
        dataset.PixelData = encapsulate([encode(Image.new("L", (3000, 2000)), format)])
        assert_refused(
            saved(dataset),
            r"This picture is a DICOM file with a damaged or incomplete picture: export it again\.",
        )


def test_jpeg_of_too_many_scans_is_refused() -> None:
    """Each scan is cheap to write and dear to draw."""
    whole = encode(Image.fromarray(film()), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    bomb = whole[:last] + whole[last:-2] * 120 + whole[-2:]
    assert_refused(bomb, r"This picture is damaged or incomplete: copy or export it again\.")
    dataset = dicom(film(), uid.JPEGBaseline8Bit)
    dataset.PixelData = encapsulate([bomb])
    message = (
        r"This picture is a DICOM file with a damaged or incomplete picture: export it again\."
    )
    assert_refused(saved(dataset), message)


def test_deflated_bomb_is_refused() -> None:
    head, body = (
        saved(dicom(film(), uid.DeflatedExplicitVRLittleEndian)),
        zlib.compressobj(9, 8, -15),
    )
    start = len(head) - len(head.partition(b"1.2.840.10008.1.2.1.99")[2])
    bomb = body.compress(bytes(4 * dicom_module.MAX_PIXELS)) + body.flush()
    data = head[: start + 100] + bomb
    assert len(data) < 2**20
    assert_refused(data, r"This picture is a damaged DICOM file: copy or export it again\.")


def test_broken_dicom_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = saved(dicom(film()))
    incomplete = r"x\.dcm is a DICOM file with a damaged or incomplete picture: export it again\."
    without = r"x\.dcm is a DICOM file without a complete picture: choose the picture's file\."
    assert_refused(whole[:-200], incomplete, name="x.dcm")
    assert_refused(whole[:400], without, name="x.dcm")
    report = get_testdata_file("test-SR.dcm", download=False)
    assert_refused(report, without, name="x.dcm")
    video = dicom(film(), uid.MPEG2MPML)
    video.PixelData = encapsulate([b"video"])
    message = r"x\.dcm is compressed in a way that cannot be read: export it uncompressed\."
    assert_refused(saved(video), message, name="x.dcm")
    deep = dicom(film().astype(np.uint32))
    message = r"x\.dcm has more than 16 bits per pixel: export it with 16 or fewer\."
    assert_refused(saved(deep), message, name="x.dcm")
    packed = through_gdcm(dicom(film()), gdcm.TransferSyntax.JPEGLosslessProcess14_1, tmp_path)
    torn = pydicom.dcmread(io.BytesIO(packed))
    frame = get_frame(torn.PixelData, 0, number_of_frames=1)
    for end in (b"", b"\xff\xd9"):
        torn.PixelData = encapsulate([frame[: len(frame) // 2] + end])
        assert_refused(saved(torn), incomplete, name="x.dcm")
    monkeypatch.setattr(dicom_module, "_GDCM_WORKER", "import os; os.abort()")
    assert_refused(packed, incomplete, name="x.dcm")


# ------------------------------------------------------------------------------------------ privacy


def test_no_patient_data_leaks(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Planted fields show up nowhere, from good files or from 400 damaged ones."""
    caplog.set_level(logging.DEBUG)
    good = saved(dicom(film(), InstitutionName="SECRETHOSPITAL"))
    said = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        radiograph = load_radiograph(good)
        said += [repr(radiograph), repr(vars(radiograph))]
        for name in ("PatientName", "PatientID"):
            for keyword in ("WindowCenter", "Rows", "RescaleSlope", "NumberOfFrames", "BitsStored"):
                # A damaged tag: the patient's name stands where a number is expected.
                tags = [
                    struct.pack("<HH", *divmod(pydicom.tag.Tag(k), 65536)) for k in (name, keyword)
                ]
                said += speak(good.replace(*tags))
        for seed in range(400):
            rng = np.random.default_rng(seed)
            bad = bytearray(good)
            for at in rng.integers(128, 700, 6):
                bad[at] = rng.integers(256)
            said += speak(bytes(bad))
    said += [str(each.message) for each in caught] + list(capfd.readouterr())
    said += [record.getMessage() + str(record.exc_info) for record in caplog.records]
    assert "SECRET" not in "".join(said)
    assert "19550505" not in "".join(said)
    assert not caught
    assert not caplog.records


def speak(data: bytes) -> list[str]:
    try:
        return [repr(vars(load_radiograph(data, name="film.dcm")))]
    except RadiographError as error:
        return [str(error), repr(error.__cause__), repr(error.__context__)]


def test_other_threads_still_hear_pydicom(caplog: pytest.LogCaptureFixture) -> None:
    """Only the thread that reads is hushed; pydicom used elsewhere warns as always."""
    heard: list[str] = []

    def other() -> None:
        try:
            pydicom.misc.warn_and_log("from elsewhere")
        except UserWarning as warning:  # pytest turns warnings into errors
            heard.append(str(warning))

    with dicom_module._hushed():
        pydicom.misc.warn_and_log("from this thread")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert heard == ["from elsewhere"]
    assert [record.message for record in caplog.records] == ["from elsewhere"]
    with pytest.warns(UserWarning, match="after"):
        pydicom.misc.warn_and_log("after")
