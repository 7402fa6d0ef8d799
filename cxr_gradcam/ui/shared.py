"""What all sessions share: the models, the dataset's listing and the phantoms. All read-only."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import streamlit as st
import torch

from cxr_gradcam.classifier import load_classifier
from cxr_gradcam.dataset import Dataset, find_dataset
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import CLASS_NAMES, Phantom, draw_patient_phantoms, draw_phantom
from cxr_gradcam.render import to_grey
from cxr_gradcam.survey.phantoms import phantom_place
from cxr_gradcam.survey.store import cache_folder
from cxr_gradcam.threads import usable_cores
from cxr_gradcam.ui import session
from cxr_gradcam.ui.components.picture import encode_png
from cxr_gradcam.ui.models import list_models

SEEDS_PER_CLASS = 3
SAMPLE_SIDE = 512
THUMBNAIL_SIDE = 224
LISTING_SECONDS = 60  # after which new files in the dataset folder are noticed
MAX_MODELS = 4  # held at once, 55 MB each

_MODELS = "_models"

# What is cached below takes paths as bytes: Streamlit fails at text that is no UTF-8.


def look_for_models() -> None:
    """List what may be chosen, once for a run of the page: hundreds of runs take a while."""
    st.session_state[_MODELS] = list_models(os.environ, Path.cwd())


def models() -> dict[str, Path]:
    """Return name -> checkpoint of what may be chosen; the first is the default."""
    if _MODELS not in st.session_state:
        look_for_models()
    return cast("dict[str, Path]", st.session_state[_MODELS])


def model() -> str:
    """Return the name of the model that this session looks through."""
    return _chosen_of(models())


def _chosen_of(listed: Mapping[str, Path]) -> str:
    chosen = session.model()
    if chosen is None or chosen not in listed:  # its run may have been deleted
        return next(iter(listed))
    return chosen


def explainer() -> Explainer:
    """Return the explainer of this session's model, loaded once for all sessions.

    Raises:
        CheckpointError: when the checkpoint cannot be used.
    """
    listed = models()
    path = listed[_chosen_of(listed)]
    return _load(os.fsencode(path), _version(path))


def _version(path: Path) -> tuple[int, int]:
    """Return what changes when the file does; zeros where there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@st.cache_resource(max_entries=MAX_MODELS, show_spinner="Loading the model …")
def _load(path: bytes, version: tuple[int, int]) -> Explainer:
    _leave_cores()
    loaded = Explainer(load_classifier(os.fsdecode(path)))
    _freeze()
    return loaded


@st.cache_resource(show_spinner=False)
def _freeze() -> None:
    """Have the collector of garbage pass over PyTorch and the rest of what stays for good.

    Streamlit collects garbage after every run of the page, before the browser has all of it: 200 ms
    less. Once for the server only, as what visitors have at that moment stays for good, too.
    """
    gc.collect()
    gc.freeze()


def _leave_cores() -> None:
    """Have PyTorch use half of the cores for a look, unless `OMP_NUM_THREADS` decides.

    The others decode and pack films, serve other visitors, and draw the page where the browser runs
    on the same machine. A look with a thread per core waits for those whenever they are busy: on
    two cores beside a busy browser it took about twice as long as with one thread. All looks have
    as many threads, so that a film's heatmap is the same to the last bit, whoever else is there.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() // 2))


def dataset() -> Dataset | None:
    """Return the dataset folder, listed at most once a minute; None where there is none.

    Raises:
        DatasetError: when a folder is set up and is no dataset.
    """
    return _list(os.fsencode(os.environ.get("CXR_DATA", "")), os.fsencode(Path.cwd()))


def linked() -> Dataset | None:
    """Return what a film of the address is looked up in: the dataset, else the phantoms that a
    visitor had drawn for want of one; None where there are neither.

    Raises:
        DatasetError: when a folder is set up and is no dataset.
    """
    phantoms = phantom_place(cache_folder())
    return dataset() or (_list(os.fsencode(phantoms), b"") if phantoms.is_dir() else None)


@st.cache_resource(max_entries=4, ttl=LISTING_SECONDS, show_spinner=False)
def _list(named: bytes, working_folder: bytes) -> Dataset | None:
    return find_dataset({"CXR_DATA": os.fsdecode(named)}, Path(os.fsdecode(working_folder)))


# --- phantoms


def sample_keys() -> dict[str, tuple[str, int]]:
    """Return the key of every phantom on offer, like `COVID-0`, with its class and its seed."""
    return {
        f"{label}-{seed}": (label, seed) for label in CLASS_NAMES for seed in range(SEEDS_PER_CLASS)
    }


def sample(key: str) -> Phantom:
    """Return a phantom at its full size, drawn once for all sessions.

    Raises:
        KeyError: for another key than those of `sample_keys`.
    """
    label, seed = sample_keys()[key]
    return _draw(label, seed, SAMPLE_SIDE)


@st.cache_resource(max_entries=64, show_spinner=False)
def _draw(label: str, seed: int, side: int) -> Phantom:
    return draw_phantom(label, seed, side)


@st.cache_resource(show_spinner="Drawing phantoms …")
def sample_thumbnails() -> dict[str, bytes]:
    """Return a small picture of every phantom as a PNG file, by its key."""
    drawn = {
        f"{phantom.label}-{seed}": encode_png(to_grey(phantom.radiograph))
        for seed in range(SEEDS_PER_CLASS)
        for phantom in draw_patient_phantoms(CLASS_NAMES, seed, THUMBNAIL_SIDE)
    }
    return {key: drawn[key] for key in sample_keys()}
