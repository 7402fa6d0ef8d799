"""Several processes train as one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training import children
from tests.training.conftest import SMALL, Launcher, free_port, processes, wait_for

ROOT = Path(__file__).parents[2]


def rows_of(launcher: Launcher, data: Path, count: int) -> list[list[list[float]]]:
    """Train an epoch with so many processes; return what each noted after every step."""
    out, port = launcher.folder / f"of-{count}", free_port()
    asked = {
        "data": str(data), "weights": "scratch", "input_size": 64, "batch_size": 7, "seed": 3,
        "freeze_norm": True, "val_share": 0.125, "test_share": 0.125, "learning_rate": 2e-4,
        "phantoms": 8, "mixup": 0.4, "precision": "fp32",
    }  # fmt: skip
    logs = [launcher.folder / f"{rank}-of-{count}.json" for rank in range(count)]
    for rank, log in enumerate(logs):
        environment = processes(rank, count, port) if count > 1 else {"OMP_NUM_THREADS": "1"}
        launcher.start(children.steps, asked, out, log, environment)
    for process in launcher.started:
        process.join(100)
        assert process.exitcode == 0
    return [json.loads(log.read_text()) for log in logs]


def test_two_processes_hold_the_same_weights_and_give_the_loss_of_one(
    launcher: Launcher, phantom_data: Path
) -> None:
    (alone,) = rows_of(launcher, phantom_data, 1)
    first, second = rows_of(launcher, phantom_data, 2)
    assert len(alone) == 4
    assert first == second  # loss, and two sums over all weights, after every step, exactly
    for ours, theirs in zip(first, alone, strict=True):
        assert ours[0] == pytest.approx(theirs[0], abs=1e-4)
        assert ours[1:] == pytest.approx(theirs[1:], rel=1e-4)


def two(launcher: Launcher, *argv: object) -> list:
    port = free_port()
    return [launcher.command(*argv, **processes(rank, 2, port)) for rank in range(2)]


def test_sigterm_to_all_processes_saves_and_ends_well(
    launcher: Launcher, few_phantoms: Path
) -> None:
    out = launcher.folder / "run"
    pair = two(launcher, "--data", few_phantoms, "--out", out, *SMALL, "--epochs", 50)
    wait_for(out / "state.safetensors", pair[0][0])
    for process, _ in pair:
        process.terminate()
    for process, log in pair:
        process.join(60)
        assert process.exitcode == 0, log.read_text()


def test_a_lost_process_ends_the_other_with_one_sentence(
    launcher: Launcher, few_phantoms: Path
) -> None:
    out = launcher.folder / "run"
    (first, log), (second, _) = two(
        launcher, "--data", few_phantoms, "--out", out, *SMALL, "--epochs", 50
    )
    wait_for(out / "state.safetensors", first)
    second.kill()
    first.join(60)
    assert first.exitcode == 1
    assert log.read_text().splitlines()[-1] == (
        "Another process of this run has ended early: the same command with --resume goes on."
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_torchrun(few_phantoms: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = [*torchrun, "--master-port", str(free_port()), str(ROOT / "train.py")]
    arguments = ["--data", str(few_phantoms), "--out", str(tmp_path / "run"), *SMALL]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "evaluation" / "metrics.json").exists()
    assert done.stderr.count("Epoch 1:") == 1
