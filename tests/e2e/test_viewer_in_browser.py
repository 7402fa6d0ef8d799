"""The viewer in a real browser: its pixels against `render.overlay`, its numbers against numpy."""

import base64
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import cxr_gradcam as cg
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.explanation import Explanation
from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.radiograph import Radiograph
from cxr_gradcam.ui.components.film import pack
from cxr_gradcam.ui.components.viewer import Panel, describe
from cxr_gradcam.ui.frontend import ENGINE
from tests.e2e import viewer_script
from tests.e2e.browsing import PATIENCE, new_page, serve

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the script."""
    with serve(tmp_path_factory.mktemp("server"), script=viewer_script.__file__) as address:
        yield address


class View:
    """A page of viewers, and what went over its websocket."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.received: list[int] = []
        self.sent: list[int] = []
        self.problems: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("websocket", self._listen)

    def _listen(self, socket: Any) -> None:
        socket.on("framereceived", lambda data: self.received.append(len(data)))
        socket.on("framesent", lambda data: self.sent.append(len(data)))

    def open(self, url: str) -> "View":
        self.page.goto(url)
        self.page.wait_for_function(
            """() => [...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')]
                .flatMap((host) => [...(host.shadowRoot ?? host).querySelectorAll('canvas.film')])
                .filter((canvas) => canvas.dataset.scale).length === 6"""
        )
        self.page.wait_for_timeout(300)  # until the sidebar and the fonts have settled
        return self

    def stage(self, number: int) -> Any:
        """Panel by number: 0 the radiograph, 1 its overlay, 2 to 5 the classes."""
        return self.page.locator(".stage").nth(number)

    def place(self, number: int) -> tuple[float, float, float]:
        """Return scale, left and top of the film in a panel, in its pixels."""
        self.rest()
        data = self.stage(number).locator("canvas.film").evaluate("(c) => ({...c.dataset})")
        return float(data["scale"]), float(data["left"]), float(data["top"])

    def rest(self) -> None:
        """Wait until what was asked for is painted."""
        self.page.evaluate(
            """() => new Promise((done) =>
                requestAnimationFrame(() => requestAnimationFrame(done)))"""
        )

    def pixels(self, number: int, layer: str = "film") -> np.ndarray:
        """Return a panel's canvas, uint8 (H, W, 4) RGBA."""
        self.rest()
        found = (
            self.stage(number)
            .locator(f"canvas.{layer}")
            .evaluate(
                """(canvas) => {
                const { width, height } = canvas;
                const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                let text = "";
                for (let i = 0; i < data.length; i += 4096) {
                    text += String.fromCharCode(...data.subarray(i, i + 4096));
                }
                return { width, height, data: btoa(text) };
            }"""
            )
        )
        data = np.frombuffer(base64.b64decode(found["data"]), np.uint8)
        return data.reshape(found["height"], found["width"], 4)

    def film(self, number: int, film: Radiograph) -> np.ndarray:
        """Return what a panel shows at one pixel of the film for one of the screen, RGB."""
        self.focus(number)
        self.page.keyboard.press("1")
        scale, left, top = self.place(number)
        assert scale == 1
        rows = slice(int(top), int(top) + film.height)
        columns = slice(int(left), int(left) + film.width)
        shown = self.pixels(number)[rows, columns]
        assert (shown[:, :, 3] == 255).all()
        return shown[:, :, :3]

    def focus(self, number: int) -> None:
        self.stage(number).focus()

    def press(self, *keys: str) -> None:
        self.focus(1)
        for key in keys:
            self.page.keyboard.press(key)
        self.rest()

    def slide(self, label: str, value: int) -> None:
        self.page.get_by_role("slider", name=label).first.fill(str(value))

    def reading(self, number: int) -> str:
        self.rest()
        return str(self.page.locator(".reading").nth(number).inner_text())

    def hover(self, number: int, x: float, y: float, film: Radiograph) -> None:
        """Move the mouse over a place of the film, given in its pixels."""
        box = self.stage(number).bounding_box()
        scale, left, top = self.place(number)
        assert 0 <= x < film.width
        self.page.mouse.move(box["x"] + left + x * scale, box["y"] + top + y * scale)


