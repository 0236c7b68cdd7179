"""Masked-attention decoder: queries attend to the image and the prompts, layer by layer, under a policy.

One class for every version: `policy.py` says which rows attend to which. Each layer is image attention (only where the
query's own mask is foreground), group attention, feed-forward; the heads predict from the queries before the first
layer and after each. Sources: X-Decoder, section 3; SEEM, section 3.1 and figure 3.

Differences from the official code: rows that cannot influence the wanted outputs are not computed, and neither is what
a layer would make of tokens that the next one replaces; attention masks come from mask features shrunk once per level
(shrinking is linear), never from full-size masks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seem.config import DecoderConfig
from seem.models.decoder.draws import Draws, FairDraws
from seem.models.decoder.layers import CaptionHead, DecoderLayer, Heads
from seem.models.decoder.policy import POLICIES, Group, Policy, RowKind
from seem.models.initialization import normal_parameter
from seem.models.ops.attention import KeysValues
from seem.models.ops.masks import dot, map_hw, resize, shrink_or_grow, visible_pixels
from seem.models.ops.position import sine_position
from seem.models.structures import (
    CaptionPrefix,
    DecoderOutput,
    DecoderQuery,
    PixelFeatures,
    QueryOutputs,
)


@dataclass(frozen=True, slots=True)
class ImageEncoding:
    """The encoding of an image, computed once: everything that no prompt changes.

    `pixels.levels` carry the level embedding. `reads[i]` are the keys and values of layer i. `small_masks[l]` are the
    mask features at the size of level l. `summary` is the vector of the full image in the text space, where a model has
    a projection for it (X-Decoder); `text_map` holds one such vector for each cell (nano).
    """

    pixels: PixelFeatures
    reads: tuple[KeysValues, ...]
    small_masks: tuple[Float[Tensor, "b c _hl _wl"], ...]
    summary: Float[Tensor, "b d"] | None = None
    text_map: Float[Tensor, "b d h4 w4"] | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """The rows of one group in one pass. `owner` is the object of each row (0 where rows are shared, -1 on padding)."""

    group: Group
    features: Float[Tensor, "b r d"]
    positions: Float[Tensor, "b r d"]
    owner: Int[Tensor, "b r"]


class MaskDecoder(nn.Module):
    """The decoder of every SEEM and X-Decoder version, and of nano."""

    def __init__(self, config: DecoderConfig, mask_dim: int, context: int) -> None:
        super().__init__()
        dim = config.dim
        self.policy = POLICIES[config.policy]
        self.query_features = normal_parameter(config.num_queries, dim)
        self.query_positions = normal_parameter(config.num_queries, dim)
        if config.num_memory:
            self.memory_features = normal_parameter(config.num_memory, dim)
            self.memory_positions = normal_parameter(config.num_memory, dim)
        self.level_embedding = normal_parameter(3, dim)
        self.layers = nn.ModuleList(
            DecoderLayer(dim, config.num_heads, config.ffn) for _ in range(config.layers)
        )
        self.heads = Heads(dim, mask_dim)
        self.captions = CaptionHead(dim, context) if self.policy.group(RowKind.CAPTION) else None

    def read(self, pixels: PixelFeatures) -> ImageEncoding:
        """Compute everything that no prompt changes: keys and values of every layer, and small mask features.

        Antialiased bicubic resizing reads every cell: it takes the mask features themselves.
        """
        mask_features = pixels.mask_features
        if self.policy.resampling == "bicubic":
            mask_features = mask_features.applied()
        levels = []
        small_masks = []
        for level, embedding in zip(pixels.levels, self.level_embedding, strict=True):
            levels.append(level + embedding[:, None, None])
            hw = map_hw(level)
            if self.policy.resampling == "bicubic":
                small_masks.append(shrink_or_grow(mask_features.cells, hw, "bicubic"))
            else:
                small_masks.append(mask_features.shrunk(hw))
        keys_values = []
        for i, layer in enumerate(self.layers):
            level = levels[i % len(levels)]
            position = sine_position(map_hw(level), level.shape[1], level.device, level.dtype)
            keys_values.append(layer.project_image(level + position, level))  # type: ignore[operator]
        return ImageEncoding(
            PixelFeatures(mask_features, tuple(levels)),
            tuple(keys_values),
            tuple(small_masks),
        )

    def forward(
        self,
        image: ImageEncoding,
        query: DecoderQuery,
        groups: frozenset[RowKind],
        draws: Draws,
        intermediate: bool = False,
    ) -> DecoderOutput:
        """Predict classes and masks for one query about every image of the batch.

        `groups` names the groups of query rows whose outputs are wanted. With `intermediate` the output also holds what
        the heads predict before every layer.
        """
        policy = self.policy.composed() if query.composed else self.policy
        blocks = self.build_blocks(image, query, policy, groups, draws)
        carried = [block for block in blocks if not block.group.changes_with_level]
        x = torch.cat([block.features for block in carried], dim=1)
        positions = torch.cat([block.positions for block in carried], dim=1)
        visible_rows = row_attention_mask(carried, blocks)
        num_readers = sum(block.features.shape[1] for block in blocks if block.group.reads_image)
        outputs = [self.apply_heads(x, carried)]
        for i, layer in enumerate(self.layers):
            level = i % len(image.small_masks)
            pixel_mask = pixel_attention_mask(outputs[-1], carried, query, image.small_masks[level])
            readers = layer.attend_to_image(  # type: ignore[operator]
                x[:, :num_readers],
                positions[:, :num_readers],
                image.reads[i],
                pixel_mask,
            )
            x = torch.cat((readers, x[:, num_readers:]), dim=1)
            tokens = level_tokens(query, blocks, level, x)
            x = layer.attend_to_rows(x, positions, tokens, visible_rows)  # type: ignore[operator]
            x = layer.feed_forward(x)  # type: ignore[operator]
            outputs.append(self.apply_heads(x, carried))
        *earlier, last = outputs
        return replace(last, intermediate=tuple(earlier)) if intermediate else last

    def build_blocks(
        self,
        image: ImageEncoding,
        query: DecoderQuery,
        policy: Policy,
        wanted: frozenset[RowKind],
        draws: Draws,
    ) -> list[Block]:
        """Make the rows of every group that is needed for the wanted ones."""
        batch = len(image.pixels.mask_features.cells)
        groups = policy.needed(wanted, present_kinds(policy, query))
        return [self.build_block(group, query, policy, draws, batch) for group in groups]

    def build_block(
        self, group: Group, query: DecoderQuery, policy: Policy, draws: Draws, batch: int
    ) -> Block:
        """Make the rows of one group: learned queries and slots by index, tokens as they are given."""
        num_queries = len(self.query_features)
        if policy.group(RowKind.IMAGE):
            num_queries -= 1  # the last one is the image query
        match group.kind:
            case RowKind.OBJECT | RowKind.PHRASE:
                no_owner = torch.zeros(num_queries, dtype=torch.long)
                return self.query_rows(group, torch.arange(num_queries), no_owner, batch)
            case RowKind.IMAGE:
                return self.query_rows(group, torch.tensor([num_queries]), torch.tensor([0]), batch)
            case RowKind.VISUAL:
                return self.visual_rows(group, query.num_objects, num_queries, policy, draws, batch)
            case RowKind.MEMORY:
                slot_draws = FairDraws() if policy.independent_objects else draws
                index, owner = slot_draws.memory(query.num_objects, len(self.memory_features))
                tables = (self.memory_features, self.memory_positions)
                return without_missing(
                    learned_rows(group, tables, index, owner, batch), query.has_previous
                )
            case RowKind.CAPTION:
                assert query.caption is not None
                assert self.captions is not None
                tokens = query.caption.tokens
                positions = tokens + self.captions.positions[: tokens.shape[1]]
                return Block(group, tokens, positions, zero_owner(tokens))
            case RowKind.PHRASE_TOKENS | RowKind.AUDIO_TOKENS:
                text = query.phrases if group.kind is RowKind.PHRASE_TOKENS else query.audio
                assert text is not None
                return Block(group, text.tokens, text.tokens, text.owner)
            case RowKind.VISUAL_TOKENS | RowKind.REFERENCE_TOKENS:
                marks = query.visual if group.kind is RowKind.VISUAL_TOKENS else query.reference
                assert marks is not None
                return Block(group, marks.levels[0], marks.levels[0], marks.owner)

    def visual_rows(
        self,
        group: Group,
        num_objects: int,
        num_queries: int,
        policy: Policy,
        draws: Draws,
        batch: int,
    ) -> Block:
        """Copy object queries for every prompted object: as many as the policy says, or all."""
        if policy.visual_queries:
            per_object = policy.visual_queries
            index = draws.queries(num_objects, per_object, num_queries)
        else:
            per_object = num_queries
            index = torch.arange(num_queries).repeat(num_objects)
        owner = torch.arange(num_objects).repeat_interleave(per_object)
        return self.query_rows(group, index, owner, batch)

    def query_rows(
        self, group: Group, index: Int[Tensor, " r"], owner: Int[Tensor, " r"], batch: int
    ) -> Block:
        """Copy object queries into rows."""
        return learned_rows(group, (self.query_features, self.query_positions), index, owner, batch)

    def apply_heads(self, x: Float[Tensor, "b s d"], blocks: list[Block]) -> DecoderOutput:
        """Predict from the rows of every group that has outputs."""
        sizes = [block.features.shape[1] for block in blocks]
        normed = {}
        for block, rows in zip(blocks, torch.split(x, sizes, dim=1), strict=True):
            if block.group.answers:
                normed[block.group.kind] = self.heads.norm(rows)
        outputs: dict[RowKind, QueryOutputs] = {}
        for block in blocks:
            kind, pools = block.group.kind, block.group.pools
            if kind in normed and kind is not RowKind.CAPTION:
                rows = (
                    normed[kind]
                    if pools is None
                    else similarity_pooled(normed[kind], normed[pools])
                )
                outputs[kind] = self.heads(rows)
        caption = None
        if self.captions is not None and RowKind.CAPTION in normed:
            caption = normed[RowKind.CAPTION] @ self.captions.projection
        return DecoderOutput(
            object=outputs.get(RowKind.OBJECT),
            image=outputs.get(RowKind.IMAGE),
            phrase=outputs.get(RowKind.PHRASE),
            visual=outputs.get(RowKind.VISUAL),
            caption=caption,
        )


def present_kinds(policy: Policy, query: DecoderQuery) -> frozenset[RowKind]:
    """Return the kinds of rows that a query can have under a policy."""
    is_given = {
        RowKind.VISUAL: query.num_objects > 0,
        RowKind.MEMORY: query.previous is not None,
        RowKind.CAPTION: query.caption is not None,
        RowKind.PHRASE_TOKENS: query.phrases is not None,
        RowKind.AUDIO_TOKENS: query.audio is not None,
        RowKind.REFERENCE_TOKENS: query.reference is not None,
        RowKind.VISUAL_TOKENS: query.visual is not None,
    }
    kinds = frozenset(group.kind for group in policy.groups)
    return kinds - {kind for kind, given in is_given.items() if not given}


def learned_rows(
    group: Group,
    tables: tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]],
    index: Int[Tensor, " r"],
    owner: Int[Tensor, " r"],
    batch: int,
) -> Block:
    """Make rows from learned features and positions, the same for every image of the batch."""
    features, positions = (table[index.to(table.device)].expand(batch, -1, -1) for table in tables)
    return Block(group, features, positions, owner.to(features.device).expand(batch, -1))


def without_missing(block: Block, present: Bool[Tensor, "b n"] | None) -> Block:
    """Turn the rows of objects that are not present into padding."""
    if present is None:
        return block
    owner = torch.where(present.gather(1, block.owner), block.owner, -1)
    return replace(block, owner=owner)


def zero_owner(tokens: Float[Tensor, "b r d"]) -> Int[Tensor, "b r"]:
    """Return the owner column of rows that belong to no object."""
    return torch.zeros(tokens.shape[:2], dtype=torch.long, device=tokens.device)


def similarity_pooled(
    queries: Float[Tensor, "b r d"], others: Float[Tensor, "b q d"]
) -> Float[Tensor, "b r d"]:
    """Return the mean of other rows, weighted by a softmax of their cosine with each query.

    The output of X-Decoder's image query; its own row goes on unchanged (official behaviour).
    """
    similarity = F.normalize(queries, dim=-1) @ F.normalize(others, dim=-1).mT
    return similarity.softmax(dim=-1) @ others


def row_attention_mask(
    attending: list[Block], attended: list[Block]
) -> Bool[Tensor, "b r s"] | None:
    """Return which rows (first axis) attend to which (second axis). None where all attend to all.

    Two rows that belong to objects attend to each other only if it is the same one. No row attends to padding, except
    padding of its own kind.
    """
    if len(attended) == 1 and not attended[0].group.owned:
        return None
    lines = []
    for rows in attending:
        parts = [block_attention_mask(rows, columns) for columns in attended]
        lines.append(torch.cat(parts, dim=2))
    return torch.cat(lines, dim=1)


def block_attention_mask(rows: Block, columns: Block) -> Bool[Tensor, "b r c"]:
    """Return which rows of one block attend to which of another."""
    is_same_object = rows.owner[:, :, None] == columns.owner[:, None]
    if rows is columns and rows.group.causal:
        return torch.ones_like(is_same_object).tril()
    if columns.group.kind not in rows.group.attends_to:
        return torch.zeros_like(is_same_object)
    if rows.group.owned and columns.group.owned:
        return is_same_object
    is_padding = columns.owner < 0
    return ~is_padding[:, None].expand(-1, rows.owner.shape[1], -1)


def pixel_attention_mask(
    output: DecoderOutput,
    blocks: list[Block],
    query: DecoderQuery,
    mask_features: Float[Tensor, "b c h w"],
) -> Bool[Tensor, "b r hw"]:
    """Return the pixels of one level that each row attends to.

    Queries attend to the foreground of their own mask, memory slots to that of their object's previous mask, the words
    of a caption to everything that is not hidden.
    """
    hw = map_hw(mask_features)
    outputs = {
        RowKind.OBJECT: output.object,
        RowKind.IMAGE: output.image,
        RowKind.PHRASE: output.phrase,
        RowKind.VISUAL: output.visual,
    }
    visible = []
    for block in blocks:
        kind = block.group.kind
        predicted = outputs.get(kind)
        if predicted is not None:
            foreground = visible_pixels(dot(predicted.mask_embeddings, mask_features))
            if block.group.unmasked:
                foreground[:, : block.group.unmasked] = True
            visible.append(foreground)
        elif kind is RowKind.MEMORY and query.previous is not None:
            previous = visible_pixels(resize(query.previous, hw))
            owner = block.owner.clamp(min=0)[:, :, None].expand(-1, -1, previous.shape[-1])
            visible.append(previous.gather(1, owner))
        elif kind is RowKind.CAPTION and query.caption is not None:
            visible.append(caption_pixels(query.caption, hw))
    return torch.cat(visible, dim=1)


def caption_pixels(caption: CaptionPrefix, hw: tuple[int, int]) -> Bool[Tensor, "b t hw"]:
    """Return the pixels that the words of a caption attend to."""
    batch, length = caption.tokens.shape[:2]
    if caption.hidden is None:
        return torch.ones(
            (batch, length, hw[0] * hw[1]), dtype=torch.bool, device=caption.tokens.device
        )
    hidden = F.interpolate(caption.hidden[:, None].float(), size=hw, mode="nearest") > 0
    return ~hidden.flatten(2).expand(-1, length, -1)


def level_tokens(
    query: DecoderQuery, blocks: list[Block], level: int, x: Float[Tensor, "b r d"]
) -> Float[Tensor, "b p d"]:
    """Return the tokens of prompted pixels that join this level's rows `x`, in the order of their blocks."""
    tokens = [x[:, :0]]
    for block in blocks:
        if block.group.kind is RowKind.VISUAL_TOKENS and query.visual is not None:
            tokens.append(query.visual.levels[level])
        elif block.group.kind is RowKind.REFERENCE_TOKENS and query.reference is not None:
            tokens.append(query.reference.levels[level])
    return torch.cat(tokens, dim=1)
