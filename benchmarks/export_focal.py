"""The image graph of SEEM v1 with FocalNet-T at real size, random weights: time, memory, size, and IoU with PyTorch.

python benchmarks/export_focal.py OUT.onnx      # 2 CPU minutes and 2.5 GB; one thread
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from seem import config
from seem.exporting.conversion import to_onnx
from seem.exporting.graphs import graphs_of
from seem.models.build import build

HW = (512, 640)


def main() -> None:
    """Export the graph, and compare the regions that it finds with PyTorch's."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    graph = graphs_of(build(config.seem_focal_t_v1()).eval())[0]
    file = Path(sys.argv[1])
    began = time.process_time()
    file.write_bytes(to_onnx(graph, 18).SerializeToString())
    print(
        f"exported in {time.process_time() - began:.0f} CPU s, {file.stat().st_size / 1e6:.0f} MB"
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])
    noise = torch.randn(1, 3, HW[0] // 26, HW[1] // 26)
    pixels = torch.nn.functional.interpolate(noise, size=HW, mode="bicubic")
    inputs = {"pixels": pixels.numpy()}
    with torch.no_grad():
        expected, seconds = timed(lambda: graph(pixels))
    found, other_seconds = timed(lambda: session.run(None, inputs))
    names = [output.name for output in session.get_outputs()]
    print(f"ONNX Runtime over PyTorch: {other_seconds / seconds:.2f} of {seconds:.1f} CPU s")
    one, other = (
        region_masks(dict(zip(names, map(np.asarray, tensors), strict=True)))
        for tensors in (expected, found)
    )
    overlap = (one & other).sum((1, 2)) / np.maximum((one | other).sum((1, 2)), 1)
    print(f"IoU of {len(overlap)} regions: mean {overlap.mean():.6f}, lowest {overlap.min():.6f}")
    print(f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


def timed(run):
    """Return what a function returns at its second call, and the CPU seconds of that call."""
    run()
    began = time.process_time()
    result = run()
    return result, time.process_time() - began


def region_masks(encoded):
    """Return the masks of all object queries, (Q, H, W) bool."""
    embeddings, features = encoded["region_mask_embeddings"][0], encoded["mask_features"][0]
    return np.einsum("qc,chw->qhw", embeddings, features) > 0


if __name__ == "__main__":
    main()
