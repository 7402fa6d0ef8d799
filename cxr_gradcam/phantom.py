"""Phantoms: synthetic frontal chest radiographs with planted lesions whose masks are known.

A patient and a film come from the seed alone, the lesion from the seed and the class. So one seed
with four labels is one patient with four diseases, and nothing but the lesion tells the class.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cxr_gradcam.files import whole_file
from cxr_gradcam.phantom_anatomy import (
    CAVITY_HALF_WIDTH,
    LEFT_HEART_BORDER,
    LUNG_DENSITY,
    RIGHT_HEART_BORDER,
    Chest,
    Patient,
    airways,
    body_depth,
    draw_chest,
    draw_grid,
    draw_patient,
    skeleton,
    vessels,
)
from cxr_gradcam.phantom_film import expose
from cxr_gradcam.phantom_geometry import Field, Grid, Mask, along_height, edge, smooth_noise
from cxr_gradcam.radiograph import Radiograph

CLASS_NAMES = ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
SMALLEST_SIZE = 64
LARGEST_SIZE = 4096
TISSUE_ATTENUATION = 0.2  # per cm, soft tissue in a diagnostic beam
BONE_ATTENUATION = 0.5  # per cm
MASK_SHARE = 0.25  # a lesion's mask is where it adds more than this share of its peak depth
BODY_STREAM, FILM_STREAM, LESION_STREAM = range(3)


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic radiograph and what was drawn into it.

    Attributes:
        radiograph: pixels float32 (H, W) in [0, 1], air dark and bone bright.
        label: the class drawn, one of CLASS_NAMES.
        lesion_mask: bool (H, W), the planted lesion; all False for Normal.
        lung_mask: bool (H, W), both lungs, heart excluded.
    """

    radiograph: Radiograph
    label: str
    lesion_mask: Mask
    lung_mask: Mask


def draw_phantom(label: str, seed: int, size: int = 256) -> Phantom:
    """Draws one phantom.

    Args:
        label: one of CLASS_NAMES.
        seed: not negative; same label, seed and size: same pixels, bit for bit.
        size: side of the square picture in pixels, from 64 to 4096.

    Returns:
        The radiograph, float32 (size, size) in [0, 1], with its masks, bool of the same shape.

    Raises:
        ValueError: an argument is out of its range.
    """
    return draw_patient_phantoms([label], seed, size)[0]


def draw_patient_phantoms(labels: Sequence[str], seed: int, size: int = 256) -> list[Phantom]:
    """Draws one patient with each of several diseases, the body only once.

    Args:
        labels: of CLASS_NAMES.
        seed, size: as `draw_phantom` takes them; each phantom is the same as it draws.

    Returns:
        A phantom per label, in their order.

    Raises:
        ValueError: an argument is out of its range.
    """
    for label in labels:
        check_arguments(label, seed, size)
    body = np.random.default_rng([seed, BODY_STREAM])
    patient = draw_patient(body)
    grid = draw_grid(body, patient, size)
    chest = draw_chest(grid, patient)
    healthy = attenuate(grid, patient, chest, body)
    phantoms = []
    for label in labels:
        disease = np.random.default_rng([seed, LESION_STREAM, CLASS_NAMES.index(label)])
        added = LESIONS[label](grid, patient, disease) * chest.air * (1 - LUNG_DENSITY)
        film = np.random.default_rng([seed, FILM_STREAM])
        pixels = expose(healthy + TISSUE_ATTENUATION * added, healthy, chest.lung_mask, film)
        radiograph = Radiograph.from_array(pixels, name=f"{label}-phantom-{seed}")
        lesion_mask = outline(added, chest.lung_mask)
        phantoms.append(Phantom(radiograph, label, lesion_mask, chest.lung_mask.copy()))
    return phantoms


def check_arguments(label: str, seed: int, size: int) -> None:
    """Raises ValueError with one sentence where an argument is out of its range."""
    if label not in CLASS_NAMES:
        raise ValueError(f"There is no class {label!r}: choose one of {', '.join(CLASS_NAMES)}.")
    if seed < 0:
        raise ValueError(f"The seed is {seed}: choose 0 or more.")
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise ValueError(
            f"The size is {size} pixels: choose one from {SMALLEST_SIZE} to {LARGEST_SIZE}."
        )


