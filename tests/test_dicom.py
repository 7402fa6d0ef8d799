"""DICOM: every syntax, every rule of its grey scale, frames, colours and real files."""

import io
from pathlib import Path

import cv2
import gdcm
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from cxr_gradcam import dicom as dicom_module
from cxr_gradcam.radiograph import load_radiograph
from tests.test_radiograph import (
    SHAPE,
    SHARED,
    assert_shows,
    dicom,
    encode,
    film,
    saved,
    through_gdcm,
)

needs_dicom = pytest.mark.skipif(
    not (SHARED / "dicom").is_dir(),
    reason="real DICOM files are not here: set CXR_SHARED_DATA to the folder of shared/data",
)
needs_films = pytest.mark.skipif(
    not (SHARED / "lung_masks").is_dir(),
    reason="real films are not here: set CXR_SHARED_DATA to the folder of shared/data",
)


@pytest.mark.parametrize(
    "syntax",
    [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
     uid.DeflatedExplicitVRLittleEndian],
)  # fmt: skip
@pytest.mark.parametrize("top", [255, 4095])
def test_dicom_syntaxes(syntax: str, top: int) -> None:
    radiograph = assert_shows(saved(dicom(film(top), syntax)), film(top) / top)
    assert radiograph.format == "DICOM"
    assert radiograph.notes == ()


@pytest.mark.parametrize("implicit", [True, False])
def test_dicom_without_preamble_and_meta(implicit: bool) -> None:
    dataset = dicom(film())
    del dataset.file_meta
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, implicit_vr=implicit, little_endian=True)
    assert file.getvalue()[:2] == b"\x08\0"
    assert_shows(file.getvalue(), film() / 255)


def test_dicom_signed_pixels_with_rescale() -> None:
    signed = film(2047).astype(np.int16) - 1000
    dataset = dicom(signed, RescaleSlope="2", RescaleIntercept="-24")
    assert_shows(saved(dataset), film(2047) / 2047)


def test_dicom_window_after_rescale() -> None:
    # Stored 0..4095, doubled and lowered by 1000, so the window 1000..5000 is stored 1000..3000.
    dataset = dicom(film(4095), RescaleSlope="2", RescaleIntercept="-1000", BitsStored=12)
    dataset.WindowCenter, dataset.WindowWidth = "3000", "4000"
    expected = ((film(4095) * 2.0 - 1000 - 1000) / 4000).clip(0, 1)
    assert_shows(saved(dataset), expected, 1e-3)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_window_after_a_falling_rescale(function: str, photometric: str) -> None:
    """Air is stored high and rescaled low, as PS3.3 C.11.1 and C.11.2 allow."""
    elements = {"WindowCenter": "2048", "WindowWidth": "1024", "VOILUTFunction": function}
    elements |= {"PhotometricInterpretation": photometric, "BitsStored": 12}
    rising = load_radiograph(saved(dicom(film(4095), **elements))).pixels
    falling = dicom(4095 - film(4095), RescaleSlope="-1", RescaleIntercept="4095", **elements)
    assert_shows(saved(falling), rising)


def test_dicom_takes_the_first_of_several_windows() -> None:
    dataset = dicom(film(4095), WindowCenter=["1000", "2000"], WindowWidth=["2000", "4000"])
    assert_shows(saved(dataset), (film(4095) / 2000).clip(0, 1), 1e-3)


@pytest.mark.parametrize("depth", [8, 12, 16])
def test_dicom_voi_table(depth: int) -> None:
    """A bent table of 1,024 entries; 8-bit ones overflow in pydicom 3.0 unless widened."""
    table = ((np.arange(1024) / 1023) ** 2 * (2**depth - 1)).round().astype(np.uint16)
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [1024, 0, depth], table.tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    dataset = dicom(film(1023), BitsStored=10, VOILUTSequence=Sequence([item]))
    assert_shows(saved(dataset), (film(1023) / 1023) ** 2, 0.003)


