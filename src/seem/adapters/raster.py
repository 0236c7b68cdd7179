"""GeoTIFF and what else GDAL reads, window by window: rasterio."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seem.errors import SeemError, short_reason
from seem.rasterize import PixelBox

CACHE_MEGABYTES = 128  # of decoded blocks; GDAL itself takes a twentieth of the machine's memory
BLOCK_SIDE = 512  # pixels of a block of a file that is written


@dataclass(frozen=True, slots=True)
class GeoReference:
    """Where an image lies: a coordinate reference system (WKT, None where it has none), and the way into it.

    `transform` is (a, b, c, d, e, f): x = a column + b row + c, y = d column + e row + f.
    """

    crs: str | None
    transform: tuple[float, float, float, float, float, float]

    @property
    def authority_code(self) -> str | None:
        """The short name of the reference system, such as "EPSG:32633"; None where it has none."""
        if self.crs is None:
            return None
        authority = imported_rasterio().crs.CRS.from_wkt(self.crs).to_authority()
        return None if authority is None else ":".join(authority)


def has_rasterio() -> bool:
    """Whether rasterio can be imported."""
    from importlib.util import find_spec

    try:
        return find_spec("rasterio") is not None
    except (ImportError, ValueError):  # somebody forbids it
        return False


def imported_rasterio() -> Any:
    """Import rasterio; `SeemError` where it is not installed."""
    try:
        import rasterio
        import rasterio.crs
        import rasterio.features
        import rasterio.windows
    except ImportError as error:
        raise SeemError(f'rasterio is not installed ({error}); pip install "seem[geo]".') from None
    return rasterio


class Raster:
    """An open file of any number of bands. Safe to use from several threads, which take turns."""

    def __init__(self, path: Path) -> None:
        """Open a file; `SeemError` where GDAL cannot read it, or rasterio is not installed."""
        rasterio = imported_rasterio()
        self.path = path
        self._lock = threading.Lock()
        self._rasterio = rasterio
        try:
            with self._settings(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it has no reference system is no reason
                self._dataset = rasterio.open(path)
        except rasterio.errors.RasterioError as error:
            raise SeemError(
                f"{path} cannot be read as a picture ({short_reason(error)}); fetch it again."
            ) from None
        self.hw = (int(self._dataset.height), int(self._dataset.width))
        self.dtype = np.dtype(self._dataset.dtypes[0])
        self.has_one_dtype = len(set(self._dataset.dtypes)) == 1
        self.num_bands = int(self._dataset.count)
        self.colours = tuple(tag.name for tag in self._dataset.colorinterp)
        self.nodata = self._dataset.nodata
        self.structure: dict[str, str] = {
            **self._dataset.tags(ns="IMAGE_STRUCTURE"),
            **self._dataset.tags(1, ns="IMAGE_STRUCTURE"),
        }

    @property
    def georeference(self) -> GeoReference | None:
        """Where the image lies; None for one that lies nowhere."""
        crs, transform = self._dataset.crs, self._dataset.transform
        if not crs and transform.is_identity:
            return None
        return GeoReference(crs.to_wkt() if crs else None, tuple(transform)[:6])

    @property
    def palette(self) -> NDArray[np.uint8] | None:
        """Colours (256, 3) of the values of a palette image; None for another."""
        if self.colours[0] != "palette":
            return None
        table = np.zeros((256, 3), dtype=np.uint8)
        for value, colour in self._dataset.colormap(1).items():
            if value < len(table):
                table[value] = colour[:3]
        return table

    def read(self, bands: Sequence[int], box: PixelBox) -> NDArray[Any]:
        """Read bands, counted from 1, of a window: (bands, height, width). `SeemError` for damaged pixels."""
        x0, y0, x1, y1 = box
        window = self._rasterio.windows.Window(x0, y0, x1 - x0, y1 - y0)
        try:
            with self._lock, self._settings():
                values: NDArray[Any] = self._dataset.read(list(bands), window=window)
        except self._rasterio.errors.RasterioError as error:
            raise SeemError(
                f"{self.path} cannot be read as a picture ({short_reason(error)}); it may be cut short, fetch it again."
            ) from None
        return values

    def _settings(self) -> Any:
        return self._rasterio.Env(GDAL_CACHEMAX=CACHE_MEGABYTES)


def write_label_raster(
    path: Path,
    hw: tuple[int, int],
    read: Callable[[PixelBox], NDArray[Any]],
    dtype: str,
    georeference: GeoReference | None,
) -> None:
    """Write a map of ids, 0 = nothing, as a compressed GeoTIFF of blocks; `read` returns the ids of a window."""
    rasterio = imported_rasterio()
    height, width = hw
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": dtype,
        "nodata": 0,
        "tiled": True,
        "blockxsize": BLOCK_SIDE,
        "blockysize": BLOCK_SIDE,
        "compress": "deflate",
        "bigtiff": "if_safer",
    }
    if georeference is not None:
        profile["crs"] = georeference.crs
        profile["transform"] = rasterio.Affine(*georeference.transform)
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_MEGABYTES),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # that it has no reference system is no reason
        with rasterio.open(path, "w", **profile) as dataset:
            for y0 in range(0, height, BLOCK_SIDE):
                for x0 in range(0, width, BLOCK_SIDE):
                    box = (x0, y0, min(x0 + BLOCK_SIDE, width), min(y0 + BLOCK_SIDE, height))
                    window = rasterio.windows.Window(x0, y0, box[2] - x0, box[3] - y0)
                    dataset.write(read(box).astype(dtype), 1, window=window)


def polygons_of(path: Path) -> Iterator[tuple[int, list[Any]]]:
    """Trace a map of ids that `write_label_raster` wrote: an id and the rings of a polygon, in the file's coordinates.

    Pixels that share a side are one polygon. The first ring is its exterior, the others are holes.
    """
    rasterio = imported_rasterio()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path) as dataset:
            band = rasterio.band(dataset, 1)
            shapes = rasterio.features.shapes(band, connectivity=4, transform=dataset.transform)
            for geometry, value in shapes:
                if value:
                    yield int(value), geometry["coordinates"]
