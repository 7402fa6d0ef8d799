"""The command line of training: `python train.py --data DIR --out runs/NAME`.

Exit codes: 0 the run ended, or was stopped by SIGTERM or its time limit with all saved; 1 it could
not go on; 2 wrong usage; 130 stopped by Ctrl-C with all saved. What needs PyTorch is imported
inside, so that help comes at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cxr_gradcam.cli import out_option
from cxr_gradcam.files import expanded, print_any_path

FAILED = 1
WRONG_USAGE = 2
KAGGLE = "kaggle"
GO_ON = "the same command with --resume goes on"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _option(text: str, default: str, metavar: str | None = None) -> Any:
    """Return an option that is None unless given: what a resumed run was not asked to change.

    The default itself stands in `Config`; a test holds it and the help together.
    """
    return typer.Option(help=text, show_default=default, metavar=metavar)


@app.command()
def train(
    out: Annotated[Path, out_option("Folder of the run; made if missing.")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help=f"Dataset folder, or '{KAGGLE}' to download the public one."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in OUT, as it began.")
    ] = False,
    weights: Annotated[
        str | None,
        _option("To start from: bundled, imagenet, scratch or a checkpoint.", "bundled", "NAME"),
    ] = None,
    input_size: Annotated[
        int | None, _option("Side of the model input in pixels, a multiple of 32.", "224")
    ] = None,
    epochs: Annotated[
        int | None, _option("At most; 0 only calibrates and evaluates the weights.", "20")
    ] = None,
    batch_size: Annotated[
        int | None, _option("Images per step, over all processes together.", "32")
    ] = None,
    learning_rate: Annotated[float | None, _option("AdamW's, at its highest.", "0.0003")] = None,
    weight_decay: Annotated[float | None, _option("AdamW's.", "0.05")] = None,
    warmup_epochs: Annotated[
        float | None, _option("The learning rate climbs for so long, then falls.", "1.0")
    ] = None,
    clip_norm: Annotated[float | None, _option("Longest gradient.", "1.0")] = None,
    ema_decay: Annotated[
        float | None, _option("Of the average of the weights, below 1.", "0.999")
    ] = None,
    label_smoothing: Annotated[float | None, _option("Share of the target.", "0.05")] = None,
    balance: Annotated[
        float | None, _option("Weigh classes by count to the power of minus this, 0 to 1.", "0.5")
    ] = None,
    augmentation: Annotated[
        float | None, _option("Strength: 0 is none, 1 usual, 2 the most.", "1.0")
    ] = None,
    mixup: Annotated[
        float | None, _option("Blend films: 0 does not, 0.2 a little, 1 in any share.", "0.0")
    ] = None,
    teacher: Annotated[
        list[str] | None,
        _option("Checkpoint to learn from too; name several, and they take turns.", "none", "NAME"),
    ] = None,
    teacher_share: Annotated[
        float | None, _option("Of the target that a teacher gives, 0 to 1.", "0.7")
    ] = None,
    freeze_until: Annotated[
        str | None, _option("Train only what follows this layer.", "train all", "LAYER")
    ] = None,
    freeze_norm: Annotated[
        bool | None, _option("Keep the statistics of the batch norms.", "no-freeze-norm")
    ] = None,
    patience: Annotated[
        int | None, _option("Epochs without a better score before stopping; 0: never stop.", "5")
    ] = None,
    val_share: Annotated[float | None, _option("Share of images for validation.", "0.15")] = None,
    test_share: Annotated[float | None, _option("Share of images for the test.", "0.15")] = None,
    phantoms: Annotated[
        int | None, _option("Synthetic films mixed into the training images.", "0")
    ] = None,
    lesion_weight: Annotated[
        float | None, _option("Weight of a phantom's heat outside its lesion.", "0.3")
    ] = None,
    precision: Annotated[
        str | None, _option("auto (bf16 where it is fast), bf16 or fp32.", "auto", "NAME")
    ] = None,
    compile: Annotated[
        bool | None, _option("A slow start, then perhaps more images/s.", "no-compile")
    ] = None,
    save_every: Annotated[int | None, _option("Steps between saved states.", "200")] = None,
    seed: Annotated[int | None, _option("Of everything random.", "0")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    max_minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Stop so long after the start, reading included, and leave the rest to --resume; "
            "the best epoch, if there is one, is evaluated.",
        ),
    ] = None,
) -> None:
    """Fine-tune DenseNet-121 on a folder of radiographs. Research use only, not for clinical use.

    Leaves OUT/best.safetensors, which opens in the page, OUT/evaluation with its figures on test
    images, the splits, the history, and events for TensorBoard. Kill it whenever you like: the
    same command with --resume goes on. torchrun --nproc-per-node N train.py ... shares the work.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    for name in ("out", "resume", "device", "max_minutes"):
        given.pop(name, None)
    _carry_out(out, given, resume=resume, device=device, max_minutes=max_minutes)


