"""See why a chest X-ray classifier says what it says. A research tool, not for clinical use."""

from cxr_gradcam.checkpoint import CheckpointError
from cxr_gradcam.classifier import Classifier, load_classifier
from cxr_gradcam.explainer import Explainer, Explanation
from cxr_gradcam.radiograph import Radiograph, RadiographError, load_radiograph
from cxr_gradcam.render import comparison_figure, overlay

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "Classifier",
    "Explainer",
    "Explanation",
    "Radiograph",
    "RadiographError",
    "comparison_figure",
    "load_classifier",
    "load_radiograph",
    "overlay",
]
