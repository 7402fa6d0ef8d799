"""Checkpoints: out and in again, and one clear sentence for every wrong file."""

import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import densenet121

from cxr_gradcam.checkpoint import (
    BUNDLED_CHECKPOINT,
    Checkpoint,
    CheckpointError,
    _expected_shapes,
    load_checkpoint,
    save_checkpoint,
)
from cxr_gradcam.classifier import Classifier, choose_device, load_classifier
from cxr_gradcam.familiarity import fit_familiarity


@cache
def bundled() -> Checkpoint:
    return load_checkpoint()


def write(path: Path, changes: dict[str, Any], drop: tuple[str, ...] = ()) -> Path:
    """The bundled checkpoint's weights, with one tensor or one value of the header changed."""
    good = bundled()
    header = {
        "architecture": "densenet121",
        "class_names": list(good.class_names),
        "input_size": 128,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
    }
    weights = dict(good.weights)
    for key, value in changes.items():
        (weights if isinstance(value, torch.Tensor) else header)[key] = value
    for key in drop:
        weights.pop(key, None)
        header.pop(key, None)
    save_file(weights, path, {key: json.dumps(value) for key, value in header.items()})
    return path


def test_a_checkpoint_comes_back_as_it_was_written(tmp_path: Path) -> None:
    good = bundled()
    path = tmp_path / "copy.safetensors"
    save_checkpoint(good, str(path))
    again = load_checkpoint(str(path))
    for key in ("class_names", "input_size", "mean", "std", "temperature", "training", "metrics"):
        assert getattr(again, key) == getattr(good, key)
    for name, value in good.weights.items():
        assert torch.equal(again.weights[name], value)
    assert list(tmp_path.iterdir()) == [path]  # nothing temporary is left


def test_familiarity_comes_back_and_leaves_the_tensors_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    learned = fit_familiarity(rng.random((200, 1024)), rng.random((100, 1024)), rank=4)
    path = tmp_path / "c.safetensors"
    save_checkpoint(replace(bundled(), familiarity=learned), path)
    again = load_checkpoint(path)
    film = rng.random(1024)
    assert again.familiarity is not None
    assert again.familiarity.score(film) == learned.score(film)
    densenet121(num_classes=4).load_state_dict(load_file(path))  # nothing unexpected in it
    assert Classifier(again).familiarity is again.familiarity


def test_a_checkpoint_without_familiarity_is_fine(tmp_path: Path) -> None:
    save_checkpoint(replace(bundled(), familiarity=None), tmp_path / "c.safetensors")
    assert load_checkpoint(tmp_path / "c.safetensors").familiarity is None


def test_damaged_familiarity_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    other_network = fit_familiarity(rng.random((9, 8)), rng.random((9, 8))).to_metadata()
    huge = {**other_network, "rest": 10**400}
    for number, wrong in enumerate(({"mean": []}, "yes", [], other_network, huge)):
        path = write(tmp_path / f"{number}.safetensors", {"familiarity": wrong})
        with pytest.raises(CheckpointError, match="damaged statistics of familiarity: choose a"):
            load_checkpoint(path)


def test_full_precision_can_be_kept(tmp_path: Path) -> None:
    save_checkpoint(bundled(), tmp_path / "c.safetensors", half=False)
    weights = load_checkpoint(tmp_path / "c.safetensors").weights
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}


def test_the_weights_expected_are_those_of_torchvision() -> None:
    theirs = {
        name: tuple(value.shape) for name, value in densenet121(num_classes=7).state_dict().items()
    }
    assert _expected_shapes(7) == theirs


def test_what_does_not_fit_into_half_precision_is_kept_whole(tmp_path: Path) -> None:
    checkpoint = bundled()
    name = "features.norm0.running_var"
    large = torch.full_like(checkpoint.weights[name], 1e5, dtype=torch.float32)
    save_checkpoint(
        replace(checkpoint, weights={**checkpoint.weights, name: large}), tmp_path / "c.safetensors"
    )
    weights = load_checkpoint(tmp_path / "c.safetensors").weights
    assert torch.equal(weights[name], large)
    assert weights["features.norm5.weight"].dtype == torch.float16


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(bundled(), path)
    before = path.read_bytes()

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cxr_gradcam.files.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(bundled(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_loaded_stays_as_it_was_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "c.safetensors", {})
    data = path.read_bytes()
    loaded = load_checkpoint(path)
    with path.open("r+b") as file:  # written over, where it lies
        file.seek(len(data) - 8192)
        file.write(bytes(8192))
    assert loaded.digest == hashlib.sha256(data).hexdigest()
    for name, value in loaded.weights.items():
        assert torch.equal(value, bundled().weights[name]), name
    assert load_checkpoint(path).digest != loaded.digest


def test_a_file_far_too_large_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "large.safetensors").open("wb") as file:
        file.write(BUNDLED_CHECKPOINT.read_bytes())
        file.truncate(2**31)  # two gigabytes, nearly all of it nothing
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(tmp_path / "large.safetensors")


