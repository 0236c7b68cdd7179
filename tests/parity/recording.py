"""A folder of recordings of the official network, and one recorded case of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seem.models.text.tokenizer import BytePairTokenizer

SUFFIX = re.compile(r"_(c|q|s|stride)(\d+)")


@dataclass(frozen=True)
class Folder:
    """Recordings laid out as the shared parity folder is."""

    root: Path

    @property
    def index(self) -> Path:
        """The list of what there is."""
        return self.root / "fixtures" / "index.json"

    @cached_property
    def cases(self) -> tuple[str, ...]:
        """Names of all cases that the folder's index lists, in its order."""
        return tuple(json.loads(self.index.read_text(encoding="utf-8")))

    @cached_property
    def tokenizer(self) -> BytePairTokenizer:
        """CLIP's vocabulary, which lies beside the recordings."""
        return BytePairTokenizer.clip(self.root / "text" / "bpe_simple_vocab_16e6.txt.gz")

    def open(self, case: str) -> Recording:
        """Read a case: `<model>/<what>`, or a name alone where no network takes part."""
        return read(self.root / "fixtures" / f"{case}.npz")


@dataclass
class Recording:
    """The arrays of one case. It remembers which ones were looked at, so that none goes unproven."""

    arrays: dict[str, np.ndarray]
    compared: set[str] = field(default_factory=set)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def names(self, pattern: str) -> list[str]:
        """List the arrays whose whole name fits a regular expression."""
        return [name for name in self.arrays if re.fullmatch(pattern, name)]

    def array(self, name: str) -> np.ndarray:
        """Read an array as it is."""
        self.compared.add(name)
        return self.arrays[name]

    def tensor(self, name: str) -> Tensor:
        """Read an array as a tensor; small integers of any width become int64."""
        array = torch.from_numpy(self.array(name))
        return array.long() if array.dtype in (torch.int32, torch.int16) else array

    def unpacked(self, name: str, width: int) -> Tensor:
        """Read a boolean mask that is packed along its width."""
        return torch.from_numpy(np.unpackbits(self.array(name), axis=-1)[..., :width].astype(bool))

    def photo(self, name: str = "image") -> np.ndarray:
        """Read a photo (uint8, H x W x 3); large ones are stored small, every pixel to be repeated both ways."""
        if name == "image" and "image_small" in self:
            times = int(self.array("image_repeat"))
            return self.array("image_small").repeat(times, axis=0).repeat(times, axis=1)
        return self.array(name)

    def texts(self, name: str = "texts") -> list[str]:
        """Read phrases: a JSON array in one string."""
        return list(json.loads(str(self.array(name))))

    def hw(self, name: str) -> tuple[int, int]:
        """Read a height and a width."""
        height, width = self.array(name).tolist()
        return int(height), int(width)

    def unseen(self) -> list[str]:
        """List the arrays that nothing was compared with and nothing was computed from."""
        return [name for name in self.arrays if name not in self.compared]


def read(path: Path) -> Recording:
    """Read a case from its file, whole: a broken file is found now."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Recording({name: arrays[name] for name in arrays.files})


def sliced(name: str, ours: Tensor) -> Tensor:
    """Slice a tensor as the endings of the array's name say, e.g. `masks_q8_s2`.

    `c` and `q` keep every n-th channel or query (second dimension), `s` and `stride` every n-th row and column.
    """
    for what, number in SUFFIX.findall(name):
        step = int(number)
        ours = ours[:, ::step] if what in "cq" else ours[..., ::step, ::step]
    return ours
