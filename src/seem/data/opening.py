"""Data sets by a word: `open_dataset("coco:/data/coco", split="val")`.

A specification is `kind:path*weight`. Without a kind the layout tells; without a weight it is 1. Weights say how often
a set of a mixture is drawn.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seem.data.dataset import ALL_SPLIT, UNREADABLE, Dataset, LazyDataset, WeightedDataset
from seem.data.layout import Layout, holding, in_order
from seem.data.pack import Pack
from seem.data.readers.ade20k import ADE20K, ADE20K_FULL
from seem.data.readers.clicks import CLICKS
from seem.data.readers.coco import COCO, LVIS, is_pack
from seem.data.readers.folder import FOLDER
from seem.data.readers.openimages import OPENIMAGES
from seem.data.readers.refcoco import REFCOCO
from seem.data.readers.rooms import SCANNET, SUNRGBD
from seem.data.readers.shards import SHARDS
from seem.data.readers.streets import BDD100K, BDD100K_PANOPTIC, CITYSCAPES
from seem.data.readers.video import DAVIS, YOUTUBE_VOS
from seem.data.readers.voc import CONTEXT, SBD, VOC
from seem.data.readers.yolo import YOLO
from seem.data.records import DataError


def _pack_splits(path: Path) -> tuple[str, ...]:
    file = path / "annotations.json"
    if not file.is_file():
        return ()
    told = set(re.findall(rb'"split":\s*"(\w+)"', file.read_bytes()))
    return in_order({name.decode() for name in told} or {"train"})


PACK = Layout(
    "pack",
    "set of the photo pack",
    "annotations.json (with `labelled` on every photo) and images/",
    lambda path: path.is_dir() and is_pack(path),
    _pack_splits,
    lambda path, split: Pack.open(path, split),
)

LAYOUTS: tuple[Layout, ...] = (
    COCO, LVIS, REFCOCO, PACK, VOC, CONTEXT, SBD, CLICKS, *DAVIS, YOUTUBE_VOS, ADE20K, ADE20K_FULL, CITYSCAPES,
    BDD100K, BDD100K_PANOPTIC, SUNRGBD, *SCANNET, OPENIMAGES, YOLO, SHARDS, FOLDER,
)  # fmt: skip
"""Every format, by the word that a specification begins with."""

_SPEC = re.compile(r"(?:(?P<kind>[A-Za-z_][\w+-]+):)?(?P<path>.*?)(?:\*(?P<weight>[^*/\\]*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A specification in its parts; `kind` is None where the layout is to tell."""

    kind: str | None
    path: Path
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> DatasetSpec:
        """Read `kind:path*weight`.

        Raises:
            ValueError: the kind is unknown, the path empty, the weight not a positive number.
        """
        match = _SPEC.fullmatch(text.strip())
        assert match is not None  # everything fits: all parts but the path may be missing, and it may be anything
        kind, path, weight = match["kind"], match["path"], match["weight"]
        kinds = [layout.kind for layout in LAYOUTS]
        if kind is not None and kind not in kinds:
            near = difflib.get_close_matches(kind, kinds, 1)
            hint = f"did you mean {near[0]}:{path}?" if near else f"there are {', '.join(kinds)}."
            raise DataError(f"There is no format {kind!r} (in {text!r}); {hint}")
        if not path:
            raise DataError(f"{text!r} names no path; write kind:path, such as coco:/data/coco.")
        return cls(kind, Path(path).expanduser(), 1.0 if weight is None else _weight(weight, text))

    def layout(self) -> Layout:
        """Return the format that is meant, or that the place looks like; `DataError` if that is none or several."""
        if not self.path.exists():
            raise DataError(f"There is no data set at {self.path}; check the path.")
        if self.kind is not None:
            return next(layout for layout in LAYOUTS if layout.kind == self.kind)
        return recognise(self.path)


