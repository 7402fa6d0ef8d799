"""The report: one file that needs nothing else, and says what the explanation says."""

import base64
import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from cxr_gradcam.explainer import Explainer
from cxr_gradcam.export import Export, Settings
from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.render import DISCLAIMER
from cxr_gradcam.report import Case, Unreadable, write_report
from cxr_gradcam.report_pictures import LONGEST_SIDE
from cxr_gradcam.words import percent

WHEN = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
LAYER = "features.norm5"
NASTY = "<img src=x onerror=alert(1)>&\u202e\x00.png"


def settings(**changes: object) -> Settings:
    usual = {"shown": "all", "layer": LAYER, "method": "gradcam", "scale": "shared",
             "colormap": "turbo", "opacity": 0.45}  # fmt: skip
    return Settings(**{**usual, **changes})  # type: ignore[arg-type]


def export_of(explainer: Explainer, **changes: object) -> Export:
    return Export(explainer.classifier, settings(**changes), "cxr_gradcam test")


def case_of(explainer: Explainer, name: str, seed: int = 0, **asked: str) -> Case:
    film = draw_phantom("COVID", seed).radiograph
    return Case(name, film, explainer.explain(film, [LAYER], **asked))  # type: ignore[arg-type]


def parsed(report: str) -> ElementTree.Element:
    return ElementTree.fromstring(report.removeprefix("<!DOCTYPE html>"))


def words(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def test_one_film_fits_in_one_file_that_asks_for_nothing(explainer: Explainer) -> None:
    case = case_of(explainer, NASTY)
    report = write_report([case], export_of(explainer), WHEN)
    page = parsed(report)
    assert len(report.encode()) < 2_000_000
    sources = [image.get("src", "") for image in page.iter("img")]
    assert len(sources) == 1 + 4 + 1  # the film, the classes, their colour bar
    assert all(source.startswith("data:image/") for source in sources)
    assert all(image.get("alt") for image in page.iter("img"))
    assert not re.search(r"https?://|<script|<img src=x", report)
    assert words(page).count(DISCLAIMER) == 2
    assert page.get("lang") == "en"
    for name, share in case.explanation.probabilities.items():
        assert f"{name.replace('_', ' ')}{percent(share)}" in words(page)
    assert explainer.classifier.digest in words(page)
    assert all(cell.get("scope") in ("row", "col") for cell in page.iter("th"))


def test_the_table_adds_up(explainer: Explainer) -> None:
    case = case_of(explainer, "a.png")
    page = parsed(write_report([case], export_of(explainer), WHEN))
    rows = [row for row in page.iter("tr") if len(row) == 7][1:]
    assert len(rows) == 4
    for row, logit in zip(rows, case.explanation.logits.values(), strict=True):
        score, gain, loss, bias = (float(words(cell).replace("−", "-")) for cell in list(row)[2:6])
        assert score == pytest.approx(logit, abs=0.006)
        assert gain + loss + bias == pytest.approx(score, abs=0.021)


def test_pictures_are_the_film_and_its_overlay_made_small(explainer: Explainer) -> None:
    pixels = cv2.resize(draw_phantom("COVID", 1).radiograph.pixels, (1500, 900))
    film = Radiograph.from_array(np.clip(pixels, 0, 1), name="wide")
    case = Case("wide", film, explainer.explain(film, [LAYER]))
    page = parsed(write_report([case], export_of(explainer), WHEN))
    first = next(page.iter("img")).get("src", "").partition(",")[2]
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(first), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture.shape == (LONGEST_SIDE * 900 // 1500, LONGEST_SIDE)
    small = cv2.resize(film.pixels, picture.shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(picture / 255 - small).mean() < 0.01


def test_several_films_have_contents_and_the_unreadable_are_named(explainer: Explainer) -> None:
    cases = [
        case_of(explainer, "a.png", 0),
        Unreadable("b.txt", "b.txt is a text file: give a picture."),
        case_of(explainer, "c.png", 1),
    ]
    page = parsed(write_report(cases, export_of(explainer), WHEN))
    links = [link.get("href", "").removeprefix("#") for link in page.iter("a")]
    assert links == ["film-1", "film-2"]
    assert set(links) <= {part.get("id") for part in page.iter("section")}
    assert "b.txt is a text file: give a picture." in words(page)


def test_a_method_without_classes_and_a_scale_of_its_own(explainer: Explainer) -> None:
    eigen = case_of(explainer, "a.png", method="eigencam")
    page = parsed(write_report([eigen], export_of(explainer, method="eigencam"), WHEN))
    assert "It knows no class" in words(page)
    assert len(list(page.iter("figure"))) == 2
    case = case_of(explainer, "a.png")
    own = parsed(write_report([case], export_of(explainer, scale="each"), WHEN))
    bars = [image for image in own.iter("img") if image.get("alt", "").startswith("Colours from")]
    assert len(bars) == sum(case.explanation.peak(name) > 0 for name in case.explanation.classes)
    assert "cannot be compared between classes" in words(own)
