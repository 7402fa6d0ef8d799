import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from typer.testing import CliRunner, Result

from cxr_gradcam.batch import pipeline
from cxr_gradcam.batch.jobs import InputError, find_jobs
from cxr_gradcam.checkpoint import load_checkpoint, save_checkpoint
from cxr_gradcam.classifier import load_classifier
from cxr_gradcam.cli import app
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.export import class_labels
from cxr_gradcam.files import whole_file
from cxr_gradcam.phantom import draw_phantom, write_phantoms
from cxr_gradcam.radiograph import Radiograph, load_radiograph
from cxr_gradcam.render import DISCLAIMER, overlay
from cxr_gradcam.tables import inert

LAST = "features.norm5"
ROOT = Path(__file__).parents[1]


load_once = cache(load_classifier)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load each checkpoint once for all tests in this process."""
    monkeypatch.setattr("cxr_gradcam.batch.run.load_classifier", load_once)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One small phantom per class."""
    return write_phantoms(tmp_path_factory.mktemp("drawn"), 4, size=96)


@pytest.fixture
def films(tmp_path: Path, drawn: list[Path]) -> Path:
    """A flat folder of four phantoms: 0.png to 3.png."""
    folder = tmp_path / "films"
    folder.mkdir()
    for number, path in enumerate(drawn):
        shutil.copyfile(path, folder / f"{number}.png")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    said = result.stdout + result.stderr
    assert result.exit_code == code, f"{said}\n{result.exception!r}"
    assert "Traceback" not in said
    return result


def explain(*arguments: object, code: int = 0) -> Result:
    return run("explain", *arguments, "--device", "cpu", code=code)