@pytest.mark.parametrize("named", [12, 16])
def test_dicom_voi_table_keeps_its_contrast(named: int) -> None:
    """It goes from 0.3 to 0.7 of what 12 bits hold, whatever depth it names."""
    table = (np.linspace(0.3, 0.7, 1024) * 4095).round().astype(np.uint16)
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [1024, 0, named], table.tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    dataset = dicom(film(1023), BitsStored=10, VOILUTSequence=Sequence([item]))
    assert_shows(saved(dataset), 0.3 + 0.4 * film(1023) / 1023, 0.001)


def test_dicom_modality_table() -> None:
    item = Dataset()
    item.LUTDescriptor = [1024, 0, 16]
    item.LUTData = np.arange(1023, -1, -1).astype(np.uint16).tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    dataset = dicom(film(1023), BitsStored=10, ModalityLUTSequence=Sequence([item]))
    assert_shows(saved(dataset), 1 - film(1023) / 1023)


def test_dicom_monochrome1_is_inverted_after_the_window() -> None:
    elements = {"WindowCenter": "1000", "WindowWidth": "1000", "BitsStored": 12}
    plain = load_radiograph(saved(dicom(film(4095), **elements)))
    inverted = dicom(film(4095), PhotometricInterpretation="MONOCHROME1", **elements)
    assert_shows(saved(inverted), 1 - plain.pixels)


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": " ", "WindowWidth": " "},
        {"WindowCenter": "1000"},
        {"WindowCenter": "1000", "WindowWidth": ""},
        {"VOILUTSequence": Sequence()},
        {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 65535},
    ],
)
def test_dicom_with_no_window_in_its_window_element_shows_all_values(
    elements: dict[str, object],
) -> None:
    """12 bits among 16: the ends of what 16 bits hold would show a black picture."""
    dataset = dicom(film(4095), **elements)
    if "PixelPaddingValue" in dataset:
        dataset["PixelPaddingValue"].VR = dataset["PixelPaddingRangeLimit"].VR = "US"
    assert assert_shows(saved(dataset), film(4095) / 4095).notes == ()


@pytest.mark.parametrize(
    "elements",
    [
        {"VOILUTFunction": ""},
        {"VOILUTFunction": "COSINE"},
        {"RescaleSlope": "", "RescaleIntercept": ""},
        {"RescaleSlope": "1", "RescaleIntercept": ""},
    ],
)
def test_dicom_window_beside_elements_that_say_nothing(elements: dict[str, str]) -> None:
    window = {"WindowCenter": "2000", "WindowWidth": "1500", "BitsStored": 12}
    plain = load_radiograph(saved(dicom(film(4095), **window))).pixels
    assert assert_shows(saved(dicom(film(4095), **window, **elements)), plain).notes == ()


@pytest.mark.parametrize("slope", ["1", "-1"])
def test_dicom_window_wider_than_the_values(slope: str) -> None:
    """PS3.3 C.11.2.1.2: black and white are the window's ends, wherever the values lie."""
    elements = {"WindowCenter": "2048", "WindowWidth": "8192", "BitsStored": 12}
    elements |= {"RescaleSlope": slope, "RescaleIntercept": "0" if slope == "1" else "4095"}
    shown = film(4095) if slope == "1" else 4095 - film(4095)
    assert_shows(saved(dicom(film(4095), **elements)), (shown + 2048) / 8192, 1e-3)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_dicom_values_in_the_upper_bits(kind: type, syntax: str) -> None:
    """As ACR-NEMA allowed: 12 of 16 bits from the top, an overlay below."""
    values = film(4095).astype(kind) - (2048 if kind is np.int16 else 0)
    raised = (values << 4) | np.arange(values.size).reshape(values.shape).astype(kind) % 16
    dataset = dicom(raised, BitsStored=12, HighBit=15)
    if syntax == uid.RLELossless:
        dataset.compress(syntax)
    assert_shows(saved(dataset), film(4095) / 4095)


@pytest.mark.parametrize(
    ("center", "width"), [("-9999", "10"), ("100", "0"), ("1e308", "1e-300"), ("32768", "65536")]
)
def test_dicom_unusable_window_is_left_out_with_a_note(center: str, width: str) -> None:
    dataset = dicom(film(4095))
    dataset.WindowCenter, dataset.WindowWidth = center, width
    notes = assert_shows(saved(dataset), film(4095) / 4095).notes
    assert notes == ("The file's own window shows next to nothing; all of its values are shown.",)


