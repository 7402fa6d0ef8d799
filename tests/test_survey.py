"""A folder evaluated in the background: the same numbers as one by one, and nothing done twice."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import cxr_gradcam.survey.registry as registry_module
import cxr_gradcam.survey.survey as survey_module
from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import CLASS_NAMES, write_phantoms
from cxr_gradcam.preprocess import Letterbox
from cxr_gradcam.radiograph import load_radiograph
from cxr_gradcam.survey.folder import Folder, list_folder
from cxr_gradcam.survey.look import SQUARE, Looks, look_at, read_film, squared
from cxr_gradcam.survey.means import OF_CALL, OF_LABEL, Sums
from cxr_gradcam.survey.phantoms import COUNT, phantom_folder
from cxr_gradcam.survey.registry import KEPT, Registry
from cxr_gradcam.survey.results import Results, true_classes
from cxr_gradcam.survey.selection import Selection, select
from cxr_gradcam.survey.sheet import choose, draw_sheet
from cxr_gradcam.survey.store import KEPT_STORES, Store, cache_folder
from cxr_gradcam.survey.survey import Survey
from cxr_gradcam.survey.thumbnails import SIDE, Thumbnails, decode
from cxr_gradcam.training.scores import evaluate_logits

PATIENCE = 60.0


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve phantoms, one of them no longer square, and a file that is no picture."""
    root = tmp_path_factory.mktemp("phantoms")
    files = write_phantoms(root, 12, size=96)
    film = cv2.imread(str(files[0]), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(files[0]), film[:70])
    (root / "Normal" / "images" / "broken.png").write_bytes(b"no picture")
    return root


@pytest.fixture
def root(drawn: Path, tmp_path: Path) -> Path:
    """The same folder, to be changed freely."""
    copy = tmp_path / "data"
    for path in drawn.rglob("images/*.png"):
        target = copy / path.relative_to(drawn)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return copy


@pytest.fixture(scope="module")
def looks(drawn: Path, explainer: Explainer) -> Looks:
    folder = list_folder(drawn)
    return look_at(explainer, folder.films, [read_film(film) for film in folder.films])


