"""The image network in OpenVINO answers as in PyTorch; a converted network is cached by content and checked."""

import json
import sys
from dataclasses import replace

import pytest
import torch

import seem
from seem import SeemError, zoo
from seem.checkpoints.encoded_image import to_named_tensors
from seem.checkpoints.network import MODEL_KEY
from seem.checkpoints.safe import write_tensors
from seem.cli.main import main
from seem.inference import openvino_engine
from tiny import CONFIGS, picture, tiny_network

pytestmark = pytest.mark.usefixtures("without_type_checks")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of each test's own, and the small networks under the names of the large."""
    monkeypatch.setenv("SEEM_ENGINE_CACHE", str(tmp_path / "engines"))
    for name, config in CONFIGS.items():
        monkeypatch.setitem(zoo.MODEL_CARDS, name, replace(zoo.MODEL_CARDS[name], config=config))
    return tmp_path / "engines"


@pytest.fixture
def weights(tmp_path):
    return write_weights(tmp_path / "mine.safetensors", "nano")


def write_weights(path, name):
    write_tensors(path, tiny_network(name).state_dict(), {MODEL_KEY: name})
    return path


@pytest.fixture
def openvino():
    return pytest.importorskip("openvino")


@pytest.mark.parametrize("name", CONFIGS)
def test_encodings_and_masks_are_those_of_pytorch(openvino, tmp_path, name):
    path = write_weights(tmp_path / "any.safetensors", name)
    reference = seem.load(path, "cpu", precision="exact")
    model = seem.load(path, engine="openvino", precision="exact")
    for width, height in ((80, 60), (33, 60), (300, 70)):
        image, expected = (
            model.encode(picture(width, height)),
            reference.encode(picture(width, height)),
        )
        computed = to_named_tensors(image.encoding)
        for key, tensor in to_named_tensors(expected.encoding).items():
            torch.testing.assert_close(computed[key], tensor, rtol=1e-3, atol=1e-4)
        click = seem.Point(width // 2, height // 2)
        assert (image.segment(click).masks != expected.segment(click).masks).mean() < 0.001


def test_images_below_the_checked_size_are_encoded_by_pytorch(openvino, weights):
    model = seem.load(weights, engine="openvino")
    image, expected = (
        each.encode(picture(40, 30), 32) for each in (model, seem.load(weights, "cpu"))
    )
    assert min(image.batch.padded_hw) < openvino_engine.MIN_SIDE
    assert torch.equal(image.encoding.text_map, expected.encoding.text_map)


def test_a_converted_network_is_read_from_the_cache(openvino, weights, cache, monkeypatch):
    first = seem.load(weights, engine="openvino")
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(openvino_engine, "convert", None)
    second = seem.load(weights, engine="openvino")
    photo = picture(80, 60)
    torch.testing.assert_close(
        first.encode(photo).encoding.text_map, second.encode(photo).encoding.text_map
    )


def test_a_cached_network_that_was_cut_short_is_converted_again(openvino, weights, cache):
    seem.load(weights, engine="openvino")
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    seem.load(weights, engine="openvino").encode(picture(80, 60))
    assert len(file.read_bytes()) == len(whole)


def test_other_weights_and_sizes_have_another_key(openvino):
    networks = [tiny_network("nano"), tiny_network("nano", seed=1), tiny_network("seem-focal-t-v1")]
    keys = [openvino_engine.graph_key(network) for network in networks]
    assert len(set(keys)) == 3
    assert openvino_engine.graph_key(tiny_network("nano")) == keys[0]


def test_a_cache_that_cannot_be_written_is_done_without(openvino, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("SEEM_ENGINE_CACHE", str(weights))
    assert seem.load(weights, engine="openvino").engine == "openvino"


def test_a_network_that_openvino_computes_otherwise_is_refused(
    openvino, weights, cache, monkeypatch
):
    run = openvino_engine.OpenVinoNetwork.run

    def distorted(self, pixels):
        return {name: tensor * 1.01 for name, tensor in run(self, pixels).items()}

    monkeypatch.setattr(openvino_engine.OpenVinoNetwork, "run", distorted)
    with pytest.raises(SeemError, match="of nano otherwise than PyTorch; leave engine out"):
        seem.load(weights, engine="openvino")
    assert not cache.exists()


def test_a_network_that_cannot_be_converted_is_one_line(openvino, weights, monkeypatch):
    def fail(*_arguments, **_options):
        raise RuntimeError("No conversion rule found for aten::_new")

    monkeypatch.setattr(openvino, "convert_model", fail)
    with pytest.raises(
        SeemError, match=r"nano cannot be computed in OpenVINO .* \(No conversion rule"
    ):
        seem.load(weights, engine="openvino")


def test_a_missing_package_is_named(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(SeemError, match=r'needs the package openvino; .* "seem\[openvino\]"'):
        seem.load(weights, engine="openvino")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "onnx"}, "engine is 'onnx'; "),
        ({"engine": "openvino", "device": "meta"}, "The device 'meta' cannot be used here"),
    ],
)
def test_a_wrong_call_is_refused(weights, options, message):
    with pytest.raises(ValueError, match=message):
        seem.load(weights, **options)


def test_another_device_is_refused():
    with pytest.raises(ValueError, match="engine 'openvino' computes on the CPU, not on cuda"):
        openvino_engine.open_in_openvino(tiny_network("nano"), torch.device("cuda"), "float32")


def test_the_command_line_takes_the_engine_and_its_files_name_it(
    openvino, weights, tmp_path, capfd
):
    photo = tmp_path / "photo.png"
    picture(80, 60).save(photo)
    common = ["segment", str(photo), "--point", "20,20", "--model", str(weights)]
    for engine in ("openvino", "torch"):
        out = tmp_path / engine
        assert main([*common, "--engine", engine, "--out", str(out)]) == 0
        record = json.loads((out / "photo.json").read_text(encoding="utf-8"))["seem"]
        assert record.get("engine", "torch") == engine
    assert main([*common, "--engine", "onnx", "--out", str(tmp_path / "c")]) == 2
    assert "'onnx'" in capfd.readouterr().err


def test_workers_compute_in_the_engine_of_their_model(openvino, weights, cache):
    model = seem.load(weights, engine="openvino")
    (image,) = model.encode_many([picture(80, 60)], workers=2)
    expected = model.encode(picture(80, 60))
    torch.testing.assert_close(image.encoding.text_map, expected.encoding.text_map)
    assert len(list(cache.iterdir())) == 1
