"""Images as users have them: files, PIL images, arrays and tensors, all read into upright 8-bit RGB.

What is not 8-bit RGB is converted by one rule each:

- Grey is repeated in all three channels, palette, CMYK, HSV and YCbCr colours are converted.
- What is transparent shows white. An image that is transparent everywhere shows its colours, and so does a TIFF whose
  fourth band is tagged as alpha and varies like a picture: that is a further band, such as near infrared.
- More than 8 bits of grey or of colour keep their black point and their exposure. Integers: white is the full scale of
  the smallest usual depth (8, 10, 12, 14 or 16 bits) that holds the brightest value, so that a 16-bit image is divided
  by 257 and 12-bit sensor data do not turn black. Floats from 0 to 1: white is 1. Only numbers that are no brightness
  by themselves (negative, above 65,535, floats above 1) are stretched between their extremes; NaN is black.
- Of several frames (an animation, pages, a phone's second picture) one is read.

Colour profiles are not applied.
"""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from seem.argument_types import is_tensor
from seem.deprecation import renamed_attributes
from seem.errors import SeemError, UnusableFileError, short_reason
from seem.regular_file import LFS_POINTER, LFS_SIGNATURE, check_regular_file

if TYPE_CHECKING:
    import torch

    ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | torch.Tensor
else:  # nobody who reads a file waits for PyTorch
    ImageLike = Any


DecoderArguments: TypeAlias = "tuple[Any, ...] | str | None"

MAX_PIXELS = 100_000_000
"""Images above this are refused: a small file can claim a size that fills the memory."""

USE_SMALLER = (
    "pass a smaller photo, or in Python encode(photo, max_pixels=...), or segment it by tiles: "
    "seem segment --tile 1024, model.encode_tiled(photo)"
)

EXIF_ORIENTATION = 0x0112
TRANSPOSE_OF_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation (Exif 2.32, tag 0x0112); 1 is upright."""

FIRST_QUARTER_TURN = 5  # EXIF orientations from here on swap height and width

GREY_DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras, scanners and microscopes deliver
HIGH_BIT_DEPTH_MODES = ("I", "F")  # how Pillow's names for grey of more than 8 bits begin
WHITE_LEVEL = 255
MIN_GRADED_SHARE = 0.5  # pixels of a band that is no alpha which are neither opaque nor clear
TRANSPARENT_MODES = ("RGBA", "LA", "PA", "RGBa")

JPEG_FORMATS = ("JPEG", "MPO")
JPEG_FILL = 128  # what libjpeg makes of blocks that are not there
MIN_FILLED_ROWS = 16  # two rows of blocks

USE_TILES = "seem segment --tile 1024 --bands 1,2,3 (extra: geo)"
USE_FORMATS = "use JPEG, PNG, WebP, TIFF, GIF or BMP"
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two of BigTIFF
HEIC_SIGNATURES = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1", b"ftypmsf1")
MAX_BYTES_BEFORE_HTML = 100
TIFF_BITS_PER_SAMPLE, TIFF_SAMPLES_PER_PIXEL, TIFF_SAMPLE_FORMAT = 258, 277, 339
TIFF_NUMBER_KINDS = {1: "integers", 2: "signed integers", 3: "floating-point numbers"}
PNG_SIGNATURE_BYTES = 8
PNG_METADATA_CHUNKS = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt"})

_WARNINGS_LOCK = threading.Lock()  # Python's warning filters belong to all threads


@renamed_attributes({"picture": "rgb"})
@dataclass(frozen=True, slots=True)
class InputImage:
    """An upright RGB image, and how it was converted.

    `orientation` is the EXIF orientation that was undone (1 = none), `notes` say what a reader should know: several
    frames of which one was read, 16 bits reduced to 8.
    """

    rgb: Image.Image
    name: str | None = None
    orientation: int = 1
    notes: tuple[str, ...] = ()

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.rgb.height, self.rgb.width


def read_image(image: ImageLike, max_pixels: int = MAX_PIXELS) -> InputImage:
    """Read an image from a path, a PIL image, an H x W x 3 uint8 array or a 3 x H x W uint8 tensor.

    EXIF rotation is applied; the rules for everything that is not RGB are at the top of the file. A PIL image of
    several frames is read at its current frame. Raises `ValueError` for something that is no image or larger than
    `max_pixels`, `SeemError` for a file that cannot be read.
    """
    if isinstance(image, Image.Image):
        return _to_upright_rgb(image, max_pixels)
    if isinstance(image, (str, os.PathLike)):
        return _read_file(image, max_pixels)
    return image_from_array(image, max_pixels)


def read_shown_hw(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Read height and width of an image as shown from the header of its file; raises as `read_image` for another."""
    with _open_path(path, MAX_PIXELS) as opened:
        return shown_hw(opened)