@pytest.mark.parametrize(("center", "width"), [("500", "1000"), ("2500", "1")])
def test_dicom_window_that_leaves_black_and_white_only_is_left_out(center: str, width: str) -> None:
    """A border of 0 beside a film that lies beyond the window fills all of its greys."""
    pixels = film(1000) + 2000
    pixels[:, :3] = 0
    radiograph = load_radiograph(saved(dicom(pixels, WindowCenter=center, WindowWidth=width)))
    assert radiograph.notes == (
        "The file's own window shows next to nothing; all of its values are shown.",
    )
    np.testing.assert_allclose(radiograph.pixels, pixels / pixels.max(), atol=1e-6)


def test_dicom_takes_the_first_useful_window() -> None:
    dataset = dicom(film(4095), WindowCenter=["90000", "1024"], WindowWidth=["10", "2048"])
    radiograph = load_radiograph(saved(dataset))
    assert radiograph.notes == ()
    assert radiograph.pixels[film(4095) > 2048].min() == 1


def test_dicom_window_beside_a_table_without_content() -> None:
    dataset = dicom(film(4095), WindowCenter="1024", WindowWidth="2048")
    dataset.VOILUTSequence = Sequence([Dataset()])
    radiograph = load_radiograph(saved(dataset))
    assert radiograph.notes == ()
    assert radiograph.pixels[film(4095) > 2048].min() == 1


def test_dicom_dead_and_hot_pixels_do_not_set_black_and_white() -> None:
    pixels = film(1000) + 4000
    pixels[0, 0], pixels[5, 5] = 0, 16383
    radiograph = load_radiograph(saved(dicom(pixels)))
    assert radiograph.notes == (
        "A few pixels are far from all others; the others set its black and white.",
    )
    shown = radiograph.pixels.copy()
    assert (shown[0, 0], shown[5, 5]) == (0, 1)
    shown[5, 5] = film(1000)[5, 5] / 1000
    np.testing.assert_allclose(shown, film(1000) / 1000, atol=0.06)


def test_dicom_of_8_bits_shows_what_a_png_shows() -> None:
    pixels = (film() // 2 + 50).astype(np.uint8)
    assert_shows(saved(dicom(pixels)), pixels / 255)
    assert_shows(encode(Image.fromarray(pixels), "PNG"), pixels / 255)


@pytest.mark.parametrize(("sign", "bright"), [(1, "air"), (-1, "bone")])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_as_the_detector_gave_it_follows_its_sign(
    sign: int, bright: str, photometric: str
) -> None:
    dataset = dicom(film(4095), PhotometricInterpretation=photometric)
    dataset.PresentationIntentType = "FOR PROCESSING"
    dataset.PixelIntensityRelationshipSign = sign
    expected = film(4095) / 4095
    notes = assert_shows(saved(dataset), 1 - expected if bright == "air" else expected).notes
    assert notes == ("This is the detector's raw picture, not the one for reading.",)


@pytest.mark.parametrize(
    ("keyword", "value", "shape"),
    [
        ("PixelAspectRatio", [2, 1], (80, 56)),
        ("ImagerPixelSpacing", [0.2, 0.4], (40, 112)),
        ("PixelSpacing", [0.4, 0.2], (80, 56)),
        ("PixelSpacing", [0.143, 0.1431], (40, 56)),
        ("PixelSpacing", [0, 0.2], (40, 56)),
        ("PixelAspectRatio", [100, 1], (40, 56)),
    ],
)
def test_dicom_pixels_that_are_not_square(
    keyword: str, value: list[float], shape: tuple[int, int]
) -> None:
    radiograph = load_radiograph(saved(dicom(film(4095), **{keyword: value})))
    expected = cv2.resize(film(4095) / np.float32(4095), shape[::-1])
    np.testing.assert_allclose(radiograph.pixels, expected, atol=0.03)
    note = "Its pixels are not square; the picture is stretched to its true proportions."
    assert radiograph.notes == ((note,) if shape != SHAPE else ())


def test_dicom_too_large_to_be_stretched_is_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_module, "MAX_PIXELS", 3000)
    data = saved(dicom(film(4095), PixelAspectRatio=[2, 1]))
    assert load_radiograph(data).pixels.shape == (40, 28)


