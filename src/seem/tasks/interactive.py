"""Prompts to masks: which query answers for an object, and the mask refiner where a model has one.

Known difference from the official demo: with a phrase and a reference together, the phrase chooses the query there, as
everywhere in Seem; officially the reference does (Stroke > Example > Text > Audio).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import Draws
from seem.models.decoder.policy import RowKind
from seem.models.mask_refiner import OUTLINE_LOGIT, MaskRefiner, prompt_maps
from seem.models.segmenter import Segmenter, unit_vectors
from seem.models.structures import (
    DecoderQuery,
    PhraseTokens,
    QueryOutputs,
    VisualPrompts,
    VisualTokens,
)
from seem.models.text_embedding_head import text_similarity_maps
from seem.tasks.reference import replace_visual_tokens

DUPLICATE_IOU = 0.95  # above which two candidates are one
BOUND_MARGIN = (
    0.1  # by how much a mask may leave its bounds, in roots of their area (0.05 to 0.4 are as good)
)
CORRECTION_RADIUS = 0.06  # around a mark that corrects an outline, in roots of the outline's area

CLICK_REACH = 0.05
MIN_CLICK_SIGMA, MAX_CLICK_SIGMA = 1.0, 8.0  # cells
CLICK_MARGIN = 0.1  # logit of the neighbour that was furthest on the wrong side


@dataclass(frozen=True, slots=True)
class ChosenQueries:
    """The answering queries of every object: one each, or several candidates, best first, object-major."""

    mask_embeddings: Float[Tensor, "b n c"]
    class_vectors: Float[Tensor, "b n d"]
    queries: Int[Tensor, "b n"]


@dataclass(frozen=True, slots=True)
class ObjectMasks:
    """Mask logits of every object in the padded network frame (stride 4, or 2 from the mask refiner).

    One each, or several candidates, best first, object-major. `quality` is the predicted IoU (0-1), None where the
    model does not predict it.
    """

    logits: Float[Tensor, "b n h w"]
    quality: Float[Tensor, "b n"] | None
    class_vectors: Float[Tensor, "b n d"]


@dataclass(frozen=True, slots=True)
class ObjectAnswer:
    """One mask of one object: logits in the padded network frame, score, answering rule and class vector.

    `text_vector` is the sum of what the prompts say in the text space, None where there are no such prompts.
    """

    logits: Float[Tensor, "h w"]
    score: float
    kind: str
    vector: Float[Tensor, " d"]
    text_vector: Float[Tensor, " d"] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is inside."""
        return not bool((self.logits > 0).any())


# --- Choosing queries -------------------------------------------------------------------------------------------------


def prompt_agreement(
    visual: QueryOutputs, vectors: Float[Tensor, "b n c"]
) -> Float[Tensor, "b n q"]:
    """Multiply the mask embeddings of each object's queries with the object's vector of mask features.

    The vector is the mean mask feature under the positive pixels (official rule of SEEM v1).
    """
    embeddings = torch.unflatten(visual.mask_embeddings, 1, (vectors.shape[1], -1))
    return torch.einsum("bnqc,bnc->bnq", embeddings, vectors)


def text_agreement(
    visual: QueryOutputs, text_vectors: Float[Tensor, "b n d"]
) -> Float[Tensor, "b n q"]:
    """Compare the class vectors of each object's queries with the object's text vector, by cosine."""
    vectors = torch.unflatten(unit_vectors(visual.class_vectors), 1, (text_vectors.shape[1], -1))
    return torch.einsum("bnqd,bnd->bnq", vectors, unit_vectors(text_vectors).to(vectors.dtype))


def top_queries(
    visual: QueryOutputs, scores: Float[Tensor, "b n q"], top: int = 1
) -> ChosenQueries:
    """Take the `top` queries of every object by score, or as many as there are."""
    num_objects = scores.shape[1]
    top = min(top, scores.shape[2])
    if top == 1:
        order = scores.argmax(dim=-1, keepdim=True)
    else:
        order = scores.topk(top, dim=-1).indices

    def take(rows: Float[Tensor, "b r c"]) -> Float[Tensor, "b k c"]:
        by_object = torch.unflatten(rows, 1, (num_objects, -1))
        index = order[..., None].expand(-1, -1, -1, by_object.shape[-1])
        return by_object.gather(2, index).flatten(1, 2)

    return ChosenQueries(take(visual.mask_embeddings), take(visual.class_vectors), order.flatten(1))


