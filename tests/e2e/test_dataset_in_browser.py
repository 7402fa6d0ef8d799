"""The dataset page in a real browser: from the evaluation through a cell to one film."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from cxr_gradcam.explainer import Explainer
from cxr_gradcam.radiograph import load_radiograph
from tests.e2e.browsing import PATIENCE, visit

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.browser

COUNT = 16


def visitor(browser: Any, address: str) -> Any:
    """Open the page as somebody else."""
    return visit(browser, f"{address}/dataset")


def tiles(page: Any) -> Any:
    return page.locator(".st-key-dataset_grid").get_by_role("button")


def test_from_the_evaluation_through_a_cell_to_one_film(
    browser: Any, address: str, folder: Path, explainer: Explainer
) -> None:
    cells: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in sorted(folder.glob("*/images/*.png")):
        called = explainer.explain(load_radiograph(path)).predicted
        cells[path.parents[1].name, called].append(path.name)
    (label, called), names = max(cells.items(), key=lambda cell: len(cell[1]))
    starter, other = visitor(browser, address), visitor(browser, address)
    other.get_by_text(f"{COUNT} films, not evaluated yet").wait_for()
    starter.get_by_role("button", name="Evaluate all films").click()
    starter.get_by_text("films evaluated").wait_for()
    # One visitor leaves; the work goes on, and the other sees it without a click.
    starter.get_by_role("link", name="Model").click()
    other.get_by_text(f"All {COUNT} films evaluated").wait_for()
    assert tiles(other).count() == COUNT

    other.get_by_text("Figures", exact=True).click()
    words = f"{label.replace('_', ' ')} called {called.replace('_', ' ')}: {len(names)} film"
    cell = other.get_by_role("button", name=re.compile(f"^{re.escape(words)}s?$"))
    cell.focus()
    other.keyboard.press("Enter")
    other.get_by_text(f"{len(names)} of {COUNT} films").wait_for()
    sync_api.expect(tiles(other)).to_have_count(len(names), timeout=PATIENCE)
    shown = tiles(other).locator("img").evaluate_all("all => all.map((one) => one.alt)")
    filed = label.replace("_", " ")
    wanted = [f"Radiograph {name}, filed as {filed}" for name in names]
    assert sorted(shown) == sorted(wanted)
    widths = tiles(other).locator("img").evaluate_all("all => all.map((i) => i.naturalWidth)")
    assert set(widths) == {240}

    film = tiles(other).filter(has=other.get_by_alt_text(wanted[-1], exact=True))
    film.focus()
    other.keyboard.press("Enter")
    other.get_by_text("Predicted class").wait_for()
    other.get_by_role("heading", name=names[-1]).wait_for()
    other.get_by_role("link", name="Dataset").click()
    other.get_by_text(f"{len(names)} of {COUNT} films").wait_for()  # as it was left
    other.get_by_role("button", name="Show all").click()
    sync_api.expect(tiles(other)).to_have_count(COUNT, timeout=PATIENCE)


def test_without_data_phantoms_are_drawn_and_opened(browser: Any, bare_address: str) -> None:
    page = visitor(browser, bare_address)
    page.get_by_role("button", name="Draw 40 phantoms").click()
    sync_api.expect(tiles(page)).to_have_count(40, timeout=PATIENCE)
    tiles(page).first.click()
    page.get_by_text("Predicted class").wait_for()
    page.get_by_role("heading", name="COVID-phantom-0.png").wait_for()
