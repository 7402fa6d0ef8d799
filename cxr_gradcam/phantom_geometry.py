"""The drawing tools of the phantoms: places in the body, soft edges, tubes, random fields.

Lengths are centimetres. The origin lies on the spine at the height of the hila; x grows towards the
patient's left (the image's right), y towards the feet. Every structure is a function of the pixel's
place in the body, so one warp of those places bends the whole patient, masks included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]  # (H, W), one value per pixel
Mask = NDArray[np.bool_]  # (H, W)
Curve = NDArray[np.float64]  # (n, 2), points x, y in cm
Profile = float | Sequence[float] | NDArray[np.float64]  # one value or more along a curve
Knots = tuple[tuple[float, float], ...]  # (y, value) control points of a border or depth

MARROW = 0.7  # how much less the inside of a bone stops than its cortex
CURVE_POINTS = 12


@dataclass(frozen=True, eq=False)
class Grid:
    """Where in the body each pixel looks: x and y in cm, float32 (H, W)."""

    x: Field
    y: Field
    to_pixel: NDArray[np.float64]  # (2, 3), body cm to pixel column and row, without the warp
    slack: float  # cm that the warp may move a point by

    @property
    def size(self) -> int:
        """Side of the square picture in pixels."""
        return len(self.x)

    def window(self, points: Curve, reach: float) -> tuple[slice, slice]:
        """Rows and columns that hold everything within `reach` cm of the points."""
        margin = reach + self.slack
        low, high = points.min(0) - margin, points.max(0) + margin
        corners = np.array([[x, y, 1.0] for x in (low[0], high[0]) for y in (low[1], high[1])])
        pixels = corners @ self.to_pixel.T
        first = np.maximum(np.floor(pixels.min(0)), 0).astype(int)
        last = np.maximum(np.ceil(pixels.max(0)), 0).astype(int) + 1
        return slice(first[1], last[1]), slice(first[0], last[0])


def smooth_noise(rng: np.random.Generator, cells: int, size: int) -> Field:
    """A smooth random field (size, size), standard normal, with about `cells` bumps per side."""
    coarse = rng.standard_normal((2 * cells, 2 * cells), dtype=np.float32)
    # Blurred first, as bumps straight from an enlarged grid would line up with its rows.
    round_bumps = cv2.GaussianBlur(coarse, (0, 0), 1.0) * np.float32(2 * np.sqrt(np.pi))
    return np.asarray(cv2.resize(round_bumps, (size, size), interpolation=cv2.INTER_CUBIC))


def along_height(points: Knots, y: NDArray[np.floating]) -> NDArray[np.float32]:
    """Reads a border or depth, smoothed between its (y, value) control points, at heights y."""
    knots = np.array(points)
    pad = 7
    heights = np.arange(knots[0, 0] - 2.0, knots[-1, 0] + 2.0, 0.1)
    values = np.interp(heights, knots[:, 0], knots[:, 1])
    kernel = np.hanning(2 * pad + 1)
    padded = np.pad(values, pad, mode="edge")
    smooth = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return np.asarray(np.interp(y, heights, smooth), np.float32)


def edge(inside: Field, softness: float = 0.24) -> Field:
    """A soft step from 0 outside to 1 inside, `softness` to either side of 0 (both in cm)."""
    ramp = np.clip(inside / (2 * softness) + 0.5, 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)


def dome(u: Field) -> Field:
    """Height of a unit half circle at |u| from its middle, 0 beyond its rim."""
    return np.asarray(np.sqrt(np.clip(1 - u * u, 0, None)), np.float32)


def tube(
    canvas: Field, grid: Grid, curve: Curve, radius: Profile, weight: Profile = 1.0,
    hollow: float = 0.0,
) -> None:  # fmt: skip
    """Adds the path length through a tube along a curve to the canvas.

    Args:
        canvas: (H, W) in cm, changed in place.
        grid: the places of its pixels.
        curve: (n, 2) points of the middle line, cm.
        radius: outer radii in cm, spread evenly over the curve's points.
        weight: factors of the path length, spread likewise.
        hollow: inner over outer radius; a hollow tube has bright edges, as a long bone has.
    """
    window = grid.window(curve, float(np.max(radius)))
    x, y = grid.x[window], grid.y[window]
    if x.size == 0:
        return
    start = curve[:-1].astype(np.float32)[:, :, None, None]
    step = np.diff(curve, axis=0).astype(np.float32)[:, :, None, None]
    dx, dy = x - start[:, 0], y - start[:, 1]
    along = np.clip((dx * step[:, 0] + dy * step[:, 1]) / (step * step).sum(1), 0, 1)
    distance2 = (dx - along * step[:, 0]) ** 2 + (dy - along * step[:, 1]) ** 2
    nearest = distance2.argmin(0)[None]
    place = np.take_along_axis(along, nearest, 0)[0] + nearest[0]
    outer = spread(radius, place, len(curve))
    u2 = np.take_along_axis(distance2, nearest, 0)[0] / outer**2
    chord = np.sqrt(np.clip(1 - u2, 0, None))
    if hollow:
        chord -= MARROW * np.sqrt(np.clip(hollow**2 - u2, 0, None))
    canvas[window] += 2 * outer * chord * spread(weight, place, len(curve))


def spread(profile: Profile, place: Field, points: int) -> Field:
    """Reads a profile, spread evenly over a curve of so many points, at places along it."""
    values = np.atleast_1d(profile)
    stations = np.linspace(0, points - 1, len(values))
    return np.asarray(np.interp(place, stations, values), np.float32)


def arc(*points: tuple[float, float]) -> Curve:
    """A curve (n, 2) through a few points: straight through two, smooth through more."""
    knots = np.array(points)
    if len(knots) == 2:
        return knots
    stations = np.arange(len(knots))
    where = np.linspace(0, len(knots) - 1, CURVE_POINTS)
    fits = [np.polyfit(stations, knots[:, axis], min(len(knots) - 1, 3)) for axis in (0, 1)]
    return np.column_stack([np.polyval(fit, where) for fit in fits])
