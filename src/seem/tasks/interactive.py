"""Prompts to masks: which query answers for an object, and the dense head where a model has one.

Known difference from the official demo: with a phrase and a reference together, the phrase chooses the query there, as
everywhere in Seem; officially the reference does (Stroke > Example > Text > Audio).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import Draws
from seem.models.decoder.policy import RowKind
from seem.models.mask_refiner import OUTLINE_LOGIT, prompt_maps
from seem.models.ops.masks import dot
from seem.models.segmenter import Segmenter, unit_vectors
from seem.models.structures import DecoderQuery, PhraseTokens, QueryOutputs, VisualPrompts, VisualTokens
from seem.models.text_embedding_head import text_similarity_maps
from seem.tasks.reference import in_place_of_marks, place_of

ALIKE = 0.95  # IoU above which two candidates are one
SLACK = 0.1  # how far a mask may leave what bounds it, in roots of its area: 0.05 to 0.4 are as good (docs/nano/)
CORRECTED = 0.06  # how far around it a mark corrects an outline, in roots of the outline's area


@dataclass(frozen=True, slots=True)
class Chosen:
    """The answering query of every object; of several candidates an object, best first, object-major."""

    mask_embeddings: Float[Tensor, "b n c"]
    class_vectors: Float[Tensor, "b n d"]
    queries: Int[Tensor, "b n"]


@dataclass(frozen=True, slots=True)
class ObjectMasks:
    """One mask an object: logits in the network's padded frame (stride 4, or 2 from a dense head), quality 0-1.

    Of several candidates an object, best first, object-major. `quality` is None where the model does not predict it.
    """

    logits: Float[Tensor, "b n h w"]
    quality: Float[Tensor, "b n"] | None
    class_vectors: Float[Tensor, "b n d"]


def choose(visual: QueryOutputs, tokens: VisualTokens) -> Chosen:
    """Pick, among each object's own queries, the one whose mask embedding agrees most with the prompted pixels.

    The plain product with the mean mask feature under the positive pixels (official rule of SEEM v1).
    """
    return best(visual, agreement(visual, tokens.positive_vectors))


def agreement(visual: QueryOutputs, vectors: Float[Tensor, "b n c"]) -> Float[Tensor, "b n q"]:
    """Multiply the mask embeddings of each object's queries with the object's vector of mask features."""
    embeddings = torch.unflatten(visual.mask_embeddings, 1, (vectors.shape[1], -1))
    return torch.einsum("bnqc,bnc->bnq", embeddings, vectors)


def likeness(visual: QueryOutputs, meant: Float[Tensor, "b n d"]) -> Float[Tensor, "b n q"]:
    """Compare the class vectors of each object's queries with the object's vector in the text space, by cosine."""
    vectors = torch.unflatten(unit_vectors(visual.class_vectors), 1, (meant.shape[1], -1))
    return torch.einsum("bnqd,bnd->bnq", vectors, unit_vectors(meant).to(vectors.dtype))


def best(visual: QueryOutputs, scores: Float[Tensor, "b n q"], top: int = 1) -> Chosen:
    """Take the `top` queries of every object by score, or as many as there are."""
    num_objects = scores.shape[1]
    top = min(top, scores.shape[2])
    order = scores.argmax(dim=-1, keepdim=True) if top == 1 else scores.topk(top, dim=-1).indices

    def take(rows: Float[Tensor, "b r c"]) -> Float[Tensor, "b k c"]:
        mine = torch.unflatten(rows, 1, (num_objects, -1))
        return mine.gather(2, order[..., None].expand(-1, -1, -1, mine.shape[-1])).flatten(1, 2)

    return Chosen(take(visual.mask_embeddings), take(visual.class_vectors), order.flatten(1))


def segment_objects(
    model: Segmenter,
    image: ImageEncoding,
    prompts: VisualPrompts,
    draws: Draws,
    phrases: PhraseTokens | None = None,
    previous: Float[Tensor, "b n h w"] | None = None,
    reference: VisualTokens | None = None,
    meant: Float[Tensor, "b n d"] | None = None,
    audio: PhraseTokens | None = None,
    top: int = 1,
) -> ObjectMasks:
    """Answer prompts about any number of objects in one pass.

    `previous` are the mask logits of the round before. With `phrases` (and `audio`, where a policy tells spoken words
    from written ones) the queries also hear the text, with `reference` they also see regions of other photos. `meant`
    are vectors in the text space of what was said or shown about each object (zeros = nothing), for models that compare
    them with every place of the photo. `top` queries answer for each object where a policy gives it several, or as many
    candidates of the dense head where marks alone are asked about.

    Who answers: the query that agrees most with the marked pixels; where nothing is marked as meant, with the words;
    where nothing is said either, with the reference.
    """
    tokens = model.encode_prompts(prompts, image, draws)
    marked = prompts.inside.flatten(2).any(dim=-1)
    if reference is not None and place_of(model) is RowKind.VISUAL_TOKENS:
        tokens, reference = in_place_of_marks(tokens, reference), None
        marked = torch.ones_like(marked)
    question = DecoderQuery(
        visual=tokens,
        phrases=phrases,
        reference=reference,
        audio=audio,
        previous=previous,
        num_objects=tokens.num_objects,
        composed=phrases is not None,
    )
    answering = model.decoder.policy.visual
    assert answering is not None
    output = model.decode(image, question, frozenset({answering}), draws)
    answers = output.visual if answering is RowKind.VISUAL else output.object
    assert answers is not None
    spoken = has_words(phrases, audio, tokens)
    scores = agreement(answers, tokens.positive_vectors)
    if reference is not None:
        scores = torch.where(marked[..., None], scores, agreement(answers, reference.positive_vectors))
    if meant is not None:
        scores = torch.where((~marked & spoken)[..., None], likeness(answers, meant), scores)
    chosen = best(answers, scores, top)
    coarse = dot(chosen.mask_embeddings, image.pixels.mask_features)
    if model.mask_refiner is None:
        return ObjectMasks(coarse, None, chosen.class_vectors)
    alike = text_similarity_maps(image.text_map, meant) if image.text_map is not None and meant is not None else None
    maps = prompt_maps(prompts, coarse, previous, alike)
    ambiguous = marks_alone(prompts, meant, previous, spoken)
    refined = model.mask_refiner(
        image.pixels.mask_features, maps, chosen.class_vectors, with_candidates=bool(ambiguous.any())
    )
    if top > 1 and refined.candidates is not None and bool(ambiguous.all()):
        ranked = refined.candidates.ranked(top)
        copies = ranked.logits.shape[1] // ambiguous.shape[1]
        vectors = chosen.class_vectors.repeat_interleave(copies, dim=1)
        return ObjectMasks(ranked.logits, ranked.quality_logits.sigmoid(), vectors)
    refined = refined.best(ambiguous)
    logits = kept_near(refined.logits, prompts)
    return ObjectMasks(logits, refined.quality_logits.sigmoid(), chosen.class_vectors)


def marks_alone(
    prompts: VisualPrompts,
    meant: Float[Tensor, "b n d"] | None,
    previous: Float[Tensor, "b n h w"] | None,
    spoken: Bool[Tensor, "b n"],
) -> Bool[Tensor, "b n"]:
    """Return which objects are asked for by first marks alone: these may mean a part, a thing or a group."""
    alone = prompts.positive.flatten(2).any(dim=-1) & ~spoken
    if prompts.bounds is not None:
        alone = alone & ~prompts.bounds.flatten(2).any(dim=-1)
    if meant is not None:
        alone = alone & ~meant.any(dim=-1)
    if previous is not None:
        alone = alone & ~previous.flatten(2).any(dim=-1)
    return alone


def kept_near(logits: Float[Tensor, "b n h w"], prompts: VisualPrompts) -> Float[Tensor, "b n h w"]:
    """Put pixels outside that lie beyond a box or an outline grown by `SLACK` of the root of its area.

    A mask may end a little outside of what somebody drew by hand; islands further away belong to something else. What
    is marked out there is meant, and nothing is taken away.
    """
    bounds = prompts.bounds
    if bounds is None or not bounds.any():
        return logits
    near, meant = grown(bounds, bounds, SLACK, cell=4), F.max_pool2d(prompts.positive.float(), 4)
    unbounded = ((near == 0).all(dim=(-2, -1)) | (meant > near).any(dim=(-2, -1)))[..., None, None]
    allowed = F.interpolate(near, logits.shape[-2:]).bool() | unbounded
    return torch.where(allowed, logits, logits.clamp(max=-OUTLINE_LOGIT))


def outlined(marks: VisualPrompts, outlines: Bool[Tensor, "b n h w"]) -> tuple[VisualPrompts, Bool[Tensor, "b n h w"]]:
    """Let outlines mark and bound their objects, but for where other marks correct them; also return what they mark.

    What is near a negative mark is no longer marked, and what is near a positive one may belong to the object
    (`CORRECTED`). Without that, clicks beside an outline were mostly ignored (docs/nano/).
    """
    if marks.bounds is None or not outlines.any():
        return marks, outlines
    wrong, missed = (
        F.interpolate(grown(each, outlines, CORRECTED, cell=2), outlines.shape[-2:]).bool()
        for each in (marks.negative, marks.positive)
    )
    inside = outlines & ~wrong
    beside = missed & outlines.flatten(2).any(dim=-1)[..., None, None]
    return VisualPrompts(marks.positive | inside, marks.negative, marks.bounds | outlines | beside), inside


def grown(
    marks: Bool[Tensor, "b n h w"], areas: Bool[Tensor, "b n h w"], roots: float, cell: int
) -> Float[Tensor, "b n h2 w2"]:
    """Grow marks, in squares, by so many roots of each object's area; returns cells of so many pixels, 1 on them."""
    cells = F.max_pool2d(marks.float(), cell)
    reaches = (roots / cell * areas.flatten(2).sum(dim=-1).sqrt()).round().int().tolist()
    for b, n in cells.flatten(2).any(dim=-1).nonzero().tolist():
        reach = reaches[b][n]
        rows = F.max_pool2d(cells[b, n][None, None], (2 * reach + 1, 1), 1, (reach, 0))
        cells[b, n] = F.max_pool2d(rows, (1, 2 * reach + 1), 1, (0, reach))[0, 0]
    return cells


