"""Images that are read window by window, so that one of 20,000 x 20,000 pixels is never in memory as a whole.

Read so are `.npy` files, arrays that are mapped from files, and, with the extra `geo`, TIFF files and what else GDAL
reads. Other images are decoded once and held as 8-bit RGB, three bytes a pixel. What is not 8-bit RGB is converted by
the rules of `seem.images`; what they need to know of the whole image is read in one pass before.

Of a file of several bands, those that are tagged red, green and blue are read, or else the first three.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.adapters.raster import GeoReference, Raster, has_rasterio
from seem.argument_types import is_tensor
from seem.errors import SeemError, UnusableFileError, short_reason
from seem.images import (
    MIN_GRADED_SHARE,
    TIFF_SIGNATURES,
    USE_FORMATS,
    WHITE_LEVEL,
    BrightnessScale,
    ImageLike,
    check_array_layout,
    finite_extremes,
    read_image,
    tiff_orientation,
)
from seem.rasterize import PixelBox
from seem.regular_file import check_regular_file

DEFAULT_TILE = 1024  # pixels of a side
OVERLAP_SHARE = 8  # neighbouring tiles share this part of a side
MIN_TILE = 64  # pixels
ANY_SIZE = 1 << 62  # pixels
STRIP_PIXELS = (
    4_000_000  # that are read at once where a window is reduced, or a whole image looked through
)
ARRAY_SUFFIX = ".npy"


@dataclass(frozen=True, slots=True)
class Tiling:
    """How an image is cut: sides of its tiles in pixels, what neighbours share, and the network's short side."""

    side: int
    overlap: int
    size: int | None = None

    @classmethod
    def of(cls, side: int, overlap: int | None, size: int | None) -> Tiling:
        """Check the sizes; `ValueError` for those that cannot be."""
        if side < MIN_TILE:
            raise ValueError(f"tile is {side}; a tile has a side of {MIN_TILE} pixels or more.")
        shared = side // OVERLAP_SHARE if overlap is None else overlap
        if not 0 < shared <= side // 2:
            raise ValueError(
                f"overlap is {shared}; neighbouring tiles of {side} pixels share from 1 to {side // 2}."
            )
        return cls(side, shared, size)


@runtime_checkable
class WindowedImage(Protocol):
    """An upright RGB image of H x W pixels that is read window by window. Safe to use from several threads."""

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width."""
        ...

    @property
    def name(self) -> str | None:
        """Its file name, None where there is none."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know about how it was converted."""
        ...

    @property
    def georeference(self) -> GeoReference | None:
        """Where on the earth it lies; None where that is unknown."""
        ...

    def read(self, box: PixelBox) -> NDArray[np.uint8]:
        """Read a window: height x width x 3. Raises `SeemError` for damaged pixels."""
        ...


def open_windowed(image: ImageLike, bands: Sequence[int] | None = None) -> WindowedImage:
    """Open an image of any size.

    Args:
        image: what `seem.images.read_image` takes, and the path of a `.npy` file of an H x W x 3 uint8 array.
        bands: the three bands of a file, counted from 1, that are red, green and blue; one band is grey. Needs the
            extra `geo`.

    Raises `ValueError` for what is no image, and for bands that it does not have; `SeemError` for a file that cannot be
    read.
    """
    if not isinstance(image, (str, os.PathLike)):
        if bands is not None:
            raise ValueError(
                f"bands {_joined(bands)} are those of a file, and this is {type(image).__name__}; leave them out."
            )
        return _open_in_memory(image)
    path = Path(image)
    if path.suffix.lower() == ARRAY_SUFFIX and path.is_file():
        if bands is not None:
            raise ValueError(f"{path} is an array of red, green and blue; leave bands out.")
        return ArrayFile(path)
    if bands is not None:
        return RasterImage.open(path, checked_bands(bands))
    return _open_file(path, image)


def _open_in_memory(image: ImageLike) -> WindowedImage:
    if is_tensor(image):
        check_array_layout(
            "tensor", "3 x H x W", tuple(image.shape), str(image.dtype).removeprefix("torch."), 0
        )
        return ArrayImage(image.permute(1, 2, 0).cpu().numpy())
    if isinstance(image, np.ndarray):
        check_array_layout("array", "H x W x 3", image.shape, str(image.dtype), 2)
        return ArrayImage(image)
    return _decoded(image)


def _open_file(path: Path, image: ImageLike) -> WindowedImage:
    """Open a file with GDAL if it is a TIFF file that GDAL shows as Pillow does, or too large for Pillow."""
    if has_rasterio() and _is_tiff(path):
        raster = Raster(path)
        if tiff_orientation(path) == 1 and _has_plain_colours(raster):
            return RasterImage.of(raster, None)
    try:
        return _decoded(image)
    except UnusableFileError:
        if not has_rasterio() or not path.is_file():
            raise
        return RasterImage.of(Raster(path), None)


def _decoded(image: ImageLike) -> WindowedImage:
    source = read_image(image, ANY_SIZE)
    return ArrayImage(np.asarray(source.rgb), source.name, source.notes, source.orientation)