def test_class_names_are_composed_as_those_of_a_dataset_folder(tmp_path: Path) -> None:
    names = ["A", "Entzu\u0308ndung", "B", "C"]
    loaded = load_checkpoint(write(tmp_path / "c.safetensors", {"class_names": names}))
    assert loaded.class_names == ("A", "Entz\u00fcndung", "B", "C")


def test_the_bundled_checkpoint_fits_the_repository() -> None:
    assert BUNDLED_CHECKPOINT.stat().st_size <= 16 * 1024**2
    assert bundled().class_names == ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet50"}, "architecture 'resnet50', expected 'densenet121'"),
        ({"format_version": 2}, "format version 2, this program reads 1"),
        ({"class_names": ["COVID"]}, "two or more different names"),
        ({"class_names": ["A", "A", "B", "C"]}, "two or more different names"),
        ({"class_names": ["A", 2, "B", "C"]}, "two or more different names"),
        ({"class_names": ["A", "B", "C", "all"]}, "none of all, error, file, label, predicted"),
        ({"input_size": 100}, "input_size 100, expected a multiple of 32"),
        ({"input_size": True}, "input_size True, expected a multiple of 32"),
        ({"mean": [0.5]}, "expected three numbers"),
        ({"std": [0.0, 1.0, 1.0]}, "expected three positive numbers"),
        ({"temperature": 0}, "expected a positive number"),
        ({"temperature": float("nan")}, "expected a positive number"),
        ({"temperature": 10**400}, "expected a positive number"),
        ({"mean": [0.5, 0.5, 10**400]}, "expected three numbers"),
        ({"training": "yes"}, "expected an object"),
        ({"class_names": ["A", "B", "C"]}, r"shape \(4.*, expected \(3.* for 3 classes"),
        ({"features.norm5.bias": torch.full((1024,), float("nan"))}, "weights that are not finite"),
        ({"features.norm5.bias": torch.zeros(1024, dtype=torch.int64)}, "fp16 or fp32"),
        ({"features.norm5.bias": torch.zeros(1024, dtype=torch.float8_e5m2)}, "fp16 or fp32"),
        ({"extra": torch.zeros(1)}, "0 tensors missing, 1 unknown: extra is unknown"),
    ],
)
def test_a_wrong_checkpoint_gives_the_reason(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "wrong.safetensors", changes)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert "wrong.safetensors" in str(caught.value)
    assert ": choose a" in str(caught.value)  # says what to do


@pytest.mark.parametrize("key", ["architecture", "class_names", "input_size", "mean", "std"])
def test_missing_metadata_is_named(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "bare.safetensors", {}, drop=(key,))
    with pytest.raises(CheckpointError, match=f"does not say its {key}"):
        load_checkpoint(path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "c.safetensors", {}, drop=("features.norm5.bias",))
    with pytest.raises(CheckpointError, match=r"1 tensors missing.*features\.norm5\.bias"):
        load_checkpoint(path)


@pytest.mark.parametrize("text", ["densenet121", "[" * 100_000, "9" * 5000])
def test_a_header_that_is_not_json(tmp_path: Path, text: str) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "c.safetensors", {"architecture": text})
    with pytest.raises(CheckpointError, match="not JSON"):
        load_checkpoint(tmp_path / "c.safetensors")


def test_sound_files_of_other_contents(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    for header, why in (
        ({"__metadata__": None}, "does not say its architecture"),
        ({"x": {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]}}, "is damaged"),
    ):
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4 * ("x" in header)))
        with pytest.raises(CheckpointError, match=why):
            load_checkpoint(path)


def test_files_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint at"):
        load_checkpoint(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path)
    torch.save({"a": torch.zeros(1)}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"pickled \.pt and \.pth files are never loaded"):
        load_checkpoint(tmp_path / "model.pt")
    truncated = tmp_path / "half.safetensors"
    truncated.write_bytes(BUNDLED_CHECKPOINT.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(truncated)
    (tmp_path / "empty.safetensors").touch()
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(tmp_path / "empty.safetensors")


def test_temperature_divides_the_logits(tmp_path: Path) -> None:
    warm = load_classifier(write(tmp_path / "c.safetensors", {"temperature": 2.0}), device="cpu")
    logits = torch.tensor([[2.0, 0.0, -2.0, 4.0]])
    torch.testing.assert_close(warm.probabilities(logits), torch.softmax(logits / 2, 1))


def test_the_classifier_is_frozen_from_the_moment_it_is_loaded(classifier: Classifier) -> None:
    network = classifier.network
    for value in (network.weight, network.bias, network.forward(torch.zeros(1, 3, 64, 64)).logits):
        assert not value.requires_grad


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="no device 'tpu': choose auto, cpu or cuda"):
        choose_device("tpu")
    with pytest.raises(ValueError, match="no GPU for the device 'cuda:99'"):
        choose_device("cuda:99")
