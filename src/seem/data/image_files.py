"""Images, label maps and folders of them on disk, each in the frame of its annotations (`seem.data.frames`)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Integer, UInt8

from seem.data.frames import AnnotationFrame, ImageHeader, array_in_frame, in_frame
from seem.data.mask_pixels import alpha_object, grey_scale_factor, stored_numbers, without_alpha
from seem.data.records import DataError, FlawKind
from seem.errors import SeemError
from seem.images import decode_pixels, decode_rgb, open_image, read_deep_colour

IMAGE_SUFFIXES = frozenset({
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
})  # fmt: skip

# --- Images -----------------------------------------------------------------------------------------------------------


def read_header(path: Path, content: io.BytesIO | None = None) -> ImageHeader:
    """Read the size of an image and its EXIF orientation from the header of its file, or of its file's `content`.

    Raises:
        DataError: the file is missing or no image.
    """
    try:
        with open_image(content or path, str(path)) as image:
            return ImageHeader.of(image)
    except (SeemError, ValueError, OSError) as error:
        raise DataError(str(error)) from error


def read_image_hw(path: Path) -> tuple[int, int]:
    """Read height and width of an image as shown from its file's header; `DataError` if it cannot be read."""
    return read_header(path).hw(AnnotationFrame.SHOWN)


def read_annotated_hw(path: Path, mask_file: Path | None = None) -> tuple[int, int]:
    """Read height and width of an image in the frame that its mask was drawn in, as shown if there is no mask.

    Raises:
        DataError: the image is missing or no image; what is wrong with the mask is left to its reader.
    """
    header = read_header(path)
    if not header.is_turned or mask_file is None or not mask_file.is_file():
        return header.hw(AnnotationFrame.SHOWN)
    try:
        mask_hw = read_header(mask_file).hw(AnnotationFrame.SHOWN)
    except DataError:
        return header.hw(AnnotationFrame.SHOWN)
    return header.hw(header.frame_of(mask_hw, AnnotationFrame.SHOWN))


def read_rgb_and_notes(
    path: Path,
    content: io.BytesIO | None = None,
    hw: tuple[int, int] | None = None,
    frame: AnnotationFrame = AnnotationFrame.SHOWN,
) -> tuple[UInt8[np.ndarray, "h w 3"], tuple[str, ...]]:
    """Decode an image: the file, or the `content` that was read from inside another one.

    It is turned to the frame in which it has the size `hw`; if that is both, or no size is given, to `frame`. The notes
    say what was lost or left out, as those of `seem.images.read_image`.

    Raises:
        DataError: the file is missing, damaged or no image.
    """
    try:
        with open_image(content or path, str(path)) as image:
            header = ImageHeader.of(image)
            rgb, notes = decode_rgb(image, str(path))
            turned = in_frame(rgb, image, header, header.frame_of(hw, frame))
            return np.asarray(turned), notes
    except (SeemError, ValueError, OSError) as error:
        raise DataError(str(error)) from error


