"""Many files through one classifier: threads that read, explain and write, a batch at a time.

Each thread takes a batch from file to finished results. While one waits for the disk another
computes, and no results pile up between them, so memory depends on the number of threads and the
batch size, never on the number of files. PyTorch's own threads within one operation are off: on
small batches that keeps cores busier than sharing every small operation out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cxr_gradcam.batch.jobs import Job
from cxr_gradcam.batch.results import ResultWriter, Stamp
from cxr_gradcam.batch.summary import Row
from cxr_gradcam.classifier import is_out_of_memory
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.export import Settings
from cxr_gradcam.radiograph import Radiograph, RadiographError, load_radiograph
from cxr_gradcam.render import colormap_table
from cxr_gradcam.threads import in_order

Numbered = tuple[int, Job]


class _StoppedError(Exception):
    """A thread found that the run was stopped."""


@dataclass(frozen=True)
class Task:
    """What to do with every file.

    Attributes:
        explainer: Explains.
        writer: Writes the results, with the same settings.
        settings: The settings.
        out: The output folder.
        overwrite: Whether finished results are made anew.
    """

    explainer: Explainer
    writer: ResultWriter
    settings: Settings
    out: Path
    overwrite: bool

    def check(self) -> None:
        """Find wrong settings before the first file is read.

        Raises:
            ValueError: For an unknown class, layer, method or colour map, or a wrong opacity.
        """
        settings = self.settings
        self.explainer.explain_batch([], [settings.layer], self.classes, settings.method)
        colormap_table(settings.colormap)
        if not 0 <= settings.opacity <= 1:
            raise ValueError(f"The opacity must be from 0 to 1, not {settings.opacity}.")

    @property
    def classes(self) -> list[str] | None:
        """The classes to explain; None for all, as for the predicted one, not known before."""
        settings = self.settings
        # A shared scale is that of all classes, whichever are shown.
        one = settings.shown not in ("all", "predicted") and settings.scale == "each"
        return [settings.shown] if one else None


def explain_files(
    task: Task,
    jobs: Sequence[Numbered],
    *,
    threads: int,
    batch_size: int,
    report: Callable[[Row], None],
) -> Generator[Row, None, None]:
    """Explain files and write their results.

    Args:
        task: What to do.
        jobs: The files, with their numbers.
        threads: How many batches may be on their way at once.
        batch_size: Files in a batch, fewer where there are too few to keep all threads busy.
        report: Called from any thread as soon as a file is done.

    Yields:
        A row per file, in the order of `jobs`. Close the generator to stop early: results that are
        being written are completed first.

    Raises:
        OSError: If results cannot be written.
        MemoryError: If a batch does not fit, on the GPU either.
    """
    size = max(1, min(batch_size, -(-len(jobs) // threads)))
    batches = (jobs[start : start + size] for start in range(0, len(jobs), size))
    stop = threading.Event()
    with _one_thread_per_operation(), ThreadPoolExecutor(threads, "explain") as pool:
        try:
            rows = in_order(
                pool, lambda batch: _explain(task, batch, stop, report), batches, threads
            )
            for of_batch in rows:
                yield from of_batch
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryError from None
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_per_operation() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _explain(
    task: Task, batch: Sequence[Numbered], stop: threading.Event, report: Callable[[Row], None]
) -> list[Row]:
    """Take one batch from its files to its results."""

    def check(_: float = 0) -> None:
        if stop.is_set():
            raise _StoppedError

    rows: dict[int, Row] = {}
    read: list[tuple[Numbered, Stamp | None, Radiograph]] = []
    for number, job in batch:
        check()
        stamp = Stamp.of(job.path)
        looked = _look(task, number, job, stamp)
        if isinstance(looked, Row):
            rows[number] = looked
            report(looked)
        else:
            read.append(((number, job), stamp, looked))
    settings = task.settings
    explanations = task.explainer.explain_batch(
        [radiograph for _, _, radiograph in read],
        [settings.layer],
        task.classes,
        settings.method,
        progress=check,
    )
    for ((number, job), stamp, radiograph), explanation in zip(read, explanations, strict=True):
        check()
        task.writer.write(task.out / job.place, job.path, stamp, radiograph, explanation)
        probabilities = tuple(explanation.probabilities.values())
        rows[number] = Row(number, "explained", job.path, explanation.predicted, probabilities)
        report(rows[number])
    return [rows[number] for number, _ in batch]


def _look(task: Task, number: int, job: Job, stamp: Stamp | None) -> Row | Radiograph:
    """Read a file, unless its results are finished; a row where there is nothing left to do."""
    record = None if task.overwrite else task.writer.finished(task.out / job.place)
    # Another file of the same name may have the same size and time, too.
    if record and stamp and (record["file"], record.get("stamp")) == (job.path, vars(stamp)):
        return _kept(number, job, record)
    try:
        radiograph = load_radiograph(job.path)
    except RadiographError as error:
        return Row(number, "unreadable", job.path, error=str(error))
    # Copied or touched, but the same to the last byte.
    if record and record["radiograph"]["digest"] == radiograph.digest:
        return _kept(number, job, record)
    return radiograph


def _kept(number: int, job: Job, record: dict[str, Any]) -> Row:
    probabilities = tuple(record["probabilities"].values())
    return Row(number, "kept", job.path, record["predicted"], probabilities)