def summary(out: Path) -> list[dict[str, str]]:
    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def record(folder: Path) -> dict:
    return json.loads((folder / "explanation.json").read_text())


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def picture(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[:, :, ::-1]


# ---------------------------------------------------------------------------------------- results


def test_writes_what_the_api_gives(films: Path, out: Path, explainer: Explainer) -> None:
    result = explain(films, "--out", out)

    assert "Explained 4" in result.stdout
    assert result.stderr == ""  # no progress bar where there is no terminal
    rows = summary(out)
    names = explainer.classifier.class_names
    assert list(rows[0]) == ["file", "predicted", *names, "error"]
    assert [row["file"] for row in rows] == [str(films / f"{number}.png") for number in range(4)]
    for number, row in enumerate(rows):
        radiograph = load_radiograph(films / f"{number}.png")
        explanation = explainer.explain(radiograph)
        predicted = explanation.predicted
        label = predicted.replace(" ", "_")
        folder = out / str(number)
        assert names_in(folder) == {
            f"overlay-{label}.png",
            f"heatmap-{label}.npy",
            "explanation.json",
        }
        heatmap = np.load(folder / f"heatmap-{label}.npy")
        assert heatmap.dtype == np.float32
        assert heatmap.shape == radiograph.pixels.shape
        np.testing.assert_allclose(heatmap, explanation.heatmap(predicted), atol=1e-4)
        np.testing.assert_array_equal(
            picture(folder / f"overlay-{label}.png"), overlay(radiograph, heatmap)
        )
        assert row["predicted"] == predicted
        assert row["error"] == ""
        given = [float(row[name]) for name in names]
        assert given == pytest.approx(list(explanation.probabilities.values()), abs=1e-5)


def test_record_says_how_it_was_made(films: Path, out: Path, explainer: Explainer) -> None:
    explain(films / "0.png", "--out", out, "--class", "all", "--method", "layercam")

    made = record(out / "0")
    radiograph = load_radiograph(films / "0.png")
    explanation = explainer.explain(radiograph, method="layercam")
    assert made["disclaimer"] == DISCLAIMER
    assert made["program"].startswith("cxr_gradcam ")
    assert made["file"] == str(films / "0.png")
    assert made["radiograph"]["digest"] == radiograph.digest
    assert made["model"]["digest"] == explainer.classifier.digest
    assert tuple(made["model"]["classes"]) == explainer.classifier.class_names
    assert made["settings"]["method"] == "layercam"
    assert made["settings"]["layer"] == LAST
    assert made["settings"]["scale"] == "shared"
    assert made["logits"] == pytest.approx(dict(explanation.logits), abs=1e-4)
    assert made["predicted"] == explanation.predicted
    assert made["unit"] == "logits"
    assert made["letterbox"]["size"] == explainer.classifier.input_size
    peaks = {name: explanation.peak(name) for name in explanation.classes}
    assert {name: one["peak"] for name, one in made["maps"].items()} == pytest.approx(peaks, 1e-4)
    for one in made["maps"].values():
        assert one["heatmap_1_stands_for"] == pytest.approx(max(peaks.values()), 1e-4)


def test_shared_scale_is_that_of_all_classes_whichever_is_shown(films: Path, out: Path) -> None:
    explain(films / "0.png", "--out", out / "all", "--class", "all")
    name = record(out / "all" / "0")["predicted"]
    explain(films / "0.png", "--out", out / "one", "--class", name, "--scale", "shared")
    explain(films / "0.png", "--out", out / "own", "--class", name)

    file = f"0/heatmap-{name.replace(' ', '_')}.npy"
    all_, one, own = (np.load(out / run / file) for run in ("all", "one", "own"))
    np.testing.assert_allclose(one, all_, atol=1e-5)
    assert own.max() == 1
    np.testing.assert_allclose(one / one.max(), own, atol=1e-5)


def test_class_of_two_words_and_another_layer(films: Path, out: Path) -> None:
    layer = "features.denseblock3"
    explain(films / "0.png", "--out", out, "--class", "Viral Pneumonia", "--layer", layer)

    assert "overlay-Viral_Pneumonia.png" in names_in(out / "0")
    assert record(out / "0")["settings"]["layer"] == layer


def test_class_labels_are_safe_and_different() -> None:
    labels = class_labels(["a b", "a/b", "A_b", "../../x", "Größe", "n" * 300])
    assert list(labels.values()) == ["a_b", "a_b-2", "A_b-3", ".._.._x", "Größe", "n" * 80]


def test_a_path_is_no_formula_in_the_summary(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(films)
    shutil.copyfile("0.png", '=HYPERLINK("x").png')
    Path("@broken.png").write_bytes(b"")
    explain('=HYPERLINK("x").png', "@broken.png", "--out", tmp_path / "out", code=1)

    good, broken = summary(tmp_path / "out")
    assert good["file"] == './=HYPERLINK("x").png'
    assert Path(good["file"]).exists()
    assert broken["error"].startswith("./@broken.png")
    assert inert("a=b.png") == "a=b.png"


# ----------------------------------------------------------------------------------------- inputs


def test_folders_are_searched_by_suffix_and_masks_left_out(
    tmp_path: Path, drawn: list[Path]
) -> None:
    (tmp_path / "x" / "deep ü").mkdir(parents=True)
    shutil.copyfile(drawn[0], tmp_path / "x" / "deep ü" / "My Film.PNG")
    shutil.copyfile(drawn[0], tmp_path / "x" / ".hidden.png")
    (tmp_path / "x" / "notes.txt").write_text("no picture")
    for kind in ("images", "masks", "lesions"):
        (tmp_path / "x" / kind).mkdir()
        shutil.copyfile(drawn[0], tmp_path / "x" / kind / "1.png")
    (tmp_path / "x" / "deep ü" / "circle").symlink_to(tmp_path / "x")

    places = [job.place for job in find_jobs([tmp_path / "x"], tmp_path / "out")]
    assert places == ["deep ü/My Film", "images/1"]


def test_dicom_without_a_suffix_is_found_and_explained(tmp_path: Path, out: Path) -> None:
    """As archives and discs give it: by number, or by an identifier whose end looks like one."""
    disc = tmp_path / "disc" / "ST0"
    disc.mkdir(parents=True)
    source = get_testdata_file("MR_small.dcm", download=False)
    for name in ("IM000001", "1.2.840.10", "1.2.840.11", "DICOMDIR"):
        shutil.copyfile(source, disc / name)
    (disc / "README").write_text("no picture" * 20)
    explain(tmp_path / "disc", "--out", out)
    assert [row["file"].rpartition("/")[2] for row in summary(out)] == [
        "1.2.840.10", "1.2.840.11", "IM000001",
    ]  # fmt: skip
    assert all(row["error"] == "" for row in summary(out))


def test_a_file_reached_twice_counts_once(films: Path, out: Path) -> None:
    jobs = find_jobs([films / "2.png", films, films / ".." / "films"], out)
    assert [Path(job.path).name for job in jobs] == ["2.png", "0.png", "1.png", "3.png"]


def test_results_inside_the_input_are_not_explained_again(films: Path) -> None:
    explain(films, "--out", films / "results")
    explain(films, "--out", films / "results", "--class", "all")
    assert len(summary(films / "results")) == 4
    assert len(find_jobs([films], films / "other")) == 4


def places_of(root: Path, *names: str, given: list[str] | None = None) -> dict[str, str]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    jobs = find_jobs([root / name for name in given or names], root / "out")
    return {str(Path(job.path).relative_to(root)): job.place for job in jobs}


def test_files_that_share_a_stem_keep_their_suffix(tmp_path: Path) -> None:
    assert places_of(tmp_path, "X.png", "x.dcm", "y.png") == {
        "X.png": "X.png",
        "x.dcm": "x.dcm",
        "y.png": "y",
    }


def test_files_that_share_a_name_get_their_folder(tmp_path: Path) -> None:
    assert places_of(tmp_path, "a/1.png", "b/1.png", "a/2.png") == {
        "a/1.png": "a/1.png",
        "b/1.png": "b/1.png",
        "a/2.png": "2",
    }


def test_folders_keep_what_lies_below_them(tmp_path: Path) -> None:
    names = ("f/a/1.png", "f/b/1.png", "g/a/1.png")
    assert places_of(tmp_path, *names, given=["f"]) == {"f/a/1.png": "a/1", "f/b/1.png": "b/1"}
    assert places_of(tmp_path, *names, given=["f", "g"]) == {
        "f/a/1.png": "f/a/1.png",
        "f/b/1.png": "b/1",
        "g/a/1.png": "g/a/1.png",
    }


def test_odd_names_do_not_leave_the_folder_or_hit_the_summary(tmp_path: Path) -> None:
    places = places_of(
        tmp_path, "summary.csv.png", "explanation.json.png", "...png", "1.PNG", "a/1.png"
    )
    assert places["summary.csv.png"] == "summary.csv.png"
    assert places["explanation.json.png"] == "explanation.json.png"
    assert places["...png"] == "...png"
    assert len(set(places.values())) == 5


def test_names_that_differ_in_capitals_only(tmp_path: Path) -> None:
    places = places_of(tmp_path, "a.png", "A.png")
    assert len({place.casefold() for place in places.values()}) == 2


def test_folders_that_differ_in_capitals_only(tmp_path: Path) -> None:
    for name in ("films", "FILMS"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "x.png").touch()
    jobs = find_jobs([tmp_path / "films", tmp_path / "FILMS"], tmp_path / "out")
    assert len({job.place.casefold() for job in jobs}) == len({job.path for job in jobs})


def test_more_files_do_not_move_results(films: Path, out: Path) -> None:
    explain(films, "--out", out)
    shutil.copyfile(films / "1.png", films / "0.dcm")  # the content decides
    result = explain(films, "--out", out)

    assert "Explained 1, kept 4" in result.stdout
    assert record(out / "0")["file"] == str(films / "0.png")
    assert record(out / "0.dcm")["file"] == str(films / "0.dcm")


# ------------------------------------------------------------------------------------ second runs


def test_finished_files_are_kept(films: Path, out: Path) -> None:
    explain(films, "--out", out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.suffix != ".csv"}
    table = (out / "summary.csv").read_bytes()
    result = explain(films, "--out", out)

    assert "Explained 0, kept 4" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (out / "summary.csv").read_bytes() == table


def test_overwrite_redoes_all(films: Path, out: Path) -> None:
    explain(films, "--out", out)
    assert "Explained 4, kept 0" in explain(films, "--out", out, "--overwrite").stdout


@pytest.mark.parametrize(
    "option",
    [("--class", "all"), ("--method", "eigencam"), ("--opacity", "0.2"), ("--colormap", "jet")],
)
def test_changed_settings_are_redone(films: Path, out: Path, option: tuple[str, str]) -> None:
    film = films / "0.png"
    explain(film, "--out", out, *option)
    assert "Explained 1, kept 0" in explain(film, "--out", out).stdout
    assert "Explained 0, kept 1" in explain(film, "--out", out).stdout


def test_maps_of_other_classes_do_not_stay(films: Path, out: Path) -> None:
    explain(films / "0.png", "--out", out, "--class", "all")
    (out / "0" / "my notes.txt").touch()
    (out / "0" / ".overlay-COVID.png.12.part").touch()  # of a run that was killed
    explain(films / "0.png", "--out", out, "--class", "Normal")
    own = {"overlay-Normal.png", "heatmap-Normal.npy", "explanation.json"}
    assert names_in(out / "0") == own | {"my notes.txt"}


def test_files_of_others_stay_whatever_their_names(films: Path, tmp_path: Path) -> None:
    """A film called like an overlay is explained, too, and lies where results of another come."""
    shutil.copyfile(films / "1.png", tmp_path / "a.png")
    (tmp_path / "a").mkdir()
    film = shutil.copyfile(films / "2.png", tmp_path / "a" / "overlay-1.png")
    (tmp_path / "a" / "heatmap-of-mine.npy").touch()
    for _ in range(2):
        explain(tmp_path / "a.png", "--out", tmp_path, "--overwrite")
    assert film.exists()
    assert (tmp_path / "a" / "heatmap-of-mine.npy").exists()
    assert "Explained 1" in explain(tmp_path / "a", "--out", tmp_path / "more").stdout


def test_changed_touched_and_incomplete_files(films: Path, out: Path) -> None:
    explain(films, "--out", out)
    shutil.copyfile(films / "1.png", films / "0.png")  # changed
    os.utime(films / "1.png", (1, 1))  # touched
    next((out / "2").glob("heatmap-*")).unlink()  # incomplete
    (out / "3" / "explanation.json").write_text('{"file": 3}')  # not ours
    result = explain(films, "--out", out)

    assert "Explained 3, kept 1" in result.stdout
    assert record(out / "0")["radiograph"]["digest"] == load_radiograph(films / "1.png").digest


def test_another_film_of_one_name_size_and_time_is_not_taken_for_the_first(
    tmp_path: Path, out: Path
) -> None:
    digests = []
    for seed in (0, 1):
        pixels = np.rint(draw_phantom("Normal", seed, 64).radiograph.pixels * 255)
        path = tmp_path / str(seed) / "film.bmp"
        path.parent.mkdir()
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        os.utime(path, (1, 1))
        assert path.stat().st_size == (tmp_path / "0" / "film.bmp").stat().st_size
        explain(path, "--out", out)
        assert record(out / "film")["file"] == str(path)
        digests.append(record(out / "film")["radiograph"]["digest"])
    assert digests[0] != digests[1]


@pytest.mark.parametrize("part", ["radiograph", "file", "predicted"])
def test_a_record_that_somebody_cut_down_is_made_anew(films: Path, out: Path, part: str) -> None:
    explain(films, "--out", out)
    kept = record(out / "0")
    del kept[part]
    (out / "0" / "explanation.json").write_text(json.dumps(kept))
    os.utime(films / "0.png", (1, 1))
    assert "Explained 1, kept 3" in explain(films, "--out", out).stdout


# ----------------------------------------------------------------------------------------- errors


def test_a_broken_file_is_a_row_and_the_others_go_on(films: Path, out: Path) -> None:
    (films / "1.png").write_bytes(b"not a picture")
    (films / "bad.jpg").symlink_to("nowhere")
    result = explain(films, "--out", out, code=1)

    rows = summary(out)
    assert [bool(row["error"]) for row in rows] == [False, True, False, False, True]
    assert rows[1]["error"].startswith("1.png ")
    assert rows[1]["predicted"] == rows[1]["Normal"] == ""
    assert f"{films / rows[1]['error']}\n" in result.stderr  # which of many a 1.png it is
    assert "could not read 2 of 5" in result.stdout
    assert not (out / "1").exists()
    again = explain(films, "--out", out, code=1)
    assert "Explained 0, kept 3" in again.stdout
    assert summary(out) == rows


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{films}/none.png"], "no file or folder at .*none.png"),
        (["{films}/" + "x" * 300], r"x cannot be reached \(File name too long\): "),
        (["{films}", "--class", "Flu"], "no class 'Flu' .* COVID"),
        (["{films}", "--layer", "features.x"], "no layer 'features.x' .* features.denseblock1"),
        (["{films}", "--method", "magic"], "no method 'magic' .* gradcam"),
        (["{films}", "--colormap", "pink"], "no colormap 'pink' .* turbo"),
        (["{films}", "--opacity", "nan"], "opacity must be from 0 to 1"),
        (["{films}", "--device", "tpu"], "no device 'tpu'"),
        (["{films}", "--device", "cpu:²"], "no device 'cpu:²'"),
        (["{films}", "--device", "cuda:99999999999999999999"], "no device 'cuda:9+'"),
        (["{films}", "--checkpoint", "{films}/0.png"], "films/0.png is not a .safetensors file"),
        (["{films}", "--checkpoint", "{films}"], r"films cannot be read \(it is a folder\)"),
        (["{empty}"], "no radiograph in .*empty"),
        (["{films}", "--out", "{films}/0.png"], r"0.png \(File exists\): move the file"),
        (["{films}", "--out", "/proc/nowhere"], "/proc/nowhere"),
        (["{films}", "--out", "{films}"], "both input and output"),
    ],
)
def test_wrong_usage_is_one_sentence(
    films: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"films": films, "empty": tmp_path / "empty"}
    given = [word.format(**places) for word in arguments]
    if "--out" not in given:
        given += ["--out", str(tmp_path / "out")]
    device = [] if "--device" in given else ["--device", "cpu"]
    result = run("explain", *given, *device, code=2)

    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert re.search(words, result.stderr)
    assert not (tmp_path / "out").exists()


