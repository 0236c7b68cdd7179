"""The tensors of exported graphs as data: names, shapes, types and what they hold.

One table serves the exporter (which axes may change), the README of an exported folder and the checks of its readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from torch.export import Dim

DataType: TypeAlias = Literal["float32", "int64", "uint8"]

CELL = 32  # network pixels of a cell of the coarsest map: image sizes are multiples of it


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis that may change: `factor` times a size that tensors share by its name."""

    name: str
    factor: int = 1
    smallest: int = 1
    largest: int = 65_536

    def __str__(self) -> str:
        return self.name if self.factor == 1 else f"{self.factor} {self.name}"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a graph. `text` says what it holds, in which unit and frame."""

    name: str
    shape: tuple[int | Axis, ...]
    text: str
    dtype: DataType = "float32"

    def dynamic_axes(self, sizes: dict[str, Dim]) -> dict[int, object]:
        """Return the axes that may change, as `torch.export` expects them."""
        axes: dict[int, object] = {}
        for position, size in enumerate(self.shape):
            if isinstance(size, Axis):
                shared = sizes[size.name]
                axes[position] = shared if size.factor == 1 else size.factor * shared
        return axes

    def with_sizes(self, sizes: Mapping[str, int]) -> TensorSpec:
        """Return the tensor with some axes fixed, by their names."""
        shape: list[int | Axis] = []
        for size in self.shape:
            if isinstance(size, Axis) and size.name in sizes:
                size = size.factor * sizes[size.name]
            shape.append(size)
        return replace(self, shape=tuple(shape))

    def sample_shape(self, sizes: dict[str, int]) -> tuple[int, ...]:
        """Return the shape for given sizes of the axes."""
        shape = []
        for size in self.shape:
            shape.append(size.factor * sizes[size.name] if isinstance(size, Axis) else size)
        return tuple(shape)


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """A graph: what it does, its inputs and its outputs, in order."""

    name: str
    text: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def axes(self) -> dict[str, Axis]:
        """The axes of all inputs that may change, by name."""
        axes: dict[str, Axis] = {}
        for tensor in self.inputs:
            for size in tensor.shape:
                if isinstance(size, Axis):
                    axes[size.name] = size
        return axes

    def with_sizes(self, sizes: Mapping[str, int]) -> GraphSpec:
        """Return the graph with some axes fixed, by their names."""
        inputs = tuple(tensor.with_sizes(sizes) for tensor in self.inputs)
        outputs = tuple(tensor.with_sizes(sizes) for tensor in self.outputs)
        return replace(self, inputs=inputs, outputs=outputs)


def map_at(channels: int, stride: int) -> tuple[int | Axis, ...]:
    """Return the shape of a map of one image at a stride of network pixels."""
    factor = CELL // stride
    return (1, channels, Axis("rows", factor, largest=256), Axis("columns", factor, largest=256))
