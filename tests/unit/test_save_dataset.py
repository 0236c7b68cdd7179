"""Results written for other tools, read again by their rules: the same masks, ids that join, nothing lost silently."""

import base64
import io
import json
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import seem
from seem.data.opening import open_dataset
from seem.results import Labels, Provenance, Results
from seem.vocabulary import Vocabulary

# pycocotools 2.0.11 hands its arrays over by a protocol that NumPy 2 is about to leave behind.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CLASSES = Vocabulary.of(["cat", "dog & co", "sky"], stuff=["sky"])
NAMES = ("cat", "dog & co", "sky", 'a "red" <thing>', None)
HW = (40, 60)
ALL_FORMATS = [
    "coco",
    "coco-polygons",
    "coco-panoptic",
    "yolo",
    "voc",
    "labelme",
    "cvat",
    "label-studio",
    "geojson",
]


def invented_masks():
    """A ring, an object in two parts, a blob, a line one pixel wide, a diagonal of pixels."""
    y, x = np.mgrid[: HW[0], : HW[1]]
    distance = (x - 14) ** 2 + (y - 14) ** 2
    ring = (distance < 100) & (distance > 20)
    two = (x > 30) & (x < 38) & (y > 3) & (y < 9) | (x > 30) & (x < 33) & (y > 14) & (y < 20)
    blob = (x - 12) ** 2 / 100 + (y - 33) ** 2 / 20 < 1
    line = (y == 30) & (x > 30)
    diagonal = (x - y == 25) & (y > 20) & (y < 28)
    return [ring, two, blob, line, diagonal]


def found(name, masks=None, orientation=1, scores=(0.9, 0.8, 0.7, 0.6, 0.5)):
    masks = invented_masks() if masks is None else masks
    count = len(masks)
    return Results.of(
        np.zeros((*HW, 3), np.uint8),
        masks,
        scores[:count],
        vocabulary=CLASSES,
        kind="object",
        provenance=Provenance("panoptic", "nano", image_name=name, orientation=orientation),
        labels=Labels(NAMES[:count], (0.5,) * count),
    )


@pytest.fixture
def photos(tmp_path):
    """Two photos, one of them in a sub-folder and turned by EXIF, and one without objects."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    turned = Image.Exif()
    turned[0x112] = 6
    Image.new("RGB", HW[::-1], "grey").save(folder / "a.png")
    Image.new("RGB", HW, "grey").save(folder / "trip" / "b.jpg", exif=turned)
    Image.new("RGB", HW[::-1], "grey").save(folder / "none.png")
    return folder


@pytest.fixture
def saved(tmp_path, photos):
    """All formats, with copies."""
    results = [found("a.png"), found("trip/b.jpg", orientation=6), found("none.png", masks=[])]
    with pytest.warns(UserWarning, match="yolo: 4 objects in several parts"):
        seem.save_dataset(results, tmp_path / "out", ALL_FORMATS, photos=photos, copy_photos=True)
    return tmp_path / "out"


def same(masks_by_name):
    """Check masks by class name against those that were written."""
    expected = dict(zip((*NAMES[:4], "unlabelled"), invented_masks(), strict=True))
    assert masks_by_name.keys() == expected.keys()
    for name, mask in expected.items():
        assert (masks_by_name[name] == mask).all(), name
    return True


def fill(points):
    """Fill a polygon (N, 2) by COCO's rule."""
    flat = np.asarray(points, float).ravel().tolist()
    return coco_mask.decode(coco_mask.frPyObjects([flat], *HW))[:, :, 0].astype(bool)


# --- COCO -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["coco", "coco-polygons"])
def test_pycocotools_decodes_the_same_masks(saved, format):
    coco = COCO(saved / format / "annotations" / "instances_all.json")
    names = {row["id"]: row["name"] for row in coco.dataset["categories"]}
    assert list(names) == [1, 2, 3, 4, 5]
    assert [row["file_name"] for row in coco.dataset["images"]] == ["a.png", "trip/b.jpg", "none.png"]  # fmt: skip
    for image_id in (1, 2):
        rows = coco.loadAnns(coco.getAnnIds(image_id))
        assert same({names[row["category_id"]]: coco.annToMask(row) > 0 for row in rows})
        assert [row["area"] for row in rows] == [int(mask.sum()) for mask in invented_masks()]
    assert len(coco.anns) == 10  # ids are unique in the file


