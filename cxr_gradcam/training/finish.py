"""What a training run does with its best weights: calibrate, learn what is familiar, evaluate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cxr_gradcam.checkpoint import BEST_FILE, Checkpoint, CheckpointError, load_checkpoint
from cxr_gradcam.classifier import load_classifier
from cxr_gradcam.familiarity import Familiarity, fit_familiarity
from cxr_gradcam.training.config import TrainingError
from cxr_gradcam.training.evaluation import evaluate_samples
from cxr_gradcam.training.images import Images, Purpose
from cxr_gradcam.training.loop import Learner, measure_norms, pooled_features, validate
from cxr_gradcam.training.network import CLASSIFIER
from cxr_gradcam.training.optimisation import statistics_of
from cxr_gradcam.training.record import quick_scores, save_best
from cxr_gradcam.training.report import reported
from cxr_gradcam.training.run import Run
from cxr_gradcam.training.scores import evaluate_logits, fit_bias, fit_temperature
from cxr_gradcam.training.state import Position

EVALUATION = "evaluation"
_MOST_MEASURED = 2048  # training images that the batch norms are measured on
_MOST_FAMILIAR = 2000  # training films that show what is familiar; more change little


def is_finished(out: Path) -> bool:
    """Whether the run in this folder has nothing left to do: its report is of its best weights."""
    try:
        best = load_checkpoint(out / BEST_FILE)
    except CheckpointError:
        return False
    return bool(best.training.get("finished")) and reported(out / EVALUATION) == best.digest


def finish(
    run: Run, learner: Learner, images: Images, val_images: Images, position: Position
) -> None:
    """Calibrate the best weights, learn what is familiar to them, report on the test images."""
    try:
        best = load_checkpoint(run.out / BEST_FILE)
    except CheckpointError:
        raise TrainingError(
            f"The best weights of this run, {run.out / BEST_FILE}, are gone or damaged: put them "
            "back and --resume, or start anew with another --out."
        ) from None
    run.accelerator.wait_for_everyone()  # all have read the checkpoint that the first replaces
    if "test" not in best.metrics:  # or they are calibrated: once is enough
        best = _calibrated(run, learner, images, val_images, best)
    if not run.is_first:
        return
    training = run.provenance.to_dict(position, learner) | {"finished": position.is_done}
    save_best(replace(best, training=training), run.out)
    classifier = load_classifier(run.out / BEST_FILE, device=run.accelerator.device.type)
    count = len(run.splits.test)
    with run.display.bar("Evaluating on the test images", count) as bar:

        def report_share(share: float) -> None:
            run.watch.check()
            bar.move_to(round(share * count))

        scores = evaluate_samples(
            classifier,
            run.splits.test,
            run.out / EVALUATION,
            progress=report_share,
        )
    run.display.say(
        f"On {count} test images: accuracy {scores['accuracy']['value']:.3f}, "
        f"temperature {classifier.temperature:.2f}; the report is in {run.out / EVALUATION}."
    )


def _calibrated(
    run: Run, learner: Learner, images: Images, val_images: Images, best: Checkpoint
) -> Checkpoint:
    """Return the best weights ready for use, with their figures, in the first process."""
    learner.average.network.load_state_dict(best.build_module().state_dict())
    val_logits = _exact_logits(run, learner, val_images)
    if run.config.epochs and not run.config.freeze_norm:
        val_logits = _renew_norms(run, learner, images, val_images, val_logits)
    val_logits = _correct_bias(run, learner, val_images, val_logits)
    test_images = run.load(run.splits.test, "Reading test images")
    parts = {"validation": (val_images, run.splits.val), "test": (test_images, run.splits.test)}
    logits = {"validation": val_logits, "test": _exact_logits(run, learner, test_images)}
    if not run.is_first:
        return best
    temperature = fit_temperature(logits["validation"].numpy(), val_images.labels.numpy())
    metrics = {
        name: evaluate_logits(
            logits[name].numpy(),
            part.labels.numpy(),
            best.class_names,
            temperature=temperature,
            groups=[sample.group for sample in samples],
        )
        for name, (part, samples) in parts.items()
    }
    weights = run.averaged(learner).weights
    familiarity = _familiarity(run, learner, images, val_images)
    return replace(
        best, weights=weights, temperature=temperature, metrics=metrics, familiarity=familiarity
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


def _correct_bias(
    run: Run, learner: Learner, val_images: Images, val_logits: torch.Tensor
) -> torch.Tensor:
    """Move the classifier's bias so that classes weigh as in training; return the logits."""
    bias = learner.average.network.get_parameter(CLASSIFIER[1]).detach()
    before = bias.cpu().clone()
    added = fit_bias(val_logits.numpy(), val_images.labels.numpy(), learner.weights.cpu().numpy())
    bias.copy_((before + torch.from_numpy(added)).half())  # as it is stored
    words = ", ".join(
        f"{name} {value:+.2f}" for name, value in zip(run.splits.class_names, added, strict=True)
    )
    run.display.say(f"Logits moved so that classes weigh as in training: {words}.")
    return val_logits + (bias.cpu() - before)


def _some(run: Run, images: Images, most: int) -> torch.Tensor:
    """Return the numbers of at most so many images, the same ones each time."""
    rng = np.random.default_rng((run.config.seed, Purpose.SAMPLE))
    return torch.from_numpy(rng.permutation(len(images))[:most])


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
