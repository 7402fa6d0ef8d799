"""The second radiograph: a phantom, a film of the dataset, or a file of the visitor's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import streamlit as st

from cxr_gradcam.dataset import Dataset, DatasetError
from cxr_gradcam.radiograph import RadiographError
from cxr_gradcam.reading import printable
from cxr_gradcam.ui import shared
from cxr_gradcam.ui.components.source import (
    FORMATS,
    load_film,
    load_upload,
    no_film,
    no_folder,
    no_phantom,
    numbered,
    sample_name,
    upload_names,
    uploads,
)
from cxr_gradcam.ui.session import Shown
from cxr_gradcam.ui.text import class_choices, plain

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator
    from streamlit.runtime.uploaded_file_manager import UploadedFile

PHANTOM = "Phantom"
DATASET = "Dataset"
FILE = "Your file"


class Keys:
    """Keys of the widgets, which are their names in the address, but for the upload's."""

    ORIGIN: Final = "second_from"
    SAMPLE: Final = "second_sample"
    DATASET_CLASS: Final = "second_class"
    DATASET_FILE: Final = "second_file"
    UPLOAD: Final = "second_upload"
    OWN: Final = "second_own"


_KEPT = "_second_upload"  # the file that was dropped here: the uploader forgets it on another page
_MISSED = "_second_missed"  # what the address asked for in vain, until something is chosen


def choose_second(first: Shown, told: DeltaGenerator) -> Shown | None:
    """Draw the choice of the second radiograph and return it, once there is one.

    Args:
        first: the radiograph on the page.
        told: where one sentence says what cannot be read.
    """
    try:
        dataset = shared.dataset()
    except DatasetError:
        dataset = None  # the sidebar says why
    if Keys.ORIGIN not in st.session_state:
        st.session_state[_MISSED] = _missed(dataset)
    if missed := st.session_state.get(_MISSED):
        _say(missed, told)
    origin = _choose_origin(dataset)
    try:
        if origin == PHANTOM:
            return _choose_phantom(first)
        if origin == DATASET and dataset is not None:
            return _choose_film(dataset)
        return _take_file(first, told)
    except (DatasetError, RadiographError) as error:
        _say(str(error), told)
        return None


def _say(sentence: str, told: DeltaGenerator) -> None:
    told.error(plain(sentence), icon=":material/error:")


def _missed(dataset: Dataset | None) -> str:
    """Return a sentence on what the address names and this server lacks, or nothing.

    Streamlit takes such a value out of the address, and would show another radiograph unsaid.
    """
    asked = st.query_params
    if asked.get(Keys.ORIGIN) == DATASET:
        label, name = asked.get(Keys.DATASET_CLASS, ""), asked.get(Keys.DATASET_FILE, "")
        if dataset is None:
            return no_folder(f"{label}/{name}" if label and name else "The second radiograph")
        words = class_choices(dataset.classes)
        files = {words[one]: dataset.by_label[one] for one in dataset.classes}
        label = label or next(iter(files))  # the first one is left out of an address
        known = [printable(key) for key in files.get(label, {})]
        return no_film(f"{label}/{name}") if name and name not in known else ""
    sample = asked.get(Keys.SAMPLE) if asked.get(Keys.ORIGIN, PHANTOM) == PHANTOM else None
    known = [sample_name(key) for key in shared.sample_keys()]
    return no_phantom(sample) if sample is not None and sample not in known else ""


def _forget_missed() -> None:
    st.session_state[_MISSED] = ""


def _choose_origin(dataset: Dataset | None) -> str:
    options = [PHANTOM, *([DATASET] if dataset is not None else []), FILE]
    if st.session_state.get(Keys.ORIGIN, PHANTOM) not in options:
        st.session_state[Keys.ORIGIN] = PHANTOM
    return st.segmented_control(
        "Second radiograph",
        options,
        default=PHANTOM,
        required=True,
        key=Keys.ORIGIN,
        on_change=_forget_missed,
        bind="query-params",
        persist_state="session",
    )


def _choose_phantom(first: Shown) -> Shown:
    keys = shared.sample_keys()
    others = [key for key in keys if (first.origin, first.key) != ("phantom", key)]
    normal = next(number for number, key in enumerate(others) if keys[key][0] == "Normal")
    if st.session_state.get(Keys.SAMPLE, others[0]) not in others:
        del st.session_state[Keys.SAMPLE]
    key = st.selectbox(
        "Phantom",
        others,
        index=normal,
        format_func=sample_name,
        key=Keys.SAMPLE,
        on_change=_forget_missed,
        bind="query-params",
        persist_state="session",
    )
    drawn = shared.sample(key)
    return Shown(drawn.radiograph, "phantom", key, drawn.label, drawn.lesion_mask)


def _choose_film(dataset: Dataset) -> Shown | None:
    """Return a film of the dataset. What the browser sends is looked up, never used as a path."""
    label = st.selectbox(
        "Class in the dataset",
        dataset.classes,
        format_func=class_choices(dataset.classes).__getitem__,
        key=Keys.DATASET_CLASS,
        on_change=_forget_missed,
        bind="query-params",
        persist_state="session",
    )
    files = dataset.by_label[label]
    if st.session_state.get(Keys.DATASET_FILE) not in (None, *files):
        st.session_state[Keys.DATASET_FILE] = None
    name = st.selectbox(
        "File",
        list(files),
        index=None,
        format_func=printable,
        placeholder=f"Choose one of {len(files):,}",
        key=Keys.DATASET_FILE,
        on_change=_forget_missed,
        bind="query-params",
        persist_state="session",
    )
    if name is None:
        return None
    return load_film(dataset, label, name)


def _take_file(first: Shown, told: DeltaGenerator) -> Shown | None:
    """Return another of the visitor's files: from the sidebar, or dropped here."""
    files, names = uploads(), upload_names()
    kept = cast("UploadedFile | None", st.session_state.get(_KEPT))
    if kept is not None:
        files[kept.file_id], names[kept.file_id] = kept, kept.name
    others = [key for key in names if key != first.key]
    if st.session_state.get(Keys.OWN) not in others:
        st.session_state[Keys.OWN] = next(iter(others), None)
    if others:
        st.selectbox(
            "Your other radiographs" if len(others) > 1 else "Your other radiograph",
            others,
            format_func=numbered(names),  # as in the sidebar
            key=Keys.OWN,
            persist_state="session",
        )
    st.file_uploader(
        FORMATS if not others else f"Another file: {FORMATS}", key=Keys.UPLOAD, on_change=_keep
    )
    dropped = st.session_state[Keys.UPLOAD]
    if dropped is not None and dropped.file_id not in files:
        try:
            load_upload(dropped)
        except RadiographError as error:
            _say(str(error), told)
    file = files.get(st.session_state[Keys.OWN])
    if file is None:
        return None
    return Shown(load_upload(file), "upload", file.file_id)


def _keep() -> None:
    """Remember the file that was dropped here, and choose it; forget one that was taken out.

    What cannot be read is no choice: it would stay one when the uploader has forgotten it.
    """
    file = st.session_state[Keys.UPLOAD]
    try:
        if file is not None:
            load_upload(file)
    except RadiographError:
        file = None
    st.session_state[_KEPT] = file
    if file is not None:
        st.session_state[Keys.OWN] = file.file_id