def shown_hw(image: Image.Image) -> tuple[int, int]:
    """Return height and width of an opened image as shown, from its header."""
    hw = (image.height, image.width)
    is_turned = exif_orientation(image) >= FIRST_QUARTER_TURN
    if is_turned and image.format != "TIFF":  # whose size Pillow gives as shown
        return hw[::-1]
    return hw


def _read_file(path: str | os.PathLike[str], max_pixels: int) -> InputImage:
    with _open_path(path, max_pixels) as opened:
        return _to_upright_rgb(opened, max_pixels)


def _open_path(path: str | os.PathLike[str], max_pixels: int) -> ImageFile:
    if isinstance(path, str) and "://" in path:
        raise ValueError(f"{path} is a web address; download the photo first and pass its file.")
    return open_image(Path(path), str(Path(path)), max_pixels)


def open_image(source: Path | io.BytesIO, what: str, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Open a file of any image format without decoding its pixels; errors name it `what`."""
    if isinstance(source, Path):
        check_regular_file(source)
    try:
        with _without_warnings():
            return Image.open(source)
    except (FileNotFoundError, NotADirectoryError):
        raise SeemError(f"There is no photo at {what}; check the path.") from None
    except (IsADirectoryError, PermissionError):  # Windows calls a folder the latter
        if isinstance(source, Path) and source.is_dir():
            raise ValueError(
                f"{what} is a folder; pass one photo (the command line takes folders)."
            ) from None
        raise SeemError(f"{what} may not be read by this user; change its permissions.") from None
    except UnidentifiedImageError:
        raise SeemError(f"{what} {_unidentified_reason(source)}.") from None
    except Image.DecompressionBombError as error:
        raise UnusableFileError(_too_large_message(what, error, max_pixels)) from None
    except Exception as error:  # Pillow stumbles over damaged headers in many ways
        raise SeemError(
            f"{what} cannot be read as a picture ({short_reason(error)}); fetch it again."
        ) from None


def _unidentified_reason(source: Path | io.BytesIO) -> str:
    """Say what a file is that Pillow does not open, and what to do."""
    content = source.getvalue() if isinstance(source, io.BytesIO) else source.read_bytes()
    if not content:
        return f"is empty (0 bytes); {USE_FORMATS}"
    if content.startswith(LFS_SIGNATURE):
        return LFS_POINTER
    if content.startswith(TIFF_SIGNATURES):
        bands = _describe_bands(content)
        way_out = f"save red, green and blue alone, of 8 or 16 bits, or take tiles: {USE_TILES}"
        return f"is a TIFF of {bands}, which is no picture; {way_out}"
    if content[4:12] in HEIC_SIGNATURES:
        return "is a HEIC photo, as iPhones store them; export it as JPEG"
    if content[:MAX_BYTES_BEFORE_HTML].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "is a web page, not the photo itself; download that"
    return f"is not a picture that can be read; {USE_FORMATS}"


def tiff_orientation(path: Path) -> int:
    """Return the orientation tag of a TIFF file, 1-8; 1 where there is none or it cannot be read."""
    try:
        with path.open("rb") as file:
            value = _first_directory(file).get(EXIF_ORIENTATION, 1)
    except Exception:  # a damaged header fails in many ways
        return 1
    return value if value in TRANSPOSE_OF_ORIENTATION else 1


def _describe_bands(content: bytes) -> str:
    """Describe the bands of a TIFF file by its header: "4 bands of 16-bit integers"."""
    try:
        directory = _first_directory(io.BytesIO(content))
        num_bands = directory.get(TIFF_SAMPLES_PER_PIXEL, 1)
        bits = directory.get(TIFF_BITS_PER_SAMPLE, (1,))[0]
        number_kind = TIFF_NUMBER_KINDS.get(directory.get(TIFF_SAMPLE_FORMAT, (1,))[0], "numbers")
    except Exception:  # a damaged header fails in many ways
        return "bands that cannot be read"
    noun = "band" if num_bands == 1 else "bands"
    return f"{num_bands} {noun} of {bits}-bit {number_kind}"


def _first_directory(file: io.BufferedReader | io.BytesIO) -> ImageFileDirectory_v2:
    """Read the tags of the first image of a TIFF file."""
    signature = file.read(4)
    rest = file.read(12 if b"+" in signature else 4)
    directory = ImageFileDirectory_v2(signature + rest)
    file.seek(directory.next)
    with _without_warnings():
        directory.load(file)
    return directory


def _to_upright_rgb(image: Image.Image, max_pixels: int) -> InputImage:
    """Turn a PIL image of any mode into upright RGB; its size is checked before its pixels are decoded."""
    name = _file_name(image)
    what = name or "The photo"
    width, height = image.size
    if 0 in (width, height):
        raise UnusableFileError(f"{what} has {width} x {height} pixels, there is nothing to see.")
    _check_size(what, width, height, max_pixels)
    orientation = exif_orientation(image)
    rgb, notes = decode_rgb(image, what)
    rgb = undo_orientation(rgb, exif_orientation(image))  # Pillow itself turns TIFF as it decodes
    rgb.info.clear()  # its metadata describe the image before the conversion
    return InputImage(rgb, name, orientation, notes)


def _check_size(what: str, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UnusableFileError(
            f"{what} has {width} x {height} pixels, more than the limit of {max_pixels:,}; {USE_SMALLER}."
        )


def decode_pixels(image: Image.Image, what: str) -> None:
    """Decode the pixels; a damaged file is a `SeemError`, whichever error Pillow raises."""
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise SeemError(
            f"{what} cannot be read as a picture ({short_reason(error)}); it may be cut short, fetch it again."
        ) from None


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1-8; 1 where there is none or it cannot be read."""
    try:
        with _without_warnings():
            value = _read_exif(image).get(EXIF_ORIENTATION)
    except Exception:  # damaged metadata fail in many ways, and are no reason to refuse an image
        return 1
    return value if isinstance(value, int) and value in TRANSPOSE_OF_ORIENTATION else 1


def _read_exif(image: Image.Image) -> Image.Exif:
    """Return the EXIF of an image; for a PNG Pillow decodes all its pixels to look behind them, which is avoided."""
    if isinstance(image, PngImageFile) and not _has_late_metadata(image):
        return Image.Image.getexif(image)
    return image.getexif()


def _has_late_metadata(image: PngImageFile) -> bool:
    """Whether a PNG that is not decoded yet has EXIF or texts behind its pixels."""
    file = image.fp
    if file is None or "exif" in image.info:
        return False
    position = file.tell()
    try:
        return _has_png_chunk(file, PNG_METADATA_CHUNKS)
    finally:
        file.seek(position)


def _has_png_chunk(file: IO[bytes], names: frozenset[bytes]) -> bool:
    """Whether a PNG has one of these chunks behind the first of its pixels."""
    file.seek(PNG_SIGNATURE_BYTES)
    is_behind_pixels = False
    while len(head := file.read(8)) == 8:
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if is_behind_pixels and name in names:
            return True
        is_behind_pixels |= name == b"IDAT"
        file.seek(length + 4, io.SEEK_CUR)  # its content and its checksum
    return False


def undo_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """Turn a image from the frame in which its file stores it to that in which it is shown."""
    if orientation not in TRANSPOSE_OF_ORIENTATION:
        return image
    return image.transpose(TRANSPOSE_OF_ORIENTATION[orientation])


def apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """Turn a image from the frame in which it is shown to that in which its file stores it."""
    return undo_orientation(image, inverse_orientation(orientation))


def inverse_orientation(orientation: int) -> int:
    """Return the orientation that undoes what `undo_orientation` does; all but quarter turns undo themselves."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def _frame_notes(image: Image.Image) -> tuple[str, ...]:
    """Say which frame is read where there are several."""
    if not getattr(image, "is_animated", False):
        return ()
    frame = "the first" if image.tell() == 0 else f"number {image.tell() + 1}"
    return (f"several frames: only {frame} is read",)


def _fill_notes(image_format: str | None, rgb: Image.Image) -> tuple[str, ...]:
    """Say that the end of a JPEG file is missing, by the grey that decoders fill in for it.

    Only a file that has an end marker all the same comes here: without one Pillow raises. `rgb` is as stored.
    """
    if image_format not in JPEG_FORMATS:
        return ()
    pixels = np.asarray(rgb)
    if rgb.height < MIN_FILLED_ROWS or (pixels[-MIN_FILLED_ROWS:] != JPEG_FILL).any():
        return ()
    is_filled = (pixels == JPEG_FILL).all(axis=(1, 2))
    num_rows = int(is_filled[::-1].cumprod().sum())
    return (f"the last {num_rows} of {rgb.height} rows are plain grey: the file was cut short",)


def decode_rgb(image: Image.Image, what: str) -> tuple[Image.Image, tuple[str, ...]]:
    """Decode an opened image of any mode and depth to RGB, not turned; also return notes on losses."""
    frame_notes = _frame_notes(image)
    rgb, depth_notes = _decode_any_depth(image, what)
    return rgb, frame_notes + depth_notes + _fill_notes(image.format, rgb)


def _decode_any_depth(image: Image.Image, what: str) -> tuple[Image.Image, tuple[str, ...]]:
    deep = read_deep_colour(image)
    decode_pixels(image, what)
    if deep is None:
        return to_rgb(image)
    colours, rule = to_eight_bits(deep[:, :, :3])
    rgb = Image.fromarray(colours)
    notes: tuple[str, ...] = (f"more than 8 bits of colour: {rule}",)
    if image.mode == "RGBA":
        rgb.putalpha(image.getchannel("A"))
        rgb.format = image.format
        rgb, more = to_rgb(rgb)
        notes += more
    return rgb, notes


def read_deep_colour(image: Image.Image) -> NDArray[np.uint16] | None:
    """Decode the channels (H, W, C) of an opened image of 16 bits a channel; None for any other.

    Pillow keeps the upper byte of such channels. With the order of bytes exchanged it keeps the lower one.
    """
    file, tiles = getattr(image, "fp", None), getattr(image, "tile", None)
    if file is None or not tiles or image.mode not in ("RGB", "RGBA") or len(tiles) != 1:
        return None
    is_deep, exchanged = _exchange_bytes(tiles[0][3])
    if not is_deep:
        return None
    position = file.tell()
    try:
        upper, lower = _decode_twin(file, None), _decode_twin(file, exchanged)
        return np.asarray(upper.astype(np.uint16) << 8 | lower)
    except Exception:  # a damaged file, which is reported where the image itself is decoded
        return None
    finally:
        file.seek(position)


def _exchange_bytes(arguments: DecoderArguments) -> tuple[bool, DecoderArguments]:
    """Return whether a decoder's raw mode has 16 bits a channel, and its arguments with the other order of bytes."""
    others = arguments[1:] if isinstance(arguments, tuple) else None
    raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    match = re.fullmatch(r"(RGB[AX]?);16([LBN])", str(raw_mode))
    if match is None:
        return False, arguments
    is_little = match[2] == "L" or (match[2] == "N" and sys.byteorder == "little")
    exchanged = f"{match[1]};16{'B' if is_little else 'L'}"
    return True, exchanged if others is None else (exchanged, *others)


def _decode_twin(file: IO[bytes], arguments: DecoderArguments) -> NDArray[np.uint8]:
    """Decode a file once more, with other arguments of its decoder if they are given."""
    file.seek(0)
    with _without_warnings():
        twin = Image.open(file)
    if arguments is not None:
        codec, box, offset, _ = twin.tile[0]
        twin.tile = [type(twin.tile[0])(codec, box, offset, arguments)]
    return np.asarray(twin)


def to_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert any mode to RGB, always a copy, by the rules at the top of the file; also return notes on losses."""
    if image.mode.startswith(HIGH_BIT_DEPTH_MODES):
        grey, rule = to_eight_bits(np.asarray(image))
        return Image.fromarray(grey).convert("RGB"), (f"more than 8 bits of grey: {rule}",)
    if image.mode == "La":  # Pillow has a way from here to LA alone
        image = image.convert("LA")
    if image.mode in TRANSPARENT_MODES or "transparency" in image.info:
        layered = image.convert("RGBA")
        note = _note_unused_alpha(image, np.asarray(layered.getchannel("A")))
        if note:
            return layered.convert("RGB"), (note,)
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layered).convert(
            "RGB"
        ), ()
    if image.mode == "RGB":
        return image.copy(), ()
    if image.mode == "LAB":
        return _lab_to_rgb(image), ()
    try:
        return image.convert("RGB"), ()
    except ValueError:
        raise UnusableFileError(
            f"A picture of colour mode {image.mode} cannot be read; convert it to RGB first."
        ) from None


def _note_unused_alpha(image: Image.Image, alpha: NDArray[np.uint8]) -> str:
    """Say why the alpha of an image is not used; empty if it is."""
    if not alpha.any():
        return "transparent everywhere: its colours are read as if they were opaque"
    is_graded = (alpha > 0) & (alpha < WHITE_LEVEL)
    if image.format == "TIFF" and is_graded.mean() > MIN_GRADED_SHARE:
        return "its fourth band, tagged as alpha, varies like a picture: it is left out"
    return ""


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    """Convert CIELAB, which Pillow does by colour profiles alone."""
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
    assert converted is not None  # as it is not converted in place
    return converted


def to_eight_bits(values: NDArray[np.generic]) -> tuple[NDArray[np.uint8], str]:
    """Bring deep grey or colour to 0-255, and name the rule (see the top of the file)."""
    scale = BrightnessScale.of(values.dtype, *finite_extremes(values))
    return scale.apply(values), scale.rule


def finite_extremes(values: NDArray[np.generic]) -> tuple[float, float]:
    """Return the lowest and the highest finite value; zeros where there is none."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    return float(finite.min()), float(finite.max())


@dataclass(frozen=True, slots=True)
class BrightnessScale:
    """How deep values of one image become 0-255, by its lowest and highest finite value.

    `white` is the value that becomes 255 where black stays 0; None where values are stretched from `low` to `high`.
    """

    low: float
    high: float
    white: float | None
    rule: str

    @classmethod
    def of(cls, dtype: np.dtype[Any], low: float, high: float) -> BrightnessScale:
        """Choose the rule (see the top of the file)."""
        is_float = dtype.kind == "f"
        if not is_float and low >= 0 and high < 2 ** GREY_DEPTHS[-1]:
            depth = next(depth for depth in GREY_DEPTHS if high < 2**depth)
            return cls(low, high, 2.0**depth - 1, f"read as {depth} bits")
        if is_float and low >= 0 and high <= 1:
            return cls(low, high, 1.0, "1.0 is white")
        return cls(low, high, None, f"{low:g} to {high:g} stretched")

    def apply(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Convert values of the image, of any shape."""
        if self.white is not None and values.dtype.kind != "f":
            levels = np.arange(int(self.white) + 1) / self.white
            table = np.rint(levels * WHITE_LEVEL).astype(np.uint8)
            return np.asarray(table[values])
        if self.white is not None:
            brightness = values.astype(np.float64) / self.white
        else:
            extent = max(self.high - self.low, 1e-300)
            brightness = (values.astype(np.float64) - self.low) / extent
        grey = np.nan_to_num(brightness, nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0)
        return np.asarray(np.rint(grey * WHITE_LEVEL).astype(np.uint8))


def image_from_array(array: object, max_pixels: int) -> InputImage:
    """Read an H x W x 3 uint8 array, or a 3 x H x W uint8 tensor."""
    if isinstance(array, (bytes, bytearray, memoryview, io.IOBase)):
        raise ValueError(
            f"A photo is a path, a PIL image, an array or a tensor, got {type(array).__name__}; "
            "open it first: PIL.Image.open(file), for bytes PIL.Image.open(io.BytesIO(data))."
        )
    if is_tensor(array):
        dtype = str(array.dtype).removeprefix("torch.")
        check_array_layout("tensor", "3 x H x W", tuple(array.shape), dtype, channels_at=0)
        if array.is_meta:
            raise ValueError(
                "A photo tensor on the device 'meta' has no pixels; give one that does."
            )
        pixels: NDArray[Any] = array.permute(1, 2, 0).cpu().numpy()
    elif isinstance(array, np.ndarray):
        pixels = array
    else:
        raise ValueError(
            f"A photo is a path, a PIL image, an H x W x 3 array or a 3 x H x W tensor, got {type(array).__name__}."
        )
    check_array_layout("array", "H x W x 3", pixels.shape, str(pixels.dtype), channels_at=2)
    height, width = pixels.shape[:2]
    _check_size("The photo", width, height, max_pixels)
    return InputImage(
        Image.fromarray(np.ascontiguousarray(pixels))
    )  # Pillow copies: the caller's array may change


def check_array_layout(
    kind: str, layout: str, shape: tuple[int, ...], dtype: str, channels_at: int
) -> None:
    """Raise `ValueError`, with the way out, unless an array or a tensor has the layout of an image."""
    if len(shape) == 4:
        hint = "pass one photo at a time"
    elif len(shape) != 3:
        hint = "a grey one becomes a photo with PIL.Image.fromarray(grey)"
    elif shape[channels_at] != 3 and shape[2 - channels_at] == 3:
        hint = (
            "move its colours with .transpose(1, 2, 0)"
            if kind == "array"
            else "move its colours: .permute(2, 0, 1)"
        )
    elif shape[channels_at] != 3:
        hint = "keep red, green and blue alone"
    elif 0 in shape:
        hint = "this one is empty"
    elif dtype != "uint8":
        hint = "scale its values to 0-255 and convert them to uint8"
    else:
        return
    raise ValueError(
        f"A photo {kind} is {layout}, uint8, RGB; got {dtype} of shape {shape}: {hint}."
    )


def _too_large_message(what: str, error: Image.DecompressionBombError, max_pixels: int) -> str:
    """Word the refusal of a file whose header alone made Pillow stop, at a limit of its own."""
    claimed = re.search(r"\d+", str(error))
    pixels = int(claimed[0]) if claimed else max_pixels + 1
    if pixels > max_pixels:
        limit, way_out = f"the limit of {max_pixels:,}", USE_SMALLER
    else:
        limit, way_out = "Pillow opens", "raise PIL.Image.MAX_IMAGE_PIXELS if you trust it"
    return f"{what} claims {pixels:,} pixels, more than {limit}; {way_out}."


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep Pillow's warnings about sizes and metadata away; threads take turns."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _file_name(image: Image.Image) -> str | None:
    """Return the file name that a PIL image was opened from."""
    file = getattr(image, "filename", "")
    return (
        Path(os.fsdecode(file)).name
        if isinstance(file, (str, bytes, os.PathLike)) and file
        else None
    )
