"""A training run from start to end: prepare, fit, finish."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from cxr_gradcam.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from cxr_gradcam.classifier import load_classifier
from cxr_gradcam.cores import usable_cores
from cxr_gradcam.dataset import Dataset, DatasetError, read_dataset
from cxr_gradcam.familiarity import Familiarity, fit_familiarity
from cxr_gradcam.files import write_whole
from cxr_gradcam.phantom import CLASS_NAMES as PHANTOM_CLASSES
from cxr_gradcam.splits import SPLITS_FILE, Sample, Splits, load_splits, save_splits, split_dataset
from cxr_gradcam.training.config import (
    CONFIG_FILE,
    Config,
    ConfigError,
    TrainingError,
    resumed_config,
    save_config,
)
from cxr_gradcam.training.evaluation import evaluate_samples
from cxr_gradcam.training.images import Images, Plan, draw_phantoms, load_images
from cxr_gradcam.training.loop import (
    Learner,
    check_device,
    make_accelerator,
    make_learner,
    measure_norms,
    multiplies_bf16,
    pooled_features,
    train_one_epoch,
    validate,
)
from cxr_gradcam.training.network import CLASSIFIER, Start, prepare_start
from cxr_gradcam.training.optimisation import centred, statistics_of
from cxr_gradcam.training.progress import Display, Events, gradcam_strip
from cxr_gradcam.training.record import (
    BEST_FILE,
    Provenance,
    as_checkpoint,
    count_images,
    quick_scores,
    remove_leftovers,
    save_best,
    save_history,
)
from cxr_gradcam.training.report import METRICS
from cxr_gradcam.training.scores import evaluate_logits, fit_temperature
from cxr_gradcam.training.state import Position, load_state, save_state
from cxr_gradcam.training.stopping import Stop, Stopped, Stopwatch

DATA_FILE = "data.json"
EVALUATION = "evaluation"
_MOST_READERS = 8
_MOST_MEASURED = 2048  # training images that the batch norms are measured on
_MOST_FAMILIAR = 2000  # training films that show what is familiar; more change little


@dataclass(frozen=True, eq=False)
class Run:
    """What stays the same through a run.

    Attributes:
        config: the recipe.
        out: the run's folder.
        splits: which image serves for what.
        accelerator: device, precision and the other processes.
        start: the weights at the start.
        watch: knows when to end early.
        display: the terminal.
    """

    config: Config
    out: Path
    splits: Splits
    accelerator: Accelerator
    start: Start
    watch: Stopwatch
    display: Display

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return bool(self.accelerator.is_main_process)

    @property
    def validated_at_once(self) -> int:
        """How many images one process validates in one pass; without gradients, twice as many."""
        processes: int = self.accelerator.num_processes
        return 2 * max(1, self.config.batch_size // processes)

    @cached_property
    def provenance(self) -> Provenance:
        """What is known before the first step."""
        images, digest = count_images(self.splits), self.splits.test_digest(Path(self.config.data))
        return Provenance(self.config, self.start.source, images, digest, self.start.training)


def choose_config(out: Path, asked: Mapping[str, Any], *, resume: bool) -> Config:
    """Decide the recipe, writing nothing yet.

    Args:
        out: the run's folder.
        asked: fields of the config that were given, by name.
        resume: go on with the run in the folder; where there is none, start it if data is given.

    Raises:
        ConfigError: when the folder holds a run already, there is nothing to resume, or a value
            is out of its range or differs from that of the run.
    """
    exists = (out / CONFIG_FILE).exists()
    if resume and (exists or "data" not in asked):
        return resumed_config(out, asked)
    if exists:
        raise ConfigError(
            f"{out} holds a run already: add --resume to go on with it, or choose another --out."
        )
    if "data" not in asked:
        raise ConfigError("There is no data to train on: give the dataset folder with --data.")
    return Config(**asked)


def prepare(config: Config, out: Path, *, device: str, watch: Stopwatch, display: Display) -> Run:
    """Open the device, split the data or read its splits, and read the weights to start from.

    Raises:
        ConfigError, DatasetError: when the run cannot be started so.
        TrainingError: when the data of a run that has begun is gone.
        OSError: when the run's folder cannot be written.
    """
    check_device(device)
    is_new = not (out / CONFIG_FILE).exists()
    data = read_dataset(Path(config.data)) if is_new else _read_splits(config, out)
    class_names = data.classes if isinstance(data, Dataset) else data.class_names
    if config.phantoms and not set(PHANTOM_CLASSES) <= set(class_names):
        raise ConfigError(
            f"--phantoms draws {', '.join(PHANTOM_CLASSES)}, and {config.data} has other classes: "
            "leave it out."
        )
    start = prepare_start(config, class_names)
    # Every process has come to its decisions before the first one writes: here they all meet.
    accelerator = make_accelerator(config.precision, device, compiled=config.compile)
    if (
        accelerator.device.type == "cpu"
        and accelerator.mixed_precision == "bf16"
        and not multiplies_bf16()
    ):
        display.say(
            "This CPU does not multiply bf16 by itself, so bf16 is slower here than fp32: "
            "--precision auto would have chosen fp32."
        )
    if config.batch_size < accelerator.num_processes:
        raise ConfigError(
            f"--batch-size is {config.batch_size} for {accelerator.num_processes} processes: "
            "give each at least one image."
        )
    if isinstance(data, Dataset):
        if accelerator.is_main_process:
            _begin(config, out, data, watch, display)
        accelerator.wait_for_everyone()
        data = _read_splits(config, out)
    run = Run(config, out, data, accelerator, start, watch, display)
    if warning := run.provenance.warning():
        display.say(warning)
    return run


def _read_splits(config: Config, out: Path) -> Splits:
    """Read the splits of a run that has begun: what is missing now has vanished since."""
    try:
        return load_splits(out / SPLITS_FILE, Path(config.data))
    except DatasetError as error:
        raise TrainingError(str(error)) from None


def _begin(config: Config, out: Path, found: Dataset, watch: Stopwatch, display: Display) -> None:
    """Split the data and make the run's folder."""
    out.mkdir(parents=True, exist_ok=True)
    count = sum(map(len, found.images.values()))
    with display.bar("Looking at the data", count) as bar:

        def report_share(share: float) -> None:
            watch.check()
            bar.move_to(round(share * count))

        splits, report = split_dataset(
            found,
            val=config.val_share,
            test=config.test_share,
            seed=config.seed,
            progress=report_share,
        )
    display.say(str(report))
    write_whole(out / DATA_FILE, json.dumps(report.to_dict(), indent=1).encode())
    save_splits(splits, out / SPLITS_FILE, Path(config.data))
    save_config(config, out)  # last: a folder with a config has all that a run needs


