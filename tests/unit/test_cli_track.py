"""`seem track` from its arguments to its files, exit codes and lines, with a network of a few thousand weights."""

import io
import json
import re
import signal
import wave
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

import seem
from seem import zoo
from seem.checkpoints.network import MODEL_KEY
from seem.checkpoints.safe import write_tensors
from seem.cli.main import main
from seem.part_files import is_part
from seem.tracker import Pass, Tracker
from seem.video import VideoWriter, open_video
from tiny import CONFIGS, picture, tiny_network

pytest.importorskip("av")

TIMES = (0.0, 0.1, 0.2, 0.5, 0.6, 0.9)


@dataclass(frozen=True)
class Ran:
    """What a call left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    write_tensors(path, tiny_network("nano").state_dict(), {MODEL_KEY: "nano"})
    return path


@pytest.fixture
def run(tmp_path, monkeypatch, capfd, weights):
    """Run `seem track` in an empty folder with the tiny network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEEM_DEBUG", raising=False)
    for name, config in CONFIGS.items():
        monkeypatch.setitem(zoo.MODEL_CARDS, name, replace(zoo.MODEL_CARDS[name], config=config))

    def run(*arguments, model=weights):
        capfd.readouterr()
        code = main(
            [
                "track",
                *map(str, arguments),
                "--model",
                str(model),
                "--device",
                "cpu",
                "--precision",
                "exact",
            ]
        )
        return Ran(code, *capfd.readouterr())

    return run


@pytest.fixture
def clip(tmp_path):
    """Six frames of a pan, at uneven times."""
    ground = np.asarray(picture(80, 48, seed=3))
    with VideoWriter(tmp_path / "street.mp4") as writer:
        for index, time in enumerate(TIMES):
            writer.add(Image.fromarray(ground[:, 2 * index : 2 * index + 64]), time)
    return "street.mp4"


def names(folder="seem-out"):
    return sorted(path.name for path in Path(folder).iterdir()) if Path(folder).exists() else []


def record(stem="street"):
    return json.loads(Path("seem-out", f"{stem}.json").read_text())


def refused(ran, code, message):
    """Check that a call failed with one line that says this, and left nothing."""
    assert ran.code == code
    lines = [line for line in ran.err.splitlines() if line.startswith("seem: ")]
    assert len(lines) == 1, ran.err
    assert message in lines[0]
    assert "Traceback" not in ran.err
    assert not Path("seem-out").exists()
    return True


def test_a_clip_gives_a_video_and_a_json_file(run, clip):
    ran = run(clip, "--box", "10,10,40,36", "--object", "--point", "50,20", "--not-point", "5,5")
    assert ran.code == 0, ran.err
    assert names() == ["street.json", "street.overlay.mp4"]
    assert re.search(r"street.mp4: 6 frames: object 1 in \d", ran.out)
    assert "seem-out/: street.overlay.mp4, street.json" in ran.out
    assert "6/6" in ran.err
    drawn = list(open_video("seem-out/street.overlay.mp4").forward())
    assert [frame.time for frame in drawn] == pytest.approx(TIMES, abs=1e-4)
    assert drawn[0].image.shape == (48, 64, 3)


def test_the_json_file_says_what_was_asked_and_found(run, clip, weights):
    run(clip, "--box", "10,10,40,36", "--object", "--point", "50,20", "--frame", "2")
    content = record()
    assert content["videos"] == [
        {"id": 1, "file_name": "street.mp4", "width": 64, "height": 48, "length": 6}
    ]
    assert [(image["id"], image["frame"]) for image in content["images"]] == [
        (i + 1, i) for i in range(6)
    ]
    assert [image["time"] for image in content["images"]] == pytest.approx(TIMES, abs=1e-4)
    assert {(one["image_id"], one["track_id"]) for one in content["annotations"]} >= {
        (3, 1),
        (3, 2),
    }
    assert min(one["image_id"] for one in content["annotations"]) == 3
    assert [one["id"] for one in content["annotations"]] == list(
        range(1, len(content["annotations"]) + 1)
    )
    assert content["seem"]["mode"] == "memory"
    assert content["seem"]["task"] == "video"
    assert content["seem"]["notes"] == []
    assert [(one["track_id"], one["frame"]) for one in content["seem"]["prompts"]] == [
        (1, 2),
        (2, 2),
    ]
    model = seem.load(weights, "cpu", "exact")
    prompts = [seem.Box(10, 10, 40, 36), seem.Point(50, 20)]
    third = list(model.track(clip, prompts, frame=2))[2]
    assert [one["segmentation"] for one in content["annotations"] if one["image_id"] == 3] == list(
        third.rle
    )


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools with numpy 2
def test_pycocotools_reads_the_file(run, clip):
    run(clip, "--box", "10,10,40,36")
    coco = COCO("seem-out/street.json")
    for annotation in coco.loadAnns(coco.getAnnIds()):
        assert coco.annToMask(annotation).sum() == annotation["area"]
    assert len(coco.getImgIds()) == 6


