"""What can go wrong ends with one sentence, the right exit code, and what was saved intact."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxr_gradcam.files import write_whole
from cxr_gradcam.splits import Sample
from cxr_gradcam.training.config import TrainingError
from cxr_gradcam.training.images import load_images
from cxr_gradcam.training.state import STATE_FILE
from tests.training.conftest import SMALL, Launcher, start_server


@pytest.fixture(scope="module")
def stopped(few_phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data of its own and the folder of a run that was stopped in its first epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    data, out = folder / "data", folder / "run"
    shutil.copytree(few_phantoms, data)
    start_server()
    arguments = ("--data", data, "--out", out, *SMALL, "--max-minutes", 0)
    code, text = Launcher(folder).end(*arguments)
    assert code == 0, text
    return data, out


@pytest.fixture
def begun(
    stopped: tuple[Path, Path], few_phantoms: Path, launcher: Launcher
) -> Iterator[tuple[Path, Path]]:
    """The same data and a copy of the run, to be damaged freely."""
    data, out = stopped[0], launcher.folder / "run"
    shutil.copytree(stopped[1], out)
    yield data, out
    shutil.copytree(few_phantoms, data, dirs_exist_ok=True)


def test_a_full_disk(launcher: Launcher, begun: tuple[Path, Path]) -> None:
    out = begun[1]
    before = (out / STATE_FILE).read_bytes()
    code, text = launcher.end("--out", out, "--resume", largest_file=50_000_000)
    assert code == 1
    assert text.splitlines()[-1] == (
        f"{out} cannot be written (File too large): free space or permit it; what was saved before "
        "is kept, and the same command with --resume goes on."
    )
    assert (out / STATE_FILE).read_bytes() == before
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("what", ["image", "folder"])
def test_vanished_data(launcher: Launcher, begun: tuple[Path, Path], what: str) -> None:
    data, out = begun
    before = (out / STATE_FILE).read_bytes()
    gone = data if what == "folder" else next(data.glob("COVID/images/*"))
    shutil.move(gone, launcher.folder / "moved")
    code, text = launcher.end("--out", out, "--resume")
    assert code == 1
    assert len(text.splitlines()) == 1
    assert str(gone) in text
    assert (out / STATE_FILE).read_bytes() == before


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(b"no picture")
    with pytest.raises(TrainingError, match=r"gone or damaged since .* film\.png"):
        load_images([Sample(path, "a", 0)], ["a", "b"], 64)


def test_a_loss_that_is_not_finite(launcher: Launcher, few_phantoms: Path) -> None:
    out = launcher.folder / "run"
    arguments = ("--data", few_phantoms, "--out", out, *SMALL, "--learning-rate", 1e30)
    code, text = launcher.end(*arguments)
    assert code == 1
    assert text.splitlines()[-1].startswith("The loss is no longer a finite number: start anew")


def test_a_damaged_state_is_refused(launcher: Launcher, begun: tuple[Path, Path]) -> None:
    out = begun[1]
    path = out / STATE_FILE
    path.write_bytes(path.read_bytes()[:-1000])
    code, text = launcher.end("--out", out, "--resume")
    assert code == 1
    assert text.splitlines()[-1].startswith(f"{path} is damaged or of another version")


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cxr_gradcam.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
