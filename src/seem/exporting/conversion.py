"""A module with a `GraphSpec` to a graph of ONNX or OpenVINO, and the precision in which its weights are stored."""

from __future__ import annotations

import importlib
import inspect
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seem.errors import SeemError, short_reason
from seem.exporting.tensors import Axis, GraphSpec
from seem.inference.openvino_engine import import_openvino
from seem.part_files import temporary_folder

if TYPE_CHECKING:
    import onnx

Format: TypeAlias = Literal["onnx", "openvino"]
WeightPrecision: TypeAlias = Literal["fp32", "fp16", "int8"]

OPSETS = range(18, 24)  # that the graphs can be written in: the exporter of PyTorch begins at 18
DEFAULT_OPSET = 18  # which most runtimes read
MIN_STORED_WEIGHTS = 4096  # numbers in a tensor below which it stays in float32
MAX_INT8 = 127
MAX_FOLDED = 2**26  # numbers of a constant that is computed at export

PACKAGES = {
    "onnx": ("onnx", "onnxscript"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}
"""What an export to a format imports."""


class SpecifiedGraph(Protocol):
    """A module that says what it takes and returns."""

    @property
    def spec(self) -> GraphSpec:
        """Names, shapes and types."""
        ...

    @property
    def forward(self) -> Callable[..., tuple[Tensor, ...]]:
        """What it computes."""
        ...


def check_packages(format: Format) -> None:
    """Raise `SeemError` for a package that an export needs and that is not installed."""
    package = ""
    try:
        for package in PACKAGES[format]:
            importlib.import_module(package)
    except ImportError:
        raise SeemError(
            f'Export to {format} needs the package {package}; install it with: pip install "seem[export]".'
        ) from None


def check_opset(opset: object) -> int:
    """Return the opset to export to, None for the default; `ValueError` for one that cannot be."""
    if opset is None:
        return DEFAULT_OPSET
    if isinstance(opset, int) and opset in OPSETS:
        return opset
    raise ValueError(
        f"opset is {opset!r}; the graphs need operators of opset {OPSETS[0]}, and can be written up to {OPSETS[-1]}."
    )


# --- ONNX -------------------------------------------------------------------------------------------------------------


def to_onnx(graph: SpecifiedGraph, opset: int) -> onnx.ModelProto:
    """Export a graph with PyTorch's exporter; axes are named as in its specification."""
    from onnxscript.optimizer import fold_constants

    spec = graph.spec
    shared = {}
    for name, axis in spec.axes.items():
        shared[name] = torch.export.Dim(name, min=axis.smallest, max=axis.largest)
    dynamic_shapes = tuple(tensor.dynamic_axes(shared) for tensor in spec.inputs)
    try:
        with silenced_exporter(), torch.no_grad():
            program = torch.export.export(
                graph,  # type: ignore[arg-type]
                sample_inputs(spec),
                dynamic_shapes=(dynamic_shapes,) if takes_any_number(graph) else dynamic_shapes,
                strict=False,
            )
            exported = torch.onnx.export(
                program,
                (),
                dynamo=True,
                opset_version=opset,
                input_names=[tensor.name for tensor in spec.inputs],
                output_names=[tensor.name for tensor in spec.outputs],
                verbose=False,
            )
            assert exported is not None
            # Weights that are padded or transposed become constants: ONNX Runtime 1.32 takes a padding of weights for
            # one of the input, and then refuses its own graph.
            fold_constants(
                exported.model, input_size_limit=MAX_FOLDED, output_size_limit=MAX_FOLDED
            )
    except Exception as error:  # the exporter has many of its own
        raise SeemError(
            f"The {spec.name} graph cannot be exported: {short_reason(error)}"
        ) from error
    model: onnx.ModelProto = exported.model_proto
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions.get("") != opset:
        raise SeemError(
            f"The {spec.name} graph cannot be written in opset {opset}, only in {versions.get('')}; "
            f"leave --opset out, or take {DEFAULT_OPSET}."
        )
    name_axes(model, spec)
    remove_traces(model)
    return model


def takes_any_number(graph: SpecifiedGraph) -> bool:
    """Tell whether `forward` takes its inputs as one starred argument."""
    parameters = inspect.signature(graph.forward).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)


def sample_inputs(spec: GraphSpec) -> tuple[Tensor, ...]:
    """Return inputs of a size that no other size of the network equals; only shapes and types matter."""
    sizes = {name: 5 + 2 * index for index, name in enumerate(spec.axes)}
    samples = []
    for tensor in spec.inputs:
        dtype = getattr(torch, tensor.dtype)
        samples.append(torch.zeros(tensor.sample_shape(sizes), dtype=dtype))
    return tuple(samples)


