"""What one can take home, each file built when its button is pressed and not before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING, Final
from zipfile import ZipFile

import numpy as np
import streamlit as st

from cxr_gradcam import __version__
from cxr_gradcam.archive import ArchiveTooLargeError, write_archive
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.export import (
    RECORD,
    Export,
    Settings,
    describe_maps,
    overlay_png,
    record,
    to_json,
)
from cxr_gradcam.radiograph import Radiograph, RadiographError, load_radiograph
from cxr_gradcam.render import COLORMAPS
from cxr_gradcam.report import Case, Unreadable, write_report
from cxr_gradcam.ui import session
from cxr_gradcam.ui.components import source
from cxr_gradcam.ui.components.controls import Look
from cxr_gradcam.ui.session import Making, Shown
from cxr_gradcam.ui.text import file_part
from cxr_gradcam.words import layer_name

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

ALL = "all"
REPORT, ARCHIVE = "Report", "Everything ZIP"
LOOK_SECONDS = 1.0  # between two looks at how far a file on all uploads is


class Keys:
    """Keys of the widgets."""

    OVERLAY: Final = "get_overlay"
    HEATMAP: Final = "get_heatmap"
    RECORD: Final = "get_record"
    REPORT: Final = "get_report"
    ARCHIVE: Final = "get_archive"
    COLORMAP: Final = "get_colormap"
    OPACITY: Final = "get_opacity"
    THRESHOLD: Final = "get_threshold"
    EVERY_UPLOAD: Final = "get_every_upload"


@dataclass(frozen=True, eq=False)
class Choice:
    """What is on the page, and how the files are to look.

    Attributes:
        shown: the radiograph on the page.
        explanation: of it.
        class_name: whose overlay and heatmap.
        export: the model, the settings and the program; of all classes.
        uploads: the visitor's files by their ids, for a report on all of them; empty for one on the
            radiograph on the page.
        making: where a file says how far it is while it is built.
    """

    shown: Shown
    explanation: Explanation
    class_name: str
    export: Export
    uploads: Mapping[str, UploadedFile]
    making: list[Making]

    @property
    def radiograph(self) -> Radiograph:
        """The radiograph on the page."""
        return self.shown.radiograph


def downloads(
    shown: Shown, explanation: Explanation, explainer: Explainer, class_name: str, look: Look
) -> None:
    """Draw the buttons, and the choices of how the files look."""
    with st.container(key="downloads", gap="small"):
        with st.container(key="download_buttons"):
            places = [st.container() for _ in range(5)]
        progress = st.container()
        with st.expander("How the files look"):
            settings = _choose_settings(look)
            uploads = _choose_uploads(shown)
    export = Export(explainer.classifier, settings, f"cxr_gradcam {__version__}")
    choice = Choice(shown, explanation, class_name, export, uploads, session.making())
    if uploads:
        with progress:
            st.fragment(_progress, run_every=LOOK_SECONDS)(choice.making)
    film = _stem(choice)
    mapped = "-".join(file_part(part) for part in (class_name, layer_name(look.layer), look.method))
    everything = "radiographs" if uploads else film
    files: list[tuple[str, str, Callable[[Choice], bytes], str, str]] = [
        ("Overlay PNG", Keys.OVERLAY, _overlay, f"{film}-overlay-{mapped}.png", "image/png"),
        ("Heatmap NPY", Keys.HEATMAP, _heatmap, _heatmap_name(choice, mapped), "application/npy"),
        ("Record JSON", Keys.RECORD, _record, f"{film}-{RECORD}", "application/json"),
        (REPORT, Keys.REPORT, _report, f"{everything}-report.html", "text/html"),
        (ARCHIVE, Keys.ARCHIVE, _archive, f"{everything}.zip", "application/zip"),
    ]
    for place, (label, key, build, name, kind) in zip(places, files, strict=True):
        place.download_button(
            label,
            partial(build, choice),
            name,
            kind,
            key=key,
            icon=":material/download:",
            width="stretch",
            on_click="ignore",
        )


def _progress(making: Sequence[Making]) -> None:
    """Draw how far the files are that are being built now."""
    for file in list(making):
        words = f"{file.what}: {file.done} of {file.total} radiographs"
        st.progress(file.done / file.total, words)


def _choose_settings(look: Look) -> Settings:
    """Draw the choices of colours; the colour map of the address is the first one at first."""
    asked = st.query_params.get("colormap", "")
    st.session_state.setdefault(Keys.COLORMAP, asked if asked in COLORMAPS else COLORMAPS[0])
    colormap = st.selectbox(
        "Colours", COLORMAPS, format_func=str.capitalize, key=Keys.COLORMAP, persist_state="session"
    )
    opacity = st.slider(
        "Opacity", 0, 100, 45, 5, format="%d%%", key=Keys.OPACITY, persist_state="session"
    )
    threshold = st.slider(
        "Hide heat below", 0, 100, 0, 5, format="%d%%", key=Keys.THRESHOLD, persist_state="session"
    )
    return Settings(
        ALL, look.layer, look.method, look.scale, colormap, opacity / 100, threshold / 100
    )


def _choose_uploads(shown: Shown) -> Mapping[str, UploadedFile]:
    """Draw the choice of a report on all uploads, where there are several; return them, or none."""
    uploads = source.uploads()
    if shown.origin != "upload" or len(uploads) < 2:
        return {}
    every = st.toggle(
        "All uploads in report and ZIP",
        key=Keys.EVERY_UPLOAD,
        persist_state="session",
    )
    return uploads if every else {}


def _heatmap_name(choice: Choice, mapped: str) -> str:
    """Return a name that no other heatmap has.

    Streamlit tells large files apart by their name, their length and samples of their bytes, which
    for heatmaps of one size may all be zeros: somebody could get the heatmap of another's film.
    """
    origin = f"{choice.radiograph.digest} {choice.export.classifier.digest}"
    unique = hashlib.sha256(origin.encode()).hexdigest()[:8]
    return f"{_stem(choice)}-heatmap-{mapped}-{choice.export.settings.scale}-{unique}.npy"


def _stem(choice: Choice) -> str:
    return file_part(PurePath(choice.radiograph.name).stem) or "radiograph"


# ------------------------------------------------------------------------------------------- files
# These run when a button is pressed, in a thread of the server without a session.


def _overlay(choice: Choice) -> bytes:
    return overlay_png(choice.radiograph, _heat(choice), choice.export.settings)


def _heatmap(choice: Choice) -> bytes:
    file = BytesIO()
    np.save(file, _heat(choice))
    return file.getvalue()


def _heat(choice: Choice) -> np.ndarray:
    settings = choice.export.settings
    return choice.explanation.heatmap(choice.class_name, settings.layer, settings.scale)


def _record(choice: Choice) -> bytes:
    maps = describe_maps(choice.export, choice.explanation)
    name = choice.radiograph.name
    return to_json(record(choice.export, name, choice.radiograph, choice.explanation, maps))


def _report(choice: Choice) -> bytes:
    return write_report(_cases(choice, REPORT), choice.export, datetime.now().astimezone()).encode()


def _archive(choice: Choice) -> bytes:
    file = BytesIO()
    try:
        write_archive(file, _cases(choice, ARCHIVE), choice.export, datetime.now().astimezone())
    except ArchiveTooLargeError as error:
        file = BytesIO()
        with ZipFile(file, "w") as archive:  # what is promised is a ZIP, so it says why in one
            archive.writestr("too-large.txt", str(error))
    return file.getvalue()


def _cases(choice: Choice, what: str) -> Iterator[Case | Unreadable]:
    """Give the uploads in their order, those that are not on the page read again one at a time.

    Those that were taken are counted where the page can see it.
    """
    on_page = Case(choice.radiograph.name, choice.radiograph, choice.explanation)
    if not choice.uploads:
        yield on_page
        return
    file = Making(what, len(choice.uploads))
    choice.making.append(file)
    explainer = Explainer(choice.export.classifier)
    try:
        for key, upload in choice.uploads.items():
            is_shown = key == choice.shown.key
            yield on_page if is_shown else _read_again(upload, explainer, choice.export.settings)
            file.done += 1
    finally:
        choice.making.remove(file)


def _read_again(
    upload: UploadedFile, explainer: Explainer, settings: Settings
) -> Case | Unreadable:
    try:
        film = load_radiograph(BytesIO(upload.getbuffer()), name=upload.name)
    except RadiographError as error:
        return Unreadable(upload.name, str(error))
    explanation = explainer.explain(film, [settings.layer], method=settings.method)
    return Case(upload.name, film, explanation)