def read_rgb(
    path: Path,
    hw: tuple[int, int] | None = None,
    frame: AnnotationFrame = AnnotationFrame.SHOWN,
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode an image file as `read_rgb_and_notes` does, without the notes."""
    pixels, _ = read_rgb_and_notes(path, None, hw, frame)
    return pixels


# --- Label maps -------------------------------------------------------------------------------------------------------


class ColouredMapError(DataError):
    """A label map that holds colours in place of numbers; `codes` are they, R + 256 G + 65536 B each."""

    def __init__(self, path: Path, codes: list[int]) -> None:
        super().__init__(
            f"{path} holds colours; a label map has one number a pixel, save it as an indexed or grey PNG.",
            FlawKind.UNREADABLE_MASK_FILE,
        )
        self.codes = codes


def read_channels(
    path: Path,
    hw: tuple[int, int] | None = None,
    frame: AnnotationFrame = AnnotationFrame.SHOWN,
    *,
    palette_as_colours: bool = False,
) -> Integer[np.ndarray, "h w c"]:
    """Read the numbers of a mask file as they are stored, channels last.

    Of a palette the indices are read, or, with `palette_as_colours`, the colours that they stand for. An EXIF
    orientation of its own is undone as that of an image is (see `read_rgb`).

    Raises:
        DataError: the file is missing, damaged or no image.
    """
    try:
        with open_image(path, str(path)) as image:
            header = ImageHeader.of(image)
            factor = grey_scale_factor(image)
            values = read_deep_colour(image)
            decode_pixels(image, str(path))
            if palette_as_colours and image.mode in ("P", "PA"):
                values = np.asarray(image.convert("RGB"))
            if values is None:
                values = stored_numbers(image, factor)
            values = array_in_frame(values, image, header, header.frame_of(hw, frame))
    except (SeemError, ValueError, OSError) as error:
        if not path.exists():
            raise DataError(f"{path} is missing", FlawKind.MISSING_MASK_FILE) from error
        raise DataError(str(error), FlawKind.UNREADABLE_MASK_FILE) from error
    if values.dtype.kind not in "uib":
        message = f"{path} holds {values.dtype} numbers; a label map is a PNG of whole numbers."
        raise DataError(message, FlawKind.UNREADABLE_MASK_FILE)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.ndim == 2:
        values = values[:, :, None]
    return values


def read_channels_of_size(
    path: Path, hw: tuple[int, int], frame: AnnotationFrame = AnnotationFrame.SHOWN
) -> Integer[np.ndarray, "h w c"]:
    """Read the numbers of a label map that must have the image's size; `DataError` otherwise."""
    channels = read_channels(path, hw, frame)
    if channels.shape[:2] != hw:
        raise wrong_size_error(path, channels.shape[:2], hw)
    return channels


def read_labels(
    path: Path, hw: tuple[int, int] | None = None, frame: AnnotationFrame = AnnotationFrame.SHOWN
) -> Int32[np.ndarray, "h w"]:
    """Read a map of whole numbers; a colour image will do if its channels are equal.

    Raises:
        DataError: the file cannot be read, or holds colours.
    """
    channels = read_channels(path, hw, frame)
    colours = without_alpha(channels)
    is_flat = bool((colours == colours[:1, :1]).all())
    opaque = alpha_object(channels) if is_flat else None
    if opaque is not None:  # the colours say nothing, alpha does
        return opaque.astype(np.int32) * 255
    if not (colours == colours[:, :, :1]).all():
        codes = rgb_to_ids(colours.astype(np.int32))
        raise ColouredMapError(path, np.unique(codes).tolist())
    return colours[:, :, 0].astype(np.int32)


def read_labels_of_size(
    path: Path, hw: tuple[int, int], frame: AnnotationFrame = AnnotationFrame.SHOWN
) -> Int32[np.ndarray, "h w"]:
    """Read a map of whole numbers that must have the image's size; `DataError` otherwise."""
    labels = read_labels(path, hw, frame)
    if labels.shape != hw:
        raise wrong_size_error(path, labels.shape, hw)
    return labels


def read_panoptic_ids(
    path: Path, hw: tuple[int, int], frame: AnnotationFrame = AnnotationFrame.SHOWN
) -> Int32[np.ndarray, "h w"]:
    """Read the segment ids of a COCO panoptic map; `DataError` if it is no RGB image or has another size.

    Its colours may be stored with a palette, as programs do that make files smaller; a black one in any way.
    """
    channels = read_channels(path, hw, frame, palette_as_colours=True).astype(np.int32)
    if channels.shape[:2] != hw:
        raise wrong_size_error(path, channels.shape[:2], hw)
    num_channels = channels.shape[2]
    if num_channels < 3 and not channels.any():
        return np.zeros(hw, np.int32)
    if num_channels < 3:
        message = f"{path} has {num_channels} channel(s); a panoptic map is an RGB picture, R + 256 G + 65536 B."
        raise DataError(message, FlawKind.UNREADABLE_MASK_FILE)
    return rgb_to_ids(channels)


def rgb_to_ids(channels: Int32[np.ndarray, "h w c"]) -> Int32[np.ndarray, "h w"]:
    """Decode the segment ids of COCO's panoptic format: R + 256 G + 65536 B."""
    red, green, blue = (channels[:, :, index] for index in range(3))
    return np.asarray(red + 256 * green + 65536 * blue)


def resize_labels(
    labels: Int32[np.ndarray, "h w"], hw: tuple[int, int], path: Path
) -> Int32[np.ndarray, "h2 w2"]:
    """Resize a map that was stored at another size to its image's, to the nearest pixel.

    Raises:
        DataError: its shape is another one, so that it cannot belong to this image; the message names `path`.
    """
    if labels.shape == hw:
        return labels
    height, width = hw
    stored_height, stored_width = labels.shape
    aspect_error = abs(stored_height * width - stored_width * height)
    if aspect_error > max(*labels.shape, *hw):
        raise wrong_size_error(path, labels.shape, hw)
    rows = _nearest_indices(stored_height, height)
    columns = _nearest_indices(stored_width, width)
    return np.asarray(labels[rows[:, None], columns])


def wrong_size_error(path: Path, stored_hw: tuple[int, ...], hw: tuple[int, int]) -> DataError:
    """Make the error of a mask file that does not have the size of its image."""
    message = f"{path} is {stored_hw[0]} x {stored_hw[1]} (h, w), its photo {hw[0]} x {hw[1]}"
    if tuple(stored_hw) == hw[::-1]:
        message += " (turned, though the photo carries no EXIF rotation that explains it)"
    return DataError(message, FlawKind.WRONG_SIZE)


def _nearest_indices(stored: int, length: int) -> Integer[np.ndarray, " length"]:
    """Return for each of `length` pixels the one of `stored` pixels that covers its centre."""
    centres = (np.arange(length) + 0.5) * stored / length
    return np.minimum(centres.astype(np.int64), stored - 1)


# --- Folders ----------------------------------------------------------------------------------------------------------


def list_images(folder: Path, *, deep: bool = False) -> list[Path]:
    """List the images of a folder by name (`deep`: of its sub-folders too); hidden files are passed over."""
    if not folder.is_dir():
        return []
    entries: Iterable[Path] = folder.rglob("*") if deep else folder.iterdir()
    return sorted(filter(_is_image_name, entries))


def images_by_stem(folder: Path) -> Mapping[str, Path]:
    """Index the images of a folder by name without ending; a PNG comes before others of its name."""
    files = sorted(list_images(folder), key=_is_png)
    return {path.stem: path for path in files}


def images_by_relative_name(folder: Path) -> Mapping[str, Path]:
    """Index the images of a folder and its sub-folders by path without ending ("sub/a"); a PNG comes before others."""
    files = sorted(list_images(folder, deep=True), key=_is_png)
    return {relative_stem(path, folder): path for path in files}


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == ".png"


def list_folders(folder: Path) -> list[Path]:
    """List sub-folders by name; hidden ones are passed over."""
    if not folder.is_dir():
        return []
    return sorted(filter(_is_visible_folder, folder.iterdir()))


def folder_names(folder: Path) -> list[str]:
    """Return the names of sub-folders in alphabetical order; hidden ones are passed over."""
    return [path.name for path in list_folders(folder)]


def existing_files(candidates: Iterable[Path]) -> tuple[Path, ...]:
    """Return those of several paths that are files."""
    return tuple(filter(Path.is_file, candidates))


def first_folder(*candidates: Path) -> Path | None:
    """Return the first of several paths that is a folder."""
    return next(filter(Path.is_dir, candidates), None)


def first_file(*candidates: Path) -> Path | None:
    """Return the first of several paths that is a file."""
    return next(filter(Path.is_file, candidates), None)


def only_path(candidates: Sequence[Path]) -> Path | None:
    """Return the path of a list of one; None if there are none or several."""
    if len(candidates) != 1:
        return None
    return candidates[0]


def path_inside(folder: Path, name: str, root: Path | None = None) -> Path:
    """Return a path that a file of a data set names; `DataError` if it leads out of the folder and out of `root`.

    Links are followed: whoever made them may read what they lead to.
    """
    path = Path(os.path.abspath(folder / name))  # noqa: PTH100  (which follows links before "..")
    homes = [Path(os.path.abspath(each)) for each in (folder, root or folder)]  # noqa: PTH100
    if not any(path.is_relative_to(home) for home in homes):
        raise DataError(
            f"its file name {name!r} leads out of {root or folder}; name files below it."
        )
    return folder / name


def relative_stem(path: Path, folder: Path) -> str:
    """Return the name of a file without ending, with the folders that it lies in: "a", or "x/a"."""
    return path.relative_to(folder).with_suffix("").as_posix()


def relative_name(path: Path, folder: Path) -> str:
    """Return a path as seen from a folder, for messages."""
    if not path.is_relative_to(folder):
        return os.fspath(path)
    return path.relative_to(folder).as_posix()


def _is_image_name(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _is_visible_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")