def test_backward_fills_the_frames_before(run, clip):
    run(clip, "--box", "10,10,40,36", "--frame", "4", "--backward")
    assert min(one["image_id"] for one in record()["annotations"]) < 5


@pytest.mark.parametrize("mode", ["memory", "propagate", "reference"])
def test_each_mode_answers(run, clip, mode):
    assert run(clip, "--box", "10,10,40,36", "--mode", mode, "--quiet").code == 0
    assert record()["seem"]["mode"] == mode


def test_what_is_shown_or_said_is_followed(run, clip, monkeypatch):
    picture(40, 30, seed=5).save("other.png")
    monkeypatch.setattr("seem.adapters.speech.transcribe", lambda sound: "a red car")
    Path("say.wav").write_bytes(spoken())
    shown = ("--reference", "other.png", "--reference-box", "3,4,20,20")
    ran = run(clip, *shown, "--object", "--audio", "say.wav", "--box", "10,10,40,36")
    assert ran.code == 0, ran.err
    (first,), (second, third) = (
        [prompt["kind"] for prompt in o["prompts"]] for o in record()["seem"]["prompts"]
    )
    assert (first, second, third) == ("reference", "audio", "box")


def spoken():
    """A second of a tone, as a WAV file."""
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(np.int16(9_000 * np.sin(np.arange(8_000))).tobytes())
    return sound.getvalue()


def test_a_folder_of_frames_is_a_clip(run, tmp_path):
    (tmp_path / "walk").mkdir()
    for index in range(3):
        picture(40, 30, index).save(tmp_path / "walk" / f"{index}.png")
    assert run("walk", "--point", "4,2").code == 0
    assert names() == ["walk.json", "walk.overlay.mp4"]
    assert [image["file_name"] for image in record("walk")["images"]] == ["0.png", "1.png", "2.png"]
    assert [image["time"] for image in record("walk")["images"]] == [None] * 3


def test_quiet_says_nothing(run, clip):
    ran = run(clip, "--point", "4,2", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_nothing_is_overwritten_unless_asked(run, clip):
    run(clip, "--point", "4,2")
    before = Path("seem-out/street.json").read_bytes()
    ran = run(clip, "--point", "30,30", model="nowhere.safetensors")
    assert ran.code == 1
    assert (
        ran.err
        == "seem: There are results already: seem-out/street.*; pass --overwrite or another --out.\n"
    )
    assert Path("seem-out/street.json").read_bytes() == before
    assert run(clip, "--point", "30,30", "--overwrite").code == 0
    assert Path("seem-out/street.json").read_bytes() != before
    assert names() == ["street.json", "street.overlay.mp4"]


def cut_short(frames, error):
    """Go through some frames, then fail."""

    def iterate(self):
        for results, _ in zip(original(self), range(frames), strict=False):
            yield results
        raise error

    original = Tracker.__iter__
    return iterate


def test_what_was_never_found_is_told(run, clip, monkeypatch):
    monkeypatch.setattr(Pass, "segment", lambda self, *prompts: None)
    ran = run(clip, "--text", "a zebra", "--object", "--point", "4,2")
    assert (
        "6 frames: object 1 was not found in any frame; object 2 was not found in any frame"
        in ran.out
    )
    assert record()["seem"]["notes"] == [
        f"object {number} was not found in any frame" for number in (1, 2)
    ]


def test_a_clip_that_breaks_keeps_what_was_written(run, clip, monkeypatch):
    monkeypatch.setattr(
        Tracker,
        "__iter__",
        cut_short(4, seem.SeemError("street.mp4 breaks off after 4 good frames.")),
    )
    ran = run(clip, "--point", "4,2")
    assert ran.code == 1
    assert "seem: street.mp4 breaks off after 4 good frames.\n" in ran.err
    assert "Traceback" not in ran.err
    assert names() == ["street.json", "street.overlay.mp4"]
    assert len(record()["images"]) == 4
    assert record()["seem"]["notes"] == ["street.mp4 breaks off after 4 good frames."]
    assert len(list(open_video("seem-out/street.overlay.mp4").forward())) == 4
    assert "street.mp4: 4 frames" in ran.out


def test_a_frame_of_another_size_keeps_what_was_written(run, tmp_path):
    (tmp_path / "walk").mkdir()
    for index, size in enumerate([(40, 30), (40, 30), (30, 40)]):
        picture(*size, index).save(tmp_path / "walk" / f"{index}.png")
    ran = run("walk", "--point", "4,2")
    assert ran.code == 1
    assert "seem: Frame 2 of walk has 30 x 40 pixels, others 40 x 30; give all frames" in ran.err
    assert len(record("walk")["images"]) == 2
    assert len(list(open_video("seem-out/walk.overlay.mp4").forward())) == 2


def test_an_interrupted_run_keeps_what_was_written(run, clip, monkeypatch):
    monkeypatch.setattr(Tracker, "__iter__", cut_short(2, KeyboardInterrupt()))
    ran = run(clip, "--point", "4,2")
    assert ran.code == 130
    assert "seem: interrupted; what was finished is kept." in ran.err
    assert len(record()["images"]) == 2


@pytest.mark.parametrize("formats", [(), ("--format", "davis,mots")])
def test_a_run_that_is_interrupted_in_its_first_frame_leaves_nothing(
    run, clip, monkeypatch, formats
):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(VideoWriter, "add", interrupt)
    assert refused(run(clip, "--point", "4,2", *formats), 130, "interrupted")


def test_a_run_that_is_interrupted_as_it_ends_is_complete(run, clip, monkeypatch):
    """The signals come in the middle of what completes the files."""
    close = VideoWriter.close

    def interrupted_close(writer):
        signal.raise_signal(signal.SIGTERM)
        close(writer)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(VideoWriter, "close", interrupted_close)
    ran = run(clip, "--point", "4,2", "--format", "davis")
    assert ran.code == 128 + signal.SIGTERM
    assert "seem: interrupted" in ran.err
    num_frames = len(list(open_video(clip).forward()))
    assert len(record()["images"]) == num_frames
    assert len(list(Path("seem-out", "davis").rglob("*.png"))) == num_frames
    assert not list(filter(is_part, Path("seem-out").rglob("*")))


@pytest.mark.parametrize("frames", [0, 3])
def test_an_unforeseen_error_leaves_nothing(run, clip, monkeypatch, frames):
    monkeypatch.setattr(Tracker, "__iter__", cut_short(frames, RuntimeError("a\nb")))
    assert refused(run(clip, "--point", "4,2"), 1, "unexpected RuntimeError: a b")


def test_a_clip_without_a_good_frame_leaves_nothing(run, clip, monkeypatch):
    monkeypatch.setattr(
        Tracker, "__iter__", cut_short(0, seem.SeemError("street.mp4 holds no frames."))
    )
    assert refused(run(clip, "--point", "4,2"), 1, "street.mp4 holds no frames.")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "There is nothing to follow; add a --point"),
        (["--point", "4"], 2, "--point '4'"),
        (["--point", "900,2"], 2, "Point(900, 2) lies outside the image"),
        (
            ["--point", "4,2", "--frame", "6"],
            2,
            "Frame 6 does not exist: street.mp4 has 6 frames, counted from 0.",
        ),
        (["--point", "4,2", "--frame", "-1"], 2, "see seem track --help"),
        (["--point", "4,2", "--mode", "magic"], 2, "'magic' is not one of"),
    ],
)
def test_a_wrong_call_is_one_line(run, clip, arguments, code, message):
    assert refused(run(clip, *arguments), code, message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.mp4", None, "There is no video at gone.mp4; check the path."),
        ("empty.mp4", b"", "empty.mp4 is empty (0 bytes)."),
        ("text.mp4", b"no video" * 9, "text.mp4 is not a video that can be read"),
    ],
)
def test_what_is_no_clip_is_one_line(run, name, content, message):
    if content is not None:
        Path(name).write_bytes(content)
    assert refused(run(name, "--point", "4,2", model="nowhere.safetensors"), 1, message)


