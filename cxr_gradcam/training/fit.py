"""A training run from its first step to its last epoch, saving on the way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from cxr_gradcam.checkpoint import BEST_FILE, Checkpoint
from cxr_gradcam.training.finish import finish, is_finished
from cxr_gradcam.training.images import Images, Plan, draw_phantoms
from cxr_gradcam.training.loop import (
    Learner,
    make_learner,
    scheduled_rate,
    train_one_epoch,
    validate,
)
from cxr_gradcam.training.network import CLASSIFIER
from cxr_gradcam.training.optimisation import centred
from cxr_gradcam.training.progress import Events, gradcam_strip
from cxr_gradcam.training.record import (
    quick_scores,
    remove_leftovers,
    save_best,
    save_history,
)
from cxr_gradcam.training.run import Run
from cxr_gradcam.training.state import Position, load_state, save_state
from cxr_gradcam.training.stopping import Stop, Stopped


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
    if is_finished(run.out):
        run.display.say("This run is finished already.")
        return Position(is_done=True)
    images = training_images(run)
    val_images = run.load(run.splits.val, "Reading validation images")
    counts = images.counts(len(run.splits.class_names))
    learner = make_learner(run.accelerator, run.start, counts, config, run.teachers)
    position = load_state(run.out, learner.network, learner.average, learner.optimizer)
    if run.is_first:
        remove_leftovers(run.out)
    if config.epochs:
        plan = Plan(len(images), min(config.batch_size, len(images)), config.seed)
        position = _fit(run, learner, plan, images, val_images, position or Position())
    else:
        position = _keep_start(run, learner)
    if position.best_epoch >= 0 or not config.epochs:
        finish(run, learner, images, val_images, position)
    run.accelerator.wait_for_everyone()
    return position


def _keep_start(run: Run, learner: Learner) -> Position:
    """Take the weights as they came for the best of a run that trains nothing."""
    position = Position(is_done=True)
    if run.is_first and not (run.out / BEST_FILE).exists():
        training = run.provenance.to_dict(position, learner)
        save_best(replace(run.averaged(learner), training=training), run.out)
    run.accelerator.wait_for_everyone()
    return position


def training_images(run: Run) -> Images:
    """Return what is trained on: the films, then the phantoms."""
    films, config = run.load(run.splits.train, "Reading training images"), run.config
    if not config.phantoms:
        return films
    with run.counting("Drawing phantoms", config.phantoms) as on_image:
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
            position, is_time_up = _train_epoch(run, learner, plan, images, position)
            if position.step < plan.steps:
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
                "learning_rate": scheduled_rate(
                    (position.epoch + 1) * plan.steps - 1, plan.steps, run.config
                ),
            }
            if first < plan.steps:  # else the steps were taken before the run was resumed
                row["images_per_second"] = (plan.steps - first) * plan.batch_size / seconds
            position = _judge(run, learner, position, row)
            if events:
                events.epoch(row, gradcam_strip(_trained(run, learner), val_images))
            _save(run, learner, position)
            if is_time_up:  # since the last step of the epoch
                break
    finally:
        if events:
            events.close()
    return position


def _train_epoch(
    run: Run, learner: Learner, plan: Plan, images: Images, position: Position
) -> tuple[Position, bool]:
    """Train to the end of the epoch, or to where time is up, saving on the way.

    Returns:
        Where it ended, and whether time is up, on which all processes agree.
    """
    is_time_up = False
    total = run.config.epochs * plan.steps
    began, started, first = position.seconds, time.perf_counter(), position.step

    def after_step(now: Position, stop: Stop) -> bool:
        nonlocal is_time_up
        is_time_up = stop == Stop.TIME
        seconds = time.perf_counter() - started
        speed = (now.step - first) * plan.batch_size / seconds
        done = now.epoch * plan.steps + now.step
        bar.move_to(done, f"loss {now.mean_loss:.3f}  {speed:.1f} images/s")
        if stop or now.step % run.config.save_every == 0:
            _save(run, learner, replace(now, seconds=began + seconds))
        if stop == Stop.SIGNAL:
            raise Stopped
        return is_time_up

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
    return replace(position, seconds=began + time.perf_counter() - started), is_time_up


def _judge(run: Run, learner: Learner, position: Position, row: Mapping[str, float]) -> Position:
    """Keep the weights if they are the best so far, and move on to the next epoch."""
    is_best = row["calibrated_loss"] < position.best_loss
    speed = row.get("images_per_second")
    run.display.say(
        f"Epoch {position.epoch + 1}: loss {row['train_loss']:.3f}, validation loss "
        f"{row['val_loss']:.3f}, calibrated {row['calibrated_loss']:.3f}, macro F1 "
        f"{row['macro_f1']:.3f}, accuracy {row['accuracy']:.3f}"
        f"{'' if speed is None else f', {speed:.1f} images/s'}"
        f"{', best so far' if is_best else ''}"
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


def _trained(run: Run, learner: Learner) -> Checkpoint:
    """Return the averaged weights as they are kept after an epoch, the classifier centred."""
    averaged = run.averaged(learner)
    head = {name: centred(averaged.weights[name]) for name in CLASSIFIER}
    return replace(averaged, weights={**averaged.weights, **head})


def _save(run: Run, learner: Learner, position: Position) -> None:
    if run.is_first:
        save_state(run.out, position, learner.network, learner.average, learner.optimizer)
