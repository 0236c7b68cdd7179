"""What a run has done so far, beside its result file, so that a run that was killed goes on where it was.

A folder `RESULT.json.journal/`: `run.json` says which run it is, every other file holds what was counted on some
photos. Files are written aside and renamed, a few seconds of work each, and never changed: whatever kills a process,
and however many processes write, what is there is whole.
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
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from seem.checkpoints.safe import atomic_write
from seem.errors import SeemError

Key: TypeAlias = "Mapping[str, Any]"
Spot: TypeAlias = "tuple[int, int]"
"""A photo: the number of its data set, and its place there."""

RUN = "run.json"
LOCK = "in-use.lock"


@dataclass(frozen=True, slots=True)
class Chunk:
    """What was counted on some photos: states of all lines of the run, and seconds by what they went into."""

    done: tuple[Spot, ...]
    states: Sequence[Mapping[str, Any] | None]
    seconds: Mapping[str, float]

    def to_json(self) -> str:
        """Write it as text; arrays keep their type and every bit."""
        told = {"done": list(self.done), "states": list(self.states), "seconds": dict(self.seconds)}
        return json.dumps(told, default=_coded)

    @classmethod
    def from_json(cls, text: str) -> Chunk:
        """Read it back."""
        told = json.loads(text, object_hook=_decoded)
        return cls(tuple((step, place) for step, place in told["done"]), told["states"], told["seconds"])


class Journal:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session = uuid.uuid4().hex
        """Begins the names of all files of this run; a process that has outlived an earlier run writes others."""

    @classmethod
    def beside(cls, out: Path) -> Journal:
        """Return the journal of a result file."""
        return cls(out.with_name(f"{out.name}.journal"))

    @property
    def exists(self) -> bool:
        """Whether a run was begun and not finished."""
        return (self.folder / RUN).is_file()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep other runs out; the system itself lets go when a process dies.

        Raises `SeemError` where another run is at work.
        """
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise SeemError(f"Another run is at work on {self.folder}; wait for it, or pass another --out.") from None
        try:
            yield
        finally:
            lock.release()
            if not self.exists:
                self.remove()

    def begin(self, key: Key, *, overwrite: bool = False) -> None:
        """Begin, or go on with a run that was begun with the same key; `overwrite` takes the place of another one.

        Raises `SeemError` that names what differs for another run's journal, and for one that cannot be read.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        written = json.loads(json.dumps(key))
        other = self._difference(written) if self.exists else "nothing"
        if other and self.exists and not overwrite:
            raise SeemError(f"{self.folder} is of {other}; ask for the same to go on, or pass --overwrite.")
        if other:
            self.clear()
            with atomic_write(self.folder / RUN) as aside:
                aside.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")

    def _difference(self, key: Key) -> str:
        """Say in words in what the run that was begun here is another one; nothing if it is the same."""
        try:
            begun = json.loads((self.folder / RUN).read_text(encoding="utf-8"))
        except ValueError as error:
            return f"an unknown run, {RUN} cannot be read ({error})"
        first = next((name for name in {**begun, **key} if begun.get(name) != key.get(name)), None)
        if first is None:
            return ""
        then, now = begun.get(first), key.get(first)
        if isinstance(then, dict) and isinstance(now, dict):
            differing = [name for name in {**then, **now} if then.get(name) != now.get(name)]
            then, now = ({name: told.get(name) for name in differing} for told in (then, now))
        return f"a run with another {first}: {_short(then)} then, {_short(now)} now"

    def write(self, chunk: Chunk, session: str | None = None) -> None:
        """Keep what was counted."""
        with atomic_write(self.folder / f"{session or self.session}-{uuid.uuid4().hex}.json") as aside:
            aside.write_text(chunk.to_json(), encoding="utf-8")

    def texts(self, session: str = "") -> dict[str, str]:
        """Read all that is kept, or that one session has kept, by file name, as it is written."""
        files = sorted(file for file in self.folder.glob(f"{session}*.json") if file.name != RUN)
        return {file.name: file.read_text(encoding="utf-8") for file in files if not file.name.startswith(".")}

    def clear(self) -> None:
        """Forget what is kept, under the lock."""
        for file in [*self.folder.glob("*.json"), *self.folder.glob(".*.part")]:
            file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self.folder, ignore_errors=True)


def read_chunks(texts: Mapping[str, str]) -> list[Chunk]:
    """Read what was kept, in the order of its photos; `SeemError` for a file that somebody has changed."""
    return sorted((_read(name, text) for name, text in texts.items()), key=lambda chunk: chunk.done)


def _read(name: str, text: str) -> Chunk:
    try:
        return Chunk.from_json(text)
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise SeemError(f"{name} of the journal cannot be read; remove it to count its photos again.") from error


def _coded(value: object) -> object:
    if isinstance(value, np.ndarray):
        packed = base64.b64encode(zlib.compress(np.ascontiguousarray(value).tobytes(), 1)).decode()
        return {"array": packed, "dtype": value.dtype.str, "shape": value.shape}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"A state holds {type(value).__name__}, which cannot be kept.")


def _decoded(told: dict[str, Any]) -> Any:
    if told.keys() == {"array", "dtype", "shape"}:
        content = bytearray(zlib.decompress(base64.b64decode(told["array"])))
        return np.frombuffer(content, np.dtype(told["dtype"])).reshape(told["shape"])
    return told


def _short(value: object, longest: int = 80) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[:longest]}..."