def test_a_model_that_cannot_do_a_mode_says_so(run, clip, tmp_path):
    path = tmp_path / "v1.safetensors"
    write_tensors(
        path, tiny_network("seem-focal-t-v1").state_dict(), {MODEL_KEY: "seem-focal-t-v1"}
    )
    ran = run(clip, "--point", "4,2", "--mode", "reference", model=path)
    assert refused(ran, 2, "seem-focal-t-v1 takes no Reference, so mode 'reference' is not for it")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_formats_for_other_tools_are_written_beside(run, clip):
    ran = run(clip, "--box", "10,10,40,36", "--format", "davis,mots", "--copy-frames")
    assert ran.code == 0, ran.err
    maps = names("seem-out/davis/Annotations/480p/street")
    assert maps == [f"0000{index}.png" for index in range(6)]
    assert len(names("seem-out/davis/JPEGImages/480p/street")) == 6
    coco = COCO("seem-out/street.json")
    for row in coco.anns.values():
        with Image.open(f"seem-out/davis/Annotations/480p/street/0000{row['image_id'] - 1}.png") as image:  # fmt: skip
            assert np.count_nonzero(np.asarray(image)) == row["area"]
    assert Path("seem-out/mots/street.txt").read_text().startswith("0 ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "coco"], "There is no format 'coco'; there are davis, youtube-vis, mots."),
        (["--copy-frames"], "--copy-frames has an effect on --format davis alone"),
    ],
)
def test_a_wrong_format_is_refused(run, clip, options, message):
    assert refused(run(clip, "--box", "10,10,40,36", *options), 2, message)


def test_masks_of_a_clip_are_not_replaced_unasked(run, clip):
    Path("seem-out/davis/Annotations/480p/street").mkdir(parents=True)
    ran = run(clip, "--box", "10,10,40,36", "--format", "davis")
    assert ran.code == 1
    assert "street exists already; pass --overwrite" in ran.err
    assert names() == ["davis"]
