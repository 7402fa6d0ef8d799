"""What is needed to serve the page: settings that are safe, and a recipe that fits the project."""

import json
import re
import shlex
import socket
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from streamlit import config

from cxr_gradcam.radiograph import MAX_FILE_BYTES

ROOT = Path(__file__).parents[1]
CONFIG = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())
NOTES = (ROOT / "docs/deployment.md").read_text()


def steps(instruction: str) -> list[str]:
    """The arguments of every such instruction of the Dockerfile, in order, comments left out."""
    text = (ROOT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    return re.findall(rf"^{instruction} +(.+)$", joined, re.MULTILINE)


def test_settings_are_safe_by_default() -> None:
    server = CONFIG["server"]
    assert server["address"] == "127.0.0.1"
    assert set(server["allowedHosts"]) == {"localhost", "127.0.0.1", "[::1]"}
    assert server["enableXsrfProtection"] is True
    assert server["enableStaticServing"] is False
    assert server["maxUploadSize"] * 1024**2 == MAX_FILE_BYTES
    assert CONFIG["browser"]["gatherUsageStats"] is False
    assert CONFIG["client"]["showErrorDetails"] == "none"


def test_streamlit_knows_every_setting() -> None:
    for section, values in CONFIG.items():
        for name, value in values.items():
            if not isinstance(value, dict):
                config.get_option(f"{section}.{name}")  # raises for a name that it does not know


def test_what_the_image_copies_is_there_and_tracked() -> None:
    copied = [source for step in steps("COPY") for source in shlex.split(step)[:-1]]
    assert {"requirements.txt", "streamlit_app.py", ".streamlit", "cxr_gradcam"} <= set(copied)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for source in copied:
        assert (ROOT / source).exists(), source
        assert [line for line in ignored if line.startswith(f"!{source}")], source


def test_the_image_needs_no_film_no_root_and_no_registry_of_its_own() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored  # all that is not named stays out
    assert {line for line in ignored if line.startswith("!")} == {
        "!requirements.txt", "!streamlit_app.py", "!LICENSE", "!.streamlit/config.toml",
        "!cxr_gradcam",
    }  # fmt: skip
    assert steps("USER") == ["cxr"]
    assert "://" not in "".join(steps("RUN") + steps("ARG"))
    assert 'TORCH_INDEX=""' in steps("ARG")


def test_the_torch_that_an_index_is_asked_for_is_the_one_required() -> None:
    (install,) = [step for step in steps("RUN") if "TORCH_INDEX" in step]
    pattern = re.search(r"grep -oE '([^']+)'", install)
    assert pattern
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    found = [match[0] for line in lines if (match := re.match(pattern[1], line))]
    assert [name.partition(">=")[0] for name in found] == ["torch", "torchvision"]


def test_the_command_is_one_that_streamlit_understands() -> None:
    command = json.loads(steps("CMD")[-1])
    assert command[:3] == ["streamlit", "run", "streamlit_app.py"]
    options = dict(option.removeprefix("--").split("=") for option in command[3:])
    assert options["server.address"] == "0.0.0.0"
    for option in options:
        config.get_option(option)


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        healthy = self.path in ("/_stcore/health", "/xrays/_stcore/health")
        self.send_response(200 if healthy else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.mark.parametrize("base", ["", "xrays", "/xrays/"])
def test_the_health_check_tells_a_live_server_from_a_dead_one(base: str) -> None:
    (check,) = steps("HEALTHCHECK")
    command = json.loads(check[check.index("[") :])
    assert command[0] == "python"
    server = HTTPServer(("127.0.0.1", 0), _Health)
    port = server.server_address[1]
    environment = {"STREAMLIT_SERVER_PORT": str(port), "STREAMLIT_SERVER_BASE_URL_PATH": base}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        run = [sys.executable, *command[1:]]
        assert subprocess.run(run, env=environment, check=False).returncode == 0
        wrong = environment | {"STREAMLIT_SERVER_BASE_URL_PATH": "elsewhere"}
        done = subprocess.run(run, env=wrong, check=False, stderr=subprocess.DEVNULL)
        assert done.returncode != 0
    finally:
        server.shutdown()
        server.server_close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    done = subprocess.run(run, env=environment, check=False, stderr=subprocess.DEVNULL)
    assert done.returncode != 0


def test_the_notes_name_what_the_program_reads() -> None:
    source = "".join(path.read_text() for path in (ROOT / "cxr_gradcam").rglob("*.py"))
    read = set(re.findall(r'"(CXR_[A-Z]+)"', source))
    assert read == set(re.findall(r"`(CXR_[A-Z]+)`", NOTES))
    for option in re.findall(r"--server\.([A-Za-z]+)", NOTES):
        config.get_option(f"server.{option}")
