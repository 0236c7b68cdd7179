"""A disk that is full: the file is named and what can be done; metadata are in one order, so that bytes repeat."""

import errno
import re
import signal
import subprocess
import sys
import zipfile
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_data
import tiny_training
import tiny_verbs
from seem import zoo
from seem.annotation_formats.annotated_image import AnnotatedImage, AnnotatedObject
from seem.annotation_formats.video import DavisWriter, VideoSettings
from seem.checkpoints.safe import atomic_write, read_tensors, write_tensors
from seem.cli.errors import single_line
from seem.cli.main import main
from seem.errors import SeemError, naming_file
from seem.mask_codec import PackedMask
from seem.part_files import is_part
from seem.training.checkpoint import write_state
from seem.video import VideoWriter
from seem.writing import png_writer, text_writer, write_together

resource = pytest.importorskip("resource")


@pytest.fixture
def small_files():
    """No file may grow beyond 4 KiB; a write that would is refused as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def write_text(path, text):
    with atomic_write(path) as aside:
        aside.write_text(text)


def fail_to_write(path, error):
    with naming_file(path):
        raise error


@pytest.mark.usefixtures("small_files")
def test_a_write_that_does_not_fit_names_its_file(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="too large") as caught:
        write_text(path, "x" * 10_000)
    line = f"Cannot write {path}: File too large; free some space or choose another folder."
    assert single_line(caught.value) == line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_files")
def test_weights_that_do_not_fit_name_their_file(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(SeemError, match=r"Cannot write .*a\.safetensors: .* Free some space or"):
        write_tensors(path, {"a": torch.zeros(10_000)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [SeemError("ours"), OSError(errno.EACCES, "denied", "b.txt")])
def test_errors_that_name_a_file_or_are_ours_stay(error):
    with pytest.raises(OSError, match=r"ours|denied"):
        fail_to_write("a.txt", error)
    assert error.filename in (None, "b.txt")


def test_a_full_disk_is_about_the_file_that_is_written(tmp_path):
    error = OSError(errno.ENOSPC, "full", str(tmp_path / ".seem-temporary.part"))
    with pytest.raises(OSError, match="full"):
        fail_to_write("a.txt", error)
    assert error.filename == "a.txt"


@pytest.mark.usefixtures("small_files")
def test_results_that_do_not_fit_name_the_file_and_leave_nothing(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8)
    files = {
        "a.json": text_writer(lambda: "{}"),
        "a.png": png_writer(lambda: Image.fromarray(noise)),
    }
    with pytest.raises(OSError, match="too large") as caught:
        write_together(tmp_path / "out", files, overwrite=False, leftovers=re.compile("a"))
    assert single_line(caught.value) == (
        f"Cannot write results to {tmp_path / 'out'}: File too large; free some space or choose another folder "
        "(a.png is not written)."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_files")
def test_a_video_that_does_not_fit_is_called_by_its_name(tmp_path):
    pytest.importorskip("av")
    rng = np.random.default_rng(0)
    with pytest.raises(OSError, match=r"Cannot write clip\.mp4 \(.*\); free some space or choose"):
        write_noise(VideoWriter(tmp_path / "aside.part", name="clip.mp4"), rng)


def write_noise(writer, rng):
    with writer:
        for _ in range(30):
            writer.add(Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)))


@pytest.mark.usefixtures("small_files")
def test_frames_that_do_not_fit_name_their_file(tmp_path):
    ids = np.random.default_rng(0).random((200, 200)) > 0.5
    mask = PackedMask.pack(ids, ids.shape)
    frame = AnnotatedImage(
        "0.jpg", "00000", ids.shape, [AnnotatedObject(1, mask, "cat", 1.0)], [], draw=lambda: None
    )
    writer = DavisWriter(VideoSettings(tmp_path / "davis", "clip"))
    with pytest.raises(OSError, match="too large") as caught:
        writer.add(frame)
    writer.discard()
    name = tmp_path / "davis/Annotations/480p/clip/00000.png"
    assert single_line(caught.value).startswith(f"Cannot write {name}: File too large; free some")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_files")
def test_shards_that_do_not_fit_name_their_file(tmp_path, capfd):
    tiny_data.coco(tmp_path / "coco")
    assert main(["data", "shards", str(tmp_path / "coco"), str(tmp_path / "new" / "out")]) == 1
    tar = tmp_path / "new" / "out" / "val-000000.tar"
    assert capfd.readouterr().err.startswith(f"seem: Cannot write {tar}: File too large; free some")
    assert [path.name for path in tmp_path.iterdir()] == ["coco"]


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize(
    "words",
    [
        "data check {}",
        "evaluate --data {} --model none",
        "finetune --data {} --out run --processes 1",
    ],
)
def test_an_archive_that_does_not_fit_is_work_that_failed(tmp_path, monkeypatch, capfd, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    archive = tmp_path / "set.zip"
    noise = np.random.default_rng(0).bytes(3000)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("images/a.png", noise + bytes(9000))
    assert main(words.format(archive).split()) == 1
    line = f"seem: {archive} cannot be unpacked into {tmp_path / 'temporary'} (File too large); "
    assert capfd.readouterr().err.startswith(line)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.zip", "temporary"]


@pytest.mark.usefixtures("small_files")
def test_a_checkpoint_that_does_not_fit_is_one_plain_line(tmp_path):
    file = tmp_path / "state.pt"
    with pytest.raises(SeemError) as caught:
        write_state(file, {"weights": torch.rand(9_000)})
    assert re.fullmatch(
        rf"Cannot write {file} \(\w[^\[\]]*\)\. Make room, then resume\.", str(caught.value)
    )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def verbs(tmp_path, monkeypatch):
    """Verbs with tiny networks, in a folder with what they read."""
    known, file = tiny_training.use_tiny_nano(tmp_path)
    monkeypatch.setattr(zoo, "MODEL_CARDS", known)
    monkeypatch.setattr("seem.loading.embedded", lambda: nullcontext(file))
    home = tmp_path / "home"
    home.mkdir()
    tiny_training.bricks(home / "bricks")
    tiny_verbs.add_inputs(home, monkeypatch)
    monkeypatch.chdir(home)
    return home


@pytest.mark.parametrize(
    ("call", "file"),
    [
        ("convert v1.pt ours.safetensors --model seem-focal-t-v1", "ours.safetensors"),
        ("export --out out", "out"),
        ("demo photo.png out", "out"),
        ("gallery examples gallery.png", "drawn.png"),
        ("train seem --data bricks --out out --steps 1 --size 64 --batch 2 --model v1.safetensors --processes 1",
         "out"),
        ("train nano --data pack:pack --out out --steps 1 --batch 2 --processes 1", "photos.cache"),
    ],
)  # fmt: skip
def test_verbs_that_do_not_fit_name_the_file_and_leave_nothing(verbs, request, capfd, call, file):
    before = {path: path.stat().st_mtime_ns for path in verbs.rglob("*")}
    request.getfixturevalue("small_files")
    code = tiny_verbs.run_verb(call.split())
    err = capfd.readouterr().err.splitlines()
    assert code == 1, err
    assert file in err[-1], err
    assert re.search(r"free some space|Free some space|Make room", err[-1]), err
    left = {path for path in verbs.rglob("*") if path not in before}
    assert not any(is_part(path) for path in left)
    assert all(path.stat().st_size < 4096 for path in left if path.is_file())
    assert not [path.name for path in left if path.suffix in (".safetensors", ".png", ".onnx")]


WRITE = """
import sys, torch
from seem.checkpoints.safe import write_tensors
metadata = {letter: letter + " \\u00fc \\" \\n" for letter in "qwertyuiop"}
write_tensors(sys.argv[1], {"b": torch.ones(3), "a": torch.zeros(2, dtype=torch.float16)}, metadata)
"""


def test_the_same_tensors_and_metadata_give_the_same_bytes(tmp_path):
    """The library that writes them orders metadata anew in each process."""
    files = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for file in files:
        subprocess.run([sys.executable, "-c", WRITE, str(file)], check=True)
    assert files[0].read_bytes() == files[1].read_bytes()
    content = read_tensors(files[0])
    assert content.metadata == {letter: letter + ' \u00fc " \n' for letter in "qwertyuiop"}
    assert content.tensors["b"].tolist() == [1, 1, 1]
