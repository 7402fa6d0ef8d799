"""The pictures of a report: small, and inside the file as data URIs."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, replace

import cv2
import numpy as np

from cxr_gradcam.explanation import Explanation
from cxr_gradcam.export import Settings
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import colormap_table, overlay, shrunk, to_grey, unpainted

LONGEST_SIDE = 700  # pixels; a picture of a report is at most some 90 mm wide on paper
JPEG_QUALITY = 88
_JPEG = [
    cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]  # fmt: skip
_SMALL_PNG = 60_000  # bytes up to which a picture is kept without loss


@dataclass(frozen=True, eq=False)
class Miniature:
    """A radiograph small enough for a report, and its explanation's maps on the same pixels.

    Attributes:
        radiograph: at most `LONGEST_SIDE` pixels on its longer side.
        explanation: of the radiograph at its full size.
    """

    radiograph: Radiograph
    explanation: Explanation

    @classmethod
    def of(cls, radiograph: Radiograph, explanation: Explanation) -> Miniature:
        """Shrink a radiograph, if it is larger."""
        return cls(shrunk(radiograph, LONGEST_SIDE), explanation)

    def film(self) -> str:
        """Return the radiograph as a data URI."""
        return picture_uri(to_grey(self.radiograph))

    def overlay(self, class_name: str, settings: Settings) -> str:
        """Return the overlay of a class as a data URI."""
        return picture_uri(
            overlay(
                self.radiograph,
                self._heatmap(class_name, settings),
                settings.colormap,
                settings.opacity,
                settings.threshold,
            )
        )

    def _heatmap(self, class_name: str, settings: Settings) -> np.ndarray:
        """Return the heatmap on these pixels, in [0, 1] of what it is at the full size."""
        top = self.explanation.peak(class_name, settings.layer, settings.scale)
        if top <= 0:
            return np.zeros_like(self.radiograph.pixels)
        # Only the number of rows and columns read from the CAM changes, not the place where the
        # picture lies in the model input, so nothing moves.
        place = replace(
            self.explanation.letterbox, height=self.radiograph.height, width=self.radiograph.width
        )
        heat = place.restore(self.explanation.cam(class_name, settings.layer)) / np.float32(top)
        # A centre of these coarser pixels can lie nearer to the peak than any of the full size.
        return np.minimum(heat, 1)


def colour_bar(colormap: str, threshold: float) -> str:
    """Return the colours from no heat to the most as a data URI, blank up to the threshold."""
    table = colormap_table(colormap)
    opaque = np.where(unpainted(threshold), 0, 255).astype(np.uint8)
    return _uri("png", _encode(".png", np.dstack([table[None, :, ::-1], opaque[None]])))


def picture_uri(picture: np.ndarray) -> str:
    """Return a picture, uint8 (H, W) or (H, W, 3) RGB, as a data URI.

    As PNG where that is small, as of a drawing; else as JPEG.
    """
    ordered = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    exact = _encode(".png", ordered)
    if len(exact) <= _SMALL_PNG:
        return _uri("png", exact)
    return _uri("jpeg", _encode(".jpg", ordered, _JPEG))


def _encode(suffix: str, picture: np.ndarray, options: list[int] | None = None) -> bytes:
    return cv2.imencode(suffix, picture, options or [])[1].tobytes()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(data).decode('ascii')}"
