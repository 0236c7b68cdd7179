"""Everything in a photo, the records of it, and class lists of the user's own through the API."""

import inspect
import math

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

import seem
from seem.inference import dense_recognizer
from seem.mask_codec import PackedMask
from seem.models.segmenter import Segmenter
from seem.tasks.everything import (
    EverythingOptions,
    EverythingSettings,
    MaskBatch,
    SearchView,
    crop_boxes,
    find_everything,
    object_query_masks,
    packed_mask_iou,
    point_grid,
    shrink_masks,
    stability,
)
from seem.tasks.postprocess import ImageFrame
from tiny import picture, tiny_model, tiny_relative

SURE, SHAKY = (
    9.0,
    0.5,
)  # logits of a mask that stays as it is, and of one that changes with its threshold
HW = (8, 12)  # of the photo, in cells of the low-resolution masks, four network pixels each
FRAME = ImageFrame((32, 48), (32, 48), (32, 48))
WHOLE = (0, 0, 48, 32)
ALL = {"pred_iou_threshold": 0.0, "stability_score_threshold": 0.0}


def block(y0, y1, x0, x1, logit=SURE):
    """Draw mask logits, one a cell: positive in a block."""
    drawn = torch.full(HW, -SURE)
    drawn[y0:y1, x0:x1] = logit
    return drawn


def answers(*masks):
    """Pair masks with their quality."""
    if not masks:
        return MaskBatch(torch.zeros(0, *HW), torch.zeros(0), torch.zeros(0, 2))
    return MaskBatch(
        torch.stack([m for m, _ in masks]),
        torch.tensor([q for _, q in masks]),
        torch.zeros(len(masks), 2),
    )


class Clicked:
    """A model that answers a click on a cell with the block that holds it, and keeps what it was asked."""

    def __init__(self, *blocks):
        self.blocks = blocks  # (y0, y1, x0, x1, quality)
        self.batches = []

    def __call__(self, points):
        self.batches.append(points.tolist())
        return answers(*(self.answer(x, y) for x, y in points / 4))

    def answer(self, x, y):
        for y0, y1, x0, x1, quality in self.blocks:
            if y0 <= y < y1 and x0 <= x < x1:
                return block(y0, y1, x0, x1), quality
        return block(0, 0, 0, 0), 0.0


