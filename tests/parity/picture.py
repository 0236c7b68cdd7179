"""Cases about the whole picture: features, regions, captions, and what fits a photo as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile

import torch
from torch import Tensor

from parity.bench import Bench, GroupOutput, ImageFeatures, Output
from parity.setting import Setting
from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import RecordedDraws
from seem.models.decoder.policy import RowKind
from seem.models.pixel_decoders.fpn import FPNPixelDecoder
from seem.models.structures import CaptionPrefix, DecoderQuery, QueryOutputs
from seem.tasks.caption import CAPTION, write_caption
from seem.tasks.instance import foreground_probability, top_query_classes
from seem.tasks.panoptic import merge_masks, select_confident
from seem.tasks.postprocess import to_image_size
from seem.tasks.retrieval import image_vectors
from seem.tasks.semantic import class_scores
from seem.vocabulary import Vocabulary

SAM_STEPS = {
    "res2": (4, 16),
    "res3": (4, 8),
    "res4": (4, 4),
    "res5": (4, 2),
    "ms0": (8, 2),
    "ms1": (8, 4),
    "ms2": (8, 8),
    "mask_features": (8, 8),
}
"""Which channels, and which rows and columns, are recorded of SAM's backbone, under names that do not say it."""


def features(given: Setting) -> None:
    """Backbone and pixel decoder."""
    given.encode_image()
    maps(given, given.bench.encode_parts(given.recording.photo()))


def features_of_sam(given: Setting) -> None:
    """Backbone and pixel decoder, of 1024 x 1024 pixels."""
    given.encode_image()
    ours = feature_maps(given.bench, given.bench.encode_parts(given.recording.photo()))
    for name, (channels, pixels) in SAM_STEPS.items():
        given.compare.rows(name, ours[name][:, ::channels, ::pixels, ::pixels])


def maps(given: Setting, image_features: ImageFeatures) -> None:
    """Compare every feature map that is recorded."""
    for name, tensor in feature_maps(given.bench, image_features).items():
        given.vectors(f"(feat_)?{name}", tensor)


def feature_maps(bench: Bench, image_features: ImageFeatures) -> dict[str, Tensor]:
    """Name the maps of the image network as the recordings do."""
    ours = {
        f"res{number}": level for number, level in enumerate(image_features.pyramid.maps, start=2)
    }
    ours |= {f"ms{number}": level for number, level in enumerate(image_features.pixels.levels)}
    encoder = bench.network.pixel_decoder
    if isinstance(encoder, FPNPixelDecoder):
        ours["transformer_encoder_features"] = encoder.encode(
            encoder.input_proj(image_features.pyramid.maps[-1])
        )
    return {**ours, "mask_features": image_features.pixels.mask_features.maps}


def panoptic(given: Setting) -> None:
    """Object queries: class logits and masks, after every layer where recorded; features where recorded."""
    image = given.encode_image()
    maps(given, given.bench.encode_parts(given.recording.photo()))
    if "output_hw" in given.recording:  # the demo answers at its working size
        assert given.frame().output_hw == given.frame().input_hw
    output = given.bench.ask(image, DecoderQuery(), given.policy.region_kinds)
    if "text_embeddings" in given.recording:
        given.compare.vectors("text_embeddings", given.encode_class_names())
    objects(given, output)
    for number, earlier in enumerate(output.earlier):  # recorded for every tenth query
        assert earlier.object is not None
        given.masks(f"aux{number}_masks", earlier.object.masks[:, ::10, ::4, ::4])
        if f"aux{number}_logits" in given.recording:
            given.vectors(f"aux{number}_logits", given.logits(earlier.object)[:, ::10])


def objects(given: Setting, output: Output, step: int = 1) -> None:
    """Compare what the object queries say; `step` is how many are recorded under names that do not say it.

    X-Decoder has one list of queries: the image query stands behind the object queries, then come those of phrases.
    """
    assert output.object is not None
    queries = output.object
    if output.phrase is not None and given.policy.group(RowKind.IMAGE) is not None:
        queries = followed(queries, output.phrase)
    for name in given.recording.names(r"pred_logits(_q\d+)?"):
        thin = step if name == "pred_logits" else 1
        given.compare.vectors(name, given.logits(queries)[:, ::thin])
    given.masks("pred_masks", queries.masks)
    given.vectors("pred_captions", queries.answers.class_vectors)


def followed(first: GroupOutput, second: GroupOutput) -> GroupOutput:
    """Put the queries of two groups one after the other."""
    class_vectors = torch.cat((first.answers.class_vectors, second.answers.class_vectors), dim=1)
    mask_embeddings = torch.cat(
        (first.answers.mask_embeddings, second.answers.mask_embeddings), dim=1
    )
    return GroupOutput(
        QueryOutputs(class_vectors, mask_embeddings), torch.cat((first.masks, second.masks), dim=1)
    )


