"""Somebody with a page of their own in real Chromium, and the films that they bring.

What the page paints is timed in the browser, from the moment a file is handed over or a class is
clicked to the moment the heatmap in its final state is put on its canvas.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from playwright.async_api import Browser, Page

sys.path.insert(0, str(Path(__file__).parents[1]))

from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.words import class_label
from tests.e2e.browsing import PATIENCE

HEIGHT, WIDTH = 2500, 2000
GRAIN = 2.0  # grey levels of noise: a film without any packs into far fewer bytes than a real one

# Put on every page before anything else: notes when the heatmap's canvas is painted and with what,
# and when what goes to and comes from the server.
PROBE = """(() => {
    const log = (window.probe = { paints: [], frames: new Set() });
    const hash = (words) => {
        let sum = 0x811c9dc5;
        for (const word of words) sum = Math.imul(sum ^ word, 0x01000193);
        return sum;
    };
    const put = CanvasRenderingContext2D.prototype.putImageData;
    CanvasRenderingContext2D.prototype.putImageData = function (image, ...rest) {
        put.call(this, image, ...rest);
        const figure = this.canvas.closest("figure");
        const isHeat = figure?.previousElementSibling?.matches("figure");
        if (!isHeat || !this.canvas.getRootNode().host?.closest(".st-key-explain")) return;
        log.frames.add(document.timeline.currentTime);
        if (log.dragging) return;
        const at = performance.now();
        const sum = hash(new Uint32Array(image.data.buffer));
        log.paints.push({ at, sum, label: this.canvas.getAttribute("aria-label") });
    };
    window.WebSocket = class extends WebSocket {
        constructor(...rest) {
            super(...rest);
            this.addEventListener("message", ({ data }) =>
                log.received.push({ at: performance.now(), size: data.size ?? data.byteLength }));
        }
        send(data) {
            log.sent.push(performance.now());
            super.send(data);
        }
    };
    window.DecompressionStream = class extends DecompressionStream {
        constructor(...rest) {
            super(...rest);
            log.unpacked.push(performance.now());
        }
    };
    addEventListener("click", () => (log.clicked = performance.now()), true);
    log.begin = () => {
        Object.assign(log, { received: [], sent: [], unpacked: [] });
        log.paints = log.paints.slice(-1);
        performance.clearResourceTimings();
        log.begun = performance.now();
    };
    log.begin();
})()"""

# The sum of what the heatmap's canvas shows, once the page is at rest with the film and the class.
SETTLED = """([name, words, before]) => {
    const { paints, begun } = window.probe;
    const last = paints.at(-1);
    const rests = document.querySelector("[data-test-script-state='notRunning']");
    const heading = document.querySelector(".cxr-heading h1");
    if (!last || !rests || heading?.textContent !== name) return null;
    if (last.sum === before || !last.label.includes(words)) return null;
    return performance.now() - Math.max(last.at, begun) > 300 ? { sum: last.sum } : null;
}"""

REPORT = """() => {
    const { paints, received, sent, unpacked, begun, clicked } = window.probe;
    const upload = performance.getEntriesByType("resource")
        .filter(({ name }) => name.includes("upload_file")).at(-1);
    const film = received.find(({ size }) => size > 100_000);
    const last = paints.at(-1);
    const first = paints.find(({ sum, label }) => sum === last.sum && label === last.label);
    return {
        begun, clicked, painted: first.at, paints: paints.length,
        sending: upload?.startTime, stored: upload?.responseEnd,
        asked: sent.find((at) => at >= (upload?.responseEnd ?? clicked)),
        film: film?.at, size: Math.max(...received.map(({ size }) => size)), unpacked: unpacked[0],
        answered: received[0]?.at, bytes: received.reduce((sum, { size }) => sum + size, 0),
    };
}"""


def draw_films(count: int, folder: Path) -> list[Path]:
    """Write different films as PNG files: one large phantom, cut in other places, new grain."""
    phantom = draw_phantom("COVID", 0, HEIGHT).radiograph.pixels * 255
    random = np.random.default_rng(0)
    films = []
    for number in range(count):
        left = number * (HEIGHT - WIDTH) // count
        grain = random.normal(0, GRAIN, (HEIGHT, WIDTH)).astype(np.float32)
        pixels = np.clip(np.rint(phantom[:, left : left + WIDTH] + grain), 0, 255)
        films.append(folder / f"film-{number}.png")
        cv2.imwrite(str(films[-1]), pixels.astype(np.uint8))
    return films


@dataclass
class Visitor:
    """Somebody with a page of their own.

    Attributes:
        page: in a context of its own.
        shown: the sum of the pixels of the heatmap on it; 0 at first.
        problems: what went wrong on the page.
    """

    page: Page
    shown: int = 0
    problems: list[str] = field(default_factory=list)

    @classmethod
    async def come(cls, browser: Browser, address: str) -> Visitor:
        """Open the page as somebody new."""
        context = await browser.new_context(viewport={"width": 1280, "height": 900})
        visitor = cls(await context.new_page())
        visitor.page.set_default_timeout(PATIENCE)
        visitor.page.on("pageerror", lambda error: visitor.problems.append(str(error)))
        await visitor.page.add_init_script(PROBE)
        await visitor.page.goto(address)
        await visitor.page.get_by_text("Drop chest X-rays here").wait_for()
        await visitor.rest()
        return visitor

    async def leave(self) -> None:
        """Close the page."""
        await self.page.context.close()

    async def rest(self) -> None:
        """Wait until the server has nothing more to say."""
        await self.page.locator("[data-test-script-state='notRunning']").wait_for()
        await self.page.wait_for_timeout(500)

    async def upload(self, film: Path) -> dict[str, float]:
        """Hand a film over; return the moments of its way, in ms of the page's clock."""
        await self.page.evaluate("probe.begin()")
        await self.page.locator("input[type=file]").set_input_files(film)
        return await self.painted(film.name, "", self.shown)

    async def choose(self, class_name: str, film: Path) -> dict[str, float]:
        """Click a class; return the moments of its way."""
        await self.page.evaluate("probe.begin()")
        words = class_label(class_name)
        await self.page.locator(".st-key-class").get_by_text(words, exact=True).click()
        return await self.painted(film.name, f"{words}, ")

    async def begin(self, film: Path, class_name: str) -> None:
        """Upload the first film and choose the first class."""
        await self.upload(film)
        await self.choose(class_name, film)

    async def painted(self, name: str, words: str, other_than: int = 0) -> dict[str, float]:
        """Wait until a heatmap is there to stay, and return the moments of its way.

        Args:
            name: of the film.
            words: in the canvas's label.
            other_than: the sum of the pixels that were there before.
        """
        settled = await self.page.wait_for_function(
            SETTLED, arg=[name, words, other_than], polling=100
        )
        self.shown = (await settled.json_value())["sum"]
        await self.check()
        moments: dict[str, float] = await self.page.evaluate(REPORT)
        return moments

    async def check(self) -> None:
        """Note what the page says went wrong."""
        wrong = "[data-testid=stException], [data-testid=stAlertContentError]"
        self.problems += await self.page.locator(wrong).all_inner_texts()

    async def forget(self, film: Path) -> None:
        """Take a film out of the uploader."""
        row = self.page.get_by_test_id("stFileChip").filter(has_text=film.name)
        await row.get_by_test_id("stFileChipDeleteBtn").click()
        await row.wait_for(state="detached")
        await self.rest()