def _carry_out(
    out: Path, asked: Mapping[str, Any], *, resume: bool, device: str, max_minutes: float | None
) -> None:
    """Run, and turn what goes wrong into a sentence and an exit code."""
    from cxr_gradcam.training.fit import train
    from cxr_gradcam.training.progress import Display
    from cxr_gradcam.training.run import choose_config, prepare
    from cxr_gradcam.training.stopping import Stopped, Stopwatch

    watch = Stopwatch(max_minutes)
    is_first = os.environ.get("RANK", "0") == "0"  # of those that torchrun started
    try:
        with watch.listening():
            config = choose_config(out, _with_folder(asked), resume=resume)
            display = Display(silent=not is_first)
            run = prepare(config, out, device=device, watch=watch, display=display)
            position = train(run)
    except Stopped:
        _say(f"Stopped with all saved: {GO_ON}.", only=is_first)
        if watch.signal_number == signal.SIGINT:
            raise typer.Exit(128 + signal.SIGINT) from None
    except Exception as error:
        code, sentence = _explained(error, out)
        if not sentence:
            raise
        # What is wrong with the usage, every process finds; a failure may be that of one.
        _say(sentence, only=is_first or code == FAILED)
        raise typer.Exit(code) from None
    else:
        unfinished = f"Time is up in epoch {position.epoch + 1}: {GO_ON}."
        _say(unfinished, only=is_first and not position.is_done)


def _explained(error: Exception, out: Path) -> tuple[int, str]:
    """Return the exit code and the sentence for what ended a run; "" for what nobody foresaw."""
    from safetensors import SafetensorError
    from torch._dynamo.exc import TorchDynamoException

    from cxr_gradcam.classifier import is_out_of_memory
    from cxr_gradcam.dataset import DatasetError
    from cxr_gradcam.training.config import ConfigError, TrainingError
    from cxr_gradcam.training.device import lost_another_process

    if isinstance(error, ConfigError | DatasetError):
        return WRONG_USAGE, str(error)
    if isinstance(error, TrainingError):
        return FAILED, str(error)
    if is_out_of_memory(error):
        advice = "start anew with a smaller --batch-size or --input-size and another --out"
        return FAILED, f"There is not enough memory: {advice}."
    if isinstance(error, TorchDynamoException):
        reason = str(error).strip().partition("\n")[0]
        advice = "install a C++ compiler, or start anew without --compile"
        return FAILED, f"The network cannot be compiled ({reason}): {advice}."
    if isinstance(error, RuntimeError) and lost_another_process(error):
        return FAILED, f"Another process of this run has ended early: {GO_ON}."
    if isinstance(error, OSError | SafetensorError):
        reason = getattr(error, "strerror", None) or str(error)
        where = getattr(error, "filename", None) or out
        return FAILED, (
            f"{where} cannot be written ({reason}): free space or permit it; what was saved before "
            f"is kept, and {GO_ON}."
        )
    return FAILED, ""


def _say(sentence: str, *, only: bool) -> None:
    if only:
        typer.echo(sentence, err=True)


def _with_folder(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Give the data as a full path, fetching it where that is asked for."""
    from cxr_gradcam.download import fetch_kaggle

    given = dict(asked)
    if given.get("data") == KAGGLE:
        given["data"] = str(fetch_kaggle())
    elif "data" in given:
        given["data"] = str(expanded(given["data"]).resolve())
    if "weights" in given:
        given["weights"] = _full(given["weights"])
    if "teacher" in given:
        given["teacher"] = tuple(map(_full, given["teacher"]))
    return given


def _full(weights: str) -> str:
    """Return the full path of a checkpoint's file, a word such as "bundled" as it is."""
    return str(expanded(weights).resolve()) if Path(weights).suffix else weights


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with these arguments, or the process's own; return the exit code."""
    try:
        app(args=None if argv is None else list(argv), prog_name="train.py")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    return 0


if __name__ == "__main__":
    print_any_path()
    sys.exit(main())
