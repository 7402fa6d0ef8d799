from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from cxr_gradcam.phantom import (
    CLASS_NAMES,
    Phantom,
    draw_patient_phantoms,
    draw_phantom,
    write_phantoms,
)

DISEASED = tuple(name for name in CLASS_NAMES if name != "Normal")
SEEDS = range(6)
SIDES = ("right", "left")  # the patient's: the image's left comes first


@pytest.fixture(scope="module")
def phantoms() -> dict[tuple[str, int], Phantom]:
    return {
        (phantom.label, seed): phantom
        for seed in SEEDS
        for phantom in draw_patient_phantoms(CLASS_NAMES, seed, 128)
    }


def read_grey(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.array(image)


def midline(phantom: Phantom) -> float:
    """Column half-way between the outer borders of the lungs."""
    columns = np.flatnonzero(phantom.lung_mask.any(0))
    return float(columns[0] + columns[-1]) / 2


def lung_places(phantom: Phantom) -> tuple[np.ndarray, np.ndarray]:
    """Height (0 apex, 1 base) and distance from the midline (1 at the chest wall) of the lesion."""
    rows = np.flatnonzero(phantom.lung_mask.any(1))
    columns = np.flatnonzero(phantom.lung_mask.any(0))
    y, x = np.nonzero(phantom.lesion_mask)
    height = (y - rows[0]) / (rows[-1] - rows[0])
    out = np.abs(x - midline(phantom)) / ((columns[-1] - columns[0]) / 2)
    return height, out


def lesion_sides(phantom: Phantom) -> set[str]:
    columns = np.nonzero(phantom.lesion_mask)[1]
    return {SIDES[int(column > midline(phantom))] for column in columns}


@pytest.mark.parametrize("size", [64, 97, 128, 256, 320])
def test_shapes_types_and_ranges_at_any_size(size: int) -> None:
    phantom = draw_phantom("COVID", 3, size)
    pixels = phantom.radiograph.pixels
    assert pixels.shape == phantom.lesion_mask.shape == phantom.lung_mask.shape == (size, size)
    assert pixels.dtype == np.float32
    assert phantom.lesion_mask.dtype == phantom.lung_mask.dtype == np.bool_
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert pixels.std() > 0.15
    assert phantom.label == "COVID"


def test_the_patient_is_the_same_at_another_size() -> None:
    small, large = draw_phantom("COVID", 5, 128), draw_phantom("COVID", 5, 256)
    shrunk = cv2.resize(large.radiograph.pixels, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(shrunk.ravel(), small.radiograph.pixels.ravel())[0, 1] > 0.98
    assert np.mean(large.lung_mask[::2, ::2] != small.lung_mask) < 0.02
    assert np.mean(large.lesion_mask[::2, ::2] != small.lesion_mask) < 0.02


@pytest.mark.parametrize("label", CLASS_NAMES)
def test_same_label_seed_and_size_give_the_same_pixels(label: str) -> None:
    first, second = draw_phantom(label, 11, 96), draw_phantom(label, 11, 96)
    assert np.array_equal(first.radiograph.pixels, second.radiograph.pixels)
    assert np.array_equal(first.lesion_mask, second.lesion_mask)
    assert np.array_equal(first.lung_mask, second.lung_mask)


def test_one_patient_with_every_disease_is_what_each_is_drawn_as() -> None:
    together = draw_patient_phantoms(CLASS_NAMES, 3, 96)
    for label, phantom in zip(CLASS_NAMES, together, strict=True):
        alone = draw_phantom(label, 3, 96)
        assert (phantom.label, phantom.radiograph.name) == (label, alone.radiograph.name)
        assert phantom.radiograph.digest == alone.radiograph.digest
        assert np.array_equal(phantom.lesion_mask, alone.lesion_mask)
        assert np.array_equal(phantom.lung_mask, alone.lung_mask)
        phantom.lung_mask[:] = False  # is the phantom's own
    with pytest.raises(ValueError, match="Flu"):
        draw_patient_phantoms(["COVID", "Flu"], 3, 96)


def test_pixels_do_not_depend_on_threads_or_what_was_drawn_before() -> None:
    threads = cv2.getNumThreads()
    first = draw_phantom("COVID", 7, 256).radiograph.digest
    np.random.seed(0)
    draw_phantom("Viral Pneumonia", 8, 64)
    try:
        cv2.setNumThreads(1)
        assert draw_phantom("COVID", 7, 256).radiograph.digest == first
    finally:
        cv2.setNumThreads(threads)


def test_seeds_differ(phantoms: dict[tuple[str, int], Phantom]) -> None:
    means = {round(float(phantoms["Normal", seed].radiograph.pixels.mean()), 6) for seed in SEEDS}
    lungs = {int(phantoms["Normal", seed].lung_mask.sum()) for seed in SEEDS}
    assert len(means) == len(lungs) == len(SEEDS)


@pytest.mark.parametrize("label", DISEASED)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_lesion_is_all_that_the_label_changes(
    phantoms: dict[tuple[str, int], Phantom], label: str, seed: int
) -> None:
    ill, well = phantoms[label, seed], phantoms["Normal", seed]
    change = ill.radiograph.pixels - well.radiograph.pixels
    near = cv2.dilate(ill.lesion_mask.astype(np.uint8), np.ones((25, 25))) > 0
    assert np.array_equal(ill.lung_mask, well.lung_mask)
    assert change[ill.lesion_mask].mean() > 0.05
    assert np.abs(change[~near]).mean() < 0.01
    assert np.abs(change[~near]).mean() < change[ill.lesion_mask].mean() / 10


@pytest.mark.parametrize("seed", SEEDS)
def test_masks_lie_in_the_lungs(phantoms: dict[tuple[str, int], Phantom], seed: int) -> None:
    for label in DISEASED:
        phantom = phantoms[label, seed]
        assert phantom.lesion_mask.any()
        assert not (phantom.lesion_mask & ~phantom.lung_mask).any()
        assert phantom.lesion_mask.sum() < 0.7 * phantom.lung_mask.sum()
    assert not phantoms["Normal", seed].lesion_mask.any()


@pytest.mark.parametrize("seed", SEEDS)
def test_covid_is_bilateral_peripheral_and_basal(
    phantoms: dict[tuple[str, int], Phantom], seed: int
) -> None:
    height, out = lung_places(phantoms["COVID", seed])
    assert lesion_sides(phantoms["COVID", seed]) == set(SIDES)
    assert height.mean() > 0.5
    assert out.mean() > 0.62


@pytest.mark.parametrize("seed", SEEDS)
def test_lung_opacity_is_one_focus_or_two(
    phantoms: dict[tuple[str, int], Phantom], seed: int
) -> None:
    phantom = phantoms["Lung_Opacity", seed]
    _, _, stats, _ = cv2.connectedComponentsWithStats(phantom.lesion_mask.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    assert 1 <= (areas > 0.01 * phantom.lung_mask.sum()).sum() <= 2
    assert 0.02 < phantom.lesion_mask.sum() / phantom.lung_mask.sum() < 0.4


@pytest.mark.parametrize("seed", SEEDS)
def test_viral_pneumonia_is_bilateral_around_the_hila(
    phantoms: dict[tuple[str, int], Phantom], seed: int
) -> None:
    height, out = lung_places(phantoms["Viral Pneumonia", seed])
    covid_out = lung_places(phantoms["COVID", seed])[1]
    assert lesion_sides(phantoms["Viral Pneumonia", seed]) == set(SIDES)
    assert 0.3 < height.mean() < 0.7
    assert out.mean() < covid_out.mean() - 0.15


def test_the_film_has_a_chest_on_it() -> None:
    for seed in SEEDS:
        phantom = draw_phantom("Normal", seed, 128)
        film, lungs = phantom.radiograph.pixels, phantom.lung_mask
        rows, middle = np.flatnonzero(lungs.any(1)), int(midline(phantom))
        heart = rows[len(rows) * 6 // 10 : len(rows) * 7 // 10]
        right, left = lungs[heart, :middle], lungs[heart, middle:]
        # Lungs are the darkest part inside the body; heart and spine lie between them.
        between = film[heart, middle - 4 : middle + 5]
        assert np.median(film[lungs]) < np.median(between) - 0.2
        # The heart takes more from the patient's left lung, on the image's right.
        assert right.sum() > left.sum()
        assert 0.12 < lungs.mean() < 0.5


def test_the_right_dome_is_higher() -> None:
    lower = []
    for seed in range(12):  # one tilted patient may differ
        lungs = draw_phantom("Normal", seed, 96).lung_mask
        columns = np.flatnonzero(lungs.any(0))
        beside_heart = len(columns) // 8
        right, left = columns[beside_heart], columns[-beside_heart]
        lower.append(np.flatnonzero(lungs[:, left])[-1] - np.flatnonzero(lungs[:, right])[-1])
    assert np.mean(lower) > 0.5


def test_folder_has_the_dataset_layout(tmp_path: Path) -> None:
    paths = write_phantoms(tmp_path / "set", 6, seed=40, size=64)
    assert len(paths) == len(set(paths)) == 6
    labels = [path.parent.parent.name for path in paths]
    assert labels == [*CLASS_NAMES, *CLASS_NAMES[:2]]
    for index, path in enumerate(paths):
        drawn = draw_phantom(labels[index], 40 + index, 64)
        image = read_grey(path)
        assert path.parent.name == "images"
        assert image.dtype == np.uint8
        assert np.abs(image / 255 - drawn.radiograph.pixels).max() <= 0.5 / 255 + 1e-6
        for kind, mask in (("masks", drawn.lung_mask), ("lesions", drawn.lesion_mask)):
            beside = read_grey(path.parent.parent / kind / path.name)
            assert np.array_equal(beside, mask * np.uint8(255))


def test_no_phantoms_asked_for_none_written(tmp_path: Path) -> None:
    assert write_phantoms(tmp_path, 0) == []
    assert list(tmp_path.iterdir()) == []


def test_arguments_out_of_range_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no class 'Flu': choose one of COVID, Lung_Op"):
        draw_phantom("Flu", 0)
    with pytest.raises(ValueError, match="The size is 63 pixels: choose one from 64 to 4096"):
        draw_phantom("Normal", 0, 63)
    with pytest.raises(ValueError, match="The seed is -1: choose 0 or more"):
        draw_phantom("Normal", -1)
    with pytest.raises(ValueError, match="The count is -2: choose 0 or more phantoms"):
        write_phantoms(tmp_path, -2)
    with pytest.raises(ValueError, match="size is 8 pixels"):
        write_phantoms(tmp_path, 0, size=8)