def test_results_load_beside_their_images_and_take_areas_from_masks(saved):
    truth = COCO(saved / "coco" / "annotations" / "instances_all.json")
    results = truth.loadRes(str(saved / "coco" / "results.json"))
    assert Counter(row["image_id"] for row in results.anns.values()) == {1: 5, 2: 5}
    assert [int(results.anns[number]["area"]) for number in range(1, 6)] == [
        int(mask.sum()) for mask in invented_masks()
    ]
    assert results.anns[4]["bbox"].tolist() == [31, 30, 29, 1]
    scores = COCOeval(truth, results, "segm")
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
    assert scores.stats[0] == pytest.approx(1)


def write_truth(path, **changes):
    content = {
        "images": [
            {"id": 139, "file_name": "val/a.png", "width": 60, "height": 40},
            {"id": 285, "file_name": "val/b.jpg", "width": 40, "height": 60},
        ],
        "annotations": [],
        "categories": [{"id": 17, "name": "Cat"}, {"id": 0, "name": "sky"}],
        **changes,
    }
    path.write_text(json.dumps(content))
    return path


def test_results_take_over_the_ids_of_a_users_file(tmp_path, photos):
    truth = write_truth(tmp_path / "truth.json")
    results = [found("a.png"), found("trip/b.jpg", orientation=6), found("none.png")]
    with pytest.warns(UserWarning, match="left out") as notes:
        seem.save_dataset(results, tmp_path / "out", photos=photos, ids_from=truth)
    assert [str(note.message) for note in notes] == [
        f"{truth} has no image none.png: left out of the COCO results.",
        f"{truth} has no class 'dog & co' and 2 more: 6 objects left out of the COCO results, 2 of 'dog & co'.",
    ]
    rows = json.loads((tmp_path / "out/coco/results.json").read_text())
    ids = [(row["image_id"], row["category_id"]) for row in rows]
    assert ids == [(139, 17), (139, 0), (285, 17), (285, 0)]
    loaded = COCO(truth).loadRes(rows)
    turned = np.asarray(Image.fromarray(invented_masks()[0]).transpose(Image.Transpose.ROTATE_90))
    assert (loaded.annToMask(loaded.anns[3]) == turned).all()  # the file has the photo as stored
    written = json.loads((tmp_path / "out/coco/annotations/instances_all.json").read_text())
    assert written["categories"] == [{"id": 17, "name": "Cat"}, {"id": 0, "name": "sky"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "truth.json holds no ids"),
        ('{"images": [{"id": 1}], "categories": []}', "'file_name' is missing"),
        ("{", "truth.json holds no ids"),
    ],
)
def test_a_file_without_ids_is_refused_before_anything_is_written(tmp_path, content, message):
    (tmp_path / "truth.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        seem.save_dataset([found("a.png")], tmp_path / "out", ids_from=tmp_path / "truth.json")
    assert not (tmp_path / "out").exists()


def test_an_image_of_another_size_is_left_out(tmp_path):
    truth = write_truth(
        tmp_path / "truth.json",
        images=[{"id": 1, "file_name": "a.png", "width": 40, "height": 60}],
    )
    with pytest.warns(UserWarning, match=r"has no image a\.png \(40 x 60 there\)"):
        seem.save_dataset(found("a.png"), tmp_path / "out", ids_from=truth)
    assert json.loads((tmp_path / "out/coco/results.json").read_text()) == []


# --- Panoptic ---------------------------------------------------------------------------------------------------------


def test_panoptic_maps_and_segments_agree(saved):
    home = saved / "coco-panoptic" / "annotations"
    content = json.loads((home / "panoptic_all.json").read_text())
    category_ids = {row["id"] for row in content["categories"]}
    assert {row["name"]: row["isthing"] for row in content["categories"]}["sky"] == 0
    for row in content["annotations"]:
        with Image.open(home / "panoptic_all" / row["file_name"]) as opened:
            colours = np.asarray(opened).astype(int)
        ids = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
        segments = {segment["id"]: segment for segment in row["segments_info"]}
        assert len(segments) == len(row["segments_info"])
        assert set(np.unique(ids).tolist()) - {0} == set(segments)
        for number, segment in segments.items():
            y, x = np.nonzero(ids == number)
            box = [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
            assert segment["area"] == len(x)
            assert segment["bbox"] == box
            assert segment["category_id"] in category_ids
            assert segment["iscrowd"] == 0


def test_the_best_mask_has_the_pixels_that_several_have(tmp_path):
    whole, half = np.ones(HW, bool), np.zeros(HW, bool)
    half[:, :30] = True
    with pytest.warns(UserWarning, match="coco-panoptic: 1200 pixels were in several masks"):
        seem.save_dataset(
            found("a.png", [whole, half], scores=(0.5, 0.9)), tmp_path, "coco-panoptic"
        )
    content = json.loads((tmp_path / "coco-panoptic/annotations/panoptic_all.json").read_text())
    areas = [segment["area"] for segment in content["annotations"][0]["segments_info"]]
    assert areas == [1200, 1200]


# --- Annotation tools -------------------------------------------------------------------------------------------------


def test_yolo_lines_keep_holes(saved):
    for stem in ("a", "trip/b"):
        lines = (saved / "yolo" / "labels" / f"{stem}.txt").read_text().splitlines()
        masks = {}
        for line in lines:
            number, *fractions = line.split()
            name = (*NAMES[:4], "unlabelled")[int(number)]
            masks[name] = fill(np.array(fractions, float).reshape(-1, 2) * HW[::-1])
        assert same(masks)
    assert (saved / "yolo" / "labels" / "none.txt").read_text().strip() == ""
    assert (saved / "yolo" / "images" / "trip" / "b.jpg").is_file()


def test_labelme_shapes_are_the_same_masks(saved):
    for stem in ("a", "trip/b"):
        file = saved / "labelme" / f"{stem}.json"
        content = json.loads(file.read_text())
        assert (content["imageHeight"], content["imageWidth"]) == HW
        assert (file.parent / content["imagePath"]).is_file()
        masks = {}
        for shape in content["shapes"]:
            mask = np.zeros(HW, bool)
            if shape["shape_type"] == "mask":
                (x0, y0), (x1, y1) = shape["points"]
                with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as opened:
                    mask[y0 : y1 + 1, x0 : x1 + 1] = np.asarray(opened)
            else:
                mask = fill(shape["points"])
            masks[shape["label"]] = masks.get(shape["label"], False) | mask
        assert same(masks)
        groups = Counter(shape["group_id"] for shape in content["shapes"])
        assert groups == {None: 3, 2: 2, 5: 7}


def test_a_labelme_file_names_the_photo_from_where_it_lies(tmp_path, photos):
    seem.save_dataset(found("trip/b.jpg"), tmp_path / "out", "labelme", photos=photos)
    file = tmp_path / "out" / "labelme" / "trip" / "b.json"
    image_path = json.loads(file.read_text())["imagePath"]
    assert image_path == "../../../photos/trip/b.jpg"
    assert (file.parent / image_path).samefile(photos / "trip" / "b.jpg")


def test_cvat_shapes_are_the_same_masks(saved):
    root = ElementTree.parse(saved / "cvat" / "annotations.xml").getroot()
    assert [label.findtext("name") for label in root.iter("label")] == [*NAMES[:4], "unlabelled"]
    images = list(root.iter("image"))
    assert [image.get("name") for image in images] == ["a.png", "trip/b.jpg", "none.png"]
    assert [len(image) for image in images] == [5, 5, 0]
    masks = {}
    for shape in images[1]:
        if shape.tag == "polygon":
            corners = [point.split(",") for point in shape.get("points").split(";")]
            masks[shape.get("label")] = fill(np.array(corners, float))
        else:
            masks[shape.get("label")] = decode_cvat(shape)
    assert same(masks)
    assert [shape.tag for shape in images[1]] == ["mask", "mask", "polygon", "polygon", "mask"]


def decode_cvat(shape):
    left, top, width, height = (int(shape.get(name)) for name in ("left", "top", "width", "height"))
    lengths = [int(number) for number in shape.get("rle").split(",")]
    values = np.repeat(np.arange(len(lengths)) % 2, lengths).astype(bool)
    mask = np.zeros(HW, bool)
    mask[top : top + height, left : left + width] = values.reshape(height, width)
    return mask


def test_label_studio_regions_are_the_same_masks(saved):
    tasks = json.loads((saved / "label-studio" / "tasks.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [
        "/data/local-files/?d=images/a.png",
        "/data/local-files/?d=images/trip/b.jpg",
        "/data/local-files/?d=images/none.png",
    ]
    config = ElementTree.parse(saved / "label-studio" / "label_config.xml").getroot()
    tags = {tag.get("name"): [label.get("value") for label in tag] for tag in config}
    assert tags["polygon"] == tags["brush"] == [*NAMES[:4], "unlabelled"]
    masks = {}
    for region in tasks[1]["predictions"][0]["result"]:
        assert (region["original_height"], region["original_width"]) == HW
        value = region["value"]
        (name,) = value[region["type"]]
        if region["type"] == "polygonlabels":
            masks[name] = fill(np.array(value["points"]) / 100 * HW[::-1])
        else:
            masks[name] = decode_brush(value["rle"])
    assert same(masks)


def decode_brush(code):
    """Decode Label Studio's run-length code by its description."""
    bits = "".join(f"{byte:08b}" for byte in code)
    position = 0

    def read(width):
        nonlocal position
        position += width
        return int(bits[position - width : position], 2)

    count, value_bits = read(32), read(5) + 1
    length_bits = [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < count:
        is_run = read(1)
        length = read(length_bits[read(2)]) + 1
        values += [read(value_bits)] * length if is_run else [read(value_bits) for _ in range(length)]  # fmt: skip
    return np.array(values).reshape(*HW, 4)[:, :, 3] > 0


# --- Pascal VOC -------------------------------------------------------------------------------------------------------


def test_voc_has_numbers_of_classes_and_objects_and_boxes_from_1(saved):
    home = saved / "voc"
    classes = Image.open(home / "SegmentationClass" / "a.png")
    objects = Image.open(home / "SegmentationObject" / "a.png")
    assert classes.mode == objects.mode == "P"
    assert classes.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
    for number, mask in enumerate(invented_masks(), start=1):
        assert ((np.asarray(classes) == number) == mask).all()
        assert ((np.asarray(objects) == number) == mask).all()
    box = ElementTree.parse(home / "Annotations" / "trip" / "b.xml").find("object/bndbox")
    y, x = np.nonzero(invented_masks()[0])
    assert [int(corner.text) for corner in box] == [
        x.min() + 1,
        y.min() + 1,
        x.max() + 1,
        y.max() + 1,
    ]
    lines = (home / "labelmap.txt").read_text().splitlines()
    assert lines[1:4] == ["background:0,0,0::", "cat:128,0,0::", "dog & co:0,128,0::"]
    stems = (home / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    assert stems == ["a", "trip/b", "none"]


def test_voc_says_what_its_maps_and_its_list_cannot_hold(tmp_path):
    masks = np.zeros((300, *HW), bool)
    masks[np.arange(300), np.arange(300) // 60, np.arange(300) % 60] = True
    result = Results.of(
        np.zeros((*HW, 3), np.uint8),
        masks,
        np.linspace(1, 0.1, 300, dtype=np.float32),
        vocabulary=Vocabulary.of(["a:b"]),
        kind="object",
        provenance=Provenance("panoptic", "nano", image_name="many.png"),
        labels=Labels(("a:b",) * 300, (0.5,) * 300),
    )
    with pytest.warns(UserWarning, match="voc:") as warned:
        seem.save_dataset(result, tmp_path, "voc")
    notes = sorted(str(one.message) for one in warned)
    assert notes[0].startswith("voc: 'a:b' stands as 'a_b'")
    assert notes[1].startswith("voc: 46 objects were left out")
    drawn = np.asarray(Image.open(tmp_path / "voc" / "SegmentationObject" / "many.png"))
    assert sorted(np.unique(drawn)) == list(range(255))


def test_voc_refuses_more_classes_than_numbers(tmp_path):
    names = [f"class {number}" for number in range(255)]
    result = Results.of(
        np.zeros((*HW, 3), np.uint8),
        invented_masks()[:1],
        [1.0],
        vocabulary=Vocabulary.of(names),
        kind="object",
        provenance=Provenance("panoptic", "nano", image_name="a.png"),
        labels=Labels(("class 1",), (0.5,)),
    )
    with pytest.raises(ValueError, match="254 classes at most, got 255"):
        seem.save_dataset(result, tmp_path, "voc")


# --- GeoJSON ----------------------------------------------------------------------------------------------------------


def fill_geometry(geometry):
    """Fill a GeoJSON geometry of pixels."""
    rings = geometry["coordinates"]
    if geometry["type"] == "MultiPolygon":
        rings = [ring for polygon in rings for ring in polygon]
    filled = np.zeros(HW, bool)
    for ring in rings:
        assert ring[0] == ring[-1]
        filled ^= fill(ring)
    return filled


def test_geojson_holds_the_same_masks_and_the_colours_of_classes(saved):
    content = json.loads((saved / "geojson" / "trip" / "b.geojson").read_text())
    features = content["features"]
    classes = [feature["properties"]["classification"] for feature in features]
    masks = [fill_geometry(feature["geometry"]) for feature in features]
    assert content["type"] == "FeatureCollection"
    assert same(dict(zip((one["name"] for one in classes), masks, strict=True)))
    assert [one["color"] for one in classes[:3]] == [list(one.colour) for one in CLASSES]
    assert [feature["geometry"]["type"] for feature in features] == [
        "Polygon", "MultiPolygon", "Polygon", "Polygon", "MultiPolygon",
    ]  # fmt: skip
    none = json.loads((saved / "geojson" / "none.geojson").read_text())
    assert none == {"type": "FeatureCollection", "features": []}


def test_geojson_in_map_units_keeps_the_winding():
    north_up = (0.5, 0, 1000, 0, -0.5, 2000)  # half a metre a pixel
    (feature, *_) = found("a.png").to_geojson((*north_up, 0, 0, 1))["features"]
    exterior, hole = [np.array(ring) for ring in feature["geometry"]["coordinates"]]
    assert (exterior.min(axis=0) == [1000 + 2.5, 2000 - 12]).all()
    assert signed_area(exterior) > 0 > signed_area(hole)
    assert signed_area(exterior) + signed_area(hole) == invented_masks()[0].sum() / 4


def signed_area(ring):
    x, y = ring[:-1].T
    return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def test_an_empty_mask_has_no_geometry():
    (feature,) = found("a.png", [np.zeros(HW, bool)]).to_geojson()["features"]
    assert feature["geometry"] is None


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ((1, 0, 0), "six finite values"),
        ((1, 0, 0, 0, 1, float("nan")), "six finite values"),
        ((1, 0, 0, 0, 1, 0, 2), "six values"),
        ((1, 1, 0, 1, 1, 0), "maps every image to a line"),
    ],
)
def test_a_transform_that_is_none_is_refused(transform, message):
    with pytest.raises(ValueError, match=message):
        found("a.png").to_geojson(transform)


# --- Lines and tables -------------------------------------------------------------------------------------------------


def test_yolo_lines_are_those_of_the_data_set(saved):
    names = [name or "unlabelled" for name in NAMES]
    lines = (saved / "yolo" / "labels" / "a.txt").read_text().splitlines()
    assert found("a.png").to_yolo(names) == lines


def test_yolo_refuses_a_label_that_no_class_has():
    with pytest.raises(ValueError, match=r"Object 4 is called 'a \"red\" <thing>'.*the 3 names"):
        found("a.png").to_yolo()


def test_a_table_has_a_row_for_each_object(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=dict))
    table = found("a.png").to_dataframe()
    assert table["image"] == ["a.png"] * 5
    assert table["label"] == list(NAMES)
    assert table["area"].tolist() == [int(mask.sum()) for mask in invented_masks()]
    assert {len(column) for column in table.values()} == {5}
    assert coco_mask.area(table["segmentation"][0]) == table["area"][0]


def test_without_pandas_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(seem.SeemError, match=r'pandas is not installed .*"seem\[pandas\]"'):
        found("a.png").to_dataframe()


# --- All formats ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        "coco:coco",
        "coco:coco-polygons",
        "coco:coco-panoptic",
        "yolo:yolo",
        "voc:voc",
        "labelme:labelme",
        "cvat:cvat",
        "labelstudio:label-studio",
    ],
)
def test_what_is_written_is_read_again(tmp_path, photos, spec):
    kind, format = spec.split(":")
    with pytest.warns(UserWarning, match="parts") if kind == "yolo" else nullcontext():
        seem.save_dataset(
            [found("a.png"), found("none.png", masks=[])],
            tmp_path / "out",
            format,
            photos=photos,
            copy_photos=True,
        )
    dataset = open_dataset(f"{kind}:{tmp_path / 'out' / format}", "train")
    assert not dataset.flaws
    masks = {image.path.name: masks_of(dataset.objects[image.id]) for image in dataset.images}
    assert masks.keys() == {"a.png", "none.png"}
    assert same(masks["a.png"])
    assert masks["none.png"] == {}


def masks_of(objects):
    """Join the masks of each class: a polygon file may hold an object as several."""
    masks = {}
    for one in objects:
        masks[one.category.name] = masks.get(one.category.name, False) | one.mask()
    return masks


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "spec",
    [
        "coco:coco",
        "coco:coco-polygons",
        "coco:coco-panoptic",
        "yolo:yolo",
        "voc:voc",
        "labelme:labelme",
        "cvat:cvat",
        "labelstudio:label-studio",
    ],
)
@pytest.mark.filterwarnings("ignore:yolo:UserWarning")
def test_masks_of_turned_photos_are_read_as_shown(tmp_path, spec, orientation):
    kind, format = spec.split(":")
    shape = (*HW, 3) if orientation < 5 else (*HW[::-1], 3)
    stored = Image.fromarray(np.arange(np.prod(shape)).reshape(shape).astype(np.uint8))
    exif = Image.Exif()
    exif[0x112] = orientation
    stored.save(tmp_path / "a.jpg", exif=exif)
    seem.save_dataset(
        found("a.jpg", orientation=orientation),
        tmp_path / "out",
        format,
        photos=tmp_path,
        copy_photos=True,
    )
    dataset = open_dataset(f"{kind}:{tmp_path / 'out' / format}", "train")
    (image,) = dataset.images
    with Image.open(tmp_path / "a.jpg") as opened:
        assert (dataset.pixels(image) == np.asarray(ImageOps.exif_transpose(opened))).all()
    assert same(masks_of(dataset.objects[image.id]))


