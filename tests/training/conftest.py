"""A few phantoms to train on, and processes to train in that start at once and can be killed."""

import multiprocessing
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from cxr_gradcam.phantom import write_phantoms
from cxr_gradcam.training.state import Position
from cxr_gradcam.training.stopping import Stop
from tests.training import children

# A run of 6 steps: 12 of `few_phantoms` in batches of 4, for two epochs.
SMALL = ("--input-size", "64", "--epochs", "2", "--batch-size", "4", "--val-share", "0.2",
         "--test-share", "0.2", "--weights", "scratch", "--warmup-epochs", "0.5",
         "--learning-rate", "0.001", "--save-every", "2")  # fmt: skip


@pytest.fixture(scope="session")
def phantom_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of 32 small phantoms."""
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    write_phantoms(folder, 32, seed=100, size=64)
    return folder


@pytest.fixture(scope="session")
def few_phantoms(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without three images of each class: what the smallest run takes."""
    folder = tmp_path_factory.mktemp("few") / "phantoms"
    shutil.copytree(phantom_data, folder)
    for label in folder.iterdir():
        for image in sorted((label / "images").iterdir())[5:]:
            image.unlink()
    return folder


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    """Accelerate keeps its settings for the whole process; every test starts without."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@dataclass
class Launcher:
    """Starts training in processes of their own, forked from a server that has PyTorch loaded."""

    folder: Path
    started: list[BaseProcess] = field(default_factory=list)
    context: Any = field(default_factory=lambda: multiprocessing.get_context("forkserver"))

    def command(
        self, *argv: object, largest_file: int | None = None, **environment: str
    ) -> tuple[BaseProcess, Path]:
        """Start `python train.py ARGV`; return the process and the file of its output."""
        log = self.folder / f"{len(self.started)}.log"
        arguments = (list(map(str, argv)), log, environment, largest_file)
        return self.start(children.command, *arguments), log

    def start(self, target: Callable[..., None], *arguments: object) -> BaseProcess:
        """Start a function of `children`."""
        process: BaseProcess = self.context.Process(target=target, args=arguments)
        process.start()
        self.started.append(process)
        return process

    def end(self, *argv: object, largest_file: int | None = None) -> tuple[int | None, str]:
        """Run `python train.py ARGV` to its end; return the exit code and the output."""
        process, log = self.command(*argv, largest_file=largest_file)
        process.join(100)
        return process.exitcode, log.read_text()


def start_server() -> None:
    """Have the server load what every run needs, once."""
    needed = ["tests.training.children", "matplotlib.figure", "matplotlib.backends.backend_agg"]
    multiprocessing.get_context("forkserver").set_forkserver_preload(needed)


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    start_server()
    launcher = Launcher(tmp_path)
    yield launcher
    for process in launcher.started:
        process.kill()
        process.join()


def processes(rank: int, count: int, port: int) -> dict[str, str]:
    """Return the environment that torchrun gives one of several processes."""
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def go_on(position: Position, stop: Stop) -> bool:
    """Stop after no step."""
    return False


def same_bits(one: Path, other: Path) -> bool:
    """Whether two safetensors files hold the same tensors, bit for bit."""
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype
        and first[name].numpy().tobytes() == second[name].numpy().tobytes()
        for name in first
    )


def wait_for(path: Path, process: BaseProcess) -> None:
    """Wait until a process has written a file."""
    for _ in range(2000):
        if path.exists() or not process.is_alive():
            break
        process.join(0.05)
    assert path.exists()
