"""What all sessions share: the model, the dataset's listing and the samples. All read-only."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from cxr_gradcam.checkpoint import BUNDLED_CHECKPOINT
from cxr_gradcam.classifier import load_classifier
from cxr_gradcam.dataset import Dataset, find_dataset
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import CLASS_NAMES, draw_phantom
from cxr_gradcam.radiograph import Radiograph

CHECKPOINT_VARIABLE = "CXR_CHECKPOINT"
SAMPLE_SEED = 0
SAMPLE_SIDE = 512
LISTING_SECONDS = 60  # after which new files in the dataset folder are noticed


def explainer() -> Explainer:
    """Return the explainer of the model this server shows, loaded once for all sessions.

    Raises:
        CheckpointError: when the checkpoint cannot be used.
    """
    return _load(os.environ.get(CHECKPOINT_VARIABLE, "").strip() or str(BUNDLED_CHECKPOINT))


@st.cache_resource(max_entries=2, show_spinner="Loading the model …")
def _load(path: str) -> Explainer:
    return Explainer(load_classifier(path))


def dataset() -> Dataset | None:
    """Return the dataset folder, listed at most once a minute; None where there is none.

    Raises:
        DatasetError: when a folder is set up and is no dataset.
    """
    return _list(os.environ.get("CXR_DATA", ""), str(Path.cwd()))


@st.cache_resource(max_entries=4, ttl=LISTING_SECONDS, show_spinner=False)
def _list(named: str, working_folder: str) -> Dataset | None:
    return find_dataset({"CXR_DATA": named}, Path(working_folder))


@st.cache_resource(show_spinner="Drawing phantoms …")
def samples() -> dict[str, Radiograph]:
    """Return one phantom of each class, by class."""
    return {
        label: draw_phantom(label, SAMPLE_SEED, SAMPLE_SIDE).radiograph for label in CLASS_NAMES
    }