def boxes(findings):
    """Say where masks are, in cells."""
    return [tuple(side // 4 for side in finding.mask.box) for finding in findings]


def search(found, ask=None, **settings):
    view = SearchView(WHOLE, 0, FRAME, found, ask)
    return find_everything(
        [view], FRAME.output_hw, EverythingSettings(**{"points_per_side": 4, **settings})
    )


# --- The search -------------------------------------------------------------------------------------------------------


def test_good_and_stable_masks_are_kept_best_first():
    found = answers(
        (block(0, 2, 0, 2), 0.8),
        (block(0, 4, 6, 12), 0.9),
        (block(6, 8, 0, 3), 0.6),  # not good enough
        (block(5, 8, 6, 9, SHAKY), 0.95),  # gone when the threshold rises by 1
        (block(0, 0, 0, 0), 1.0),  # empty
    )
    findings = search(found)
    assert boxes(findings) == [(6, 0, 12, 4), (0, 0, 2, 2)]
    assert [finding.proposal.predicted_iou for finding in findings] == pytest.approx([0.9, 0.8])
    assert all(finding.proposal.point is None for finding in findings)
    assert [f.proposal.stability_score for f in findings] == [1.0, 1.0]
    assert len(search(found, stability_score_offset=0.1)) == 3
    assert len(search(found, pred_iou_threshold=0.5)) == 3


def test_a_mask_that_repeats_a_better_one_is_dropped_but_not_one_that_lies_in_it():
    found = answers((block(0, 4, 0, 4), 0.8), (block(0, 4, 0, 5), 0.9), (block(1, 3, 1, 3), 0.85))
    assert boxes(search(found)) == [(0, 0, 5, 4), (1, 1, 3, 3)]
    assert len(search(found, box_nms_threshold=0.9)) == 3
    assert len(search(found, box_nms_threshold=0.1)) == 1


def test_clicks_are_made_only_where_no_mask_is():
    ask = Clicked((0, 4, 0, 6, 0.9), (0, 4, 6, 12, 0.8), (4, 8, 0, 12, 0.75))
    findings = search(answers((block(4, 8, 0, 12), 0.95)), ask)
    assert boxes(findings) == [(0, 4, 12, 8), (0, 0, 6, 4), (6, 0, 12, 4)]
    assert all(y < 16 for batch in ask.batches for _, y in batch)
    assert [f.proposal.point is None for f in findings] == [True, False, False]
    assert all(
        f.mask.decode()[int(f.proposal.point[1]), int(f.proposal.point[0])] for f in findings[1:]
    )


def test_a_batch_waits_for_the_one_before():
    ask = Clicked((0, 8, 0, 12, 0.9))
    assert boxes(search(answers(), ask, points_per_batch=1)) == [(0, 0, 12, 8)]
    assert len(ask.batches) == 1


def test_object_queries_stand_above_clicks():
    ask = Clicked((0, 8, 0, 12, 0.99))
    findings = search(answers((block(0, 8, 0, 11), 0.75)), ask, points_per_side=12)
    assert boxes(findings) == [(0, 0, 11, 8)]
    assert ask.batches


def test_without_points_or_clicks_the_object_queries_answer_alone():
    found = answers((block(0, 2, 0, 2), 0.8))
    ask = Clicked((0, 8, 0, 12, 0.9))
    assert len(search(found, ask, points_per_side=0)) == len(search(found, None)) == 1
    assert ask.batches == []
    assert search(answers(), None) == []


def test_small_islands_and_holes_can_go():
    drawn = block(0, 6, 0, 8)
    drawn[3, 3] = -SURE
    drawn[7, 11] = SURE
    (before,) = search(answers((drawn, 0.9)))
    (after,) = search(answers((drawn, 0.9)), min_mask_region_area=40)
    assert before.mask.box == (0, 0, 48, 32)
    assert after.mask.box[2] < 36
    assert after.mask.decode()[14, 14]


def test_queries_that_are_rather_nothing_do_not_take_part():
    logits = torch.tensor([[0.6, 0.1, 0.3], [0.2, 0.2, 0.6]]).log()
    masks = torch.stack([block(0, 2, 0, 2), block(2, 4, 2, 4)])
    kept = object_query_masks(logits, masks, torch.zeros(2, 3), FRAME)
    assert torch.equal(kept.logits, masks[:1])
    assert float(kept.quality[0]) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("logits", "score"),
    [
        ([SURE, SURE, -SURE, -SURE], 1.0),
        ([SURE, 0.5, -SURE, -SURE], 0.5),  # one of two is inside at +1
        ([SURE, SURE, -0.5, -SURE], 2 / 3),  # one more is inside at -1
        ([-SURE] * 4, 0.0),
    ],
)
def test_stability_is_the_iou_of_two_thresholds(logits, score):
    assert float(stability(torch.tensor(logits).reshape(1, 2, 2))[0]) == pytest.approx(score)


# --- Points and crops -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_side", [1, 2, 3, 5, 8, 16])
def test_the_grid_is_even_and_begins_far_apart(per_side):
    points = point_grid(per_side, (60, 90))
    assert len(np.unique(points, axis=0)) == per_side**2
    for side, places in ((90, points[:, 0]), (60, points[:, 1])):
        np.testing.assert_allclose(np.unique(places), (np.arange(per_side) + 0.5) / per_side * side)
    if per_side == 8:
        first = points[:4]
        apart = np.linalg.norm((first[:, None] - first[None]) / [90, 60], axis=-1)
        assert apart[np.triu_indices(4, 1)].min() >= 0.5
    assert len(point_grid(0, (60, 90))) == 0


def test_crops_cover_the_photo_and_share_a_border():
    boxes = crop_boxes((100, 200), 2, 0.2)
    assert [layer for layer, _ in boxes] == [1] * 4 + [2] * 16
    assert boxes[0] == (1, (0, 0, 110, 60))
    assert boxes[3] == (1, (90, 40, 200, 100))
    for layer in (1, 2):
        covered = np.zeros((100, 200), dtype=np.int64)
        sizes = set()
        for x0, y0, x1, y1 in (box for number, box in boxes if number == layer):
            covered[y0:y1, x0:x1] += 1
            sizes.add((x1 - x0, y1 - y0))
        assert covered.min() == 1
        assert len(sizes) == 1


def test_what_a_crop_cuts_off_is_left_out_and_the_closer_look_wins():
    crop = SearchView((0, 0, 24, 16), 1, ImageFrame((32, 48), (32, 48), (16, 24)), answers(
        (block(0, 4, 0, 5), 0.8),  # up to the photo's own border: kept
        (block(2, 6, 8, 12), 0.9),  # up to the crop's border inside the photo
    ), None)  # fmt: skip
    whole = SearchView(
        WHOLE, 0, FRAME, answers((block(0, 2, 0, 3), 0.9), (block(4, 8, 4, 8), 0.85)), None
    )
    settings = EverythingSettings(points_per_side=0, crop_n_layers=1, crop_nms_threshold=0.5)
    findings = find_everything([whole, crop], FRAME.output_hw, settings)
    assert [(f.layer, f.proposal.crop_box) for f in findings] == [(0, WHOLE), (1, (0, 0, 24, 16))]
    assert findings[1].mask.box[:2] == (0, 0)
    assert findings[1].mask.box[2] < 12


def test_masks_overlap_by_their_iou():
    one, other, far = (np.zeros((10, 10), dtype=np.bool_) for _ in range(3))
    one[0:4, 0:4] = other[2:6, 0:4] = far[8:, 8:] = True
    packed = [PackedMask.pack(mask, (10, 10)) for mask in (one, other, far)]
    assert packed_mask_iou(packed[0], packed[1]) == pytest.approx(8 / 24)
    assert packed_mask_iou(packed[0], packed[0]) == 1
    assert packed_mask_iou(packed[0], packed[2]) == 0
    small = shrink_masks(packed, ImageFrame((32, 32), (20, 20), (10, 10)))
    assert (small > 0).sum(dim=(1, 2)).tolist() == [4, 4, 1]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("points_per_side", -1, "must be at least 0"),
        ("points_per_batch", 0, "must be at least 1"),
        ("crop_n_layers", True, "must be a whole number"),
        ("pred_iou_threshold", 1.2, "must be between 0 and 1"),
        ("stability_score_threshold", math.nan, "must be between 0 and 1"),
        ("stability_score_offset", -1.0, "must be at least 0 and at most 10000"),
        ("box_nms_threshold", -0.1, "must be between 0 and 1"),
        ("crop_n_layers", -1, "must be at least 0"),
        ("crop_nms_threshold", 2.0, "must be between 0 and 1"),
        ("crop_overlap_ratio", 1.0, "must be at least 0 and below 1"),
        ("crop_n_points_downscale_factor", 0, "must be at least 1"),
        ("min_mask_region_area", -5, "must be at least 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, value, message):
    with pytest.raises(ValueError, match=f"^{name} is {value}; it {message}"):
        EverythingSettings(**{name: value})


def test_thresholds_that_were_given_stay():
    settings = EverythingOptions(3, pred_iou_threshold=0.0).with_thresholds(0.4, 0.5)
    assert settings == EverythingSettings(
        points_per_side=3, pred_iou_threshold=0.0, stability_score_threshold=0.5
    )


# --- Through the API --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["nano", "seem-focal-t-v1", "seem-demo", "xdecoder"])
def photo(request):
    make = tiny_model if request.param in ("nano", "seem-focal-t-v1") else tiny_relative
    return make(request.param).encode(picture(53, 37))


def test_every_model_finds_masks_and_always_the_same(photo):
    result, again = (photo.everything(4, **ALL) for _ in range(2))
    assert len(result) > 0
    assert (np.diff(result.scores) <= 0).all()
    assert (result.masks == again.masks).all()
    assert result.proposals == again.proposals
    assert len(result.labels) == len(result.embeddings) == len(result.proposals) == len(result)
    assert result.provenance.task == "everything"
    assert result.provenance.rules[0].startswith(
        "everything: points_per_side 4, points_per_batch 64, pred_iou"
    )
    clicks = photo.model.network.decoder.policy.visual is not None
    assert result.kind == ("object queries, visual" if clicks else "object queries")
    assert result.seconds.keys() == {"encode", "everything", "labels"}


def test_nothing_passes_the_highest_threshold(photo):
    nothing = photo.everything(2, pred_iou_threshold=1.0)
    assert len(nothing) == 0
    assert nothing.masks.shape == (0, 37, 53)
    assert nothing.to_records() == []
    assert nothing.labels == ()


def test_mask_logits_go_back_in():
    photo = tiny_model("nano").encode(picture(53, 37))
    found = photo.everything(4, **ALL)
    refined = photo.segment(seem.Mask(logits=found[0].logits), seem.Point(4, 2))
    assert refined.masks.shape == (1, 37, 53)


def test_crops_are_searched_too():
    photo = tiny_model("seem-focal-t-v1").encode(picture(90, 60))
    found = photo.everything(0, crop_n_layers=1, **ALL)
    whole = photo.everything(0, **ALL)
    assert found.logits is None
    assert found.masks.shape[1:] == (60, 90)
    assert {p.crop_box for p in whole.proposals} == {(0, 0, 90, 60)}
    assert len(found.labels) == len(found)
    for proposal, box in zip(found.proposals, found.boxes, strict=True):
        x0, y0, x1, y1 = proposal.crop_box
        assert x0 <= box[0] <= box[2] <= x1
        assert y0 <= box[1] <= box[3] <= y1


# --- Records ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found():
    return tiny_model("nano").encode(picture(53, 37)).everything(4, **ALL)


def test_records_have_the_keys_of_segment_anything(found):
    for record, segment, proposal in zip(found.to_records(), found, found.proposals, strict=True):
        assert list(record) == [
            *("segmentation", "area", "bbox", "predicted_iou"),
            *("point_coords", "stability_score", "crop_box"),
        ]
        x0, y0, x1, y1 = segment.box
        assert (record["segmentation"] == segment.mask).all()
        assert (record["area"], record["bbox"]) == (segment.area, [x0, y0, x1 - x0, y1 - y0])
        assert record["predicted_iou"] == pytest.approx(segment.score)
        assert record["stability_score"] == proposal.stability_score
        assert record["point_coords"] == ([] if proposal.point is None else [list(proposal.point)])
        assert record["crop_box"] == [0, 0, 53, 37]


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools with numpy 2
def test_each_output_mode_holds_the_same_mask(found):
    for mask, counts, code in zip(
        found.masks, found.to_records("uncompressed_rle"), found.to_records("coco_rle"), strict=True
    ):
        assert isinstance(code["segmentation"]["counts"], str)
        assert (coco_mask.decode(code["segmentation"]) == mask).all()
        assert sum(counts["segmentation"]["counts"]) == mask.size
        assert (
            coco_mask.decode(coco_mask.frPyObjects(counts["segmentation"], 37, 53)) == mask
        ).all()


def test_run_lengths_go_column_by_column_and_begin_outside():
    photo = tiny_model("nano").encode(picture(3, 2))
    inside = np.array(
        [[[True, False, False], [True, True, False]], [[False] * 3] * 2, [[True] * 3] * 2]
    )
    known = photo.semantic()
    result = seem.Results.of(
        photo.image,
        inside,
        [0.5] * 3,
        vocabulary=known.vocabulary,
        kind="",
        provenance=known.provenance,
    )
    counts = [record["segmentation"]["counts"] for record in result.to_records("uncompressed_rle")]
    assert counts == [[0, 2, 1, 1, 2], [6], [0, 6]]


def test_other_results_have_records_too():
    result = tiny_model("nano").encode(picture(53, 37)).segment(seem.Point(4, 2))
    (record,) = result.to_records()
    assert record["predicted_iou"] == pytest.approx(float(result.scores[0]))
    assert (record["stability_score"], record["point_coords"], record["crop_box"]) == (
        None,
        [],
        [0, 0, 53, 37],
    )


def test_slices_keep_their_proposals(found):
    assert found[1:].proposals == found.proposals[1:]
    assert len(found[:0].to_records()) == 0


def test_an_unknown_mode_is_refused(found):
    to_records = inspect.unwrap(seem.Results.to_records)  # without the type checks of these tests
    with pytest.raises(
        ValueError,
        match="output_mode is 'png'; it is one of binary_mask, uncompressed_rle, coco_rle",
    ):
        to_records(found, "png")


# --- Class lists of one's own -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nano():
    return tiny_model("nano").encode(picture(53, 37))


def test_lists_that_ship_are_classes_by_name(nano):
    ade = nano.semantic("ade20k")
    assert set(ade.labels) <= set(seem.Vocabulary.ade20k().names)
    assert len(ade.categories) == 151
    assert (ade.masks == nano.semantic(seem.Vocabulary.ade20k()).masks).all()
    assert nano.semantic("coco").labels == nano.semantic().labels


def test_own_templates_are_what_the_text_encoder_reads(monkeypatch):
    model = tiny_model("nano")
    said = []
    encode = type(model).encode_class_phrases
    monkeypatch.setattr(type(model), "encode_class_phrases", spy(encode, said))
    names = seem.Vocabulary.of(["cat", "sky"], templates=["a {}.", "my {}."])
    ours = model.classifier(names)
    assert said == [["a cat.", "my cat.", "a sky.", "my sky.", "a background.", "my background."]]
    assert ours.shape == (3, 16)
    torch.testing.assert_close(ours.norm(dim=-1), torch.ones(3))
    assert not torch.equal(ours, model.classifier(seem.Vocabulary.of(["cat", "sky"])))


def spy(original, said):
    def encode_class_phrases(self, phrases, num_templates):
        said.append(list(phrases))
        return original(self, phrases, num_templates)

    return encode_class_phrases


def test_a_background_leaves_pixels_to_nobody(nano, monkeypatch):
    names = seem.Vocabulary.of(["cat", "sky"], background=True)
    logits = torch.tensor([0.0, 0.0, 9.0])
    monkeypatch.setattr(
        Segmenter,
        "class_logits",
        lambda self, vectors, classifier: logits.expand(*vectors.shape[:2], -1),
    )
    nothing = nano.semantic(names)
    assert len(nothing) == 0
    assert [category["name"] for category in nothing.categories] == ["unlabelled", "cat", "sky"]
    assert nano.semantic(seem.Vocabulary.of(["cat", "sky"])).masks.any(axis=0).all()


def test_pixels_get_classes_that_the_photo_shows_unless_they_were_learnt(monkeypatch):
    model = tiny_model("nano")
    photo, names = model.encode(picture(53, 37)), seem.Vocabulary.of(["cat", "sky", "dog"])
    monkeypatch.setattr(
        dense_recognizer, "classes_in_image", lambda logits, there: (torch.tensor([1]), True)
    )
    alone = photo.semantic(names)
    assert alone.labels == ("sky",)
    assert alone.masks.all()
    assert alone.scores[0] < 0.9  # those that it does not show count against it all the same
    model.classes = seem.Vocabulary.of(["dog", "sky", "cat", "sea"])
    monkeypatch.setattr(
        dense_recognizer,
        "classes_in_image",
        lambda logits, there: pytest.fail("it was taught to tell them apart"),
    )
    assert photo.semantic(names).masks.any(axis=0).all()
    assert photo.semantic(["Cat", "cow"]).masks.any(axis=0).all()


def test_five_thousand_classes_are_answered(nano):
    names = [f"thing number {n}" for n in range(5000)]
    result = nano.semantic(names)
    assert result.masks.any(axis=0).all()
    assert set(result.labels) <= set(names)
    assert nano.model.classifier(seem.Vocabulary.of(names)).shape == (5001, 16)
