"""The samples sheet: a few films of every class with their names, as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from cxr_gradcam.render import DISCLAIMER, plot_text
from cxr_gradcam.survey.folder import Film, Folder
from cxr_gradcam.survey.thumbnails import Thumbnail, Thumbnails, decode
from cxr_gradcam.words import class_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PER_CLASS = 6
MOST_CLASSES = 20  # a sheet with more rows is no picture any more
_TILE, _HEAD = 1.7, 0.55  # inches
_DPI = 150
_LONGEST = 24  # characters of a name under a tile


def choose(folder: Folder, seed: int, per_class: int = PER_CLASS) -> dict[str, list[Film]]:
    """Return class -> some of its films, by chance but the same for a seed, in natural order."""
    rng = np.random.default_rng(seed)
    chosen = {}
    for label in folder.labels[:MOST_CLASSES]:
        films = [film for film in folder.films if film.label == label]
        places = rng.choice(len(films), min(per_class, len(films)), replace=False)
        chosen[label] = [films[place] for place in sorted(places)]
    return chosen


def draw_sheet(
    chosen: Mapping[str, Sequence[Film]],
    thumbnails: Thumbnails,
    *,
    ink: str = "#17262c",
    paper: str = "white",
) -> bytes:
    """Draw a row of films per class, as a PNG file.

    Args:
        chosen: class -> its films; one class and one film at least.
        thumbnails: where the small pictures come from.
        ink, paper: colours of the text and of the ground.
    """
    from matplotlib.figure import Figure

    columns = max(map(len, chosen.values()))
    size = (_TILE * columns + 0.5, (_TILE + 0.2) * len(chosen) + _HEAD)
    figure = Figure(figsize=size, layout="constrained", facecolor=paper)
    figure.suptitle(DISCLAIMER, fontsize=9, color=ink)
    grid = figure.subplots(len(chosen), columns, squeeze=False)
    for row, (label, films) in zip(grid, chosen.items(), strict=True):
        for axes in row:
            axes.set_axis_off()
        for axes, film, small in zip(row, films, thumbnails.of(films), strict=False):
            _draw_film(axes, film, small, ink)
        row[0].text(
            -0.08,
            0.5,
            plot_text(class_label(label), _LONGEST),
            transform=row[0].transAxes,
            rotation=90,
            ha="center",
            va="center",
            fontsize=11,
            color=ink,
        )
    data = BytesIO()
    figure.savefig(data, format="png", dpi=_DPI, facecolor=paper)
    return data.getvalue()


def _draw_film(axes: Axes, film: Film, small: Thumbnail, ink: str) -> None:
    axes.set_title(plot_text(film.name, _LONGEST), fontsize=7.5, color=ink, pad=3)
    if isinstance(small, str):
        axes.text(0.5, 0.5, "cannot be read", ha="center", va="center", fontsize=8, color=ink)
    else:
        axes.imshow(decode(small), cmap="gray", vmin=0, vmax=255)
