"""The command line: `python -m cxr_gradcam explain | evaluate | phantom`.

Exit codes: 0 all went well; 1 some file could not be read, the others are done; 2 wrong usage, or
results that cannot be made (memory, a lost process) or written; 128 + the signal's number when
stopped. What needs PyTorch is
imported inside the commands, so that help comes at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cxr_gradcam.files import composed, expanded

if TYPE_CHECKING:
    from types import FrameType

    from cxr_gradcam.batch.run import Run
    from cxr_gradcam.batch.summary import Row, Tally

SOME_UNREADABLE = 1
CANNOT = 2

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="See why a chest X-ray classifier says what it says. Research use only, not for clinical "
    "use.",
)


class Scale(StrEnum):
    """How heatmaps of one radiograph are scaled."""

    EACH = "each"
    SHARED = "shared"


class Split(StrEnum):
    """A part of a dataset."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Stopped(BaseException):
    """A signal asked the program to stop. No `Exception`, so nothing on the way swallows it."""

    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number


def results_folder(text: str) -> Path:
    """Return the folder that --out names, `~` opened up; "" is that of a variable not set."""
    if not text:
        raise typer.BadParameter("it is empty: name a folder.")
    return expanded(text)


def out_option(words: str) -> Any:
    """Return the option --out, with these words of help."""
    return typer.Option(metavar="DIR", parser=results_folder, help=words)


