"""Splits of a dataset folder: groups whole, classes in proportion, files that cannot be read."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cxr_gradcam.dataset import Dataset, DatasetError, read_dataset
from cxr_gradcam.phantom import CLASS_NAMES, write_phantoms
from cxr_gradcam.splits import Sample, Splits, load_splits, save_splits, split_dataset

COUNT = 48  # phantoms, 12 per class
COPIED = 8  # of them, with one copy each


@pytest.fixture(scope="session")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms, the first eight of them with a JPEG copy that is a little smaller."""
    root = tmp_path_factory.mktemp("phantoms")
    for path in write_phantoms(root, COUNT, size=96)[:COPIED]:
        copy = path.with_name(f"copy-of-{path.stem}.jpg")
        Image.open(path).resize((90, 90)).save(copy, quality=70)
    return root


@pytest.fixture
def root(master: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(master, tmp_path / "data"))


@pytest.fixture(scope="session")
def dataset(master: Path) -> Dataset:
    return read_dataset(master)


@pytest.fixture(scope="session")
def splits(dataset: Dataset) -> Splits:
    return split_dataset(dataset)[0]


def everything(splits: Splits) -> list[Sample]:
    return [*splits.train, *splits.val, *splits.test]


def labels(samples: Sequence[Sample]) -> Counter[str]:
    return Counter(sample.label for sample in samples)


def names(splits: Splits) -> dict[str, list[str]]:
    return {key: [s.path.name for s in samples] for key, samples in splits.by_name().items()}


# ------------------------------------------------------------------------------------ what is split


def test_every_image_lies_in_one_split_and_no_lesion_is_taken_for_one(
    dataset: Dataset, splits: Splits
) -> None:
    listed = [path for paths in dataset.images.values() for path in paths]
    assert sorted(sample.path for sample in everything(splits)) == sorted(listed)
    assert len(listed) == COUNT + COPIED
    assert {path.parent.name for path in listed} == {"images"}
    assert splits.class_names == CLASS_NAMES


def test_copies_share_a_group_and_a_split(splits: Splits) -> None:
    place = {s.path.stem: (s.group, key) for key, all_ in splits.by_name().items() for s in all_}
    copies = {stem: at for stem, at in place.items() if stem.startswith("copy-of-")}
    assert len(copies) == COPIED
    for stem, at in copies.items():
        assert place[stem.removeprefix("copy-of-")] == at
    assert len({s.group for s in everything(splits)}) == COUNT


def test_no_group_is_cut_apart(splits: Splits) -> None:
    groups = [{s.group for s in samples} for samples in splits.by_name().values()]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_classes_keep_their_proportions(splits: Splits) -> None:
    for samples in (splits.val, splits.test):
        assert labels(samples) == dict.fromkeys(CLASS_NAMES, 1)
    assert labels(splits.train) == dict.fromkeys(CLASS_NAMES, 12)


def test_shares_are_kept_and_zero_is_none(dataset: Dataset) -> None:
    splits, report = split_dataset(dataset, val=0.25, test=0)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (40, 16, 0)
    assert report.splits["test"] == dict.fromkeys(CLASS_NAMES, 0)


def test_seed_decides(dataset: Dataset, splits: Splits) -> None:
    assert split_dataset(dataset)[0] == splits
    assert split_dataset(dataset, seed=1)[0] != splits


def test_neither_the_place_of_the_folder_nor_the_order_of_listing_counts(
    splits: Splits, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: reversed(list(iterdir(path))))
    moved = root.rename(root.with_name("moved"))
    for folder in moved.glob("*/images"):  # files made again in another order
        for path in sorted(folder.iterdir(), key=lambda path: path.name[::-1]):
            path.rename(folder / f"{path.name}.part")
            shutil.copy(folder / f"{path.name}.part", path)
            (folder / f"{path.name}.part").unlink()
    assert names(split_dataset(read_dataset(moved))[0]) == names(splits)


def test_progress_runs_from_nothing_to_all(dataset: Dataset) -> None:
    seen: list[float] = []
    split_dataset(dataset, progress=seen.append)
    assert seen == [done / len(seen) for done in range(1, len(seen) + 1)]
    assert len(seen) == COUNT + COPIED


