"""The letterbox there and back: what lies at a place comes back to that place."""

import numpy as np
import pytest
import torch

from cxr_gradcam.preprocess import PADDING, Letterbox, to_model_input
from cxr_gradcam.radiograph import Radiograph

SHAPES = [(300, 700), (700, 300), (224, 224), (37, 2000), (1001, 999), (32, 33)]


def centre_of_mass(image: np.ndarray) -> tuple[float, float]:
    rows, columns = np.indices(image.shape)
    return float((rows * image).sum() / image.sum()), float((columns * image).sum() / image.sum())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_picture_fills_the_longer_side_and_keeps_its_aspect(shape: tuple[int, int]) -> None:
    box = Letterbox.fit(*shape, 224)
    assert max(box.content_height, box.content_width) == 224
    assert abs(box.content_height - shape[0] * 224 / max(shape)) <= 0.5
    assert abs(box.content_width - shape[1] * 224 / max(shape)) <= 0.5
    square = box.apply(np.full(shape, 0.7, np.float32))
    assert square.shape == (224, 224)
    assert square.dtype == np.float32
    inside = square[box.top : box.top + box.content_height, box.left : box.left + box.content_width]
    np.testing.assert_allclose(inside, 0.7, atol=1e-6)
    assert (square == PADDING).sum() == square.size - inside.size


@pytest.mark.parametrize("shape", [(300, 700), (700, 300)])
@pytest.mark.parametrize("place", [(0.2, 0.3), (0.7, 0.85), (0.5, 0.5)])
def test_a_bright_square_comes_back_to_its_place(
    shape: tuple[int, int], place: tuple[float, float]
) -> None:
    height, width = shape
    top, left, side = int(place[0] * height) - 20, int(place[1] * width) - 20, 40
    picture = np.zeros(shape, np.float32)
    picture[top : top + side, left : left + side] = 1
    box = Letterbox.fit(height, width, 224)
    restored = box.restore(box.apply(picture))
    assert restored.shape == shape
    row, column = centre_of_mass(restored)
    assert row == pytest.approx(top + side / 2 - 0.5, abs=0.5)
    assert column == pytest.approx(left + side / 2 - 0.5, abs=0.5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cells", [1, 4, 7, 56])
def test_restoring_follows_every_pixel_into_the_grid(shape: tuple[int, int], cells: int) -> None:
    # A grid that holds its own coordinates is read at each pixel's own position, exactly.
    box = Letterbox.fit(*shape, 224)
    rows, columns = np.indices((cells, cells)).astype(np.float32)
    for grid, axis, offset, content in (
        (rows, 0, box.top, box.content_height),
        (columns, 1, box.left, box.content_width),
    ):
        in_square = (np.arange(shape[axis]) + 0.5) * content / shape[axis] + offset
        expected = np.clip(in_square * cells / 224 - 0.5, 0, cells - 1)
        restored = np.moveaxis(box.restore(grid), axis, 0)
        np.testing.assert_allclose(restored[:, 0], expected, atol=1e-4)
        np.testing.assert_allclose(restored[:, -1], expected, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cells", [1, 2, 4, 7, 56])
@pytest.mark.parametrize("seed", range(3))
def test_the_highest_pixel_is_found_without_restoring(
    shape: tuple[int, int], cells: int, seed: int
) -> None:
    box = Letterbox.fit(*shape, 224)
    grid = np.random.default_rng(seed).normal(size=(cells, cells)).astype(np.float32)
    assert box.highest(grid) == pytest.approx(float(box.restore(grid).max()), rel=1e-6)


def test_what_lies_in_the_padding_is_cut_off() -> None:
    box = Letterbox.fit(300, 700, 224)  # 96 rows of picture between two bars of 64
    grid = np.zeros((7, 7), np.float32)
    grid[0] = grid[-1] = 1
    assert box.restore(grid).max() == 0
    assert box.highest(grid) == 0


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="for 300 x 700 pixels, the picture has 30 x 70"):
        Letterbox.fit(300, 700, 224).apply(np.zeros((30, 70), np.float32))


def test_the_model_input_is_the_normalised_square_three_times() -> None:
    pixels = np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(64, 48)
    radiograph = Radiograph.from_array(pixels, name="ramp")
    box = Letterbox.fit(64, 48, 96)
    tensor = to_model_input(radiograph, box, mean=(0.5, 0.4, 0.3), std=(0.25, 0.5, 1.0))
    assert tensor.shape == (1, 3, 96, 96)
    assert tensor.dtype == torch.float32
    for channel, (mean, std) in enumerate(((0.5, 0.25), (0.4, 0.5), (0.3, 1.0))):
        np.testing.assert_allclose(
            tensor[0, channel].numpy(), (box.apply(pixels) - mean) / std, atol=1e-6
        )
