"""Every graph answers as PyTorch does, in ONNX Runtime and OpenVINO, at every size."""

import io
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
import torch.nn.functional as F

from seem import Point
from seem.checkpoints.network import LoadedNetwork
from seem.checkpoints.safe import write_tensors
from seem.exported_model import ExportedModel
from seem.exporting.antialiasing import shrink_bicubic
from seem.exporting.conversion import store_weights, to_onnx, to_openvino
from seem.exporting.graphs import graphs_of
from seem.exporting.package_nano import package_graphs
from seem.exporting.shared_weights import WeightsFile, share_weights
from seem.model import Model
from seem.models.structures import ImageBatch
from seem.models.text.tokenizer import BytePairTokenizer
from seem.tasks.caption import write_caption
from seem.tasks.retrieval import image_vectors
from tiny import (
    DAVIT,
    DEFORMABLE,
    SAM_VIT,
    picture,
    tiny_network,
    tiny_relative,
    tiny_relative_network,
)

pytestmark = pytest.mark.usefixtures("without_type_checks")

TOLERANCE = 2e-4  # largest difference of a number, beside the largest number of its tensor
SIZES = (
    {"rows": 2, "columns": 3, "objects": 1, "points": 1, "phrases": 1, "tokens": 3, "words": 1},
    {"rows": 5, "columns": 4, "objects": 3, "points": 40, "phrases": 4, "tokens": 9, "words": 7},
)
NETWORKS = {"dense": "nano2", "seem-v1": "seem-focal-t-v1"}
RELATIVES = {
    "seem-v0": (("seem-v0", {}), ("prompts", "phrases")),
    "seem-demo": (("seem-demo", {}), ("prompts",)),
    "xdecoder": (("xdecoder", {}), ("image", "phrases", "captions")),
    "DaViT": (("seem-v1", {"backbone": DAVIT}), ("image",)),
    "SAM-ViT": (("seem-v1", {"backbone": SAM_VIT, "pixel_decoder": DEFORMABLE}), ("image",)),
}
"""Other networks, and which of their graphs are others than those of `NETWORKS`."""


def random_inputs(spec, sizes, all_padding=False):
    """Inputs of a graph; with `all_padding` no point, word or reference belongs to an object."""
    generator = torch.Generator().manual_seed(len(spec.inputs))
    sizes = {"references": sizes["words"], **sizes}
    inputs = {}
    for tensor in spec.inputs:
        shape = tensor.sample_shape(sizes)
        if tensor.name == "points":
            value = torch.rand(shape, generator=generator)
        elif tensor.name.endswith("_owners"):
            highest = 1 if "objects" not in spec.axes else sizes["objects"]
            value = torch.randint(-1, highest, shape, generator=generator)
            value = torch.full_like(value, -1) if all_padding else value
        elif tensor.dtype == "uint8":
            value = (torch.rand(shape, generator=generator) > 0.9).to(torch.uint8)
        elif tensor.name == "ids":
            value = torch.randint(0, 4000, shape, generator=generator)
            value[:, -1] = 4095
        elif tensor.dtype == "int64":
            value = torch.randint(0, 2, shape, generator=generator)
        else:
            value = torch.randn(shape, generator=generator)
        inputs[tensor.name] = value
    return inputs


def run_onnx(model):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return lambda inputs: session.run(None, inputs)


def run_openvino(model):
    compiled = openvino.Core().compile_model(
        openvino.Core().read_model(model=model.SerializeToString()), "CPU",
        {"INFERENCE_PRECISION_HINT": "f32"},
    )  # fmt: skip
    return lambda inputs: list(compiled(inputs).values())


def largest_difference(found, expected):
    return max(
        float(np.abs(one - other.numpy()).max() / max(1.0, other.abs().max()))
        for one, other in zip(found, expected, strict=True)
    )


