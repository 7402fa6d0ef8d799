"""The page "Dataset": empty, without results, while it works, finished; and what is refused."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from cxr_gradcam.explainer import Explainer
from cxr_gradcam.phantom import CLASS_NAMES, write_phantoms
from cxr_gradcam.radiograph import load_radiograph
from cxr_gradcam.reading import printable
from cxr_gradcam.survey.folder import Film, Folder
from cxr_gradcam.ui.components import dataset_choices, dataset_confusion, dataset_grid
from cxr_gradcam.ui.components.dataset_state import FIGURES, MAPS, SHEET, Keys
from cxr_gradcam.ui.components.dataset_style import Theme
from cxr_gradcam.ui.text import plain
from tests.ui.visiting import check, component, components, open_page, text_of

PATIENCE = 60.0
BROKEN = "a<b> *c* [d](e).png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve phantoms, two in each other's class, and a file with Markdown and HTML in its name."""
    root = tmp_path_factory.mktemp("chests")
    write_phantoms(root, 12, size=64)
    swapped = [min((root / name / "images").iterdir()) for name in ("COVID", "Viral Pneumonia")]
    pictures = [path.read_bytes() for path in swapped]
    for path, picture in zip(swapped, reversed(pictures), strict=True):
        path.write_bytes(picture)
    (root / "Normal" / "images" / BROKEN).write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that several tests share, so that the films are evaluated once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """As on a server that has just started: nothing is in its memory."""
    yield
    st.cache_resource.clear()


@pytest.fixture
def page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page with the folder, before anything was evaluated."""
    monkeypatch.setenv("CXR_DATA", str(folder))
    return open_page("Dataset")


@pytest.fixture
def evaluated(folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page with the folder, when every film is evaluated."""
    monkeypatch.setenv("CXR_DATA", str(folder))
    monkeypatch.setenv("CXR_CACHE", str(kept))
    return evaluate(open_page("Dataset"))


def evaluate(page: AppTest) -> AppTest:
    page.button(key="dataset_start").click().run()
    start = time.monotonic()
    while "All 13 films evaluated" not in text_of(page):
        check(page)
        assert time.monotonic() - start < PATIENCE
        time.sleep(0.05)
        page.run()
    check(page)
    return page


def look_at(page: AppTest, view: str) -> AppTest:
    page.button_group(key=Keys.VIEW).set_value(view).run()
    check(page)
    return page


# --- without data


def test_without_a_dataset_it_says_how_to_set_one_and_draws_phantoms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cxr_gradcam.survey.phantoms._SIZE", 64)
    monkeypatch.setattr("cxr_gradcam.survey.phantoms.COUNT", 8)
    page = open_page("Dataset")
    assert "CXR_DATA" in text_of(page)
    assert Keys.GRID not in components(page)
    page.button(key="dataset_draw").click().run()
    check(page)
    assert "Phantoms" in text_of(page)
    assert len(component(page, Keys.GRID)["films"]) == 8
    page.button(key="dataset_start")  # it can be evaluated


def test_phantoms_that_cannot_be_written_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("CXR_CACHE", str(file))
    page = open_page("Dataset")
    page.button(key="dataset_draw").click().run()
    check(page)
    assert "cannot be written to the disk" in page.error[0].value


def test_a_folder_that_is_no_dataset_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXR_DATA", str(tmp_path / "nowhere"))
    page = open_page("Dataset")
    assert any("no dataset folder" in error.value for error in page.error)
    assert Keys.GRID not in components(page)


# --- with data


def test_films_can_be_browsed_before_anything_is_evaluated(page: AppTest) -> None:
    films = component(page, Keys.GRID)["films"]
    assert len(films) == 13
    assert {film["said"] for film in films} == {"not evaluated"}
    assert all(
        film["src"].startswith("data:image/jpeg;base64,") for film in films if not film["why"]
    )
    (broken,) = [film for film in films if film["why"]]
    assert "cannot be read as a picture" in broken["why"]
    assert "13 films, not evaluated yet" in text_of(page)
    look_at(page, FIGURES)
    assert "evaluate the films first" in page.info[0].value
    look_at(page, MAPS)
    assert "evaluate the films first" in page.info[0].value


def test_an_evaluated_folder_shows_films_figures_and_maps(
    evaluated: AppTest, folder: Path, explainer: Explainer
) -> None:
    page = evaluated
    films = {film["key"]: film for film in component(page, Keys.GRID)["films"]}
    for label in CLASS_NAMES:
        path = min((folder / label / "images").glob("*phantom*"))
        alone = explainer.explain(load_radiograph(path))
        film = films[f"{label}/{path.name}"]
        share = alone.probabilities[alone.predicted]
        assert film["said"] == f"{alone.predicted.replace('_', ' ')} {share:.0%}"
        assert film["verdict"] == ("right" if alone.predicted == label else "wrong")
        assert path.name in film["alt"]
    assert "1 file cannot be read" in page.expander[0].label
    listed = page.expander[0].markdown[0].value
    assert r"a\<b\> \*c\* \[d\]\(e\)\.png cannot be read as a picture" in listed

    look_at(page, FIGURES)
    matrix = component(page, Keys.CONFUSION)
    counts = [[cell["count"] for cell in row["cells"]] for row in matrix["rows"]]
    assert [sum(row) for row in counts] == [3, 3, 3, 3]
    cell = matrix["rows"][0]["cells"][2]
    words = "1 film" if cell["count"] == 1 else f"{cell['count']} films"
    assert cell["label"] == f"COVID called Normal: {words}"
    shown = text_of(page)
    right = sum(counts[k][k] for k in range(4))
    assert f"{right} of 12 films right" in shown
    assert f"{right / 12:.1%}" in shown
    assert "Balanced accuracy" in shown
    assert "AUROC" in shown
    assert "Reliability diagram: accuracy against confidence" in shown

    look_at(page, MAPS)
    assert "3 films" in text_of(page)
    assert len(page.get("image")) == 2 * len(CLASS_NAMES)
    look_at(page, SHEET)
    assert page.get("image")
    assert page.get("download_button")


