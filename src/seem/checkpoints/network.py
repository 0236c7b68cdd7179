"""From a file to a network that answers, and from the authors' files to ours.

A converted file is a safetensors file under our key names; its metadata say which model it is, so nobody guesses: the
version of an official checkpoint cannot be told from its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from seem.checkpoints.class_embeddings import ClassEmbeddings
from seem.checkpoints.mapping import Converted, from_official
from seem.checkpoints.safe import read_tensors, sha256_of, write_tensors
from seem.config import SegmenterConfig
from seem.errors import SeemError
from seem.models.build import assign_weights, build_without_weights
from seem.models.segmenter import Segmenter
from seem.models.text.tokenizer import BytePairTokenizer
from seem.vocabulary import Vocabulary

MODEL_KEY = "seem_model"  # metadata of our files: the model's name
CLASSES_KEY, STUFF_KEY = "class_names", "class_stuff"  # what it was fine-tuned on, as JSON lists
BACKGROUND_KEY = "class_background"  # "true" where pixels may be none of them
PRESENCE_MIDPOINT_KEY = "even_presence"  # what counts as a half in the photo, among those classes
EARLIER_MODULES = {"meaning": "text_embedding_head"}  # module names of earlier files, and today's
REGION_THRESHOLD_KEY = "region_threshold"  # from which score on a region of one of them is kept


@dataclass(frozen=True, slots=True)
class FineTuningData:
    """A part of a data set that a model was fine-tuned on: all of it, or nine tenths, where no other part was there."""

    spec: str
    part: str
    is_whole: bool


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A network with its weights, and where they come from. `tokenizer` fetches the word pieces when first needed.

    `classes` are those that it was fine-tuned on, None where it was not; `fine_tuned_on` says on which data.
    `class_embeddings` are those of class names that are stored beside the weights.
    """

    name: str
    network: Segmenter
    sha256: str
    tokenizer: Callable[[], BytePairTokenizer]
    classes: Vocabulary | None = None
    fine_tuned_on: tuple[FineTuningData, ...] = ()
    class_embeddings: ClassEmbeddings | None = None


def read_model_name(path: Path, metadata: Mapping[str, str]) -> str:
    """Return the model that a converted file says it is."""
    name = metadata.get(MODEL_KEY)
    if name is None:
        raise SeemError(
            f"{path} does not say which model it is; if it is an official checkpoint, convert it first: "
            f"seem convert {path.name} OUT.safetensors --model NAME"
        )
    return name


def fill_network(config: SegmenterConfig, tensors: Mapping[str, Tensor], source: Path) -> Segmenter:
    """Build a network of our own tensors (any float precision); it takes over those that are in float32.

    Raises `SeemError` that names missing, unknown and misshapen keys, and what is not finite.
    """
    network = build_without_weights(config)
    wanted = network.state_dict()
    tensors = current_keys(tensors)
    missing, unknown = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    misshapen = [
        key for key in wanted if key in tensors and tensors[key].shape != wanted[key].shape
    ]
    for what, keys in (
        ("misses", missing),
        ("holds unknown", unknown),
        ("has misshapen", misshapen),
    ):
        if keys:
            more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
            raise SeemError(
                f"{source} is no {config.name} checkpoint: it {what} {', '.join(keys[:4])}{more}."
            )
    check_tensors_finite(tensors, source)
    assign_weights(network, tensors)
    return network


def current_keys(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under today's keys; files of earlier versions have other prefixes for some modules."""
    renamed = {}
    for key, tensor in tensors.items():
        module, dot, rest = key.partition(".")
        renamed[EARLIER_MODULES.get(module, module) + dot + rest] = tensor
    return renamed


def check_tensors_finite(tensors: Mapping[str, Tensor], source: Path) -> None:
    """Raise `SeemError` that names the first tensor with NaN or infinity in it: such weights answer nothing."""
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.sum(dtype=torch.float32).isfinite():
            raise SeemError(
                f"{source} holds NaN or infinite values in {key}; fetch it again, or load an earlier one."
            )


def read_official(path: Path, network: Segmenter) -> Converted:
    """Read the authors' checkpoint as tensors for `network`.

    Raises `SeemError` for a file that is of another architecture, not finite, or would need pickled code.
    """
    tensors = read_tensors(path).tensors
    try:
        converted = from_official(tensors, network.state_dict())
    except ValueError as error:
        raise SeemError(f"{path} is no {network.config.name} checkpoint: {error}") from None
    check_tensors_finite(converted.tensors, path)
    return converted


def convert_official(official: Path, out: Path, config: SegmenterConfig) -> tuple[str, ...]:
    """Write the authors' checkpoint as a safetensors file of ours; returns the official keys left out on purpose.

    Raises `SeemError` as `read_official` does, and when `out` cannot be written.
    """
    converted = read_official(official, build_without_weights(config))
    write_tensors(
        out, converted.tensors, {MODEL_KEY: config.name, "source_sha256": sha256_of(official)}
    )
    return converted.extras
