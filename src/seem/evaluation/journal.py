"""Journal of a run beside its result file, so that a run that was interrupted can be resumed.

A folder `RESULT.json.journal/`: `run.json` identifies the run, every other file holds what was counted on some images.
Files are written aside and renamed, a few seconds of work each, and never changed: whenever a process is killed, and
however many processes write, every file is complete.
"""

from __future__ import annotations

import base64
import json
import shutil
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import starmap
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from seem.checkpoints.safe import atomic_write
from seem.errors import SeemError
from seem.folder_lock import hold_folder
from seem.part_files import remove_part

RunKey: TypeAlias = "Mapping[str, Any]"
"""What identifies a run; it survives JSON."""

ImageKey: TypeAlias = "tuple[int, int]"
"""An image of a run: the index of its data set, and its index there."""

RUN_FILE = "run.json"
MAX_VALUE_LENGTH = 80  # characters of a value in an error message


@dataclass(frozen=True, slots=True)
class Chunk:
    """What was counted on some images.

    Attributes:
        done: the images.
        states: the state of every accumulator of the run; None where nothing was counted.
        seconds: where the time went.
    """

    done: tuple[ImageKey, ...]
    states: Sequence[Mapping[str, Any] | None]
    seconds: Mapping[str, float]

    def to_json(self) -> str:
        """Return the chunk as JSON; arrays keep their type and every bit."""
        content = {
            "done": list(self.done),
            "states": list(self.states),
            "seconds": dict(self.seconds),
        }
        return json.dumps(content, default=_encode_array)

    @classmethod
    def from_json(cls, text: str) -> Chunk:
        """Read a chunk from JSON."""
        content = json.loads(text, object_hook=_decode_array)
        done = tuple((dataset_index, image_index) for dataset_index, image_index in content["done"])
        return cls(done, content["states"], content["seconds"])


class Journal:
    """The journal folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session = uuid.uuid4().hex
        """Prefix of all file names of this run; a process that has outlived an earlier run has another one."""

    @classmethod
    def beside(cls, out: Path) -> Journal:
        """Return the journal of a result file."""
        return cls(out.with_name(f"{out.name}.journal"))

    @property
    def exists(self) -> bool:
        """Whether a run was started and not finished."""
        return (self.folder / RUN_FILE).is_file()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Lock the folder; `SeemError` where another run holds the lock."""
        with hold_folder(self.folder):
            try:
                yield
            finally:
                if not self.exists:
                    self.remove()

    def begin(self, key: RunKey, *, overwrite: bool = False) -> None:
        """Start a run, or resume one that was started with the same key; `overwrite` replaces any other one.

        Raises `SeemError` for the journal of another run, naming the difference, and for one that cannot be read.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        json_key = json.loads(json.dumps(key))
        if self.exists:
            difference = self._difference(json_key)
            if not difference:
                return
            if not overwrite:
                raise SeemError(
                    f"{self.folder} is of {difference}; ask for the same to go on, or pass --overwrite."
                )
        self.clear()
        with atomic_write(self.folder / RUN_FILE) as aside:
            aside.write_text(json.dumps(json_key, indent=1) + "\n", encoding="utf-8")

    def _difference(self, key: RunKey) -> str:
        """Describe how the run of this journal differs from another one; "" if it does not."""
        try:
            existing = json.loads((self.folder / RUN_FILE).read_text(encoding="utf-8"))
        except ValueError as error:
            return f"an unknown run, {RUN_FILE} cannot be read ({error})"
        differing = _differing_names(existing, key)
        if not differing:
            return ""
        name = differing[0]
        then, now = existing.get(name), key.get(name)
        if isinstance(then, dict) and isinstance(now, dict):
            names = _differing_names(then, now)
            then, now = _values_of(names, then), _values_of(names, now)
        return f"a run with another {name}: {_shortened(then)} then, {_shortened(now)} now"

    def write(self, chunk: Chunk, session: str | None = None) -> None:
        """Write what was counted, by default for the session of this journal."""
        file_name = f"{session or self.session}-{uuid.uuid4().hex}.json"
        with atomic_write(self.folder / file_name) as aside:
            aside.write_text(chunk.to_json(), encoding="utf-8")

    def texts(self, session: str = "") -> dict[str, str]:
        """Return the texts of all chunks, or of those of one session, by file name."""
        texts = {}
        for file in sorted(self.folder.glob(f"{session}*.json")):
            if file.name != RUN_FILE and not file.name.startswith("."):
                texts[file.name] = file.read_text(encoding="utf-8")
        return texts

    def clear(self) -> None:
        """Delete all files but the lock."""
        for file in self.folder.glob("*.json"):
            file.unlink(missing_ok=True)
        for file in self.folder.glob(".*.part"):
            remove_part(file)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _differing_names(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    names = []
    for name in {**first, **second}:
        if first.get(name) != second.get(name):
            names.append(name)
    return names


def _values_of(names: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values.get(name) for name in names}


def read_chunks(texts: Mapping[str, str]) -> list[Chunk]:
    """Parse chunks by file name, in the order of their images; `SeemError` for a file that cannot be read."""
    chunks = starmap(_read_chunk, texts.items())
    return sorted(chunks, key=attrgetter("done"))


def _read_chunk(name: str, text: str) -> Chunk:
    try:
        return Chunk.from_json(text)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise SeemError(
            f"{name} of the journal cannot be read; remove it to count its photos again."
        ) from error


def _encode_array(value: object) -> object:
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value).tobytes()
        packed = base64.b64encode(zlib.compress(content, 1)).decode()
        return {"array": packed, "dtype": value.dtype.str, "shape": value.shape}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"A state holds {type(value).__name__}, which JSON cannot hold.")


def _decode_array(value: dict[str, Any]) -> Any:
    if value.keys() != {"array", "dtype", "shape"}:
        return value
    content = bytearray(zlib.decompress(base64.b64decode(value["array"])))
    return np.frombuffer(content, np.dtype(value["dtype"])).reshape(value["shape"])


def _shortened(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= MAX_VALUE_LENGTH:
        return text
    return f"{text[:MAX_VALUE_LENGTH]}..."