def postprocess(given: Setting) -> None:
    """Head outputs to panoptic map, instances and class scores; one recording holds the head outputs for all."""
    compare, dtype = given.compare, given.dtype
    is_thing = torch.tensor(Vocabulary.coco_panoptic().is_thing)
    heads = given.recording
    if "pred_logits" not in heads:
        heads = given.folder.open("seem_v1_focalt/postprocess")
    logits = heads.tensor("pred_logits")[0].to(dtype)
    masks = to_image_size(heads.tensor("pred_masks")[0].to(dtype), given.frame())

    confident = select_confident(logits, threshold=0.8)
    panoptic = merge_masks(
        confident, masks[confident.queries], (masks.shape[-2], masks.shape[-1]), is_thing
    )
    compare.exact("panoptic_seg", panoptic.ids.long())
    segments = [[segment.id, segment.is_thing, segment.category] for segment in panoptic.segments]
    compare.exact("segments", torch.tensor(segments, dtype=torch.long).reshape(-1, 3))

    pairs = top_query_classes(logits, is_thing)
    instance_masks = masks[pairs.queries]
    scores = pairs.scores * torch.stack([foreground_probability(mask) for mask in instance_masks])
    order = scores.argsort(descending=True)
    compare.vectors("inst_scores", scores[order])
    compare.exact("inst_classes", pairs.classes[order])
    compare.exact("inst_area", (instance_masks[order] > 0).sum(dim=(1, 2)).float())
    if "inst_masks_every8_packed" in given.recording:
        every8 = given.recording.unpacked("inst_masks_every8_packed", masks.shape[-1])
        compare.exact("inst_masks_every8_packed", instance_masks[order][::8] > 0, every8)

    semantic = torch.stack([*class_scores(logits.softmax(dim=-1).T[:-1], masks.sigmoid())])
    compare.exact("sem_argmax", semantic.argmax(dim=0).to(torch.uint8))
    given.vectors("sem_seg", semantic)


# ------------------------------------------------------------------------------------------------ words for the whole


def captioning(given: Setting) -> None:
    """Captions of a photo and of a part of it: the words, and the vectors that chose each."""
    recording, bench = given.recording, given.bench
    image = given.encode_image()
    begin, steps = (int(recording.array(name)) for name in ("start_token", "steps"))
    hidden = recording.unpacked("captioning_mask", recording.hw("network_hw")[1])
    words = bench.network.text.tokens.weight
    for which, unseen in (("", None), ("_masked", hidden)):
        recorded = recording.tensor(f"tokens{which}")
        assert recorded[0] == begin
        caption(given, f"tokens{which}", image, steps, unseen)
        vectors = caption_vectors(bench, image, recorded[:steps], unseen)
        given.compare.vectors(f"step_vectors{which}", vectors)
        if not which:
            given.compare.vectors("first_logits", vectors[0] @ words.T)
            best, second = (vectors @ words.T).topk(2).values.unbind(dim=1)
            given.compare.vectors("margins", best - second)


def caption(
    given: Setting, name: str, image: ImageEncoding, steps: int, hidden: Tensor | None = None
) -> None:
    """Compare the words of a caption; recorded ones go on behind the end token, ours do not."""
    begin, *recorded = given.recording.tensor(name).tolist()
    end = given.bench.network.config.text.vocabulary_size - 1

    def laid_out(words: Iterable[int]) -> Tensor:
        before_end = list(takewhile(lambda word: word != end, words))
        return torch.tensor([begin, *before_end, *[begin] * (len(recorded) - len(before_end))])

    words = write_caption(given.bench.network, image, begin, end, hidden, max_tokens=steps)
    given.compare.exact(name, laid_out(words), laid_out(recorded))


def caption_vectors(
    bench: Bench, image: ImageEncoding, ids: Tensor, hidden: Tensor | None
) -> Tensor:
    """Return the vector that chooses the word behind each of the given ones, all in one pass."""
    tokens = bench.network.encode_text(
        ids[None], torch.ones_like(ids[None], dtype=torch.bool)
    ).tokens
    output = bench.network.decode(
        image, DecoderQuery(caption=CaptionPrefix(tokens, hidden)), CAPTION, RecordedDraws()
    )
    assert output.caption is not None
    return output.caption[0]


def retrieval(given: Setting) -> None:
    """The two vectors of a whole photo, and those of phrases."""
    described = image_vectors(given.bench.network, given.encode_image())
    given.compare.vectors("image_embed0", described.query)
    given.compare.vectors("image_embed1", described.mean)
    given.compare.vectors("text_embeds", given.read(given.recording.texts()).phrases)


def classification(given: Setting) -> None:
    """A whole photo beside the class names."""
    described = image_vectors(given.bench.network, given.encode_image())
    logits = given.bench.network.class_logits(described.query[:, None], given.classifier())
    given.compare.vectors("pred_class", logits[0, 0])
