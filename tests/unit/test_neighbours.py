"""The examples of docs/scale.md for other programs, run where these are installed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def example(program):
    """Return the Python block that follows the name of a program in docs/scale.md."""
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"\*\*{program}\*\*.*?```python\n(.*?)```", text, re.DOTALL)[:1]
    return code


def test_examples_take_ten_lines():
    for program in ("napari", "FiftyOne"):
        lines = [line for line in example(program).splitlines() if line.strip()]
        assert len(lines) <= 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of other programs
def test_napari_shows_a_photo_and_its_segments(monkeypatch):
    napari = pytest.importorskip("napari")
    from napari.components import ViewerModel

    viewers = []

    def viewer_without_window():
        viewers.append(ViewerModel())
        return viewers[-1]

    monkeypatch.setattr(napari, "Viewer", viewer_without_window, raising=False)
    monkeypatch.setattr(napari, "run", lambda: None, raising=False)
    monkeypatch.chdir(ROOT)
    exec(example("napari"), {})
    (viewer,) = viewers
    photo, segments = viewer.layers
    assert (photo.name, segments.name) == ("photo", "segments")
    assert segments.data.shape == photo.data.shape[:2]
    assert len(segments.features) == segments.data.max() + 1
