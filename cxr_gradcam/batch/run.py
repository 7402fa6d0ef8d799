"""One run of `explain`: checked before the first file, shared among processes, one summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cxr_gradcam import __version__
from cxr_gradcam.batch.jobs import Job, find_jobs
from cxr_gradcam.batch.pipeline import Task, explain_files
from cxr_gradcam.batch.processes import Processes
from cxr_gradcam.batch.results import ResultWriter
from cxr_gradcam.batch.summary import Row, Tally, merge_parts, open_part, remove_parts
from cxr_gradcam.checkpoint import BUNDLED_CHECKPOINT
from cxr_gradcam.classifier import load_classifier
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.export import Export, Settings


@dataclass(frozen=True)
class Run:
    """A run that is ready to start.

    Attributes:
        processes: This process among those that share the run.
        task: What to do with every file.
        jobs: The files of all processes, in the order of the summary.
        batch_size: Files per batch.
    """

    processes: Processes
    task: Task
    jobs: Sequence[Job]
    batch_size: int

    @property
    def share(self) -> Sequence[tuple[int, Job]]:
        """The files of this process, with their numbers."""
        return self.processes.share(self.jobs)


def prepare(
    paths: Sequence[Path],
    out: Path,
    settings: Settings,
    *,
    checkpoint: Path | None,
    device: str,
    batch_size: int,
    overwrite: bool,
) -> Run:
    """Check everything that can be wrong before the first file is read.

    Raises:
        ValueError: For a wrong path, checkpoint, device or setting. One sentence.
        OSError: If the output folder cannot be made.
    """
    processes = Processes.from_environment()
    jobs = find_jobs(paths, out)
    device = processes.device(device)
    classifier = load_classifier(checkpoint or BUNDLED_CHECKPOINT, device=device)
    writer = ResultWriter(Export(classifier, settings, f"cxr_gradcam {__version__}"))
    task = Task(Explainer(classifier), writer, settings, out, overwrite)
    task.check()
    out.mkdir(parents=True, exist_ok=True)
    return Run(processes, task, jobs, batch_size)


def carry_out(run: Run, report: Callable[[Row], None]) -> Tally | None:
    """Explain this process's share of the files.

    Args:
        run: What to do.
        report: Called from any thread as soon as a file of this process is done.

    Returns:
        The counts of all processes, from the one that merged the summary; None from the others.

    Raises:
        OSError: If results cannot be written.
        ProcessLostError: If another process of this run has ended early.
    """
    processes, out = run.processes, run.task.out
    names = run.task.explainer.classifier.class_names
    processes.join()
    if processes.first:
        remove_parts(out)
    # Nothing is written before every process has found its jobs and no old part is left.
    processes.wait_for_all()
    with open_part(out, processes.rank, len(names)) as part:
        rows = explain_files(
            run.task,
            run.share,
            threads=processes.threads(),
            batch_size=run.batch_size,
            report=report,
        )
        with closing(rows):
            for row in rows:
                part.write(row)
    processes.wait_for_all()
    return merge_parts(out, processes.count, names) if processes.first else None
