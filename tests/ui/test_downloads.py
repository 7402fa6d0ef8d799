"""What the download buttons build, without a browser."""

from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from cxr_gradcam.explainer import Explainer
from cxr_gradcam.export import Export, Settings
from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.ui.components.downloads import (
    Choice,
    _archive,
    _cases,
    _heatmap,
    _heatmap_name,
    _record,
    _report,
)
from cxr_gradcam.ui.session import Shown

LAYER = "features.norm5"


class Upload(BytesIO):
    """A file as the uploader gives it: bytes with a name."""

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(data)
        self.name = name


def choice_of(explainer: Explainer, film: Radiograph, **uploads: Any) -> Choice:
    settings = Settings("all", LAYER, "gradcam", "shared", "turbo", 0.45)
    export = Export(explainer.classifier, settings, "cxr_gradcam test")
    shown = Shown(film, "upload", "shown")
    return Choice(shown, explainer.explain(film, [LAYER]), "COVID", export, uploads, [])


def film_of(seed: int, name: str = "film.png") -> Radiograph:
    return Radiograph.from_array(draw_phantom("COVID", seed, 200).radiograph.pixels, name=name)


def test_the_heatmap_and_the_record_are_the_explanations(explainer: Explainer) -> None:
    choice = choice_of(explainer, film_of(0))
    heatmap = np.load(BytesIO(_heatmap(choice)))
    np.testing.assert_array_equal(heatmap, choice.explanation.heatmap("COVID", LAYER, "shared"))
    assert choice.radiograph.digest in _record(choice).decode()
    assert _record(choice) == _record(choice)


def test_heatmaps_of_films_of_one_name_have_names_of_their_own(explainer: Explainer) -> None:
    first, second = (_heatmap_name(choice_of(explainer, film_of(i)), "COVID") for i in (0, 1))
    assert first != second
    assert first.startswith("film-heatmap-COVID-shared-")
    assert first == _heatmap_name(choice_of(explainer, film_of(0)), "COVID")


@pytest.fixture
def several(explainer: Explainer) -> Choice:
    """Three uploads: the second is on the page, and the third is one that nobody can read."""
    grey = np.rint(film_of(1).pixels * 255).astype(np.uint8)
    good = Upload("other.png", cv2.imencode(".png", grey)[1].tobytes())
    bad = Upload("broken.png", good.getvalue()[:3000])
    return choice_of(explainer, film_of(0), first=good, shown=None, third=bad)


def test_a_report_of_all_uploads_names_those_that_cannot_be_read(several: Choice) -> None:
    report = _report(several).decode()
    assert '<a href="#film-1">other.png</a>' in report
    assert '<a href="#film-2">film.png</a>' in report
    assert "broken.png is damaged or incomplete: copy or export it again." in report
    assert 'id="film-3"' not in report


def test_a_zip_of_all_uploads_has_a_folder_for_each(several: Choice) -> None:
    archive = ZipFile(BytesIO(_archive(several)))
    folders = {Path(name).parts[0] for name in archive.namelist() if "/" in name}
    assert folders == {"1-other", "2-film"}
    assert "broken.png is damaged" in archive.read("summary.csv").decode()


def test_a_file_on_all_uploads_says_how_far_it_is(several: Choice) -> None:
    seen = []
    for _ in _cases(several, "Report"):
        (file,) = several.making
        seen.append((file.what, file.done, file.total))
    assert seen == [("Report", i, 3) for i in range(3)]
    assert not several.making


def test_a_file_that_cannot_be_built_is_not_said_to_be_under_way(several: Choice) -> None:
    cases = _cases(several, "Report")
    next(cases)
    assert several.making
    cases.close()
    assert not several.making