def has_words(phrases: PhraseTokens | None, audio: PhraseTokens | None, tokens: VisualTokens) -> Bool[Tensor, "b n"]:
    """Say which objects a phrase speaks about."""
    objects = torch.arange(tokens.num_objects, device=tokens.owner.device)
    spoken = torch.zeros_like(tokens.positive_vectors[..., 0], dtype=torch.bool)
    for words in (phrases, audio):
        if words is not None:
            spoken = spoken | (words.owner[:, :, None] == objects).any(dim=1)
    return spoken


@dataclass(frozen=True, slots=True)
class OneAnswer:
    """The mask of one object: logits in the padded network frame, score, which rule answered, and its class vector."""

    logits: Float[Tensor, "h w"]
    score: float
    kind: str
    vector: Float[Tensor, " d"]

    @property
    def is_somewhere(self) -> bool:
        """Whether any pixel is inside."""
        return bool((self.logits > 0).any())


def best_distinct(answers: Sequence[OneAnswer], count: int) -> Sequence[OneAnswer]:
    """Keep the first `count` answers that differ."""
    if count == 1:
        return answers[:1]
    rows = distinct(torch.stack([answer.logits > 0 for answer in answers]))
    return [answers[row] for row in rows[:count]]


def distinct(masks: Bool[Tensor, "n h w"], limit: float = ALIKE) -> list[int]:
    """Return the rows of masks that are not nearly the same (IoU above `limit`) as one before them.

    An empty mask is left out, but for the first.
    """
    flat = masks.flatten(1).float()
    areas = flat.sum(dim=1)
    shared = flat @ flat.T
    overlap = shared / (areas[:, None] + areas[None] - shared).clamp(min=1)
    kept: list[int] = []
    for row in range(len(masks)):
        if row == 0 or (areas[row] > 0 and not any(overlap[row, other] > limit for other in kept)):
            kept.append(row)
    return kept


def coarse_logits(logits: Float[Tensor, "n h w"], padded_hw: tuple[int, int]) -> Float[Tensor, "n h4 w4"]:
    """Bring mask logits to stride 4, the size in which they go in and out."""
    hw = (padded_hw[0] // 4, padded_hw[1] // 4)
    return logits.float() if logits.shape[-2:] == hw else F.adaptive_avg_pool2d(logits.float(), hw)