@contextmanager
def silenced_exporter() -> Iterator[None]:
    """Hide what PyTorch's exporter says about packages and internals of its own."""
    levels = {}
    for name in ("torch.onnx", "torch.__trace", "onnxscript", "onnx_ir"):
        levels[name] = logging.getLogger(name).level
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def name_axes(model: onnx.ModelProto, spec: GraphSpec) -> None:
    """Replace the exporter's names of sizes (s17) by those of the specification."""
    names: dict[str, str] = {}
    values = {value.name: value for value in model.graph.input}
    for tensor in spec.inputs:
        dims = values[tensor.name].type.tensor_type.shape.dim
        for size, dim in zip(tensor.shape, dims, strict=True):
            symbol = re.search(r"\bs\d+\b", dim.dim_param)
            if isinstance(size, Axis) and symbol:
                names[symbol[0]] = size.name
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(
                    r"\bs\d+\b", lambda match: names.get(match[0], match[0]), dim.dim_param
                )


def remove_traces(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes about every node: source lines with the paths of this machine, most of a graph."""
    graph = model.graph
    for described in (model, graph):
        del described.metadata_props[:]
    values = (*graph.input, *graph.output, *graph.value_info)
    for part in (*graph.node, *graph.initializer, *values):
        part.doc_string = ""
        del part.metadata_props[:]


# --- Precision of the weights -----------------------------------------------------------------------------------------


def store_weights(model: onnx.ModelProto, precision: WeightPrecision) -> None:
    """Store large weights in half precision or in 8 bits; the graph turns them into float32 when it is loaded.

    8 bits: one scale for each output channel, symmetric. What flows through the graph stays float32, so every runtime
    gives the same answers.
    """
    if precision == "fp32":
        return
    from onnx import TensorProto, helper, numpy_helper

    consumers: dict[str, tuple[Any, int]] = {}
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            consumers.setdefault(name, (node, position))
    decoders = []
    for initializer in list(model.graph.initializer):
        weights = numpy_helper.to_array(initializer)
        if weights.dtype != np.float32 or weights.size < MIN_STORED_WEIGHTS:
            continue
        name, stored = initializer.name, f"{initializer.name}_{precision}"
        if precision == "fp16":
            small = numpy_helper.from_array(weights.astype(np.float16), stored)
            decoders.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
        elif weights.ndim >= 2 and name in consumers:
            node, position = consumers[name]
            axis = channel_axis(node, position, weights.ndim)
            codes, scales = quantize(weights, axis)
            small = numpy_helper.from_array(codes, stored)
            scale_name = f"{name}_scales"
            model.graph.initializer.append(numpy_helper.from_array(scales, scale_name))
            decoders.append(
                helper.make_node("DequantizeLinear", [stored, scale_name], [name], axis=axis)
            )
        else:
            continue
        initializer.CopyFrom(small)
    nodes = [*decoders, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def channel_axis(node: Any, position: int, num_axes: int) -> int:
    """Return the axis of the output channels in the weights of a node."""
    if node.op_type == "MatMul" and position == 1:
        return num_axes - 1
    if node.op_type == "Gemm" and position == 1:
        transposed = any(each.name == "transB" and each.i for each in node.attribute)
        return 0 if transposed else 1
    return 0


def quantize(
    weights: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round weights to 8 bits, with one scale for each index of `axis`."""
    others = tuple(index for index in range(weights.ndim) if index != axis)
    largest = np.abs(weights).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest / MAX_INT8, 1).astype(np.float32)
    codes = np.rint(weights / scales).astype(np.int8)
    return codes, scales.reshape(-1)


# --- OpenVINO ---------------------------------------------------------------------------------------------------------


def to_openvino(model: onnx.ModelProto, *, halve: bool) -> tuple[bytes, bytes]:
    """Convert an ONNX model to OpenVINO's two files, .xml and .bin; `halve` stores weights in half precision."""
    openvino = import_openvino()
    with temporary_folder() as folder:
        path = folder / "graph.xml"
        try:
            converted = openvino.Core().read_model(model=model.SerializeToString())
            openvino.save_model(converted, path, compress_to_fp16=halve)
        except RuntimeError as error:
            raise SeemError(
                f"OpenVINO {openvino.__version__} cannot convert a graph ({short_reason(error)}); take a newer one."
            ) from None
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