def _is_tiff(path: Path) -> bool:
    if not path.is_file():
        return False
    check_regular_file(path)
    try:
        with path.open("rb") as file:
            return file.read(4) in TIFF_SIGNATURES
    except OSError:  # reported where it is opened
        return False


def _has_plain_colours(raster: Raster) -> bool:
    """Whether the values of bands are brightness, which CMYK, YCbCr and one bit a pixel are not."""
    others = set(raster.colours) - {"gray", "red", "green", "blue", "alpha", "undefined", "palette"}
    is_inverted = raster.structure.get("MINISWHITE") == "YES"
    return not others and not is_inverted and raster.structure.get("NBITS") is None


# --- In memory --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ArrayImage:
    """An array (H x W x 3 uint8), in memory or mapped from a file."""

    pixels: NDArray[np.uint8]
    name: str | None = None
    notes: tuple[str, ...] = ()
    orientation: int = 1

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def georeference(self) -> None:
        """Arrays do not say where they lie."""
        return None

    def read(self, box: PixelBox) -> NDArray[np.uint8]:
        """Copy a window."""
        x0, y0, x1, y1 = box
        return np.array(self.pixels[y0:y1, x0:x1])


@dataclass(frozen=True, slots=True, eq=False)
class ArrayFile:
    """A `.npy` file of an H x W x 3 uint8 array. Only the window that is read is mapped."""

    path: Path
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels = self._mapped()
        check_array_layout(f"file ({self.path})", "H x W x 3", pixels.shape, str(pixels.dtype), 2)

    @property
    def name(self) -> str:
        """The file name."""
        return self.path.name

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width."""
        pixels = self._mapped()
        return pixels.shape[0], pixels.shape[1]

    @property
    def georeference(self) -> None:
        """Arrays do not say where they lie."""
        return None

    def read(self, box: PixelBox) -> NDArray[np.uint8]:
        """Read a window; raises `SeemError` for a file that is no longer what it was."""
        x0, y0, x1, y1 = box
        return np.array(self._mapped()[y0:y1, x0:x1])

    def _mapped(self) -> NDArray[Any]:
        try:
            pixels: NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise SeemError(
                f"{self.path} cannot be read as an array ({short_reason(error)}); write it with numpy.save."
            ) from None
        return pixels


# --- Files that GDAL reads --------------------------------------------------------------------------------------------


def checked_bands(bands: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of bands; `ValueError` unless there are one or three, from 1 on."""
    numbers = tuple(bands)
    if len(numbers) not in (1, 3) or min(numbers) < 1:
        raise ValueError(
            f"bands are {_joined(numbers)}; give three numbers from 1 on, for red, green and blue, or one for grey."
        )
    return numbers


