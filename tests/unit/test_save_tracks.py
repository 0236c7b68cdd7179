"""Masks of a video for other tools: DAVIS, YouTube-VIS, MOTS."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import seem
from seem.data.opening import open_dataset
from seem.results import Labels, Provenance, Results
from seem.vocabulary import Vocabulary

# pycocotools 2.0.11 hands its arrays over by a protocol that NumPy 2 is about to leave behind.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HW = (20, 30)
LEFT, TOP = np.zeros(HW, bool), np.zeros(HW, bool)
LEFT[:, :10] = True
TOP[:5] = True


def frame(index, masks, ids, scores, names=("car", "dog")):
    results = Results.of(
        np.full((*HW, 3), 40 * index, np.uint8),
        masks,
        scores,
        ids=ids,
        vocabulary=Vocabulary.of(["car", "dog"]),
        kind="memory",
        provenance=Provenance("video", "nano"),
        labels=Labels(tuple(names[: len(ids)]), (0.5,) * len(ids)),
    )
    return replace(results, frame=index)


def clip():
    """Three frames: two objects that overlap, one alone, and none."""
    yield frame(0, [LEFT, TOP], [1, 2], [0.9, 0.5])
    yield frame(1, [TOP], [2], [0.7], names=("dog",))
    yield frame(2, [], [], [])


@pytest.fixture
def saved(tmp_path):
    with pytest.warns(UserWarning, match="pixels were in several masks|MOTS has car"):
        seem.save_tracks(
            clip(), tmp_path, ["davis", "youtube-vis", "mots"], clip="street", copy_frames=True
        )
    return tmp_path


def flat_maps():
    both = np.where(LEFT, 1, np.where(TOP, 2, 0))
    return [both, np.where(TOP, 2, 0), np.zeros(HW, int)]


def test_davis_has_a_palette_image_a_frame(saved):
    folder = saved / "davis" / "Annotations" / "480p" / "street"
    assert sorted(path.name for path in folder.iterdir()) == [f"0000{i}.png" for i in range(3)]
    for index, expected in enumerate(flat_maps()):
        with Image.open(folder / f"0000{index}.png") as image:
            assert image.mode == "P"
            assert (np.asarray(image) == expected).all()
            colours = image.getpalette()
    assert colours[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    assert colours[-3:] == [224, 224, 192]
    assert not list((saved / "davis").glob(".*"))


def test_davis_is_read_again(saved):
    dataset = open_dataset(f"davis2017:{saved / 'davis'}", "all")
    assert not dataset.flaws
    assert [image.sequence for image in dataset.images] == ["street"] * 3
    masks = [
        {one.track_id or one.id % 1000: one.mask() for one in dataset.objects[image.id]}
        for image in dataset.images
    ]
    assert [len(frame_masks) for frame_masks in masks] == [2, 1, 0]
    areas = sorted(int(mask.sum()) for mask in masks[0].values())
    assert areas == [int((TOP & ~LEFT).sum()), int(LEFT.sum())]


def test_youtube_vis_has_a_mask_or_null_a_frame(saved):
    content = json.loads((saved / "youtube-vis" / "street.json").read_text())
    (video,) = content["videos"]
    assert (video["length"], video["height"], video["width"]) == (3, *HW)
    assert video["file_names"] == [f"street/0000{i}.jpg" for i in range(3)]
    names = {row["id"]: row["name"] for row in content["categories"]}
    first, second = content["annotations"]
    assert [names[row["category_id"]] for row in (first, second)] == ["car", "dog"]
    assert first["segmentations"][1:] == [None, None]
    assert (coco_mask.decode(first["segmentations"][0]) == LEFT).all()
    assert (coco_mask.decode(second["segmentations"][1]) == TOP).all()
    assert second["bboxes"] == [[0, 0, 30, 5], [0, 0, 30, 5], None]
    assert second["areas"] == [150, 150, None]
    results = json.loads((saved / "youtube-vis" / "street.results.json").read_text())
    assert [(row["video_id"], row["score"]) for row in results] == [(1, 0.9), (1, 0.6)]


def test_mots_has_a_line_an_object_and_frame(saved):
    lines = (saved / "mots" / "street.txt").read_text().splitlines()
    rows = [line.split(" ") for line in lines]
    assert [row[:5] for row in rows] == [
        ["0", "1001", "1", "20", "30"],
        ["0", "11002", "11", "20", "30"],
        ["1", "11002", "11", "20", "30"],
    ]
    masks = [coco_mask.decode({"size": list(HW), "counts": row[5]}) for row in rows]
    assert (masks[0] + masks[1] <= 1).all()  # no pixel has two objects
    assert (masks[2] == TOP).all()


def test_clips_share_a_folder(saved):
    seem.save_tracks(clip_without_overlap(), saved, "davis", clip="other")
    assert (saved / "davis/ImageSets/2017/all.txt").read_text().split() == ["other", "street"]
    with pytest.raises(FileExistsError, match="other exists already"):
        seem.save_tracks(clip_without_overlap(), saved, "davis", clip="other")


def clip_without_overlap():
    return [frame(4, [TOP], [2], [0.7])]


def test_a_shorter_clip_replaces_all_frames(saved):
    seem.save_tracks(clip_without_overlap(), saved, "davis", clip="street", overwrite=True)
    folder = saved / "davis" / "Annotations" / "480p" / "street"
    assert [path.name for path in folder.iterdir()] == ["00004.png"]


def test_a_failure_leaves_nothing(tmp_path):
    def broken():
        yield frame(0, [TOP], [2], [0.7])
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        seem.save_tracks(broken(), tmp_path, ["davis", "youtube-vis"], clip="street")
    assert not list(tmp_path.iterdir())


def test_davis_has_no_more_objects_than_a_palette(tmp_path):
    with pytest.raises(ValueError, match="254 objects at most, got 255"):
        seem.save_tracks([frame(0, [TOP], [255], [0.7])], tmp_path, clip="street")
