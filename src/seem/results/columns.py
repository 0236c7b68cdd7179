"""The columns of a result, checked: the image, scores, ids and the rows that an index selects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.large_images import WindowedImage
from seem.rasterize import PixelBox

ResultImage: TypeAlias = "Image.Image | NDArray[np.uint8] | WindowedImage"
Rows: TypeAlias = "slice | Sequence[bool] | Sequence[int] | NDArray[np.bool_] | NDArray[np.int64]"

SCORE_TOLERANCE = 1e-4  # means of float32 numbers may overshoot 1

Column = TypeVar("Column", NDArray[np.float32], NDArray[np.int64])
Value = TypeVar("Value")


def size_of(image: ResultImage) -> tuple[int, int]:
    """Return height and width of an image; `ValueError` for an array that is not H x W x 3 uint8."""
    if isinstance(image, Image.Image):
        return image.height, image.width
    if isinstance(image, WindowedImage):
        return image.hw
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"An image is H x W x 3 uint8 or a PIL image, got {image.dtype} of {image.shape}."
        )
    return image.shape[0], image.shape[1]


def rgb_pixels(image: ResultImage) -> NDArray[np.uint8]:
    """Return the image as H x W x 3 uint8."""
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if isinstance(image, WindowedImage):
        height, width = image.hw
        return image.read((0, 0, width, height))
    return image


def rgb_crop(image: ResultImage, box: PixelBox) -> NDArray[np.uint8]:
    """Return a box of the image as height x width x 3 uint8."""
    if isinstance(image, WindowedImage):
        return image.read(box)
    x0, y0, x1, y1 = box
    if isinstance(image, Image.Image):
        return np.asarray(image.crop(box).convert("RGB"))
    return image[y0:y1, x0:x1]


def check_score_column(scores: Sequence[float] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a read-only column of scores in 0-1."""
    values = np.array(scores, dtype=np.float32).reshape(-1)
    in_range = (values >= -SCORE_TOLERANCE) & (values <= 1 + SCORE_TOLERANCE)
    if not in_range.all():
        raise ValueError(f"Scores are between 0 and 1, got {values.tolist()}.")
    return read_only(values.clip(0, 1))


def check_id_column(ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a read-only column of ids, positive and all different."""
    values = np.array(ids, dtype=np.int64).reshape(-1)
    if (values < 1).any() or len(np.unique(values)) != len(values):
        raise ValueError(f"Ids are positive and all different, got {values.tolist()}.")
    return read_only(values)


def read_only(column: Column) -> Column:
    """Return a view that cannot be written to: results are immutable."""
    view: Column = column.view()
    view.setflags(write=False)
    return view


def take_column(column: Column | None, rows: list[int]) -> Column | None:
    """Return the values of some rows, read-only; None for a column that a result does not have."""
    if column is None:
        return None
    return read_only(column[rows])


def take_values(values: Sequence[Value], rows: Sequence[int]) -> tuple[Value, ...]:
    """Return the values of some rows."""
    return tuple(values[row] for row in rows)


def selected_rows(index: Rows, count: int) -> list[int]:
    """Return the row numbers that a slice, a list of numbers or `count` booleans select."""
    if isinstance(index, slice):
        return list(range(count))[index]
    selected = np.asarray(index)
    if selected.dtype == np.bool_:
        if selected.shape != (count,):
            raise IndexError(
                f"{selected.shape} booleans cannot choose among {count} objects; give one for each."
            )
        return cast("list[int]", np.flatnonzero(selected).tolist())
    is_row_list = selected.ndim == 1 and np.issubdtype(selected.dtype, np.integer)
    if selected.size and not is_row_list:
        raise TypeError(f"Results are indexed by numbers, a slice or booleans, not by {index!r}.")
    return [selected_row(row, count) for row in selected.tolist()]


def selected_row(row: int, count: int) -> int:
    """Return a row number, which may count from the end; `IndexError` if there is none."""
    if not -count <= row < count:
        raise IndexError(f"There is no object {row}; the result has {count}, counted from 0.")
    return row % count
