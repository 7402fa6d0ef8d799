"""Pictures by Pillow: PNG, JPEG, TIFF, BMP and WebP to grey."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
from PIL import ImageChops
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from cxr_gradcam.reading import (
    MAX_JPEG_SCANS,
    AnyPixels,
    Decoded,
    RadiographError,
    attempt,
    check_size,
    scale,
)

# Named classes instead of `Image.open`: no other decoder can be reached, and an oversized header
# meets our limit rather than Pillow's warning.
_DECODERS: dict[bytes, type[ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImageFile),
    b"BM": BmpImageFile,
    b"RIFF": WebPImageFile,
}
# EXIF orientation -> how to turn the stored picture upright.
_UPRIGHT: dict[int, Callable[[AnyPixels], AnyPixels]] = {
    1: np.asarray,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).T,
    8: np.rot90,
}


def read_picture(data: bytes, subject: str) -> Decoded:
    """Read the first picture of a PNG, JPEG, TIFF, BMP or WebP file, upright.

    Args:
        data: the file's bytes.
        subject: how an error names the file.

    Returns:
        float32 (H, W) in [0, 1], notes for the user, and Pillow's name of the format.

    Raises:
        RadiographError: If it is none of these, damaged, or too large or small.
    """
    decoder = next((cls for start, cls in _DECODERS.items() if data.startswith(start)), None)
    if decoder is None:
        raise RadiographError(
            f"{subject} cannot be read as a picture: choose a PNG, JPEG, TIFF, BMP, WebP or "
            "DICOM file."
        )
    stored, image = None, None
    if decoder is not JpegImageFile or data.count(b"\xff\xda") <= MAX_JPEG_SCANS:
        image = attempt(decoder, BytesIO(data))
    if decoder is TiffImageFile and (image is None or attempt(_in_deep_planes, image)):
        image, stored = None, _floats(data, subject)
    elif image is not None:
        check_size(*image.size, subject)
        stored = attempt(_samples, image, data)
    if stored is None:
        raise RadiographError(f"{subject} is damaged or incomplete: copy or export it again.")
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise RadiographError(f"{subject} holds values that are not numbers: export it again.")
    notes: list[str] = []
    grey = scale(stored, notes)
    if image is None:
        return grey, notes, "TIFF"
    # Pillow turns white-is-zero TIFFs round only up to 8 bits.
    if stored.dtype != np.uint8 and getattr(image, "tag_v2", {}).get(262) == 0:
        grey = 1 - grey
    turn = _UPRIGHT.get(attempt(lambda: int(image.getexif().get(0x0112, 1))) or 1, np.asarray)
    attempt(image.seek, 1)
    if image.tell() == 1:
        notes.append("This file holds more than one picture; the first is shown.")
    return turn(grey), notes, str(image.format)


def _in_deep_planes(image: ImageFile) -> bool:
    """Tell a TIFF with one plane per colour, of more than 8 bits each, which Pillow muddles."""
    tags = getattr(image, "tag_v2", {})
    return bool(tags.get(284) == 2 and max(tags.get(258, (8,))) > 8)


def _floats(data: bytes, subject: str) -> AnyPixels | None:
    """Return what Pillow cannot read of a TIFF, by OpenCV: grey of 64-bit floats, coloured floats.

    None where the file is damaged. Colours become luminance.
    """
    tags = attempt(_tags_of_first, data)
    if tags is None:
        return None
    width, height, planes, turn, kind = tags
    check_size(width, height, subject)
    stored = None
    if (planes, turn) == (1, 1) and kind in (1, 2):
        encoded = np.frombuffer(data, np.uint8)
        stored = attempt(cv2.imdecode, encoded, cv2.IMREAD_UNCHANGED)
    shapes = [(height, width, *channels) for channels in ((), (3,), (4,))]
    if stored is None or stored.dtype.kind != "f" or stored.shape not in shapes:
        raise RadiographError(
            f"{subject} is stored in a way that cannot be read: export it as PNG or plain TIFF."
        )
    if stored.ndim == 2:
        return stored
    return cv2.cvtColor(stored[..., :3].astype(np.float32), cv2.COLOR_BGR2GRAY)


def _tags_of_first(data: bytes) -> tuple[int, ...]:
    """Return width, height, planar configuration, orientation and photometric interpretation."""
    file = BytesIO(data)
    directory = ImageFileDirectory_v2(file.read(8))
    file.seek(directory.next)
    directory.load(file)
    size = int(directory[256]), int(directory[257])
    return *size, *(int(directory.get(tag, 1)) for tag in (284, 274, 262))


def _samples(image: ImageFile, data: bytes) -> AnyPixels:
    """Return the decoded picture as one number per pixel, in the file's own depth.

    Colours become luminance (ITU-R 601). Transparency is laid over black, the colour of air.
    """
    kinds = ";16B", ";16L", ";16N"  # but no BGR;16, which has 16 bits for all three
    deep = image.mode in ("RGB", "RGBA") and any(
        kind in str(tile.args) for tile in image.tile for kind in kinds
    )
    image.load()
    if deep:  # of which Pillow keeps 8 bits
        return _deep_samples(image, data)
    if image.mode == "I" and getattr(image, "tag_v2", {}).get(339, (1,)) == (1,):
        return np.asarray(image).view(np.uint32)  # Pillow takes it for signed
    if image.mode.startswith(("I", "F")):
        return np.asarray(image)
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        return np.asarray(ImageChops.multiply(layers.convert("L"), layers.getchannel("A")))
    flat = image if image.mode in ("1", "L", "P", "RGB") else image.convert("RGB")
    return np.asarray(flat.convert("L"))


def _deep_samples(image: ImageFile, data: bytes) -> AnyPixels:
    """Return a picture of 16 bits per channel, which is sound, as `_samples` does: uint16."""
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16 or stored.shape[1::-1] != image.size:
        raise ValueError("OpenCV reads another picture")
    if stored.ndim == 2:
        return stored
    light = cv2.cvtColor(stored[..., :3], cv2.COLOR_BGR2GRAY)
    if stored.shape[2] < 4 or not image.has_transparency_data:
        return light
    return (light * (stored[..., 3] / np.float32(65535))).round().astype(np.uint16)
