"""Tensors in and out of files, without ever running what a file contains.

`.safetensors` is ours. `.pt`, `.pth` and `.bin` are PyTorch's pickles: they are read with `weights_only`, which builds
tensors and plain containers and nothing else; a file that needs more is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import stat
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from seem.errors import SeemError, naming_file, short_reason
from seem.part_files import new_part, remove_part
from seem.regular_file import check_regular_file, check_replaceable

StateDict: TypeAlias = dict[str, Tensor]

PICKLE_SUFFIXES = (".pt", ".pth", ".bin")
MAX_WRAPPERS = 8  # around each other
WRAPPERS = (
    "model",
    "module",
    "state_dict",
)  # training files hold the weights beside optimizer and schedule
ZIP_MAGIC = b"PK\x03\x04"
FORBIDDEN_NAME = re.compile(r"\bGLOBAL:? ([\w.]+)|Unsupported class ([\w.]+)")
METADATA_KEY = "__metadata__"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}  # of safetensors files, as far as networks use them
HEADER_START = 8  # bytes of a safetensors file: the length of its header stands before it
MAX_HEADER_BYTES = 100_000_000  # as the library that writes such files allows
HASH_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class TensorFile:
    """What a checkpoint holds: named tensors on the CPU, and the notes that safetensors files carry."""

    tensors: StateDict
    metadata: dict[str, str] = field(default_factory=dict)


def read_tensors(path: str | Path) -> TensorFile:
    """Read every tensor of a checkpoint, unwrapped, under the names that its network gave them.

    Raises `ValueError` for a file name of unknown kind and `SeemError` for a file that cannot be read as tensors.
    """
    path = Path(path)
    _check_readable(path)
    if path.suffix not in (".safetensors", *PICKLE_SUFFIXES):
        readable = ", ".join((".safetensors", *PICKLE_SUFFIXES))
        raise ValueError(f"Cannot tell what {path} is by its name; Seem reads {readable}.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return TensorFile(_named_tensors(_unwrap(_load_pickled(path)), path))


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file; readers see the old file or the whole new one, never a part.

    Tensors that share memory are written once each.
    """
    path = Path(path)
    try:
        with atomic_write(path) as aside:
            save_file(_separate(tensors), aside, metadata=dict(metadata or {}))
            _sort_metadata(aside)
    except (OSError, SafetensorError) as error:
        raise SeemError(
            f"Cannot write {path}: {short_reason(error)}. Free some space or choose another folder."
        ) from error


