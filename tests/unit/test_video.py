"""Videos in and out, and objects followed through them, with a network of a few thousand random weights."""

import gc
import resource
import sys
from collections import deque
from fractions import Fraction
from inspect import unwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import seem
from seem import video as video_module
from seem.inference.dense_recognizer import DenseRecognizer
from seem.results import LazyLabels
from seem.tasks import video as matching
from seem.tasks.video import (
    VideoMemory,
    compare_with_recent_frame,
    grid_stride,
    object_window,
    vote,
)
from seem.tracker import MODES, TrackedObject, Tracker, checked_mode, prompts_of_objects
from seem.video import FrameStream, VideoFile, VideoWriter, open_video
from tiny import picture, tiny_model, tiny_relative

av = pytest.importorskip("av")

HEIGHT, WIDTH = 64, 96
GROUND = np.asarray(picture(WIDTH, HEIGHT, seed=3))
THING = 255 - np.asarray(picture(20, 16, seed=9))
HERE, THERE, NOT_THERE = seem.Point(10, 24), seem.Point(80, 50), seem.Point(90, 5, positive=False)


def scene(count, hidden=()):
    """Move a thing two pixels a frame to the right; returns frames and masks."""
    frames, masks = [], []
    for step in range(count):
        frame, mask = GROUND.copy(), np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
        if step not in hidden:
            left = 4 + 2 * (step % 35)
            frame[20:36, left : left + 20] = THING
            mask[20:36, left : left + 20] = True
        frames.append(frame)
        masks.append(mask)
    return frames, masks


def iou(one, other):
    return (one & other).sum() / max((one | other).sum(), 1)


@pytest.fixture(scope="module")
def model():
    return tiny_model("nano")


@pytest.fixture
def clip(tmp_path):
    """A file of 30 frames, 10 a second, with a key frame every 12."""
    return written(tmp_path / "clip.mp4", scene(30)[0], [step / 10 for step in range(30)])


def written(path, frames, times=None):
    with VideoWriter(path) as writer:
        for index, frame in enumerate(frames):
            writer.add(Image.fromarray(frame), times[index] if times else None)
    return path


def encoded(
    path, frames, codec="libx264", rotation=0, pixel_format="yuv420p", stamps=None, **options
):
    """Write a file with PyAV alone; `stamps` count 25ths of a second."""
    container_options = {"movflags": options.pop("movflags")} if "movflags" in options else {}
    with av.open(str(path), "w", options=container_options) as file:
        track = file.add_stream(codec, rate=25, options=options)
        track.width, track.height, track.pix_fmt = *frames[0].shape[1::-1], pixel_format
        if rotation:
            track.set_display_rotation(rotation)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if stamps:
                frame.pts, frame.time_base = stamps[index], Fraction(1, 25)
            file.mux(track.encode(frame))
        file.mux(track.encode(None))
    return path


# --- Reading ----------------------------------------------------------------------------------------------------------


def test_a_file_gives_its_frames_and_their_times(clip):
    video = open_video(clip)
    frames = list(video.forward())
    assert video.num_frames == len(frames) == 30
    assert [frame.time for frame in frames] == pytest.approx([step / 10 for step in range(30)])
    assert frames[0].image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(frames[7].image.astype(int) - scene(8)[0][7]).mean() < 6


def test_a_variable_frame_rate_stays_what_it_is(tmp_path):
    times = [0.0, 0.04, 0.1, 0.5, 0.51, 2.0]
    path = written(tmp_path / "uneven.mp4", scene(6)[0], times)
    assert [frame.time for frame in open_video(path).forward()] == pytest.approx(times, abs=1e-4)


def test_sides_that_are_odd_grow_by_one(tmp_path):
    path = written(tmp_path / "odd.mp4", [np.asarray(picture(53, 37))])
    assert next(open_video(path).forward()).image.shape == (38, 54, 3)