def train(run: Run) -> Position:
    """Carry a run out from where it is to its end, or to where its time is up.

    Returns:
        Where it ended.

    Raises:
        Stopped: when a signal ended it early, all saved.
        TrainingError: when it cannot go on.
        OSError, safetensors.SafetensorError: when a file cannot be written.
    """
    config = run.config
    images = _training_images(run)
    val_images = _load(run, run.splits.val, "Reading validation images")
    counts = images.counts(len(run.splits.class_names))
    learner = make_learner(run.accelerator, run.start, counts, config)
    position = load_state(run.out, learner.network, learner.average, learner.optimizer)
    if run.is_first:
        remove_leftovers(run.out)
    if config.epochs:
        plan = Plan(len(images), min(config.batch_size, len(images)), config.seed)
        position = _fit(run, learner, plan, images, val_images, position or Position())
    else:
        position = _keep_start(run, learner)
    if position.best_epoch >= 0 or not config.epochs:
        _finish(run, learner, images, val_images, position)
    run.accelerator.wait_for_everyone()
    return position


def _keep_start(run: Run, learner: Learner) -> Position:
    """Take the weights as they came for the best of a run that trains nothing."""
    position = Position(is_done=True)
    if run.is_first and not (run.out / BEST_FILE).exists():
        training = run.provenance.to_dict(position, learner)
        save_best(replace(_averaged(run, learner), training=training), run.out)
    run.accelerator.wait_for_everyone()
    return position


