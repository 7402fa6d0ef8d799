"""Nothing lost: kill a run at any moment, resume it, and it ends with the same weights.

These runs have two teachers, so that a step which hears the wrong one shows.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from cxr_gradcam.checkpoint import load_checkpoint, save_checkpoint
from tests.training.conftest import SMALL, Launcher, same_bits, start_server, wait_for

KILLS = 20


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """What the runs are asked for."""
    folder = tmp_path_factory.mktemp("teachers")
    right = replace(load_checkpoint(), input_size=64)
    rows = right.weights["classifier.weight"].roll(1, 0)
    wrong = replace(right, weights={**right.weights, "classifier.weight": rows})
    recipe: tuple[object, ...] = SMALL
    for name, teacher in (("right", right), ("wrong", wrong)):
        save_checkpoint(teacher, folder / f"{name}.safetensors")
        recipe += ("--teacher", folder / f"{name}.safetensors")
    return recipe


@pytest.fixture(scope="module")
def whole_run(
    few_phantoms: Path, recipe: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, float]:
    """A run that was never stopped, and how long it took."""
    folder = tmp_path_factory.mktemp("whole")
    launcher = Launcher(folder)
    start_server()
    out = folder / "run"
    launcher.end("--help")  # the server loads PyTorch once
    began = time.monotonic()
    code, text = launcher.end("--data", few_phantoms, "--out", out, *recipe)
    assert code == 0, text
    return out, time.monotonic() - began


def check_same(out: Path, whole: Path) -> None:
    assert same_bits(out / "best.safetensors", whole / "best.safetensors")
    assert same_bits(out / "state.safetensors", whole / "state.safetensors")
    rows, expected = (
        [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        for folder in (out, whole)
    )
    for row in (*rows, *expected):
        row.pop("images_per_second", None)
    assert rows == expected
    best = load_checkpoint(out / "best.safetensors")
    assert best.temperature == load_checkpoint(whole / "best.safetensors").temperature
    assert not list(out.glob(".*"))


def saved_at(out: Path) -> int:
    """When a run saved its state last, 0 where it has not."""
    state = out / "state.safetensors"
    return state.stat().st_mtime_ns if state.exists() else 0


def test_a_run_stopped_in_every_way_ends_as_one_that_was_not(
    launcher: Launcher,
    few_phantoms: Path,
    recipe: tuple[object, ...],
    whole_run: tuple[Path, float],
) -> None:
    """Its time is up, then it is killed, then terminated, each soon after it has saved anew."""
    out = launcher.folder / "run"
    arguments = ("--data", few_phantoms, "--out", out, *recipe)
    code, text = launcher.end(*arguments, "--max-minutes", 0)
    assert code == 0, text
    assert text.splitlines()[-1].startswith("Time is up in epoch 1")

    killed, _ = goes_on_until_it_saves(launcher, out)
    killed.join(random.Random(1).uniform(0, 0.3))
    killed.kill()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL  # it was running

    terminated, log = goes_on_until_it_saves(launcher, out)
    terminated.terminate()
    terminated.join(60)
    assert terminated.exitcode == 0
    assert log.read_text().splitlines()[-1] == (
        "Stopped with all saved: the same command with --resume goes on."
    )

    code, text = launcher.end(*arguments, "--resume")
    assert code == 0, text
    check_same(out, whole_run[0])


def goes_on_until_it_saves(launcher: Launcher, out: Path) -> tuple[BaseProcess, Path]:
    """Resume a run and return, with its log, when it has saved its state anew."""
    before = saved_at(out)
    process, log = launcher.command("--out", out, "--resume")
    while saved_at(out) == before and process.is_alive():
        process.join(0.02)
    return process, log


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_twenty_runs_killed_at_random_moments(
    launcher: Launcher,
    few_phantoms: Path,
    recipe: tuple[object, ...],
    whole_run: tuple[Path, float],
) -> None:
    whole, seconds = whole_run
    moments = random.Random(2)
    killed = 0
    for number in range(KILLS):
        out = launcher.folder / f"run-{number}"
        arguments = ("--data", few_phantoms, "--out", out, *recipe, "--resume")
        process, _ = launcher.command(*arguments)
        process.join(moments.uniform(0.02, 1) * seconds)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        code, text = launcher.end(*arguments)
        assert code == 0, text
        check_same(out, whole)
    assert killed >= KILLS - 2  # the others were through already


def test_a_finished_run_says_so(launcher: Launcher, whole_run: tuple[Path, float]) -> None:
    before = (whole_run[0] / "best.safetensors").read_bytes()
    metrics = json.loads((whole_run[0] / "evaluation" / "metrics.json").read_bytes())
    assert metrics["checkpoint"] == hashlib.sha256(before).hexdigest()
    code, text = launcher.end("--out", whole_run[0], "--resume")
    assert (code, text) == (0, "This run is finished already.\n")
    assert (whole_run[0] / "best.safetensors").read_bytes() == before


def test_a_report_that_could_not_be_written_is_written_when_it_can(
    launcher: Launcher, whole_run: tuple[Path, float]
) -> None:
    """The run's weights are calibrated by then, and are not calibrated again.

    Its time was up once, after the epoch of its best weights: that it has finished since, its
    record says nevertheless.
    """
    out = launcher.folder / "run"
    shutil.copytree(whole_run[0], out)
    best = load_checkpoint(out / "best.safetensors")
    early = {**best.training, "epochs": 1, "finished": False}
    save_checkpoint(replace(best, training=early), out / "best.safetensors")
    last = out / "evaluation" / "worst_errors.png"
    shutil.rmtree(last.parent)
    last.mkdir(parents=True)  # where the report's last picture belongs
    code, text = launcher.end("--out", out, "--resume")
    assert code == 1, text
    assert not (out / "evaluation" / "metrics.json").exists()  # which stands for a whole report
    last.rmdir()
    code, text = launcher.end("--out", out, "--resume")
    assert code == 0, text
    assert last.is_file()
    assert (out / "evaluation" / "metrics.json").exists()
    record = load_checkpoint(out / "best.safetensors").training
    assert (record["epochs"], record["finished"]) == (2, True)
    check_same(out, whole_run[0])


def test_ctrl_c_tells_the_shell(launcher: Launcher, few_phantoms: Path) -> None:
    out = launcher.folder / "run"
    process, _ = launcher.command("--data", few_phantoms, "--out", out, *SMALL)
    wait_for(out / "config.json", process)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
