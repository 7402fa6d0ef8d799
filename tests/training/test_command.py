"""`python train.py`: usage, help, and what is refused before anything is written."""

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from torch._dynamo.exc import TorchDynamoException

import train
from cxr_gradcam.checkpoint import BUNDLED_CHECKPOINT, load_checkpoint, save_checkpoint
from cxr_gradcam.classifier import load_classifier
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import draw_phantom
from cxr_gradcam.training import evaluation
from cxr_gradcam.training.config import (
    Config,
    ConfigError,
    load_config,
    resumed_config,
    save_config,
)
from cxr_gradcam.training.loop import scheduled_rate
from cxr_gradcam.training.progress import Display
from cxr_gradcam.training.run import prepare
from cxr_gradcam.training.stopping import Stopped, Stopwatch
from tests.training.conftest import SMALL

ROOT = Path(__file__).parents[2]


def test_help_needs_no_pytorch() -> None:
    code = "import sys, train; train.main(['--help']); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--freeze-until LAYER" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


def test_help_shows_the_defaults_of_the_config() -> None:
    shown = {}
    for name, parameter in inspect.signature(train.train, eval_str=True).parameters.items():
        (option,) = parameter.annotation.__metadata__
        shown[name] = option.show_default
    defaults = asdict(Config("data"))
    assert set(defaults) <= set(shown)
    for name, value in defaults.items():
        if name in ("data", "teacher", "freeze_until", "freeze_norm", "compile"):
            continue
        assert shown[name] == str(value), name


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "There is no data to train on: give the dataset folder with --data."),
        (["--data", "/nowhere"], "There is no dataset folder at /nowhere"),
        (["--data", "{data}", "--input-size", "100"], "--input-size is 100: choose a multiple"),
        (["--data", "{data}", "--epochs", "-1"], "--epochs is -1: choose 0 or more."),
        (["--data", "{data}", "--precision", "fp8"], "--precision is 'fp8': choose one of auto"),
        (["--data", "{data}", "--learning-rate", "nan"], "--learning-rate is nan: choose above 0."),
        (["--data", "{data}", "--warmup-epochs", "inf"], "--warmup-epochs is inf: choose 0 or"),
        (["--data", "{data}", "--val-share", "0.6", "--test-share", "0.5"], "with --val-share."),
        (["--data", "{data}", "--device", "tpu"], "There is no device 'tpu'"),
        (
            ["--data", "{data}", "--weights", "gone.safetensors"],
            "--weights: There is no checkpoint at",
        ),
        (
            ["--data", "{data}", "--teacher", "bundled", "--teacher", "gone.safetensors"],
            "--teacher: There is no checkpoint at",
        ),
        (["--data", "{data}", "--freeze-until", "layer4"], "--freeze-until: there is no layer"),
        (["--resume"], "There is no run in {out} to resume: check --out"),
        (["--epochs", "many"], "Invalid value for '--epochs'"),
        (["--unknown"], "No such option"),
    ],
)
def test_wrong_usage(
    arguments: list[str],
    sentence: str,
    phantom_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"data": str(phantom_data), "out": str(tmp_path / "run")}
    filled = [argument.format(**places) for argument in arguments]
    assert train.main(["--out", places["out"], *filled]) == 2
    assert sentence.format(**places) in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_class_that_the_tables_mean_otherwise_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("A", "error"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.png").touch()
    out = tmp_path / "run"
    assert train.main(["--data", str(tmp_path / "data"), "--out", str(out)]) == 2
    assert "data has a class called error, which --class or a column" in capsys.readouterr().err
    assert not out.exists()


def test_kaggle_is_fetched_when_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cxr_gradcam.download.fetch_kaggle", lambda: tmp_path)
    assert train._with_folder({"data": "kaggle"}) == {"data": str(tmp_path)}
    assert train._with_folder({"epochs": 3}) == {"epochs": 3}
    assert train._with_folder({"weights": "imagenet"}) == {"weights": "imagenet"}


def test_a_folder_with_a_run_is_not_overwritten(
    tmp_path: Path, phantom_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_config(Config(str(phantom_data)), tmp_path)
    assert train.main(["--out", str(tmp_path), "--data", str(phantom_data)]) == 2
    assert "holds a run already: add --resume" in capsys.readouterr().err


def test_a_file_is_no_folder_for_a_run(
    tmp_path: Path, phantom_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert train.main(["--out", str(tmp_path / "file"), "--data", str(phantom_data)]) == 2
    assert "file is a file: choose a folder" in capsys.readouterr().err


@pytest.mark.parametrize("below", ["", "run", "val"])
def test_a_run_in_its_own_dataset_is_refused(
    phantom_data: Path, below: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(phantom_data.rglob("*"))
    arguments = ["--data", str(phantom_data), "--out", str(phantom_data / below), "--epochs", "0"]
    assert train.main(arguments) == 2
    assert "lies in the dataset folder" in capsys.readouterr().err
    assert sorted(phantom_data.rglob("*")) == before


def test_the_data_is_the_same_by_any_path_to_it(tmp_path: Path) -> None:
    plain = {"data": str(tmp_path), "weights": str(tmp_path / "a.safetensors")}
    around = {
        name: f"{tmp_path}/x/../{Path(path).relative_to(tmp_path)}" for name, path in plain.items()
    }
    assert train._with_folder(around) == plain


def test_a_resumed_run_keeps_its_config(tmp_path: Path) -> None:
    config = Config(
        "/data", learning_rate=1 / 3, teacher=("/one.safetensors", "bundled"),
        freeze_until="features.transition1", epochs=7,
    )  # fmt: skip
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config
    assert resumed_config(tmp_path, {}) == config
    assert resumed_config(tmp_path, {"epochs": 7, "data": "/data"}) == config
    with pytest.raises(ConfigError, match=r"--epochs was 7 when this run began, and is 8 now"):
        resumed_config(tmp_path, {"epochs": 8})


WRONG_TEACHER = json.dumps(asdict(Config("/data")) | {"teacher": 5})


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"data": 3}', WRONG_TEACHER])
def test_a_damaged_config_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match="is damaged or of another version"):
        load_config(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_newcomer_trains_and_opens_the_result(few_phantoms: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["--data", str(few_phantoms), "--out", str(out), "--input-size", "64"]
    small = ["--epochs", "1", "--batch-size", "8", "--freeze-until", "features.transition3"]
    assert train.main([*arguments, *small]) == 0
    checkpoint = load_checkpoint(out / "best.safetensors")
    assert checkpoint.class_names == ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
    assert checkpoint.input_size == 64
    assert checkpoint.training["data"]["folder"] == "phantoms"
    assert checkpoint.training["best_epoch"] == 1
    assert checkpoint.weights["classifier.weight"].float().mean(0).abs().max() < 1e-4
    assert checkpoint.weights["classifier.bias"].float().mean().abs() < 1e-4
    assert checkpoint.training["weights"].startswith("bundled checkpoint")
    assert str(few_phantoms.parent) not in json.dumps(dict(checkpoint.training))
    stored, report = checkpoint.metrics["test"], out / "evaluation" / "metrics.json"
    reread = json.loads(report.read_text())  # the same scores, from the file and the films anew
    assert reread["confusion_matrix"] == stored["confusion_matrix"]
    for when in ("before", "after"):
        nll = pytest.approx(stored["calibration"][when]["nll"], rel=1e-3)
        assert reread["calibration"][when]["nll"] == nll
    assert list((out / "events").glob("events.out.tfevents.*"))
    (row,) = map(json.loads, (out / "history.jsonl").read_text().splitlines())
    assert row["epoch"] == 1
    explanation = Explainer(load_classifier(out / "best.safetensors", device="cpu")).explain(
        draw_phantom("COVID", 1, 64).radiograph
    )
    assert sum(explanation.probabilities.values()) == pytest.approx(1)
    assert explanation.familiarity is not None
    assert 0 <= explanation.familiarity <= 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_epochs_calibrate_the_weights_as_they_are(
    few_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(few_phantoms, data)
    for film in list(data.glob("*/images/*.png")):
        shutil.copyfile(film, film.with_stem(f"{film.stem}-again"))
    arguments = ["--data", str(data), "--out", str(out), "--input-size", "64"]
    assert train.main([*arguments, "--epochs", "0"]) == 0
    before, after = map(load_checkpoint, (BUNDLED_CHECKPOINT, out / "best.safetensors"))
    moved = {name for name, value in before.weights.items() if not after.weights[name].equal(value)}
    assert moved == {"classifier.bias"}
    assert after.input_size == 64
    assert after.temperature != before.temperature
    assert after.familiarity is not None
    assert after.metrics["test"]["n"] > 0
    report = json.loads((out / "evaluation" / "metrics.json").read_bytes())
    assert after.metrics["test"]["intervals"] == report["intervals"]
    assert "groups of films" in report["intervals"]
    assert after.training["epochs"] == 0
    assert after.training["before"] == before.training
    for film in data.glob("*/images/*.png"):  # a finished run reads none again
        film.write_bytes(b"")
    assert train.main(["--out", str(out), "--resume"]) == 0
    assert "This run is finished already." in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_stopped_in_validation_writes_the_history_that_it_would_have(
    few_phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"

    def stop(*_: Any, **__: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr("cxr_gradcam.training.fit.validate", stop)
        asked = [*SMALL, "--warmup-epochs", "0"]
        assert train.main(["--data", str(few_phantoms), "--out", str(out), *asked]) == 0
    # What comes after the epochs has tests of its own.
    monkeypatch.setattr("cxr_gradcam.training.fit.finish", lambda *_: None)
    assert train.main(["--out", str(out), "--resume"]) == 0
    first, second = map(json.loads, (out / "history.jsonl").read_text().splitlines())
    config = load_config(out)
    assert first["learning_rate"] == scheduled_rate(2, 3, config) < config.learning_rate
    assert "images_per_second" not in first
    assert second["images_per_second"] > 0


def test_a_network_that_cannot_be_compiled_is_one_sentence(tmp_path: Path) -> None:
    code, sentence = train._explained(TorchDynamoException("no compiler\nmore"), tmp_path)
    assert code == train.FAILED
    assert sentence == (
        "The network cannot be compiled (no compiler): install a C++ compiler, or start anew "
        "without --compile."
    )


def test_a_signal_ends_the_last_evaluation_too(
    few_phantoms: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    read = evaluation.radiograph_or_reason
    signals = [signal.SIGINT]

    def read_as_a_signal_comes(path: Path) -> Any:
        while signals:
            os.kill(os.getpid(), signals.pop())
        return read(path)

    monkeypatch.setattr(evaluation, "radiograph_or_reason", read_as_a_signal_comes)
    arguments = ["--data", str(few_phantoms), "--out", str(out), "--input-size", "64"]
    assert train.main([*arguments, "--epochs", "0"]) == 130
    assert "Stopped with all saved" in capsys.readouterr().err
    assert not (out / "evaluation").exists()
    assert train.main(["--out", str(out), "--resume"]) == 0
    digest = load_checkpoint(out / "best.safetensors").digest
    assert json.loads((out / "evaluation" / "metrics.json").read_bytes())["checkpoint"] == digest


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_time_is_up_after_an_epoch_of_one_step_too(
    few_phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = ["--data", str(few_phantoms), "--out", str(out), "--input-size", "64"]
    assert train.main([*arguments, "--epochs", "3", "--max-minutes", "0"]) == 0
    assert "Time is up in epoch 2" in capsys.readouterr().err
    assert len((out / "history.jsonl").read_text().splitlines()) == 1
    assert (out / "evaluation" / "metrics.json").exists()


def test_a_log_gets_a_line_now_and_then_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display().bar("Epoch 1 of 2", 40, 10) as bar:
        bar.move_to(15, "loss 0.6")
    assert capsys.readouterr().err == ""  # no minute has passed
    monkeypatch.setattr("cxr_gradcam.training.progress.LOG_SECONDS", 0.0)
    with Display().bar("Epoch 1 of 2", 40, 10) as bar:
        bar.move_to(20, "loss 0.5")
    assert re.fullmatch(
        r"Epoch 1 of 2: 20 of 40  loss 0\.5  [\d:-]+ left\n", capsys.readouterr().err
    )
    with Display(silent=True).bar("Epoch 1 of 2", 40, 10) as bar:
        bar.move_to(20)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("native", [False, True])
def test_bf16_on_a_cpu_that_does_not_multiply_it_is_warned_of(
    native: bool, phantom_data: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("cxr_gradcam.training.device.multiplies_bf16", lambda on_cpu: native)
    config = Config(str(phantom_data), precision="bf16")
    prepare(config, tmp_path / "run", device="cpu", watch=Stopwatch(), display=Display())
    warned = "bf16 is slower here than fp32" in capsys.readouterr().err
    assert warned == (not native)


@pytest.mark.parametrize(
    ("role", "who"), [("weights", "The weights to start from"), ("teacher", "The teacher known")]
)
def test_weights_that_may_know_the_test_images_are_warned_of(
    role: str, who: str, phantom_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another --seed splits the same folder otherwise."""
    first = {"data": str(phantom_data), "test_share": 0.25, "val_share": 0.25, "phantoms": 0}
    watch, silent = Stopwatch(), Display(silent=True)
    once = prepare(Config(**first), tmp_path / "once", device="cpu", watch=watch, display=silent)
    digest = once.splits.test_digest(phantom_data)
    theirs = {"val_share": 0.25, "test_share": 0.25, "seed": 0}
    known = {"data": {"folder": "phantoms", "test_digest": digest}, "recipe": theirs}
    weights = tmp_path / "known.safetensors"
    student = {"before": {"teachers": [known]}}
    save_checkpoint(replace(load_checkpoint(), training=student), weights)
    sentence = f"{who}.* may know those of this run.*--val-share 0.25, --test-share 0.25, --seed 0"
    for seed in (0, 1):
        named = {"weights": str(weights), "teacher": (str(weights),)}
        config = Config(**first, **{role: named[role]}, seed=seed)
        out = tmp_path / str(seed)
        run = prepare(config, out, device="cpu", watch=watch, display=Display())
        assert (run.splits.test_digest(phantom_data) != digest) == bool(seed)
        assert bool(re.search(sentence, capsys.readouterr().err)) == bool(seed)
