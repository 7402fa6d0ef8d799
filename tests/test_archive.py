"""The ZIP: what the command line writes, a report and a summary, safe to unpack."""

import csv
import json
from copy import copy
from datetime import UTC, datetime
from io import BytesIO, StringIO
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from cxr_gradcam.archive import ArchiveTooLargeError, folder_name, write_archive
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.export import Export, Settings
from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.render import DISCLAIMER, overlay
from cxr_gradcam.report import Case, Unreadable

WHEN = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
LAYER = "features.denseblock4"


@pytest.fixture(scope="module")
def export(explainer: Explainer) -> Export:
    how = Settings("all", LAYER, "layercam", "shared", "viridis", 0.6, 0.2)
    return Export(explainer.classifier, how, "cxr_gradcam test")


@pytest.fixture(scope="module")
def cases(explainer: Explainer) -> list[Case | Unreadable]:
    films = [draw_phantom("COVID", seed, 200).radiograph for seed in (0, 1)]
    explained = [explainer.explain(film, [LAYER], method="layercam") for film in films]
    first, second = (Case("=a.png", *pair) for pair in zip(films, explained, strict=True))
    return [first, Unreadable("notes.txt", "notes.txt is no picture."), second]


def test_the_files_are_those_of_the_explanation(
    export: Export, cases: list[Case | Unreadable]
) -> None:
    file = BytesIO()
    write_archive(file, cases, export, WHEN)
    archive = ZipFile(file)
    assert archive.testzip() is None
    assert len([name for name in archive.namelist() if name.startswith("1-a/")]) == 9
    assert len({name.partition("/")[0] for name in archive.namelist() if "/" in name}) == 2
    case = cases[2]
    assert isinstance(case, Case)
    heatmap = np.load(BytesIO(archive.read("2-a/heatmap-Normal.npy")))
    expected = case.explanation.heatmap("Normal", LAYER, "shared")
    np.testing.assert_array_equal(heatmap, expected)
    painted = np.frombuffer(archive.read("2-a/overlay-Normal.png"), np.uint8)
    picture = cv2.cvtColor(cv2.imdecode(painted, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    wanted = overlay(case.radiograph, expected, "viridis", 0.6, 0.2)
    np.testing.assert_array_equal(picture, wanted)
    record = json.loads(archive.read("2-a/explanation.json"), parse_constant=pytest.fail)
    assert record["settings"]["threshold"] == 0.2
    assert record["model"]["digest"] == export.classifier.digest
    assert record["probabilities"] == pytest.approx(dict(case.explanation.probabilities))
    assert record["radiograph"]["digest"] == case.radiograph.digest
    for name, sums in record["evidence"].items():
        assert sum(sums.values()) == pytest.approx(record["logits"][name], abs=1e-4)
    assert record["disclaimer"] == DISCLAIMER
    assert "notes.txt is no picture." in archive.read("report.html").decode()
    rows = list(csv.DictReader(StringIO(archive.read("summary.csv").decode())))
    assert [row["folder"] for row in rows] == ["1-a", "", "2-a"]
    assert [row["file"] for row in rows] == ["./=a.png", "notes.txt", "./=a.png"]  # no formula
    assert rows[1]["error"] == "notes.txt is no picture."


def test_a_class_whose_name_is_no_utf8(export: Export, cases: list[Case | Unreadable]) -> None:
    named = copy(export)
    object.__setattr__(named, "classifier", copy(export.classifier))
    names = ("C\udce9", *export.classifier.class_names[1:])
    named.classifier.class_names = names
    file = BytesIO()
    write_archive(file, [cases[1]], named, WHEN)
    assert b"C\\udce9" in ZipFile(file).read("summary.csv")


@pytest.mark.parametrize(
    ("name", "folder"),
    [("../../etc/passwd", "7-passwd"), ("a b/ü.png", "7-ü"), ("..", "7"), ("nul.png", "7-nul")],
)
def test_folders_are_safe_on_any_disk(name: str, folder: str) -> None:
    assert folder_name(7, name) == folder


def test_a_limit_is_kept(export: Export, cases: list[Case | Unreadable]) -> None:
    with pytest.raises(ArchiveTooLargeError, match="use the command line"):
        write_archive(BytesIO(), cases, export, WHEN, limit=1000)