# --- One pass ---------------------------------------------------------------------------------------------------------


def segment_objects(
    model: Segmenter,
    image: ImageEncoding,
    prompts: VisualPrompts,
    draws: Draws,
    phrases: PhraseTokens | None = None,
    previous: Float[Tensor, "b n h w"] | None = None,
    reference: VisualTokens | None = None,
    text_vectors: Float[Tensor, "b n d"] | None = None,
    audio: PhraseTokens | None = None,
    top: int = 1,
) -> ObjectMasks:
    """Answer prompts about any number of objects in one pass.

    `previous` are the mask logits of the previous round. The queries also attend to `phrases` (and `audio`, where a
    policy has rows for spoken words) and to `reference`, regions of other images. `text_vectors` describe each object
    in the text space (zeros = no text), for models that compare them with every cell of the image. `top` answers each:
    of its queries, where a policy gives it several, or of the mask refiner's candidates, where marks alone describe it.

    Which query answers: the one that agrees most with the positive marks; without those, with the text; without text,
    with the reference.
    """
    tokens = model.encode_prompts(prompts, image, draws)
    marked = prompts.inside.flatten(2).any(dim=-1)
    if reference is not None and model.decoder.policy.reference is RowKind.VISUAL_TOKENS:
        tokens, reference = replace_visual_tokens(tokens, reference), None
        marked = torch.ones_like(marked)
    query = DecoderQuery(
        visual=tokens,
        phrases=phrases,
        reference=reference,
        audio=audio,
        previous=previous,
        num_objects=tokens.num_objects,
        composed=phrases is not None,
    )
    queries = decode_visual(model, image, query, draws)
    scores = prompt_agreement(queries, tokens.positive_vectors)
    if reference is not None:
        reference_scores = prompt_agreement(queries, reference.positive_vectors)
        scores = torch.where(marked[..., None], scores, reference_scores)
    if text_vectors is not None:
        by_text = ~marked & objects_with_phrases(phrases, audio, tokens)
        scores = torch.where(by_text[..., None], text_agreement(queries, text_vectors), scores)
    chosen = top_queries(queries, scores, top)
    coarse = image.pixels.mask_features.logits(chosen.mask_embeddings)
    if model.mask_refiner is None:
        return ObjectMasks(coarse, None, chosen.class_vectors)
    return refine_masks(
        model.mask_refiner, image, prompts, previous, text_vectors, chosen, coarse, top
    )


def decode_visual(
    model: Segmenter, image: ImageEncoding, query: DecoderQuery, draws: Draws
) -> QueryOutputs:
    """Run the queries that answer visual prompts: those of each object, or the object queries (`Policy.visual`)."""
    kind = model.decoder.policy.visual
    assert kind is not None
    output = model.decode(image, query, frozenset({kind}), draws)
    queries = output.visual if kind is RowKind.VISUAL else output.object
    assert queries is not None
    return queries


def refine_masks(
    refiner: MaskRefiner,
    image: ImageEncoding,
    prompts: VisualPrompts,
    previous: Float[Tensor, "b n h w"] | None,
    text_vectors: Float[Tensor, "b n d"] | None,
    chosen: ChosenQueries,
    coarse: Float[Tensor, "b n h w"],
    top: int,
) -> ObjectMasks:
    """Refine the coarse masks of the chosen queries, and predict the IoU of each; masks end near their bounds."""
    similarity = None
    if image.text_map is not None and text_vectors is not None:
        similarity = text_similarity_maps(image.text_map, text_vectors)
    maps = prompt_maps(prompts, coarse, previous, similarity)
    ambiguous = has_marks_alone(prompts, text_vectors, previous)
    refined = refiner.best_masks(
        image.pixels.mask_features.maps, maps, chosen.class_vectors, ambiguous, top
    )
    copies = refined.logits.shape[1] // maps.shape[1]
    vectors = chosen.class_vectors.repeat_interleave(copies, dim=1)
    logits = clip_to_bounds(refined.logits, prompts)
    return ObjectMasks(logits, refined.quality_logits.sigmoid(), vectors)


