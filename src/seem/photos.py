"""Photos as people have them: files, PIL images, arrays and tensors, all read into upright 8-bit RGB."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from seem.errors import SeemError

if TYPE_CHECKING:
    from torch import Tensor

PhotoLike: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | Tensor"

MAX_PIXELS = 100_000_000
"""Photos above this are refused: a small file can claim a picture that fills the memory."""

EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class Photo:
    """An upright RGB picture, and what was done to get it.

    `orientation` is the EXIF orientation that was undone (1 = none), `notes` say what a reader should know: an
    animation of which only the first frame was read, 16 bits reduced to 8.
    """

    picture: Image.Image
    name: str | None = None
    orientation: int = 1
    notes: tuple[str, ...] = ()

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.picture.height, self.picture.width


def read_photo(image: PhotoLike, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo from a path, a PIL image, an H x W x 3 uint8 array or a 3 x H x W uint8 tensor.

    EXIF rotation is applied. Grey, palette, CMYK, 16-bit and transparent pictures are converted (transparency over
    white); of an animation the first frame is read. Raises `ValueError` for something that is no picture or larger
    than `max_pixels`, `SeemError` for a file that cannot be read.
    """
    if isinstance(image, Image.Image):
        return upright(image, name_of(image), max_pixels)
    if isinstance(image, (str, os.PathLike)):
        return read_file(image, max_pixels)
    return from_array(image, max_pixels)


def read_file(path: str | os.PathLike[str], max_pixels: int) -> Photo:
    """Read a photo from disk."""
    if isinstance(path, str) and path.startswith(("http://", "https://")):
        raise ValueError(f"{path} is a web address; download the photo first and pass its file.")
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; pass one photo (the command line takes folders).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit comes next
            with Image.open(path) as opened:
                return upright(opened, path.name, max_pixels)
    except FileNotFoundError:
        raise SeemError(f"There is no photo at {path}.") from None
    except UnidentifiedImageError:
        what = "is empty" if path.stat().st_size == 0 else "is not a picture that can be read"
        raise SeemError(f"{path} {what}; use JPEG, PNG, WebP, TIFF or BMP.") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{path} claims far more than {max_pixels:,} pixels; pass a smaller photo.") from None
    except SeemError:
        raise
    except (OSError, SyntaxError, EOFError) as error:  # Pillow's decoders raise all three for damaged files
        raise SeemError(f"{path} cannot be read as a picture ({first_line(error)}); it may be cut short.") from None


def upright(image: Image.Image, name: str | None, max_pixels: int) -> Photo:
    """Turn a PIL image of any mode into upright RGB."""
    width, height = image.size
    if width * height > max_pixels:
        raise ValueError(
            f"{name or 'The photo'} has {width} x {height} pixels, more than the limit of {max_pixels:,}; "
            "pass a smaller photo or raise max_pixels."
        )
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append("animation: first frame only")
    if image.mode.startswith(("I", "F")):
        notes.append("more than 8 bits a channel: stretched to 8")
    orientation = int(image.getexif().get(EXIF_ORIENTATION, 1) or 1)
    turned = ImageOps.exif_transpose(image)
    return Photo(to_rgb(turned), name, orientation if 1 <= orientation <= 8 else 1, tuple(notes))


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: transparency over white, deep grey stretched between its extremes."""
    if image.mode == "RGB":
        return image.copy()
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        low, high = (float(values.min()), float(values.max())) if np.isfinite(values).all() else (0.0, 0.0)
        grey = (values - low) / (high - low) * 255 if high > low else np.zeros_like(values)
        return Image.fromarray(np.rint(grey).astype(np.uint8), mode=None).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layered).convert("RGB")
    return image.convert("RGB")


def from_array(array: object, max_pixels: int) -> Photo:
    """Read an H x W x 3 uint8 array, or a 3 x H x W uint8 tensor."""
    described = f"{type(array).__name__} of shape {tuple(getattr(array, 'shape', ()))}, {getattr(array, 'dtype', '?')}"
    if not isinstance(array, np.ndarray):
        numpy = getattr(array, "permute", None)
        if numpy is None or getattr(array, "ndim", 0) != 3:
            raise ValueError(
                f"A photo is a path, a PIL image, an H x W x 3 array or a 3 x H x W tensor; got {described}."
            )
        array = numpy(1, 2, 0).cpu().numpy()
    assert isinstance(array, np.ndarray)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ValueError(
            f"A photo array is H x W x 3 (a tensor 3 x H x W), uint8, RGB; got {described}. "
            "Convert it, for example PIL.Image.fromarray(grey).convert('RGB')."
        )
    if array.shape[0] * array.shape[1] > max_pixels:
        raise ValueError(f"The photo has {array.shape[1]} x {array.shape[0]} pixels; the limit is {max_pixels:,}.")
    return Photo(Image.fromarray(np.ascontiguousarray(array)))


def name_of(image: Image.Image) -> str | None:
    """Return the file name that a PIL image was opened from."""
    file = getattr(image, "filename", "")
    return Path(file).name if isinstance(file, str) and file else None


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind."""
    return (str(error).splitlines() or [type(error).__name__])[0]
