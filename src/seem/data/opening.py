"""Data sets by a word: `open_dataset("coco:/data/coco", split="val")`.

A specification is `kind:path,frame=stored*weight`. Without a kind the layout tells. A frame, shown or stored, says what
the annotations of images with an EXIF orientation were drawn on, where the rule of `seem.data.frames` does not fit a
set. Without a weight it is 1; weights say how often images of a set are sampled from a mixture.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from seem.data.archives import is_archive, is_other_archive, unpacked_folder
from seem.data.dataset import ALL_SPLIT, Dataset, WeightedDataset
from seem.data.frames import AnnotationFrame
from seem.data.joined_parts import join_parts
from seem.data.layout import Layout, describe_contents
from seem.data.layouts import find_inner_root, layout_kinds, layout_of_kind, recognize_layout
from seem.data.lazy_dataset import READ_ERRORS, LazyDataset
from seem.data.records import DataError, DatasetRequestError
from seem.regular_file import special_kind

_SPEC_PATTERN = re.compile(
    r"(?:(?P<kind>[A-Za-z_][\w+-]+):)?"
    r"(?P<path>.*?)"
    r"(?:,frame=(?P<frame>[^*/\\]*))?"
    r"(?:\*(?P<weight>[^*/\\]*))?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A specification in its parts; `kind` is None where the layout is to tell, `frame` where sizes are to."""

    kind: str | None
    path: Path
    weight: float = 1.0
    frame: AnnotationFrame | None = None

    @classmethod
    def parse(cls, text: str) -> DatasetSpec:
        """Read `kind:path,frame=stored*weight`.

        Raises:
            ValueError: the kind or the frame is unknown, the path empty, the weight not a positive number.
        """
        match = _SPEC_PATTERN.fullmatch(text.strip())
        # everything fits: all parts but the path may be missing, and it may be anything
        assert match is not None
        kind, path, weight = match["kind"], match["path"], match["weight"]
        if kind is not None:
            _check_kind(kind, path, text)
        if not path:
            raise DatasetRequestError(
                f"{text!r} names no path; write kind:path, such as coco:/data/coco."
            )
        frame = _parse_frame(match["frame"], text)
        return cls(kind, Path(path).expanduser(), _parse_weight(weight, text), frame)

    @property
    def root(self) -> Path:
        """Where the data set lies: the path, or the temporary folder that a zip file is unpacked into.

        Raises:
            DataError: there is nothing at the path, or an archive that cannot be unpacked.
        """
        if not self.path.exists():
            raise DataError(f"There is no data set at {self.path}; check the path.")
        kind = special_kind(self.path)
        if kind is not None:
            raise DataError(f"{self.path} is {kind}, no data set; give a folder or a file.")
        if is_other_archive(self.path) and not self.path.name.endswith(".tar"):
            raise DataError(f"{self.path} is packed; unpack it and give the folder (zip is read).")
        if is_archive(self.path):
            return find_inner_root(unpacked_folder(self.path))
        return self.path

    def layout(self) -> Layout:
        """Return the format that is named, or that the path looks like; `DataError` if that is none or several."""
        root = self.root
        if self.kind is not None:
            return layout_of_kind(self.kind)
        return recognize_layout(root)


def open_dataset(spec: str | DatasetSpec, split: str = "val", *, tolerant: bool = False) -> Dataset:
    """Open one part of a data set.

    Args:
        spec: `kind:path`, or a path whose layout tells what it is. A weight is read by `open_mixture`.
        split: train, val, test, or what the set itself calls its parts; "all" opens all of them as one. A set that is
            not divided has one part, which any of these names opens; its `split` is then `ALL_SPLIT`.
        tolerant: leave out annotations that cannot be read instead of raising when they are asked for.

    Raises:
        DataError: there is nothing there, it is laid out otherwise, or it has no such part; the message says what was
            looked for and what to do.
    """
    parsed = _as_spec(spec)
    path, root, layout = parsed.path, parsed.root, parsed.layout()
    try:
        dataset = _read_split(layout, root, split, parsed.frame)
    except DataError:
        raise
    except READ_ERRORS as error:
        reason = f"{type(error).__name__} {error}"
        raise DataError(
            f"{path} cannot be read as {layout.title}: {reason}; is it {layout.expects}?"
        ) from error
    if not isinstance(dataset, LazyDataset):
        return dataset
    if not dataset.images and not dataset.flaws:
        reasons = "; ".join(map(str, dataset.notes)) or f"it holds {describe_contents(root)}"
        raise DataError(f"{path} has no photo in its part {dataset.split!r}; {reasons}.")
    if root != path:
        dataset = replace(dataset, path=path)
    if tolerant:
        return dataset.as_tolerant()
    return dataset.checked()


def _read_split(layout: Layout, path: Path, split: str, frame: AnnotationFrame | None) -> Dataset:
    """Open one part, or all parts as one."""
    present = layout.splits(path)
    own_split = layout.resolve_split(path, split)
    if own_split != ALL_SPLIT or own_split in present or not present or layout.reads_all:
        return _read_in_frame(layout, path, own_split, frame)
    parts = [_read_in_frame(layout, path, name, frame) for name in present]
    return join_parts([part for part in parts if isinstance(part, LazyDataset)])


def _read_in_frame(
    layout: Layout, path: Path, split: str, frame: AnnotationFrame | None
) -> Dataset:
    """Open one part, with its annotations in a frame if one is given."""
    dataset = layout.read(path, split)
    if frame is None:
        return dataset
    if not isinstance(dataset, LazyDataset):
        raise DatasetRequestError(f"{layout.title} has one frame; leave ,frame={frame.value} out.")
    return dataset.in_frame(frame)


def open_mixture(specs: Iterable[str], split: str = "train") -> list[WeightedDataset]:
    """Open the same part of several data sets, with their weights."""
    parsed = [DatasetSpec.parse(spec) for spec in specs]
    return [WeightedDataset(open_dataset(spec, split), spec.weight) for spec in parsed]


def list_splits(spec: str | DatasetSpec) -> tuple[str, ...]:
    """Name the parts of a data set; (`ALL_SPLIT`,) if it is not divided."""
    parsed = _as_spec(spec)
    return parsed.layout().splits(parsed.root) or (ALL_SPLIT,)


def _as_spec(spec: str | DatasetSpec) -> DatasetSpec:
    if isinstance(spec, str):
        return DatasetSpec.parse(spec)
    return spec


def _check_kind(kind: str, path: str, text: str) -> None:
    kinds = layout_kinds()
    if kind in kinds:
        return
    hint = f"there are {', '.join(kinds)}."
    near = difflib.get_close_matches(kind, kinds, 1)
    if near:
        hint = f"did you mean {near[0]}:{path}?"
    raise DatasetRequestError(f"There is no format {kind!r} (in {text!r}); {hint}")


def _parse_frame(text: str | None, spec: str) -> AnnotationFrame | None:
    """Read a frame, None where none is written; `DatasetRequestError` if there is none of that name."""
    if text is None:
        return None
    try:
        return AnnotationFrame(text.strip())
    except ValueError:
        raise DatasetRequestError(
            f"The frame of {spec!r} is {text!r}; write frame=shown, or frame=stored if EXIF orientations are ignored."
        ) from None


def _parse_weight(text: str | None, spec: str) -> float:
    """Read a weight, 1 where none is written; `DatasetRequestError` if it is no positive number."""
    if text is None:
        return 1.0
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise DatasetRequestError(
            f"The weight of {spec!r} is {text!r}; write a positive number, such as *2 or *0.5."
        )
    return weight