def test_an_interruption_leaves_the_other_files_unread(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def slowly(path: Path) -> str:
        read.append(path)
        time.sleep(0.01)
        return "too slow"

    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cxr_gradcam.splits._hash_file", slowly)
    with pytest.raises(KeyboardInterrupt):
        split_dataset(dataset, progress=interrupt)
    assert len(read) < COUNT / 2


# -------------------------------------------------------------------------------------- the layouts


def test_flat_layout_gives_the_same_splits(root: Path, splits: Splits) -> None:
    for folder in root.iterdir():
        for path in (folder / "images").iterdir():
            path.rename(folder / path.name)
        (folder / "images").rmdir()
    flat = split_dataset(read_dataset(root))[0]
    assert names(flat) == names(splits)


def arrange(root: Path, splits: Splits, *kept: str) -> Path:
    """Lay a folder out by splits; those not kept go to train."""
    target = root.with_name("split")
    for name, samples in splits.by_name().items():
        for sample in samples:
            folder = target / (name if name in kept else "train") / sample.label
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(sample.path, folder)
    return target


def test_a_folder_with_splits_keeps_them(root: Path, splits: Splits) -> None:
    other = split_dataset(read_dataset(root), seed=5)[0]  # not what would be drawn anew
    kept = split_dataset(read_dataset(arrange(root, other, "train", "val", "test")))[0]
    assert names(kept) == names(other) != names(splits)


@pytest.mark.parametrize("kept", ["val", "test"])
def test_what_a_folder_lacks_is_taken_from_train(root: Path, splits: Splits, kept: str) -> None:
    made, report = split_dataset(read_dataset(arrange(root, splits, "train", kept)))
    assert names(made)[kept] == names(splits)[kept]
    assert len(made.val) == len(made.test) == len(CLASS_NAMES)
    assert report.groups_across_splits == 0


def test_copies_across_a_folders_own_splits_are_reported(root: Path, splits: Splits) -> None:
    folder = arrange(root, splits, "train", "val", "test")
    leaked = next((folder / "train" / "COVID").glob("copy-of-*"))
    shutil.copy(leaked, folder / "test" / "COVID")
    report = split_dataset(read_dataset(folder))[1]
    assert report.groups_across_splits == 1
    assert "1 of the groups lie in several of the folder's own splits" in str(report)


# --------------------------------------------------------------------------------------- the report


def test_report_counts_what_is_there(dataset: Dataset, splits: Splits) -> None:
    report = split_dataset(dataset)[1]
    assert report.images == dict.fromkeys(CLASS_NAMES, 14)
    assert (report.groups, report.images_in_groups, report.largest_group) == (8, 16, 2)
    assert (report.groups_across_classes, report.groups_across_splits) == (0, 0)
    for name, samples in splits.by_name().items():
        assert report.splits[name] == labels(samples)
    assert json.loads(json.dumps(report.to_dict()))["duplicates"]["images"] == 16


def test_report_reads_as_a_table(dataset: Dataset) -> None:
    lines = str(split_dataset(dataset)[1]).splitlines()
    assert lines[0].split() == ["images", "train", "val", "test"]
    assert lines[5].split() == ["all", "56", "48", "4", "4"]
    assert lines[6] == "16 images lie in 8 groups of near-duplicates, at most 2 in one."


def test_a_copy_under_another_class_is_reported(root: Path) -> None:
    path = next((root / "Normal" / "images").glob("*.png"))
    shutil.copy(path, root / "COVID" / "images" / "wrong.png")
    splits, report = split_dataset(read_dataset(root))
    assert report.groups_across_classes == 1
    assert "mix classes" in str(report)
    twice = [s for s in everything(splits) if s.path.name in (path.name, "wrong.png")]
    assert twice[0].group == twice[1].group


def test_unreadable_files_are_named_skipped_and_counted(root: Path) -> None:
    broken = root / "COVID" / "images" / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (root / "Normal" / "images" / "empty.jpg").touch()
    splits, report = split_dataset(read_dataset(root))
    assert list(report.unreadable) == ["COVID/images/broken.png", "Normal/images/empty.jpg"]
    assert report.unreadable["Normal/images/empty.jpg"].startswith("empty.jpg is empty")
    assert broken not in {sample.path for sample in everything(splits)}
    assert report.images["COVID"] == 14
    assert "2 files cannot be read and are left out:\n  COVID/images/broken.png: " in str(report)


def test_what_the_report_says_is_missing(root: Path, splits: Splits) -> None:
    folder = arrange(root, splits, "train", "val", "test")
    shutil.rmtree(folder / "val" / "Normal")
    deep = folder / "train" / "Flu" / "patient 1"
    deep.mkdir(parents=True)
    shutil.copy(splits.train[0].path, deep)
    made, report = split_dataset(read_dataset(folder))
    assert "Normal" not in labels(made.val)
    said = str(report)
    assert "val holds no images of Normal: its figures say nothing of them." in said
    assert "Left out, as no images lie where they are looked for: Flu." in said
    assert report.to_dict()["no_images"] == ["Flu"]


def test_a_file_that_vanishes_after_listing_is_an_unreadable_one(root: Path) -> None:
    dataset = read_dataset(root)
    dataset.images["COVID"][0].unlink()
    assert "was not found" in next(iter(split_dataset(dataset)[1].unreadable.values()))


# ---------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("val", "test"), [(-0.1, 0.1), (0.5, 0.5), (1.0, 0.0), (float("nan"), 0.1)]
)
def test_impossible_shares(dataset: Dataset, val: float, test: float) -> None:
    with pytest.raises(DatasetError, match="shares for validation and test are"):
        split_dataset(dataset, val=val, test=test)