@pytest.fixture(scope="module")
def results(drawn: Path, explainer: Explainer, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return finished(drawn, explainer, tmp_path_factory.mktemp("cache")).results()


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of all films that workers look at from now on."""
    keys: list[str] = []

    def counted(explainer: Explainer, films: list, read: list) -> Looks:
        keys.extend(film.key for film in films)
        return look_at(explainer, films, read)

    monkeypatch.setattr(survey_module, "look_at", counted)
    return keys


def store_of(cache: Path, explainer: Explainer, root: Path) -> Store:
    return Store(cache, explainer.classifier.digest, root)


def finished(root: Path, explainer: Explainer, cache: Path) -> Survey:
    survey = Survey(explainer, list_folder(root), store_of(cache, explainer, root))
    survey.start()
    wait(lambda: not survey.status.running)
    return survey


def wait(done: Callable[[], bool]) -> None:
    start = time.monotonic()
    while not done():
        assert time.monotonic() - start < PATIENCE
        time.sleep(0.01)


# --- what is found


def test_every_film_gets_what_the_explainer_gives_it_alone(
    results: Results, explainer: Explainer
) -> None:
    for place, film in enumerate(results.folder.films):
        if film.name == "broken.png":
            assert not results.read[place]
            continue
        alone = explainer.explain(load_radiograph(film.path))
        for name, logit, share in zip(
            results.class_names, results.logits[place], results.probabilities[place], strict=True
        ):
            assert logit == pytest.approx(alone.logits[name], abs=1e-4)
            assert share == pytest.approx(alone.probabilities[name], abs=1e-4)
        assert results.class_names[results.called[place]] == alone.predicted
        assert results.familiarity[place] == pytest.approx(alone.familiarity, rel=1e-3)
        assert bool(results.familiar[place]) == alone.familiar
    assert list(results.errors) == ["Normal/broken.png"]
    assert "broken.png cannot be read as a picture" in results.errors["Normal/broken.png"]


def test_metrics_are_those_of_the_evaluation(results: Results, explainer: Explainer) -> None:
    films = [film for film in results.folder.films if film.name != "broken.png"]
    alone = [explainer.explain(load_radiograph(film.path)) for film in films]
    wanted = evaluate_logits(
        [list(one.logits.values()) for one in alone],
        [results.class_names.index(film.label) for film in films],
        results.class_names,
        temperature=explainer.classifier.temperature,
        bootstrap=0,
    )
    found = results.metrics(0)
    assert found is not None
    assert found["confusion_matrix"] == wanted["confusion_matrix"]
    assert found["accuracy"] == wanted["accuracy"]
    ece = wanted["calibration"]["after"]["ece"]
    assert found["calibration"]["after"]["ece"] == pytest.approx(ece, abs=1e-4)


def test_mean_heatmaps_and_films_are_plain_means(
    drawn: Path, looks: Looks, explainer: Explainer
) -> None:
    folder, names = list_folder(drawn), explainer.classifier.class_names
    sums = Sums(names, explainer.classifier.input_size)
    readable = looks.readable()
    sums.add(readable, true_classes(folder, names)[[folder.places[key] for key in readable.keys]])
    heat: dict[tuple[int, str], list[np.ndarray]] = {}
    film_of: dict[tuple[int, str], list[np.ndarray]] = {}
    for film in folder.films:
        if film.name == "broken.png":
            continue
        radiograph = load_radiograph(film.path)
        alone = explainer.explain(radiograph)
        box = replace(
            Letterbox.fit(radiograph.height, radiograph.width, explainer.classifier.input_size),
            height=SQUARE, width=SQUARE,
        )  # fmt: skip
        for which, name in ((OF_LABEL, film.label), (OF_CALL, alone.predicted)):
            heatmap = replace(alone, letterbox=box).heatmap(name)
            heat.setdefault((which, name), []).append(heatmap)
            film_of.setdefault((which, name), []).append(squared(radiograph) / 255)
    for which in (OF_LABEL, OF_CALL):
        for name, mean in sums.means(which).items():
            wanted = heat.get((which, name), [])
            assert mean.count == len(wanted)
            if wanted:
                np.testing.assert_allclose(mean.heatmap, np.mean(wanted, axis=0), atol=2e-3)
                np.testing.assert_allclose(
                    mean.film, np.mean(film_of[which, name], axis=0), atol=1e-6
                )
                assert mean.heatmap.max() > 0.2
            else:
                assert not mean.heatmap.any()
                assert not mean.film.any()
    assert sum(mean.count for mean in sums.means(OF_LABEL).values()) == 12


def test_a_class_that_the_model_does_not_know_is_called_but_not_scored(
    root: Path, explainer: Explainer, tmp_path: Path
) -> None:
    (root / "COVID").rename(root / "Asthma")
    survey = finished(root, explainer, tmp_path / "cache")
    results = survey.results()
    asthma = np.array([film.label == "Asthma" for film in results.folder.films])
    assert results.read[asthma].all()
    assert (results.called[asthma] >= 0).all()
    assert not results.scored[asthma].any()
    metrics = results.metrics(0)
    assert metrics is not None
    assert metrics["n"] == 9
    means = survey.means(OF_LABEL)
    assert list(means) == list(CLASS_NAMES)
    assert means["COVID"].count == 0


# --- done once


def test_a_stopped_survey_goes_on_where_it_was(
    root: Path, explainer: Explainer, tmp_path: Path, looked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(survey_module, "BATCH", 4)
    survey = Survey(explainer, list_folder(root), store_of(tmp_path, explainer, root))
    assert not survey.status.running
    survey.start()
    wait(lambda: survey.status.done > 4)
    survey.stop(wait=True)
    halfway = survey.status
    assert 0 < halfway.done < halfway.total == 13
    assert halfway.seconds_left is None
    # The classes take turns, so a part of the folder tells of all of them.
    read = survey.results().read
    labels = {film.label for film, done in zip(survey.folder.films, read, strict=True) if done}
    assert labels == set(CLASS_NAMES)
    survey.start()
    wait(lambda: not survey.status.running)
    assert survey.status.done == 13
    assert sorted(looked) == sorted(film.key for film in survey.folder.films)


def test_after_a_restart_only_what_is_new_or_changed_is_looked_at(
    root: Path, small_explainer: Explainer, tmp_path: Path, looked: list[str]
) -> None:
    first = finished(root, small_explainer, tmp_path)
    before = first.results()
    looked.clear()
    again = finished(root, small_explainer, tmp_path)
    assert looked == ["Normal/broken.png"]  # it may have been repaired without a new time
    np.testing.assert_array_equal(again.results().logits, before.logits)
    for which in (OF_LABEL, OF_CALL):
        for name, mean in again.means(which).items():
            assert mean.count == first.means(which)[name].count
            np.testing.assert_allclose(mean.heatmap, first.means(which)[name].heatmap, atol=1e-6)

    films = {film.key: film for film in before.folder.films}
    changed, gone = sorted(key for key in films if key.startswith("COVID/"))[:2]
    picture = cv2.imread(str(films[changed].path), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(films[changed].path), 255 - picture)
    os.utime(films[changed].path, ns=(1, 1))
    films[gone].path.unlink()
    (root / "Normal" / "images" / "broken.png").unlink()
    added = root / "Normal" / "images" / "added.png"
    added.write_bytes(films["Normal/Normal-phantom-2.png"].path.read_bytes())
    looked.clear()
    after = finished(root, small_explainer, tmp_path)
    assert sorted(looked) == sorted([changed, "Normal/added.png"])
    assert after.status.done == after.status.total == 12
    assert after.means(OF_LABEL)["COVID"].count == 2
    place, old = after.folder.places[changed], before.folder.places[changed]
    assert np.abs(after.results().logits[place] - before.logits[old]).max() > 0.1


def test_another_model_or_folder_has_a_store_of_its_own(
    root: Path, small_explainer: Explainer, tmp_path: Path
) -> None:
    finished(root, small_explainer, tmp_path)
    classes, folder = len(CLASS_NAMES), list_folder(root)
    assert sum(map(len, store_of(tmp_path, small_explainer, root).read(folder, classes))) == 12
    assert not list(Store(tmp_path, "0" * 64, root).read(folder, classes))
    assert not list(
        store_of(tmp_path, small_explainer, tmp_path / "elsewhere").read(folder, classes)
    )


def test_damaged_parts_of_the_store_are_made_anew(
    root: Path, small_explainer: Explainer, tmp_path: Path
) -> None:
    finished(root, small_explainer, tmp_path)
    (part,) = tmp_path.rglob("*.npz")
    part.with_name("short.npz").write_bytes(part.read_bytes()[:2000])
    part.with_name("empty.npz").write_bytes(b"")
    part.with_name("strange.npz").write_bytes(b"PK\x03\x04 and no more")
    with np.load(part) as arrays:
        wrong = {name: arrays[name] for name in arrays.files} | {"logits": np.zeros((12, 9))}
    np.savez(part.with_name("wrong.npz"), **wrong)
    folder = list_folder(root)
    found = list(store_of(tmp_path, small_explainer, root).read(folder, len(CLASS_NAMES)))
    assert [len(one) for one in found] == [12]
    assert list(tmp_path.rglob("*.npz")) == [part]


def test_a_disk_that_refuses_costs_nothing_but_the_memory_of_it(
    root: Path, small_explainer: Explainer, tmp_path: Path
) -> None:
    cache = tmp_path / "file"
    cache.write_text("a file where the folder should be")
    survey = finished(root, small_explainer, cache)
    assert survey.status.done == 13
    assert "cannot be written to the disk" in survey.status.problem
    assert "CXR_CACHE" in survey.status.problem
    again = Survey(small_explainer, list_folder(root), survey.store)
    assert again.status.done == 12


def test_what_a_disk_refused_is_written_when_it_takes_files_again(
    drawn: Path, looks: Looks, tmp_path: Path
) -> None:
    good = looks.readable()
    first = np.arange(len(good)) < 5
    in_the_way = tmp_path / "cache"
    in_the_way.touch()
    store = Store(in_the_way, "0" * 64, drawn)
    store.add([good.only(first)])
    assert store.problem
    in_the_way.unlink()
    store.add([good.only(~first)])
    assert store.problem == ""
    folder = list_folder(drawn)
    for one in (store, Store(in_the_way, "0" * 64, drawn)):
        assert sum(map(len, one.read(folder, len(CLASS_NAMES)))) == len(good)


def test_old_stores_make_room(root: Path, looks: Looks, tmp_path: Path) -> None:
    for number in range(KEPT_STORES + 3):
        Store(tmp_path, f"{number:064}", root).add([looks.readable()])
        newest = max((tmp_path / "surveys").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    assert len(list((tmp_path / "surveys").iterdir())) == KEPT_STORES


def test_the_cache_lies_where_the_user_says() -> None:
    assert cache_folder({"CXR_CACHE": "/somewhere"}) == Path("/somewhere")
    assert cache_folder({"XDG_CACHE_HOME": "/caches"}) == Path("/caches/cxr-gradcam")
    assert cache_folder({}) == Path.home() / ".cache" / "cxr-gradcam"


def test_the_cache_of_a_user_without_a_home_lies_among_temporary_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.path.expanduser", str)  # as where there is neither HOME nor an account
    assert cache_folder({}) == Path(tempfile.gettempdir()) / "cxr-gradcam"
    assert cache_folder({"XDG_CACHE_HOME": "here"}) == Path(tempfile.gettempdir()) / "cxr-gradcam"


# --- shared


def test_all_visitors_share_one_survey(
    root: Path, small_explainer: Explainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_CACHE", str(tmp_path / "cache"))
    registry, folder = Registry(), list_folder(root)
    mine = registry.survey(small_explainer, folder)
    assert registry.survey(small_explainer, list_folder(root)) is mine
    mine.start()
    (root / "Normal" / "images" / "broken.png").unlink()
    renewed = registry.survey(small_explainer, list_folder(root))  # and it goes on by itself
    assert renewed is not mine
    wait(lambda: renewed.status.done == 12)
    wait(lambda: not mine.status.running)


def test_idle_surveys_are_forgotten_and_found_again_on_disk(
    small_explainer: Explainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_CACHE", str(tmp_path / "cache"))
    made: list[Survey] = []

    class Counted(Survey):
        def __init__(self, explainer: Explainer, folder: Folder, store: Store) -> None:
            super().__init__(explainer, folder, store)
            made.append(self)

    monkeypatch.setattr(registry_module, "Survey", Counted)
    registry = Registry()
    folders = []
    for number in range(KEPT + 1):
        write_phantoms(tmp_path / str(number), 1, size=64)
        folders.append(list_folder(tmp_path / str(number)))
        registry.survey(small_explainer, folders[-1])
    registry.survey(small_explainer, folders[-1])
    assert len(made) == KEPT + 1
    registry.survey(small_explainer, folders[0])
    assert len(made) == KEPT + 2


def test_a_survey_that_starts_while_as_many_as_are_kept_run_is_kept_too(
    small_explainer: Explainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_CACHE", str(tmp_path / "cache"))
    folders = []
    for number in range(KEPT + 1):
        write_phantoms(tmp_path / str(number), 1, size=64)
        folders.append(list_folder(tmp_path / str(number)))
    monkeypatch.setattr(
        Survey, "status",
        property(lambda survey: SimpleNamespace(running=survey.folder is not folders[-1])),
    )  # fmt: skip
    registry = Registry()
    last = [registry.survey(small_explainer, folder) for folder in folders][-1]
    assert registry.survey(small_explainer, folders[-1]) is last


def test_a_worker_that_fails_says_so(
    root: Path, small_explainer: Explainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Looks:
        raise MemoryError

    monkeypatch.setattr(survey_module, "look_at", fail)
    survey = finished(root, small_explainer, tmp_path)
    assert "ended early (MemoryError)" in survey.status.problem
    monkeypatch.setattr(survey_module, "look_at", look_at)
    survey.start()
    wait(lambda: not survey.status.running)
    assert survey.status.problem == ""
    assert survey.status.done == 13


# --- chosen


def test_selections(results: Results) -> None:
    films = results.folder.films

    def names(**wanted: object) -> list[int]:
        return select(results, Selection(**wanted)).tolist()

    everything = list(range(len(films)))
    assert names() == everything
    assert names(label="COVID") == [i for i in everything if films[i].label == "COVID"]
    for k, name in enumerate(results.class_names):
        assert names(called=name) == [i for i in everything if results.called[i] == k]
    right, wrong = names(verdict="right"), names(verdict="wrong")
    assert sorted(right + wrong) == [i for i in everything if results.read[i]]
    assert right == [
        i for i in everything if results.read[i] and results.called[i] == results.truth[i]
    ]
    sure = names(confidence=(0.5, 0.9))
    assert sure == [i for i in everything if 0.5 <= results.confidence[i] <= 0.9]
    strange = names(known="strange")
    assert strange == [i for i in everything if results.familiar[i] == 0]
    assert set(names(known="familiar")) | set(strange) == set(np.flatnonzero(results.read))
    both = names(label="COVID", called="Normal")
    assert both == [i for i in names(label="COVID") if results.called[i] == 2]


def test_orders_put_waiting_films_last(results: Results) -> None:
    (waiting,) = np.flatnonzero(~results.read)
    for order, values in (
        ("least sure", results.confidence),
        ("most sure", -results.confidence),
        ("least familiar", results.familiarity),
    ):
        places = select(results, Selection(order=order))  # type: ignore[arg-type]
        assert places[-1] == waiting
        assert (np.diff(values[places[:-1]]) >= 0).all()


# --- pictures


def test_thumbnails_are_small_kept_and_bounded(root: Path) -> None:
    folder = list_folder(root)
    wide = root / "COVID" / "images" / "wide.png"
    cv2.imwrite(str(wide), np.tile(np.arange(1000, dtype=np.uint16) * 60, (500, 1)))
    films = list_folder(root).films
    thumbnails = Thumbnails(kept=5)
    made = thumbnails.of(films)
    assert len(thumbnails) == 5
    by_name = {film.name: one for film, one in zip(films, made, strict=True)}
    small = by_name["wide.png"]
    assert isinstance(small, bytes)
    pixels = decode(small)
    assert pixels.shape == (SIDE // 2, SIDE)
    assert pixels[:, 0].max() < 10 < 225 < pixels[:, -1].min()
    assert isinstance(by_name["broken.png"], str)  # an exception would keep what was read
    assert "broken.png cannot be read as a picture" in by_name["broken.png"]
    kept_for_good = {path.name for path, _ in thumbnails._made}
    assert "broken.png" not in kept_for_good  # what cannot be read now may be readable later
    last = [film for film in films if film.name == folder.films[-1].name]
    last[0].path.unlink()
    assert thumbnails.of(last)[0] == made[-1]  # kept, so the file is not asked for


def test_a_sheet_shows_films_of_every_class(drawn: Path) -> None:
    folder = list_folder(drawn)
    chosen = choose(folder, seed=3, per_class=2)
    assert list(chosen) == list(folder.labels)
    assert all(len(films) == len(set(films)) == 2 for films in chosen.values())
    assert choose(folder, 3, 2) == chosen != choose(folder, 4, 2)
    picture = draw_sheet(chosen, Thumbnails())
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert min(pixels.shape) > 400
    assert pixels.std() > 20
    everything = draw_sheet(choose(folder, 0, per_class=99), Thumbnails())  # with a broken file
    assert everything[:4] == b"\x89PNG"


def test_phantoms_for_those_who_have_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxr_gradcam.survey.phantoms._SIZE", 64)
    root = phantom_folder(tmp_path)
    folder = list_folder(root)
    assert len(folder.films) == COUNT
    assert folder.labels == CLASS_NAMES
    stamps = [film.stamp for film in folder.films]
    assert phantom_folder(tmp_path) == root
    assert [film.stamp for film in list_folder(root).films] == stamps
    assert [path.name for path in tmp_path.iterdir()] == [root.name]
