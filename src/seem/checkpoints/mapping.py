"""Official key names and ours: one table, total and reversible.

A row pairs an official key with one of ours, or with three where the official file packs the query, key and value
projections of an attention into one tensor. `*` stands for a number and is the same on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

PREDICTOR = "sem_seg_head.predictor."
PIXELS = "sem_seg_head.pixel_decoder."
LANGUAGE = f"{PREDICTOR}lang_encoder.lang_encoder."


@dataclass(frozen=True, slots=True)
class KeyMapping:
    """One official key and ours; several of ours are stacked along the first dimension in the official tensor."""

    official: str
    ours: tuple[str, ...]


def both(official: str, ours: str) -> list[KeyMapping]:
    """Pair weight and bias."""
    return [KeyMapping(f"{official}.{part}", (f"{ours}.{part}",)) for part in ("weight", "bias")]


def packed(official: str, ours: str) -> list[KeyMapping]:
    """Pair a packed attention with our four projections."""
    rows = []
    for part in ("weight", "bias"):
        projections = (f"{ours}.query.{part}", f"{ours}.key.{part}", f"{ours}.value.{part}")
        rows.append(KeyMapping(f"{official}.in_proj_{part}", projections))
    return rows + both(f"{official}.out_proj", f"{ours}.out")


def fused(official: str, ours: str) -> list[KeyMapping]:
    """Pair an attention that projects query, key and value at once, here as there."""
    return [*both(f"{official}.qkv", f"{ours}.qkv"), *both(f"{official}.proj", f"{ours}.proj")]


def one(official: str, ours: str) -> list[KeyMapping]:
    """Pair two bare tensors."""
    return [KeyMapping(official, (ours,))]


FOCALNET = [
    *both("backbone.patch_embed.proj", "backbone.stem.proj"),
    *both("backbone.patch_embed.norm", "backbone.stem.norm"),
    *both("backbone.layers.*.downsample.proj", "backbone.downsamples.*.proj"),
    *both("backbone.layers.*.downsample.norm", "backbone.downsamples.*.norm"),
    *one("backbone.layers.*.blocks.*.gamma_1", "backbone.stages.*.*.scale1"),
    *one("backbone.layers.*.blocks.*.gamma_2", "backbone.stages.*.*.scale2"),
    *both("backbone.layers.*.blocks.*.dw1", "backbone.stages.*.*.conv1"),
    *both("backbone.layers.*.blocks.*.dw2", "backbone.stages.*.*.conv2"),
    *both("backbone.layers.*.blocks.*.norm1", "backbone.stages.*.*.norm1"),
    *both("backbone.layers.*.blocks.*.norm2", "backbone.stages.*.*.norm2"),
    *both("backbone.layers.*.blocks.*.modulation.f", "backbone.stages.*.*.modulation.split"),
    *both("backbone.layers.*.blocks.*.modulation.h", "backbone.stages.*.*.modulation.mix"),
    *both("backbone.layers.*.blocks.*.modulation.proj", "backbone.stages.*.*.modulation.proj"),
    *one(
        "backbone.layers.*.blocks.*.modulation.focal_layers.*.0.weight",
        "backbone.stages.*.*.modulation.contexts.*.weight",
    ),
    *both("backbone.layers.*.blocks.*.mlp.fc1", "backbone.stages.*.*.fc1"),
    *both("backbone.layers.*.blocks.*.mlp.fc2", "backbone.stages.*.*.fc2"),
    *both("backbone.norm0", "backbone.norms.0"),
    *both("backbone.norm1", "backbone.norms.1"),
    *both("backbone.norm2", "backbone.norms.2"),
    *both("backbone.norm3", "backbone.norms.3"),
]

DAVIT = [
    *both("backbone.convs.*.proj", "backbone.embeddings.*.proj"),
    *both("backbone.convs.*.norm", "backbone.embeddings.*.norm"),
]
for kind, attention in (("spatial", "window_attn"), ("channel", "channel_attn")):
    official, ours = f"backbone.blocks.*.*.{kind}_block", f"backbone.stages.*.*.{kind}"
    DAVIT += [
        *both(f"{official}.conv1.fn.dw", f"{ours}.conv1"),
        *both(f"{official}.{attention}.norm", f"{ours}.norm1"),
        *fused(f"{official}.{attention}.fn", f"{ours}.attention"),
        *both(f"{official}.conv2.fn.dw", f"{ours}.conv2"),
        *both(f"{official}.ffn.norm", f"{ours}.norm2"),
        *both(f"{official}.ffn.fn.net.fc1", f"{ours}.fc1"),
        *both(f"{official}.ffn.fn.net.fc2", f"{ours}.fc2"),
    ]

SAM_VIT = [
    *one("backbone.pos_embed", "backbone.positions"),
    *both("backbone.patch_embed.proj", "backbone.patches"),
    *both("backbone.blocks.*.norm1", "backbone.blocks.*.norm1"),
    *fused("backbone.blocks.*.attn", "backbone.blocks.*.attention"),
    *one("backbone.blocks.*.attn.rel_pos_h", "backbone.blocks.*.attention.rows"),
    *one("backbone.blocks.*.attn.rel_pos_w", "backbone.blocks.*.attention.columns"),
    *both("backbone.blocks.*.norm2", "backbone.blocks.*.norm2"),
    *both("backbone.blocks.*.mlp.lin1", "backbone.blocks.*.fc1"),
    *both("backbone.blocks.*.mlp.lin2", "backbone.blocks.*.fc2"),
    *both("backbone.neck.down_4.*", "backbone.neck.stride4.*"),
    *both("backbone.neck.down_8.*", "backbone.neck.stride8.*"),
    *both("backbone.neck.down_16.*", "backbone.neck.stride16.*"),
    *both("backbone.neck.down_32.*", "backbone.neck.stride32.*"),
]

DEFORMABLE = [
    *both(f"{PIXELS}input_proj.*.*", "pixel_decoder.inputs.*.*"),
    *one(f"{PIXELS}transformer.level_embed", "pixel_decoder.level_embedding"),
    *both(
        f"{PIXELS}transformer.encoder.layers.*.self_attn.sampling_offsets",
        "pixel_decoder.encoder.*.sampling.offsets",
    ),
    *both(
        f"{PIXELS}transformer.encoder.layers.*.self_attn.attention_weights",
        "pixel_decoder.encoder.*.sampling.weights",
    ),
    *both(
        f"{PIXELS}transformer.encoder.layers.*.self_attn.value_proj",
        "pixel_decoder.encoder.*.sampling.value",
    ),
    *both(
        f"{PIXELS}transformer.encoder.layers.*.self_attn.output_proj",
        "pixel_decoder.encoder.*.sampling.out",
    ),
    *one(f"{PIXELS}adapter_1.weight", "pixel_decoder.lateral.conv.weight"),
    *both(f"{PIXELS}adapter_1.norm", "pixel_decoder.lateral.norm"),
    *one(f"{PIXELS}layer_1.weight", "pixel_decoder.output.conv.weight"),
    *both(f"{PIXELS}layer_1.norm", "pixel_decoder.output.norm"),
]

FPN = [
    *both(f"{PIXELS}input_proj", "pixel_decoder.input_proj"),
    *packed(f"{PIXELS}transformer.encoder.layers.*.self_attn", "pixel_decoder.encoder.*.attention"),
    *both(f"{PIXELS}transformer.encoder.layers.*.linear1", "pixel_decoder.encoder.*.fc1"),
    *both(f"{PIXELS}transformer.encoder.layers.*.linear2", "pixel_decoder.encoder.*.fc2"),
    *both(f"{PIXELS}transformer.encoder.layers.*.norm1", "pixel_decoder.encoder.*.norm1"),
    *both(f"{PIXELS}transformer.encoder.layers.*.norm2", "pixel_decoder.encoder.*.norm2"),
    *both(f"{PIXELS}mask_features", "pixel_decoder.mask_features"),
]
for number in range(4):  # the official counts from one
    FPN += [
        *one(f"{PIXELS}layer_{number + 1}.weight", f"pixel_decoder.outputs.{number}.conv.weight"),
        *both(f"{PIXELS}layer_{number + 1}.norm", f"pixel_decoder.outputs.{number}.norm"),
    ]
    if number < 3:
        FPN += [
            *one(
                f"{PIXELS}adapter_{number + 1}.weight",
                f"pixel_decoder.laterals.{number}.conv.weight",
            ),
            *both(f"{PIXELS}adapter_{number + 1}.norm", f"pixel_decoder.laterals.{number}.norm"),
        ]

TEXT = [
    *one(f"{PREDICTOR}lang_encoder.lang_proj", "text.projection"),
    *one(f"{PREDICTOR}lang_encoder.logit_scale", "text.logit_scale"),
    *one(f"{LANGUAGE}positional_embedding", "text.positions"),
    *one(f"{LANGUAGE}token_embedding.weight", "text.tokens.weight"),
    *packed(f"{LANGUAGE}resblocks.*.attn", "text.blocks.*.attention"),
    *both(f"{LANGUAGE}resblocks.*.ln_1", "text.blocks.*.norm1"),
    *both(f"{LANGUAGE}resblocks.*.ln_2", "text.blocks.*.norm2"),
    *both(f"{LANGUAGE}resblocks.*.mlp.c_fc", "text.blocks.*.fc1"),
    *both(f"{LANGUAGE}resblocks.*.mlp.c_proj", "text.blocks.*.fc2"),
    *both(f"{LANGUAGE}ln_final", "text.norm"),
]

DECODER = [
    *one(f"{PREDICTOR}query_feat.weight", "decoder.query_features"),
    *one(f"{PREDICTOR}query_embed.weight", "decoder.query_positions"),
    *one(f"{PREDICTOR}spatial_featured.weight", "decoder.memory_features"),
    *one(f"{PREDICTOR}spatial_embed.weight", "decoder.memory_positions"),
    *one(f"{PREDICTOR}level_embed.weight", "decoder.level_embedding"),
    *packed(
        f"{PREDICTOR}transformer_cross_attention_layers.*.multihead_attn",
        "decoder.layers.*.image_attention",
    ),
    *both(f"{PREDICTOR}transformer_cross_attention_layers.*.norm", "decoder.layers.*.image_norm"),
    *packed(
        f"{PREDICTOR}transformer_self_attention_layers.*.self_attn",
        "decoder.layers.*.group_attention",
    ),
    *both(f"{PREDICTOR}transformer_self_attention_layers.*.norm", "decoder.layers.*.group_norm"),
    *both(f"{PREDICTOR}transformer_ffn_layers.*.linear1", "decoder.layers.*.fc1"),
    *both(f"{PREDICTOR}transformer_ffn_layers.*.linear2", "decoder.layers.*.fc2"),
    *both(f"{PREDICTOR}transformer_ffn_layers.*.norm", "decoder.layers.*.ffn_norm"),
    *both(f"{PREDICTOR}decoder_norm", "decoder.heads.norm"),
    *one(f"{PREDICTOR}class_embed", "decoder.heads.class_projection"),
    *both(f"{PREDICTOR}mask_embed.layers.*", "decoder.heads.mask_layers.*"),
    *one(f"{PREDICTOR}mask_sptial_embed.*", "prompt_encoder.level_projections.*"),
    *one(f"{PREDICTOR}pn_indicator.weight", "prompt_encoder.signs"),
    *one(f"{PREDICTOR}caping_embed", "decoder.captions.projection"),
    *one(f"{PREDICTOR}pos_embed_caping.weight", "decoder.captions.positions"),
    *one("backbone_proj", "image_projection"),
]

TABLE = (*FOCALNET, *DAVIT, *SAM_VIT, *FPN, *DEFORMABLE, *TEXT, *DECODER)

KNOWN_EXTRAS = (
    "dilation_kernel",  # a 3x3 of ones for drawing clicks
    "criterion.empty_weight",  # class weights of the training loss
    "backbone_proj",  # the rest: heads of X-Decoder, left in SEEM files that were trained from one
    f"{PREDICTOR}caping_embed",
    f"{PREDICTOR}pos_embed_caping.weight",
    f"{PREDICTOR}self_attn_mask",
)
"""Official keys that hold nothing which the network needs for answering."""


@dataclass(frozen=True, slots=True)
class Converted:
    """Our tensors, and the official keys that were left out on purpose."""

    tensors: dict[str, Tensor]
    extras: tuple[str, ...]


def key_mappings(ours: Iterable[str]) -> list[KeyMapping]:
    """Return the table with every `*` filled in, for a network that has the keys `ours`; official order within rows.

    Raises `KeyError` if a key of the network has no row: the table must be total.
    """
    patterns = [(row, re.compile(as_pattern(row.ours[0]))) for row in TABLE]
    stacked = {re.compile(as_pattern(name)) for row in TABLE for name in row.ours[1:]}
    filled = []
    for key in ours:
        for row, pattern in patterns:
            if match := pattern.fullmatch(key):
                numbers = match.groups()
                filled.append(
                    KeyMapping(
                        fill(row.official, numbers), tuple(fill(name, numbers) for name in row.ours)
                    )
                )
                break
        else:
            if not any(pattern.fullmatch(key) for pattern in stacked):
                raise KeyError(f"{key} has no official name")
    return filled


def from_official(official: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> Converted:
    """Rename an official state dict for a network whose own state dict is `ours`.

    Raises `ValueError` that lists every missing, unknown and misshapen key.
    """
    rows = key_mappings(ours)
    further = dict.fromkeys(official)
    tensors: dict[str, Tensor] = {}
    missing, misshapen = [], []
    for row in rows:
        further.pop(row.official, None)
        if row.official not in official:
            missing.append(row.official)
            continue
        given, expected = list(official[row.official].shape), official_shape(row, ours)
        if given != expected:
            misshapen.append(f"{row.official} is {given}, expected {expected}")
            continue
        if len(row.ours) == 1:
            tensors[row.ours[0]] = official[row.official]
            continue
        parts = official[row.official].chunk(len(row.ours))
        tensors.update(zip(row.ours, parts, strict=True))
    unknown = sorted(further.keys() - set(KNOWN_EXTRAS))
    if missing or unknown or misshapen:
        raise ValueError(complaint(missing, unknown, misshapen))
    return Converted(tensors, tuple(further))


def official_shape(row: KeyMapping, ours: Mapping[str, Tensor]) -> list[int]:
    """Return the shape of an official tensor: ours, or ours stacked along the first dimension."""
    shape = list(ours[row.ours[0]].shape)
    return shape if len(row.ours) == 1 else [len(row.ours) * shape[0], *shape[1:]]


def to_official(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename our state dict back: the inverse of `from_official`, without the known extras."""
    official = {}
    for row in key_mappings(ours):
        tensors = [ours[name] for name in row.ours]
        official[row.official] = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
    return official


def complaint(missing: list[str], unknown: list[str], misshapen: list[str]) -> str:
    """Name what does not fit, at most eight keys of each kind."""
    parts = []
    for what, keys in (("missing", missing), ("unknown", unknown), ("of another shape", misshapen)):
        if keys:
            more = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
            parts.append(f"{len(keys)} {what}: {', '.join(keys[:8])}{more}")
    return "The checkpoint is of another architecture. Keys " + "; ".join(parts) + "."


def as_pattern(template: str) -> str:
    """Turn a template into a regular expression that captures its numbers."""
    return re.escape(template).replace(r"\*", r"(\d+)")


def fill(template: str, numbers: tuple[str, ...]) -> str:
    """Put numbers in place of the asterisks."""
    for number in numbers:
        template = template.replace("*", number, 1)
    return template