def test_one_class(root: Path) -> None:
    for name in CLASS_NAMES[1:]:
        shutil.rmtree(root / name)
    with pytest.raises(DatasetError, match="holds one class only, COVID: add a folder"):
        split_dataset(read_dataset(root))


def test_a_class_with_fewer_groups_than_splits(root: Path) -> None:
    images = root / "Lung_Opacity" / "images"
    copied = next(images.glob("copy-of-*"))
    original = images / f"{copied.stem.removeprefix('copy-of-')}.png"
    other = next(path for path in images.glob("*.png") if path != original)
    for path in set(images.iterdir()) - {copied, original, other}:
        path.unlink()
    with pytest.raises(
        DatasetError,
        match=r"holds 2 readable images of the class Lung_Opacity that differ.*"
        "too few for test and val and train: add images",
    ):
        split_dataset(read_dataset(root))
    splits = split_dataset(read_dataset(root), test=0)[0]
    assert labels(splits.val)["Lung_Opacity"] + labels(splits.train)["Lung_Opacity"] == 3


def test_a_class_of_which_nothing_can_be_read(root: Path) -> None:
    for path in (root / "COVID" / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match="holds 0 readable images of the class COVID"):
        split_dataset(read_dataset(root), val=0, test=0)


def test_splits_without_train(root: Path, splits: Splits) -> None:
    folder = arrange(root, splits, "train", "val", "test")
    shutil.rmtree(folder / "train")
    with pytest.raises(DatasetError, match=r"split.train holds 0 readable images"):
        split_dataset(read_dataset(folder))


# ----------------------------------------------------------------------------------------- the file


def test_splits_come_back_exactly(splits: Splits, master: Path, tmp_path: Path) -> None:
    save_splits(splits, tmp_path / "splits.json", master)
    assert load_splits(tmp_path / "splits.json", master) == splits
    save_splits(splits, tmp_path / "again.json", master)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "splits.json").read_bytes()


def test_the_file_is_readable_and_moves_with_the_folder(
    splits: Splits, root: Path, master: Path, tmp_path: Path
) -> None:
    save_splits(splits, tmp_path / "splits.json", master)
    text = (tmp_path / "splits.json").read_text()
    assert str(master) not in text
    assert '{"file": "COVID/images/' in text
    assert len(text.splitlines()) == 1 + 2 * 3 + len(everything(splits))
    assert names(load_splits(tmp_path / "splits.json", root)) == names(splits)


