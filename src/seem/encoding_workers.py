"""Worker processes that read and encode images for the process of a model.

Their weights are mapped from one temporary file, so that they lie in memory once for all workers together. Encodings
come back through pipes: the memory that processes share is small in containers.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from seem.checkpoints.encoded_image import from_named_tensors, to_named_tensors
from seem.checkpoints.safe import write_tensors
from seem.config import SegmenterConfig
from seem.images import InputImage
from seem.inference.image_network import Engine, ImageNetwork, open_image_network
from seem.inference.prompt_decoder import PreparedImage, PromptDecoder, encode_prepared
from seem.inference.runtime import Runtime
from seem.models.build import assign_weights, build_without_weights
from seem.models.precision import Precision
from seem.models.structures import ImageBatch
from seem.worker_process import begin_worker, interrupts_blocked, one_thread_each

PIXELS = "network_pixels"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class WorkerNetwork:
    """The file of a network's weights, and how a worker computes with them."""

    weights: Path
    config: SegmenterConfig
    precision: Precision
    engine: Engine


@dataclass(frozen=True, slots=True)
class SentTensor:
    """A tensor between two processes, as bytes."""

    values: NDArray[np.uint8]
    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def pack(cls, tensor: Tensor) -> SentTensor:
        """Copy a tensor, or take its memory where it lies in order."""
        values = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
        return cls(values, tuple(tensor.shape), tensor.dtype)

    def unpack(self) -> Tensor:
        """Return the tensor, in the memory of the bytes."""
        return torch.from_numpy(self.values).view(self.dtype).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class SentEncoding:
    """An encoded image between two processes."""

    source: InputImage
    input_hw: tuple[tuple[int, int], ...]
    tensors: Mapping[str, SentTensor]
    seconds: float

    def to_decoder(self, runtime: Runtime) -> PromptDecoder:
        """Return the image as the process of the model would have encoded it."""
        tensors = {name: sent.unpack() for name, sent in self.tensors.items()}
        batch = ImageBatch(tensors.pop(PIXELS), self.input_hw)
        encoding = from_named_tensors(tensors, runtime.network.mask_convolution)
        return PromptDecoder(runtime, self.source, batch, encoding, self.seconds)


@dataclass(frozen=True, slots=True)
class EncodingTask(Generic[Item]):
    """What a worker does with an item."""

    network: WorkerNetwork
    prepare: Callable[[Item], PreparedImage]

    def __call__(self, item: Item) -> SentEncoding:
        """Prepare and encode one image."""
        prepared = self.prepare(item)
        encoding, seconds = encode_prepared(open_worker_network(self.network), prepared)
        tensors = {**to_named_tensors(encoding), PIXELS: prepared.batch.pixels}
        return SentEncoding(
            prepared.source,
            prepared.batch.input_hw,
            {name: SentTensor.pack(tensor) for name, tensor in tensors.items()},
            seconds,
        )


@functools.cache
def open_worker_network(worker: WorkerNetwork) -> ImageNetwork:
    """Return the image network of this process; its weights are mapped, not read."""
    network = build_without_weights(worker.config)
    assign_weights(network, load_file(worker.weights))
    return open_image_network(network, torch.device("cpu"), worker.precision, worker.engine)


@contextmanager
def encoding_workers(
    runtime: Runtime, prepare: Callable[[Item], PreparedImage], workers: int
) -> Iterator[tuple[ProcessPoolExecutor, EncodingTask[Item]]]:
    """Start worker processes, each with its share of PyTorch's threads; they end with the block.

    Yields an executor, and what it runs for each item; `prepare` and the items have to be picklable.
    """
    threads = max(1, torch.get_num_threads() // workers)
    with TemporaryDirectory(prefix="seem-") as folder:
        weights = Path(folder) / "weights.safetensors"
        write_tensors(weights, runtime.network.state_dict())
        network = WorkerNetwork(weights, runtime.network.config, runtime.precision, runtime.engine)
        executor = ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=begin_worker, initargs=(threads,)
        )
        with one_thread_each(), interrupts_blocked():
            for _ in range(workers):  # each of the first tasks starts a process
                executor.submit(os.getpid)
        try:
            yield executor, EncodingTask(network, prepare)
        finally:
            executor.shutdown(cancel_futures=True)
