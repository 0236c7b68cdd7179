"""`seem_lite` answers as PyTorch does on photos, needs no PyTorch, and says in one line what is wrong with a folder."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from PIL import Image

import seem
import seem_lite
from exported import export_once
from seem import Box, Point, Polygon, Stroke, Text

PHOTOS = Path(__file__).resolve().parents[2] / "examples" / "photos"
MIN_IOU = 0.999
TRIANGLE = ((170, 110), (330, 120), (280, 260))
LINE = ((200, 150), (250, 180), (280, 230))

PROMPTS = {
    "click": ([Point(250, 170)], {"points": [(250, 170)]}),
    "clicks": (
        [Point(250, 170), Point(10.5, 20, positive=False), Point(290, 200)],
        {"points": [(250, 170), (290, 200)], "not_points": [(10.5, 20)]},
    ),
    "box": ([Box(100, 40.5, 390, 290)], {"boxes": [(100, 40.5, 390, 290)]}),
    "stroke": ([Stroke(LINE, 9)], {"strokes": [LINE], "width": 9}),
    "polygon": ([Polygon(TRIANGLE)], {"polygons": [TRIANGLE]}),
    "corrected polygon": (
        [Polygon(TRIANGLE), Point(240, 130, positive=False)],
        {"polygons": [TRIANGLE], "not_points": [(240, 130)]},
    ),
    "phrase": ([Text("a person")], {"phrases": ["a person"]}),
    "absent phrase": ([Text("zebra")], {"phrases": ["zebra"]}),
    "phrase and click": (
        [Text("cat"), Point(250, 170)],
        {"phrases": ["cat"], "points": [(250, 170)]},
    ),
}


@pytest.fixture(scope="session")
def nano_folder(tmp_path_factory):
    return export_once(tmp_path_factory)


@pytest.fixture(scope="module")
def lite(nano_folder):
    return seem_lite.load(nano_folder, threads=1)


@pytest.fixture(scope="module")
def model():
    return seem.load("nano", device="cpu", precision="exact")


def iou(one, other):
    return np.count_nonzero(one & other) / max(np.count_nonzero(one | other), 1)


@pytest.mark.parametrize("name", ["astronaut", "cat"])
def test_answers_are_those_of_pytorch(name, lite, model):
    photo, same = model.encode(PHOTOS / f"{name}.jpg"), lite.encode(PHOTOS / f"{name}.jpg")
    present = 0
    for what, (prompts, words) in PROMPTS.items():
        expected, found = photo.segment(*prompts), same.segment(**words)
        assert (found is None) == (len(expected) == 0), what
        if found is None:
            continue
        present += 1
        assert iou(expected.masks[0], found.mask) >= MIN_IOU, what
        assert abs(expected.scores[0] - found.score) < 1e-3, what
    assert present >= 7


def test_second_round_is_that_of_pytorch(lite, model):
    session = model.encode(PHOTOS / "cat.jpg").session()
    session.add(Point(250, 170))
    expected = session.add(Point(20, 30, positive=False))
    photo = lite.encode(PHOTOS / "cat.jpg")
    first = photo.segment(points=[(250, 170)])
    second = photo.segment(points=[(250, 170)], not_points=[(20, 30)], previous=first.logits)
    assert iou(expected.masks[0], second.mask) >= MIN_IOU


@pytest.mark.parametrize("classes", [None, ["cat", "sofa", "zebra", "person"]])
def test_panoptic_map_is_that_of_pytorch(classes, lite, model):
    expected = model.encode(PHOTOS / "cat.jpg").panoptic(classes)
    found = lite.encode(PHOTOS / "cat.jpg").panoptic(classes)
    assert [segment.name for segment in found.segments] == list(expected.labels)
    for row, segment in enumerate(found.segments):
        assert iou(expected.masks[row], found.ids == segment.id) >= MIN_IOU
        assert abs(expected.scores[row] - segment.score) < 1e-3


class OpenVINOGraph:
    """A graph of a folder in OpenVINO, in float32."""

    def __init__(self, path):
        core = openvino.Core()
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        self.model = core.compile_model(core.read_model(path), "CPU", hint)

    def __call__(self, **inputs):
        return {output.any_name: value for output, value in self.model(inputs).items()}


def test_openvino_answers_as_onnx_runtime_does(nano_folder, lite):
    other = seem_lite.load(nano_folder)
    other._graphs = {
        name: OpenVINOGraph(nano_folder / f"{name}.onnx") for name in ("image", "text", "prompts")
    }
    photo, same = lite.encode(PHOTOS / "cat.jpg"), other.encode(PHOTOS / "cat.jpg")
    for what in ("clicks", "polygon", "phrase and click"):
        words = PROMPTS[what][1]
        expected, found = photo.segment(**words), same.segment(**words)
        assert iou(expected.mask, found.mask) >= MIN_IOU, what
        assert abs(expected.score - found.score) < 1e-3, what


def test_openvino_folder_answers_as_pytorch_does(nano_folder, tmp_path, monkeypatch, model):
    converted = iter(("image", "text", "prompts"))  # traced once, for ONNX

    def already_exported(_graph, _opset):
        return onnx.load(nano_folder / f"{next(converted)}.onnx")

    monkeypatch.setattr("seem.exporting.export.to_onnx", already_exported)
    seem.export("nano", tmp_path, "openvino")
    names = {path.name for path in tmp_path.iterdir()}
    graphs = {
        f"{name}{suffix}" for name in ("image", "text", "prompts") for suffix in (".xml", ".bin")
    }
    assert names == graphs | {"preprocess.json", "tokenizer.json", "README.md"}
    record = json.loads((tmp_path / "preprocess.json").read_text())
    assert (record["format"], set(record["files"])) == ("openvino", graphs)
    runs = seem_lite.load(nano_folder)
    runs._graphs = {
        name: OpenVINOGraph(tmp_path / f"{name}.xml") for name in ("image", "text", "prompts")
    }
    photo, same = model.encode(PHOTOS / "cat.jpg"), runs.encode(PHOTOS / "cat.jpg")
    for what in ("click", "box", "phrase"):
        prompts, words = PROMPTS[what]
        expected, found = photo.segment(*prompts), same.segment(**words)
        assert iou(expected.masks[0], found.mask) >= MIN_IOU, what
        assert abs(expected.scores[0] - found.score) < 1e-3, what


def test_photo_is_turned_upright(lite):
    picture = Image.open(PHOTOS / "cat.jpg")
    exif = picture.getexif()
    exif[274] = 6
    turned = picture.copy()
    turned.info["exif"] = exif.tobytes()
    turned.getexif()[274] = 6
    assert lite.encode(turned).frame.photo == picture.size


def test_no_pytorch_is_imported():
    program = (
        "import seem_lite, sys; print(*(n for n in ('torch', 'seem', 'onnx') if n in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr


# --- Wrong input ------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(nano_folder, tmp_path):
    return Path(shutil.copytree(nano_folder, tmp_path / "copy"))


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_folder_without_export(tmp_path):
    with pytest.raises(seem_lite.FolderError) as error:
        seem_lite.load(tmp_path)
    assert "holds no preprocess.json; write it with: seem export" in one_line(error)


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99}'])
def test_record_of_another_version(text, copy):
    (copy / "preprocess.json").write_text(text)
    with pytest.raises(seem_lite.FolderError) as error:
        seem_lite.load(copy)
    assert str(copy / "preprocess.json") in one_line(error)


def test_folder_for_another_runtime(copy):
    record = json.loads((copy / "preprocess.json").read_text())
    (copy / "preprocess.json").write_text(json.dumps({**record, "format": "openvino"}))
    with pytest.raises(seem_lite.FolderError, match="exported with --format onnx"):
        seem_lite.load(copy)


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign"])
def test_damaged_graph(damage, copy):
    path = copy / "image.onnx"
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.write_bytes((copy / "text.onnx").read_bytes())
    with pytest.raises(seem_lite.FolderError) as error:
        seem_lite.load(copy).encode(PHOTOS / "cat.jpg")
    assert str(path) in one_line(error)
    assert "export the model again" in one_line(error)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nano.safetensors", "needs the weights nano.safetensors, which are neither there nor"),
        ("other.safetensors", "other.safetensors is not the file of weights that .* was made for"),
        ("../secret", "needs the weights ../secret, which are neither there nor one folder up"),
    ],
)
def test_weights_beside_the_graphs(name, message, copy):
    (copy / "other.safetensors").write_bytes(b"of another export")
    (copy.parent / "secret").write_bytes(b"")
    record = json.loads((copy / "preprocess.json").read_text())
    record["weights"] = {"file": name, "sha256": "ab" * 32}
    (copy / "preprocess.json").write_text(json.dumps(record))
    with pytest.raises(seem_lite.FolderError, match=message) as error:
        seem_lite.load(copy).encode(PHOTOS / "cat.jpg")
    one_line(error)


def test_record_that_is_cut_short(copy):
    record = json.loads((copy / "preprocess.json").read_text())
    del record["thresholds"]
    (copy / "preprocess.json").write_text(json.dumps(record))
    with pytest.raises(seem_lite.FolderError, match="says nothing about thresholds"):
        seem_lite.load(copy)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_damaged_tokenizer(damage, copy):
    path = copy / "tokenizer.json"
    if damage == "missing":
        path.unlink()
    else:
        path.write_text(path.read_text()[:1000])
    photo = seem_lite.load(copy).encode(PHOTOS / "cat.jpg")
    with pytest.raises(seem_lite.FolderError, match=r"tokenizer\.json .*export the model again"):
        photo.segment(phrases=["cat"])


def test_runtime_that_is_not_installed(copy, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(seem_lite.FolderError, match="install it with: pip install onnxruntime"):
        seem_lite.load(copy).encode(PHOTOS / "cat.jpg")


def test_runtime_that_lacks_the_opset(copy):
    path = copy / "image.onnx"
    graph = onnx.load(path)
    graph.opset_import[0].version = 999
    path.write_bytes(graph.SerializeToString())
    record = json.loads((copy / "preprocess.json").read_text())
    record["opset"] = 999
    record["files"]["image.onnx"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (copy / "preprocess.json").write_text(json.dumps(record))
    with pytest.raises(seem_lite.FolderError) as error:
        seem_lite.load(copy).encode(PHOTOS / "cat.jpg")
    expected = f"ONNX Runtime {onnxruntime.__version__} cannot run {path} (opset 999): "
    assert one_line(error).startswith(expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "Nothing says what is meant"),
        ({"not_points": [(5, 5)]}, "Nothing says what is meant"),
        ({"points": [(9000, 5)]}, r"The point \(9000, 5\) lies outside the photo"),
        ({"boxes": [(5, 5, 5, 9)]}, "The box .* is empty or outside the photo"),
        (
            {"strokes": [[(-900, 5), (-800, 5)]]},
            "The stroke that begins at .* lies outside the photo",
        ),
        (
            {"polygons": [[(-9, -9), (-5, -5), (-9, -5)]]},
            "The polygon that begins at .* holds no pixel",
        ),
    ],
)
def test_wrong_prompts(words, message, lite):
    with pytest.raises(ValueError, match=message):
        lite.encode(PHOTOS / "cat.jpg").segment(**words)


def test_unknown_class_list(lite):
    with pytest.raises(ValueError, match="no class list 'lvis'; it has coco, ade20k"):
        lite.encode(PHOTOS / "cat.jpg").panoptic("lvis")