def test_dicom_of_an_enhanced_object_is_shown_as_its_first_frame_says() -> None:
    window, rescale, measures, shared, own = (Dataset() for _ in range(5))
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = "-1", "0", "US"
    window.WindowCenter, window.WindowWidth = "-2047.5", "4096"
    measures.PixelSpacing = [0.2, 0.1]
    shared.PixelValueTransformationSequence = Sequence([rescale])
    shared.PixelMeasuresSequence = Sequence([measures])
    own.FrameVOILUTSequence = Sequence([window])
    pixels = np.stack([film(4095), film(4095)[::-1]])
    dataset = dicom(pixels, NumberOfFrames=2)
    dataset.Rows, dataset.Columns = SHAPE
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([own, Dataset()])
    radiograph = load_radiograph(saved(dataset))
    expected = cv2.resize(1 - film(4095) / np.float32(4095), (SHAPE[1], 2 * SHAPE[0]))
    np.testing.assert_allclose(radiograph.pixels, expected, atol=0.03)


@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleSlope": "2", "WindowCenter": "4095.5", "WindowWidth": "8191"},
        {"RescaleIntercept": "-1024", "WindowCenter": "1024", "WindowWidth": "4096"},
        {
            "RescaleSlope": "0",
            "RescaleIntercept": "7",
            "WindowCenter": "2048",
            "WindowWidth": "4096",
        },
    ],
)
def test_dicom_with_half_a_rescale_or_one_by_nothing(elements: dict[str, str]) -> None:
    assert_shows(saved(dicom(film(4095), **elements)), film(4095) / 4095, 0.001)


def test_dicom_without_elements_that_go_without_saying() -> None:
    dataset = dicom(film(4095))
    del dataset.SamplesPerPixel, dataset.PixelRepresentation
    dataset.PhotometricInterpretation = "MONOCHROME1"
    data = saved(dataset).replace(b"MONOCHROME1", b"monochrome1")
    assert assert_shows(data, 1 - film(4095) / 4095).notes == ()
    del dataset.PhotometricInterpretation
    assert assert_shows(saved(dataset), film(4095) / 4095).notes == (
        "The file does not say whether its bone is bright; it is taken to be.",
    )


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_padding_is_black_and_does_not_count(photometric: str) -> None:
    pixels = film(1000) + 2000
    pixels[:5] = 65000
    dataset = dicom(pixels, PhotometricInterpretation=photometric)
    dataset.add_new("PixelPaddingValue", "US", 65000)
    low, high = int(pixels[5:].min()), int(pixels[5:].max())
    expected = (pixels - float(low)) / (high - low)
    expected = 1 - expected if photometric == "MONOCHROME1" else expected
    expected[:5] = 0
    assert_shows(saved(dataset), expected)


def test_dicom_padding_range() -> None:
    pixels = film(1000).astype(np.int16)
    pixels[0, :8] = np.arange(-2004, -1996)
    dataset = dicom(pixels)
    dataset.add_new("PixelPaddingValue", "SS", -2004)
    dataset.add_new("PixelPaddingRangeLimit", "SS", -1997)
    expected = film(1000) / 1000
    expected[0, :8] = 0
    low = np.delete(pixels.ravel(), np.arange(8)).min()
    assert_shows(saved(dataset), np.where(expected, (pixels - low) / (1000 - low), 0), 1e-6)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
def test_dicom_of_many_frames_gives_the_first_and_a_note(syntax: str) -> None:
    dataset = dicom(film())
    dataset.NumberOfFrames = 12
    dataset.PixelData = np.stack([film()] + [255 - film()] * 11).tobytes()
    if syntax == uid.RLELossless:
        dataset.compress(syntax)
    radiograph = assert_shows(saved(dataset), film() / 255)
    assert radiograph.notes == ("This file holds 12 frames; the first is shown.",)


