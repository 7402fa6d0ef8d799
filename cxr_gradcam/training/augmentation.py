"""Augmentation: every film as another technician, detector or archive might have given it.

Each sample draws its own numbers, from the seed, the epoch and its place in the step alone. So a
run that was killed and resumed, or shared among processes, sees the same pictures as one that was
not. Geometry, exposure and noise work on the whole batch at once; compression and blur, which few
samples get, one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from cxr_gradcam.preprocess import PADDING

Numbers = npt.NDArray[np.float64]

# What one draws from at strength 1.
MAX_ANGLE = 12.0  # degrees
MAX_SCALE = 1.15  # and down to 1 / that
MAX_SHIFT = 0.08  # of the side
MAX_GAMMA = 1.35  # and down to 1 / that
MAX_CONTRAST = 1.3  # and down to 1 / that
MAX_BRIGHTNESS = 0.08
MAX_BLUR = 1.2  # standard deviation in pixels of a 224-pixel film
MAX_NOISE = 0.04  # standard deviation
LOWEST_QUALITY = 40  # of JPEG
FLIPPED, BLURRED, NOISY, COMPRESSED = 0.5, 0.25, 0.25, 0.25  # shares of the samples


@dataclass(frozen=True)
class Draws:
    """What is to be done to each sample of a batch: arrays of one number per sample.

    Attributes:
        flip: -1 where mirrored, else 1.
        angle: rotation in radians.
        scale: magnification.
        shift_x, shift_y: as a share of half the side.
        gamma: exponent of the intensity.
        contrast: factor about the film's mean.
        brightness: added to the intensity.
        blur: standard deviation as a share of the side, 0 for none.
        noise: standard deviation, 0 for none.
        quality: of JPEG, 0 for none.
        seed: of the noise.
    """

    flip: Numbers
    angle: Numbers
    scale: Numbers
    shift_x: Numbers
    shift_y: Numbers
    gamma: Numbers
    contrast: Numbers
    brightness: Numbers
    blur: Numbers
    noise: Numbers
    quality: Numbers
    seed: Numbers

    def share(self, rows: slice | npt.NDArray[np.int64]) -> Draws:
        """Return the draws of some of the samples."""
        return Draws(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def draw(rng: np.random.Generator, count: int, strength: float) -> Draws:
    """Draw what is to be done to `count` samples.

    Args:
        rng: where the numbers come from.
        count: samples in the batch.
        strength: widens or narrows the ranges; 1 is usual, above 0.
    """

    def within(limit: float) -> Numbers:
        return rng.uniform(-limit, limit, count) * strength

    def sometimes(share: float, low: float, high: float) -> Numbers:
        values = rng.uniform(low, high, count)
        return np.where(rng.random(count) < share, values, 0.0)

    return Draws(
        flip=np.where(rng.random(count) < FLIPPED, -1.0, 1.0),
        angle=np.deg2rad(within(MAX_ANGLE)),
        scale=np.exp(within(np.log(MAX_SCALE))),
        shift_x=within(2 * MAX_SHIFT),
        shift_y=within(2 * MAX_SHIFT),
        gamma=np.exp(within(np.log(MAX_GAMMA))),
        contrast=np.exp(within(np.log(MAX_CONTRAST))),
        brightness=within(MAX_BRIGHTNESS),
        blur=sometimes(BLURRED, 0.3, MAX_BLUR) * strength / 224,
        noise=sometimes(NOISY, 0.005, MAX_NOISE) * strength,
        quality=np.round(sometimes(COMPRESSED, LOWEST_QUALITY, 95)),
        seed=rng.integers(2**31, size=count).astype(np.float64),
    )


@dataclass(frozen=True)
class Blend:
    """Which samples of a step are blended with which: mixup of Zhang 2018 (arXiv 1710.09412).

    Attributes:
        partners: int64 (N,), the place in the step of the film that is blended in.
        shares: float32 (N,) from 0.5 to 1, how much of the film itself there is in the blend.
    """

    partners: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float32]


def draw_blend(
    rng: np.random.Generator, spared: npt.NDArray[np.bool_], concentration: float
) -> Blend:
    """Draw what is blended with what.

    Args:
        rng: where the numbers come from.
        spared: (N,), samples that stay as they are.
        concentration: both parameters of the beta distribution of the shares; 0 blends nothing.
    """
    count = len(spared)
    if not concentration:
        return Blend(np.arange(count), np.ones(count, np.float32))
    shares = rng.beta(concentration, concentration, count)
    shares = np.where(spared, 1.0, np.maximum(shares, 1 - shares))
    return Blend(rng.permutation(count), shares.astype(np.float32))


def augment(pixels: Tensor, draws: Draws, device: torch.device) -> Tensor:
    """Do what was drawn to the films; `warp` does to masks what becomes of their places.

    Args:
        pixels: uint8 (N, S, S), on the CPU.
        draws: for N samples.
        device: where the work is done, and the result lies.

    Returns:
        float32 (N, 1, S, S) in [0, 1].
    """
    films = to_unit(compress(pixels, draws), device)
    films = warp(films, draws)
    films = expose(films, draws)
    films = blur(films, draws)
    return add_noise(films, draws).clamp_(0, 1)


def to_unit(pixels: Tensor, device: torch.device) -> Tensor:
    """Turn uint8 (N, S, S) into float32 (N, 1, S, S) in [0, 1] on the device."""
    if device.type == "cuda":
        pixels = pixels.pin_memory()
    return pixels.to(device, non_blocking=True)[:, None].float().div_(255)


def compress(pixels: Tensor, draws: Draws) -> Tensor:
    """Save and open the drawn samples as JPEG; uint8 (N, S, S) in and out, on the CPU."""
    # OpenCV, as torchvision's own JPEG is to be removed.
    pixels = pixels.clone()
    for i in np.flatnonzero(draws.quality):
        options = (cv2.IMWRITE_JPEG_QUALITY, int(draws.quality[i]))
        _, written = cv2.imencode(".jpg", pixels[i].numpy(), options)
        pixels[i] = torch.from_numpy(cv2.imdecode(written, cv2.IMREAD_GRAYSCALE))
    return pixels


def warp(films: Tensor, draws: Draws) -> Tensor:
    """Mirror, rotate, magnify and shift in one resampling; air (0) comes in from outside.

    Bicubic: bilinear sampling would blur every film of the training, and a network that learnt on
    blurred ones misreads films as sharp as they come. torchvision would take one angle for the
    whole batch, so the grid is made here. Its affine map goes from the result's coordinates, -1 to
    1, to those of the film.
    """
    if not len(films):  # which PyTorch makes no grid for
        return films
    cos, sin = np.cos(draws.angle) / draws.scale, np.sin(draws.angle) / draws.scale
    rows = [
        [cos * draws.flip, sin * draws.flip, draws.shift_x],
        [-sin, cos, draws.shift_y],
    ]
    matrices = torch.from_numpy(np.array(rows, np.float32)).permute(2, 0, 1).to(films.device)
    grid = F.affine_grid(matrices, list(films.shape), align_corners=False)
    if PADDING:
        films = films - PADDING
    warped = F.grid_sample(films, grid, mode="bicubic", align_corners=False)
    return (warped + PADDING).clamp_(0, 1)  # bicubic overshoots at edges


def expose(films: Tensor, draws: Draws) -> Tensor:
    """Change gamma, contrast and brightness."""
    gamma, contrast, brightness = (
        torch.from_numpy(values.astype(np.float32)).to(films.device).view(-1, 1, 1, 1)
        for values in (draws.gamma, draws.contrast, draws.brightness)
    )
    films = films.clamp(0, 1).pow(gamma)
    mean = films.mean(dim=(1, 2, 3), keepdim=True)
    return torch.addcmul(mean + brightness, films - mean, contrast).clamp_(0, 1)


def blur(films: Tensor, draws: Draws) -> Tensor:
    """Blur the drawn samples."""
    for i in np.flatnonzero(draws.blur):
        sigma = float(draws.blur[i] * films.shape[-1])
        side = 2 * int(np.ceil(2 * sigma)) + 1
        films[i] = transforms.gaussian_blur(films[i], [side, side], [sigma, sigma])
    return films


def add_noise(films: Tensor, draws: Draws) -> Tensor:
    """Add Gaussian noise to the drawn samples, each from a seed of its own."""
    for i in np.flatnonzero(draws.noise):
        generator = torch.Generator(films.device).manual_seed(int(draws.seed[i]))
        grain = torch.randn(films[i].shape, generator=generator, device=films.device)
        films[i].add_(grain, alpha=float(draws.noise[i]))
    return films
