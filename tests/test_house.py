"""The rooms: who may import whom, and that what is published holds together."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cxr_gradcam

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cxr_gradcam"
# Module -> the modules of this package that it may import, from files up to the page.
ALLOWED = {
    "reading": set(),
    "picture": {"reading"},
    "dicom_grey": {"reading"},
    "dicom": {"reading", "dicom_grey"},
    "radiograph": {"reading", "picture", "dicom"},
    "preprocess": {"radiograph"},
    "agreement": {"preprocess"},
    "densenet": set(),
    "familiarity": {"densenet"},
    "checkpoint": {"densenet", "familiarity", "files"},
    "classifier": {"densenet", "checkpoint"},
    "cam": set(),
    "explanation": {"cam", "densenet", "preprocess"},
    "explainer": {
        "cam",
        "classifier",
        "densenet",
        "explanation",
        "familiarity",
        "preprocess",
        "radiograph",
    },
    "render": {"cam", "explanation", "radiograph", "reading", "words"},
    "words": {"cam", "explanation", "reading"},
    "tables": set(),
    "export": {"classifier", "explanation", "radiograph", "render"},
    "report_pictures": {"explanation", "export", "radiograph", "render"},
    "report_page": {"render"},
    "report": {
        "cam",
        "explanation",
        "export",
        "radiograph",
        "reading",
        "render",
        "report_page",
        "report_pictures",
        "words",
    },
    "archive": {"export", "reading", "report", "tables"},
    "localisation": set(),
    "dataset": {"files", "radiograph"},
    "duplicates": {"radiograph"},
    "stratify": set(),
    "dataset_report": set(),
    "files": set(),
    "threads": set(),
    "splits": {
        "dataset",
        "dataset_report",
        "duplicates",
        "files",
        "radiograph",
        "stratify",
        "threads",
    },
    "download": {"dataset"},
    "phantom_geometry": set(),
    "phantom_anatomy": {"phantom_geometry"},
    "phantom_film": {"phantom_geometry"},
    "phantom": {"files", "phantom_geometry", "phantom_anatomy", "phantom_film", "radiograph"},
}
UPPER = {"batch", "cli", "__main__", "survey", "training", "ui"}  # may import all but the page


def imports(path: Path) -> set[str]:
    """Top-level names imported anywhere in a file; modules of this package as "cxr_gradcam.x"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "cxr_gradcam":
                found |= {f"cxr_gradcam.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return {
        ".".join(name.split(".")[:2]) if name.startswith("cxr_gradcam.") else name.split(".")[0]
        for name in found
    }


def rooms() -> dict[Path, str]:
    """File -> its room: the first name under the package."""
    return {
        path: path.relative_to(PACKAGE).with_suffix("").parts[0]
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "__init__.py"
    }


def test_every_room_is_known() -> None:
    assert set(rooms().values()) == set(ALLOWED) | UPPER


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_point_one_way(room: str) -> None:
    ours = {
        name.removeprefix("cxr_gradcam.")
        for name in imports(PACKAGE / f"{room}.py")
        if name.startswith("cxr_gradcam")
    }
    assert ours <= ALLOWED[room]


def test_only_the_page_imports_streamlit_and_nothing_imports_the_page() -> None:
    for path, room in rooms().items():
        if room != "ui":
            assert not imports(path) & {"streamlit", "cxr_gradcam.ui"}, path


@pytest.mark.parametrize(
    ("imported", "unwanted"),
    [
        ("cxr_gradcam.cli", {"torch"}),  # `--help` comes at once
        ("cxr_gradcam.render, cxr_gradcam.explainer", {"streamlit", "matplotlib", "torchvision"}),
    ],
)
def test_importing_brings_nothing_heavy_that_is_not_needed(
    imported: str, unwanted: set[str]
) -> None:
    code = f"import sys, {imported}; print(*({unwanted!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_ci_runs_the_command_of_the_readme() -> None:
    command = "pip install -r requirements-dev.txt && python -m pytest"
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == command
    assert f"```bash\n{command}\n```" in (ROOT / "README.md").read_text()


def test_public_names() -> None:
    assert set(cxr_gradcam.__all__) < set(dir(cxr_gradcam))
    for name in cxr_gradcam.__all__:
        assert getattr(cxr_gradcam, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'expalin'"):
        _ = cxr_gradcam.expalin


def test_nothing_tracked_is_an_xray_or_a_path_of_one_machine() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not tracked:
        pytest.skip("not a git checkout: nothing is tracked")
    assert not [name for name in tracked if re.search(r"\.(dcm|dicom|jpe?g|tiff?|bmp)$", name)]
    large = [name for name in tracked if (ROOT / name).stat().st_size > 16 * 1024**2]
    assert not large
