"""The pages for those who see little or use no mouse: axe's rules in both themes, the Tab key."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from cxr_gradcam.phantom import CLASS_NAMES
from cxr_gradcam.words import class_label
from tests.e2e.browsing import new_page

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
)
pytestmark = pytest.mark.browser

MOST_STOPS = 120
TOOLS = {
    "Opacity", "Hide heat below", "Colours", "Move", "Heat", "Native cells", "Contours", "Invert",
    "Model’s view", "Reset", "Full screen", "Help",
}  # fmt: skip
DOWNLOADS = {"Overlay PNG", "Heatmap NPY", "Record JSON", "Report", "Everything ZIP"}


def open_start(page: Any, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Viral Pneumonia 2").wait_for()


def open_explain(page: Any, address: str) -> None:
    page.goto(f"{address}/?sample=Lung_Opacity-1")
    page.locator(".st-key-classes canvas.film[data-scale]").last.wait_for()
    page.get_by_text("How the files look").click()
    page.locator(".bar").first.get_by_role("button", name="Help").click()


def open_compare(page: Any, address: str) -> None:
    page.goto(f"{address}/compare?sample=COVID-0&compare=Layers")
    page.locator("canvas.film[data-scale]").last.wait_for()
    page.get_by_text("Do the layers agree?").wait_for()


def open_dataset(page: Any, address: str) -> None:
    """Open the films of a folder that is evaluated, by the small model as that is soon done."""
    page.goto(f"{address}/dataset?model=small")
    page.get_by_role("button", name="Draw 40 phantoms").click()
    page.get_by_text(re.compile("films evaluated|not evaluated yet")).first.wait_for()
    start = page.get_by_role("button", name="Evaluate all films")
    if start.count():
        start.click()
    page.get_by_text("All 40 films evaluated").wait_for()


def open_figures(page: Any, address: str) -> None:
    open_dataset(page, address)
    page.get_by_text("Figures", exact=True).click()
    page.get_by_role("heading", name="Reliability").wait_for()


def open_model(page: Any, address: str) -> None:
    page.goto(f"{address}/model")
    page.get_by_text("Model card", exact=True).click()
    page.get_by_role("heading", name="Where it comes from").wait_for()


PAGES = [open_start, open_explain, open_compare, open_dataset, open_figures, open_model]


@pytest.mark.parametrize("open_page", PAGES)
def test_axe_finds_nothing_serious_and_nothing_sticks_out(
    browser: Any, bare_address: str, open_page: Callable[[Any, str], None]
) -> None:
    page = new_page(browser)
    open_page(page, bare_address)
    for theme, width in (("light", 1280), ("dark", 1280), ("light", 390)):
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 900})
        settle(page)
        assert is_dark(page) == (theme == "dark")
        assert problems(page) == [], (theme, width)
        assert nameless_pictures(page) == []
        main = page.get_by_test_id("stMain")
        assert main.evaluate("(main) => main.scrollWidth - main.clientWidth") == 0


def test_long_class_names_stick_out_nowhere(browser: Any, bare_address: str) -> None:
    page = new_page(browser)
    page.set_viewport_size({"width": 390, "height": 900})
    for place in ("?", "compare?compare=Contrast&"):
        page.goto(f"{bare_address}/{place}sample=COVID-0&model=wordy")
        page.locator("canvas.film[data-scale]").nth(3).wait_for()
        settle(page)
        main = page.get_by_test_id("stMain")
        assert main.evaluate("(main) => main.scrollWidth - main.clientWidth") == 0
        titles = page.locator("figcaption .title")
        widths = titles.evaluate_all("all => all.map((one) => one.clientWidth)")
        assert min(widths) > 60  # none gives way to what stands beside it


def is_dark(page: Any) -> bool:
    """Whether the page's background is darker than its text."""
    of_app = "((style) => [style.backgroundColor, style.color])(getComputedStyle(app))"
    colours = page.get_by_test_id("stApp").evaluate(f"(app) => {of_app}")
    background, text = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    return bool(background < text)


def settle(page: Any) -> None:
    """Wait until nothing fades in or out any more: what does has less contrast."""
    page.wait_for_timeout(300)
    page.locator("[data-test-script-state='notRunning']").wait_for()
    page.wait_for_timeout(500)


def problems(page: Any) -> list[str]:
    """What axe finds, but for what it calls minor or moderate."""
    return [
        f"{rule['id']} at {node['target']}: {node['failureSummary']}"
        for rule in axe.Axe()
        .run(page, options={"resultTypes": ["violations"]})
        .response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def nameless_pictures(page: Any) -> list[str]:
    """Every picture without a word of what it shows."""
    pictures = page.locator("img:visible, canvas:visible:not([aria-hidden=true])")
    named = "one.alt || one.getAttribute('aria-label')"
    return list(
        pictures.evaluate_all(f"all => all.filter(one => !({named})).map(one => one.outerHTML)")
    )


def stops(page: Any) -> list[str]:
    """Press Tab from the top to the end of the page; return the name of every stop."""
    found: list[str] = []
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        name = page.evaluate(
            """() => {
                let one = document.activeElement;
                while (one.shadowRoot?.activeElement) one = one.shadowRoot.activeElement;
                if (one === document.body) return null;
                const lines = (text) => (text ?? "").trim().split("\\n");
                return one.getAttribute("aria-label")
                    || lines(one.labels?.[0]?.innerText)[0]  // a slider's value comes after it
                    || lines(one.innerText).pop();  // an icon's name comes before it
            }"""
        )
        if name is None:
            return found
        found.append(name)
    pytest.fail(f"the way by Tab has no end: {found}")


def test_tab_reaches_every_source_on_the_first_page(browser: Any, address: str) -> None:
    page = new_page(browser)
    open_start(page, address)
    settle(page)
    reached = stops(page)
    pages = ["Explain", "Compare", "Dataset", "Model"]
    gallery = [f"{class_label(name)} {seed}" for name in CLASS_NAMES for seed in range(3)]
    wanted = [*pages, "Upload", "Class of the dataset", "File of the dataset", *gallery]
    assert [name for name in reached if name in wanted] == wanted  # each once, from top to bottom


def test_tab_reaches_every_control_of_a_radiograph(browser: Any, address: str) -> None:
    page = new_page(browser)
    page.goto(f"{address}/?sample=Lung_Opacity-1&method=LayerCAM")
    page.locator(".st-key-classes canvas.film[data-scale]").last.wait_for()
    settle(page)
    reached = stops(page)
    choices = {"Upload", "Phantoms", "Predicted", "Layer", "Method", "How the files look"}
    switches = {"Each class on its own scale", "Show the planted lesion"}
    assert choices | switches | TOOLS | DOWNLOADS <= set(reached)
    assert "Radiograph" in reached
    assert any(name.endswith(" · LayerCAM · norm5") for name in reached)
    of_all_classes = [name for name in reached if name.endswith("%")]
    assert [name.partition(",")[0] for name in of_all_classes] == [*map(class_label, CLASS_NAMES)]