@pytest.fixture
def view(browser: Any) -> Iterator[View]:
    page = new_page(browser, 1700, 1300)
    view = View(page)
    yield view
    page.close()
    assert view.problems == []


@pytest.fixture(scope="module")
def wide(explainer: Explainer) -> tuple[Radiograph, Explanation]:
    film = viewer_script.film("wide")
    return film, explainer.explain(film)


@pytest.fixture(scope="module")
def deep(explainer: Explainer) -> tuple[Radiograph, Explanation]:
    film = viewer_script.film("deep")
    return film, explainer.explain(film)


def compare(shown: np.ndarray, expected: np.ndarray, heat: np.ndarray) -> None:
    """Assert equality within a grey level, apart from heat that lies between two colours.

    A colour map has 256 colours. Where heat is half-way between two of them, to the last bits of
    a float, either may be taken; such pixels are told from the heat alone, and are few.
    """
    off = np.abs(shown.astype(int) - expected).max(axis=2)
    between = np.abs((255 * heat.astype(float)) % 1 - 0.5) < 1e-3
    assert between.mean() < 0.01
    assert off[~between].max() <= 1, (off > 1).sum()
    assert np.abs(shown.astype(int) - expected)[between].max(initial=0) <= 6


SETTINGS = [
    (45, 0, "turbo"), (100, 0, "jet"), (70, 35, "viridis"), (30, 60, "inferno"), (80, 10, "gray"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["wide", "deep"])
def test_pixels_equal_the_overlay(
    name: str, view: View, address: str, request: pytest.FixtureRequest
) -> None:
    film, explanation = request.getfixturevalue(name)
    view.open(f"{address}/?film={name}")
    heat = explanation.heatmap("COVID", scale="shared")
    alone = view.film(0, film)
    assert np.abs(alone.astype(int) - cg.overlay(film, np.zeros_like(heat))).max() == 0
    for opacity, threshold, colormap in SETTINGS:
        view.slide("Opacity", opacity)
        view.slide("Hide heat below", threshold)
        view.page.get_by_label("Colours").first.select_option(colormap)
        expected = cg.overlay(film, heat, colormap, opacity / 100, threshold / 100)
        compare(view.film(1, film), expected, heat)


def test_native_cells_are_the_map_as_it_is(view: View, address: str, wide: Any) -> None:
    film, explanation = wide
    view.open(address)
    view.press("n")
    cam, box = explanation.cam("COVID"), explanation.letterbox
    rows = (np.arange(film.height) + 0.5) / film.height * box.content_height + box.top
    columns = (np.arange(film.width) + 0.5) / film.width * box.content_width + box.left
    row, column = ((place * len(cam) // box.size).astype(int) for place in (rows, columns))
    heat = cam[row[:, None], column] / np.float32(explanation.peak("COVID", scale="shared"))
    heat = heat.clip(0, 1)  # a cell's middle may be hotter than any pixel's
    compare(view.film(1, film), cg.overlay(film, heat), heat)


def test_invert_and_window_are_those_of_numpy(view: View, address: str, deep: Any) -> None:
    film, _ = deep
    view.open(f"{address}/?film=deep")
    inverted = 255 - np.rint(film.pixels * 255)
    view.press("i")
    assert np.abs(view.film(0, film)[:, :, 0] - inverted).max() == 0
    view.press("i", "w", *["Shift+ArrowLeft"] * 19, "ArrowUp", "ArrowUp")
    numbers = view.page.locator(".numbers").first.inner_text()
    assert "W 0.05 L 0.48" in numbers
    windowed = np.clip((film.pixels - 0.455) / 0.05, 0, 1) * 255
    shown = view.film(0, film)[:, :, 0]
    assert np.abs(shown - windowed).max() <= 1
    assert len(np.unique(shown)) > 200  # 16 bits of precision: a narrow window shows no bands


def test_dragging_changes_pixels_and_asks_the_server_for_nothing(view: View, address: str) -> None:
    view.open(address)
    sent, before = len(view.sent), view.pixels(1)
    slider = view.page.get_by_role("slider", name="Opacity").first.bounding_box()
    middle = slider["y"] + slider["height"] / 2
    view.page.mouse.move(slider["x"] + slider["width"] * 0.45, middle)
    view.page.mouse.down()
    for share in (0.5, 0.7, 0.9):
        view.page.mouse.move(slider["x"] + slider["width"] * share, middle)
    view.page.mouse.up()
    after = view.pixels(1)
    assert np.abs(after.astype(int) - before).max() > 30
    view.slide("Opacity", 45)  # under more of it little is seen of the film
    after = view.pixels(1)
    stage = view.stage(1).bounding_box()
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    view.page.mouse.move(x, y)
    view.page.mouse.down(button="right")
    view.page.mouse.move(x - 150, y + 40, steps=4)
    view.page.mouse.up(button="right")
    assert np.abs(view.pixels(1).astype(int) - after).max() > 30
    width, level = re.search(
        r"W (\d\.\d+) L (\d\.\d+)", view.page.locator(".numbers").first.inner_text()
    ).groups()
    assert float(width) < 0.9
    assert float(level) > 0.55
    assert len(view.sent) == sent


def test_all_viewers_zoom_and_move_together(view: View, address: str, wide: Any) -> None:
    film, _ = wide
    view.open(address)
    start = [view.place(number) for number in range(6)]
    view.hover(1, 500, 100, film)
    scale, left, top = start[1]
    under = (left + 500 * scale, top + 100 * scale)
    view.page.mouse.wheel(0, -700)
    zoomed = [view.place(number) for number in range(6)]
    factors = [now[0] / before[0] for now, before in zip(zoomed, start, strict=True)]
    assert factors[0] > 2
    np.testing.assert_allclose(factors, factors[0], rtol=1e-3)
    scale, left, top = zoomed[1]
    assert abs(left + 500 * scale - under[0]) < 2  # what lies under the pointer stays there
    assert abs(top + 100 * scale - under[1]) < 2
    assert zoomed[0] == zoomed[1]
    view.page.mouse.down()
    view.page.mouse.move(*_centre(view.stage(1)), steps=3)
    view.page.mouse.up()
    moved = [view.place(number) for number in range(6)]
    assert moved[0] == moved[1] != zoomed[1]
    assert moved[3] != zoomed[3]
    view.stage(3).dblclick()
    assert [view.place(number) for number in range(6)] == start


def _centre(locator: Any) -> tuple[float, float]:
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_value_under_the_pointer(view: View, address: str, wide: Any) -> None:
    film, explanation = wide
    view.open(address)
    restored = explanation.letterbox.restore(explanation.cam("COVID"))
    for x, y in ((10, 20), (350, 150), (642, 281)):
        view.hover(1, x + 0.5, y + 0.5, film)
        said = view.reading(1)
        assert f"x {x}, y {y}" in said
        assert f"intensity {film.pixels[y, x]:.3f}" in said
        heat = float(re.search(r"heat ([\d.e−]+) logits per cell", said)[1].replace("−", "-"))
        assert heat == pytest.approx(restored[y, x], rel=6e-3, abs=1e-9)
        assert "heat" not in view.reading(0)  # a linked panel says what it has at that place
        assert f"x {x}, y {y}" in view.reading(0)
    view.page.mouse.move(5, 5)
    assert view.reading(1) == ""


def test_the_value_is_reached_by_keyboard(view: View, address: str, wide: Any) -> None:
    film, _ = wide
    view.open(address)
    marks = view.stage(0).locator("canvas.marks")
    assert marks.is_hidden()  # an empty canvas over the film would slow down its painting
    view.press("v", "ArrowRight", "Shift+ArrowDown")
    place = re.search(r"x (\d+), y (\d+) · intensity ([\d.]+)", view.reading(1))
    x, y = int(place[1]), int(place[2])
    assert (x, y) == (351, 155)
    assert float(place[3]) == pytest.approx(film.pixels[y, x], abs=6e-4)
    assert marks.is_visible()
    assert view.pixels(0, "marks").any()  # the crosshair, in the linked panel too
    view.press("Escape")
    assert view.reading(1) == ""
    assert marks.is_hidden()


def test_a_box_reads_out_its_heat_and_its_evidence(view: View, address: str, wide: Any) -> None:
    film, explanation = wide
    view.open(address)
    view.page.get_by_role("radio", name="Box").first.click()
    view.hover(1, 140, 60, film)
    view.page.mouse.down()
    view.hover(1, 455, 270, film)
    view.page.mouse.up()
    scale, left, top = view.place(1)
    corners = [(round(left + x * scale) - left) / scale for x in (140, 455)]
    edges = [(round(top + y * scale) - top) / scale for y in (60, 270)]
    box = explanation.letterbox
    cam = explanation.cam("COVID")

    def columns(start: float, end: float) -> np.ndarray:
        return _overlap(start, end, film.width, box.content_width, box.left, box.size, len(cam))

    def rows(start: float, end: float) -> np.ndarray:
        return _overlap(start, end, film.height, box.content_height, box.top, box.size, len(cam))

    across, down = columns(*corners), rows(*edges)
    every_column, every_row = columns(0, film.width), rows(0, film.height)
    share = (down @ cam @ across) / (every_row @ cam @ every_column)
    said = view.reading(1)
    assert float(re.search(r"box ([\d.]+)% of the heat", said)[1]) == pytest.approx(
        100 * share, abs=0.8
    )
    evidence = down @ explanation.evidence("COVID") @ across
    assert float(re.search(r"([−+][\d.]+) logits of evidence", said)[1].replace("−", "-")) == (
        pytest.approx(evidence, abs=0.02)
    )
    view.press("0")
    assert "box" not in view.reading(1)


def _overlap(
    start: float, end: float, side: int, content: int, offset: int, size: int, cells: int
) -> np.ndarray:
    """Share of each cell between two places of the film, by counting ten thousand points."""
    points = np.linspace(0, cells, 10_000 * cells, endpoint=False) + 0.5e-4
    places = (points * size / cells - offset) * side / content
    inside = (places >= start) & (places < end)
    return inside.reshape(cells, -1).mean(axis=1)


def test_the_whole_box_holds_all_the_heat_and_the_models_view_all_the_evidence(
    view: View, address: str, wide: Any
) -> None:
    _, explanation = wide
    view.open(address)
    before = view.place(1)
    view.press("m")
    scale, left, top = view.place(1)
    assert scale < before[0]  # the square is higher than the film
    shown, hatch = view.pixels(1), view.pixels(1, "marks")
    above = slice(0, int(top) - 2)
    columns = slice(int(left) + 5, int(left + 700 * scale) - 5)
    assert (shown[above, columns, 3] == 255).all()
    assert 0.03 < (hatch[above, columns, 3] > 0).mean() < 0.6
    assert not hatch[int(top) + 8 : int(top + 290 * scale), columns].any()
    view.press("i")  # the padding is white now
    dark = view.pixels(1, "marks")[above, columns]
    assert dark[dark[:, :, 3] > 0, :3].max() == 0
    assert (dark[:, :, 3] > 0).sum() == (hatch[above, columns, 3] > 0).sum()
    view.press("i")
    stage = view.stage(1).bounding_box()
    view.press("b")
    view.page.mouse.move(stage["x"] + 1, stage["y"] + 1)
    view.page.mouse.down()
    view.page.mouse.move(stage["x"] + stage["width"] - 1, stage["y"] + stage["height"] - 1, steps=3)
    view.page.mouse.up()
    said = view.reading(1)
    assert float(re.search(r"box ([\d.]+)%", said)[1]) > 99.5  # all but a rim of one pixel
    total = explanation.logits["COVID"] - explanation.biases["COVID"]
    assert float(re.search(r"([−+][\d.]+) logits", said)[1].replace("−", "-")) == pytest.approx(
        total, abs=0.02
    )


def test_everything_obeys_a_key_and_none_reaches_streamlit(view: View, address: str) -> None:
    view.open(f"{address}/?film=deep&class=Lung_Opacity")
    sent = len(view.sent)
    pressed = view.page.locator(".bar").first.locator("[aria-pressed=true], [aria-checked=true]")
    for key, label in (("h", "Heat"), ("n", "Native cells"), ("k", "Contours"), ("i", "Invert"),
                       ("m", "Model’s view"), ("l", "Lesion")):  # fmt: skip
        button = view.page.get_by_role("button", name=label, exact=True).first
        before, looks = button.get_attribute("aria-pressed"), _looks(view)
        view.press(key)
        assert button.get_attribute("aria-pressed") != before
        assert _looks(view) != looks, label
        view.press(key)
    for key, label in (("w", "Window and level"), ("b", "Box"), ("v", "Value"), ("p", "Move")):
        view.press(key)
        assert label in [each.get_attribute("aria-label") for each in pressed.all()]
    view.press("[", ",", ".", ".", "c")
    assert view.page.get_by_role("slider", name="Opacity").first.input_value() == "40"
    assert view.page.get_by_role("slider", name="Hide heat below").first.input_value() == "10"
    assert view.page.get_by_label("Colours").first.input_value() == "jet"
    view.press("+", "ArrowRight")
    assert view.place(0)[0] > 1
    view.press("r", "?")
    assert view.page.locator(".help").first.is_visible()
    view.press("Escape")
    assert not view.page.locator(".help").first.is_visible()
    assert len(view.sent) == sent


def _looks(view: View) -> list[int]:
    """Return a number for every canvas of the two upper panels, which any change would change."""
    view.rest()
    found = view.page.locator(".stage").evaluate_all(
        """(stages) => stages.slice(0, 2)
            .flatMap((stage) => [...stage.querySelectorAll("canvas.film, canvas.marks")])
            .map((canvas) => {
                const { width, height } = canvas;
                const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                return new Uint32Array(data.buffer)
                    .reduce((hash, pixel) => Math.imul(hash ^ pixel, 16777619), 2166136261);
            })"""
    )
    assert len(found) == 4
    return list(found)


def test_full_screen_by_key_and_back(view: View, address: str) -> None:
    view.page.set_viewport_size({"width": 1700, "height": 950})
    view.open(f"{address}/?film=deep")
    height = view.pixels(1).shape[0]
    view.press("f")
    view.page.wait_for_function("() => document.fullscreenElement !== null")
    view.page.wait_for_function(
        f"""() => [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")]
            .some((host) => host.shadowRoot?.fullscreenElement?.querySelectorAll(".stage")[1]
                .clientHeight > {height} + 50)"""
    )
    room = view.page.locator(".viewer").first.evaluate("(one) => one.scrollHeight - innerHeight")
    assert room <= 0
    assert view.page.get_by_role("slider", name="Opacity").first.is_visible()
    view.press("f")
    view.page.wait_for_function("() => document.fullscreenElement === null")


def test_in_full_screen_one_scrolls_to_what_does_not_fit(view: View, address: str) -> None:
    view.page.set_viewport_size({"width": 500, "height": 420})
    view.open(address)
    view.focus(2)
    view.page.keyboard.press("f")
    view.page.wait_for_function("() => document.fullscreenElement !== null")
    view.stage(5).scroll_into_view_if_needed()
    box = view.stage(5).bounding_box()
    assert 0 <= box["y"] <= 420 - box["height"]


def test_escape_closes_the_help_from_its_button(view: View, address: str) -> None:
    view.open(address)
    view.page.locator(".bar").first.get_by_role("button", name="Help").click()
    assert view.page.locator(".help").first.is_visible()
    view.page.keyboard.press("Escape")
    assert not view.page.locator(".help").first.is_visible()


def test_a_class_change_resends_no_film_and_keeps_the_settings(
    view: View, address: str, deep: Any
) -> None:
    film, explanation = deep
    view.open(f"{address}/?film=deep")
    first = sum(view.received)
    assert first > 200_000  # the film, of 16 bits
    view.slide("Opacity", 90)
    view.press("c")
    view.page.get_by_test_id("stButtonGroup").get_by_text("Normal", exact=True).click()
    view.page.locator(".panel").nth(1).get_by_text("Normal", exact=True).wait_for()
    heat = explanation.heatmap("Normal", scale="shared")
    compare(view.film(1, film), cg.overlay(film, heat, "jet", 0.9), heat)
    assert sum(view.received) - first < 20_000


def test_a_large_film_is_painted_from_a_preview_as_from_the_film(view: View, address: str) -> None:
    view.open(f"{address}/?film=large")
    before = view.pixels(1)
    view.focus(1)
    view.page.keyboard.press("1")  # a pixel of the film for one of the screen: only the film has it
    film = viewer_script.film("large")
    scale, left, top = view.place(1)
    assert scale == 1
    shown = view.pixels(0)
    row, column = int(shown.shape[0] // 2 - top), int(shown.shape[1] // 2 - left)
    expected = round(255 * float(film.pixels[row, column]))
    assert abs(int(shown[int(row + top), int(column + left), 0]) - expected) <= 1
    view.page.keyboard.press("0")
    np.testing.assert_array_equal(view.pixels(1), before)
    preview, whole = (size for size in view.received if size > 100_000)
    assert preview < whole / 2


# Streamlit calls a component again when anything about it changes. Where that overtakes the call
# before, whose script was still on its way, it lets that one go after both have mounted.
OVERTAKEN = """async ([engine, films, panel]) => {
    const url = URL.createObjectURL(new Blob([engine], { type: "text/javascript" }));
    const keep = (await import(url)).default;
    const { mount } = await globalThis[Symbol.for("cxr_gradcam.viewer")].ready;
    const holders = films.map(() => document.createElement("div"));
    const hold = (k) => {
        const data = Uint8Array.from(atob(films[k]), (letter) => letter.charCodeAt(0));
        return keep({ data, parentElement: holders[k] });
    };
    const still = () => new Promise((done) => setTimeout(done, 200));
    const overtakenFilm = hold(0);
    hold(0);
    overtakenFilm();
    for (let k = 1; k < films.length; k++) {
        const leave = hold(k);
        await still();
        leave();
    }
    const host = document.body.appendChild(document.createElement("div"));
    const parent = host.attachShadow({ mode: "open" });
    const data = { panels: [panel], columns: 1, tall: false, tools: false };
    const overtaken = mount(parent, data);
    const leave = mount(parent, data);
    overtaken();
    const canvas = parent.querySelector("canvas.film");
    const becomes = async (isTrue, rounds) => {
        for (let k = 0; k < rounds && !isTrue(); k++) await still();
        return isTrue();
    };
    const pressed = (rounds) => {
        const before = canvas.toDataURL();
        const options = { key: "i", bubbles: true };
        parent.querySelector(".stage").dispatchEvent(new KeyboardEvent("keydown", options));
        return becomes(() => canvas.toDataURL() !== before, rounds);
    };
    const painted = await becomes(() => "scale" in canvas.dataset, 100);
    const obeys = await pressed(100);
    await still();
    leave();
    return { painted, obeys, obeysWhenGone: await pressed(2) };
}"""


def test_what_was_overtaken_takes_nothing_with_it(browser: Any) -> None:
    page = new_page(browser)
    page.goto("about:blank")
    films = [draw_phantom("COVID", seed, 64).radiograph for seed in range(7)]
    packed = [base64.b64encode(pack(film)).decode() for film in films]
    panel = describe(Panel(films[0], "Radiograph"))
    outcome = page.evaluate(OVERTAKEN, [ENGINE, packed, panel])
    assert outcome == {"painted": True, "obeys": True, "obeysWhenGone": False}


def test_the_colours_are_in_the_address(view: View, address: str, wide: Any) -> None:
    film, explanation = wide
    view.open(f"{address}/?other=kept&colormap=viridis")
    heat = explanation.heatmap("COVID", scale="shared")
    compare(view.film(1, film), cg.overlay(film, heat, "viridis"), heat)
    view.page.get_by_label("Colours").first.select_option("inferno")
    assert "other=kept" in view.page.url
    assert "colormap=inferno" in view.page.url
    view.page.get_by_label("Colours").first.select_option("turbo")
    assert "other=kept" in view.page.url
    assert "colormap" not in view.page.url
    view.open(f"{address}/?colormap=<script>")
    assert view.page.get_by_label("Colours").first.input_value() == "turbo"


def test_two_fingers_zoom_and_one_moves(browser: Any, address: str) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, device_scale_factor=2
    )
    view = View(context.new_page()).open(address)
    view.stage(1).scroll_into_view_if_needed()
    before = view.place(1)
    x, y = _centre(view.stage(1))
    touch = context.new_cdp_session(view.page)

    def fingers(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": px, "y": py, "id": k} for k, (px, py) in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", (x - 20, y), (x + 20, y))
    for apart in (30, 45, 60, 80):
        fingers("touchMove", (x - apart, y), (x + apart, y))
    fingers("touchEnd")
    view.page.wait_for_timeout(300)  # at rest it is painted at the screen's resolution
    pinched = view.place(1)
    assert pinched[0] > 2 * before[0]
    fingers("touchStart", (x, y))
    for far in (10, 30, 50):
        fingers("touchMove", (x + far, y))
    fingers("touchEnd")
    view.page.wait_for_timeout(300)
    moved = view.place(1)
    assert moved[0] == pinched[0]
    assert moved[1] > pinched[1] + 50  # twice as many pixels as on the page
    assert view.problems == []
    context.close()


def test_every_picture_says_what_it_shows(view: View, address: str) -> None:
    view.open(address)
    named = [
        canvas.get_attribute("aria-label") for canvas in view.page.locator("canvas.film").all()
    ]
    assert named[:2] == [
        "Radiograph without colours", "Radiograph with the heatmap of COVID, Grad-CAM, norm5",
    ]  # fmt: skip
    ramp = view.page.locator(".ramp").nth(1).get_attribute("aria-label")
    assert re.fullmatch(r"Colours from 0 to [\d.]+ logits per cell", ramp)


def _note_painting(view: View) -> None:
    """Keep in the page, as `painted`, the frame and the picture of all that is painted from now."""
    view.page.evaluate(
        """() => {
            window.painted = [];
            const put = CanvasRenderingContext2D.prototype.putImageData;
            CanvasRenderingContext2D.prototype.putImageData = function (...rest) {
                const isLarge = this.canvas.getRootNode().host.closest(".st-key-pair");
                const label = this.canvas.getAttribute("aria-label");
                const panel = `${isLarge ? "large" : "small"}: ${label}`;
                window.painted.push({ frame: document.timeline.currentTime, panel });
                return put.apply(this, rest);
            };
        }"""
    )


def test_what_is_out_of_sight_is_painted_when_the_slider_rests(view: View, address: str) -> None:
    view.open(f"{address}/?film=deep")
    page = view.page
    page.set_viewport_size({"width": 1280, "height": 700})  # the small panels are below that
    page.wait_for_timeout(500)
    _note_painting(view)
    moving = page.get_by_role("slider", name="Opacity").first.evaluate(
        """(slider) => new Promise((done) => {
            window.painted.length = 0;
            slider.value = "80";
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            const seen = () => done(window.painted.map(({ panel }) => panel));
            requestAnimationFrame(() => requestAnimationFrame(seen));
        })"""
    )
    overlay = "Radiograph with the heatmap of COVID, Grad-CAM, norm5"
    assert moving == [f"large: {overlay}"]
    painted = "(name) => window.painted.some(({ panel }) => panel === name)"
    page.wait_for_function(painted, arg=f"small: {overlay}")
    assert view.problems == []


@pytest.mark.slow
def test_sixty_frames_in_a_second_of_dragging(view: View, address: str) -> None:
    """Needs a quiet machine: counts the frames in which a slider's movement is painted."""
    view.open(f"{address}/?film=deep")
    _note_painting(view)
    frames = view.page.get_by_role("slider", name="Opacity").first.evaluate(
        """(slider) => new Promise((done) => {
            const begin = performance.now();
            const drag = (now) => {
                if (now - begin > 1000) {
                    return done(new Set(window.painted.map(({ frame }) => frame)).size);
                }
                slider.value = String(Math.round((now - begin) / 10));
                slider.dispatchEvent(new Event("input", { bubbles: true }));
                requestAnimationFrame(drag);
            };
            requestAnimationFrame(drag);
        })"""
    )
    assert frames >= 58