def open_dataset(spec: str | DatasetSpec, split: str = "val", *, tolerant: bool = False) -> Dataset:
    """Open one part of a data set.

    Args:
        spec: `kind:path`, or a path whose layout tells what it is. A weight is read by `open_mixture`.
        split: train, val, test, or what the set itself calls its parts. A set that is not divided has one part, which
            any of these names opens; its `split` is then `ALL`.
        tolerant: leave out annotations that cannot be read instead of raising when they are asked for.

    Raises:
        DataError: there is nothing there, it is laid out otherwise, or it has no such part; the message says what was
            looked for and what to do.
    """
    asked = DatasetSpec.parse(spec) if isinstance(spec, str) else spec
    layout = asked.layout()
    try:
        own = layout.resolve_split(asked.path, split)
        dataset = layout.read(asked.path, own)
    except DataError:
        raise
    except UNREADABLE as error:
        told = f"{type(error).__name__} {error}"
        raise DataError(f"{asked.path} cannot be read as {layout.title}: {told}; is it {layout.expects}?") from error
    if not isinstance(dataset, LazyDataset):
        return dataset
    if not dataset.images and not dataset.flaws:
        raise DataError(f"{asked.path} has no photo in its part {own!r}; it holds {holding(asked.path)}.")
    return dataset.lenient() if tolerant else dataset.sound()


def open_mixture(specs: Iterable[str], split: str = "train") -> list[WeightedDataset]:
    """Open the same part of several data sets, with their weights."""
    asked = [DatasetSpec.parse(spec) for spec in specs]
    return [WeightedDataset(open_dataset(spec, split), spec.weight) for spec in asked]


def list_splits(spec: str | DatasetSpec) -> tuple[str, ...]:
    """Name the parts of a data set; (`ALL`,) if it is not divided."""
    asked = DatasetSpec.parse(spec) if isinstance(spec, str) else spec
    return asked.layout().splits(asked.path) or (ALL_SPLIT,)


TRACES = (("data.yaml", "yolo"), ("labels", "yolo"), ("annotations", "coco"), ("images", "folder"))
"""What tells which data set was meant where one is not whole; its reader says what is missing."""


def recognise(path: Path) -> Layout:
    """Tell the format of a place by what lies there.

    Raises:
        DataError: it looks like none, not even in part, or like several.
    """
    found = [layout for layout in LAYOUTS if layout.fits(path)]
    if len(found) > 1:  # a plain folder is what the others are as well
        found = [layout for layout in found if layout is not FOLDER]
    if len(found) == 1:
        return found[0]
    if found:
        ways = " or ".join(f"{layout.kind}:{path}" for layout in found)
        raise DataError(f"{path} can be read in several ways: {_listed(found)}; write {ways}.")
    inner = _inside(path)
    hint = f"; {inner.name}/ in it is {recognise(inner).title}: give {inner}" if inner else ""
    likely = next((kind for name, kind in TRACES if (path / name).exists()), None)
    if likely and not inner:
        return next(layout for layout in LAYOUTS if layout.kind == likely)
    raise DataError(
        f"{path} is no data set in a format that is known: it holds {holding(path)}{hint}. Known are "
        + "; ".join(f"{layout.kind} ({layout.expects})" for layout in LAYOUTS)
        + ". Write kind:path to be told what is missing."
    )


def _inside(path: Path) -> Path | None:
    """Find a data set one folder further down, if there is just one."""
    if not path.is_dir():
        return None
    folders: Sequence[Path] = [
        each for each in sorted(path.iterdir()) if each.is_dir() and not each.name.startswith(".")
    ]
    found = [each for each in folders[:50] if sum(layout.fits(each) for layout in LAYOUTS if layout is not FOLDER) == 1]
    return found[0] if len(found) == 1 else None


def _listed(layouts: Sequence[Layout]) -> str:
    return ", ".join(layout.title for layout in layouts)


def _weight(text: str, spec: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise DataError(f"The weight of {spec!r} is {text!r}; write a positive number, such as *2 or *0.5.")
    return weight