def test_class_order_odd_names_and_files_elsewhere_are_kept(tmp_path: Path) -> None:
    inside, outside = tmp_path / "data" / "b" / 'ä "1",\n\udcff.png', tmp_path / "phantoms.png"
    inside.parent.mkdir(parents=True)
    inside.touch()
    outside.touch()
    samples = (Sample(inside, "b", 0), Sample(outside, "a", 7))
    splits = Splits(("b", "a"), samples, (), ())
    save_splits(splits, tmp_path / "splits.json", tmp_path / "data")
    assert load_splits(tmp_path / "splits.json", tmp_path / "data") == splits
    tested = replace(splits, test=samples)
    assert tested.test_digest(tmp_path / "data") != splits.test_digest(tmp_path / "data")


def test_splits_of_a_time_when_names_were_kept_as_the_disk_gave_them(tmp_path: Path) -> None:
    decomposed = "Entzu\u0308ndung"
    files = [tmp_path / name / "1.png" for name in ("A", decomposed)]
    for file in files:
        file.parent.mkdir()
        file.touch()
    rows = [
        {"file": str(file.relative_to(tmp_path)), "class": file.parent.name, "group": i}
        for i, file in enumerate(files)
    ]
    content = {"format_version": 1, "class_names": ["A", decomposed], "train": rows}
    (tmp_path / "splits.json").write_text(json.dumps(content | {"val": [], "test": []}))
    splits = load_splits(tmp_path / "splits.json", tmp_path)
    assert splits.class_names == ("A", "Entz\u00fcndung")
    assert [(one.path, one.label) for one in splits.train] == [
        (files[0], "A"),
        (files[1], "Entz\u00fcndung"),
    ]


def test_a_vanished_image_is_named_and_a_mask_is_not_missed(
    splits: Splits, master: Path, root: Path
) -> None:
    save_splits(splits, root / "splits.json", master)
    for mask in root.glob("*/masks/*"):
        mask.unlink()
    gone = root / splits.val[0].path.relative_to(master)
    gone.unlink()
    with pytest.raises(
        DatasetError, match=rf"1 file of the splits is no longer in .*, first .*{gone.name}"
    ):
        load_splits(root / "splits.json", root)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"format_version": 2}', '{"format_version": 1, "class_names": []}', "\udcff"],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "splits.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError, match="holds no splits that this version wrote"):
        load_splits(path, tmp_path)


def test_a_label_that_is_no_class_is_damage(splits: Splits, master: Path, tmp_path: Path) -> None:
    wrong = replace(splits, class_names=("COVID", "Normal"))
    save_splits(wrong, tmp_path / "splits.json", master)
    with pytest.raises(DatasetError, match="holds no splits"):
        load_splits(tmp_path / "splits.json", master)


def test_a_missing_file_says_where(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone.json cannot be read \(No such file"):
        load_splits(tmp_path / "gone.json", tmp_path)


# --------------------------------------------------------------------------------------- real films


def subset(dataset: Dataset, count: int) -> Dataset:
    return Dataset(dataset.root, {name: paths[:count] for name, paths in dataset.images.items()})


def check_real(dataset: Dataset) -> None:
    splits, report = split_dataset(dataset)
    assert not report.unreadable
    groups = [{s.group for s in samples} for samples in splits.by_name().values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    for name, share in (("val", 0.1), ("test", 0.1), ("train", 0.8)):
        for label, count in report.splits[name].items():
            assert abs(count / report.images[label] - share) < 0.01
    assert report.largest_group < 10


def test_real_films(shared_data: Path) -> None:
    dataset = subset(read_dataset(shared_data / "COVID-19_Radiography_Dataset"), 150)
    check_real(dataset)
    masked = [path for path in dataset.images["Viral Pneumonia"] if path in dataset.lung_masks]
    assert len(masked) == 150
    assert len(dataset.lung_masks) == 150


@pytest.mark.slow
def test_all_real_films(shared_data: Path) -> None:
    dataset = read_dataset(shared_data / "COVID-19_Radiography_Dataset")
    check_real(dataset)
    report = split_dataset(dataset)[1]
    assert 450 <= report.images_in_groups <= 550
    assert report.groups_across_classes <= 2
