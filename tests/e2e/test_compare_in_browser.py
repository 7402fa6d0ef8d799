"""The page "Compare" in a real browser: linked panels, links that open the same, Score-CAM."""

import re
from typing import Any

import pytest

from cxr_gradcam.densenet import MAIN_LAYERS
from cxr_gradcam.phantom import CLASS_NAMES
from tests.e2e.browsing import PATIENCE, new_page, visit, visit_elsewhere

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.browser

GRADIENT_METHODS = 5


def films(page: Any) -> Any:
    return page.locator("canvas.film")


def wait_for_panels(page: Any, count: int) -> None:
    """Wait until so many panels stand there, painted."""
    sync_api.expect(page.locator("canvas.film[data-scale]")).to_have_count(count, timeout=PATIENCE)


def views(page: Any) -> list[tuple[str, ...]]:
    """Where every panel's picture lies: scale, left and top."""
    found = films(page).evaluate_all(
        "all => all.map(({dataset}) => [dataset.scale, dataset.left, dataset.top])"
    )
    return [tuple(view) for view in found]


def captions(page: Any) -> list[str]:
    return [" ".join(text.split()) for text in page.locator("figcaption").all_inner_texts()]


def test_all_panels_of_a_matrix_zoom_together_and_the_server_hears_nothing(
    browser: Any, bare_address: str
) -> None:
    page = new_page(browser)
    said: list[Any] = []
    page.on("websocket", lambda wire: wire.on("framesent", lambda frame: said.append(frame)))
    page.goto(f"{bare_address}/compare?sample=COVID-0&compare=Layers")
    panels = len(CLASS_NAMES) * len(MAIN_LAYERS)
    wait_for_panels(page, panels)
    page.get_by_text("Do the layers agree?").wait_for()
    page.wait_for_timeout(500)  # for what the page has still to say after its first run
    before = views(page)
    said.clear()
    page.locator(".stage").nth(7).hover()  # the picture itself lies under the marks
    page.mouse.wheel(0, -400)
    for _ in range(300):
        if all(float(scale) > 1.2 * float(before[0][0]) for scale, _, _ in views(page)):
            break
        page.wait_for_timeout(100)
    assert len(views(page)) == panels
    assert len(set(views(page))) == 1  # one scale and one place for all of them
    assert views(page)[0] != before[0]
    assert not said
    page.set_viewport_size({"width": 390, "height": 844})  # two panels in a row
    lefts = "all => all.map((one) => Math.round(one.getBoundingClientRect().left))"
    edge, *others = page.locator(".panel").evaluate_all(lefts)
    begins = [edge, *others][:: len(MAIN_LAYERS)]
    assert begins == [edge] * len(CLASS_NAMES)  # each class in a row of its own
    assert max(others) > edge


def test_a_copied_link_opens_the_same_comparison_for_somebody_else(
    browser: Any, bare_address: str
) -> None:
    page = visit(browser, f"{bare_address}/compare?sample=COVID-1")
    wait_for_panels(page, len(CLASS_NAMES))
    page.get_by_role("radio", name="Two radiographs").click()
    wait_for_panels(page, 2)
    # One at a time: what is typed while the page is drawn anew may be lost.
    choose(page, "second_sample", "Normal 2")
    page.locator("figcaption").filter(has_text="Normal phantom 2").wait_for()
    choose(page, "compare_class", "Lung Opacity")
    page.locator("figcaption").filter(
        has_text=re.compile(r"Normal phantom 2\s*Lung Opacity")
    ).wait_for()
    choose(page, "compare_layer", "denseblock3")
    alt = "Radiograph with the heatmap of Lung Opacity, Grad-CAM, denseblock3"
    painted = page.locator(f'canvas.film[aria-label="{alt}"]')
    sync_api.expect(painted).to_have_count(2, timeout=PATIENCE)
    wanted = captions(page)
    assert wanted[0].startswith("COVID phantom 1 Lung Opacity")

    other = visit_elsewhere(browser, page.url)
    wait_for_panels(other, 2)
    assert captions(other) == wanted
    again = other.locator(f'canvas.film[aria-label="{alt}"]')
    sync_api.expect(again).to_have_count(2, timeout=PATIENCE)


def test_scorecam_comes_on_request_with_its_progress(browser: Any, bare_address: str) -> None:
    link = "compare?model=small&sample=COVID-0&compare=Methods&compare_layer=denseblock1"
    page = visit(browser, f"{bare_address}/{link}")
    before = len(CLASS_NAMES) * GRADIENT_METHODS + 1  # Eigen-CAM stands once
    wait_for_panels(page, before)
    page.get_by_role("button", name="Add Score-CAM").click()
    page.get_by_text("of its passes").wait_for()
    wait_for_panels(page, before + len(CLASS_NAMES))
    sync_api.expect(page.get_by_text("of its passes")).to_have_count(0)
    sync_api.expect(page.get_by_role("button", name="Add Score-CAM")).to_have_count(0)
    assert sum("Score-CAM" in caption for caption in captions(page)) == len(CLASS_NAMES)
    page.get_by_role("columnheader", name="Score-CAM").wait_for()


def choose(page: Any, key: str, words: str) -> None:
    box = page.locator(f".st-key-{key} input")
    box.click()
    box.fill(words)
    box.press("Enter")
