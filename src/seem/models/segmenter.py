"""The network, from images and prompts to typed outputs. Newcomers start here.

`encode_image` runs once per image, `decode` once per query.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seem.config import SegmenterConfig
from seem.models.decoder.decoder import ImageEncoding, MaskDecoder
from seem.models.decoder.draws import Draws, FairDraws
from seem.models.decoder.policy import RowKind
from seem.models.initialization import normal_parameter
from seem.models.kind import ModelKind, kind_of
from seem.models.mask_refiner import MaskRefiner
from seem.models.prompt_encoder import PromptEncoder
from seem.models.structures import (
    DecoderOutput,
    DecoderQuery,
    ImageBatch,
    PhraseTokens,
    PixelFeatures,
    Pyramid,
    TextFeatures,
    VisualPrompts,
    VisualTokens,
)
from seem.models.text.encoder import TextEncoder
from seem.models.text_embedding_head import TextEmbeddingHead


class Segmenter(nn.Module):
    """Backbone, pixel decoder, text encoder, prompt encoder and decoder of one model."""

    def __init__(
        self,
        config: SegmenterConfig,
        backbone: nn.Module,
        pixel_decoder: nn.Module,
        text: TextEncoder,
        prompt_encoder: PromptEncoder | None,
        decoder: MaskDecoder,
        image_projection: int | None,
        mask_refiner: MaskRefiner | None,
        text_embedding_head: TextEmbeddingHead | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.kind: ModelKind = kind_of(config)
        self.backbone = backbone
        self.pixel_decoder = pixel_decoder
        self.text = text
        self.prompt_encoder = prompt_encoder
        self.decoder = decoder
        self.mask_refiner = mask_refiner
        self.text_embedding_head = text_embedding_head
        self.image_projection: nn.Parameter | None = None
        if image_projection:
            self.image_projection = normal_parameter(image_projection, config.decoder.dim, std=0.02)

    def encode_image(self, images: ImageBatch, *, many_masks: bool = False) -> ImageEncoding:
        """Run the image network: everything that no prompt changes.

        `many_masks`: the masks of hundreds of queries will be asked for (training, which asks every layer), so that the
        convolution behind the mask features pays (`MaskFeatures`).
        """
        pyramid: Pyramid = self.backbone(images.pixels)
        pixels: PixelFeatures = self.pixel_decoder(pyramid)
        if many_masks or self.mask_refiner is not None:
            pixels = replace(pixels, mask_features=pixels.mask_features.applied())
        encoding: ImageEncoding = self.decoder.read(pixels)
        if self.text_embedding_head is not None:
            encoding = replace(encoding, text_map=self.text_embedding_head(pyramid.maps))
        if self.image_projection is not None:
            summary = pyramid.maps[-1].mean(dim=(2, 3)) @ self.image_projection
            encoding = replace(encoding, summary=summary)
        return encoding

    @property
    def mask_convolution(self) -> nn.Conv2d:
        """The convolution that makes the mask features (`MaskFeatures`)."""
        return self.pixel_decoder.mask_features  # type: ignore[return-value]

    def encode_pixels(self, images: ImageBatch) -> PixelFeatures:
        """Run backbone and pixel decoder."""
        return self.pixel_decoder(self.backbone(images.pixels))  # type: ignore[no-any-return]

    def encode_text(self, ids: Int[Tensor, "n t"], valid: Bool[Tensor, "n t"]) -> TextFeatures:
        """Encode token ids of phrases or class prompts."""
        return self.text(ids, valid)  # type: ignore[no-any-return]

    def encode_prompts(
        self, prompts: VisualPrompts, image: ImageEncoding, draws: Draws | None = None
    ) -> VisualTokens:
        """Turn rasterised prompts into tokens sampled from the image's features."""
        if self.prompt_encoder is None:
            raise ValueError(
                f"{self.config.name} takes no visual prompts; ask it with Text, or load a SEEM model."
            )
        return self.prompt_encoder(prompts, image.pixels, draws or FairDraws())  # type: ignore[no-any-return]

    def decode(
        self,
        image: ImageEncoding,
        query: DecoderQuery,
        groups: frozenset[RowKind] = frozenset({RowKind.OBJECT}),
        draws: Draws | None = None,
        intermediate: bool = False,
    ) -> DecoderOutput:
        """Run the decoder for every image of the batch: the outputs of `groups` of query rows.

        Deterministic unless `draws` says otherwise.
        """
        return self.decoder(image, query, groups, draws or FairDraws(), intermediate)  # type: ignore[no-any-return]

    def class_logits(
        self, class_vectors: Float[Tensor, "b q d"], classifier: Float[Tensor, "k d"]
    ) -> Float[Tensor, "b q k"]:
        """Compare class vectors with normalised class embeddings: cosine times the learned temperature."""
        return unit_vectors(class_vectors) @ classifier.T * self.text.logit_scale.exp()

    def phrase_logits(
        self, class_vectors: Float[Tensor, "b q d"], phrases: Float[Tensor, "n d"]
    ) -> Float[Tensor, "b q n"]:
        """Compare class vectors with phrase vectors: as `class_logits`, temperature clamped at 100."""
        return (
            unit_vectors(class_vectors)
            @ unit_vectors(phrases).T
            * self.text.logit_scale.exp().clamp(max=100)
        )


def unit_vectors(vectors: Float[Tensor, "*s d"]) -> Float[Tensor, "*s d"]:
    """Scale vectors to length one (official epsilon)."""
    length: Tensor = vectors.norm(dim=-1, keepdim=True)
    return vectors / (length + 1e-7)


def join_phrases(text: TextFeatures) -> PhraseTokens:
    """Concatenate the valid tokens of all phrases, for one image.

    Official behaviour of `evaluate_grounding`: phrases of one call attend to each other.
    """
    tokens = text.tokens[text.valid][None]
    return PhraseTokens(
        tokens, torch.zeros(tokens.shape[:2], dtype=torch.long, device=tokens.device)
    )
