"""From the attenuation of a body to the film of it: exposure, noise, tone, borders, markers.

Nothing here knows the disease. Grey levels are set from the body without its lesion, and the same
seed draws the same noise, so that the lesion is all by which two films of one patient differ.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_gradcam.phantom_geometry import Field, Mask

Layer = NDArray[np.uint8]  # (H, W), ink

FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)
NOTES = ("PORTABLE", "AP", "PA", "ERECT", "SUPINE", "KV70", "CXR 1", "AP SEMI-ERECT")


@dataclass(frozen=True)
class Technique:
    """How one film was taken; the sizes are shares of the film's side, grey levels in [0, 1]."""

    photons: float  # per pixel at 256 px, before the body
    scatter: float  # scattered over primary radiation behind an average body
    lung_grey: float
    dense_grey: float
    local_contrast: float
    blur: float
    heel: float  # slope of the beam across the film
    fog: float  # grey of bare film


def draw_technique(rng: np.random.Generator) -> Technique:
    """Draws one way to take a film, from crisp and hard to flat and grainy."""
    return Technique(
        photons=float(np.exp(rng.uniform(np.log(15e3), np.log(2e5)))),
        scatter=rng.uniform(0.03, 0.15),
        lung_grey=rng.uniform(0.24, 0.48),
        dense_grey=rng.uniform(0.82, 0.93),
        local_contrast=rng.uniform(0.0, 0.35),
        blur=rng.uniform(0.002, 0.0045),
        heel=rng.normal(0.0, 0.12),
        fog=rng.uniform(0.0, 0.08),
    )


def expose(attenuation: Field, healthy: Field, lung_mask: Mask, rng: np.random.Generator) -> Field:
    """Takes the film of a body.

    Args:
        attenuation: (H, W) exponents of Beer and Lambert's law.
        healthy: the same without the lesion; it alone sets the grey levels.
        lung_mask: (H, W) bool, where the grey of the lungs is measured.
        rng: draws technique, noise, borders and markers.

    Returns:
        float32 (H, W) in [0, 1], air dark, bone bright.
    """
    technique = draw_technique(rng)
    size = attenuation.shape[0]
    slope = technique.heel * np.linspace(-1, 1, size, dtype=np.float32)
    clean = detect(healthy, technique) + slope
    # A stream of its own: larger films draw more grain, and yet get the same borders and markers.
    seen = detect(attenuation, technique, rng.spawn(1)[0]) + slope
    lung = float(np.median(clean[lung_mask]))
    dense = float(np.percentile(clean, 94))
    film = tone(seen, (lung, dense), (technique.lung_grey, technique.dense_grey))
    base = cv2.GaussianBlur(film, (0, 0), 0.06 * size)
    film = film + technique.local_contrast * (film - base)
    film = technique.fog + (1 - technique.fog) * np.clip(film, 0, 1)
    return mark(collimate(film, rng), rng)


def detect(
    attenuation: Field, technique: Technique, rng: np.random.Generator | None = None
) -> Field:
    """Optical density (H, W) behind the body: primary and scattered photons, noise if `rng`."""
    size = attenuation.shape[0]
    primary = np.exp(-attenuation)
    small = cv2.resize(primary, (32, 32), interpolation=cv2.INTER_AREA)
    veil = cv2.resize(cv2.GaussianBlur(small, (0, 0), 3), (size, size))
    light = primary + technique.scatter * np.minimum(veil, 0.12)
    if rng is not None:
        # Counts are in the hundreds and up, where Poisson noise is Gaussian; drawn as standard
        # normals it stays the same outside the lesion. Larger films share out the same dose.
        counts = light * np.float32(technique.photons * (256 / size) ** 2)
        grain = rng.standard_normal(light.shape, dtype=np.float32)
        light = light * np.maximum(1 + grain / np.sqrt(counts), 0)
    blurred = cv2.GaussianBlur(light, (0, 0), technique.blur * size)
    return np.asarray(-np.log(np.maximum(blurred, 1e-4)), np.float32)


def tone(density: Field, anchors: tuple[float, float], greys: tuple[float, float]) -> Field:
    """The film's S-shaped curve through two anchors: density -> grey in (0, 1)."""
    logits = [float(np.log(grey / (1 - grey))) for grey in greys]
    gain = (logits[1] - logits[0]) / max(anchors[1] - anchors[0], 0.5)
    return np.asarray(1 / (1 + np.exp(-(logits[0] + gain * (density - anchors[0])))), np.float32)


