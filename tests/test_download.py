"""`--data kaggle`: against a stand-in for kagglehub, and with kagglehub against a local server."""

import json
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from cxr_gradcam.dataset import DatasetError, read_dataset
from cxr_gradcam.download import KAGGLE_DATASET, fetch_kaggle
from cxr_gradcam.phantom import write_phantoms

PACKED_IN = "COVID-19_Radiography_Dataset"  # the one folder of Kaggle's archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Kaggle's archive with phantoms for films."""
    root = tmp_path_factory.mktemp("kaggle")
    write_phantoms(root / PACKED_IN, 4, size=64)
    (root / PACKED_IN / "README.md.txt").write_text("cite us")
    with zipfile.ZipFile(root / "archive.zip", "w") as packed:
        for path in root.rglob("*.*"):
            if path.suffix != ".zip":
                packed.write(path, path.relative_to(root))
    return (root / "archive.zip").read_bytes()


def stand_in(monkeypatch: pytest.MonkeyPatch, download: Callable[[str], str]) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=download))


@pytest.mark.parametrize("packed_in", [PACKED_IN, "."])
def test_the_folder_of_classes_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, packed_in: str
) -> None:
    asked: list[str] = []
    write_phantoms(tmp_path / packed_in, 4, size=64)
    stand_in(monkeypatch, lambda handle: asked.append(handle) or str(tmp_path))
    assert fetch_kaggle() == tmp_path / packed_in
    assert asked == [KAGGLE_DATASET]


def test_what_is_no_dataset_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "readme.txt").touch()
    stand_in(monkeypatch, lambda handle: str(tmp_path))
    with pytest.raises(DatasetError, match=r"someone/else, now in .*, holds no images"):
        fetch_kaggle("someone/else")


def test_without_kagglehub_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(
        DatasetError, match=r"needs kagglehub: `pip install kagglehub`, or download"
    ):
        fetch_kaggle()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError("403 Client Error.\n\nYou don't have permission"), r"\(403 Client Error.\)"),
        (KeyError(), "KeyError"),
    ],
)
def test_failures_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(handle: str) -> str:
        raise error

    stand_in(monkeypatch, fail)
    with pytest.raises(DatasetError, match=f"cannot be fetched.*{reason}.*by hand") as caught:
        fetch_kaggle()
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------- kagglehub itself


@pytest.fixture
def kaggle(archive: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HTTPServer]:
    """A local Kaggle that holds one dataset, and a kagglehub that asks there and has no account."""
    pytest.importorskip("kagglehub", reason="kagglehub is not installed")
    environment = pytest.importorskip("kagglesdk.kaggle_env")

    class Kaggle(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert f"{asked['ownerSlug']}/{asked['datasetSlug']}" == KAGGLE_DATASET
            about = self.path.endswith("/GetDataset")
            body = json.dumps({"currentVersionNumber": 5}).encode() if about else archive
            self.send_response(200)
            self.send_header("Content-Type", "application/json" if about else "application/zip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Kaggle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(environment._env_to_endpoint, environment.KaggleEnv.LOCAL, place)
    for name, value in {
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "KAGGLEHUB_CACHE": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
        "KAGGLE_CONFIG_DIR": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.shutdown()
    server.server_close()


def test_kagglehub_fetches_once(kaggle: HTTPServer) -> None:
    root = fetch_kaggle()
    assert root.name == PACKED_IN
    assert [len(paths) for paths in read_dataset(root).images.values()] == [1, 1, 1, 1]
    assert fetch_kaggle() == root


def test_kagglehub_without_network(kaggle: HTTPServer) -> None:
    kaggle.shutdown()
    kaggle.server_close()
    with pytest.raises(DatasetError, match=r"cannot be fetched from Kaggle \(.*: check the netw"):
        fetch_kaggle()
