#!/usr/bin/env bash
# Versions: openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11.
#
# Expected: ONNX's Resize (opset 18) with antialias=1 averages over all pixels that a smaller one is made of, as PyTorch's
# interpolate(antialias=True) and Pillow do; a runtime that has no such operator refuses the model.
# What happens: OpenVINO reads the model without a word and leaves the attribute out, in both modes: it samples where it
# should average.
# Why it matters: a network that resizes inside its graph gives other answers in OpenVINO than everywhere else, up to the
# full range of its input, and no check of the model says so.
# Instead: write the resizing as a strided convolution with the kernel's weights, which for a whole-number factor is exact.
#
# Seen: a line of which half of the pixels are 1, shrunk by 4 (so that it is 0.5 everywhere)
#   linear, antialias 0: ONNX Runtime 1.000, OpenVINO 1.000
#   linear, antialias 1: ONNX Runtime 0.500, OpenVINO 1.000
#   cubic, antialias 0: ONNX Runtime 1.188, OpenVINO 1.188
#   cubic, antialias 1: ONNX Runtime 0.500, OpenVINO 1.188
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper

LINE = np.zeros((1, 1, 1, 64), dtype=np.float32)
LINE[..., 1::4] = LINE[..., 2::4] = 1  # half of the pixels are white: shrunk by 4 it is grey


def resize_model(mode, antialias):
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 1, 1, 16])
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode=mode, antialias=antialias)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 64])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 16])]
    graph = helper.make_graph([node], "resize", inputs, outputs, [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def answers(mode, antialias):
    model = resize_model(mode, antialias)
    expected = onnxruntime.InferenceSession(model).run(None, {"x": LINE})[0]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return expected[0, 0, 0], compiled({"x": LINE})[0][0, 0, 0]


print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "openvino", openvino.__version__.split("-")[0])
for mode in ("linear", "cubic"):
    for antialias in (0, 1):
        one, other = answers(mode, antialias)
        print(f"{mode}, antialias {antialias}: ONNX Runtime {one[8]:.3f}, OpenVINO {other[8]:.3f}")
        assert (np.abs(one - other).max() > 0.1) == bool(antialias), (mode, antialias)
PY
