"""What must hold of the files of the project, whoever wrote them and wherever."""

import re
import subprocess
from importlib.metadata import requires
from pathlib import Path

import pytest

import seem

ROOT = Path(__file__).resolve().parents[2]

# Put together from pieces, so that this file does not hold them.
FORBIDDEN = {
    "a folder of one machine": r"(?<![\w.~])/" + r"(?:work|root|home|Users|opt|mnt)" + r"/\w",
    "a build for one machine": r"torch==[\d.]+\+" + "c",
    "a package index in a file": r"file" + r"://\S*simple",
    "a private index or mirror": r"https?"
    + r"://[^/\s\"']*(?:artifactory|nexus|mirror|proxy)[^/\s\"']*/",
    "trust without certificates": "--trusted" + "-host",
    "a merge that was not finished": r"(?m)^(?:<{7} |>{7} )",
    "a secret": r"\b(?:hf|ghp|gho|sk)_" + r"[A-Za-z0-9]{20,}",
}


def project_files() -> list[Path]:
    """Files that are, or are about to be, under version control."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        run = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in run.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names_the_machine_it_was_written_on(what):
    pattern = re.compile(FORBIDDEN[what].encode())
    found = [
        f"{path.relative_to(ROOT)}: {hit[0]!r}"
        for path in project_files()
        for hit in pattern.finditer(text_of(path))
    ]
    assert found == []


def text_of(path: Path) -> bytes:
    """Read a text file; pictures, weights and other binaries count as empty."""
    content = path.read_bytes()
    return b"" if b"\0" in content[:8192] else content


def test_lite_distribution_needs_what_seem_needs_without_pytorch():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    full = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "packaging" / "seem-lite" / "pyproject.toml").read_text(encoding="utf-8")
    lite = tomllib.loads(text)["project"]
    own = {
        "torch>=2.6",
        "safetensors>=0.4.3",
        "huggingface_hub>=0.34",
        "ftfy>=6.1",
        "regex>=2023.10",
    }
    expected = {*full["dependencies"], *full["optional-dependencies"]["lite"]} - own
    assert set(lite["dependencies"]) == expected
    for key in ("requires-python", "license", "scripts"):
        assert lite[key] == full[key]


def test_large_files_are_few():
    large = {str(path.relative_to(ROOT)) for path in project_files() if path.stat().st_size > 2**20}
    assert {name for name in large if not name.endswith((".safetensors", ".png", ".jpg"))} == set()


def test_every_dependency_is_pinned():
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    wanted = [re.match(r"[\w.-]+", line)[0] for line in requires("seem") or []]
    assert normalised(wanted) - normalised(pinned) - {"seem"} == set()


def normalised(names: list[str]) -> set[str]:
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def test_changelog_knows_this_version():
    released = re.match(r"\d+\.\d+\.\d+", seem.__version__)[0]
    assert f"## {released}" in (ROOT / "CHANGELOG.md").read_text()


def test_licence_is_apache():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