@dataclass(frozen=True, slots=True, eq=False)
class RasterImage:
    """A file that GDAL reads, and how its bands become RGB. Where there is no data it is black.

    `bands` are one (grey) or three; `alpha` is a band that says where the image is transparent. `scale` converts values
    that have more than 8 bits.
    """

    raster: Raster
    bands: tuple[int, ...]
    alpha: int | None = None
    scale: BrightnessScale | None = None
    palette: NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: Path, bands: Sequence[int] | None) -> RasterImage:
        """Open a file; raises as `open_windowed` does."""
        if not path.exists():
            raise SeemError(f"There is no photo at {path}; check the path.")
        check_regular_file(path)
        return cls.of(Raster(path), bands)

    @classmethod
    def of(cls, raster: Raster, bands: Sequence[int] | None) -> RasterImage:
        """Decide how the bands of an open file become RGB; looks through all its pixels where that depends on them."""
        if raster.dtype.kind not in "uif" or not raster.has_one_dtype or 0 in raster.hw:
            raise SeemError(
                f"{raster.path} holds {raster.num_bands} bands of {raster.dtype}, which is no picture; {USE_FORMATS}."
            )
        chosen, alpha, notes = choose_bands(raster, bands)
        image = cls(raster, chosen, alpha, None, None, notes)
        if bands is None and raster.palette is not None:
            return replace(image, palette=raster.palette)
        return image._with_statistics()

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.raster.hw

    @property
    def name(self) -> str:
        """The file name."""
        return self.raster.path.name

    @property
    def georeference(self) -> GeoReference | None:
        """Where on the earth the image lies; None where the file does not say so."""
        return self.raster.georeference

    def read(self, box: PixelBox) -> NDArray[np.uint8]:
        """Read a window; raises `SeemError` for damaged pixels."""
        values = self.raster.read(self.bands, box)
        if self.palette is not None:
            return np.asarray(self.palette[values[0]])
        return self._on_white(self._to_eight_bits(values), box)

    def _to_eight_bits(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Convert (bands, height, width) to height x width x 3."""
        pixels = values
        if self.scale is not None:
            has_data = self._has_data(values)
            pixels = self.scale.apply(np.where(has_data, values, np.zeros_like(values)))
            pixels[~has_data] = 0
        if len(pixels) == 1:
            pixels = np.repeat(pixels, 3, axis=0)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))

    def _on_white(self, pixels: NDArray[np.uint8], box: PixelBox) -> NDArray[np.uint8]:
        """Let white show where the image is transparent."""
        if self.alpha is None:
            return pixels
        opacity = Image.fromarray(self._opacity(box))
        white = Image.new("RGB", opacity.size, "white")
        return np.asarray(Image.composite(Image.fromarray(pixels), white, opacity))

    def _opacity(self, box: PixelBox) -> NDArray[np.uint8]:
        assert self.alpha is not None
        alpha = self.raster.read([self.alpha], box)[0]
        if alpha.dtype == np.uint8:
            return np.asarray(alpha)
        full = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
        return np.asarray(np.rint(np.clip(alpha / full, 0, 1) * WHITE_LEVEL).astype(np.uint8))

    def _has_data(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        nodata = self.raster.nodata
        if nodata is None or np.isnan(nodata):
            return np.asarray(np.isfinite(values))
        return np.asarray(np.isfinite(values) & (values != nodata))

    def _with_statistics(self) -> RasterImage:
        """Look through the pixels for the range of deep values, and for an alpha band that is none."""
        is_deep = self.raster.dtype != np.uint8
        if not is_deep and self.alpha is None:
            return self
        extremes: list[float] = []
        num_graded, is_seen = 0, False
        for box in strips(self.hw):
            if is_deep:
                values = self.raster.read(self.bands, box)
                known = values[self._has_data(values)]
                if known.size:
                    extremes += finite_extremes(known)
            if self.alpha is not None:
                opacity = self._opacity(box)
                num_graded += np.count_nonzero((opacity > 0) & (opacity < WHITE_LEVEL))
                is_seen |= bool(opacity.any())
        image = self
        if is_deep:
            scale = BrightnessScale.of(
                self.raster.dtype, min(extremes, default=0.0), max(extremes, default=0.0)
            )
            note = f"more than 8 bits of colour: {scale.rule}"
            image = replace(image, scale=scale, notes=(*image.notes, note))
        if self.alpha is not None:
            graded_share = num_graded / (self.hw[0] * self.hw[1])
            note = ""
            if not is_seen:
                note = "transparent everywhere: its colours are read as if they were opaque"
            elif graded_share > MIN_GRADED_SHARE:
                note = f"band {self.alpha}, tagged as alpha, varies like a picture: it is left out"
            if note:
                image = replace(image, alpha=None, notes=(*image.notes, note))
        return image


def choose_bands(
    raster: Raster, bands: Sequence[int] | None
) -> tuple[tuple[int, ...], int | None, tuple[str, ...]]:
    """Return the bands that are red, green and blue, or grey, the alpha band if there is one, and notes."""
    if bands is not None:
        if max(bands) > raster.num_bands:
            raise ValueError(
                f"bands are {_joined(bands)}, and {raster.path} has {raster.num_bands}; give numbers from 1 to "
                f"{raster.num_bands}."
            )
        return tuple(bands), None, ()
    number_of = {colour: number for number, colour in reversed([*enumerate(raster.colours, 1)])}
    alpha = number_of.get("alpha")
    if {"red", "green", "blue"} <= number_of.keys():
        return (number_of["red"], number_of["green"], number_of["blue"]), alpha, ()
    num_colours = raster.num_bands - (alpha is not None)
    if num_colours < 3:
        return (1,), alpha, ()
    note = (
        f"{raster.num_bands} bands that are not tagged as colours: 1, 2 and 3 are read as red, green and blue "
        "(bands chooses others)"
    )
    return (1, 2, 3), alpha, (note,)


# --- Windows ----------------------------------------------------------------------------------------------------------


def strips(hw: tuple[int, int], multiple: int = 1) -> Iterator[PixelBox]:
    """Cut an image into boxes of full width, each about `STRIP_PIXELS` large; heights are multiples of `multiple`."""
    height, width = hw
    rows = max(STRIP_PIXELS // width // multiple, 1) * multiple
    for y0 in range(0, height, rows):
        yield 0, y0, width, min(y0 + rows, height)


def read_reduced(image: WindowedImage, box: PixelBox, factor: int) -> Image.Image:
    """Read a window with `factor` x `factor` pixels averaged into one; never more than a strip is in memory."""
    x0, y0, x1, y1 = box
    if factor == 1:
        return Image.fromarray(image.read(box))
    width, height = -(-(x1 - x0) // factor), -(-(y1 - y0) // factor)
    reduced = Image.new("RGB", (width, height))
    for _, top, _, bottom in strips((y1 - y0, x1 - x0), factor):
        strip = Image.fromarray(image.read((x0, y0 + top, x1, y0 + bottom)))
        reduced.paste(strip.reduce(factor), (0, top // factor))
    return reduced


def thumbnail(image: WindowedImage, longest_side: int) -> tuple[Image.Image, int]:
    """Read an image reduced by a whole factor so that no side is longer than `longest_side`; returns the factor too."""
    height, width = image.hw
    factor = max(1, -(-max(height, width) // longest_side))
    return read_reduced(image, (0, 0, width, height), factor), factor


def _joined(bands: Sequence[object]) -> str:
    return ",".join(map(str, bands))
