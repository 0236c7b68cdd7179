"""A model: encodes images and phrases, follows objects through videos, ranks images by phrases."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import torch

from seem.argument_types import explains_arguments
from seem.checkpoints.encoded_image import move_encoding, read_encoded_image
from seem.checkpoints.network import FineTuningData, LoadedNetwork
from seem.deprecation import renamed_attributes, warn_renamed
from seem.encode_many import Images, OnError, encode_many
from seem.encoded_image import EncodedImage, check_compares_images, encode
from seem.errors import SeemError
from seem.images import MAX_PIXELS, ImageLike
from seem.inference.image_network import Engine
from seem.inference.prompt_decoder import PromptDecoder
from seem.inference.runtime import Runtime
from seem.large_images import DEFAULT_TILE, Tiling, open_windowed
from seem.models.precision import Precision
from seem.preprocess import check_short_side
from seem.pretrained import push_model, save_model
from seem.prompts import Prompt
from seem.results import Results
from seem.tiled_image import TiledImage
from seem.tracker import Mode, Tracker, prompts_of_objects
from seem.video import VideoLike


@explains_arguments
@renamed_attributes({"learnt": "fine_tuned_on"})
class Model(Runtime):
    """A network with its tokenizer: `seem.load` makes one.

    `precision` says which arithmetic runs: "float32" or "bfloat16". `classes` are those that it was fine-tuned on,
    which it uses where no others are given; None where it was not: then those are COCO's 133. `fine_tuned_on` says on
    which data. A model is safe to use from several threads: a call stores nothing on it but the embeddings of classes
    and phrases, which are cached by content.
    """

    def __init__(
        self,
        loaded: LoadedNetwork,
        device: torch.device,
        precision: Precision,
        engine: Engine = "torch",
    ) -> None:
        super().__init__(loaded, device, precision, engine)
        self.fine_tuned_on: tuple[FineTuningData, ...] = loaded.fine_tuned_on

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.network.parameters())
        return f"<Model {self.name}: {parameters / 1e6:.1f} M parameters, {self.device}, {self.precision}>"

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *, overwrite: bool = False
    ) -> tuple[Path, ...]:
        """Write the model as a folder that `load` reads and the Hugging Face hub knows; returns the files.

        `model.safetensors` (weights that half precision holds exactly are stored in it), `config.json`,
        `preprocessor_config.json` and `README.md`, a model card with gaps to fill in; all of them or none.

        Raises `FileExistsError` for a file that is there, without `overwrite`; `OSError` where it cannot be written.
        """
        return save_model(self, Path(save_directory), self.fine_tuned_on, overwrite)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        branch: str | None = None,
        commit_message: str = "Model of Seem",
    ) -> str:
        """Commit the files of `save_pretrained` to a repository of the Hugging Face hub, which is made if need be.

        Args:
            repo_id: "user/name"; `load` then takes it.
            private: whether a new repository is for its owner alone.
            branch: None = main; made if need be.
            commit_message: first line of the commit.

        Returns the address of the commit. Raises `ValueError` for what is no name of a repository, `SeemError` where
        the hub cannot be reached or refuses.
        """
        return push_model(
            self,
            self.fine_tuned_on,
            repo_id,
            private=private,
            branch=branch,
            commit_message=commit_message,
        )

    def encode(
        self, image: ImageLike, size: int | None = None, *, max_pixels: int = MAX_PIXELS
    ) -> EncodedImage:
        """Run the image network once, for any number of questions about the image.

        Args:
            image: path, PIL image, H x W x 3 uint8 array (RGB) or 3 x H x W uint8 tensor.
            size: short side in network pixels instead of the model's own working size; the long side's limit grows in
                proportion.
            max_pixels: larger images are refused.

        Raises:
            ValueError: not an image, too large, or a size below 32.
            SeemError: the file cannot be read.
        """
        return encode(self, image, size, max_pixels)

    def encode_tiled(
        self,
        image: ImageLike,
        tile: int = DEFAULT_TILE,
        *,
        overlap: int | None = None,
        size: int | None = None,
        bands: Sequence[int] | None = None,
    ) -> TiledImage:
        """Open an image of any size to ask it tile by tile; nothing is encoded before there is a question.

        Arrays mapped from files, `.npy` files and, with the extra `geo`, TIFF files and what else GDAL reads are read
        window by window; other images are held in memory, three bytes a pixel (`docs/large_images.md`).

        Args:
            image: as in `encode`, or the path of a `.npy` file of an H x W x 3 uint8 array.
            tile: side of a tile, in pixels of the image; the network sees each at its own working size.
            overlap: pixels that neighbouring tiles share; None = an eighth of the side.
            size: as in `encode`, of a tile.
            bands: numbers from 1 on of the three bands of a file that are red, green and blue, or of one grey band;
                None = those that are tagged so, or else the first three. Needs the extra `geo`.

        Raises:
            ValueError: not an image, bands that it does not have, a tile below 64 pixels, an overlap of more than half.
            SeemError: the file cannot be read.
        """
        tiling = Tiling.of(tile, overlap, check_short_side(size, self.network.config.image))
        return TiledImage(self, open_windowed(image, bands), tiling)

    @overload
    def encode_many(
        self,
        images: Images,
        size: int | None = None,
        *,
        workers: int = 1,
        errors: Literal["skip", "raise"] = "skip",
        max_pixels: int = MAX_PIXELS,
    ) -> Iterator[EncodedImage]: ...

    @overload
    def encode_many(
        self,
        images: Images,
        size: int | None = None,
        *,
        workers: int = 1,
        errors: Literal["return"],
        max_pixels: int = MAX_PIXELS,
    ) -> Iterator[EncodedImage | Exception]: ...

    def encode_many(
        self,
        images: Images,
        size: int | None = None,
        *,
        workers: int = 1,
        errors: OnError = "skip",
        max_pixels: int = MAX_PIXELS,
    ) -> Iterator[EncodedImage | Exception]:
        """Encode many images: an iterator of encoded images in the order of the input.

        The next images are read and resized while one is encoded; at most a few are in memory ahead of the one that is
        taken, so that `images` may be longer than memory holds.

        Args:
            images: the path of a folder (its images and those of its sub-folders, sorted by name), or an iterable of
                what `encode` takes.
            size, max_pixels: as in `encode`.
            workers: processes that read and encode (CPU only); 1 = this process. They pay where the image network
                takes longer than the questions, and each has its share of the threads. Each needs some 250 MB besides
                the weights, which lie in memory once for all of them. Call it under `if __name__ == "__main__":`.
            errors: "skip" leaves out an image that cannot be encoded, with a warning; "raise" ends there; "return"
                yields the error where the image would be.

        Raises:
            ValueError: a single image outside a list, an unknown option, a size as in `encode`.
            SeemError: a folder without images, a worker process that was ended.
        """
        return encode_many(
            self, images, size, workers=workers, errors=errors, max_pixels=max_pixels
        )

    def load_encoded(self, path: str | os.PathLike[str]) -> EncodedImage:
        """Read an image that `EncodedImage.save` has written; nothing is computed again.

        Raises `SeemError` for a file that holds no encoded image, or one that was encoded by other weights than these.
        """
        content = read_encoded_image(Path(path), self.network.mask_convolution)
        if (content.model, content.sha256) != (self.name, self.sha256):
            raise SeemError(
                f"{path} was encoded by {content.model} (sha256 {content.sha256[:12]}), this model is {self.name} "
                f"({self.sha256[:12]}); load that one, or encode the image again."
            )
        dtype = torch.float32 if self.precision == "float32" else None
        encoding = move_encoding(content.encoding, self.device, dtype)
        batch = content.batch.to(self.device)
        return EncodedImage(PromptDecoder(self, content.source, batch, encoding, content.seconds))

    def retrieve(self, images: Sequence[EncodedImage], phrase: str) -> tuple[RetrievalMatch, ...]:
        """Rank images by how well they fit a phrase, best first; scores are those of `EncodedImage.similarity`.

        Ask the best image `segment(Text(phrase))` for the region that is meant. Raises `ValueError` as
        `EncodedImage.similarity` does, and for what is not encoded.
        """
        check_compares_images(self)
        for image in images:
            if not isinstance(image, EncodedImage):
                raise ValueError(
                    f"retrieve ranks encoded images, got {image!r}; call model.encode on each first."
                )
        scores = [float(image.similarity([phrase])[0]) for image in images]
        order = sorted(range(len(images)), key=lambda index: -scores[index])
        return tuple(RetrievalMatch(index, scores[index]) for index in order)

    def tracker(
        self,
        video: VideoLike,
        mode: Mode | None = None,
        *,
        size: int | None = None,
        backward: bool = False,
    ) -> Tracker:
        """Begin to follow objects through a video: a file, a folder, a list or an iterator of frames.

        `mode`: "memory", "propagate" or "reference", None = the model's default; see `Tracker` for this and `backward`.
        `size` as in `encode`. Raises `ValueError` for a mode that the model cannot do and for what is no video,
        `SeemError` for a file or folder that cannot be read.
        """
        return Tracker(self, video, mode, size=size, backward=backward)

    def track(
        self,
        video: VideoLike,
        prompts: Prompt | Sequence[Prompt | Sequence[Prompt]],
        frame: int = 0,
        mode: Mode | None = None,
        *,
        size: int | None = None,
        backward: bool = False,
    ) -> Iterator[Results]:
        """Follow objects that are prompted in one frame; yields one `Results` a frame, ids count from 1.

        `prompts` is a list that holds for each object a prompt or a list of prompts. The rest as in `tracker`.
        """
        tracker = self.tracker(video, mode, size=size, backward=backward)
        for object_id, object_prompts in enumerate(prompts_of_objects(prompts), 1):
            tracker.add(frame, object_id, *object_prompts)
        return iter(tracker)

    # --- Names of an earlier version ---------------------------------------------------------------------------------

    def load_photo(self, path: str | os.PathLike[str]) -> EncodedImage:
        """`load_encoded` by its earlier name."""
        warn_renamed("Model.load_photo", "Model.load_encoded")
        return self.load_encoded(path)


@dataclass(frozen=True, slots=True)
class RetrievalMatch:
    """An image of a list, by its index, and how well it fits (`EncodedImage.similarity`)."""

    index: int
    score: float
