"""Does this picture look like the films the classifier was trained on?

A classifier answers with one of its classes whatever it is shown. What its inner layers give tells
more: strangers leave the region where training films lie. The last layer is trained to overlook
all that no class depends on, so one before it is looked at, the upper half of the picture apart
from the lower: there a negative differs, too, and a film upside down. How far off a picture is,
measured in the films' own spread, is the Mahalanobis distance (Lee 2018, arXiv 1807.03888, there
per class; one mean for all told strangers apart as well). The covariance is shrunk (Ledoit 2004),
as many of its directions are seen with few films, and kept as its strongest directions plus one
variance for all others (Tipping 1999), in a fraction of the room.

A distance means nothing to a reader, so what is reported is a share: of validation films, how many
look as strange or stranger (the p-value of conformal prediction; Vovk 2005). A film like those of
the training is as likely to get 0.1 as 0.9; a photograph gets next to nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor

from cxr_gradcam.densenet import LAST_LAYER

LAYER, BANDS = "features.transition3", 2  # what a fit reads
CHANNELS = {LAYER: 512, LAST_LAYER: 1024}  # of a DenseNet-121
RANK = 128
THRESHOLD = 0.01  # 99% of validation films pass
_LEVELS = 201  # of the table of distances; the threshold is one of them

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Familiarity:
    """What training films look like to the network, and how strange validation films looked.

    Attributes:
        mean: float32 (C,), of the pooled features of training films.
        directions: float32 (C, R), orthonormal to fp16's precision, the strongest of their spread.
        variances: float32 (R,), along each of them; positive.
        rest: variance along any other direction; positive.
        distances: float32 (L,), ascending: quantiles of the distances of validation films, at
            levels evenly spaced from 0 to 1.
        least: familiarity of the farthest of them, 1 / (M + 1) of M validation films.
        threshold: the smallest familiarity that counts as familiar.
        layer: whose activation the features are pooled from.
        bands: into how many, from the top of the picture to its bottom, each channel is pooled.
    """

    mean: Floats
    directions: Floats
    variances: Floats
    rest: float
    distances: Floats
    least: float
    threshold: float = THRESHOLD
    layer: str = LAYER
    bands: int = BANDS

    def distance(self, features: npt.ArrayLike) -> Floats:
        """Return squared Mahalanobis distances, (N,) from pooled features (N, C)."""
        centred = np.asarray(features, np.float32) - self.mean
        along = centred @ self.directions
        # What no direction explains; rounding may leave it a little below zero.
        left = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        distances: Floats = (along**2 / self.variances).sum(axis=1) + left / self.rest
        return distances

    def score(self, features: npt.ArrayLike) -> float:
        """Return the familiarity of one picture.

        Args:
            features: (C,), its activation at `layer`, pooled by `pooled` into `bands`.

        Returns:
            In [0, 1]: the share of validation films that were as far off or farther, the picture
            itself counted among them, linear between the levels kept. Beyond the farthest it goes
            on falling with the distance, so that few validation films do not make all that is
            farther than they a stranger.
        """
        distance = float(self.distance(np.asarray(features)[None])[0])
        farthest = float(self.distances[-1])
        if distance > farthest:
            return self.least * farthest / distance
        levels = np.linspace(1, self.least, len(self.distances))
        return float(np.interp(distance, self.distances, levels))

    def to_metadata(self) -> dict[str, Any]:
        """Return all of it as JSON values, for a checkpoint's header; about 360 kB."""
        return {
            "threshold": self.threshold,
            "layer": self.layer,
            "bands": self.bands,
            "rest": self.rest,
            "least": self.least,
            "mean": _pack(self.mean, "<f4"),
            "directions": _pack(self.directions, "<f2"),
            "variances": _pack(self.variances, "<f4"),
            "distances": _pack(self.distances, "<f4"),
        }

    @classmethod
    def from_metadata(cls, values: Mapping[str, Any]) -> Familiarity:
        """Return what `to_metadata` was called on, bit for bit.

        Raises:
            ValueError: when the values are none, or contradict one another.
        """
        try:
            own = cls(
                mean=_unpack(values["mean"]),
                directions=_unpack(values["directions"]),
                variances=_unpack(values["variances"]),
                rest=float(values["rest"]),
                distances=_unpack(values["distances"]),
                least=float(values["least"]),
                threshold=float(values["threshold"]),
                # The first checkpoints looked at the last layer, and do not say so.
                layer=values.get("layer", LAST_LAYER),
                bands=values.get("bands", 1),
            )
            own._check()
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError):
            raise ValueError(
                "The statistics of familiarity are damaged: train again or use another checkpoint."
            ) from None
        return own

    def _check(self) -> None:
        """Raise ValueError unless shapes fit and values are within their ranges."""
        count, rank = self.directions.shape
        sound = (
            self.mean.shape == (count,)
            and self.variances.shape == (rank,)
            and self.distances.ndim == 1
            and len(self.distances) >= 2
            and all(np.isfinite(array).all() for array in (self.mean, self.directions))
            and _positive(self.variances)
            and _positive(np.array(self.rest))
            and np.isfinite(self.distances).all()
            and (np.diff(self.distances) >= 0).all()
            and 0 <= self.least <= 1
            and 0 <= self.threshold <= 1
            and isinstance(self.layer, str)
            and isinstance(self.bands, int)
            and self.bands >= 1
        )
        if not sound:
            raise ValueError


