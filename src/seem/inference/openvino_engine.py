"""The image network in OpenVINO: converted once, cached on disk by the content of its weights, checked against PyTorch.

The conversion traces the network at one size; what comes of it takes every size from `MIN_SIDE` on. Smaller images, and
batches of several, stay with PyTorch. Environment: `SEEM_CACHE`, whose folder `openvino` holds converted networks, and
`SEEM_ENGINE_CACHE` (another folder, or "off").
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from seem.checkpoints.class_embeddings import remove_oldest
from seem.checkpoints.download import cache_folder
from seem.checkpoints.encoded_image import (
    DIGEST_KEY,
    digest_of,
    from_named_tensors,
    to_named_tensors,
)
from seem.checkpoints.safe import read_tensors, write_tensors
from seem.errors import SeemError, short_reason
from seem.inference.torch_engine import encode_in_torch
from seem.models.decoder.decoder import ImageEncoding
from seem.models.precision import Precision
from seem.models.segmenter import Segmenter
from seem.models.structures import ImageBatch

if TYPE_CHECKING:
    from openvino import CompiledModel, Model

FORMAT = "1"  # of cached files: another number where the same weights give another graph
SUFFIX = ".safetensors"
GRAPH, WEIGHTS = "graph", "weights"  # OpenVINO's .xml and .bin
CACHE_VARIABLE, OFF = "SEEM_ENGINE_CACHE", "off"
MAX_CACHED_NETWORKS = 32
MAX_CACHED_BYTES = 4_000_000_000
TELEMETRY = "openvino_telemetry"

MIN_SIDE = 64  # network pixels: the coarsest map of smaller images has one row, which is resized by another rule
TRACED_HW = (160, 224)
CHECKED_HWS = (TRACED_HW, (MIN_SIDE, 96))
MAX_RELATIVE_ERROR = 1e-3  # L2, in float32
MAX_LOWER_PRECISION_ERROR = 0.03
PRECISION_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}


@dataclass(frozen=True, slots=True, eq=False)
class OpenVinoNetwork:
    """A compiled image network. Safe to call from several threads.

    `dtypes` are those of the named tensors of an encoding, as PyTorch would give them.
    """

    segmenter: Segmenter
    precision: Precision
    compiled: CompiledModel
    dtypes: Mapping[str, torch.dtype]

    def __call__(self, batch: ImageBatch) -> ImageEncoding:
        """Encode an image."""
        if len(batch.pixels) > 1 or min(batch.padded_hw) < MIN_SIDE:
            return encode_in_torch(self.segmenter, torch.device("cpu"), self.precision, batch)
        tensors = {}
        for name, tensor in self.run(batch.pixels).items():
            tensors[name] = tensor.to(self.dtypes[name])
        return from_named_tensors(tensors, self.segmenter.mask_convolution)

    def run(self, pixels: Tensor) -> dict[str, Tensor]:
        """Run the network; returns named tensors in float32."""
        request = self.compiled.create_infer_request()
        request.infer([pixels.contiguous().numpy()], share_inputs=True)
        tensors = {}
        for index, name in enumerate(self.dtypes):
            # copied, for the memory of a request is freed with it
            tensors[name] = torch.from_numpy(request.get_output_tensor(index).data.copy())
        return tensors


def open_in_openvino(
    network: Segmenter, device: torch.device, precision: Precision
) -> OpenVinoNetwork:
    """Return the image network in OpenVINO, from the cache or converted.

    Raises `ValueError` for another device than the CPU, `SeemError` where OpenVINO is not installed or cannot compute
    this network.
    """
    if device.type != "cpu":
        raise ValueError(f"engine 'openvino' computes on the CPU, not on {device}; leave it out.")
    openvino = import_openvino()
    dtypes = encoding_dtypes(network, precision)
    key = graph_key(network)
    cached = read_cached_graph(key)
    graph = cached
    if graph is None:
        graph = convert(network)
    settings = {
        "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # several processes would be bound to the same cores
    }
    compiled = openvino.Core().compile_model(graph, "CPU", settings)
    opened = OpenVinoNetwork(network, precision, compiled, dtypes)
    if cached is None:
        check_agreement(opened)
        cache_graph(key, graph)
    return opened


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which would report each import; `SeemError` where it is not installed."""
    hides_telemetry = "openvino" not in sys.modules and TELEMETRY not in sys.modules
    if hides_telemetry:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # an import that fails: it has a stand-in for that
    try:
        return importlib.import_module("openvino")
    except ImportError:
        raise SeemError(
            'engine "openvino" needs the package openvino; install it with: pip install "seem[openvino]".'
        ) from None
    finally:
        if hides_telemetry:
            del sys.modules[TELEMETRY]


# --- Conversion -------------------------------------------------------------------------------------------------------


