"""Everything in one ZIP: a folder for each radiograph, the report and the summary."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from io import StringIO
from pathlib import PurePath
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from cxr_gradcam.export import RECORD, Export, record, safe_part, to_json, write_maps
from cxr_gradcam.reading import printable
from cxr_gradcam.report import Case, Section, Unreadable, assemble, film_section
from cxr_gradcam.tables import summary_cells, summary_header

REPORT = "report.html"
SUMMARY = "summary.csv"
MAX_BYTES = 2**30  # it is built in memory: uploads never touch the disk


class ArchiveTooLargeError(ValueError):
    """A ZIP would be larger than the limit; one sentence says what to do."""


def write_archive(
    target: IO[bytes],
    cases: Iterable[Case | Unreadable],
    export: Export,
    when: datetime,
    limit: int = MAX_BYTES,
) -> None:
    """Write overlays, heatmaps and records as the command line does, a report and a summary.

    Args:
        target: where to, opened for writing bytes, seekable.
        cases: what to write, in order; taken one at a time, so that only one picture at its full
            size is in memory.
        export: how it was made.
        when: the time to write into the report and the files, with its zone.
        limit: how many bytes the ZIP may have.

    Raises:
        ArchiveTooLargeError: when it would be larger.
    """
    sections: list[Section] = []
    unreadable: list[Unreadable] = []
    names = export.classifier.class_names
    rows = [("folder", *summary_header(names))]
    with ZipFile(target, "w") as archive:
        writer = _Writer(archive, when)
        for case in cases:
            if isinstance(case, Unreadable):
                unreadable.append(case)
                rows.append(_error_row(case, len(names)))
            else:
                position = len(sections) + 1
                folder = folder_name(position, printable(case.name))
                _write_case(writer, folder, case, export)
                sections.append(film_section(position, case, export))
                rows.append(_row(case, folder))
            if target.tell() > limit:
                raise ArchiveTooLargeError(
                    f"The ZIP would be larger than {limit // 2**20:,} MB: take out some "
                    "radiographs, or use the command line, which writes to a folder."
                )
        with writer.open(REPORT) as file:
            file.write(assemble(sections, unreadable, export, when).encode())
        with writer.open(SUMMARY) as file:
            file.write(_csv(rows))


def folder_name(position: int, name: str) -> str:
    """Return a folder for a radiograph: its place and its name, safe on any disk.

    The place keeps radiographs of one name apart, and names like `nul` or `report.html` harmless.
    """
    part = safe_part(PurePath(name).stem).strip("._-")
    return f"{position}-{part}" if part else str(position)


class _Writer:
    """Opens files inside a ZIP."""

    def __init__(self, archive: ZipFile, when: datetime) -> None:
        self._archive = archive
        self._when = when.timetuple()[:6]

    def open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        info = ZipInfo(name, self._when)
        # A PNG is deflated already.
        info.compress_type = ZIP_STORED if name.endswith(".png") else ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        return self._archive.open(info, "w", force_zip64=True)


def _write_case(writer: _Writer, folder: str, case: Case, export: Export) -> None:
    maps = write_maps(
        lambda name: writer.open(f"{folder}/{name}"), export, case.radiograph, case.explanation
    )
    made = record(export, printable(case.name), case.radiograph, case.explanation, maps)
    with writer.open(f"{folder}/{RECORD}") as file:
        file.write(to_json(made))


def _row(case: Case, folder: str) -> tuple[str, ...]:
    said = case.explanation
    numbers = tuple(said.probabilities.values())
    name = printable(case.name)
    return (folder, *summary_cells(name, said.predicted, numbers, "", len(numbers)))


def _error_row(case: Unreadable, class_count: int) -> tuple[str, ...]:
    name, reason = printable(case.name), printable(case.reason)
    return ("", *summary_cells(name, "", (), reason, class_count))


def _csv(rows: Iterable[tuple[str, ...]]) -> bytes:
    table = StringIO(newline="")
    csv.writer(table).writerows(rows)
    return table.getvalue().encode(errors="backslashreplace")
