"""What prompts are given, checked and turned into plain numbers: coordinates, lists of points, widths, pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from seem.argument_types import short_value
from seem.errors import short_reason
from seem.rasterize import Coordinates

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Points: TypeAlias = (
    "Sequence[Sequence[float]] | NDArray[np.float64] | NDArray[np.float32] | NDArray[np.int64]"
)

MAX_COORDINATE = 1e9  # pixels; no image is that large, and arithmetic on coordinates stays finite
HUGE = 1e300  # whole numbers above may be no floats
MAX_POINTS = 20_000  # of one line, which are drawn in some seconds

Item = TypeVar("Item")


def check_number(value: float, what: str) -> float:
    """Return a plain, finite int or float; JSON files show a number as it was given."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise ValueError(f"The {what} is {value!r}; it must be a number.")
    number = int(value) if isinstance(value, Integral) else float(value)
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError(f"The {what} is {number}; it must be a finite number.")
    if abs(number) > MAX_COORDINATE:
        shown = f"{number:g}" if abs(number) < HUGE else f"above {HUGE:g}"
        raise ValueError(
            f"The {what} is {shown}, further away than any image reaches; check its unit (pixels)."
        )
    return number


def check_flag(value: object, what: str) -> bool:
    """Return True or False, which may also be written as 1 or 0."""
    if isinstance(value, (bool, np.bool_, Integral)) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{what} is {short_value(value)}; it must be True or False.")


def check_coordinates(value: Sequence[float], what: str) -> Coordinates:
    """Return a pair (x, y) of plain numbers."""
    try:
        x, y = value
    except (TypeError, ValueError):
        raise ValueError(f"{what} holds {value!r} where a pair (x, y) is needed.") from None
    return check_number(x, f"x of a {what.lower()}"), check_number(y, f"y of a {what.lower()}")


def check_points(points: Points, what: str) -> tuple[Coordinates, ...]:
    """Return a list of points, or an N x 2 array, as tuples of plain numbers."""
    listed = to_list(points, what)
    if len(listed) > MAX_POINTS:
        raise ValueError(
            f"A {what} of {len(listed)} points is too long, {MAX_POINTS} are the most; leave points out."
        )
    return tuple(check_coordinates(point, what.capitalize()) for point in listed)


def check_polyline(points: Points, what: str) -> tuple[Coordinates, ...]:
    """Return the points of a line, at least two, as tuples of plain numbers."""
    checked = check_points(points, what)
    if len(checked) < 2:
        raise ValueError(
            f"A {what} needs at least 2 points, got {len(checked)}; use Point for a single click."
        )
    return checked


def check_width(width: float, what: str) -> float:
    """Return the width of a line in image pixels, above 0."""
    number = float(check_number(width, f"width of a {what}"))
    if number <= 0:
        raise ValueError(f"The width of a {what} is {number:g}; it must be above 0 image pixels.")
    return number


def to_list(values: Iterable[Item], what: str) -> list[Item]:
    """Turn a list, a tuple or an N x 2 array into a list; numpy integers stay integers."""
    if isinstance(values, np.ndarray) and values.ndim:
        return cast("list[Item]", values.tolist())
    try:
        return list(values)
    except TypeError:
        raise ValueError(f"A {what} takes a list of points, got {short_value(values)}.") from None


def checked_points(points: Points) -> tuple[Coordinates, ...]:
    """Return the points of a prompt that has checked itself: tuples of plain numbers, whatever was given."""
    return cast("tuple[Coordinates, ...]", points)


def _to_array(values: Any, what: str) -> NDArray[Any]:
    """Return an array; `ValueError` for what has no plain values, such as a sparse tensor."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"The {what} must be an array, got {short_value(values)} ({short_reason(error)})."
        ) from None


def check_region(array: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return a read-only copy of an H x W mask as bool; at least one pixel is inside."""
    given = _to_array(array, "mask")
    if given.ndim == 0:
        raise ValueError(
            f"A mask is an H x W array, got {array!r}; read a file first, np.asarray(Image.open(file)) > 0."
        )
    if given.ndim != 2:
        raise ValueError(
            f"A mask is H x W, got shape {given.shape}; pass one mask or channel of it."
        )
    if given.dtype not in (np.dtype(np.bool_), np.dtype(np.uint8)):
        raise ValueError(
            f"A mask is bool or uint8, got {given.dtype}; compare it first, for example mask > 0.5."
        )
    region: NDArray[np.bool_] = np.not_equal(given, 0)
    if not region.any():
        raise ValueError(
            f"The mask of {region.shape[1]} x {region.shape[0]} pixels is empty; mark at least one pixel."
        )
    region.setflags(write=False)
    return region


def check_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a read-only copy of h x w (or 1 x h x w) mask logits, finite and somewhere above 0."""
    values = _to_array(logits, "mask logits")
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        raise ValueError(
            f"Mask logits are h x w floats of one object, got {values.dtype} of shape {values.shape}."
        )
    if not np.isfinite(values).all():
        raise ValueError("Mask logits hold NaN or infinite values; pass result.logits unchanged.")
    if not (values > 0).any():
        raise ValueError(
            "Mask logits are nowhere above 0, the mask is empty; pass a result that found something."
        )
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("Mask logits are too large for float32; pass result.logits unchanged.")
    values.setflags(write=False)
    return values
