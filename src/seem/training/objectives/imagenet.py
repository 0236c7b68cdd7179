"""Names of ImageNet's classes for objects that a data set does not name, and the loss that teaches them.

The names come from ImageNet's classifier (`recipes/salient_names.py`). They are phrases of their objects: an object is
asked for by its name and answered with its mask. Nothing is known of the rest of the photo, so the name competes with
the other classes of ImageNet inside of the mask alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from seem.data.banked_image import BankedImage, BankedObject
from seem.data.image_bank import ImageBank
from seem.data.training_sample import TrainingSample
from seem.models.segmenter import Segmenter, unit_vectors
from seem.models.text_embedding_head import pooled_text_vectors
from seem.training.phrases import PhraseTokenizer


@dataclass(frozen=True, slots=True)
class ImageNetClasses:
    """The class names by which row each has, and their text embeddings of length 1."""

    rows: Mapping[str, int]
    vectors: Float[Tensor, "k d"]

    @classmethod
    @torch.no_grad()
    def encode(
        cls, model: Segmenter, tokenizer: PhraseTokenizer, names: Sequence[str]
    ) -> ImageNetClasses:
        """Encode class names with a model's text tower, which must not change afterwards."""
        vectors = unit_vectors(tokenizer.encode(model, names).phrases.float())
        return cls({name: row for row, name in enumerate(names)}, vectors)


def with_names(bank: ImageBank, names: Mapping[tuple[str, int], str]) -> ImageBank:
    """Return a bank whose objects have a further phrase; `names` are by set and annotation id."""
    photos = [named_photo(photo, names) for photo in bank.images]
    return ImageBank(photos, bank.weights, bank.fingerprint)


def named_photo(photo: BankedImage, names: Mapping[tuple[str, int], str]) -> BankedImage:
    """Give the objects of a photo their further phrases."""
    entries = []
    for entry in photo.objects:
        name = names.get((photo.record.set_name, entry.record.id))
        entries.append(named_object(entry, name))
    return replace(photo, objects=tuple(entries))


def named_object(entry: BankedObject, name: str | None) -> BankedObject:
    """Give an object a phrase; None leaves it as it is."""
    if name is None:
        return entry
    return replace(entry, record=replace(entry.record, phrases=(*entry.record.phrases, name)))


def imagenet_class_loss(
    model: Segmenter,
    text_map: Float[Tensor, "b d h4 w4"],
    samples: Sequence[TrainingSample],
    classes: ImageNetClasses,
) -> Tensor:
    """Return the loss of the class of every object that a phrase names by one: of its mean embedding, and of its cells.

    Half and half; cross-entropy among all classes at the model's temperature, mean over the objects; 0 without any.
    """
    losses = []
    for photo, sample in zip(text_map, samples, strict=True):
        objects = labelled_objects(sample.phrases, classes)
        if not objects:
            continue
        masks = torch.from_numpy(sample.masks[list(objects)]).to(text_map.device).float()
        labels = torch.tensor(list(objects.values()), device=text_map.device)
        losses.append(object_losses(model, photo, masks, labels, classes))
    return torch.cat(losses).mean() if losses else text_map.sum() * 0


def labelled_objects(phrases: Iterable[Sequence[str]], classes: ImageNetClasses) -> dict[int, int]:
    """Map the row of every object that a phrase names by a class to that class."""
    class_of_row: dict[int, int] = {}
    for row, mine in enumerate(phrases):
        for phrase in mine:
            if phrase in classes.rows:
                class_of_row[row] = classes.rows[phrase]
    return class_of_row


def object_losses(
    model: Segmenter,
    photo: Float[Tensor, "d h4 w4"],
    masks: Float[Tensor, "n h w"],
    labels: Int[Tensor, " n"],
    classes: ImageNetClasses,
) -> Float[Tensor, " n"]:
    """Return the loss of the class of each mask: its mean embedding's and the mean of its cells'."""
    with torch.autocast(photo.device.type, enabled=False):
        photo = photo.float()
        mean_logits = model.class_logits(
            unit_vectors(pooled_text_vectors(photo[None], masks[None])), classes.vectors
        )[0]
        cells = model.class_logits(photo.flatten(1).T[None], classes.vectors)[0]
        shares = F.adaptive_avg_pool2d(masks[None], (photo.shape[-2], photo.shape[-1]))[0].flatten(
            1
        )
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-6)
        of_cells = -(shares @ cells.log_softmax(dim=1)).gather(1, labels[:, None])[:, 0]
        return (F.cross_entropy(mean_logits, labels, reduction="none") + of_cells) / 2
