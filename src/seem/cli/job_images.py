"""The images of a call, encoded one after the other in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from seem.cli.image_files import ImageJob
from seem.config import ImageConfig
from seem.encode_many import encode_each
from seem.encoded_image import EncodedImage
from seem.images import MAX_PIXELS
from seem.inference.prompt_decoder import PreparedImage, prepare_for_network
from seem.model import Model


def encode_jobs(
    model: Model, jobs: Sequence[ImageJob], size: int | None, workers: int = 1
) -> Iterator[EncodedImage | Exception]:
    """Yield the encoded image of every job, or the error that it met, as `encode_each` does."""
    prepare = partial(prepare_job, model.network.config.image, size)
    return encode_each(model, jobs, prepare, workers)


def prepare_job(config: ImageConfig, size: int | None, job: ImageJob) -> PreparedImage:
    """Read the image of a job, and resize it for the network."""
    return prepare_for_network(config, job.image.open(), size, MAX_PIXELS)