def attenuate(grid: Grid, patient: Patient, chest: Chest, rng: np.random.Generator) -> Field:
    """Exponent of Beer and Lambert's law (H, W) behind a healthy body."""
    share = chest.air / np.maximum(chest.cavity, 0.1)
    mottle = 1 + 0.03 * smooth_noise(rng, 40, grid.size)
    fat = 1 + 0.025 * smooth_noise(rng, 7, grid.size) + 0.012 * smooth_noise(rng, 24, grid.size)
    blood = vessels(grid, patient, rng) * share
    lack = chest.air * mottle - np.minimum(blood, 0.8 * chest.air)
    hollow = (1 - LUNG_DENSITY) * lack + airways(grid, patient)
    tissue = body_depth(grid, patient) * fat + chest.wall - hollow
    # Behind heart and abdomen scatter drowns most of what bone would show.
    drowned = 0.6 * np.maximum(chest.abdomen, 0.7 * chest.heart)
    bone = skeleton(grid, patient) * (1 - drowned)
    total = TISSUE_ATTENUATION * np.maximum(tissue, 0) + BONE_ATTENUATION * bone
    return np.asarray(total, np.float32)


def outline(added: Field, lung_mask: Mask) -> Mask:
    """Mask (H, W) of a lesion: where it adds more than MASK_SHARE of its peak, texture aside."""
    if not added.any():
        return np.zeros_like(lung_mask)
    size = added.shape[0]
    smooth = cv2.GaussianBlur(added, (0, 0), 0.012 * size)
    return np.asarray(lung_mask & (smooth > MASK_SHARE * smooth.max()))


# ---------------------------------------------------------------- lesions
# Each returns the share of the lung's air that the disease fills, float32 (H, W) in [0, 1].


def no_lesion(grid: Grid, patient: Patient, rng: np.random.Generator) -> Field:
    """Normal: clear lungs."""
    return np.zeros_like(grid.x)


def ground_glass(grid: Grid, patient: Patient, rng: np.random.Generator) -> Field:
    """COVID: hazy, finely netted patches in both lungs, along the chest wall, in the lower half."""
    filled = np.zeros_like(grid.x)
    for side in (-1, 1):
        for _ in range(rng.integers(2, 4)):
            centre = lung_point(patient, side, rng.uniform(0.55, 0.95), rng.uniform(0.7, 1.0))
            patch = blob(grid, rng, centre, rng.uniform(2.6, 4.0), 0.7, ((16, 0.2), (34, 0.1)))
            filled = np.maximum(filled, rng.uniform(0.35, 0.5) * patch)
    paving = 0.8 + 0.5 * thread(rng, 56, grid.size)
    return textured(filled * paving, rng, 1.0)


def consolidation(grid: Grid, patient: Patient, rng: np.random.Generator) -> Field:
    """Lung_Opacity: one dense focus with a soft rim, or two, anywhere in the lungs."""
    filled = np.zeros_like(grid.x)
    for _ in range(1 if rng.random() < 0.7 else 2):
        side = int(rng.choice([-1, 1]))
        centre = lung_point(patient, side, rng.uniform(0.15, 0.85), rng.uniform(0.3, 0.7))
        patch = blob(grid, rng, centre, rng.uniform(3.0, 4.5), 0.6, ((9, 0.18), (26, 0.07)))
        filled = np.maximum(filled, rng.uniform(0.8, 0.95) * patch)
    # Bronchi that still hold air branch through it as dark lines.
    bronchi = np.clip(vessels(grid, patient, rng) - 0.3, 0, 0.5)
    return textured(filled * (1 - 0.25 * bronchi), rng, 0.4)


def interstitial(grid: Grid, patient: Patient, rng: np.random.Generator) -> Field:
    """Viral Pneumonia: a net of streaks around both hila that thins out towards the chest wall."""
    filled = np.zeros_like(grid.x)
    for side in (-1, 1):
        reach = rng.uniform(3.6, 5.0)
        across = (side * (grid.x - patient.yaw) - 5.0) / reach
        down = (grid.y - 0.3) / (1.5 * reach)
        filled += rng.uniform(0.65, 0.85) * np.exp(-(across**2 + down**2))
    cuffs = np.clip(vessels(grid, patient, rng) / 0.7, 0, 1)
    net = thread(rng, 26, grid.size) + 0.7 * thread(rng, 44, grid.size)
    return np.asarray(np.clip(filled * (0.2 + 0.35 * cuffs + 0.45 * net), 0, 0.9), np.float32)


