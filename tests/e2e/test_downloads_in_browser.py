"""What leaves the page, downloaded in a real browser and opened again."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.render import DISCLAIMER, overlay
from tests.e2e.browsing import new_page, visit

pytestmark = pytest.mark.browser


def downloaded(page: Any, label: str) -> bytes:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=label).click()
    return Path(waiting.value.path()).read_bytes()


def test_what_is_downloaded_is_what_the_page_shows(
    browser: Any, bare_address: str, tmp_path: Path, explainer: Explainer
) -> None:
    film = draw_phantom("COVID", 0, 512).radiograph
    explanation = explainer.explain(film)
    page = visit(browser, f"{bare_address}/?sample=COVID-0&class=Lung+Opacity&colormap=viridis")
    page.locator("canvas.film[data-scale]").first.wait_for()
    heatmap = np.load(BytesIO(downloaded(page, "Heatmap NPY")))
    np.testing.assert_allclose(
        heatmap, explanation.heatmap("Lung_Opacity", scale="shared"), atol=1e-5
    )
    painted = np.frombuffer(downloaded(page, "Overlay PNG"), np.uint8)
    picture = cv2.cvtColor(cv2.imdecode(painted, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(picture, overlay(film, heatmap, "viridis", 0.45))
    record = json.loads(downloaded(page, "Record JSON"))
    assert record["probabilities"] == pytest.approx(explanation.probabilities, abs=1e-5)
    assert record["model"]["digest"] == explainer.classifier.digest
    archive = ZipFile(BytesIO(downloaded(page, "Everything ZIP")))
    assert archive.testzip() is None
    assert {"report.html", "summary.csv"} < set(archive.namelist())

    report = tmp_path / "report.html"
    report.write_bytes(downloaded(page, "Report"))
    reader = new_page(browser, width=800)
    asked: list[str] = []
    reader.on("request", lambda request: asked.append(request.url))
    reader.goto(report.as_uri())
    assert reader.get_by_text(DISCLAIMER).count() == 2
    loaded = "(all) => all.every((one) => one.complete && one.naturalWidth > 0)"
    assert reader.locator("img").evaluate_all(loaded)
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    reader.screenshot(path=tmp_path / "report.png", full_page=True)
