"""Where the radiograph comes from: the visitor's files, the dataset folder, or a phantom.

Choices are taken in callbacks, which run before the page is drawn, so the page below always shows
one settled state. A file that cannot be read changes nothing but the list of problems.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, cast

import streamlit as st

from cxr_gradcam.dataset import DatasetError
from cxr_gradcam.radiograph import Radiograph, RadiographError, load_radiograph
from cxr_gradcam.render import to_grey
from cxr_gradcam.ui import session, shared
from cxr_gradcam.ui.components.picture import encode_png
from cxr_gradcam.ui.session import Keys
from cxr_gradcam.ui.text import class_label, plain

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

FORMATS = "PNG, JPEG, TIFF, BMP, WebP or DICOM"
_READ = "_read"  # upload id -> _Read, for the files that lie in the uploader now
_DATASET_PROBLEM = "_dataset_problem"


@dataclass(frozen=True)
class _Read:
    """What became of an uploaded file: a name to choose it by, or the reason why not."""

    name: str
    problem: str = ""


def invite() -> None:
    """Draw every source large, for a page without a radiograph."""
    _uploader("Drop chest X-rays here", help_line=f"{FORMATS}. They stay in memory, never on disk.")
    problems()
    _upload_chooser()
    _dataset_picker(side_by_side=True)
    _gallery()


def offer() -> None:
    """Draw every source small, for the sidebar of a page with a radiograph."""
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
        st.caption(help_line)


def _take_uploads() -> None:
    """Read what is new in the uploader, show the first good one, forget what was taken out."""
    files = _uploads()
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


def _uploads() -> dict[str, UploadedFile]:
    files = cast("list[UploadedFile]", st.session_state.get(Keys.UPLOADS) or [])
    return {file.file_id: file for file in files}


def _read_files() -> Mapping[str, _Read]:
    return cast("Mapping[str, _Read]", st.session_state.get(_READ, {}))


def _read(file: UploadedFile) -> _Read:
    try:
        radiograph = _load_upload(file)
    except RadiographError as error:
        return _Read(file.name, str(error))
    return _Read(radiograph.name)


def _load_upload(file: UploadedFile) -> Radiograph:
    return session.radiographs().get(
        file.file_id, lambda: load_radiograph(BytesIO(file.getbuffer()), name=file.name)
    )


def _show_upload(file_id: str) -> None:
    session.show(_load_upload(_uploads()[file_id]), "upload", file_id)
    _mark(upload=file_id)


def problems() -> None:
    """Say what is wrong with each file that could not be read, until it is taken out."""
    sentences = [outcome.problem for outcome in _read_files().values()]
    sentences.append(st.session_state.get(_DATASET_PROBLEM, ""))
    for sentence in filter(None, sentences):
        st.error(plain(sentence), icon=":material/error:")


def _upload_chooser() -> None:
    names = {key: read.name for key, read in _read_files().items() if not read.problem}
    current = session.shown()
    is_shown = current is not None and current.key in names
    if not names or (len(names) == 1 and is_shown):
        return
    order = {key: number for number, key in enumerate(names, start=1)}
    st.selectbox(
        f"Your {len(names)} radiographs" if len(names) > 1 else "Your radiograph",
        list(names),
        index=None,
        # The number keeps files of the same name apart.
        format_func=lambda key: f"{order.get(key, 0)} · {names.get(key, '')}",
        placeholder="Choose one",
        key=Keys.UPLOAD,
        on_change=_choose_upload,
    )


def _choose_upload() -> None:
    file_id = st.session_state.get(Keys.UPLOAD)
    if file_id in _uploads():
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
    st.html('<p class="cxr-label">From the dataset</p>')
    left, right = st.columns([1, 2]) if side_by_side else (st.container(), st.container())
    name = left.selectbox(
        "Class of the dataset",
        dataset.classes,
        format_func=class_label,
        key=Keys.DATASET_CLASS,
        label_visibility="collapsed",
    )
    files = dataset.by_label[name]
    right.selectbox(
        "File of the dataset",
        list(files),
        index=None,
        placeholder=f"Choose one of {len(files):,}",
        key=Keys.DATASET_FILE,
        on_change=_choose_file,
        label_visibility="collapsed",
    )


def _choose_file() -> None:
    """Show a file of the dataset. What comes from the browser is only looked up, never opened."""
    name, label = st.session_state.get(Keys.DATASET_CLASS), st.session_state.get(Keys.DATASET_FILE)
    try:
        dataset = shared.dataset()
        path = dataset.by_label.get(str(name), {}).get(str(label)) if dataset else None
        if path is None:
            return
        radiograph = load_radiograph(path)
    except (DatasetError, RadiographError) as error:
        st.session_state[_DATASET_PROBLEM] = str(error)
        return
    session.show(radiograph, "dataset", f"{name}/{label}")
    _mark(dataset_file=label)


# --- samples


def _gallery() -> None:
    st.html(
        '<p class="cxr-label">Or try a phantom</p>'
        '<p class="cxr-note">Synthetic radiographs that this program draws, one for each class. '
        "Nobody’s picture.</p>"
    )
    samples = shared.samples()
    with st.container(key="gallery", horizontal=True, gap="small"):
        for label, radiograph in samples.items():
            with st.container(gap="xsmall"):
                st.image(
                    encode_png(to_grey(radiograph)),
                    width="stretch",
                    output_format="PNG",
                    alt=f"Phantom drawn as {class_label(label)}",
                )
                st.button(
                    plain(class_label(label)),
                    key=f"sample_{label}",
                    width="stretch",
                    on_click=_show_sample,
                    args=(label,),
                )


def _sample_chooser() -> None:
    st.html('<p class="cxr-label">Phantoms</p>')
    st.pills(
        "Phantoms",
        list(shared.samples()),
        format_func=lambda label: plain(class_label(label)),
        key=Keys.SAMPLE,
        on_change=_choose_sample,
        label_visibility="collapsed",
    )


def _choose_sample() -> None:
    current = session.shown()
    label = st.session_state.get(Keys.SAMPLE)
    if label is not None:
        _show_sample(label)
    elif current is not None and current.origin == "phantom":
        st.session_state[Keys.SAMPLE] = current.key  # a second click takes nothing away


def _show_sample(label: str) -> None:
    session.show(shared.samples()[label], "phantom", label)
    _mark(sample=label)


def _mark(
    upload: str | None = None, dataset_file: str | None = None, sample: str | None = None
) -> None:
    """Let only the source that is shown look chosen, so that the others can be chosen anew."""
    st.session_state.pop(_DATASET_PROBLEM, None)
    st.session_state[Keys.UPLOAD] = upload
    st.session_state[Keys.DATASET_FILE] = dataset_file
    st.session_state[Keys.SAMPLE] = sample