def textured(filled: Field, rng: np.random.Generator, strength: float) -> Field:
    """Mottles a patch, as alveoli fill unevenly."""
    size = filled.shape[0]
    mottle = 0.12 * smooth_noise(rng, 30, size) + 0.06 * smooth_noise(rng, 60, size)
    return np.asarray(np.clip(filled * (1 + strength * mottle), 0, 1), np.float32)


def thread(rng: np.random.Generator, cells: int, size: int) -> Field:
    """A random net of threads, 1 on a thread to 0 between; more cells, finer meshes."""
    return np.exp(-3.0 * np.abs(smooth_noise(rng, cells, size)))


LESIONS: dict[str, Callable[[Grid, Patient, np.random.Generator], Field]] = {
    "COVID": ground_glass,
    "Lung_Opacity": consolidation,
    "Normal": no_lesion,
    "Viral Pneumonia": interstitial,
}


def lung_point(patient: Patient, side: int, height: float, out: float) -> tuple[float, float]:
    """Place (x, y) in cm in a lung; height 0 apex to 1 diaphragm, out 0 heart to 1 chest wall."""
    y = -11.0 + height * (patient.diaphragm + 11.0)
    at = np.array([y], np.float32)
    border = LEFT_HEART_BORDER if side > 0 else RIGHT_HEART_BORDER
    inner = float(along_height(border, at)[0]) + side * patient.yaw
    outer = float(along_height(CAVITY_HALF_WIDTH, at)[0])
    return side * (inner + out * (outer - inner)), y


def blob(
    grid: Grid, rng: np.random.Generator, centre: tuple[float, float], radius: float,
    softness: float, bumps: Iterable[tuple[int, float]],
) -> Field:  # fmt: skip
    """An uneven patch, 1 inside to 0 outside.

    Its rim is about `softness` radii wide and wavers by `bumps`: so many per side of the film, so
    many radii high.
    """
    stretch = rng.uniform(0.75, 1.3)
    far = np.hypot((grid.x - centre[0]) * stretch, (grid.y - centre[1]) / stretch) / radius
    for cells, height in bumps:
        far = far + height * smooth_noise(rng, cells, grid.size)
    return edge(np.asarray(1 - far, np.float32), softness)


# ---------------------------------------------------------------- folder


def write_phantoms(folder: Path, count: int, seed: int = 0, size: int = 256) -> list[Path]:
    """Writes phantoms as a dataset folder in the Kaggle layout.

    Each goes to <folder>/<Class>/images/<name>.png, its lungs to <Class>/masks and its lesion to
    <Class>/lesions under the same name, masks as 0 and 255.

    Args:
        folder: made if missing; files of the same names are overwritten.
        count: how many in all, the classes taking turns; not negative.
        seed: of the first one, counting up from there, so that no two share a patient.
        size: side in pixels, from 64 to 4096.

    Returns:
        The paths of the images, in the order drawn.

    Raises:
        ValueError: an argument is out of its range.
        OSError: a file cannot be written.
    """
    if count < 0:
        raise ValueError(f"The count is {count}: choose 0 or more phantoms.")
    check_arguments(CLASS_NAMES[0], seed, size)
    written = []
    for index in range(count):
        phantom = draw_phantom(CLASS_NAMES[index % len(CLASS_NAMES)], seed + index, size)
        written.append(write_phantom(Path(folder), phantom))
    return written


def write_phantom(folder: Path, phantom: Phantom) -> Path:
    """Writes one phantom with its masks, the image last; returns the path of its image."""
    pictures = {
        "masks": phantom.lung_mask.astype(np.uint8) * 255,
        "lesions": phantom.lesion_mask.astype(np.uint8) * 255,
        "images": np.round(255 * phantom.radiograph.pixels).astype(np.uint8),
    }
    for kind, picture in pictures.items():
        path = folder / phantom.label / kind / f"{phantom.radiograph.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            Image.fromarray(picture).save(file, format="PNG")
    return path
