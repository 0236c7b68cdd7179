import copy
import dataclasses
import errno
import json
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageChops

from seem.mask_codec import PackedMask
from seem.prompts import Mask, Point, Text
from seem.results import Labels, Provenance, Results, Segment
from seem.vocabulary import Vocabulary

COCO = Vocabulary.coco_panoptic()
PANOPTIC = Provenance("panoptic", "nano", image_name="street.jpg")


def region(*rows):
    return np.array([[character == "#" for character in row] for row in rows])


CAT = region("##...", "##...", ".....")
SKY = region("..###", ".....", ".....")
NOTHING = region(".....", ".....", ".....")
PHOTO = np.arange(45, dtype=np.uint8).reshape(3, 5, 3) * 5


def found(masks, names=None, scores=None, photo=PHOTO, provenance=PANOPTIC, **columns):
    labels = (
        names if names is None or callable(names) else Labels(tuple(names), (0.75,) * len(names))
    )
    scores = [0.9, 0.5, 0.25, 0.125][: len(masks)] if scores is None else scores
    return Results.of(
        photo,
        masks,
        scores,
        vocabulary=COCO,
        kind="object",
        provenance=provenance,
        labels=labels,
        **columns,
    )


@pytest.fixture
def three():
    return found([CAT, SKY, NOTHING], ["cat", "sky-other-merged", None])


def test_columns_are_in_the_photos_frame(three):
    assert (three.masks == np.stack([CAT, SKY, NOTHING])).all()
    assert [mask.tolist() for mask in three.iter_masks()] == three.masks.tolist()
    assert three.boxes.tolist() == [[0, 0, 2, 2], [2, 0, 5, 1], [0, 0, 0, 0]]
    assert three.areas.tolist() == [4, 3, 0]
    assert three.scores.tolist() == [np.float32(0.9), 0.5, 0.25]
    assert three.labels == ("cat", "sky-other-merged", None)
    assert three.category_ids.tolist() == [17, 187, 0]
    assert three.ids.tolist() == [1, 2, 3]
    assert three.image_hw == (3, 5)
    assert three.categories[0]["name"] == "unlabelled"


def test_a_result_is_immutable(three):
    with pytest.raises(dataclasses.FrozenInstanceError):
        three.kind = "text"
    for column in (three.scores, three.ids):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0


def test_the_callers_arrays_stay_writable():
    logits = np.zeros((1, 2, 2), dtype=np.float32)
    assert not found([CAT], logits=logits).logits.flags.writeable
    logits[0] = 1


def test_iterating_gives_segments(three):
    first = next(iter(three))
    assert (first.mask == CAT).all()
    assert (first.box, first.area, first.id, first.category_id) == ((0, 0, 2, 2), 4, 1, 17)
    assert (first.label, first.label_score, first.score) == ("cat", 0.75, pytest.approx(0.9))
    assert first.logits is None
    assert first.embedding is None
    assert [segment.label for segment in three] == list(three.labels)


@pytest.mark.parametrize(
    ("index", "ids"),
    [
        (slice(1, None), [2, 3]),
        (slice(None, None, -1), [3, 2, 1]),
        ([True, False, True], [1, 3]),
        (np.array([False, True, False]), [2]),
        ([2, -3], [3, 1]),
        (np.array([0]), [1]),
        ([], []),
    ],
)
def test_slices_booleans_and_rows_choose_objects(three, index, ids):
    chosen = three[index]
    assert isinstance(chosen, Results)
    assert chosen.ids.tolist() == ids
    assert [segment.id for segment in chosen] == ids
    assert chosen.labels == tuple(three.labels[number - 1] for number in ids)
    assert chosen.masks.shape == (len(ids), 3, 5)


def test_a_single_index_gives_a_segment(three):
    assert isinstance(three[-1], Segment)
    assert three[-1].id == 3
    for index, message in (
        (3, "There is no object 3; the result has 3, counted from 0."),
        (-4, "no object -4"),
    ):
        with pytest.raises(IndexError, match=message):
            three[index]