def test_choices_restrict_and_order_the_films(evaluated: AppTest) -> None:
    page = evaluated
    page.selectbox(key=Keys.LABEL).select("COVID").run()
    assert all(film["key"].startswith("COVID/") for film in component(page, Keys.GRID)["films"])
    assert "3 of 13 films" in text_of(page)
    page.button(key="dataset_all").click().run()
    assert len(component(page, Keys.GRID)["films"]) == 13
    page.selectbox(key=Keys.VERDICT).select("wrong").run()
    assert {film["verdict"] for film in component(page, Keys.GRID)["films"]} == {"wrong"}
    page.selectbox(key=Keys.VERDICT).select("").run()
    page.selectbox(key=Keys.ORDER).select("least sure").run()
    sure = [film["said"] for film in component(page, Keys.GRID)["films"][:-1]]
    shares = [int(words.split()[-1].rstrip("%")) for words in sure]
    assert shares == sorted(shares)
    page.slider(key=Keys.CONFIDENCE).set_range(95, 100).run()
    films = component(page, Keys.GRID)["films"]
    assert len(films) == sum(share > 94.9 for share in shares)


def test_films_come_in_pages(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_choices, "PER_PAGE", 5)
    page.run()
    seen = []
    for _ in range(3):
        seen += [film["key"] for film in component(page, Keys.GRID)["films"]]
        if not page.button(key="dataset_next").disabled:
            page.button(key="dataset_next").click().run()
    assert len(seen) == len(set(seen)) == 13
    page.selectbox(key=Keys.LABEL).select("COVID").run()
    check(page)
    assert len(component(page, Keys.GRID)["films"]) == 3


def test_results_outlive_the_server(evaluated: AppTest) -> None:
    st.cache_resource.clear()  # as after a start: only the disk knows
    again = open_page("Dataset")
    assert "12 of 13 films evaluated" in text_of(again)
    again.button(key="dataset_start").click()  # the broken file is tried again
    evaluate(again)


# --- what a browser may send


@pytest.mark.parametrize(
    "clicked",
    [
        None, "COVID/a.png", {}, {"place": 5, "key": "COVID/a.png"}, {"place": -1, "key": "x"},
        {"place": 0, "key": "COVID/../../secret.png"}, {"place": "0", "key": "COVID/a.png"},
        {"place": 1, "key": "COVID/a.png"},
    ],
)  # fmt: skip
def test_only_films_of_the_listing_can_be_opened(clicked: object) -> None:
    films = tuple(Film("COVID", name, Path(name), (1, 1)) for name in ("a.png", "b.png"))
    listing = Folder(Path("root"), ("COVID",), films)
    assert dataset_grid.looked_up(listing, clicked) is None
    assert dataset_grid.looked_up(listing, {"place": 0, "key": "COVID/a.png"}) is films[0]


@pytest.mark.parametrize("cell", [None, 3, [0], [0, 4], [-1, 0], ["0", 1], [0.0, 1], {"0": 1}])
def test_only_cells_of_the_matrix_can_be_opened(cell: object) -> None:
    assert not dataset_confusion.is_cell(cell, 4)
    assert dataset_confusion.is_cell([0, 3], 4)


def test_names_that_cannot_be_sent_are_made_fit() -> None:
    assert printable("a\udcffb\n\u202ec") == "a?b??c"
    assert plain("a\udcffb") == "a?b"
    screenshot = "Screenshot 3.45\u202fPM\u00a0\u3000.png"  # as macOS names it
    assert printable(screenshot) == screenshot


def test_a_drawn_figure_takes_the_colours_of_the_page() -> None:
    from cxr_gradcam.training.report import reliability_figure
    from cxr_gradcam.ui.components.dataset_figures import recolour

    bins = [{"low": 0.0, "high": 1.0, "n": 3, "confidence": 0.5, "accuracy": 0.6}]
    part = {"ece": 0.1, "nll": 0.2, "bins": bins}
    figure = reliability_figure({"temperature": 1.2, "before": part, "after": part})
    recolour(figure, Theme("#112233", "#445566", "#778899", "#aabbcc"))
    axes = figure.axes[0]
    assert axes.title.get_color() == axes.xaxis.label.get_color() == "#112233"
    assert figure.get_facecolor() == axes.get_facecolor() != (1, 1, 1, 1)