def check_graph(graph, opset):
    """Compare a graph with PyTorch in both runtimes, at two sizes, with and without prompts."""
    model = to_onnx(graph, opset)
    onnx.checker.check_model(model)
    assert {node.domain for node in model.graph.node} == {""}, "standard operators alone"
    runtimes = {"ONNX Runtime": run_onnx(model), "OpenVINO": run_openvino(model)}
    for sizes in SIZES:
        for all_padding in (False, True):
            inputs = random_inputs(graph.spec, sizes, all_padding)
            with torch.no_grad():
                expected = graph(*inputs.values())
            shapes = [tensor.shape for tensor in expected]
            described = [tensor.sample_shape(sizes) for tensor in graph.spec.outputs]
            assert shapes == described
            arrays = {key: value.numpy() for key, value in inputs.items()}
            for runtime, run in runtimes.items():
                difference = largest_difference(run(arrays), expected)
                assert difference < TOLERANCE, (graph.spec.name, runtime, sizes, all_padding)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_runtimes_answer_as_pytorch_does(name):
    for graph in graphs_of(tiny_network(NETWORKS[name])):
        check_graph(graph, 18)


@pytest.mark.slow
@pytest.mark.parametrize("name", RELATIVES)
def test_runtimes_answer_as_pytorch_does_with_other_networks(name):
    (policy, parts), names = RELATIVES[name]
    for graph in graphs_of(tiny_relative_network(policy, **parts)):
        if graph.spec.name in names:
            check_graph(graph, 18)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [19, 20, 21, 22, 23])
def test_every_opset_answers_as_pytorch_does(opset):
    _, text, prompts = graphs_of(tiny_network("nano2"))
    for graph in (text, prompts):
        versions = check_graph(graph, opset).opset_import
        assert [(each.domain, each.version) for each in versions] == [("", opset)]


