"""What several test files share: the real data where present, one classifier, a few phantoms."""

import os
from pathlib import Path

import pytest

from cxr_gradcam.classifier import Classifier, load_classifier
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import CLASS_NAMES, draw_phantom
from cxr_gradcam.radiograph import Radiograph

_BESIDE_THE_PROJECT = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real radiographs, which is not part of the project."""
    folder = Path(os.environ.get("CXR_SHARED_DATA", _BESIDE_THE_PROJECT))
    if not folder.is_dir():
        pytest.skip(f"no real radiographs at {folder}: set CXR_SHARED_DATA to test on them")
    return folder


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    return load_classifier(device="cpu")


@pytest.fixture(scope="session")
def explainer(classifier: Classifier) -> Explainer:
    return Explainer(classifier)


@pytest.fixture(scope="session")
def phantoms() -> list[Radiograph]:
    """Eight radiographs, two per class."""
    return [draw_phantom(label, seed).radiograph for seed in range(2) for label in CLASS_NAMES]


@pytest.fixture(scope="session")
def films(shared_data: Path) -> list[Path]:
    """Eight real radiographs, two per class."""
    root = shared_data / "COVID-19_Radiography_Dataset"
    return [path for name in CLASS_NAMES for path in sorted((root / name / "images").iterdir())[:2]]