def _load(run: Run, samples: Sequence[Sample], what: str) -> Images:
    with run.display.bar(what, len(samples)) as bar:

        def on_image() -> None:
            run.watch.check()
            bar.advance()

        return load_images(
            samples,
            run.splits.class_names,
            run.config.input_size,
            readers=max(1, min(_MOST_READERS, usable_cores() // run.accelerator.num_processes)),
            on_image=on_image,
        )


def _training_images(run: Run) -> Images:
    """Return what is trained on: the films, then the phantoms."""
    films, config = _load(run, run.splits.train, "Reading training images"), run.config
    if not config.phantoms:
        return films
    with run.display.bar("Drawing phantoms", config.phantoms) as bar:

        def on_image() -> None:
            run.watch.check()
            bar.advance()

        names, size = run.splits.class_names, config.input_size
        seed = config.seed
        return films.joined(draw_phantoms(config.phantoms, names, size, seed, on_image=on_image))


def _fit(
    run: Run, learner: Learner, plan: Plan, images: Images, val_images: Images, position: Position
) -> Position:
    """Train epoch after epoch until the schedule ends, nothing gets better, or time is up."""
    events = Events(run.out, position.epoch) if run.is_first and not position.is_done else None
    try:
        while not position.is_done:
            started = time.perf_counter()
            first = position.step
            position = _train_epoch(run, learner, plan, images, position)
            if position.step < plan.steps:  # time is up
                break
            seconds = time.perf_counter() - started
            try:
                logits = validate(learner, val_images, run.validated_at_once, check=run.watch.check)
            except Stopped:
                _save(run, learner, position)
                raise
            row = {
                "epoch": position.epoch + 1,
                "train_loss": position.mean_loss,
                **quick_scores(logits, val_images.labels),
                "learning_rate": learner.optimizer.param_groups[0]["lr"],
                "images_per_second": (plan.steps - first) * plan.batch_size / seconds,
            }
            position = _judge(run, learner, position, row)
            if events:
                events.epoch(row, gradcam_strip(_trained(run, learner), val_images))
            _save(run, learner, position)
    finally:
        if events:
            events.close()
    return position


def _train_epoch(
    run: Run, learner: Learner, plan: Plan, images: Images, position: Position
) -> Position:
    """Train to the end of the epoch, or to where time is up, saving on the way."""
    total = run.config.epochs * plan.steps
    began, started, first = position.seconds, time.perf_counter(), position.step

    def after_step(now: Position, stop: Stop) -> bool:
        seconds = time.perf_counter() - started
        speed = (now.step - first) * plan.batch_size / seconds
        done = now.epoch * plan.steps + now.step
        bar.move_to(done, f"loss {now.mean_loss:.3f}  {speed:.1f} images/s")
        if stop or now.step % run.config.save_every == 0:
            _save(run, learner, replace(now, seconds=began + seconds))
        if stop == Stop.SIGNAL:
            raise Stopped(stop)
        return stop == Stop.TIME

    what = f"Epoch {position.epoch + 1} of {run.config.epochs}"
    with run.display.bar(what, total, position.epoch * plan.steps + first) as bar:
        position = train_one_epoch(
            learner,
            images,
            plan,
            run.config,
            position,
            after_step=after_step,
            wants_stop=run.watch.reason,
        )
    return replace(position, seconds=began + time.perf_counter() - started)


def _judge(run: Run, learner: Learner, position: Position, row: Mapping[str, float]) -> Position:
    """Keep the weights if they are the best so far, and move on to the next epoch."""
    is_best = row["calibrated_loss"] < position.best_loss
    run.display.say(
        f"Epoch {position.epoch + 1}: loss {row['train_loss']:.3f}, validation loss "
        f"{row['val_loss']:.3f}, calibrated {row['calibrated_loss']:.3f}, macro F1 "
        f"{row['macro_f1']:.3f}, accuracy {row['accuracy']:.3f}, "
        f"{row['images_per_second']:.1f} images/s{', best so far' if is_best else ''}"
    )
    if is_best:
        position = replace(position, best_epoch=position.epoch, best_loss=row["calibrated_loss"])
    patience, epoch = run.config.patience, position.epoch + 1
    gave_up = 0 < patience <= position.epoch - position.best_epoch
    position = replace(
        position,
        epoch=epoch,
        step=0,
        loss_sum=0.0,
        history=(*position.history, row),
        is_done=gave_up or epoch == run.config.epochs,
    )
    if is_best and run.is_first:
        trained = _trained(run, learner)
        training = run.provenance.to_dict(position, learner)
        save_best(replace(trained, training=training, metrics={"validation": dict(row)}), run.out)
    if run.is_first:
        save_history(position.history, run.out)
    return position


def _averaged(run: Run, learner: Learner) -> Checkpoint:
    """Return the averaged weights as they are."""
    return as_checkpoint(learner, run.start, run.splits.class_names, run.config.input_size)


def _trained(run: Run, learner: Learner) -> Checkpoint:
    """Return the averaged weights as they are kept after an epoch, the classifier centred."""
    averaged = _averaged(run, learner)
    head = {name: centred(averaged.weights[name]) for name in CLASSIFIER}
    return replace(averaged, weights={**averaged.weights, **head})


def _save(run: Run, learner: Learner, position: Position) -> None:
    if run.is_first:
        save_state(run.out, position, learner.network, learner.average, learner.optimizer)


def _finish(
    run: Run, learner: Learner, images: Images, val_images: Images, position: Position
) -> None:
    """Calibrate the best weights, learn what is familiar to them, report on the test images."""
    try:
        best = load_checkpoint(run.out / BEST_FILE)
    except CheckpointError as error:
        raise TrainingError(f"The best weights of this run are gone: {error}") from None
    report = run.out / EVALUATION / METRICS
    if position.is_done and report.exists() and "test" in best.metrics:
        run.display.say("This run is finished already.")
        return
    run.accelerator.wait_for_everyone()  # all have read the checkpoint that the first replaces
    learner.average.network.load_state_dict(best.build_module().state_dict())
    val_logits = _exact_logits(run, learner, val_images)
    if run.config.epochs and not run.config.freeze_norm:
        val_logits = _renew_norms(run, learner, images, val_images, val_logits)
        best = replace(best, weights=_averaged(run, learner).weights)
    test_images = _load(run, run.splits.test, "Reading test images")
    parts = {"validation": val_images, "test": test_images}
    logits = {"validation": val_logits, "test": _exact_logits(run, learner, test_images)}
    if not run.is_first:
        return
    temperature = fit_temperature(logits["validation"].numpy(), val_images.labels.numpy())
    metrics = {
        name: evaluate_logits(
            logits[name].numpy(), part.labels.numpy(), best.class_names, temperature=temperature
        )
        for name, part in parts.items()
    }
    training = run.provenance.to_dict(position, learner) | {"finished": position.is_done}
    best = replace(best, temperature=temperature, training=training, metrics=metrics)
    save_best(replace(best, familiarity=_familiarity(run, learner, images, val_images)), run.out)
    classifier = load_classifier(run.out / BEST_FILE, device=run.accelerator.device.type)
    with run.display.bar("Evaluating on the test images", len(test_images)) as bar:
        scores = evaluate_samples(
            classifier,
            [(sample.path, sample.label) for sample in run.splits.test],
            run.out / EVALUATION,
            groups=[sample.group for sample in run.splits.test],
            progress=lambda share: bar.move_to(round(share * len(test_images))),
        )
    run.display.say(
        f"On {len(test_images)} test images: accuracy {scores['accuracy']['value']:.3f}, "
        f"temperature {temperature:.2f}; the report is in {report.parent}."
    )


def _exact_logits(run: Run, learner: Learner, images: Images) -> torch.Tensor:
    """Return what the averaged weights say of a split, in fp32."""
    return validate(learner, images, run.validated_at_once, exact=True, check=run.watch.check)


def _renew_norms(
    run: Run, learner: Learner, images: Images, val_images: Images, val_logits: torch.Tensor
) -> torch.Tensor:
    """Measure the batch norms anew, keep that if the validation loss falls; return the logits."""
    network = learner.average.network
    trained = {name: value.clone() for name, value in network.state_dict().items()}
    chosen = _some(run, images, _MOST_MEASURED)
    measure_norms(learner, images, chosen, check=run.watch.check)
    for one in statistics_of(network):  # as the checkpoint stores them, whose figures these are
        one.copy_(one.half())
    renewed = _exact_logits(run, learner, val_images)
    before, after = (
        quick_scores(logits, val_images.labels)["calibrated_loss"]
        for logits in (val_logits, renewed)
    )
    kept = after < before
    if not kept:
        network.load_state_dict(trained)
    run.display.say(
        f"Batch norms measured anew on {len(chosen)} images: validation loss {before:.3f} before, "
        f"{after:.3f} after, {'kept' if kept else 'not kept'}."
    )
    return renewed if kept else val_logits


def _some(run: Run, images: Images, most: int) -> torch.Tensor:
    """Return the numbers of at most so many images, the same ones each time."""
    return torch.from_numpy(np.random.default_rng(run.config.seed).permutation(len(images))[:most])


def _familiarity(
    run: Run, learner: Learner, images: Images, val_images: Images
) -> Familiarity | None:
    """Learn what films look like to the averaged weights; None where there are too few to tell."""
    chosen = _some(run, images, _MOST_FAMILIAR)
    try:
        return fit_familiarity(
            pooled_features(learner, images, chosen, check=run.watch.check),
            pooled_features(learner, val_images, check=run.watch.check),
        )
    except ValueError as error:
        run.display.say(f"The checkpoint will not tell strange pictures: {error}")
        return None