OPEN_GROUPS = {"x264-params": "open-gop=1:keyint=12:bframes=3"}
REFRESHED = {"x264-params": "intra-refresh=1:keyint=12"}


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"g": "12"}),
        ("a.mkv", "libx264", {"g": "12"}),
        ("a.avi", "mpeg4", {"g": "12"}),
        ("out_of_order.avi", "libx264", {"g": "12", "bf": "2"}),
        ("a.ts", "libx264", {"g": "12"}),
        ("long_groups.ts", "libx264", {"g": "60"}),
        ("open.ts", "libx264", OPEN_GROUPS),
        ("refreshed.ts", "libx264", REFRESHED),
        ("refreshed.mp4", "libx264", REFRESHED),
        ("a.flv", "libx264", {"g": "12"}),
        ("a.mpg", "mpeg2video", {"g": "12", "bf": "2"}),
        ("no_stamps.h264", "libx264", {"g": "12"}),
        ("a.gif", "gif", {}),
    ],
)
def test_backward_is_forward_turned_round(tmp_path, name, codec, options):
    pixel_format = "rgb8" if codec == "gif" else "yuv420p"
    path = encoded(tmp_path / name, scene(40)[0], codec, pixel_format=pixel_format, **options)
    forward = list(open_video(path).forward())
    assert len(forward) == 40
    for before in (1, 25, 40):
        backward = list(open_video(path).backward(before))
        assert len(backward) == before
        for one, other in zip(reversed(forward[:before]), backward, strict=True):
            assert one.time == other.time
            assert (one.image == other.image).all()


def cut_without_encoding(path, target, begin):
    """Copy the packets from the key frame before `begin` seconds on; an edit list shows those from `begin` on."""
    with av.open(str(path)) as whole, av.open(str(target), "w") as file:
        source = whole.streams.video[0]
        track = file.add_stream_from_template(source)
        offset = round(begin / source.time_base)
        whole.seek(offset, stream=source)
        for packet in whole.demux(source):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = (
                    packet.pts - offset,
                    packet.dts - offset,
                    track,
                )
                file.mux(packet)
    return target


@pytest.mark.parametrize(
    ("name", "options"), [("a.h264", {"g": "12"}), ("a.avi", {"g": "12", "bf": "2"})]
)
def test_without_stamps_a_frame_is_decoded_a_few_times_and_no_more(
    tmp_path, monkeypatch, name, options
):
    path = encoded(tmp_path / name, scene(160)[0], **options)
    num_checked = []
    checksum = video_module._checksum
    monkeypatch.setattr(
        video_module, "_checksum", lambda frame: num_checked.append(1) or checksum(frame)
    )
    assert len(list(open_video(path).backward(160))) == 160
    assert len(num_checked) < 5 * 160


def test_a_file_cut_without_encoding_shows_what_its_edit_list_shows(tmp_path):
    whole = encoded(tmp_path / "whole.mp4", scene(60)[0], g="25", bf="2")
    expected = [frame.image for frame in open_video(whole).forward()][33:]
    video = open_video(cut_without_encoding(whole, tmp_path / "cut.mp4", begin=33 / 25))
    assert video.num_frames == 27
    shown = [frame.image for frame in video.forward()]
    assert len(shown) == 27
    assert all((one == other).all() for one, other in zip(expected, shown, strict=True))
    backward = [frame.image for frame in video.backward(27)]
    assert all((one == other).all() for one, other in zip(reversed(shown), backward, strict=True))


def test_frames_that_an_avi_repeats_are_not_missing(tmp_path):
    path = encoded(tmp_path / "uneven.avi", scene(6)[0], "mpeg4", stamps=[0, 1, 5, 40, 41, 70])
    assert open_video(path).num_frames > 60
    assert len(list(open_video(path).forward())) == 6


def test_joined_files_are_read_to_the_end(tmp_path):
    part = encoded(tmp_path / "part.ts", scene(30)[0], g="12")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(2 * part.read_bytes())
    forward = list(open_video(joined).forward())
    assert len(forward) == 60
    backward = list(open_video(joined).backward(60))
    pairs = zip(reversed(forward), backward, strict=True)
    assert all((one.image == other.image).all() for one, other in pairs)
    copied = written(tmp_path / "copied.mp4", [f.image for f in forward], [f.time for f in forward])
    times = [frame.time for frame in open_video(copied).forward()]
    assert np.diff(times) == pytest.approx(np.full(59, 0.04), abs=0.002)


def test_a_turned_phone_is_turned_back(tmp_path):
    plain, turned = (
        next(
            open_video(encoded(tmp_path / f"{turn}.mp4", scene(3)[0], rotation=turn)).forward()
        ).image
        for turn in (0, 90)
    )
    assert np.abs(np.rot90(plain).astype(int) - turned).mean() < 3


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("rule", ["folder", "list", "array", "iterator"])
def test_frames_come_from_many_places(tmp_path, rule):
    frames = scene(11)[0]
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"frame{index}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    given = {
        "folder": tmp_path,
        "list": frames,
        "array": np.stack(frames),
        "iterator": iter(frames),
    }[rule]
    video = open_video(given)
    read = [
        np.asarray(Image.open(f.image) if rule == "folder" else f.image) for f in video.forward()
    ]
    assert [(one == other).all() for one, other in zip(read, frames, strict=True)] == [True] * 11
    assert video.is_stream == (rule == "iterator")


