"""Graphs whose weights are those of a safetensors file: they add a few hundred kilobytes to it.

ONNX keeps weights outside of a graph by file, offset and length, and that is where a safetensors file has each of its
tensors. Weights of half precision are read as they are; the graph turns them into float32.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seem.checkpoints.safe import HEADER_START, METADATA_KEY, sha256_of

if TYPE_CHECKING:
    import onnx

HALF = "F16"  # dtype of the tensors that graphs refer to
MIN_BYTES = 1024  # of a tensor: smaller ones are as short in the graph as their description


@dataclass(frozen=True, slots=True)
class SharedTensor:
    """Where a tensor lies in a file, and its shape."""

    start: int
    length: int
    shape: tuple[int, ...]


class WeightsFile:
    """The half-precision tensors of a safetensors file, by their content."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.sha256 = sha256_of(path)
        content = path.read_bytes()
        header_length = int.from_bytes(content[:HEADER_START], "little")
        first = HEADER_START + header_length
        header: Mapping[str, Any] = json.loads(content[HEADER_START:first])
        self._by_digest: dict[str, SharedTensor] = {}
        for name, entry in header.items():
            if name == METADATA_KEY or entry["dtype"] != HALF:
                continue
            start, end = (first + offset for offset in entry["data_offsets"])
            shared = SharedTensor(start, end - start, tuple(entry["shape"]))
            self._by_digest[digest_of_bytes(content[start:end])] = shared

    def find(self, weights: NDArray[np.float32]) -> SharedTensor | None:
        """Return the tensor of the file that holds these numbers in this order; None where none does."""
        half = weights.astype(np.float16)
        if half.nbytes < MIN_BYTES or not np.array_equal(half.astype(np.float32), weights):
            return None
        return self._by_digest.get(digest_of_bytes(half.tobytes()))


def digest_of_bytes(content: bytes) -> str:
    """Return the sha256 of bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def share_weights(model: onnx.ModelProto, file: WeightsFile) -> None:
    """Let a graph read from a file what is in it, also transposed; other weights stay, so that no answer changes."""
    from onnx import TensorProto, helper, numpy_helper

    decoders = []
    for initializer in list(model.graph.initializer):
        weights = numpy_helper.to_array(initializer)
        if weights.dtype != np.float32 or weights.nbytes < 2 * MIN_BYTES:
            continue
        name = initializer.name
        stored = f"{name}_stored"
        shared, is_transposed = file.find(weights), False
        if shared is None and weights.ndim == 2:
            shared, is_transposed = file.find(np.ascontiguousarray(weights.T)), True
        if shared is None:
            continue
        shape = weights.T.shape if is_transposed else weights.shape
        initializer.CopyFrom(external_tensor(stored, shape, file.name, shared))
        wide = f"{name}_wide" if is_transposed else name
        decoders.append(helper.make_node("Cast", [stored], [wide], to=TensorProto.FLOAT))
        if is_transposed:
            decoders.append(helper.make_node("Transpose", [wide], [name], perm=[1, 0]))
    nodes = [*decoders, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def external_tensor(
    name: str, shape: tuple[int, ...], file: str, shared: SharedTensor
) -> onnx.TensorProto:
    """Describe a tensor of half precision that lies in another file."""
    from onnx import TensorProto

    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=shape)
    tensor.data_location = TensorProto.EXTERNAL
    description = {"location": file, "offset": shared.start, "length": shared.length}
    for key, value in description.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor
