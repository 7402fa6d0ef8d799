"""What a visitor waits for: the real server, real Chromium, films of 2,500 x 2,000 pixels.

Measured in the browser, from the moment a file is handed over or a class is clicked to the moment
the heatmap in its final state is put on its canvas. Everything is printed in milliseconds.

    pip install -r requirements-dev.txt
    python benchmarks/page_speed.py --soak 5
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.async_api import Browser, Page, async_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from cxr_gradcam.phantom import CLASS_NAMES, draw_phantom
from cxr_gradcam.words import class_label
from tests.e2e.browsing import ARGUMENTS, CHROMIUM, PATIENCE, serve

HEIGHT, WIDTH = 2500, 2000
GRAIN = 2.0  # grey levels of noise: a film without any packs into far fewer bytes than a real one
VISITORS = 8
CHANGES_PER_FILM = 3  # in the soak
SAMPLE_SECONDS = 10
ALLOWED_UPLOAD = 700  # ms on top of a bare forward pass
ALLOWED_CHANGE = 250  # ms
ALLOWED_FRAMES = 60

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

DRAG = """(slider) => new Promise((done) => {
    const { probe } = window;
    probe.frames.clear();
    probe.dragging = true;
    const begin = performance.now();
    let offered = 0;
    const drag = (now) => {
        if (now - begin > 1000) {
            probe.dragging = false;
            return done([probe.frames.size, offered]);
        }
        offered += 1;
        slider.value = String(100 - Math.round(Math.abs(now - begin - 500) / 5));
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        requestAnimationFrame(drag);
    };
    requestAnimationFrame(drag);
})"""


def main() -> None:
    """Draw the films, then measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uploads", type=int, default=9, help="films uploaded one by one")
    parser.add_argument("--changes", type=int, default=20, help="changes of the class")
    parser.add_argument("--soak", type=float, default=0, help="minutes with eight visitors")
    parser.add_argument("--pieces", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pieces:
        print(json.dumps(measure_pieces(options.pieces)))
        return
    print(f"{date.today()}, {os.cpu_count()} cores, films of {HEIGHT} x {WIDTH} pixels\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        films = draw_films(max(options.uploads + 2, VISITORS), folder)
        asyncio.run(measure(folder, films, options.uploads, options.changes, options.soak))


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


# --- what the server does, by itself


def measure_pieces(film: Path) -> dict[str, float]:
    """Return median milliseconds of the server's steps for one film, in a process of their own."""
    import torch

    from cxr_gradcam.checkpoint import load_checkpoint
    from cxr_gradcam.classifier import Classifier
    from cxr_gradcam.explainer import Explainer
    from cxr_gradcam.radiograph import load_radiograph
    from cxr_gradcam.ui.components.film import pack

    checkpoint = load_checkpoint()
    module, explainer = checkpoint.build_module(), Explainer(Classifier(checkpoint))
    data = film.read_bytes()
    radiograph = load_radiograph(data, name=film.name)
    model_input = explainer.model_input(radiograph)

    def forward() -> object:
        with torch.inference_mode():
            return module(model_input)

    return {
        "one bare forward pass": median_of(forward, 31),
        "decode": median_of(lambda: load_radiograph(data, name=film.name), 7),
        "explain every class": median_of(lambda: explainer.explain(radiograph), 15),
        "pack for the browser": median_of(lambda: pack(radiograph), 7),
    }


def median_of(run: Callable[[], object], rounds: int) -> float:
    """Return the median milliseconds of a step, after three rounds to warm up."""
    taken = []
    for turn in range(rounds + 3):
        start = time.perf_counter()
        run()
        if turn >= 3:
            taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken)


def pieces_alone(film: Path) -> dict[str, float]:
    """Run `measure_pieces` in a process of its own, while nothing else runs."""
    command = [sys.executable, __file__, "--pieces", str(film)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    pieces: dict[str, float] = json.loads(done.stdout)
    return pieces


# --- one visitor


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
        row = self.page.get_by_test_id("stFileUploaderFile").filter(has_text=film.name)
        await row.get_by_role("button").click()
        await row.wait_for(state="detached")
        await self.rest()


async def measure(
    folder: Path, films: Sequence[Path], uploads: int, changes: int, soak_minutes: float
) -> None:
    """Measure everything with one server and one browser."""
    before = pieces_alone(films[0])
    with serve(folder) as address:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            visitor = await Visitor.come(browser, address)
            for film in films[:2]:
                await visitor.upload(film)
            uploaded = [await visitor.upload(film) for film in films[2 : uploads + 2]]
            film = films[uploads + 1]
            await visitor.choose(CLASS_NAMES[-1], film)
            changed = [await visitor.choose(name, film) for name in turns(changes)]
            dragged = [
                await visitor.page.get_by_role("slider", name="Opacity").first.evaluate(DRAG)
                for _ in range(3)
            ]
            problems = visitor.problems
            await visitor.leave()
            first = [await first_upload(browser, address, film, problems) for film in films[:5]]
            if soak_minutes:
                await soak(browser, address, films[:VISITORS], soak_minutes)
            await browser.close()
    after = pieces_alone(films[0])
    print_pieces(before, after)
    size = films[0].stat().st_size / 1e6
    forward = (before["one bare forward pass"] + after["one bare forward pass"]) / 2
    print_uploads(f"a film more, {size:.1f} MB", uploaded, forward)
    print_uploads("the first film of a new visitor", first, forward)
    print_changes(changed)
    for frames, offered in dragged:
        print(f"frames painted in a second of dragging: {frames} of {offered}")
    print(f"problems on the pages: {problems or 'none'}")


def turns(count: int) -> list[str]:
    """Return the classes in turn."""
    return [CLASS_NAMES[number % len(CLASS_NAMES)] for number in range(count)]


async def first_upload(
    browser: Browser, address: str, film: Path, problems: list[str]
) -> dict[str, float]:
    """Upload as somebody new, whose browser has not seen the viewer yet."""
    visitor = await Visitor.come(browser, address)
    moments = await visitor.upload(film)
    await visitor.leave()
    problems += visitor.problems
    return moments


# --- eight visitors


@dataclass
class Soak:
    """What eight visitors at once saw.

    Attributes:
        expected: (film's name, class) -> the sum of the pixels that a lone visitor got.
        uploads, changes: ms until painted.
        wrong: heatmaps that are not those of the lone visitor.
        memory: MB of the server, every `SAMPLE_SECONDS`.
    """

    expected: dict[tuple[str, str], int]
    uploads: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


async def soak(browser: Browser, address: str, films: Sequence[Path], minutes: float) -> None:
    """Let eight visitors upload and choose at once, and hold what they see to what one saw."""
    lone = await Visitor.come(browser, address)
    expected = {}
    await lone.begin(films[-1], CLASS_NAMES[-1])
    for film in films:
        await lone.upload(film)
        for name in CLASS_NAMES:
            await lone.choose(name, film)
            expected[film.name, name] = lone.shown
    await lone.leave()
    seen = Soak(expected)
    visitors = [await Visitor.come(browser, address) for _ in range(VISITORS)]
    deadline = time.monotonic() + 60 * minutes
    watching = asyncio.create_task(watch_memory(server_process(), seen.memory))
    ways = [go_round(visitor, k, films, seen, deadline) for k, visitor in enumerate(visitors)]
    await asyncio.gather(*ways)
    watching.cancel()
    for visitor in visitors:
        await visitor.leave()
    print_soak(seen, [problem for visitor in visitors for problem in visitor.problems])


async def go_round(
    visitor: Visitor, number: int, films: Sequence[Path], seen: Soak, deadline: float
) -> None:
    """Upload film after film and look at classes of each, until the time is up."""
    turn = number
    last = films[turn - 1]
    await visitor.begin(last, CLASS_NAMES[turn % len(CLASS_NAMES) - 1])
    while time.monotonic() < deadline:
        film = films[turn % len(films)]
        moments = await visitor.upload(film)
        seen.uploads.append(moments["painted"] - moments["begun"])
        await visitor.forget(last)
        last = film
        for step in range(CHANGES_PER_FILM):
            name = CLASS_NAMES[(turn + step) % len(CLASS_NAMES)]
            moments = await visitor.choose(name, film)
            seen.changes.append(moments["painted"] - moments["clicked"])
            if visitor.shown != seen.expected[film.name, name]:
                seen.wrong.append(f"{film.name}, {name}, visitor {number}")
        turn += 1


async def watch_memory(process: int, memory: list[float]) -> None:
    """Note the server's resident memory again and again."""
    while True:
        memory.append(resident_mb(process))
        await asyncio.sleep(SAMPLE_SECONDS)


def server_process() -> int:
    """Return the process of the server that this one started."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            is_child = f"PPid:\t{os.getpid()}\n" in status.read_text()
            if is_child and b"streamlit" in (status.parent / "cmdline").read_bytes():
                return int(status.parent.name)
        except OSError:  # it has ended meanwhile
            continue
    raise RuntimeError("There is no server process to watch.")


def resident_mb(process: int) -> float:
    """Return the resident memory of a process in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS"))


# --- printing


def print_pieces(before: dict[str, float], after: dict[str, float]) -> None:
    """Print the server's steps, as they took before and after all the rest."""
    print("| by itself, one film | ms before | ms after |\n| --- | ---: | ---: |")
    for name, value in before.items():
        print(f"| {name} | {value:.0f} | {after[name]:.0f} |")
    print()


STAGES = (
    ("the file to the server", "begun", "stored"),
    ("the browser asks for the page", "stored", "asked"),
    ("the server, until the film arrives", "asked", "film"),
    ("the browser, until it unpacks the film", "film", "unpacked"),
    ("unpacking and painting", "unpacked", "painted"),
)


def print_uploads(title: str, uploads: Sequence[dict[str, Any]], forward: float) -> None:
    """Print the stages of uploads and the whole."""
    whole = [one["painted"] - one["begun"] for one in uploads]
    print(f"| upload: {title} | median ms of {len(uploads)} |\n| --- | ---: |")
    for name, start, end in STAGES:
        taken = statistics.median(one[end] - one[start] for one in uploads)
        print(f"| {name} | {taken:.0f} |")
    print(f"| **all of it** | {statistics.median(whole):.0f} |")
    print(f"| worst | {max(whole):.0f} |")
    print(f"| allowed: a forward pass + {ALLOWED_UPLOAD} | {forward + ALLOWED_UPLOAD:.0f} |")
    print(f"\nPacked film: {statistics.median(one['size'] for one in uploads) / 1e6:.1f} MB\n")


def print_changes(changes: Sequence[dict[str, Any]]) -> None:
    """Print how long a new class takes."""
    whole = [one["painted"] - one["clicked"] for one in changes]
    answered = statistics.median(one["answered"] - one["clicked"] for one in changes)
    kilobytes = statistics.median(one["bytes"] for one in changes) / 1e3
    print(f"| another class | ms of {len(changes)} |\n| --- | ---: |")
    print(f"| first word of the server, median | {answered:.0f} |")
    print(f"| painted, median | {statistics.median(whole):.0f} |")
    print(f"| painted, worst | {max(whole):.0f} |")
    print(f"| allowed | {ALLOWED_CHANGE} |\n\n{kilobytes:.0f} kB from the server each time\n")


def print_soak(seen: Soak, problems: Sequence[str]) -> None:
    """Print what eight visitors saw."""
    third = max(1, len(seen.memory) // 3)
    first, last = statistics.mean(seen.memory[:third]), statistics.mean(seen.memory[-third:])
    print(f"| {VISITORS} visitors at once | |\n| --- | ---: |")
    for name, taken in (("uploads", seen.uploads), ("changes of class", seen.changes)):
        print(f"| {name} | {len(taken)} |")
        print(f"| median ms | {statistics.median(taken):.0f} |")
        print(f"| worst ms | {max(taken):.0f} |")
    print(f"| heatmaps unlike those of a lone visitor | {len(seen.wrong)} |")
    print(f"| problems on the pages | {len(problems)} |")
    print(f"| server's memory, first third, MB | {first:.0f} |")
    print(f"| server's memory, last third, MB | {last:.0f} |\n")
    print("MB:", " ".join(f"{value:.0f}" for value in seen.memory))
    for problem in [*seen.wrong, *problems]:
        print(problem)


if __name__ == "__main__":
    main()
