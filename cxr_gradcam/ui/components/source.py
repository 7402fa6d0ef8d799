"""Where the radiograph comes from: the visitor's files, the dataset folder, or a phantom.

Choices are taken in callbacks, which run before the page is drawn, so the page below always shows
one settled state. Every widget is set to what is shown just before it is drawn: whatever else puts
a radiograph on the page, the choices agree with it. A file that cannot be read changes nothing but
the list of problems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
import streamlit as st

from cxr_gradcam.dataset import Dataset, DatasetError
from cxr_gradcam.phantom import CLASS_NAMES
from cxr_gradcam.radiograph import Radiograph, RadiographError, load_radiograph
from cxr_gradcam.reading import printable
from cxr_gradcam.ui import session, shared
from cxr_gradcam.ui.components.gallery import tile
from cxr_gradcam.ui.components.picture import note
from cxr_gradcam.ui.session import Keys, Shown
from cxr_gradcam.ui.text import class_choices, plain
from cxr_gradcam.words import class_label

if TYPE_CHECKING:
    from pathlib import Path

    from streamlit.runtime.uploaded_file_manager import UploadedFile

FORMATS = "PNG, JPEG, TIFF, BMP, WebP or DICOM"
MAX_OPEN_PROBLEMS = 3  # the pictures are not to be pushed out of sight by a folder of other files
_READ = "_read"  # upload id -> _Read, for the files that lie in the uploader now
_PROBLEMS = "_problems"  # what was asked for -> _Problem
_FILM = "film"
_OPENED = "_opened"  # the class of a film just opened, for the choice of class to follow


@dataclass(frozen=True)
class _Read:
    """What became of an uploaded file: a name to choose it by, or the reason why not."""

    name: str
    problem: str = ""


@dataclass
class _Problem:
    """Why something that was asked for is not on the page, and whether the visitor was told."""

    sentence: str
    told: bool = False


def invite() -> None:
    """Draw every source large, for a page without a radiograph."""
    _uploader("Drop chest X-rays here", help_line=f"{FORMATS}. They stay in memory, never on disk.")
    problems()
    _upload_chooser()
    _dataset_picker(side_by_side=True)
    _gallery()


def offer() -> None:
    """Draw every source small, for the sidebar."""
    _uploader("Drop chest X-rays here", help_line="")
    _upload_chooser()
    _dataset_picker(side_by_side=False)
    _sample_chooser()


# --- uploads


def _uploader(label: str, help_line: str) -> None:
    # No `type`: it would judge by the extension, and DICOM files often have none.
    st.file_uploader(
        label,
        accept_multiple_files=True,
        key=Keys.UPLOADS,
        on_change=_take_uploads,
    )
    if help_line:
        note(help_line)


def _take_uploads() -> None:
    """Read what is new in the uploader, show the first good one, forget what was taken out."""
    files = uploads()
    known = _read_files()
    new = [file_id for file_id in files if file_id not in known]
    outcomes = {file_id: known.get(file_id) or _read(files[file_id]) for file_id in files}
    st.session_state[_READ] = outcomes
    good = [file_id for file_id in files if not outcomes[file_id].problem]
    current = session.shown()
    gone = current is not None and current.origin == "upload" and current.key not in good
    fresh = [file_id for file_id in good if file_id in new]
    if fresh:
        _show_upload(fresh[0])
    elif gone and good:
        _show_upload(good[-1])
    elif gone:
        session.clear()


def uploads() -> dict[str, UploadedFile]:
    """Return the visitor's files by their ids, those that cannot be read among them."""
    files = cast("list[UploadedFile]", st.session_state.get(Keys.UPLOADS) or [])
    return {file.file_id: file for file in files}


def _read_files() -> Mapping[str, _Read]:
    return cast("Mapping[str, _Read]", st.session_state.get(_READ, {}))


def _read(file: UploadedFile) -> _Read:
    try:
        radiograph = load_upload(file)
    except RadiographError as error:
        return _Read(file.name, str(error))
    return _Read(radiograph.name)


def load_upload(file: UploadedFile) -> Radiograph:
    """Read a file of the visitor's, or remember having done so.

    Raises:
        RadiographError: when it is no radiograph.
    """
    return session.radiographs().get(
        file.file_id, lambda: load_radiograph(BytesIO(file.getbuffer()), name=file.name)
    )


def _show_upload(file_id: str) -> None:
    _show(Shown(load_upload(uploads()[file_id]), "upload", file_id))