def test_a_stream_is_read_once_and_never_back():
    video = FrameStream(iter(scene(3)[0]))
    assert len(list(video.forward())) == 3
    with pytest.raises(ValueError, match="has been read already"):
        video.forward()
    with pytest.raises(ValueError, match="forward only"):
        video.backward(2)


def sound(path):
    with av.open(str(path), "w") as file:
        track = file.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
        )
        frame.rate = 16000
        for packet in [*track.encode(frame), *track.encode(None)]:
            file.mux(packet)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("gone.mp4", None, seem.SeemError, "There is no video at .*gone.mp4; check the path"),
        ("empty.mp4", b"", seem.SeemError, r"empty.mp4 is empty \(0 bytes\)"),
        (
            "text.mp4",
            b"no video" * 9,
            seem.SeemError,
            "text.mp4 is not a video that can be read .*; use MP4",
        ),
        (
            "sound.m4a",
            sound,
            seem.SeemError,
            "sound.m4a holds sound alone, there is nothing to see",
        ),
        ("folder", Path.mkdir, seem.SeemError, "folder holds no frames"),
    ],
)
def test_what_is_no_video_is_one_line(tmp_path, name, content, error, message):
    path = tmp_path / name
    if callable(content):
        content(path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        open_video(path)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("https://a.b/c.mp4", "is a web address"),
        (GROUND, r"got one ndarray of \(64, 96, 3\); pass \[frame\]"),
        (Image.fromarray(GROUND), "got one Image"),
        (7, "got 7"),
    ],
    ids=["address", "array", "picture", "number"],
)
def test_what_is_no_video_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        open_video(given)


def test_a_file_without_frames_says_so(clip, monkeypatch):
    video = open_video(clip)
    monkeypatch.setattr("seem.video.decode_frames", lambda *_: iter(()))
    with pytest.raises(seem.SeemError, match=r"clip.mp4 holds no frames\."):
        list(video.forward())