def fit_familiarity(
    features: npt.ArrayLike, validation_features: npt.ArrayLike, *, rank: int = RANK
) -> Familiarity:
    """Learn what films look like to a network.

    Args:
        features: (N, C), of training films: activations at `LAYER`, pooled into `BANDS`. N > 1.
        validation_features: (M, C), of films that the network was not trained on, which looks at
            those of the training as at old acquaintances. For the threshold of 1% to be sharp, M
            is in the hundreds; with fewer than 99 only what lies well beyond them all is strange.
        rank: how many directions to keep; fewer where there are fewer features.

    Raises:
        ValueError: for other shapes, values that are not finite, or films that are all the same.
    """
    from sklearn.covariance import LedoitWolf  # slow to import, and only training needs it

    known, held_out = _checked(features, validation_features)
    mean = known.mean(axis=0)
    covariance = LedoitWolf(assume_centered=True).fit(known - mean).covariance_
    strengths, directions = np.linalg.eigh(covariance)
    if not strengths[-1] > 0:
        raise ValueError("All training films have the same features: the network has collapsed.")
    rank = min(rank, known.shape[1] - 1)
    # Rounded as they will be stored, so that a checkpoint read again gives the same bits.
    kept = directions[:, -rank:].astype(np.float16).astype(np.float32)
    smallest = strengths[-1] * 1e-6
    fitted = Familiarity(
        mean=mean.astype(np.float32),
        directions=kept,
        variances=np.maximum(strengths[-rank:], smallest).astype(np.float32),
        rest=float(max(strengths[:-rank].mean(), smallest)),
        distances=np.zeros(_LEVELS, np.float32),
        least=1 / (len(held_out) + 1),
    )
    distances = np.quantile(fitted.distance(held_out), np.linspace(0, 1, _LEVELS))
    return replace(fitted, distances=distances.astype(np.float32))


def pooled(activation: Tensor, bands: int) -> Tensor:
    """Return what (N, C, h, w) has in each channel on the mean, band by band: (N, C * bands)."""
    return F.adaptive_avg_pool2d(activation, (bands, 1)).flatten(1)


def _checked(
    features: npt.ArrayLike, validation_features: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    known, held_out = np.asarray(features, np.float64), np.asarray(validation_features, np.float64)
    shapes = f"{known.shape} and {held_out.shape}"
    if not (known.ndim == held_out.ndim == 2 and known.shape[1] == held_out.shape[1] > 1):
        raise ValueError(f"The features have the shapes {shapes}: expected (N, C) and (M, C).")
    if len(known) < 2 or not len(held_out):
        raise ValueError(
            f"The features have the shapes {shapes}: give two films or more, and one to validate."
        )
    if not (np.isfinite(known).all() and np.isfinite(held_out).all()):
        raise ValueError("Some features are not finite: the network has diverged, use another one.")
    return known, held_out


def _positive(values: npt.NDArray[np.floating[Any]]) -> bool:
    return bool(np.isfinite(values).all() and (values > 0).all())


def _pack(array: Floats, dtype: str) -> dict[str, Any]:
    data = base64.b64encode(array.astype(dtype).tobytes()).decode("ascii")
    return {"dtype": dtype, "shape": list(array.shape), "data": data}


def _unpack(packed: Mapping[str, Any]) -> Floats:
    if packed["dtype"] not in ("<f2", "<f4"):
        raise ValueError
    data = base64.b64decode(packed["data"], validate=True)
    array = np.frombuffer(data, packed["dtype"]).reshape(packed["shape"]).astype(np.float32)
    array.flags.writeable = False
    return array
