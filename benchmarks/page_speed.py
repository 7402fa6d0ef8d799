"""What a visitor waits for: the real server, real Chromium, films of 2,500 x 2,000 pixels.

Measured in the browser, from the moment a file is handed over or a class is clicked to the moment
the heatmap in its final state is put on its canvas. Everything is printed in milliseconds.

    pip install -r requirements-dev.txt
    python benchmarks/page_speed.py
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
from datetime import date
from pathlib import Path
from typing import Any

from page_visitor import HEIGHT, WIDTH, Visitor, draw_films
from playwright.async_api import Browser, async_playwright

from cxr_gradcam.phantom import CLASS_NAMES
from tests.e2e.browsing import ARGUMENTS, CHROMIUM, serve

ALLOWED_UPLOAD = 700  # ms on top of a bare forward pass
ALLOWED_CHANGE = 250  # ms

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
    parser.add_argument("--pieces", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pieces:
        print(json.dumps(measure_pieces(options.pieces)))
        return
    print(f"{date.today()}, {os.cpu_count()} cores, films of {HEIGHT} x {WIDTH} pixels\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        films = draw_films(options.uploads + 2, folder)
        asyncio.run(measure(folder, films, options.uploads, options.changes))


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


async def measure(folder: Path, films: Sequence[Path], uploads: int, changes: int) -> None:
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


if __name__ == "__main__":
    main()