def test_dicom_colours_become_luminance() -> None:
    colours = np.stack([film(), 255 - film(), film() // 2], -1)
    expected = colours @ [0.299, 0.587, 0.114] / 255
    dataset = dicom(colours, SamplesPerPixel=3, PlanarConfiguration=0)
    dataset.PhotometricInterpretation = "RGB"
    assert_shows(saved(dataset), expected, 1 / 255)
    dataset.PhotometricInterpretation = "YBR_FULL"
    assert_shows(saved(dataset), colours[..., 0] / 255)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("format", ["JPEG", "JPEG2000"])
def test_dicom_jpeg_by_pillow(format: str, photometric: str) -> None:
    options = {"quality": 95} if format == "JPEG" else {}
    dataset = dicom(film(), uid.JPEGBaseline8Bit if format == "JPEG" else uid.JPEG2000Lossless)
    dataset.PixelData = encapsulate([encode(Image.fromarray(film()), format, **options)])
    dataset.PhotometricInterpretation = photometric
    expected = film() / 255 if photometric == "MONOCHROME2" else 1 - film() / 255
    assert_shows(saved(dataset), expected, 0.02)


@pytest.mark.parametrize("top", [255, 4095, 65535])
@pytest.mark.parametrize(
    "syntax",
    ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEGLSNearLossless"],
)
def test_dicom_lossless_jpeg(syntax: str, top: int, tmp_path: Path) -> None:
    dataset = dicom(film(top), BitsStored=top.bit_length(), HighBit=top.bit_length() - 1)
    data = through_gdcm(dataset, getattr(gdcm.TransferSyntax, syntax), tmp_path)
    assert pydicom.dcmread(io.BytesIO(data)).file_meta.TransferSyntaxUID.is_compressed
    assert_shows(data, film(top) / top, 1e-6)


def test_dicom_12_bit_jpeg(tmp_path: Path) -> None:
    dataset = dicom(film(4095), BitsStored=12, HighBit=11)
    data = through_gdcm(dataset, gdcm.TransferSyntax.JPEGExtendedProcess2_4, tmp_path)
    assert_shows(data, film(4095) / 4095, 2e-3)


@pytest.mark.parametrize("name", [
    "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_expb.dcm", "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm",
])  # fmt: skip
def test_pydicoms_own_files_show_the_same_in_every_syntax(name: str) -> None:
    plain = load_radiograph(get_testdata_file("MR_small.dcm", download=False))
    assert_shows(get_testdata_file(name, download=False), plain.pixels)


@pytest.mark.parametrize("name", [
    "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_dcmtk_+eb+cy+s2.dcm",
    "SC_rgb_gdcm_KY.dcm", "SC_rgb_jls_lossy_line.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm",
    "SC_rgb_rle_2frame.dcm",
])  # fmt: skip
def test_pydicoms_own_colour_files_show_the_same_in_every_syntax(name: str) -> None:
    plain = load_radiograph(get_testdata_file("SC_rgb_rle_16bit.dcm", download=False))
    assert_shows(get_testdata_file(name, download=False), plain.pixels, 0.03)


@needs_dicom
def test_real_dicom_files_follow_their_photometric_interpretation() -> None:
    """The two files hold the same stored pixels under two tags, so one is the other's negative."""
    shown = load_radiograph(SHARED / "dicom" / "monochrome2.dcm")
    negative = load_radiograph(SHARED / "dicom" / "monochrome1.dcm")
    assert shown.pixels.shape == (1024, 1024)
    np.testing.assert_allclose(negative.pixels, 1 - shown.pixels, atol=1e-6)
    lung, spine = shown.pixels[300:500, 300:400], shown.pixels[500:700, 520:580]
    assert lung.mean() < 0.6 * spine.mean()


@needs_dicom
def test_real_dicom_with_the_other_tag_and_inverted_pixels_is_the_same_film() -> None:
    dataset = pydicom.dcmread(SHARED / "dicom" / "monochrome2.dcm")
    dataset.decompress()
    film_shown = load_radiograph(saved(dataset))
    dataset.PixelData = bytes(255 - np.frombuffer(dataset.PixelData, np.uint8))
    dataset.PhotometricInterpretation = "MONOCHROME1"
    assert_shows(saved(dataset), film_shown.pixels)


@needs_films
def test_real_films_are_read() -> None:
    paths = sorted((SHARED / "lung_masks" / "images").iterdir())[::20]
    assert len(paths) > 20
    for path in paths:
        radiograph = load_radiograph(path)
        assert radiograph.notes == ()
        assert radiograph.pixels.std() > 0.05
