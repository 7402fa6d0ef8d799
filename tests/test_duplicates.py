"""Copies of one film are found however they were made; different patients are not mixed up."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from cxr_gradcam import duplicates
from cxr_gradcam.duplicates import (
    BLOCK,
    HASH_BITS,
    MAX_DISTANCE,
    MAX_GROUP,
    Bits,
    group_duplicates,
    perceptual_hash,
)
from cxr_gradcam.phantom import CLASS_NAMES, draw_phantom
from cxr_gradcam.radiograph import Radiograph, load_radiograph


def picture(radiograph: Radiograph) -> Image.Image:
    return Image.fromarray(np.rint(255 * radiograph.pixels).astype(np.uint8))


def radiograph(image: Image.Image) -> Radiograph:
    return Radiograph.from_array(np.asarray(image, np.float32) / 255, name="copy")


def jpeg(image: Image.Image) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer)


def arrow(image: Image.Image) -> Image.Image:
    marked = image.copy()
    draw = ImageDraw.Draw(marked)
    draw.line((60, 180, 85, 160), fill=255, width=3)
    draw.text((10, 10), "DAY 4", fill=255)
    return marked


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG": jpeg,
    "smaller": lambda image: image.resize((150, 150)),
    "larger": lambda image: image.resize((640, 640)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "cropped by 1%": lambda image: image.crop((3, 3, image.width - 3, image.height - 3)),
    "arrow and text": arrow,
}


@pytest.fixture(scope="module")
def patients() -> list[Radiograph]:
    return [draw_phantom(CLASS_NAMES[seed % 4], seed).radiograph for seed in range(16)]


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_in_the_group_of_its_original(patients: list[Radiograph], how: str) -> None:
    copies = [radiograph(COPIES[how](picture(patient))) for patient in patients]
    groups = group_duplicates(np.array([perceptual_hash(r) for r in [*patients, *copies]]))
    assert groups.tolist() == [*range(16), *range(16)]


def test_colour_depth_and_the_file_format_do_not_matter(
    patients: list[Radiograph], tmp_path: Path
) -> None:
    deep = np.rint(65535 * patients[0].pixels).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.tiff")
    picture(patients[0]).convert("RGB").save(tmp_path / "colour.webp", quality=80)
    copies = [load_radiograph(tmp_path / name) for name in ("deep.tiff", "colour.webp")]
    hashes = np.array([perceptual_hash(r) for r in [patients[1], patients[0], *copies]])
    assert group_duplicates(hashes).tolist() == [0, 1, 1, 1]


# ------------------------------------------------------------------------------ grouping of hashes


def flipped(hash_: Bits, bits: range) -> Bits:
    changed = hash_.copy()
    changed[list(bits)] ^= True
    return changed


def random_hashes(count: int) -> Bits:
    return np.random.default_rng(0).random((count, HASH_BITS)) < 0.5


def test_the_limit_is_where_it_is_said_to_be() -> None:
    first = random_hashes(1)[0]
    near, far = flipped(first, range(MAX_DISTANCE)), flipped(first, range(100, 101 + MAX_DISTANCE))
    assert group_duplicates(np.array([first, near, far])).tolist() == [0, 0, 1]


def test_groups_are_numbered_by_their_first_member_in_any_order() -> None:
    hashes = random_hashes(6)[[3, 1, 3, 0, 1, 5]]
    assert group_duplicates(hashes).tolist() == [0, 1, 0, 2, 1, 3]
    assert group_duplicates(hashes[::-1]).tolist() == [0, 1, 2, 3, 1, 3]


def test_no_hash_and_one_hash() -> None:
    assert group_duplicates(np.empty((0, HASH_BITS), np.bool_)).tolist() == []
    assert group_duplicates(random_hashes(1)).tolist() == [0]


def test_pairs_are_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    singles = random_hashes(50)
    hashes = np.concatenate([singles, [flipped(hash_, range(7)) for hash_ in singles]])
    assert len(hashes) < BLOCK
    at_once = group_duplicates(hashes).tolist()
    monkeypatch.setattr(duplicates, "BLOCK", 16)
    assert group_duplicates(hashes).tolist() == at_once == [*range(50), *range(50)]


def test_a_chain_is_taken_apart_and_true_copies_in_it_stay_together() -> None:
    # Each link differs from the one before it by 40 bits: together, though its ends have nothing in
    # common. Each also has two copies that differ by 4 bits.
    rng = np.random.default_rng(1)
    links = random_hashes(1)
    while len(links) < MAX_GROUP:
        step = flipped(links[-1], range(0)).copy()
        step[rng.choice(HASH_BITS, 40, replace=False)] ^= True
        links = np.concatenate([links, step[None]])
    copies = [flipped(link, range(at, at + 4)) for link in links for at in (0, 100)]
    groups = group_duplicates(np.concatenate([links, copies]))
    assert np.bincount(groups).tolist() == [3] * MAX_GROUP
    assert np.unique(group_duplicates(links)).tolist() == [0]  # a chain that fits is left whole


def test_thousands_of_identical_films_are_one_group() -> None:
    hashes = np.repeat(random_hashes(2), 5_000, axis=0)
    assert np.bincount(group_duplicates(hashes)).tolist() == [5_000, 5_000]


def test_known_copies_among_real_films(shared_data: Path) -> None:
    folder = shared_data / "COVID-19_Radiography_Dataset" / "COVID" / "images"
    # The same film as printed in several papers: with borders, arrows, letters, other contrast.
    papers = [[300, 984], [239, 964], [649, 1541], [130, 1538], [433, 512], [32, 345, 428]]
    numbers = [number for copies in papers for number in copies]
    paths = [next(folder.glob(f"COVID-{number}.*")) for number in numbers]
    groups = group_duplicates(np.array([perceptual_hash(load_radiograph(path)) for path in paths]))
    assert groups.tolist() == [i for i, copies in enumerate(papers) for _ in copies]
