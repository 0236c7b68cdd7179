"""Encoded images in files: the output of the image network, and the image itself.

A safetensors file; its metadata say which weights encoded the image, for to others its numbers mean nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from seem.checkpoints.safe import StateDict, read_tensors, write_tensors
from seem.errors import SeemError
from seem.images import InputImage
from seem.models.decoder.decoder import ImageEncoding
from seem.models.mask_features import MaskFeatures
from seem.models.ops.attention import KeysValues
from seem.models.structures import ImageBatch, PixelFeatures

SUFFIX = ".safetensors"
DIGEST_KEY = "tensors_sha256"
FORMAT_KEY, FORMAT = (
    "seem_photo",
    "2",
)  # metadata of our files; another number would be another layout
READ_FORMATS = ("1", FORMAT)  # in the first, the convolution of the mask features has been applied


@dataclass(frozen=True, slots=True)
class EncodedImageFile:
    """What such a file holds, on the CPU; `model` and `sha256` say whose weights encoded the image."""

    model: str
    sha256: str
    source: InputImage
    batch: ImageBatch
    encoding: ImageEncoding
    seconds: float


def write_encoded_image(path: Path, content: EncodedImageFile, overwrite: bool = False) -> None:
    """Write an image with all that was computed from its pixels.

    Raises `ValueError` for another suffix than `.safetensors`, `FileExistsError` for a file that is there, `SeemError`
    where it cannot be written.
    """
    if path.suffix != SUFFIX:
        raise ValueError(f"An encoded photo is kept in a {SUFFIX} file, got {path}; rename it.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; pass overwrite=True or another name.")
    tensors = {
        **to_named_tensors(content.encoding),
        "picture": torch.from_numpy(np.array(content.source.rgb)),
        "network_pixels": content.batch.pixels,
    }
    facts = {
        "name": content.source.name,
        "orientation": content.source.orientation,
        "notes": content.source.notes,
        "input_hw": content.batch.input_hw,
        "seconds": content.seconds,
    }
    metadata = {
        FORMAT_KEY: FORMAT,
        "model": content.model,
        "sha256": content.sha256,
        "facts": json.dumps(facts),
        DIGEST_KEY: digest_of(tensors),
    }
    write_tensors(path, tensors, metadata)


def read_encoded_image(path: Path, mask_convolution: nn.Conv2d) -> EncodedImageFile:
    """Read such a file; `SeemError` for anything else.

    `mask_convolution` is the one that makes the mask features of the network that is to answer (`MaskFeatures`).
    """
    if path.suffix != SUFFIX:
        raise SeemError(
            f"{path} is no encoded photo, which is a {SUFFIX} file; encode the picture with model.encode."
        )
    content = read_tensors(path)
    if content.metadata.get(FORMAT_KEY) not in READ_FORMATS:
        raise SeemError(
            f"{path} holds no encoded photo (weights are read by seem.load); write one with photo.save."
        )
    try:
        facts = json.loads(content.metadata["facts"])
        tensors = dict(content.tensors)
        _check_tensors(tensors, content.metadata.get(DIGEST_KEY))
        image = Image.fromarray(tensors.pop("picture").numpy())
        return EncodedImageFile(
            model=content.metadata["model"],
            sha256=content.metadata["sha256"],
            source=InputImage(image, facts["name"], facts["orientation"], tuple(facts["notes"])),
            batch=ImageBatch(
                tensors.pop("network_pixels"), tuple((hw[0], hw[1]) for hw in facts["input_hw"])
            ),
            encoding=from_named_tensors(tensors, mask_convolution),
            seconds=facts["seconds"],
        )
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise SeemError(
            f"{path} is no whole encoded photo ({error}); write it again with photo.save."
        ) from None


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of the names, types, shapes and values of tensors; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_tensors(tensors: Mapping[str, Tensor], digest: str | None) -> None:
    """Raise `ValueError` for tensors that are not those that were written; files of older versions have no digest."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds values that are not finite")
    pixels, image = tensors["network_pixels"], tensors["picture"]
    if pixels.ndim != 4 or tuple(pixels.shape[:2]) != (1, 3):
        raise ValueError(f"network_pixels has shape {tuple(pixels.shape)}")
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"picture has shape {tuple(image.shape)}, {image.dtype}")
    if digest is not None and digest != digest_of(tensors):
        raise ValueError("its values are not those that were written")


def move_encoding(
    encoding: ImageEncoding, device: torch.device, dtype: torch.dtype | None = None
) -> ImageEncoding:
    """Return an encoding on another device, and in another precision if `dtype` is given."""
    moved = {}
    for name, tensor in to_named_tensors(encoding).items():
        moved[name] = tensor.to(device, dtype)
    return from_named_tensors(moved, encoding.pixels.mask_features.convolution)


def to_named_tensors(memory: ImageEncoding) -> StateDict:
    """Name every tensor of an image's encoding."""
    mask_features = memory.pixels.mask_features
    is_applied = mask_features.convolution is None
    named = {"mask_features" if is_applied else "mask_cells": mask_features.cells}
    named |= {f"levels.{i}": level for i, level in enumerate(memory.pixels.levels)}
    named |= {f"small_masks.{i}": small for i, small in enumerate(memory.small_masks)}
    for i, read in enumerate(memory.reads):
        named |= {f"reads.{i}.keys": read.keys, f"reads.{i}.values": read.values}
    optional = {"summary": memory.summary, "text_map": memory.text_map}
    return named | {name: tensor for name, tensor in optional.items() if tensor is not None}


def from_named_tensors(
    named: Mapping[str, Tensor], mask_convolution: nn.Conv2d | None
) -> ImageEncoding:
    """Put an image's encoding together again; `KeyError` or `ValueError` where a tensor is missing."""
    if "mask_cells" in named:
        mask_features = MaskFeatures(named["mask_cells"], mask_convolution)
    else:
        mask_features = MaskFeatures(named["mask_features"])
    keys, values = _numbered(named, "reads.", ".keys"), _numbered(named, "reads.", ".values")
    return ImageEncoding(
        pixels=PixelFeatures(mask_features, _numbered(named, "levels.")),
        reads=tuple(KeysValues(*read) for read in zip(keys, values, strict=True)),
        small_masks=_numbered(named, "small_masks."),
        summary=named.get("summary"),
        text_map=named.get("text_map", named.get("meaning")),  # the latter in older files
    )


def _numbered(named: Mapping[str, Tensor], prefix: str, suffix: str = "") -> tuple[Tensor, ...]:
    """Return the tensors whose names are prefix, number (from 0 on) and suffix; `KeyError` where one is missing."""
    count = sum(name.startswith(prefix) and name.endswith(suffix) for name in named)
    return tuple(named[f"{prefix}{number}{suffix}"] for number in range(count))