def test_missing_arguments_are_wrong_usage(films: Path) -> None:
    run("explain", films, code=2)
    run("explain", "--out", films, code=2)


def test_a_part_of_torchrun_is_wrong_usage(
    films: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in ("2", "many"):
        monkeypatch.setenv("WORLD_SIZE", size)
        assert "start it by torchrun" in explain(films, "--out", out, code=2).stderr


def test_a_full_disk_stops_the_run_and_leaves_whole_files(
    films: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = np.save, []

    def save_until_full(file: object, array: np.ndarray) -> None:
        saved.append(array)
        if len(saved) == 3:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(file, array)

    monkeypatch.setattr(np, "save", save_until_full)
    result = explain(films, "--out", out, "--batch-size", "1", code=2)
    assert "No space left on device" in result.stderr
    assert "run the same command again to go on" in result.stderr
    assert not list(out.rglob("*.part"))
    check_whole(out)
    monkeypatch.setattr(np, "save", save)
    explain(films, "--out", out)
    assert len(summary(out)) == 4


def test_whole_file_keeps_the_old_one_on_failure(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "x") as file:  # noqa: PT012
        file.write(b"half")
        raise KeyboardInterrupt
    assert names_in(tmp_path) == {"x"}
    assert (tmp_path / "x").read_text() == "old"


def test_nothing_found_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name the files one by one"):
        find_jobs([tmp_path], tmp_path / "out")


# ------------------------------------------------------------------------- bounded, stopped, shared


def test_radiographs_in_memory_do_not_grow_with_the_files(
    films: Path, out: Path, small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4, 32):
        (films / f"{number}.png").symlink_to(films / f"{number % 4}.png")
    alive: weakref.WeakSet[Radiograph] = weakref.WeakSet()
    most, lock = 0, threading.Lock()

    def watched(path: str) -> Radiograph:
        nonlocal most
        radiograph = load_radiograph(path)
        with lock:
            alive.add(radiograph)
            most = max(most, len(alive))
        return radiograph

    monkeypatch.setattr(pipeline, "load_radiograph", watched)
    monkeypatch.setattr("cxr_gradcam.batch.processes.Processes.threads", lambda self: 2)
    explain(films, "--out", out, "--batch-size", "4", "--checkpoint", small_checkpoint)
    assert len(summary(out)) == 32
    assert most <= 2 * 4


def check_whole(out: Path) -> None:
    """Load every file there is."""
    for path in out.rglob("*.*"):
        match path.suffix:
            case ".png":
                assert cv2.imread(str(path)) is not None
            case ".npy":
                assert np.load(path).max() <= 1
            case ".json":
                for entry in json.loads(path.read_text())["maps"].values():
                    assert all((path.parent / name).exists() for name in entry["files"])


def start(*arguments: object, **options: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command, env=environment, **pipes)


def test_a_name_that_the_terminal_cannot_write_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    out = tmp_path / "胸"
    process = start("-m", "cxr_gradcam", "phantom", "--count", 1, "--size", 64, "--out", out)
    said, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (0, "")
    assert r"\u80f8" in said
    assert list(out.rglob("*.png"))


def test_ctrl_c_leaves_whole_files_and_the_next_run_goes_on(films: Path, out: Path) -> None:
    for number in range(4, 30):
        (films / f"{number}.png").symlink_to(films / f"{number % 4}.png")
    process = start("-m", "cxr_gradcam", "explain", films, "--out", out, "--batch-size", 2)
    while process.poll() is None and not list(out.glob("*/explanation.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 128 + signal.SIGINT, said
    done = len(list(out.glob("*/explanation.json")))
    assert 0 < done < 30
    assert said == f"Stopped with {done} of 30 files done: run the same command again to go on.\n"
    assert not list(out.rglob("*.part"))
    assert not (out / "summary.csv").exists()
    check_whole(out)
    assert f"Explained {30 - done}, kept {done}" in explain(films, "--out", out).stdout
    assert len(summary(out)) == 30


def test_only_one_sentence_is_said_of_a_damaged_file(
    films: Path, tmp_path: Path, out: Path
) -> None:
    """Pillow warns of a TIFF that ends within its header.

    The folder `dl` is called as a module that python-gdcm looks for where the program is started.
    """
    (tmp_path / "dl").mkdir()
    Image.open(films / "0.png").save(tmp_path / "cut.tif")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "cut.tif").read_bytes()[:20])
    process = start("-m", "cxr_gradcam", "explain", "cut.tif", "--out", out, cwd=tmp_path)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said == "cut.tif is damaged or incomplete: copy or export it again.\n"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_torchrun_leaves_one_summary_in_order(films: Path, out: Path) -> None:
    (films / "2.png").write_bytes(b"broken")
    for number in range(4, 9):
        shutil.copyfile(films / "0.png", films / f"{number}.png")
    explain(films, "--out", out / "alone", code=1)
    (out / "shared").mkdir()
    (out / "shared" / ".summary-7.part").write_text("of a run that was killed")
    module = ("torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "cxr_gradcam")
    process = start("-m", *module, "explain", films, "--out", out / "shared")
    said = "".join(process.communicate(timeout=100))

    assert process.returncode == 1, said
    assert said.count("could not read 1 of 9 files") == 1
    assert not list((out / "shared").glob(".*"))
    alone, shared = summary(out / "alone"), summary(out / "shared")
    assert [row["file"] for row in shared] == [row["file"] for row in alone]
    assert [row["predicted"] for row in shared] == [row["predicted"] for row in alone]
    assert [row["error"] for row in shared] == [row["error"] for row in alone]
    for one, other in zip(alone, shared, strict=True):
        assert one["error"] or float(one["Normal"]) == pytest.approx(float(other["Normal"]), 1e-4)


# ---------------------------------------------------------------------------------------- evaluate


def test_evaluate_leaves_a_report(drawn: list[Path], out: Path) -> None:
    result = run("evaluate", "--data", drawn[0].parents[2], "--out", out, "--device", "cpu")
    assert re.match(r"On 4 radiographs: accuracy \d+\.\d% \(", result.stdout)
    assert names_in(out) == {
        "metrics.json", "predictions.csv", "confusion_matrix.png", "reliability.png",
        "worst_errors.png",
    }  # fmt: skip
    assert json.loads((out / "metrics.json").read_text())["n"] == 4


def test_evaluate_one_split(tmp_path: Path, out: Path) -> None:
    write_phantoms(tmp_path / "data" / "train", 4, size=64)
    write_phantoms(tmp_path / "data" / "test", 8, seed=4, size=64)
    options = ("--data", tmp_path / "data", "--out", out, "--device", "cpu")
    assert "On 8 radiographs" in run("evaluate", *options, "--split", "test").stdout
    assert "no folder val" in run("evaluate", *options, "--split", "val", code=2).stderr
    run("evaluate", *options, "--split", "none", code=2)


def test_evaluate_says_of_each_file_why_none_can_be_read(tmp_path: Path, out: Path) -> None:
    for label in ("COVID", "Normal"):
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "film.png").write_bytes(b"no picture")
    told = run("evaluate", "--data", tmp_path / "data", "--out", out, "--device", "cpu", code=1)
    assert "None of the 2 files can be read: see the column error of" in told.stderr
    assert (out / "predictions.csv").read_text().count("film.png cannot be read") == 2


def test_evaluate_of_a_class_whose_name_is_no_utf8(
    drawn: list[Path], tmp_path: Path, out: Path
) -> None:
    label = "C\udce9"
    shutil.copytree(drawn[0].parents[1], tmp_path / "data" / label)
    shutil.copytree(drawn[1].parents[1], tmp_path / "data" / "Normal")
    good = load_checkpoint()
    names = (label, *good.class_names[1:])
    save_checkpoint(replace(good, class_names=names), tmp_path / "odd.safetensors")
    options = ("--checkpoint", tmp_path / "odd.safetensors", "--device", "cpu")
    run("evaluate", "--data", tmp_path / "data", "--out", out, *options)
    assert label in json.loads((out / "metrics.json").read_text())["classes"]


def test_evaluate_counts_what_it_cannot_read(drawn: list[Path], tmp_path: Path, out: Path) -> None:
    data = shutil.copytree(drawn[0].parents[2], tmp_path / "data")
    (data / "Normal" / "images" / "broken.png").write_bytes(b"broken")
    result = run("evaluate", "--data", data, "--out", out, "--device", "cpu", code=1)
    assert "On 4 radiographs" in result.stdout
    assert "1 file could not be read: see the column error of" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "{films}/none"], "no dataset folder at"),
        (["--data", "{films}"], "holds no images in class folders"),
        (["--data", "{data}", "--checkpoint", "{films}/0.png"], "is not a .safetensors file"),
        (["--data", "{data}", "--device", "tpu"], "no device 'tpu'"),
        (["--data", "{data}", "--out", "{films}/0.png"], "Nothing can be written to"),
        (["--data", "{flu}"], "has the class 'Flu', the checkpoint knows COVID"),
        (["--data", "{data}", "--out", "{data}/report"], "report lies in the dataset folder"),
    ],
)
def test_evaluate_tells_wrong_usage(
    films: Path, drawn: list[Path], tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "flu" / "Flu").mkdir(parents=True)
    shutil.copyfile(drawn[0], tmp_path / "flu" / "Flu" / "1.png")
    places = {"films": films, "data": drawn[0].parents[2], "flu": tmp_path / "flu"}
    given = [word.format(**places) for word in arguments]
    given += [] if "--out" in given else ["--out", str(tmp_path / "out")]
    result = run("evaluate", *given, code=2)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert re.search(words, result.stderr)


