"""See why a chest X-ray classifier says what it says. A research tool, not for clinical use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxr_gradcam.checkpoint import CheckpointError
    from cxr_gradcam.classifier import Classifier, load_classifier
    from cxr_gradcam.explainer import Explainer, Question
    from cxr_gradcam.explanation import Explanation
    from cxr_gradcam.radiograph import Radiograph, RadiographError, load_radiograph
    from cxr_gradcam.render import comparison_figure, overlay

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "Classifier",
    "Explainer",
    "Explanation",
    "Question",
    "Radiograph",
    "RadiographError",
    "comparison_figure",
    "load_classifier",
    "load_radiograph",
    "overlay",
]

_HOMES = {
    "CheckpointError": "checkpoint",
    "Classifier": "classifier",
    "load_classifier": "classifier",
    "Explainer": "explainer",
    "Explanation": "explanation",
    "Question": "explainer",
    "Radiograph": "radiograph",
    "RadiographError": "radiograph",
    "load_radiograph": "radiograph",
    "comparison_figure": "render",
    "overlay": "render",
}


def __dir__() -> list[str]:
    """Return the public names, imported or not: what a notebook completes."""
    return sorted({*__all__, "__version__"})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `--help` need not wait for PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