@pytest.mark.parametrize(
    ("index", "error"),
    [([True], IndexError), ([3], IndexError), (np.zeros((1, 1), dtype=np.int64), TypeError)],
)
def test_an_index_that_fits_nothing_is_refused(three, index, error):
    with pytest.raises(error):
        three[index]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, [1, 2, 3]),
        ({"label": "CAT"}, [1]),
        ({"label": "sky"}, [2]),
        ({"label": "sky-other-merged"}, [2]),
        ({"label": "dog"}, []),
        ({"min_score": 0.5}, [1, 2]),
        ({"min_area": 1}, [1, 2]),
        ({"min_area": 4, "min_score": 0.95}, []),
    ],
)
def test_filter_keeps_what_fits(three, wanted, ids):
    assert three.filter(**wanted).ids.tolist() == ids


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"masks": [CAT[:2]]}, r"A mask is bool of \(2, 5\); the image needs bool of \(3, 5\)"),
        ({"masks": [CAT], "scores": [0.5, 0.5]}, "There are 1 masks, but 2 scores"),
        ({"masks": [CAT], "scores": [1.5]}, "Scores are between 0 and 1"),
        ({"masks": [CAT], "scores": [float("nan")]}, "Scores are between 0 and 1"),
        ({"masks": [CAT, SKY], "ids": [4, 4]}, "Ids are positive and all different"),
        ({"masks": [CAT], "ids": [0]}, "Ids are positive"),
        ({"masks": [CAT], "names": ["cat", "dog"]}, "There are 1 masks, but 2 labels"),
        ({"masks": [CAT], "logits": np.zeros((2, 1, 1), np.float32)}, "1 masks, but 2 logits"),
        ({"masks": [CAT], "photo": np.zeros((3, 5, 4), np.uint8)}, "H x W x 3 uint8"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        found(**columns)


def test_a_score_that_overshoots_by_rounding_is_cut():
    assert found([CAT], scores=[1.00001]).scores.tolist() == [1.0]


@given(arrays.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_packing_loses_nothing(mask):
    packed = PackedMask.pack(mask, mask.shape)
    assert (packed.decode() == mask).all()
    assert packed.area == mask.sum()


def test_a_packed_mask_stays_as_it_is_if_it_has_the_photos_size():
    packed = PackedMask.pack(np.eye(4, dtype=np.bool_), (4, 4))
    result = found([packed], scores=[0.5], photo=Image.new("RGB", (4, 4)))
    assert result.packed[0] is packed
    with pytest.raises(ValueError, match="the image needs bool of"):
        found([packed], scores=[0.5], photo=Image.new("RGB", (4, 5)))


def test_masks_of_a_large_photo_stay_small():
    mask = np.zeros((3000, 4000), dtype=bool)
    mask[500:1500, 1000:2000] = True
    result = found(
        (mask for _ in range(10)), scores=[0.5] * 10, photo=Image.new("RGB", (4000, 3000))
    )
    assert sum(packed.bits.nbytes for packed in result.packed) < 10 * 0.2e6
    assert result[9].area == 1_000_000


# --- Lazy labels ------------------------------------------------------------------------------------------------------


class Namer:
    """Counts how often it is asked."""

    def __init__(self, labels, fail=0):
        self.labels, self.calls, self.fail = labels, 0, fail

    def __call__(self):
        self.calls += 1
        if self.calls <= self.fail:
            raise RuntimeError("out of memory")
        return self.labels


def test_lazy_labels_are_asked_for_once_and_only_when_a_name_is_needed():
    namer = Namer(Labels(("cat", None), (0.75, 0.0)))
    result = found([CAT, SKY], namer)
    part = result[1:]
    assert (len(result), result.boxes.shape, result.filter(min_score=0.6).ids.tolist()) == (
        2,
        (2, 4),
        [1],
    )
    for look in (repr, Results.panoptic_map, Results.cutouts, lambda result: result.masks):
        look(result)
    assert namer.calls == 0
    assert "labels" not in result.seconds
    assert part.labels == (None,)
    assert result.labels == ("cat", None)
    assert result[:1].labels == ("cat",)
    assert result.label_scores == (0.75, 0.0)
    assert namer.calls == 1
    assert result.seconds["labels"] >= 0


def test_threads_ask_for_labels_once():
    namer = Namer(Labels(("cat",), (0.75,)))
    result, gate, seen = found([CAT], namer), threading.Barrier(8), []

    def look():
        gate.wait()
        seen.append(result[:1].labels)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [("cat",)] * 8
    assert namer.calls == 1


def test_a_look_that_failed_can_be_repeated():
    result = found([CAT], Namer(Labels(("cat",), (0.75,)), fail=1))
    with pytest.raises(RuntimeError):
        _ = result.labels
    assert result.labels == ("cat",)


def test_lazy_labels_of_the_wrong_number_are_refused():
    with pytest.raises(ValueError, match="There are 1 masks, but 2 labels"):
        _ = found([CAT], Namer(Labels(("cat", "dog"), (1.0, 1.0)))).labels


def test_a_result_can_be_sent_to_another_process():
    result = found(
        [CAT], Namer(Labels(("cat",), (0.75,))), provenance=Provenance("interactive", "nano")
    )
    for twin in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert twin.labels == ("cat",)
        assert (twin.masks == result.masks).all()


def test_a_phrase_that_is_no_category_stays_a_label():
    result = found([CAT], ["the red cat"])
    assert result.labels == ("the red cat",)
    assert result.category_ids.tolist() == [0]
    assert result.to_coco()["annotations"][0]["label"] == "the red cat"
    assert len(result.filter(label="The red cat")) == 1


def test_repr_shows_names_only_when_they_are_known():
    assert (
        repr(found([CAT], ["cat"])) == "<Results of panoptic: 1 object in 5 x 3 pixels: cat 0.75>"
    )
    assert repr(found([CAT, SKY], Namer(Labels(("cat", "cat"), (1.0, 1.0))))) == (
        "<Results of panoptic: 2 objects in 5 x 3 pixels>"
    )
    noted = found(
        [CAT], ["cat"], provenance=Provenance("panoptic", "nano", notes=("turned", "cut"))
    )
    assert noted.notes == ("turned", "cut")
    assert repr(noted) == "<Results of panoptic: 1 object in 5 x 3 pixels: cat 0.75; turned; cut>"
    assert repr(found([])) == "<Results of panoptic: 0 objects in 5 x 3 pixels>"


def test_an_overlay_says_how_sure_a_name_is_and_without_one_how_sure_the_mask():
    named, unsure, said = Namer(Labels(("cat",), (0.31,))), Namer(Labels((None,), (0.0,))), ["cat"]
    assert [found([CAT], names).tags for names in (named, unsure, said)] == [
        ("cat 0.31",),
        ("0.90",),
        ("cat 0.75",),
    ]


# --- Pictures ---------------------------------------------------------------------------------------------------------


def test_an_overlay_shows_objects_names_and_prompts_unless_told_otherwise():
    mask = np.zeros((300, 400), dtype=bool)
    mask[50:250, 100:300] = True
    asked = Provenance(
        "interactive",
        "nano",
        prompts=((Point(20, 20), Point(380, 20, positive=False)), (Text("a"),)),
    )
    result = found([mask], ["cat"], photo=np.full((300, 400, 3), 128, np.uint8), provenance=asked)
    whole, bare = result.overlay(), result.overlay(labels=False, prompts=False)
    assert whole.size == bare.size == (400, 300)
    assert ImageChops.difference(bare, Image.new("RGB", (400, 300), (128, 128, 128))).getbbox() == (
        100,
        50,
        300,
        250,
    )
    assert ImageChops.difference(result.overlay(prompts=False), bare).getbbox() is not None
    left, top, right, bottom = ImageChops.difference(result.overlay(labels=False), bare).getbbox()
    assert top < 20 < bottom < 50
    assert left < 20 < 380 < right
    assert result.overlay(alpha=0.0) != whole


def test_an_overlay_names_what_is_lazily_named():
    namer = Namer(Labels(("cat",), (0.75,)))
    assert found([CAT], namer).overlay().size == (5, 3)
    assert namer.calls == 1


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_alpha_outside_0_to_1_is_refused(three, alpha):
    with pytest.raises(ValueError, match="alpha is"):
        three.overlay(alpha=alpha)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_an_overlay_takes_photos_of_any_mode(mode):
    assert found([CAT], photo=Image.new(mode, (5, 3))).overlay().mode == "RGB"


def test_cutouts_are_cut_along_the_mask(three):
    cat, sky, nothing = three.cutouts()
    assert (cat.size, sky.size, nothing.size) == ((2, 2), (3, 1), (1, 1))
    assert cat.mode == "RGBA"
    assert (np.asarray(cat)[..., :3] == PHOTO[:2, :2]).all()
    assert nothing.getpixel((0, 0)) == (0, 0, 0, 0)
    corner = found([region("#....", ".#...", ".....")])[0].cutout()
    assert np.asarray(corner)[..., 3].tolist() == [[255, 0], [0, 255]]


def test_a_notebook_shows_a_png(three):
    assert three._repr_png_().startswith(b"\x89PNG")


def test_show_opens_the_overlay(three, monkeypatch):
    shown = []
    monkeypatch.setattr(Image.Image, "show", lambda picture: shown.append(picture))
    three.show()
    assert shown[0].size == (5, 3)


def test_a_panoptic_map_holds_ids(three):
    assert three.panoptic_map().tolist() == [[1, 1, 2, 2, 2], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]


def test_overlapping_masks_have_no_panoptic_map():
    with pytest.raises(ValueError, match="Mask 2 overlaps another"):
        found([CAT, CAT]).panoptic_map()


# --- Files ------------------------------------------------------------------------------------------------------------


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_coco_json_says_everything():
    provenance = Provenance(
        "interactive",
        "nano",
        model_sha256="ab" * 32,
        precision="exact",
        prompts=((Point(1, 1), Text("a cat")),),
        seconds={"encode": 0.5},
        rules=("point: 3 x 3 network pixels",),
        notes=("turned upright",),
        image_name="street.jpg",
        orientation=6,
    )
    record = found([CAT], ["cat"], provenance=provenance, ids=[7]).to_coco(image_id=3)
    assert json.loads(json.dumps(record)) == record
    assert record["images"] == [{"id": 3, "file_name": "street.jpg", "width": 5, "height": 3}]
    (annotation,) = record["annotations"]
    assert annotation.pop("segmentation")["size"] == [3, 5]
    assert annotation == {
        "id": 7,
        "image_id": 3,
        "category_id": 17,
        "bbox": [0, 0, 2, 2],
        "area": 4,
        "iscrowd": 0,
        "score": pytest.approx(0.9),
        "label": "cat",
        "label_score": 0.75,
    }
    assert record["categories"][0] == {
        "id": 0,
        "name": "unlabelled",
        "isthing": 1,
        "color": [128, 128, 128],
    }
    assert record["categories"][1] == {
        "id": 1,
        "name": "person",
        "isthing": 1,
        "color": [220, 20, 60],
    }
    assert len(record["categories"]) == 134
    version = record["seem"].pop("version")
    assert version
    assert record["seem"] == {
        "model": "nano",
        "sha256": "ab" * 32,
        "task": "interactive",
        "kind": "object",
        "prompts": [
            [
                {"kind": "point", "x": 1, "y": 1, "positive": True},
                {"kind": "text", "phrase": "a cat"},
            ]
        ],
        "seconds": {"encode": 0.5},
        "precision": "exact",
        "orientation": 6,
        "rules": ["point: 3 x 3 network pixels"],
        "notes": ["turned upright"],
    }


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # their decode, with NumPy 2
def test_pycocotools_reads_the_json(three, tmp_path, capsys):
    from pycocotools.coco import COCO as CocoFile

    three.save(tmp_path)
    coco = CocoFile(str(tmp_path / "street.json"))
    for annotation, mask in zip(coco.loadAnns(coco.getAnnIds()), three.iter_masks(), strict=True):
        assert (coco.annToMask(annotation) == mask).all()
    capsys.readouterr()


def test_save_writes_the_promised_files(three, tmp_path):
    written = three.save(tmp_path / "new" / "folder")
    names = [
        "street.overlay.png",
        "street.json",
        *(f"street.mask-{k}.png" for k in range(3)),
        "street.panoptic.png",
    ]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(names)
    assert (pixels_of(written[2]) == np.where(CAT, 255, 0)).all()
    assert pixels_of(written[0]).shape == (3, 5, 3)


def test_a_panoptic_png_encodes_ids_as_coco_does(tmp_path):
    result = found([CAT, SKY], ["cat", "sky-other-merged"], ids=[70_000, 300])
    colours = pixels_of(result.save(tmp_path)[-1]).astype(int)
    assert (colours @ [1, 256, 65536] == result.panoptic_map()).all()
    assert colours[0, 0].tolist() == [112, 17, 1]


def test_only_panoptic_results_have_a_panoptic_png(tmp_path):
    result = found([CAT, CAT], provenance=Provenance("instance", "nano"))
    names = [path.name for path in result.save(tmp_path)]
    assert names == ["photo.overlay.png", "photo.json", "photo.mask-0.png", "photo.mask-1.png"]


def test_existing_files_are_refused_unless_overwritten(three, tmp_path):
    three.save(tmp_path)
    with pytest.raises(
        FileExistsError, match=r"street\.overlay\.png exists already; pass overwrite=True"
    ):
        three.save(tmp_path)
    (tmp_path / "street.mask-x.png").write_text("not ours")
    (tmp_path / "street2.mask-7.png").write_text("not ours")
    three[:1].save(tmp_path, overwrite=True)
    left = {path.name for path in tmp_path.iterdir()}
    assert "street.mask-0.png" in left
    assert not {"street.mask-1.png", "street.mask-2.png"} & left
    assert {"street.mask-x.png", "street2.mask-7.png"} <= left
    assert len(json.loads((tmp_path / "street.json").read_text())["annotations"]) == 1


@pytest.mark.parametrize("stem", ["", "..", "a/b", "a\\b", "a\0b"])
def test_a_stem_that_is_no_file_name_is_refused(three, tmp_path, stem):
    with pytest.raises(ValueError, match="is no file name"):
        three.save(tmp_path, stem=stem)
    assert not list(tmp_path.iterdir())


def test_a_stem_may_hold_dots_brackets_and_other_letters(three, tmp_path):
    three.save(tmp_path, stem="a[1].jpg")
    three[:1].save(tmp_path, stem="a[1].jpg", overwrite=True)
    assert len(list(tmp_path.iterdir())) == 4
    assert (tmp_path / "a[1].jpg.json").exists()


@pytest.mark.parametrize("fails_at", [0, 1, 3])
def test_a_full_disk_leaves_nothing_behind(three, tmp_path, monkeypatch, fails_at):
    save, calls = Image.Image.save, []

    def full(self, path, **options):
        calls.append(path)
        if len(calls) > fails_at:
            Path(path).write_bytes(b"half a")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, path, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(
        OSError, match=r"Cannot write results to .*: No space left on device; free some space"
    ):
        three.save(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_a_rename_that_fails_takes_the_others_back(three, tmp_path, monkeypatch):
    three[:1].save(tmp_path, stem="old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    rename = Path.replace

    def fail_late(self, target):
        if target.name.endswith("mask-1.png"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail_late)
    with pytest.raises(OSError, match=r"Input/output error; choose another folder\.$"):
        three.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_labels_that_fail_leave_nothing_behind(tmp_path):
    result = found([CAT], Namer(Labels(("cat",), (1.0,)), fail=1))
    with pytest.raises(RuntimeError):
        result.save(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_is_refused(three, tmp_path):
    (tmp_path / "out").write_text("here first")
    with pytest.raises(OSError, match="out: it is a file; choose a folder"):
        three.save(tmp_path / "out")
    with pytest.raises(OSError, match="Cannot write results"):
        three.save(tmp_path / "out" / "deeper")
    assert (tmp_path / "out").read_text() == "here first"


@pytest.mark.parametrize("name", ["cat.png", "cat.JPG", "found.json"])
def test_the_name_of_one_file_is_no_folder(three, tmp_path, name):
    with pytest.raises(ValueError, match=rf"{name} is the name of a file.*name a folder, or save"):
        three.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    (tmp_path / name).mkdir()
    assert three.save(tmp_path / name)  # a folder that is there is meant


def test_an_empty_result_can_do_everything(tmp_path):
    empty = found([], [])
    assert len(empty) == 0
    assert list(empty) == []
    assert empty.masks.shape == (0, 3, 5)
    assert empty.boxes.shape == (0, 4)
    assert (empty.scores.shape, empty.ids.shape, empty.category_ids.shape, empty.areas.shape) == (
        (0,),
    ) * 4
    assert empty.labels == empty.rle == empty.cutouts() == ()
    assert (
        len(empty[:])
        == len(empty.filter(label="cat", min_score=0.5, min_area=3))
        == len(empty[empty.scores > 0])
        == 0
    )
    assert not empty.panoptic_map().any()
    assert (np.asarray(empty.overlay()) == PHOTO).all()
    assert empty._repr_png_().startswith(b"\x89PNG")
    assert empty.to_coco()["annotations"] == []
    assert [path.name for path in empty.save(tmp_path)] == [
        "street.overlay.png",
        "street.json",
        "street.panoptic.png",
    ]


def test_logits_go_in_again_as_a_prompt():
    result = found([CAT], logits=np.ones((1, 2, 3), dtype=np.float32))
    for again in (Mask(logits=result.logits), Mask(logits=result[0].logits)):
        assert again.logits.shape == (2, 3)