def test_a_folder_with_files_is_refused_unless_they_may_be_replaced(tmp_path):
    seem.save_dataset(found("a.png"), tmp_path, "coco")
    with pytest.raises(FileExistsError, match="coco holds files already"):
        seem.save_dataset(found("a.png"), tmp_path, ["labelme", "coco"])
    assert not (tmp_path / "labelme").exists()
    seem.save_dataset(found("b.png"), tmp_path, "coco", overwrite=True)
    content = json.loads((tmp_path / "coco/annotations/instances_all.json").read_text())
    assert content["images"][0]["file_name"] == "b.png"


def test_images_of_one_name_get_files_of_their_own(tmp_path):
    names = ["a.png", "a.jpg", "a.jpg", None, None]
    results = [found(name, invented_masks()[:1]) for name in names]
    seem.save_dataset(iter(results), tmp_path, ["yolo", "labelme"])
    stems = {"a", "a.jpg", "a-2", "photo", "photo-2"}
    assert {path.name for path in (tmp_path / "labelme").iterdir()} == {f"{s}.json" for s in stems}
    assert {path.name for path in (tmp_path / "yolo/images").iterdir()} == {f"{s}.png" for s in stems}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"formats": "yollo"}, "There is no format 'yollo'; there are coco, coco-polygons,"),
        ({"formats": []}, "give at least one"),
        ({"formats": "yolo", "ids_from": "truth.json"}, "are for COCO's formats"),
    ],
)
def test_a_wrong_call_is_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        seem.save_dataset(found("a.png"), tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("results", "formats", "message"),
    [([5], "coco", r"results is \[5\]"), ([], 5, "formats is 5; save_dataset takes a text")],
)
def test_arguments_of_a_wrong_type_are_named(tmp_path, results, formats, message):
    with pytest.raises(ValueError, match=message):
        seem.save_dataset(results, tmp_path / "out", formats)
    assert list(tmp_path.iterdir()) == []
