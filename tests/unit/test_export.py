"""`seem export` and `seem.export`: what a folder holds, and one clear line where it cannot be written."""

import json
import sys

import numpy as np
import onnx
import pytest
import tokenizers

import seem
from exported import export_once
from seem.cli.main import main
from seem.exporting import export as export_module
from seem.exporting.description import folder_readme, preprocessing
from seem.exporting.graphs import graphs_of
from seem.exporting.tokenizer_file import tokenizer_json
from seem.folder_lock import hold_folder
from tiny import tiny_model, tiny_relative

FILES = {
    "image.onnx", "text.onnx", "prompts.onnx", "preprocess.json", "tokenizer.json", "README.md",
}  # fmt: skip
PHRASES = [
    "a red car",
    "Two dogs' beds",
    "snow-boots (2 pairs), über",
    "naïve_case",
    "",
    "don't 1999",
]


@pytest.fixture(scope="session")
def nano_folder(tmp_path_factory):
    return export_once(tmp_path_factory)


def test_folder_holds_what_it_says(nano_folder):
    assert {path.name for path in nano_folder.iterdir()} == FILES
    record = json.loads((nano_folder / "preprocess.json").read_text())
    assert record["graphs"] == ["image", "text", "prompts"]
    for name, file in record["files"].items():
        assert (nano_folder / name).stat().st_size == file["bytes"]
    coco = record["classes"]["coco"]
    assert len(coco["classes"]) == 133
    model = seem.load("nano", precision="exact")
    expected = model.classifier(seem.Vocabulary.coco_panoptic()).numpy()
    rows = [*(each["embedding"] for each in coco["classes"]), coco["background"]["embedding"]]
    assert np.allclose(np.float32(rows), expected, atol=1e-5)


def test_readme_names_every_tensor(nano_folder):
    readme = (nano_folder / "README.md").read_text()
    for name in ("image", "text", "prompts"):
        graph = onnx.load(nano_folder / f"{name}.onnx").graph
        for tensor in (*graph.input, *graph.output):
            assert f"| `{tensor.name}` | " in readme


@pytest.mark.parametrize("name", ["nano", "seem-v1", "seem-v0", "seem-demo", "xdecoder"])
def test_readme_and_record_are_those_of_the_model(name):
    model = tiny_model(name) if name == "nano" else tiny_relative(name)
    specs = [graph.spec for graph in graphs_of(model.network)]
    record = preprocessing(model, specs, "onnx", "fp32", 18, {"image.onnx": b"graph"})
    assert record["kind"] == ("dense" if name == "nano" else "query")
    assert record["files"]["image.onnx"]["bytes"] == 5
    readme = folder_readme(specs, record)
    assert ("| `region_class_vectors` | " in readme) == (name != "nano")
    assert ("## Captions and retrieval" in readme) == (name == "xdecoder")
    for spec in specs:
        for tensor in (*spec.inputs, *spec.outputs):
            assert f"| `{tensor.name}` | " in readme
    assert json.loads(json.dumps(record)) == record


def test_tokenizer_file_gives_the_same_tokens():
    tokenizer = seem.load("nano").tokenizer
    read = tokenizers.Tokenizer.from_str(tokenizer_json(tokenizer))
    for phrase in PHRASES:
        assert read.encode(phrase).ids == [
            tokenizer.begin,
            *tokenizer.encode(phrase),
            tokenizer.end,
        ]


def test_network_that_cannot_be_traced_is_one_line(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise RuntimeError("Constraints violated (rows)!\nmore")

    monkeypatch.setattr("torch.export.export", fail)
    with pytest.raises(seem.SeemError) as error:
        seem.export(tiny_model("nano"), tmp_path / "out")
    assert str(error.value).startswith("The image graph cannot be exported: Constraints violated")
    assert "\n" not in str(error.value)


@pytest.fixture
def no_conversion(monkeypatch):
    """Let nothing be converted: what is wrong must be found before."""

    def fail(*_):
        raise AssertionError("it was converted")

    monkeypatch.setattr(export_module, "to_onnx", fail)


@pytest.mark.usefixtures("no_conversion")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tflite"}, "format is 'tflite'; export takes 'onnx' or 'openvino'."),
        ({"precision": "int4"}, "precision is 'int4'; export takes 'fp32' or 'fp16' or 'int8'."),
        (
            {"opset": 12},
            "opset is 12; the graphs need operators of opset 18, and can be written up to 23.",
        ),
        (
            {"opset": 99},
            "opset is 99; the graphs need operators of opset 18, and can be written up to 23.",
        ),
    ],
)
def test_wrong_options_are_errors(options, message, tmp_path):
    with pytest.raises(ValueError, match=next(iter(options))) as error:
        seem.export("nano", tmp_path / "out", **options)
    assert str(error.value) == message
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_conversion")
def test_earlier_export_stays_without_overwrite(tmp_path, capsys):
    (tmp_path / "text.onnx").write_bytes(b"mine")
    assert main(["export", "--out", str(tmp_path)]) == 1
    assert f"{tmp_path / 'text.onnx'} exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["text.onnx"]


@pytest.mark.usefixtures("no_conversion")
def test_folder_in_use_is_an_error(tmp_path):
    with (
        hold_folder(tmp_path / "out"),
        pytest.raises(seem.SeemError, match="Another run is at work on"),
    ):
        seem.export("nano", tmp_path / "out")


@pytest.mark.usefixtures("no_conversion")
def test_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(NotADirectoryError, match="it is a file; choose a folder"):
        seem.export("nano", tmp_path / "out")


@pytest.mark.usefixtures("no_conversion")
@pytest.mark.parametrize("package", ["onnx", "onnxscript", "openvino"])
def test_missing_package_is_an_error_that_names_it(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", "--out", str(tmp_path / "out"), "--format", "openvino"]) == 1
    error = capsys.readouterr().err
    assert f"needs the package {package}" in error
    assert 'pip install "seem[export]"' in error
    assert not (tmp_path / "out").exists()


def test_failed_export_leaves_nothing(tmp_path, monkeypatch):
    class Converted:
        def SerializeToString(self):
            return b"graph"

    def fail_at_the_end(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module, "to_onnx", lambda *_: Converted())
    monkeypatch.setattr(export_module, "folder_readme", fail_at_the_end)
    with pytest.raises(OSError, match="free some space or choose another folder"):
        seem.export(tiny_model("nano"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_overwrite_removes_graphs_of_another_format(tmp_path, monkeypatch):
    class Converted:
        def SerializeToString(self):
            return b"graph"

    monkeypatch.setattr(export_module, "to_onnx", lambda *_: Converted())
    monkeypatch.setattr(export_module, "to_openvino", lambda *_, **__: (b"xml", b"bin"))
    model = tiny_model("nano")
    seem.export(model, tmp_path)
    (tmp_path / "mine.txt").write_text("stays")
    files = seem.export(model, tmp_path, "openvino", overwrite=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {path.name for path in files} | {"mine.txt"}
    assert "image.xml" in names
    assert "image.onnx" not in names
