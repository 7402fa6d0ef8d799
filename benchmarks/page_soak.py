"""Eight visitors at once for some minutes: does each see what a lone visitor sees?

The real server, real Chromium, films of 2,500 x 2,000 pixels. Every heatmap is held to the pixels
that a lone visitor got for the same film and class, and the server's memory is watched.

    pip install -r requirements-dev.txt
    python benchmarks/page_soak.py --minutes 5
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from page_visitor import HEIGHT, WIDTH, Visitor, draw_films
from playwright.async_api import Browser, async_playwright

from cxr_gradcam.phantom import CLASS_NAMES
from tests.e2e.browsing import ARGUMENTS, CHROMIUM, serve

VISITORS = 8
CHANGES_PER_FILM = 3
SAMPLE_SECONDS = 10


def main() -> None:
    """Draw the films, let the visitors come, and print what they saw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    minutes = parser.parse_args().minutes
    print(f"{date.today()}, {os.cpu_count()} cores, films of {HEIGHT} x {WIDTH} pixels\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        asyncio.run(open_doors(folder, draw_films(VISITORS, folder), minutes))


async def open_doors(folder: Path, films: Sequence[Path], minutes: float) -> None:
    """Start one server and one browser for everybody."""
    with serve(folder) as address:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            await soak(browser, address, films, minutes)
            await browser.close()


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
