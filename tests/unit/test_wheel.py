"""The wheel, built and run by itself: everything that the package needs is in it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import seem

HOME = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The files of the wheel, and nothing else of the project."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=HOME, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"seem-{seem.__version__}-py3-none-any.whl"  # nothing to compile
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "files")
    return folder / "files"


def test_the_wheel_holds_every_file_of_the_package(unpacked):
    for package in ("seem", "seem_lite"):
        source = HOME / "src" / package
        files = [path for path in source.rglob("*") if path.is_file()]
        expected = {path.relative_to(source) for path in files if "__pycache__" not in path.parts}
        built = {path.relative_to(unpacked / package) for path in (unpacked / package).rglob("*")}
        assert expected <= built
    assert (unpacked / "seem" / "assets" / "nano.safetensors").stat().st_size > 1e7


def test_the_wheel_segments_a_photo(unpacked, tmp_path):
    photo = HOME / "examples" / "photos" / "astronaut.jpg"
    call = [sys.executable, "-m", "seem", "segment", str(photo), "--point", "220,120", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    ran = subprocess.run(
        call, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert '"label": "person"' in ran.stdout
    where = "import seem; print(seem.__file__)"
    imported = subprocess.run(
        [sys.executable, "-c", where],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(imported.stdout.strip()).is_relative_to(unpacked)
