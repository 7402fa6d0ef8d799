"""Fetch the COVID-19 Radiography Database from Kaggle, for `--data kaggle`.

kagglehub is needed for nothing else, so it is optional and imported only here. It keeps what it
fetched in its own cache, goes on with a broken download, and needs no account for public data.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from textwrap import shorten

from cxr_gradcam.dataset import DatasetError, read_dataset

# Chowdhury 2020, IEEE Access; Rahman 2021, Computers in Biology and Medicine. 21,165 films, 800 MB.
KAGGLE_DATASET = "tawsifurrahman/covid19-radiography-database"


def fetch_kaggle(handle: str = KAGGLE_DATASET) -> Path:
    """Download a dataset from Kaggle, or find it in the cache, and return its folder.

    Args:
        handle: Kaggle's name of it, "owner/dataset".

    Returns:
        The folder that holds the classes, for `read_dataset`.

    Raises:
        DatasetError: when kagglehub is not installed, Kaggle cannot be reached or refuses, the disk
            is full, or what came is no dataset folder.
    """
    by_hand = f"download https://www.kaggle.com/datasets/{handle} by hand and give its folder"
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError:
        raise DatasetError(
            f"Fetching from Kaggle needs kagglehub: `pip install kagglehub`, or {by_hand}."
        ) from None
    try:
        folder = Path(kagglehub.dataset_download(handle))
    # It raises what requests, zipfile and the disk raise, and a dozen errors of its own with no
    # class in common.
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DatasetError(
            f"{handle} cannot be fetched from Kaggle ({shorten(reason, 160)}): check the network "
            f"and the disk, or {by_hand}."
        ) from None
    return _dataset_root(folder, handle)


def _dataset_root(folder: Path, handle: str) -> Path:
    """Find the folder of classes: this one, or one in it as the archive is packed."""
    for root in (folder, *sorted(path for path in folder.glob("*") if path.is_dir())):
        try:
            return read_dataset(root).root
        except DatasetError:
            continue
    raise DatasetError(
        f"{handle}, now in {folder}, holds no images in class folders: choose another dataset."
    )