def has_marks_alone(
    prompts: VisualPrompts,
    text_vectors: Float[Tensor, "b n d"] | None,
    previous: Float[Tensor, "b n h w"] | None,
) -> Bool[Tensor, "b n"]:
    """Return which objects have positive marks without a bound, text, reference or previous mask.

    Such marks may mean a part, a thing or a group.
    """
    alone = prompts.positive.flatten(2).any(dim=-1)
    if prompts.bounds is not None:
        alone = alone & ~prompts.bounds.flatten(2).any(dim=-1)
    if text_vectors is not None:
        alone = alone & ~text_vectors.any(dim=-1)
    if previous is not None:
        alone = alone & ~previous.flatten(2).any(dim=-1)
    return alone


def objects_with_phrases(
    phrases: PhraseTokens | None, audio: PhraseTokens | None, tokens: VisualTokens
) -> Bool[Tensor, "b n"]:
    """Tell which objects have a phrase."""
    objects = torch.arange(tokens.num_objects, device=tokens.owner.device)
    has_phrase = torch.zeros_like(tokens.positive_vectors[..., 0], dtype=torch.bool)
    for rows in (phrases, audio):
        if rows is not None:
            has_phrase = has_phrase | (rows.owner[:, :, None] == objects).any(dim=1)
    return has_phrase


# --- Bounds and outlines ----------------------------------------------------------------------------------------------


def clip_to_bounds(
    logits: Float[Tensor, "b n h w"], prompts: VisualPrompts
) -> Float[Tensor, "b n h w"]:
    """Put pixels outside that lie beyond a box or an outline, dilated by `BOUND_MARGIN` of the root of its area.

    A mask may end a little outside of what somebody drew by hand; components further away belong to something else. An
    object with a positive mark beyond its bounds keeps its mask.
    """
    bounds = prompts.bounds
    if bounds is None or not bounds.any():
        return logits
    dilated = dilate_marks(bounds, bounds, BOUND_MARGIN, cell=4)
    positive = F.max_pool2d(prompts.positive.float(), 4)
    without_bounds = (dilated == 0).all(dim=(-2, -1))
    marked_beyond = (positive > dilated).any(dim=(-2, -1))
    unbounded = (without_bounds | marked_beyond)[..., None, None]
    allowed = F.interpolate(dilated, logits.shape[-2:]).bool() | unbounded
    return torch.where(allowed, logits, logits.clamp(max=-OUTLINE_LOGIT))


def apply_outlines(
    marks: VisualPrompts, outlines: Bool[Tensor, "b n h w"]
) -> tuple[VisualPrompts, Bool[Tensor, "b n h w"]]:
    """Add outlines to the marks and bounds of their objects; returns the prompts, and what the outlines mark.

    Other marks correct an outline: what is near a negative one is not marked, what is near a positive one may belong to
    the object (`CORRECTION_RADIUS`). Without that, clicks beside an outline had mostly no effect
    (docs/nano/decisions.md).
    """
    if not outlines.any():
        return marks, outlines
    inside = outlines & ~_near_marks(marks.negative, outlines)
    has_outline = outlines.flatten(2).any(dim=-1)[..., None, None]
    beside = _near_marks(marks.positive, outlines) & has_outline
    bounds = outlines | beside
    if marks.bounds is not None:
        bounds |= marks.bounds
    return VisualPrompts(marks.positive | inside, marks.negative, bounds), inside


def _near_marks(
    marks: Bool[Tensor, "b n h w"], outlines: Bool[Tensor, "b n h w"]
) -> Bool[Tensor, "b n h w"]:
    dilated = dilate_marks(marks, outlines, CORRECTION_RADIUS, cell=2)
    return F.interpolate(dilated, outlines.shape[-2:]).bool()


