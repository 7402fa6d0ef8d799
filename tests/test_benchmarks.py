"""The benchmarks still run; what they measure is read by hand, on a quiet machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Small enough for a minute; the others need peers or a browser.
RUNS = {
    "train_speed": "--size 64 --count 8 --batch-size 4 --rounds 1 --workers 1",
    "localisation": "--count 4",
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", RUNS)
def test_a_benchmark_prints_its_table(name: str) -> None:
    command = [sys.executable, ROOT / "benchmarks" / f"{name}.py", *RUNS[name].split()]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("| ---") for line in done.stdout.splitlines())