def _sort_metadata(file: Path) -> None:
    """Sort the metadata of a safetensors file, which come in another order each time, so that bytes are the same."""
    with file.open("r+b") as stream:
        header = _read_header(stream)
        length = stream.tell() - HEADER_START
        if METADATA_KEY not in header:
            return
        header[METADATA_KEY] = dict(sorted(header[METADATA_KEY].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:
            stream.seek(HEADER_START)
            stream.write(text.ljust(length))


def read_metadata(path: Path) -> dict[str, str]:
    """Read the notes of a safetensors file without its tensors; `ValueError` or `OSError` for any other file."""
    _check_readable(path)
    with path.open("rb") as stream:
        header = _read_header(stream)
    return dict(header.get(METADATA_KEY, {}))


def _read_header(stream: BinaryIO) -> dict[str, Any]:
    """Read the header of a safetensors file; the stream then stands where the tensors begin."""
    length = int.from_bytes(stream.read(HEADER_START), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header would have {length} bytes")
    header: dict[str, Any] = json.loads(stream.read(length))
    return header


def sha256_of(path: str | Path) -> str:
    """Hash a file of any size in constant memory; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a path to write to that becomes `path` when the block ends well and vanishes when it does not.

    It lies in a folder of its own, because safetensors writes a file beside the one that it is given. The file gets the
    permissions of any new file here, whatever its writer sets (safetensors: the owner's alone). Raises `SeemError` for
    a device or a pipe, which the file would take the place of.
    """
    check_replaceable(path)
    part = new_part(path.parent)
    aside = part / path.name
    try:
        part.mkdir()
        aside.touch()
        usual = stat.S_IMODE(aside.stat().st_mode)
        with naming_file(path):
            yield aside
            flush_to_disk(aside)
        aside.chmod(usual)
        aside.replace(path)
    finally:
        remove_part(part)


def flush_to_disk(file: Path) -> None:
    """Wait until a file is on the disk: else a power cut after renaming it may leave an empty one."""
    with file.open("rb+") as written:
        os.fsync(written.fileno())


def _check_readable(path: Path) -> None:
    check_regular_file(path)
    if not path.exists():
        raise SeemError(f"There is no file {path}; check the path.")
    if path.is_dir():
        raise SeemError(f"{path} is a folder; name the checkpoint file in it.")
    if not os.access(path, os.R_OK):
        raise SeemError(f"{path} may not be read by this user; change its permissions.")
    if path.stat().st_size == 0:
        raise SeemError(f"{path} is empty (0 bytes); fetch it again.")


def _read_safetensors(path: Path) -> TensorFile:
    """Read tensors into memory of their own.

    Those that the library returns are parts of the mapped file: they change, or end the process, when the file is
    written again, and using them as they are or copying them both keeps the file in memory beside the network.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file, path.open("rb") as stream:
            header = _read_header(stream)  # valid: the library has opened the file
            start = stream.tell()
            tensors: StateDict = {}
            for name in file.keys():  # noqa: SIM118  (not a mapping)
                if header[name]["dtype"] in DTYPES and sys.byteorder == "little":
                    tensors[name] = _read_tensor(stream, start, header[name])
                else:
                    tensors[name] = file.get_tensor(name).clone()
            return TensorFile(tensors, dict(file.metadata() or {}))
    except (SafetensorError, OSError) as error:
        raise SeemError(
            f"{path} is not a safetensors file, or it is cut short ({short_reason(error)}); fetch or convert it again."
        ) from error


def _read_tensor(stream: BufferedReader, start: int, entry: Mapping[str, Any]) -> Tensor:
    """Read the tensor that an entry of a safetensors header describes; `start` is where the tensors begin."""
    first, end = entry["data_offsets"]
    memory = torch.empty(end - first, dtype=torch.uint8)
    stream.seek(start + first)
    if stream.readinto(memory.numpy().data) < len(memory):
        raise OSError("it ends early")
    return memory.view(DTYPES[entry["dtype"]]).reshape(entry["shape"])


def _load_pickled(path: Path) -> object:
    """Unpickle tensors and plain containers; memory-mapped where the format (PyTorch >= 1.6) allows it."""
    with path.open("rb") as file:
        mappable = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    try:
        with (
            warnings.catch_warnings()
        ):  # torch warns about foreign pickles before it refuses them; one line is enough
            warnings.simplefilter("ignore")
            loaded: object = torch.load(path, map_location="cpu", weights_only=True, mmap=mappable)
            return loaded
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        found = FORBIDDEN_NAME.search(str(error))
        what = (
            f"reading it would run code ({found[1] or found[2]})"
            if found
            else "it holds more than tensors"
        )
        raise SeemError(
            f"{path} is refused: {what}. Save its weights alone, as a dictionary of tensors, and load that."
        ) from error
    except (
        Exception
    ) as error:  # a file that is no checkpoint fails in whichever way its first bytes are misread
        raise SeemError(
            f"{path} is not a PyTorch checkpoint, or it is cut short ({short_reason(error)}); fetch it again."
        ) from error


def _unwrap(loaded: object) -> object:
    """Go down to the weights of a training file: {'module': {...}, 'optimizer': ...} and the like."""
    for _ in range(MAX_WRAPPERS):
        inner = _inside_wrapper(loaded)
        if inner is None:
            return loaded
        loaded = inner
    return None  # a dictionary that holds itself has no weights


def _inside_wrapper(loaded: object) -> dict[object, object] | None:
    if not isinstance(loaded, dict):
        return None
    for key in WRAPPERS:
        inner = loaded.get(key)
        if isinstance(inner, dict):
            return inner
    return None


def _without_wrapper(name: str) -> str:
    """Take every "module" out of a dotted name."""
    return ".".join(part for part in name.split(".") if part != "module")


def _named_tensors(loaded: object, path: Path) -> StateDict:
    """Check that only tensors are left, and take away the names that training wrappers put before theirs.

    The official trainer drops every 'module.' when it resumes on one device; its own wrapper adds one 'model.'.
    """
    if not isinstance(loaded, dict) or not loaded:
        raise SeemError(
            f"{path} holds no dictionary of tensors ({_kind(loaded)}); it is not a checkpoint of weights."
        )
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise SeemError(
                f"{path} holds {_kind(value)} under {name!r}, where a tensor is expected."
            )

    bare = {name: _without_wrapper(name) for name in loaded}
    if all(name.startswith("model.") for name in bare.values()):
        bare = {name: short.removeprefix("model.") for name, short in bare.items()}
    if len(set(bare.values())) < len(bare):
        raise SeemError(
            f"{path} holds two tensors of one name once 'module.' is taken away; save one model per file."
        )
    return {bare[name]: value for name, value in loaded.items()}


def _separate(tensors: Mapping[str, Tensor]) -> StateDict:
    """Give every tensor memory of its own, which the format demands; copies only what is shared or strided."""
    visited: set[int] = set()
    separate: StateDict = {}
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        address = own.untyped_storage().data_ptr()
        separate[name] = own.clone() if address in visited else own
        visited.add(address)
    return separate


def _kind(value: object) -> str:
    return "nothing" if value is None or value == {} else f"a {type(value).__name__}"