def damaged(path, tmp_path):
    """Overwrite what is in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    (tmp_path / "bad.mp4").write_bytes(content)
    return tmp_path / "bad.mp4"


def cut(path, tmp_path):
    """Cut a file short."""
    target = tmp_path / f"bad{path.suffix}"
    target.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    return target


@pytest.mark.parametrize(
    ("harm", "suffix", "message"),
    [
        (damaged, ".mp4", r"bad.mp4 breaks off after \d+ good frames"),
        (cut, ".mp4", r"bad.mp4 (breaks off after \d+ good frames|is cut short: \d+ of 60 frames)"),
        (
            cut,
            ".mkv",
            r"bad.mkv (breaks off after \d+ good frames|is cut short: \d+ frames, [\d.]+ of 2.40 s)",
        ),
    ],
)
def test_a_broken_file_gives_its_good_frames_first(tmp_path, harm, suffix, message):
    whole = encoded(tmp_path / f"whole{suffix}", scene(60)[0], g="12", movflags="faststart")
    expected = {frame.time: frame.image for frame in open_video(whole).forward()}
    read = []
    with pytest.raises(seem.SeemError, match=message):
        gather(open_video(harm(whole, tmp_path)).forward(), read)
    assert 0 < len(read) < 60
    # Frames are stored out of order: the last good one may be later than the one that the cut took.
    assert all((frame.image == expected[frame.time]).all() for frame in read)
    assert [frame.time for frame in read[:-1]] == sorted(expected)[: len(read) - 1]


def gather(frames, kept):
    """Keep what comes before an error."""
    for frame in frames:
        kept.append(frame)


def test_without_pyav_the_extra_is_named(clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(seem.SeemError, match=r'pip install "seem\[video\]"'):
        open_video(clip)


def test_without_h264_mpeg4_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    path = written(tmp_path / "old.mp4", scene(5)[0], [0, 0.1, 0.2, 0.4, 0.9])
    with av.open(str(path)) as file:
        assert file.streams.video[0].codec_context.name == "mpeg4"
    assert [frame.time for frame in open_video(path).forward()] == pytest.approx(
        [0, 0.1, 0.2, 0.4, 0.9], abs=1e-3
    )


# --- Matching ---------------------------------------------------------------------------------------------------------


def test_near_cells_are_compared_one_by_one(monkeypatch):
    monkeypatch.setattr(matching, "MATCH_RADIUS", 1)
    generator = torch.Generator().manual_seed(0)
    here, there = (torch.randn(4, 5, 6, generator=generator) for _ in range(2))
    cover = torch.rand(5, 6, generator=generator)
    window = (slice(1, 4), slice(0, 5))
    likeness, covered = compare_with_recent_frame(here[:, 1:4, 0:5], window, there, cover)
    for row in range(1, 4):
        for column in range(5):
            mine, place = (row - 1) * 5 + column, 0
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    y, x = row + down, column + right
                    inside = 0 <= y < 5 and 0 <= x < 6
                    expected = float(here[:, row, column] @ there[:, y, x]) if inside else 0.0
                    assert float(likeness[mine, place]) == pytest.approx(expected, abs=1e-5)
                    assert float(covered[mine, place]) == (float(cover[y, x]) if inside else 0.0)
                    place += 1


def test_a_cell_takes_the_cover_of_what_it_resembles():
    likeness = torch.tensor([[0.9, 0.1, 0.9], [0.0, 1.0, 0.0]])
    cover = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    found = vote([(likeness, cover)])
    assert found[0] > 0.99
    assert found[1] < 0.01


def test_a_window_stays_inside_the_frame():
    cover = torch.zeros(20, 30)
    assert object_window(cover) is None
    cover[2:4, 15:20] = 1
    margin = matching.WINDOW_MARGIN
    assert object_window(cover) == (slice(0, 4 + margin), slice(15 - margin, 20 + margin))


@pytest.mark.parametrize(
    ("padded_hw", "stride"), [((64, 96), 4), ((320, 384), 4), ((512, 1024), 8), ((1024, 1024), 16)]
)
def test_the_grid_stays_small(padded_hw, stride):
    assert grid_stride(padded_hw) == stride


# --- Following --------------------------------------------------------------------------------------------------------


def test_an_object_is_followed_hidden_and_found_again(model):
    frames, masks = scene(24, hidden=range(12, 16))
    tracker = model.tracker(frames)
    tracker.add(0, 7, seem.Mask(masks[0]))
    results = list(tracker)
    assert [one.frame for one in results] == list(range(24))
    assert {one.kind for one in results[1:]} == {"memory"}
    assert (results[0].masks[0] == masks[0]).all()
    before = [iou(results[index].masks[0], masks[index]) for index in range(1, 12)]
    assert min(before) > 0.5
    assert all(len(results[index]) == 0 for index in range(12, 16))
    again = [index for index in range(16, 24) if len(results[index])]
    assert again
    assert {one.ids.tolist()[0] for one in results if len(one)} == {7}


@pytest.mark.parametrize("mode", ["memory", "propagate", "reference"])
def test_every_mode_gives_one_result_a_frame(model, mode):
    frames, masks = scene(5)
    tracker = model.tracker(frames, mode)
    tracker.add(0, 3, seem.Mask(masks[0]))
    tracker.add(0, 1, HERE)
    results = list(tracker)
    assert [(one.frame, one.time, one.image_hw) for one in results] == [
        (i, None, (HEIGHT, WIDTH)) for i in range(5)
    ]
    assert results[0].ids.tolist() == [1, 3]
    assert all(set(one.ids.tolist()) <= {1, 3} for one in results)
    assert results[0].provenance.prompts == ((tracker._prompts[0][3]), (HERE,))
    assert all(one.provenance.task == "video" for one in results)


@pytest.mark.parametrize(
    ("policy", "mode"),
    [
        ("seem-v0", "propagate"),
        ("seem-v1", "propagate"),
        ("seem-demo", "memory"),
        ("xdecoder", "memory"),
    ],
)
def test_every_model_has_a_mode_of_its_own(policy, mode):
    tracker = tiny_relative(policy).tracker(scene(3)[0])
    assert tracker.mode == mode
    tracker.add(0, 1, seem.Text("a thing") if policy == "xdecoder" else seem.Box(4, 20, 24, 36))
    assert len(list(tracker)) == 3


@pytest.mark.parametrize("policy", ["seem-v0", "seem-demo"])
def test_the_published_demo_is_the_mode_reference(policy):
    model = tiny_relative(policy)
    frames, masks = scene(3)
    found = list(model.track(frames, [seem.Mask(masks[0])], mode="reference"))
    expected = model.encode(frames[2]).segment(
        seem.Reference(model.encode(frames[0]), seem.Mask(masks[0]))
    )
    assert (found[2].masks == expected.masks).all()


@pytest.mark.parametrize(
    ("policy", "mode", "message"),
    [
        (
            "seem-v1",
            "reference",
            "takes no Reference, so mode 'reference' is not for it; use memory or propagate",
        ),
        (
            "xdecoder",
            "propagate",
            "takes no visual prompts, so mode 'propagate' is not for it; use memory",
        ),
    ],
)
def test_a_mode_that_a_model_cannot_do_is_refused(policy, mode, message):
    with pytest.raises(ValueError, match=message):
        tiny_relative(policy).tracker(scene(2)[0], mode)


def test_a_mode_that_does_not_exist_is_refused(model):
    with pytest.raises(
        ValueError, match="mode is 'magic'; it is one of memory, propagate, reference"
    ):
        unwrap(checked_mode)("magic", model)  # without the type checks of these tests


def test_propagate_is_the_last_mask_as_prompt(model):
    frames, _ = scene(3)
    first, second, third = model.track(frames, [HERE], mode="propagate")
    by_hand = model.encode(frames[1]).segment(seem.Mask(logits=first.logits[0]))
    assert (second.masks == by_hand.masks).all()
    assert (
        third.logits == model.encode(frames[2]).segment(seem.Mask(logits=by_hand.logits[0])).logits
    ).all()


def test_the_one_line_form_counts_ids_from_one(model):
    frames, masks = scene(4)
    results = list(model.track(frames, [seem.Mask(masks[0]), [HERE, NOT_THERE]]))
    assert results[0].ids.tolist() == [1, 2]
    by_hand = model.tracker(frames)
    by_hand.add(0, 1, seem.Mask(masks[0]))
    by_hand.add(0, 2, HERE, NOT_THERE)
    for one, other in zip(results, by_hand, strict=True):
        assert (one.masks == other.masks).all()
        assert one.ids.tolist() == other.ids.tolist()


def test_an_object_may_come_later_and_be_corrected(model):
    frames, masks = scene(8)
    tracker = model.tracker(frames)
    tracker.add(3, 5, seem.Mask(masks[3]))
    tracker.add(6, 5, seem.Mask(masks[0]))
    results = list(tracker)
    assert [len(one) for one in results] == [0, 0, 0, 1, 1, 1, 1, 1]
    assert (results[3].masks[0] == masks[3]).all()
    assert (results[6].masks[0] == masks[0]).all()


def test_a_correction_of_the_frame_at_hand_is_answered_at_once(model):
    frames, masks = scene(6)
    tracker = model.tracker(iter(frames))
    tracker.add(0, 1, seem.Mask(masks[0]))
    for results in tracker:
        if results.frame == 2:
            corrected = tracker.add(2, 1, NOT_THERE)
            before = model.encode(frames[2]).segment(NOT_THERE, seem.Mask(logits=results.logits[0]))
            assert (corrected.masks == before.masks).all()
            assert (corrected.frame, corrected.ids.tolist()) == (2, [1])
        if results.frame == 3:
            assert tracker.add(3, 2, seem.Mask(masks[3])).ids.tolist() in ([1, 2], [2])
            assert tracker.add(5, 2, seem.Mask(masks[0])) is None
    assert (results.masks[-1] == masks[0]).all()
    again = model.tracker(frames)
    again._prompts = tracker._prompts
    assert [one.ids.tolist() for one in again][3][-1] == 2


def test_several_masks_are_one_object(model):
    frames, masks = scene(3)
    tracker = model.tracker(frames)
    tracker.add(0, 1, seem.Mask(masks[0]), seem.Mask(masks[2]))
    assert (next(iter(tracker)).masks[0] == masks[0] | masks[2]).all()


@pytest.mark.parametrize("handed_in", ["outline", "logits"])
def test_the_order_of_a_correction_does_not_matter(model, handed_in):
    frames, masks = scene(2)
    drawn = model.encode(frames[1]).segment(seem.Mask(masks[1])).logits[0]
    brought = (
        seem.Mask(logits=drawn)
        if handed_in == "logits"
        else seem.Polygon([(4, 20), (24, 20), (24, 36), (4, 36)])
    )
    answers = []
    for prompts in ((brought, NOT_THERE), (NOT_THERE, brought)):
        tracker = model.tracker(iter(frames))
        tracker.add(0, 1, seem.Mask(masks[0]))
        next(iter(tracker))
        answers.append(tracker.add(0, 1, *prompts))
    assert (answers[0].masks == answers[1].masks).all()
    assert (answers[0].masks == model.encode(frames[0]).segment(brought, NOT_THERE).masks).all()


def test_frames_of_a_file_with_dots_are_saved_apart(model, tmp_path):
    path = written(tmp_path / "my.clip.mp4", scene(2)[0])
    for results in model.track(path, [HERE]):
        results.save(tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").glob("*.json")} == {
        "my.clip-000000.json",
        "my.clip-000001.json",
    }


def test_an_object_of_two_places_is_followed(model):
    frames, masks = [], []
    for step in range(6):
        frame, mask = GROUND.copy(), np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
        frame[28:36, 20 + 4 * step : 24 + 4 * step] = 255 - GROUND[28:36, 20:24]
        mask[28:36, 20 + 4 * step : 24 + 4 * step] = True
        frames.append(frame)
        masks.append(mask)
    results = list(model.track(frames, [seem.Mask(masks[0])]))
    assert [len(one) for one in results] == [1] * 6
    assert min(iou(one.masks[0], mask) for one, mask in zip(results, masks, strict=True)) > 0.2


def test_what_is_marked_but_not_found_stays_unseen(model, monkeypatch):
    frames, _ = scene(3)
    encoded = type(model.encode(frames[0]))
    original = encoded.segment
    monkeypatch.setattr(encoded, "segment", lambda photo, *prompts: original(photo, *prompts)[:0])
    for mode in MODES:
        assert [len(one) for one in model.track(frames, [HERE], mode=mode)] == [0, 0, 0]


def test_removed_and_reset_objects_are_gone(model):
    frames, masks = scene(6)
    tracker = model.tracker(frames)
    tracker.add(0, 1, seem.Mask(masks[0]))
    tracker.add(0, 4, HERE)
    seen = []
    for results in tracker:
        seen.append(results.ids.tolist())
        if results.frame == 1:
            tracker.remove(4)
    assert seen[0] == [1, 4]
    assert all(4 not in ids for ids in seen[2:])
    with pytest.raises(ValueError, match="There is no object 4; the ids are 1"):
        tracker.remove(4)
    tracker.reset()
    assert tracker.ids == ()
    assert [len(one) for one in tracker] == [0] * 6
    with pytest.raises(ValueError, match="There is no object 1; the ids are none yet"):
        tracker.remove(1)


def test_a_phrase_is_awaited_until_it_is_there(model, monkeypatch):
    frames, masks = scene(6)
    tracker = model.tracker(frames)
    tracker.add(0, 9, seem.Text("a thing"))
    encoded = type(model.encode(frames[0]))
    original, asked = encoded.segment, []

    def late(photo, *prompts, **options):
        if not isinstance(prompts[0], seem.Text):
            return original(photo, *prompts, **options)
        asked.append(prompts)
        index = len(asked) - 1
        return (
            original(photo, seem.Mask(masks[index]), **options)
            if index == 2
            else original(photo, HERE)[:0]
        )

    monkeypatch.setattr(encoded, "segment", late)
    results = list(tracker)
    assert [len(one) > 0 for one in results[:3]] == [False, False, True]
    assert len(asked) == 3
    assert {key for one in results for key in one.ids.tolist()} == {9}


def test_backward_reaches_the_first_frame(model, clip):
    masks = scene(30)[1]
    forward, both = (
        list(model.track(clip, [seem.Mask(masks[20])], frame=20, backward=backward))
        for backward in (False, True)
    )
    assert [len(one) for one in forward[:20]] == [0] * 20
    assert [one.frame for one in both] == list(range(30))
    assert np.mean([iou(one.masks[0], masks[one.frame]) for one in both[10:20] if len(one)]) > 0.5
    assert [one.time for one in both] == pytest.approx([step / 10 for step in range(30)])
    for one, other in zip(forward[20:], both[20:], strict=True):
        assert (one.masks == other.masks).all()
    assert both[15].labels == both[25].labels


def test_a_file_can_be_gone_through_again(model, clip):
    tracker = model.tracker(clip)
    tracker.add(0, 1, seem.Mask(scene(1)[1][0]))
    once, again = (
        [one.areas.tolist() for one, _ in zip(tracker, range(4), strict=False)] for _ in range(2)
    )
    assert once == again


def test_labels_are_asked_once_an_object(model, monkeypatch):
    frames, masks = scene(5)
    results = list(model.track(frames, [seem.Mask(masks[0])]))
    calls = []
    original = DenseRecognizer.label
    monkeypatch.setattr(
        DenseRecognizer, "label", lambda photo, small: calls.append(photo) or original(photo, small)
    )
    assert len({one.labels for one in results if len(one)}) == 1
    assert len(calls) == 1


def test_an_object_keeps_its_colour_when_others_go(model):
    frames, masks = scene(2)
    other = np.zeros_like(masks[0])
    other[40:60, 50:90] = True
    first = next(iter(model.track(frames, [seem.Mask(other), seem.Mask(masks[0])])))
    both, alone = (
        np.asarray(one.overlay(labels=False, prompts=False)) for one in (first, first[1:])
    )
    assert (both[masks[0]] == alone[masks[0]]).all()
    assert first[1:].frame == 0
    assert [tag[:2] for tag in first.tags] == ["1:", "2:"]


# --- What goes wrong --------------------------------------------------------------------------------------------------


def broken(frames, index):
    yield from frames[:index]
    raise seem.SeemError("the camera has gone")


def test_a_video_that_breaks_leaves_its_good_frames(model):
    frames, masks = scene(9)
    seen = []
    with pytest.raises(seem.SeemError, match="the camera has gone"):
        gather(model.track(broken(frames, 6), [seem.Mask(masks[0])]), seen)
    assert [one.frame for one in seen] == list(range(6))


def test_a_bad_frame_in_a_folder_is_named(model, tmp_path):
    for index, frame in enumerate(scene(4)[0]):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    (tmp_path / "2.png").write_bytes(b"no picture")
    seen = []
    with pytest.raises(seem.SeemError, match=r"2.png is not a picture"):
        gather(model.track(tmp_path, [HERE]), seen)
    assert [one.provenance.image_name for one in seen] == ["0.png", "1.png"]


def test_a_frame_of_another_size_ends_the_video(model):
    results = []
    with pytest.raises(seem.SeemError, match="Frame 2 of video has 96 x 40 pixels, others 96 x 64"):
        gather(model.track([GROUND, GROUND, GROUND[:40]], [HERE]), results)
    assert [one.frame for one in results] == [0, 1]


@pytest.mark.parametrize(
    ("frame", "object_id", "prompts", "message"),
    [
        (-1, 1, (HERE,), "The frame is -1; frames are counted from 0"),
        (3, 1, (HERE,), "Frame 3 does not exist: video has 3 frames"),
        (0, 0, (HERE,), "The id is 0; ids are whole numbers from 1"),
        (0, True, (HERE,), "The id is True"),
        (0, 1, (), "There is no prompt about object 1"),
        (0, 1, (NOT_THERE,), "All prompts are negative"),
    ],
)
def test_a_wrong_add_changes_nothing(model, frame, object_id, prompts, message):
    tracker = model.tracker(scene(3)[0])
    with pytest.raises(ValueError, match=message):
        tracker.add(frame, object_id, *prompts)
    assert tracker.ids == ()


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], r"got \[\]"),
        (
            "a dog",
            "track takes a list that holds for each object a prompt or a list of prompts, got 'a dog'",
        ),
        (["a dog"], "'a dog' is no prompt"),
        ([5], "5 is no prompt"),
        (5, "got 5"),
    ],
)
def test_track_takes_prompts_alone(prompts, message):
    with pytest.raises(ValueError, match=message):
        prompts_of_objects(prompts)


def test_an_object_without_prompts_is_refused(model):
    with pytest.raises(ValueError, match="There is no prompt about object 2"):
        model.track(scene(2)[0], [HERE, []])


@pytest.mark.parametrize("frame", [1.5, True, "1"])
def test_frames_are_whole_numbers(model, frame):
    with pytest.raises(ValueError, match=f"The frame is {frame!r}; frames are counted from 0"):
        unwrap(Tracker.add)(model.tracker(scene(3)[0]), frame, 1, HERE)


def test_a_frame_that_a_stream_has_passed_cannot_be_prompted(model):
    tracker = model.tracker(iter(scene(4)[0]))
    for results in tracker:
        if results.frame == 2:
            with pytest.raises(ValueError, match="Frame 1 has passed and a stream is read once"):
                tracker.add(1, 1, HERE)
    with pytest.raises(ValueError, match="Frame 3 has passed"):
        tracker.add(3, 1, HERE)
    with pytest.raises(ValueError, match="has been read already"):
        list(tracker)


def test_a_stream_does_not_run_backward(model):
    with pytest.raises(ValueError, match="forward only; leave backward out"):
        model.tracker(iter(scene(2)[0]), backward=True)


@pytest.mark.parametrize("backward", [False, True])
def test_a_prompt_behind_the_end_is_told(model, clip, backward):
    with pytest.raises(ValueError, match=r"Frame 30 does not exist: clip.mp4 has 30 frames"):
        list(model.track(clip, [HERE], frame=30, backward=backward))


def test_a_prompt_outside_the_picture_is_told(model):
    with pytest.raises(ValueError, match="lies outside the image"):
        list(model.track(scene(2)[0], [seem.Point(200, 3)]))


# --- Memory -----------------------------------------------------------------------------------------------------------


def held(tracker):
    """Bytes that a tracker holds of past frames: tensors, arrays and pictures that can be reached from its tracks."""
    total, known, waiting = 0, set(), list(tracker._pass.tracks.values())
    while waiting:
        one = waiting.pop()
        if id(one) in known:
            continue
        known.add(id(one))
        if isinstance(one, (torch.Tensor, np.ndarray)):
            total += one.nbytes
        elif isinstance(one, (list, tuple, deque, dict)):
            waiting.extend(one.values() if isinstance(one, dict) else one)
        elif type(one).__module__.startswith("seem.") and not isinstance(
            one, (seem.Model, LazyLabels)
        ):
            slots = [name for name in getattr(type(one), "__slots__", ()) if name != "__weakref__"]
            waiting.extend(getattr(one, name) for name in slots or vars(one))
    return total


def is_dense(value):
    return type(value) is torch.Tensor and value.layout is torch.strided


@pytest.mark.parametrize(
    ("mode", "early", "late"), [("memory", 50, 500), ("propagate", 15, 45), ("reference", 15, 45)]
)
def test_memory_does_not_grow_with_the_video(model, mode, early, late):
    """Compare what is held, and all tensors that are alive, early and late."""
    frames, masks = scene(35)
    tracker = model.tracker((frames[index % 35] for index in range(late)), mode, size=32)
    tracker.add(0, 1, seem.Mask(masks[0]))
    mine, alive = [], []
    for results in tracker:
        if results.frame + 1 in (early, late):
            mine.append(held(tracker))
            gc.collect()
            alive.append(sum(one.nbytes for one in gc.get_objects() if is_dense(one)))
    assert 0 < mine[1] <= 1.1 * mine[0]
    assert alive[1] <= 1.1 * alive[0]


def size_of(memory):
    tensors = [tensor for frame in memory.recent for tensor in frame]
    for frame in (*memory.prompted, *memory.key_frames):
        tensors += [frame.features, frame.cover]
    return sum(tensor.nbytes for tensor in tensors)


def test_the_memory_of_an_object_is_bounded():
    memory, generator = VideoMemory(), torch.Generator().manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(8, 20, 30, generator=generator), dim=0)
    cover = torch.zeros(20, 30)
    cover[5:12, 5:12] = 1
    memory.correct(features, cover)
    for _ in range(30):
        memory.follow(features)
    full = size_of(memory)
    for _ in range(100):
        memory.correct(features, cover)
        memory.follow(features)
    assert size_of(memory) <= full
    assert (len(memory.recent), len(memory.prompted)) == (2, matching.NUM_PROMPTED_FRAMES)


@pytest.mark.slow
def test_ten_minutes_at_five_frames_a_second(model, tmp_path):
    frames, masks = scene(35)
    with VideoWriter(tmp_path / "long.mp4") as writer:
        for index in range(3000):
            writer.add(Image.fromarray(frames[index % 35]), index / 5)
    resident = []
    for results in model.track(tmp_path / "long.mp4", [seem.Mask(masks[0])]):
        if results.frame in (300, 2999):
            resident.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert (results.frame, results.time) == (2999, pytest.approx(2999 / 5))
    assert resident[1] <= 1.1 * resident[0]


def test_a_found_object_holds_no_picture():
    assert "photo" not in TrackedObject.__slots__


def test_a_file_is_a_video_file(clip):
    assert isinstance(open_video(clip), VideoFile)
