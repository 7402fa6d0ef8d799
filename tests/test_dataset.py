"""The three layouts of a dataset folder, what is left out of them, and what is no dataset."""

import os
from pathlib import Path

import pytest

from cxr_gradcam.dataset import (
    DEFAULT_FOLDER,
    DatasetError,
    find_dataset,
    natural_key,
    read_dataset,
)


def make(root: Path, *names: str) -> Path:
    """Write empty files: nothing here reads their contents."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def names(root: Path, class_name: str) -> list[str]:
    return [path.name for path in read_dataset(root).images[class_name]]


def test_kaggle_layout_without_masks(tmp_path: Path) -> None:
    make(
        tmp_path,
        "COVID/images/COVID-10.png",
        "COVID/images/COVID-2.png",
        "COVID/masks/COVID-2.png",
        "Normal/images/Normal-1.png",
        "COVID.metadata.xlsx",
    )
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("COVID", "Normal")
    assert names(tmp_path, "COVID") == ["COVID-2.png", "COVID-10.png"]


def test_flat_layout_takes_any_readable_format(tmp_path: Path) -> None:
    make(
        tmp_path, "A/1.PNG", "A/2.jpg", "A/3.dcm", "A/4.txt", "A/._1.PNG", "B/5.tiff", ".git/6.png"
    )
    assert read_dataset(tmp_path).classes == ("A", "B")
    assert names(tmp_path, "A") == ["1.PNG", "2.jpg", "3.dcm"]


def test_splits_are_joined_and_labelled(tmp_path: Path) -> None:
    make(tmp_path, "train/A/1.png", "val/A/1.png", "test/A/images/9.png", "train/B/2.png")
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("A", "B")
    assert list(dataset.by_label["A"]) == ["test/9.png", "train/1.png", "val/1.png"]
    assert dataset.by_label["A"]["val/1.png"] == tmp_path / "val/A/1.png"


def test_class_without_images_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "A/1.png", "Empty/readme.txt", "masks/1.png")
    assert read_dataset(tmp_path).classes == ("A",)


def test_masks_are_matched_by_name_in_each_layout(tmp_path: Path) -> None:
    make(tmp_path, "A/images/1.png", "A/images/2.png", "A/masks/1.PNG", "A/masks/9.png")
    make(tmp_path, "B/1.jpg", "B/masks/1.png", "B/masks/2.txt", "C/images/1.png")
    make(tmp_path, "A/lesions/2.png")
    dataset = read_dataset(tmp_path)
    assert dataset.lung_masks == {
        tmp_path / "A/images/1.png": tmp_path / "A/masks/1.PNG",
        tmp_path / "B/1.jpg": tmp_path / "B/masks/1.png",
    }
    assert dataset.lesion_masks == {
        tmp_path / "A/images/2.png": tmp_path / "A/lesions/2.png",
    }


def test_masks_and_names_of_splits(tmp_path: Path) -> None:
    make(tmp_path, "train/A/images/1.png", "train/A/masks/1.png", "val/A/1.png", "val/masks/1.png")
    dataset = read_dataset(tmp_path)
    assert dataset.lung_masks == {
        tmp_path / "train/A/images/1.png": tmp_path / "train/A/masks/1.png"
    }
    assert list(map(dataset.split_of, dataset.images["A"])) == ["train", "val"]
    assert read_dataset(tmp_path / "train").split_of(tmp_path / "train/A/images/1.png") is None


@pytest.mark.parametrize("name", ["valid", "validation", "Val"])
def test_other_names_of_the_validation_folder(tmp_path: Path, name: str) -> None:
    make(tmp_path, "Train/A/1.png", "Train/B/1.png", f"{name}/A/1.png", "A/1.png", "C/1.png")
    dataset = read_dataset(tmp_path)
    assert [*map(dataset.split_of, dataset.images["A"])] == ["train", "val"]
    assert [*dataset.by_label["A"]] == ["Train/1.png", f"{name}/1.png"]
    assert dataset.classes == ("A", "B")
    assert dataset.no_images == ("A", "C")  # beside the splits: named, not passed over in silence


def test_a_class_is_called_in_composed_letters(tmp_path: Path) -> None:
    make(tmp_path, "Entzu\u0308ndung/1.png", "A/1.png")  # as a Mac's disk gives an umlaut
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("A", "Entz\u00fcndung")
    assert dataset.by_label["Entz\u00fcndung"]["1.png"].exists()
    make(tmp_path, "Entz\u00fcndung/1.png")
    with pytest.raises(DatasetError, match="two folders called Entz\u00fcndung, whose letters"):
        read_dataset(tmp_path)


def test_dicom_without_a_suffix_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    files = ["A/IM000001", "A/1.2.840.10008", "A/DICOMDIR", "A/notes", "A/scan.v2", "A/1.png"]
    make(tmp_path, *files)
    for name in ("A/IM000001", "A/1.2.840.10008", "A/DICOMDIR", "A/scan.v2"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM")
    os.mkfifo(tmp_path / "A/pipe")
    assert [path.name for path in read_dataset(tmp_path).images["A"]] == [
        "1.2.840.10008", "1.png", "IM000001",
    ]  # fmt: skip


def test_masks_that_may_not_be_read_are_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read_dataset(make(tmp_path, "A/1.png", "A/masks/1.png"))

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DatasetError, match=r"A.masks cannot be read \(Permission denied\)"):
        _ = dataset.lung_masks


def test_natural_order_compares_numbers_and_never_fails() -> None:
    mixed = ["x10", "X2", "2", "10a", "x", "10", "x²"]
    assert sorted(mixed, key=natural_key) == ["2", "10", "10a", "x", "X2", "x10", "x²"]
    assert len({natural_key(name) for name in ("A1", "a01", "a1")}) == 3  # none is left to chance


def test_environment_goes_before_the_default_folder(tmp_path: Path) -> None:
    make(tmp_path / "mine", "A/1.png")
    make(tmp_path / DEFAULT_FOLDER, "B/1.png")
    found = find_dataset({"CXR_DATA": str(tmp_path / "mine")}, tmp_path)
    assert found is not None
    assert found.classes == ("A",)
    found = find_dataset({}, tmp_path)
    assert found is not None
    assert found.classes == ("B",)


def test_no_folder_set_up_is_no_dataset(tmp_path: Path) -> None:
    assert find_dataset({}, tmp_path) is None
    assert find_dataset({"CXR_DATA": " "}, tmp_path) is None


def test_missing_folder_says_where_to_look(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(DatasetError, match=r"no dataset folder at .*gone: correct CXR_DATA"):
        find_dataset({"CXR_DATA": str(gone)}, tmp_path)
    with pytest.raises(DatasetError, match=r"no dataset folder at .*gone: check the path\.$"):
        read_dataset(gone)
    with pytest.raises(DatasetError, match="no dataset folder at ~nobody-of-this-name/films"):
        find_dataset({"CXR_DATA": "~nobody-of-this-name/films"}, tmp_path)


def test_a_folder_below_one_that_may_not_be_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)
    for read in (lambda: read_dataset(tmp_path), lambda: find_dataset({}, tmp_path)):
        with pytest.raises(DatasetError, match=r"cannot be read \(Permission denied\): check who"):
            read()


def test_a_folder_whose_images_lie_deeper_is_no_class_and_is_named(tmp_path: Path) -> None:
    make(tmp_path, "A/1.png", "B/patient 1/1.png", "C/images/1.png", "D/notes.txt")
    found = read_dataset(tmp_path)
    assert found.classes == ("A", "C")
    assert found.no_images == ("B", "D")


def test_folder_without_classes_says_how_to_arrange_it(tmp_path: Path) -> None:
    make(tmp_path, "1.png", "2.png")
    with pytest.raises(DatasetError, match="no images in class folders: arrange"):
        read_dataset(tmp_path)


def test_unreadable_folder_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)  # root may read anything, so chmod would not do
    with pytest.raises(DatasetError, match=r"cannot be read \(Permission denied\)"):
        read_dataset(tmp_path)
    monkeypatch.undo()
    make(tmp_path, "A/1.png")
    monkeypatch.setattr("cxr_gradcam.dataset.os.scandir", refuse)
    with pytest.raises(DatasetError, match=rf"{tmp_path}/A cannot be read \(Permission denied\)"):
        read_dataset(tmp_path)


def test_real_dataset(shared_data: Path) -> None:
    dataset = read_dataset(shared_data / "COVID-19_Radiography_Dataset")
    assert dataset.classes == ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
    assert sum(map(len, dataset.images.values())) == 9_530