class EncodingGraph(nn.Module):
    """The image network as OpenVINO's converter traces it: pixels in, the tensors of an encoding out."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Encode an image."""
        return tuple(self.named(pixels).values())

    def named(self, pixels: Tensor) -> dict[str, Tensor]:
        """Encode an image; its tensors by name, in the order of the graph's outputs."""
        return to_named_tensors(self.network.encode_image(ImageBatch(pixels, ())))


def convert(network: Segmenter) -> Model:
    """Trace a network as an OpenVINO graph; `SeemError` for one that has operations that OpenVINO has not."""
    openvino = import_openvino()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the tracer's, about sizes: other sizes are checked
            return openvino.convert_model(
                EncodingGraph(network), example_input=torch.zeros(1, 3, *TRACED_HW)
            )
    except Exception as error:  # the tracer and OpenVINO have many of their own
        raise SeemError(
            f"{network.config.name} cannot be computed in OpenVINO {openvino.__version__} ({short_reason(error)}); "
            "leave engine out."
        ) from error


def check_agreement(opened: OpenVinoNetwork) -> None:
    """Raise `SeemError` where OpenVINO computes something else than PyTorch in float32."""
    generator = torch.Generator().manual_seed(0)
    graph = EncodingGraph(opened.segmenter)
    limit = MAX_RELATIVE_ERROR if opened.precision == "float32" else MAX_LOWER_PRECISION_ERROR
    for hw in CHECKED_HWS:
        pixels = torch.randn(1, 3, *hw, generator=generator)
        with torch.no_grad():
            expected = graph.named(pixels)
        computed = opened.run(pixels)
        for name, tensor in expected.items():
            if not is_near(computed[name], tensor, limit):
                model = opened.segmenter.config.name
                raise SeemError(
                    f"OpenVINO computes {name} of {model} otherwise than PyTorch; leave engine out."
                )


def is_near(computed: Tensor, expected: Tensor, limit: float) -> bool:
    """Tell whether the relative L2 error of a tensor is within a limit."""
    if computed.shape != expected.shape:
        return False
    return bool((computed - expected).norm() <= limit * expected.norm())


def encoding_dtypes(network: Segmenter, precision: Precision) -> dict[str, torch.dtype]:
    """Return the names of the tensors of an encoding, with the types that PyTorch gives them."""
    pixels = ImageBatch(torch.zeros(1, 3, MIN_SIDE, MIN_SIDE), ())
    encoding = encode_in_torch(network, torch.device("cpu"), precision, pixels)
    return {name: tensor.dtype for name, tensor in to_named_tensors(encoding).items()}


# --- The cache on disk ------------------------------------------------------------------------------------------------


def graph_key(network: Segmenter) -> str:
    """Return the sha256 of all that a graph is made of: weights, configuration, OpenVINO's version."""
    weights = {}
    for name, tensor in network.state_dict().items():
        if not name.startswith("text."):
            weights[name] = tensor
    settings = json.dumps(asdict(network.config), sort_keys=True)
    version = import_openvino().__version__
    content = f"{FORMAT} {version} {settings} {digest_of(weights)}"
    return hashlib.sha256(content.encode()).hexdigest()


def graph_cache_folder() -> Path | None:
    """Return the folder of cached graphs, None where the cache is switched off."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen == OFF:
        return None
    return Path(chosen).expanduser() if chosen else cache_folder() / "openvino"


def read_cached_graph(key: str) -> Model | None:
    """Read a cached graph; None where it is not there, or not as it was written."""
    folder = graph_cache_folder()
    if folder is None:
        return None
    path = folder / f"{key}{SUFFIX}"
    openvino = import_openvino()
    try:
        content = read_tensors(path)
        if content.metadata[DIGEST_KEY] != digest_of(content.tensors):
            return None
        weights = openvino.Tensor(content.tensors[WEIGHTS].numpy())
        graph = openvino.Core().read_model(content.tensors[GRAPH].numpy().tobytes(), weights)
        os.utime(path)
    except (OSError, KeyError, ValueError, RuntimeError):
        return None
    return graph


def cache_graph(key: str, graph: Model) -> None:
    """Cache a graph if the folder can be written; those that were used longest ago make room."""
    folder = graph_cache_folder()
    if folder is None:
        return
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        tensors = serialize(graph)
        write_tensors(folder / f"{key}{SUFFIX}", tensors, {DIGEST_KEY: digest_of(tensors)})
        remove_oldest(folder, MAX_CACHED_NETWORKS, MAX_CACHED_BYTES)


def serialize(graph: Model) -> dict[str, Tensor]:
    """Return OpenVINO's two files as tensors of bytes."""
    openvino = import_openvino()
    with TemporaryDirectory(prefix="seem-") as folder:
        path = Path(folder) / "graph.xml"
        openvino.save_model(graph, path, compress_to_fp16=False)
        return {
            GRAPH: bytes_tensor(path.read_bytes()),
            WEIGHTS: bytes_tensor(path.with_suffix(".bin").read_bytes()),
        }


def bytes_tensor(content: bytes) -> Tensor:
    """Return bytes as a tensor."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)