@app.command()
def explain(
    paths: Annotated[
        list[Path],
        # A file that may not be read is one that could not be read; the others go on.
        typer.Argument(
            metavar="PATH", help="Radiographs, and folders to search for them.", readable=False
        ),
    ],
    out: Annotated[Path, out_option("Folder for the results of these paths; made if missing.")],
    shown: Annotated[
        str, typer.Option("--class", metavar="NAME", help="A class, 'predicted' or 'all'.")
    ] = "predicted",
    layer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Such as features.denseblock3.", show_default="the last"),
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="Such as gradcam, layercam or scorecam.")
    ] = "gradcam",
    scale: Annotated[
        Scale | None,
        typer.Option(
            help="Divide heatmaps by their own maximum, or by the largest of all classes.",
            show_default="shared with --class all, else each",
        ),
    ] = None,
    colormap: Annotated[
        str, typer.Option(metavar="NAME", help="turbo, jet, viridis, inferno or gray.")
    ] = "turbo",
    opacity: Annotated[float, typer.Option(help="Of the paint, from 0 to 1.")] = 0.45,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Made by train.py.", show_default="the bundled one"),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    batch_size: Annotated[
        int, typer.Option(min=1, help="Radiographs at once; smaller takes less memory.")
    ] = 8,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Redo files that are finished already.")
    ] = False,
) -> None:
    """Explain radiographs: overlays and heatmaps for each, and one table of all.

    Writes OUT/<name>/overlay-<class>.png, heatmap-<class>.npy and explanation.json for every
    radiograph, and OUT/summary.csv. What is finished already is kept, so a run that was stopped
    goes on when started again; with other options it is replaced. torchrun --nproc-per-node N -m
    cxr_gradcam explain ... shares the files among N processes.
    """
    with _stoppable():
        from cxr_gradcam.batch.run import prepare
        from cxr_gradcam.densenet import LAST_LAYER
        from cxr_gradcam.export import Settings

        scale = scale or (Scale.SHARED if shown == "all" else Scale.EACH)
        with _usage_errors_told(out):
            run = prepare(
                paths,
                out,
                Settings(
                    composed(shown),
                    layer or LAST_LAYER,
                    method,
                    scale.value,
                    colormap,
                    opacity,
                ),
                checkpoint=checkpoint,
                device=device,
                batch_size=batch_size,
                overwrite=overwrite,
            )
        tally = _explain_with_progress(run)
    if tally:
        _tell(tally, out)


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Dataset folder, classes as folders.")],
    out: Annotated[Path, out_option("Folder for the report; made if missing.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Made by train.py.", show_default="the bundled one"),
    ] = None,
    split: Annotated[
        Split | None,
        typer.Option(
            help="Only this part: as train.py split the data, or the data's own folder.",
            show_default="every image",
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Measure a checkpoint on labelled radiographs, with intervals and calibration.

    Writes metrics.json, predictions.csv, confusion_matrix.png, reliability.png and
    worst_errors.png to OUT. Images that the checkpoint was trained on flatter it: leave them out.
    """
    with _stoppable("Stopped before the report was written."):
        from cxr_gradcam.checkpoint import BUNDLED_CHECKPOINT
        from cxr_gradcam.classifier import is_out_of_memory, load_classifier
        from cxr_gradcam.dataset import check_apart
        from cxr_gradcam.training.evaluation import (
            NothingReadError,
            evaluate_samples,
            find_samples,
        )
        from cxr_gradcam.training.report import PREDICTIONS

        path = checkpoint or BUNDLED_CHECKPOINT
        with _usage_errors_told(out), _bar("Evaluating") as bar:
            check_apart(out, data)
            samples = find_samples(data, split and split.value, path.parent)
            task = bar.add_task("", total=len(samples))
            try:
                metrics = evaluate_samples(
                    load_classifier(path, device=device),
                    samples,
                    out,
                    progress=lambda share: bar.update(task, completed=round(share * len(samples))),
                )
            except NothingReadError as error:
                typer.echo(str(error), err=True)
                raise typer.Exit(SOME_UNREADABLE) from None
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                _fail("There is not enough memory: free some and run the same command again.")
    _say(_in_words(metrics, out), out)
    if metrics["unreadable"]:
        count = metrics["unreadable"]
        told = f"{count} file{'' if count == 1 else 's'} could not be read"
        typer.echo(f"{told}: see the column error of {out / PREDICTIONS}.", err=True)
        raise typer.Exit(SOME_UNREADABLE)


def _in_words(metrics: Mapping[str, Any], out: Path) -> str:
    accuracy, balanced = (
        f"{score['value']:.1%} ({score['low']:.1%} to {score['high']:.1%})"
        for score in (metrics["accuracy"], metrics["balanced_accuracy"])
    )
    error = metrics["calibration"]["after"]["ece"]
    return (
        f"On {metrics['n']} radiographs: accuracy {accuracy}, balanced accuracy {balanced}, "
        f"expected calibration error {error:.3f}; the report is in {out}."
    )


@app.command()
def phantom(
    out: Annotated[Path, out_option("Folder for images, lung masks and lesions; made if missing.")],
    count: Annotated[int, typer.Option(min=1, help="How many; the classes take turns.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of the first; same seed, same pictures.")] = 0,
    size: Annotated[int, typer.Option(help="Side in pixels, 64 to 4096.")] = 256,
) -> None:
    """Draw synthetic radiographs with known lesions, in the layout of a dataset folder."""
    with _stoppable(f"Stopped: what was drawn so far is in {out}."):
        from cxr_gradcam.phantom import write_phantoms

        with _usage_errors_told(out):
            written = write_phantoms(out, count, seed, size)
    _say(f"{len(written)} phantoms are in {out}.", out)


def _explain_with_progress(run: Run) -> Tally | None:
    """Carry a run out behind a progress bar; where it cannot end, say why in one sentence."""
    from cxr_gradcam.batch.processes import ProcessLostError
    from cxr_gradcam.batch.run import carry_out
    from cxr_gradcam.batch.summary import Tally

    processes, total, own = run.processes, len(run.share), Tally()
    bar = _bar("Explaining", hidden=processes.local_rank > 0)
    shown = bar.add_task("", total=total)

    def report(row: Row) -> None:
        own.add(row.outcome, row.file, row.error)
        bar.advance(shown)

    go_on = "run the same command again to go on"
    try:
        with bar:
            return carry_out(run, report)
    except OSError as error:
        _fail(f"{_unwritable(error, run.task.out)}, then {go_on}.")
    except MemoryError:
        _fail(f"There is not enough memory: {go_on}, with a smaller --batch-size.")
    except ProcessLostError:
        _fail(f"Another process of this run has ended early: {go_on}.")
    except Stopped as stop:
        if processes.local_rank == 0:
            share = " of this process" if processes.count > 1 else ""
            typer.echo(f"Stopped with {own.total} of {total} files{share} done: {go_on}.", err=True)
        raise typer.Exit(128 + stop.signal_number) from None


def _bar(action: str, *, hidden: bool = False) -> Progress:
    """Return a progress bar for a terminal; it shows nothing elsewhere."""
    console = Console(stderr=True)
    return Progress(
        TextColumn(action),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=hidden or not console.is_terminal,
    )


def _tell(tally: Tally, out: Path) -> None:
    """Say what became of the files; leave with the exit code that says it too."""
    from cxr_gradcam.batch.summary import SUMMARY

    count = tally.outcomes
    for error in tally.errors:
        typer.echo(error, err=True)
    if count["unreadable"] > len(tally.errors):
        typer.echo(f"... and more: see the column error of {out / SUMMARY}.", err=True)
    _say(
        f"Explained {count['explained']}, kept {count['kept']} from before, could not read "
        f"{count['unreadable']} of {tally.total} files; the table is {out / SUMMARY}.",
        out,
    )
    if count["unreadable"]:
        raise typer.Exit(SOME_UNREADABLE)


@contextmanager
def _usage_errors_told(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _fail(f"{_unwritable(error, out)}, or choose another folder for --out.")
    except ValueError as error:  # the package's own: each is a sentence
        _fail(str(error))


def _unwritable(error: OSError, out: Path) -> str:
    where, why = error.filename or out, error.strerror or "input error"
    in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
    remedy = "move the file that is in the way" if in_the_way else "free space or permit it"
    return f"Nothing can be written to {where} ({why}): {remedy}"


def _say(last_line: str, out: Path) -> None:
    try:
        typer.echo(last_line)
    except BrokenPipeError:
        raise  # Typer ends in silence when nobody reads any more
    except OSError as error:
        # What is still in the buffer would fail once more when Python ends, with a code of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(f"The results are in {out}, but this cannot be printed ({error.strerror}).")


def _fail(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(CANNOT)


@contextmanager
def _stoppable(farewell: str = "Stopped before the first file.") -> Iterator[None]:
    """Raise `Stopped` on Ctrl-C or SIGTERM; once, so that tidying up is not cut short."""
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        for one in signals:
            signal.signal(one, signal.SIG_IGN)
        raise Stopped(number)

    before = {one: signal.signal(one, stop) for one in signals}
    try:
        yield
    except Stopped as stopped:
        typer.echo(farewell, err=True)
        raise typer.Exit(128 + stopped.signal_number) from None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