def problems(*, skip: bool = False) -> None:
    """Say what is wrong with each file that could not be read, until it is taken out.

    Args:
        skip: draw nothing, for a page that says it elsewhere.
    """
    if skip:
        return
    sentences = [outcome.problem for outcome in _read_files().values() if outcome.problem]
    for problem in _problems().values():
        sentences.append(problem.sentence)
        problem.told = True
    with st.container():  # one place, however many: what lies below stays mounted
        _say(sentences[:MAX_OPEN_PROBLEMS])
        if more := sentences[MAX_OPEN_PROBLEMS:]:
            with st.expander(f"And {len(more)} more that cannot be shown"):
                _say(more)


def _say(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        st.error(plain(sentence), icon=":material/error:")


def _problems() -> dict[str, _Problem]:
    return cast("dict[str, _Problem]", st.session_state.setdefault(_PROBLEMS, {}))


def remember_problem(about: str, sentence: str) -> None:
    """Say a sentence on the page until the visitor turns to another or gets what it is about."""
    _problems()[about] = _Problem(sentence)


def forget_problem(about: str) -> None:
    """Take back a sentence: what it is about is on the page now."""
    _problems().pop(about, None)


def forget_told_problems() -> None:
    """Take back what was said on the page that the visitor has left."""
    st.session_state[_PROBLEMS] = {
        about: problem for about, problem in _problems().items() if not problem.told
    }


def upload_names() -> dict[str, str]:
    """Return what the visitor's files are called, by their ids, but for those not readable."""
    return {key: read.name for key, read in _read_files().items() if not read.problem}


def _upload_chooser() -> None:
    names = upload_names()
    current = session.shown()
    is_shown = current is not None and current.key in names
    if not names or (len(names) == 1 and is_shown):
        return
    st.session_state[Keys.UPLOAD] = current.key if current and is_shown else None
    st.selectbox(
        f"Your {len(names)} radiographs" if len(names) > 1 else "Your radiograph",
        list(names),
        index=None,
        format_func=numbered(names),
        placeholder="Choose one",
        key=Keys.UPLOAD,
        on_change=_choose_upload,
    )


def numbered(names: Mapping[str, str]) -> Callable[[str], str]:
    """Return what a list calls each file: the number keeps files of the same name apart."""
    order = {key: number for number, key in enumerate(names, start=1)}
    return lambda key: f"{order.get(key, 0)} · {names.get(key, '')}"


def _choose_upload() -> None:
    file_id = st.session_state.get(Keys.UPLOAD)
    if file_id in uploads():
        _show_upload(file_id)


# --- dataset


def _dataset_picker(*, side_by_side: bool) -> None:
    try:
        dataset = shared.dataset()
    except DatasetError as error:
        st.warning(plain(str(error)), icon=":material/folder_off:")
        return
    if dataset is None:
        return
    with st.container(gap="xsmall"):
        st.html('<p class="cxr-label">From the dataset</p>')
        left, right = st.columns([1, 2]) if side_by_side else (st.container(), st.container())
    opened = st.session_state.pop(_OPENED, None)
    if opened in dataset.classes:
        st.session_state[Keys.DATASET_CLASS] = opened
    name = left.selectbox(
        "Class of the dataset",
        dataset.classes,
        format_func=class_choices(dataset.classes).__getitem__,
        key=Keys.DATASET_CLASS,
        label_visibility="collapsed",
    )
    files = dataset.by_label[name]
    st.session_state[Keys.DATASET_FILE] = _shown_file(name, files)
    right.selectbox(
        "File of the dataset",
        list(files),
        index=None,
        format_func=printable,
        placeholder=f"Choose one of {len(files):,}",
        key=Keys.DATASET_FILE,
        on_change=_choose_file,
        label_visibility="collapsed",
    )


def _shown_file(name: str, files: Mapping[str, Path]) -> str | None:
    """Return the short name of the film on the page, if it is one of this class."""
    current = session.shown()
    if current is None or current.origin != "dataset":
        return None
    label, _, short_name = current.key.partition("/")
    return short_name if label == name and short_name in files else None


def _choose_file() -> None:
    name, label = st.session_state.get(Keys.DATASET_CLASS), st.session_state.get(Keys.DATASET_FILE)
    if name is not None and label is not None:
        open_film(str(name), str(label))


def open_film(label: str, short_name: str) -> bool:
    """Put a film of the dataset on the page, or remember the sentence that says why not.

    Args:
        label: its class.
        short_name: its name in `Dataset.by_label`. Both are only looked up, never used as a path.

    Returns:
        Whether it is on the page now.
    """
    try:
        dataset = shared.linked()
        if dataset is None:
            raise DatasetError(no_folder(f"{label}/{short_name}"))
        film = load_film(dataset, label, short_name)
    except (DatasetError, RadiographError) as error:
        remember_problem(_FILM, str(error))
        return False
    st.session_state[_OPENED] = label
    _show(film)
    return True


def load_film(dataset: Dataset, label: str, short_name: str) -> Shown:
    """Read a film of the dataset, each time anew as the file may have changed.

    Args:
        dataset: where it lies.
        label, short_name: as `open_film` takes them.

    Raises:
        DatasetError: when there is no such film, or no longer.
        RadiographError: when its file is no radiograph.
    """
    path = dataset.by_label.get(label, {}).get(short_name)
    if path is None:
        raise DatasetError(no_film(f"{label}/{short_name}"))
    if not path.exists():
        raise DatasetError(
            f"{label}/{short_name} is no longer in the dataset folder: choose another radiograph."
        )
    radiograph = load_radiograph(path)
    lesion = _planted(dataset, path, radiograph)
    return Shown(radiograph, "dataset", f"{label}/{short_name}", label=label, lesion=lesion)


def no_folder(film: str) -> str:
    """Return the sentence on a film, named `<class>/<short name>`, of a folder that is not here."""
    return (
        f"{film} cannot be shown, as this server has no dataset folder: choose another radiograph."
    )


def no_film(film: str) -> str:
    """Return the sentence on a film, named `<class>/<short name>`, that the folder lacks."""
    return f"There is no {film} in the dataset: check the link, or choose another radiograph."


def _planted(dataset: Dataset, path: Path, film: Radiograph) -> np.ndarray | None:
    """Return the lesion planted in a phantom of a folder, bool (H, W); None for other films."""
    if path not in dataset.lesion_masks:
        return None
    try:  # not by OpenCV's `imread`: a name that is no UTF-8 would end the whole server
        data = np.fromfile(dataset.lesion_masks[path], np.uint8)
    except OSError:
        return None
    mask = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
    return mask > 127 if mask is not None and mask.shape == film.pixels.shape else None


# --- phantoms


def _gallery() -> None:
    st.html(
        '<p class="cxr-label">Or try a phantom</p>'
        '<p class="cxr-note">Synthetic radiographs of no real patient, with lesions in known '
        "places.</p>"
    )
    thumbnails = shared.sample_thumbnails()
    with st.container(key="gallery", horizontal=True, gap="medium"):
        for label in CLASS_NAMES:
            with st.container(key=f"row_{label}", horizontal=True, gap="xsmall"):
                for key, (drawn_as, seed) in shared.sample_keys().items():
                    if drawn_as == label:
                        name = sample_name(key)
                        alt = f"Phantom drawn as {class_label(label)}, number {seed}"
                        tile(thumbnails[key], name, alt, f"sample_{key}", _take_sample, key)


def sample_name(key: str) -> str:
    """Return what the lists call a phantom of `shared.sample_keys`."""
    label, seed = shared.sample_keys()[key]
    return f"{class_label(label)} {seed}"


def _sample_chooser() -> None:
    current = session.shown()
    keys = shared.sample_keys()
    is_shown = current is not None and current.key in keys
    st.session_state[Keys.SAMPLE] = current.key if current and is_shown else None
    st.selectbox(
        "Phantoms",
        list(keys),
        index=None,
        format_func=sample_name,
        placeholder=f"Choose one of {len(keys)}",
        key=Keys.SAMPLE,
        on_change=_choose_sample,
    )


def _choose_sample() -> None:
    key = st.session_state.get(Keys.SAMPLE)
    if key is not None:
        _take_sample(key)


def _take_sample(key: str) -> None:
    open_sample(key)


def open_sample(key: str) -> bool:
    """Put a phantom on the page, or remember the sentence that says why not.

    Args:
        key: one of `shared.sample_keys`.

    Returns:
        Whether it is on the page now.
    """
    if key not in shared.sample_keys():
        remember_problem(_FILM, no_phantom(key))
        return False
    phantom = shared.sample(key)
    _show(
        Shown(
            phantom.radiograph,
            "phantom",
            key,
            label=phantom.label,
            lesion=phantom.lesion_mask,
        )
    )
    return True


def no_phantom(key: str) -> str:
    """Return the sentence on a phantom that is not among those of the page."""
    return f"There is no phantom {key}: check the link, or choose one of the list."


def _show(chosen: Shown) -> None:
    forget_problem(_FILM)
    session.show(chosen)