@pytest.mark.slow
def test_caption_loop_writes_what_pytorch_writes():
    model = tiny_relative("xdecoder")
    network = model.network
    pixels = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        encoding = network.encode_image(ImageBatch(pixels, ((64, 96),)))
        hidden = torch.zeros(1, 64, 96, dtype=torch.bool)
        hidden[:, :, 40:] = True
        expected = [
            write_caption(network, encoding, 4094, 4095, each, 8) for each in (None, hidden)
        ]
        vectors = image_vectors(network, encoding)
    graphs = {graph.spec.name: graph for graph in graphs_of(network)}
    run = {}
    for name in ("image", "text", "captions"):
        exported = to_onnx(graphs[name], 18).SerializeToString()
        run[name] = onnxruntime.InferenceSession(exported)
    names = [output.name for output in run["image"].get_outputs()]
    encoded = dict(zip(names, run["image"].run(None, {"pixels": pixels.numpy()}), strict=True))
    assert np.allclose(encoded["summary"], vectors.mean, atol=1e-5)
    assert np.allclose(encoded["region_class_vectors"][:, -1], vectors.query, atol=1e-5)
    wanted = {each.name for each in run["captions"].get_inputs()}
    features = {name: value for name, value in encoded.items() if name in wanted}
    first_scores = []
    for mask, words in zip((hidden * 0, hidden), expected, strict=True):
        ids = [4094]
        while len(ids) <= 8:
            padded = np.array([ids + [4095] * max(0, 3 - len(ids))])
            tokens = run["text"].run(None, {"ids": padded})[0][:, : len(ids)]
            inputs = {**features, "caption_tokens": tokens, "hidden": mask.byte().numpy()}
            scores = run["captions"].run(None, inputs)[0]
            if len(ids) == 1:
                first_scores.append(scores)
            ids.append(int(scores.argmax()))
            if ids[-1] == 4095:
                ids.pop()
                break
        assert ids[1:] == words
    assert np.abs(first_scores[0] - first_scores[1]).max() > 1e-4, "what is hidden counts"


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_bicubic_shrinking_is_that_of_pytorch(factor):
    maps = torch.randn(1, 3, 5 * factor, 7 * factor, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(maps, size=(5, 7), mode="bicubic", antialias=True)
    assert torch.allclose(shrink_bicubic(maps, factor), expected, atol=1e-5)


def test_axes_have_the_names_of_the_readme():
    text = graphs_of(tiny_network("nano"))[1]
    (ids,) = to_onnx(text, 18).graph.input
    assert [dim.dim_param for dim in ids.type.tensor_type.shape.dim] == ["phrases", "tokens"]


def test_graphs_hold_nothing_about_this_machine():
    exported = to_onnx(graphs_of(tiny_network("nano"))[1], 18).SerializeToString()
    assert b"stack_trace" not in exported
    assert str(Path(torch.__file__).parent).encode() not in exported
    assert b".py" not in exported


def test_graph_reads_its_weights_from_a_file_of_weights(tmp_path):
    network = tiny_network("nano").half().float()
    path = tmp_path / "tiny.safetensors"
    halves = {key: tensor.half() for key, tensor in network.state_dict().items()}
    write_tensors(path, halves, {"seem_model": "nano"})
    model = to_onnx(graphs_of(network)[1], 18)
    shared = onnx.ModelProto()
    shared.CopyFrom(model)
    share_weights(shared, WeightsFile(path))
    (tmp_path / "text.onnx").write_bytes(shared.SerializeToString())
    assert weight_bytes(shared) < 0.1 * weight_bytes(model)
    outside = [tensor for tensor in shared.graph.initializer if tensor.external_data]
    assert {each.external_data[0].value for each in outside} == {"tiny.safetensors"}
    inputs = {"ids": np.array([[4094, 7, 300, 4095]])}
    session = onnxruntime.InferenceSession(tmp_path / "text.onnx")
    for one, other in zip(run_onnx(model)(inputs), session.run(None, inputs), strict=True):
        assert (one == other).all()


@pytest.mark.slow
def test_packaged_graphs_answer_as_the_model_does(tmp_path, monkeypatch):
    network = tiny_network("nano2").half().float()
    weights = tmp_path / "nano.safetensors"
    halves = {key: tensor.half() for key, tensor in network.state_dict().items()}
    write_tensors(weights, halves, {"seem_model": "nano"})
    loaded = LoadedNetwork("nano", network, "ab" * 32, BytePairTokenizer.nano)
    model = Model(loaded, torch.device("cpu"), "float32")
    monkeypatch.setattr("seem.exporting.package_nano.cpu_runtime", lambda path: model)
    files = package_graphs(weights, tmp_path / "nano_graphs")
    graphs = [file for file in files if file.suffix == ".onnx"]
    assert {file.name for file in graphs} == {"image.onnx", "text.onnx", "prompts.onnx"}
    photo = picture(90, 60)
    found = ExportedModel(tmp_path / "nano_graphs").encode(photo).segment_many([[Point(40, 30)]])
    assert (found.masks == model.encode(photo).segment(Point(40, 30)).masks).all()


def weight_bytes(model):
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


@pytest.mark.parametrize(("precision", "largest"), [("fp16", 2e-3), ("int8", 5e-2)])
def test_stored_precision_costs_little_and_saves_space(precision, largest):
    text = graphs_of(tiny_network("nano"))[1]
    model, small = to_onnx(text, 18), to_onnx(text, 18)
    store_weights(small, precision)
    inputs = {"ids": np.array([[4094, 7, 300, 4095]])}
    for exact, stored in zip(run_onnx(model)(inputs), run_onnx(small)(inputs), strict=True):
        assert np.abs(exact - stored).max() / np.abs(exact).max() < largest
    assert weight_bytes(small) < {"fp16": 0.55, "int8": 0.4}[precision] * weight_bytes(model)
    for exact, stored in zip(run_onnx(small)(inputs), run_openvino(small)(inputs), strict=True):
        assert np.abs(exact - stored).max() < 1e-4


def test_openvino_files_run():
    text = graphs_of(tiny_network("nano"))[1]
    model = to_onnx(text, 18)
    xml, weights = to_openvino(model, halve=True)
    core = openvino.Core()
    read = core.read_model(model=io.BytesIO(xml), weights=io.BytesIO(weights))
    inputs = {"ids": np.array([[4094, 7, 4095]])}
    found = list(core.compile_model(read, "CPU")(inputs).values())
    for one, other in zip(found, run_onnx(model)(inputs), strict=True):
        assert np.abs(one - other).max() < 2e-2 * np.abs(other).max()
