"""The summary of a run: one row per file, written as they come and merged at the end.

Every process writes the rows of its own files, in their order, to a part of its own. So no process
holds the rows of all files, and one of them can merge the sorted parts line by line.
"""

from __future__ import annotations

import csv
import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from cxr_gradcam.files import whole_file
from cxr_gradcam.tables import summary_cells, summary_header

SUMMARY = "summary.csv"
ERRORS_TOLD = 3
_TEXT = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}

Outcome = Literal["explained", "kept", "unreadable"]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one file.

    Attributes:
        number: Its place in the order of the input, from 0.
        outcome: "explained" now, "kept" from an earlier run, or "unreadable".
        file: Its path, as reached from the path that was given.
        predicted: The predicted class; "" if unreadable.
        probabilities: One per class, in the checkpoint's order; empty if unreadable.
        error: Why it could not be read, one sentence; else "".
    """

    number: int
    outcome: Outcome
    file: str
    predicted: str = ""
    probabilities: tuple[float, ...] = ()
    error: str = ""


@dataclass
class Tally:
    """How many files came to which end, and the first few errors."""

    outcomes: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many files have been counted."""
        return self.outcomes.total()

    def add(self, outcome: str, file: str, error: str) -> None:
        """Count one file. Its error is kept with the whole path, as each class may have a 1.png."""
        self.outcomes[outcome] += 1
        if error and len(self.errors) < ERRORS_TOLD:
            self.errors.append(error.replace(Path(file).name, file, 1))


class PartWriter:
    """Writes the rows of one process."""

    def __init__(self, file: IO[str], class_count: int) -> None:
        self._writer = csv.writer(file)
        self._class_count = class_count

    def write(self, row: Row) -> None:
        """Add a row; rows must come in the order of their numbers."""
        cells = summary_cells(
            row.file, row.predicted, row.probabilities, row.error, self._class_count
        )
        self._writer.writerow((row.number, row.outcome, *cells))


def part_path(out: Path, rank: int) -> Path:
    """Return where a process keeps its part while the run lasts."""
    return out / f".summary-{rank}.part"


@contextmanager
def open_part(out: Path, rank: int, class_count: int) -> Iterator[PartWriter]:
    """Open the part of a process; it is deleted again if the run does not come to its end."""
    path = part_path(out, rank)
    try:
        with path.open("w", **_TEXT) as file:  # type: ignore[call-overload]
            yield PartWriter(file, class_count)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def remove_parts(out: Path) -> None:
    """Delete the parts of runs that were killed."""
    for path in out.glob(".summary*.part"):
        path.unlink(missing_ok=True)


def merge_parts(out: Path, parts: int, class_names: Sequence[str]) -> Tally:
    """Merge all parts into the summary, in the order of the input, and delete them.

    Returns:
        The counts over all processes.

    Raises:
        FileNotFoundError: If a process wrote its part elsewhere.
    """
    tally = Tally()
    paths = [part_path(out, rank) for rank in range(parts)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open(**_TEXT)) for path in paths]  # type: ignore[call-overload]
        target = stack.enter_context(whole_file(out / SUMMARY, "w", **_TEXT))
        writer = csv.writer(target)
        writer.writerow(summary_header(class_names))
        for row in heapq.merge(*map(csv.reader, files), key=lambda row: int(row[0])):
            tally.add(row[1], row[2], row[-1])
            writer.writerow(row[2:])
    remove_parts(out)
    return tally
