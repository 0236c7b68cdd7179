#!/usr/bin/env bash
# Versions: onnxruntime 1.32.0, onnx 1.23.2, Python 3.11.
#
# Expected: a graph that pads the weights of a convolution (Pad feeds input 1 of Conv) runs, as the ONNX checker says.
# What happens: with graph optimization at its default the session cannot be made: "Invalid model. Node input 'padded' is
# not a graph input, initializer, or output of a previous node". The pass that fuses a Pad into the convolution behind it
# does not look which input the Pad feeds, and removes the node. Without optimization the same file runs and is right.
# Why it matters: networks converted from TensorFlow with SAME padding are often written so in PyTorch (a 3x3 kernel grown
# to 4x4 instead of a copy of the map); the error names the model, which is valid, and a search for it leads to the exporter.
# Instead: fold such constants before saving (`onnxscript.optimizer.fold_constants` with a large `input_size_limit` and
# `output_size_limit`), or set `graph_optimization_level` to ORT_DISABLE_ALL, which costs speed.
#
# Seen:
#   onnx 1.23.2 onnxruntime 1.32.0 checker: valid
#   optimization off: runs, right
#   optimization default: [ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Invalid model. Node input 'padded' is not a graph input, initializer, or output of a previous node.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 ml_dtypes==0.6.0 protobuf==7.36.2 flatbuffers==25.12.19 \
    packaging==26.4 typing_extensions==4.16.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import numpy as np, onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
x = rng.standard_normal((1, 1, 8, 8)).astype(np.float32)
kernel = rng.standard_normal((1, 1, 3, 3)).astype(np.float32)
nodes = [
    helper.make_node("Pad", ["kernel", "pads"], ["padded"]),  # of the weights, not of the picture
    helper.make_node("Conv", ["x", "padded"], ["y"], kernel_shape=[4, 4]),
]
graph = helper.make_graph(
    nodes, "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8]),
     helper.make_tensor_value_info("kernel", TensorProto.FLOAT, [1, 1, 3, 3])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 5, 5])],
    [numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 0, 0]), "pads")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
onnx.checker.check_model(model, full_check=True)
print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "checker: valid")
padded = np.pad(kernel[0, 0], ((1, 0), (1, 0)))
expected = np.array([[(x[0, 0, i : i + 4, j : j + 4] * padded).sum() for j in range(5)] for i in range(5)])
levels = onnxruntime.GraphOptimizationLevel
outcome = {}
for name, level in (("off", levels.ORT_DISABLE_ALL), ("default", levels.ORT_ENABLE_ALL)):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        found = session.run(None, {"x": x, "kernel": kernel})[0][0, 0]
        outcome[name] = found.shape == expected.shape and bool(np.allclose(found, expected, atol=1e-5))
        print(f"optimization {name}: runs, {'right' if outcome[name] else 'wrong: ' + str(found.shape)}")
    except Exception as error:
        outcome[name] = False
        print(f"optimization {name}: {str(error).splitlines()[0]}")
assert outcome == {"off": True, "default": False}, "the behaviour has changed"
PY