def dilate_marks(
    marks: Bool[Tensor, "b n h w"], areas: Bool[Tensor, "b n h w"], radius: float, cell: int
) -> Float[Tensor, "b n h2 w2"]:
    """Dilate marks by squares of `radius`, in roots of each area; returns cells of `cell` pixels, 1 on them."""
    cells = F.max_pool2d(marks.float(), cell)
    roots = areas.flatten(2).sum(dim=-1).sqrt()
    radii = (radius / cell * roots).round().int().tolist()
    for b, n in cells.flatten(2).any(dim=-1).nonzero().tolist():
        reach = radii[b][n]
        size = 2 * reach + 1
        rows = F.max_pool2d(cells[b, n][None, None], (size, 1), 1, (reach, 0))
        cells[b, n] = F.max_pool2d(rows, (1, size), 1, (0, reach))[0, 0]
    return cells


# --- Clicks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClickedCell:
    """A click in the frame of a mask: row and column of its cell, and whether it says "this" or "not this"."""

    row: int
    column: int
    positive: bool


def obey_clicks(
    logits: Float[Tensor, "h w"], clicks: Sequence[ClickedCell]
) -> Float[Tensor, "h w"]:
    """Put clicked cells on the side of the mask that their clicks say; a mask that obeys them is returned as it is.

    Where a mask disobeys, a bump (a Gaussian of `CLICK_REACH` roots of the mask's area) is added around the click, so
    that the outline bends and no component is added. The neighbours of the cell are brought along, for interpolation
    to image size mixes them. Of clicks that contradict each other the last one counts.
    """
    sigma = CLICK_REACH * float((logits > 0).sum().sqrt())
    sigma = min(max(sigma, MIN_CLICK_SIGMA), MAX_CLICK_SIGMA)
    for click in (*clicks, *clicks):  # the second round mends what a later bump undid
        logits = _obey_click(logits, click, sigma)
    return logits


def _obey_click(
    logits: Float[Tensor, "h w"], click: ClickedCell, sigma: float
) -> Float[Tensor, "h w"]:
    sign = 1 if click.positive else -1
    rows = slice(max(click.row - 1, 0), click.row + 2)
    columns = slice(max(click.column - 1, 0), click.column + 2)
    lowest = float((sign * logits[rows, columns]).min())
    if lowest > 0:
        return logits
    row_offsets = torch.arange(logits.shape[0], device=logits.device) - click.row
    column_offsets = torch.arange(logits.shape[1], device=logits.device) - click.column
    squared = row_offsets[:, None] ** 2 + column_offsets[None] ** 2
    bump = torch.exp(-squared / (2 * sigma**2))
    at_corner = math.exp(-1 / sigma**2)  # of the neighbours, those at the corners gain least
    return logits + sign * (CLICK_MARGIN - lowest) / at_corner * bump


# --- Answers ----------------------------------------------------------------------------------------------------------


def distinct_answers(answers: Sequence[ObjectAnswer], count: int) -> Sequence[ObjectAnswer]:
    """Keep the first `count` answers that differ."""
    if count == 1:
        return answers[:1]
    rows = distinct_masks(torch.stack([answer.logits > 0 for answer in answers]))
    return [answers[row] for row in rows[:count]]


def distinct_masks(masks: Bool[Tensor, "n h w"], max_iou: float = DUPLICATE_IOU) -> list[int]:
    """Return the rows of masks whose IoU with every mask selected before is at most `max_iou`.

    An empty mask is left out, but for the first.
    """
    flat = masks.flatten(1).float()
    areas = flat.sum(dim=1)
    intersection = flat @ flat.T
    iou = intersection / (areas[:, None] + areas[None] - intersection).clamp(min=1)
    selected: list[int] = []
    for row in range(len(masks)):
        is_duplicate = any(iou[row, other] > max_iou for other in selected)
        if row == 0 or (areas[row] > 0 and not is_duplicate):
            selected.append(row)
    return selected


def to_stride4(
    logits: Float[Tensor, "n h w"], padded_hw: tuple[int, int]
) -> Float[Tensor, "n h4 w4"]:
    """Bring mask logits to stride 4, the size in which they are prompts and outputs."""
    hw = (padded_hw[0] // 4, padded_hw[1] // 4)
    if logits.shape[-2:] == hw:
        return logits.float()
    return F.adaptive_avg_pool2d(logits.float(), hw)
