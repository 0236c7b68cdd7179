"""An image asked tile by tile: one answer about all of it, in bounded memory, from no more tiles than it takes."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import seem
from seem.images import read_image
from seem.inference.dense_recognizer import DenseRecognizer
from seem.inference.prediction import Prediction
from seem.large_images import ArrayImage, Tiling
from seem.mask_codec import PackedMask
from seem.results import Labels
from seem.results.segment_map import SegmentMapFile
from seem.tasks.components import connected_components
from seem.vocabulary import Vocabulary
from tiny import picture, tiny_model

COFFEE = Path(__file__).parents[2] / "examples" / "photos" / "coffee.jpg"
CLASSES = Vocabulary.of(["cup", "spoon", "table"], stuff=["table"])
BLACK, RED, GREEN, BLUE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)


def scene():
    """Draw two cups (red) and a spoon (green) on a table (blue): across the seams of tiles of 100 pixels."""
    drawing = np.zeros((300, 260, 3), np.uint8)
    drawing[150:] = BLUE
    drawing[60:130, 70:200] = RED
    drawing[5:25, 5:25] = RED
    drawing[170:280, 120:140] = GREEN
    return drawing


def regions_of(drawing):
    """Return (class, mask) of every segment of a drawing."""
    for category, colour in enumerate((RED, GREEN, BLUE)):
        mask = (drawing == colour).all(axis=-1)
        for part in connected_components(mask) if category < 2 else [mask]:
            if part.any():
                yield category, part


def predict(self, vocabulary, *_):
    """Answer with what is drawn in an image, surely."""
    drawing = np.asarray(self.decoder.image.rgb)
    regions = list(regions_of(drawing))
    names = tuple(vocabulary.names[category] for category, _ in regions)
    scores = (0.9,) * len(regions)
    masks = [PackedMask.pack(mask, mask.shape) for _, mask in regions]
    return Prediction(masks, scores, Labels(names, scores), "drawn")


@pytest.fixture
def sharp(monkeypatch):
    """Make a model that recognizes what is drawn, as if it were perfect."""
    for question in ("panoptic", "semantic", "instances", "find"):
        monkeypatch.setattr(DenseRecognizer, question, predict)
    return tiny_model("nano")


@pytest.fixture(scope="module")
def nano():
    return seem.load("nano", precision="exact")


def masks_by_name(results):
    return sorted(zip(results.labels, map(np.ndarray.tolist, results.masks), strict=True), key=str)


# ------------------------------------------------------------------------------------------------ the full image


def test_the_map_of_all_tiles_is_that_of_the_image(sharp):
    drawing, reports = scene(), []
    tiled = sharp.encode_tiled(drawing, tile=100, overlap=20)
    segments = tiled.panoptic(CLASSES, progress=lambda *report: reports.append(report))
    assert [one.label for one in segments] == ["cup", "cup", "table", "spoon"]
    ids = segments.read((0, 0, 260, 300))
    for one in segments:
        mask = ids == one.id
        packed = PackedMask.pack(mask, mask.shape)
        assert (one.area, one.box, one.score) == (packed.area, packed.box, pytest.approx(0.9))
        assert any((mask == region).all() for _, region in regions_of(drawing))
    assert reports[0] == (1, 12)
    assert reports[-1] == (12, 12)


def test_a_window_of_the_map_is_a_result_like_any_other(sharp):
    segments = sharp.encode_tiled(scene(), tile=100).panoptic(CLASSES)
    part = segments.results_in((60, 50, 160, 200))
    assert part.labels == ("cup", "table", "spoon")
    assert part.image_hw == (150, 100)
    assert (
        part.masks == sharp.encode(scene()[50:200, 60:160]).panoptic(CLASSES).masks[[0, 2, 1]]
    ).all()
    with pytest.raises(
        ValueError, match=r"window \(200, 0, 300, 10\) .* not inside the image of 260 x 300"
    ):
        segments.read((200, 0, 300, 10))


def test_semantic_gives_one_segment_a_class(sharp):
    segments = sharp.encode_tiled(scene(), tile=100).semantic(CLASSES)
    assert sorted(segments.labels) == ["cup", "spoon", "table"]
    assert {one.label: one.area for one in segments}["cup"] == 70 * 130 + 400


@pytest.mark.parametrize("question", ["instances", "find"])
def test_objects_of_several_tiles_are_one(sharp, question):
    drawing = np.where((scene() == BLUE).all(axis=-1, keepdims=True), 0, scene()).astype(np.uint8)
    names = list(CLASSES.names)
    plain = getattr(sharp.encode(drawing), question)(names)
    tiled = getattr(sharp.encode_tiled(drawing, tile=100), question)(names)
    assert masks_by_name(tiled) == masks_by_name(plain)
    assert tiled.boxes.shape == (3, 4)
    assert len(tiled.cutouts()) == 3


def test_phrases_that_are_nowhere_are_named(sharp):
    found = sharp.encode_tiled(scene(), tile=100).find(["cup", "spoon", "table", "plate"])
    assert found.notes == ("'plate' was not found",)


def test_nothing_is_said_to_be_nothing(sharp):
    segments = sharp.encode_tiled(np.zeros((150, 150, 3), np.uint8), tile=100).panoptic(
        CLASSES, 0.7
    )
    assert len(segments) == 0
    assert "none of the 3 classes scores 0.7" in segments.notes[0]


def test_the_map_is_saved_with_its_segments(sharp, tmp_path):
    segments = sharp.encode_tiled(scene(), tile=100).panoptic(CLASSES)
    paths = segments.save(tmp_path / "out", "scene")
    assert sorted(path.name for path in paths) == [
        "scene.json", "scene.overlay.png", "scene.segments.npy",
    ]  # fmt: skip
    ids = np.load(tmp_path / "out" / "scene.segments.npy", mmap_mode="r")
    record = json.loads((tmp_path / "out" / "scene.json").read_text())
    (annotation,) = record["annotations"]
    assert annotation["file_name"] == "scene.segments.npy"
    for info in annotation["segments_info"]:
        assert np.count_nonzero(ids == info["id"]) == info["area"]
    assert record["seem"]["rules"] == ["tiles of 100 x 100 pixels, neighbours share 12"]
    with pytest.raises(FileExistsError):
        segments.save(tmp_path / "out", "scene")


def test_the_temporary_map_goes_with_its_result(sharp):
    segments = sharp.encode_tiled(scene(), tile=100).panoptic(CLASSES)
    path = segments.file.path
    assert path.exists()
    del segments
    assert not path.exists()
    assert not path.parent.exists()


def test_a_map_in_a_file_is_written_and_read_by_windows():
    file = SegmentMapFile((50, 40))
    file.write((10, 20, 15, 30), np.full((10, 5), 7, np.int32))
    assert file.read((9, 20, 12, 21)).tolist() == [[0, 7, 7]]
    assert np.load(file.path).sum() == 350


def test_a_large_overlay_is_reduced(sharp, monkeypatch):
    segments = sharp.encode_tiled(scene(), tile=100).panoptic(CLASSES)
    assert segments.overlay().size == (260, 300)
    assert segments.overlay(longest_side=100).size == (87, 100)
    monkeypatch.setattr("seem.results.results.LARGE_OVERLAY_SIDE", 100)
    found = sharp.encode_tiled(scene(), tile=100).find(list(CLASSES.names))
    assert found.overlay().size == (87, 100)


def test_an_image_that_cannot_be_read_in_the_middle_is_an_error(sharp, monkeypatch):
    def read(self, box):
        if box[1]:
            raise seem.SeemError("scan.tif cannot be read as a picture; fetch it again.")
        return np.array(self.pixels[box[1] : box[3], box[0] : box[2]])

    monkeypatch.setattr(ArrayImage, "read", read)
    with pytest.raises(seem.SeemError, match=r"scan\.tif"):
        sharp.encode_tiled(scene(), tile=100).panoptic(CLASSES)


class EndlessImage(ArrayImage):
    """An image of 8,000 x 8,000 pixels that are made when they are read."""

    @property
    def hw(self):
        return 8000, 8000

    def read(self, box):
        return np.zeros((box[3] - box[1], box[2] - box[0], 3), np.uint8)


def test_memory_does_not_grow_with_the_image(monkeypatch):
    """192 MB of pixels and 256 MB of ids, of which neither is in memory."""
    monkeypatch.setattr(DenseRecognizer, "panoptic", predict)
    model = tiny_model("nano")
    monkeypatch.setattr(
        "seem.model.open_windowed", lambda *_: EndlessImage(np.zeros((1, 1, 3), np.uint8))
    )
    tiled = model.encode_tiled("endless", tile=2048)
    model.encode(np.zeros((2048, 2048, 3), np.uint8)).panoptic(CLASSES)  # what one tile costs
    tracemalloc.start()
    tiled.panoptic(CLASSES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6


# ------------------------------------------------------------------------------------------------ prompts


@pytest.fixture
def counted(monkeypatch):
    """Count what is encoded, as (width, height)."""
    sizes = []

    def read(image, max_pixels):
        source = read_image(image, max_pixels)
        sizes.append(source.rgb.size)
        return source

    monkeypatch.setattr("seem.inference.prompt_decoder.read_image", read)
    return sizes


def test_a_click_encodes_the_window_around_it_alone(counted, monkeypatch):
    monkeypatch.setattr("seem.tiled_image.reaches_past", lambda *_: False)
    tiled = tiny_model("nano").encode_tiled(picture(3000, 2000), tile=200)
    counted.clear()
    first = tiled.segment(seem.Point(1500, 1000))
    again = tiled.segment(seem.Point(1510, 990))
    assert counted == [(200, 200)]  # both clicks
    assert first.image_hw == (2000, 3000)
    x0, y0, x1, y1 = again.boxes[0]
    assert x1 - x0 <= 200
    assert y1 - y0 <= 200
    assert 1300 <= x0 <= 1500
    assert 800 <= y0 <= 1000


def test_a_large_box_is_seen_reduced_and_its_edges_in_tiles(counted):
    tiled = tiny_model("nano").encode_tiled(picture(1600, 1600), tile=200)
    counted.clear()
    result = tiled.segment(seem.Box(300, 300, 900, 900))
    assert max(counted) == (200, 200)
    assert len(counted) > 1
    assert result.image_hw == (1600, 1600)


def test_an_object_that_fills_the_window_is_seen_from_further_away(counted, monkeypatch):
    """Until the window is the image."""
    full = np.full((64, 64), 9.0, np.float32)

    def everything(self, objects, options, *_):
        hw = self.decoder.image.hw
        mask = PackedMask.pack(np.ones(hw, bool), hw)
        return Prediction(
            [mask], [0.8], Labels(("cup",), (0.8,)), "visual", logits=torch.tensor(full)[None]
        )

    monkeypatch.setattr("seem.inference.predictor.Predictor.segment", everything)
    tiled = tiny_model("nano").encode_tiled(picture(800, 800), tile=200)
    counted.clear()
    result = tiled.segment(seem.Point(400, 400))
    assert len(counted) == 3  # 200, 400 and 800 pixels, and no tile: no edge is in the image
    assert result.areas.tolist() == [800 * 800]
    assert result.labels == ("cup",)


def test_a_mask_larger_than_a_tile_is_that_of_the_full_image(nano):
    coffee = np.asarray(Image.open(COFFEE).resize((1200, 800), Image.Resampling.BICUBIC))
    point = seem.Point(600, 400)
    plain = nano.encode(coffee).segment(point)
    tiled = nano.encode_tiled(coffee, tile=256)
    result = tiled.segment(point)
    one, other = plain.masks[0], result.masks[0]
    assert np.count_nonzero(one & other) / np.count_nonzero(one | other) > 0.9
    assert result.labels == plain.labels
    assert result.scores[0] == pytest.approx(plain.scores[0], abs=0.1)


def test_there_is_no_seam_in_a_mask(nano):
    """Where tiles meet, rows of the mask change no more than elsewhere."""
    coffee = np.asarray(Image.open(COFFEE).resize((1200, 800), Image.Resampling.BICUBIC))
    tiled = nano.encode_tiled(coffee, tile=256)
    mask = tiled.segment(seem.Point(600, 400)).masks[0]
    changes = np.count_nonzero(mask[1:] != mask[:-1], axis=1)
    inner = slice(150, 650)  # the upper and the lower end of the object change whole rows
    seams = [y for y in tiled.grid.ys if inner.start < y < inner.stop]
    at_seams = max(changes[y - 2 : y + 2].max() for y in seams)
    assert seams
    assert at_seams <= max(np.percentile(changes[inner], 95), 30)


def test_several_objects_keep_their_order(nano):
    tiled = nano.encode_tiled(COFFEE, tile=256)
    both = tiled.segment_many(
        [[seem.Point(300, 200)], [seem.Box(20, 20, 60, 60), seem.Text("table")]]
    )
    alone = tiled.segment(seem.Point(300, 200))
    assert (both.masks[0] == alone.masks[0]).all()
    assert both.ids.tolist() == [1, 2]
    assert both.labels[1] == "table"


def test_negative_marks_far_away_do_not_matter():
    tiled = tiny_model("nano").encode_tiled(picture(1600, 1600), tile=200)
    near = tiled.segment(seem.Point(800, 800))
    both = tiled.segment(seem.Point(800, 800), seem.Point(5, 5, positive=False))
    assert both.boxes.shape == near.boxes.shape


def test_masks_of_large_images_are_saved_without_full_size_pictures(tmp_path):
    tiled = tiny_model("nano").encode_tiled(picture(700, 500), tile=200)
    result = tiled.segment(seem.Box(100, 100, 160, 160))
    paths = result.save(tmp_path / "out", "scan")
    assert sorted(path.name for path in paths) == ["scan.json", "scan.overlay.png"]
    record = json.loads((tmp_path / "out" / "scan.json").read_text())
    assert record["annotations"][0]["segmentation"]["size"] == [500, 700]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([seem.Text("cup")], r"look for phrases everywhere with find\(\)"),
        ([seem.Point(9000, 5)], r"Point\(9000, 5\) lies outside the image of 400 x 300"),
        ([seem.Point(5, 5), seem.Reference(np.zeros((9, 9, 3), np.uint8), seem.Point(1, 1))], "takes no Reference"),
        ([seem.Mask(logits=np.ones((9, 9), np.float32))], "give the mask itself"),
        ([], "There is no prompt"),
    ],
)  # fmt: skip
def test_prompts_that_tiles_cannot_answer_are_refused(prompts, message):
    tiled = tiny_model("nano").encode_tiled(picture(400, 300), tile=200)
    with pytest.raises(ValueError, match=message):
        tiled.segment(*prompts)


def test_other_questions_are_asked_about_a_window():
    tiled = tiny_model("nano").encode_tiled(picture(400, 300), tile=200)
    window = tiled.crop(100, 100, 300, 200)
    assert window.hw == (100, 200)
    assert len(window.everything(points_per_side=2)) >= 0
    with pytest.raises(ValueError, match="not inside"):
        tiled.crop(300, 100, 100, 200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile": 20}, "tile is 20; a tile has a side of 64 pixels or more"),
        ({"tile": 100, "overlap": 60}, "overlap is 60; neighbouring tiles of 100 pixels share from 1 to 50"),
        ({"tile": 100, "overlap": 0}, "overlap is 0"),
        ({"size": 5}, "size is 5"),
    ],
)  # fmt: skip
def test_tiles_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny_model("nano").encode_tiled(picture(400, 300), **arguments)


def test_tiles_share_an_eighth_unless_told_otherwise():
    assert Tiling.of(1024, None, None).overlap == 128
    assert Tiling.of(1024, 256, None).overlap == 256


def test_query_models_answer_in_tiles():
    tiled = tiny_model("seem-focal-t-v1").encode_tiled(picture(300, 200), tile=128)
    assert tiled.segment(seem.Box(20, 20, 250, 150)).masks.shape == (1, 200, 300)
    assert tiled.panoptic(threshold=0.01).hw == (200, 300)
    assert tiled.find("cat", threshold=0.0).image_hw == (200, 300)