def collimate(film: Field, rng: np.random.Generator) -> Field:
    """Closes the shutters on two sides of some films: a dark or white, slightly tilted rim."""
    size = film.shape[0]
    rim = rng.uniform(0.0, 0.05) if rng.random() < 0.85 else 0.97
    share = rng.uniform(0.01, 0.05, size=2)
    sides = rng.choice(4, size=2, replace=False)
    tilt = np.tan(np.deg2rad(rng.normal(0, 1.0, size=2)))
    if rng.random() < 0.65:
        return film
    out = film.copy()
    steps = np.arange(size)
    for side, depth, slant in zip(sides, share, tilt, strict=True):
        turned = np.rot90(out, side)
        turned[steps[:, None] < (depth * size + slant * (steps - size / 2))[None, :]] = rim
    return out


def mark(film: Field, rng: np.random.Generator) -> Field:
    """Burns in a side marker and, on some films, a note and the leads of a heart monitor."""
    size = film.shape[0]
    layer = np.zeros(film.shape, np.uint8)
    side_marker(layer, rng)
    note = NOTES[rng.integers(len(NOTES))]
    place = (rng.uniform(0.02, 0.75), rng.choice([0.05, 0.96]))
    if rng.random() < 0.35:
        write(layer, note, place, 0.022, cv2.FONT_HERSHEY_SIMPLEX)
    leads(layer, rng)
    grey = rng.uniform(0.8, 1.0)
    ink = cv2.GaussianBlur(layer, (0, 0), 0.0015 * size) / np.float32(255)
    return np.asarray(film + ink * np.maximum(grey - film, 0), np.float32)


def side_marker(layer: Layer, rng: np.random.Generator) -> None:
    """Writes an R on the image's left or an L on its right, sometimes in a ring."""
    size = layer.shape[0]
    right = rng.random() < 0.6  # the patient's right is the image's left
    across = rng.uniform(0.03, 0.12)
    x, y = across if right else 1 - across - 0.04, rng.choice([0.1, 0.14, 0.2, 0.45, 0.9])
    height = rng.uniform(0.03, 0.08)
    write(layer, "R" if right else "L", (x, y), height, FONTS[rng.integers(len(FONTS))])
    if rng.random() < 0.2:
        centre = (round((x + 0.4 * height) * size), round((y - 0.5 * height) * size))
        cv2.circle(layer, centre, round(0.8 * height * size), 255, max(1, size // 200), cv2.LINE_AA)


def write(layer: Layer, text: str, corner: tuple[float, float], height: float, font: int) -> None:
    """Writes text; its lower left corner and its height are shares of the film's side."""
    size = layer.shape[0]
    stroke = max(1, round(height * size / 9))
    scale = cv2.getFontScaleFromHeight(font, max(4, round(height * size)), stroke)
    pixel = (round(corner[0] * size), round(corner[1] * size))
    cv2.putText(layer, text, pixel, font, scale, 255, stroke, cv2.LINE_AA)


def leads(layer: Layer, rng: np.random.Generator) -> None:
    """Draws electrodes with their wires, on one film in eight, out to the film's lower edge."""
    size = layer.shape[0]
    stuck = rng.uniform((0.15, 0.2), (0.85, 0.75), size=(3, 2))
    slack = rng.uniform(-0.2, 0.2, size=3)
    if rng.random() < 7 / 8:
        return
    way = np.linspace(0, 1, 24)[:, None]
    for electrode, bow in zip(stuck, slack, strict=True):
        plug = np.array([0.5 + np.sign(electrode[0] - 0.5) * 0.55, 0.8])
        knee = (electrode + plug) / 2 + [bow, 0.15]
        wire = (1 - way) ** 2 * electrode + 2 * way * (1 - way) * knee + way**2 * plug
        pixels = np.round(8 * size * wire).astype(np.int32)
        cv2.polylines(layer, [pixels], False, 120, max(1, size // 256), cv2.LINE_AA, shift=3)
        centre = (round(electrode[0] * size), round(electrode[1] * size))
        cv2.circle(layer, centre, round(0.011 * size), 170, -1, cv2.LINE_AA)
