"""Many images through the image network, in their order: the next ones are read while one is encoded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast, get_args

import numpy as np
import torch
from PIL import Image

from seem.config import ImageConfig
from seem.encoded_image import EncodedImage
from seem.encoding_workers import SentEncoding, encoding_workers
from seem.errors import SeemError, short_reason
from seem.image_folder import images_in
from seem.images import MAX_PIXELS, ImageLike
from seem.inference.prompt_decoder import (
    PreparedImage,
    PromptDecoder,
    decoder_of,
    prepare_for_network,
)
from seem.inference.runtime import Runtime
from seem.preprocess import check_short_side
from seem.read_ahead import check_workers, run_ahead

READ_AHEAD = 2  # images in memory that wait for the network
WORKERS_AHEAD = 2  # encoded images that wait to be taken, beyond one for each worker

OnError: TypeAlias = Literal["skip", "raise", "return"]
"""What an image that cannot be encoded does to a sequence."""

if TYPE_CHECKING:
    Images: TypeAlias = str | os.PathLike[str] | Iterable[ImageLike]
else:  # a folder, or several images: `images_to_encode` says what is wrong with others
    Images = Any

Item = TypeVar("Item")


def encode_many(
    runtime: Runtime,
    images: Images,
    size: int | None = None,
    *,
    workers: int = 1,
    errors: OnError = "skip",
    max_pixels: int = MAX_PIXELS,
) -> Iterator[EncodedImage | Exception]:
    """Encode images one after the other; arguments and errors as in `Model.encode_many`."""
    if errors not in get_args(OnError):
        raise ValueError(f"errors is {errors!r}; use 'skip', 'raise' or 'return'.")
    check_short_side(size, runtime.network.config.image)
    count = check_workers(workers, runtime.device.type)
    items = images_to_encode(images)
    prepare = partial(prepare_item, runtime.network.config.image, size, max_pixels)
    encoded = encode_each(runtime, items, prepare, count)
    return handle_errors(encoded, errors)


def images_to_encode(images: Images) -> Iterable[ImageLike]:
    """Return the images of a folder, or those that were given; `ValueError` for a single one that is not in a list."""
    if isinstance(images, (str, os.PathLike)):
        path = Path(images)
        return cast("list[ImageLike]", images_in(path) if path.is_dir() else [path])
    is_array = isinstance(images, (np.ndarray, torch.Tensor))
    if isinstance(images, Image.Image) or (is_array and cast("torch.Tensor", images).ndim < 4):
        raise ValueError("encode_many takes several images; put a single one into a list: [image].")
    if not isinstance(images, Iterable):
        raise ValueError(f"images is {images!r}; use a list of images, or the path of a folder.")
    return images


def handle_errors(
    encoded: Iterable[EncodedImage | Exception], errors: OnError
) -> Iterator[EncodedImage | Exception]:
    """Yield images; raise an error, yield it where its image was, or warn of it."""
    for index, image in enumerate(encoded):
        if isinstance(image, EncodedImage) or errors == "return":
            yield image
        elif errors == "raise":
            raise image
        else:
            warnings.warn(f"Image {index} is left out: {image}", stacklevel=2)


def prepare_item(
    config: ImageConfig, size: int | None, max_pixels: int, image: ImageLike
) -> PreparedImage:
    """Read an image as `prepare_for_network` does; the image is the last argument."""
    return prepare_for_network(config, image, size, max_pixels)


def encode_each(
    runtime: Runtime,
    items: Iterable[Item],
    prepare: Callable[[Item], PreparedImage],
    workers: int = 1,
) -> Iterator[EncodedImage | Exception]:
    """Yield an encoded image for every item in order, or the error that it met.

    Another thread prepares the next images meanwhile; with several `workers`, as many processes prepare and encode
    them. Raises `SeemError` for a process that ended before its work.
    """
    if workers == 1:
        return encode_here(runtime, items, prepare)
    return encode_in_workers(runtime, items, prepare, workers)


def encode_here(
    runtime: Runtime, items: Iterable[Item], prepare: Callable[[Item], PreparedImage]
) -> Iterator[EncodedImage | Exception]:
    """Encode images in this thread while another prepares the next ones."""
    with ThreadPoolExecutor(1, "seem-read") as reader:
        for prepared in run_ahead(reader, prepare, items, READ_AHEAD):
            yield image_or_error(partial(encode_read, runtime, prepared))


def encode_in_workers(
    runtime: Runtime,
    items: Iterable[Item],
    prepare: Callable[[Item], PreparedImage],
    workers: int,
) -> Iterator[EncodedImage | Exception]:
    """Encode images in worker processes."""
    try:
        with encoding_workers(runtime, prepare, workers) as (executor, encode_item):
            for sent in run_ahead(executor, encode_item, items, workers + WORKERS_AHEAD):
                yield image_or_error(partial(receive, runtime, sent))
    except BrokenProcessPool as error:
        raise SeemError(
            f"A worker process ended before its work ({short_reason(error)}); take fewer workers if memory is short, "
            "and in a script call encode_many under if __name__ == '__main__':"
        ) from None


def encode_read(runtime: Runtime, prepared: Future[PreparedImage]) -> PromptDecoder:
    """Encode an image once it has been read."""
    return decoder_of(runtime, prepared.result())


def receive(runtime: Runtime, sent: Future[SentEncoding]) -> PromptDecoder:
    """Take an image from a worker process once it has been encoded."""
    return sent.result().to_decoder(runtime)


def image_or_error(make: Callable[[], PromptDecoder]) -> EncodedImage | Exception:
    """Return an image, or the error that it met; the end of a worker process is raised."""
    try:
        return EncodedImage(make())
    except BrokenProcessPool:
        raise
    except Exception as error:
        return error
