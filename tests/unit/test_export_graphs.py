"""Every graph answers as PyTorch does, in ONNX Runtime and OpenVINO, at every size."""

import io

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch

from seem.exporting.conversion import store_weights, to_onnx, to_openvino
from seem.exporting.graphs import graphs_of
from tiny import tiny_network

pytestmark = pytest.mark.usefixtures("without_type_checks")

TOLERANCE = 2e-4  # largest difference of a number, beside the largest number of its tensor
SIZES = (
    {"rows": 2, "columns": 3, "objects": 1, "points": 1, "phrases": 1, "tokens": 3, "words": 1},
    {"rows": 5, "columns": 4, "objects": 3, "points": 40, "phrases": 4, "tokens": 9, "words": 7},
)
NETWORKS = {"dense": "nano2", "seem-v1": "seem-focal-t-v1"}


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


@pytest.mark.parametrize("name", NETWORKS)
def test_runtimes_answer_as_pytorch_does(name):
    for graph in graphs_of(tiny_network(NETWORKS[name])):
        model = to_onnx(graph, 18)
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


def test_axes_have_the_names_of_the_readme():
    text = graphs_of(tiny_network("nano"))[1]
    (ids,) = to_onnx(text, 18).graph.input
    assert [dim.dim_param for dim in ids.type.tensor_type.shape.dim] == ["phrases", "tokens"]


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
