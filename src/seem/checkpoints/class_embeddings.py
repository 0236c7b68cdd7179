"""Embeddings of class names in files: computed once, for they follow from the text encoder and the names.

A list of names has a key, the sha256 of all that its embeddings are computed from, so none is ever out of date.
`FILE.classes.safetensors` beside the weights `FILE.safetensors` holds the names of COCO and ADE20K (`seem convert`
writes it); lists of users are cached in the folder `classes` of the cache, one file each. Environment:
`SEEM_CLASS_CACHE` (another folder, or "off").
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from seem.checkpoints.download import cache_folder
from seem.checkpoints.encoded_image import DIGEST_KEY, digest_of
from seem.checkpoints.safe import read_tensors, write_tensors
from seem.config import TextConfig
from seem.errors import SeemError
from seem.models.text.encoder import TextEncoder

FORMAT_KEY, FORMAT = "seem_class_embeddings", "1"
"""Metadata of our files, and the version of the rule: another number where names give other embeddings."""

NAMES_KEY, LIST_KEY, TENSOR = "names", "key", "embeddings"
SUFFIX = ".safetensors"
CACHE_VARIABLE = "SEEM_CLASS_CACHE"
OFF = "off"
MAX_CACHED_LISTS = 256
MAX_CACHED_BYTES = 200_000_000
UNREAD_WEIGHTS = (
    "logit_scale"  # of the text encoder: a temperature, which embeddings do not depend on
)


@dataclass(frozen=True, slots=True, eq=False)
class ClassEmbeddings:
    """Names and their normalised embeddings (float32), with the key of the list."""

    key: str
    names: tuple[str, ...]
    embeddings: Tensor


def digest_of_text_encoder(encoder: TextEncoder, config: TextConfig) -> str:
    """Return the sha256 of all that turns a phrase into a vector: weights, sizes and tokenizer."""
    weights = encoder.state_dict()
    weights.pop(UNREAD_WEIGHTS)
    settings = json.dumps(asdict(config), sort_keys=True)
    return hashlib.sha256(f"{settings} {digest_of(weights)}".encode()).hexdigest()


def class_list_key(encoder_digest: str, names: Sequence[str], templates: Sequence[str]) -> str:
    """Return the key of a class list: sha256, hexadecimal."""
    content = json.dumps([FORMAT, encoder_digest, list(names), list(templates)])
    return hashlib.sha256(content.encode()).hexdigest()


def path_beside(weights: Path) -> Path:
    """Return the file of class embeddings that belongs to a file of weights."""
    return weights.with_suffix(f".classes{SUFFIX}")


def write_class_embeddings(path: Path, classes: ClassEmbeddings) -> None:
    """Write embeddings in place of what was there; `SeemError` where that is not possible."""
    tensors = {TENSOR: classes.embeddings.detach().cpu()}
    metadata = {
        FORMAT_KEY: FORMAT,
        LIST_KEY: classes.key,
        NAMES_KEY: json.dumps(classes.names),
        DIGEST_KEY: digest_of(tensors),
    }
    write_tensors(path, tensors, metadata)


def read_class_embeddings(path: Path) -> ClassEmbeddings | None:
    """Read embeddings; None if there is no such file, or if it is not as it was written."""
    if not path.is_file():
        return None
    try:
        content = read_tensors(path)
        names = json.loads(content.metadata[NAMES_KEY])
        embeddings = content.tensors[TENSOR]
        is_whole = content.metadata[DIGEST_KEY] == digest_of(content.tensors)
        if not is_whole or content.metadata[FORMAT_KEY] != FORMAT or len(names) != len(embeddings):
            return None
        return ClassEmbeddings(content.metadata[LIST_KEY], tuple(names), embeddings)
    except (SeemError, OSError, ValueError, KeyError, TypeError):
        return None


# --- The cache on disk ------------------------------------------------------------------------------------------------


def class_cache_folder() -> Path | None:
    """Return the folder of cached class lists, None where the cache is switched off."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen == OFF:
        return None
    return Path(chosen).expanduser() if chosen else cache_folder() / "classes"


def read_cached_classes(key: str) -> Tensor | None:
    """Return cached embeddings, None where they are not there or damaged."""
    folder = class_cache_folder()
    if folder is None:
        return None
    path = folder / f"{key}{SUFFIX}"
    cached = read_class_embeddings(path)
    if cached is None or cached.key != key:
        return None
    with suppress(OSError):  # a cache that may only be read
        os.utime(path)
    return cached.embeddings


def cache_classes(classes: ClassEmbeddings) -> None:
    """Cache embeddings if the folder can be written; those that were used longest ago make room."""
    folder = class_cache_folder()
    if folder is None:
        return
    with suppress(SeemError, OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_class_embeddings(folder / f"{classes.key}{SUFFIX}", classes)
        remove_oldest(folder, MAX_CACHED_LISTS, MAX_CACHED_BYTES)


def remove_oldest(folder: Path, max_files: int, max_bytes: int) -> None:
    """Remove the files of a cache folder that were used longest ago, until the others are few and small enough."""
    states = []
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(OSError):  # another process has removed it
            state = path.stat()
            states.append((state.st_mtime_ns, state.st_size, path))
    num_bytes = 0
    for index, (_, size, path) in enumerate(sorted(states, reverse=True)):
        num_bytes += size
        if index >= max_files or (index and num_bytes > max_bytes):
            path.unlink(missing_ok=True)
