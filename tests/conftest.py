"""What several test files share: the real data where present, one classifier, a few phantoms."""

import os
from dataclasses import replace
from pathlib import Path

# Each worker, and each server and process that it starts, has one core and not all, from before
# PyTorch is imported. So they agree to the last bit, too: other threads sum in another order.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest

from cxr_gradcam.checkpoint import load_checkpoint, save_checkpoint
from cxr_gradcam.classifier import Classifier, load_classifier
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import CLASS_NAMES, draw_patient_phantoms
from cxr_gradcam.radiograph import Radiograph

_BESIDE_THE_PROJECT = Path(__file__).parents[2] / "shared" / "data"
MOST_WORKERS = 4  # each holds PyTorch and a browser
DRAWERS = {"test_dataset_page", "test_duplicates", "test_phantom", "test_splits", "test_survey"}


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A worker for each core; none for the long tests, some of which measure a quiet machine."""
    return min(os.cpu_count() or 1, MOST_WORKERS) if config.option.markexpr == "not slow" else 0


@pytest.hookimpl(tryfirst=True)  # before the workers put the groups into the tests' names
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep on one worker what shares servers, a process that is forked from, or drawn phantoms."""
    for item in items:
        folder, name = item.path.parent.name, item.path.stem
        if folder in ("e2e", "training"):
            alone = name == "test_viewer_in_browser"
            item.add_marker(pytest.mark.xdist_group(name if alone else folder))
        elif name in DRAWERS:
            item.add_marker(pytest.mark.xdist_group(name))


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
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled weights at 64 px, for what takes many passes and is the same at any size."""
    path = tmp_path_factory.mktemp("small") / "small.safetensors"
    save_checkpoint(replace(load_checkpoint(), input_size=64), path)
    return path


@pytest.fixture(scope="session")
def small_explainer(small_checkpoint: Path) -> Explainer:
    return Explainer(load_classifier(small_checkpoint, device="cpu"))


@pytest.fixture(scope="session")
def phantoms() -> list[Radiograph]:
    """Eight radiographs, two per class."""
    return [
        phantom.radiograph
        for seed in range(2)
        for phantom in draw_patient_phantoms(CLASS_NAMES, seed)
    ]


@pytest.fixture(scope="session")
def films(shared_data: Path) -> list[Path]:
    """Eight real radiographs, two per class."""
    root = shared_data / "COVID-19_Radiography_Dataset"
    return [path for name in CLASS_NAMES for path in sorted((root / name / "images").iterdir())[:2]]


@pytest.fixture(scope="session")
def mute_checkpoint(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to which no place of any picture speaks for Normal, at any layer."""
    checkpoint = load_checkpoint(small_checkpoint)
    weight = checkpoint.weights["classifier.weight"].clone()
    weight[checkpoint.class_names.index("Normal")] = 0
    path = tmp_path_factory.mktemp("mute") / "mute.safetensors"
    weights = {**checkpoint.weights, "classifier.weight": weight}
    save_checkpoint(replace(checkpoint, weights=weights), path)
    return path