# ---------------------------------------------------------------------------------------- phantoms


def test_phantom_writes_a_dataset_folder(tmp_path: Path) -> None:
    result = run("phantom", "--count", 4, "--seed", 3, "--size", 96, "--out", tmp_path / "p")
    assert "4 phantoms" in result.stdout
    assert len(list(tmp_path.glob("p/*/images/*.png"))) == 4
    assert len(list(tmp_path.glob("p/*/masks/*.png"))) == 4


def test_phantom_tells_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "size is 8" in run("phantom", "--size", 8, "--out", tmp_path, code=2).stderr
    run("phantom", "--count", 1, "--size", 96, "--out", tmp_path / "file", code=2)
    run("phantom", "--count", -1, "--out", tmp_path, code=2)


def test_a_last_line_that_cannot_be_printed(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    with full.open("w") as file:
        arguments = ("phantom", "--count", 1, "--size", 64, "--out", tmp_path)
        process = start("-m", "cxr_gradcam", *arguments, stdout=file)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said == (
        f"The results are in {tmp_path}, but this cannot be printed (No space left on device).\n"
    )


@pytest.mark.parametrize("command", ["explain", "phantom"])
def test_no_folder_and_home_as_folder_of_results(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    asked = ["in"] if command == "explain" else ["--count", "1", "--size", "64"]
    told = run(command, *asked, "--out", "", code=2)
    assert "it is empty: name a folder" in " ".join(told.stderr.replace("│", "").split())
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    if command == "phantom":
        run(command, *asked, "--out", "~/drawn")
        assert (tmp_path / "drawn" / "COVID").is_dir()
